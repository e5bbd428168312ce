import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from stfed.crypto import identity
from stfed.crypto.identity import BadSignatureError, Identity, fingerprint, verify
from stfed.crypto.kdf import framed
from stfed.crypto.labels import Label
from stfed.crypto.random import system_entropy
from stfed.errors import LocalError, PeerError
from tests.crypto.material import Tape, vectors

FIELD = 2**255 - 19
ALICE = Identity.from_private_bytes(bytes(range(32)))
PARTS = st.lists(st.binary(max_size=20), max_size=4)


def test_published_keys_and_the_librarys_published_signatures() -> None:
    for case in vectors("published")["ed25519"]:
        private, message = bytes.fromhex(case["private"]), bytes.fromhex(case["message"])
        assert Identity.from_private_bytes(private).public_bytes.hex() == case["public"], case["source"]
        assert Ed25519PrivateKey.from_private_bytes(private).sign(message).hex() == case["signature"], case["source"]


def test_vectors() -> None:
    for case in vectors("identity"):
        signer, label = Identity.from_private_bytes(bytes.fromhex(case["private"])), Label(case["label"].encode())
        parts = [bytes.fromhex(part) for part in case["parts"]]
        assert signer.public_bytes.hex() == case["public"]
        assert signer.sign(label, *parts).hex() == case["signature"]
        assert fingerprint(signer.public_bytes) == case["fingerprint"]
        verify(bytes.fromhex(case["public"]), bytes.fromhex(case["signature"]), label, *parts)


@given(st.sampled_from(Label), PARTS)
def test_what_is_signed_verifies_and_is_the_framed_content(label: Label, parts: list[bytes]) -> None:
    signature = ALICE.sign(label, *parts)
    assert len(signature) == identity.SIGNATURE_BYTES
    verify(ALICE.public_bytes, signature, label, *parts)
    Ed25519PublicKey.from_public_bytes(ALICE.public_bytes).verify(signature, framed(label, *parts))


@given(PARTS, PARTS)
def test_no_other_parts_verify(signed: list[bytes], claimed: list[bytes]) -> None:
    if signed != claimed:
        with pytest.raises(BadSignatureError):
            verify(ALICE.public_bytes, ALICE.sign(Label.JOIN, *signed), Label.JOIN, *claimed)


def test_parts_cannot_be_cut_differently() -> None:
    signature = ALICE.sign(Label.JOIN, b"ab", b"c")
    for parts in ([b"a", b"bc"], [b"abc"], [b"ab", b"c", b""], [b"c", b"ab"]):
        with pytest.raises(BadSignatureError):
            verify(ALICE.public_bytes, signature, Label.JOIN, *parts)


def test_a_signature_counts_for_its_label_and_its_key_alone() -> None:
    signature = ALICE.sign(Label.JOIN, b"x")
    for label in set(Label) - {Label.JOIN}:
        with pytest.raises(BadSignatureError, match=label.name):
            verify(ALICE.public_bytes, signature, label, b"x")
    with pytest.raises(BadSignatureError):
        verify(Identity.generate(system_entropy).public_bytes, signature, Label.JOIN, b"x")


def test_every_flipped_bit_of_the_signature_is_noticed() -> None:
    signature = ALICE.sign(Label.JOIN, b"x")
    for bit in range(8 * len(signature)):
        changed = bytearray(signature)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadSignatureError):
            verify(ALICE.public_bytes, bytes(changed), Label.JOIN, b"x")


@given(st.binary(max_size=80), st.binary(max_size=40) | st.binary(min_size=32, max_size=32))
def test_any_bytes_are_refused_with_the_one_error(signature: bytes, public: bytes) -> None:
    with pytest.raises(BadSignatureError):
        verify(public, signature, Label.JOIN, b"x")
    with pytest.raises(BadSignatureError):
        verify(ALICE.public_bytes, signature, Label.JOIN, b"x")


