"""What people would try against a running key service, over the network, and which rule stops them.

One service for all of them: a real process with real TLS, and the audit log that it leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stfed.crypto.labels import Label
from stfed.keys.encryption import generate_keypair
from stfed.keys.signing import SigningKey
from stfed.keyserver.messages import REQUEST_MAX_BYTES, Request, decode_refusal, encode_refusal
from stfed.sealed import AccessDeniedError, NotARecipientError
from stfed.sealed.envelope import Envelope
from stfed.sealed.grants import key_sha256
from stfed.sealed.manifest import Manifest
from stfed.sealed.numpy import load, load_file, safe_open
from stfed.sealed.policy import Policy
from stfed.sealed.stanza import recipients_sha256
from tests.keyserver import world
from tests.keyserver.world import ALICE, BOB, CAROL, EVE, LAB, TENSORS, House, Person, Running, envelope_of, for_alice, sealed

STRANGER = (403, encode_refusal("unauthenticated"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with world.running(House.new(tmp_path_factory.mktemp("house") / "keys", strangers_logged=100_000)) as running:
        yield running


@pytest.fixture
def file(service: Running) -> bytes:
    """A file for Alice, to be opened for evaluation."""
    return sealed(service.house.made.recipient, policy=for_alice(purposes=["evaluation"]))


def opens(service: Running, data: bytes, person: Person, **options: Any) -> bool:
    return bool(np.array_equal(load(data, service=service.client(person), **options)["w"], TENSORS["w"]))


def denied(service: Running, data: bytes, person: Person, rule: str, **options: Any) -> None:
    """Holds that a reader is refused by this rule, and that the log has the refusal as its newest entry, without a release."""
    with pytest.raises(AccessDeniedError) as refused:
        load(data, service=service.client(person), **options)
    assert refused.value.rule == rule
    assert "the key service at https://127.0.0.1" in refused.value.message
    last = service.house.last()
    logged = "unknown" if rule == "unauthenticated" else rule
    assert (last["kind"], last["rule"], last["actor"]) == ("key-refused", logged, person.public.fingerprint)


def refused(service: Running, request: Request, status: int, rule: str) -> None:
    """The same for a request made by hand."""
    code, answer = service.release(request)
    assert (code, decode_refusal(answer)) == (status, rule)
    assert (service.house.last()["kind"], service.house.last()["rule"]) == ("key-refused", rule)


def stranger(service: Running, request: Request, rule: str) -> None:
    """Holds that a request is refused as every stranger's is, byte for byte, and that the log knows the real rule."""
    assert service.release(request) == STRANGER
    assert service.house.last()["rule"] == rule


