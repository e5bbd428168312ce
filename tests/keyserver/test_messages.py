"""One encoding for each message, strict reading, and a reply that opens for one request alone."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed import canonical
from stfed.crypto.identity import BadSignatureError
from stfed.crypto.labels import Label
from stfed.errors import DecodeError, MalformedError, SealError
from stfed.keys.encryption import HYBRID, Recipient, generate_keypair
from stfed.keys.signing import SigningKey
from stfed.keyserver import messages
from stfed.keyserver.messages import REQUEST_MAX_BYTES, STATEMENT_MAX_BYTES, Reply, Request
from stfed.keyserver.statement import Statement
from tests.keyserver.world import ALICE, BOB, ONE_TIME, envelope_of, sealed, statement

SERVICE = SigningKey.generate()
ENVELOPE = envelope_of(sealed(generate_keypair("x25519")[1]))
STATEMENT = statement(ENVELOPE, SERVICE.public, bytes(32), time=datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC), purpose="evaluation")
REQUEST = Request.make(STATEMENT, ENVELOPE.encode(), ALICE.signing)


def changed(**changes: Any) -> bytes:
    return canonical.encode({**json.loads(STATEMENT.encoded), **changes})


def test_what_is_written_is_read() -> None:
    assert Statement.decode(STATEMENT.encoded) == STATEMENT
    assert Request.decode(REQUEST.encode()) == REQUEST
    reply = Reply.make(STATEMENT, b"k" * 32, SERVICE)
    assert Reply.decode(reply.encode()) == reply
    assert messages.decode_challenge(messages.encode_challenge(b"n" * 32)) == b"n" * 32
    assert messages.decode_refusal(messages.encode_refusal("purpose")) == "purpose"


def test_the_largest_keys_fit() -> None:
    signer = SigningKey.generate("ed25519-mldsa65")
    said = statement(ENVELOPE, signer.public, bytes(32), caller=ALICE)
    said = replace(said, caller=signer.public, purpose="\U0001f600" * 64)
    request = Request.make(said, bytes(messages.ENVELOPE_MAX_BYTES), signer)
    assert len(said.encoded) < STATEMENT_MAX_BYTES
    assert len(request.encode()) <= REQUEST_MAX_BYTES
    Request.decode(request.encode()).verify()


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2}, {"version": True}, {"version": 1.0}, {"nonce": "00" * 31}, {"nonce": "AA" * 32}, {"service": None}, {"more": 1},
        {"time": "2026-05-06 07:08:09"}, {"caller": str(ALICE.public).upper()}, {"caller": str(ALICE.identity.recipient)}, {"caller": 7},
        {"reply_to": str(ALICE.identity.recipient)}, {"reply_to": str(ALICE.public)}, {"purpose": ""}, {"purpose": "a" * 65},
        {"purpose": "a\nb"}, {"purpose": 1}, {"file_id": "00"}, {"layout": {}}, {"layout": None}, {"manifest_sha256": ""},
        {"envelope_sha256": 0},
        {"layout": {"suite": "floe-aes256gcm-blake3", "slot_bytes": 65537, "payload_bytes": 200, "digests_bytes": 32}},
        {"layout": {"suite": "floe-aes256gcm-blake3", "slot_bytes": 65536, "payload_bytes": -1, "digests_bytes": 32}},
        {"layout": {"suite": "floe-aes256gcm-blake3", "slot_bytes": 65536, "payload_bytes": 200, "digests_bytes": 0}},
        {"layout": {"suite": "rot13", "slot_bytes": 65536, "payload_bytes": 200, "digests_bytes": 32}},
        {"layout": {"suite": "floe-aes256gcm-blake3", "slot_bytes": 65536, "payload_bytes": 200, "digests_bytes": 32.0}},
    ],
    ids=",".join,  # the names only: keys are new in each process
)  # fmt: skip
def test_a_statement_out_of_form_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SealError):
        Statement.decode(changed(**changes))


@pytest.mark.parametrize("name", sorted(json.loads(STATEMENT.encoded)))
def test_a_statement_without_a_field_is_refused(name: str) -> None:
    value = json.loads(STATEMENT.encoded)
    del value[name]
    with pytest.raises(MalformedError):
        Statement.decode(canonical.encode(value))


def test_lengths_are_checked_before_anything_is_read() -> None:
    too_long = (STATEMENT_MAX_BYTES + 1).to_bytes(4, "big")
    with pytest.raises(DecodeError, match="at most 16384"):
        Request.decode(too_long + bytes(STATEMENT_MAX_BYTES + 1))
    with pytest.raises(DecodeError, match="left over"):
        Request.decode(REQUEST.encode() + b"\0")


@given(st.binary(max_size=300))
def test_garbage_is_refused_by_one_family_of_errors(data: bytes) -> None:
    for read in (Request.decode, Statement.decode, Reply.decode, messages.decode_challenge, messages.decode_refusal):
        with pytest.raises((DecodeError, SealError)):
            read(data)


@given(st.integers(0, len(REQUEST.encode()) * 8 - 1))
def test_no_bit_of_a_request_can_be_changed_unseen(bit: int) -> None:
    """Another bit is another message: it does not decode, or not verify, or carries another envelope than was signed for."""
    data = bytearray(REQUEST.encode())
    data[bit // 8] ^= 1 << bit % 8
    try:
        request = Request.decode(bytes(data))
        request.verify()
    except (DecodeError, SealError, BadSignatureError):
        return
    assert request.statement == STATEMENT
    assert request.envelope != REQUEST.envelope


def test_a_signature_is_by_the_caller_that_is_named() -> None:
    forged = Request.make(STATEMENT, b"", BOB.signing)
    with pytest.raises(BadSignatureError):
        forged.verify()


def test_a_reply_opens_for_its_request_its_key_and_its_service_only() -> None:
    reply = Reply.make(STATEMENT, b"k" * 32, SERVICE)
    assert reply.open(STATEMENT, ONE_TIME, SERVICE.public) == b"k" * 32
    later = replace(STATEMENT, time=STATEMENT.time + timedelta(seconds=1))
    with pytest.raises(BadSignatureError):
        reply.open(later, ONE_TIME, SERVICE.public)
    with pytest.raises(BadSignatureError):
        reply.open(STATEMENT, ONE_TIME, ALICE.public)
    with pytest.raises(MalformedError):
        reply.open(STATEMENT, generate_keypair("hybrid")[0], SERVICE.public)
    for_another = Reply.make(later, b"k" * 32, SERVICE)
    signed_over = Reply(for_another.key, SERVICE.sign(Label.KEY_REPLY, STATEMENT.sha256, for_another.key))
    with pytest.raises(MalformedError):  # the HPKE info has the request's hash, whoever signs
        signed_over.open(STATEMENT, ONE_TIME, SERVICE.public)
    longer = Reply.make(STATEMENT, b"k" * 33, SERVICE)
    with pytest.raises(MalformedError):
        longer.open(STATEMENT, ONE_TIME, SERVICE.public)


def test_a_key_to_reply_to_that_is_no_point_is_a_value_error() -> None:
    useless = Recipient(HYBRID, b"\xff" * HYBRID.public_bytes)
    with pytest.raises(ValueError):  # noqa: PT011 - `cryptography` says no more
        Reply.make(replace(STATEMENT, reply_to=useless), b"k" * 32, SERVICE)
