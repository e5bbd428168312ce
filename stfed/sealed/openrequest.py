"""The options of opening, resolved: key files read, trust decided, and each checked against a file where its turn comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from stfed.audit import AuditLog
from stfed.errors import LocalError, shown
from stfed.keys.encryption import Identity
from stfed.keys.keyfile import IdentityLike, PathLike, VerifierLike, read_identities
from stfed.keys.passphrase import Passphrase
from stfed.keys.roster import Roster
from stfed.keys.signing import VerifyingKey
from stfed.sealed.envelope import Envelope
from stfed.sealed.errors import AccessDeniedError, RollbackError
from stfed.sealed.pins import Pins
from stfed.sealed.statements import Statements
from stfed.sealed.trust import Trust
from stfed.sealed.unwrapping import Access, KeyService, obtain


@dataclass(init=False, repr=False)
class OpenRequest:
    """What `OpenOptions` ask for.

    Raises:
        LocalError: for key files that cannot be read, trust in nobody, or pins without trust.
    """

    purpose: str | None
    audit: AuditLog | PathLike | None

    def __init__(
        self,
        *,
        identity: IdentityLike | Iterable[IdentityLike] | None = None,
        passphrase: Passphrase | None = None,
        trusted: VerifierLike | Iterable[VerifierLike] | Roster | None = None,
        purpose: str | None = None,
        model_id: str | None = None,
        file_id: str | None = None,
        generation: int = 1,
        pins: Pins | PathLike | None = None,
        audit: AuditLog | PathLike | None = None,
        service: KeyService | None = None,
    ) -> None:
        self._identities: list[Identity] = [] if identity is None else read_identities(identity, passphrase)
        self._passphrase, self._service = passphrase, service
        self._trust = None if trusted is None else Trust.of(trusted)
        self._pins = pins if pins is None or isinstance(pins, Pins) else Pins(pins)
        self._generation, self._model, self._file_id = generation, model_id, file_id
        self.purpose, self.audit = purpose, audit
        if self._pins is not None and self._trust is None:
            raise LocalError("pins need to know whose files they are about", hint="say whom you trust: trusted=...")

    def actor(self) -> str:
        """Fingerprints of the keys at hand, for a log."""
        held = [identity.recipient.fingerprint for identity in self._identities]
        return ",".join(held + ([self._service.caller] if self._service is not None else []))

    def admit(self, envelope: Envelope, now: datetime) -> tuple[VerifyingKey, ...]:
        """All that is decided about an envelope without a key: trust, signatures, grants, that it is the file that is meant, its policy.

        Returns:
            The signers that are trusted, none if no trust was asked for.

        Raises:
            UntrustedError: if there should be one and is none.
            TamperedError, AccessDeniedError: as `Envelope.verify`.
            AccessDeniedError: if it is another file, or the policy does not allow this now.
            RollbackError: if grants that the reader knows of are missing.
        """
        # Trust is cheap and decides whether the signatures matter.
        trusted = () if self._trust is None else self._trust.check(envelope.manifest.context, now)
        envelope.verify()
        self._check_expected(envelope)
        envelope.manifest.context.policy.check(now, self.purpose)
        return trusted

    def _check_expected(self, envelope: Envelope) -> None:
        found = envelope.manifest.context.file_id.hex()
        if self._file_id is not None and found != self._file_id:
            raise AccessDeniedError(f"the file has the id {found[:16]}..., another one is meant", rule="file-id")
        if envelope.generation < self._generation:
            raise RollbackError(f"the envelope is of generation {envelope.generation}, at least {self._generation} is asked for")

    def check_stated(self, manifest_sha256: bytes, trusted: tuple[VerifyingKey, ...], stated: Statements, now: datetime) -> None:
        """That the file is of the model that is meant, and no older than what was seen of it, which is remembered.

        Raises:
            AccessDeniedError: if it is another model's; its rule is "model".
            RollbackError: if it is older.
        """
        if self._model is not None and stated.get("model") != self._model:
            raise AccessDeniedError(f"the file is of the model {shown(stated.get('model'))}, another one is meant", rule="model")
        if self._pins is not None and self._trust is not None:
            trust = self._trust
            self._pins.check(trusted, manifest_sha256, stated, counts=lambda key: trust.counts(key, now))

    def obtain(self, envelope: Envelope, now: datetime) -> tuple[bytes, Access]:
        """The file key and how it was come by; raises as `unwrapping.obtain` and `Trust.check_granter`."""
        file_key, access = obtain(envelope, self._identities, self._passphrase, self._service, self.purpose)
        if access.grant is not None and self._trust is not None:
            self._trust.check_granter(access.grant, envelope.manifest.context, now)
        return file_key, access
