"""What safetensors' own public test-suite looks at, looked at here: the same behaviours, in tests of our own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch

from stfed import sealed
from stfed.sealed import numpy as np_verbs
from stfed.sealed import torch as pt_verbs

from .material import keypair, seal_bytes

IDENTITY, RECIPIENT = keypair("habits")


def content(arrays: dict[str, Any], folder: Path, metadata: dict[str, str] | None = None, verbs: Any = np_verbs) -> bytes:
    """The plain file inside a sealed one."""
    verbs.save_file(arrays, folder / "sealed", metadata, recipients=RECIPIENT)
    sealed.open_file(folder / "sealed", folder / "plain", identity=IDENTITY)
    return (folder / "plain").read_bytes()


def file_of(header: bytes, data: bytes) -> bytes:
    header = header.ljust(-(-(len(header) + 8) // 64) * 64 - 8)
    return len(header).to_bytes(8, "little") + header + data


def test_the_bytes_of_a_file(tmp_path: Path) -> None:
    data = np.zeros((2, 2), np.int32)
    header = b'{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}'
    for array in (data, torch.from_numpy(data)):
        verbs: Any = np_verbs if array is data else pt_verbs
        data[1, 1] = 0
        assert content({"test": array}, tmp_path, verbs=verbs) == file_of(header, bytes(16))
        data[1, 1] = 1
        assert content({"test": array}, tmp_path, verbs=verbs) == file_of(header, bytes(12) + b"\1\0\0\0")
    assert content({"test": data.astype(">i4")}, tmp_path) == file_of(header, bytes(12) + b"\1\0\0\0")
    with_metadata = b'{"__metadata__":{"framework":"pt"},' + header[1:]
    assert content({"test": data}, tmp_path, {"framework": "pt"}) == file_of(with_metadata, bytes(12) + b"\1\0\0\0")


def test_the_bytes_of_odd_types(tmp_path: Path) -> None:
    halves = torch.ones((2, 2), dtype=torch.bfloat16)
    halves[0, 0] = 2.25
    header = b'{"test":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}'
    assert content({"test": halves}, tmp_path, verbs=pt_verbs) == file_of(header, b"\x10@\x80?\x80?\x80?")
    pair = torch.complex(torch.tensor([0.0, -1.0]), torch.tensor([0.0, 1.0]))
    header = b'{"test":{"dtype":"C64","shape":[2],"data_offsets":[0,16]}}'
    assert content({"test": pair}, tmp_path, verbs=pt_verbs) == file_of(header, bytes(8) + b"\0\0\x80\xbf\0\0\x80?")


def test_the_order_of_the_arguments_does_not_show(tmp_path: Path) -> None:
    wide, narrow = np.zeros((2, 2), np.int32), np.zeros((2, 2), np.float16)
    first = content({"test1": wide, "test2": wide, "test3": narrow}, tmp_path)
    assert first == content({"test3": narrow, "test2": wide, "test1": wide}, tmp_path)
    assert first.index(b"\0\0\0\0\0\0\0\0", 8) % 8 == 0


@pytest.mark.parametrize("size", [0, 1, 55, 56, 57, 119, 120, 121])
def test_data_is_aligned_whatever_the_length_of_the_header(size: int, tmp_path: Path) -> None:
    plain = content({"x" * size: np.arange(3, dtype=np.float64)}, tmp_path)
    header_bytes = int.from_bytes(plain[:8], "little")
    assert (8 + header_bytes) % 64 == 0
    np.testing.assert_array_equal(safetensors.numpy.load(plain)["x" * size], [0, 1, 2])


def test_files_of_others_are_read(tmp_path: Path) -> None:
    plain = b'<\0\0\0\0\0\0\0{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}' + bytes(16)
    loaded = np_verbs.load(seal_bytes(plain, RECIPIENT), identity=IDENTITY)
    assert list(loaded) == ["test"]
    np.testing.assert_array_equal(loaded["test"], np.zeros((2, 2), np.int32))
    header = b'{"__metadata__":{"framework":"pt"},"test1":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}       '
    (tmp_path / "f").write_bytes(seal_bytes(len(header).to_bytes(8, "little") + header + bytes(16), RECIPIENT))
    with np_verbs.safe_open(tmp_path / "f", framework="np", identity=IDENTITY) as file:
        assert file.metadata() == {"framework": "pt"}
    with pt_verbs.safe_open(tmp_path / "f", framework="pt", identity=IDENTITY) as file:
        assert file.get_slice("test1")[:, 1:].tolist() == [[0], [0]]


def test_corrupt_plain_files_are_refused_though_their_seal_is_right(tmp_path: Path) -> None:
    for plain in (
        (1 << 20).to_bytes(8, "little") + b'{"a":',
        file_of(b'{"liar":{"dtype":"F32","shape":[1024,1024],"data_offsets":[0,4194304]}}', b"\0"),
        file_of(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(9)),
    ):
        (tmp_path / "f").write_bytes(seal_bytes(plain, RECIPIENT))
        for call in (
            lambda: np_verbs.load((tmp_path / "f").read_bytes(), identity=IDENTITY),
            lambda: pt_verbs.load_file(tmp_path / "f", backend="pread", identity=IDENTITY),
            lambda: pt_verbs.safe_open(tmp_path / "f", "pt", identity=IDENTITY),
        ):
            with pytest.raises(sealed.MalformedError):
                call()


def test_paths_and_texts_and_overwriting(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(2, 2), "b": torch.zeros((2, 3), dtype=torch.uint8)}
    for path in (tmp_path / "f", str(tmp_path / "f")):
        pt_verbs.save_file(tensors, path, recipients=RECIPIENT)
        loaded = pt_verbs.load_file(path, identity=IDENTITY)
    with pt_verbs.safe_open(tmp_path / "f", "pt", identity=IDENTITY) as file:
        pt_verbs.save_file({"a": torch.ones(2, 2)}, tmp_path / "f", recipients=RECIPIENT)
        assert torch.equal(file.get_tensor("a"), tensors["a"])  # the file that was opened, not the one that took its name
    assert torch.equal(loaded["a"], tensors["a"])
    assert pt_verbs.load_file(tmp_path / "f", identity=IDENTITY)["a"].sum() == 4
    (tmp_path / "f").write_text("something")  # nothing holds it any more
    with pytest.raises(sealed.MalformedError):
        pt_verbs.load_file(tmp_path / "f", identity=IDENTITY)


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error, pt_verbs.safe_open("notafile", framework="pt", identity=IDENTITY):
        pass
    assert str(error.value) == "No such file or directory: notafile"


@pytest.mark.parametrize("framework", ["np", "pt"])
def test_the_slices_of_its_suite(framework: str, tmp_path: Path) -> None:
    array = np.random.default_rng(2).random((10, 5))
    whole: Any = array if framework == "np" else torch.from_numpy(array)
    np_verbs.save_file({"a": array}, tmp_path / "f", recipients=RECIPIENT)
    with np_verbs.safe_open(tmp_path / "f", framework=framework, device="cpu", identity=IDENTITY) as file:
        view = file.get_slice("a")
        everything = slice(None)
        for index, shape in (
            (everything, (10, 5)),
            ((), (10, 5)),
            (slice(2), (2, 5)),
            ((everything, slice(2)), (10, 2)),
            ((0, slice(2)), (2,)),
            ((slice(2, None), 0), (8,)),
            ((slice(2, None), 1), (8,)),
            ((slice(2, None), -1), (8,)),
            ((slice(2, None), -5), (8,)),
            ([], (0, 5)),
        ):
            picked = view[index]
            assert tuple(picked.shape) == shape
            assert np.array_equal(picked, whole[index])
        for index, says in (
            ((slice(2, None), -6), "Invalid index -6 for dimension 1 of size 5"),
            (
                (slice(2, None), 20),
                "Error during slicing [2:, 20] with shape [10, 5]: index 20 out of bounds for tensor dimension #1 of size 5",
            ),
        ):
            with pytest.raises(safetensors.SafetensorError) as error:
                view[index]
            assert str(error.value) == says


def test_a_slice_of_three_dimensions(tmp_path: Path) -> None:
    tensor = torch.arange(6, dtype=torch.float32).reshape(1, 2, 3)
    pt_verbs.save_file({"test": tensor}, tmp_path / "f", recipients=RECIPIENT)
    with pt_verbs.safe_open(tmp_path / "f", framework="pt", identity=IDENTITY) as file:
        view = file.get_slice("test")
        assert (view.get_shape(), view.get_dtype(), file.metadata()) == ([1, 2, 3], "F32", None)
        assert torch.equal(view[:, :, 1:2], torch.tensor([[[1.0], [4.0]]]))


def test_words_of_refusal(tmp_path: Path) -> None:
    for tensors, says in (
        (
            {"test": torch.zeros(2, 3).to_sparse()},
            "You are trying to save a sparse tensors: `['test']` which this library does not support. You can make it a dense tensor before"
            " saving with `.to_dense()` but be aware this might make a much larger file than needed.",
        ),
        ({"test": {"some": "thing"}}, "Key `test` is invalid, expected torch.Tensor but received <class 'dict'>"),
        ("notadict", "Expected a dict of [str, torch.Tensor] but received <class 'str'>"),
    ):
        with pytest.raises(ValueError, match=r"expected|Expected|sparse") as error:
            pt_verbs.save_file(tensors, tmp_path / "f", recipients=RECIPIENT)  # type: ignore[arg-type]
        assert str(error.value) == says


THREADS = 4


@pytest.mark.parametrize("verbs", [np_verbs, pt_verbs])
def test_threads_save_and_load_at_once(verbs: Any, tmp_path: Path) -> None:
    tensors: Any = {f"t{index}": np.full((30, 200), index, np.float32) for index in range(20)}
    if verbs is pt_verbs:
        tensors = {name: torch.from_numpy(array) for name, array in tensors.items()}
    together = threading.Barrier(THREADS)

    def work(thread: int) -> None:
        together.wait()
        for turn in range(3):
            path = tmp_path / f"{thread}.{turn % 2}"
            verbs.save_file(tensors, path, recipients=RECIPIENT)
            loaded = verbs.load_file(path, identity=IDENTITY)
            assert all((loaded[name] == tensor).all() for name, tensor in tensors.items())

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert len(list(tmp_path.iterdir())) == 2 * THREADS


def test_threads_share_one_opened_file(tmp_path: Path) -> None:
    arrays = {f"t{index}": np.full((50, 1000), index, np.float32) for index in range(40)}
    np_verbs.save_file(arrays, tmp_path / "f", recipients=RECIPIENT)
    with np_verbs.safe_open(tmp_path / "f", identity=IDENTITY) as file, ThreadPoolExecutor(THREADS) as pool:
        for name, array in zip(arrays, pool.map(file.get_tensor, arrays), strict=True):
            np.testing.assert_array_equal(array, arrays[name])
        for name, row in zip(arrays, pool.map(lambda name: file.get_slice(name)[7], arrays), strict=True):
            np.testing.assert_array_equal(row, arrays[name][7])
