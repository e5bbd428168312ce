from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices

from stfed.encrypted import costs, moving
from stfed.encrypted.aligning import dropped
from stfed.encrypted.costs import Cost
from stfed.encrypted.encryption import encrypt
from stfed.encrypted.gathering import _junk
from stfed.encrypted.layout import Layout
from stfed.encrypted.linear import Diagonals, steps
from stfed.errors import LocalError
from tests.encrypted import keys
from tests.encrypted.against import check, few, made, shapes

SLOTS = 4096


@given(st.integers(-SLOTS // 2, SLOTS // 2))
def test_a_distance_is_a_sum_of_few_signed_powers_of_two(distance: int) -> None:
    digits = steps(distance)
    assert sum(digits) == distance
    assert all(abs(each).bit_count() == 1 and abs(each) <= SLOTS // 2 for each in digits)
    assert all(abs(one) >= 4 * abs(next_) for one, next_ in pairwise(digits))


@few
@given(st.data(), shapes)
def test_broadcasting_is_numpys_in_any_layout(data: Any, shape: tuple[int, ...]) -> None:
    values, tensor = data.draw(made(shape))
    wider = tuple(length if length > 1 else data.draw(st.integers(1, 4)) for length in shape)
    wanted = (*data.draw(st.lists(st.integers(1, 4), max_size=2)), *wider)
    layout = Layout.of(wanted, SLOTS)
    if not layout.uniform:
        layout = Layout(wanted, SLOTS, layout.block << data.draw(st.integers(0, 2)))
    levels = moving.levels(tensor, layout)
    placed = moving.place(tensor, layout)
    assert placed.layout == layout
    assert placed.left == tensor.left - levels
    check(placed, np.broadcast_to(values, wanted))
    check(moving.broadcast_to(tensor, wanted), np.broadcast_to(values, wanted))


@pytest.mark.parametrize(("shape", "wanted"), [((5000, 1), (5000, 3)), ((3,), (5000, 3)), ((30,), (569, 30)), ((200,), (2, 200))])
def test_broadcasting_over_many_ciphertexts(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    values = np.random.default_rng(3).uniform(-1, 1, shape)
    check(moving.broadcast_to(encrypt(keys.usual().public, values), wanted), np.broadcast_to(values, wanted))


@few
@given(st.data(), shapes)
def test_reshaping_and_transposing_are_numpys(data: Any, shape: tuple[int, ...]) -> None:
    values, tensor = data.draw(made(shape))
    factors = [each for each in range(1, values.size + 1) if values.size % each == 0]
    first = data.draw(st.sampled_from(factors))
    check(tensor.reshape(first, -1), values.reshape(first, -1))
    check(tensor.reshape((1, values.size)), values.reshape(1, values.size))
    check(tensor.T, values.T)


@few
@given(st.data(), shapes.filter(len))
def test_indices_are_numpys(data: Any, shape: tuple[int, ...]) -> None:
    values, tensor = data.draw(made(shape))
    index = data.draw(basic_indices(shape, allow_newaxis=True).filter(lambda index: np.asarray(values[index]).size > 0))
    check(tensor[index], values[index])


@few
@given(st.data(), shapes.filter(len), st.integers(1, 3))
def test_concatenations_are_numpys(data: Any, shape: tuple[int, ...], count: int) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    lengths = [data.draw(st.integers(1, 3)) for _ in range(count)]
    pairs = [data.draw(made((*shape[: axis % len(shape)], length, *shape[axis % len(shape) + 1 :]))) for length in lengths]
    tensors = [dropped(tensor, data.draw(st.integers(1, 2))) for _, tensor in pairs]
    check(moving.concatenate(tensors, axis), np.concatenate([values for values, _ in pairs], axis))


def test_stacks_are_numpys() -> None:
    values = np.random.default_rng(1).uniform(-1, 1, (2, 3, 4))
    parts = [encrypt(keys.usual().public, part) for part in values]
    check(moving.stack(parts), values)
    check(moving.stack(parts, -1), np.stack(values, -1))
    with pytest.raises(LocalError, match="one shape"):
        moving.stack([parts[0], parts[0][1:]])
    with pytest.raises(LocalError, match="axis 3 is none"):
        moving.stack(parts, 3)


def test_what_lies_beside_the_elements_is_no_part_of_them() -> None:
    context, values = keys.usual().public, np.random.default_rng(11).uniform(-1, 1, 6)
    tensor = encrypt(context, values)
    check(moving.broadcast_to(tensor.reshape(6, 1), (6, 3)), np.broadcast_to(values[:, None], (6, 3)))
    check(moving.broadcast_to(tensor[:2], (8, 2)), np.broadcast_to(values[:2], (8, 2)))
    check(moving.broadcast_to(tensor[:2].reshape(2, 1), (2, 4)), np.broadcast_to(values[:2, None], (2, 4)))
    check(moving.broadcast_to(tensor[5], (3, 2)), np.full((3, 2), values[5]))


def test_what_needs_no_multiplication_takes_none_and_often_not_even_a_rotation() -> None:
    context = keys.usual().public
    rows = encrypt(context, np.random.default_rng(2).uniform(-1, 1, (20, 6)))
    for free in (rows.reshape(20, 3, 2), rows[:7], rows[:, None], moving.concatenate([rows[:, :1]])):
        assert free.left == rows.left
        assert free.ciphertexts == rows.ciphertexts
    assert rows[5:9].left == rows[5:9, 3].left == rows[4, 2].left == rows.left
    assert moving.broadcast_to(rows[:, :1], (20, 1)).left == rows.left
    long = encrypt(context, np.ones((5000, 2)))
    joined = moving.concatenate([long, long], axis=1)
    assert joined.ciphertexts == long.ciphertexts * 2
    short = encrypt(context, np.ones(3))
    assert moving.concatenate([short, short, short]).left == short.left  # rotations and sums, no masks: the rest is zero
    assert moving.way(encrypt(context, np.ones((9, 1))), Layout.of((9, 8), SLOTS)).cost.levels == 0


def test_a_clean_tensor_has_zeros_in_all_other_slots() -> None:
    rows = encrypt(keys.usual().public, np.ones((20, 6)))
    part = rows[3:9]
    assert not part.clean
    clean = moving.clean(part)
    assert clean.clean
    assert clean.left == part.left - 1
    check(clean, np.ones((6, 6)))
    assert moving.clean(rows).ciphertexts == rows.ciphertexts


def test_costs_are_what_is_then_done(monkeypatch: pytest.MonkeyPatch) -> None:
    context = keys.usual().public
    tensor = encrypt(context, np.random.default_rng(4).uniform(-1, 1, (20, 7)))
    way = moving.way(moving.way(tensor, Layout((20, 7), SLOTS, 64)), Layout((20, 7), SLOTS, 32))
    transposed = moving.arranged([tensor], np.arange(140).reshape(20, 7).T)
    counts = dict.fromkeys(("rotate", "folded", "combine"), 0)

    def each(operation: str, jobs: Any) -> Any:
        weights = {"rotate": lambda job: 1, "folded": lambda job: len(job[1]), "combine": lambda job: len(job[0])}
        if operation in counts:
            counts[operation] += sum(map(weights[operation], jobs))
        return [getattr(context.arithmetic, operation)(*job) for job in jobs]

    monkeypatch.setattr(context, "each", each)
    for one in (way, transposed):
        counts.update(rotate=0, folded=0, combine=0)
        one.go("a test")
        assert one.cost.rotations == counts["rotate"] + counts["folded"]
        assert one.cost.products == counts["combine"]


def nothing_computed(monkeypatch: pytest.MonkeyPatch, context: Any) -> None:
    monkeypatch.setattr(context, "each", lambda _, jobs: pytest.fail("it computed") if jobs else [])


def test_what_would_take_hours_is_refused_with_its_cost_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    context = keys.usual().public
    tensor = encrypt(context, np.ones((300, 300)))
    with monkeypatch.context() as patch:
        nothing_computed(patch, context)
        with (
            pytest.raises(LocalError, match=r"transposing .*products, .*rotations, about \d+ s on one core, over the limit of 5 s"),
            costs.allowing(5),
        ):
            tensor.T  # noqa: B018
    with pytest.raises(LocalError, match="GiB of memory"):
        Cost(peak_bytes=costs.LIMIT_BYTES + 1).check("it", "do something else")


def test_a_move_without_a_multiplication_left_is_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    context = keys.usual().public
    tensor = dropped(encrypt(context, np.ones((3, 4))), 0)
    nothing_computed(monkeypatch, context)
    with pytest.raises(LocalError, match=r"transposing .* takes 1 multiplication .*none of the 2 is left"):
        tensor.T  # noqa: B018
    assert moving.levels(tensor, Layout.of((5, 3, 4), SLOTS)) == 1


def test_a_move_without_galois_keys_is_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    context = keys.stranger().public
    tensor = encrypt(context, np.ones((3, 4)))
    nothing_computed(monkeypatch, context)
    with pytest.raises(LocalError, match=r"no keys to move elements .*rotations=True"):
        tensor[1:]
    assert tensor[:2].shape == (2, 4)


def test_misuse_gets_a_clear_error() -> None:
    context = keys.usual().public
    tensor = encrypt(context, np.ones((3, 4)))
    with pytest.raises(LocalError, match="cannot be reshaped"):
        tensor.reshape(5, 2)
    with pytest.raises(LocalError, match="not broadcast"):
        moving.broadcast_to(tensor, (4,))
    with pytest.raises(LocalError, match="layout of 8 slots"):
        moving.place(tensor, Layout.of((3, 4), 8))
    with pytest.raises(LocalError, match="leaves nothing"):
        tensor[3:]
    with pytest.raises(IndexError):
        tensor[3]
    with pytest.raises(LocalError, match="nothing to concatenate"):
        moving.concatenate([])
    with pytest.raises(LocalError, match=r"\(3, 4\), \(3, 4\)"):
        moving.concatenate([tensor, tensor], 2)
    with pytest.raises(LocalError, match="different keys"):
        moving.concatenate([tensor, encrypt(keys.stranger().public, np.ones((3, 4)))])


def test_additions_alone_can_move_what_needs_no_masks() -> None:
    secret = keys.adding()
    values = np.arange(12.0).reshape(6, 2)
    tensor = encrypt(secret.public, values)
    assert np.abs(keys.opened(secret, tensor[2:4]) - values[2:4]).max() <= tensor[2:4].error
    with pytest.raises(LocalError, match="takes 1 multiplication"):
        tensor.T  # noqa: B018


@pytest.mark.parametrize(
    ("first", "second", "junk"),
    [([0], [1], False), ([0, 3], [1], True), ([0, 3], [1, 2], True), ([0, 3], [1, 3], None), ([0], [0, 1], None)],
)
def test_moves_without_masks_add_to_nothing_but_zeros(first: list[int], second: list[int], junk: bool | None) -> None:
    """Two elements in slots 0 and 1 from a ciphertext each, which have something in these slots when they have been rotated."""
    map_ = Diagonals(1, np.zeros(2, np.int64), np.arange(2), np.array([0, 3]), lambda _: 1.0)
    filled = np.zeros((2, 4), bool)
    filled[0, first] = True
    filled[1, (np.array(second) + 3) % 4] = True
    assert _junk(map_, filled, np.array([[1, 1, 0, 0]]), 1) is junk
    assert _junk(map_, np.array([[1, 1, 0, 0], [1, 0, 0, 0]], bool), np.array([[1, 1, 0, 0]]), 2) is None