def test_a_signature_that_fits_every_message_is_refused() -> None:
    neutral = (1).to_bytes(32, "little")
    universal = neutral + bytes(32)
    for message in (b"anything", b"at all"):
        Ed25519PublicKey.from_public_bytes(neutral).verify(universal, message)  # OpenSSL lets it through: this is why we look
    with pytest.raises(BadSignatureError, match="pinned"):
        verify(neutral, universal, Label.JOIN, b"x")


def test_all_low_order_public_keys_are_refused_in_every_encoding() -> None:
    """The values are found here a second time: y doubles to x^2 + y^2 over 1 - d x^2 y^2, and order 8 is what doubles to y = 0."""
    d = -121665 * pow(121666, -1, FIELD) % FIELD
    y = identity._Y_OF_ORDER_8
    x_squared = (y * y - 1) * pow(d * y * y + 1, -1, FIELD) % FIELD
    assert (x_squared + y * y) % FIELD == 0
    assert pow(x_squared, (FIELD - 1) // 2, FIELD) == 1  # so there is such an x
    for value in (0, 1, FIELD - 1, FIELD, FIELD + 1, y, FIELD - y):
        for sign in (0, 2**255):
            with pytest.raises(BadSignatureError, match="pinned"):
                verify((value + sign).to_bytes(32, "little"), bytes(64), Label.JOIN)


def test_private_bytes_bring_the_identity_back() -> None:
    first = Identity.generate(Tape(bytes(range(32))))
    assert first.private_bytes() == bytes(range(32))
    assert Identity.from_private_bytes(first.private_bytes()).public_bytes == first.public_bytes == ALICE.public_bytes


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_private_keys_of_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(LocalError, match="32 bytes"):
        Identity.from_private_bytes(bytes(size))


def test_repr_shows_the_fingerprint_only() -> None:
    assert repr(ALICE) == f"Identity({fingerprint(ALICE.public_bytes)})"
    assert ALICE.private_bytes().hex()[:8] not in repr(ALICE)
    assert len(fingerprint(ALICE.public_bytes)) == 19
    assert not hasattr(ALICE, "__dict__")


def test_a_bad_signature_is_the_peers_fault() -> None:
    assert issubclass(BadSignatureError, PeerError)


# Bare texts, for formats that fix what is signed.


@given(st.binary(min_size=1, max_size=80).filter(lambda text: text[0] != 0))
def test_a_signed_text_verifies_and_is_signed_as_it_is(text: bytes) -> None:
    signature = ALICE.sign_text(text)
    identity.verify_text(ALICE.public_bytes, signature, text)
    Ed25519PublicKey.from_public_bytes(ALICE.public_bytes).verify(signature, text)
    with pytest.raises(BadSignatureError, match="signature of the text"):
        identity.verify_text(ALICE.public_bytes, signature, text + b"\n")
    with pytest.raises(BadSignatureError):
        identity.verify_text(Identity.generate(system_entropy).public_bytes, signature, text)


@given(st.sampled_from(Label), PARTS)
def test_nothing_framed_is_a_text_and_no_text_is_framed(label: Label, parts: list[bytes]) -> None:
    message = framed(label, *parts)
    assert message[0] == 0
    with pytest.raises(LocalError, match="zero byte"):
        ALICE.sign_text(message)
    with pytest.raises(BadSignatureError, match="zero byte"):
        identity.verify_text(ALICE.public_bytes, ALICE.sign(label, *parts), message)


def test_an_empty_text_is_not_signed() -> None:
    with pytest.raises(LocalError, match="empty"):
        ALICE.sign_text(b"")
    with pytest.raises(BadSignatureError, match="empty"):
        identity.verify_text(ALICE.public_bytes, Ed25519PrivateKey.from_private_bytes(bytes(range(32))).sign(b""), b"")


def test_a_key_that_fits_every_text_is_refused() -> None:
    with pytest.raises(BadSignatureError, match="pinned"):
        identity.verify_text((1).to_bytes(32, "little"), (1).to_bytes(32, "little") + bytes(32), b"anything")
