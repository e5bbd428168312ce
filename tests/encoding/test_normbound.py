"""The bound on rounded vectors: it holds as often as it says, checked by adding up every way to round."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import mpmath
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stfed.encoding.normbound import BETA, norm_bound_squared
from stfed.errors import LocalError

VALUES = st.lists(st.integers(-300, 300).map(lambda n: Fraction(n, 64)), min_size=1, max_size=7).filter(any)


def thrown_away(values: list[Fraction], bound: int) -> Fraction:
    """The probability that a rounded vector is longer than the bound."""
    lost = Fraction(0)
    for ups in itertools.product((0, 1), repeat=len(values)):
        floors = [math.floor(value) for value in values]
        if sum((floor + up) ** 2 for floor, up in zip(floors, ups, strict=True)) > bound:
            lost += math.prod(v - f if up else 1 - (v - f) for v, f, up in zip(values, floors, ups, strict=True))
    return lost


@given(VALUES, st.sampled_from([BETA, 0.9, 0.1, 0.001]))
@example([Fraction(1, 2)] * 7, BETA)
@example([Fraction(1, 64)] * 7, BETA)
def test_no_more_draws_are_thrown_away_than_promised(values: list[Fraction], beta: float) -> None:
    norm = math.nextafter(math.sqrt(sum(value * value for value in values)), math.inf)
    assert thrown_away(values, norm_bound_squared(norm, 1.0, len(values), beta)) <= beta


@given(VALUES)
def test_there_is_always_something_to_keep(values: list[Fraction]) -> None:
    """Towards zero is never longer than the vector was, so redrawing ends."""
    norm = math.nextafter(math.sqrt(sum(value * value for value in values)), math.inf)
    assert sum(math.floor(abs(value)) ** 2 for value in values) <= norm_bound_squared(norm, 1.0, len(values))


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1e9), st.integers(1, 10**12), st.floats(1e-9, 0.999))
def test_it_is_the_papers_formula_rounded_down(clip: float, scale: float, coordinates: int, beta: float) -> None:
    with mpmath.workdps(80):
        c, root = mpmath.mpf(clip) * mpmath.mpf(scale), mpmath.sqrt(coordinates)
        for used, deviations in ((BETA, mpmath.mpf(1)), (beta, mpmath.sqrt(-2 * mpmath.log(mpmath.mpf(beta))))):
            exact = min((c + root) ** 2, c**2 + mpmath.mpf(coordinates) / 4 + deviations * (c + root / 2))
            found = norm_bound_squared(clip, scale, coordinates, used)
            assert type(found) is int
            assert found >= int(mpmath.floor(exact))
            assert found <= max(1, exact + (c + root) * mpmath.mpf(2) ** -40 + 1e-9)


@pytest.mark.parametrize(
    ("clip", "scale", "coordinates", "bound"),
    [
        (1.0, 1000.0, 10_000, 1_003_550),  # 10^6 + 2500 + 1000 + 50
        (0.5, 6.0, 4, 14),  # 9 + 1 + 3 + 1; (3 + 2)^2 is more
        (1e-3, 1.0, 1, 1),  # nothing is as good as rounded to one
        (3.0, 2.0**80, 1, 9 * 2**160 + 3 * 2**80),
    ],
)
def test_some_bounds_by_hand(clip: float, scale: float, coordinates: int, bound: int) -> None:
    assert norm_bound_squared(clip, scale, coordinates) == bound


@pytest.mark.parametrize(
    ("clip", "scale", "coordinates", "beta"),
    [
        (0.0, 1.0, 1, BETA),
        (math.nan, 1.0, 1, BETA),
        (1.0, math.inf, 1, BETA),
        (1.0, -1.0, 1, BETA),
        (1.0, 1.0, 0, BETA),
        (1.0, 1.0, 1, 0.0),
        (1.0, 1.0, 1, 1.0),
        (1.0, 1.0, 1, math.nan),
    ],
)
def test_no_bound(clip: float, scale: float, coordinates: int, beta: float) -> None:
    with pytest.raises(LocalError):
        norm_bound_squared(clip, scale, coordinates, beta)
