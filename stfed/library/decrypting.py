"""The two ways to decrypt, each with its entry in the log: for the owner of the keys, and for others.

Numbers for others carry noise that hides the secret key, and how much of it is enough depends on how many tensors are ever decrypted for
others under one key (`stfed.encrypted.sharing`). Nobody counts that there; here the audit log does. A decryption that was made as one of t
uses up 1 / t of what the key allows, and what would exceed 1 in all is refused: their divergences, at most 2^-s / (24 t) each, then add up
to 2^-s / 24.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from stfed.audit import AuditLog, Event, Kind
from stfed.audit.events import Value
from stfed.encrypted.decryption import decrypt
from stfed.encrypted.sharing import decrypt_to_share
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError, StfedError, shown
from stfed.library.contexts import Contexts
from stfed.library.home import Home

_DIGITS = 0.01
"""Shared numbers are by default within this part of the tensor's bound, or not shared."""


class Decryption:
    """Decrypts with a library's own keys.

    Args:
        home: the library's folder.
        contexts: its keys.
        actor: fingerprint of its identity, for the log.
        shares: how many tensors will ever be decrypted for others under these keys.
    """

    def __init__(self, home: Home, contexts: Contexts, actor: str, shares: int) -> None:
        self._home, self._contexts, self._actor, self._shares = home, contexts, actor, shares

    def for_owner(self, tensor: EncryptedTensor, log: AuditLog) -> NDArray[np.float64]:
        """As `stfed.encrypted.decrypt`; in the log, also if it fails."""
        facts = self._facts(tensor)
        try:
            numbers = decrypt(self._contexts.secret, tensor)
        except StfedError as error:
            log.append(Event(Kind.DECRYPT, {**facts, "error": type(error).__name__}))
            raise
        log.append(Event(Kind.DECRYPT, facts))
        return numbers

    def for_others(self, tensor: EncryptedTensor, precision: float | None, log: AuditLog) -> NDArray[np.float64]:
        """As `stfed.encrypted.decrypt_to_share`; in the log, also if it fails.

        Args:
            tensor: what to decrypt.
            precision: how far the numbers may be from exact results; by default a hundredth of the tensor's bound.
            log: where it is counted.

        Raises:
            LocalError: as there; somebody else made the tensor (`tests/encrypted/attack.py` finds the key so); or the keys have been used
                for as many of these as their noise was meant for.
        """
        facts, secret = {**self._facts(tensor), "shares": self._shares}, self._contexts.secret
        if tensor.context.by_others:
            raise LocalError(
                "somebody else made this tensor, or what it was computed from, and could have made it so that its numbers are your key",
                hint="share only what this library computed from its own tensors: no noise protects against whoever chose the ciphertext",
            )
        wanted = tensor.bound * _DIGITS if precision is None else precision
        with self._home.locked():  # two processes must not both find room for the last one
            try:
                self._check_room(secret.public.fingerprint.hex(), log)
                numbers = decrypt_to_share(secret, tensor, decryptions=self._shares, precision=wanted)
            except StfedError as error:
                log.append(Event(Kind.DECRYPT, {**facts, "error": type(error).__name__}))
                raise
            log.append(Event(Kind.DECRYPT, facts))
        return numbers

    def _check_room(self, context: str, log: AuditLog) -> None:
        fields = [entry.event.fields for entry in log.search(kind=Kind.DECRYPT)]
        made = [one["shares"] for one in fields if one.get("context") == context and "shares" in one and "error" not in one]
        used = sum((Fraction(1, shares) for shares in made if isinstance(shares, int)), Fraction())
        if used + Fraction(1, self._shares) > 1:
            raise LocalError(
                f"{len(made)} tensors were decrypted for others under these keys, and the noise that hides the keys was not made for more",
                hint="make new keys in another folder, with a larger shares= from the start: SafeTensorLibrary(home=..., shares=...)",
            )

    def _facts(self, tensor: EncryptedTensor) -> dict[str, Value]:
        if not isinstance(tensor, EncryptedTensor):
            raise LocalError(f"{shown(type(tensor).__name__)} is no encrypted tensor", hint="load_tensor returns one, encrypt_tensor too")
        return {"actor": self._actor, "context": tensor.context.fingerprint.hex(), "shape": str(tensor.shape)}