def test_the_way_it_is_meant(service: Running, file: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(file)
    reader = service.client(ALICE)
    opened = load_file(tmp_path / "model.safetensors", service=reader, purpose="evaluation", trusted=LAB.public)
    assert np.array_equal(opened["w"], TENSORS["w"])
    last = service.house.last()
    assert (last["kind"], last["actor"], last["purpose"], last["member"]) == (
        "key-release",
        ALICE.public.fingerprint,
        "evaluation",
        "alice",
    )
    with safe_open(tmp_path / "model.safetensors", service=reader, purpose="evaluation") as lazily:
        assert lazily.get_slice("w")[3] == 3.0
    assert len([entry for entry in service.house.entries() if entry.event.fields.get("file_id") == last["file_id"]]) == 2


def test_the_roster_is_read_at_every_release(service: Running, file: bytes) -> None:
    """A thief has Alice's key: revoked while the service runs, the very next request is refused; so is everybody's if the roster breaks."""
    roster = world.roster()
    assert opens(service, file, ALICE, purpose="evaluation")
    try:
        service.house.write_roster(roster.revoke("alice", datetime.now(UTC), "laptop stolen"))
        denied(service, file, ALICE, "revoked", purpose="evaluation")
        (service.house.folder / "roster.toml").write_text("version = 1\nname = 'broken")
        with pytest.raises(Exception, match="read its roster"):
            load(file, service=service.client(), purpose="evaluation")
        (service.house.folder / "roster.toml").unlink()
        with pytest.raises(Exception, match="read its roster"):
            load(file, service=service.client(), purpose="evaluation")
    finally:
        service.house.write_roster(roster)
    assert opens(service, file, ALICE, purpose="evaluation")


def test_who_is_refused_and_why(service: Running, file: bytes) -> None:
    to, now = service.house.made.recipient, datetime.now(UTC)
    denied(service, file, BOB, "readers", purpose="evaluation")
    denied(service, file, CAROL, "role", purpose="evaluation")
    denied(service, file, EVE, "unauthenticated", purpose="evaluation")
    denied(service, sealed(generate_keypair()[1], policy=for_alice()), ALICE, "recipients")
    denied(service, sealed(to, policy=for_alice(), signer=EVE.signing), ALICE, "signers")
    denied(service, sealed(to, policy=for_alice(), signer=BOB.signing), ALICE, "signers")
    denied(service, sealed(to, signer=None), ALICE, "signers")
    old = envelope_of(sealed(to, policy=for_alice(not_after=now - timedelta(days=1))))
    refused(service, service.request(old), 403, "not-after")
    early = envelope_of(sealed(to, policy=for_alice(not_before=now + timedelta(days=1))))
    refused(service, service.request(early), 403, "not-before")


def test_a_reader_of_their_own_does_not_get_round_the_purpose(service: Running, file: bytes) -> None:
    """The library checks a policy at every open; somebody with a library of their own skips that. The service does not hand the key out."""
    for purpose in (None, "training"):
        refused(service, service.request(envelope_of(file), purpose=purpose), 403, "purpose")


def test_a_request_that_was_recorded_is_worth_nothing(service: Running, file: bytes) -> None:
    """Replay, as it was and under a fresh nonce: the one is burned, the other breaks the signature."""
    request = service.request(envelope_of(file), purpose="evaluation")
    assert service.release(request)[0] == 200
    stranger(service, request, "nonce")
    stranger(service, replace(request, statement=replace(request.statement, nonce=service.nonce())), "signature")


def test_a_request_for_another_service(service: Running, file: bytes) -> None:
    """A service that Alice also uses passes her request on, with a nonce that it fetched here: the request names its service."""
    other = key_sha256(SigningKey.generate().public)
    stranger(service, service.request(envelope_of(file), purpose="evaluation", service=other), "service")


def test_somebody_else_in_whose_name(service: Running, file: bytes) -> None:
    """Bob signs a request in which Alice is the caller, or puts his own one-time key into hers."""
    request = service.request(envelope_of(file), purpose="evaluation")
    stranger(service, Request.make(request.statement, request.envelope, BOB.signing), "signature")
    request = service.request(envelope_of(file), purpose="evaluation")
    mine = replace(request.statement, reply_to=generate_keypair("hybrid")[1])
    stranger(service, replace(request, statement=mine), "signature")


def _laxer(file: Envelope, signer: SigningKey, policy: Policy) -> Envelope:
    """The same stanzas, file id and lengths under another policy, with a signature that verifies."""
    context = replace(file.manifest.context, policy=policy, signers=(signer.public,))
    manifest = replace(file.manifest, context=context)
    return replace(file, manifest=manifest).signed((signer,))


def test_a_laxer_policy_by_an_allowed_signer(service: Running, file: bytes) -> None:
    """Bob's friend may seal files, and signs a manifest in which Bob is a reader around the stanza of a file that is not for him.

    Everything verifies; the stanza was made under another policy and other signers, and does not open under these (HPKE's info).
    """
    friend = Person.new("friend")
    roster = world.roster()
    try:
        service.house.write_roster(roster.add(friend.member("coordinator")))
        for signer in (friend.signing, LAB.signing):
            swapped = _laxer(envelope_of(file), signer, Policy(readers=[BOB.public]))
            swapped.verify()
            assert Envelope.decode(swapped.encode(), swapped.manifest.layout) == swapped
            refused(service, service.request(swapped, BOB), 422, "tampered")
    finally:
        service.house.write_roster(roster)


def test_a_stanza_carried_into_a_file_of_ones_own(service: Running, file: bytes) -> None:
    """Bob's friend seals a file of their own for Bob, and puts the service's stanza of Alice's file into it."""
    own = envelope_of(sealed(service.house.made.recipient, policy=Policy(readers=[BOB.public])))
    stolen = envelope_of(file).recipients
    manifest = replace(own.manifest, recipients_sha256=recipients_sha256(stolen))
    carried = replace(own, manifest=manifest, recipients=stolen).signed((LAB.signing,))
    refused(service, service.request(carried, BOB), 422, "tampered")


def test_a_manifest_that_was_edited(service: Running, file: bytes) -> None:
    """The policy cut out, the reader exchanged, the signature left as it was or taken away."""
    envelope = envelope_of(file)
    context = envelope.manifest.context
    for policy in (Policy(), Policy(readers=[BOB.public])):
        edited = replace(envelope, manifest=replace(envelope.manifest, context=replace(context, policy=policy)))
        refused(service, service.request(edited, BOB), 422, "tampered")
    stripped = replace(envelope, signatures=())
    refused(service, service.request(stripped, BOB), 422, "envelope")


def test_an_envelope_that_is_not_the_one_signed_for(service: Running, file: bytes) -> None:
    """Whoever is in between exchanges the envelope, or the caller says one manifest and sends another: nothing is looked at further."""
    request = service.request(envelope_of(file), purpose="evaluation")
    other = envelope_of(sealed(service.house.made.recipient))
    refused(service, replace(request, envelope=other.encode()), 422, "tampered")
    lying = service.request(envelope_of(file), purpose="evaluation", manifest_sha256=other.manifest.sha256)
    refused(service, lying, 422, "tampered")
    for junk in (b"", b"{}", envelope_of(file).encode()[:-1], envelope_of(file).encode() + b" "):
        request = service.request(envelope_of(file), envelope_sha256=hashlib.sha256(junk).digest())
        refused(service, replace(request, envelope=junk), 422, "envelope")
    mislaid = service.request(other, layout=replace(other.manifest.layout, file_id=bytes(32)))
    refused(service, mislaid, 422, "envelope")


def test_too_long_and_garbage(service: Running) -> None:
    for body in (b"", b"{}", b"\0" * 1000, REQUEST_MAX_BYTES.to_bytes(4, "big") * 10):
        assert service.post("/v1/release", body) == (400, encode_refusal("malformed"))
        assert service.house.last()["rule"] == "malformed"
    code, answer = service.post("/v1/release", bytes(REQUEST_MAX_BYTES + 1))
    assert (code, decode_refusal(answer), service.house.last()["rule"]) == (413, "size", "size")
    assert service.post("/v1/release", bytes(REQUEST_MAX_BYTES))[0] == 400
    assert service.post("/v1/nothing")[0] == 404
    assert service.post("/")[0] == 404


def test_a_body_whose_length_is_not_announced(service: Running) -> None:
    """In chunks, as much as the service will take, no more than the limit is ever kept."""
    chunks = (bytes(1 << 20) for _ in range(8))
    code, answer = service.post("/v1/release", chunks)
    assert (code, decode_refusal(answer), service.house.last()["rule"]) == (413, "size", "size")


def test_a_member_and_a_stranger_cannot_be_told_apart_by_who_holds_no_key(service: Running, file: bytes) -> None:
    """To whoever cannot sign for her, the answer about Alice is the one about somebody who does not exist."""
    for name in (ALICE, Person.new("nobody")):
        request = service.request(envelope_of(file), name)
        assert service.release(replace(request, signature=EVE.signing.sign(Label.KEY_REQUEST, request.statement.encoded))) == STRANGER


def test_no_secret_in_anything_that_the_service_leaves(service: Running, file: bytes) -> None:
    """Neither the file's key nor the service's own is in log or database, whatever was asked."""
    envelope = envelope_of(file)
    key = service.client(ALICE).file_key(envelope, "evaluation")
    secrets = {key.hex().encode(), key}
    for path in (service.house.folder / "audit.db", service.house.folder / "keyserver.db"):
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets)
        assert b"SECRET-KEY-" not in content
        assert b"SIGNING-KEY-" not in content


def test_the_service_is_no_recipient_for_people(file: bytes) -> None:
    """Alice's own key does not open the file: the service is asked, or nobody."""
    with pytest.raises(NotARecipientError):
        load(file, identity=ALICE.identity, purpose="evaluation")


def test_manifests_are_what_they_were(file: bytes) -> None:
    """The helper that swaps policies makes manifests that read as what they say; else the attacks above would fail for the wrong reason."""
    envelope = envelope_of(file)
    laxer = _laxer(envelope, LAB.signing, Policy())
    assert Manifest.from_json(laxer.manifest.to_json(), envelope.manifest.layout) == laxer.manifest
    assert laxer.manifest.context.file_id == envelope.manifest.context.file_id
    assert laxer.recipients == envelope.recipients
