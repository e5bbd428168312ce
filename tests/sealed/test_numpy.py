"""The verbs for numpy: every type, odd shapes, metadata, and a plain file that stock safetensors loads to the same."""

import importlib.util
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
from stfed.errors import LocalError, MalformedError
from stfed.keys.signing import SigningKey
from stfed.sealed import numpy as verbs
from stfed.sealed.errors import NotARecipientError, TensorError
from stfed.sealed.numpy import load, load_file, safe_open, save, save_file

from .material import Script, keypair, seal_bytes

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
    for code, bits in (("BF16", 16), ("F8_E4M3", 8), ("F6_E2M3", 6), ("F4", 4)):
        header = b'{"a":{"dtype":"%s","shape":[4],"data_offsets":[0,%d]},"b":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}}'
        header %= (code.encode(), bits // 2, bits // 2, bits // 2 + 1)
        data = seal_bytes(len(header).to_bytes(8, "little") + header + bytes(bits // 2 + 1), RECIPIENT)
        if bits % 8 or importlib.util.find_spec("ml_dtypes") is None:
            with pytest.raises(TensorError, match=r"numpy has no .*float"):
                load(data, identity=IDENTITY)
        else:
            assert load(data, identity=IDENTITY)["a"].itemsize == bits // 8
    with pytest.raises(TensorError, match='Unknown dtype "complex128"'):
        save({"a": np.zeros(1, np.complex128)}, recipients=RECIPIENT)
    with pytest.raises(safetensors.SafetensorError, match="Unknown dtype"):  # the class that safetensors raises
        save({"a": np.array(["text"])}, recipients=RECIPIENT)
    with pytest.raises(LocalError, match=r"Key `a` is invalid, expected np.ndarray but received <class 'list'>"):
        save({"a": [1, 2]}, recipients=RECIPIENT)  # type: ignore[dict-item]
    with pytest.raises(LocalError, match="Expected a dict"):
        save([np.zeros(1)], recipients=RECIPIENT)  # type: ignore[arg-type]


ML_TYPES = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float8_e4m3fnuz", "float8_e5m2fnuz"]


@pytest.mark.parametrize("name", ML_TYPES)
def test_types_of_ml_dtypes(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.arange(1, 7).reshape(2, 3).astype(getattr(ml_dtypes, name))
    arrays = {
        "a": array,
        "strided": array[:, ::2],
        "empty": array[:0],
        "scalar": np.asarray(array[0, 0]),
        "long": np.repeat(array, 300_000),
    }
    loaded = load(save(arrays, recipients=RECIPIENT), identity=IDENTITY)
    for key, expected in arrays.items():
        assert (loaded[key].dtype, loaded[key].shape) == (expected.dtype, expected.shape)
        assert loaded[key].tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["float4_e2m1fn", "float6_e2m3fn", "int4"])
def test_types_of_ml_dtypes_that_safetensors_does_not_write(name: str) -> None:
    array = np.zeros(4, getattr(pytest.importorskip("ml_dtypes"), name))
    for call in (lambda: save({"a": array}, recipients=RECIPIENT), lambda: safetensors.numpy.save({"a": array})):
        with pytest.raises(safetensors.SafetensorError, match="Unknown dtype"):
            call()


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_kinds_of_arrays() -> None:
    base = np.arange(6, dtype=np.float32).reshape(2, 3)
    masked = np.ma.masked_array(base, mask=base > 2)
    long = np.arange(600_000, dtype=np.int64)
    np.testing.assert_array_equal(load(save({"a": np.matrix(long)}, recipients=RECIPIENT), identity=IDENTITY)["a"], long.reshape(1, -1))
    arrays = {"masked": masked, "big": np.array(5, ">i4"), "number": np.int16(3)}
    loaded = load(save(arrays, recipients=RECIPIENT), identity=IDENTITY)  # type: ignore[arg-type]
    assert {name: (type(array), array.shape, array.tolist()) for name, array in loaded.items()} == {
        "masked": (np.ndarray, (2, 3), base.tolist()),
        "big": (np.ndarray, (), 5),
        "number": (np.ndarray, (), 3),
    }


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
    [{"a": float("nan")}, {"a": [1]}, {1: "a"}, {"a": 1 << 53}, {"a": "x" * 40_000}, {"a": b"bytes"}, {"a": "\ud800"}],
)
def test_nothing_is_written_for_unfit_provenance(provenance: Any, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="provenance"):
        save_file({"a": np.zeros(1)}, tmp_path / "sealed", recipients=RECIPIENT, provenance=provenance)
    assert list(tmp_path.iterdir()) == []


def test_statements_public_and_sealed_are_read_by_those_who_open(tmp_path: Path) -> None:
    public: dict[str, Any] = {"round": 3, "clip": 1.5, "noise": None, "plain": False}
    save_file({"a": np.zeros(1)}, tmp_path / "sealed", recipients=RECIPIENT, public=public, provenance={"run": "demo-run"})
    assert sealed.inspect(tmp_path / "sealed").public == public
    assert b"demo-run" not in (tmp_path / "sealed").read_bytes()
    with safe_open(tmp_path / "sealed", identity=IDENTITY) as file:
        assert file.provenance() == public | {"run": "demo-run"}


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


def test_names_and_content_are_not_taken_for_each_other(tmp_path: Path) -> None:
    data = save({"a": np.zeros(1)}, recipients=RECIPIENT)
    (tmp_path / "sealed").write_bytes(data)
    with pytest.raises(TypeError, match="load_file"):
        load(str(tmp_path / "sealed"), identity=IDENTITY)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not bytes"):
        load_file(data, identity=IDENTITY)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not bytes"):
        safe_open(data, identity=IDENTITY)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="PathLike"):
        save_file({}, 3, recipients=RECIPIENT)  # type: ignore[arg-type]
    same(load(memoryview(data), identity=IDENTITY), {"a": np.zeros(1)})  # type: ignore[arg-type]


def test_options_reach_the_sealer_and_the_reader(tmp_path: Path) -> None:
    signer, other = (SigningKey.generate(entropy=Script(name)) for name in "ab")
    save_file({"a": np.ones(2)}, tmp_path / "sealed", recipients=RECIPIENT, signer=signer, digest="sha256")
    info = sealed.inspect(tmp_path / "sealed")
    assert (info.suite, info.signers) == ("floe-aes256gcm-sha256", (signer.public.fingerprint,))
    same(load_file(tmp_path / "sealed", identity=IDENTITY, trusted=signer.public), {"a": np.ones(2)})
    for call in (
        lambda: load_file(tmp_path / "sealed", identity=IDENTITY, trusted=other.public),
        lambda: load((tmp_path / "sealed").read_bytes(), identity=IDENTITY, trusted=other.public),
        lambda: safe_open(tmp_path / "sealed", identity=IDENTITY, trusted=other.public),
    ):
        with pytest.raises(sealed.UntrustedError):
            call()


@pytest.mark.parametrize(
    "verb", [save, lambda _, **k: load(b"", **k), lambda _, **k: load_file("x", **k), lambda _, **k: safe_open("x", **k)]
)
def test_unknown_options_are_type_errors(verb: Any) -> None:
    with pytest.raises(TypeError, match="recipient_list"):
        verb({}, recipient_list=[RECIPIENT])


@pytest.mark.parametrize("name", ["save_file", "load_file", "save", "load"])
def test_arguments_are_those_of_safetensors_and_then_options(name: str) -> None:
    def arguments(function: Any) -> list[tuple[str, Any, Any]]:
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters if p.kind is not p.VAR_KEYWORD]

    assert arguments(getattr(verbs, name)) == arguments(getattr(safetensors.numpy, name))
    assert next(reversed(inspect.signature(getattr(verbs, name)).parameters)) == "options"
