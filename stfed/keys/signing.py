"""Keys that people sign with: Ed25519 (RFC 8032), alone or together with ML-DSA-65 (FIPS 204), which a quantum computer does not break.

    ed25519           keys of 32 bytes, signatures of 64: `stfedsig1...`, `STFED-SIGNING-KEY-1...`. The default.
    ed25519-mldsa65   keys of 1984 bytes, signatures of 3373: `stfedsigpq1...`, `STFED-SIGNING-KEY-PQ-1...`

A hybrid signature is two signatures over the same message, and both must hold. What is signed is `kdf.framed(label, *parts)`, so it counts
for one purpose only. Two keys are equal if all their bytes are: the Ed25519 half of a hybrid key is another key. Secret keys are seeds.
No input or output here; files are the business of `stfed.keys.keyfile`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from stfed.crypto import identity
from stfed.crypto.identity import BadSignatureError
from stfed.crypto.kdf import framed
from stfed.crypto.labels import Label
from stfed.crypto.random import Entropy, system_entropy
from stfed.errors import LocalError, MalformedError, shown
from stfed.keys import bech32
from stfed.keys.fingerprint import fingerprint

_MLDSA_SEED_BYTES = 32
_MLDSA_PUBLIC_BYTES = 1952
_MLDSA_SIGNATURE_BYTES = 3309
_MLDSA_CONTEXT = b"stfed"  # FIPS 204, section 5.2: keeps our ML-DSA signatures apart from those of other software under the same key

_STARTS = "it starts with stfedsig1 or stfedsigpq1"


class Kind(StrEnum):
    """The two kinds; a kind is its name."""

    ED25519 = "ed25519"
    HYBRID = "ed25519-mldsa65"

    @property
    def prefix(self) -> str:
        """How the text of a public key starts."""
        return "stfedsigpq" if self is Kind.HYBRID else "stfedsig"

    @property
    def secret_prefix(self) -> str:
        """How the text of a secret key starts, in lower case."""
        return "stfed-signing-key-pq-" if self is Kind.HYBRID else "stfed-signing-key-"

    @property
    def seed_bytes(self) -> int:
        """Length of the secret: the Ed25519 seed, then the ML-DSA seed."""
        return identity.PRIVATE_BYTES + (_MLDSA_SEED_BYTES if self is Kind.HYBRID else 0)

    @property
    def public_bytes(self) -> int:
        """Length of the public key: the Ed25519 key, then the ML-DSA key."""
        return identity.PUBLIC_BYTES + (_MLDSA_PUBLIC_BYTES if self is Kind.HYBRID else 0)

    @property
    def signature_bytes(self) -> int:
        """Length of a signature: Ed25519's, then ML-DSA's."""
        return identity.SIGNATURE_BYTES + (_MLDSA_SIGNATURE_BYTES if self is Kind.HYBRID else 0)


@dataclass(frozen=True, repr=False)
class VerifyingKey:
    """A public key that signatures are checked with.

    Attributes:
        kind: which.
        public_bytes: the Ed25519 key, followed in a hybrid key by the ML-DSA-65 key.
    """

    kind: Kind
    public_bytes: bytes

    def __post_init__(self) -> None:
        if len(self.public_bytes) != self.kind.public_bytes:
            raise MalformedError(f"a public {self.kind} key has {self.kind.public_bytes} bytes, not {len(self.public_bytes)}")

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Reads `stfedsig1...` or `stfedsigpq1...`; MalformedError if it is neither."""
        prefix, data = bech32.decode(text)
        if prefix.startswith((Kind.ED25519.secret_prefix, "age-secret-key-")):
            raise MalformedError(
                "this is a secret key; a public signing key is needed here", hint="use the KEY.pub beside it, and keep it secret"
            )
        for kind in Kind:
            if prefix == kind.prefix and len(data) == kind.public_bytes:
                key = cls(kind, data)
                vars(key)["_text"] = text.lower()  # bech32 has one form in lower case; writing it anew takes a millisecond
                return key
        if prefix in ("age", "age1pq"):
            raise MalformedError("this key is for encryption; one for signatures is needed here", hint=_STARTS)
        raise MalformedError(f"no signing key starts with {shown(prefix)} and holds {len(data)} bytes", hint=_STARTS)

    @property
    def ed25519(self) -> bytes:
        """The 32 bytes of the Ed25519 half, for formats that have Ed25519 only; a signature by this half is none by a hybrid key."""
        return self.public_bytes[: identity.PUBLIC_BYTES]

    @property
    def signature_bytes(self) -> int:
        """How long this key's signatures are."""
        return self.kind.signature_bytes

    @cached_property
    def fingerprint(self) -> str:
        """80 bits for people to compare, of the key as it is written."""
        return fingerprint(str(self))

    def verify(self, signature: bytes, label: Label, *parts: bytes) -> None:
        """Returns if `signature` was made by this key over this label and these parts; of a hybrid key, by both its halves.

        Raises:
            BadSignatureError: it was not, or this is no key that a signature can be pinned to (low order).
        """
        curve, lattice = signature[: identity.SIGNATURE_BYTES], signature[identity.SIGNATURE_BYTES :]
        try:
            if len(signature) != self.signature_bytes:
                raise InvalidSignature
            identity.verify(self.ed25519, curve, label, *parts)
            if self.kind is Kind.HYBRID:
                public = MLDSA65PublicKey.from_public_bytes(self.public_bytes[identity.PUBLIC_BYTES :])
                public.verify(lattice, framed(label, *parts), _MLDSA_CONTEXT)
        except (InvalidSignature, BadSignatureError):
            raise BadSignatureError(f"the {label.name} signature is not by the key {self.fingerprint} over this content") from None

    @cached_property
    def _text(self) -> str:
        return bech32.encode(self.kind.prefix, self.public_bytes)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"VerifyingKey({self.kind}, {self.fingerprint})"


