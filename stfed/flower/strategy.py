"""`SecureAggregation`: a strategy that wraps a strategy, as Flower's differential-privacy wrappers do.

    strategy = SecureAggregation(FedAvg(fraction_train=0.5))
    result = strategy.start(grid, initial_arrays, num_rounds=10)

It runs the inner strategy's own `start` on a `SecureGrid`, so sampling, server optimisers, metrics and centralised evaluation are the
inner strategy's, unchanged. It has to be the outermost wrapper.

One thing is better than in a plain run: the model keeps the dtypes it started with. Flower's averaging makes float64 of integers (a
BatchNorm's counter) and FedAdam of everything, while the parties go on training what they started with.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from numpy.typing import NDArray

from stfed.audit import AuditLog
from stfed.dp import BudgetError, DpRelease
from stfed.errors import LocalError
from stfed.flower import compatibility
from stfed.flower.channel import check_coordinator_channel
from stfed.flower.checkpoint import Checkpoints
from stfed.flower.clipping import AdaptiveClip
from stfed.flower.events import EventLog, RoundReport
from stfed.flower.forecast import Forecast
from stfed.flower.grid import SecureGrid
from stfed.flower.journal import Journal, journal_of
from stfed.flower.roll import check_roster
from stfed.flower.settings import Settings
from stfed.keys.keyfile import RecipientLike, SignerLike
from stfed.keys.roster import Roster
from stfed.sealed.policy import Policy
from stfed.secagg.masking import Accumulate
from stfed.secagg.params import Mode

if TYPE_CHECKING:
    from stfed.flower.ckks.settings import CkksSum

log: logging.Logger = logging.getLogger("stfed")
_flower = logging.getLogger("flwr")
"""Flower's own, whose lines a ServerApp shows: that the rounds are secure stands among them."""

EvaluateFn: TypeAlias = Callable[[int, ArrayRecord], MetricRecord | None]

_WATCHED = ("aggregate_train", "aggregate_evaluate")
_OUTERMOST = "SecureAggregation has to be the outermost strategy: a wrapper around it would send its messages past the secure grid"


