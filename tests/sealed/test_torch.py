"""The verbs for torch: every type down to 4 bits, and the refusals of safetensors."""

import inspect
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from stfed import sealed
from stfed.errors import LocalError
from stfed.sealed import torch as verbs
from stfed.sealed.errors import TensorError
from stfed.sealed.numpy import load as load_numpy
from stfed.sealed.torch import SharedMemoryError, load, load_file, safe_open, save, save_file

from .material import keypair, seal_bytes

IDENTITY, RECIPIENT = keypair("torch")
TYPES = [
    *("bool", "uint8", "int8", "int16", "uint16", "float16", "bfloat16", "int32", "uint32", "float32", "complex64", "float64", "int64"),
    *("uint64", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"),
]
Tensors = dict[str, torch.Tensor]


def octets(tensor: torch.Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def same(left: Tensors, right: Tensors) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert (tensor.dtype, tensor.shape) == (right[name].dtype, right[name].shape)
        assert octets(tensor) == octets(right[name])


def some_of_everything() -> Tensors:
    generator = torch.Generator().manual_seed(1)
    tensors: Tensors = {}
    for name in TYPES:
        dtype = getattr(torch, name)
        for shape in ((), (0,), (3, 0, 2), (7,), (2, 3, 4)):
            if name == "float4_e2m1fn_x2" and not shape:
                continue  # two floats are not zero-dimensional
            count = int(np.prod(shape)) * dtype.itemsize
            raw = torch.randint(0, 2 if name == "bool" else 256, (count,), dtype=torch.uint8, generator=generator)
            tensors[f"{name}{list(shape)}"] = raw.view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)
    return tensors


def test_every_type_and_shape(tmp_path: Path) -> None:
    tensors, metadata = some_of_everything(), {"format": "pt"}
    save_file(tensors, tmp_path / "sealed", metadata, recipients=RECIPIENT)
    same(load_file(tmp_path / "sealed", identity=IDENTITY), tensors)
    same(load(save(tensors, metadata, recipients=RECIPIENT), identity=IDENTITY), tensors)
    sealed.open_file(tmp_path / "sealed", tmp_path / "plain", identity=IDENTITY)
    same(safetensors.torch.load_file(tmp_path / "plain"), tensors)
    with safe_open(tmp_path / "sealed", identity=IDENTITY) as file:
        assert file.metadata() == metadata
        same({name: file.get_tensor(name) for name in file.offset_keys()}, tensors)
        same(file.get_tensors(), tensors)


def test_the_content_is_what_stock_safetensors_would_write_but_for_padding(tmp_path: Path) -> None:
    tensors = some_of_everything()
    save_file(tensors, tmp_path / "sealed", recipients=RECIPIENT)
    sealed.open_file(tmp_path / "sealed", tmp_path / "plain", identity=IDENTITY)
    ours, stock = (tmp_path / "plain").read_bytes(), safetensors.torch.save(tensors)

    def parts(data: bytes) -> tuple[bytes, bytes]:
        size = int.from_bytes(data[:8], "little")
        return data[8 : 8 + size].rstrip(b" "), data[8 + size :]

    assert parts(ours) == parts(stock)


def test_numpy_and_torch_read_each_others_files() -> None:
    tensors = {"a": torch.arange(6).reshape(2, 3), "b": torch.ones(3, dtype=torch.float64)}
    arrays = load_numpy(save(tensors, recipients=RECIPIENT), identity=IDENTITY)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


def test_gradients_views_and_conjugates() -> None:
    parameter = torch.nn.Parameter(torch.randn(4))
    conjugate = torch.randn(3, dtype=torch.complex64).conj()
    negated = {str(dtype): torch._neg_view(torch.ones(3, dtype=dtype)) for dtype in (torch.float32, torch.bfloat16)}
    loaded = load(save({"p": parameter, "c": conjugate, **negated}, recipients=RECIPIENT), identity=IDENTITY)
    assert all(loaded[name].tolist() == [-1, -1, -1] for name in negated)  # safetensors writes what lies in memory
    assert torch.equal(loaded["p"], parameter.detach())
    assert torch.equal(loaded["c"], conjugate.resolve_conj())
    assert not loaded["p"].requires_grad


def test_a_state_dict_goes_round() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(4, 2))
    loaded = load(save(model.state_dict(), recipients=RECIPIENT), identity=IDENTITY)
    same(loaded, dict(model.state_dict()))
    assert loaded["1.num_batches_tracked"].shape == ()


