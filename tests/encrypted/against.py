"""Encrypted tensors as other operations leave them, and what must hold for every result."""

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.encrypted.gathering import elements_of
from stfed.encrypted.layout import Layout
from stfed.encrypted.tensor import EncryptedTensor
from tests.encrypted import keys

few = settings(max_examples=12, deadline=None)
shapes = st.lists(st.integers(1, 4), min_size=0, max_size=3).map(tuple)


@st.composite
def made(draw: Any, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], EncryptedTensor]:
    """Numbers in [-1, 1], fresh or in a wider layout, with zeros or with anything in the slots that no element has."""
    context, random = keys.usual().public, np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = random.uniform(-1, 1, shape)
    layout = Layout.of(shape, context.parameters.slots)
    clean = True
    if not layout.uniform or draw(st.booleans()):
        clean = draw(st.booleans())
        layout = Layout(shape, layout.slots, min(layout.slots, layout.block << draw(st.sampled_from([0, 0, 1, 3]))))
    held = layout.spread(values)
    if not clean:
        held = np.where(elements_of(layout), held, random.uniform(-1, 1, held.shape))
    ciphertexts = tuple(context.each("encrypt", [(row,) for row in held]))
    error = context.noise.fresh(1.0, context.scales[-1])
    return values, EncryptedTensor(context, layout, ciphertexts, 1.0, error, clean)


def check(tensor: EncryptedTensor, wanted: Any) -> None:
    """All that a tensor says of itself is so (`keys.agree`), and a uniform one has its number in every slot."""
    keys.agree(keys.usual(), tensor, wanted)
    if tensor.layout.uniform:
        assert np.abs(keys.slots(keys.usual(), tensor).real - np.asarray(wanted).reshape(())).max() <= tensor.error
