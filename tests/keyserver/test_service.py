"""The decisions, with a clock of our own, on real files and real keys, without a network."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytest

from stfed import canonical
from stfed.audit import AuditLog, Kind, log_key
from stfed.crypto.labels import Label
from stfed.errors import LocalError
from stfed.keys.encryption import generate_keypair
from stfed.keys.roster import Roster
from stfed.keys.signing import SigningKey
from stfed.keyserver.logbook import Logbook
from stfed.keyserver.messages import ENVELOPE_MAX_BYTES, Reply, Request, decode_challenge
from stfed.keyserver.rules import RULES, Refused
from stfed.keyserver.service import CLOCK_TOLERANCE, NONCE_LIFE, Limits, Service
from stfed.keyserver.store import Store
from stfed.sealed import grant
from stfed.sealed.envelope import Envelope
from stfed.sealed.fields import to_base64
from stfed.sealed.numpy import save
from stfed.sealed.policy import Policy
from tests.keyserver import world
from tests.keyserver.world import ALICE, BOB, CAROL, EVE, LAB, ONE_TIME, Person, envelope_of, for_alice, sealed

IDENTITY, KEY = generate_keypair("x25519")
FORMER, FORMER_KEY = generate_keypair("hybrid")
SIGNER = SigningKey.generate()
FILE = sealed(KEY, policy=for_alice())
ADDRESS = "192.0.2.1"


@dataclass
class Desk:
    """A service with its clock, roster and log at hand."""

    log: AuditLog
    store: Store
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    roster: Roster | Exception = field(default_factory=world.roster)
    limits: Limits = field(default_factory=lambda: Limits(strangers_logged=1000))
    every: int = 1000

    @cached_property
    def book(self) -> Logbook:
        return Logbook(self.log, SIGNER, self.every, strangers_per_minute=self.limits.strangers_logged, clock=lambda: self.now.timestamp())

    @property
    def service(self) -> Service:
        return Service([IDENTITY, FORMER], SIGNER, self._roster, self.store, self.book, limits=self.limits, clock=lambda: self.now)

    def _roster(self) -> Roster:
        if isinstance(self.roster, Exception):
            raise self.roster
        return self.roster

    def request(self, data: bytes | Envelope, caller: Person = ALICE, **changes: Any) -> Request:
        envelope = data if isinstance(data, Envelope) else envelope_of(data)
        nonce = changes.pop("nonce", None) or decode_challenge(self.service.challenge(ADDRESS))
        said = replace(world.statement(envelope, SIGNER.public, nonce, caller), **{"time": self.now, **changes})
        return Request.make(said, envelope.encode(), caller.signing)

    def key(self, data: bytes | Envelope, caller: Person = ALICE, **changes: Any) -> bytes:
        """The file key, as the caller gets it."""
        request = self.request(data, caller, **changes)
        reply = Reply.decode(self.service.release(request.encode(), ADDRESS))
        return reply.open(request.statement, ONE_TIME, SIGNER.public)

    def refuses(self, rule: str, request: Request | bytes | None) -> dict[str, Any]:
        """Holds that a request is refused by this rule, and that the log says so; the entry's fields."""
        before = self.log.size
        with pytest.raises(Refused) as refused:
            self.service.release(request.encode() if isinstance(request, Request) else request, ADDRESS)
        assert refused.value.rule.name == rule
        assert self.log.size == before + 1
        event = self.log.entry(before).event
        assert (event.kind, event.fields["rule"], event.fields["address"]) == (Kind.KEY_REFUSED, rule, ADDRESS)
        return dict(event.fields)


@contextmanager
def desk(tmp_path: Path, **more: Any) -> Iterator[Desk]:
    store = Store(tmp_path / "store.db")
    with AuditLog(tmp_path / "audit.db", origin="test/keys") as log:
        yield Desk(log, store, **more)
    store.close()


def opens(file_key: bytes, envelope: Envelope) -> bool:
    """Whether this is the file's key: the service's own stanza says."""
    return IDENTITY.decrypt(envelope.recipients[0].body, envelope.manifest.context.key_info) == file_key


