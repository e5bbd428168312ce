"""The one codec: fixed big-endian integers, length-prefixed opaque bytes, counted vectors, and nothing left over.

The presentation language is that of TLS (RFC 8446, section 3): every value has exactly one encoding, so equal messages are equal bytes
and a hash of the bytes is a hash of the message. `Reader` refuses truncated input, trailing input and anything over its stated cap
*before* it allocates; every refusal is a `DecodeError` that names the field.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar, overload

from stfed.errors import DecodeError, LocalError

T = TypeVar("T")


class Record(Protocol):
    """What encodes itself to a fixed number of bytes."""

    def encode(self) -> bytes:
        """The bytes, always as many."""
        ...


class Records(Sequence[T], Generic[T]):
    """Records of one size as the bytes they came in: each is decoded when it is looked at. Equals the tuple of all of them.

    A round of n parties with k neighbours has n * k of them on the coordinator, which passes most of them on unread.

    Attributes:
        data: the records, one behind the other.
        size_bytes: of each.
    """

    __slots__ = ("_decode", "data", "size_bytes")

    def __init__(self, data: bytes, size_bytes: int, decode: Callable[[bytes], T]) -> None:
        if size_bytes < 1 or len(data) % size_bytes:
            raise LocalError(f"{len(data)} bytes are no whole number of records of {size_bytes}")
        self.data: bytes = data
        self.size_bytes: int = size_bytes
        self._decode = decode

    def __len__(self) -> int:
        return len(self.data) // self.size_bytes

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[T, ...]: ...
    def __getitem__(self, at: int | slice) -> T | tuple[T, ...]:
        if isinstance(at, slice):
            return tuple(self)[at]
        start = range(0, len(self.data), self.size_bytes)[at]
        return self._decode(self.data[start : start + self.size_bytes])

    def __iter__(self) -> Iterator[T]:
        size_bytes = self.size_bytes
        return (self._decode(self.data[at : at + size_bytes]) for at in range(0, len(self.data), size_bytes))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Records):
            return (self.data, self.size_bytes) == (other.data, other.size_bytes)
        return isinstance(other, tuple) and tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Records({len(self)} of {self.size_bytes} bytes)"


class Writer:
    """Appends fields and returns them as bytes. Every method returns the writer, so that fields can be chained."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def _uint(self, value: int, size_bytes: int) -> Self:
        if not 0 <= value < 1 << (8 * size_bytes):
            raise LocalError(f"{value} does not fit an unsigned integer of {size_bytes} bytes")
        self._parts.append(value.to_bytes(size_bytes, "big"))
        return self

    def u8(self, value: int) -> Self:
        return self._uint(value, 1)

    def u16(self, value: int) -> Self:
        return self._uint(value, 2)

    def u32(self, value: int) -> Self:
        return self._uint(value, 4)

    def u64(self, value: int) -> Self:
        return self._uint(value, 8)

    def f64(self, value: float) -> Self:
        """A finite IEEE 754 double, big-endian. Negative zero is written as zero: one value, one encoding."""
        if not math.isfinite(value):
            raise LocalError(f"{value} is not a finite number")
        self._parts.append(struct.pack(">d", value + 0.0))
        return self

    def fixed(self, data: bytes, size_bytes: int) -> Self:
        """Exactly `size_bytes` bytes, without a length."""
        if len(data) != size_bytes:
            raise LocalError(f"expected {size_bytes} bytes, got {len(data)}")
        self._parts.append(bytes(data))
        return self

    def opaque(self, data: bytes) -> Self:
        """A u32 length, then the bytes."""
        self.u32(len(data))
        self._parts.append(bytes(data))
        return self

    def text(self, value: str) -> Self:
        """UTF-8, as `opaque`."""
        try:
            return self.opaque(value.encode("utf-8"))
        except UnicodeEncodeError:
            raise LocalError("a text has characters that UTF-8 cannot hold (lone surrogates)") from None

    def vector(self, items: Iterable[T], write: Callable[[Self, T], object]) -> Self:
        """A u32 count, then each item as `write` encodes it."""
        items = list(items)
        self.u32(len(items))
        for item in items:
            write(self, item)
        return self

    def u32s(self, values: Sequence[int]) -> Self:
        """A u32 count, then that many u32: what `vector(values, Writer.u32)` writes, in one step."""
        self.u32(len(values))
        try:
            self._parts.append(struct.pack(f">{len(values)}I", *values))
        except struct.error:
            raise LocalError("a value does not fit an unsigned integer of 4 bytes") from None
        return self

    def fixed_vector(self, items: Sequence[bytes], size_bytes: int) -> Self:
        """A u32 count, then each item in exactly `size_bytes` bytes."""
        if any(len(item) != size_bytes for item in items):
            raise LocalError(f"an item of the vector has not {size_bytes} bytes")
        self.u32(len(items))
        self._parts.extend(items)
        return self

    def records(self, items: Sequence[Record] | Records[Any], size_bytes: int) -> Self:
        """A u32 count, then each record: what `fixed_vector` writes of the encoded ones."""
        if not isinstance(items, Records):
            return self.fixed_vector([item.encode() for item in items], size_bytes)
        if items.size_bytes != size_bytes:
            raise LocalError(f"a record has {items.size_bytes} bytes, {size_bytes} are due")
        return self.u32(len(items)).fixed(items.data, len(items.data))

    def getvalue(self) -> bytes:
        return b"".join(self._parts)


