import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from stfed.encrypted import aligning, elementwise, moving
from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.encryption import encrypt
from stfed.encrypted.layout import Layout
from stfed.encrypted.seal import dump
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError
from tests.encrypted import keys

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
SYMBOLS = st.sampled_from(sorted(OPERATORS))
SEEDS = st.integers(0, 2**32)


def numbers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-3, 3, shape)


def encrypted(values: object) -> EncryptedTensor:
    return encrypt(keys.usual().public, values)


def agrees(tensor: object, expected: object) -> EncryptedTensor:
    assert isinstance(tensor, EncryptedTensor)
    keys.agree(keys.usual(), tensor, expected)
    return tensor


Shapes = tuple[tuple[int, ...], tuple[int, ...]]


@st.composite
def pairs(draw: st.DrawFn, second: str) -> Shapes:
    """Two shapes that broadcast: small ones of all kinds, and some that need several ciphertexts.

    Of the large ones an encrypted second operand is of the same shape or a number: others are moved, which is tested where moving is.
    """
    if draw(st.integers(0, 4)):
        return draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4)).input_shapes
    large = draw(st.sampled_from([(4096,), (5000,), (3, 4096), (4100, 2), (2, 3, 2000)]))
    others = [large, (), (1,)]
    if second == "plain":
        others += [large[at:] for at in range(len(large))] + [(*large[:-1], 1)]
    return large, draw(st.sampled_from(others))


@given(pairs("plain"), SYMBOLS, SEEDS, st.sampled_from(["dense", "same", "zero", "one", "minus one"]), st.booleans())
@settings(max_examples=50)
def test_encrypted_and_plain_in_both_orders(shapes: Shapes, symbol: str, seed: int, kind: str, swapped: bool) -> None:
    a, b = numbers(shapes[0], seed), numbers(shapes[1], seed + 1)
    if kind != "dense":
        b = np.full(shapes[1], {"same": 2.5, "zero": 0, "one": 1, "minus one": -1}[kind])
    operation = OPERATORS[symbol]
    x = encrypted(a)
    if swapped:
        agrees(operation(b, x), operation(b, a))
    else:
        agrees(operation(x, b), operation(a, b))
    agrees(x, a)  # as it was


@given(pairs("encrypted"), SYMBOLS, SEEDS, st.booleans(), st.booleans())
@settings(max_examples=20)
def test_encrypted_and_encrypted(shapes: Shapes, symbol: str, seed: int, low: bool, lower: bool) -> None:
    a, b = numbers(shapes[0], seed), numbers(shapes[1], seed + 1)
    x, y = encrypted(a), encrypted(b)
    if seed % 2:
        x, y, a, b = y, x, b, a
    if low:
        y, b = y * 0.5, b * 0.5
    if lower and not low:
        x, a = x * 0.5, a * 0.5
    if any(each.left < (symbol == "*") + moving.levels(each, aligning.common_layout(x, y)) for each in (x, y)):
        with pytest.raises(LocalError, match="multiplications one after the other"):
            OPERATORS[symbol](x, y)
    else:
        agrees(OPERATORS[symbol](x, y), OPERATORS[symbol](a, b))


@given(st.sampled_from([(3, 3), (7,), (2, 2, 2)]), SYMBOLS, SEEDS, st.sampled_from([8, 4096]))
@settings(max_examples=8)
def test_the_same_shape_in_different_layouts(shape: tuple[int, ...], symbol: str, seed: int, block: int) -> None:
    a, b = numbers(shape, seed), numbers(shape, seed + 1)
    context, layout = keys.usual().public, Layout(shape, 4096, block)
    rows = [(row,) for row in layout.spread(b)]
    y = EncryptedTensor(context, layout, tuple(context.each("encrypt", rows)), 3.0, context.noise.fresh(3.0, context.scales[-1]))
    agrees(OPERATORS[symbol](encrypted(a), y), OPERATORS[symbol](a, b))
    agrees(OPERATORS[symbol](y, encrypted(a)), OPERATORS[symbol](b, a))


