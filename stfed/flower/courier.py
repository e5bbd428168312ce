"""Sending one protocol step to many nodes and handing each reply on as it arrives.

Flower's own `send_and_receive` returns when the last reply is in and sleeps three seconds between looks. Here a short poll looks for
replies, each is handed to the step at once and forgotten (memory stays O(model)), and a step that has enough ends early.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from flwr.app import Message, RecordDict

from stfed.errors import LocalError

if TYPE_CHECKING:
    from flwr.serverapp import Grid

_FIRST_POLL_S = 0.05
_LAST_POLL_S = 0.5
_SLOW_DOWN = 1.25
_PULL_AT_ONCE = 8
"""Masked vectors are pulled a few at a time, so that a coordinator never holds more of them than this."""


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
        """Sends each node its content and hands on the replies until all are in, the time is up or the step is complete.

        Args:
            contents: by node id.
            message_type: Flower's.
            group_id: Flower's, for its logs.
            timeout_s: how long to wait; None waits for everybody.
            on_reply: called once for each node that answers, with a reply or an error.
            complete: asked after each reply; True ends the step without waiting for the rest.

        Raises:
            LocalError: the SuperLink took none of the messages.
        """
        messages = [
            Message(content, dst_node_id=node, message_type=message_type, group_id=group_id, ttl=timeout_s)
            for node, content in contents.items()
        ]
        deadline = None if timeout_s is None else self.now() + timeout_s
        ids = list(self._grid.push_messages(messages))
        waiting = {id_: node for id_, node in zip(ids, contents, strict=False) if id_}
        if contents and not waiting:
            raise LocalError("the SuperLink accepted none of the messages", hint="see its log; a message may be larger than it allows")
        del messages
        poll_s = _FIRST_POLL_S
        while waiting and not complete():
            arrived = False
            pending = list(waiting)
            for start in range(0, len(pending), _PULL_AT_ONCE):
                for reply in self._grid.pull_messages(pending[start : start + _PULL_AT_ONCE]):
                    node = waiting.pop(reply.metadata.reply_to_message_id, None)
                    if node is not None:
                        arrived = True
                        on_reply(node, reply)
            if not waiting or complete() or (deadline is not None and self.now() >= deadline):
                return
            if self._simulated and self._simulated.exhausted(list(waiting)):
                return
            poll_s = _FIRST_POLL_S if arrived else min(poll_s * _SLOW_DOWN, _LAST_POLL_S)
            self._wait(poll_s if deadline is None else max(0.0, min(poll_s, deadline - self.now())))

    def _wait(self, seconds: float) -> None:
        if self._simulated:
            self._simulated.wait(seconds)
        else:
            time.sleep(seconds)
