import math
import re
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import DecodeError, LocalError
from stfed.wire import Reader, Records, Writer

UINTS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
CAP = 64

# One field: its kind, a value, and how to write and read it.
Field = tuple[str, Any]


def uints(kind: str) -> st.SearchStrategy[Field]:
    return st.integers(0, 256 ** UINTS[kind] - 1).map(lambda value: (kind, value))


FIELDS: st.SearchStrategy[Field] = st.one_of(
    *(uints(kind) for kind in UINTS),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: ("f64", value + 0.0)),
    st.binary(min_size=7, max_size=7).map(lambda value: ("fixed", value)),
    st.binary(max_size=CAP).map(lambda value: ("opaque", value)),
    st.text(max_size=CAP // 4).map(lambda value: ("text", value)),
    st.lists(st.integers(0, 65535), max_size=8).map(lambda value: ("vector", value)),
    st.lists(st.binary(max_size=5), max_size=8).map(lambda value: ("opaques", value)),
    st.lists(st.binary(min_size=300, max_size=300), max_size=3).map(lambda value: ("opaques", value)),
    st.lists(st.binary(min_size=3, max_size=3), max_size=8).map(lambda value: ("records", value)),
)


def write(fields: list[Field]) -> bytes:
    writer = Writer()
    for kind, value in fields:
        if kind == "fixed":
            writer.fixed(value, 7)
        elif kind == "vector":
            writer.vector(value, lambda w, item: w.u16(item))
        elif kind == "opaques":
            writer.vector(value, Writer.opaque)
        elif kind == "records":
            writer.records(Records(b"".join(value), 3, bytes), 3)
        else:
            getattr(writer, kind)(value)
    return writer.getvalue()


def read_one(reader: Reader, kind: str) -> Any:
    if kind == "fixed":
        return reader.fixed(7, "a field")
    if kind in ("opaque", "text"):
        return getattr(reader, kind)("a field", max_bytes=CAP)
    if kind == "vector":
        return reader.vector("a field", lambda r: r.u16("item"), max_items=8, item_min_bytes=2)
    if kind == "opaques":
        return reader.opaques("a field", max_bytes=300, max_items=8)
    if kind == "records":
        return list(reader.records("a field", 3, bytes, max_items=8))
    return getattr(reader, kind)("a field")


def read(data: bytes, kinds: list[str]) -> list[Field]:
    reader = Reader(data, "a message")
    fields = [(kind, read_one(reader, kind)) for kind in kinds]
    reader.end()
    return fields


@given(st.lists(FIELDS, max_size=8))
def test_what_is_written_is_read(fields: list[Field]) -> None:
    assert read(write(fields), [kind for kind, _ in fields]) == fields


@given(st.lists(FIELDS, min_size=1, max_size=5))
def test_every_truncation_is_refused(fields: list[Field]) -> None:
    data, kinds = write(fields), [kind for kind, _ in fields]
    for size in range(len(data)):
        with pytest.raises(DecodeError, match="a message"):
            read(data[:size], kinds)


@given(st.lists(FIELDS, max_size=5), st.binary(min_size=1, max_size=5))
def test_anything_left_over_is_refused(fields: list[Field], rest: bytes) -> None:
    with pytest.raises(DecodeError, match=f"{len(rest)} bytes are left over"):
        read(write(fields) + rest, [kind for kind, _ in fields])


@given(st.binary(max_size=60), st.lists(st.sampled_from([*UINTS, "f64", "fixed", "opaque", "text", "vector"]), max_size=5))
def test_whatever_decodes_encodes_to_the_same_bytes(data: bytes, kinds: list[str]) -> None:
    try:
        fields = read(data, kinds)
    except DecodeError:
        return
    assert write(fields) == data


def test_integers_are_big_endian_and_lengths_are_32_bits() -> None:
    data = Writer().u8(1).u16(2).u32(3).u64(4).opaque(b"ab").text("é").vector([5, 6], lambda w, item: w.u8(item)).fixed(b"z", 1).getvalue()
    assert data.hex() == "01000200000003000000000000000400000002616200000002c3a90000000205067a"


