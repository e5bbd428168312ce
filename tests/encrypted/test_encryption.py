import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.encrypted.encryption import encrypt
from stfed.encrypted.plain import as_float64
from stfed.encrypted.seal import dump
from stfed.errors import LocalError
from tests.encrypted import keys

SHAPES = st.lists(st.integers(1, 5), max_size=3).map(tuple) | st.sampled_from([(4096,), (4097,), (5000, 3), (2, 4100), (1, 3), (3, 1)])


@given(SHAPES, st.integers(-30, 40), st.integers(0, 2**32))
@settings(max_examples=25)
def test_every_shape_comes_back_within_its_error(shape: tuple[int, ...], exponent: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=shape) * 2.0**exponent
    tensor = encrypt(keys.usual().public, values)
    keys.agree(keys.usual(), tensor, values)
    assert tensor.left == 2
    assert tensor.clean
    largest = np.abs(values).max()
    assert largest <= tensor.bound
    assert np.log2(tensor.bound).is_integer()
    assert tensor.bound < 2 * largest or tensor.bound < 2e-7  # below the noise the bound says nothing


@pytest.mark.parametrize(
    "given_",
    [
        3,
        -2.5,
        True,
        2**70,
        np.float32(1.5),
        np.int8(-3),
        [1, 2.5, True],
        [[1, 2], [3, 4]],
        [2**70, 1],
        (Fraction(1, 4), 2),
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.arange(6.0).reshape(2, 3)[:, ::-1].T,
        np.array([True, False]),
        np.array([1.5], np.float16),
        np.array([1.5], np.longdouble),
        np.array([1.5], ">f8"),
    ],
    ids=repr,
)
def test_what_counts_as_numbers(given_: object) -> None:
    keys.agree(keys.usual(), encrypt(keys.usual(), given_), np.asarray(given_, np.float64))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_torch_tensors(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 1.0]]).to(dtype)
    for each in (tensor, tensor.T, tensor[0, 1]):
        keys.agree(keys.usual(), encrypt(keys.usual().public, each), each.double().numpy())


def test_torch_tensors_with_a_gradient_and_views_are_detached() -> None:
    weights = torch.nn.Parameter(torch.tensor([0.5, -1.5]))
    keys.agree(keys.usual(), encrypt(keys.usual().public, weights), [0.5, -1.5])
    assert as_float64(torch.tensor([1 + 2j]).conj().imag).tolist() == [-2.0]  # negated lazily


@pytest.mark.parametrize(
    ("given_", "why"),
    [
        (np.nan, "NaN or infinite"),
        ([1.0, np.inf], "NaN or infinite"),
        (np.array([np.finfo(np.longdouble).max]), "NaN or infinite"),
        (10**400, "no array of numbers"),
        (1 + 2j, "complex128"),
        (torch.tensor([1j]), "complex64"),
        ([], "no elements"),
        (np.zeros((0, 3)), "no elements"),
        ("1.5", "dtype"),
        (None, "dtype 'object'"),
        ([None, 1.0], "dtype 'object'"),
        ([[1.0], [1.0, 2.0]], "no array of numbers"),
        (np.array(["2026-11-23"], "M8[D]"), "datetime64"),
        (np.ma.masked_array([1.0, 2.0], [False, True]), "masked"),
        (torch.eye(2).to_sparse(), "no array of numbers"),
    ],
    ids=repr,
)
def test_what_does_not(given_: object, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        encrypt(keys.usual().public, given_)


def test_bounds() -> None:
    context = keys.usual().public
    assert encrypt(context, [3.0, -4.0]).bound == 4.0
    assert encrypt(context, [3.0, -4.5]).bound == 8.0
    assert encrypt(context, 0.0).bound == encrypt(context, 1e-300).bound < 1e-6
    assert encrypt(context, [3.0, -4.0], bound=10).bound == 10.0
    assert encrypt(context, 1.0, bound=1).bound == 1.0
    for bound in (3.9, np.nextafter(4, 0)):
        with pytest.raises(LocalError, match="larger than the stated bound") as caught:
            encrypt(context, [3.0, -4.0], bound=bound)
        assert "-4" not in str(caught.value)  # no number is told
    for bound in (-1, np.nan, np.inf, "much", [1]):
        with pytest.raises(LocalError, match="a bound of"):
            encrypt(context, 0.5, bound=bound)


def test_up_to_which_bound_numbers_can_be_encrypted_is_known_before() -> None:
    for secret in (keys.usual(), keys.adding()):
        largest = secret.public.largest(secret.public.parameters.depth) / 2
        bound = largest * (1 - 2**-40)
        tensor = encrypt(secret.public, [bound, -bound, 0.0], bound=bound)
        keys.agree(secret, tensor, [bound, -bound, 0.0])
        with pytest.raises(LocalError, match="must stay below"):
            encrypt(secret.public, 0.0, bound=largest)


def test_encryptions_of_the_same_differ() -> None:
    context = keys.adding().public
    first, second = (dump(encrypt(context, 1.0).ciphertexts[0]) for _ in range(2))
    assert first != second


def test_what_is_no_context() -> None:
    with pytest.raises(LocalError, match="no evaluation context"):
        encrypt("key", 1.0)  # type: ignore[arg-type]


def test_the_bound_is_never_below_the_largest_number() -> None:
    for exponent in range(-20, 20):
        power = 2.0**exponent
        assert encrypt(keys.stranger(), power).bound == power
        assert encrypt(keys.stranger(), math.nextafter(power, math.inf)).bound == 2 * power
