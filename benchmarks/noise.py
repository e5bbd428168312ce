"""Exact Skellam noise: nanoseconds a sample, milliseconds for its tables, and a large sample against the distribution that it should have.

Samples are drawn as a party draws them, from the AES keystream of `random_filler`, on one thread. Beside them stands what the keystream
alone takes, 8 bytes a sample, which is the limit; and the difference of two of numpy's Poisson variables, which has the same distribution
up to what is lost in double precision, from a generator that is not cryptographic. Times are processor times, the best of several tries.

The probabilities that a sample is held against are computed another way than the sampler's: as the Fourier transform of the characteristic
function e^(-V (1 - cos t)), in double precision.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.line import Line, Section
from benchmarks.progress import progress
from stfed.crypto.keystream import random_filler
from stfed.crypto.random import system_entropy
from stfed.encoding.skellam import TILE, WORD_BYTES, Skellam

DEVIATIONS = (4.0, 64.0, 1e3, 1e4, 1e5)
CHECKED = 64.0
SAMPLE_NS = {100.0: 10.0, 1e4: 40.0}
"""The most that a sample may take, by the largest deviation that this is meant for."""
TABLES_MS = 1000.0
SAMPLES, QUICK_SAMPLES = 10**7, 10**5
CLASSES = 257
"""An odd number, so that the degrees of freedom are even and the p-value is a finite sum."""
IMPOSSIBLE = 1e-9
"""A p-value that a right sampler does not have in this benchmark's lifetime."""


@dataclass(frozen=True)
class Speed:
    """Of samples with one deviation."""

    deviation: float
    sample_ns: float
    numpy_ns: float
    tables_ms: float


@dataclass(frozen=True)
class Fit:
    """How a sample compares with the distribution. Moments are away from the exact ones by so many of their own standard deviations."""

    samples: int
    p_value: float
    away: dict[str, float]
    farthest: int


def least_ns(work: Callable[[], object], repeat: int) -> float:
    """Processor time of the best try."""
    least = math.inf
    for _ in range(repeat):
        start = time.process_time_ns()
        work()
        least = min(least, time.process_time_ns() - start)
    return least


def speed(deviation: float, size: int, repeat: int) -> Speed:
    """Ours and numpy's, and the tables that ours needs."""
    variance, generator = deviation**2, np.random.default_rng()
    fill_random, out = random_filler(system_entropy), np.empty(size, np.int64)
    sampler = Skellam(variance)
    tables_ns = least_ns(lambda: Skellam(variance), min(repeat, 3))
    sample_ns = least_ns(lambda: sampler.fill(out, fill_random), repeat)
    numpy_ns = least_ns(lambda: generator.poisson(variance / 2, size) - generator.poisson(variance / 2, size), min(repeat, 5))
    return Speed(deviation, sample_ns / size, numpy_ns / size, tables_ns * 1e-6)


def keystream_ns(size: int, repeat: int) -> float:
    """For the bytes of one sample, in pieces as they are asked for."""
    fill_random, words = random_filler(system_entropy), np.empty(min(size, TILE) * WORD_BYTES, np.uint8)
    return least_ns(lambda: [fill_random(words) for _ in range(0, size, TILE)], repeat) / size


