"""Wrapping a file key: age's own vectors, the right error for each way to be wrong."""

from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from stfed.errors import LocalError, MalformedError
from stfed.keys.encryption import HYBRID, X25519, Identity, Recipient
from stfed.sealed.errors import NotARecipientError, TamperedError, UnsupportedError
from stfed.sealed.recipients import check_recipients, check_stanzas, stanza_tag, unwrap, wrap
from stfed.sealed.stanza import Stanza

from .material import keypair, load_json

AGE: dict[str, Any] = load_json("age.json")
FILE_KEY, INFO = bytes(range(32)), b"info"


@pytest.mark.parametrize("vector", AGE["stanzas"], ids=lambda vector: vector["name"])
def test_the_age_test_kits_hybrid_stanzas(vector: dict[str, Any]) -> None:
    identity = Identity.from_string(vector["identity"])
    body = bytes.fromhex(vector["enc"]) + bytes.fromhex(vector["ciphertext"])
    info = AGE["info"].encode()
    if vector["expect"] == "success":
        assert identity.decrypt(body, info) == bytes.fromhex(vector["file_key"])
    elif vector["name"] == "hybrid_long_file_key":  # it decrypts; that a body has exactly one length is check_stanzas' business
        assert identity.decrypt(body, info) == b"A LONGER YELLOW SUBMARINE"
    else:
        with pytest.raises((InvalidTag, ValueError)):
            identity.decrypt(body, info)
    with pytest.raises(MalformedError, match="has a body of"):  # age's file keys are 16 bytes long, ours 32
        check_stanzas([Stanza("mlkem768x25519", bytes(8), body)])


@pytest.mark.parametrize("kind", ["hybrid", "x25519"])
def test_each_recipient_opens_and_nobody_else(kind: str) -> None:
    pairs = [keypair(name, kind) for name in ("a", "b", "c")]
    stanzas = wrap(FILE_KEY, [recipient for _, recipient in pairs], INFO)
    for index, (identity, _) in enumerate(pairs):
        assert unwrap(stanzas, [identity], INFO) == (FILE_KEY, index)
    stranger = keypair("d", kind)[0]
    with pytest.raises(NotARecipientError, match=f"sealed to 3 {kind} keys and not to .*{stranger.recipient.fingerprint}") as caught:
        unwrap(stanzas, [stranger], INFO)
    assert stranger.secret_string()[20:40] not in str(caught.value)
    assert unwrap(stanzas, [stranger, pairs[1][0]], INFO) == (FILE_KEY, 1)


def test_an_identity_of_the_other_kind_is_no_recipient() -> None:
    stanzas = wrap(FILE_KEY, [keypair("a", "hybrid")[1]], INFO)
    with pytest.raises(NotARecipientError):
        unwrap(stanzas, [keypair("a", "x25519")[0]], INFO)
    with pytest.raises(NotARecipientError):
        unwrap(stanzas, [], INFO)


@pytest.mark.parametrize("kind", ["hybrid", "x25519"])
def test_for_me_but_changed_stops_at_once(kind: str) -> None:
    identity, recipient = keypair(kind=kind)
    (stanza,) = wrap(FILE_KEY, [recipient], INFO)
    changed = Stanza(stanza.kind, stanza.tag, stanza.body[:-1] + bytes([stanza.body[-1] ^ 1]))
    for stanzas, info in (((changed,), INFO), ((stanza,), b"other info"), ((changed, stanza), INFO)):
        with pytest.raises(TamperedError, match="changed after sealing"):
            unwrap(stanzas, [identity], info)


def test_wrapping_is_randomised_and_the_tag_follows_the_encapsulated_key() -> None:
    _, recipient = keypair()
    first, second = wrap(FILE_KEY, [recipient, recipient], INFO)
    assert first.body != second.body
    assert first.tag != second.tag
    assert first.tag == stanza_tag(recipient, first.body[:32])


def test_lists_that_no_file_may_be_sealed_to() -> None:
    hybrid, x25519 = keypair("a", "hybrid")[1], keypair("a")[1]
    with pytest.raises(LocalError, match="no recipient"):
        check_recipients([])
    with pytest.raises(LocalError, match="hybrid and x25519"):
        check_recipients([hybrid, x25519])
    with pytest.raises(LocalError, match="1025 recipients"):
        check_recipients([x25519] * 1025)
    check_recipients([x25519] * 1024)


def test_stanzas_that_no_writer_makes() -> None:
    good = Stanza("x25519", bytes(8), bytes(80))
    with pytest.raises(UnsupportedError, match="kind 'scrypt'"):
        check_stanzas([good, Stanza("scrypt", bytes(8), bytes(80))])
    with pytest.raises(MalformedError, match="body of 81 bytes"):
        check_stanzas([good, Stanza("x25519", bytes(8), bytes(81))])
    with pytest.raises(MalformedError, match="mixes"):
        check_stanzas([good, Stanza("mlkem768x25519", bytes(8), bytes(1168))])


def test_unusable_public_keys() -> None:
    for recipient in (Recipient(X25519, bytes(32)), Recipient(HYBRID, b"\xff" * 1216)):
        with pytest.raises(LocalError, match="not usable"):
            wrap(FILE_KEY, [recipient], INFO)


def test_a_low_order_share_is_refused_not_computed_with() -> None:
    identity, recipient = keypair()
    body = bytes(32) + bytes(48)
    with pytest.raises(TamperedError):
        unwrap([Stanza("x25519", stanza_tag(recipient, body[:32]), body)], [identity], INFO)
