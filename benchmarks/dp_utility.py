"""Accuracy against epsilon: noise that the parties add inside the secure sum, beside noise that a trusted server adds.

*Central* is Flower's `DifferentialPrivacyServerSideFixedClipping(FedAvg)`: the server sees every update, cuts it to the norm C, and adds
Gaussian noise of deviation z C / n to each coordinate of the mean. With every party asked and equal weights that is the Gaussian mechanism
with noise multiplier z for the same unit and the same neighbours as ours (one party's update, or zero in its place: docs/privacy.md). So
both are accounted for by the same accountant, over the same rounds, without subsampling. What differs is who is trusted: there whoever
runs the server, with every update; here nobody.

*Distributed* is `SecureAggregation(FedAvg, dp=DistributedDp(...))`, twice: with all n parties certain to be honest and there, where its
noise is that of the central one but for being Skellam instead of Gaussian; and with a tenth that may be corrupt and a tenth that may drop,
where each party adds more, because the noise of the others has to be enough. Nobody drops here: that is what certainty costs when nothing
goes wrong.

The sums are those of the real encoder, noise included, without masks, which change nothing about them. For each data set one point is
trained through real parties too; its plan has to be the same to the byte, and its noise has to have the variance that the plan says.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg
from threadpoolctl import threadpool_limits

from benchmarks.line import Line, Section
from benchmarks.progress import progress
from benchmarks.securecrowd import secure_grid
from benchmarks.softmax import TENSOR, Crowd, CrowdGrid, Floats, arrays_of, model_of, quiet
from stfed.crypto.keystream import random_filler
from stfed.dp import calibrate_noise
from stfed.encoding import EncodingPlan, Vector, decode_sum, encode_update
from stfed.flower import DistributedDp, SecureAggregation
from stfed.flower.dp import sum_of
from stfed.flower.settings import Settings
from stfed.secagg.policy import Policy

EPSILONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
DELTA, ROUNDS = 1e-5, 10
CHECKED_ROUNDS = 2
CHECKED_EPSILON = 8.0
CENTRAL, ALL_HONEST, TENTHS, NONE = "central, Flower", "distributed, all honest", "distributed, 10 % corrupt, 10 % drop", "no noise"
_SHARES = {ALL_HONEST: 0.0, TENTHS: 0.1}
_SIGMAS = 5.0
_CLOSE = 3.0
"""Standard errors by which the accuracies with Skellam and with Gaussian noise of one epsilon may differ, over all epsilons and seeds."""


@dataclass(frozen=True)
class Task:
    """A data set, dealt out to parties, and how they train.

    Attributes:
        dataset: of examples/hospitals.
        parties: n.
        l2_clip: C.
        options: of `Crowd`.
    """

    dataset: str
    parties: int
    l2_clip: float
    options: dict[str, Any]

    def crowd(self, seed: int) -> Crowd:
        return Crowd(self.dataset, self.parties, seed, **self.options)


CANCER = Task("breast-cancer", 100, 1.0, {"lr": 0.3, "steps": 3, "batch": 8})
MNIST = Task("mnist", 200, 2.0, {"lr": 0.5, "steps": 5, "batch": 16})
TASKS = (CANCER, MNIST)
QUICK = (Task("breast-cancer", 20, 1.0, {"lr": 0.3, "steps": 3, "batch": 8}),)


@dataclass(frozen=True)
class Trained:
    """One training.

    Attributes:
        epsilon: None without noise.
        multiplier: z.
    """

    dataset: str
    variant: str
    epsilon: float | None
    multiplier: float
    seed: int
    accuracy: float


def settings_of(task: Task, share: float, multiplier: float) -> Settings:
    """The coordinator's."""
    dp = DistributedDp(l2_clip=task.l2_clip, noise_multiplier=multiplier, delta=DELTA)
    return Settings(dp=dp, uniform=True, gamma=share, delta=share)


def plan_of(task: Task, share: float, multiplier: float, model: Floats, run: int = 0) -> EncodingPlan:
    """The plan of a round with these settings."""
    return settings_of(task, share, multiplier).plan({TENSOR: model}, task.parties, run=run)


def distributed_multiplier(task: Task, share: float, epsilon: float, rounds: int) -> float:
    """The least z of noise from the parties."""
    model, corrupt = task.crowd(0).initial, settings_of(task, share, 1.0).corrupt(task.parties)
    return calibrate_noise(epsilon, DELTA, rounds, lambda z: sum_of(plan_of(task, share, z, model), corrupt))


def central_multiplier(epsilon: float, rounds: int) -> float:
    """The least z of Gaussian noise, by dp-accounting alone."""
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    def event(z: float) -> Any:
        return dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(z), rounds)

    return float(dp_accounting.calibrate_dp_mechanism(RdpAccountant, event, epsilon, DELTA))


