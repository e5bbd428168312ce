"""`Scale`: how large encrypted numbers are held, how far off their sum is, and how much noise hides the noise of ciphertexts.

The coordinator has the ciphertext of the sum *and* is told what it decrypts to. In CKKS that is dangerous: the difference between what a
ciphertext decrypts to and the message is its noise, which depends on the secret key, and who knows ciphertext and exact decryption computes
the key from them (Li, Micciancio, *On the Security of Homomorphic Encryption on Approximate Numbers*, EUROCRYPT 2021). So the key holder
adds noise of its own, so much that the sum's own noise makes no difference (smudging: Asharov, Jain, Lopez-Alt, Tromer, Vaikuntanathan,
Wichs, EUROCRYPT 2012): an integer that is uniform on 2^k consecutive ones has the distance |e| / 2^k from itself plus e. It is added to
each coefficient of what is decrypted, as an integer modulo q and before anything is rounded (`stfed.flower.ckks.flooding`), so that the
distance of all that is ever answered is at most the sum of |e| / 2^k over coefficients and decryptions. With

    2^k >= 2^s q M n E      (s = `SECURITY_BITS`, q decryptions a key pair, M = N x ciphertexts coefficients, n ciphertexts added)

where E bounds the *mean* |e| of one ciphertext's coefficient, everything that a key pair decrypts is, together with its keys and all
ciphertexts, within the statistical distance 2^-s of what it would be if ciphertexts had no noise: of decodings of the sums of the parties'
encodings, and uniform noise, in which there is no secret key. That is for ciphertexts that are made as SEAL makes them, with randomness
nobody knows, and for sums of up to n of them, whoever answers: it says nothing of ciphertexts that somebody made otherwise.

E: SEAL encrypts with the special modulus P on top and divides by it, so e = (errors) / P + r_0 + r_1 s. The errors, of at most 21 a
coefficient, come to less than 2^-30 after the division. r_0 is a rounding, at most 1/2. r_1 is -(c_1 mod P) / P: N independent roundings of
variance 1/12, since c_1 is an error plus the uniform polynomial of the public key times a random ternary one (invertible mod P but for a
chance of about N / P). So r_1 s has a variance of at most N / 12 a coefficient for *every* ternary s, and E = sqrt(N / 12) + 1. Of n
ciphertexts it is at most n times that, whatever they have to do with each other.

For that to cost no precision that a model would notice, numbers are held far larger than usual, times 2^112 for ten parties, under two
moduli of 60 bits (`SUMS`), which sums never have to give up. A slot has the noise of all coefficients, so that no number has less than
another. The few that have to be more exact than a model (weight, metrics) are sent in `DIGITS` digits each (`Scale.step`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.parameters import Parameters
from stfed.errors import LocalError

SUMS = Parameters(8192, (60, 59, 60), 59)
"""For sums under a key holder: two data moduli. 29.75 bytes a number on the wire: two numbers a slot, a real and an imaginary part."""
SECURITY_BITS = 40
DECRYPTIONS = 1 << 10
"""q: how many sums one key pair may decrypt. The key holder counts them, and then wants a new pair."""
_ROOM_BITS = 2
"""Sums fill a quarter of the modulus: half of it is for either sign, and coefficients are as large as slots, which hold two numbers."""
_COARSE = 2.0**-12, 2.0**-6
"""A sum is of no use if it is off by more than this much of the bound of a party's number for each party, or by more than this much."""
DIGITS = 3
"""Of a number that has to be more exact than those of the model."""
_TAIL = 8.5
"""Deviations of a slot's noise. A sum of independent uniform numbers is sub-Gaussian with its own variance: 2 exp(-8.5^2) = 2^-103."""


@dataclass(frozen=True)
class Scale:
    """The scale for a sum of up to so many parties.

    Attributes:
        context: of the key holder.
        parties: n.
        numbers: that each encrypts.
        scalars: how many of them, at the end, are no part of the model, and have to be more exact.

    Raises:
        LocalError: the parameters leave no room for numbers of a useful precision.
    """

    context: EvaluationContext
    parties: int
    numbers: int
    scalars: int

    def __post_init__(self) -> None:
        if self.scale_bits < 20 or self.error > min(self.parties * _COARSE[0], _COARSE[1]):
            raise LocalError(
                f"sums of {self.parties} parties over {self.numbers} numbers have no useful precision with {self.context.parameters}",
                hint="make the key pair with stfed.flower.ckks.SUMS, and ask fewer parties at once",
            )

    @cached_property
    def scale_bits(self) -> int:
        """Numbers are held times 2 to this."""
        modulus = math.prod(self.context.moduli[:-1])
        return modulus.bit_length() - 1 - _ROOM_BITS - (self.parties - 1).bit_length()

    @property
    def scale(self) -> float:
        """As a number."""
        return 2.0**self.scale_bits

    @property
    def left(self) -> int:
        """The level that everything is at: the highest."""
        return self.context.parameters.depth

    @property
    def places(self) -> int:
        """How many halves of slots are taken: one a number of the model, `DIGITS` another one."""
        return self.numbers + (DIGITS - 1) * self.scalars

    @property
    def ciphertexts(self) -> int:
        """How many there are."""
        return -(-self.places // self.context.parameters.degree)

    @property
    def own_noise(self) -> float:
        """E: the most that the mean size of a coefficient of a fresh ciphertext's noise is."""
        return math.sqrt(self.context.parameters.degree / 12) + 1

    @cached_property
    def noise_bits(self) -> int:
        """k: coefficients get noise that is uniform on 2^k integers."""
        coefficients = self.ciphertexts * self.context.parameters.degree
        return math.ceil(SECURITY_BITS + math.log2(DECRYPTIONS * coefficients * self.parties * self.own_noise))

    @property
    def noise(self) -> float:
        """The most that this is in a number."""
        return _TAIL * math.sqrt(self.context.parameters.degree / 12) * 2.0 ** (self.noise_bits - self.scale_bits)

    @cached_property
    def error(self) -> float:
        """The most that a sum of numbers of the model is off."""
        own = self.context.noise
        return self.noise + self.parties * own.fresh(2.0, self.scale) + own.decoding(2.0 * self.parties)

    @property
    def step(self) -> float:
        """Digits but the last are multiples of this, so that their sums are read without error; and each is this much of the one before."""
        return 2.0 ** (math.ceil(math.log2(self.error)) + 2)

    @property
    def scalar_error(self) -> float:
        """The most that a sum of the other numbers is off: an error of the last digit, and doubles."""
        return self.step ** (DIGITS - 1) * self.error + self.parties * 2.0**-51
