"""What the tests of sealed files share: the checked-in vectors, repeatable randomness, and small files with small segments."""

import hashlib
import json
import runpy
from pathlib import Path
from typing import Any

from stfed.sealed.keys import Identity, Recipient, generate_keypair
from stfed.sealed.parallel import buffer
from stfed.sealed.storage import Memory
from stfed.sealed.writer import Buffers, Sealing

VECTORS = Path(__file__).parent.parent / "vectors"
SEALED = VECTORS / "sealed"
SEGMENT_BYTES = 4096
CHUNK_BYTES = SEGMENT_BYTES - 32


def load_json(name: str) -> Any:
    return json.loads((SEALED / name).read_bytes())


def generated() -> dict[str, bytes]:
    content: dict[str, bytes] = runpy.run_path(str(VECTORS / "gen_sealed.py"))["generate"]()
    return content


class Script:
    """Entropy from a name: SHAKE-256 of name and call number."""

    def __init__(self, name: str = "test") -> None:
        self.name, self.calls = name, 0

    def __call__(self, size_bytes: int, /) -> bytes:
        self.calls += 1
        return hashlib.shake_256(f"{self.name} {self.calls}".encode()).digest(size_bytes)


def keypair(name: str = "reader", kind: str = "x25519") -> tuple[Identity, Recipient]:
    return generate_keypair(kind, entropy=Script(name))


def identity_of(name: str) -> Identity:
    """A secret key of the vectors."""
    return Identity.from_string(next(entry["identity"] for entry in load_json("keys.json") if entry["name"] == name))


def seal_bytes(plain: bytes, *recipients: Recipient, segment_bytes: int = SEGMENT_BYTES, **more: Any) -> bytes:
    """A sealed file around any bytes, a safetensors file or not."""
    source = Buffers([memoryview(plain)])
    sealing = Sealing(source.size_bytes, recipients, segment_bytes=segment_bytes, **more)
    out = buffer(sealing.layout.file_bytes)
    sealing.write(source, Memory(out))
    return bytes(out)


def apply(case: dict[str, Any], base: bytes) -> bytes:
    """A damaged file of `cases.json`."""
    data = bytearray(base)
    for at, replacement in case["edits"]:
        octets = bytes.fromhex(replacement)
        data[at : at + len(octets)] = octets
    return bytes(data[: case["cut"]]) + bytes.fromhex(case["add"])
