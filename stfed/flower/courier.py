"""Sending protocol steps to many nodes and handing each reply on as it arrives.

Flower's own `send_and_receive` returns when the last reply is in and sleeps three seconds between looks. Here a short poll looks for
replies, each is handed to the step at once and forgotten (memory stays O(model)), and a step that has enough ends early.

A *conversation* is a generator that yields an `Exchange` whenever it wants messages sent, goes on when that is over, and returns what
came of it. Many of them run at once over one poll, each at its own pace and none in a thread: the groups of a round take the time of the
slowest one, not of their sum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from flwr.app import Message, RecordDict

from stfed.errors import LocalError

if TYPE_CHECKING:
    from flwr.serverapp import Grid

_FIRST_POLL_S = 0.05
_LAST_POLL_S = 0.5
_SLOW_DOWN = 1.25
_PULL_AT_ONCE = 8
"""Masked vectors are pulled a few at a time, so that a coordinator never holds more of them than this."""
_PUSH_AT_ONCE = 128
"""Requests are made and pushed this many at a time: what each of ten thousand parties is told differs, and takes 50 kB."""

T = TypeVar("T")


@runtime_checkable
class SimulatedTime(Protocol):
    """What an in-memory grid offers instead of waiting (`stfed.testing.InMemoryGrid`)."""

    def wait(self, seconds: float) -> None:
        """Lets simulated time pass."""
        ...

    def clock(self) -> float:
        """Simulated seconds."""
        ...

    def exhausted(self, message_ids: Iterable[str]) -> bool:
        """Whether none of these will ever be answered any more."""
        ...


class Made(Mapping[int, RecordDict]):
    """Contents that are made when they are asked for, and not kept.

    Args:
        keys: nodes, or whatever else is asked by number.
        make: the content for one of them; called once for each key that is looked up.
    """

    def __init__(self, keys: Iterable[int], make: Callable[[int], RecordDict]) -> None:
        self._keys, self._make = dict.fromkeys(keys), make

    def __getitem__(self, key: int) -> RecordDict:
        if key not in self._keys:
            raise KeyError(key)
        return self._make(key)

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Each node is sent its content, and replies are handed on until all are in, the time is up or the step is complete.

    Attributes:
        contents: by node id.
        message_type: Flower's.
        group_id: Flower's, for its logs.
        timeout_s: how long to wait; None waits for everybody.
        on_reply: called once for each node that answers, with a reply or an error.
        complete: asked after replies; True ends this exchange, and no other, without waiting for the rest.
    """

    contents: Mapping[int, RecordDict]
    message_type: str
    group_id: str
    timeout_s: float | None
    on_reply: Callable[[int, Message], None]
    complete: Callable[[], bool] = lambda: False


@dataclass(slots=True, eq=False)
class _Talking(Generic[T]):
    """A conversation, and the exchange that it waits for."""

    conversation: Generator[Exchange, None, T]
    place: int
    exchange: Exchange | None = None
    waiting: dict[str, int] = field(default_factory=dict)
    deadline_s: float | None = None
    error: Exception | None = None

    def hand_on(self, reply: Message) -> None:
        """Gives a reply to the step. What that raises is raised in the conversation, and the others go on."""
        assert self.exchange is not None
        node = self.waiting.pop(reply.metadata.reply_to_message_id, None)
        if node is None or self.error is not None:
            return
        try:
            self.exchange.on_reply(node, reply)
        except Exception as error:
            self.error = error

    def satisfied(self) -> bool:
        """Whether its exchange needs no more replies."""
        assert self.exchange is not None
        try:
            return self.error is not None or not self.waiting or self.exchange.complete()
        except Exception as error:
            self.error = error
            return True

    def late(self, now_s: float) -> bool:
        """Whether its time is up."""
        return self.deadline_s is not None and now_s >= self.deadline_s


