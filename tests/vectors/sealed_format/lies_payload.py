"""Ciphertext: segments moved, dropped, repeated, brought from elsewhere and forged by a recipient; and digests altered."""

from __future__ import annotations

import numpy as np

from tests.vectors.sealed_format import encoding, floe, ghash
from tests.vectors.sealed_format.container import PAYLOAD_AT, SEGMENT_BYTES, Sealed, seal, to_keys
from tests.vectors.sealed_format.damage import (
    MALFORMED,
    TAMPERED,
    flip,
)
from tests.vectors.sealed_format.encoding import digest, sha256
from tests.vectors.sealed_format.scenarios import CHUNK_BYTES, Scenarios, plain_file

FORGED_SEGMENT, FORGED_BLOCK, GARBAGE_BLOCK = 1, 20, 253
"""Where the forgery strikes: weights, and the last whole block of the segment, where other weights turn to noise."""


def forged(file: Sealed) -> tuple[Sealed, bytes]:
    """What a recipient makes who wants one weight to be another: the file under unchanged tags, and the plaintext that it decrypts to."""
    file = file.copy()
    segments = file.segments()
    target = segments[FORGED_SEGMENT]
    prefix = file.payload[: floe.HEADER_BYTES - 32]
    key = floe.segment_key(file.file_key, file.associated_data(), prefix)
    at = FORGED_SEGMENT * CHUNK_BYTES + FORGED_BLOCK * ghash.BLOCK_BYTES
    old, new = file.plain[at : at + ghash.BLOCK_BYTES], np.full(4, 666, np.float32).tobytes()
    change = bytes(a ^ b for a, b in zip(old, new, strict=True))
    ciphertext = ghash.forge(key, target[16:-16], FORGED_BLOCK, change, GARBAGE_BLOCK)
    made_up = bytes(a ^ b for a, b in zip(target[16:-16], ciphertext, strict=True))
    segments[FORGED_SEGMENT] = target[:16] + ciphertext + target[-16:]
    start, stop = FORGED_SEGMENT * CHUNK_BYTES, (FORGED_SEGMENT + 1) * CHUNK_BYTES
    changed = bytes(a ^ b for a, b in zip(file.plain[start:stop], made_up, strict=True))
    return file.with_segments(segments), file.plain[:start] + changed + file.plain[stop:]


def add_segments(scenarios: Scenarios) -> None:
    """In an unsigned file GCM and FLOE refuse; in a signed one the digest does, before anything is decrypted."""
    plain = plain_file()
    for base in ("x25519", "signed"):
        file = scenarios.copy(base)
        signed = bool(file.signers)
        twin = seal(f"twin {base}", plain, to_keys("x25519"), signers=file.signers, file_key=file.file_key)
        segments, foreign = file.segments(), twin.segments()
        verify = TAMPERED if signed else None
        says = "is not the one that was signed" if signed else "does not verify"

        def case(
            name: str, changed: list[bytes], damaged: set[int] | None, base: str = base, says: str = says, verify: str | None = verify,
            expect: str = TAMPERED,
        ) -> None:  # fmt: skip
            data = scenarios.copy(base).with_segments(changed)
            scenarios.add(f"{name}, {base}", base, data, expect, says, verify=verify, damaged=damaged)

        for position in range(len(segments)):
            middle = flip(segments[position], 100)
            case(
                f"flipped bit in segment {position}",
                [*segments[:position], middle, *segments[position + 1 :]],
                {position} if position else None,
            )
            tag = flip(segments[position], len(segments[position]) - 1)
            case(
                f"flipped bit in the tag of segment {position}",
                [*segments[:position], tag, *segments[position + 1 :]],
                {position} if position else None,
            )
        case("flipped bit in a segment's iv", [segments[0], flip(segments[1], 5), segments[2]], {1})
        length = "is not the one that was signed" if signed else "has a wrong length"
        case(
            "a segment's length field",
            [segments[0], flip(segments[1], 3), segments[2]],
            {1},
            says=length,
            expect=TAMPERED if signed else MALFORMED,
        )
        case(
            "last segment's length field", [*segments[:2], flip(segments[2], 3)], {2}, says=length, expect=TAMPERED if signed else MALFORMED
        )
        case("segments exchanged", [segments[1], segments[0], segments[2]], None)
        case("segment repeated", [segments[0], segments[0], segments[2]], {1})
        case("segment of another file under the same key", [segments[0], foreign[1], segments[2]], {1})
        case("last segment of another file under the same key", [*segments[:2], foreign[2]], {2})
        case("all segments of another file under the same key", foreign, None)

        shorter = len(file.payload) - len(segments[-1])
        dropped = scenarios.copy(base).with_segments(segments[:-1])
        dropped.manifest["payload_bytes"] = shorter
        dropped.digests = dropped.digests[:-32]
        says = "signature" if signed else "lengths were changed"
        scenarios.add(f"last segment dropped, all lengths rewritten, {base}", base, dropped, TAMPERED, says, verify=verify)
        cut_middle = scenarios.copy(base).with_segments([segments[0], segments[2]])
        cut_middle.manifest["payload_bytes"] = len(cut_middle.payload)
        cut_middle.digests = cut_middle.digests[:32] + cut_middle.digests[64:]
        scenarios.add(f"middle segment dropped, all lengths rewritten, {base}", base, cut_middle, TAMPERED, says, verify=verify)
        more = scenarios.copy(base).with_segments([*segments[:2], segments[1], segments[2]])
        more.manifest["payload_bytes"] = len(more.payload)
        more.digests = more.digests[:64] + more.digests[32:]
        scenarios.add(f"a segment added, all lengths rewritten, {base}", base, more, TAMPERED, says, verify=verify)

    one = scenarios.copy("x25519")
    odd = floe.HEADER_BYTES + SEGMENT_BYTES + 32  # a length that no number of whole and last segments has
    one.payload = one.payload[:odd]
    one.manifest["payload_bytes"] = odd
    scenarios.add("an empty last segment", "x25519", one, MALFORMED, "no payload is")
    for size_bytes in (1, floe.HEADER_BYTES, floe.HEADER_BYTES + 31):
        one.payload = bytes(size_bytes)
        one.manifest["payload_bytes"] = size_bytes
        scenarios.add(f"a payload of {size_bytes} bytes", "x25519", one, MALFORMED, "no payload is")

    file, plain = forged(scenarios.copy("x25519"))
    scenarios.add("weights changed under unchanged tags, unsigned: nothing can tell", "x25519", file, plain=plain)
    scenarios.add("the same where a signature is asked for", "x25519", file, "UntrustedError", "not signed", trusted=["alice"])
    for base in ("signed", "signed-sha256"):
        file, _ = forged(scenarios.copy(base))
        scenarios.add(
            f"weights changed under unchanged tags, {base}", base, file, TAMPERED, "is not the one that was signed", verify=TAMPERED,
            damaged={FORGED_SEGMENT},
        )  # fmt: skip
        scenarios.add(
            f"weights changed, digests too, {base}", base, list_replaced(file), TAMPERED, "the list of segment digests", verify=TAMPERED
        )
        scenarios.add(
            f"weights changed, digests and manifest too, {base}", base, file.hash_segments(), TAMPERED, "the signature of", verify=TAMPERED
        )


