"""The other direction: a file read and all of it checked, from `docs/format.md` alone. What is not as it says is an AssertionError."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors.sealed_format import encoding, floe, hpke, keys, stanzas
from tests.vectors.sealed_format.container import HASHES, HEADER_BYTES, NO_POLICY, SUITES, associated_data, context, outer, page
from tests.vectors.sealed_format.encoding import Json, canonical, derive, digest, framed, from_base64, sha256, u64

ENVELOPE_FIELDS = {"grants", "manifest", "recipients", "signatures"}
MANIFEST_FIELDS = {
    *("version", "suite", "file_id", "time", "slot_bytes", "segment_bytes", "payload_bytes", "floe_header_sha256"),
    *("recipients_sha256", "digests_sha256", "signers", "policy", "public", "sealed"),
}
NAMES = {suite: name for name, suite in SUITES.items()}


@dataclass
class Read:
    """What was found: plaintext, statements for recipients, the envelope and its generation, and whether slot B was ever written."""

    plain: bytes
    sealed: Json
    envelope: Json
    generation: int
    both_slots: bool


def read(data: bytes, name: str | None = None, passphrase: str = "") -> Read:
    """Opens a file with the secret key called `name`, or a passphrase."""
    header = json.loads(data[8:HEADER_BYTES])
    slot_bytes = header["stfed.envelope"]["shape"][0] // 2
    slots = [data[HEADER_BYTES + at * slot_bytes :][:slot_bytes] for at in (0, 1)]
    whole = [one for one in slots if one[-32:] == sha256(one[:-32])]
    newest = max(whole, key=lambda one: one[:8])
    generation, length = int.from_bytes(newest[:8], "big"), int.from_bytes(newest[8:12], "big")
    assert not any(newest[12 + length : -32])
    assert all(one in whole or not any(one) for one in slots)
    envelope = canonical_json(newest[12 : 12 + length])
    manifest = envelope["manifest"]
    payload = data[HEADER_BYTES + 2 * slot_bytes :][: manifest["payload_bytes"]]
    digests = data[HEADER_BYTES + 2 * slot_bytes + len(payload) :]
    suite, file_id = manifest["suite"], bytes.fromhex(manifest["file_id"])
    assert data[:HEADER_BYTES] == page(canonical(outer(suite, file_id, slot_bytes, manifest["payload_bytes"], len(digests))))
    assert envelope.keys() == ENVELOPE_FIELDS
    assert manifest.keys() == MANIFEST_FIELDS
    assert (manifest["version"], manifest["slot_bytes"]) == (1, slot_bytes)
    assert manifest["recipients_sha256"] == digest(encoding.RECIPIENTS, canonical(envelope["recipients"])).hex()
    check_room(envelope, slot_bytes)
    check_signatures(envelope)
    check_digests(manifest, payload, digests)
    check_grants(envelope, generation)
    file_key = unwrapped(envelope, name, passphrase)
    plain = decrypted(manifest, file_key, payload)
    sealed = {}
    if manifest["sealed"] is not None:
        key = derive(file_key, encoding.PROVENANCE, file_id)
        sealed = canonical_json(AESGCM(key).decrypt(bytes(12), from_base64(manifest["sealed"]), b""))
    return Read(plain, sealed, envelope, generation, all(any(one) for one in slots))


def canonical_json(data: bytes) -> Json:
    value: Json = json.loads(data)
    assert canonical(value) == data
    return value


def check_room(envelope: Json, slot_bytes: int) -> None:
    """A power of two that holds the first envelope twice, or the largest there is."""
    first = len(canonical({**envelope, "grants": []})) + 8 + 4 + 32
    assert slot_bytes in [65536 << step for step in range(7)]
    assert slot_bytes >= min(2 * first, 4 << 20)


def check_signatures(envelope: Json) -> None:
    manifest = envelope["manifest"]
    assert (manifest["suite"] == SUITES[None]) == (manifest["signers"] == [])
    assert manifest["signers"] or manifest["policy"] == NO_POLICY
    for signer, signature in zip(manifest["signers"], envelope["signatures"], strict=True):
        check_signature(signer, from_base64(signature), framed(encoding.SIGNATURE, canonical(manifest)))


def check_signature(signer: str, signature: bytes, message: bytes) -> None:
    public = keys.bech32_data(signer)
    Ed25519PublicKey.from_public_bytes(public[:32]).verify(signature[: keys.ED25519_BYTES], message)
    assert (len(public), len(signature)) in ((32, 64), (32 + 1952, 64 + 3309))
    if public[32:]:
        MLDSA65PublicKey.from_public_bytes(public[32:]).verify(signature[keys.ED25519_BYTES :], message, keys.CONTEXT)


def check_digests(manifest: Json, payload: bytes, digests: bytes) -> None:
    segment_bytes = manifest["segment_bytes"]
    assert manifest["floe_header_sha256"] == sha256(payload[: floe.HEADER_BYTES]).hex()
    name = NAMES[manifest["suite"]]
    if name is None:
        assert (manifest["digests_sha256"], digests) == (None, b"")
        return
    starts = range(floe.HEADER_BYTES, len(payload), segment_bytes)
    assert digests == b"".join(HASHES[name](payload[start : start + segment_bytes]) for start in starts)
    assert manifest["digests_sha256"] == digest(encoding.DIGESTS, digests).hex()


def check_grants(envelope: Json, generation: int) -> None:
    manifest, grants = envelope["manifest"], envelope["grants"]
    assert generation == 1 + len(grants)
    owners = {sha256(owner.encode()).hex(): owner for owner in manifest["signers"] + manifest["policy"]["owners"]}
    previous = digest(encoding.MANIFEST, canonical(manifest))
    for number, grant in enumerate(grants):
        assert grant.keys() == {"granter", "recipient", "stanza", "time", "previous", "signature"}
        assert grant["previous"] == previous.hex()
        message = framed(
            encoding.GRANT, bytes.fromhex(manifest["file_id"]), digest(encoding.MANIFEST, canonical(manifest)), u64(number + 2),
            bytes.fromhex(grant["previous"]), bytes.fromhex(grant["recipient"]), sha256(canonical(grant["stanza"])),
            owners[grant["granter"]].encode(), grant["time"].encode(),
        )  # fmt: skip
        check_signature(owners[grant["granter"]], from_base64(grant["signature"]), message)
        previous = digest(encoding.CHAIN, previous, canonical(grant))


def unwrapped(envelope: Json, name: str | None, passphrase: str) -> bytes:
    info = framed(encoding.FILE_KEY, *context(envelope["manifest"]))
    if name is None:
        (stanza,) = envelope["recipients"]
        assert (stanza["kind"], stanza["tag"]) == ("argon2id", bytes(8).hex())
        return stanzas.from_passphrase(stanza, info, passphrase)
    encapsulated_bytes = 32 if keys.kind(name) == "x25519" else 1120
    for stanza in [*envelope["recipients"], *(grant["stanza"] for grant in envelope["grants"])]:
        body = from_base64(stanza["body"])
        parts = body[:encapsulated_bytes], body[encapsulated_bytes:]
        if stanza == stanzas.marked(name, *parts):
            return hpke.open_(name, info, *parts)
    raise AssertionError(f"no stanza is marked for {name}")


def decrypted(manifest: Json, file_key: bytes, payload: bytes) -> bytes:
    segment_bytes, aad = manifest["segment_bytes"], associated_data(manifest)
    assert payload[: floe.HEADER_BYTES] == floe.header(file_key, aad, payload[10:42], segment_bytes)
    cipher = AESGCM(floe.segment_key(file_key, aad, payload[:42]))
    plain, starts = b"", range(floe.HEADER_BYTES, len(payload), segment_bytes)
    for position, start in enumerate(starts):
        segment, last = payload[start : start + segment_bytes], position == len(starts) - 1
        assert segment[:4] == (len(segment).to_bytes(4, "big") if last else b"\xff" * 4)
        plain += cipher.decrypt(segment[4:16], segment[16:], floe.position_ad(position, last))
    return plain
