"""`SecureGrid`: a Flower Grid whose `send_and_receive` is one secure round.

A strategy hands over ordinary train or evaluate messages and gets back ordinary replies: one per party summed, all with the same
weighted mean, the same mean metrics and total/count as their weight. So a strategy that averages computes what it would have computed
from the real replies, and nobody, the strategy included, sees one party's update. Who is asked, how many must answer and how long TRAIN
waits is the strategy's choice, as always in Flower.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from numpy.typing import NDArray

from stfed.encoding import DecodedSum
from stfed.errors import DecodeError, LocalError, PeerError, QuorumError, StfedError
from stfed.flower import votes
from stfed.flower.courier import Courier
from stfed.flower.events import EventLog, RoundReport
from stfed.flower.forecast import Forecast
from stfed.flower.journal import Journal
from stfed.flower.opening import Opening
from stfed.flower.request import Request
from stfed.flower.roll import Roll
from stfed.flower.round import SecureRound
from stfed.flower.settings import Settings
from stfed.keys.roster import Roster
from stfed.secagg.masking import Accumulate
from stfed.secagg.messages import Phase
from stfed.secagg.roster import PartyRoster

log = logging.getLogger("stfed")


class SharedArray(Array):
    """An Array that is decoded already. Every synthetic reply holds the same one, and a strategy reads it once per reply."""

    @classmethod
    def of(cls, values: NDArray[Any]) -> SharedArray:
        """The array of these values, which are made read-only."""
        array = cls(values)
        values.flags.writeable = False
        array.__dict__["_values"] = values
        return array

    def numpy(self) -> NDArray[Any]:
        """The values, not to be written to."""
        values: NDArray[Any] = self.__dict__["_values"]
        return values


def _single_replies() -> LocalError:
    return LocalError("push_messages and pull_messages return single replies, which a secure round never has", hint="use send_and_receive")


class SecureGrid(Grid):
    """Wraps a Grid so that no reply of a single party ever comes back.

    Args:
        grid: Flower's.
        settings: the coordinator's.
        weight_key: the metric that weights a party: the strategy's `weighted_by_key`.
        journal: durable round numbers; in memory if None.
        events: where rounds are reported to.
        roster: who may take part; malicious mode needs it, the same that the parties have.
        forecast: what is known about the sums to come; without one, it is learnt from those that were.
        accumulate: does the keystreams of unmasking elsewhere, for example on other machines (`stfed.flower.sharded.RayWorkers`).
    """

    def __init__(
        self,
        grid: Grid,
        settings: Settings | None = None,
        *,
        weight_key: str = "num-examples",
        journal: Journal | None = None,
        events: EventLog | None = None,
        roster: Roster | str | Path | None = None,
        forecast: Forecast | None = None,
        accumulate: Accumulate | None = None,
    ) -> None:
        self._grid, self._weight_key = grid, weight_key
        self.settings, self._journal, self._events = settings or Settings(), journal or Journal(), events or EventLog()
        self._courier = Courier(grid)
        members = None if roster is None else PartyRoster(roster if isinstance(roster, Roster) else Roster.read(roster))
        self._roll = Roll(grid, self._courier, self._journal, self.settings, self._events, members)
        self._forecast, self._accumulate = forecast or Forecast(), accumulate
        self._ahead: Opening | None = None
        self.reports: list[RoundReport] = []

    def set_run(self, run: Run) -> None:
        """See Flower."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """See Flower."""
        return self._grid.run

    def get_node_ids(self) -> Iterable[int]:
        """See Flower."""
        return self._grid.get_node_ids()

    def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None) -> Message:
        """See Flower; it recommends `Message(...)` instead."""
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Refused: replies that are pulled one by one would be replies of single parties."""
        raise _single_replies()

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Refused, as `push_messages`."""
        raise _single_replies()

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """One secure round.

        Args:
            messages: train or evaluate messages with the same content, one per node.
            timeout: seconds that TRAIN waits for replies; the light steps have their own, `Settings.light_timeout_s`.

        Returns:
            One reply per party summed, all with the mean, then the error replies of parties that sent one and are not in the sum.

        Raises:
            QuorumError: too few parties are left (with `on_failure="skip"`: no replies but the errors).
            PeerError: a party's secret is not the one it committed to; the round is lost (likewise).
            LocalError: messages or settings that cannot make a secure round.
        """
        messages = list(messages)
        if not messages:
            return []
        request = Request.of(messages)
        self._forecast.saw(request)
        round_ = SecureRound(
            request,
            self._roll,
            self._courier,
            self._journal,
            self.settings,
            self.run.run_id,
            self._weight_key,
            self._ahead,
            self._forecast,
            self._accumulate,
        )
        replies: list[Message] = []
        try:
            result = round_.execute(timeout)
            replies = self._synthetic_replies(request, result, round_.report.summed)
        except StfedError as error:
            round_.report.failure = str(error)
            if self.settings.on_failure == "raise" or not isinstance(error, QuorumError | PeerError | DecodeError):
                raise
            log.error("round %d failed, the model stays as it is: %s", round_.report.round, error)
        finally:
            self._ahead = round_.ahead
            self.reports.append(round_.report)
            self._events.emit("round", **round_.report.as_dict())
        # One reply to a message: who failed after its update was in the sum has answered with the sum.
        summed = set(round_.report.summed)
        errors = [Message(error, reply_to=request.messages[node]) for node, error in round_.errors.items() if node not in summed]
        return [*replies, *errors]

    def _synthetic_replies(self, request: Request, result: DecodedSum, nodes: tuple[int, ...]) -> list[Message]:
        """One reply per party summed: the mean, and total/count as its weight. Of votes, as many replies have a 1 as parties did."""
        metrics: dict[str, Any] = {**result.metrics, self._weight_key: result.total_weight / len(nodes)}
        arrays: dict[str, ArrayRecord] = {}
        ones: int | None = None
        if request.phase is Phase.TRAIN:
            key = next(iter(request.content.array_records))
            arrays[key] = ArrayRecord()
            for name, values in result.arrays.items():
                arrays[key][name] = SharedArray.of(np.asarray(values))  # the constructor would make plain ones of them
            ones = votes.ones(result.metrics, len(nodes)) if self.settings.uniform else None
        replies = []
        for at, node in enumerate(nodes):
            own = metrics if ones is None else {**metrics, votes.VOTE: int(at < ones)}
            replies.append(Message(RecordDict({**arrays, "metrics": MetricRecord(own)}), reply_to=request.messages[node]))
        return replies
