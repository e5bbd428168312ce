"""Contexts that all tests of a process share, made when a test first asks: only `usual` has rotations, whose keys take most of the time.

Keys and noise are the operating system's randomness, so every run of the tests has other ones.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from stfed.encrypted.context import SecretContext
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.tensor import EncryptedTensor


@cache
def usual() -> SecretContext:
    """Two multiplications, 4096 slots, rotations: 0.8 s."""
    return SecretContext.generate(Parameters())


@cache
def stranger() -> SecretContext:
    """Somebody else's keys of the same parameters."""
    return SecretContext.generate(Parameters(), rotations=False)


@cache
def deep() -> SecretContext:
    """Five multiplications, 8192 slots, no rotations (they would take 4 s more)."""
    return SecretContext.generate(Parameters.for_depth(5), rotations=False)


@cache
def adding() -> SecretContext:
    """Additions alone, 2048 slots."""
    return SecretContext.generate(Parameters.for_depth(0))


def opened(secret: SecretContext, tensor: EncryptedTensor) -> NDArray[np.float64]:
    """What is in a tensor, with no check at all."""
    return tensor.layout.gather(slots(secret, tensor).real)


def slots(secret: SecretContext, tensor: EncryptedTensor) -> NDArray[np.complex128]:
    """Every slot of its ciphertexts: (ciphertexts, slots)."""
    return np.stack([secret.slots(ciphertext) for ciphertext in tensor.ciphertexts])


def agree(secret: SecretContext, tensor: EncryptedTensor, expected: object) -> None:
    """Insists that a tensor decrypts to what numpy got, within its error, and that its bounds hold in all slots, with an element or not."""
    wanted, found = np.asarray(expected, np.float64), slots(secret, tensor)
    inside = tensor.error + tensor.context.noise.decoding(tensor.bound)
    assert tensor.shape == wanted.shape
    assert np.abs(wanted).max() <= tensor.bound * (1 + 2**-50)  # numpy rounds, too
    assert np.abs(tensor.layout.gather(found.real) - wanted).max() <= inside
    assert np.abs(found.imag).max() <= inside
    assert np.abs(found.real).max() <= tensor.bound + inside
    empty = tensor.layout.spread(np.ones(tensor.shape)) == 0
    if tensor.clean and empty.any():
        assert np.abs(found[empty]).max() <= inside
