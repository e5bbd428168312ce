"""Every key, seed and commitment of the protocol, each in one line: what it is derived from and what it is bound to.

Names are the papers' (Bonawitz et al., CCS 2017; Bell et al., CCS 2020): K_ij pairwise key, s_ij pairwise seed of a round, b_i
self-mask seed, z_i box key, T transcript. Derivation is HKDF-SHA256 (RFC 5869) with a label of its own for every purpose.

Forward secrecy: K(r) is ratcheted forward before round r sends anything, so who seizes a party after a round finds neither that
round's seeds nor any earlier ones.

Functions in the plural give what their singular gives for many neighbours at once, and frame what all of them have in common only once:
a round of n parties with k neighbours each makes some 15 n k keys and hashes. Tests hold the two together.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Container, Iterable, Mapping, Sequence

from stfed.crypto import agreement
from stfed.crypto.kdf import derive, digest, expand, expand_all, extract, framed, mac, mac_key
from stfed.crypto.labels import Label
from stfed.secagg.messages import SHORT_HASH_BYTES, DealtShares, DrawnPrepare, Header, Join, Prepare, ShareOf, encode_parties

_FRAMED_ENDS = struct.Struct(">4I")
_TO_NEXT, _TO_ROUND = framed(Label.RATCHET_NEXT), framed(Label.RATCHET_ROUND)


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _framed_ends(one: int, other: int) -> bytes:
    """Two parties as `framed` writes them behind a label: four bytes each, behind their length."""
    return _FRAMED_ENDS.pack(4, one, 4, other)


def pairwise_key(private_key: bytes, own: Join, other: Join) -> bytes:
    """K_ij of an epoch: X25519, then HKDF over run, suite and both parties' (identity, public key), sorted.

    The identities are in, so a party that shows somebody else's public key as its own shares no key with anybody (unknown key share).
    """
    return pairwise_keys(private_key, own, (other,))[0]


def pairwise_keys(private_key: bytes, own: Join, others: Sequence[Join]) -> list[bytes]:
    """`pairwise_key` with each of the others, in about half the time."""
    secrets = agreement.shared_secrets(private_key, [other.public_key for other in others])
    salt, end = mac_key(own.header.run.to_bytes(8, "big")), own.identity + own.public_key
    start, size = framed(Label.PAIRWISE_KEY, own.header.encode()) + _u32(len(end)), _u32(len(end))
    ends = [other.identity + other.public_key for other in others]
    return [
        expand(mac(salt, secret), start + (end + size + other if end < other else other + size + end))
        for secret, other in zip(secrets, ends, strict=True)
    ]


def next_key(key: bytes) -> bytes:
    """K(r + 1) from K(r); there is no way back."""
    return derive(key, Label.RATCHET_NEXT)


def round_key(key: bytes) -> bytes:
    """R(r) from K(r): what round r derives its seeds and share keys from."""
    return derive(key, Label.RATCHET_ROUND)


def next_and_round_key(key: bytes) -> tuple[bytes, bytes]:
    """Both, for three quarters of the hashing."""
    following, of_round = expand_all(extract(key), _TO_NEXT, _TO_ROUND)
    return following, of_round


def pairwise_seed(round_key: bytes, header: Header, cohort_digest: bytes) -> bytes:
    """s_ij: the same on both ends."""
    return derive(round_key, Label.PAIRWISE_SEED, header.encode(), cohort_digest)


def share_key(round_key: bytes, header: Header, src: int, dst: int) -> bytes:
    """The AES-256-GCM key for the shares that `src` deals to `dst`: one per direction and round."""
    return derive(round_key, Label.SHARE_KEY, header.encode(), _u32(src), _u32(dst))


def neighbour_keys(
    round_keys: Mapping[int, bytes], header: Header, cohort_digest: bytes, own: int, holders: Container[int]
) -> list[tuple[bytes, bytes, bytes]]:
    """For each neighbour: s_ij, the key of the shares dealt to it (empty for who is no holder), the key of the shares that come from it.

    Args:
        round_keys: R(r) by neighbour.
        header: the round's header.
        cohort_digest: as `pairwise_seed`.
        own: this party.
        holders: the neighbours that this party deals shares to.
    """
    seed_info = framed(Label.PAIRWISE_SEED, header.encode(), cohort_digest)
    share_info = framed(Label.SHARE_KEY, header.encode())
    result = []
    for other, key in round_keys.items():
        incoming_info = share_info + _framed_ends(other, own)
        if other in holders:
            seed, incoming, outgoing = expand_all(extract(key), seed_info, incoming_info, share_info + _framed_ends(own, other))
        else:
            (seed, incoming), outgoing = expand_all(extract(key), seed_info, incoming_info), b""
        result.append((seed, outgoing, incoming))
    return result


def box_key(secret: bytes, header: Header, owner: int) -> bytes:
    """The AES-256-GCM key of a party's box, from its secret z. It encrypts one message, so its nonce is fixed."""
    return derive(secret, Label.BOX_KEY, header.encode(), _u32(owner))


def self_mask_key(self_seed: bytes, transcript: bytes) -> bytes:
    """The keystream key of PRG(b_i) in the round of this transcript."""
    return derive(self_seed, Label.SELF_MASK, transcript)


