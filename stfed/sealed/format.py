"""The outside of a sealed file: header, two envelope slots, payload. Knows where every byte lies and no key.

    4,096 bytes      length (8, little-endian) and JSON header, space-padded: a valid safetensors file with tensors of bytes
    2 x slot_bytes   "stfed.envelope": slots A and B
    payload_bytes    "stfed.payload": FLOE ciphertext of a plain safetensors file
    digests_bytes    "stfed.digests": hash of each ciphertext segment, in signed files only

The header is a function of suite, file id and lengths, and must equal it byte for byte: there is no second way to write the same file. A
slot is generation (u64), length (u32), envelope, zeros and a SHA-256 over all of that. Two of them let a grant replace the envelope in
place by writing the slot that is not in use, so that a crash at any moment leaves a good one; the checksum finds torn writes, not attacks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Self

from stfed import canonical
from stfed.errors import DecodeError, LocalError, MalformedError, shown
from stfed.sealed.bounds import HEADER_BYTES, HEADER_CAP_BYTES, SLOT_MAX_BYTES, SLOT_MIN_BYTES
from stfed.sealed.fields import fields, hexadecimal, only_fields, unknown
from stfed.sealed.suites import Suite, suite_named
from stfed.wire import Reader, Writer

VERSION = 1
FILE_ID_BYTES = 32

_ENVELOPE, _PAYLOAD, _DIGESTS = "stfed.envelope", "stfed.payload", "stfed.digests"
_CHECKSUM_BYTES = 32
_SLOT_OVERHEAD_BYTES = 8 + 4 + _CHECKSUM_BYTES


@dataclass(frozen=True)
class Layout:
    """Where everything lies in a file.

    Attributes:
        suite: the algorithms.
        file_id: 32 random bytes, new with every sealing.
        slot_bytes: length of one envelope slot, a power of two.
        payload_bytes: length of the FLOE message.
        digests_bytes: length of the list of segment digests, 0 in an unsigned file.
    """

    suite: Suite
    file_id: bytes
    slot_bytes: int
    payload_bytes: int
    digests_bytes: int

    @property
    def payload_offset(self) -> int:
        """Where the FLOE message begins."""
        return HEADER_BYTES + 2 * self.slot_bytes

    @property
    def digests_offset(self) -> int:
        """Where the list of digests begins."""
        return self.payload_offset + self.payload_bytes

    @property
    def file_bytes(self) -> int:
        """The size of the whole file."""
        return self.digests_offset + self.digests_bytes

    def header(self) -> bytes:
        """The first 4,096 bytes of the file."""
        entries: dict[str, Any] = {
            "__metadata__": {"stfed": str(VERSION), "suite": self.suite.name, "file_id": self.file_id.hex()},
        }
        at = 0
        for name, size_bytes in ((_ENVELOPE, 2 * self.slot_bytes), (_PAYLOAD, self.payload_bytes), (_DIGESTS, self.digests_bytes)):
            if size_bytes:
                entries[name] = {"dtype": "U8", "shape": [size_bytes], "data_offsets": [at, at + size_bytes]}
            at += size_bytes
        text = canonical.encode(entries)
        return (HEADER_BYTES - 8).to_bytes(8, "little") + text.ljust(HEADER_BYTES - 8)

    @classmethod
    def parse(cls, first: bytes, file_bytes: int) -> Self:
        """Reads the header and checks it against the size of the file.

        Args:
            first: the first 4,096 bytes of the file, fewer if it has not so many.
            file_bytes: the size of the whole file.

        Raises:
            MalformedError: if this is no sealed file, or one that was cut, extended or written in another way.
            UnsupportedError: if its version, its suite or one of its parts is unknown.
        """
        header_bytes = int.from_bytes(first[:8], "little")
        if len(first) < 8 or header_bytes > min(HEADER_CAP_BYTES, file_bytes - 8):
            raise MalformedError("not a safetensors file: its header runs past the end of the file or over the cap of 100 MB")
        if header_bytes != HEADER_BYTES - 8 or f'"{_ENVELOPE}"'.encode() not in first:
            plain = first[8:9] == b"{"
            if not plain:
                raise MalformedError("not a safetensors file")
            raise MalformedError(
                "not sealed: it looks like a plain safetensors file", hint="any safetensors library reads it; seal it with `stfed seal`"
            )
        parts = canonical.parse(first[8:HEADER_BYTES], "the header")
        metadata = fields(fields(parts, "the header", "__metadata__")["__metadata__"], "the header's metadata", "stfed", "suite", "file_id")
        if metadata["stfed"] != str(VERSION):
            raise unknown(f"version {shown(metadata['stfed'])}")
        suite = suite_named(metadata["suite"])
        names = (_ENVELOPE, _PAYLOAD, *((_DIGESTS,) if suite.hash else ()))
        only_fields(parts, "the header", "__metadata__", *names)
        file_id = hexadecimal(metadata["file_id"], FILE_ID_BYTES, "the file id")
        lengths = [_length(parts[name], name) for name in names]
        layout = cls(suite, file_id, lengths[0] // 2, lengths[1], sum(lengths[2:]))
        if not SLOT_MIN_BYTES <= layout.slot_bytes <= SLOT_MAX_BYTES or layout.slot_bytes & (layout.slot_bytes - 1):
            raise MalformedError(f"an envelope slot of {layout.slot_bytes} bytes is out of bounds")
        if layout.header() != first[:HEADER_BYTES]:
            raise MalformedError("the header is not the canonical one for its own lengths")
        if layout.file_bytes != file_bytes:
            raise MalformedError(f"the file is {file_bytes} bytes long, its header says {layout.file_bytes}: it was cut off or extended")
        return layout


@dataclass(frozen=True)
class Slot:
    """A whole slot's content.

    Attributes:
        generation: 1 for the envelope written at sealing.
        envelope: its canonical JSON.
    """

    generation: int
    envelope: bytes

    def encode(self, slot_bytes: int) -> bytes:
        """The slot, padding and checksum included."""
        body = Writer().u64(self.generation).opaque(self.envelope).getvalue().ljust(slot_bytes - _CHECKSUM_BYTES, b"\0")
        return body + hashlib.sha256(body).digest()

    @classmethod
    def decode(cls, raw: bytes) -> Self | None:
        """The content, or None if the slot was never written, or not to its end.

        Raises:
            MalformedError: if the checksum fits and the content is no slot all the same.
        """
        body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
        if hashlib.sha256(body).digest() != checksum:
            return None
        reader = Reader(body, "envelope slot")
        try:
            slot = cls(reader.u64("generation"), reader.opaque("envelope", max_bytes=len(raw)))
        except DecodeError as error:
            raise MalformedError(error.message) from None
        if any(reader.fixed(reader.remaining, "padding")):
            raise MalformedError("an envelope slot has bytes after its envelope")
        return slot


def slot_bytes_for(envelope_bytes: int) -> int:
    """The smallest slot that holds twice an envelope of this length, so that there is room for grants: a power of two from 64 KiB up."""
    need = envelope_bytes + _SLOT_OVERHEAD_BYTES
    size = max(SLOT_MIN_BYTES, 1 << (2 * need - 1).bit_length())
    if need > SLOT_MAX_BYTES:
        raise LocalError(f"the envelope takes {envelope_bytes} bytes, the largest slot is {SLOT_MAX_BYTES}", hint="name fewer recipients")
    return min(size, SLOT_MAX_BYTES)


def fits(envelope_bytes: int, slot_bytes: int) -> bool:
    """Whether a slot of this size holds an envelope of this length."""
    return envelope_bytes + _SLOT_OVERHEAD_BYTES <= slot_bytes


def newest(slots: tuple[Slot | None, Slot | None]) -> Slot:
    """The slot that counts.

    Raises:
        MalformedError: if neither is whole, or both claim the same generation.
    """
    whole = sorted((slot for slot in slots if slot is not None), key=lambda slot: slot.generation)
    if not whole:
        raise MalformedError("both envelope slots are damaged: nobody can open this file", hint="fetch it again, or restore it from a copy")
    if len({slot.generation for slot in whole}) != len(whole):
        raise MalformedError("both envelope slots claim the same generation")
    return whole[-1]


def _length(entry: Any, name: str) -> int:
    shape = only_fields(entry, f"the header's {name}", "dtype", "shape", "data_offsets")["shape"]
    if not isinstance(shape, list) or len(shape) != 1 or type(shape[0]) is not int or not 0 < shape[0] < 1 << 60:
        raise MalformedError(f"the header's {name} is not a vector of bytes")
    return int(shape[0])
