"""Bounds of the noise against noise that is measured: they hold, and are not absurdly loose.

One ciphertext has thousands of slots, so the largest of them is near what a ciphertext can have at all.
"""

from collections.abc import Callable

import numpy as np
import pytest

from stfed.encrypted.context import SecretContext
from tests.encrypted import keys

LOOSE = 2.0**10
CONTEXTS = [keys.usual, keys.deep, keys.adding]


def holds(measured: float, bound: float) -> None:
    assert bound / LOOSE < measured <= bound


def far(secret: SecretContext, ciphertext: object, expected: object) -> float:
    return float(np.abs(secret.slots(ciphertext) - expected).max())


def numbers(secret: SecretContext, bound: float = 1.0) -> np.ndarray:
    return np.random.default_rng(7).uniform(-bound, bound, secret.public.parameters.slots)


@pytest.mark.parametrize("get", CONTEXTS)
@pytest.mark.parametrize("bound", [0.0, 1.0, 1000.0])
def test_fresh(get: Callable[[], SecretContext], bound: float) -> None:
    secret = get()
    context, values = secret.public, numbers(secret, bound)
    holds(far(secret, context.arithmetic.encrypt(values), values), context.noise.fresh(bound, context.scales[-1]))


@pytest.mark.parametrize("get", CONTEXTS)
def test_rescaling(get: Callable[[], SecretContext]) -> None:
    secret = get()
    context = secret.public
    for left in range(context.parameters.depth):
        # An encryption of zero that is divided has the noise of the division alone, nearly: that of before is divided with it.
        zero = context.arithmetic.drop(context.arithmetic.zero(left + 1, context.scales[left + 1]), left, 2.0**-30)
        holds(far(secret, zero, 0), context.noise.rescaling(context.scales[left]) * 2)


@pytest.mark.parametrize("get", [keys.usual, keys.deep])
def test_relinearisation(get: Callable[[], SecretContext]) -> None:
    secret = get()
    context, values = secret.public, numbers(secret)
    arithmetic, noise, scales = context.arithmetic, context.noise, context.scales
    for left in range(context.parameters.depth, 0, -1):
        a = arithmetic.drop(arithmetic.encrypt(values), left)
        exact = secret.slots(a) ** 2
        holds(far(secret, arithmetic.multiply(a, a), exact), noise.rescaling(scales[left - 1]) + noise.switching(left, scales[left] ** 2))


def test_rotation_is_worst_at_the_root_next_to_1() -> None:
    secret = keys.usual()
    context, values = secret.public, numbers(secret)
    for left in range(context.parameters.depth + 1):
        a = context.arithmetic.drop(context.arithmetic.encrypt(values), left)
        off = np.abs(secret.slots(context.arithmetic.rotate(a, 1)) - np.roll(secret.slots(a), -1))
        holds(float(off.max()), context.noise.switching(left, context.scales[left]))


def test_bounds_hold_for_many_encryptions() -> None:
    secret = keys.adding()
    context = secret.public
    bound = context.noise.fresh(1.0, context.scales[0])
    for seed in range(50):
        values = np.random.default_rng(seed).uniform(-1, 1, context.parameters.slots)
        assert far(secret, context.arithmetic.encrypt(values), values) <= bound


@pytest.mark.parametrize("value", [0.0, 1.0, -3.7, 1e-13, 12345.678])
def test_one_number_for_all_slots_is_encoded_more_exactly_than_others(value: float) -> None:
    context = keys.usual().public
    for left, scale in enumerate(context.scales):
        plaintext = context.arithmetic.encode(value, left)
        assert plaintext.nonzero_coeff_count() <= (left + 1) * context.parameters.degree
        assert abs(round(value * scale) / scale - value) <= context.noise.constant(value, scale) < context.noise.encoding(value, scale)
