"""What a tensor is in a safetensors file: its element type, its shape and its place. The types are those of safetensors 0.8."""

from __future__ import annotations

from typing import NamedTuple

from stfed.sealed.errors import TensorError


class Dtype(NamedTuple):
    """A tensor's element type: its code in the header, its length, and its name in numpy, ml_dtypes and torch."""

    code: str
    bits: int
    name: str


BY_ALIGNMENT = (
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
"""All types, in the order in which safetensors ranks them: tensors are written from the last to the first."""
DTYPES = {dtype.code: dtype for dtype in BY_ALIGNMENT}
_WRITABLE = {dtype.name: dtype for dtype in BY_ALIGNMENT if dtype.bits != 6}  # ml_dtypes keeps six bits in a byte, the file does not


def dtype_named(name: str) -> Dtype:
    """The type that numpy or torch calls `name`; TensorError if safetensors writes none of that name."""
    try:
        return _WRITABLE[name]
    except KeyError:
        raise unknown(name) from None


def unknown(name: str) -> TensorError:
    """The error for a type that safetensors does not write, in its words."""
    return TensorError(f'Unknown dtype "{name}". Supported dtypes: {", ".join(_WRITABLE)}')


class TensorInfo(NamedTuple):
    """One tensor. `begin` and `end` count from the start of the data; `shape` counts elements, also where several share a byte."""

    dtype: Dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class Spec(NamedTuple):
    """A tensor about to be written."""

    dtype: Dtype
    shape: tuple[int, ...]
    size_bytes: int
