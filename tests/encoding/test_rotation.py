"""The rotation: orthonormal, linear, undone within the promised error, the same from any start, and what its signs and blocks are."""

from __future__ import annotations

import hashlib
import json
import threading
from itertools import pairwise
from math import fsum, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.encoding.rotation import BLOCK, CHUNK, ROUNDING, Rotation, tiles
from stfed.errors import LocalError

VECTORS = Path(__file__).parents[1] / "vectors" / "encoding" / "rotation.json"
ROTATION = Rotation(bytes(range(16)))
SIZES = st.one_of(st.integers(0, 1100), st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 255, CHUNK + 256, 2 * CHUNK + 300]))
EDGES = (0, 1, 2, 3, 127, 128, 255, 256, 257, 511, 512, 513, 1000)


def drawn(size: int, seed: int = 0, scale: float = 1.0) -> NDArray[np.float64]:
    return np.random.default_rng([seed, size]).standard_normal(size) * scale


def rotated(values: NDArray[np.float64], start: int = 0, rotation: Rotation = ROTATION) -> NDArray[np.float64]:
    values = values.copy()
    rotation.forward(values, start)
    return values


def blocks(size: int) -> list[list[int]]:
    """The coordinates of each block of one chunk, in the order in which they are rotated, written down once more."""
    if size < 256:
        lengths = [power for power in (128, 64, 32, 16, 8, 4, 2, 1) if size & power]
        return [list(range(stop - length, stop)) for length, stop in zip(lengths, np.cumsum(lengths).tolist(), strict=True)]
    columns, rest = divmod(size, 256)
    return [list(range(rest + column, size, columns)) for column in range(columns)] + ([list(range(256))] if rest else [])


def by_hand(values: NDArray[np.float64], seed: bytes, chunk: int = 0) -> list[float]:
    """The definition for one chunk, each sum rounded once: bits of SHAKE-128, then the parity of i & j."""
    stream = hashlib.shake_128(seed + chunk.to_bytes(8, "big")).digest(3000)
    behind = 8 * -(-values.size // 8)
    now = values.tolist()
    for block in blocks(values.size):
        size, again = len(block), values.size > 256 and block == list(range(256))
        bits = [behind + at for at in block] if again else block
        signed = [-now[at] if stream[bit // 8] >> bit % 8 & 1 else now[at] for at, bit in zip(block, bits, strict=True)]
        for i, at in enumerate(block):
            now[at] = fsum(-value if (i & j).bit_count() % 2 else value for j, value in enumerate(signed)) / sqrt(size)
    return now


@pytest.mark.parametrize("size", EDGES)
def test_it_is_what_the_definition_says(size: int) -> None:
    values = drawn(size)
    np.testing.assert_allclose(rotated(values), by_hand(values, ROTATION.seed), rtol=0, atol=2e-14)


@pytest.mark.parametrize("case", json.loads(VECTORS.read_bytes()), ids=lambda case: f"{case['start']}+{len(case['values'])}")
def test_vectors_replay(case: dict[str, Any]) -> None:
    rotation, values = Rotation(bytes.fromhex(case["seed"])), np.array(case["values"], np.float64)
    rotation.forward(values, case["start"])
    assert values.tolist() == case["rotated"]
    rotation.backward(values, case["start"])
    assert values.tolist() == case["values"]


def test_chunks_have_signs_of_their_own() -> None:
    values = np.zeros(CHUNK + 300)
    values[CHUNK:] = drawn(300)
    np.testing.assert_allclose(rotated(values)[CHUNK:], by_hand(values[CHUNK:], ROTATION.seed, chunk=1), rtol=0, atol=2e-14)
    assert not rotated(values)[:CHUNK].any()


@given(SIZES, st.integers(0, 5), st.sampled_from([2.0**-900, 1e-6, 1.0, 1e30]))
@settings(max_examples=40)
def test_there_and_back_is_where_it_was_within_the_promised_error(size: int, seed: int, scale: float) -> None:
    values = drawn(size, seed)
    there = rotated(values * scale)
    back = there.copy()
    ROTATION.backward(back, 0)
    for place in tiles(size, CHUNK):
        norm = max(np.linalg.norm(values[place][block]) for block in blocks(values[place].size))
        assert np.abs(back[place] / scale - values[place]).max() <= 2 * ROUNDING * norm  # 2: the one more block may be larger
        assert abs(np.linalg.norm(there[place] / scale) - np.linalg.norm(values[place])) <= 1e-12 * norm


@given(SIZES, st.floats(-8, 8), st.integers(0, 5))
@settings(max_examples=40)
def test_it_is_linear(size: int, factor: float, seed: int) -> None:
    left, right = drawn(size, seed), drawn(size, seed + 6)
    np.testing.assert_allclose(rotated(factor * left + right), factor * rotated(left) + rotated(right), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 31, 256, 257, 512, 700])
def test_its_matrix_is_orthogonal(size: int) -> None:
    matrix = np.stack([rotated(row) for row in np.eye(size)])
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), rtol=0, atol=1e-13)


