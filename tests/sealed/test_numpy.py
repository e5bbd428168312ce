"""The verbs for numpy: every type, odd shapes, metadata, and a plain file that stock safetensors loads to the same."""

import inspect
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stfed import sealed
from stfed.errors import LocalError
from stfed.sealed import numpy as verbs
from stfed.sealed.errors import MalformedError, NotARecipientError, TensorError
from stfed.sealed.numpy import load, load_file, safe_open, save, save_file

from .material import keypair, seal_bytes

IDENTITY, RECIPIENT = keypair("numpy")
TYPES = ["bool", "uint8", "int8", "int16", "uint16", "float16", "int32", "uint32", "float32", "complex64", "float64", "int64", "uint64"]
Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def same(left: Arrays, right: Arrays) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert (array.dtype.newbyteorder("="), array.shape) == (right[name].dtype.newbyteorder("="), right[name].shape)
        assert array.astype(array.dtype.newbyteorder("<")).tobytes() == right[name].astype(right[name].dtype.newbyteorder("<")).tobytes()


def some_of_everything() -> Arrays:
    random = np.random.default_rng(1)
    arrays: Arrays = {}
    for name in TYPES:
        for shape in ((), (0,), (3, 0, 2), (7,), (2, 3, 5)):
            octets = random.integers(0, 2 if name == "bool" else 256, int(np.prod(shape)) * np.dtype(name).itemsize, dtype=np.uint8)
            arrays[f"{name}{list(shape)}"] = octets.view(name).reshape(shape)
    return arrays


def test_every_type_and_shape(tmp_path: Path) -> None:
    arrays, metadata = some_of_everything(), {"format": "np", "ключ": "значение", "": "\n"}
    save_file(arrays, tmp_path / "sealed", metadata, recipients=RECIPIENT)
    same(load_file(tmp_path / "sealed", identity=IDENTITY), arrays)
    same(load(save(arrays, metadata, recipients=[RECIPIENT]), identity=[IDENTITY]), arrays)
    sealed.open_file(tmp_path / "sealed", tmp_path / "plain", identity=IDENTITY)
    same(safetensors.numpy.load_file(tmp_path / "plain"), arrays)
    with safetensors.safe_open(tmp_path / "plain", framework="np") as file:
        assert file.metadata() == metadata
    with safe_open(tmp_path / "sealed", identity=IDENTITY) as ours:
        assert ours.metadata() == metadata
        same({name: ours.get_tensor(name) for name in ours.keys()}, arrays)  # noqa: SIM118


NAMES = st.text(st.characters(codec="utf-8"), max_size=5).filter(lambda name: name != "__metadata__")
DTYPES = hnp.scalar_dtypes().filter(lambda dtype: dtype.name in TYPES)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES, hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0))))
def test_any_arrays(arrays: Arrays) -> None:
    same(load(save(arrays, recipients=RECIPIENT), identity=IDENTITY), arrays)


def test_a_thousand_small_tensors(tmp_path: Path) -> None:
    arrays = {f"layer.{index}": np.full(index % 50, index, np.float32) for index in range(1000)}
    save_file(arrays, tmp_path / "sealed", recipients=RECIPIENT)
    same(load_file(tmp_path / "sealed", identity=IDENTITY), arrays)
    with safe_open(tmp_path / "sealed", identity=IDENTITY) as file:
        assert set(file.offset_keys()) == set(arrays)
        for name in file.offset_keys():
            np.testing.assert_array_equal(file.get_tensor(name), arrays[name])
        assert file._open().payload.segments_opened == 1


def test_no_tensors_at_all() -> None:
    assert load(save({}, recipients=RECIPIENT), identity=IDENTITY) == {}


def test_memory_layouts_that_safetensors_does_not_take_come_out_right() -> None:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    arrays = {"transposed": base.T, "strided": base[::2, 1::3], "fortran": np.asfortranarray(base), "reversed": base[::-1],
              "big": base.astype(">f4"), "readonly": np.broadcast_to(base[0], (3, 6)), "scalar": np.float32(3)}  # fmt: skip
    same(load(save(arrays, recipients=RECIPIENT), identity=IDENTITY), {name: np.asarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]


def test_what_is_loaded_is_aligned_writable_and_apart() -> None:
    arrays: Arrays = {"a": np.zeros(3, np.uint8), "b": np.ones(5, np.float64), "c": np.ones(4, np.int16)}
    loaded = load(save(arrays, recipients=RECIPIENT), identity=IDENTITY)
    for array in loaded.values():
        assert array.flags.aligned
        assert array.flags.writeable
    loaded["b"][:] = 7
    np.testing.assert_array_equal(loaded["c"], arrays["c"])


def test_tensors_that_others_did_not_align() -> None:
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}'
    plain = len(header).to_bytes(8, "little") + header + b"\7" + np.array([1.5, -2], "<f4").tobytes()
    loaded = load(seal_bytes(plain, RECIPIENT), identity=IDENTITY)
    np.testing.assert_array_equal(loaded["b"], [1.5, -2])
    assert loaded["b"].flags.aligned