class Courier:
    """Exchanges messages over a grid.

    Args:
        grid: Flower's.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._simulated = grid if isinstance(grid, SimulatedTime) else None

    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        return self._simulated.clock() if self._simulated else time.monotonic()

    def exchange(
        self,
        contents: Mapping[int, RecordDict],
        message_type: str,
        group_id: str,
        *,
        timeout_s: float | None,
        on_reply: Callable[[int, Message], None],
        complete: Callable[[], bool] = lambda: False,
    ) -> None:
        """One `Exchange` of these fields.

        Raises:
            LocalError: the SuperLink took none of the messages.
        """

        def conversation() -> Generator[Exchange, None, None]:
            yield Exchange(contents, message_type, group_id, timeout_s, on_reply, complete)

        self.converse([conversation()])

    def converse(self, conversations: Sequence[Generator[Exchange, None, T]]) -> list[T]:
        """Holds all these conversations at once.

        Returns:
            What each of them returned, in their order.

        Raises:
            LocalError: the SuperLink took none of the messages.
            Exception: what a conversation raised; the others are closed.
        """
        results: dict[int, T] = {}
        talking = [_Talking(conversation, place) for place, conversation in enumerate(conversations)]
        ended, poll_s = list(talking), _FIRST_POLL_S
        try:
            while ended:
                for one in ended:
                    self._go_on(one, results)
                talking = [one for one in talking if one.exchange is not None]
                self._check_accepted(ended, talking)
                ended = [one for one in ended if one.exchange is not None and one.satisfied()]
                while talking and not ended:
                    # Replies are pulled before any deadline is looked at: they may have waited here while a sum was unmasked.
                    arrived = self._pull(talking)
                    ended = [one for one in talking if one.satisfied() or one.late(self.now()) or self._hopeless(one)]
                    if not ended:
                        poll_s = _FIRST_POLL_S if arrived else min(poll_s * _SLOW_DOWN, _LAST_POLL_S)
                        self._wait(poll_s, (one.deadline_s for one in talking if one.deadline_s is not None))
                poll_s = _FIRST_POLL_S
        finally:
            for conversation in conversations:
                conversation.close()
        return [results[place] for place in range(len(conversations))]

    def _go_on(self, one: _Talking[T], results: dict[int, T]) -> None:
        """Lets a conversation run to its next exchange, and sends that; or to its end."""
        error, one.error, one.exchange, one.waiting = one.error, None, None, {}
        try:
            exchange = next(one.conversation) if error is None else one.conversation.throw(error)
        except StopIteration as stop:
            results[one.place] = stop.value
            return
        one.exchange = exchange
        one.deadline_s = None if exchange.timeout_s is None else self.now() + exchange.timeout_s
        one.waiting = self._push(exchange)

    def _push(self, exchange: Exchange) -> dict[str, int]:
        """Sends an exchange's messages; the nodes that were sent one, by its id."""
        accepted: dict[str, int] = {}
        made = (
            Message(content, dst_node_id=node, message_type=exchange.message_type, group_id=exchange.group_id, ttl=exchange.timeout_s)
            for node, content in exchange.contents.items()
        )
        while messages := list(islice(made, _PUSH_AT_ONCE)):
            ids = list(self._grid.push_messages(messages))
            if len(ids) != len(messages):
                # Flower's in-memory grid leaves out what it refused; the messages themselves know their ids.
                taken = set(ids)
                ids = [message.metadata.message_id if message.metadata.message_id in taken else "" for message in messages]
            accepted |= {id_: message.metadata.dst_node_id for id_, message in zip(ids, messages, strict=True) if id_}
        return accepted

    def _check_accepted(self, sent: list[_Talking[T]], talking: list[_Talking[T]]) -> None:
        """A group whose nodes are all gone has no replies; if nobody at all can be sent anything, something else is wrong."""
        if any(one.waiting for one in talking):
            return
        hint = "see its log; a message may be larger than it allows"
        for one in sent:
            if one.exchange is not None and one.exchange.contents:
                one.error = LocalError("the SuperLink accepted none of the messages", hint=hint)

    def _pull(self, talking: list[_Talking[T]]) -> bool:
        """Hands on what is there by now; says whether anything was."""
        owner = {id_: one for one in talking for id_ in one.waiting}
        pending, arrived = list(owner), False
        for start in range(0, len(pending), _PULL_AT_ONCE):
            for reply in self._grid.pull_messages(pending[start : start + _PULL_AT_ONCE]):
                one = owner.pop(reply.metadata.reply_to_message_id, None)
                if one is not None:
                    arrived = True
                    one.hand_on(reply)
        return arrived

    def _hopeless(self, one: _Talking[T]) -> bool:
        """Whether nobody that it waits for will ever answer, which only an in-memory grid knows."""
        return self._simulated is not None and self._simulated.exhausted(list(one.waiting))

    def _wait(self, seconds: float, deadlines_s: Iterable[float]) -> None:
        seconds = max(0.0, min(seconds, min(deadlines_s, default=float("inf")) - self.now()))
        if self._simulated:
            self._simulated.wait(seconds)
        else:
            time.sleep(seconds)
