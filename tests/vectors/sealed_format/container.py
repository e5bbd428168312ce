"""A sealed file in its parts: outer header, slots, envelope, payload, digests."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors.sealed_format import encoding, floe, keys, stanzas
from tests.vectors.sealed_format.encoding import Json, canonical, derive, digest, framed, opaque, seed, sha256, to_base64, u64

HEADER_BYTES = 4096
SLOT_BYTES = 65536
SEGMENT_BYTES = 4096
PAYLOAD_AT = HEADER_BYTES + 2 * SLOT_BYTES
SUITES: dict[str | None, str] = {None: "floe-aes256gcm", "blake3": "floe-aes256gcm-blake3", "sha256": "floe-aes256gcm-sha256"}
HASHES: dict[str, Callable[[bytes], bytes]] = {"blake3": lambda data: blake3(data).digest(), "sha256": sha256}
NO_POLICY: Json = {"not_after": None, "not_before": None, "owners": [], "purposes": [], "readers": []}
STATED: Json = {"round": 7, "parties_asked": 10, "parties_summed": 9, "clip": 1.5, "strategy": "FedAvg", "plain": False, "note": None}

Wrap = Callable[[bytes, bytes], list[Json]]


def outer(suite: str, file_id: bytes, slot_bytes: int, payload_bytes: int, digests_bytes: int) -> Json:
    """The outer header as JSON."""
    header: Json = {"__metadata__": {"file_id": file_id.hex(), "stfed": "1", "suite": suite}}
    at = 0
    for name, size_bytes in (("envelope", 2 * slot_bytes), ("payload", payload_bytes), ("digests", digests_bytes)):
        if size_bytes:
            header[f"stfed.{name}"] = {"data_offsets": [at, at + size_bytes], "dtype": "U8", "shape": [size_bytes]}
        at += size_bytes
    return header


def page(text: bytes) -> bytes:
    return (HEADER_BYTES - 8).to_bytes(8, "little") + text.ljust(HEADER_BYTES - 8)


def slot(envelope: bytes, generation: int, padding: bytes = b"") -> bytes:
    body = (u64(generation) + opaque(envelope) + padding).ljust(SLOT_BYTES - 32, b"\0")
    return body + hashlib.sha256(body).digest()


def to_keys(*names: str) -> Wrap:
    """Wraps for these keys; each ephemeral key is named after what it is for, so that none is used twice."""
    return lambda info, key: [stanzas.to_key(name, info, key, f"ephemeral {name} {sha256(info + key).hex()}") for name in names]


def to_passphrase(passphrase: str = stanzas.PASSPHRASE, cost: stanzas.Cost = stanzas.COST) -> Wrap:
    return lambda info, key: [stanzas.to_passphrase(info, key, f"passphrase {sha256(key).hex()}", passphrase=passphrase, cost=cost)]


@dataclass
class Sealed:
    """What `file()` writes; every part may be changed first, to make files that no honest writer makes."""

    name: str
    plain: bytes
    digest: str | None
    signers: tuple[str, ...]
    file_id: bytes
    file_key: bytes
    manifest: Json
    recipients: list[Json]
    payload: bytes
    digests: bytes
    signatures: list[str] = field(default_factory=list)
    grants: list[Json] = field(default_factory=list)
    history: list[bytes] = field(default_factory=list)

    @property
    def suite(self) -> str:
        return SUITES[self.digest]

    def copy(self) -> Self:
        return copy.deepcopy(self)

    # What things hang on.

    def context(self) -> tuple[bytes, ...]:
        return context(self.manifest)

    def associated_data(self) -> bytes:
        return associated_data(self.manifest)

    def manifest_hash(self) -> bytes:
        return digest(encoding.MANIFEST, canonical(self.manifest))

    def segments(self) -> list[bytes]:
        body = self.payload[floe.HEADER_BYTES :]
        return [body[at : at + SEGMENT_BYTES] for at in range(0, len(body), SEGMENT_BYTES)]

    # Steps of sealing, for those who change a part and then make the rest agree.

    def with_segments(self, segments: Sequence[bytes]) -> Self:
        self.payload = self.payload[: floe.HEADER_BYTES] + b"".join(segments)
        return self

    def hash_segments(self) -> Self:
        """Digests of the segments as they are now, and the manifest's hash of them."""
        if self.digest:
            self.digests = b"".join(map(HASHES[self.digest], self.segments()))
            self.manifest["digests_sha256"] = digest(encoding.DIGESTS, self.digests).hex()
        return self

    def hash_recipients(self) -> Self:
        self.manifest["recipients_sha256"] = digest(encoding.RECIPIENTS, canonical(self.recipients)).hex()
        return self

    def sign(self, *signers: str) -> Self:
        """Signs the manifest as it is now, by others than its signers if any are named."""
        names = signers or self.signers
        self.signatures = [to_base64(keys.sign(name, encoding.SIGNATURE, canonical(self.manifest))) for name in names]
        return self

    def grant(
        self,
        granter: str,
        recipient: str,
        *,
        by: str | None = None,
        time: str = "2026-03-01T12:00:00Z",
        generation: int | None = None,
        previous: bytes | None = None,
        stanza: Json | None = None,
        manifest_hash: bytes | None = None,
    ) -> Self:
        """One more grant; the keywords are for wrong ones. `by` signs in the granter's place."""
        self.history.append(canonical(self.envelope()))
        generation = generation or 2 + len(self.grants)
        previous = self.chain() if previous is None else previous
        info = framed(encoding.FILE_KEY, *self.context())
        stanza = stanza or stanzas.to_key(recipient, info, self.file_key, f"{self.name} grant {len(self.grants)} {recipient}")
        recipient_hash = sha256(keys.written(recipient).encode())
        signature = keys.sign(
            by or granter, encoding.GRANT, self.file_id, manifest_hash or self.manifest_hash(), u64(generation), previous, recipient_hash,
            sha256(canonical(stanza)), keys.written(granter).encode(), time.encode(),
        )  # fmt: skip
        granter_hash = sha256(keys.written(granter).encode())
        self.grants.append(
            {
                "granter": granter_hash.hex(),
                "recipient": recipient_hash.hex(),
                "stanza": stanza,
                "time": time,
                "previous": previous.hex(),
                "signature": to_base64(signature),
            }
        )
        return self

    def chain(self) -> bytes:
        """What the next grant names as `previous`."""
        return chain_after(self.grants, self.manifest_hash())

    # The bytes.

    def envelope(self) -> Json:
        return {"grants": self.grants, "manifest": self.manifest, "recipients": self.recipients, "signatures": self.signatures}

    def header(self) -> Json:
        return outer(self.suite, self.file_id, SLOT_BYTES, len(self.payload), len(self.digests))

    def slots(self) -> list[bytes]:
        """A and B: the envelope as it is, and the one before in the other slot."""
        written = [*self.history, canonical(self.envelope())]
        found = [bytes(SLOT_BYTES), bytes(SLOT_BYTES)]
        for generation, envelope in enumerate(written, 1):
            found[(generation - 1) % 2] = slot(envelope, generation)
        return found

    def file(self, *, header: bytes | None = None, a: bytes | None = None, b: bytes | None = None) -> bytes:
        """The whole file, with an outer header or slots other than its own if any are given."""
        slots = self.slots()
        first = page(canonical(self.header())) if header is None else header
        return first + (slots[0] if a is None else a) + (slots[1] if b is None else b) + self.payload + self.digests


