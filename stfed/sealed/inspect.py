"""What a sealed file tells without a key: how large its parts are, who can open it, who signed it, what its sealer states about it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stfed.errors import SealError, about, shown
from stfed.files import File, opened
from stfed.keys.encryption import Recipient
from stfed.keys.fingerprint import grouped
from stfed.keys.keyfile import PathLike
from stfed.sealed import times
from stfed.sealed.bounds import HEADER_BYTES
from stfed.sealed.envelope import Envelope
from stfed.sealed.format import VERSION
from stfed.sealed.outside import read_outside
from stfed.sealed.statements import Scalar


@dataclass(frozen=True)
class SealedInfo:
    """The outside of a sealed file. Whom to believe is not decided here: a signature that verifies says which key made it, not whose it is.

    Attributes:
        version: of the format.
        suite: the algorithms.
        file_id: hexadecimal, new with every sealing.
        time: of sealing, as the sealer's clock said.
        manifest_sha256: hexadecimal, by which logs and later files name this one.
        generation: 1 as sealed, one more with each grant.
        slots: state of the envelope slots A and B: "live", "older", "unused" or "damaged".
        recipients: number of recipients of each kind, granted ones included.
        known: names of those of the keys given to `inspect` that can open it.
        signers: fingerprints of the signing keys that it names.
        signature: "none", "valid" (made by these signers, and the grants by owners) or the reason why not.
        grants: for each the fingerprints of granter and recipient, and the time.
        policy: conditions of use.
        public: what the sealer states for everybody.
        sealed_provenance: whether there are statements for recipients too.
        file_bytes: the whole, which is the sum of the next four.
        header_bytes: the outer header.
        slots_bytes: both envelope slots.
        payload_bytes: the ciphertext.
        digests_bytes: the list of segment digests.
        envelope_bytes: the used part of the live slot.
        content_bytes: the plain safetensors file inside.
        segment_bytes: length of a payload segment.
        segments: how many there are.
    """

    version: int
    suite: str
    file_id: str
    time: str
    manifest_sha256: str
    generation: int
    slots: tuple[str, str]
    recipients: Mapping[str, int]
    known: tuple[str, ...]
    signers: tuple[str, ...]
    signature: str
    grants: tuple[Mapping[str, str], ...]
    policy: Mapping[str, Any]
    public: Mapping[str, Scalar]
    sealed_provenance: bool
    file_bytes: int
    header_bytes: int
    slots_bytes: int
    payload_bytes: int
    digests_bytes: int
    envelope_bytes: int
    content_bytes: int
    segment_bytes: int
    segments: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def table(self) -> str:
        """The same for people, one line each."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.recipients.items()))
        rows = [
            ("format", f"version {self.version}, {self.suite}"),
            ("file id", self.file_id),
            ("sealed at", self.time),
            ("manifest", self.manifest_sha256),
            ("recipients", kinds + (f"; of the keys given: {', '.join(self.known)}" if self.known else "")),
            *(("signed by", signer) for signer in self.signers),
            ("signature", "none: nothing proves who sealed it" if self.signature == "none" else self.signature),
            *(("grant", f"{grant['time']}  to {grant['recipient']} by {grant['granter']}") for grant in self.grants),
            *((f"policy {name.replace('_', '-')}", _listed(value)) for name, value in sorted(self.policy.items()) if value),
            ("envelope", f"generation {self.generation}, slot A {self.slots[0]}, slot B {self.slots[1]}"),
            ("file", f"{self.file_bytes:,} bytes"),
            ("  header", f"{self.header_bytes:,} bytes"),
            ("  envelope", f"{self.slots_bytes:,} bytes, {self.envelope_bytes:,} in use"),
            ("  payload", f"{self.payload_bytes:,} bytes, {self.segments:,} segments of {self.segment_bytes:,}"),
            ("  digests", f"{self.digests_bytes:,} bytes"),
            ("content", f"{self.content_bytes:,} bytes of safetensors, encrypted"),
            *((f"states {shown(key)}", shown(value)) for key, value in sorted(self.public.items())),
            ("states", "more, for recipients only" if self.sealed_provenance else "nothing for recipients only"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def inspect(path: PathLike, *, known: Mapping[str, Recipient] | None = None) -> SealedInfo:
    """Reads the outside of a sealed file, in memory bounded by its slots. Needs no key.

    Args:
        path: the sealed file.
        known: public keys by name, to see which of them can open it: a file does not hold its recipients' keys, but marks that match them.

    Raises:
        FileNotFoundError: if there is no such file.
        SealError: if it is no sealed file, or one that this release does not know.
    """
    with about(os.fspath(path)), opened(path) as descriptor:
        outside = read_outside(File(descriptor))
    layout, envelope, manifest = outside.layout, outside.envelope, outside.envelope.manifest
    policy = manifest.context.policy
    return SealedInfo(
        version=VERSION,
        suite=layout.suite.name,
        file_id=layout.file_id.hex(),
        time=times.written(manifest.context.time),
        manifest_sha256=manifest.sha256.hex(),
        generation=envelope.generation,
        slots=outside.slots,
        recipients=dict(Counter(stanza.kind for stanza in envelope.stanzas)),
        known=tuple(name for name, key in (known or {}).items() if envelope.addresses(key) or envelope.grants_to(key)),
        signers=tuple(key.fingerprint for key in manifest.context.signers),
        signature=_signature(envelope),
        grants=tuple(
            {"recipient": grouped(grant.recipient), "granter": grouped(grant.granter), "time": times.written(grant.time)}
            for grant in envelope.grants
        ),
        policy={
            **policy.to_json(),
            "owners": [key.fingerprint for key in policy.owners],
            "readers": [key.fingerprint for key in policy.readers],
        },
        public=dict(manifest.context.public),
        sealed_provenance=bool(manifest.context.sealed),
        file_bytes=layout.file_bytes,
        header_bytes=HEADER_BYTES,
        slots_bytes=2 * layout.slot_bytes,
        payload_bytes=layout.payload_bytes,
        digests_bytes=layout.digests_bytes,
        envelope_bytes=outside.envelope_bytes,
        content_bytes=manifest.geometry.plain_bytes,
        segment_bytes=manifest.segment_bytes,
        segments=manifest.geometry.count,
    )


def _signature(envelope: Envelope) -> str:
    if not envelope.signatures:
        return "none"
    try:
        envelope.verify()
    except SealError as error:
        return error.message
    return "valid"


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
