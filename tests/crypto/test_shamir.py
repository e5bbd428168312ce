import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.crypto import shamir
from stfed.crypto.random import system_entropy
from stfed.errors import DecodeError, LocalError
from tests.crypto.material import Seeded, Tape, vectors

PRIME = shamir.PRIME


def plain_lagrange(points: list[int]) -> list[int]:
    """The weights at zero with Python integers."""
    weights = []
    for j, x in enumerate(points):
        numerator = denominator = 1
        for m, other in enumerate(points):
            if m != j:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - x) % PRIME
        weights.append(numerator * pow(denominator, -1, PRIME) % PRIME)
    return weights


def words(elements: np.ndarray) -> bytes:
    return elements.astype("<u2").tobytes()


def test_the_prime_is_the_largest_of_16_bits_and_the_generator_generates() -> None:
    def is_prime(n: int) -> bool:
        return all(n % d for d in range(2, 257))

    assert is_prime(PRIME)
    assert not any(is_prime(n) for n in range(PRIME + 1, 2**16))
    log, exp = shamir._tables()
    assert sorted(exp.tolist()) == list(range(1, PRIME))
    assert (exp[log[1:].astype(int)] == np.arange(1, PRIME)).all()
    assert log[0] == 0


def test_vectors() -> None:
    for case in vectors("shamir"):
        secrets = np.array([shamir.from_bytes(bytes.fromhex(secret)) for secret in case["secrets"]])
        shares = shamir.share(secrets, case["threshold"], case["points"], Tape(bytes.fromhex(case["entropy"])))
        assert [[shamir.to_bytes(each).hex() for each in row] for row in shares] == case["shares"]
        t = case["threshold"]
        assert (shamir.reconstruct(case["points"][-t:], shares[:, -t:], threshold=t) == secrets).all()


@settings(deadline=None)
@given(st.data())
def test_any_threshold_shares_give_the_secrets_back(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12), label="n")
    threshold = data.draw(st.integers(1, n), label="threshold")
    points = data.draw(st.lists(st.integers(1, PRIME - 1), min_size=n, max_size=n, unique=True), label="points")
    count = data.draw(st.integers(0, 3), label="secrets")
    secrets = shamir.random_secrets(count, system_entropy)
    shares = shamir.share(secrets, threshold, points, system_entropy)
    assert shares.shape == (count, n, 16)
    chosen = data.draw(st.permutations(range(n)), label="order")[: data.draw(st.integers(threshold, n), label="used")]
    assert (shamir.reconstruct([points[i] for i in chosen], shares[:, chosen]) == secrets).all()


def test_every_set_of_threshold_shares_reconstructs() -> None:
    secrets = shamir.random_secrets(2, Seeded("all sets"))
    shares = shamir.share(secrets, 3, range(1, 7), Seeded("coefficients"))
    for chosen in itertools.combinations(range(6), 3):
        assert (shamir.reconstruct([i + 1 for i in chosen], shares[:, chosen]) == secrets).all()


@pytest.mark.parametrize("value", [0, 1, PRIME - 2, PRIME - 1])
@pytest.mark.parametrize("threshold", [1, 2, 60, 500])
def test_extreme_secrets_and_coefficients_equal_python_integers(value: int, threshold: int) -> None:
    points = [1, 2, 3, 32760, 65519, 65520, *range(100, 100 + max(0, threshold - 6))][: max(threshold, 6)]
    secrets = np.full((1, 16), value, np.uint16)
    largest = Tape(words(np.full(2 * 16 * threshold, PRIME - 1)))
    shares = shamir.share(secrets, threshold, points, largest)
    for j, x in enumerate(points):
        powers = (pow(x, k, PRIME) for k in range(1, threshold))
        assert set(shares[0, j].tolist()) == {(value + (PRIME - 1) * sum(powers)) % PRIME}
    assert (shamir.reconstruct(points[:threshold], shares[:, :threshold]) == secrets).all()


