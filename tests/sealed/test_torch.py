"""The verbs for torch: every type down to 4 bits, and the refusals of safetensors."""

import inspect
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
    loaded = load(save({"p": parameter, "c": conjugate}, recipients=RECIPIENT), identity=IDENTITY)
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
        ({"a": base.to_sparse()}, LocalError, "sparse tensor: `a`"),
        ({"a": base, "b": base[1]}, SharedMemoryError, "`a` and `b`"),
        ({"a": base, "b": base}, RuntimeError, "share memory"),  # the class that safetensors raises
        ({"a": np.zeros(3)}, ValueError, "expected torch.Tensor"),
        ({"a": torch.zeros(1, dtype=torch.complex128)}, safetensors.SafetensorError, "Unknown dtype 'complex128'"),
    ):
        with pytest.raises(error, match=says):
            save(tensors, recipients=RECIPIENT)  # type: ignore[arg-type]
    same(load(save({"a": base[0], "b": base[1]}, recipients=RECIPIENT), identity=IDENTITY), {"a": base[0], "b": base[1]})
    assert save({"a": base[:0], "b": base[:0]}, recipients=RECIPIENT)


def test_devices(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "sealed", recipients=RECIPIENT)
    assert load_file(tmp_path / "sealed", device="meta", identity=IDENTITY)["a"].device.type == "meta"
    with safe_open(tmp_path / "sealed", device="meta", identity=IDENTITY) as file:
        assert file.get_tensor("a").device.type == file.get_slice("a")[:1].device.type == "meta"
    for call in (load_file, lambda *a, **k: safe_open(a[0], "pt", *a[1:], **k)):
        with pytest.raises(TensorError, match="device nonsense is invalid"):
            call(tmp_path / "sealed", "nonsense", identity=IDENTITY)


def test_tensors_that_others_did_not_align_or_pair() -> None:
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}'
    plain = len(header).to_bytes(8, "little") + header + b"\7" + np.array([1.5, -2], "<f4").tobytes()
    assert load(seal_bytes(plain, RECIPIENT), identity=IDENTITY)["b"].tolist() == [1.5, -2]
    for header, says in (
        (b'{"a":{"dtype":"F4","shape":[2,1],"data_offsets":[0,1]}}', "in pairs"),
        (b'{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}', "torch has no"),
    ):
        size = 1 if b"F4" in header else 3
        with pytest.raises(TensorError, match=says):
            load(seal_bytes(len(header).to_bytes(8, "little") + header + bytes(size), RECIPIENT), identity=IDENTITY)


@pytest.mark.parametrize("name", ["save_file", "load_file", "save", "load"])
def test_positional_arguments_are_those_of_safetensors(name: str) -> None:
    def positional(function: Any) -> list[str]:
        return [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]

    assert positional(getattr(verbs, name)) == positional(getattr(safetensors.torch, name))
