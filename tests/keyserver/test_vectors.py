"""The recorded exchange, made by an implementation that does not know this package: both sides say it, byte for byte, and understand it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stfed.audit import AuditLog
from stfed.keys.encryption import Identity
from stfed.keys.member import Member
from stfed.keys.roster import Roster
from stfed.keys.signing import SigningKey
from stfed.keyserver import messages
from stfed.keyserver.logbook import Logbook
from stfed.keyserver.messages import Reply, Request
from stfed.keyserver.service import Service
from stfed.keyserver.statement import Statement
from stfed.keyserver.store import Store
from tests.keyserver.world import envelope_of
from tests.vectors import gen_keyserver

VECTORS = Path(__file__).parent.parent / "vectors"


def exchange() -> dict[str, Any]:
    value: dict[str, Any] = json.loads((VECTORS / "keyserver" / "exchange.json").read_bytes())
    return value


def secret(table: str, name: str) -> str:
    entries = json.loads((VECTORS / "sealed" / table).read_bytes())
    return next(str(entry["identity"]) for entry in entries if entry["name"] == name)


def signing(name: str) -> SigningKey:
    return SigningKey.from_string(secret("signing_keys.json", name))


def identity(name: str) -> Identity:
    return Identity.from_string(secret("keys.json", name))


def test_the_generator_gives_exactly_the_checked_in_files() -> None:
    fresh = gen_keyserver.generate()
    present = {str(path.relative_to(VECTORS)) for path in (VECTORS / "keyserver").rglob("*") if path.is_file()}
    assert present == set(fresh) != set()
    for name, content in fresh.items():
        assert (VECTORS / name).read_bytes() == content, f"{name} differs: python -m tests.vectors.generate"


def test_the_generator_does_not_know_this_package() -> None:
    assert not re.search(r"^\s*(from|import) stfed", Path(gen_keyserver.__file__).read_text(), re.MULTILINE)


def test_a_caller_says_the_same() -> None:
    case = exchange()
    envelope = envelope_of((VECTORS / case["file"]).read_bytes())
    nonce = messages.decode_challenge(case["challenge"].encode())
    read = Statement.decode(case["statement"].encode())
    assert (read.nonce, read.purpose, read.layout) == (nonce, case["purpose"], envelope.manifest.layout)
    assert (read.manifest_sha256, read.caller) == (envelope.manifest.sha256, signing(case["caller"]).public)
    request = Request.make(read, envelope.encode(), signing(case["caller"]))
    assert read.encoded.decode() == case["statement"]
    assert read.sha256.hex() == case["request_sha256"]
    assert request.signature.hex() == case["signature"]
    assert hashlib.sha256(request.encode()).hexdigest() == case["body_sha256"]
    assert messages.encode_refusal("purpose").decode() == case["refusal"]


def test_a_caller_understands_the_reply() -> None:
    case = exchange()
    reply = Reply.decode(case["reply"].encode())
    statement = Statement.decode(case["statement"].encode())
    assert reply.open(statement, identity(case["one_time"]), signing(case["service"]).public).hex() == case["file_key"]
    assert reply.encode().decode() == case["reply"]


def test_a_service_answers_the_request(tmp_path: Path) -> None:
    """With the same nonce and clock; its reply is another one, since HPKE draws its own randomness, and gives the same key."""
    case = exchange()
    service_key, caller = signing(case["service"]), signing(case["caller"])
    statement = Statement.decode(case["statement"].encode())
    envelope = envelope_of((VECTORS / case["file"]).read_bytes())
    request = replace(Request.make(statement, envelope.encode(), caller), signature=bytes.fromhex(case["signature"]))
    members = (
        Member("alice", frozenset({"owner"}), signing=signing("alice").public),
        Member("bob", frozenset({"recipient"}), identity("other reader").recipient, caller.public),
    )
    now = datetime.fromisoformat(case["time"]).astimezone(UTC)
    store = Store(tmp_path / "store.db")
    with AuditLog(tmp_path / "audit.db") as log:
        service = Service(
            [identity(case["identity"])],
            service_key,
            lambda: Roster("vectors", members),
            store,
            Logbook(log, service_key, 100),
            clock=lambda: now,
            entropy=lambda size_bytes: statement.nonce[:size_bytes],
        )
        assert service.challenge("192.0.2.1").decode() == case["challenge"]
        reply = Reply.decode(service.release(request.encode(), "192.0.2.1"))
    store.close()
    assert reply.open(statement, identity(case["one_time"]), service_key.public).hex() == case["file_key"]
