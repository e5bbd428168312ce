import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.encrypted.encryption import encrypt
from stfed.encrypted.fits import Fit, chebyshev, sigmoid_coefficients
from stfed.encrypted.polynomials import polyval, power
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError
from tests.encrypted import keys

X = np.random.default_rng(5).uniform(-2, 2, (30, 2))


def exactly(coefficients: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(np.polynomial.Polynomial(coefficients)(x))


def deep(values: object = X, bound: float = 2) -> EncryptedTensor:
    return encrypt(keys.deep(), values, bound=bound)


@given(
    st.lists(st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-5, 5), min_size=1, max_size=32),
    st.sampled_from([0.25, 1, 1.25, 2, 3]),
    st.booleans(),
)
@settings(max_examples=12)
def test_every_polynomial_is_numpys_in_the_least_depth(coefficients: list[float], bound: float, clean: bool) -> None:
    values = X / 2 * bound
    coefficients = [number / max(1, bound) ** at for at, number in enumerate(coefficients)]
    x = deep(values, bound)
    if not clean:
        x, values = x + encrypt(keys.deep(), 0.0, bound=0), values  # its noise gets into empty slots, too
    result = polyval(x, coefficients)
    keys.agree(keys.deep(), result, exactly(coefficients, values))
    degree = max((at for at, number in enumerate(coefficients) if number), default=0)
    assert result.left == 5 - math.ceil(math.log2(degree + 1))
    assert result.clean == clean or not degree
    assert result.bound <= np.abs(coefficients) @ float(bound) ** np.arange(len(coefficients)) * (1 + 2**-40)


def test_bounds_are_those_of_the_polynomial_not_of_its_terms() -> None:
    cubic = [0.5, 3.0, 0, -1.0]  # |terms| add up to 14.5 on [-2, 2], and it stays within 2.5
    assert 2.5 <= polyval(deep(), cubic).bound < 2.52


def test_deep_polynomials_of_small_numbers_are_exact() -> None:
    fit = sigmoid_coefficients(8, 31).scaled(4)
    result = polyval(deep(), fit)
    keys.agree(keys.deep(), result, exactly(fit.coefficients, X))
    assert result.left == 0
    assert result.error < 2e-5  # powers of x have 0.5 here
    assert np.abs(keys.opened(keys.deep(), result) - 1 / (1 + np.exp(-4 * X))).max() <= result.error + fit.error


def test_tensors_of_several_ciphertexts_and_single_numbers() -> None:
    values = np.linspace(-1, 1, 4100)
    keys.agree(keys.usual(), encrypt(keys.usual(), values).polyval([1, -2, 3]), exactly([1, -2, 3], values))
    keys.agree(keys.usual(), encrypt(keys.usual(), 0.5) ** 3, 0.125)
    keys.agree(keys.usual(), encrypt(keys.usual(), values).polyval([3, 5000]), 3 + 5000 * values)  # the noise 5000 times, too


@pytest.mark.parametrize("exponent", [1, 2, 3, 5, 7, 13, 16, 31, 32, np.int64(4)])
def test_powers_in_the_least_depth(exponent: int) -> None:
    x = deep(X * 0.55, 1.1)
    result = power(x, exponent)
    keys.agree(keys.deep(), result, (X * 0.55) ** exponent)
    assert result.left == 5 - math.ceil(math.log2(exponent))
    assert result.clean
    assert result.bound == pytest.approx(1.1**exponent, rel=1e-9)
    assert result is x or exponent > 1


@pytest.mark.parametrize("exponent", [0, -1, 0.5, 2.0, "2", None, True])
def test_other_powers_are_refused(exponent: object) -> None:
    with pytest.raises(LocalError, match="the power"):
        deep() ** exponent  # type: ignore[operator]


def test_too_deep() -> None:
    x = encrypt(keys.usual(), [0.5, 1.0])
    with pytest.raises(LocalError, match=r"a polynomial of degree 4 takes 3 multiplications .* 2 of 2 are left.*for_depth\(3\)"):
        x.polyval([1, 2, 3, 4, 5])
    with pytest.raises(LocalError, match="a power of 5 takes 3 multiplications"):
        x**5
    with pytest.raises(LocalError, match="a power of 3 takes 2 multiplications one after the other, and 1 of 2 is left"):
        (x * x) ** 3
    keys.agree(keys.usual(), x.polyval([1, 2, 3, 4, 0, 0]), exactly([1, 2, 3, 4], np.array([0.5, 1.0])))


