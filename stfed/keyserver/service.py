"""The decisions of the key service: who gets which file's key, when, and for what. No network; clock and entropy are arguments.

A release is a row of checks, each with a rule of `stfed.keyserver.rules`, in this order:

    rate                        tokens of the caller's address and of the whole service
    size, malformed             length, then form, of the small signed statement; the envelope is not parsed yet
    nonce                       known, not expired, not used; used now, whatever follows
    service, signature          meant for this service, signed by the caller that it names
    unknown                     the roster as it lies on the disk at this moment knows the caller's key
    rate                        the caller's own tokens: one for the request, one for each byte of the envelope
    revoked, role...            the roster lets the caller be a recipient now
    clock                       the caller's clock
    tampered                    the envelope is the one that was signed for
    envelope, signers, tampered somebody in the roster signed its manifest: seen before anything else in it is parsed
    envelope                    it is one of ours
    signers                     somebody whom the roster lets seal files (owner, coordinator) signed it; an unsigned file has no policy
    tampered, owners            every signature and the chain of grants verify
    not-before/-after, purpose  the policy of that signed manifest, by the service's clock
    readers                     the policy names the caller, or nobody
    recipients, tampered        a stanza is for the service's key, and opens under exactly this file id, policy and these signers
    unavailable                 the release stands in the audit log, on the disk

The reply, wrapped to the caller's one-time key and signed, is ready before the last of these and leaves after it: a release that the log
has is one that could be made. From `tampered` to `recipients` the checks are those of `stfed.keyserver.verdict`.

Until their own tokens were taken, callers are strangers: nothing but the network limits what they send, so few of their refusals have an
entry (`stfed.keyserver.logbook`), and their envelope is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from stfed.crypto.identity import BadSignatureError
from stfed.crypto.random import Entropy, system_entropy
from stfed.errors import DecodeError, SealError, StfedError
from stfed.keys.encryption import Identity
from stfed.keys.member import Role
from stfed.keys.roster import Roster
from stfed.keys.rules import RosterError
from stfed.keys.signing import SigningKey
from stfed.keyserver.logbook import Logbook
from stfed.keyserver.messages import Reply, Request, encode_challenge
from stfed.keyserver.rules import Refused
from stfed.keyserver.statement import NONCE_BYTES
from stfed.keyserver.store import Allowance, Store
from stfed.keyserver.verdict import released
from stfed.sealed.grants import key_sha256
from stfed.sealed.times import Clock, system_clock

NONCE_LIFE = timedelta(seconds=60)
CLOCK_TOLERANCE = timedelta(minutes=5)

_OF_THE_KEY = {"not-before": "key-not-before", "not-after": "key-not-after"}
"""Rules of a roster that a policy has by the same names."""


@dataclass(frozen=True)
class Limits:
    """How much the service does.

    Attributes:
        per_caller: releases a minute to one caller, allowed or refused.
        mib_per_caller: MiB of envelopes a minute from one caller; one that is larger takes a whole minute's worth.
        per_address: requests a minute of any sort from one address (an IPv6 network of 64 bits counts as one).
        total: requests a minute from all.
        challenges: how many nonces may be out.
        strangers_logged: entries a minute about refusals of callers who have not proved to be in the roster.
    """

    per_caller: int = 300
    mib_per_caller: int = 16
    per_address: int = 1200
    total: int = 6000
    challenges: int = 10_000
    strangers_logged: int = 10


@dataclass
class _Case:
    """A request on its way through the checks.

    Attributes:
        facts: what its log entry will say of it.
        stranger: whether its caller has not proved to be in the roster, or not paid for it.
    """

    facts: dict[str, str | int | None]
    stranger: bool = True


class Service:
    """A key service.

    Args:
        identities: secret keys that files are sealed to.
        signer: signs replies; callers pin its public key.
        roster: gives the roster as it is now, or raises.
        store: nonces and allowances.
        logbook: where releases and refusals are noted.
        limits: how much it does.
        clock: what time it is.
        entropy: where nonces come from. The one-way randomness of HPKE is the operating system's.
    """

    def __init__(
        self,
        identities: Sequence[Identity],
        signer: SigningKey,
        roster: Callable[[], Roster],
        store: Store,
        logbook: Logbook,
        *,
        limits: Limits = Limits(),
        clock: Clock = system_clock,
        entropy: Entropy = system_entropy,
    ) -> None:
        self._identities, self._signer, self._roster = tuple(identities), signer, roster
        self._store, self._logbook, self._limits = store, logbook, limits
        self._clock, self._entropy = clock, entropy
        self._name = key_sha256(signer.public)

    def admit(self, address: str) -> None:
        """Takes the tokens of one request; the first thing done with any.

        Raises:
            Refused: `rate`, or `unavailable`.
        """
        allowances = (Allowance(f"address {address}", self._limits.per_address), Allowance("total", self._limits.total))
        with self._noting(_Case({"address": address})):
            self._take(allowances, self._clock())

    def challenge(self, address: str) -> bytes:
        """A fresh nonce for one request.

        Raises:
            Refused: `rate`, `unavailable`.
        """
        with self._noting(_Case({"address": address})):
            now, nonce = self._clock(), self._entropy(NONCE_BYTES)
            expires = (now + NONCE_LIFE).timestamp()
            if not self._store.issue(nonce, now=now.timestamp(), expires=expires, at_most=self._limits.challenges):
                raise Refused("rate", "too many challenges are out")
            return encode_challenge(nonce)

    def release(self, body: bytes | None, address: str) -> bytes:
        """The reply to a request.

        Args:
            body: the request; None for one over the limit, of which no more was read.
            address: where it came from.

        Raises:
            Refused: by whichever rule comes first in the table above.
        """
        case = _Case({"address": address})
        with self._noting(case):
            now = self._clock()
            request = self._authentic(body, now, case.facts)
            roster = self._roster()
            self._check_caller(request, roster, now, case)
            statement = request.statement
            envelope, file_key = released(request, roster, self._identities, now)
            try:
                reply = Reply.make(statement, file_key, self._signer)
            except ValueError:
                raise Refused("malformed", "the key to reply to is not usable") from None
            signers = ",".join(key.fingerprint for key in envelope.manifest.context.signers)
            self._logbook.released({**case.facts, "generation": envelope.generation, "signers": signers})
            return reply.encode()

    def check(self) -> None:
        """Returns if the service could release a key now: for whoever watches over it. StfedError if not."""
        self._roster()
        self._logbook.check()

    def _authentic(self, body: bytes | None, now: datetime, facts: dict[str, str | int | None]) -> Request:
        """The request, signed by its caller, fresh, and for this service."""
        if body is None:
            raise Refused("size")
        try:
            request = Request.decode(body)
        except (DecodeError, SealError) as error:
            raise Refused("malformed", error.message) from None
        statement = request.statement
        facts["claimed"] = statement.caller.fingerprint
        if not self._store.burn(statement.nonce, now=now.timestamp()):
            raise Refused("nonce")
        if statement.service != self._name:
            raise Refused("service")
        try:
            request.verify()
        except BadSignatureError:
            raise Refused("signature") from None
        del facts["claimed"]
        facts |= {
            "actor": statement.caller.fingerprint,
            "purpose": statement.purpose,
            "file_id": statement.layout.file_id.hex(),
            "manifest_sha256": statement.manifest_sha256.hex(),
            "request_sha256": statement.sha256.hex(),
        }
        return request

    def _check_caller(self, request: Request, roster: Roster, now: datetime, case: _Case) -> None:
        statement, objection = request.statement, None
        try:
            case.facts["member"] = roster.check(statement.caller, Role.RECIPIENT, now).name
        except RosterError as error:
            objection = Refused(_OF_THE_KEY.get(error.rule, error.rule), error.message)
            if error.rule == "unknown":
                raise objection from None
        self._take(self._allowances(request), now)  # of the revoked too: each of their refusals is an entry
        case.stranger = False
        if objection:
            raise objection
        if abs(now - statement.time) > CLOCK_TOLERANCE:
            raise Refused("clock", f"the caller's clock says {statement.time}")

    def _allowances(self, request: Request) -> Sequence[Allowance]:
        """The caller's own: requests, and bytes, because a long envelope takes long."""
        name = key_sha256(request.statement.caller).hex()
        return (
            Allowance(f"caller {name}", self._limits.per_caller),
            Allowance(f"bytes of caller {name}", self._limits.mib_per_caller << 20, cost=len(request.envelope)),
        )

    def _take(self, allowances: Sequence[Allowance], now: datetime) -> None:
        dry = self._store.take(allowances, now=now.timestamp())
        if dry is not None:
            raise Refused("rate", f"the allowance of {dry.name} is used up", silent=not dry.first)

    @contextmanager
    def _noting(self, case: _Case) -> Iterator[None]:
        """Notes any refusal that leaves the block, and makes one of whatever else went wrong on this side."""
        try:
            yield
        except Refused as refused:
            self._note(refused, case)
            raise
        except StfedError as error:
            unavailable = Refused("unavailable", error.message)
            self._note(unavailable, case)
            raise unavailable from error

    def _note(self, refused: Refused, case: _Case) -> None:
        if refused.silent:
            self._logbook.count()
        else:
            note = self._logbook.refused_stranger if case.stranger else self._logbook.refused
            note(refused.rule.name, refused.message, case.facts)
