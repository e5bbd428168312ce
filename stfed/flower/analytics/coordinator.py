"""`Analytics`: the coordinator's side. What it asks at once is one secure round, over the same mod and protocol as training.

    @app.main()
    def main(grid, context):
        analytics = Analytics(grid, CODEBOOK)
        mean, ages = analytics.ask(Mean("bmi"), Histogram("age", edges=(0, 18, 65, 120)))

Every party adds its whole numbers to a tensor of zeros, and the sums come back exact (`stfed.flower.analytics.fixed`). Ask for everything
in one call: a call is a round, a party answers about a column as often as its policy says (once, by default), and answers of different
length are different encodings, to the first of which the parties hold a coordinator for a whole run. So a training does not fit into the
run of an analysis either: give each a run of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from flwr.app import Message
from flwr.serverapp import Grid

from stfed.errors import LocalError, QuorumError
from stfed.flower.analytics import fixed
from stfed.flower.analytics.batch import Batch
from stfed.flower.analytics.codebook import Category, Codebook, Column, Number, column_named
from stfed.flower.analytics.questions import Covariance, Crosstab, Frequencies, Histogram, Mean, Quantiles, Question, Variance
from stfed.flower.analytics.results import CovarianceOf, CrosstabOf, FrequenciesOf, HistogramOf, MeanOf, QuantilesOf, Result, VarianceOf
from stfed.flower.channel import check_coordinator_channel
from stfed.flower.events import EventLog, RoundReport
from stfed.flower.grid import SecureGrid
from stfed.flower.journal import Journal, journal_of
from stfed.flower.roll import check_roster
from stfed.flower.settings import Settings
from stfed.keys.roster import Roster
from stfed.secagg.params import Mode

R = TypeVar("R", bound=Result)

_LOOK_S = 0.5
_ENCODING = ("ring_bits", "value_bits", "rotation", "clip", "max_weight", "uniform", "metric_slots", "on_failure", "prepare_ahead")


class Analytics:
    """Asks questions about columns that only the parties have.

    Args:
        grid: Flower's, as the ServerApp got it.
        codebook: what the columns are; the parties have the same.
        settings: a `Settings`, instead of naming its fields here. How numbers are encoded (clip, bits, weights) is not up to them.
        nodes: the parties to ask; all that are there, if left out.
        min_parties: wait until so many are there.
        slots: room for so many numbers in every call, so that a run can have more than one; by default as many as the first call needs.
        action: of the parties' function: "analytics" for `@app.train("analytics")`, "default" for `@app.train()`.
        roster: who may take part; malicious mode needs it.
        events: file of the event log, or an `EventLog`.
        journal: file of the durable round numbers; by default in memory.
        timeout_s: how long to wait for parties, and then for their answers.
        **fields: fields of `Settings`: mode, gamma, delta, threshold, ...

    Attributes:
        reports: one `RoundReport` per call.

    Raises:
        LocalError: settings that cannot be met; before anything is sent.
    """

    def __init__(
        self,
        grid: Grid,
        codebook: Codebook,
        settings: Settings | None = None,
        *,
        nodes: Iterable[int] | None = None,
        min_parties: int = 3,
        slots: int | None = None,
        action: str = "analytics",
        roster: Roster | str | Path | None = None,
        events: str | Path | EventLog | None = None,
        journal: str | Path | None = None,
        timeout_s: float = 3600.0,
        **fields: Any,
    ) -> None:
        if named := sorted(set(_ENCODING) & fields.keys()):
            raise LocalError(f"{', '.join(named)}: this is fixed for answers", hint="leave it out")
        settings = Settings.given("Analytics", settings, fields)
        if settings.dp is not None or settings.group_size is not None:
            raise LocalError(
                "answers are exact sums over all parties: without noise and without groups", hint="leave dp and group_size out"
            )
        self.settings: Settings = replace(
            settings,
            ring_bits=fixed.RING_BITS,
            value_bits=None,
            rotation=False,
            clip=fixed.CLIP,
            uniform=True,
            metric_slots=0,
            prepare_ahead=False,  # a question has no next round
            on_failure="raise",
        )
        self._roster = roster if roster is None or isinstance(roster, Roster) else Roster.read(roster)
        check_roster(self.settings.mode, self._roster)
        self.codebook: dict[str, Column] = dict(codebook)
        self._grid, self._action, self._slots = grid, action, slots
        self._nodes, self._min_parties, self._timeout_s = None if nodes is None else list(nodes), min_parties, timeout_s
        self._secure = SecureGrid(
            grid,
            self.settings,
            journal=journal_of(grid) if journal is None else Journal(Path(journal)),
            events=events if isinstance(events, EventLog) else EventLog(events),
            roster=self._roster,
        )

    @property
    def reports(self) -> list[RoundReport]:
        """One for each call."""
        return self._secure.reports

    def ask(self, *questions: Question) -> tuple[Any, ...]:
        """One secure round.

        Returns:
            One result a question, in order.

        Raises:
            QuorumError: too few parties answer; those that refuse have the reason in their own log.
            PeerError: the sum cannot be that of parties that follow the protocol.
            LocalError: a question that does not fit the codebook, or needs more slots than there are, or parties that are too many.
        """
        batch = Batch.of(self.codebook, questions)
        slots = self._slots = self._slots or batch.size
        if batch.size > slots:
            raise LocalError(f"the answers have {batch.size} numbers, this run has room for {slots}", hint=f"Analytics(slots={batch.size})")
        if self.settings.mode is Mode.MALICIOUS:
            check_coordinator_channel(self._grid, allow_insecure=self.settings.allow_insecure)
        nodes = self._those_there()
        if len(nodes) > fixed.MAX_PARTIES:
            raise LocalError(
                f"{len(nodes)} parties are too many for exact sums", hint=f"ask at most {fixed.MAX_PARTIES} of them: nodes=..."
            )
        content, kind = batch.content(slots), "train" if self._action == "default" else f"train.{self._action}"
        replies = [
            reply
            for reply in self._secure.send_and_receive([Message(content, node, kind) for node in nodes], timeout=self._timeout_s)
            if reply.has_content()
        ]
        report = self._secure.reports[-1]
        sums = fixed.from_mean(Batch.summed(replies[0].content), len(report.summed), report.error_bound, batch.size)
        return batch.results(sums, len(report.summed))

    def describe(self, *names: str) -> dict[str, dict[str, Result]]:
        """What there is to say about each column: mean, variance and quartiles of numbers, frequencies of categories. One round.

        Args:
            *names: of the columns; all of them, if left out.

        Returns:
            By column: "variance" and "quantiles", or "frequencies".
        """
        questions: list[Question] = []
        for name in names or tuple(self.codebook):
            match column_named(self.codebook, name):
                case Number():
                    questions += [Variance(name), Quantiles(name)]
                case Category():
                    questions += [Frequencies(name)]
        results: dict[str, dict[str, Result]] = {}
        for question, result in zip(questions, self.ask(*questions), strict=True):
            results.setdefault(question.names[0], {})[question.kind] = result
        return results

    def mean(self, column: str) -> MeanOf:
        """One `Mean`."""
        return self._one(Mean(column), MeanOf)

    def variance(self, column: str) -> VarianceOf:
        """One `Variance`, with the mean."""
        return self._one(Variance(column), VarianceOf)

    def histogram(self, column: str, edges: Iterable[float] | None = None) -> HistogramOf:
        """One `Histogram`."""
        return self._one(Histogram(column, None if edges is None else tuple(edges)), HistogramOf)

    def quantiles(self, column: str, probabilities: Iterable[float] = (0.25, 0.5, 0.75)) -> QuantilesOf:
        """One `Quantiles`."""
        return self._one(Quantiles(column, tuple(probabilities)), QuantilesOf)

    def frequencies(self, column: str) -> FrequenciesOf:
        """One `Frequencies`."""
        return self._one(Frequencies(column), FrequenciesOf)

    def crosstab(self, rows: str, columns: str) -> CrosstabOf:
        """One `Crosstab`."""
        return self._one(Crosstab(rows, columns), CrosstabOf)

    def covariance(self, *columns: str) -> CovarianceOf:
        """One `Covariance`."""
        return self._one(Covariance(columns), CovarianceOf)

    def _one(self, question: Question, kind: type[R]) -> R:
        return cast(R, self.ask(question)[0])

    def _those_there(self) -> list[int]:
        """The parties to ask, once there are enough of them."""
        if self._nodes is not None:
            return self._nodes
        deadline = time.monotonic() + self._timeout_s
        while len(nodes := sorted(self._secure.get_node_ids())) < self._min_parties:
            if time.monotonic() > deadline:
                raise QuorumError(f"{len(nodes)} parties are there, {self._min_parties} are needed", hint="start more SuperNodes")
            time.sleep(_LOOK_S)
        return nodes
