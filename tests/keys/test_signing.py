"""A signature counts for one key, one label and one list of parts; a hybrid one only if both halves do."""

import pickle
import traceback
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from stfed.crypto import identity
from stfed.crypto.identity import BadSignatureError
from stfed.crypto.labels import Label
from stfed.errors import LocalError, MalformedError
from stfed.keys import bech32
from stfed.keys.signing import Kind, SigningKey, VerifyingKey
from tests.keys.material import Script, keypair, signer, vectors

VECTORS: dict[str, Any] = vectors("signing")
LABEL = Label[VECTORS["label"]]
PARTS = [bytes.fromhex(part) for part in VECTORS["parts"]]
KINDS = pytest.mark.parametrize("kind", list(Kind))


def test_there_are_vectors() -> None:
    assert len(VECTORS["keys"]) == 4
    assert len(VECTORS["signatures"]) > 20
    assert sum(case["good"] for case in VECTORS["signatures"]) == 2


@pytest.mark.parametrize("entry", VECTORS["keys"], ids=lambda entry: f"{entry['name']} {entry['kind']}")
def test_keys_of_the_vectors(entry: dict[str, Any]) -> None:
    key = SigningKey.from_string(entry["secret"])
    assert key.kind == entry["kind"] == key.public.kind
    assert key.secret_string() == entry["secret"]
    assert str(key.public) == entry["public"]
    assert key.public == VerifyingKey.from_string(entry["public"])
    assert key.public.fingerprint == entry["fingerprint"]
    assert SigningKey(Kind(entry["kind"]), bytes.fromhex(entry["seed"])) == key


@pytest.mark.parametrize("case", VECTORS["signatures"], ids=lambda case: case["name"])
def test_signatures_of_the_vectors(case: dict[str, Any]) -> None:
    key, signature = VerifyingKey.from_string(case["key"]), bytes.fromhex(case["signature"])
    if case["good"]:
        key.verify(signature, LABEL, *PARTS)
    else:
        with pytest.raises(BadSignatureError, match=f"SEALED_POLICY signature is not by the key {key.fingerprint}"):
            key.verify(signature, LABEL, *PARTS)


@KINDS
@given(parts=st.lists(st.binary(max_size=40), max_size=4), other=st.lists(st.binary(max_size=40), max_size=4))
def test_a_signature_counts_for_its_parts_only(kind: Kind, parts: list[bytes], other: list[bytes]) -> None:
    key = signer(kind=kind)
    signature = key.sign(Label.SEALED_POLICY, *parts)
    assert len(signature) == key.public.signature_bytes == {"ed25519": 64, "ed25519-mldsa65": 3373}[kind]
    key.public.verify(signature, Label.SEALED_POLICY, *parts)
    with pytest.raises(BadSignatureError):
        key.public.verify(signature, Label.SEALED_PAYLOAD, *parts)
    if other != parts:
        with pytest.raises(BadSignatureError):
            key.public.verify(signature, Label.SEALED_POLICY, *other)


@KINDS
@given(at=st.integers(0, 3372), bit=st.integers(0, 7))
def test_every_bit_of_a_signature_counts(kind: Kind, at: int, bit: int) -> None:
    key = signer(kind=kind)
    signature = bytearray(key.sign(LABEL, b"weights"))
    signature[at % len(signature)] ^= 1 << bit
    with pytest.raises(BadSignatureError):
        key.public.verify(bytes(signature), LABEL, b"weights")


def test_half_a_hybrid_key_is_another_key() -> None:
    """Neither do signatures of the half count for the whole, nor is the half taken for the whole anywhere that keys are compared."""
    whole = signer(kind="ed25519-mldsa65")
    half = SigningKey.from_string(bech32.encode("stfed-signing-key-", whole.ed25519.private_bytes()))
    assert half.public.ed25519 == whole.public.ed25519
    assert half != whole
    assert half.public != whole.public
    assert half.public not in {whole.public}
    assert half.public.fingerprint != whole.public.fingerprint
    with pytest.raises(BadSignatureError):
        whole.public.verify(half.sign(LABEL), LABEL)
    with pytest.raises(BadSignatureError):
        half.public.verify(whole.sign(LABEL), LABEL)


def test_two_hybrid_keys_that_differ_in_one_half() -> None:
    one, two = (SigningKey(Kind.HYBRID, Script("same")(32) + Script(name)(32)) for name in ("a", "b"))
    assert one.public != two.public
    with pytest.raises(BadSignatureError):
        two.public.verify(one.sign(LABEL), LABEL)