def train_distributed(task: Task, plan: EncodingPlan, seed: int, rounds: int) -> float:
    """The accuracy with the real encoder's sums."""
    assert plan.noise is not None
    crowd, fill = task.crowd(seed), random_filler(np.random.default_rng([seed, int(plan.noise.share_variance)]).bytes)
    model = crowd.initial
    for server_round in range(1, rounds + 1):
        total, received = Vector.zeros(plan), {TENSOR: model}
        for own in crowd.train(model, server_round):
            update = encode_update(plan, received, {TENSOR: own}, 1, {}, fill)
            total.add(update.vector, plan)
        total.reduce(plan)
        model = np.asarray(decode_sum(plan, total, task.parties, received, update.schema).arrays[TENSOR])
    return crowd.accuracy(model)


def train_central(task: Task, multiplier: float, seed: int, rounds: int) -> float:
    """The accuracy with Flower's wrapper, from its own `start`."""
    crowd = task.crowd(seed)
    np.random.seed([seed, int(1e6 * multiplier)])  # Flower draws from NumPy's global generator
    strategy = DifferentialPrivacyServerSideFixedClipping(FedAvg(fraction_evaluate=0.0), multiplier, task.l2_clip, task.parties)
    result = strategy.start(CrowdGrid(crowd.train, task.parties), arrays_of(crowd.initial), rounds)
    return crowd.accuracy(model_of(result.arrays))


def clipped_mean(model: Floats, trained: Floats, clip: float) -> Floats:
    """What a round without noise does, in double precision."""
    change = trained.astype(float) - model
    norms = np.linalg.norm(change, axis=(1, 2), keepdims=True)
    return np.asarray(model + (change * np.minimum(1, clip / np.maximum(norms, 1e-300))).mean(0))


def train_clipped(task: Task, seed: int, rounds: int) -> float:
    """The accuracy with the clip and no noise."""
    crowd = task.crowd(seed)
    model = crowd.initial
    for server_round in range(1, rounds + 1):
        model = clipped_mean(model, crowd.train(model, server_round), task.l2_clip).astype(np.float32)
    return crowd.accuracy(model)


@dataclass(frozen=True)
class Checked:
    """A training through real parties.

    Attributes:
        same_plan: whether all its rounds had the plan that the fast sums have.
        ratio: variance of the noise in its models, by what the plan says.
        sigmas: how many standard errors that is off.
        epsilon: what its last release record says.
    """

    dataset: str
    accuracy: float
    same_plan: bool
    ratio: float
    sigmas: float
    epsilon: float


def check(task: Task, multiplier: float, seed: int, rounds: int) -> Checked:
    """Trains through real parties and looks at what came out of each round."""
    crowd, models = task.crowd(seed), list[Floats]()
    settings = settings_of(task, _SHARES[TENTHS], multiplier)

    def keep(_: int, arrays: ArrayRecord) -> None:
        models.append(model_of(arrays).copy())

    with secure_grid(crowd.train, task.parties, Policy(gamma=settings.gamma, delta=settings.delta)) as grid:
        strategy = SecureAggregation(FedAvg(fraction_evaluate=0.0), settings)
        strategy.start(grid, arrays_of(crowd.initial), rounds, evaluate_fn=keep)
        plan = plan_of(task, _SHARES[TENTHS], multiplier, crowd.initial, grid.run.run_id)
    assert plan.noise is not None
    same = all(report.plan is not None and report.plan.encode() == plan.encode() for report in strategy.reports)
    off = [
        after - clipped_mean(before, crowd.train(before, server_round), task.l2_clip)
        for server_round, (before, after) in enumerate(pairwise(models), 1)
    ]
    units = np.concatenate([one.ravel() for one in off]) * task.parties * plan.scale
    ratio = float(np.mean(units**2) / (task.parties * plan.noise.share_variance))
    privacy = strategy.reports[-1].privacy
    assert privacy is not None
    return Checked(task.dataset, crowd.accuracy(models[-1]), same, ratio, (ratio - 1) / math.sqrt(2 / units.size), privacy.epsilon)


def trainings(task: Task, epsilons: Sequence[float], seeds: Sequence[int], rounds: int) -> list[Trained]:
    """Every variant at every epsilon with every seed."""
    found = [Trained(task.dataset, NONE, None, 0.0, seed, train_clipped(task, seed, rounds)) for seed in seeds]
    for epsilon in epsilons:
        progress(f"dp: {task.dataset}, epsilon {epsilon:g}")
        central = central_multiplier(epsilon, rounds)
        found += [Trained(task.dataset, CENTRAL, epsilon, central, seed, train_central(task, central, seed, rounds)) for seed in seeds]
        for variant, share in _SHARES.items():
            multiplier = distributed_multiplier(task, share, epsilon, rounds)
            plan = plan_of(task, share, multiplier, task.crowd(0).initial)
            accuracies = {seed: train_distributed(task, plan, seed, rounds) for seed in seeds}
            found += [Trained(task.dataset, variant, epsilon, multiplier, seed, accuracy) for seed, accuracy in accuracies.items()]
    return found