class Reader:
    """Takes fields off the front of a byte string; `end()` proves that nothing is left.

    Args:
        data: the encoded message.
        what: the message's name, for errors.
    """

    def __init__(self, data: bytes, what: str = "message") -> None:
        self._data = bytes(data)  # a copy only of what is not `bytes` already
        self._at, self._end = 0, len(self._data)
        self.what = what

    @property
    def remaining(self) -> int:
        return self._end - self._at

    def ahead(self, size_bytes: int) -> bytes:
        """The next bytes, or as many as are left, without taking them."""
        return self._data[self._at : min(self._at + size_bytes, self._end)]

    def fail(self, field: str, why: str) -> DecodeError:
        """A `DecodeError` for this field, for the caller to raise."""
        return DecodeError(f"{self.what}: field {field!r} at byte {self._at}: {why}")

    def _take(self, size_bytes: int, field: str) -> bytes:
        start, stop = self._at, self._at + size_bytes
        if stop > self._end:
            raise self.fail(field, f"needs {size_bytes} bytes, {self.remaining} are left")
        self._at = stop
        return self._data[start:stop]

    def u8(self, field: str) -> int:
        return int.from_bytes(self._take(1, field), "big")

    def u16(self, field: str) -> int:
        return int.from_bytes(self._take(2, field), "big")

    def u32(self, field: str) -> int:
        return int.from_bytes(self._take(4, field), "big")

    def u64(self, field: str) -> int:
        return int.from_bytes(self._take(8, field), "big")

    def f64(self, field: str) -> float:
        raw = self._take(8, field)
        value: float = struct.unpack(">d", raw)[0]
        if not math.isfinite(value) or struct.pack(">d", value + 0.0) != raw:
            raise self.fail(field, "is not a finite number in its one encoding")
        return value

    def fixed(self, size_bytes: int, field: str) -> bytes:
        return self._take(size_bytes, field)

    def opaque(self, field: str, *, max_bytes: int) -> bytes:
        size_bytes = self.u32(field)
        if size_bytes > max_bytes:
            raise self.fail(field, f"is {size_bytes} bytes long, at most {max_bytes} are allowed")
        return self._take(size_bytes, field)

    def text(self, field: str, *, max_bytes: int) -> str:
        raw = self.opaque(field, max_bytes=max_bytes)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(field, "is not UTF-8") from None

    def vector(self, field: str, read: Callable[[Reader], T], *, max_items: int, item_min_bytes: int = 1) -> list[T]:
        """Reads a counted vector; a count that the rest of the input cannot hold is refused before anything is allocated.

        Args:
            field: the field's name, for errors.
            read: reads one item off this reader.
            max_items: the largest count allowed.
            item_min_bytes: the least number of bytes one item takes.
        """
        return [read(self) for _ in range(self._count(field, max_items, item_min_bytes))]

    def u32s(self, field: str, *, max_items: int) -> tuple[int, ...]:
        """The inverse of `Writer.u32s`."""
        count = self._count(field, max_items, 4)
        return struct.unpack(f">{count}I", self._take(4 * count, field))

    def fixed_vector(self, field: str, size_bytes: int, *, max_items: int) -> list[bytes]:
        """The inverse of `Writer.fixed_vector`."""
        count = self._count(field, max_items, size_bytes)
        data = self._take(count * size_bytes, field)
        return [data[at : at + size_bytes] for at in range(0, len(data), size_bytes)]

    def records(self, field: str, size_bytes: int, decode: Callable[[bytes], T], *, max_items: int) -> Records[T]:
        """The inverse of `Writer.records`; `decode` must take any bytes of that size, since it runs when nobody expects a `DecodeError`."""
        if size_bytes < 1:
            raise self.fail(field, "has records of no size")
        count = self._count(field, max_items, size_bytes)
        return Records(self._take(count * size_bytes, field), size_bytes, decode)

    def opaques(self, field: str, *, max_bytes: int, max_items: int) -> list[bytes]:
        """A counted vector of `opaque`s: what `vector(field, ...)` reads of them, without a call for each part."""
        data, end, items = self._data, self._end, list[bytes]()
        count = self._count(field, max_items, 4)
        if 0 < (size := int.from_bytes(self.ahead(4), "big")) <= max_bytes:
            step = 4 + size
            same = self.ahead(count * step)
            if len(same) == count * step and all(same[byte::step] == same[byte : byte + 1] * count for byte in range(4)):
                self._at += len(same)
                return [same[at : at + size] for at in range(4, len(same), step)]  # all of one size, as in a directory
        for _ in range(count):
            start = self._at + 4
            stop = start + int.from_bytes(data[self._at : start], "big")
            if stop > end or stop - start > max_bytes:
                self.opaque(f"{field} entry", max_bytes=max_bytes)  # which says what is wrong
            items.append(data[start:stop])
            self._at = stop
        return items

    def _count(self, field: str, max_items: int, item_min_bytes: int) -> int:
        count = self.u32(field)
        if count > max_items:
            raise self.fail(field, f"has {count} items, at most {max_items} are allowed")
        if count * item_min_bytes > self.remaining:
            raise self.fail(field, f"announces {count} items, only {self.remaining} bytes are left")
        return count

    def end(self) -> None:
        """Refuses left-over bytes."""
        if self.remaining:
            raise DecodeError(f"{self.what}: {self.remaining} bytes are left over after the last field")
