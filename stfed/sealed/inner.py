"""The plain safetensors file inside: its header, built and checked as safetensors 0.8 builds and checks it.

Tensors lie in order of falling alignment, then by name; their data begins at a multiple of 64 bytes, so that every tensor is aligned for
its type and whole files can be used in place. Reading accepts exactly the layouts that safetensors accepts: offsets that follow one another
without holes or overlaps from the first byte to the last, each as long as type and shape say, in 64-bit arithmetic that must not overflow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stfed import canonical
from stfed.errors import LocalError, MalformedError, shown
from stfed.sealed import bulk
from stfed.sealed.bounds import HEADER_CAP_BYTES
from stfed.sealed.bulk import METADATA, USIZE_MAX
from stfed.sealed.tensors import BY_ALIGNMENT, DTYPES, Dtype, Spec, TensorInfo, dtype_named

__all__ = [
    "ALIGNMENT_BYTES",
    "DTYPES",
    "Dtype",
    "Header",
    "Spec",
    "TensorInfo",
    "WrongTypeError",
    "build",
    "dtype_named",
    "parse",
    "refuse_sealed",
]

ALIGNMENT_BYTES = 64
_OUTER = "stfed.envelope"
_ZIP = b"PK\x03\x04"  # how torch.save begins
_quoted = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class WrongTypeError(LocalError, TypeError):
    """An argument is of a wrong type, in the cases where safetensors raises `TypeError`."""


@dataclass(frozen=True)
class Header:
    """A checked header.

    Attributes:
        tensors: by name, in the order of their data.
        metadata: the file's own text, None if it has none.
        data_start: where the data begins in the file.
        data_bytes: how much there is.
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] | None
    data_start: int
    data_bytes: int


def build(specs: Mapping[str, Spec], metadata: Mapping[str, str] | None) -> tuple[bytes, list[str]]:
    """The file's first bytes, its length field included, and the names in the order in which their data must follow.

    Raises:
        WrongTypeError: for a name or metadata that is no text.
        LocalError: for those that safetensors cannot hold.
    """
    entries = [] if metadata is None else [f'"{METADATA}":{_quoted(checked_metadata(metadata))}']
    order, shapes, at = _ordered(specs), dict[tuple[int, ...], str](), 0
    for name in order:
        (code, _, _), shape, size_bytes = specs[name]
        if shape not in shapes:
            shapes[shape] = ",".join(map(str, shape))
        end = at + size_bytes
        entries.append(f'{_quoted(name)}:{{"dtype":"{code}","shape":[{shapes[shape]}],"data_offsets":[{at},{end}]}}')
        at = end
    try:
        text = f"{{{','.join(entries)}}}".encode()
    except UnicodeEncodeError:
        raise LocalError("a tensor name or metadata is not Unicode text") from None
    text = text.ljust(-(-(8 + len(text)) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES - 8)
    if len(text) > HEADER_CAP_BYTES:
        raise LocalError(f"the header would take {len(text)} bytes, safetensors allows {HEADER_CAP_BYTES}")
    return len(text).to_bytes(8, "little") + text, order


def checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """A copy; WrongTypeError if it is not text by text."""
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) and isinstance(value, str) for key, value in metadata.items()):
        raise WrongTypeError("metadata maps text to text", hint="turn its values into strings")
    return dict(metadata)


def _ordered(specs: Mapping[str, Spec]) -> list[str]:
    """The names by falling rank of the type, then by name: code points in order are UTF-8 in order."""
    by_code: dict[str, list[str]] = {}
    for name, spec in specs.items():
        if not isinstance(name, str):
            raise WrongTypeError(f"a tensor's name is text, {type(name).__name__} is not")
        by_code.setdefault(spec.dtype.code, []).append(name)
    if METADATA in specs:
        raise LocalError(f"no tensor may be called {METADATA}")
    return [name for dtype in reversed(BY_ALIGNMENT) for name in sorted(by_code.get(dtype.code, ()))]


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
    start = read(0, 8)
    if start.startswith(_ZIP):
        raise MalformedError(
            "the content is no safetensors file: it looks like a checkpoint of torch.save",
            hint="load it, and save its tensors with safetensors.torch.save_file",
        )
    header_bytes = int.from_bytes(start, "little")
    if header_bytes > HEADER_CAP_BYTES or header_bytes > file_bytes - 8:
        raise MalformedError(f"the content is no safetensors file: a header of {header_bytes} bytes is over its end or the cap of 100 MB")
    raw = read(8, 8 + header_bytes)
    if raw[:1] != b"{":
        raise MalformedError("the content is no safetensors file: its header does not begin with '{'")
    tensors, metadata = bulk.read(raw) or _one_by_one(raw)
    data_bytes = next(reversed(tensors.values())).end if tensors else 0
    if 8 + header_bytes + data_bytes != file_bytes:
        raise MalformedError(f"the safetensors header describes {data_bytes} bytes of data, the file has {file_bytes - 8 - header_bytes}")
    return Header(tensors, metadata, 8 + header_bytes, data_bytes)


def _one_by_one(raw: bytes) -> bulk.Tensors:
    entries = canonical.parse(raw, "the safetensors header")
    metadata = entries.pop(METADATA, None)
    if metadata is not None and not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        raise MalformedError("the safetensors header has metadata that does not map text to text")
    tensors = sorted(((name, _info(name, entry)) for name, entry in entries.items()), key=lambda item: (item[1].begin, item[1].end))
    at = 0
    for name, info in tensors:
        if info.begin != at:
            raise MalformedError(f"tensor {shown(name)} begins at byte {info.begin} and not at {at}: data must not overlap or have holes")
        at = info.end
    return dict(tensors), metadata


def refuse_sealed(header: Header) -> None:
    """MalformedError if the file is itself the outside of a sealed one."""
    if _OUTER in header.tensors:
        raise MalformedError("it is sealed already", hint="open it first; it can then be sealed to others")


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= USIZE_MAX


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
        if bits > USIZE_MAX:
            raise MalformedError(f"tensor {shown(name)} is larger than 64 bits can count")
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        raise MalformedError(f"tensor {shown(name)} has {offsets[1] - offsets[0]} bytes of data, its dtype and shape say {bits / 8:g}")
    return TensorInfo(DTYPES[code], tuple(shape), offsets[0], offsets[1])
