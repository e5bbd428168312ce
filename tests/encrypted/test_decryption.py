"""Decryption: what comes out is within the error bound or does not come out; without the secret key nothing does."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.encrypted import words
from stfed.encrypted.arithmetic import Ciphertext
from stfed.encrypted.context import EvaluationContext, SecretContext
from stfed.encrypted.decryption import decrypt, opened, slack
from stfed.encrypted.encryption import encrypt
from stfed.encrypted.layout import Layout
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError
from tests.encrypted import attack, keys

MANY = np.random.default_rng(1).uniform(-1, 1, 8192)
NUMBERS = MANY[:5000]
KINDS = pytest.mark.parametrize("secret", [keys.usual, keys.deep, keys.adding])


def flipped(context: EvaluationContext, ciphertext: Ciphertext, place: int) -> Ciphertext:
    """With one bit of the word at `place` changed."""
    data = bytearray(words.encode(context, ciphertext))
    data[place % len(data)] ^= 1
    return words.decode(context, ciphertext.coeff_modulus_size() - 1, bytes(data))


@KINDS
@pytest.mark.parametrize("shape", [(), (1,), (3,), (5000,), (70, 3), (2, 3, 4)])
def test_numbers_come_back_within_the_error(secret: Callable[[], SecretContext], shape: tuple[int, ...]) -> None:
    numbers = NUMBERS[: int(np.prod(shape))].reshape(shape)
    tensor = encrypt(secret().public, numbers)
    found = decrypt(secret(), tensor)
    assert (found.shape, found.dtype) == (shape, np.float64)
    assert np.all(np.abs(found - numbers) <= slack(tensor))
    assert slack(tensor) < 3e-7


def test_the_evaluation_context_cannot_and_says_so() -> None:
    tensor = encrypt(keys.usual().public, NUMBERS)
    with pytest.raises(LocalError, match="computes and cannot decrypt: it has no secret key"):
        decrypt(keys.usual().public, tensor)  # type: ignore[arg-type]
    with pytest.raises(LocalError, match="'bytes' is no secret context"):
        decrypt(b"key", tensor)  # type: ignore[arg-type]
    with pytest.raises(LocalError, match="'ndarray' is no encrypted tensor"):
        decrypt(keys.usual(), NUMBERS)  # type: ignore[arg-type]


def test_other_keys_are_refused_before_anything_is_decrypted() -> None:
    tensor = encrypt(keys.usual().public, NUMBERS)
    for check in (True, False):
        with pytest.raises(LocalError, match="encrypted under other keys"):
            decrypt(keys.stranger(), tensor, check=check)


def test_a_ciphertext_of_other_keys_in_a_tensor_that_says_otherwise() -> None:
    tensor = replace(encrypt(keys.usual().public, NUMBERS), context=keys.stranger().public)
    with pytest.raises(LocalError, match="not to be trusted: its noise is larger"):
        decrypt(keys.stranger(), tensor)
    assert np.abs(decrypt(keys.stranger(), tensor, check=False)).max() > 1e3


@settings(max_examples=20)
@given(place=st.integers(0, 10**9))
def test_one_bit_anywhere_in_a_ciphertext(place: int) -> None:
    secret = keys.adding()
    tensor = encrypt(secret.public, NUMBERS)
    changed = flipped(secret.public, tensor.ciphertexts[1], place)
    with pytest.raises(LocalError, match="not to be trusted: its noise is larger"):
        decrypt(secret, replace(tensor, ciphertexts=(tensor.ciphertexts[0], changed, tensor.ciphertexts[2])))


@KINDS
def test_real_and_imaginary_noise_are_alike_and_both_within_the_bound(secret: Callable[[], SecretContext]) -> None:
    context, numbers = secret().public, MANY[: secret().public.parameters.slots]
    arithmetic, depth, scale = context.arithmetic, context.parameters.depth, context.scales[-1]
    fresh = context.noise.fresh(1.0, scale)
    made = [(arithmetic.encrypt(numbers), numbers, fresh) for _ in range(4)]
    if context.rotates:  # key switching, with its peak at the root next to 1
        bound = fresh + context.noise.switching(depth, scale)
        made += [(arithmetic.rotate(first, 1), np.roll(numbers, -1), bound) for first, *_ in made]
    if depth:
        bound = 2 * fresh + fresh**2 + context.noise.switching(depth, scale**2) + context.noise.rescaling(context.scales[-2])
        made += [(arithmetic.multiply(first, first), numbers**2, bound) for first, *_ in made[:4]]
    for at in range(0, len(made), 4):
        noise = np.array([secret().slots(ciphertext) - exact for ciphertext, exact, _ in made[at : at + 4]])
        assert 0.93 < np.median(np.abs(noise.real)) / np.median(np.abs(noise.imag)) < 1.07
        assert abs(np.mean(np.sign(noise.real * noise.imag))) < 0.05
        assert np.abs(noise).max() < made[at][2]


def test_the_tail_of_the_noise_is_that_of_a_product() -> None:
    """What the bound has to cover: products of two normal numbers are 5 deviations off 10^7 times as often as one is."""
    secret = keys.adding()
    noise = np.abs([secret.slots(secret.public.arithmetic.encrypt(0.0)) for _ in range(120)])
    far = np.mean(noise > 4 * np.sqrt(np.mean(noise**2)))
    assert 2e-4 < far < 6e-3  # 2 c K_1(2 c) is 1.2e-3 for c = 4, exp(-c^2) is 1e-7


def test_wrapped_numbers_are_real_and_show_in_their_size() -> None:
    """Reduction modulo q keeps polynomials symmetric: imaginary parts say nothing, sizes and empty slots do."""
    secret = keys.usual()
    context, numbers = secret.public, NUMBERS[:3000]
    tensor = encrypt(context, numbers * 2.0**26)
    arithmetic = context.arithmetic
    low = [arithmetic.drop(ciphertext, 0) for ciphertext in tensor.ciphertexts]  # to numbers below 2^19, against the rules
    assert np.abs(secret.slots(low[0]).imag).max() < 1e-5
    with pytest.raises(LocalError, match="must stay below"):
        replace(tensor, ciphertexts=tuple(low))
    small = replace(tensor, ciphertexts=tuple(low), bound=2.0**18, error=1e-4)
    with pytest.raises(LocalError, match="not to be trusted: it holds numbers above its bound"):
        decrypt(secret, small)


def test_what_is_in_slots_that_should_be_empty() -> None:
    secret = keys.usual()
    context = secret.public
    full = EncryptedTensor(context, Layout((3,), 4096, 4), (context.arithmetic.encrypt(NUMBERS[:4096]),), 1.0, 1e-7, clean=True)
    with pytest.raises(LocalError, match="not to be trusted: there is something in slots"):
        decrypt(secret, full)
    assert np.allclose(decrypt(secret, replace(full, clean=False)), NUMBERS[:3])
    with pytest.raises(LocalError, match="not to be trusted: the copies of its number differ"):
        decrypt(secret, replace(full, layout=Layout.of((), 4096)))


@pytest.mark.parametrize("change", [{"bound": 0.5}, {"error": 1e-10}])
def test_bounds_that_are_too_small(change: dict[str, float]) -> None:
    with pytest.raises(LocalError, match="not to be trusted"):
        decrypt(keys.usual(), replace(encrypt(keys.usual().public, NUMBERS), **change))  # type: ignore[arg-type]


def test_ciphertexts_that_do_not_belong_together_make_no_tensor() -> None:
    tensor, arithmetic = encrypt(keys.usual().public, NUMBERS), keys.usual().public.arithmetic
    first, second = tensor.ciphertexts
    scaled = arithmetic.encrypt(1.0)
    scaled.scale = 2.0**41
    of_others = keys.deep().public.arithmetic.encrypt(1.0)
    for pair in ((first, arithmetic.drop(second, 1)), (first, scaled), (first, of_others), (of_others, of_others)):
        with pytest.raises(LocalError, match="not of these parameters, or not all of one level"):
            replace(tensor, ciphertexts=pair)


def test_keys_are_not_pickled_by_accident() -> None:
    for thing in (keys.adding(), keys.adding().public, encrypt(keys.adding().public, 1.0)):
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(thing)


def test_no_error_shows_a_number() -> None:
    tensor = replace(encrypt(keys.usual().public, [0.123456, 77.25]), bound=0.5)
    with pytest.raises(LocalError) as caught:
        decrypt(keys.usual(), tensor)
    assert not any(part in str(caught.value) for part in ("77", "123", "0.5"))


def common(key: bytes, data: bytes) -> int:
    """How many of 64 of the key's words of 64 bits are in the data, at whatever byte they begin."""
    return sum(key[at : at + 8] in data for at in range(0, len(key), len(key) // 64))


def test_nothing_of_the_secret_key_is_in_what_others_get() -> None:
    """Of all keys that are given away, decompressed: random words of 54 bits are among half a million others by no chance."""
    secret = keys.adding()
    context, key = secret.public, attack.raw(secret._key)[-8 * 2 * 4096 :]
    assert common(key, b"123" + key) == 64
    tensor = encrypt(context, 1.0)
    given = [attack.raw(thing) for thing in (context.public_key, context.galois_keys, tensor.ciphertexts[0])]
    assert sum(map(len, given)) > 3_000_000
    assert [common(key, data) for data in given] == [0] * 3
    assert "secret" not in " ".join(vars(context))
    assert secret.secret_bytes[16:32].hex() not in "".join(map(repr, (secret, context, tensor)))


def test_a_worker_with_the_public_context_alone(tmp_path: Path) -> None:
    """Another process is given what may be given away, computes, and cannot decrypt; the owner can."""
    from stfed.encrypted import messages

    secret = keys.adding()
    for name, blob in zip(("public", "relin", "galois"), secret.public.blobs, strict=True):
        if blob is not None:
            (tmp_path / name).write_bytes(blob)
    (tmp_path / "tensor").write_bytes(messages.dumps(encrypt(secret.public, NUMBERS)))
    program = """
import sys
from pathlib import Path
from stfed.encrypted import messages
from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.decryption import decrypt
from stfed.encrypted.parameters import Parameters

folder = Path(sys.argv[1])
blobs = [(folder / name).read_bytes() if (folder / name).exists() else None for name in ("public", "relin", "galois")]
context = EvaluationContext(Parameters.for_depth(0), *blobs)
tensor = messages.loads(context, (folder / "tensor").read_bytes())
(folder / "sum").write_bytes(messages.dumps(tensor + tensor))
decrypt(context, tensor)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "LocalError: this context computes and cannot decrypt: it has no secret key" in done.stderr
    found = messages.loads(secret.public, (tmp_path / "sum").read_bytes())
    assert np.all(np.abs(decrypt(secret, found) - 2 * NUMBERS) <= found.error)


def test_opened_has_every_slot() -> None:
    tensor = encrypt(keys.usual().public, NUMBERS)
    assert opened(keys.usual(), tensor).shape == (2, 4096)
