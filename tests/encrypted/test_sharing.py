"""Sharing: plain decryptions give the key away, shared ones do not; the noise has the size that is claimed."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from stfed.crypto.random import system_entropy
from stfed.encrypted.context import SecretContext
from stfed.encrypted.decryption import decrypt, slack
from stfed.encrypted.encryption import encrypt
from stfed.encrypted.gaussian import discrete_gaussian
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.sharing import decrypt_to_share, flooding
from stfed.errors import LocalError
from tests.encrypted import attack, keys

NUMBERS = np.random.default_rng(2).uniform(-1, 1, 4096)


def stolen(numbers: np.ndarray, tensor: object) -> tuple[attack.Words, np.ndarray]:
    """The key as the attack makes it, in transformed order and its coefficients."""
    context = keys.adding().public
    key = attack.recovered_key(context, tensor.ciphertexts, numbers.reshape(2, -1))  # type: ignore[attr-defined]
    return key, attack.coefficients(context, key)


def test_what_decrypt_returns_gives_the_whole_secret_key_away() -> None:
    secret = keys.adding()
    tensor, other = encrypt(secret.public, NUMBERS), encrypt(secret.public, NUMBERS[::-1])
    key, coefficients = stolen(decrypt(secret, tensor), tensor)
    # Nobody needs to be asked whether this is the key: 4096 numbers that are all -1, 0 or 1
    assert np.abs(coefficients - np.rint(coefficients)).max() < 1e-9
    assert set(np.rint(coefficients)) == {-1, 0, 1}
    # It opens what was never decrypted
    assert np.abs(attack.opened_with(secret.public, key, other.ciphertexts[0]) - NUMBERS[::-1][:2048]).max() < 1e-7


def test_what_is_shared_does_not() -> None:
    secret = keys.adding()
    tensor = encrypt(secret.public, NUMBERS)
    shared = decrypt_to_share(secret, tensor, precision=math.inf)
    assert np.abs(stolen(shared, tensor)[1]).max() > 1e12


def test_chosen_ciphertexts_pass_every_check_and_no_noise_helps() -> None:
    """What nothing here protects against, as docs say: decrypting or sharing what a stranger made. Only signatures keep strangers out."""
    secret = keys.adding()
    tensor = attack.chosen(secret.public, 22.0, error=1.2e-8)
    true = attack.coefficients(secret.public, np.frombuffer(attack.raw(secret._key)[-16 * 4096 : -8 * 4096], "<u8").astype(object))
    assert np.array_equal(np.rint(attack.chosen_key(secret.public, 22.0, decrypt(secret, tensor))), np.rint(true))
    shared = attack.chosen_key(secret.public, 22.0, decrypt_to_share(secret, tensor))
    assert np.mean(np.rint(shared) == np.rint(true)) > 0.99


@pytest.mark.parametrize("deviation", [1, 2, 3])
def test_small_samples_have_the_chances_of_the_discrete_gaussian(deviation: int) -> None:
    drawn = np.array([discrete_gaussian(deviation, system_entropy) for _ in range(3000)])
    support = np.arange(-60, 61)
    chances = np.exp(-(support**2) / 2 / deviation**2)
    chances /= chances.sum()
    for value, chance in zip(support, chances, strict=True):
        assert abs(np.mean(drawn == value) - chance) < 6 * math.sqrt(chance / 3000) + 1e-3


@pytest.mark.parametrize("deviation", [1000, 2**40 + 1])
def test_large_samples_are_nearly_normal(deviation: int) -> None:
    drawn = np.array([discrete_gaussian(deviation, system_entropy) for _ in range(3000)]) / deviation
    for quantile in (-2, -1, -0.5, 0, 0.5, 1, 2):
        assert abs(np.mean(drawn < quantile) - (1 + math.erf(quantile / math.sqrt(2))) / 2) < 6 * 0.5 / math.sqrt(3000)
    assert abs(drawn.var() - 1) < 6 * math.sqrt(2 / 3000)


def test_the_noise_has_the_size_of_the_theorem() -> None:
    """sqrt(12 tau n) 2^(s/2) times the error, and what it comes to: the divergence of everything together is at most 2^-s / 24."""
    tensor = encrypt(keys.usual().public, NUMBERS[:100])
    for decryptions, security_bits in ((1, 40), (1000, 40), (1, 64), (7, 30)):
        flood = flooding(tensor, decryptions=decryptions, security_bits=security_bits)
        apart = math.floor(slack(tensor) / flood.unit) + 1
        assert 16 < apart <= 33
        divergence = decryptions * 100 * apart**2 / (2 * flood.deviation**2)
        assert 0.99 * 2.0**-security_bits / 24 < divergence <= 2.0**-security_bits / 24
        least = math.sqrt(12 * decryptions * 100) * 2 ** (security_bits / 2) * slack(tensor)
        assert least < flood.unit * flood.deviation < 1.07 * least


def test_shared_numbers_are_as_wrong_as_they_say_and_as_the_noise_is() -> None:
    secret = keys.usual()
    tensor = encrypt(secret.public, NUMBERS[:400] * 1e4, bound=1e4)
    flood = flooding(tensor)
    wrong = decrypt_to_share(secret, tensor) - NUMBERS[:400] * 1e4
    assert np.abs(wrong).max() <= flood.precision
    assert 0.8 < wrong.std() / (flood.unit * flood.deviation) < 1.2
    again = decrypt_to_share(secret, tensor) - NUMBERS[:400] * 1e4
    assert abs(np.corrcoef(wrong, again)[0, 1]) < 0.3  # fresh noise


def test_no_digit_beyond_the_noise_is_shown() -> None:
    secret = keys.usual()
    tensor = encrypt(secret.public, NUMBERS[:50], bound=1e4)
    flood = flooding(tensor)
    step = flood.unit * 2**flood.dropped_bits
    assert flood.unit * flood.deviation / 8 <= step <= flood.unit * flood.deviation / 4 * 1.01
    shared = decrypt_to_share(secret, tensor)
    assert np.all(shared / step == np.rint(shared / step))


def test_randomness_is_all_that_shared_numbers_have_besides() -> None:
    """The same bytes, the same noise: and bytes are asked of nobody else."""
    secret = keys.usual()
    tensor = encrypt(secret.public, 5.0)
    fixed = [decrypt_to_share(secret, tensor, precision=1e3, entropy=np.random.default_rng(7).bytes) for _ in range(2)]
    assert fixed[0] == fixed[1]
    assert len({float(decrypt_to_share(secret, tensor, precision=1e3)) for _ in range(4)}) > 1


@pytest.mark.parametrize("count", [1, 30])
def test_too_little_precision_is_refused_and_the_way_out_works(count: int) -> None:
    secret, numbers = keys.usual(), NUMBERS[:count]
    with pytest.raises(LocalError, match=r"would be exact to .*, not to 0.001") as caught:
        decrypt_to_share(secret, encrypt(secret.public, numbers, bound=1.0), precision=1e-3)
    depth, scale_bits = map(int, re.findall(r"for_depth\((\d+), scale_bits=(\d+)\)", str(caught.value.hint))[0])
    better = SecretContext.generate(Parameters.for_depth(depth, scale_bits=scale_bits), rotations=False)
    shared = decrypt_to_share(better, encrypt(better.public, numbers, bound=1.0), precision=1e-3)
    assert np.abs(shared - numbers).max() < 1e-3


def test_what_no_parameters_give() -> None:
    tensor = encrypt(keys.usual().public, NUMBERS, bound=1.0)
    with pytest.raises(LocalError, match="no secure parameters give that precision: share fewer numbers"):
        decrypt_to_share(keys.usual(), tensor, precision=1e-12)
    with pytest.raises(LocalError, match="no secure parameters"):
        decrypt_to_share(keys.usual(), tensor, precision=0)
    with pytest.raises(LocalError, match=r"exact to .*, not to nan"):
        decrypt_to_share(keys.usual(), tensor, precision=math.nan)


def test_numbers_that_noise_would_drown_are_refused_by_default() -> None:
    with pytest.raises(LocalError, match=r"these 4096 numbers would be exact to .*, not to 1 .*Parameters.for_depth\(2, scale_bits="):
        decrypt_to_share(keys.usual(), encrypt(keys.usual().public, NUMBERS))


@pytest.mark.parametrize(
    "arguments",
    [
        {"decryptions": 0},
        {"decryptions": 1.5},
        {"decryptions": True},
        {"security_bits": 29},
        {"security_bits": 200},
        {"security_bits": None},
    ],
)
def test_arguments_out_of_range(arguments: dict[str, int]) -> None:
    with pytest.raises(LocalError, match=r"decryptions|security_bits"):
        decrypt_to_share(keys.usual(), encrypt(keys.usual().public, 1.0), **arguments)


def test_what_decrypt_refuses_is_not_shared() -> None:
    secret = keys.usual()
    tensor = encrypt(secret.public, NUMBERS)
    with pytest.raises(LocalError, match="no secret key"):
        decrypt_to_share(secret.public, tensor, precision=math.inf)  # type: ignore[arg-type]
    with pytest.raises(LocalError, match="not to be trusted"):
        decrypt_to_share(secret, replace(tensor, error=1e-12), precision=math.inf)
    with pytest.raises(LocalError, match="without an error bound"):
        decrypt_to_share(secret, replace(tensor, error=0.0, bound=0.0), precision=math.inf)
