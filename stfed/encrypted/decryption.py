"""Back to numbers, for the owner of the secret key: what `decrypt` returns is within the tensor's error bound, or it is not returned.

**What is checked.** Numbers are real, so the polynomial of the message is symmetric under X -> 1/X and its slots have no imaginary part:
all that is found there is noise. The noise of a slot is a sum of N coefficients times powers of one root of unity z. Over these, cos^2 and
sin^2 add up to N / 2 each and cos sin to 0, because z^2 is not 1 and its N-th power is: coefficients that are independent and of equal
variance give a real and an imaginary part of equal variance that are uncorrelated, at every root, the one next to 1 included. So the
imaginary parts, of which there are as many as numbers, measure the noise that is in the numbers; OpenFHE estimates noise so. `tensor.error`
bounds the complex noise of every slot, so it bounds both parts: an honest tensor is never refused, but with the chance that
`stfed.encrypted.noise` states. A ciphertext that is damaged or of another key decrypts to uniform coefficients, with imaginary parts as
large as the modulus allows.

**What imaginary parts don't show** is numbers that wrapped around: reduction modulo q keeps the symmetry. Their slots are wrong and real.
Empty slots show that, the copies of a single number do, and numbers above the bound; and no operation makes such a tensor, because each
checks beforehand. What nobody can see from here is a number that was changed on purpose, or a bound that was stated too large together with
it: whoever holds the public key can make a ciphertext of anything, and change one without knowing it. Only a signature tells whose tensor
it is. Decrypt what came in a sealed file that you trust.

**Who may see the result.** It is the owner's. Numbers that come from `decrypt` carry the noise of the ciphertext, and who has both can
compute the secret key (Li, Micciancio, EUROCRYPT 2021): see `stfed.encrypted.sharing`, which also has a decryption for others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stfed.encrypted.context import EvaluationContext, SecretContext
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError, shown


def decrypt(secret: SecretContext, tensor: EncryptedTensor, *, check: bool = True) -> NDArray[np.float64]:
    """The numbers of a tensor, for the owner of the key alone: not to be published or sent to whoever may have the ciphertext.

    Args:
        secret: the keys that it is encrypted under.
        tensor: what to decrypt.
        check: measure the noise, and refuse numbers that are further from the truth than the tensor says. Without it whatever comes out is
            returned: for finding out what went wrong.

    Returns:
        float64 of `tensor.shape`, each within `tensor.error` of the exact result.

    Raises:
        LocalError: no secret key, another key, or a result that is not to be trusted.
    """
    slots = opened(secret, tensor, check=check)
    return tensor.layout.gather(slots.real)


def opened(secret: SecretContext, tensor: EncryptedTensor, *, check: bool = True) -> NDArray[np.complex128]:
    """All slots of all ciphertexts: complex128 (ciphertexts, slots). Arguments and errors as those of `decrypt`."""
    if isinstance(secret, EvaluationContext):
        raise LocalError(
            "this context computes and cannot decrypt: it has no secret key", hint="give the tensor to whoever holds the secret context"
        )
    if not isinstance(secret, SecretContext):
        raise LocalError(f"{shown(type(secret).__name__)} is no secret context", hint="SecretContext.generate(), or load_secret(path)")
    if not isinstance(tensor, EncryptedTensor):
        raise LocalError(f"{shown(type(tensor).__name__)} is no encrypted tensor")
    if tensor.context.fingerprint != secret.public.fingerprint:
        raise LocalError(
            f"the tensor is encrypted under other keys ({tensor.context.fingerprint.hex()[:16]}) than these "
            f"({secret.public.fingerprint.hex()[:16]})"
        )
    slots = secret.slots_of(tensor.ciphertexts, tensor.bound + slack(tensor))
    if check:
        _check(tensor, slots)
    return slots


def slack(tensor: EncryptedTensor) -> float:
    """How far a decrypted float64 can be from the exact result: the error of the tensor, and that of the transform to float64."""
    return tensor.error + tensor.context.noise.decoding(tensor.bound + tensor.error)


def _check(tensor: EncryptedTensor, slots: NDArray[np.complex128]) -> None:
    """Refuses slots that no tensor with these bounds has. Comparisons are such that NaN is refused."""
    allowed, layout = slack(tensor), tensor.layout
    _insist(np.all(np.abs(slots.imag) <= allowed), "its noise is larger than its error bound")
    _insist(np.all(np.abs(slots.real) <= tensor.bound + allowed), "it holds numbers above its bound")
    if layout.uniform:
        _insist(np.ptp(slots.real) <= 2 * allowed, "the copies of its number differ")
    elif tensor.clean:
        empty = layout.spread(np.ones(layout.shape)) == 0
        _insist(np.all(np.abs(slots.real[empty]) <= allowed), "there is something in slots that it left empty")


def _insist(holds: bool | np.bool_, otherwise: str) -> None:
    if not holds:
        raise LocalError(
            f"the result is not to be trusted: {otherwise}; the ciphertext is damaged, was made under another key, or overflowed",
            hint="get the tensor again from where it was computed, in a signed file",
        )