def pairwise_mask_key(seed: bytes, transcript: bytes) -> bytes:
    """The keystream key of PRG(s_ij) in the round of this transcript."""
    return derive(seed, Label.PAIRWISE_MASK, transcript)


def self_mask_keys(self_seeds: Iterable[bytes], transcript: bytes) -> list[bytes]:
    """`self_mask_key` of many seeds."""
    info = framed(Label.SELF_MASK, transcript)
    return [expand(extract(seed), info) for seed in self_seeds]


def pairwise_mask_keys(seeds: Iterable[bytes], transcript: bytes) -> list[bytes]:
    """`pairwise_mask_key` of many seeds."""
    info = framed(Label.PAIRWISE_MASK, transcript)
    return [expand(extract(seed), info) for seed in seeds]


def commit_self_seed(secret: bytes, header: Header, owner: int) -> bytes:
    """32-byte commitment to b; hiding because b is uniform over 65521^16 (255.99 bits)."""
    return digest(Label.COMMIT_SELF_SEED, header.encode(), _u32(owner), secret)


def commit_box_key(secret: bytes, header: Header, owner: int) -> bytes:
    """32-byte commitment to z, likewise."""
    return digest(Label.COMMIT_BOX_KEY, header.encode(), _u32(owner), secret)


def commit_pairwise_seed(seed: bytes, header: Header, one: int, other: int) -> bytes:
    """16-byte commitment to s_ij. Both ends publish it, so it must not depend on the direction."""
    return digest(Label.COMMIT_PAIRWISE_SEED, header.encode(), _u32(min(one, other)), _u32(max(one, other)), seed)[:SHORT_HASH_BYTES]


def share_hash(share: bytes, of: ShareOf, header: Header, dealer: int, holder: int) -> bytes:
    """16-byte hash of one share, published by its dealer."""
    return digest(Label.COMMIT_SHARE, header.encode(), bytes((of,)), _u32(dealer), _u32(holder), share)[:SHORT_HASH_BYTES]


def share_hashes(shares: Iterable[tuple[int, int, bytes]], of: ShareOf, header: Header) -> list[bytes]:
    """`share_hash` of many (dealer, holder, share)."""
    start = framed(Label.COMMIT_SHARE, header.encode(), bytes((of,)))
    return [
        hashlib.sha256(start + _framed_ends(dealer, holder) + _u32(len(share)) + share).digest()[:SHORT_HASH_BYTES]
        for dealer, holder, share in shares
    ]


def commit_pairwise_seeds(seeds: Iterable[tuple[int, bytes]], header: Header, own: int) -> list[bytes]:
    """`commit_pairwise_seed` of many (other, seed)."""
    start = framed(Label.COMMIT_PAIRWISE_SEED, header.encode())
    return [
        hashlib.sha256(start + _framed_ends(min(own, other), max(own, other)) + _u32(len(seed)) + seed).digest()[:SHORT_HASH_BYTES]
        for other, seed in seeds
    ]


def commitments_digest(
    header: Header,
    owner: int,
    commit_b: bytes,
    commit_z: bytes,
    box: bytes,
    public: list[tuple[bytes, bytes, bytes]],
    *drawn: bytes,
) -> bytes:
    """32 bytes over all that a dealer publishes in PREPARE except the share ciphertexts, which are bound to it by their associated data.

    Args:
        header: the round's header.
        owner: the dealer.
        commit_b: its commitment to b.
        commit_z: its commitment to z.
        box: its box.
        public: per neighbour, in order: hash of the share of b, hash of the share of z, commitment to the pairwise seed.
        drawn: where the dealer has drawn its holders: their names, and the commitments to the seeds with everybody else.
    """
    parts = (part for item in public for part in item)
    return digest(Label.COMMITMENTS, header.encode(), _u32(owner), commit_b, commit_z, box, *parts, *drawn)


def published(dealt: Iterable[DealtShares]) -> list[tuple[bytes, bytes, bytes]]:
    """The public part of what a dealer sent for each neighbour, as `commitments_digest` takes it."""
    return [(item.self_seed_hash, item.box_key_hash, item.seed_commitment) for item in dealt]


def published_by(prepare: Prepare, owner: int) -> bytes:
    """`commitments_digest` of what somebody published."""
    drawn = (encode_parties(prepare.holders), prepare.others) if isinstance(prepare, DrawnPrepare) else ()
    commits = prepare.commit_self_seed, prepare.commit_box_key
    return commitments_digest(prepare.header, owner, *commits, prepare.box, published(prepare.dealt), *drawn)


def share_associated_data(
    header: Header, src: int, dst: int, point: int, t: int, k: int, commitments: bytes, cohort_digest: bytes = b""
) -> bytes:
    """What a share ciphertext is bound to: its round, its two ends, its evaluation point and the dealer's commitments.

    Args:
        header: the round's header.
        src: the dealer.
        dst: the holder.
        point: x.
        t: as PREPARE fixed it.
        k: likewise.
        commitments: `commitments_digest`.
        cohort_digest: given where parties draw their holders, so that nobody holds shares of a dealer that was shown another cohort.
    """
    return framed(Label.SHARE_AD, header.encode()) + struct.pack(">5I", src, dst, point, t, k) + commitments + cohort_digest


def box_associated_data(header: Header, owner: int) -> bytes:
    """What a box is bound to."""
    return framed(Label.BOX_AD, header.encode()) + _u32(owner)