def test_the_product_is_exact_at_the_largest_sum_that_is_allowed() -> None:
    size = shamir.THRESHOLD_LIMIT - 1
    assert (size * (PRIME - 1) ** 2) < 2**53
    left, right = np.full((1, size), PRIME - 1, np.uint16), np.full((size, 1), PRIME - 1, np.uint16)
    # Sums just below, at and above a multiple of the prime: the quotient has to be right to the last bit.
    for last in (PRIME - 1, 0, 1, 2, PRIME - 2):
        right[-1] = last
        expected = ((size - 1) * (PRIME - 1) ** 2 + (PRIME - 1) * last) % PRIME
        assert shamir._multiply(left, right).item() == expected
    with pytest.raises(AssertionError):
        shamir._multiply(np.zeros((1, size + 1), np.uint16), np.zeros((size + 1, 1), np.uint16))


@given(st.integers(1, 2**37 - 1), st.integers(-2, 2))
def test_reduction_is_exact_around_every_multiple_of_the_prime(multiple: int, off: int) -> None:
    value = multiple * PRIME + off
    # One exact product of a left value below 2^53 with 1 stands for any sum of products.
    if value < 2**53 - 2**37:
        assert shamir._multiply(np.array([[float(value)]]), np.ones((1, 1), np.uint16)).item() == value % PRIME


def test_secrecy_exhaustively_over_a_tiny_field() -> None:
    """Over GF(7), t = 3: whichever two shares an adversary holds, every secret explains them with equally many polynomials."""
    prime, threshold, points = 7, 3, (1, 2, 4, 6)
    matrix = shamir._vandermonde(points, threshold, prime)
    views: dict[tuple[int, ...], set[tuple[tuple[tuple[int, int], int], ...]]] = {}
    for secret in range(prime):
        polynomials = np.array([(secret, a, b) for a in range(prime) for b in range(prime)], np.uint16).T
        shares = shamir._multiply(matrix, polynomials, prime)
        for pair in itertools.combinations(range(len(points)), threshold - 1):
            seen = Counter(map(tuple, shares[list(pair)].T.tolist()))
            assert seen == dict.fromkeys(itertools.product(range(prime), repeat=2), 1)
            views.setdefault(pair, set()).add(tuple(sorted(seen.items())))
        for triple in itertools.combinations(range(len(points)), threshold):
            assert len({tuple(column) for column in shares[list(triple)].T.tolist()}) == prime**2
    assert all(len(distributions) == 1 for distributions in views.values())