class SecureAggregation(Strategy):
    """Runs a strategy so that the coordinator learns sums only.

    Args:
        strategy: what averages: FedAvg, FedAvgM, FedAdam, FedAdagrad, FedYogi, FedProx, or a client-side DP wrapper around one; or, with
            `group_size`, what compares updates: FedMedian, FedTrimmedAvg, Krum, MultiKrum, Bulyan.
        settings: a `Settings`, instead of naming its fields here.
        roster: who may take part, the same file that the parties have; malicious mode (`mode="malicious"`) needs it.
        save: folder in which every round's global model is written as a sealed file, `round-001.safetensors` and so on.
        recipients: who can open them: paths of public key files, public keys, or a roster; required with `save`.
        signer: the coordinator's signing key, an object or the path of its key file. Signed files prove who wrote them, and can be granted
            to others later.
        policy: conditions under which the files may be opened and passed on; needs `signer`.
        audit: log that every released aggregate and every sealed file is written to.
        model: name under which the versions are ordered, so that an old one offered as the newest shows; the run's own if left out.
        events: file of the event log, or an `EventLog`.
        journal: file of the durable round numbers; by default in memory for as long as the grid lives, which is right for simulations.
        accumulate: does the keystreams of unmasking elsewhere, for example on other machines (`stfed.flower.sharded.RayWorkers`).
        ckks: sums under the key of a key holder instead of masks (`stfed.flower.ckks`): one trip to the parties, and less protection.
        **fields: fields of `Settings`: gamma, delta, threshold, ring_bits, clip, max_weight, ...

    Attributes:
        reports: one `RoundReport` per secure sum of the last `start`, with groups one for each group.

    Raises:
        LocalError: a strategy that would be silently wrong, or settings that cannot be met; before anything is sent.
    """

    def __init__(
        self,
        strategy: Strategy,
        settings: Settings | None = None,
        *,
        roster: Roster | str | Path | None = None,
        save: str | Path | None = None,
        recipients: RecipientLike | Iterable[RecipientLike] | Roster = (),
        signer: SignerLike | None = None,
        policy: Policy | None = None,
        audit: AuditLog | str | Path | None = None,
        model: str | None = None,
        events: str | Path | EventLog | None = None,
        journal: str | Path | None = None,
        accumulate: Accumulate | None = None,
        ckks: CkksSum | None = None,
        **fields: Any,
    ) -> None:
        self.settings: Settings = Settings.given("SecureAggregation", settings, fields)
        if any(isinstance(layer, SecureAggregation) for layer in compatibility.layers(strategy)):
            raise LocalError(_OUTERMOST, hint="SecureAggregation(Wrapper(FedAvg()))")
        compatibility.check(strategy, uniform=self.settings.uniform, groups=self.settings.group_size is not None)
        self._check_privacy(strategy)
        if ckks is not None:
            ckks.check(self.settings)
        self.strategy: Strategy = strategy
        self._ckks = ckks
        self._events = events if isinstance(events, EventLog) else EventLog(events)
        self._journal, self._accumulate = None if journal is None else Path(journal), accumulate
        self._roster = roster if roster is None or isinstance(roster, Roster) else Roster.read(roster)
        check_roster(self.settings.mode, self._roster)
        if save is None and any((recipients, signer, policy, audit, model)):
            raise LocalError("it is said how to seal models, but not in which folder to save them", hint="add save=...")
        self._checkpoints = (
            None if save is None else Checkpoints(Path(save), recipients, signer=signer, policy=policy, audit=audit, model=model)
        )
        self.reports: list[RoundReport] = []

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: EvaluateFn | None = None,
    ) -> Result:
        """The inner strategy's `start`, on a secure grid. Arguments and result are Flower's.

        A differentially private run whose budget is used up ends early, with the model and the metrics of the rounds that there were.

        Raises:
            BudgetError: the budget has no room for a single round, also because of what was spent in this run before.
        """
        secure = (SecureGrid if self._ckks is None else self._ckks.over)(
            grid,
            self.settings,
            weight_key=compatibility.weight_key(self.strategy),
            journal=journal_of(grid) if self._journal is None else Journal(self._journal),
            events=self._events,
            roster=self._roster,
            forecast=Forecast(evaluates=compatibility.evaluates(self.strategy), rounds=num_rounds),
            accumulate=self._accumulate,
            least_groups=compatibility.least_groups(self.strategy),
            on_release=self._released,
        )
        self.reports = secure.reports
        if self.settings.mode is Mode.MALICIOUS:
            check_coordinator_channel(grid, allow_insecure=self.settings.allow_insecure)
        inner, started = self.strategy, time.monotonic()
        self._events.emit(
            "start", strategy=type(inner).__name__, num_rounds=num_rounds, run=str(secure.run.run_id), settings=self.settings.as_dict()
        )
        self.summary_of_settings()
        failure: str | None = "interrupted"
        try:
            if self._checkpoints is not None:
                self._checkpoints.start(initial_arrays)
            history = Result()
            with _watched(inner, initial_arrays, self._save(secure), history):
                evaluated = None if evaluate_fn is None else self._evaluated(evaluate_fn, history)
                try:
                    result = inner.start(secure, initial_arrays, num_rounds, timeout, train_config, evaluate_config, evaluated)
                except BudgetError as error:
                    if not any(report.summed for report in secure.reports):
                        raise
                    log.warning("the run ends after round %d of %d: %s", error.last_round, num_rounds, error.message)
                    self._events.emit("budget", server_round=error.last_round, spent=error.spent)
                    result = history
            failure = None
            return result
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._events.emit("end", seconds=round(time.monotonic() - started, 3), failure=failure)

    def summary_of_settings(self) -> None:
        """Logs what the rounds run with."""
        settings = self.settings
        if self._ckks is not None:
            _flower.info("sums encrypted under %r, clip %g, max weight %g", self._ckks.context, settings.first_clip, settings.max_weight)
            return
        _flower.info(
            "secure aggregation: %s, gamma %g, delta %g, %s, %sclip %g, max weight %g",
            settings.mode.value,
            settings.gamma,
            settings.delta,
            settings.precision,
            "adaptive " if isinstance(settings.clip, AdaptiveClip) else "",
            settings.first_clip,
            settings.max_weight,
        )

    def _check_privacy(self, strategy: Strategy) -> None:
        dp = self.settings.dp
        if dp is not None and not dp.evaluate_metrics and compatibility.evaluates(strategy):
            raise LocalError(
                f"{type(strategy).__name__} has the parties evaluate, and nothing is said about what may leave of that under noise",
                hint='set fraction_evaluate=0.0 and evaluate on the coordinator, or evaluate_metrics={"accuracy": (0, 1)} in DistributedDp',
            )

    def _released(self, release: DpRelease) -> None:
        self._events.emit("release", **release.as_dict())
        if self._checkpoints is not None:
            self._checkpoints.released(release)

    def _evaluated(self, evaluate_fn: EvaluateFn, history: Result) -> EvaluateFn:
        """The user's function, with its result in the event log and in the history."""

        def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
            metrics = evaluate_fn(server_round, arrays)
            if metrics is not None:
                history.evaluate_metrics_serverapp[server_round] = metrics
                self._events.emit("evaluation", server_round=server_round, metrics=dict(metrics))
            return metrics

        return evaluate

    def summary(self) -> None:
        """Logs the settings, then the inner strategy's summary."""
        self.summary_of_settings()
        self.strategy.summary()

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        """Refused: only `start` runs secure rounds."""
        raise LocalError(_OUTERMOST, hint="SecureAggregation(Wrapper(FedAvg())), then call its start")

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Refused, as `configure_train`."""
        raise LocalError(_OUTERMOST, hint="SecureAggregation(Wrapper(FedAvg())), then call its start")

    def configure_evaluate(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        """Refused, as `configure_train`."""
        raise LocalError(_OUTERMOST, hint="SecureAggregation(Wrapper(FedAvg())), then call its start")

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Refused, as `configure_train`."""
        raise LocalError(_OUTERMOST, hint="SecureAggregation(Wrapper(FedAvg())), then call its start")

    def _save(self, secure: SecureGrid) -> Callable[[int, ArrayRecord], None]:
        def save(server_round: int, arrays: ArrayRecord) -> None:
            if self._checkpoints is None:
                return
            reports = [report for report in secure.last("train") if report.failure is None]
            path = self._checkpoints.save(server_round, arrays, reports, secure.run.run_id, type(self.strategy).__name__)
            self._events.emit("model", server_round=server_round, round=reports[0].round, path=str(path), bytes=path.stat().st_size)

        return save