class SigningKey:
    """A secret key to sign with. Neither `str`, `repr` nor an error ever shows it; `secret_string` does.

    Attributes:
        kind: which.
        ed25519: the Ed25519 half by itself, for formats that have Ed25519 only.
        public: the key that checks its signatures.
    """

    __slots__ = ("_mldsa", "ed25519", "kind", "public")

    def __init__(self, kind: Kind, seed: bytes) -> None:
        if len(seed) != kind.seed_bytes:
            raise LocalError(f"a secret {kind} key has {kind.seed_bytes} bytes, not {len(seed)}")
        self.kind: Kind = kind
        self.ed25519: identity.Identity = identity.Identity.from_private_bytes(seed[: identity.PRIVATE_BYTES])
        self._mldsa = MLDSA65PrivateKey.from_seed_bytes(seed[identity.PRIVATE_BYTES :]) if kind is Kind.HYBRID else None
        lattice = self._mldsa.public_key().public_bytes_raw() if self._mldsa else b""
        self.public: VerifyingKey = VerifyingKey(kind, self.ed25519.public_bytes + lattice)

    @classmethod
    def generate(cls, kind: str = "ed25519", *, entropy: Entropy = system_entropy) -> Self:
        """A new key.

        Args:
            kind: "ed25519" or "ed25519-mldsa65".
            entropy: where the seed comes from.
        """
        if kind not in list(Kind):
            raise LocalError(f"there is no kind of signing key called {shown(kind)}", hint=f"use {' or '.join(Kind)}")
        return cls(Kind(kind), entropy(Kind(kind).seed_bytes))

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Reads `STFED-SIGNING-KEY-1...` or `STFED-SIGNING-KEY-PQ-1...`; MalformedError, without the text, if it is neither."""
        prefix, data = bech32.decode(text)
        for kind in Kind:
            if prefix == kind.secret_prefix and len(data) == kind.seed_bytes:
                return cls(kind, data)
        if prefix in ("age-secret-key-", "age-secret-key-pq-"):
            raise MalformedError("this secret key is for encryption; one for signatures is needed here")
        raise MalformedError("this is no secret signing key", hint="it starts with STFED-SIGNING-KEY-1 or STFED-SIGNING-KEY-PQ-1")

    def secret_string(self) -> str:
        """The secret key as it is kept in a file."""
        lattice = self._mldsa.private_bytes_raw() if self._mldsa else b""
        return bech32.encode(self.kind.secret_prefix, self.ed25519.private_bytes() + lattice).upper()

    def sign(self, label: Label, *parts: bytes) -> bytes:
        """The signature over the label and the parts, `public.signature_bytes` long; a hybrid one is new each time (FIPS 204: hedged)."""
        lattice = self._mldsa.sign(framed(label, *parts), _MLDSA_CONTEXT) if self._mldsa else b""
        return self.ed25519.sign(label, *parts) + lattice

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SigningKey) and self.public == other.public

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return f"SigningKey({self.kind}, {self.public.fingerprint}, secret hidden)"