def probabilities(variance: float) -> NDArray[np.float64]:
    """P(X = k) for k = 0, 1, ..., 14 deviations and more."""
    size = 1 << math.ceil(math.log2(28 * variance**0.5 + 64))
    wave = np.exp(-2 * variance * np.sin(np.pi * np.arange(size // 2 + 1) / size) ** 2)
    return np.fft.irfft(wave, size)[: size // 2]


def p_value(chi_square: float, freedom: int) -> float:
    """P(a chi-square variable of an even number of degrees of freedom is at least this)."""
    half, term, logarithm = chi_square / 2, 0.0, math.log(max(chi_square / 2, 1e-300))
    for i in range(freedom // 2):
        term += math.exp(i * logarithm - half - math.lgamma(i + 1))
    return min(term, 1.0)


def fit(values: NDArray[np.int64], variance: float, classes: int) -> Fit:
    """Chi-square over classes of about the same probability, and moments."""
    half = probabilities(variance)
    below = np.cumsum(np.concatenate([half[:0:-1], half]))  # P(X <= k) from k = 1 - len(half) on
    edges = np.unique(np.searchsorted(below, np.arange(1, classes) / classes))
    edges = edges[: len(edges) // 2 * 2]
    expected = np.diff(below[edges], prepend=0.0, append=1.0) * values.size
    seen = np.bincount(np.searchsorted(edges + 1 - len(half), values), minlength=len(edges) + 1)
    away, sigma = {}, variance**0.5
    moments = {"mean": (1, 0.0, 1.0), "variance": (2, 1.0, 3 + 1 / variance), "skewness": (3, 0.0, 15 + 15 / variance + 1 / variance**2)}
    fourth, eighth = 3 + 1 / variance, 105 + 210 / variance + 63 / variance**2 + 1 / variance**3
    for name, (power, expectation, second) in (moments | {"kurtosis": (4, fourth, eighth)}).items():
        deviation = ((second - expectation**2) / values.size) ** 0.5
        away[name] = float(((values / sigma) ** power).mean() - expectation) / deviation
    return Fit(values.size, p_value(float(((seen - expected) ** 2 / expected).sum()), len(edges)), away, int(np.abs(values).max()))


def lines(speeds: Sequence[Speed], limit_ns: float, fitted: Fit) -> list[Line]:
    """The figures and what was aimed at."""
    found = [Line("random bytes of a sample", limit_ns, "ns", note=f"{WORD_BYTES} bytes of AES keystream: the limit of what follows")]
    for one in speeds:
        target = next((most for deviation, most in SAMPLE_NS.items() if one.deviation <= deviation), None)
        note = f"numpy's Poisson - Poisson, not cryptographic: {one.numpy_ns:.0f} ns"
        found.append(Line(f"a sample of deviation {one.deviation:g}", one.sample_ns, "ns", target, note=note))
    for one in speeds:
        target = TABLES_MS if one is speeds[-1] else None
        found.append(Line(f"tables for deviation {one.deviation:g}", one.tables_ms, "ms", target, note="once a process and variance"))
    note = f"{fitted.samples:,} samples of deviation {CHECKED:g}; uniform in [0, 1] if they are right"
    worst = max(fitted.away, key=lambda name: abs(fitted.away[name]))
    others = ", ".join(f"{name} {value:+.2f}" for name, value in fitted.away.items())
    return [
        *found,
        Line("p-value of chi-square", fitted.p_value, note=note),
        Line(f"moment farthest from its value: {worst}", abs(fitted.away[worst]), "deviations", 6.0, note=others),
    ]


def plots(speeds: Sequence[Speed], limit_ns: float, values: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Time against the deviation, and the tail."""
    deviations = [one.deviation for one in speeds]
    timed = {
        "ours": [one.sample_ns for one in speeds],
        "numpy, Poisson - Poisson (not cryptographic)": [one.numpy_ns for one in speeds],
        "random bytes alone": [limit_ns] * len(speeds),
    }
    counts = np.bincount(np.abs(values))
    farther = np.cumsum(counts[::-1])[::-1] / values.size
    exact = 2 * np.cumsum(probabilities(CHECKED**2)[::-1])[::-1]
    shown = [k for k in range(1, len(farther)) if farther[k] * values.size >= 1][:: max(len(farther) // 60, 1)]
    series = [
        {"name": f"{values.size:,} samples", "x": shown, "y": [float(farther[k]) for k in shown]},
        {"name": "exact", "x": shown, "y": [float(exact[k]) for k in shown], "line": True},
    ]
    return [
        {
            "name": "speed",
            "title": "one sample, one thread, random bytes included",
            "x": "standard deviation of the noise",
            "y": "ns",
            "log": "xy",
            "series": [{"name": name, "x": deviations, "y": y, "line": True} for name, y in timed.items()],
        },
        {
            "name": "tail",
            "title": f"the tail of Skellam noise of deviation {CHECKED:g}",
            "x": "k",
            "y": "share of samples with |X| >= k",
            "log": "y",
            "series": series,
        },
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noise", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few samples, in seconds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--samples", type=int, help=f"to compare with the distribution (default {SAMPLES}; quick: {QUICK_SAMPLES})")
    options = parser.parse_args(argv)
    samples = options.samples or (QUICK_SAMPLES if options.quick else SAMPLES)
    size, repeat = (TILE, 2) if options.quick else (16 * TILE, 15)

    speeds = []
    for deviation in DEVIATIONS[:3] if options.quick else DEVIATIONS:
        progress(f"noise: deviation {deviation:g}")
        speeds.append(speed(deviation, size, repeat))
    limit_ns = keystream_ns(size, repeat)
    progress(f"noise: {samples} samples against their distribution")
    values = np.empty(samples, np.int64)
    Skellam(CHECKED**2).fill(values, random_filler(system_entropy))
    fitted = fit(values, CHECKED**2, CLASSES)
    wrong = [f"{samples} samples are not distributed as they should be: p = {fitted.p_value:.1e}"] if fitted.p_value < IMPOSSIBLE else []
    wrong += [f"the {name} of {samples} samples is off by {away:+.1f} deviations" for name, away in fitted.away.items() if abs(away) > 6]
    data = {"speeds": [asdict(one) for one in speeds], "fit": asdict(fitted), "plots": plots(speeds, limit_ns, values)}
    title = f"exact Skellam samples, {size} at a time on one thread, and {samples:,} of them against their distribution"
    return Section("noise", title, lines(speeds, limit_ns, fitted), data, options.quick, wrong).emit(options.json)


if __name__ == "__main__":
    raise SystemExit(main())
