"""The plain safetensors file inside: its header, built and checked as safetensors 0.8 builds and checks it.

Tensors lie in order of falling alignment, then by name; their data begins at a multiple of 64 bytes, so that every tensor is aligned for
its type and whole files can be used in place. Reading accepts exactly the layouts that safetensors accepts: offsets that follow one another
without holes or overlaps from the first byte to the last, each as long as type and shape say, in 64-bit arithmetic that must not overflow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from stfed.errors import LocalError
from stfed.sealed import canonical
from stfed.sealed.bounds import HEADER_CAP_BYTES
from stfed.sealed.errors import MalformedError, TensorError, shown

ALIGNMENT_BYTES = 64
_METADATA = "__metadata__"
_OUTER = "stfed.envelope"
_USIZE_MAX = (1 << 64) - 1


class Dtype(NamedTuple):
    """A tensor's element type: its code in the header, its length, and its name in numpy, ml_dtypes and torch."""

    code: str
    bits: int
    name: str


_BY_ALIGNMENT = (
    Dtype("BOOL", 8, "bool"),
    Dtype("F4", 4, "float4_e2m1fn_x2"),
    Dtype("F6_E2M3", 6, "float6_e2m3fn"),
    Dtype("F6_E3M2", 6, "float6_e3m2fn"),
    Dtype("U8", 8, "uint8"),
    Dtype("I8", 8, "int8"),
    Dtype("F8_E5M2", 8, "float8_e5m2"),
    Dtype("F8_E4M3", 8, "float8_e4m3fn"),
    Dtype("F8_E8M0", 8, "float8_e8m0fnu"),
    Dtype("F8_E4M3FNUZ", 8, "float8_e4m3fnuz"),
    Dtype("F8_E5M2FNUZ", 8, "float8_e5m2fnuz"),
    Dtype("I16", 16, "int16"),
    Dtype("U16", 16, "uint16"),
    Dtype("F16", 16, "float16"),
    Dtype("BF16", 16, "bfloat16"),
    Dtype("I32", 32, "int32"),
    Dtype("U32", 32, "uint32"),
    Dtype("F32", 32, "float32"),
    Dtype("C64", 64, "complex64"),
    Dtype("F64", 64, "float64"),
    Dtype("I64", 64, "int64"),
    Dtype("U64", 64, "uint64"),
)
DTYPES = {dtype.code: dtype for dtype in _BY_ALIGNMENT}
_BY_NAME = {dtype.name: dtype for dtype in _BY_ALIGNMENT}
_RANK = {dtype.code: rank for rank, dtype in enumerate(_BY_ALIGNMENT)}


def dtype_named(name: str) -> Dtype:
    """The type that numpy or torch calls `name`; TensorError if safetensors has none."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise TensorError(f"Unknown dtype {name!r}. Supported dtypes: {', '.join(_BY_NAME)}") from None


@dataclass(frozen=True)
class TensorInfo:
    """One tensor. `begin` and `end` count from the start of the data; `shape` counts elements, also where several share a byte."""

    dtype: Dtype
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A checked header.

    Attributes:
        tensors: by name, in the order of their data.
        metadata: the file's own text, None if it has none.
        data_start: where the data begins in the file.
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] | None
    data_start: int


class Spec(NamedTuple):
    """A tensor about to be written."""

    dtype: Dtype
    shape: tuple[int, ...]
    size_bytes: int


def build(specs: Mapping[str, Spec], metadata: Mapping[str, str] | None) -> tuple[bytes, list[str]]:
    """The file's first bytes, its length field included, and the names in the order in which their data must follow.

    Raises:
        LocalError: for a name or metadata that safetensors cannot hold.
    """
    entries: dict[str, Any] = {}
    if metadata is not None:
        if not all(isinstance(key, str) and isinstance(value, str) for key, value in metadata.items()):
            raise LocalError("metadata maps text to text", hint="turn its values into strings")
        entries[_METADATA] = dict(metadata)
    order = sorted(specs, key=lambda name: (-_RANK[specs[name].dtype.code], name))
    at = 0
    for name in order:
        if name == _METADATA:
            raise LocalError(f"no tensor may be called {_METADATA}")
        spec = specs[name]
        entries[name] = {"dtype": spec.dtype.code, "shape": list(spec.shape), "data_offsets": [at, at + spec.size_bytes]}
        at += spec.size_bytes
    try:
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise LocalError("a tensor name or metadata is not Unicode text") from None
    text = text.ljust(-(-(8 + len(text)) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES - 8)
    if len(text) > HEADER_CAP_BYTES:
        raise LocalError(f"the header would take {len(text)} bytes, safetensors allows {HEADER_CAP_BYTES}")
    return len(text).to_bytes(8, "little") + text, order


def parse(read: Callable[[int, int], bytes], file_bytes: int) -> Header:
    """Reads and checks a plain safetensors header.

    Args:
        read: gives bytes `start` to `stop` of the file. Asked for the header only, after its length was checked.
        file_bytes: the length of the file.

    Raises:
        MalformedError: for anything that safetensors would refuse.
    """
    if file_bytes < 8:
        raise MalformedError("the content is no safetensors file: it is shorter than 8 bytes")
    header_bytes = int.from_bytes(read(0, 8), "little")
    if header_bytes > HEADER_CAP_BYTES or header_bytes > file_bytes - 8:
        raise MalformedError(f"the content is no safetensors file: a header of {header_bytes} bytes is over its end or the cap of 100 MB")
    raw = read(8, 8 + header_bytes)
    if raw[:1] != b"{":
        raise MalformedError("the content is no safetensors file: its header does not begin with '{'")
    entries = canonical.parse(raw, "the safetensors header")
    metadata = entries.pop(_METADATA, None)
    if metadata is not None and not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        raise MalformedError("the safetensors header has metadata that does not map text to text")
    tensors = sorted(((name, _info(name, entry)) for name, entry in entries.items()), key=lambda item: (item[1].begin, item[1].end))
    at = 0
    for name, info in tensors:
        if info.begin != at:
            raise MalformedError(f"tensor {shown(name)} begins at byte {info.begin} and not at {at}: data must not overlap or have holes")
        at = info.end
    if 8 + header_bytes + at != file_bytes:
        raise MalformedError(f"the safetensors header describes {at} bytes of data, the file has {file_bytes - 8 - header_bytes}")
    return Header(dict(tensors), metadata, 8 + header_bytes)


def refuse_sealed(header: Header) -> None:
    """MalformedError if the file is itself the outside of a sealed one."""
    if _OUTER in header.tensors:
        raise MalformedError("it is sealed already", hint="open it first; it can then be sealed to others")


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _USIZE_MAX


def _info(name: str, entry: Any) -> TensorInfo:
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise MalformedError(f"tensor {shown(name)} lacks dtype, shape or data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise MalformedError(f"tensor {shown(name)} has the unknown dtype {shown(code)}")
    if not isinstance(shape, list) or not all(_is_size(length) for length in shape):
        raise MalformedError(f"tensor {shown(name)} has a shape that is no list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(offset) for offset in offsets) or offsets[0] > offsets[1]:
        raise MalformedError(f"tensor {shown(name)} has data_offsets that are no range")
    bits = 1
    for factor in (*shape, DTYPES[code].bits):
        bits *= factor
        if bits > _USIZE_MAX:
            raise MalformedError(f"tensor {shown(name)} is larger than 64 bits can count")
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        raise MalformedError(f"tensor {shown(name)} has {offsets[1] - offsets[0]} bytes of data, its dtype and shape say {bits / 8:g}")
    return TensorInfo(DTYPES[code], tuple(shape), offsets[0], offsets[1])
