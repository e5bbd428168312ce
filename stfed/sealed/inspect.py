"""What a sealed file tells without a key: how large its parts are, how many recipients it has, what its writer states about it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stfed.sealed.bounds import HEADER_BYTES
from stfed.sealed.envelope import Scalar
from stfed.sealed.errors import about, shown
from stfed.sealed.format import SUITE, VERSION
from stfed.sealed.keyring import PathLike
from stfed.sealed.outside import read_outside
from stfed.sealed.storage import File, opened


@dataclass(frozen=True)
class SealedInfo:
    """The outside of a sealed file. Nothing of it is authenticated: that takes a recipient's key, and who wrote it a signature.

    Attributes:
        version: of the format.
        suite: the algorithms.
        file_id: hexadecimal, new with every sealing.
        generation: 1 as sealed.
        slots: state of the envelope slots A and B: "live", "older", "unused" or "damaged".
        recipients: number of recipients of each kind.
        signed: always False in this version.
        provenance: what the writer states.
        file_bytes: the whole, which is the sum of the next three.
        header_bytes: the outer header.
        slots_bytes: both envelope slots.
        payload_bytes: the ciphertext.
        envelope_bytes: the used part of the live slot.
        content_bytes: the plain safetensors file inside.
        segment_bytes: length of a payload segment.
        segments: how many there are.
    """

    version: int
    suite: str
    file_id: str
    generation: int
    slots: tuple[str, str]
    recipients: Mapping[str, int]
    signed: bool
    provenance: Mapping[str, Scalar]
    file_bytes: int
    header_bytes: int
    slots_bytes: int
    payload_bytes: int
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
            ("recipients", kinds),
            ("signature", "signed" if self.signed else "none: nothing proves who sealed it"),
            ("envelope", f"generation {self.generation}, slot A {self.slots[0]}, slot B {self.slots[1]}"),
            ("file", f"{self.file_bytes:,} bytes"),
            ("  header", f"{self.header_bytes:,} bytes"),
            ("  envelope", f"{self.slots_bytes:,} bytes, {self.envelope_bytes:,} in use"),
            ("  payload", f"{self.payload_bytes:,} bytes, {self.segments:,} segments of {self.segment_bytes:,}"),
            ("content", f"{self.content_bytes:,} bytes of safetensors, encrypted"),
            *((f"states {shown(key)}", shown(value)) for key, value in sorted(self.provenance.items())),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def inspect(path: PathLike) -> SealedInfo:
    """Reads the outside of a sealed file, in memory bounded by its slots. Needs no key and proves nothing.

    Raises:
        FileNotFoundError: if there is no such file.
        SealError: if it is no sealed file, or one that this release does not know.
    """
    with about(os.fspath(path)), opened(path) as descriptor:
        outside = read_outside(File(descriptor))
    layout, envelope = outside.layout, outside.envelope
    return SealedInfo(
        version=VERSION,
        suite=SUITE,
        file_id=layout.file_id.hex(),
        generation=outside.generation,
        slots=outside.slots,
        recipients=dict(Counter(stanza.kind for stanza in envelope.recipients)),
        signed=False,
        provenance=dict(envelope.provenance),
        file_bytes=layout.file_bytes,
        header_bytes=HEADER_BYTES,
        slots_bytes=2 * layout.slot_bytes,
        payload_bytes=layout.payload_bytes,
        envelope_bytes=outside.envelope_bytes,
        content_bytes=outside.geometry.plain_bytes,
        segment_bytes=envelope.segment_bytes,
        segments=outside.geometry.count,
    )
