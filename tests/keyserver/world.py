"""What these tests share: people with keys, a folder with a set-up key service, sealed files, and the service as a real process."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from stfed.audit import AuditLog, Entry
from stfed.files import Memory
from stfed.keys.encryption import Identity, Recipient, generate_keypair
from stfed.keys.keyfile import read_public_keys
from stfed.keys.member import Member
from stfed.keys.roster import Roster
from stfed.keys.signing import SigningKey, VerifyingKey
from stfed.keyserver import KeyServer
from stfed.keyserver.messages import Request, decode_challenge
from stfed.keyserver.setup import Made, set_up
from stfed.keyserver.statement import Statement
from stfed.sealed.envelope import Envelope
from stfed.sealed.grants import key_sha256
from stfed.sealed.numpy import save
from stfed.sealed.outside import read_outside
from stfed.sealed.policy import Policy

ROOT = Path(__file__).parent.parent.parent
TENSORS = {"w": np.arange(1000, dtype=np.float32)}


@dataclass(frozen=True)
class Person:
    """Somebody with both keys."""

    name: str
    identity: Identity
    signing: SigningKey

    @classmethod
    def new(cls, name: str) -> Person:
        return cls(name, generate_keypair("x25519")[0], SigningKey.generate())

    @property
    def public(self) -> VerifyingKey:
        return self.signing.public

    def member(self, *roles: str, **more: Any) -> Member:
        return Member(self.name, frozenset(roles), self.identity.recipient, self.public, **more)


LAB, ALICE, BOB, CAROL, EVE = (Person.new(name) for name in ("lab", "alice", "bob", "carol", "eve"))
"""Who seals; two who may read; an auditor; and somebody whom the roster does not know."""


def roster() -> Roster:
    return Roster("test", (LAB.member("owner"), ALICE.member("recipient"), BOB.member("recipient"), CAROL.member("auditor")))


@dataclass(frozen=True)
class House:
    """A folder with a key service in it."""

    folder: Path
    made: Made

    @classmethod
    def new(cls, folder: Path, **changes: str | int) -> House:
        """A service on any free port of 127.0.0.1, with the roster above; `changes` are lines of its configuration or limits."""
        house = cls(folder, set_up(folder, ["127.0.0.1"], host="127.0.0.1", port=0, now=datetime.now(UTC)))
        house.write_roster(roster())
        text = house.made.config.read_text()
        for name, value in changes.items():
            text, count = re.subn(f"(?m)^{name} = .*$", f"{name} = {value}", text)
            assert count == 1, name
        house.made.config.write_text(text)
        return house

    @classmethod
    def existing(cls, folder: Path) -> House:
        public = read_public_keys(folder / "keyserver.key.pub")
        assert public.recipient is not None
        assert public.verifier is not None
        return cls(folder, Made(folder / "keyserver.toml", public.recipient, public.verifier))

    def write_roster(self, roster: Roster) -> None:
        roster.write(self.folder / "roster.toml")

    def client(self, person: Person, url: str, **changes: Any) -> KeyServer:
        arguments: dict[str, Any] = {"signer": person.signing, "service_key": self.made.verifier, "ca": self.folder / "tls.crt"} | changes
        return KeyServer(url, **arguments)

    def entries(self) -> list[Entry]:
        with AuditLog(self.folder / "audit.db", create=False) as log:
            log.verify()
            return list(log.entries())

    def last(self) -> dict[str, Any]:
        """The newest entry of the audit log, its kind among the fields."""
        entry = self.entries()[-1]
        return {"kind": entry.event.kind, **entry.event.fields}


def sealed(to: Recipient, signer: SigningKey | None = LAB.signing, policy: Policy | None = None, **more: Any) -> bytes:
    """A sealed file."""
    if signer is None:
        return save(TENSORS, recipients=to, **more)
    return save(TENSORS, recipients=to, signer=signer, policy=policy or Policy(), **more)


def for_alice(**conditions: Any) -> Policy:
    return Policy(readers=[ALICE.public], **conditions)


def envelope_of(data: bytes) -> Envelope:
    return read_outside(Memory(memoryview(data))).envelope


def statement(envelope: Envelope, service: VerifyingKey, nonce: bytes, caller: Person = ALICE, /, **changes: Any) -> Statement:
    """What an honest caller would sign, with changes."""
    return replace(
        Statement(
            service=key_sha256(service),
            nonce=nonce,
            time=datetime.now(UTC),
            caller=caller.public,
            reply_to=ONE_TIME.recipient,
            purpose=None,
            layout=envelope.manifest.layout,
            manifest_sha256=envelope.manifest.sha256,
            envelope_sha256=hashlib.sha256(envelope.encode()).digest(),
        ),
        **changes,
    )


ONE_TIME = generate_keypair("hybrid")[0]


@dataclass(frozen=True)
class Running:
    """A service that runs."""

    house: House
    url: str
    process: subprocess.Popen[str]

    def post(self, path: str, body: bytes | Iterator[bytes] = b"") -> tuple[int, bytes]:
        """One request, as anybody could send it."""
        context = ssl.create_default_context(cafile=self.house.folder / "tls.crt")
        with httpx.Client(verify=context, trust_env=False, timeout=20) as client:
            answer = client.post(f"{self.url}{path}", content=body)
        return answer.status_code, answer.content

    def nonce(self) -> bytes:
        return decode_challenge(self.post("/v1/challenge")[1])

    def request(self, envelope: Envelope, caller: Person = ALICE, **changes: Any) -> Request:
        said = statement(envelope, self.house.made.verifier, changes.pop("nonce", None) or self.nonce(), caller, **changes)
        return Request.make(said, envelope.encode(), caller.signing)

    def release(self, request: Request) -> tuple[int, bytes]:
        return self.post("/v1/release", request.encode())

    def client(self, person: Person = ALICE, **changes: Any) -> KeyServer:
        return self.house.client(person, self.url, **changes)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and what was said on stderr after the first line."""
        self.process.send_signal(how)
        said = self.process.communicate(timeout=30)[1]
        return self.process.returncode, said


@contextmanager
def running(house: House) -> Iterator[Running]:
    """The service in a process of its own, through the command line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stfed", "keyserver", "--config", str(house.made.config)],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        match = re.fullmatch(r"key service (\S+) ready on (https://127\.0\.0\.1:\d+)\n", line)
        assert match, line + process.stderr.read()
        assert match[1] == house.made.verifier.fingerprint
        yield Running(house, match[2], process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