def test_intermediate_results_that_would_wrap_around() -> None:
    with pytest.raises(LocalError, match="must stay below"):
        encrypt(keys.usual(), 1.0, bound=1000) ** 2 * 1.5
    with pytest.raises(LocalError, match="must stay below"):
        encrypt(keys.usual(), 1.0, bound=1000).polyval([0, 0, 0, 1e-3])
    with pytest.raises(LocalError, match="must stay below"):
        encrypt(keys.usual(), 1.0).polyval([0, 1e20])
    with pytest.raises(LocalError, match="must stay below"):  # floats overflow in the end
        encrypt(keys.deep(), 1.0, bound=1e40).polyval([0.0] * 15 + [1.0])


@pytest.mark.parametrize(
    ("coefficients", "why"),
    [([], "no elements"), ([[1.0, 2.0]], "coefficients of shape"), (3.0, "of shape"), ([np.nan], "NaN"), ("12", "dtype")],
)
def test_what_are_no_coefficients(coefficients: Any, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        deep().polyval(coefficients)


# Fits


def test_a_fit_says_how_wrong_it_is() -> None:
    x = np.linspace(-8, 8, 4321)
    for degree, error in ((1, 0.21), (3, 0.12), (7, 0.03), (15, 0.0014)):
        fit = sigmoid_coefficients(8, degree)
        off = np.abs(exactly(fit.coefficients, x) - 1 / (1 + np.exp(-x))).max()
        assert error * 0.9 < off <= fit.error * 1.0001 < error * 1.07
        assert len(fit.coefficients) == degree + 1
        assert not any(fit.coefficients[2::2])
        assert fit.coefficients[0] == pytest.approx(0.5)
        narrow = fit.scaled(4)
        assert (narrow.low, narrow.high, narrow.error) == (-2, 2, fit.error)
        np.testing.assert_allclose(exactly(narrow.coefficients, x / 4), exactly(fit.coefficients, x), atol=1e-12)


@given(st.floats(-10, 10), st.floats(0.1, 5), st.integers(0, 6))
@settings(max_examples=20)
def test_polynomials_fit_themselves(low: float, width: float, degree: int) -> None:
    coefficients = np.random.default_rng(degree).uniform(-1, 1, degree + 1)
    fit = chebyshev(lambda x: exactly(coefficients, x), low, low + width, degree)
    assert fit.error < 1e-4 * max(1.0, np.abs(exactly(np.abs(coefficients), np.array(abs(low) + width))))


def test_fits_are_refused_where_they_were_not_made_for() -> None:
    fit = sigmoid_coefficients(2, 3)
    keys.agree(keys.usual(), encrypt(keys.usual(), X, bound=2).polyval(fit), exactly(fit.coefficients, X))
    for wrong, bound in ((fit, 2.1), (Fit((1.0, 2.0), 1.0, 3.0, 0.0), 2.0)):
        with pytest.raises(LocalError, match="for numbers that may lie anywhere in"):
            encrypt(keys.usual(), 1.0, bound=bound).polyval(wrong)
    reciprocal = chebyshev(lambda x: 1 / x, 1, 2, 3)
    found = encrypt(keys.usual(), [1.0, 1.3, 2.0]).polyval(reciprocal.coefficients)
    assert np.abs(keys.opened(keys.usual(), found) - 1 / np.array([1.0, 1.3, 2.0])).max() <= found.error + reciprocal.error


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((np.log, -1, 1, 3), "not finite"),
        ((np.exp, 1, 1, 3), "no interval"),
        ((np.exp, 0, np.inf, 3), "no interval"),
        ((np.exp, 0, 1, -1), "degree -1"),
        ((np.exp, 0, 1, 1.5), "degree 1.5"),
        ((np.exp, 0, 1, True), "degree True"),
    ],
)
def test_what_cannot_be_fitted(arguments: tuple, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        chebyshev(*arguments)
    with pytest.raises(LocalError, match="cannot be scaled"):
        sigmoid_coefficients(2, 3).scaled(0)