def _accuracies(found: Sequence[Trained], dataset: str, variant: str, epsilon: float | None) -> list[float]:
    """In percent, by seed."""
    return [100 * one.accuracy for one in found if (one.dataset, one.variant, one.epsilon) == (dataset, variant, epsilon)]


def lines(tasks: Sequence[Task], found: Sequence[Trained], checks: Sequence[Checked], asked: float) -> list[Line]:
    """The accuracies at an epsilon that people use, and how far the three are from each other over all of them."""
    table = []
    for task in tasks:
        name = task.dataset
        epsilons = sorted({one.epsilon for one in found if one.dataset == name and one.epsilon is not None})
        table.append(
            Line(f"{name}: accuracy without noise", mean(_accuracies(found, name, NONE, None)), "%", note=f"{task.parties} parties")
        )
        for epsilon in sorted({1.0, asked} & set(epsilons)):
            for variant in (CENTRAL, *_SHARES):
                values = _accuracies(found, name, variant, epsilon)
                z = next(one.multiplier for one in found if (one.dataset, one.variant, one.epsilon) == (name, variant, epsilon))
                note = f"z = {z:.3f}; deviation between seeds {_deviation(values):.1f}"
                table.append(Line(f"{name}, epsilon {epsilon:g}: accuracy, {variant}", mean(values), "%", note=note))
        for variant in _SHARES:
            lost = [
                central - ours
                for epsilon in epsilons
                for central, ours in zip(
                    _accuracies(found, name, CENTRAL, epsilon), _accuracies(found, name, variant, epsilon), strict=True
                )
            ]
            error = _deviation(lost) / math.sqrt(len(lost))
            note = f"central - ours {mean(lost):+.2f} points, mean of {len(lost)} trainings, standard error {error:.2f}"
            target = _CLOSE if variant == ALL_HONEST else None
            apart = abs(mean(lost)) / error if error else 0.0
            table.append(Line(f"{name}: accuracy, difference from central, {variant}", apart, "standard errors", target, note=note))
    for one in checks:
        note = f"{one.sigmas:+.1f} standard errors; accuracy {100 * one.accuracy:.1f} %, epsilon of the last record {one.epsilon:.3f}"
        table.append(Line(f"{one.dataset}, real parties: variance of the noise / what the plan says", one.ratio, "x", note=note))
    return table


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def plot(tasks: Sequence[Task], found: Sequence[Trained]) -> dict[str, Any]:
    """Accuracy against epsilon, a panel for each data set."""
    panels = []
    for task in tasks:
        epsilons = sorted({one.epsilon for one in found if one.dataset == task.dataset and one.epsilon is not None})
        none = mean(_accuracies(found, task.dataset, NONE, None))
        series = [{"name": NONE, "x": epsilons, "y": [none] * len(epsilons), "line": True, "style": "--"}]
        for variant in (CENTRAL, *_SHARES):
            y = [mean(_accuracies(found, task.dataset, variant, epsilon)) for epsilon in epsilons]
            series.append({"name": variant, "x": epsilons, "y": y, "line": True, "style": "o-"})
        panels.append({"title": f"{task.dataset}, {task.parties} parties", "series": series})
    return {"name": "epsilon", "title": "", "x": f"epsilon, delta = {DELTA:g}", "y": "accuracy, %", "log": "x", "panels": panels}


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dp_utility", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one small data set, one epsilon, few rounds: seconds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each kind (default 5)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each training (default {ROUNDS})")
    options = parser.parse_args(argv)
    tasks, epsilons = (QUICK, (CHECKED_EPSILON,)) if options.quick else (TASKS, EPSILONS)
    seeds, rounds = (range(1, 2), 2) if options.quick else (range(1, options.seeds + 1), options.rounds)
    checks, found, wrong = [], [], []
    with quiet(), threadpool_limits(1):  # matrices are small, and a second thread only waits
        for task in tasks:
            found += trainings(task, epsilons, seeds, rounds)
            progress(f"dp: {task.dataset} through real parties")
            multiplier = distributed_multiplier(task, _SHARES[TENTHS], CHECKED_EPSILON, rounds)
            checks.append(check(task, multiplier, seeds[0], min(rounds, CHECKED_ROUNDS)))
    for one in checks:
        if not one.same_plan:
            wrong.append(f"{one.dataset}: real parties had another plan")
        if abs(one.sigmas) > _SIGMAS:
            wrong.append(f"{one.dataset}: the noise of real sums has {one.ratio:.3f} times the variance that the plan says")
    title = f"{rounds} rounds, {len(seeds)} seeds, delta {DELTA:g}; " + ", ".join(
        f"{task.parties} parties with {task.dataset}" for task in tasks
    )
    data = {"trained": [asdict(one) for one in found], "checks": [asdict(one) for one in checks], "plots": [plot(tasks, found)]}
    return Section("dp", title, lines(tasks, found, checks, CHECKED_EPSILON), data, options.quick, wrong).emit(options.json)


if __name__ == "__main__":
    raise SystemExit(main())