@given(st.sampled_from([(3, 5), (5000, 2), (), (4096,)]), SEEDS)
@settings(max_examples=8)
def test_quotients(shape: tuple[int, ...], seed: int) -> None:
    a, b = numbers(shape, seed), numbers(shape, seed + 1)
    b += np.sign(b) * 0.1
    agrees(encrypted(a) / b, a / b)
    assert agrees(encrypted(a) / 3, a / 3).left == 1
    agrees(encrypted(a) / -1.0, -a)


def test_an_expression_over_all_levels() -> None:
    a, b, c = numbers((3, 6, 4), 1)
    x, y, z = map(encrypted, (a, b, c))
    result = agrees((x * y - 2 * z + 1) * (x - y) / 1 - z + b, (a * b - 2 * c + 1) * (a - b) - c + b)
    assert result.left == 0


@pytest.mark.parametrize(
    "make",
    [
        np.asarray,
        np.ndarray.tolist,
        torch.tensor,
        lambda a: torch.tensor(a, dtype=torch.float32, requires_grad=True),
        lambda a: torch.tensor(a).bfloat16(),
        lambda a: torch.nn.Parameter(torch.tensor(a)),
        lambda a: a.astype(np.int64),
        lambda a: float(a[0]),
        lambda a: np.float32(a[0]),
        lambda a: np.int16(a[0]),
        lambda a: torch.tensor(a[0]),
        lambda a: bool(a[0]),
    ],
)
def test_every_kind_of_plain_operand_on_either_side(make: Callable[[np.ndarray], Any]) -> None:
    a, b = np.array([0.5, -1.5, 2.0]), np.array([4.0, -3.0, 1.5])
    plain, x = make(b), encrypted(a)
    b = plain.detach().double().numpy() if isinstance(plain, torch.Tensor) else np.asarray(plain, np.float64)
    for operation in OPERATORS.values():
        agrees(operation(x, plain), operation(a, b))
        agrees(operation(plain, x), operation(b, a))
    agrees(x / plain, a / b)
    with pytest.raises(LocalError, match="cannot be a divisor"):
        plain / x


def test_pandas_hands_on_to_us_and_does_not_go_through_its_elements() -> None:
    pandas = pytest.importorskip("pandas")
    frame, a = pandas.DataFrame({"age": [50, 61], "size": [1.5, 2.5]}), np.array([[1.0, 2.0], [3.0, 4.0]])
    for operation in OPERATORS.values():
        agrees(operation(frame, encrypted(a)), operation(frame.to_numpy(), a))
        agrees(operation(frame["size"], encrypted(a)), operation(frame["size"].to_numpy(), a))
        agrees(operation(encrypted(a), frame), operation(a, frame.to_numpy()))


@pytest.mark.parametrize("other", ["1", None, {1: 2}, {1.0}, object(), b"1"])
def test_other_kinds_of_operands_are_type_errors_that_name_both(other: object) -> None:
    x = encrypted(1.0)
    for operation in (*OPERATORS.values(), operator.truediv):
        for left, right in ((x, other), (other, x)):
            with pytest.raises((TypeError, LocalError), match=r"EncryptedTensor|divisor"):
                operation(left, right)


@pytest.mark.parametrize("bad", [np.nan, [1.0, np.inf], 1j, ["a"], np.ma.array([1.0, 2.0], mask=[0, 1])], ids=repr)
def test_plain_operands_that_are_not_real_and_finite_are_refused(bad: object) -> None:
    x = encrypted([1.0, 2.0])
    for operation in (elementwise.add, elementwise.subtract, elementwise.multiply, elementwise.divide):
        with pytest.raises(LocalError, match="a plain operand"):
            operation(x, bad)


@pytest.mark.parametrize("zero", [0, [1.0, 0.0], 5e-324])
def test_division_by_zero(zero: object) -> None:
    with pytest.raises(LocalError, match="division by zero"):
        encrypted([1.0, 2.0]) / zero


