"""The options of sealing, resolved: public keys read, contradictions refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from stfed.audit import AuditLog
from stfed.errors import LocalError, shown
from stfed.keys.encryption import Recipient
from stfed.keys.keyfile import PathLike, RecipientLike, SignerLike, read_recipients, read_signer
from stfed.keys.passphrase import Passphrase
from stfed.keys.roster import Roster
from stfed.keys.signing import SigningKey
from stfed.sealed import statements, times
from stfed.sealed.bounds import SEGMENT_DEFAULT_BYTES, SIGNERS_MAX
from stfed.sealed.manifest import segment_bytes_problem
from stfed.sealed.policy import Policy
from stfed.sealed.recipients import check_recipients
from stfed.sealed.statements import Statements
from stfed.sealed.suites import Suite, suite_for
from stfed.sealed.times import Clock, system_clock


@dataclass(frozen=True, repr=False)
class SealRequest:
    """What `SealOptions` ask for.

    Attributes:
        recipients: public keys of one kind; empty if there is a passphrase.
        passphrase: in their place.
        signers: secret signing keys; empty for an unsigned file.
        suite: follows from whether there are any, and the digest.
        policy: conditions of use.
        provenance: statements for recipients.
        public: statements for everybody.
        time: of sealing, in whole seconds.
        audit: log to write to.
        segment_bytes: length of a payload segment, 4 KiB to 64 MiB.
    """

    recipients: tuple[Recipient, ...]
    passphrase: Passphrase | None
    signers: tuple[SigningKey, ...]
    suite: Suite
    policy: Policy
    provenance: Statements
    public: Statements
    time: datetime
    audit: AuditLog | PathLike | None = None
    segment_bytes: int = SEGMENT_DEFAULT_BYTES

    @classmethod
    def of(
        cls,
        *,
        recipients: RecipientLike | Iterable[RecipientLike] | Roster | None = None,
        passphrase: Passphrase | None = None,
        signer: SignerLike | Iterable[SignerLike] | None = None,
        policy: Policy | None = None,
        provenance: Statements | None = None,
        public: Statements | None = None,
        digest: str = "blake3",
        audit: AuditLog | PathLike | None = None,
        segment_bytes: int = SEGMENT_DEFAULT_BYTES,
        clock: Clock = system_clock,
    ) -> Self:
        """Reads keys and checks that all of it goes together.

        Raises:
            LocalError: for no or mixed recipients, recipients beside a passphrase, a policy without a signer, or unfit provenance.
        """
        chosen = resolved_recipients(recipients, clock)
        if passphrase is None:
            check_recipients(chosen)
        elif chosen:
            raise LocalError("a passphrase stands alone: whoever knows it could open the file, however good the recipients' keys are")
        signers = read_signers(signer)
        policy = policy or Policy()
        if policy and not signers:
            raise LocalError("a policy without a signature is nobody's policy", hint="signer=...")
        provenance, public = ({} if stated is None else stated for stated in (provenance, public))
        wrong = statements.problem(provenance) or statements.problem(public) or segment_bytes_problem(segment_bytes)
        if wrong:
            raise LocalError(wrong)
        twice = sorted(set(provenance) & set(public))
        if twice:
            raise LocalError(f"{shown(twice[0])} is stated both publicly and sealed", hint="state it once")
        suite = suite_for(bool(signers), digest)
        now = times.whole_seconds(clock())
        return cls(chosen, passphrase, signers, suite, policy, dict(provenance), dict(public), now, audit, segment_bytes)


def resolved_recipients(
    source: RecipientLike | Iterable[RecipientLike] | Roster | None, clock: Clock = system_clock
) -> tuple[Recipient, ...]:
    """The public keys that are meant, each once; of a roster those of its recipients now."""
    if source is None:
        return ()
    if isinstance(source, Roster):
        return tuple(source.recipients(now=clock()))
    return tuple(read_recipients(source))


def read_signers(source: SignerLike | Iterable[SignerLike] | None) -> tuple[SigningKey, ...]:
    """One signing key, several, or none; LocalError for an empty list, or more than a file can have."""
    if source is None:
        return ()
    single: Callable[[object], bool] = lambda one: isinstance(one, SigningKey | str) or hasattr(one, "__fspath__")  # noqa: E731
    listed: Sequence[SignerLike] = [source] if single(source) else list(source)  # type: ignore[arg-type, list-item]
    signers = tuple(dict.fromkeys(read_signer(one) for one in listed))
    if not 1 <= len(signers) <= SIGNERS_MAX:
        raise LocalError(f"{len(signers)} signers, between 1 and {SIGNERS_MAX} are possible")
    return signers
