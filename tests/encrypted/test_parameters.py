import numpy as np
import pytest
from tenseal import sealapi

from stfed.encrypted.checks import check_plain
from stfed.encrypted.context import EvaluationContext, SecretContext
from stfed.encrypted.encryption import encrypt
from stfed.encrypted.parameters import SECURE_BITS, Parameters
from stfed.errors import LocalError
from tests.encrypted import keys


def test_table_is_that_of_the_standard_and_of_seal() -> None:
    assert SECURE_BITS == {4096: 109, 8192: 218, 16384: 438, 32768: 881}  # Homomorphic Encryption Standard, 2018, table 1, 128 bits
    for degree, bits in SECURE_BITS.items():
        assert sealapi.CoeffModulus.MaxBitCount(degree, sealapi.SEC_LEVEL_TYPE.TC128) == bits


@pytest.mark.parametrize("degree", SECURE_BITS)
def test_one_bit_more_than_secure_is_refused(degree: int) -> None:
    most = SECURE_BITS[degree]
    middle = (most - 70) // 30
    first = (most - 30 * middle) // 2
    special = most - 30 * middle - first
    assert sum(Parameters(degree, (first, *(30,) * middle, special), 30).modulus_bits) == most
    with pytest.raises(LocalError, match="less than 128 bits of security"):
        Parameters(degree, (first, *(30,) * middle, special + 1), 30)


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ((2048, (27, 27), 20), "degree 2048"),
        ((8191, (60, 40, 40, 60), 40), "degree 8191"),
        ((8192, (60,), 40), "two or more"),
        ((8192, (60, 40, 40, 61), 40), "61 bits"),
        ((8192, (19, 40), 20), "19 bits"),
        ((8192, (60, 40.0, 60), 40), "modulus of 40.0"),
        ((8192, (60, 40, 40, 59), 40), "special modulus"),
        ((8192, (40, 40, 40, 60), 40), "first modulus of 40"),
        ((8192, (60, 40, 41, 60), 40), "scales would run away"),
        ((8192, (60, 40, 39, 60), 40), "scales would run away"),
        ((8192, (60, 40, 40, 60), True), "scale of True"),
    ],
)
def test_sets_that_fit_to_nothing_are_refused(parameters: tuple, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        Parameters(*parameters)


@pytest.mark.parametrize(("depth", "degree"), [(0, 4096), (1, 8192), (2, 8192), (3, 16384), (7, 16384), (8, 32768), (19, 32768)])
def test_for_depth_is_the_smallest_secure_set(depth: int, degree: int) -> None:
    found = Parameters.for_depth(depth)
    assert (found.depth, found.degree, found.slots) == (depth, degree, degree // 2)
    assert sum(found.modulus_bits) <= SECURE_BITS[degree]
    assert degree == 4096 or sum(found.modulus_bits) > SECURE_BITS[degree // 2]


@pytest.mark.parametrize("depth", [-1, 20, 1.0, True])
def test_depths_that_no_secure_set_has(depth: int) -> None:
    with pytest.raises(LocalError, match=r"depth of|no secure parameters"):
        Parameters.for_depth(depth)


def test_scales_are_canonical_and_stay_near() -> None:
    for secret in (keys.usual(), keys.deep(), keys.adding()):
        context = secret.public
        assert context.scales[-1] == 2.0**context.parameters.scale_bits
        for left in range(1, context.parameters.depth + 1):
            assert context.scales[left - 1] == context.scales[left] ** 2 / context.moduli[left]
            assert 0.99 < context.scales[left - 1] / context.scales[left] < 1.01


def test_so_many_small_levels_that_scales_would_run_away_are_refused() -> None:
    with pytest.raises(LocalError, match="scales run away after 8 multiplications"):
        SecretContext.generate(Parameters.for_depth(8, scale_bits=25), rotations=False)
    with pytest.raises(LocalError, match="not enough primes"):
        SecretContext.generate(Parameters(16384, (60, *(20,) * 6, 60), 20), rotations=False)


@pytest.mark.parametrize(("bits", "scale_bits", "left"), [((60, 60), 59, 0), ((41, 40, 40, 41), 40, 0)])
def test_plain_numbers_for_which_moduli_are_too_small_are_refused(bits: tuple[int, ...], scale_bits: int, left: int) -> None:
    secret = SecretContext.generate(Parameters(8192, bits, scale_bits), rotations=False)
    context = secret.public
    with pytest.raises(ValueError, match="scale out of bounds"):  # what SEAL says
        context.arithmetic.encode(np.zeros(4096), left)
    with pytest.raises(LocalError, match="too few to encode plain numbers"):
        check_plain(context, left, 0.0)
    if not context.parameters.depth:
        with pytest.raises(LocalError, match="too few to encode plain numbers"):
            encrypt(context, [0.1])
        return
    tensor = encrypt(context, [0.125])
    with pytest.raises(LocalError, match="too few to encode plain numbers"):
        tensor.polyval([0.01, 0.5, 0.25, 0.25])
    with pytest.raises(LocalError, match="too few to encode plain numbers"):
        tensor * 0.5 * 0.5 + 0.01
    keys.agree(secret, tensor * 0.5 * tensor, [0.125 * 0.5 * 0.125])


def test_contexts_name_their_parameters_and_no_key() -> None:
    secret = keys.usual()
    assert isinstance(secret.public, EvaluationContext)
    for text in (repr(secret), repr(secret.public), str(secret.public.parameters)):
        assert "N = 8192, moduli of 60, 40, 40, 60 bits, scale 2^40, depth 2" in text
        assert len(text) < 200