@pytest.mark.parametrize("kind", UINTS)
def test_integers_that_do_not_fit_are_not_written(kind: str) -> None:
    largest = 256 ** UINTS[kind] - 1
    assert len(getattr(Writer(), kind)(largest).getvalue()) == UINTS[kind]
    for value in (-1, largest + 1):
        with pytest.raises(LocalError, match="does not fit"):
            getattr(Writer(), kind)(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_only_finite_numbers_are_written_and_read(value: float) -> None:
    with pytest.raises(LocalError, match="finite"):
        Writer().f64(value)
    with pytest.raises(DecodeError, match="finite"):
        Reader(struct.pack(">d", value)).f64("x")


def test_zero_has_one_encoding() -> None:
    assert Writer().f64(-0.0).getvalue() == bytes(8)
    with pytest.raises(DecodeError, match="one encoding"):
        Reader(struct.pack(">d", -0.0)).f64("x")


@pytest.mark.parametrize("size", [0, 6, 8])
def test_fixed_is_exactly_that_long(size: int) -> None:
    with pytest.raises(LocalError, match="expected 7 bytes"):
        Writer().fixed(bytes(size), 7)


def test_caps_hold_to_the_byte() -> None:
    data = Writer().opaque(bytes(10)).getvalue()
    assert Reader(data).opaque("x", max_bytes=10) == bytes(10)
    for kind in ("opaque", "text"):
        with pytest.raises(DecodeError, match="at most 9 are allowed"):
            getattr(Reader(data), kind)("x", max_bytes=9)
    data = Writer().vector(range(10), lambda w, item: w.u8(item)).getvalue()
    assert Reader(data).vector("x", lambda r: r.u8("i"), max_items=10) == list(range(10))
    with pytest.raises(DecodeError, match="at most 9 are allowed"):
        Reader(data).vector("x", lambda r: r.u8("i"), max_items=9)


@pytest.mark.parametrize(
    "read_huge",
    [
        lambda reader: reader.opaque("x", max_bytes=2**32),
        lambda reader: reader.text("x", max_bytes=2**32),
        lambda reader: reader.vector("x", lambda r: r.u8("i"), max_items=2**32),
        lambda reader: reader.fixed(2**40, "x"),
    ],
    ids=["opaque", "text", "vector", "fixed"],
)
def test_an_announced_size_is_refused_before_it_is_allocated(read_huge: Callable[[Reader], object]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            read_huge(Reader(b"\xff\xff\xff\xff" + bytes(20)))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_vector_that_the_input_cannot_hold_is_refused_before_its_items_are_read() -> None:
    def never(reader: Reader) -> int:
        raise AssertionError("an item was read")

    data = Writer().u32(3).fixed(bytes(8), 8).getvalue()
    with pytest.raises(DecodeError, match="announces 3 items, only 8 bytes"):
        Reader(data).vector("x", never, max_items=3, item_min_bytes=3)


@pytest.mark.parametrize("raw", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"], ids=["byte", "cut", "surrogate", "overlong"])
def test_text_is_strict_utf_8(raw: bytes) -> None:
    with pytest.raises(DecodeError, match="UTF-8"):
        Reader(Writer().opaque(raw).getvalue()).text("x", max_bytes=9)


def test_a_refusal_names_the_message_the_field_and_the_place() -> None:
    reader = Reader(Writer().u32(7).u8(1).getvalue(), "PREPARE")
    reader.u32("round")
    assert reader.remaining == 1
    with pytest.raises(DecodeError, match=r"PREPARE: field 'cohort' at byte 4: needs 4 bytes, 1 are left"):
        reader.u32("cohort")
    assert isinstance(reader.fail("cohort", "is odd"), DecodeError)


def test_what_was_read_is_a_copy_that_later_changes_of_the_input_do_not_reach() -> None:
    data = bytearray(Writer().opaque(b"abc").getvalue())
    read_bytes = Reader(data).opaque("x", max_bytes=3)  # type: ignore[arg-type]
    data[4] = 0
    assert read_bytes == b"abc"


@given(st.lists(st.binary(max_size=3), max_size=6), st.binary(max_size=8), st.integers(0, 3), st.integers(0, 6))
def test_opaques_are_a_vector_of_opaques(items: list[bytes], rest: bytes, cap: int, most: int) -> None:
    """Item for item and refusal for refusal, whether all have one size or not."""
    data = Writer().vector(items, Writer.opaque).getvalue() + rest
    for cut in (len(data), len(data) // 2):
        plain, fast = Reader(data[:cut]), Reader(data[:cut])
        try:
            expected = plain.vector("a", lambda r: r.opaque("a entry", max_bytes=cap), max_items=most, item_min_bytes=4)
        except DecodeError as error:
            with pytest.raises(DecodeError, match=f"^{re.escape(str(error))}$"):
                fast.opaques("a", max_bytes=cap, max_items=most)
        else:
            assert fast.opaques("a", max_bytes=cap, max_items=most) == expected
            assert fast.remaining == plain.remaining


@given(st.lists(st.binary(min_size=2, max_size=2), max_size=6), st.integers(-8, 8), st.integers(-8, 8))
def test_records_are_the_tuple_of_their_items(items: list[bytes], start: int, stop: int) -> None:
    plain, records = tuple(map(int.from_bytes, items)), Records(b"".join(items), 2, int.from_bytes)
    assert (len(records), tuple(records), hash(records)) == (len(plain), plain, hash(plain))
    assert records == plain
    assert plain == records
    assert records[start:stop] == plain[start:stop]
    assert records == Records(records.data, 2, int.from_bytes)
    assert records != (*plain, 0)
    assert records != list(plain)
    if -len(plain) <= start < len(plain):
        assert records[start] == plain[start]
    else:
        with pytest.raises(IndexError):
            records[start]


def test_records_are_whole_and_of_the_size_asked_for_and_show_no_content() -> None:
    for data, size_bytes in ((b"abc", 2), (b"", 0), (b"ab", -1)):
        with pytest.raises(LocalError, match="no whole number of records"):
            Records(data, size_bytes, bytes)
    with pytest.raises(LocalError, match="a record has 2 bytes, 3 are due"):
        Writer().records(Records(b"abcd", 2, bytes), 3)
    with pytest.raises(DecodeError, match="records of no size"):
        Reader(bytes(4)).records("a", 0, bytes, max_items=1)
    assert repr(Records(b"abcd", 2, bytes)) == "Records(2 of 2 bytes)"


def test_looking_ahead_takes_nothing() -> None:
    reader = Reader(b"abc")
    assert (reader.ahead(2), reader.ahead(9), reader.remaining) == (b"ab", b"abc", 3)
    assert reader.fixed(3, "all") == b"abc"
    assert reader.ahead(1) == b""