@pytest.mark.parametrize("point", ["01" + "00" * 31, "01" + "00" * 30 + "80", "ee" + "ff" * 30 + "7f", "ec" + "ff" * 30 + "7f", "00" * 32])
def test_a_key_of_low_order_verifies_nothing(point: str) -> None:
    """Under the neutral element (01 00...), the base point and s = 1 are a signature over every message; OpenSSL takes it."""
    forged = bytes.fromhex("58" + "66" * 31) + (1).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(bytes.fromhex("01" + "00" * 31)).verify(forged, b"any message")
    hybrid = signer(kind="ed25519-mldsa65")
    for key, signature in (
        (VerifyingKey(Kind.ED25519, bytes.fromhex(point)), forged),
        (VerifyingKey(Kind.HYBRID, bytes.fromhex(point) + hybrid.public.public_bytes[32:]), forged + hybrid.sign(LABEL)[64:]),
    ):
        with pytest.raises(BadSignatureError):
            key.verify(signature, LABEL)


@KINDS
def test_text_forms(kind: Kind) -> None:
    key = SigningKey.generate(kind)
    assert SigningKey.from_string(key.secret_string()) == key
    assert SigningKey.from_string(key.secret_string().lower()) == key
    assert VerifyingKey.from_string(str(key.public)) == key.public
    assert hash(VerifyingKey.from_string(str(key.public))) == hash(key.public)
    assert str(key.public).startswith({"ed25519": "stfedsig1", "ed25519-mldsa65": "stfedsigpq1"}[kind])
    assert key.secret_string().startswith({"ed25519": "STFED-SIGNING-KEY-1", "ed25519-mldsa65": "STFED-SIGNING-KEY-PQ-1"}[kind])
    assert len(key.public.fingerprint) == 19
    assert SigningKey.generate(kind) != key
    assert SigningKey.generate(kind, entropy=Script("a")) == SigningKey.generate(kind, entropy=Script("a"))


def test_the_ed25519_half_is_the_identity_of_the_core() -> None:
    for kind in Kind:
        key = signer(kind=kind)
        identity.verify(key.public.ed25519, key.ed25519.sign(LABEL, b"x"), LABEL, b"x")


@KINDS
def test_secrets_never_show(kind: Kind) -> None:
    key = signer(kind=kind)
    secret = key.secret_string()
    for text in (repr(key), str(key), f"{key}", repr([key])):
        assert key.public.fingerprint in text
        assert "secret hidden" in text
        assert secret[20:40] not in text.upper()
        assert key.ed25519.private_bytes().hex()[:20] not in text
    with pytest.raises(TypeError):  # it does not travel with a task to another process by accident
        pickle.dumps(key)


@KINDS
def test_a_key_of_the_wrong_sort(kind: Kind) -> None:
    secret = signer(kind=kind).secret_string()
    for read, text, says in (
        (VerifyingKey.from_string, secret, "this is a secret key"),
        (VerifyingKey.from_string, keypair()[0].secret_string(), "this is a secret key"),
        (VerifyingKey.from_string, str(keypair()[1]), "for encryption; one for signatures is needed"),
        (SigningKey.from_string, keypair()[0].secret_string(), "for encryption; one for signatures is needed"),
        (SigningKey.from_string, str(signer(kind=kind).public), "this is no secret signing key"),
        (SigningKey.from_string, secret[:-1] + ("Q" if secret[-1] != "Q" else "P"), "checksum"),
    ):
        with pytest.raises(MalformedError, match=says) as caught:
            read(text)
        shown = "".join(traceback.format_exception(caught.value)).upper()
        assert secret[24:44] not in shown
        assert keypair()[0].secret_string()[24:44] not in shown


def test_other_prefixes_and_lengths() -> None:
    for prefix, size_bytes in (("stfedsig", 31), ("stfedsig", 1984), ("stfedsigpq", 32), ("stfedsigx", 32)):
        with pytest.raises(MalformedError, match="no signing key starts with"):
            VerifyingKey.from_string(bech32.encode(prefix, bytes(size_bytes)))
    for prefix, size_bytes in (("stfed-signing-key-", 64), ("stfed-signing-key-pq-", 32)):
        with pytest.raises(MalformedError, match="no secret signing key"):
            SigningKey.from_string(bech32.encode(prefix, bytes(size_bytes)))
    with pytest.raises(MalformedError, match="has 32 bytes, not 33"):
        VerifyingKey(Kind.ED25519, bytes(33))
    with pytest.raises(LocalError, match="has 64 bytes, not 32"):
        SigningKey(Kind.HYBRID, bytes(32))
    with pytest.raises(LocalError, match="use ed25519 or ed25519-mldsa65"):
        SigningKey.generate("rsa")
