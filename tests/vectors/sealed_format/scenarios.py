"""What a scenario is, and the files that are as they should be.

A scenario is a file, given as a whole one and edits of it; what its reader holds and demands; and what must come of it:

    file, edits, cut, add    the bytes: `file` with base64 written at offsets, cut to a length, with an appendix
    open                     identities, passphrase, trusted signers, purpose, generation, clock: names are those in the key lists
    expect, says, rule       "ok" or the class of the error, a part of its text, and for a denial the rule
    verify                   the same for whoever checks signatures, grants and digests without a key; null where that is not the point
    releases                 SHA-256 of all plaintext that may come out: of the whole file, or by tensor if other segments are damaged
"""

from __future__ import annotations

import json
from collections.abc import Set
from typing import Any

import numpy as np
import safetensors.numpy

from tests.vectors.sealed_format.container import STATED, Sealed, seal, to_keys, to_passphrase
from tests.vectors.sealed_format.encoding import Json, sha256, to_base64
from tests.vectors.sealed_format.keys import written
from tests.vectors.sealed_format.stanzas import PASSPHRASE

CHUNK_BYTES = 4096 - 32
MODEL: Json = {"model": "demo", "sequence": 7}
WINDOW: Json = {"not_before": "2026-01-01T00:00:00Z", "not_after": "2026-12-31T23:59:59Z"}
DURING = "2026-06-01T00:00:00Z"

READERS: dict[str, Json] = {
    "x25519": {"identity": ["x25519"]},
    "hybrid": {"identity": ["hybrid"]},
    "passphrase": {"passphrase": PASSPHRASE},
    "signed": {"identity": ["x25519"], "trusted": ["alice"]},
    "signed-sha256": {"identity": ["other reader"], "trusted": ["alice"]},
    "signed-passphrase": {"passphrase": PASSPHRASE, "trusted": ["alice"]},
    "signed-hybrid": {"identity": ["hybrid"], "trusted": ["carol"]},
    "two-signers": {"identity": ["x25519"], "trusted": ["alice"]},
    "policy": {"identity": ["x25519"], "trusted": ["alice"], "purpose": "evaluation", "clock": DURING},
    "granted-once": {"identity": ["colleague"], "trusted": ["alice"], "generation": 2},
    "granted-thrice": {"identity": ["third colleague"], "trusted": ["alice"], "generation": 4},
    "granted-hybrid": {"identity": ["hybrid colleague"], "trusted": ["carol"]},
    "granted-by-owner": {"identity": ["colleague"], "trusted": ["alice"], "purpose": "training", "clock": DURING},
    "no-tensors": {"identity": ["x25519"], "trusted": ["alice"]},
}


def plain_file() -> bytes:
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "layer.weight": np.arange(2048, dtype=np.float32).reshape(32, 64),
        "layer.bias": np.linspace(-1, 1, 64, dtype=np.float32),
        "steps": np.array(1234, dtype=np.int64),
        "half": np.arange(100, dtype=np.float16),
        "empty": np.zeros((0, 3), dtype=np.uint8),
    }
    return safetensors.numpy.save(tensors, {"made by": "stfed vectors"})


def whole_files() -> dict[str, Sealed]:
    """The files that scenarios begin with. Names of their sealings are part of their randomness."""
    plain, readers = plain_file(), to_keys("x25519", "other reader")
    policy = {**WINDOW, "owners": [written("dora")], "readers": [written("bob")], "purposes": ["evaluation", "training"]}
    signed = seal("signed", plain, readers, signers=["alice"], public=MODEL, sealed=STATED)
    hybrid = seal("signed hybrid", plain, to_keys("hybrid"), signers=["carol"], public=MODEL, sealed=STATED)
    ruled = seal("policy", plain, readers, signers=["alice"], policy=policy, public=MODEL)
    return {
        "x25519": seal("one", plain, readers, public=STATED),
        "hybrid": seal("hybrid", plain, to_keys("hybrid"), public=MODEL, sealed=STATED),
        "passphrase": seal("passphrase", plain, to_passphrase(), sealed=STATED),
        "signed": signed,
        "signed-sha256": seal("sha256", plain, readers, signers=["alice"], digest="sha256", sealed=STATED),
        "signed-passphrase": seal("signed passphrase", plain, to_passphrase(), signers=["alice"]),
        "signed-hybrid": hybrid,
        "two-signers": seal("two signers", plain, readers, signers=["alice", "carol"]),
        "policy": ruled,
        "granted-once": signed.copy().grant("alice", "colleague"),
        "granted-thrice": signed.copy().grant("alice", "colleague").grant("alice", "second colleague").grant("alice", "third colleague"),
        "granted-hybrid": hybrid.copy().grant("carol", "hybrid colleague"),
        "granted-by-owner": ruled.copy().grant("dora", "colleague"),
        "no-tensors": seal("no tensors", safetensors.numpy.save({}), readers, signers=["alice"]),
    }


