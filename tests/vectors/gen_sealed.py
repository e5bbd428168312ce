"""Vectors of `stfed.sealed`: two whole sealed files, keys, and a hundred ways to damage a file with the refusal due for each.

Nothing here imports `stfed`. FLOE, the envelope, bech32 and HPKE over X25519 (RFC 9180, with a fixed ephemeral key) are written a second
time, straight from their specifications, so that a vector is a second opinion and not an echo. Only the hybrid stanza is recorded, in
`sealed/hybrid_stanza.txt`: no library lets one choose ML-KEM's randomness.

`cases.json` holds each damaged file as edits of a whole one: bytes at offsets, then a cut, then an appendix; `expect` is the class of the
error, null if the file opens all the same, and `says` a part of its text.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

SEGMENT_BYTES = 4096
SLOT_BYTES = 65536
HEADER_BYTES = 4096
PAYLOAD_AT = HEADER_BYTES + 2 * SLOT_BYTES
FLOE_HEADER_BYTES = 74
SUITE = "floe-aes256gcm"
PROVENANCE = {"round": 7, "parties_asked": 10, "parties_summed": 9, "clip": 1.5, "strategy": "FedAvg", "plain": False, "note": None}
RECORDED = Path(__file__).parent / "sealed" / "hybrid_stanza.txt"

Edit = tuple[int, bytes]
Json = dict[str, Any]


def seed(name: str, size_bytes: int = 32) -> bytes:
    return hashlib.shake_256(b"stfed sealed vectors: " + name.encode()).digest(size_bytes)


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def opaque(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def framed(label: bytes, *parts: bytes) -> bytes:
    return opaque(label) + b"".join(map(opaque, parts))


# Keys: BIP 173 without a length limit, X-Wing's key expansion.


def bech32(prefix: str, data: bytes) -> str:
    bits = "".join(f"{octet:08b}" for octet in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    check = 1
    for value in [ord(x) >> 5 for x in prefix] + [0] + [ord(x) & 31 for x in prefix] + values + [0] * 6:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
            check ^= term if top >> bit & 1 else 0
    values += [(check ^ 1) >> 5 * (5 - at) & 31 for at in range(6)]
    return prefix + "1" + "".join("qpzry9x8gf2tvdw0s3jn54khce6mua7l"[value] for value in values)


def x25519_public(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def hybrid_public(secret: bytes) -> bytes:
    expanded = hashlib.shake_256(secret).digest(96)
    return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).public_key().public_bytes_raw() + x25519_public(expanded[64:])


X25519_SECRET, STRANGER_SECRET, HYBRID_SECRET = seed("x25519"), seed("stranger"), seed("hybrid")


def keys() -> list[Json]:
    entries = []
    for kind, prefix, secret_prefix, public, names in (
        ("x25519", "age", "age-secret-key-", x25519_public, ("x25519", "stranger")),
        ("mlkem768x25519", "age1pq", "age-secret-key-pq-", hybrid_public, ("hybrid",)),
    ):
        for name in names:
            written = bech32(prefix, public(seed(name)))
            letters = base64.b32encode(hashlib.sha256(written.encode()).digest()[:10]).decode().lower()
            fingerprint = "-".join(letters[at : at + 4] for at in (0, 4, 8, 12))
            secret = bech32(secret_prefix, seed(name)).upper()
            entries.append(
                {"name": name, "kind": kind, "seed": seed(name).hex(), "identity": secret, "recipient": written, "fingerprint": fingerprint}
            )
    return entries


# HPKE, RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.

KEM_ID, KDF_ID, AEAD_ID = b"\x00\x20", b"\x00\x01", b"\x00\x03"


def extract(suite_id: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite_id + label + ikm, "sha256")


def expand(suite_id: bytes, prk: bytes, label: bytes, info: bytes, size_bytes: int) -> bytes:
    labeled = size_bytes.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + info
    return hmac.digest(prk, labeled + b"\x01", "sha256")[:size_bytes]


def hpke_seal(public: bytes, ephemeral: bytes, info: bytes, plaintext: bytes) -> bytes:
    enc = x25519_public(ephemeral)
    shared = X25519PrivateKey.from_private_bytes(ephemeral).exchange(X25519PublicKey.from_public_bytes(public))
    kem, suite = b"KEM" + KEM_ID, b"HPKE" + KEM_ID + KDF_ID + AEAD_ID
    secret = expand(kem, extract(kem, b"", b"eae_prk", shared), b"shared_secret", enc + public, 32)
    context = b"\x00" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    schedule = extract(suite, secret, b"secret", b"")
    key, nonce = expand(suite, schedule, b"key", context, 32), expand(suite, schedule, b"base_nonce", context, 12)
    return enc + ChaCha20Poly1305(key).encrypt(nonce, plaintext, b"")


def stanza(kind: str, public: bytes, body: bytes, encapsulated_bytes: int) -> Json:
    tag = hmac.digest(public, body[:encapsulated_bytes], "sha256")[:8]
    return {"kind": kind, "tag": tag.hex(), "body": base64.b64encode(body).decode()}


def x25519_stanza(secret: bytes, info: bytes, file_key: bytes, ephemeral: bytes) -> Json:
    public = x25519_public(secret)
    return stanza("x25519", public, hpke_seal(public, ephemeral, info, file_key), 32)


# FLOE, c2sp.org/FLOE.


def floe_kdf(key: bytes, prefix: bytes, purpose: bytes, aad: bytes, size_bytes: int) -> bytes:
    return hmac.digest(key, prefix + purpose + aad + b"\x01", "sha384")[:size_bytes]


def floe(key: bytes, aad: bytes, plain: bytes, name: str) -> bytes:
    prefix = b"\0\0" + SEGMENT_BYTES.to_bytes(4, "big") + (32).to_bytes(4, "big") + seed(name + " floe iv")
    out = prefix + floe_kdf(key, prefix, b"HEADER_TAG:", aad, 32)
    segment_key = floe_kdf(floe_kdf(key, prefix, b"MESSAGE_KEY:", aad, 48), prefix, b"DEK:" + bytes(8), aad, 32)
    chunk = SEGMENT_BYTES - 32
    count = -(-len(plain) // chunk)
    for position in range(count):
        piece, last = plain[position * chunk : (position + 1) * chunk], position == count - 1
        iv = seed(f"{name} segment {position}", 12)
        ciphertext = AESGCM(segment_key).encrypt(iv, piece, position.to_bytes(8, "big") + (b"\x01" if last else b"\x00"))
        out += (len(piece) + 32 if last else 0xFFFFFFFF).to_bytes(4, "big") + iv + ciphertext
    return out


# The file.


def outer_header(file_id: bytes, slot_bytes: int, payload_bytes: int) -> Json:
    slots = 2 * slot_bytes
    return {
        "__metadata__": {"stfed": "1", "suite": SUITE, "file_id": file_id.hex()},
        "stfed.envelope": {"dtype": "U8", "shape": [slots], "data_offsets": [0, slots]},
        "stfed.payload": {"dtype": "U8", "shape": [payload_bytes], "data_offsets": [slots, slots + payload_bytes]},
    }


def header_page(text: bytes) -> bytes:
    return (HEADER_BYTES - 8).to_bytes(8, "little") + text.ljust(HEADER_BYTES - 8)


def slot(envelope: bytes, generation: int = 1, padding: bytes = b"") -> bytes:
    body = (generation.to_bytes(8, "big") + opaque(envelope) + padding).ljust(SLOT_BYTES - 32, b"\0")
    return body + hashlib.sha256(body).digest()


def key_context(file_id: bytes, provenance: Json) -> tuple[bytes, ...]:
    policy = hashlib.sha256(framed(b"stfed/sealed/policy/1", b"{}")).digest()
    return b"1", SUITE.encode(), file_id, policy, hashlib.sha256(canonical(provenance)).digest(), b"unsigned"


class Sealed:
    """A sealed file in its parts, all randomness drawn from its name."""

    def __init__(self, name: str, plain: bytes, wrap: Callable[[bytes, bytes], list[Json]]) -> None:
        self.file_id, self.file_key = seed(name + " file id"), seed(name + " file key")
        context = key_context(self.file_id, PROVENANCE)
        recipients = wrap(framed(b"stfed/sealed/file-key/1", *context), self.file_key)
        payload_bytes = FLOE_HEADER_BYTES + len(plain) + 32 * -(-len(plain) // (SEGMENT_BYTES - 32))
        recipients_hash = hashlib.sha256(canonical(recipients)).digest()
        lengths = b"".join(value.to_bytes(8, "big") for value in (SLOT_BYTES, SEGMENT_BYTES, payload_bytes))
        self.payload = floe(self.file_key, framed(b"stfed/sealed/payload/1", *context, lengths, recipients_hash), plain, name)
        assert len(self.payload) == payload_bytes
        self.header = outer_header(self.file_id, SLOT_BYTES, payload_bytes)
        self.envelope: Json = {
            "version": 1,
            "suite": SUITE,
            "file_id": self.file_id.hex(),
            "recipients": recipients,
            "policy": {},
            "manifest": {
                "slot_bytes": SLOT_BYTES,
                "segment_bytes": SEGMENT_BYTES,
                "payload_bytes": payload_bytes,
                "floe_header_sha256": hashlib.sha256(self.payload[:FLOE_HEADER_BYTES]).hexdigest(),
                "recipients_sha256": recipients_hash.hex(),
                "digests": None,
                "signers": [],
                "provenance": PROVENANCE,
            },
            "signatures": [],
            "grants": [],
        }

    def file(self) -> bytes:
        return header_page(canonical(self.header)) + slot(canonical(self.envelope)) + bytes(SLOT_BYTES) + self.payload

    def edited(self, change: Callable[[Json], object], *, rehash: bool = False) -> list[Edit]:
        """Slot A with a changed envelope under a good checksum."""
        envelope = json.loads(canonical(self.envelope))
        change(envelope)
        if rehash:
            envelope["manifest"]["recipients_sha256"] = hashlib.sha256(canonical(envelope["recipients"])).hexdigest()
        return self.raw_slot(canonical(envelope))

    def raw_slot(self, envelope: bytes, generation: int = 1, at: int = 0, padding: bytes = b"") -> list[Edit]:
        raw = slot(envelope, generation, padding)
        used = 12 + len(envelope) + len(padding)
        start = HEADER_BYTES + at * SLOT_BYTES
        old_used = 12 + len(canonical(self.envelope))
        return [(start, raw[:used].ljust(old_used, b"\0")), (start + SLOT_BYTES - 32, raw[-32:])]

    def header_edited(self, change: Callable[[Json], object]) -> list[Edit]:
        header = json.loads(canonical(self.header))
        change(header)
        return self.raw_header(canonical(header))

    def raw_header(self, text: bytes) -> list[Edit]:
        return [(8, text.ljust(len(canonical(self.header))))]


def plain_file() -> bytes:
    tensors = {
        "layer.weight": np.arange(2048, dtype=np.float32).reshape(32, 64),
        "layer.bias": np.linspace(-1, 1, 64, dtype=np.float32),
        "steps": np.array(1234, dtype=np.int64),
        "half": np.arange(100, dtype=np.float16),
        "empty": np.zeros((0, 3), dtype=np.uint8),
    }
    return safetensors.numpy.save(tensors, {"made by": "stfed vectors"})


def x25519_file() -> Sealed:
    def wrap(info: bytes, file_key: bytes) -> list[Json]:
        return [x25519_stanza(seed(name), info, file_key, seed(f"ephemeral {name}")) for name in ("x25519", "other reader")]

    return Sealed("one", plain_file(), wrap)


def hybrid_file() -> Sealed:
    def wrap(info: bytes, file_key: bytes) -> list[Json]:
        return [stanza("mlkem768x25519", hybrid_public(HYBRID_SECRET), base64.b64decode(RECORDED.read_bytes()), 1120)]

    return Sealed("hybrid", plain_file(), wrap)


def hybrid_info() -> tuple[bytes, bytes, bytes]:
    """What to record a stanza for: the public key, HPKE's info, and the file key."""
    info = framed(b"stfed/sealed/file-key/1", *key_context(seed("hybrid file id"), PROVENANCE))
    return hybrid_public(HYBRID_SECRET), info, seed("hybrid file key")