class _watched:
    """Inside, gives every model of the strategy's `aggregate_train` its dtypes back, tells `saved` about it and keeps the history.

    The instance is watched, not replaced: a strategy with a `start` of its own calls its own methods and keeps its own attributes.
    """

    def __init__(self, strategy: Strategy, initial: ArrayRecord, saved: Callable[[int, ArrayRecord], None], history: Result) -> None:
        self._strategy, self._saved, self._history = strategy, saved, history
        self._dtypes = {name: np.dtype(array.dtype) for name, array in initial.items()}
        self._own = {name: vars(strategy)[name] for name in _WATCHED if name in vars(strategy)}

    def __enter__(self) -> None:
        aggregate, evaluate, history = self._strategy.aggregate_train, self._strategy.aggregate_evaluate, self._history

        def aggregate_train(server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord | None, MetricRecord | None]:
            arrays, metrics = aggregate(server_round, replies)
            if metrics is not None:
                history.train_metrics_clientapp[server_round] = metrics
            if arrays is None:
                return None, metrics
            history.arrays = arrays = _with_dtypes(arrays, self._dtypes)
            self._saved(server_round, arrays)
            return arrays, metrics

        def aggregate_evaluate(server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
            metrics = evaluate(server_round, replies)
            if metrics is not None:
                history.evaluate_metrics_clientapp[server_round] = metrics
            return metrics

        vars(self._strategy).update(dict(zip(_WATCHED, (aggregate_train, aggregate_evaluate), strict=True)))

    def __exit__(self, *_: object) -> None:
        for name in _WATCHED:
            del vars(self._strategy)[name]
        vars(self._strategy).update(self._own)


def _with_dtypes(arrays: ArrayRecord, dtypes: Mapping[str, np.dtype[Any]]) -> ArrayRecord:
    """The arrays in these dtypes, those of other names as they are."""
    if all(name not in dtypes or np.dtype(array.dtype) == dtypes[name] for name, array in arrays.items()):
        return arrays
    return ArrayRecord({name: Array(_cast(array.numpy(), dtypes[name])) if name in dtypes else array for name, array in arrays.items()})


def _cast(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """To nearest; what an optimiser moved out of an integer's range comes back to its end."""
    if dtype.kind == "b":
        return np.asarray(values >= 0.5)
    if dtype.kind in "iu" and values.dtype.kind == "f":
        values = np.rint(values).clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.asarray(values, dtype)
