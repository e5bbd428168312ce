import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.crypto import aead
from stfed.crypto.random import system_entropy
from stfed.errors import LocalError, PeerError
from tests.crypto.material import Tape, vectors

KEYS = st.binary(min_size=32, max_size=32)
NONCES = st.binary(min_size=12, max_size=12)


def test_published_answers() -> None:
    for case in vectors("published")["gcm"]:
        key, nonce, plaintext, ad, sealed = (bytes.fromhex(case[k]) for k in ("key", "nonce", "plaintext", "associated_data", "sealed"))
        assert aead.seal(key, nonce, plaintext, ad) == sealed, case["source"]
        assert aead.open_(key, nonce, sealed, ad) == plaintext, case["source"]


def test_vectors_open_or_are_refused() -> None:
    cases = vectors("aead")
    assert {case["plaintext"] is None for case in cases} == {True, False}
    for case in cases:
        key, sealed, ad = (bytes.fromhex(case[k]) for k in ("key", "sealed", "associated_data"))
        if case["plaintext"] is None:
            with pytest.raises(aead.AuthenticationError):
                aead.open_random(key, sealed, ad)
        else:
            plaintext = bytes.fromhex(case["plaintext"])
            assert aead.open_random(key, sealed, ad) == plaintext
            assert aead.seal_random(key, plaintext, ad, Tape(sealed[:12])) == sealed


@given(KEYS, NONCES, st.binary(max_size=200), st.binary(max_size=50))
def test_what_is_sealed_opens(key: bytes, nonce: bytes, plaintext: bytes, ad: bytes) -> None:
    sealed = aead.seal(key, nonce, plaintext, ad)
    assert len(sealed) == len(plaintext) + aead.TAG_BYTES
    assert aead.open_(key, nonce, sealed, ad) == plaintext


def test_every_flipped_bit_is_noticed() -> None:
    key, nonce, ad = bytes(range(32)), bytes(range(12)), b"context"
    sealed = aead.seal(key, nonce, b"share of b and z", ad)
    for name, original in {"key": key, "nonce": nonce, "sealed": sealed, "ad": ad}.items():
        for bit in range(8 * len(original)):
            changed = bytearray(original)
            changed[bit // 8] ^= 1 << bit % 8
            given = {"key": key, "nonce": nonce, "sealed": sealed, "ad": ad, name: bytes(changed)}
            with pytest.raises(aead.AuthenticationError, match="not authentic"):
                aead.open_(given["key"], given["nonce"], given["sealed"], given["ad"])


def test_every_truncation_and_extension_is_noticed() -> None:
    key = bytes(32)
    sealed = aead.seal_random(key, b"secret", b"ad", system_entropy)
    for size in range(len(sealed)):
        with pytest.raises(aead.AuthenticationError):
            aead.open_random(key, sealed[:size], b"ad")
    with pytest.raises(aead.AuthenticationError):
        aead.open_random(key, sealed + b"\0", b"ad")
    with pytest.raises(aead.AuthenticationError, match="5 bytes"):
        aead.open_(key, bytes(12), bytes(5), b"ad")


def test_random_nonces_come_from_the_entropy_and_differ() -> None:
    key = bytes(32)
    assert aead.seal_random(key, b"", b"", Tape(bytes(range(12)))) == bytes(range(12)) + aead.seal(key, bytes(range(12)), b"", b"")
    assert len({aead.seal_random(key, b"x", b"", system_entropy) for _ in range(100)}) == 100


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_keys_of_other_sizes_are_refused_even_where_aes_would_take_them(size: int) -> None:
    with pytest.raises(LocalError, match="key"):
        aead.seal(bytes(size), bytes(12), b"", b"")
    with pytest.raises(LocalError, match="key"):
        aead.open_(bytes(size), bytes(12), bytes(16), b"")


@pytest.mark.parametrize("size", [0, 8, 11, 13, 16])
def test_nonces_of_other_sizes_are_refused_even_where_gcm_would_take_them(size: int) -> None:
    with pytest.raises(LocalError, match="nonce"):
        aead.seal(bytes(32), bytes(size), b"", b"")
    with pytest.raises(LocalError, match="nonce"):
        aead.open_(bytes(32), bytes(size), bytes(16), b"")


def test_two_gigabytes_are_refused_before_the_library_sees_them() -> None:
    huge = bytes(2**31)  # zero pages that nobody touches
    with pytest.raises(LocalError, match="chunks"):
        aead.seal(bytes(32), bytes(12), huge, b"")
    with pytest.raises(LocalError, match="chunks"):
        aead.seal(bytes(32), bytes(12), b"", huge)
    with pytest.raises(aead.AuthenticationError, match="2147483648 bytes"):
        aead.open_(bytes(32), bytes(12), huge, b"")


def test_a_failed_opening_blames_the_peer_and_shows_nothing_secret() -> None:
    key = bytes(range(32))
    with pytest.raises(PeerError) as caught:
        aead.open_(key, bytes(12), b"\xaa" * 40, b"")
    assert key.hex() not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@given(KEYS, NONCES, st.binary(max_size=200), st.data())
def test_some_blocks_decrypt_to_what_was_sealed_there(key: bytes, nonce: bytes, plaintext: bytes, data: st.DataObject) -> None:
    whole = len(plaintext) // aead.BLOCK_BYTES
    blocks = data.draw(st.lists(st.integers(0, whole - 1), max_size=6)) if whole else []
    sealed = aead.seal(key, nonce, plaintext, b"")

    def parts(of: bytes) -> bytes:
        return b"".join(of[aead.BLOCK_BYTES * block :][: aead.BLOCK_BYTES] for block in blocks)

    assert aead.decrypt_blocks(key, nonce, parts(sealed), blocks) == parts(plaintext)


def test_blocks_are_whole_and_keys_of_the_right_size() -> None:
    for key_bytes, nonce_bytes, ciphertext in ((16, 12, b""), (32, 8, b""), (32, 12, bytes(17))):
        with pytest.raises(LocalError):
            aead.decrypt_blocks(bytes(key_bytes), bytes(nonce_bytes), ciphertext, [0] * bool(ciphertext))