def chain_after(grants: Sequence[Json], manifest_hash: bytes) -> bytes:
    """The hash over manifest and grants that the next grant names."""
    if not grants:
        return manifest_hash
    return digest(encoding.CHAIN, bytes.fromhex(grants[-1]["previous"]), canonical(grants[-1]))


def context(manifest: Json) -> tuple[bytes, ...]:
    """The parts that HPKE's info and FLOE's associated data begin with."""
    stated = canonical(manifest["public"]), encoding.from_base64(manifest["sealed"] or "")
    signers = [written.encode() for written in manifest["signers"]]
    return (
        b"1",
        manifest["suite"].encode(),
        bytes.fromhex(manifest["file_id"]),
        manifest["time"].encode(),
        digest(encoding.POLICY, canonical(manifest["policy"])),
        digest(encoding.STATED, *stated),
        digest(encoding.SIGNERS, *signers) if signers else b"unsigned",
    )


def associated_data(manifest: Json) -> bytes:
    lengths = b"".join(u64(manifest[name]) for name in ("slot_bytes", "segment_bytes", "payload_bytes"))
    return framed(encoding.PAYLOAD, *context(manifest), lengths, bytes.fromhex(manifest["recipients_sha256"]))


def seal(
    name: str,
    plain: bytes,
    wrap: Wrap,
    *,
    signers: Sequence[str] = (),
    digest: str | None = "blake3",
    policy: Json | None = None,
    public: Json | None = None,
    sealed: Json | None = None,
    file_key: bytes | None = None,
    sealed_bytes: bytes = b"",
) -> Sealed:
    """An honest file, all its randomness drawn from its name; `file_key` and `sealed_bytes` (the statements' ciphertext) are for others."""
    digest = digest if signers else None
    file_id, file_key = seed(name + " file id"), file_key or seed(name + " file key")
    secret = sealed_bytes
    if sealed and not secret:
        secret = AESGCM(derive(file_key, encoding.PROVENANCE, file_id)).encrypt(bytes(12), canonical(sealed), b"")
    manifest: Json = {
        "version": 1,
        "suite": SUITES[digest],
        "file_id": file_id.hex(),
        "time": "2026-01-02T03:04:05Z",
        "slot_bytes": SLOT_BYTES,
        "segment_bytes": SEGMENT_BYTES,
        "payload_bytes": floe.HEADER_BYTES + len(plain) + floe.OVERHEAD_BYTES * floe.segments(len(plain), SEGMENT_BYTES),
        "digests_sha256": None,
        "signers": [keys.written(signer) for signer in signers],
        "policy": {**NO_POLICY, **(policy or {})},
        "public": public or {},
        "sealed": to_base64(secret) if secret else None,
    }
    recipients = wrap(framed(encoding.FILE_KEY, *context(manifest)), file_key)
    file = Sealed(name, plain, digest, tuple(signers), file_id, file_key, manifest, recipients, b"", b"").hash_recipients()
    file.payload = floe.message(file_key, file.associated_data(), plain, name, SEGMENT_BYTES)
    assert len(file.payload) == manifest["payload_bytes"]
    manifest["floe_header_sha256"] = sha256(file.payload[: floe.HEADER_BYTES]).hex()
    return file.hash_segments().sign()
