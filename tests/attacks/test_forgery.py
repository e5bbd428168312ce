"""The attack that the digests are there for: a recipient changes weights, and every tag of GCM stays as it was.

Whoever holds the file key holds H, and GHASH is a polynomial in it (NIST SP 800-38D, section 6.4): a change of one block is made good by
another one. So a signature over tags, which is cheaper, would let each recipient forge for all the others; see `sealed_format.ghash`.
"""

from pathlib import Path

import numpy as np
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from stfed.sealed import TamperedError, UntrustedError, verify_file
from stfed.sealed.numpy import load
from stfed.sealed.recipients import unwrap
from stfed.sealed.stanza import Stanza
from tests.attacks.parts import Parts
from tests.attacks.scene import TENSORS, Scene, attack
from tests.vectors.sealed_format import encoding, floe, ghash
from tests.vectors.sealed_format.container import associated_data, context

SEGMENT, BLOCK, GARBAGE = 1, 100, 253
WANTED = np.full(4, 1000, np.float32)


def forge(scene: Scene, parts: Parts) -> Parts:
    """Mallory, a recipient, makes four weights what they want; four others become noise. Tags, header and all else stay."""
    info = encoding.framed(encoding.FILE_KEY, *context(parts.manifest))
    file_key, _ = unwrap([Stanza.from_json(one) for one in parts.envelope["recipients"]], [scene.mallory], info)
    key = floe.segment_key(file_key, associated_data(parts.manifest), parts.floe_header[:-32])
    segment = parts.segments[SEGMENT]
    plain = AESGCM(key).decrypt(segment[4:16], segment[16:], floe.position_ad(SEGMENT, False))
    old = plain[BLOCK * 16 : BLOCK * 16 + 16]
    change = bytes(a ^ b for a, b in zip(old, WANTED.tobytes(), strict=True))
    parts.segments[SEGMENT] = segment[:16] + ghash.forge(key, segment[16:-16], BLOCK, change, GARBAGE) + segment[-16:]
    assert parts.segments[SEGMENT] != segment
    assert parts.segments[SEGMENT][-16:] == segment[-16:]
    return parts


def test_without_signed_digests_the_forgery_is_a_good_file(tmp_path: Path) -> None:
    """What the victim gets where nothing is signed: the weights that mallory wants, under tags that verify. Nobody can tell."""
    scene = Scene(tmp_path)
    honest = Parts.of(scene.sealed(shared=True, signer=None))
    tags = [segment[-16:] for segment in honest.segments]
    forged = forge(scene, honest)
    assert [segment[-16:] for segment in forged.segments] == tags, "a signature over tags would still hold"
    tensors = load(forged.file(), identity=scene.identity)
    got = np.concatenate([tensors[name].reshape(-1) for name in ("embedding", "head")])
    true = np.concatenate([TENSORS[name].reshape(-1) for name in ("embedding", "head")])
    (changed,) = np.nonzero(got.view(np.uint32) != true.view(np.uint32))
    assert set(WANTED) <= set(got[changed])
    assert 4 < len(changed) <= 10, "four weights as wanted, four of noise, on a grid that need not be the weights'"


@attack(UntrustedError, "the file is not signed")
def test_a_recipient_forges_weights_in_an_unsigned_file(scene: Scene) -> None:
    """The same against a victim who asks for alice's signature."""
    scene.opens(forge(scene, Parts.of(scene.sealed(shared=True, signer=None))).file())


@attack(TamperedError, "segment 1 is not the one that was signed")
def test_a_recipient_forges_weights_in_a_signed_file(scene: Scene) -> None:
    """A recipient changes weights under unchanged tags, hoping that the other recipients take them for alice's."""
    scene.opens(forge(scene, Parts.of(scene.sealed(shared=True))).file())


@attack(TamperedError, "segment 1 is not the one that was signed")
def test_a_recipient_forges_weights_under_sha256(scene: Scene) -> None:
    """The same with the other digest."""
    scene.opens(forge(scene, Parts.of(scene.sealed(shared=True, digest="sha256"))).file())


@attack(TamperedError, "segment 1 is not the one that was signed")
def test_a_recipient_forges_weights_where_nobody_is_trusted(scene: Scene) -> None:
    """The same against a reader who asks for no signature: one that is there is checked."""
    scene.opens(forge(scene, Parts.of(scene.sealed(shared=True))).file(), trusted=None)


@attack(TamperedError, "the signature of")
def test_a_recipient_forges_weights_and_digests(scene: Scene) -> None:
    """The same with the digests made to fit, which the signature covers."""
    scene.opens(forge(scene, Parts.of(scene.sealed(shared=True))).rehash().file())


@attack(TamperedError, "segment 1 is not the one that was signed")
def test_a_recipient_forges_weights_for_an_auditor(scene: Scene) -> None:
    """The same against an auditor who holds no key."""
    scene.path.write_bytes(forge(scene, Parts.of(scene.sealed(shared=True))).file())
    verify_file(scene.path, trusted=scene.alice.public)


@given(st.binary(min_size=32, max_size=32), st.integers(2, 40), st.data())
def test_the_forgery_holds_under_a_stock_implementation(key: bytes, blocks: int, data: st.DataObject) -> None:
    """For any two blocks and any change OpenSSL accepts the tag, and decrypts to what was wanted."""
    block, garbage = data.draw(st.lists(st.integers(0, blocks - 1), min_size=2, max_size=2, unique=True))
    change = data.draw(st.binary(min_size=16, max_size=16))
    plain, nonce, aad = bytes(16 * blocks + 5), bytes(12), b"position"
    sealed = AESGCM(key).encrypt(nonce, plain, aad)
    forged = ghash.forge(key, sealed[:-16], block, change, garbage) + sealed[-16:]
    opened = AESGCM(key).decrypt(nonce, forged, aad)
    assert opened[16 * block : 16 * block + 16] == change
    assert all(opened[16 * at : 16 * at + 16] == bytes(16) for at in range(blocks) if at not in (block, garbage))
    assert opened[16 * blocks :] == bytes(5)


def test_with_the_wrong_key_it_does_not() -> None:
    sealed = AESGCM(bytes(32)).encrypt(bytes(12), bytes(64), b"")
    with pytest.raises(InvalidTag):
        AESGCM(bytes(32)).decrypt(bytes(12), ghash.forge(b"\1" * 32, sealed[:-16], 0, b"\1" * 16, 2) + sealed[-16:], b"")


@given(*[st.integers(0, (1 << 128) - 1)] * 3)
def test_the_field_is_a_field(left: int, right: int, other: int) -> None:
    one = 1 << 127
    assert ghash.multiply(left, one) == left
    assert ghash.multiply(left, right) == ghash.multiply(right, left)
    assert ghash.multiply(left, right ^ other) == ghash.multiply(left, right) ^ ghash.multiply(left, other)
    assert ghash.multiply(ghash.multiply(left, right), other) == ghash.multiply(left, ghash.multiply(right, other))
    assert left == 0 or ghash.multiply(left, ghash.power(left, -1)) == one
