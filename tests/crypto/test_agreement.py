import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.crypto import agreement
from stfed.crypto.random import system_entropy
from stfed.errors import LocalError, PeerError
from tests.crypto.material import Tape, vectors

FIELD = 2**255 - 19
KEYS = st.binary(min_size=32, max_size=32)
FIXED_PRIVATE = bytes(range(32))


def refused(public: bytes) -> bool:
    try:
        agreement.shared_secret(FIXED_PRIVATE, public)
    except agreement.LowOrderPointError:
        return True
    return False


def test_published_answers() -> None:
    published = vectors("published")
    for case in published["x25519"]:
        private, public, secret = (bytes.fromhex(case[k]) for k in ("private", "public", "secret"))
        assert agreement.shared_secret(private, public) == secret, case["source"]
    alice, bob = published["x25519"][2:]
    assert agreement.public_key(bytes.fromhex(alice["private"])).hex() == bob["public"]
    assert agreement.public_key(bytes.fromhex(bob["private"])).hex() == alice["public"]


def test_the_published_iteration() -> None:
    published = vectors("published")["x25519_iterated"]
    k = u = (9).to_bytes(32, "little")
    for step in range(1, 1001):
        k, u = agreement.shared_secret(k, u), k
        if str(step) in published:
            assert k.hex() == published[str(step)]


def test_vectors() -> None:
    for case in vectors("agreement")["pairs"]:
        assert agreement.shared_secret(bytes.fromhex(case["private"]), bytes.fromhex(case["public"])).hex() == case["secret"]


@given(KEYS, KEYS)
def test_both_sides_get_the_same(ours: bytes, theirs: bytes) -> None:
    secret = agreement.shared_secret(ours, agreement.public_key(theirs))
    assert secret == agreement.shared_secret(theirs, agreement.public_key(ours))
    assert len(secret) == agreement.SECRET_BYTES
    assert any(secret)


@given(KEYS, st.lists(KEYS, max_size=4))
def test_many_secrets_are_those_of_each_alone(ours: bytes, theirs: list[bytes]) -> None:
    publics = [agreement.public_key(private) for private in theirs]
    assert agreement.shared_secrets(ours, publics) == [agreement.shared_secret(ours, public) for public in publics]


def test_one_low_order_key_among_many_is_refused() -> None:
    with pytest.raises(agreement.LowOrderPointError):
        agreement.shared_secrets(FIXED_PRIVATE, [agreement.public_key(FIXED_PRIVATE), bytes(32)])


def test_every_low_order_encoding_is_refused() -> None:
    encodings = [bytes.fromhex(public) for public in vectors("agreement")["low_order"]]
    assert len(set(encodings)) == 14
    for public in encodings:
        assert agreement.is_low_order(public)
        with pytest.raises(agreement.LowOrderPointError):
            agreement.shared_secret(FIXED_PRIVATE, public)


def test_the_listed_values_are_the_roots_of_the_doubling_formula() -> None:
    """u(2P) = (u^2 - 1)^2 / 4u(u^2 + 486662u + 1): going back from the neutral element and 0 finds 0, then 1 and -1, then order 8."""
    order_8 = agreement._LOW_ORDER_U - {0, 1, FIELD - 1}
    assert len(order_8) == 2
    assert (FIELD - 1) ** 2 % FIELD == 1  # 1 and -1 double to 0
    for u in order_8:
        assert (u * u - 1) ** 2 % FIELD == 4 * u * (u * u + 486662 * u + 1) % FIELD  # these double to 1


@given(st.one_of(KEYS, st.integers(-40, 40).map(lambda off: ((FIELD + off) % 2**255).to_bytes(32, "little"))))
def test_the_list_and_the_exchange_agree(public: bytes) -> None:
    assert agreement.is_low_order(public) == refused(public)


def test_the_exchange_refuses_every_value_next_to_a_listed_one_only_if_listed() -> None:
    for u in agreement._LOW_ORDER_U:
        for off in (-1, 0, 1):
            public = ((u + off) % 2**255).to_bytes(32, "little")
            assert agreement.is_low_order(public) == refused(public)


def test_a_private_key_is_what_the_entropy_gave() -> None:
    assert agreement.generate(Tape(FIXED_PRIVATE)) == FIXED_PRIVATE
    assert len({agreement.generate(system_entropy) for _ in range(20)}) == 20


@pytest.mark.parametrize("size", [0, 31, 33])
def test_other_sizes_are_refused(size: int) -> None:
    good = agreement.public_key(FIXED_PRIVATE)
    for call in (
        lambda: agreement.public_key(bytes(size)),
        lambda: agreement.shared_secret(bytes(size), good),
        lambda: agreement.shared_secret(FIXED_PRIVATE, bytes(size)),
        lambda: agreement.shared_secrets(bytes(size), [good]),
        lambda: agreement.shared_secrets(FIXED_PRIVATE, [good, bytes(size)]),
        lambda: agreement.is_low_order(bytes(size)),
    ):
        with pytest.raises(LocalError, match="32 bytes"):
            call()


def test_low_order_is_the_peers_fault() -> None:
    assert issubclass(agreement.LowOrderPointError, PeerError)