@pytest.mark.parametrize(
    ("use", "why"),
    [
        (bool, "no truth value"),
        (lambda x: x == x, "cannot be compared"),
        (lambda x: x != 1, "cannot be compared"),
        (lambda x: np.ones(2) == x, "cannot be compared"),
        (lambda x: torch.ones(2) == x, "cannot be compared"),
        (list, "not iterable"),
        (sum, "not iterable"),
        (lambda x: 1.0 in x, "not iterable"),
        (np.asarray, "no array"),
        (lambda x: np.array([x, x]), "no array"),
        (lambda x: np.concatenate([x, x]), "no array"),
        (lambda x: encrypt(keys.usual(), x), "no array"),
        (lambda x: x * [x, 1.0], "no array"),
    ],
)
def test_what_would_otherwise_be_answered_wrongly_is_refused(use: Callable[[EncryptedTensor], object], why: str) -> None:
    with pytest.raises(LocalError, match=why):
        use(encrypted([1.0, 2.0]))


@pytest.mark.parametrize(
    "use", [float, int, complex, hash, np.sqrt, np.sum, lambda x: x < 1, lambda x: np.ones(2) < x, lambda x: np.add(np.ones(2), x)]
)
def test_what_python_and_numpy_refuse_by_themselves(use: Callable[[EncryptedTensor], object]) -> None:
    with pytest.raises(TypeError):
        use(encrypted([1.0, 2.0]))


# Slots without an element


def test_plain_numbers_do_not_get_into_empty_slots_and_a_plain_array_clears_them() -> None:
    a = numbers((3, 2), 1)
    x, u = encrypted(a), encrypted(2.0)
    assert all(each.clean for each in (x + 1, 1 - x, x + np.ones((3, 2)), x * 2.5, x * a, x * x, x * u, x / 2))
    muddy = agrees(x + u, a + 2)
    assert not muddy.clean
    assert not agrees(muddy * 2.5, 2.5 * a + 5).clean
    assert not agrees(muddy + 1, a + 3).clean
    assert agrees(muddy * a, (a + 2) * a).clean
    assert agrees(muddy * x, (a + 2) * a).clean
    assert not agrees(u * np.full((3, 2), 3.0), np.full((3, 2), 6.0)).clean
    assert agrees(u * a, 2 * a).clean
    full = numbers((4096,), 2)
    assert agrees(encrypted(full) + u, full + 2).clean  # there are none


def test_a_number_that_comes_down_a_level_is_masked_on_the_way() -> None:
    a = numbers((3, 2), 1)
    result = agrees(encrypted(a) * a + encrypted(2.0), a * a + 2)
    assert result.clean
    b = numbers((4100, 3), 3)
    assert agrees(encrypted(2.0) - encrypted(b) * 0.5, 2 - b * 0.5).clean


# What is free, and what is refused


def test_factors_and_addends_that_take_no_multiplication() -> None:
    a = numbers((3, 2), 1)
    x = encrypted(a)
    for result, expected in (
        (x * 1, a),
        (x * np.ones((3, 2)), a),
        (-1 * x, -a),
        (x + 0, a),
        (x - np.zeros(2), a),
        (x * 0, 0 * a),
        (x / 1, a),
    ):
        assert agrees(result, expected).left == 2
    assert (x * 0).bound == 0
    assert x * 1 is x
    assert dump((x * 0).ciphertexts[0]) != dump((x * 0).ciphertexts[0])  # fresh ones
    agrees(x - (x + a), -a)
    agrees(x - x, 0 * a)


def test_no_multiplication_left() -> None:
    x = encrypted([1.0, 2.0])
    low = (x * x) * x
    assert low.left == 0
    for product in (lambda: low * x, lambda: x * low, lambda: low * 2.5, lambda: low * [1.0, 2.0], lambda: low / 3):
        with pytest.raises(LocalError, match=r"takes 1 multiplication one after the other, and none of the 2 is left.*for_depth\(3\)"):
            product()
    agrees(low + x - 1, [1.0, 9.0])
    adding = encrypt(keys.adding().public, [1.0, 2.0])
    with pytest.raises(LocalError, match=r"0 of 0 are left.*for_depth\(1\)"):
        adding * adding
    keys.agree(keys.adding(), adding + adding - [0.5, 1.0], [1.5, 3.0])


