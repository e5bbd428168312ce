"""A safetensors header of many tensors, read by one regular expression and checked in the interpreter's own loops.

This is a short cut and decides nothing: it answers only where the header is written as safetensors and we write it and every tensor is
plainly in order. About everything else it is silent, and `stfed.sealed.inner` reads the header as JSON, tensor by tensor. Where it answers,
the answer is the same. Beside the time for JSON it saves the tens of thousands of lists that would set off the garbage collector.
"""

from __future__ import annotations

import json
import math
import re
from operator import mul, sub

from stfed import canonical
from stfed.errors import MalformedError
from stfed.sealed.tensors import DTYPES, TensorInfo

METADATA = "__metadata__"
USIZE_MAX = (1 << 64) - 1
Tensors = tuple[dict[str, TensorInfo], dict[str, str] | None]
"""By name in the order of their data, and the metadata."""

_NUMBER = "(?:0|[1-9][0-9]{0,19})"
_ENTRY = re.compile(
    rf'(?:\A{{|,)"([^"\\\x00-\x1f]*)":{{"dtype":"([A-Z0-9_]*)",'
    rf'"shape":\[((?:{_NUMBER}(?:,{_NUMBER}){{0,7}})?)\],"data_offsets":\[({_NUMBER}),({_NUMBER})\]}}'
)
_AROUND = len(',"":{"dtype":"","shape":[],"data_offsets":[,]}')
_FIRST = f'{{"{METADATA}":'
_DECODER = json.JSONDecoder()


def read(raw: bytes) -> Tensors | None:
    """What a safetensors header says, if it says it in the usual way; None if it has to be looked at more closely.

    Usual are: metadata first, no white space but at the end, no escapes in names, three fields for each tensor in the usual order, tensors
    in the order of their data, at most eight dimensions.
    """
    try:
        text = raw.decode("utf-8").rstrip(" ")
        if text[:1] != "{" or text[-1] != "}":
            return None
        metadata, at = None, 0
        if text.startswith(_FIRST):
            _, at = _DECODER.raw_decode(text, len(_FIRST))
            metadata = canonical.parse(text[len(_FIRST) : at].encode(), "the metadata")
            if not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
                return None
        tensors = _tensors(_ENTRY.findall(text, at, len(text) - 1), len(text) - 1 - at)
    except (ValueError, KeyError, RecursionError, MalformedError):
        return None
    return None if tensors is None else (tensors, metadata)


def _tensors(entries: list[tuple[str, str, str, str, str]], length: int) -> dict[str, TensorInfo] | None:
    """The tensors, if their entries fill a text of `length` characters without a gap, follow one another, and are as long as they say."""
    if not entries:
        return None if length else {}
    columns = tuple(zip(*entries, strict=True))
    if len(entries) * _AROUND + sum(sum(map(len, column)) for column in columns) != length:
        return None
    names, codes, shapes = columns[:3]
    begins, ends = list(map(int, columns[3])), list(map(int, columns[4]))
    if begins[0] != 0 or begins[1:] != ends[:-1] or 8 * ends[-1] > USIZE_MAX:
        return None
    sides = {shape: tuple(map(int, shape.split(","))) if shape else () for shape in set(shapes)}
    # A product that is not zero is not smaller than any of its parts; one that is zero may hide an overflow before the zero.
    if any(0 in shape and math.prod(side or 1 for side in shape) > USIZE_MAX // 64 for shape in sides.values()):
        return None
    counts = {shape: math.prod(sides[shape]) for shape in sides}
    dtypes = [DTYPES[code] for code in codes]
    bits = map(mul, [counts[shape] for shape in shapes], [dtype.bits for dtype in dtypes])
    if list(bits) != [8 * size_bytes for size_bytes in map(sub, ends, begins)]:
        return None
    infos = map(TensorInfo._make, zip(dtypes, [sides[shape] for shape in shapes], begins, ends, strict=True))
    tensors = dict(zip(names, infos, strict=True))
    return tensors if len(tensors) == len(entries) and METADATA not in tensors else None
