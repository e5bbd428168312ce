"""What a clip costs that nobody guessed: its way to the right one, and the error of the mean on the way, in real training with 8 bits.

20 parties train the digits CNN of examples/hospitals, round after round, with rotated values of 8 bits (`benchmarks.bits` has what these
do to a mean). One run has the clip that docs/precision.md asks for, 8 times the root mean square change of a dry run with another seed.
Three have an `AdaptiveClip` that begins there, or a hundred times below, or a hundred times above. *NMSE* is the squared error of a round's
mean update over its squared length, each run against the true mean of its own parties in that round.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.bits import GOOD_CLIP, PARTIES, ROTATION, model_of, through
from benchmarks.line import Line, Section
from benchmarks.progress import progress
from benchmarks.updates import Federation, flat
from stfed.flower import AdaptiveClip

VALUE_BITS = 8
FIXED = "fixed, 8 rms of a dry run"
STARTS = {"100 times too small": 0.01, "right": 1.0, "100 times too large": 100.0}
MOST_ROUNDS, MOST_ERROR = 6.0, 1.5
"""Targets: until a run is as good as with the fixed clip, and by what the mean error of all later rounds may be larger."""
AS_GOOD = 2.0


@dataclass(frozen=True)
class Round:
    """One round: its clip, what share of the coordinates it cut, and how far the mean was from the true one."""

    clip: float
    clipped: float
    nmse: float


def training(federation: Federation, rounds: int, clip: float | AdaptiveClip) -> tuple[list[Round], float]:
    """The rounds of one run, and the accuracy of its last model."""
    model, found = federation.initial, []
    adaptive = clip if isinstance(clip, AdaptiveClip) else None
    search = None if adaptive is None else adaptive.begin()
    for server_round in range(1, rounds + 1):
        updates, now = federation.train(model, server_round), clip if search is None else search.clip
        decoded = through(updates, now, value_bits=VALUE_BITS, rotation=ROTATION)
        off = flat(model_of(decoded)) - flat(updates.received) - updates.mean
        coordinates = updates.size * len(updates.trained)
        found.append(Round(now, decoded.clipped / coordinates, float(off @ off / (updates.mean @ updates.mean))))
        if adaptive is not None:
            search = adaptive.next(search, decoded.clipped, coordinates)
        model = model_of(decoded)
    return found, federation.accuracy(model)


def good_clip(dataset: str, seed: int) -> float:
    """8 times the root mean square change of the first round of a dry run."""
    dry = Federation(dataset, seed, PARTIES)
    return GOOD_CLIP * dry.train(dry.initial, 1).rms


def rounds_until(found: Sequence[Round], fixed: Sequence[Round]) -> int | None:
    """How many rounds were worse than `AS_GOOD` times the fixed clip's before the first that was not; None if all were."""
    return next((at for at, (one, other) in enumerate(zip(found, fixed, strict=True)) if one.nmse <= AS_GOOD * other.nmse), None)


def lines(runs: dict[str, list[Round]], accuracies: dict[str, float]) -> list[Line]:
    """The figures and what was aimed at."""
    fixed, found = runs[FIXED], []
    for name in STARTS:
        until = rounds_until(runs[name], fixed)
        found.append(
            Line(f"{name}: rounds before the mean is as good as with the right clip", until, "", MOST_ROUNDS, note=_way(runs[name]))
        )
        if until is not None:
            later = fmean(one.nmse for one in runs[name][until:]) / fmean(one.nmse for one in fixed[until:])
            found.append(Line(f"{name}: NMSE from then on, by that of the fixed clip", later, "x", MOST_ERROR))
        lost = 100 * (accuracies[FIXED] - accuracies[name])
        found.append(Line(f"{name}: accuracy lost", lost, "points", note=f"{100 * accuracies[name]:.1f} % after {len(fixed)} rounds"))
    return found


def _way(found: Sequence[Round]) -> str:
    return "log2 of the clip: " + " ".join(f"{np.log2(one.clip):.0f}" for one in found)


def plots(runs: dict[str, list[Round]]) -> list[dict[str, Any]]:
    """Clip and error, round by round."""

    def plot(name: str, y: str) -> dict[str, Any]:
        series = [
            {"name": label, "x": [*range(1, len(found) + 1)], "y": [asdict(one)[name] for one in found], "line": True}
            for label, found in runs.items()
        ]
        title = f"{PARTIES} parties, {VALUE_BITS} bits, rotated: where an adaptive clip begins"
        return {"name": name, "title": title, "x": "round", "y": y, "log": "y", "series": series}

    return [plot("clip", "clip, in units of the model"), plot("nmse", "NMSE of the mean")]


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adaptive", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller digits and fewer rounds, in seconds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=20, help="of each training (default 20)")
    options = parser.parse_args(argv)
    dataset, rounds = ("digits", 3) if options.quick else ("mnist", options.rounds)
    right = good_clip(dataset, 6)
    federation = Federation(dataset, 7, PARTIES)
    clips = {FIXED: right, **{name: AdaptiveClip(initial=factor * right, low=2.0**-20) for name, factor in STARTS.items()}}
    runs, accuracies = {}, {}
    for name, clip in clips.items():
        progress(f"adaptive: {rounds} rounds of training, {name}")
        runs[name], accuracies[name] = training(federation, rounds, clip)
    title = f"{PARTIES} parties, {VALUE_BITS} bits, {rounds} rounds of training on {dataset}; a clip of {right:.2g} or a learnt one"
    data = {"runs": {name: [asdict(one) for one in found] for name, found in runs.items()}, "plots": plots(runs)}
    return Section("adaptive", title, lines(runs, accuracies), data, options.quick).emit(options.json)


if __name__ == "__main__":
    raise SystemExit(main())
