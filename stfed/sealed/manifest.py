"""The manifest: everything a sealer states about a file, and in a signed file signs.

`Context` is the part that is fixed before a byte is encrypted. It goes into the key wrapping and the payload encryption, so that a file
whose policy, statements or signers were edited does not open, whether or not anybody looks at a signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from stfed import canonical
from stfed.crypto.identity import BadSignatureError
from stfed.crypto.kdf import digest, framed
from stfed.crypto.labels import Label
from stfed.errors import MalformedError, shown
from stfed.keys.signing import VerifyingKey
from stfed.sealed import statements, times
from stfed.sealed.bounds import PROVENANCE_MAX_BYTES, SEGMENT_MAX_BYTES, SEGMENT_MIN_BYTES, SIGNERS_MAX
from stfed.sealed.errors import TamperedError
from stfed.sealed.fields import fields, from_base64, hexadecimal, only_fields, to_base64, unknown
from stfed.sealed.format import VERSION, Layout
from stfed.sealed.geometry import Geometry
from stfed.sealed.policy import Policy, keys_from_json
from stfed.sealed.suites import DIGEST_BYTES, Suite
from stfed.wire import Writer

_HASH_BYTES = hashlib.sha256().digest_size
_SEALED_MAX_BYTES = PROVENANCE_MAX_BYTES + 16


@dataclass(frozen=True, repr=False)
class Context:
    """What everything hangs on.

    Attributes:
        suite: the algorithms.
        file_id: 32 random bytes, new with every sealing.
        time: when the file was sealed, by the sealer's clock, in whole seconds.
        signers: whose signatures the file must have; empty in an unsigned one.
        policy: conditions of use; the empty one in an unsigned file.
        public: statements for everybody.
        sealed: statements for recipients, encrypted; may be empty.
    """

    suite: Suite
    file_id: bytes
    time: datetime
    signers: tuple[VerifyingKey, ...]
    policy: Policy
    public: statements.Statements
    sealed: bytes

    @cached_property
    def key_info(self) -> bytes:
        """HPKE's `info`: a stanza opens under this context only."""
        return framed(Label.SEALED_FILE_KEY, *self._parts)

    def payload_ad(self, layout: Layout, segment_bytes: int, recipients_sha256: bytes) -> bytes:
        """FLOE's associated data: the same, every length, and the recipient list."""
        lengths = Writer().u64(layout.slot_bytes).u64(segment_bytes).u64(layout.payload_bytes).getvalue()
        return framed(Label.SEALED_PAYLOAD, *self._parts, lengths, recipients_sha256)

    @cached_property
    def _parts(self) -> tuple[bytes, ...]:
        return (
            str(VERSION).encode("ascii"),
            self.suite.name.encode("ascii"),
            self.file_id,
            times.written(self.time).encode("ascii"),
            digest(Label.SEALED_POLICY, self.policy.encode()),
            digest(Label.SEALED_STATED, canonical.encode(dict(self.public)), self.sealed),
            digest(Label.SEALED_SIGNERS, *(str(key).encode("ascii") for key in self.signers)) if self.signers else b"unsigned",
        )