@pytest.mark.parametrize("secret", [0, 31337, PRIME - 1])
def test_one_share_of_a_threshold_of_two_takes_every_value_once(secret: int) -> None:
    """Over the real field: all 65521 coefficients, one after the other, through the public function."""
    count = -(-PRIME // 16)
    secrets = np.full((count, 16), secret, np.uint16)
    tape = words(np.arange(PRIME)) + bytes(4096)
    shares = shamir.share(secrets, 2, [1, 4711, PRIME - 1], Tape(tape))
    for j in range(3):
        assert np.unique(shares[:, j].reshape(-1)[:PRIME]).size == PRIME


def test_fewer_shares_than_the_threshold_are_consistent_with_every_secret() -> None:
    """For any candidate there is a polynomial through it and the t - 1 shares: add the share that it would give at one more point."""
    secrets = shamir.random_secrets(1, Seeded("s"))
    points = [3, 5, 8, 13]
    shares = shamir.share(secrets, 4, points, Seeded("c"))
    for seed in range(20):
        candidate = shamir.random_secrets(1, Seeded(seed))
        weights = np.array(plain_lagrange(points), np.int64)
        rest = (weights[:3, None] * shares[0, :3].astype(np.int64)).sum(axis=0)
        missing = (candidate[0].astype(np.int64) - rest) * pow(int(weights[3]), -1, PRIME) % PRIME
        forged = np.concatenate([shares[:, :3], missing.astype(np.uint16)[None, None]], axis=1)
        assert (shamir.reconstruct(points, forged) == candidate).all()
        assert (shamir.reconstruct(points[:3], shares[:, :3]) != secrets).any()


def test_coefficients_are_fresh_for_every_limb_secret_and_call() -> None:
    secrets = np.zeros((4, 16), np.uint16)
    entropy = Seeded("fresh")
    first, second = (shamir.share(secrets, 2, [1, 2], entropy)[:, :1] for _ in range(2))
    values = np.concatenate([first, second]).reshape(-1)
    assert len(set(values.tolist())) > 120
    assert (shamir.share(secrets, 1, [1, 2], entropy) == 0).all()


def test_the_weights_equal_python_integers_for_many_sets_at_once() -> None:
    rng = np.random.default_rng(5)
    near = np.array([rng.permutation(40)[:12] + 1 for _ in range(30)])
    far = np.array([rng.permutation(PRIME - 1)[:12] + 1 for _ in range(30)])
    edges = np.array([[1, PRIME - 1], [PRIME - 1, 1], [PRIME - 2, PRIME - 1]])
    for points in (near, far, edges, np.array([[7]]), np.zeros((0, 3), int)):
        weights = shamir.lagrange_at_zero(points)
        assert weights.shape == points.shape
        assert weights.tolist() == [plain_lagrange(row) for row in points.tolist()]


def test_more_distinct_points_than_one_block_of_columns() -> None:
    rng = np.random.default_rng(6)
    points = np.array([rng.permutation(2000)[:400] + 1 for _ in range(20)])
    assert np.unique(points).size > 2 * shamir._DIFFERENCE_COLUMNS - 200
    weights = shamir.lagrange_at_zero(points)
    for row in range(20):
        assert (weights[row] == shamir.lagrange_at_zero(points[row : row + 1])).all()
    assert weights[0].tolist() == plain_lagrange(points[0].tolist())


def test_secrets_with_a_set_of_points_each() -> None:
    rng = np.random.default_rng(7)
    secrets = shamir.random_secrets(25, Seeded("each"))
    shares = shamir.share(secrets, 5, range(1, 12), Seeded("c"))
    holders = np.array([rng.permutation(11)[:5] for _ in range(25)])
    chosen = np.take_along_axis(shares, holders[:, :, None], axis=1)
    assert (shamir.reconstruct(holders + 1, chosen, threshold=5) == secrets).all()


def test_a_wrong_share_gives_a_wrong_secret() -> None:
    secrets = shamir.random_secrets(1, Seeded("wrong"))
    shares = shamir.share(secrets, 3, [1, 2, 3], Seeded("c")).copy()
    shares[0, 1, 4] = (int(shares[0, 1, 4]) + 1) % PRIME
    differs = shamir.reconstruct([1, 2, 3], shares) != secrets
    assert differs.sum() == 1
    assert differs[0, 4]


def test_random_secrets_reject_what_is_not_in_the_field_and_ask_again() -> None:
    class Rejecting:
        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, size_bytes: int, /) -> bytes:
            self.calls += 1
            values = np.arange(size_bytes // 2) + (PRIME - 3 if self.calls == 1 else 100)
            return words(np.minimum(values, 65535))

    entropy = Rejecting()
    secrets = shamir.random_secrets(1, entropy)
    assert entropy.calls == 2
    assert secrets[0].tolist() == [PRIME - 3, PRIME - 2, PRIME - 1, *range(100, 113)]


def test_random_secrets_are_uniform_enough_to_see_the_ends_of_the_field() -> None:
    secrets = shamir.random_secrets(1 << 15, Seeded("uniform"))
    assert secrets.shape == (1 << 15, 16)
    assert secrets.dtype == np.uint16
    assert secrets.max() == PRIME - 1
    assert secrets.min() == 0
    counts = np.histogram(secrets, bins=np.linspace(0, PRIME, 17))[0]
    assert (abs(counts - secrets.size / 16) < 6 * np.sqrt(secrets.size / 16)).all()


def test_a_few_rejections_do_not_cost_a_second_call_of_entropy() -> None:
    calls = []

    def entropy(size_bytes: int, /) -> bytes:
        calls.append(size_bytes)
        rejected = 5 if len(calls) == 1 else 0
        return (b"\xff\xff" * rejected + Seeded("calls")(size_bytes))[:size_bytes]

    shamir.share(shamir.random_secrets(2, Seeded(0)), 60, range(1, 101), entropy)
    assert len(calls) == 1


@given(st.lists(st.integers(0, PRIME - 1), min_size=16, max_size=16))
def test_bytes_and_back(limbs: list[int]) -> None:
    data = b"".join(limb.to_bytes(2, "little") for limb in limbs)
    elements = shamir.from_bytes(data)
    assert elements.tolist() == limbs
    assert shamir.to_bytes(elements) == data
    assert len(data) == shamir.SHARE_BYTES


@given(st.lists(st.lists(st.integers(0, PRIME - 1), min_size=16, max_size=16), max_size=4))
def test_rows_are_encoded_like_each_alone(rows: list[list[int]]) -> None:
    elements = np.array(rows, np.uint16).reshape(-1, 16)
    encoded = shamir.rows_to_bytes(elements)
    assert encoded == [shamir.to_bytes(row) for row in elements]
    assert (shamir.rows_from_bytes(encoded) == elements).all()
    assert shamir.rows_from_bytes(encoded).shape == (len(rows), 16)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_shares_of_other_sizes_do_not_decode(size: int) -> None:
    with pytest.raises(DecodeError, match="32 bytes"):
        shamir.from_bytes(bytes(size))
    with pytest.raises(DecodeError, match="32 bytes"):
        # Together they have the bytes of two shares.
        shamir.rows_from_bytes([bytes(64 - size), bytes(size)])


@pytest.mark.parametrize("limb", range(16))
@pytest.mark.parametrize("value", [PRIME, 65535])
def test_limbs_outside_the_field_do_not_decode(limb: int, value: int) -> None:
    data = bytearray(32)
    data[2 * limb : 2 * limb + 2] = value.to_bytes(2, "little")
    with pytest.raises(DecodeError, match="65521"):
        shamir.from_bytes(bytes(data))
    with pytest.raises(DecodeError, match="65521"):
        shamir.rows_from_bytes([bytes(32), bytes(data)])


SECRETS = np.zeros((2, 16), np.uint16)


@pytest.mark.parametrize("threshold", [-1, 0, 4])
def test_thresholds_out_of_range_are_refused(threshold: int) -> None:
    with pytest.raises(LocalError, match="threshold"):
        shamir.share(SECRETS, threshold, [1, 2, 3], system_entropy)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([0, 1], "at zero"),
        ([-1, 1], "at zero"),
        ([1, PRIME], "at zero"),
        ([2, 1, 2], "distinct"),
        ([1.5, 2], "integer"),
        ([[1], [2]], "dimension"),
    ],
)
def test_points_that_would_leak_or_collide_are_refused(points: list[int], message: str) -> None:
    with pytest.raises(LocalError, match=message):
        shamir.share(SECRETS, 1, points, system_entropy)
    if np.ndim(points) == 1:
        with pytest.raises(LocalError, match=message):
            shamir.reconstruct(points, np.zeros((2, len(points), 16), np.uint16))
        with pytest.raises(LocalError, match=message):
            shamir.lagrange_at_zero(np.array([points]))


