"""One round's conversation: a step's messages go out by node, and its replies come back to the step by directory index."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Generator, Mapping

from flwr.app import Error, Message, RecordDict

from stfed.errors import DecodeError
from stfed.flower import records
from stfed.flower.courier import Courier, Exchange, Made
from stfed.flower.events import EventLog, RoundReport
from stfed.flower.steps import TimedStep
from stfed.secagg.server import Enrolment

_MAX_TEXT = 300
_SIMULATED = "<class 'ray.exceptions."
_RAISED = re.compile(r"<class '(?:\w+\.)*(\w+)'>:<'(.*)'>")
"""How Flower quotes an exception of a ClientApp."""


def one_line(text: str) -> str:
    """What somebody else wrote, short and without control characters: it is shown to people."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:_MAX_TEXT])


def error_text(reply: Message) -> str:
    """What an error reply says, in one line; of an error that comes with the traceback of Flower's simulation, the line that says why."""
    lines = (reply.error.reason or "").rstrip().splitlines() or [""]
    text = lines[-1] if lines[0].startswith(_SIMULATED) else " ".join(lines)
    raised = _RAISED.fullmatch(text)
    return one_line(text if raised is None else ": ".join(filter(None, raised.groups())))


class Talk:
    """Knows who is who in an epoch, and keeps the books of a round.

    Args:
        enrolment: nodes and their directory indices.
        courier: tells the time, and moves the messages that are yielded to it.
        report: counts bytes and seconds.
        errors: takes the error replies, by node.
        light_timeout_s: how long a light step waits.
        events: told how far each step is.
    """

    def __init__(
        self,
        enrolment: Enrolment,
        courier: Courier,
        report: RoundReport,
        errors: dict[int, Error],
        light_timeout_s: float,
        events: EventLog,
    ) -> None:
        self.nodes: tuple[int, ...] = enrolment.nodes
        self.index_of: dict[int, int] = enrolment.index_of()
        self._courier, self._report, self._errors, self._light_timeout_s = courier, report, errors, light_timeout_s
        self._events = events

    def light(
        self,
        step: str,
        requests: Mapping[int, bytes],
        add: Callable[[int, bytes], None],
        fail: Callable[[int, str], None],
        complete: Callable[[], bool] = lambda: False,
    ) -> Generator[Exchange, None, None]:
        """A step whose messages and replies are ours alone; goes on when it is over.

        Args:
            step: its name, for the books.
            requests: the message for each party, by directory index. Equal bytes are sent as one object.
            add: takes a party's reply.
            fail: takes the text of an error reply, or of a reply that is none of ours.
            complete: whether nobody else has to be waited for.
        """
        contents = {index: records.light(self._report.sent(step, message)) for index, message in requests.items()}

        def read(index: int, content: RecordDict) -> None:
            add(index, self._report.received(step, records.message_of(content)))

        yield from self.exchange(step, contents, read, fail, complete=complete, timeout_s=self._light_timeout_s)

    def exchange(
        self,
        step: str,
        contents: Mapping[int, RecordDict],
        read: Callable[[int, RecordDict], None],
        fail: Callable[[int, str], None],
        *,
        timeout_s: float | None,
        complete: Callable[[], bool] = lambda: False,
        message_type: str = records.LIGHT_MESSAGE,
        group_id: str | None = None,
        elsewhere: Container[int] = (),
    ) -> Generator[Exchange, None, None]:
        """A step with whatever content, by directory index; `read` may raise a `DecodeError`, which fails the party.

        `elsewhere` are parties that are asked about another round: their errors are not this one's.
        """

        def on_reply(node: int, reply: Message) -> None:
            index = self.index_of[node]
            if reply.has_error():
                if index not in elsewhere:
                    self._errors[node] = reply.error
                    watched.answered()
                fail(index, error_text(reply))
                return
            try:
                read(index, reply.content)
            except DecodeError as error:
                fail(index, error.message)
            if index not in elsewhere:
                watched.answered()

        self._report.trips += 1
        asked = sum(index not in elsewhere for index in contents)
        with TimedStep(self._events, self._report, step, asked, self._courier.now) as watched:
            yield Exchange(
                Made((self.nodes[index] for index in contents), lambda node: contents[self.index_of[node]]),
                message_type,
                f"{step}-{self._report.round}" if group_id is None else group_id,
                timeout_s,
                on_reply,
                complete,
            )
