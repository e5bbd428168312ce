"""`safe_open`: reading one tensor or slice decrypts its segments and no others, indexing is numpy's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stfed.sealed.errors import TamperedError, TensorError
from stfed.sealed.lazy import SafeOpen
from stfed.sealed.numpy import load_file, plaintext, safe_open, save_file
from stfed.sealed.torch import load_file as load_torch

from .material import CHUNK_BYTES, keypair, seal_bytes

IDENTITY, RECIPIENT = keypair("lazy")


def a_file(tmp_path: Path, **arrays: Any) -> Path:
    """A sealed file of 4 KiB segments: reads of a few KiB show which ones they touch."""
    source = plaintext(arrays, {"a": "b"})
    plain = bytes(source.piece(0, source.size_bytes, memoryview(bytearray(source.size_bytes))))
    path = tmp_path / "sealed"
    path.write_bytes(seal_bytes(plain, RECIPIENT))
    return path


def opened(file: SafeOpen) -> int:
    return file._open().payload.segments_opened


def test_one_tensor_costs_its_own_segments(tmp_path: Path) -> None:
    arrays = {f"t{index}": np.full((10, 1000), index, np.float32) for index in range(10)}
    with safe_open(a_file(tmp_path, **arrays), identity=IDENTITY) as file:
        assert opened(file) == 1  # the header's
        start = file._open().header.data_start
        for index in (7, 2, 0):
            before, info = opened(file), file._open().header.tensors[f"t{index}"]
            np.testing.assert_array_equal(file.get_tensor(f"t{index}"), arrays[f"t{index}"])
            first, last = (start + info.begin) // CHUNK_BYTES, (start + info.end - 1) // CHUNK_BYTES
            assert opened(file) - before == last - first + 1 < 12


def test_one_row_costs_its_own_segments(tmp_path: Path) -> None:
    array = np.arange(400 * 1000, dtype=np.float32).reshape(400, 1000)
    with safe_open(a_file(tmp_path, w=array), identity=IDENTITY) as file:
        view = file.get_slice("w")
        for index in (0, 123, -1, slice(50, 51), (200, slice(10, 20)), (slice(300, 302), 5)):
            before = opened(file)
            np.testing.assert_array_equal(view[index], array[index])
            assert opened(file) - before <= 3
        before = opened(file)
        assert view[0:0].shape == (0, 1000)
        assert view[5:2, 3:4].shape == (0, 1)
        assert opened(file) == before


def picks(length: int) -> st.SearchStrategy[Any]:
    bound = st.none() | st.integers(-length - 2, length + 2)
    step = st.none() | st.integers(-3, 3).filter(bool)
    return st.builds(slice, bound, bound, step) | (st.integers(-length, length - 1) if length else st.nothing())


@st.composite
def indices(draw: st.DrawFn) -> tuple[tuple[int, ...], Any]:
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    index = [draw(picks(length)) for length in shape[: draw(st.integers(0, len(shape)))]]
    if draw(st.booleans()):
        behind = draw(st.integers(0, len(shape) - len(index)))
        index += [..., *(draw(picks(length)) for length in shape[len(shape) - behind :])]
    return shape, index[0] if len(index) == 1 and draw(st.booleans()) else tuple(index)


@settings(deadline=None, max_examples=100)
@given(indices())
@example(((4, 6), (slice(None), slice(None, None, -1))))
@example(((4, 6), (slice(1, 3), slice(None, None, -2))))
@example(((4, 6, 2), (slice(None, None, -3), 2, slice(1, None, -1))))
def test_indexing_is_numpys(tmp_path_factory: Any, case: tuple[tuple[int, ...], Any]) -> None:
    shape, index = case
    array = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    with safe_open(a_file(tmp_path_factory.mktemp("index"), a=array), identity=IDENTITY) as file:
        result = np.asarray(file.get_slice("a")[index])
        np.testing.assert_array_equal(result, array[index])
        assert result.shape == array[index].shape
        assert result.dtype == array.dtype


def test_torch_slices_too(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    with safe_open(a_file(tmp_path, a=array), framework="pt", identity=IDENTITY) as file:
        view = file.get_slice("a")
        assert view.get_shape() == [4, 6]
        assert view.get_dtype() == "F32"
        tensor = torch.from_numpy(array)
        for index in (slice(None), 1, (slice(1, 3), slice(None, None, 2)), (..., -1), (2, 3)):
            assert torch.equal(view[index], tensor[index])


def test_indices_that_are_refused(tmp_path: Path) -> None:
    with safe_open(a_file(tmp_path, a=np.zeros((2, 3)), s=np.zeros(())), identity=IDENTITY) as file:
        for name, index, says in (
            ("a", 2, r"Error during slicing \[2\] with shape \[2, 3\]: index 2 out of bounds for tensor dimension #0 of size 2"),
            ("a", (slice(1, None, 2), ..., 7), r"slicing \[1::2, \.\.\., 7\] with shape .* index 7 out of bounds for tensor dimension #1"),
            ("a", (0, -4), "Invalid index -4 for dimension 1 of size 3"),
            ("a", (0, 0, 0), r"slicing \[0, 0, 0\] with shape \[2, 3\]: more slicing indexes than dimensions in tensor"),
            ("s", 0, "more slicing indexes than dimensions"),
            ("s", slice(None), "more slicing indexes than dimensions"),
            ("a", (..., ...), "Unsupported slice index"),
            ("a", [0, 1], "Non empty lists are not implemented"),
            ("a", np.array([True, False]), "Unsupported slice index"),
            ("a", np.array([1]), "Unsupported slice index"),
            ("a", None, "Unsupported slice index"),
            ("a", True, "Unsupported slice index"),
            ("a", "a", "Unsupported slice index"),
            ("a", 1.0, "Unsupported slice index"),
        ):
            with pytest.raises(TensorError, match=says):
                file.get_slice(name)[index]
        with pytest.raises(TypeError, match="slice indices must be integers"):
            file.get_slice("a")[1.0:2]
        with pytest.raises(IndexError):
            file.get_slice("a")[2]
        assert file.get_slice("s")[()] == file.get_slice("s")[...] == 0
        assert file.get_slice("a")[[]].shape == (0, 3)
        assert [row.shape for row in file.get_slice("a")] == [(3,), (3,)]  # type: ignore[attr-defined]


def test_torch_applies_what_is_no_basic_index(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    tensor = torch.from_numpy(array)
    with safe_open(a_file(tmp_path, a=array), framework="pt", identity=IDENTITY) as file:
        view = file.get_slice("a")
        mask = tensor > 5
        for index in (
            [0, 2],
            [],
            None,
            True,
            mask,
            torch.tensor([1]),
            torch.tensor(2),
            np.int64(3),
            (0, [1, 2]),
            (None, 1),
            slice(torch.tensor(1), None),
        ):
            assert torch.equal(view[index], tensor[index])
        with pytest.raises(ValueError, match="step must be greater than zero"):
            view[::-1]
        with pytest.raises(IndexError, match="valid indices"):
            view[1.5]


def test_four_bit_floats_are_read_whole(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F4","shape":[2,4],"data_offsets":[0,4]}}'
    (tmp_path / "f").write_bytes(seal_bytes(len(header).to_bytes(8, "little") + header + bytes(4), RECIPIENT))
    with safe_open(tmp_path / "f", framework="pt", identity=IDENTITY) as file:
        assert file.get_slice("a")[:].shape == (2, 2)
        with pytest.raises(TensorError, match="share bytes"):
            file.get_slice("a")[0]


def test_names_and_metadata(tmp_path: Path) -> None:
    arrays = {"z": np.zeros(1), "a": np.zeros(1, np.int8), "m": np.zeros(1, np.float32)}
    with safe_open(a_file(tmp_path, **arrays), identity=IDENTITY) as file:
        assert file.keys() == ["a", "m", "z"]
        assert file.offset_keys() == ["z", "m", "a"]
        assert file.metadata() == {"a": "b"}
        with pytest.raises(TensorError, match="File does not contain tensor nope"):
            file.get_tensor("nope")
        with pytest.raises(safetensors.SafetensorError, match="File does not contain tensor nope"):
            file.get_slice("nope")
        with pytest.raises(TypeError, match="name is text"):
            file.get_tensor(3)  # type: ignore[arg-type]
        view = file.get_slice("z")
    for call in (
        file.keys,
        file.offset_keys,
        file.metadata,
        file.get_tensors,
        file.provenance,
        lambda: file.get_tensor("a"),
        lambda: view[:],
    ):
        with pytest.raises(TensorError, match="File is closed"):
            call()


def test_leaving_the_block_forgets_the_plaintext(tmp_path: Path) -> None:
    with safe_open(a_file(tmp_path, a=np.ones(10)), identity=IDENTITY) as file:
        payload = file._open().payload
        kept = payload._kept
    assert kept is not None
    assert not any(kept[1])


def test_a_damaged_segment_costs_only_who_reads_it(tmp_path: Path) -> None:
    path = a_file(tmp_path, a=np.ones(5000, np.float32), b=np.ones(5000, np.float32))
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with safe_open(path, identity=IDENTITY) as file:
        assert file.get_tensor("a").sum() == 5000
        with pytest.raises(TamperedError, match=r"sealed: segment \d+ does not verify"):
            file.get_tensor("b")
        with pytest.raises(TamperedError):
            file.get_tensors()


def test_frameworks_and_devices(tmp_path: Path) -> None:
    save_file({"a": np.zeros(2)}, tmp_path / "f", recipients=RECIPIENT)
    for name, kind in (("np", np.ndarray), ("numpy", np.ndarray), ("pt", torch.Tensor), ("torch", torch.Tensor), ("pytorch", torch.Tensor)):
        with safe_open(tmp_path / "f", name, identity=IDENTITY) as file:
            assert isinstance(file.get_tensor("a"), kind)
    with pytest.raises(TensorError, match="framework tf is invalid"):
        safe_open(tmp_path / "f", "tf", identity=IDENTITY)
    for backend in ("mmap", "pread"):
        assert safe_open(tmp_path / "f", "np", backend=backend, identity=IDENTITY).keys() == ["a"]
        assert load_file(tmp_path / "f", backend=backend, identity=IDENTITY).keys() == {"a"}
    for call in (safe_open, load_file, load_torch):
        with pytest.raises(safetensors.SafetensorError, match=r'backend "x" is invalid \(expected one of: "mmap", "pread"\)'):
            call(tmp_path / "none", backend="x", identity=IDENTITY)
    with pytest.raises(TensorError, match="Device cuda is not supported for framework numpy"):
        safe_open(tmp_path / "f", "np", "cuda", identity=IDENTITY)


def test_a_file_that_nobody_closes_is_closed_with_its_last_reference(tmp_path: Path) -> None:
    save_file({"a": np.zeros(2)}, tmp_path / "f", recipients=RECIPIENT)
    before = descriptors()
    for _ in range(20):
        safe_open(tmp_path / "f", identity=IDENTITY).keys()
    assert descriptors() == before


def descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0
