"""The short cut through a header: it answers for what we and safetensors write, and where it answers it is right."""

import json
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given
from hypothesis import strategies as st

from stfed.errors import MalformedError
from stfed.sealed import bulk, inner

TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)
BIG = 1 << 63


def tensor(code: str = "U8", shape: list[int] | None = None, begin: int = 0, end: int = 4) -> str:
    return json.dumps(
        {"dtype": code, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}, separators=(",", ":")
    )


def header(*entries: tuple[str, str]) -> bytes:
    return ("{" + ",".join(f'"{name}":{value}' for name, value in entries) + "}").encode()


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Headers in order, in the usual layout or nearly, whose numbers mostly agree."""
    entries = (
        [("__metadata__", json.dumps(draw(st.dictionaries(TEXTS, TEXTS, max_size=2)), ensure_ascii=False))] if draw(st.booleans()) else []
    )
    at = 0
    for _ in range(draw(st.integers(0, 4))):
        dtype = draw(st.sampled_from(list(inner.DTYPES.values())))
        shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 8, 1 << 33, BIG]), max_size=draw(st.sampled_from([2, 2, 10]))))
        size = int(np.prod([int(side) for side in shape], dtype=object)) * dtype.bits // 8 + draw(st.sampled_from([0] * 9 + [1]))
        name = draw(st.sampled_from(["a", "b", "layer-0", "c{,", "ключ", "__metadata__"]) | TEXTS)
        entries.append((name, tensor(dtype.code, shape, at, at + size)))
        at += size
    return header(*entries) + b" " * draw(st.integers(0, 3))


@given(headers(), st.lists(st.tuples(st.integers(0, 400), st.sampled_from(list(b'{}[],:" \\0-1aF\n'))), max_size=2))
@example(header(("a", tensor()), ("b", tensor(begin=4, end=9))), [])
def test_it_never_says_anything_else_than_the_long_way(raw: bytes, changes: list[tuple[int, int]]) -> None:
    changed = bytearray(raw)
    for at, value in changes:
        if at < len(changed):
            changed[at] = value
    quick = bulk.read(bytes(changed))
    if quick is not None:
        exact = inner._one_by_one(bytes(changed))
        assert quick == exact
        assert list(quick[0]) == list(exact[0])


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt", "config": '{"a": [1, "}"]}', "ключ": "-0"}])
def test_it_answers_for_our_own_headers_and_those_of_safetensors(metadata: dict[str, str] | None) -> None:
    arrays = {f"layer-0.{index}": np.zeros((index % 3, index % 5)[: index % 3], np.float32) for index in range(40)}
    specs = {name: inner.Spec(inner.DTYPES["F32"], array.shape, array.nbytes) for name, array in arrays.items()}
    for data in (inner.build(specs, metadata)[0], safetensors.numpy.save(arrays, metadata)):
        raw = data[8 : 8 + int.from_bytes(data[:8], "little")]
        quick = bulk.read(raw)
        assert quick is not None
        assert quick == inner._one_by_one(raw)
        assert quick[1] == metadata


A, B = ("a", tensor()), ("b", tensor(begin=4, end=8))
GOOD = header(A, B)
SILENT: dict[str, bytes] = {
    "nothing": b"",
    "no brace at the end": GOOD[:-1],
    "a gap instead of the last brace": GOOD[:-1].replace(b'},"b"', b'}x,"b"'),
    "a brace between": GOOD.replace(b'},"b"', b'}{"b"'),
    "two commas": GOOD.replace(b'},"b"', b'},,"b"'),
    "behind the end": GOOD + b"x",
    "white space": GOOD.replace(b":[", b": ["),
    "not UTF-8": GOOD.replace(b'"a"', b'"\xff"'),
    "control characters": GOOD.replace(b'"a"', b'"\n"'),
    "escapes": GOOD.replace(b'"a"', b'"\\u0061"'),
    "the same name twice": header(A, ("a", B[1])),
    "metadata later": header(A, ("__metadata__", "{}")),
    "metadata twice": header(("__metadata__", "{}"), ("__metadata__", "{}"), A),
    "metadata as a tensor": header(("__metadata__", tensor())),
    "metadata as a later tensor": header(A, ("__metadata__", B[1])),
    "metadata of numbers": header(("__metadata__", '{"a":1}'), A),
    "metadata with a key twice": header(("__metadata__", '{"a":"","a":""}'), A),
    "metadata null": header(("__metadata__", "null"), A),
    "metadata broken": b'{"__metadata__":{',
    "another order": header(B, A),
    "a hole": header(A, ("b", tensor(begin=5, end=9))),
    "not from the start": header(B),
    "unknown type": header(("a", tensor("F128"))),
    "wrong size": header(("a", tensor("F32", [2]))),
    "half a byte": header(("a", tensor("F4", [3], 0, 2))),
    "a leading zero": GOOD.replace(b"[0,4]", b"[00,4]"),
    "minus zero": GOOD.replace(b"[0,4]", b"[-0,4]"),
    "a float": GOOD.replace(b"[0,4]", b"[0,4.0]"),
    "a field more": GOOD.replace(b'"shape"', b'"x":1,"shape"'),
    "nine dimensions": header(("a", tensor(shape=[1] * 9, end=1))),
    "21 digits": header(("a", tensor(shape=[10**20], end=10**20))),
    "over 64 bits of bits": header(("a", tensor(shape=[1 << 61], end=1 << 61))),
    "overflow before a zero": header(("a", tensor(shape=[1 << 40, 1 << 40, 0], end=0))),
    "overflow behind a zero": header(("a", tensor(shape=[0, 1 << 40, 1 << 40], end=0))),
    "an empty list of sizes with a comma": GOOD.replace(b"[4]", b"[4,]"),
}  # fmt: skip


@pytest.mark.parametrize("raw", SILENT.values(), ids=SILENT)
def test_it_is_silent_about_everything_unusual(raw: bytes) -> None:
    assert bulk.read(GOOD) is not None
    assert bulk.read(raw) is None


def test_what_it_is_silent_about_can_still_be_right() -> None:
    for name in ("white space", "escapes", "another order", "a field more", "nine dimensions", "overflow behind a zero", "metadata null"):
        raw = SILENT[name]
        end = max(info.end for info in inner._one_by_one(raw)[0].values())
        data = len(raw).to_bytes(8, "little") + raw + bytes(end)
        assert inner.parse(lambda start, stop, data=data: data[start:stop], len(data)).data_bytes == end  # type: ignore[misc]


def test_a_header_made_to_cost_is_refused_in_time() -> None:
    raw: Any = b'{"a":{"dtype":"U8","shape":[' + b"18446744073709551615," * 200_000 + b'1],"data_offsets":[0,4]}}'
    with pytest.raises(MalformedError, match="64 bits can count"):
        inner.parse(lambda start, stop: (len(raw).to_bytes(8, "little") + raw)[start:stop], 8 + len(raw) + 4)
