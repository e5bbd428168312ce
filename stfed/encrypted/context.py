"""Keys apart from data: an evaluation context computes and cannot decrypt, a secret context can.

The evaluation context holds the public key, the relinearisation keys (products of ciphertexts) and the Galois keys (rotations: sums over
elements, moving elements). All of it may be given to whoever computes. It must be the *right* one: who encrypts under somebody else's
public key tells that somebody everything. So a context has a fingerprint, which every tensor carries.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from stfed.crypto.kdf import digest
from stfed.crypto.labels import Label
from stfed.encrypted import progress
from stfed.encrypted.arithmetic import Arithmetic, Ciphertext
from stfed.encrypted.crew import Crew
from stfed.encrypted.keywords import KeyWords
from stfed.encrypted.noise import NoiseModel
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.seal import load, seal
from stfed.errors import LocalError
from stfed.wire import Writer

_DRIFT_BITS = 4
"""Of scales. The deepest set with 40 bits, of 19 levels, has 2.3."""


def _seal_context(parameters: Parameters) -> Any:
    library = seal()
    chosen = library.EncryptionParameters(library.SCHEME_TYPE.CKKS)
    chosen.set_poly_modulus_degree(parameters.degree)
    try:
        chosen.set_coeff_modulus(library.CoeffModulus.Create(parameters.degree, list(parameters.modulus_bits)))
    except RuntimeError:  # of small moduli there are few that fit to the degree
        raise LocalError(f"there are not enough primes for these parameters: {parameters}", hint="have larger moduli") from None
    context = library.SEALContext(chosen, True, library.SEC_LEVEL_TYPE.TC128)
    if not context.parameters_set():
        raise LocalError(f"SEAL refuses these parameters: {context.parameters_error_message()} ({parameters})")
    return context


_MARGIN = 2.0**10
"""Of decrypted numbers above their bound, so that those that are wrong still show."""


class EvaluationContext:
    """Encrypts, and computes on what is encrypted; cannot decrypt.

    Args:
        parameters: the set.
        public_key: its words (`stfed.encrypted.keywords`), which are checked before SEAL gets them; likewise the others.
        relin_keys: None without products of ciphertexts.
        galois_keys: None without rotations.

    Attributes:
        parameters: the set.
        blobs: the keys as they were given: public, relinearisation, Galois.
        key_words: between keys and their words.
        moduli: the primes: q_0 ... q_D and the special one.
        scales: S_l by the number l of multiplications left.
        parms_ids: SEAL's names of the levels, likewise.
        fingerprint: 32 bytes that stand for parameters and keys.
        by_others: whether somebody else made what is computed with, who could have made it so that it tells the secret key.
        noise: bounds of the noise.

    Raises:
        MalformedError: keys that are not of these parameters.
    """

    def __init__(
        self, parameters: Parameters, public_key: bytes, relin_keys: bytes | None = None, galois_keys: bytes | None = None
    ) -> None:
        self.parameters = parameters
        self.blobs: tuple[bytes, bytes | None, bytes | None] = (public_key, relin_keys, galois_keys)
        self.seal_context: Any = _seal_context(parameters)
        self.moduli: tuple[int, ...] = _primes(self.seal_context)
        self.key_words: KeyWords = (words := _key_words(parameters, self.seal_context))
        self.public_key: Any = load("PublicKey", self.seal_context, words.public_stream(public_key))
        self._relin_keys = None if relin_keys is None else load("RelinKeys", self.seal_context, words.relin_stream(relin_keys))
        self._galois_keys = None if galois_keys is None else load("GaloisKeys", self.seal_context, words.galois_stream(galois_keys))
        self.parms_ids: list[list[int]] = _levels(self.seal_context)
        self.scales: list[float] = [2.0**parameters.scale_bits]
        for left in range(parameters.depth, 0, -1):
            self.scales.insert(0, self.scales[0] ** 2 / self.moduli[left])
            # SEAL's primes are a little below powers of two, and what they lack doubles with each level.
            if self.scales[0] > 2.0 ** (parameters.scale_bits + _DRIFT_BITS):
                raise LocalError(
                    f"scales run away after {parameters.depth - left + 1} multiplications: {parameters}", hint="have fewer of them"
                )
        self.noise: NoiseModel = NoiseModel(parameters, self.moduli)
        self.fingerprint: bytes = fingerprint(parameters, self.blobs)
        self.by_others: bool = False

    @property
    def relin_keys(self) -> Any:
        """For products of ciphertexts.

        Raises:
            LocalError: this context has none.
        """
        return self._relin_keys if self._relin_keys is not None else self._lacks("multiply encrypted tensors with each other")

    @property
    def galois_keys(self) -> Any:
        """For rotations.

        Raises:
            LocalError: this context has none.
        """
        return self._galois_keys if self._galois_keys is not None else self._lacks("move elements inside ciphertexts", "rotations=True")

    @property
    def rotates(self) -> bool:
        """Whether there are Galois keys."""
        return self._galois_keys is not None

    def _lacks(self, what: str, how: str = "a depth of 1 or more") -> NoReturn:
        raise LocalError(f"this evaluation context has no keys to {what}", hint=f"make it with {how}: SecretContext.generate")

    @cached_property
    def arithmetic(self) -> Arithmetic:
        """Operations on single ciphertexts."""
        return Arithmetic(self)

    def each(self, operation: str, jobs: Sequence[tuple[Any, ...]]) -> list[Ciphertext]:
        """One of `Arithmetic`'s operations on each of the jobs, in their order, on all cores where that is faster. See `Crew.each`."""
        return self._crew.each(operation, jobs)

    @cached_property
    def _crew(self) -> Crew:
        return Crew(self.parameters, self.blobs, self.arithmetic, self.seal_context)

    def of_others(self) -> EvaluationContext:
        """The same keys, for tensors that somebody else made: it goes along to all that is computed with them, as `by_others`."""
        other = copy.copy(self)
        other.arithmetic, other._crew, other.by_others = self.arithmetic, self._crew, True
        return other

    def factor_scale(self, above: int, left: int) -> float:
        """At what scale to encode a plain factor of a ciphertext with `above` multiplications left, if the product is to have `left`."""
        level = min(left + 1, self.parameters.depth)  # without such a level, what is planned is refused for that afterwards
        return self.scales[level] ** 2 / self.scales[above]

    def largest(self, left: int) -> float:
        """Numbers must stay below this with `left` multiplications left, or they wrap around."""
        room = 1.0
        for modulus in self.moduli[: left + 1]:
            room *= modulus
        return room / 2 / self.scales[left]

    def __repr__(self) -> str:
        return f"<EvaluationContext {self.fingerprint.hex()[:16]}: {self.parameters}>"


