from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.encrypted import reductions
from stfed.encrypted.aligning import dropped
from stfed.encrypted.encryption import encrypt
from stfed.errors import LocalError
from tests.encrypted import keys
from tests.encrypted.against import check, few, made, shapes


@few
@given(st.data(), shapes, st.booleans())
def test_sums_are_numpys(data: Any, shape: tuple[int, ...], keepdims: bool) -> None:
    values, tensor = data.draw(made(shape))
    axes = data.draw(st.none() | st.lists(st.integers(0, len(shape) - 1), unique=True).map(tuple) if shape else st.none())
    check(reductions.total(tensor, axes, keepdims=keepdims), values.sum(axis=axes, keepdims=keepdims))


@few
@given(st.data(), shapes.filter(len), st.booleans())
def test_means_are_numpys(data: Any, shape: tuple[int, ...], keepdims: bool) -> None:
    values, tensor = data.draw(made(shape))
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    check(tensor.mean(axis, keepdims=keepdims), values.mean(axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("shape", [(5000, 3), (4096, 2), (100, 60)])
def test_sums_over_many_ciphertexts(shape: tuple[int, ...], axis: int | None) -> None:
    values = np.random.default_rng(5).uniform(-1, 1, shape)
    tensor = encrypt(keys.usual().public, values)
    check(tensor.sum(axis), values.sum(axis))
    check(tensor[1:].sum(axis), values[1:].sum(axis))


def test_multiplications_are_used_only_where_they_are_needed() -> None:
    tensor = encrypt(keys.usual().public, np.ones((20, 6)))
    assert tensor.sum().left == tensor.sum(1).left == tensor.sum(0, keepdims=True).left == tensor.left
    assert tensor.sum(0).left == tensor.mean().left == tensor.mean(0).left == tensor.mean(1).left == tensor.left - 1
    part = tensor[3:9]
    assert part.sum().left == part.mean().left == part.mean(0, keepdims=True).left == part.mean(1).left == part.left - 1
    assert part.sum(0).left == part.mean(0).left == part.left - 2


def test_a_sum_fits_to_every_tensor() -> None:
    values = np.random.default_rng(6).uniform(-1, 1, (7, 5))
    tensor = encrypt(keys.usual().public, values)
    check(tensor - tensor.mean(), values - values.mean())


def test_a_sum_without_a_multiplication_left_is_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    context = keys.usual().public
    tensor = dropped(encrypt(context, np.ones((20, 6)))[3:9], 1)
    monkeypatch.setattr(context, "each", lambda *_: pytest.fail("it computed"))
    with pytest.raises(LocalError, match=r"sum over axes \(0,\) .* takes 2 multiplications one after the other, and 1 of 2 is left"):
        tensor.sum(0)


def test_sums_that_do_not_fit_are_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    context = keys.usual().public
    tensor = dropped(encrypt(context, np.ones(4000), bound=500.0), 0)
    monkeypatch.setattr(context, "each", lambda *_: pytest.fail("it computed"))
    with pytest.raises(LocalError, match=r"as large as 2e\+06"):
        tensor.sum()


def test_misuse_gets_a_clear_error() -> None:
    tensor = encrypt(keys.stranger().public, np.ones((3, 4)))
    for axis in (2, -3, "rows", (0, 5)):
        with pytest.raises(LocalError, match="no axis"):
            reductions.total(tensor, axis)  # type: ignore[arg-type]
    with pytest.raises(LocalError, match="axis twice"):
        reductions.total(tensor, (0, -2))
    with pytest.raises(LocalError, match="rotations=True"):
        tensor.sum()


def test_without_any_multiplication_there_are_sums_and_clear_refusals() -> None:
    secret = keys.adding()
    values = np.arange(12.0).reshape(4, 3)
    x, column = encrypt(secret, values), encrypt(secret, values[:, 0])
    keys.agree(secret, x.sum(), values.sum())
    keys.agree(secret, x.sum(1), values.sum(1))
    for act in (
        x.mean,
        lambda: x.mean(0),
        lambda: x.mean(1),
        lambda: column @ column,
        lambda: column @ x,
        lambda: x @ encrypt(secret, values.T),
    ):
        with pytest.raises(LocalError, match="multiplication"):
            act()