@given(st.integers(0, 4 * CHUNK + 700), st.integers(1, 4))
@example(CHUNK + 255, 1)
@example(CHUNK + 256, 1)
@example(3 * CHUNK + 1, 2)
@settings(max_examples=40)
def test_tiles_give_what_the_whole_gives(length: int, chunks: int) -> None:
    places = tiles(length, chunks * CHUNK)
    assert [place.stop for place in places] == [*(place.start for place in places[1:]), *([length] if length else [])]
    assert all(place.start % (chunks * CHUNK) == 0 and place.stop - place.start < chunks * CHUNK + BLOCK for place in places)
    values = drawn(length)
    whole, pieces = rotated(values), values.copy()
    for place in places:
        ROTATION.forward(pieces[place], place.start)
    np.testing.assert_array_equal(pieces, whole)
    for place in places:
        ROTATION.backward(pieces[place], place.start)
    np.testing.assert_allclose(pieces, values, rtol=0, atol=1e-13)


def test_signs_are_even_and_differ_by_seed_block_and_chunk() -> None:
    signs = np.concatenate([ROTATION.signs(chunk, CHUNK) for chunk in range(8)])
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert signs.size == 8 * (CHUNK + BLOCK)
    assert abs(signs.mean()) < 5 / np.sqrt(signs.size)
    assert len(np.unique(signs.reshape(-1, BLOCK), axis=0)) == signs.size // BLOCK
    others = np.concatenate([Rotation(bytes(16)).signs(chunk, CHUNK) for chunk in range(8)])
    for other in (others, np.roll(signs, CHUNK + BLOCK), np.roll(signs, BLOCK)):
        assert abs((signs * other).mean()) < 5 / np.sqrt(signs.size)


def peak(values: NDArray[np.float64]) -> float:
    """The largest coordinate, in units of the root mean square."""
    return float(np.abs(values).max() / np.sqrt(np.mean(values**2)))


def test_heavy_tails_become_nearly_normal() -> None:
    heavy = np.random.default_rng(0).standard_t(3, 1 << 18)
    assert peak(heavy) > 25
    assert peak(rotated(heavy)) < 9


@pytest.mark.parametrize("at", [slice(256, 296), slice(2000, 2040), slice(-40, None)], ids=["early", "inside", "last"])
@pytest.mark.parametrize("size", [4096, 4097, 4106, 4250, 4351])
def test_a_layer_that_changes_much_more_than_the_rest_is_spread_over_its_chunk(at: slice, size: int) -> None:
    """A bias, say: neighbours, and often the very last ones of a model."""
    values = drawn(size) * 0.01
    values[at] = 1.0
    assert peak(values) > 10
    assert peak(rotated(values)) < 6


def test_what_is_not_finite_spreads_over_its_block_only() -> None:
    values = drawn(4 * BLOCK)
    clean = rotated(values)
    values[4 * 9 + 1] = np.nan
    with np.errstate(invalid="ignore"):
        spread = rotated(values).reshape(BLOCK, 4)
    assert np.isnan(spread[:, 1]).all()
    np.testing.assert_array_equal(spread[:, [0, 2, 3]], clean.reshape(BLOCK, 4)[:, [0, 2, 3]])


def test_threads_may_share_one() -> None:
    values = drawn(8 * CHUNK)
    whole, shared = rotated(values), values.copy()
    threads = [threading.Thread(target=ROTATION.forward, args=(shared[a:b], a)) for a, b in pairwise(range(0, 9 * CHUNK, CHUNK))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(shared, whole)


def test_what_is_refused() -> None:
    with pytest.raises(LocalError, match="has 15 bytes, it takes 16"):
        Rotation(bytes(15))
    for size, start in ((CHUNK, 256), (255, CHUNK), (1, 2 * CHUNK)):
        with pytest.raises(LocalError, match=f"{size} coordinates from {start} on cannot be rotated alone"):
            ROTATION.forward(np.zeros(size), start)
    for wrong in (np.zeros(8, np.float32), np.zeros((2, 4)), np.zeros(16)[::2]):
        with pytest.raises(LocalError, match="contiguous array of float64"):
            ROTATION.backward(wrong, 0)