class SecretContext:
    """Decrypts. Its secret key is never shown, and never lies on a disk in clear.

    Args:
        public: the evaluation context of the same key pair.
        secret_key: its words.

    Raises:
        MalformedError: not a key of these parameters. Whether it is that of `public` is not looked at: `load_secret` does.
    """

    def __init__(self, public: EvaluationContext, secret_key: bytes) -> None:
        self.public = public
        self._secret_key = secret_key
        self._key = load("SecretKey", public.seal_context, public.key_words.secret_stream(secret_key))
        self._decryptor = seal().Decryptor(public.seal_context, self._key)
        self._encoder = seal().CKKSEncoder(public.seal_context)

    @classmethod
    def generate(cls, parameters: Parameters | None = None, *, rotations: bool = True) -> SecretContext:
        """New keys, with randomness of the operating system.

        Args:
            parameters: `Parameters()` by default: two multiplications one after the other.
            rotations: with Galois keys, which sums and matrix products need, and which are by far the largest part of the public context.
        """
        parameters = Parameters() if parameters is None else parameters
        chosen = _seal_context(parameters)
        library, generator, words = seal(), seal().KeyGenerator(chosen), _key_words(parameters, chosen)
        public, relin, galois = library.PublicKey(), library.RelinKeys(), library.GaloisKeys()
        generator.create_public_key(public)
        if parameters.depth:
            generator.create_relin_keys(relin)
        if rotations:
            generator.create_galois_keys(galois)
        products, moves = words.of_relin(relin) if parameters.depth else None, words.of_galois(galois) if rotations else None
        context = EvaluationContext(parameters, words.of_public(public), products, moves)
        return cls(context, words.of_secret(generator.secret_key()))

    @property
    def secret_bytes(self) -> bytes:
        """The words of the secret key: for a key file, encrypted."""
        return self._secret_key

    def slots(self, ciphertext: Ciphertext) -> NDArray[np.complex128]:
        """What a ciphertext holds: complex128 (slots,). The imaginary parts are noise alone, and so tell how much of it there is."""
        plaintext = seal().Plaintext()
        self._decryptor.decrypt(ciphertext, plaintext)
        return np.fromiter(self._encoder.decode_complex(plaintext), np.complex128, self.public.parameters.slots)

    def slots_of(self, ciphertexts: Sequence[Ciphertext], bound: float | None = None) -> NDArray[np.complex128]:
        """What many hold: complex128 (ciphertexts, slots). In this process alone: no other one ever gets the secret key.

        Args:
            ciphertexts: of one level, at its canonical scale.
            bound: of the numbers and their error together. Moduli that numbers up to a thousand times this do not need are left out first:
                that is exact, and most of the time of decoding is spent on them.
        """
        found = np.empty((len(ciphertexts), self.public.parameters.slots), np.complex128)
        with progress.reported("decrypt", len(ciphertexts)) as advance:
            for row, ciphertext in zip(found, ciphertexts, strict=True):
                row[:] = self.slots(ciphertext if bound is None else self.public.arithmetic.lowered(ciphertext, _MARGIN * bound))
                advance()
        return found

    def __repr__(self) -> str:
        return f"<SecretContext of {self.public!r}>"


def fingerprint(parameters: Parameters, blobs: Sequence[bytes | None]) -> bytes:
    """32 bytes that stand for parameters and keys: SHA-256 of them, whatever library made the keys."""
    setting = Writer().u32(parameters.degree).u8(parameters.scale_bits)
    for bits in parameters.modulus_bits:
        setting.u8(bits)
    return digest(Label.CKKS_CONTEXT, setting.getvalue(), *(blob or b"" for blob in blobs))


def _key_words(parameters: Parameters, context: Any) -> KeyWords:
    return KeyWords(parameters, _primes(context), context.key_context_data().parms_id())


def _primes(context: Any) -> tuple[int, ...]:
    return tuple(int(modulus.value()) for modulus in context.key_context_data().parms().coeff_modulus())


def _levels(context: Any) -> list[list[int]]:
    """By the number of multiplications left."""
    levels, data = list[list[int]](), context.first_context_data()
    while data is not None:
        levels.insert(0, data.parms_id())
        data = data.next_context_data()
    return levels
