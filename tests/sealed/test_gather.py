"""Arrays read as one file: any range, wherever the arrays meet."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stfed.sealed import inner
from stfed.sealed.gather import Gathered, gathered


@given(st.binary(min_size=1, max_size=20), st.lists(st.integers(1, 9), max_size=8), st.data())
def test_every_range(header: bytes, lengths: list[int], data: st.DataObject) -> None:
    arrays: list[Any] = [np.arange(length, dtype=np.uint16).reshape(-1, 1) + 300 for length in lengths]
    whole = header + b"".join(array.tobytes() for array in arrays)
    source = Gathered(header, arrays)
    assert source.size_bytes == len(whole)
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start, len(whole)))
    assert bytes(source.piece(start, stop, memoryview(bytearray()))) == whole[start:stop]


def test_one_large_array_is_not_copied() -> None:
    array = np.zeros(1000, np.float32)
    source = Gathered(b"header", [array])
    piece = np.asarray(source.piece(10, 3000, memoryview(bytearray())))
    assert np.shares_memory(piece, array)


def test_kinds_of_memory() -> None:
    """Read-only memory, zero dimensions, and types that the buffer protocol has no letter for; empty arrays take no part."""
    arrays: dict[str, Any] = {
        "c": np.array(3 - 4j, np.complex64),
        "h": np.frombuffer(b"\1\2\3\4", np.float16),
        "b": np.array([True]),
        "e": np.zeros((0, 3), np.float64),
        "f": np.ones((2, 2), np.float64),
    }
    specs = {name: inner.Spec(inner.dtype_named(array.dtype.name), array.shape, array.nbytes) for name, array in arrays.items()}
    source = gathered(specs, arrays, None)
    header, order = inner.build(specs, None)
    assert order == ["e", "f", "c", "h", "b"]
    data = bytes(source.piece(0, source.size_bytes, memoryview(bytearray())))
    assert data == header + b"".join(arrays[name].tobytes() for name in order)