def test_types_that_numpy_lacks() -> None:
    header = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}'
    data = seal_bytes(len(header).to_bytes(8, "little") + header + bytes(3), RECIPIENT)
    try:
        np.dtype("bfloat16")
    except TypeError:
        with pytest.raises(TensorError, match="numpy has no bfloat16"):
            load(data, identity=IDENTITY)
    with pytest.raises(TensorError, match="Unknown dtype 'complex128'"):
        save({"a": np.zeros(1, np.complex128)}, recipients=RECIPIENT)
    with pytest.raises(safetensors.SafetensorError, match="Unknown dtype"):  # the class that safetensors raises
        save({"a": np.array(["text"])}, recipients=RECIPIENT)
    with pytest.raises(LocalError, match="numpy array"):
        save({"a": [1, 2]}, recipients=RECIPIENT)  # type: ignore[dict-item]


def test_the_file_is_private_and_replaces_a_file_only(tmp_path: Path) -> None:
    arrays = {"a": np.arange(3)}
    target = tmp_path / "sealed"
    target.write_bytes(b"old")
    save_file(arrays, target, recipients=RECIPIENT)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "folder").mkdir()
    for name, says in (("link", "symbolic link"), ("folder", "a folder")):
        with pytest.raises(LocalError, match=says):
            save_file(arrays, tmp_path / name, recipients=RECIPIENT)
    same(load_file(target, identity=IDENTITY), arrays)


@pytest.mark.parametrize("recipients", [[], [RECIPIENT, keypair("h", "hybrid")[1]], "nowhere.pub", keypair("x")[0].secret_string()])
def test_nothing_is_written_for_unfit_recipients(recipients: Any, tmp_path: Path) -> None:
    with pytest.raises(LocalError):
        save_file({"a": np.zeros(1)}, tmp_path / "sealed", recipients=recipients)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "provenance",
    [{"a": float("nan")}, {"a": [1]}, {1: "a"}, {"a": 1 << 53}, {"a": "x" * 40_000}, {"a": b"bytes"}, [("a", 1)], {"a": "\ud800"}],
)
def test_nothing_is_written_for_unfit_provenance(provenance: Any, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="provenance"):
        save_file({"a": np.zeros(1)}, tmp_path / "sealed", recipients=RECIPIENT, provenance=provenance)
    assert list(tmp_path.iterdir()) == []


def test_provenance_is_readable_without_a_key_and_by_those_who_open(tmp_path: Path) -> None:
    stated: dict[str, Any] = {"round": 3, "clip": 1.5, "run": "demo", "noise": None, "plain": False}
    save_file({"a": np.zeros(1)}, tmp_path / "sealed", recipients=RECIPIENT, provenance=stated)
    assert sealed.inspect(tmp_path / "sealed").provenance == stated
    with safe_open(tmp_path / "sealed", identity=IDENTITY) as file:
        assert file.provenance() == stated


def test_paths_and_strings_do_for_keys(tmp_path: Path) -> None:
    sealed.write_keypair(tmp_path / "me", IDENTITY)
    for recipient in (RECIPIENT, str(RECIPIENT), tmp_path / "me.pub", str(tmp_path / "me.pub")):
        data = save({"a": np.arange(2)}, recipients=recipient)
        for identity in (IDENTITY, tmp_path / "me", str(tmp_path / "me"), (keypair("other")[0], tmp_path / "me")):
            same(load(data, identity=identity), {"a": np.arange(2)})


def test_refusals_are_the_readers(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        load_file(tmp_path / "none", identity=IDENTITY)
    with pytest.raises(NotARecipientError):
        load(save({}, recipients=RECIPIENT), identity=keypair("stranger")[0])
    plain = safetensors.numpy.save({"a": np.zeros(3)})
    with pytest.raises(MalformedError, match="not sealed: it looks like a plain safetensors file"):
        load(plain, identity=IDENTITY)


@pytest.mark.parametrize("name", ["save_file", "load_file", "save", "load"])
def test_positional_arguments_are_those_of_safetensors(name: str) -> None:
    def positional(function: Any) -> list[str]:
        return [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]

    assert positional(getattr(verbs, name)) == positional(getattr(safetensors.numpy, name))
