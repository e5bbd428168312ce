"""Malicious parties: the accuracy that plain averaging, voting over secure groups, and voting over single updates are left with.

Three columns that see different things. *Plain* averaging is FedAvg, secure or not: rounding apart, both give the same mean. *Groups* are
`SecureAggregation(strategy, group_size=g)`: the coordinator learns the mean of each group, and a strategy that votes compares those.
*Single updates* are the same strategies without secure aggregation, where the coordinator sees what every party sends. The strategies are
Flower's, run from their own `start`, and told how many voters are malicious at most.

Most trainings take the mean of a group in floating point. Some are run through real parties in real secure groups, and have to come to the
same model: a result is wrong if not.

How far groups reach follows from counting. One malicious party spoils the mean of its group, so m of them spoil m groups of the n / g at
most: a vote keeps a clean majority for certain while p = m/n < 1 / (2 g). Groups are random, so on average (1 - p)^g of them are clean, and
the majority is gone on average at p = 1 - 2^(-1/g). Single updates are groups of one: 50 % by both.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from flwr.serverapp.strategy import Bulyan, FedAvg, FedMedian, FedTrimmedAvg, Krum, MultiKrum, Strategy
from threadpoolctl import threadpool_limits

from benchmarks.attacks_fl import ATTACKS, SCALING, SIGN_FLIP, Attack
from benchmarks.line import Line, Section
from benchmarks.progress import progress
from benchmarks.securecrowd import secure_grid
from benchmarks.softmax import Crowd, CrowdGrid, Groups, Train, arrays_of, model_of, quiet
from stfed.flower import SecureAggregation

PARTIES, ROUNDS, SHARES = 60, 15, (0.0, 0.1, 0.2, 0.3)
GROUP_SIZE, GROUP_SIZES = 3, (3, 4, 5, 6, 10)
LOST = 5.0
"""Points of accuracy that a vote may lose where a majority of its voters is clean for certain."""
_SAME_MODEL = 1e-3
"""Models have coordinates around 1, and the ring's rounding is amplified by a few rounds of training."""