def xor(data: bytes, at: int, mask: int = 1) -> Edit:
    return at, bytes([data[at] ^ mask])


def cases() -> list[Json]:
    one = x25519_file()
    data, envelope, header = one.file(), canonical(one.envelope), canonical(one.header)
    payload, count = one.payload, -(-(len(one.payload) - FLOE_HEADER_BYTES) // SEGMENT_BYTES)
    start = [PAYLOAD_AT + FLOE_HEADER_BYTES + position * SEGMENT_BYTES for position in range(count)]
    slot_a, slot_b = HEADER_BYTES, HEADER_BYTES + SLOT_BYTES
    other = Sealed("two", plain_file(), lambda info, key: [x25519_stanza(X25519_SECRET, info, key, seed("ephemeral two"))])
    same_key = x25519_file()
    same_key.payload = floe(one.file_key, b"another file", plain_file(), "three")
    found: list[Json] = []

    def case(
        name: str, expect: str | None, says: str, edits: list[Edit] | None = None, *, cut: int | None = None, add: bytes = b""
    ) -> None:
        written = [[at, replacement.hex()] for at, replacement in edits or []]
        entry = {"name": name, "expect": expect, "says": says, "edits": written, "cut": cut, "add": add.hex()}
        assert name not in [earlier["name"] for earlier in found]
        found.append(entry)

    def field(name: str, value: Any) -> Callable[[Json], object]:
        return lambda envelope: envelope.__setitem__(name, value)

    def manifest(name: str, value: Any) -> Callable[[Json], object]:
        return lambda envelope: envelope["manifest"].__setitem__(name, value)

    def recipient(name: str, value: Any) -> Callable[[Json], object]:
        return lambda envelope: envelope["recipients"][0].__setitem__(name, value)

    case("untouched", None, "")

    # Truncation and extension.
    for cut in (0, 7, 8, 2000, HEADER_BYTES - 1):
        case(f"cut in the header, {cut} bytes", "MalformedError", "not a safetensors file", cut=cut)
    for where, cut in (
        ("at the end of the header", HEADER_BYTES), ("in slot A", slot_a + 100), ("between the slots", slot_b),
        ("before the payload", PAYLOAD_AT), ("in the FLOE header", PAYLOAD_AT + 40), ("before the first segment", start[0]),
        ("between segments", start[1]), ("in a segment", start[1] + 20), ("by the last segment", start[-1]), ("by one byte", len(data) - 1),
    ):  # fmt: skip
        case(f"cut {where}", "MalformedError", "cut off or extended", cut=cut)
    case("a byte too many", "MalformedError", "cut off or extended", add=b"\0")

    # The outer header.
    def length(value: int) -> list[Edit]:
        return [(0, value.to_bytes(8, "little"))]

    case("header length over the file", "MalformedError", "past the end of the file", length(len(data)))
    case("header length over the cap", "MalformedError", "past the end of the file or over the cap", length(100_000_001))
    case("header length 2^64-1", "MalformedError", "past the end of the file", length(2**64 - 1))
    case("header length shorter", "MalformedError", "looks like a plain safetensors file", length(HEADER_BYTES - 16))
    case("no JSON", "MalformedError", "is not JSON", one.raw_header(header.replace(b"{", b"[")))
    case("not UTF-8", "MalformedError", "not UTF-8", one.raw_header(header.replace(b"floe", b"fl\xffe")))
    doubled = header.replace(b'"stfed":"1"', b'"stfed":"1","stfed":"1"')
    case("duplicate key in the header", "MalformedError", "'stfed' occurs twice", one.raw_header(doubled))
    case("header with a space more", "MalformedError", "canonical", one.raw_header(header.replace(b",", b", ", 1)))
    case("header in another order", "MalformedError", "canonical", one.raw_header(json.dumps(one.header, separators=(",", ":")).encode()))
    case("header with a tab for padding", "MalformedError", "canonical", [(HEADER_BYTES - 1, b"\t")])
    case("unknown version", "UnsupportedError", "version '2'", one.header_edited(lambda h: h["__metadata__"].update(stfed="2")))
    case("unknown suite", "UnsupportedError", "suite 'rot13'", one.header_edited(lambda h: h["__metadata__"].update(suite="rot13")))
    case("version is a number", "UnsupportedError", "version 1", one.header_edited(lambda h: h["__metadata__"].update(stfed=1)))
    case("another tensor", "UnsupportedError", "'x' in the header", one.header_edited(lambda h: h.update(x=h["stfed.payload"])))
    case(
        "digests in the header", "UnsupportedError", "'stfed.digests'",
        one.header_edited(lambda h: h.update({"stfed.digests": h["stfed.payload"]})),
    )  # fmt: skip
    case("more metadata", "MalformedError", "canonical", one.header_edited(lambda h: h["__metadata__"].update(x="y")))
    case(
        "file id too short",
        "MalformedError",
        "32 bytes in hexadecimal",
        one.header_edited(lambda h: h["__metadata__"].update(file_id="ab")),
    )
    case(
        "file id in capitals", "MalformedError", "32 bytes in hexadecimal",
        one.header_edited(lambda h: h["__metadata__"].update(file_id=one.file_id.hex().upper())),
    )  # fmt: skip
    case("another dtype", "MalformedError", "canonical", one.header_edited(lambda h: h["stfed.payload"].update(dtype="I8")))
    case(
        "overlapping parts",
        "MalformedError",
        "canonical",
        one.header_edited(lambda h: h["stfed.payload"]["data_offsets"].__setitem__(0, 0)),
    )
    case("payload length negative", "MalformedError", "vector of bytes", one.header_edited(lambda h: h["stfed.payload"].update(shape=[-1])))
    case("payload length true", "MalformedError", "vector of bytes", one.header_edited(lambda h: h["stfed.payload"].update(shape=[True])))
    for slot_bytes in (32768, 65536 + 4096, 8 << 20):
        page = canonical(outer_header(one.file_id, slot_bytes, len(payload)))
        case(f"slots of {slot_bytes} bytes", "MalformedError", "out of bounds", one.raw_header(page))
    case(
        "header of another file", "MalformedError", "different file ids or lengths",
        one.header_edited(lambda h: h["__metadata__"].update(file_id=other.file_id.hex())),
    )  # fmt: skip

    # Slots.
    case("torn slot A, nothing in B", "MalformedError", "both envelope slots are damaged", [(slot_a + 500, bytes(200))])
    case("flipped bit in slot A", "MalformedError", "both envelope slots are damaged", [xor(data, slot_a + 30)])
    case("flipped bit in slot A's padding", "MalformedError", "both envelope slots are damaged", [xor(data, slot_b - 100)])
    case("flipped bit in slot A's checksum", "MalformedError", "both envelope slots are damaged", [xor(data, slot_b - 1)])
    case("torn slot A, good slot B", None, "", [(slot_a + 500, bytes(200)), *one.raw_slot(envelope, at=1)])
    case("flipped bit in the unused slot B", None, "", [xor(data, slot_b + 77)])
    case("torn slot B", None, "", one.raw_slot(envelope, generation=2, at=1)[:1])
    case("two slots of one generation", "MalformedError", "same generation", one.raw_slot(envelope, at=1))
    case("a second generation", "UnsupportedError", "generation 2", one.raw_slot(envelope, generation=2, at=1))
    case("generation zero", "UnsupportedError", "generation 0", one.raw_slot(envelope, generation=0))
    case("padding that is not zero", "MalformedError", "after its envelope", one.raw_slot(envelope, padding=b"\x01"))
    overlong = bytearray(slot(envelope)[:-32])
    overlong[8:12] = (SLOT_BYTES - 40).to_bytes(4, "big")
    overlong_edits = [(slot_a, bytes(overlong[:12])), (slot_b - 32, hashlib.sha256(overlong).digest())]
    case("envelope longer than its slot", "MalformedError", "are left", overlong_edits)

    # The envelope.
    case("envelope is a list", "MalformedError", "not a JSON object", one.raw_slot(b"[]"))
    case("envelope nested deeply", "MalformedError", "nested too deeply", one.raw_slot(b"[" * 1200 + b"]" * 1200))
    case("envelope with a space more", "MalformedError", "canonical", one.raw_slot(envelope.replace(b",", b", ", 1)))
    twice = envelope.replace(b'"policy":{}', b'"policy":{},"policy":{}')
    case("duplicate key in the envelope", "MalformedError", "'policy' occurs twice", one.raw_slot(twice))
    escaped = envelope.replace(b"FedAvg", b"\\u0046edAvg")
    case("needless escape", "MalformedError", "canonical", one.raw_slot(escaped))
    case("lone surrogate", "MalformedError", "not UTF-8", one.raw_slot(envelope.replace(b"FedAvg", b"\\ud800")))
    case("NaN", "MalformedError", "NaN is no JSON number", one.raw_slot(envelope.replace(b'"round":7', b'"round":NaN')))
    case("number without end", "MalformedError", "range of doubles", one.raw_slot(envelope.replace(b'"round":7', b'"round":1e999')))
    case("minus zero", "MalformedError", "-0 is no integer", one.raw_slot(envelope.replace(b'"round":7', b'"round":-0')))
    case("envelope of version 2", "UnsupportedError", "version 2", one.edited(field("version", 2)))
    case("version true", "MalformedError", "canonical", one.edited(field("version", True)))
    case("envelope of another suite", "UnsupportedError", "suite 'none'", one.edited(field("suite", "none")))
    case("unknown field", "UnsupportedError", "'critical' in the envelope", one.edited(field("critical", True)))
    case("unknown field in the manifest", "UnsupportedError", "'x' in the manifest", one.edited(manifest("x", 0)))
    case("field missing", "MalformedError", "not a JSON object with", one.edited(lambda e: e.pop("grants")))
    case("a policy", "UnsupportedError", "a policy", one.edited(field("policy", {"not_after": 0})))
    case("a signature", "UnsupportedError", "signatures", one.edited(field("signatures", [{}])))
    case("a grant", "UnsupportedError", "grants", one.edited(field("grants", [{}])))
    case("a signer", "UnsupportedError", "signers", one.edited(manifest("signers", ["ed25519"])))
    case("segment digests", "UnsupportedError", "segment digests", one.edited(manifest("digests", "sha256")))
    case("other file id", "MalformedError", "different file ids", one.edited(field("file_id", other.file_id.hex())))
    case("other payload length", "MalformedError", "different file ids or lengths", one.edited(manifest("payload_bytes", 5)))
    case("other slot length", "MalformedError", "different file ids or lengths", one.edited(manifest("slot_bytes", 2 * SLOT_BYTES)))
    case("slot length as a float", "MalformedError", "canonical", one.edited(manifest("slot_bytes", float(SLOT_BYTES))))
    case("segments too short", "MalformedError", "segment length", one.edited(manifest("segment_bytes", 64)))
    case("segments too long", "MalformedError", "segment length", one.edited(manifest("segment_bytes", 1 << 30)))
    case("segment length true", "MalformedError", "segment length", one.edited(manifest("segment_bytes", True)))
    case("other segment length", "UnsupportedError", "other parameters", one.edited(manifest("segment_bytes", 8192)))
    case("provenance edited", "TamperedError", "does not open", one.edited(lambda e: e["manifest"]["provenance"].update(parties_summed=10)))
    case("provenance added", "TamperedError", "does not open", one.edited(lambda e: e["manifest"]["provenance"].update(more=1)))
    case("provenance nested", "MalformedError", "'x' is not text", one.edited(lambda e: e["manifest"]["provenance"].update(x=[])))
    case("provenance a list", "MalformedError", "flat mapping", one.edited(manifest("provenance", [])))
    case("provenance over 53 bits", "MalformedError", "53 bits", one.edited(lambda e: e["manifest"]["provenance"].update(x=1 << 53)))
    case("provenance too long", "MalformedError", "at most 32768", one.edited(lambda e: e["manifest"]["provenance"].update(x="x" * 33000)))
    case("other FLOE header hash", "TamperedError", "payload's header", one.edited(manifest("floe_header_sha256", "00" * 32)))

    # Recipients.
    stranger = x25519_stanza(X25519_SECRET, b"another info", one.file_key, seed("ephemeral stranger"))
    foreign = other.envelope["recipients"][0]
    body = base64.b64decode(one.envelope["recipients"][0]["body"])
    flipped = base64.b64encode(body[:-1] + bytes([body[-1] ^ 1])).decode()
    flipped_start = base64.b64encode(bytes([body[0] ^ 1]) + body[1:]).decode()
    case("recipient removed", "TamperedError", "recipient list", one.edited(lambda e: e["recipients"].pop()))
    case("recipient removed, hash too", "TamperedError", "FLOE header", one.edited(lambda e: e["recipients"].pop(), rehash=True))
    case("recipient added", "TamperedError", "recipient list", one.edited(lambda e: e["recipients"].append(foreign)))
    case("recipient added, hash too", "TamperedError", "FLOE header", one.edited(lambda e: e["recipients"].append(foreign), rehash=True))
    case("recipients in another order", "TamperedError", "FLOE header", one.edited(lambda e: e["recipients"].reverse(), rehash=True))
    case("no recipients", "MalformedError", "between 1 and 1024", one.edited(field("recipients", []), rehash=True))
    case("too many recipients", "MalformedError", "between 1 and 1024", one.edited(field("recipients", [0] * 1025), rehash=True))
    case("stanza of another file", "TamperedError", "does not open", one.edited(lambda e: e["recipients"].insert(0, foreign), rehash=True))
    case(
        "stanza under another info",
        "TamperedError",
        "does not open",
        one.edited(lambda e: e["recipients"].insert(0, stranger), rehash=True),
    )
    case("stanza's ciphertext flipped", "TamperedError", "does not open", one.edited(recipient("body", flipped), rehash=True))
    case("stanza's key flipped", "NotARecipientError", "not to", one.edited(recipient("body", flipped_start), rehash=True))
    case("stanza's tag changed", "NotARecipientError", "not to", one.edited(recipient("tag", "00" * 8), rehash=True))
    case("stanza of an unknown kind", "UnsupportedError", "kind 'scrypt'", one.edited(recipient("kind", "scrypt"), rehash=True))
    case("stanza's kind is a number", "MalformedError", "wrong type", one.edited(recipient("kind", 1), rehash=True))
    case("stanza with more fields", "UnsupportedError", "'x' in a recipient", one.edited(recipient("x", 1), rehash=True))
    case(
        "stanza too long",
        "MalformedError",
        "body of 83 bytes",
        one.edited(recipient("body", "AAAA" + flipped[4:-1] + "AAAA="), rehash=True),
    )
    case("stanza not base64", "MalformedError", "not base64", one.edited(recipient("body", "?"), rehash=True))
    stray = flipped[:-2] + chr(ord(flipped[-2]) + 1) + "="
    case("base64 with stray bits", "MalformedError", "canonical base64", one.edited(recipient("body", stray), rehash=True))
    mixed = hybrid_file().envelope["recipients"][0]
    case("both kinds of recipients", "MalformedError", "mixes", one.edited(lambda e: e["recipients"].append(mixed), rehash=True))

    # The payload.
    for what, at in (("parameters", 2), ("iv", 20), ("tag", 60)):
        case(f"flipped bit in the FLOE header's {what}", "TamperedError", "payload's header", [xor(data, PAYLOAD_AT + at)])
    forged = data[PAYLOAD_AT + 10 : PAYLOAD_AT + 42][::-1]
    forged_header = payload[:10] + forged + payload[42:FLOE_HEADER_BYTES]
    case(
        "another FLOE header, hash too", "TamperedError", "FLOE header",
        [(PAYLOAD_AT, forged_header), *one.edited(manifest("floe_header_sha256", hashlib.sha256(forged_header).hexdigest()))],
    )  # fmt: skip
    for position, name in ((0, "first"), (1, "second"), (count - 1, "last")):
        case(
            f"flipped bit in the {name} segment's length",
            "MalformedError",
            f"segment {position} has a wrong length",
            [xor(data, start[position])],
        )
        for what, at in (("iv", 5), ("ciphertext", 16), ("ciphertext's middle", 60), ("tag", -1)):
            end = start[position + 1] if position + 1 < count else len(data)
            place = start[position] + at if at >= 0 else end + at
            case(f"flipped bit in the {name} segment's {what}", "TamperedError", f"segment {position} does not verify", [xor(data, place)])

    def segment(position: int) -> bytes:
        return data[start[position] : start[position] + SEGMENT_BYTES]

    case("segments swapped", "TamperedError", "segment 0 does not verify", [(start[0], segment(1)), (start[1], segment(0))])
    case("segment repeated", "TamperedError", "segment 1 does not verify", [(start[1], segment(0))])
    there = same_key.payload[FLOE_HEADER_BYTES + SEGMENT_BYTES :][:SEGMENT_BYTES]
    case("segment of another file under the same key", "TamperedError", "segment 1 does not verify", [(start[1], there)])
    case("payload of another file", "TamperedError", "payload's header", [(PAYLOAD_AT, other.payload)])

    # The last segment dropped and every length that says so rewritten: caught because the lengths are bound into the FLOE header.
    shorter = len(payload) - (len(data) - start[-1])
    case(
        "last segment dropped, all lengths rewritten", "TamperedError", "lengths were changed",
        [*one.raw_header(canonical(outer_header(one.file_id, SLOT_BYTES, shorter))), *one.edited(manifest("payload_bytes", shorter))],
        cut=start[-1],
    )  # fmt: skip
    # Cut to a length that no number of whole and last segments has.
    odd = FLOE_HEADER_BYTES + SEGMENT_BYTES + 32
    case(
        "an empty last segment", "MalformedError", "no payload is",
        [*one.raw_header(canonical(outer_header(one.file_id, SLOT_BYTES, odd))), *one.edited(manifest("payload_bytes", odd))],
        cut=PAYLOAD_AT + odd,
    )  # fmt: skip
    return found


def generate() -> dict[str, bytes]:
    return {
        "sealed/keys.json": json.dumps(keys(), indent=1).encode() + b"\n",
        "sealed/plain.safetensors": plain_file(),
        "sealed/x25519.safetensors": x25519_file().file(),
        "sealed/hybrid.safetensors": hybrid_file().file(),
        "sealed/cases.json": json.dumps(cases(), indent=1).encode() + b"\n",
    }


if __name__ == "__main__":
    for file, content in generate().items():
        (Path(__file__).parent / file).write_bytes(content)
