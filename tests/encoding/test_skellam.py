"""Skellam: exactly the distribution that it names, whichever of table, search and integers decides; and the bounds that this rests on."""

from __future__ import annotations

import json
import math
import runpy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import localcontext
from functools import cache
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.encoding import skellam as module
from stfed.encoding.cumulative import GUARD_BITS, Cumulative, cumulative, reach
from stfed.encoding.skellam import MAX_VARIANCE, TILE, Skellam, _guide, magnitude, skellam
from stfed.errors import LocalError
from tests.encoding.helpers import Fill, constant, seeded
from tests.vectors import gen_skellam

VECTORS = Path(__file__).parents[1] / "vectors"
FILES = sorted((VECTORS / "skellam").glob("*.json"))
SMALL = (5e-324, 1e-6, 0.01, 0.7, 1.0, 16.0, 312.3)
WIDE, WIDER = 1.23e5, 1.1e8  # the variances of a guide of 18 and of 20 bits; those before have one of 16
ALL = (*SMALL, WIDE, WIDER)
LARGEST = (1 << 63) - 1


class Words:
    """Scripted words, then more from a stream that can be had twice."""

    def __init__(self, words: list[int], seed: int = 0) -> None:
        self._begin = b"".join((word & (1 << 64) - 1).to_bytes(8, "little") for word in words)
        self._more, self.asked = seeded(seed), list[int]()

    def __call__(self, buffer: NDArray[np.uint8]) -> None:
        self.asked.append(buffer.size)
        begin, self._begin = self._begin[: buffer.size], self._begin[buffer.size :]
        self._more(buffer)
        buffer[: len(begin)] = np.frombuffer(begin, np.uint8)


@cache
def sampler(variance: float) -> Skellam:
    """More of them than `skellam` keeps."""
    return Skellam(variance)


def drawn(variance: float, size: int, fill: Fill) -> NDArray[np.int64]:
    out = np.full(size, 1 << 40)
    sampler(variance).fill(out, fill)
    return out


def by_integers(variance: float, words: list[int], source: Fill) -> list[int]:
    """What `fill` has to give, with no table anywhere."""

    def more() -> int:
        buffer = np.empty(8, np.uint8)
        source(buffer)
        return int.from_bytes(buffer.tobytes(), "little")

    found = []
    for word in words:
        uniform = ~word if word < 0 else word
        found.append(magnitude(variance, uniform, more) * (-1 if word < 0 else 1))
    return found


