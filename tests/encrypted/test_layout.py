import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.encrypted.layout import Layout
from stfed.errors import LocalError

SHAPES = st.lists(st.integers(1, 9), max_size=4).map(tuple)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Natural ones, and others with more room than needed; small ciphertexts, so that all cases come up."""
    shape, slots = draw(SHAPES), draw(st.sampled_from([1, 2, 4, 8, 64]))
    natural = Layout.of(shape, slots)
    if natural.uniform and draw(st.booleans()):
        return natural
    block = draw(st.sampled_from([1 << bits for bits in range(natural.block.bit_length() - 1, slots.bit_length())]))
    return Layout(shape, slots, block)


@given(layouts())
def test_every_element_has_a_slot_of_its_own(layout: Layout) -> None:
    ciphertext, slot = layout.places()
    assert ciphertext.shape == slot.shape == layout.shape
    assert ciphertext.min() >= 0
    assert ciphertext.max() == layout.ciphertexts - 1
    assert slot.min() >= 0
    assert slot.max() < layout.slots
    assert len(np.unique(ciphertext * layout.slots + slot)) == layout.size


@given(layouts())
def test_spread_puts_elements_where_places_says_and_gather_takes_them_back(layout: Layout) -> None:
    values = np.arange(1.0, layout.size + 1).reshape(layout.shape)
    slots = layout.spread(values)
    assert slots.shape == (layout.ciphertexts, layout.slots)
    assert slots.dtype == np.float64
    np.testing.assert_array_equal(slots[layout.places()], values)
    np.testing.assert_array_equal(layout.gather(slots), values)
    assert np.count_nonzero(slots) == (layout.slots if layout.uniform else layout.size)


@given(layouts())
def test_spread_broadcasts(layout: Layout) -> None:
    np.testing.assert_array_equal(layout.spread(3.0), layout.spread(np.full(layout.shape, 3.0)))


def test_the_example_of_the_page() -> None:
    layout = Layout.of((3, 4), 16)
    values = np.array([[10 * row + column for column in range(1, 5)] for row in range(1, 4)])
    assert layout.spread(values).astype(int).tolist() == [[11, 21, 31, 0, 12, 22, 32, 0, 13, 23, 33, 0, 14, 24, 34, 0]]


def test_a_long_column_is_cut_into_chunks() -> None:
    layout = Layout.of((10, 3), 4)
    assert (layout.block, layout.chunks, layout.together, layout.ciphertexts) == (4, 3, 1, 9)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1)])
def test_single_numbers_are_uniform(shape: tuple[int, ...]) -> None:
    layout = Layout.of(shape, 8)
    assert layout.uniform
    assert layout.spread(np.full(shape, 5)).tolist() == [[5.0] * 8]
    assert layout.gather(np.full((1, 8), 5.0)).shape == shape


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (((3,), 8, 3), "columns of 3"),
        (((3,), 8, 16), "columns of 16"),
        (((3,), 8, 0), "columns of 0"),
        (((5,), 8, 4), "for 5 rows"),
        (((3,), 8, 4, True), "no single number"),
        (((0, 3), 8, 4), "no elements"),
    ],
)
def test_layouts_that_hold_nothing_or_do_not_fit_are_refused(arguments: tuple, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        Layout(*arguments)