@dataclass(frozen=True)
class Aggregation:
    """One way to make a model of what parties send.

    Attributes:
        name: Flower's.
        make: from (voters, malicious ones among them at most) to the strategy.
        size: g; 1 for single updates.
    """

    name: str
    make: Callable[[int, int], Strategy]
    size: int = 1

    @property
    def label(self) -> str:
        return _label(self.name, self.size)

    def strategy(self, parties: int, malicious: int) -> Strategy | None:
        """With as many malicious voters expected as there can be and the strategy still works; None if it cannot work with the real
        number: Bulyan does nothing then."""
        voters = parties // self.size
        expected = min(malicious, (voters - 3) // (4 if self.name == "Bulyan" else 2))
        if self.name == "Bulyan" and expected < malicious:
            return None
        return self.make(voters, expected)


def _label(name: str, size: int) -> str:
    return name if size == 1 else f"{name}, groups of {size}"


def _trimmed(voters: int, malicious: int) -> Strategy:
    return FedTrimmedAvg(fraction_evaluate=0.0, beta=(malicious + 0.5) / voters)


VOTES: tuple[Aggregation, ...] = (
    Aggregation("FedMedian", lambda _, __: FedMedian(fraction_evaluate=0.0)),
    Aggregation("FedTrimmedAvg", _trimmed),
    Aggregation("Krum", lambda _, m: Krum(fraction_evaluate=0.0, num_malicious_nodes=m)),
    Aggregation("MultiKrum", lambda n, m: MultiKrum(fraction_evaluate=0.0, num_malicious_nodes=m, num_nodes_to_select=n - 2 * m)),
    Aggregation("Bulyan", lambda _, m: Bulyan(fraction_evaluate=0.0, num_malicious_nodes=m)),
)
PLAIN = Aggregation("FedAvg", lambda _, __: FedAvg(fraction_evaluate=0.0))
MEDIAN, MULTI_KRUM = VOTES[0], VOTES[3]
DRAWN = ("FedMedian", "FedTrimmedAvg", "MultiKrum")
"""What is drawn; the others are in the JSON and behind the lines."""


def grouped(vote: Aggregation, size: int) -> Aggregation:
    """The same vote, over groups."""
    return Aggregation(vote.name, vote.make, size)


@dataclass(frozen=True)
class Found:
    """The accuracy of one training: None where the strategy does nothing with so many malicious voters."""

    attack: str
    share: float
    aggregation: str
    size: int
    seed: int
    accuracy: float | None

    @property
    def label(self) -> str:
        return _label(self.aggregation, self.size)


@dataclass(frozen=True)
class Scene:
    """Who trains, and who of them is malicious."""

    crowd: Crowd
    attack: Attack
    malicious: tuple[int, ...]
    seed: int

    def __str__(self) -> str:
        return f"{self.attack.name} by {len(self.malicious)} of {self.crowd.parties}"

    @classmethod
    def of(cls, crowd: Crowd, attack: Attack, share: float, seed: int) -> Scene:
        """Which parties are malicious, and in which groups they are, depends on the seed only."""
        order = np.random.default_rng([seed, 1]).permutation(crowd.parties)
        return cls(crowd, attack, tuple(order[: round(share * crowd.parties)].tolist()), seed)

    @property
    def train(self) -> Train:
        return self.attack.by(self.crowd, np.array(self.malicious, int), self.seed)

    def groups(self, size: int) -> Groups:
        """Random ones, kept for the whole run as stfed's are."""
        if size == 1:
            return ()
        order = np.random.default_rng([self.seed, 2]).permutation(self.crowd.parties)
        return [part.tolist() for part in np.array_split(order, self.crowd.parties // size)]

    def run(self, aggregation: Aggregation, rounds: int) -> Found:
        """One training."""
        strategy, accuracy = aggregation.strategy(self.crowd.parties, len(self.malicious)), None
        if strategy is not None:
            grid = CrowdGrid(self.train, self.crowd.parties, self.groups(aggregation.size))
            accuracy = self.crowd.accuracy(model_of(strategy.start(grid, arrays_of(self.crowd.initial), rounds).arrays))
        share = len(self.malicious) / self.crowd.parties
        return Found(self.attack.name, share, aggregation.name, aggregation.size, self.seed, accuracy)

    def run_secure(self, aggregation: Aggregation, rounds: int) -> tuple[float, float]:
        """The same training through real parties and real secure sums.

        Returns:
            Its accuracy, and how far its model is from that of the same groups with means in floating point.
        """
        strategy, twin = (aggregation.strategy(self.crowd.parties, len(self.malicious)) for _ in range(2))
        assert strategy is not None
        assert twin is not None
        with secure_grid(self.train, self.crowd.parties) as grid:
            secure = SecureAggregation(strategy, group_size=aggregation.size if aggregation.size > 1 else None, uniform=True)
            model = model_of(secure.start(grid, arrays_of(self.crowd.initial), rounds).arrays)
            groups = sorted({tuple(map(grid.index, report.summed)) for report in secure.reports})
        plain = CrowdGrid(self.train, self.crowd.parties, groups)
        other = model_of(twin.start(plain, arrays_of(self.crowd.initial), rounds).arrays)
        return self.crowd.accuracy(model), float(np.abs(model - other).max())


def scenes(attacks: Iterable[Attack], shares: Iterable[float], seeds: Sequence[int], parties: int, dataset: str) -> Iterator[Scene]:
    """Every attack with every share of malicious parties, with every seed."""
    for seed in seeds:
        crowd = Crowd(dataset, parties, seed, alpha=5.0, lr=0.5)
        for attack in attacks:
            yield from (Scene.of(crowd, attack, share, seed) for share in shares)


def certain(share: float, size: int) -> bool:
    """Whether a majority of the groups is clean however the malicious parties are spread."""
    return 2 * size * share < 1


class Table:
    """What was found, by what it was found for, as the mean over the seeds."""

    def __init__(self, found: Sequence[Found]) -> None:
        self.found = found

    def accuracy(self, attack: str, share: float, aggregation: Aggregation) -> float | None:
        """None if the strategy does nothing there."""
        chosen = [one.accuracy for one in self.found if (one.attack, one.share, one.label) == (attack, share, aggregation.label)]
        values = [value for value in chosen if value is not None]
        return mean(values) if values and len(values) == len(chosen) else None

    def lost(self, attack: str, share: float, aggregation: Aggregation) -> float | None:
        """In points, against plain averaging of honest parties."""
        left, before = self.accuracy(attack, share, aggregation), self.accuracy(attack, 0.0, PLAIN)
        return None if left is None or before is None else 100 * (before - left)


def lines(table: Table, sizes: Table, checks: dict[str, tuple[float, float]], shares: Sequence[float]) -> list[Line]:
    """What is lost by attack and share, how far each size of groups reaches, and how far the secure runs are from these."""
    plain = table.accuracy(ATTACKS[0].name, 0.0, PLAIN)
    found = [Line("accuracy of plain averaging without malicious parties", None if plain is None else 100 * plain, "%")]
    for attack in ATTACKS:
        for share in shares:
            if not share:
                continue
            for vote in (MEDIAN, MULTI_KRUM):
                own = grouped(vote, GROUP_SIZE)
                others = [PLAIN, *(one for one in VOTES if one.name in DRAWN)]
                note = "; ".join(f"{one.label} {_points(table.lost(attack.name, share, one))}" for one in others)
                target = LOST if certain(share, GROUP_SIZE) else None
                name = f"{attack.name} by {100 * share:.0f} %: lost by {own.label}"
                found.append(Line(name, table.lost(attack.name, share, own), "points", target, note=note))
    for size in GROUP_SIZES:
        for vote in (MEDIAN, MULTI_KRUM):
            own, attacks = grouped(vote, size), sorted({one.attack for one in sizes.found})
            held = [share for share in shares if all((sizes.lost(attack, share, own) or 0.0) <= LOST for attack in attacks)]
            reach = max((share for share in shares if all(below in held for below in shares if below <= share)), default=0.0)
            limits = f"for certain below {50 / size:.0f} %, on average below {mean_limit(size):.0f} %"
            note = f"{' and '.join(attacks)}; a majority of the groups is clean {limits}"
            found.append(Line(f"largest share at which {own.label}, loses {LOST:.0f} points at most", 100 * reach, "%", note=note))
    for name, (_, apart) in checks.items():
        found.append(Line(f"{name}: largest difference of the models, secure - floating point", apart, "", _SAME_MODEL))
    return found


def mean_limit(size: int) -> float:
    """The share, in percent, at which half of random groups are clean on average."""
    return 100 * (1 - 2 ** (-1 / size))


def _points(lost: float | None) -> str:
    return "does nothing" if lost is None else f"{lost:.1f}"


def plots(table: Table, sizes: Table, shares: Sequence[float]) -> list[dict[str, Any]]:
    """Accuracy against the share of malicious parties: a panel for each attack, and one for each size of groups."""
    drawn = [one for one in VOTES if one.name in DRAWN]
    variants = [PLAIN, *(grouped(one, GROUP_SIZE) for one in drawn), *drawn]
    by_size = [grouped(vote, size) for vote in (MEDIAN, MULTI_KRUM) for size in GROUP_SIZES]

    def panel(of: Table, attack: str, aggregations: Iterable[Aggregation]) -> dict[str, Any]:
        series = []
        for one in aggregations:
            style = "s--" if one.name == MULTI_KRUM.name and of is sizes else "o-" if one is PLAIN or one.size > 1 else "o--"
            points = [(100 * share, 100 * value) for share in shares if (value := of.accuracy(attack, share, one)) is not None]
            label = f"{one.label}, single updates" if one.size == 1 and one is not PLAIN else one.label
            series.append({"name": label, "x": [x for x, _ in points], "y": [y for _, y in points], "line": True, "style": style})
        return {"title": attack, "series": series}

    x, y = "malicious parties, %", "accuracy, %"
    attacks = sorted({one.attack for one in sizes.found})
    return [
        {"name": "attacks", "title": "", "x": x, "y": y, "panels": [panel(table, attack.name, variants) for attack in ATTACKS]},
        {"name": "groups", "title": "", "x": x, "y": y, "panels": [panel(sizes, attack, by_size) for attack in attacks]},
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robust", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few parties, rounds and attacks, in seconds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind (default 3)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each training (default {ROUNDS})")
    options = parser.parse_args(argv)
    dataset, parties = ("digits", 30) if options.quick else ("mnist", PARTIES)
    seeds, rounds = (range(1, 2), 3) if options.quick else (range(1, options.seeds + 1), options.rounds)
    shares = (0.0, 0.1) if options.quick else SHARES
    checked = 2 if options.quick else 5

    Crowd(dataset, parties, 0)  # imports all that there is to import
    gc.collect()
    gc.freeze()  # Bulyan has Python look for garbage after every reply; all that was imported is none
    with quiet(), threadpool_limits(1):  # matrices are small, and a second thread only waits
        table, sizes = [], []
        everything = (PLAIN, *VOTES, *(grouped(one, GROUP_SIZE) for one in VOTES))
        for scene in scenes(ATTACKS, shares, seeds, parties, dataset):
            progress(f"robust: seed {scene.seed}, {scene}")
            table += [scene.run(one, rounds) for one in everything]
        of_sizes = [PLAIN, *(grouped(one, size) for one in (MEDIAN, MULTI_KRUM) for size in GROUP_SIZES)]
        for scene in scenes((SIGN_FLIP, SCALING), shares, seeds, parties, dataset):
            progress(f"robust: sizes of groups, seed {scene.seed}, {scene}")
            sizes += [scene.run(one, rounds) for one in of_sizes]
        checks, wrong = {}, []
        (scene,) = scenes((SCALING,), (0.1,), seeds[:1], parties, dataset)
        for one in (PLAIN, grouped(MEDIAN, GROUP_SIZE)):
            progress(f"robust: {one.label} through real parties, {scene}")
            checks[one.label] = scene.run_secure(one, checked)
            if checks[one.label][1] > _SAME_MODEL:
                wrong.append(
                    f"{one.label}: the model of real secure sums is {checks[one.label][1]:.2g} from that of the same sums in floating point"
                )
    found, of = Table(table), Table(sizes)
    title = f"{parties} parties, {dataset}, softmax regression, {rounds} rounds, {len(seeds)} seeds"
    data = {
        "found": [asdict(one) for one in table],
        "sizes": [asdict(one) for one in sizes],
        "checks": checks,
        "plots": plots(found, of, shares),
    }
    return Section("robust", title, lines(found, of, checks, shares), data, options.quick, wrong).emit(options.json)


if __name__ == "__main__":
    raise SystemExit(main())
