"""Whose signature counts: decided by the reader, from keys or a roster of their own, never from anything in the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from stfed.errors import LocalError
from stfed.keys.keyfile import VerifierLike, read_verifiers
from stfed.keys.roster import Roster
from stfed.keys.rules import RosterError
from stfed.keys.signing import VerifyingKey
from stfed.sealed import times
from stfed.sealed.errors import UntrustedError
from stfed.sealed.grants import Grant, key_sha256
from stfed.sealed.manifest import Context

SEALERS = ("owner", "coordinator")
"""Roles of a roster whose members' signatures under a file count."""


@dataclass(frozen=True)
class Trust:
    """Keys, or a roster with its roles, validity windows and revocations."""

    keys: frozenset[VerifyingKey]
    roster: Roster | None = None

    @classmethod
    def of(cls, trusted: VerifierLike | Iterable[VerifierLike] | Roster) -> Self:
        """What `trusted=` means; LocalError if it names nobody."""
        if isinstance(trusted, Roster):
            return cls(frozenset(), trusted)
        keys = frozenset(read_verifiers(trusted))
        if not keys:
            raise LocalError("nobody is trusted: every file would be refused", hint="name at least one public signing key, or leave it out")
        return cls(keys)

    def check(self, context: Context, now: datetime) -> tuple[VerifyingKey, ...]:
        """The signers that the reader trusts, at least one. That the signatures verify is the business of `Envelope.verify`.

        Raises:
            UntrustedError: if there is none.
        """
        return self.check_signed(context.signers, context.time, now)

    def check_signed(self, signers: Sequence[VerifyingKey], signed: datetime, now: datetime) -> tuple[VerifyingKey, ...]:
        """As `check`, for anything that was signed at `signed`."""
        if not signers:
            raise UntrustedError("the file is not signed, and a trusted signature was asked for", hint="have its sealer sign it")
        objections = {key: self._objection(key, signed, now) for key in signers}
        trusted = tuple(key for key, reason in objections.items() if reason is None)
        if not trusted:
            raise UntrustedError(f"nobody trusted signed the file: {'; '.join(filter(None, objections.values()))}")
        return trusted

    def counts(self, key: VerifyingKey, now: datetime) -> bool:
        """Whether a signature by this key, made now, would count."""
        return self._objection(key, now, now) is None

    def check_granter(self, grant: Grant, context: Context, now: datetime) -> None:
        """Refuses access through a grant whose granter the roster does not take for an owner.

        A grant counts as made after the file was sealed, whatever it says: a key that the roster had retired by then grants nothing.

        Raises:
            UntrustedError: then.
        """
        if self.roster is None:
            return
        granter = next(key for key in (*context.signers, *context.policy.owners) if key_sha256(key) == grant.granter)
        reason = self._objection(granter, max(grant.time, context.time), now)
        if reason is not None:
            raise UntrustedError(f"the grant was made by somebody the roster does not accept: {reason}")

    def _objection(self, key: VerifyingKey, signed: datetime, now: datetime) -> str | None:
        """Why a key does not count for what it says it signed at `signed`, if anything; a roster knows windows and retired keys."""
        if self.roster is None:
            return None if key in self.keys else f"{key.fingerprint} is not among the trusted keys"
        if signed > now + times.CLOCK_SKEW:
            return f"{key.fingerprint} signed at {times.written(signed)}, which is in the future: check the clocks"
        refusals = []
        for role in SEALERS:
            try:
                self.roster.check(key, role, signed)
            except RosterError as error:
                refusals.append(error)
            else:
                return None
        return next((error for error in refusals if error.rule != "role"), refusals[0]).message