def list_replaced(file: Sealed) -> Sealed:
    """The digests of the segments as they are now, under a manifest that names the old list."""
    changed = file.copy().hash_segments()
    changed.manifest = file.copy().manifest
    return changed


def add_floe_header(scenarios: Scenarios) -> None:
    for base in ("x25519", "signed"):
        verify = TAMPERED if scenarios.files[base].signers else None
        for what, at in (("parameters", 2), ("iv", 20), ("tag", 60)):
            data = flip(scenarios.whole(base), PAYLOAD_AT + at)
            scenarios.add(f"flipped bit in the FLOE header's {what}, {base}", base, data, TAMPERED, "payload's header", verify=verify)
    one = scenarios.copy("x25519")
    for what, header in (
        ("iv", one.payload[:10] + one.payload[10:42][::-1] + one.payload[42 : floe.HEADER_BYTES]),
        ("tag", one.payload[:42] + bytes(32)),
    ):
        changed = one.copy()
        changed.payload = header + one.payload[floe.HEADER_BYTES :]
        changed.manifest["floe_header_sha256"] = sha256(header).hex()
        scenarios.add(f"another {what} in the FLOE header, hash too", "x25519", changed, TAMPERED, "FLOE header")
    swapped = one.copy()
    swapped.payload = seal("whole other payload", one.plain, to_keys("x25519")).payload
    swapped.manifest["floe_header_sha256"] = sha256(swapped.payload[: floe.HEADER_BYTES]).hex()
    scenarios.add("the payload of another file", "x25519", swapped, TAMPERED, "FLOE header")


def add_digests(scenarios: Scenarios) -> None:
    file = scenarios.copy("signed")
    good = file.digests

    def case(name: str, digests: bytes, says: str = "the list of segment digests", expect: str = TAMPERED) -> None:
        changed = scenarios.copy("signed")
        changed.digests = digests
        scenarios.add(name, "signed", changed, expect, says, verify=expect)

    case("a digest altered", flip(good, 40))
    case("digests exchanged", good[32:64] + good[:32] + good[64:])
    case("digests all zero", bytes(len(good)))
    case("digests of the other suite", scenarios.files["signed-sha256"].digests)
    case("digests of another file", seal("other digests", file.plain, to_keys("x25519"), signers=["alice"]).digests)
    case("a digest too few", good[:-32], "bytes of digests", MALFORMED)
    case("a digest too many", good + bytes(32), "bytes of digests", MALFORMED)
    case("half a digest too many", good + bytes(16), "bytes of digests", MALFORMED)

    def signed(name: str, digests: bytes, expect: str, says: str, damaged: set[int] | None = None) -> None:
        """By a sealer who signs what is not so."""
        changed = scenarios.copy("signed")
        changed.digests = digests
        changed.manifest["digests_sha256"] = digest(encoding.DIGESTS, digests).hex()
        scenarios.add(name, "signed", changed.sign(), expect, says, verify=expect, damaged=damaged)

    signed("a digest too few, signed", good[:-32], MALFORMED, "bytes of digests")
    signed("a digest too many, signed", good + bytes(32), MALFORMED, "bytes of digests")
    signed("a wrong digest, signed", flip(good, 70), TAMPERED, "segment 2 is not the one", {2})
    signed("digests of the other suite, signed", b"".join(map(sha256, file.segments())), TAMPERED, "segment 0 is not the one")
    null = scenarios.copy("signed")
    null.manifest["digests_sha256"] = None
    scenarios.add("no digests in a signed manifest", "signed", null.sign(), MALFORMED, "belong to a signed file", verify=MALFORMED)