@cache
def bounds_of(variance: float) -> list[int]:
    known = cumulative(variance, 63)
    return [(total << 63) // known.whole for total in known.sums]


@st.composite
def cases(draw: st.DrawFn) -> tuple[float, list[int]]:
    """Words anywhere, and words at and beside the bounds and the ends, with either sign."""
    variance = draw(st.sampled_from(SMALL))
    bounds = bounds_of(variance)
    at_bound = st.builds(lambda bound, away: min(max(bound + away, 0), LARGEST), st.sampled_from(bounds), st.integers(-3, 3))
    uniform = st.one_of(st.integers(0, LARGEST), at_bound, st.integers(0, 1 << 20).map(lambda away: LARGEST - away))
    words = st.builds(lambda uniform, negative: ~uniform if negative else uniform, uniform, st.booleans())
    return variance, draw(st.lists(words, min_size=1, max_size=12))


@settings(max_examples=60)
@given(cases(), st.integers(0, 1 << 32))
def test_tables_and_integers_decide_alike_from_the_same_bits(case: tuple[float, list[int]], seed: int) -> None:
    variance, words = case
    script, more = Words(words, seed), Words(words, seed)
    more(np.empty(8 * len(words), np.uint8))
    assert drawn(variance, len(words), script).tolist() == by_integers(variance, words, more)
    assert script.asked == more.asked, "the integers need no word that the tables do without"


@pytest.mark.parametrize("variance", ALL)
def test_the_first_and_last_word_of_every_cell_of_the_guide(variance: float) -> None:
    chosen = sampler(variance)
    cells, bounds = len(chosen._guide), chosen._bounds
    first = np.arange(cells, dtype=np.uint64) << np.uint64(64 - cells.bit_length() + 1)
    words = np.concatenate([first, first - np.uint64(1)])
    found = np.empty(words.size, np.int64)
    places = iter(range(0, words.size, TILE))

    def fill(buffer: NDArray[np.uint8]) -> None:
        if buffer.size == 8:  # a word in the middle of what is left
            buffer[:] = 0x80
        else:
            start = next(places)
            buffer[:] = words[start : start + TILE].view(np.uint8)

    chosen.fill(found, fill)
    signed = words.view(np.int64)
    uniform = np.where(signed < 0, ~signed, signed)
    expected = np.searchsorted(bounds, uniform, side="right") - 1
    clear = (uniform - bounds[expected] >= 2) & (expected < len(bounds) - 1)
    assert np.count_nonzero(~clear) <= 8
    np.testing.assert_array_equal(found[clear], np.where(signed < 0, -expected, expected)[clear])


def test_the_guide_leaves_open_what_the_bounds_do_not_settle() -> None:
    """A cell is settled if its first word is 2 over the bound below and its last word under the next one; beyond the table none is."""
    cell, left_open = 1 << 60, -(1 << 30)
    guided = _guide(np.array([-2, 2 * cell - 2, 4 * cell - 1, 6 * cell - 2]), 4).tolist()
    assert guided[:8] == [0, left_open, 1, left_open + 1, left_open + 2, left_open + 2, left_open + 3, left_open + 3]
    assert guided[:7:-1] == [0, left_open, -1, *guided[3:8]]


@pytest.mark.parametrize("variance", [1e-6, 0.01, 1.0, 2.7182818284590451, 100.0, 312.3])
@pytest.mark.parametrize("bits", [10, 63, 127])
def test_the_integers_are_as_near_as_is_proven(variance: float, bits: int) -> None:
    known = cumulative(variance, bits)
    with localcontext(prec=gen_skellam.DIGITS):
        series = decimals(variance)
        for total, exact in zip(known.sums, series, strict=False):
            assert abs(exact * known.whole - total) * 2**bits <= known.slack
    assert known.sums[-1] == known.whole
    assert known.slack << 20 < known.whole


@cache
def decimals(variance: float) -> list[Any]:
    with localcontext(prec=gen_skellam.DIGITS):
        return gen_skellam.cumulative(variance)


@pytest.mark.parametrize("variance", ALL)
def test_table_bounds_enclose(variance: float) -> None:
    """B <= 2^63 C < B + 2, with C to 100 bits more."""
    bounds = sampler(variance)._bounds.tolist()
    if variance <= WIDE:
        known = fine(variance)
        for bound, total in zip(bounds[1:], known.sums[1:], strict=False):
            assert bound * known.whole < total << 63 < (bound + 2) * known.whole
    assert bounds[0] == -2
    assert bounds == sorted(bounds)
    assert LARGEST - bounds[-1] < 1 << 16, "what is beyond the table is rare"


@pytest.mark.parametrize("variance", [WIDE, WIDER])
def test_large_variances_against_the_characteristic_function(variance: float) -> None:
    known, exact = cumulative(variance, 63), probabilities(variance)
    for k in (0, 1, 7, int(variance**0.5), int(3 * variance**0.5)):
        found = (known.sums[k + 1] - known.sums[k]) / known.whole / (2 if k else 1)
        assert found == pytest.approx(exact[k], rel=1e-9)


@given(st.floats(5e-324, MAX_VARIANCE), st.integers(1, 400))
def test_reach_bounds_the_tail(variance: float, bits: int) -> None:
    """Chernoff's bound in another form: -log P >= M asinh(M / V) - sqrt(V^2 + M^2) + V."""
    most = reach(variance, bits)
    root = math.hypot(variance, most)
    exponent = most * math.asinh(min(most / variance, 1e300)) - most * most / (root + variance)
    assert exponent >= bits * math.log(2)
    assert most <= 2 + max(bits, math.sqrt(2 * variance * (bits + 2)) * 1.1 + bits / 2)


@pytest.mark.parametrize("variance", [0.01, 16.0, 4000.0])
def test_reach_holds_the_true_tail(variance: float) -> None:
    for bits in (1, 5, 20, 48):
        assert probabilities(variance)[reach(variance, bits) :].sum() <= 2.0**-bits + 1e-16


def test_the_numbers_of_the_largest_variance() -> None:
    """The proof's M < 2^21, and samples that fit the guide's 32 bits beside its mark."""
    assert reach(MAX_VARIANCE, 63 + GUARD_BITS) < 1 << 21
    assert reach(MAX_VARIANCE, 48) < 1 << 29


def probabilities(variance: float) -> NDArray[np.float64]:
    """P(X = k) for k = 0, 1, ..., to over 14 deviations: the transform of the characteristic function e^(-V (1 - cos t))."""
    size = 1 << math.ceil(math.log2(28 * variance**0.5 + 64))
    wave = np.exp(-2 * variance * np.sin(np.pi * np.arange(size // 2 + 1) / size) ** 2)
    return np.fft.irfft(wave, size)[: size // 2]


def classes(variance: float, size: int) -> NDArray[np.float64]:
    """P(X = k) for all |k| that are expected 20 times or more, between what is left on either side."""
    exact = probabilities(variance)
    edge = int(np.argmax(size * exact < 20))
    outer = exact[edge:].sum()
    return np.array([outer, *exact[edge - 1 : 0 : -1], *exact[:edge], outer])


def counts(samples: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """How often each of so many classes was seen."""
    return np.bincount(np.clip(samples, -(number // 2), number // 2) + number // 2, minlength=number)


def chi_square(samples: NDArray[np.int64], variance: float) -> float:
    """The p-value. Its degrees of freedom are even, so it is a finite sum."""
    expected = samples.size * classes(variance, samples.size)
    half = float(((counts(samples, expected.size) - expected) ** 2 / expected).sum()) / 2
    return sum(math.exp(i * math.log(half) - half - math.lgamma(i + 1)) for i in range(expected.size // 2))


@pytest.mark.parametrize("variance", [0.01, 0.5, 1.0, 7.25, 100.0, 4000.5])
def test_chi_square(variance: float) -> None:
    assert chi_square(drawn(variance, 200_000, seeded(1)), variance) > 1e-3


def test_chi_square_by_scipy() -> None:
    stats, size = pytest.importorskip("scipy.stats"), 200_000
    samples, number = drawn(30.5, size, seeded(13)), classes(30.5, size).size
    edge = number // 2 - 1
    inner, outer = stats.skellam.pmf(np.arange(-edge, edge + 1), 15.25, 15.25), stats.skellam.sf(edge, 15.25, 15.25)
    assert stats.chisquare(counts(samples, number), size * np.array([outer, *inner, outer])).pvalue > 1e-3


@pytest.mark.parametrize(("variance", "seed"), [(0.01, 2), (3.0, 3), (4096.0, 4), (WIDE, 5), (WIDER, 6), (2.0**28 + 0.1, 7)])
def test_moments_and_symmetry(variance: float, seed: int) -> None:
    """Mean 0, variance V, third moment 0, fourth 3 V^2 + V, within five deviations; and as many negative as positive."""
    count = 300_000
    values = drawn(variance, count, seeded(seed)).astype(np.float64) / variance**0.5
    eighth = 105 + 210 / variance + 63 / variance**2 + 1 / variance**3
    sixth, fourth = 15 + 15 / variance + 1 / variance**2, 3 + 1 / variance
    for power, expected, second in ((1, 0, 1), (2, 1, fourth), (3, 0, sixth), (4, fourth, eighth)):
        assert abs((values**power).mean() - expected) < 5 * ((second - expected**2) / count) ** 0.5
    assert abs(np.sign(values).sum()) < 5 * count**0.5


@pytest.mark.parametrize("variance", [16.0, WIDE, WIDER])
def test_tails_are_as_heavy_as_they_should_be(variance: float) -> None:
    count, deviation = 1 << 19, variance**0.5
    values = np.abs(drawn(variance, count, seeded(8)))
    for far in (3.0, 3.5, 4.0):
        least = math.ceil(far * deviation)
        tail = 2 * probabilities(variance)[least:].sum()
        assert abs(np.count_nonzero(values >= least) - count * tail) < 5 * (count * tail) ** 0.5


def test_sums_are_skellam_of_the_summed_variance() -> None:
    parts, size = (0.3, 2.0, 5.5, 9.0), 300_000
    total = sum((drawn(part, size, seeded(10 + place)) for place, part in enumerate(parts)), np.zeros(size, np.int64))
    assert chi_square(total, sum(parts)) > 1e-3


def test_a_tiny_variance_hardly_ever_adds_anything() -> None:
    values = drawn(1e-5, 1_000_000, seeded(9))
    assert set(np.unique(values)) == {-1, 0, 1}
    assert 0 < np.count_nonzero(values) < 25
    assert not drawn(5e-324, 1000, seeded(9)).any()


@settings(max_examples=60)
@given(st.sampled_from([16.0, 312.3, WIDE]), st.data())
def test_a_word_at_a_bound_goes_by_what_follows_it(variance: float, data: st.DataObject) -> None:
    known = fine(variance)
    k = data.draw(st.integers(1, int(5 * variance**0.5)))
    within, rest = divmod((known.sums[k] << 127) // known.whole, 1 << 64)
    away = data.draw(st.integers(2, 1 << 62))
    for sign, word in ((1, within), (-1, ~within)):
        below, above = (Words([word, min(max(rest + step, 0), (1 << 64) - 1)]) for step in (-away, away))
        assert drawn(variance, 1, below).tolist() == [sign * (k - 1)]
        assert drawn(variance, 1, above).tolist() == [sign * k]
        assert below.asked == above.asked == [8, 8]


@cache
def fine(variance: float) -> Cumulative:
    return cumulative(variance, 163)


def test_the_integers_ask_for_more_wherever_their_error_might_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an error of 5 units of 2^-63 in place of one that is never met."""
    monkeypatch.setattr(module, "cumulative", lambda variance, bits: replace(found := cumulative(variance, bits), slack=5 * found.whole))
    bound = bounds_of(16.0)[3]
    asked = list[int]()

    def more() -> int:
        asked.append(1)
        return (1 << 64) - 1

    for away in range(-12, 13):
        asked.clear()
        assert magnitude(16.0, bound + away, more) == (3 if away >= 0 else 2)
        assert bool(asked) == (-5 <= away <= 5), away


def test_what_lies_beyond_the_table_is_drawn_too() -> None:
    """The last word begins a U over 1 - 2^-63; what follows tells how far it goes. That no other word does it is in the vectors."""
    ends = [magnitude(1.0, LARGEST, iter([end, 0, 0]).__next__) for end in (0, 1 << 63, (1 << 64) - 16, (1 << 64) - 1)]
    assert ends[0] >= reach(1.0, 48) - 3
    assert ends == sorted(ends)
    assert ends[-1] > ends[0] + 5
    assert drawn(1.0, 2, Words([LARGEST, ~LARGEST]))[0] >= ends[0]
    with localcontext(prec=gen_skellam.DIGITS):
        found = gen_skellam.sample(decimals(1.0), LARGEST, [1 << 63])
    assert found == (ends[1], 1)


@pytest.mark.parametrize("path", FILES or [None], ids=lambda path: path.stem if path else "none")
def test_replay_of_vectors(path: Path | None) -> None:
    assert path is not None, "the folder of vectors is empty"
    case = json.loads(path.read_bytes())
    script = Words([int(word, 16) for word in case["words"] + case["more"]])
    assert drawn(float.fromhex(case["variance"]), len(case["words"]), script).tolist() == case["samples"]
    assert script.asked == [8 * len(case["words"])] + [8] * len(case["more"])


def test_the_folder_is_what_the_generator_makes() -> None:
    generated = runpy.run_path(str(VECTORS / "gen_skellam.py"))["generate"]()
    assert {f"skellam/{path.name}" for path in FILES} == set(generated)
    for name, content in generated.items():
        assert (VECTORS / name).read_bytes() == content, name


@settings(max_examples=60)
@given(st.sampled_from(ALL), st.lists(st.integers(-1 << 63, LARGEST), min_size=1, max_size=40))
def test_an_inverted_word_gives_the_opposite_sample(variance: float, words: list[int]) -> None:
    found, opposite = (drawn(variance, len(words), Words(chosen, 1)) for chosen in (words, [~word for word in words]))
    np.testing.assert_array_equal(found, -opposite)


def test_samples_follow_from_the_bytes_alone() -> None:
    size = 2 * TILE + 100
    whole = drawn(WIDER, size, seeded(11))
    np.testing.assert_array_equal(whole, drawn(WIDER, size, seeded(11)))
    fill, pieces = seeded(11), np.empty((size, 2), np.int64)
    for start in range(0, size, TILE):  # not contiguous, and tile by tile
        sampler(WIDER).fill(pieces[start : start + TILE, 1], fill)
    np.testing.assert_array_equal(whole, pieces[:, 1])
    assert (whole != drawn(WIDER, size, seeded(12))).mean() > 0.99
    assert abs(np.corrcoef(whole[:-1], whole[1:])[0, 1]) < 0.02


def test_constant_bytes_at_either_end_are_no_noise() -> None:
    for byte in (0x00, 0xFF):
        assert not drawn(WIDE, 100, constant(byte)).any()


def test_nothing_is_asked_for_nothing() -> None:
    script = Words([])
    assert drawn(1.0, 0, script).size == 0
    assert script.asked in ([], [0])


def test_threads_share_a_sampler() -> None:
    """Each goes on when the other has its words as well, so that neither would find its own in memory that they shared."""
    together = Barrier(2)

    def work(seed: int) -> NDArray[np.int64]:
        fill = seeded(seed)

        def wait(buffer: NDArray[np.uint8]) -> None:
            fill(buffer)
            together.wait(timeout=60)

        return drawn(WIDE, 2 * TILE + 1000, wait)

    with ThreadPoolExecutor(2) as pool:
        for seed, found in enumerate(pool.map(work, range(2))):
            np.testing.assert_array_equal(found, drawn(WIDE, 2 * TILE + 1000, seeded(seed)))


def test_samplers_are_kept() -> None:
    assert skellam(2.5) is skellam(2.5)


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, math.inf, -math.inf, math.nextafter(MAX_VARIANCE, math.inf)])
@pytest.mark.parametrize("make", [Skellam, skellam])
def test_other_variances_are_refused(variance: float, make: Callable[[float], Skellam]) -> None:
    with pytest.raises(LocalError, match=r"noise of a variance of .* cannot be drawn \(take more than 0"):
        make(variance)


@pytest.mark.parametrize("out", [np.empty(3, np.int32), np.empty(3, np.uint64), np.empty(3), np.empty((2, 2), np.int64)])
def test_other_arrays_are_refused(out: NDArray[Any]) -> None:
    with pytest.raises(LocalError, match="noise is drawn into an array of int64 in one dimension"):
        skellam(1.0).fill(out, seeded(0))


def test_repr_shows_no_table() -> None:
    assert repr(skellam(2.5)) == "Skellam(2.5)"
    assert len(repr(cumulative(2.5, 63))) < 100
