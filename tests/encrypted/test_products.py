from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.encrypted import costs, outer, products
from stfed.encrypted.aligning import dropped
from stfed.encrypted.encryption import encrypt
from stfed.errors import LocalError
from tests.encrypted import keys
from tests.encrypted.against import check, few, made

lengths = st.integers(1, 9)
few_axes = st.sampled_from([1, 2])


def plain(data: Any, shape: tuple[int, ...]) -> Any:
    values = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))).normal(size=shape)
    return values * data.draw(st.sampled_from([1, 1, 1, 0]))


@few
@given(st.data(), few_axes, few_axes, lengths, lengths, lengths)
def test_products_with_plain_ones_are_numpys(data: Any, a_axes: int, b_axes: int, rows: int, inner: int, columns: int) -> None:
    values, tensor = data.draw(made((rows, inner)[-a_axes:]))
    weights = plain(data, (inner, columns)[:b_axes])
    check(tensor @ weights, values @ weights)
    values, tensor = data.draw(made((inner, columns)[:b_axes]))
    weights = plain(data, (rows, inner)[-a_axes:])
    check(weights @ tensor, weights @ values)


@few
@given(st.data(), few_axes, few_axes, st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_products_of_encrypted_ones_are_numpys(data: Any, a_axes: int, b_axes: int, rows: int, inner: int, columns: int) -> None:
    values, tensor = data.draw(made((rows, inner)[-a_axes:]))
    others, other = data.draw(made((inner, columns)[:b_axes]))
    if (a_axes, b_axes) == (1, 2) and not tensor.clean:
        tensor = encrypt(tensor.context, values)  # or it would take three multiplications
    check(tensor @ other, values @ others)
    check(tensor.dot(other), values.dot(others))


@pytest.mark.parametrize(
    ("a", "b"),
    [((5000, 3), (3, 2)), ((569, 30), (30, 1)), ((569, 30), (30,)), ((100, 6), (6, 50)), ((300,), (300, 3))],
)
def test_larger_plain_factors_from_both_sides(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    random = np.random.default_rng(7)
    one, other = random.uniform(-1, 1, a), random.uniform(-1, 1, b)
    context = keys.usual().public
    check(encrypt(context, one) @ other, one @ other)
    if len(one) < 5000:
        check(one @ encrypt(context, other), one @ other)


@pytest.mark.parametrize(("a", "b"), [((4100, 2), (2, 1)), ((3, 2), (2, 40)), ((40, 2), (2, 130)), ((3, 40), (40, 2))])
def test_larger_encrypted_factors(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    random = np.random.default_rng(8)
    one, other = random.uniform(-1, 1, a), random.uniform(-1, 1, b)
    context = keys.usual().public
    check(encrypt(context, one) @ encrypt(context, other), one @ other)


def test_what_is_computed_is_computed_further() -> None:
    random = np.random.default_rng(9)
    values, one, other = random.uniform(-1, 1, (40, 6)), random.normal(size=(6, 5)), random.normal(size=(5, 2))
    tensor = encrypt(keys.usual().public, values) @ one
    assert not tensor.clean
    check(tensor @ other, values @ one @ other)
    check(tensor.sum(), (values @ one).sum())
    check(tensor[3:7] * 2.0, (values @ one)[3:7] * 2)
    check(tensor + one[0], values @ one + one[0])
    check(tensor.T, (values @ one).T)


def test_what_lies_beside_the_elements_is_no_part_of_them() -> None:
    random = np.random.default_rng(12)
    values, weights = random.uniform(-1, 1, (1500, 3)), random.normal(size=(3, 2))
    part = encrypt(keys.usual().public, values)[:1400]
    assert not part.clean
    check(part @ weights, values[:1400] @ weights)
    values = random.uniform(-1, 1, (2, 5))
    part = encrypt(keys.usual().public, values)[:, :3]
    check(np.ones((2, 2)) @ part, np.ones((2, 2)) @ values[:, :3])


def test_a_vector_times_a_matrix_takes_two_multiplications_whatever_lies_beside_the_matrix() -> None:
    random = np.random.default_rng(13)
    one, other = random.uniform(-1, 1, 3), random.uniform(-1, 1, (4, 6))
    context = keys.usual().public
    result = encrypt(context, one) @ encrypt(context, other)[:3, :5]
    assert result.left == 0
    check(result, one @ other[:3, :5])


def test_no_rotation_where_columns_fill_ciphertexts() -> None:
    context = keys.stranger().public  # which has no keys for any
    values = np.random.default_rng(10).uniform(-1, 1, (4096, 2))
    result = encrypt(context, values) @ np.eye(2)
    assert result.left == 1
    assert np.abs(keys.opened(keys.stranger(), result) - values).max() <= result.error


def test_the_bound_is_that_of_the_columns() -> None:
    tensor = encrypt(keys.usual().public, np.ones((3, 2)), bound=1.0)
    result = tensor @ np.array([[1.0, -3.0], [0.5, 0.25]])
    assert 3.25 <= result.bound <= 3.25 * (1 + 1e-12)


def test_dot_of_single_numbers_is_their_product() -> None:
    tensor = encrypt(keys.usual().public, 0.5)
    check(tensor.dot(3), 1.5)
    check(products.dot(np.ones(3), tensor), 0.5 * np.ones(3))


def test_what_would_take_too_long_is_refused_with_its_cost_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    context = keys.usual().public
    a, b = encrypt(context, np.ones((4000, 5))), encrypt(context, np.ones((5, 30)))
    monkeypatch.setattr(context, "each", lambda *_: pytest.fail("it computed"))
    with (
        pytest.raises(LocalError, match=r"shapes \(4000, 5\) and \(5, 30\) would take \d+ products, \d+ rotations.*over the limit of 1 s"),
        costs.allowing(1),
    ):
        a @ b


@pytest.mark.parametrize(
    ("shape", "other"), [((4, 3), (3, 5)), ((40, 7), (7, 3)), ((5000, 2), (2, 3)), ((3, 200), (200, 90)), ((1, 9), (9, 1))]
)
def test_what_a_product_takes_at_least_is_what_its_plan_counts_and_no_more(shape: tuple[int, int], other: tuple[int, int]) -> None:
    context = keys.usual().public
    a, b = encrypt(context, np.ones(shape)), encrypt(context, np.ones(other))
    floor, planned = outer.least(a, b), outer.outer(a, b).cost
    assert 0 < floor.products <= planned.products
    assert floor.seconds <= planned.seconds


def test_a_product_far_too_large_is_refused_without_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = encrypt(keys.usual().public, np.ones((300, 300)))
    monkeypatch.setattr(products, "outer", lambda *_: pytest.fail("it planned"))
    with pytest.raises(LocalError, match=r"would take at least \d+ products, .*over the limit of 1 s"), costs.allowing(1):
        tensor @ tensor


def test_products_without_multiplications_left_are_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    context = keys.usual().public
    a, b, c = (dropped(encrypt(context, np.ones(shape)), left) for shape, left in (((3, 2), 1), ((2, 3), 0), ((2, 4), 1)))
    big = encrypt(context, np.ones((3, 2)), bound=2.0**39)
    monkeypatch.setattr(context, "each", lambda *_: pytest.fail("it computed"))
    with pytest.raises(LocalError, match=r"takes 2 multiplications one after the other, and 1 of 2 is left"):
        a @ c
    with pytest.raises(LocalError, match=r"takes 1 multiplication one after the other, and none of the 2 is left"):
        b @ np.ones(3)
    with pytest.raises(LocalError, match="plain numbers"):
        a @ np.full(2, 1e30)
    with pytest.raises(LocalError, match="as large as"):
        big @ np.full(2, 2.0**25)


def test_misuse_gets_a_clear_error() -> None:
    context = keys.usual().public
    tensor = encrypt(context, np.ones((3, 2)))
    with pytest.raises(LocalError, match=r"shapes \(3, 2\) and \(3,\): the last axis of the first, 2, must be as long"):
        tensor @ np.ones(3)
    with pytest.raises(LocalError, match="one axis or two"):
        tensor @ np.ones((1, 2, 3))
    with pytest.raises(LocalError, match="one axis or two"):
        tensor @ 3
    with pytest.raises(LocalError, match="different keys"):
        tensor @ encrypt(keys.stranger().public, np.ones((2, 2)))
    with pytest.raises(TypeError, match="unsupported operand"):
        tensor @ "weights"


def test_a_vector_of_one_number_takes_no_level_to_be_brought_beside_a_row() -> None:
    one, row = encrypt(keys.usual(), [0.25]), encrypt(keys.usual(), [[1.0, -2.0]])
    for each in (row, replace(row, clean=False)):
        check(one @ each, np.array([0.25, -0.5]))
    check(one @ row[0, :1], np.array(0.25))