def test_a_reader_gets_the_key_and_the_log_says_who_what_and_for_what(tmp_path: Path) -> None:
    envelope = envelope_of(FILE)
    with desk(tmp_path) as here:
        file_key = here.key(FILE, purpose="evaluation")
        assert opens(file_key, envelope)
        entry = here.log.entry(0)
    fields = dict(entry.event.fields)
    assert len(str(fields.pop("request_sha256"))) == 64
    assert entry.event.kind is Kind.KEY_RELEASE
    assert fields == {
        "actor": ALICE.public.fingerprint,
        "address": ADDRESS,
        "file_id": envelope.manifest.context.file_id.hex(),
        "generation": 1,
        "manifest_sha256": envelope.manifest.sha256.hex(),
        "member": "alice",
        "purpose": "evaluation",
        "signers": LAB.public.fingerprint,
    }
    for secret in (file_key, *(bytes.fromhex(file_key.hex()[at : at + 16]) for at in range(0, 48, 16))):
        for written in (tmp_path / "audit.db", tmp_path / "store.db"):
            assert secret not in written.read_bytes()
            assert secret.hex().encode() not in written.read_bytes()


def test_without_readers_every_recipient_of_the_roster_may(tmp_path: Path) -> None:
    open_to_all = sealed(KEY)
    with desk(tmp_path) as here:
        assert here.key(open_to_all, BOB) == here.key(open_to_all, ALICE)
        here.refuses("role", here.request(open_to_all, CAROL))


