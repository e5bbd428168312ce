"""What the tests of sealed files share: the checked-in vectors, repeatable randomness, and small files with small segments."""

import base64
import hashlib
import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from stfed.crypto.random import Entropy, system_entropy
from stfed.files import Memory
from stfed.keys.encryption import Identity, Recipient, generate_keypair
from stfed.keys.signing import SigningKey, VerifyingKey
from stfed.sealed.parallel import buffer
from stfed.sealed.recipients import wrap
from stfed.sealed.sealrequest import SealRequest
from stfed.sealed.writer import Sealing
from tests.vectors import gen_sealed

VECTORS = Path(__file__).parent.parent / "vectors"
SEALED = VECTORS / "sealed"
SCENARIOS = SEALED / "scenarios"
SEGMENT_BYTES = 4096
CHUNK_BYTES = SEGMENT_BYTES - 32


def load_json(name: str) -> Any:
    return json.loads((SEALED / name).read_bytes())


class Script:
    """Entropy from a name: SHAKE-256 of name and call number."""

    def __init__(self, name: str = "test") -> None:
        self.name, self.calls = name, 0

    def __call__(self, size_bytes: int, /) -> bytes:
        self.calls += 1
        return hashlib.shake_256(f"{self.name} {self.calls}".encode()).digest(size_bytes)


def keypair(name: str = "reader", kind: str = "x25519") -> tuple[Identity, Recipient]:
    return generate_keypair(kind, entropy=Script(name))


class Plain:
    """Any bytes as plaintext to be sealed, `stfed.sealed.stream.Source`."""

    def __init__(self, content: bytes) -> None:
        self._view = memoryview(content)
        self.size_bytes = len(content)

    def piece(self, start: int, stop: int, _scratch: memoryview) -> memoryview:
        return self._view[start:stop]


def sealing_of(plain: bytes, *recipients: Recipient, entropy: Entropy = system_entropy, wrap: Any = wrap, **options: Any) -> Sealing:
    """A planned sealing with small segments."""
    request = SealRequest.of(recipients=recipients or None, **{"segment_bytes": SEGMENT_BYTES} | options)
    return Sealing(len(plain), request, entropy=entropy, wrap=wrap)


def seal_bytes(plain: bytes, *recipients: Recipient, **options: Any) -> bytes:
    """A sealed file around any bytes, a safetensors file or not; arguments as in `sealing_of`."""
    sealing = sealing_of(plain, *recipients, **options)
    out = buffer(sealing.layout.file_bytes)
    sealing.write(Plain(plain), Memory(out))
    return bytes(out)


# The vectors' keys, by name.


def identity_of(name: str) -> Identity:
    return Identity.from_string(next(entry["identity"] for entry in load_json("keys.json") if entry["name"] == name))


def signing_key_of(name: str) -> SigningKey:
    return SigningKey.from_string(next(entry["identity"] for entry in load_json("signing_keys.json") if entry["name"] == name))


def verifying_key_of(name: str) -> VerifyingKey:
    return VerifyingKey.from_string(next(entry["public"] for entry in load_json("signing_keys.json") if entry["name"] == name))


# The vectors themselves; `tests.vectors.sealed_format.scenarios` says what is in a scenario.


@cache
def whole(name: str) -> bytes:
    """A whole file, such as `signed`."""
    return (SEALED / f"{name}.safetensors").read_bytes()


@cache
def scenarios() -> dict[str, Any]:
    """All scenarios by name; an error if there are none, for an empty folder would pass every test."""
    found = {entry["name"]: entry for entry in (json.loads(path.read_bytes()) for path in sorted(SCENARIOS.glob("*.json")))}
    if not found:
        raise FileNotFoundError(f"no scenarios in {SCENARIOS}")
    return found


def file_of(name: str) -> bytes:
    """The file of a scenario."""
    return apply(scenarios()[name])


def apply(scenario: dict[str, Any]) -> bytes:
    """Whole file, edits, cut, appendix."""
    data = bytearray(whole(scenario["file"]))
    for at, replacement in scenario["edits"]:
        octets = base64.b64decode(replacement)
        data[at : at + len(octets)] = octets
    return bytes(data[: scenario["cut"]]) + base64.b64decode(scenario["add"])


def open_options(scenario: dict[str, Any]) -> dict[str, Any]:
    """How its reader opens it: arguments of `SealedReader`."""
    options = dict(scenario["open"])
    for name, find in (("identity", identity_of), ("trusted", verifying_key_of)):
        if name in options:
            options[name] = [find(key) for key in options[name]]
    if "clock" in options:
        moment = datetime.fromisoformat(options["clock"])
        options["clock"] = lambda: moment
    return options


def generated() -> dict[str, bytes]:
    """What the generator writes now: names below tests/vectors to contents."""
    return gen_sealed.generate()
