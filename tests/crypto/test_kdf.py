import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from stfed.crypto import kdf
from stfed.crypto.labels import Label
from tests.crypto.material import vectors

LABELS = st.sampled_from(Label)
PARTS = st.lists(st.binary(max_size=40), max_size=5)


def test_the_librarys_hkdf_gives_the_published_answers() -> None:
    for case in vectors("published")["hkdf"]:
        secret, salt, info, okm = (bytes.fromhex(case[k]) for k in ("secret", "salt", "info", "okm"))
        assert HKDF(hashes.SHA256(), len(okm), salt or None, info).derive(secret) == okm, case["source"]


@given(st.binary(max_size=100), LABELS, PARTS, st.binary(max_size=100))
def test_derive_is_the_librarys_hkdf(secret: bytes, label: Label, parts: list[bytes], salt: bytes) -> None:
    expected = HKDF(hashes.SHA256(), kdf.KEY_BYTES, salt or None, kdf.framed(label, *parts)).derive(secret)
    assert kdf.derive(secret, label, *parts, salt=salt) == expected


@given(st.binary(max_size=100), st.binary(max_size=100), st.lists(st.tuples(LABELS, PARTS), max_size=4))
def test_one_extraction_serves_many_keys(secret: bytes, salt: bytes, infos: list[tuple[Label, list[bytes]]]) -> None:
    extracted = kdf.extract(secret, salt=salt)
    for label, parts in infos:
        assert kdf.expand(extracted, kdf.framed(label, *parts)) == kdf.derive(secret, label, *parts, salt=salt)
    framed = [kdf.framed(label, *parts) for label, parts in infos]
    assert kdf.expand_all(extracted, *framed) == [kdf.expand(extracted, info) for info in framed]


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_mac_is_the_standard_librarys_hmac(key: bytes, message: bytes) -> None:
    """Keys shorter than a block, of a block and longer."""
    assert kdf.mac(kdf.mac_key(key), message) == hmac.digest(key, message, "sha256")


def test_vectors() -> None:
    for case in vectors("kdf"):
        label, parts = Label(case["label"].encode()), [bytes.fromhex(part) for part in case["parts"]]
        assert kdf.framed(label, *parts).hex() == case["framed"]
        assert kdf.digest(label, *parts).hex() == case["digest"]
        assert kdf.derive(bytes.fromhex(case["secret"]), label, *parts, salt=bytes.fromhex(case["salt"])).hex() == case["derived"]


@given(LABELS, PARTS, LABELS, PARTS)
def test_framing_is_injective(left: Label, left_parts: list[bytes], right: Label, right_parts: list[bytes]) -> None:
    same_input = (left, left_parts) == (right, right_parts)
    assert (kdf.framed(left, *left_parts) == kdf.framed(right, *right_parts)) == same_input


@given(st.lists(st.binary(min_size=1, max_size=6), min_size=2, max_size=4), st.integers(1, 20))
def test_moving_a_border_between_parts_changes_everything(parts: list[bytes], cut: int) -> None:
    joined = b"".join(parts)
    other = [joined[:cut], joined[cut:]]
    if other != parts:
        assert kdf.digest(Label.JOIN, *parts) != kdf.digest(Label.JOIN, *other)
        assert kdf.derive(b"k", Label.JOIN, *parts) != kdf.derive(b"k", Label.JOIN, *other)


def test_every_input_of_derive_matters() -> None:
    base = kdf.derive(b"secret", Label.SELF_MASK, b"transcript", salt=b"salt")
    assert len(base) == kdf.KEY_BYTES
    others = [
        kdf.derive(b"secreu", Label.SELF_MASK, b"transcript", salt=b"salt"),
        kdf.derive(b"secret", Label.PAIRWISE_MASK, b"transcript", salt=b"salt"),
        kdf.derive(b"secret", Label.SELF_MASK, b"transcripu", salt=b"salt"),
        kdf.derive(b"secret", Label.SELF_MASK, b"transcript", b"", salt=b"salt"),
        kdf.derive(b"secret", Label.SELF_MASK, salt=b"salt"),
        kdf.derive(b"secret", Label.SELF_MASK, b"transcript", salt=b"salu"),
        kdf.derive(b"secret", Label.SELF_MASK, b"transcript"),
    ]
    assert len({base, *others}) == len(others) + 1


def test_digest_is_sha256_of_the_framing() -> None:
    assert kdf.digest(Label.JOIN, b"x") == hashlib.sha256(b"\0\0\0\x13stfed/secagg/join/1\0\0\0\x01x").digest()


@pytest.mark.parametrize(("left", "right"), [(b"", b""), (b"same", b"same"), (b"same", b"sane"), (b"long", b"longer")])
def test_equal_is_equality(left: bytes, right: bytes) -> None:
    assert kdf.equal(left, right) == (left == right)