def difference(base: bytes, data: bytes) -> Json:
    """Edits, cut and appendix that make `data` of `base`; gaps of up to 16 bytes are copied."""
    common = min(len(base), len(data))
    differs = np.flatnonzero(np.frombuffer(base, np.uint8, common) != np.frombuffer(data, np.uint8, common))
    runs = np.split(differs, np.flatnonzero(np.diff(differs) > 16) + 1) if len(differs) else []
    edits = [[int(run[0]), to_base64(data[run[0] : run[-1] + 1])] for run in runs]
    return {"edits": edits, "cut": len(data) if len(data) < len(base) else None, "add": to_base64(data[len(base) :])}


def released(plain: bytes, damaged: Set[int]) -> dict[str, str]:
    """Hashes of the tensors that lie in none of the damaged segments; the header inside must not either."""
    start = 8 + int.from_bytes(plain[:8], "little")
    entries = json.loads(plain[8:start])
    entries.pop("__metadata__", None)
    hashes = {}
    for name, entry in entries.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        if damaged.isdisjoint(at // CHUNK_BYTES for at in range(begin, end)):
            hashes[name] = sha256(plain[begin:end]).hex()
    return hashes


class Scenarios:
    """Collects scenarios; their names are unique.

    Attributes:
        files: whole files by name, as parts.
        found: the scenarios.
    """

    def __init__(self) -> None:
        self.files = whole_files()
        self._bytes = {name: file.file() for name, file in self.files.items()}
        self.found: dict[str, Json] = {}

    def copy(self, name: str) -> Sealed:
        """A whole file to take apart."""
        return self.files[name].copy()

    def whole(self, name: str) -> bytes:
        return self._bytes[name]

    def add(
        self,
        name: str,
        base: str,
        data: bytes | Sealed,
        expect: str = "ok",
        says: str = "",
        *,
        rule: str | None = None,
        verify: str | None = None,
        plain: bytes | None = None,
        damaged: Set[int] | None = None,
        **reader: Any,
    ) -> None:
        """One scenario.

        Args:
            name: what was done, in a few words.
            base: the whole file that it is written down as a difference to, and whose reader opens it.
            data: the file.
            expect: as above.
            says: as above.
            rule: as above.
            verify: as above; by default not stated.
            plain: what comes out if it opens; by default what was sealed.
            damaged: numbers of the segments that refuse, where the others do not.
            reader: changes to the reader.
        """
        assert name not in self.found, name
        data = data if isinstance(data, bytes) else data.file()
        plain = self.files[base].plain if plain is None else plain
        releases = {"file": sha256(plain).hex()} if expect == "ok" else released(plain, damaged) if damaged else {}
        how = {**READERS[base], **reader}
        entry = {
            "file": base,
            **difference(self._bytes[base], data),
            "open": {key: value for key, value in how.items() if value is not None},
        }
        self.found[name] = {"name": name, **entry, "expect": expect, "says": says, "rule": rule, "verify": verify, "releases": releases}


def add_whole(scenarios: Scenarios) -> None:
    """Every whole file, opened by every kind of reader that it is for."""
    for name, file in scenarios.files.items():
        scenarios.add(f"whole {name}", name, file, verify="ok" if file.signers else "UntrustedError")
    for name, reader in (
        ("the other recipient", {"identity": ["other reader"]}),
        ("several identities, one of them a recipient's", {"identity": ["stranger", "hybrid", "x25519"]}),
        ("signed, nobody trusted in particular", {"trusted": None}),
        ("signed, several trusted", {"trusted": ["bob", "alice"]}),
    ):
        scenarios.add(name, "signed", scenarios.whole("signed"), **reader)
    scenarios.add("two signers, the second trusted", "two-signers", scenarios.whole("two-signers"), trusted=["carol"])
    for name in ("x25519", "colleague", "second colleague"):
        scenarios.add(f"granted thrice, opened by {name}", "granted-thrice", scenarios.whole("granted-thrice"), identity=[name])
    scenarios.add("not for me", "signed", scenarios.whole("signed"), "NotARecipientError", "not to", verify="ok", identity=["stranger"])
    scenarios.add("of another kind than my key", "signed", scenarios.whole("signed"), "NotARecipientError", "not to", identity=["hybrid"])