def test_numbers_that_would_wrap_around_are_refused_before() -> None:
    context = keys.usual().public
    big = encrypt(context, 1.0, bound=2.0**10)
    with pytest.raises(LocalError, match=r"may be as large as 1.05e\+06, and with 0 multiplications left numbers must stay below 5.24e"):
        big * 0.5 * (big * 2)
    low = agrees(big * (big * 0.25), 0.25)
    assert (low.left, low.bound) == (0, 2.0**18)
    for wrong in (lambda: low + low, lambda: low - 2.0**18, lambda: low * -1 - low):
        with pytest.raises(LocalError, match="must stay below"):
            wrong()
    small = replace(big, bound=2.0**-60, error=0.0)  # no real one is as exact: products would fit, whose factors SEAL cannot encode
    for factor in (2.0**100, [2.0**100, 1.0]):
        with pytest.raises(LocalError, match="plain numbers may be as large as"):
            small * factor


def test_other_keys() -> None:
    other = encrypt(keys.stranger().public, [1.0, 2.0])
    for operation in OPERATORS.values():
        with pytest.raises(LocalError, match="different keys"):
            operation(encrypted([1.0, 2.0]), other)


def test_nothing_is_computed_before_everything_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    low, high, other = encrypted([1.0, 2.0]) ** 4, encrypted([1.0, 2.0]), encrypt(keys.stranger().public, [1.0, 2.0])
    large = encrypt(keys.usual().public, [1.0, 2.0], bound=2.0**18.3) * 0.5 * 2

    def computed(*_: object) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr(EvaluationContext, "each", computed)
    for refused in (
        lambda: high * low,
        lambda: low * 3,
        lambda: low * [1.0, 3.0],
        lambda: high + other,
        lambda: other * high,
        lambda: large + 2.0**17.9,
        lambda: large + large,
        lambda: low.polyval([1, 2]),
        lambda: high**5,
        lambda: high.polyval([0, 0, 2.0**40]),
        lambda: high - [1.0, 2.0, 3.0],
        lambda: encrypt(keys.usual(), 2.0, bound=1),
    ):
        with pytest.raises(LocalError):
            refused()


@pytest.mark.parametrize("symbol", sorted(OPERATORS))
def test_shapes_that_do_not_broadcast(symbol: str) -> None:
    x = encrypted(np.ones((3, 2)))
    for other in (np.ones((2, 3)), encrypted(np.ones(3))):
        with pytest.raises(LocalError, match="do not broadcast"):
            OPERATORS[symbol](x, other)


def test_what_somebody_else_made_is_told_of_all_that_is_computed_with_it() -> None:
    own = encrypt(keys.usual(), np.ones((2, 3)))
    theirs = replace(own, context=own.context.of_others())
    assert theirs.context._crew is own.context._crew
    row, tall = encrypt(keys.usual(), np.ones(3)), encrypt(keys.usual(), np.ones((3, 2)))
    their_row = replace(row, context=theirs.context)
    made = [
        -theirs, theirs * 0.5, theirs + 1, theirs**2, theirs.sum(), theirs.mean(0), theirs.T, theirs[0], theirs @ np.ones(3),
        theirs.polyval([1, 2]), own + theirs, theirs - own, own * theirs, theirs + row, own * their_row, row @ their_row,
        their_row @ row, theirs @ tall, moving.concatenate([own, theirs]), moving.stack([theirs, own]),
    ]  # fmt: skip
    assert all(tensor.context.by_others for tensor in made)
    assert not any(tensor.context.by_others for tensor in (own, own + own, row, own * row, moving.concatenate([own, own])))