@dataclass(frozen=True, repr=False)
class Manifest:
    """What stands in the envelope under this name.

    Attributes:
        context: as above.
        layout: lengths, as in the header.
        segment_bytes: length of a payload segment.
        floe_header_sha256: hash of the payload's first 74 bytes.
        recipients_sha256: hash of the recipient list as sealed.
        digests_sha256: hash of the list of segment digests, None in an unsigned file.
    """

    context: Context
    layout: Layout
    segment_bytes: int
    floe_header_sha256: bytes
    recipients_sha256: bytes
    digests_sha256: bytes | None

    def __repr__(self) -> str:
        return f"Manifest({self.sha256.hex()}, file {self.context.file_id.hex()}, {len(self.context.signers)} signers)"

    @cached_property
    def geometry(self) -> Geometry:
        """How the payload is cut."""
        return Geometry.of_payload(self.layout.payload_bytes, self.segment_bytes)

    @cached_property
    def sha256(self) -> bytes:
        """Its hash, by which logs, grants and later files refer to it."""
        return digest(Label.SEALED_MANIFEST, self.encode())

    def to_json(self) -> dict[str, Any]:
        """As it stands in the envelope."""
        context = self.context
        return {
            "version": VERSION,
            "suite": context.suite.name,
            "file_id": context.file_id.hex(),
            "time": times.written(context.time),
            "slot_bytes": self.layout.slot_bytes,
            "segment_bytes": self.segment_bytes,
            "payload_bytes": self.layout.payload_bytes,
            "floe_header_sha256": self.floe_header_sha256.hex(),
            "recipients_sha256": self.recipients_sha256.hex(),
            "digests_sha256": None if self.digests_sha256 is None else self.digests_sha256.hex(),
            "signers": [str(key) for key in context.signers],
            "policy": context.policy.to_json(),
            "public": dict(context.public),
            "sealed": to_base64(context.sealed) if context.sealed else None,
        }

    def encode(self) -> bytes:
        """Its canonical JSON: what is signed."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        return canonical.encode(self.to_json())

    @classmethod
    def from_json(cls, value: Any, layout: Layout) -> Self:
        """Reads what `to_json` gave and holds it against the header.

        Raises:
            MalformedError: if a value is out of bounds, or header and manifest contradict each other.
            UnsupportedError: if version, suite or a field is unknown.
        """
        early = fields(value, "the manifest", "version", "suite")
        if early["version"] != VERSION or type(early["version"]) is not int:
            raise unknown(f"a manifest of version {shown(early['version'])}")
        parts = only_fields(
            value, "the manifest", "version", "suite", "file_id", "time", "slot_bytes", "segment_bytes", "payload_bytes",
            "floe_header_sha256", "recipients_sha256", "digests_sha256", "signers", "policy", "public", "sealed",
        )  # fmt: skip
        if [parts[name] for name in ("suite", "file_id", "slot_bytes", "payload_bytes")] != [
            layout.suite.name,
            layout.file_id.hex(),
            layout.slot_bytes,
            layout.payload_bytes,
        ]:
            raise MalformedError("header and manifest name different suites, file ids or lengths")
        wrong = segment_bytes_problem(parts["segment_bytes"]) or statements.problem(parts["public"])
        if wrong:
            raise MalformedError(wrong)
        time = times.read(parts["time"], "the time of sealing")
        signers = keys_from_json(parts["signers"], "the signers", SIGNERS_MAX)
        policy = Policy.from_json(parts["policy"])
        signed = layout.suite.hash is not None
        if signed != bool(signers) or (policy and not signed) or signed != (parts["digests_sha256"] is not None):
            raise MalformedError("signers, digests and a policy belong to a signed file, and the suite says whether it is one")
        sealed = b"" if parts["sealed"] is None else from_base64(parts["sealed"], "the sealed provenance")
        if len(sealed) > _SEALED_MAX_BYTES or (parts["sealed"] is not None and not sealed):
            raise MalformedError(f"the sealed provenance takes {len(sealed)} bytes")
        manifest = cls(
            Context(layout.suite, layout.file_id, time, signers, policy, parts["public"], sealed),
            layout,
            parts["segment_bytes"],
            hexadecimal(parts["floe_header_sha256"], _HASH_BYTES, "the manifest's FLOE header hash"),
            hexadecimal(parts["recipients_sha256"], _HASH_BYTES, "the manifest's recipients hash"),
            hexadecimal(parts["digests_sha256"], _HASH_BYTES, "the manifest's digests hash") if signed else None,
        )
        segments = manifest.geometry.count
        if layout.digests_bytes != (DIGEST_BYTES * segments if signed else 0):
            raise MalformedError(f"the file has {layout.digests_bytes} bytes of digests for {segments} segments")
        return manifest


def check_signatures(signers: Sequence[VerifyingKey], signatures: Sequence[bytes], manifest: bytes) -> None:
    """Returns if each signer made their signature over the encoded manifest; TamperedError if one did not."""
    for key, signature in zip(signers, signatures, strict=True):
        try:
            key.verify(signature, Label.SEALED_SIGNATURE, manifest)
        except BadSignatureError:
            raise TamperedError(f"the signature of {key.fingerprint} does not verify: the manifest was changed") from None


def segment_bytes_problem(value: Any) -> str | None:
    """What is wrong with a segment length, if anything."""
    if type(value) is int and SEGMENT_MIN_BYTES <= value <= SEGMENT_MAX_BYTES:
        return None
    return f"the segment length is not between {SEGMENT_MIN_BYTES} and {SEGMENT_MAX_BYTES} bytes"
