"""Damage to lengths, to the outer header and to slots."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from tests.vectors.sealed_format import floe
from tests.vectors.sealed_format.container import HEADER_BYTES, PAYLOAD_AT, SEGMENT_BYTES, SLOT_BYTES, outer, page, slot
from tests.vectors.sealed_format.damage import (
    MALFORMED,
    SLOT_A,
    SLOT_B,
    UNSUPPORTED,
    changed,
    flip,
    overwrite,
    within,
)
from tests.vectors.sealed_format.encoding import Json, canonical
from tests.vectors.sealed_format.scenarios import Scenarios


def add_truncation(scenarios: Scenarios) -> None:
    for base in ("x25519", "signed"):
        data, parts = scenarios.whole(base), scenarios.copy(base)
        start = PAYLOAD_AT + floe.HEADER_BYTES
        last = start + (len(parts.segments()) - 1) * SEGMENT_BYTES
        digests_at = PAYLOAD_AT + len(parts.payload)
        for cut in (0, 7, 8, 2000, HEADER_BYTES - 1):
            scenarios.add(f"{base} cut in the header, {cut} bytes", base, data[:cut], MALFORMED, "not a safetensors file", verify=MALFORMED)
        ends = {
            "at the end of the header": HEADER_BYTES,
            "in slot A": SLOT_A + 100,
            "between the slots": SLOT_B,
            "before the payload": PAYLOAD_AT,
            "in the FLOE header": PAYLOAD_AT + 40,
            "before the first segment": start,
            "between segments": start + SEGMENT_BYTES,
            "in a segment": start + SEGMENT_BYTES + 20,
            "by the last segment": last,
            "by one byte": len(data) - 1,
        }
        if parts.digests:
            ends.update({"before the digests": digests_at, "between digests": digests_at + 32})
        for where, cut in ends.items():
            scenarios.add(f"{base} cut {where}", base, data[:cut], MALFORMED, "cut off or extended", verify=MALFORMED)
        scenarios.add(f"{base} with a byte too many", base, data + b"\0", MALFORMED, "cut off or extended", verify=MALFORMED)
    digest_more = scenarios.whole("signed") + bytes(32)
    scenarios.add("signed with 32 bytes too many", "signed", digest_more, MALFORMED, "cut off or extended", verify=MALFORMED)


def add_header(scenarios: Scenarios) -> None:
    data, one = scenarios.whole("x25519"), scenarios.copy("x25519")
    header, payload_bytes = canonical(one.header()), len(one.payload)

    def raw(name: str, expect: str, says: str, text: bytes) -> None:
        scenarios.add(name, "x25519", one.file(header=page(text)), expect, says)

    def edited(name: str, expect: str, says: str, change: Callable[[Json], object]) -> None:
        raw(name, expect, says, canonical(changed(one.header(), change)))

    for name, length in (
        ("header length over the file", len(data)),
        ("header length over the cap", 100_000_001),
        ("header length 2^64-1", 2**64 - 1),
    ):
        scenarios.add(
            name, "x25519", overwrite(data, 0, length.to_bytes(8, "little")), MALFORMED, "past the end of the file or over the cap"
        )
    shorter = overwrite(data, 0, (HEADER_BYTES - 16).to_bytes(8, "little"))
    scenarios.add("header length shorter", "x25519", shorter, MALFORMED, "looks like a plain safetensors file")
    scenarios.add("a plain file in its place", "signed", one.plain, MALFORMED, "looks like a plain safetensors file", verify=MALFORMED)
    raw("no JSON", MALFORMED, "is not JSON", header.replace(b"{", b"["))
    raw("not UTF-8", MALFORMED, "not UTF-8", header.replace(b"floe", b"fl\xffe"))
    raw("duplicate key in the header", MALFORMED, "'stfed' occurs twice", header.replace(b'"stfed":"1"', b'"stfed":"1","stfed":"1"'))
    raw("header with a space more", MALFORMED, "canonical", header.replace(b",", b", ", 1))
    backwards = dict(reversed(one.header().items()))
    raw("header in another order", MALFORMED, "canonical", json.dumps(backwards, separators=(",", ":")).encode())
    raw("header with an escape", MALFORMED, "canonical", header.replace(b'"U8"', b'"\\u00558"', 1))
    scenarios.add("header with a tab for padding", "x25519", overwrite(data, HEADER_BYTES - 1, b"\t"), MALFORMED, "canonical")
    edited("unknown version", UNSUPPORTED, "version '2'", within("__metadata__", stfed="2"))
    edited("unknown suite", UNSUPPORTED, "suite 'rot13'", within("__metadata__", suite="rot13"))
    edited("suite is a number", UNSUPPORTED, "suite 1", within("__metadata__", suite=1))
    edited("version is a number", UNSUPPORTED, "version 1", within("__metadata__", stfed=1))
    edited("another tensor", UNSUPPORTED, "'x' in the header", lambda h: h.update(x=h["stfed.payload"]))
    edited("digests in an unsigned header", UNSUPPORTED, "'stfed.digests'", lambda h: h.update({"stfed.digests": h["stfed.payload"]}))
    edited("more metadata", MALFORMED, "canonical", within("__metadata__", x="y"))
    edited("metadata missing", MALFORMED, "__metadata__", lambda h: h.pop("__metadata__"))
    edited("file id too short", MALFORMED, "32 bytes in hexadecimal", within("__metadata__", file_id="ab"))
    capitals = one.file_id.hex().upper()
    edited("file id in capitals", MALFORMED, "32 bytes in hexadecimal", within("__metadata__", file_id=capitals))
    edited("another dtype", MALFORMED, "canonical", within("stfed.payload", dtype="I8"))
    edited("overlapping parts", MALFORMED, "canonical", lambda h: h["stfed.payload"]["data_offsets"].__setitem__(0, 0))
    edited(
        "a hole between parts",
        MALFORMED,
        "canonical",
        within("stfed.payload", data_offsets=[2 * SLOT_BYTES + 1, 2 * SLOT_BYTES + 1 + payload_bytes]),
    )
    edited("more fields in a tensor", UNSUPPORTED, "'x' in the header's stfed.payload", within("stfed.payload", x=1))
    for name, shape in (
        ("negative", [-1]),
        ("true", [True]),
        ("zero", [0]),
        ("a float", [float(payload_bytes)]),
        ("two-dimensional", [1, payload_bytes]),
    ):
        edited(f"payload length {name}", MALFORMED, "vector of bytes", within("stfed.payload", shape=shape))
    for slot_bytes in (32768, 65536 + 4096, 8 << 20):
        text = canonical(outer(one.suite, one.file_id, slot_bytes, payload_bytes, 0))
        raw(f"slots of {slot_bytes} bytes", MALFORMED, "out of bounds", text)
    other = scenarios.files["signed"].file_id.hex()
    edited("header of another file", MALFORMED, "different suites, file ids or lengths", within("__metadata__", file_id=other))
    signed = scenarios.copy("signed")
    other_suite = page(canonical(changed(signed.header(), within("__metadata__", suite="floe-aes256gcm-sha256"))))
    scenarios.add(
        "suite of the other digest in the header",
        "signed",
        signed.file(header=other_suite),
        MALFORMED,
        "different suites",
        verify=MALFORMED,
    )
    no_digests = page(canonical(changed(signed.header(), lambda h: h.pop("stfed.digests"))))
    scenarios.add(
        "header of a signed file without digests", "signed", signed.file(header=no_digests), MALFORMED, "stfed.digests", verify=MALFORMED
    )


def add_slots(scenarios: Scenarios) -> None:
    data, one = scenarios.whole("x25519"), scenarios.copy("x25519")
    envelope = canonical(one.envelope())
    damaged = "both envelope slots are damaged"

    def case(name: str, content: bytes, expect: str = "ok", says: str = "") -> None:
        scenarios.add(name, "x25519", content, expect, says)

    torn = overwrite(data, SLOT_A + 500, bytes(200))
    case("torn slot A, nothing in B", torn, MALFORMED, damaged)
    case("flipped bit in slot A", flip(data, SLOT_A + 30), MALFORMED, damaged)
    case("flipped bit in slot A's padding", flip(data, SLOT_B - 100), MALFORMED, damaged)
    case("flipped bit in slot A's checksum", flip(data, SLOT_B - 1), MALFORMED, damaged)
    case("torn slot A, good slot B", overwrite(torn, SLOT_B, slot(envelope, 1)))
    case("flipped bit in the unused slot B", flip(data, SLOT_B + 77))
    case("torn slot B", overwrite(data, SLOT_B, slot(envelope, 2)[:-32] + bytes(32)))
    case("two slots of one generation", one.file(b=slot(envelope, 1)), MALFORMED, "same generation")
    case("a second generation without a grant", one.file(b=slot(envelope, 2)), MALFORMED, "generation 2 has 0 grants")
    case("generation zero", one.file(a=slot(envelope, 0)), MALFORMED, "generation 0 has 0 grants")
    case("generation 2^64-1", one.file(b=slot(envelope, 2**64 - 1)), MALFORMED, "has 0 grants")
    case("padding that is not zero", one.file(a=slot(envelope, 1, b"\x01")), MALFORMED, "after its envelope")
    case("good slot A, slot B with a good checksum over rubbish", one.file(b=slot(b"rubbish", 2)), MALFORMED, "the envelope is not JSON")
    overlong = bytearray(slot(envelope, 1)[:-32])
    overlong[8:12] = (SLOT_BYTES - 40).to_bytes(4, "big")
    case("envelope longer than its slot", one.file(a=bytes(overlong) + hashlib.sha256(overlong).digest()), MALFORMED, "are left")