def test_what_safetensors_refuses() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    for tensors, error, says in (
        ({"a": base.T}, LocalError, "non contiguous tensor: `a`"),
        ({"a": base.to_sparse(), "b": base.to_sparse()}, LocalError, r"sparse tensors: `\['a', 'b'\]`"),
        ({"a": base, "b": base[1]}, SharedMemoryError, r"\[\['a', 'b'\]\].*use `save_model`"),
        ({"a": base, "b": base}, RuntimeError, "Some tensors share memory"),  # the class that safetensors raises
        ({"a": np.zeros(3)}, ValueError, "Key `a` is invalid, expected torch.Tensor but received <class 'numpy.ndarray'>"),
        ("text", ValueError, r"Expected a dict of \[str, torch.Tensor\] but received <class 'str'>"),
        ({"a": torch.zeros(1, dtype=torch.complex128)}, safetensors.SafetensorError, 'Unknown dtype "complex128"'),
        ({"a": torch.empty(0, dtype=torch.complex128)}, safetensors.SafetensorError, 'Unknown dtype "complex128"'),
        ({"a": torch.empty((), dtype=torch.float4_e2m1fn_x2)}, safetensors.SafetensorError, "not zero-dimensional"),
        ({"a": torch.zeros(3, device="meta")}, RuntimeError, "Cannot copy out of meta tensor"),
        ({1: base}, TypeError, "a tensor's name is text"),
    ):
        with pytest.raises(error, match=says):
            save(tensors, recipients=RECIPIENT)  # type: ignore[arg-type]
    same(load(save({"a": base[0], "b": base[1]}, recipients=RECIPIENT), identity=IDENTITY), {"a": base[0], "b": base[1]})
    assert save({"a": base[:0], "b": base[:0]}, recipients=RECIPIENT)


def test_every_tensor_has_a_storage_of_its_own() -> None:
    """`torch.save` of one of them must not carry the content of the whole file away."""
    tensors = some_of_everything() | {"secret": torch.full((5000,), 7.0)}
    loaded = load(save(tensors, recipients=RECIPIENT), identity=IDENTITY)
    for name, tensor in loaded.items():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, name
        assert tensor.storage_offset() == 0
    out = io.BytesIO()
    torch.save(loaded["float32[7]"], out)
    assert len(out.getvalue()) < 4000
    assert save(loaded, recipients=RECIPIENT)  # and none of them shares memory with another


def test_what_is_loaded_is_writable() -> None:
    loaded = load(save({"a": torch.zeros(3), "b": torch.zeros(3)}, recipients=RECIPIENT), identity=IDENTITY)
    loaded["a"] += 1
    assert loaded["a"].tolist() == [1, 1, 1]
    assert loaded["b"].tolist() == [0, 0, 0]


def test_devices(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "sealed", recipients=RECIPIENT)
    assert load_file(tmp_path / "sealed", device="meta", identity=IDENTITY)["a"].device.type == "meta"
    for default in ("meta", "cpu"):
        with torch.device(default):
            assert load_file(tmp_path / "sealed", identity=IDENTITY)["a"].device.type == "cpu"
    with safe_open(tmp_path / "sealed", device=None, identity=IDENTITY) as file:
        assert file.get_tensor("a").device.type == "cpu"
    with safe_open(tmp_path / "sealed", device="meta", identity=IDENTITY) as file:
        assert file.get_tensor("a").device.type == file.get_slice("a")[:1].device.type == "meta"
    for call in (load_file, lambda *a, **k: safe_open(a[0], "pt", *a[1:], **k)):
        for device in ("nonsense", -1, 1.5, "cuda:x"):
            with pytest.raises(TensorError, match=f"device {device} is invalid"):
                call(tmp_path / "sealed", device, identity=IDENTITY)  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(4, device="cuda:0").view(2, 2), "b": torch.ones(3, dtype=torch.bfloat16, device="cuda:0")}
    save_file(tensors, tmp_path / "sealed", recipients=RECIPIENT)
    assert torch.equal(load_file(tmp_path / "sealed", identity=IDENTITY)["a"], torch.arange(4).view(2, 2))
    for device in (0, "cuda", "cuda:0"):
        loaded = load_file(tmp_path / "sealed", device, identity=IDENTITY)
        assert all(loaded[name].device == tensor.device and torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
        with safe_open(tmp_path / "sealed", "pt", device, identity=IDENTITY) as file:
            assert torch.equal(file.get_slice("a")[:1], tensors["a"][:1])


def test_tensors_that_others_did_not_align_or_pair() -> None:
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}'
    plain = len(header).to_bytes(8, "little") + header + b"\7" + np.array([1.5, -2], "<f4").tobytes()
    loaded = load(seal_bytes(plain, RECIPIENT), identity=IDENTITY)["b"]
    assert loaded.tolist() == [1.5, -2]
    assert loaded.data_ptr() % 4 == 0
    for header, says in (
        (b'{"a":{"dtype":"F4","shape":[2,1],"data_offsets":[0,1]}}', "last dim be divisible by 2"),
        (b'{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}', "torch has no"),
    ):
        size = 1 if b"F4" in header else 3
        with pytest.raises(TensorError, match=says):
            load(seal_bytes(len(header).to_bytes(8, "little") + header + bytes(size), RECIPIENT), identity=IDENTITY)


@pytest.mark.parametrize("name", ["save_file", "load_file", "save", "load", "save_model", "load_model"])
def test_arguments_are_those_of_safetensors_and_then_options(name: str) -> None:
    def arguments(function: Any) -> list[tuple[str, Any, Any]]:
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters if p.kind is not p.VAR_KEYWORD]

    assert arguments(getattr(verbs, name)) == arguments(getattr(safetensors.torch, name))
    assert next(reversed(inspect.signature(getattr(verbs, name)).parameters)) == "options"
