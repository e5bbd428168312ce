"""Flower's arrays are read without a copy, as Flower itself reads them, or refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.errors import LocalError
from stfed.flower.views import views

DTYPES = ["float16", "float32", "float64", "int8", "uint16", "int64", "bool", ">f4"]


def view(array: Array) -> NDArray[Any]:
    return views(ArrayRecord({"w": array}))["w"]


def saved(value: NDArray[Any], version: tuple[int, int] | None = None) -> Array:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, value, version, allow_pickle=True)
    return Array(str(value.dtype), value.shape, "numpy.ndarray", stream.getvalue())


@given(st.sampled_from(DTYPES), st.lists(st.integers(0, 5), max_size=4).map(tuple), st.booleans())
def test_a_view_is_what_flower_loads(dtype: str, shape: tuple[int, ...], by_columns: bool) -> None:
    value = np.random.default_rng(0).integers(0, 2, shape).astype(dtype, order="F" if by_columns else "C")
    array = Array(value)
    loaded, seen = array.numpy(), view(array)
    np.testing.assert_array_equal(seen, loaded)
    assert (seen.dtype, seen.shape) == (loaded.dtype, loaded.shape)


def test_a_view_is_the_memory_of_the_array_and_cannot_be_written_to() -> None:
    array = Array(np.arange(1000.0))
    seen = view(array)
    assert np.shares_memory(seen, np.frombuffer(array.data, np.uint8))
    assert not seen.flags.writeable
    array.data = b"replaced by the train function"
    assert seen.tolist() == list(range(1000))


def test_the_order_of_the_record_is_kept() -> None:
    names = ["z", "a", "m"]
    assert list(views(ArrayRecord({name: Array(np.zeros(1)) for name in names}))) == names


def test_long_headers_are_read_too() -> None:
    value = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(view(saved(value, (2, 0))), value)


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (Array("float32", (1,), "numpy.ndarray", b"\x93NUMPY\x01\x00"), "'w' is not in NumPy's file format"),
        (Array("float32", (1,), "numpy.ndarray", b"no header at all, just text"), "'w' is not in NumPy's file format"),
        (Array("float32", (4,), "numpy.ndarray", Array(np.zeros(4)).data[:-1]), "'w' is not in NumPy's file format"),
        (Array("float32", (1,), "safetensors", b""), "'w' is serialised as 'safetensors'"),
        (saved(np.array([print])), "Python objects"),
        (saved(np.zeros(2, [("é", "f4")]), (3, 0)), "'w' is not in NumPy's file format"),
    ],
    ids=["cut header", "text", "cut data", "another kind", "pickle", "named fields"],
)
def test_what_is_refused(array: Array, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        view(array)
