"""Decryption for others: numbers that may be shown to whoever has the ciphertext.

A CKKS ciphertext (c_0, c_1) decrypts to m = c_0 + c_1 s, the message *with its noise*. Who knows m to the last bit knows s: it is a linear
equation (Li, Micciancio, *On the Security of Homomorphic Encryption on Approximate Numbers*, EUROCRYPT 2021; `tests/encrypted/attack.py`
takes a second for a whole secret key). What `decrypt` returns is therefore the owner's alone. `decrypt_to_share` adds noise that hides the
ciphertext's own, after Li, Micciancio, Schultz, Sorrell, *Securing Approximate Homomorphic Encryption Using Differential Privacy*, CRYPTO
2022, and rounds away the digits that are noise.

**The bound.** Each of the n numbers that come out is within e of the exact result x, which the computation would have given without any
encryption. On a grid finer than e both are integers, at most D apart; each gets a discrete Gaussian of its own with

    sigma = sqrt(12 tau n) 2^(s/2) D

for tau decryptions that are ever shared under a key, and s bits: their formula for the 2-norm, which is at most sqrt(n) D for the numbers
that are released. What is shown then differs from x with noise, which tells nothing about keys, by a Kullback-Leibler divergence of at most
n D^2 / (2 sigma^2) = 2^-s / (24 tau) a decryption and 2^-s / 24 for all of them together, chosen adaptively or not. So

- who has all ciphertexts and all shared numbers finds the secret key with a chance of at most 2^-s / 15, or 4 times what it is without the
  shared numbers, whichever is more (the divergence of "found or not" is no larger);
- telling two sets of inputs with equal results apart has an advantage of at most sqrt(2^-s / 48), by Pinsker's inequality: 2^-22.8 for 40
  bits. In LMSS's count of bits, that of Micciancio and Walter, advantages are squared.

**What it rests on.** That e is right. `tensor.error` adds errors up as if all of them pointed the same way, whatever operands have to do
with each other. So sums of one ciphertext with itself are covered, which break flooding by estimates of independent noise (Guo, Nabokov,
Suvanto, Johansson, *Key Recovery Attacks on Approximate Homomorphic Encryption with Non-Worst-Case Noise Flooding Countermeasures*, USENIX
Security 2024), and so is any choice of inputs and plain operands that is made without looking at ciphertexts. It is not measured on the
ciphertext: less noise by an estimate that depends on the key is no remedy, as LMSS show. *Not* worst case are the sources that are added
up: the noise of encryption, roundings and key switching is bounded but for a chance of 2^-80 over honest randomness. That is the model of
an application that is fixed beforehand (Alexandru, Al Badawi, Micciancio, Polyakov, *Application-Aware Approximate Homomorphic Encryption*,
IACR ePrint 2024/203). Someone who sees a ciphertext and picks plain operands by how they make it round can do worse; someone who makes
ciphertexts, or bounds that come with them, to measure something is not covered at all, here or by any flooding: one decryption gives the
key away. Share only what was computed as agreed by somebody who you trust to do so, and came signed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stfed.crypto.random import Entropy, system_entropy
from stfed.encrypted.context import SecretContext
from stfed.encrypted.decryption import decrypt, slack
from stfed.encrypted.gaussian import discrete_gaussian
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError, shown

SECURITY_BITS = 40
"""s by default: one in 10^12."""
_SECURITY_BITS_MIN, _SECURITY_BITS_MAX = 30, 128
_GRID_BITS = 4
"""The grid is 2^-4 to 2^-5 of the error, so that rounding to it costs little: D is at most 33."""
_FAILURE_BITS = 40
"""Shared numbers are further off than `precision` with a chance of 2^-40."""


@dataclass(frozen=True)
class Flooding:
    """The noise for one tensor; all of it public.

    Attributes:
        unit: of the grid that the noise lies on, a power of two.
        deviation: of the noise, in units.
        dropped_bits: of a number in units, that are rounded away.
        precision: how far from the exact result a shared number can be.
    """

    unit: float
    deviation: int
    dropped_bits: int
    precision: float

    def drown(self, numbers: NDArray[np.float64], entropy: Entropy) -> NDArray[np.float64]:
        """Numbers with noise, rounded."""
        half, step = 1 << self.dropped_bits >> 1, self.unit * 2.0**self.dropped_bits
        flat = [int(unit) + discrete_gaussian(self.deviation, entropy) for unit in np.rint(numbers / self.unit).ravel().tolist()]
        return np.array([(number + half >> self.dropped_bits) * step for number in flat]).reshape(numbers.shape)


def flooding(tensor: EncryptedTensor, *, decryptions: int = 1, security_bits: int = SECURITY_BITS) -> Flooding:
    """What sharing a tensor would cost in precision; needs no secret key.

    Args:
        tensor: what is to be shared.
        decryptions: how many tensors will ever be decrypted for others under this key, this one included.
        security_bits: s.

    Raises:
        LocalError: an argument is out of range.
    """
    if type(decryptions) is not int or not 1 <= decryptions <= 1 << 64:
        raise LocalError(f"{shown(decryptions)} decryptions", hint="how many will ever be shared under this key: 1 or more")
    if type(security_bits) is not int or not _SECURITY_BITS_MIN <= security_bits <= _SECURITY_BITS_MAX:
        raise LocalError(f"security_bits of {shown(security_bits)}", hint=f"{_SECURITY_BITS_MIN} to {_SECURITY_BITS_MAX}")
    error = slack(tensor)
    if error <= 0:
        raise LocalError("a tensor without an error bound cannot be shared")
    unit = math.ldexp(1.0, math.frexp(error)[1] - 1 - _GRID_BITS)
    apart = math.floor(error / unit) + 1
    deviation = math.isqrt(12 * decryptions * tensor.size * apart**2 << security_bits) + 1
    dropped_bits = deviation.bit_length() - 3  # a step of a quarter of the deviation, or less
    tail = math.sqrt(2 * math.log(2 * tensor.size) + 2 * math.log(2) * _FAILURE_BITS)
    return Flooding(unit, deviation, dropped_bits, error + unit * (0.5 + tail * deviation + 2.0 ** (dropped_bits - 1)))


def decrypt_to_share(
    secret: SecretContext,
    tensor: EncryptedTensor,
    *,
    decryptions: int = 1,
    security_bits: int = SECURITY_BITS,
    precision: float | None = None,
    entropy: Entropy = system_entropy,
) -> NDArray[np.float64]:
    """The numbers of a tensor, with noise that makes them safe to show to those who have the ciphertext.

    Args:
        secret: the keys that it is encrypted under.
        tensor: what to decrypt. The fewer numbers, the less noise: share means and not tables.
        decryptions: how many tensors will ever be decrypted for others under this key, this one included, and the same one again counted
            again. Nobody counts for you: state the same, sufficient number each time.
        security_bits: s above.
        precision: how close numbers have to be to exact results; `tensor.bound` by default, beyond which they would say nothing.
        entropy: uniform bytes; the operating system's by default.

    Returns:
        float64 of `tensor.shape`, within `flooding(...).precision` of the exact results.

    Raises:
        LocalError: as `decrypt`, or the noise would leave less precision than asked for: says which parameters would do.
    """
    flood = flooding(tensor, decryptions=decryptions, security_bits=security_bits)
    wanted = tensor.bound if precision is None else precision
    if not flood.precision <= wanted:
        raise LocalError(
            f"shared with {security_bits} bits of security for {decryptions} decryption(s), these {tensor.size} numbers would be exact "
            f"to {flood.precision:.2g}, not to {wanted:.2g}",
            hint=_way_out(tensor, flood.precision / wanted if wanted > 0 else math.inf),
        )
    return flood.drown(decrypt(secret, tensor), entropy)


def _way_out(tensor: EncryptedTensor, factor: float) -> str:
    """Parameters whose noise is at least `factor` smaller."""
    old = tensor.context.parameters
    for scale_bits in range(old.scale_bits + 1, 60):
        # The last modulus has 60 bits: what does not fit there beside the scale needs a multiplication that is kept unused.
        spare = int(tensor.left == 0 and not tensor.bound < 2.0 ** (58 - scale_bits))
        try:
            new = Parameters.for_depth(old.depth + spare, scale_bits=scale_bits)
        except LocalError:
            continue
        # Noise in slots grows with N^1.5 at most.
        if 2.0 ** (scale_bits - old.scale_bits) * (old.degree / new.degree) ** 1.5 >= factor:
            return f"encrypt with Parameters.for_depth({new.depth}, scale_bits={scale_bits}), or share fewer numbers, such as means"
    return "no secure parameters give that precision: share fewer numbers, such as means, with fewer decryptions or security_bits"