def test_too_few_shares_are_refused() -> None:
    with pytest.raises(LocalError, match="too few"):
        shamir.reconstruct([1, 2], np.zeros((1, 2, 16), np.uint16), threshold=3)
    with pytest.raises(LocalError, match="too few"):
        shamir.reconstruct([], np.zeros((1, 0, 16), np.uint16))
    with pytest.raises(LocalError, match="threshold"):
        shamir.share(SECRETS, 1, [], system_entropy)


@pytest.mark.parametrize(
    "secrets", [np.zeros((2, 15), np.uint16), np.zeros(16, np.uint16), np.zeros((2, 16), np.int64), np.full((2, 16), PRIME, np.uint16)]
)
def test_secrets_that_are_none_are_refused(secrets: np.ndarray) -> None:
    with pytest.raises(LocalError, match=r"expected|below"):
        shamir.share(secrets, 1, [1], system_entropy)


@pytest.mark.parametrize("shape", [(2, 3, 16), (2, 2, 15), (2, 2), (3, 2, 16)])
def test_shares_that_do_not_fit_their_points_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LocalError, match="expected"):
        shamir.reconstruct(np.array([[1, 2], [3, 4]]), np.zeros(shape, np.uint16))
    with pytest.raises(LocalError, match="below"):
        shamir.reconstruct([1, 2], np.full((1, 2, 16), 65535, np.uint16))


def test_the_cache_of_matrices_is_bounded_and_cannot_be_written_to() -> None:
    shamir.share(SECRETS, 2, [1, 2, 3], system_entropy)
    assert shamir._vandermonde.cache_info().maxsize == 4
    with pytest.raises(ValueError, match="read-only"):
        shamir._vandermonde((1, 2, 3), 2)[0, 0] = 5.0
