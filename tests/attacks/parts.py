"""The attacker's tool: a sealed file taken apart, and put together again so that everything that needs no key is right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from tests.vectors.sealed_format import encoding
from tests.vectors.sealed_format.container import HASHES, HEADER_BYTES, PAYLOAD_AT, SEGMENT_BYTES, SLOT_BYTES, SUITES, outer, page, slot
from tests.vectors.sealed_format.encoding import Json, canonical, digest
from tests.vectors.sealed_format.floe import HEADER_BYTES as FLOE_BYTES

NAMES = {suite: name for name, suite in SUITES.items()}


@dataclass
class Parts:
    """Everything in a file with slots of 64 KiB and segments of 4 KiB, to be changed at will."""

    envelope: Json
    generation: int
    older: bytes
    floe_header: bytes
    segments: list[bytes]
    digests: bytes

    @classmethod
    def of(cls, data: bytes) -> Self:
        slots = [data[HEADER_BYTES + at * SLOT_BYTES :][:SLOT_BYTES] for at in (0, 1)]
        newest, older = sorted(slots, key=lambda raw: raw[:8], reverse=True)
        length = int.from_bytes(newest[8:12], "big")
        envelope = json.loads(newest[12 : 12 + length])
        end = PAYLOAD_AT + envelope["manifest"]["payload_bytes"]
        body = data[PAYLOAD_AT + FLOE_BYTES : end]
        segments = [body[at : at + SEGMENT_BYTES] for at in range(0, len(body), SEGMENT_BYTES)]
        generation = int.from_bytes(newest[:8], "big")
        return cls(envelope, generation, older, data[PAYLOAD_AT : PAYLOAD_AT + FLOE_BYTES], segments, data[end:])

    @property
    def manifest(self) -> Json:
        manifest: Json = self.envelope["manifest"]
        return manifest

    @property
    def payload(self) -> bytes:
        return self.floe_header + b"".join(self.segments)

    def rehash(self) -> Self:
        """Makes lengths, list of digests and all hashes in the manifest fit what is there."""
        manifest = self.manifest
        manifest["payload_bytes"] = len(self.payload)
        manifest["floe_header_sha256"] = encoding.sha256(self.floe_header).hex()
        manifest["recipients_sha256"] = digest(encoding.RECIPIENTS, canonical(self.envelope["recipients"])).hex()
        name = NAMES[manifest["suite"]]
        self.digests = b"" if name is None else b"".join(map(HASHES[name], self.segments))
        manifest["digests_sha256"] = digest(encoding.DIGESTS, self.digests).hex() if name else None
        return self

    def file(self) -> bytes:
        """With a header and slots that fit."""
        manifest = self.manifest
        header = outer(manifest["suite"], bytes.fromhex(manifest["file_id"]), SLOT_BYTES, len(self.payload), len(self.digests))
        slots = [slot(canonical(self.envelope), self.generation), self.older]
        if self.generation % 2 == 0:
            slots.reverse()
        return page(canonical(header)) + b"".join(slots) + self.payload + self.digests
