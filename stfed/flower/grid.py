"""`SecureGrid`: a Flower Grid whose `send_and_receive` is one secure round.

A strategy hands over ordinary train or evaluate messages and gets back ordinary replies: one per party summed, all with the same
weighted mean, the same mean metrics and total/count as their weight. So a strategy that averages computes what it would have computed
from the real replies, and nobody, the strategy included, sees one party's update. With `Settings.group_size` a training is cut into groups
that are summed at the same time, and the strategy gets one reply per group: its mean, its mean metrics and its total weight. Who is asked,
how many must answer and how long TRAIN waits is the strategy's choice, as always in Flower.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from stfed.dp import DpRelease
from stfed.encoding import Array, DecodedSum
from stfed.errors import DecodeError, LocalError, PeerError, QuorumError, StfedError
from stfed.flower.ahead import Ahead
from stfed.flower.clipping import AdaptiveClip, Clipping
from stfed.flower.courier import Courier, Exchange
from stfed.flower.dp import Privacy
from stfed.flower.events import EventLog, RoundReport
from stfed.flower.forecast import Forecast
from stfed.flower.groups import Groups, check_groups
from stfed.flower.journal import Journal
from stfed.flower.office import Office
from stfed.flower.replies import of_group, of_parties
from stfed.flower.request import Request
from stfed.flower.roll import Roll
from stfed.flower.round import MORE_PARTIES, SecureRound
from stfed.flower.settings import Settings
from stfed.keys.roster import Roster
from stfed.secagg.masking import Accumulate
from stfed.secagg.messages import Phase
from stfed.secagg.roster import PartyRoster

log: logging.Logger = logging.getLogger("stfed")


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
        on_release: told of every sum of a differentially private run, also of one that failed.
        least_groups: fewest groups that the strategy can work with, before a round and when some have failed.
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
        least_groups: int = 1,
        on_release: Callable[[DpRelease], None] = lambda _: None,
    ) -> None:
        self._grid, self._weight_key = grid, weight_key
        self.settings: Settings = settings or Settings()
        self._journal, self._events = journal or Journal(), events or EventLog()
        self._courier = Courier(grid)
        members = None if roster is None else PartyRoster(roster if isinstance(roster, Roster) else Roster.read(roster))
        self._roll = Roll(grid, self._courier, self._journal, self.settings, self._events, members)
        self._forecast, self._accumulate = forecast or Forecast(), accumulate
        self._ahead: Ahead | None = None
        group_size = self.settings.group_size
        self._groups = None if group_size is None else Groups(group_size, self.settings.regroup_every, least=least_groups)
        self._least_groups, self._last = max(1, least_groups), dict[str, Sequence[RoundReport]]()
        self._privacy: Privacy | None = None
        self._clipping: Clipping | None = None
        self._on_release = on_release
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
        """One secure round: one sum, or one for each group.

        Args:
            messages: train or evaluate messages with the same content, one per node.
            timeout: seconds that TRAIN waits for replies; the light steps have their own, `Settings.light_timeout_s`.

        Returns:
            One reply per party summed, all with the mean, or one per group, with its mean; then the error replies of parties that sent one
            and are in no sum.

        Raises:
            QuorumError: too few parties, or groups, are left (with `on_failure="skip"`: no replies but the errors).
            PeerError: a party's secret is not the one it committed to; the round is lost (likewise).
            LocalError: messages or settings that cannot make a secure round.
        """
        messages = list(messages)
        if not messages:
            return []
        request = Request.of(messages)
        received = request.model()
        self._forecast.saw(request)
        office = Office(
            self._roll,
            self._courier,
            self._journal,
            self._settings_for(request, received),
            self._forecast,
            self.run.run_id,
            self._weight_key,
            self._events,
            self._accumulate,
            self._privacy,
            self._clip_of_run(),
            self._picked_from(len(request.messages)),
        )
        groups = self._groups if request.phase is Phase.TRAIN else None
        if groups is not None:
            check_groups(office, len(request.messages), groups.size, self._least_groups)
        prepared, ahead = self._ahead, Ahead(office, self._groups, request.messages)
        joining = RoundReport(request.phase.name.lower(), tuple(request.messages), request.server_round())
        errors: dict[int, Error] = {}
        rounds: list[SecureRound] = []
        replies: list[Message] = []
        try:
            enrolment = self._roll.enrol(request.messages, joining, errors)
            parts = [request] if groups is None else self._cut(groups, request)
            rounds = [
                SecureRound(part, received, enrolment, office, prepared, ahead, errors, None if groups is None else at)
                for at, part in enumerate(parts)
            ]
            for round_ in rounds:
                round_.report.note_join(joining, bytes_too=round_ is rounds[0])
            outcomes = self._courier.converse([_outcome(round_, timeout) for round_ in rounds])
            replies = self._replies(parts, rounds, outcomes)
        except StfedError as error:
            for report in [round_.report for round_ in rounds] or [joining]:
                report.failure = report.failure or (None if report.summed else str(error))
            if self.settings.on_failure == "raise" or not isinstance(error, QuorumError | PeerError | DecodeError):
                raise
            log.error("round %d failed, the model stays as it is: %s", rounds[0].report.round if rounds else 0, error)
        finally:
            if prepared is not None:
                prepared.done()
            self._ahead = ahead
            reports = [round_.report for round_ in rounds] or [joining]
            self._account(reports, office)
            self._follow(reports)
            self._last[joining.phase] = reports
            self.reports += reports
            for report in reports:
                self._events.emit("round", **report.as_dict())
        # One reply to a message: who failed after its update was in the sum has answered with the sum.
        summed = {node for round_ in rounds for node in round_.report.summed}
        return [*replies, *(Message(error, reply_to=request.messages[node]) for node, error in errors.items() if node not in summed)]

    def _settings_for(self, request: Request, received: Mapping[str, Array]) -> Settings:
        """The settings with the clip and the noise of this round, in a differentially private run."""
        privacy, settings, n = self._privacy_of_run(), self.settings, len(request.messages)
        if privacy is None:
            return settings
        if request.phase is Phase.TRAIN:
            size, roster = min(n, settings.group_size or n), self._picked_from(n)
            plain = settings.plain(received, size, self._weight_key, self.run.run_id)
            privacy.calibrate(plain, settings.floor(size, size - 1, roster), settings.corrupt(size, roster))
        return replace(settings, dp=privacy.dp)

    def _privacy_of_run(self) -> Privacy | None:
        """What a differentially private run has spent; found when the run is known."""
        dp = self.settings.dp
        if self._privacy is None and dp is not None:
            sums = 2 if dp.evaluate_metrics else 1
            self._privacy = Privacy(dp, self._forecast.rounds, sums, journal=self._journal, run=self.run.run_id)
        return self._privacy

    def _clip_of_run(self) -> float | None:
        """The clip of the next training, where it follows the updates."""
        if self._clipping is None and isinstance(self.settings.clip, AdaptiveClip):
            self._clipping = Clipping(self.settings.clip, self._journal, self.run.run_id)
        return None if self._clipping is None else self._clipping.clip

    def _follow(self, reports: Sequence[RoundReport]) -> None:
        """Learns the next clip from these sums; those that failed have nobody's coordinates."""
        if self._clipping is not None and reports[0].phase == "train":
            self._clipping.learn((report.clipped, len(report.summed) * report.parameters) for report in reports)

    def _picked_from(self, n: int) -> int | None:
        """Of how many parties the corrupt ones of a cohort are a share: the roster's, or of all n that are cut into groups."""
        return self._roll.roster_size or (n if self.settings.group_size is not None and self.settings.dp is not None else None)

    def _account(self, reports: Sequence[RoundReport], office: Office) -> None:
        """Records what these sums gave away, all groups together: a party is in one."""
        planned = [(report, report.plan) for report in reports if report.plan is not None]
        if self._privacy is None or not planned:
            return
        sums = [(plan, office.corrupt(plan)) for _, plan in planned]
        summed, report = [len(report.summed) for report, _ in planned if report.summed], reports[0]
        server_round = report.round if report.server_round is None else report.server_round
        release = self._privacy.settle(sums, server_round, min(summed, default=None), report.phase)
        for report, _ in planned:
            report.privacy = release
        self._privacy.learn([report.within for report, _ in planned if report.within is not None])
        self._on_release(release)

    def last(self, phase: str) -> Sequence[RoundReport]:
        """The reports of the last request of this phase, "train" or "evaluate": one, or one for each group."""
        return self._last.get(phase, ())

    def _cut(self, groups: Groups, request: Request) -> list[Request]:
        """The request for each group of the nodes that have joined; those that have not are in the first one's books.

        Raises:
            QuorumError: too few have joined for as many groups as the strategy needs.
        """
        members, absent = self._roll.members(request.messages)
        cut = groups.cut(members)
        if len(cut) < self._least_groups:
            asked = len(request.messages)
            raise QuorumError(
                f"{len(members)} of {asked} parties have joined, too few for {self._least_groups} groups of {groups.size}",
                missing=[f"node {node}" for node in absent],
                hint=MORE_PARTIES,
            )
        return [
            replace(request, messages={node: request.messages[node] for node in (*group, *(() if at else absent))})
            for at, group in enumerate(cut)
        ]

    def _replies(
        self, parts: Sequence[Request], rounds: Sequence[SecureRound], outcomes: Sequence[DecodedSum | StfedError]
    ) -> list[Message]:
        """What the strategy is told of these sums.

        Raises:
            QuorumError, PeerError, DecodeError: the one sum failed, or so many groups that too few are left.
        """
        failures = [outcome for outcome in outcomes if isinstance(outcome, StfedError)]
        left, grouped = len(outcomes) - len(failures), rounds[0].report.group is not None
        if failures and not grouped:
            raise failures[0]
        if failures and left < self._least_groups:
            raise QuorumError(
                f"{left} of {len(outcomes)} groups have a sum, {self._least_groups} are needed; one failed: {failures[0].message}",
                missing=[name for failure in failures if isinstance(failure, QuorumError) for name in failure.missing],
                hint=failures[0].hint,
            ) from failures[0]
        replies: list[Message] = []
        for part, round_, outcome in zip(parts, rounds, outcomes, strict=True):
            report = round_.report
            if isinstance(outcome, StfedError):
                log.error("group %s of round %d failed and is left out: %s", report.group, report.round, outcome)
            elif report.group is None:
                replies += of_parties(part, outcome, report.summed, self._weight_key, uniform=self.settings.uniform)
            else:
                replies.append(of_group(part, outcome, report.summed, self._weight_key))
        return replies


def _outcome(round_: SecureRound, timeout_s: float | None) -> Generator[Exchange, None, DecodedSum | StfedError]:
    """The sum, or why there is none where that is not this side's fault: other groups may have one all the same."""
    try:
        return (yield from round_.conversation(timeout_s))
    except (QuorumError, PeerError, DecodeError) as error:
        round_.report.failure = str(error)
        return error
