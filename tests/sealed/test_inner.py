"""The header inside: accepted exactly where safetensors accepts it, aligned, and never trusted."""

import json
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import LocalError, MalformedError
from stfed.sealed import inner
from stfed.sealed.errors import TensorError

NAMES = st.text(max_size=8)
SHAPES = st.lists(st.integers(0, 4), max_size=3)


def parse(data: bytes) -> inner.Header:
    return inner.parse(lambda start, stop: data[start:stop], len(data))


def a_file(header: Any, data_bytes: int) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data_bytes)


def tensor(code: str = "U8", shape: list[int] | None = None, begin: int = 0, end: int = 4) -> dict[str, Any]:
    return {"dtype": code, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


TENSORS = st.dictionaries(NAMES, st.tuples(st.sampled_from(list(inner.DTYPES)), SHAPES), max_size=6)
METADATA = st.none() | st.dictionaries(NAMES, NAMES)


@given(TENSORS, METADATA)
def test_what_is_built_is_what_safetensors_reads(tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None) -> None:
    specs = {}
    for name, (code, shape) in tensors.items():
        bits = inner.DTYPES[code].bits * int(np.prod(shape, dtype=int))
        if bits % 8 == 0 and name != "__metadata__":
            specs[name] = inner.Spec(inner.DTYPES[code], tuple(shape), bits // 8)
    try:
        head, order = inner.build(specs, metadata)
    except LocalError:  # a lone surrogate
        return
    assert len(head) % 64 == 0
    data = head + bytes(sum(spec.size_bytes for spec in specs.values()))
    stock = dict(safetensors.deserialize(data))
    ours = parse(data)
    assert list(ours.tensors) == order
    assert ours.data_start == len(head)
    assert ours.metadata == metadata
    assert {name: (part["dtype"], part["shape"]) for name, part in stock.items()} == {
        name: (info.dtype.code, list(info.shape)) for name, info in ours.tensors.items()
    }
    for name, info in ours.tensors.items():  # every tensor is aligned for its type, however small those before it
        assert info.begin % max(1, inner.DTYPES[info.dtype.code].bits // 8) == 0 or info.dtype.bits % 8, name


@given(TENSORS, METADATA)
def test_the_text_is_what_a_json_library_writes(tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None) -> None:
    specs = {name: inner.Spec(inner.DTYPES[code], tuple(shape), 3) for name, (code, shape) in tensors.items() if name != "__metadata__"}
    try:
        head, order = inner.build(specs, metadata)
    except LocalError:  # a lone surrogate
        return
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    for place, name in enumerate(order):
        code, shape = tensors[name]
        entries[name] = {"dtype": code, "shape": shape, "data_offsets": [3 * place, 3 * place + 3]}
    assert head[8:].rstrip(b" ") == json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_order_is_that_of_safetensors() -> None:
    arrays: dict[str, Any] = {"b": np.zeros(3, np.uint8), "a": np.zeros(2, np.float16), "z": np.zeros(1, np.int64), "c": np.zeros(5, bool)}
    specs = {name: inner.Spec(inner.dtype_named(array.dtype.name), array.shape, array.nbytes) for name, array in arrays.items()}
    stock = parse(safetensors.numpy.save(arrays))
    assert inner.build(specs, None)[1] == list(stock.tensors) == ["z", "a", "b", "c"]


A_BYTE = b'{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
BROKEN: list[tuple[str, bytes, str]] = [
    ("empty", b"", "shorter than 8 bytes"),
    ("cut length", b"1234567", "shorter than 8 bytes"),
    ("checkpoint of torch.save", b"PK\x03\x04\0\0\x08\x08\0\0", "looks like a checkpoint of torch.save"),
    ("length over the end", (9).to_bytes(8, "little") + b"{}      ", "over its end"),
    ("length over the cap", (100_000_001).to_bytes(8, "little") + b"{}", "over its end or the cap"),
    ("length of 2^64-1", b"\xff" * 8 + b"{}", "over its end"),
    ("no brace", a_file(b" {}", 0), "begin with"),
    ("list", a_file(b"[]", 0), "begin with"),
    ("no JSON", a_file(b"{", 0), "not JSON"),
    ("duplicate names", a_file(b'{"a":' + A_BYTE + b',"a":' + A_BYTE + b"}", 1), "occurs twice"),
    ("duplicate fields", a_file(b'{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1), "occurs twice"),
    ("hole at the start", a_file({"a": tensor(begin=1, end=5)}, 5), "must not overlap or have holes"),
    ("hole between", a_file({"a": tensor(end=4), "b": tensor(begin=5, end=9)}, 9), "must not overlap or have holes"),
    ("overlap", a_file({"a": tensor(end=4), "b": tensor(begin=3, end=7)}, 7), "must not overlap or have holes"),
    ("same data twice", a_file({"a": tensor(), "b": tensor()}, 4), "must not overlap or have holes"),
    ("hole at the end", a_file({"a": tensor()}, 5), "describes 4 bytes of data, the file has 5"),
    ("data missing", a_file({"a": tensor()}, 3), "describes 4 bytes of data, the file has 3"),
    ("backwards", a_file({"a": tensor(shape=[4], begin=4, end=0)}, 4), "no range"),
    ("three offsets", a_file({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4, 4]}}, 4), "no range"),
    ("float offsets", a_file({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4.0]}}, 4), "no range"),
    ("negative shape", a_file({"a": tensor(shape=[-4])}, 4), "no list of sizes"),
    ("boolean shape", a_file({"a": tensor(shape=[True, 4])}, 4), "no list of sizes"),
    ("shape over 64 bits", a_file({"a": tensor(shape=[1 << 64])}, 4), "no list of sizes"),
    ("product over 64 bits", a_file({"a": tensor(shape=[1 << 40, 1 << 40])}, 4), "64 bits can count"),
    ("bits over 64 bits", a_file({"a": tensor(shape=[1 << 61])}, 4), "64 bits can count"),
    ("overflow before a zero", a_file({"a": tensor(shape=[1 << 40, 1 << 40, 0], end=0)}, 0), "64 bits can count"),
    ("wrong size", a_file({"a": tensor("F32", [2])}, 4), "4 bytes of data, its dtype and shape say 8"),
    ("half a byte", a_file({"a": tensor("F4", [3], end=2)}, 2), "dtype and shape say 1.5"),
    ("unknown dtype", a_file({"a": tensor("F128", [4])}, 4), "unknown dtype 'F128'"),
    ("no dtype", a_file({"a": {"shape": [4], "data_offsets": [0, 4]}}, 4), "lacks dtype"),
    ("no object", a_file({"a": 1}, 0), "lacks dtype"),
    ("metadata of numbers", a_file({"__metadata__": {"a": 1}}, 0), "map text to text"),
    ("metadata a list", a_file({"__metadata__": []}, 0), "map text to text"),
    ("minus zero", a_file(b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[-0,4]}}', 4), "-0"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "says"), [(data, says) for _, data, says in BROKEN], ids=[name for name, _, _ in BROKEN])
def test_refused_here_and_there(data: bytes, says: str) -> None:
    with pytest.raises(MalformedError, match=says):
        parse(data)
    if b" {}" in data:  # its README demands the brace, its parser does not
        return
    if says == "occurs twice" and data.count(b'"a"') == 2:  # its README forbids them, its parser takes the last
        return
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(data)


MUTATIONS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=4)


@given(MUTATIONS, st.integers(-3, 3))
def test_never_accepted_where_safetensors_refuses(mutations: list[tuple[int, int]], longer: int) -> None:
    header = {
        "__metadata__": {"k": "v"},
        "a": tensor("F32", [2, 2], 0, 16),
        "b\n": tensor("BF16", [0, 3], 16, 16),
        "c": tensor("U8", [3], 16, 19),
    }
    data = bytearray(a_file(header, 19 + longer))
    for at, value in mutations:
        if at < len(data):
            data[at] = value
    try:
        ours = parse(bytes(data))
    except MalformedError:
        return
    stock = {name: (part["dtype"], tuple(part["shape"])) for name, part in safetensors.deserialize(bytes(data))}
    assert stock == {name: (info.dtype.code, info.shape) for name, info in ours.tensors.items()}


def test_nothing_but_the_header_is_read_and_its_length_first() -> None:
    asked: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return data[start:stop]

    data = a_file({"a": tensor()}, 4)
    inner.parse(read, len(data))
    assert asked == [(0, 8), (8, len(data) - 4)]
    asked.clear()
    data = (1 << 40).to_bytes(8, "little")
    with pytest.raises(MalformedError):
        inner.parse(read, len(data))
    assert asked == [(0, 8)]


def test_what_cannot_be_built() -> None:
    spec = inner.Spec(inner.DTYPES["U8"], (), 1)
    cases: list[tuple[Any, Any, type[Exception], str]] = [
        ({"__metadata__": spec}, None, LocalError, "may be called"),
        ({"\ud800": spec}, None, LocalError, "not Unicode"),
        ({}, {"a": "\ud800"}, LocalError, "not Unicode"),
        ({}, {"a": 1}, inner.WrongTypeError, "text to text"),
        ({}, {1: "a"}, TypeError, "text to text"),
        ({}, "text", TypeError, "text to text"),
        ({1: spec}, None, TypeError, "a tensor's name is text, int is not"),
        ({"a": spec, None: spec}, None, TypeError, "NoneType is not"),
    ]
    for specs, metadata, error, says in cases:
        with pytest.raises(error, match=says):
            inner.build(specs, metadata)
    with pytest.raises(TensorError, match='Unknown dtype "complex128"'):
        inner.dtype_named("complex128")


def test_a_sealed_file_is_not_sealed_again() -> None:
    with pytest.raises(MalformedError, match="sealed already"):
        inner.refuse_sealed(parse(a_file({"stfed.envelope": tensor()}, 4)))
