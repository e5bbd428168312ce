"""Functions in the plural give what their singular gives for each alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stfed.crypto import agreement
from stfed.crypto.kdf import derive
from stfed.crypto.labels import Label
from stfed.secagg import keys
from stfed.secagg.messages import Header, Join, ShareOf

KEYS = st.binary(min_size=32, max_size=32)
PARTIES = st.integers(0, 2**32 - 1)
HEADERS = st.builds(Header, st.integers(0, 2**64 - 1), PARTIES, PARTIES)


@given(HEADERS, st.lists(st.tuples(KEYS, KEYS), min_size=1, max_size=5, unique_by=lambda pair: pair[0]))
def test_pairwise_keys(header: Header, ends: list[tuple[bytes, bytes]]) -> None:
    own, *others = [Join(header=header, identity=identity, public_key=agreement.public_key(private)) for identity, private in ends]
    privates = [private for _, private in ends]
    agreed = keys.pairwise_keys(privates[0], own, others)
    assert agreed == [keys.pairwise_key(privates[0], own, other) for other in others]
    assert agreed == [keys.pairwise_key(private, other, own) for private, other in zip(privates[1:], others, strict=True)]
    for other, key in zip(others, agreed, strict=True):
        secret, salt = agreement.shared_secret(privates[0], other.public_key), header.run.to_bytes(8, "big")
        both = sorted((own.identity + own.public_key, other.identity + other.public_key))
        assert key == derive(secret, Label.PAIRWISE_KEY, header.encode(), *both, salt=salt)


@given(KEYS)
def test_both_steps_of_the_ratchet(key: bytes) -> None:
    assert keys.next_and_round_key(key) == (keys.next_key(key), keys.round_key(key))


@given(HEADERS, KEYS, PARTIES, st.dictionaries(PARTIES, KEYS, max_size=5), st.data())
def test_neighbour_keys(header: Header, cohort_digest: bytes, own: int, round_keys: dict[int, bytes], data: st.DataObject) -> None:
    holders = set(data.draw(st.lists(st.sampled_from(sorted(round_keys)), unique=True))) if round_keys else set()
    assert keys.neighbour_keys(round_keys, header, cohort_digest, own, holders) == [
        (
            keys.pairwise_seed(key, header, cohort_digest),
            keys.share_key(key, header, own, other) if other in holders else b"",
            keys.share_key(key, header, other, own),
        )
        for other, key in round_keys.items()
    ]


@given(st.lists(KEYS, max_size=5), KEYS)
def test_mask_keys(seeds: list[bytes], transcript: bytes) -> None:
    assert keys.self_mask_keys(seeds, transcript) == [keys.self_mask_key(seed, transcript) for seed in seeds]
    assert keys.pairwise_mask_keys(seeds, transcript) == [keys.pairwise_mask_key(seed, transcript) for seed in seeds]


@given(HEADERS, PARTIES, st.lists(st.tuples(PARTIES, KEYS), max_size=5))
def test_commit_pairwise_seeds(header: Header, own: int, seeds: list[tuple[int, bytes]]) -> None:
    assert keys.commit_pairwise_seeds(seeds, header, own) == [keys.commit_pairwise_seed(seed, header, own, other) for other, seed in seeds]


@given(HEADERS, st.sampled_from(ShareOf), st.lists(st.tuples(PARTIES, PARTIES, KEYS), max_size=5))
def test_share_hashes(header: Header, of: ShareOf, shares: list[tuple[int, int, bytes]]) -> None:
    assert keys.share_hashes(shares, of, header) == [keys.share_hash(share, of, header, dealer, holder) for dealer, holder, share in shares]