def test_a_former_key_of_the_service_opens_what_was_sealed_to_it(tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        assert len(here.key(sealed(FORMER_KEY))) == 32


def test_access_by_a_grant_made_later(tmp_path: Path) -> None:
    """The service's stanza may come from a grant: the chain is verified, and the granter must be somebody whom its roster accepts."""
    stranger = Person.new("stranger")
    for owner, policy in ((LAB, for_alice()), (stranger, for_alice(owners=[stranger.public]))):
        path = tmp_path / "file"
        path.write_bytes(sealed(LAB.identity.recipient, policy=policy))
        before = envelope_of(path.read_bytes())
        grant(path, recipients=KEY, signer=owner.signing, identity=LAB.identity)
        granted = envelope_of(path.read_bytes())
        with desk(tmp_path) as here:
            here.refuses("recipients", here.request(before))
            if owner is LAB:
                assert len(here.key(granted)) == 32
                forged = replace(granted, grants=(replace(granted.grants[0], signature=bytes(64)),))
                here.refuses("tampered", here.request(forged))
                assert "was not made by an owner" in here.refuses(
                    "owners", here.request(replace(granted, grants=(replace(granted.grants[0], granter=bytes(32)),)))
                )["reason"]  # fmt: skip
            else:
                here.refuses("signers", here.request(granted))
        path.unlink()


def test_the_policy_goes_by_the_clock_of_the_service(tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        here.now = here.now.replace(microsecond=0)
        start, end = here.now + timedelta(hours=1), here.now + timedelta(hours=2)
        data = sealed(KEY, policy=for_alice(not_before=start, not_after=end, purposes=["evaluation", "audit"]))
        begin = here.now
        for moment, rule in ((begin, "not-before"), (end + timedelta(seconds=1), "not-after")):
            here.now = moment
            here.refuses(rule, here.request(data, purpose="evaluation"))
        for here.now in (start, end):
            assert len(here.key(data, purpose="audit")) == 32
        for purpose in (None, "training"):
            here.refuses("purpose", here.request(data, purpose=purpose))


def test_a_nonce_lives_a_minute_and_works_once(tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        nonce = decode_challenge(here.service.challenge(ADDRESS))
        request = here.request(FILE, nonce=nonce)
        here.service.release(request.encode(), ADDRESS)
        here.refuses("nonce", request)
        late = here.request(FILE)
        here.now += NONCE_LIFE + timedelta(seconds=1)
        here.refuses("nonce", late)
        here.refuses("nonce", here.request(FILE, nonce=b"\1" * 32))


def test_a_nonce_is_burned_by_whatever_is_refused(tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        nonce = decode_challenge(here.service.challenge(ADDRESS))
        here.refuses("signature", replace(here.request(FILE, nonce=nonce), signature=bytes(64)))
        here.refuses("nonce", here.request(FILE, nonce=nonce))


def test_a_clock_that_is_minutes_off_is_refused(tmp_path: Path) -> None:
    """Beside the nonce: were the database restored from an old copy, old requests would still be old."""
    with desk(tmp_path) as here:
        for off in (CLOCK_TOLERANCE + timedelta(seconds=2), -CLOCK_TOLERANCE - timedelta(seconds=2)):
            here.refuses("clock", here.request(FILE, time=here.now + off))
        here.key(FILE, time=here.now - CLOCK_TOLERANCE + timedelta(seconds=2))


def test_strangers_hear_one_refusal_whatever_was_wrong() -> None:
    told = {name for name, rule in RULES.items() if rule.heard.name == "unauthenticated"}
    assert told == {"nonce", "service", "signature", "unknown", "unauthenticated"}


def test_a_stranger_is_refused_before_the_envelope_is_looked_at(tmp_path: Path) -> None:
    """Four MiB of brackets from somebody unknown cost no parsing: what is wrong with them is never found out."""
    deep = b"[" * ENVELOPE_MAX_BYTES
    with desk(tmp_path) as here:
        request = replace(here.request(FILE, EVE), envelope=deep)
        began = time.perf_counter()
        here.refuses("unknown", request)
        assert time.perf_counter() - began < 1
        here.refuses("tampered", replace(here.request(FILE), envelope=deep))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda roster, now: roster.revoke("alice", now, "laptop stolen"), "revoked"),
        (lambda roster, now: roster.remove("alice"), "unknown"),
        (lambda roster, now: roster.rotate("alice", signing=EVE.public, at=now - timedelta(hours=1)), "retired"),
        (lambda roster, now: roster.remove("alice").add(ALICE.member("auditor")), "role"),
        (lambda roster, now: roster.remove("alice").add(ALICE.member("recipient", not_before=now + timedelta(hours=1))), "key-not-before"),
        (lambda roster, now: roster.remove("alice").add(ALICE.member("recipient", not_after=now - timedelta(hours=1))), "key-not-after"),
        (lambda roster, now: roster.revoke("lab", now), "signers"),
        (lambda roster, now: roster.remove("lab").add(LAB.member("auditor")), "signers"),
    ],
)  # fmt: skip
def test_the_roster_decides(change: Any, rule: str, tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        here.key(FILE)
        here.roster = change(here.roster, here.now)
        here.refuses(rule, here.request(FILE))


def test_a_roster_that_cannot_be_read_refuses_everybody(tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        here.roster = LocalError("there is no roster")
        assert here.refuses("unavailable", here.request(FILE))["reason"] == "there is no roster"
        with pytest.raises(LocalError):
            here.service.check()


def test_size_and_form(tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        here.refuses("size", None)
        for body in (b"", b"\xff" * 100, here.request(FILE).encode()[:-1]):
            here.refuses("malformed", body)


def test_what_reads_like_a_secret_is_refused_and_not_logged(tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        request = here.request(FILE, purpose="AGE-SECRET-KEY-1QQQ")
        with pytest.raises(Refused) as refused:
            here.service.release(request.encode(), ADDRESS)
        assert refused.value.rule.name == "unavailable"
        assert "SECRET-KEY" not in str(here.log.entry(0).event.fields)


def test_each_caller_has_an_allowance_and_its_end_is_noted_once(tmp_path: Path) -> None:
    open_to_all = sealed(KEY)
    with desk(tmp_path, limits=Limits(per_caller=2)) as here:
        for _ in range(2):
            here.key(open_to_all)
        here.refuses("rate", here.request(open_to_all))
        size = here.log.size
        for _ in range(3):
            with pytest.raises(Refused):
                here.service.release(here.request(open_to_all).encode(), ADDRESS)
        assert here.log.size == size
        here.key(open_to_all, BOB)
        here.now += timedelta(seconds=31)
        here.key(open_to_all)


def test_each_caller_has_an_allowance_of_bytes(tmp_path: Path) -> None:
    """What an envelope costs the service grows with its length: long ones use the allowance up, and only the caller's own."""
    long = b"[" * (700 << 10)
    with desk(tmp_path, limits=Limits(mib_per_caller=1)) as here:
        here.key(FILE)
        here.refuses("tampered", replace(here.request(FILE), envelope=long))
        refused = here.refuses("rate", replace(here.request(FILE), envelope=long))
        assert "bytes of caller" in refused["reason"]
        here.key(FILE)
        here.key(sealed(KEY), BOB)
        here.now += timedelta(seconds=61)
        huge = b"[" * ENVELOPE_MAX_BYTES
        here.refuses("tampered", replace(here.request(FILE), envelope=huge))  # over a minute's worth: all of it, once
        here.refuses("rate", here.request(FILE))
        here.now += timedelta(seconds=1)
        here.key(FILE)


def test_the_manifest_is_parsed_only_where_somebody_known_signed_it(tmp_path: Path) -> None:
    """A policy that is nonsense is found out in a file of the lab; in a stranger's, or in the lab's name, nobody gets as far as that."""
    manifest = envelope_of(FILE).manifest.to_json() | {"policy": "nonsense"}
    with desk(tmp_path) as here:
        for named, by, rule in ((LAB, LAB, "envelope"), (EVE, EVE, "signers"), (LAB, EVE, "tampered")):
            stated = manifest | {"signers": [str(named.public)]}
            signature = by.signing.sign(Label.SEALED_SIGNATURE, canonical.encode(stated))
            parts = {"manifest": stated, "recipients": [], "signatures": [to_base64(signature)], "grants": []}
            envelope = canonical.encode(parts)
            request = here.request(FILE, envelope_sha256=hashlib.sha256(envelope).digest())
            here.refuses(rule, replace(request, envelope=envelope))


def test_the_default_allowance_takes_what_people_do_and_not_what_attackers_do() -> None:
    limits = Limits()
    usual = len(envelope_of(save(world.TENSORS, recipients=[generate_keypair()[1] for _ in range(20)], signer=LAB.signing)).encode())
    assert usual * limits.per_caller < limits.mib_per_caller << 20
    assert (limits.mib_per_caller << 20) // ENVELOPE_MAX_BYTES <= 4


def test_whoever_is_revoked_has_the_same_allowance(tmp_path: Path) -> None:
    """A thief whose key was revoked can sign requests all day; each has an entry, so there must be few."""
    with desk(tmp_path, limits=Limits(per_caller=2)) as here:
        assert isinstance(here.roster, Roster)
        here.roster = here.roster.revoke("alice", here.now, "laptop stolen")
        for rule in ("revoked", "revoked", "rate"):
            here.refuses(rule, here.request(FILE))
        size = here.log.size
        for _ in range(5):
            with pytest.raises(Refused):
                here.service.release(here.request(FILE).encode(), ADDRESS)
        assert here.log.size == size


def test_strangers_cannot_fill_the_log(tmp_path: Path) -> None:
    """Whatever it is that they send, and from however many addresses; people in the roster are logged as ever."""
    with desk(tmp_path, limits=Limits(strangers_logged=10, per_address=5), every=5) as here:
        bodies = [None, b"junk", here.request(FILE, nonce=bytes(32)).encode()]
        for number in range(40):
            bodies += [here.request(FILE, EVE).encode()] if number % 4 == 0 else []
            bodies += [replace(here.request(FILE), signature=bytes(64)).encode()] if number % 4 == 1 else []
        count = 0
        for number in range(200):
            address, body = f"192.0.2.{number % 20}", bodies[number % len(bodies)]
            for action in (partial(here.service.admit, address), partial(here.service.release, body, address)):
                count += _refused(action)
        assert count > 250
        assert here.log.size == 10
        assert here.log.checkpoints() == []
        here.refuses("readers", here.request(FILE, BOB))
        here.key(FILE)
        assert here.log.size == 12
        here.book.finish()
        entries = [entry.event.fields for entry in here.log.entries() if entry.event.kind is Kind.KEY_REFUSED]
        assert sum(int(fields.get("suppressed") or 0) + ("rule" in fields) for fields in entries) == count + 1


def _refused(action: Callable[[], object]) -> bool:
    try:
        action()
    except Refused:
        return True
    return False


def test_addresses_and_the_whole_have_allowances(tmp_path: Path) -> None:
    with desk(tmp_path, limits=Limits(per_address=2, total=3)) as here:
        for _ in range(2):
            here.service.admit("192.0.2.1")
        for address, which in (("192.0.2.1", "address 192.0.2.1"), ("192.0.2.2", None), ("192.0.2.2", "total"), ("192.0.2.9", "total")):
            if which is None:
                here.service.admit(address)
                continue
            with pytest.raises(Refused, match=f"allowance of {which}"):
                here.service.admit(address)
        assert [entry.event.fields["reason"] for entry in here.log.entries()] == [
            "the allowance of address 192.0.2.1 is used up",
            "the allowance of total is used up",
        ]


def test_challenges_are_bounded(tmp_path: Path) -> None:
    with desk(tmp_path, limits=Limits(challenges=2)) as here:
        for _ in range(2):
            here.service.challenge(ADDRESS)
        with pytest.raises(Refused, match="too many challenges"):
            here.service.challenge(ADDRESS)
        here.now += NONCE_LIFE + timedelta(seconds=1)
        here.service.challenge(ADDRESS)


def test_no_entry_no_key(tmp_path: Path) -> None:
    """Fail closed: whatever keeps the log from being written keeps the key from leaving."""
    with desk(tmp_path) as here:
        request = here.request(FILE)
        (tmp_path / "audit.db").rename(tmp_path / "moved.db")
        with pytest.raises(Refused) as refused:
            here.service.release(request.encode(), ADDRESS)
        assert refused.value.rule.name == "unavailable"
        (tmp_path / "moved.db").rename(tmp_path / "audit.db")
        here.key(FILE)
        assert [entry.event.kind for entry in here.log.entries()] == [Kind.KEY_RELEASE]


def test_no_checkpoint_no_key(tmp_path: Path) -> None:
    """A log that somebody rewrote since its last checkpoint is not written on: nothing is released over it."""
    with desk(tmp_path, every=2) as here:
        here.key(FILE)
        here.key(FILE)
        with here.log._database.writing() as connection:
            (trigger,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'hashes_no_update'").fetchone()
            for statement in ("DROP TRIGGER hashes_no_update", "UPDATE hashes SET hash = zeroblob(32)", trigger):
                connection.execute(statement)
        here.key(FILE)
        with pytest.raises(Refused, match="checkpoint"):
            here.service.release(here.request(FILE).encode(), ADDRESS)


def test_the_log_is_signed_after_every_so_many_entries(tmp_path: Path) -> None:
    with desk(tmp_path, every=3) as here:
        for _ in range(7):
            here.key(FILE)
        report = here.log.verify(trusted_keys=[log_key("test/keys", SIGNER.public.ed25519)])
        assert report is not None
        assert [text.split("\n")[1] for text in here.log.checkpoints()] == ["3", "6"]


def test_a_key_to_reply_to_that_is_not_usable_is_refused_before_the_entry(tmp_path: Path) -> None:
    useless = replace(ONE_TIME.recipient, public=b"\xff" * 1216)
    with desk(tmp_path) as here:
        here.refuses("malformed", here.request(FILE, reply_to=useless))


def test_a_file_under_a_passphrase_is_not_for_the_service(tmp_path: Path) -> None:
    data = save(world.TENSORS, passphrase="correct horse", signer=LAB.signing)
    with desk(tmp_path) as here:
        here.refuses("recipients", here.request(data))


def test_an_unsigned_file_has_no_policy_and_is_refused(tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        here.refuses("signers", here.request(sealed(KEY, signer=None)))


def test_several_signers_one_trusted_is_enough_but_every_signature_must_hold(tmp_path: Path) -> None:
    both = envelope_of(save(world.TENSORS, recipients=KEY, signer=[EVE.signing, LAB.signing], policy=Policy()))
    with desk(tmp_path) as here:
        assert len(here.key(both)) == 32
        here.refuses("tampered", here.request(replace(both, signatures=(bytes(64), both.signatures[1]))))
