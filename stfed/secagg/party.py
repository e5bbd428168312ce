"""A party as one object: takes a message, moves the state in the store, and only then hands out the reply.

Every step is one transaction: read the record, check the message, compute the next state and the reply, write both, commit. A refusal
rolls back and leaves nothing. A resend of the very same request gets the very same bytes back (they are kept until the next PREPARE),
any other second request for a step is refused. TRAIN is two transactions with the training between them: the first one spends the
round's only use, so a crash in between loses the round for this party and nothing else; its reply is too large to keep, so a resend is
refused.

In malicious mode a party has two things besides, both its owner's and neither the coordinator's: its long-term identity, with which it
signs whatever it says, and the roster, which says who may be in a cohort and how many parties the coordinator can choose from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TypeVar

from stfed.crypto.identity import Identity
from stfed.crypto.random import Entropy, system_entropy
from stfed.encoding import EncodingPlan
from stfed.errors import DecodeError, LocalError
from stfed.secagg import client
from stfed.secagg.client import Confirmed, Joined, MaskKeys, Prepared, Ready, Trained, Training
from stfed.secagg.client.holding import Holding
from stfed.secagg.messages import (
    Complaint,
    ConfirmRequest,
    Header,
    JoinRequest,
    Kind,
    Message,
    Phase,
    PrepareRequest,
    TrainRequest,
    UnmaskRequest,
    peek,
)
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.record import Record
from stfed.secagg.refusals import (
    ContentReuseError,
    EpochError,
    ModeError,
    PlanError,
    RefusedError,
    RoundOrderError,
    ShareError,
    StateLostError,
    WrongRoundError,
    WrongStepError,
)
from stfed.secagg.roster import MemberRoster
from stfed.secagg.signing import round_context, signed
from stfed.secagg.store import PartyStore, Transaction
from stfed.secagg.transcript import RoundFacts
from stfed.secagg.transitions import Event, mode_of, require

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What TRAIN hands to the training: the right to send one masked vector in this round.

    Attributes:
        facts: the round.
        masks: the keys of the masks.
    """

    facts: RoundFacts
    masks: MaskKeys


class Party:
    """One party of one or many runs.

    Args:
        store: where its state lives.
        policy: what it decides alone.
        identity: its long-term identity, required in malicious mode.
        roster: who may take part, required in malicious mode.
        entropy: where its randomness comes from.

    Raises:
        LocalError: malicious mode without an identity or a roster.
    """

    def __init__(
        self,
        store: PartyStore,
        policy: Policy | None = None,
        *,
        identity: Identity | None = None,
        roster: MemberRoster | None = None,
        entropy: Entropy = system_entropy,
    ) -> None:
        self.policy: Policy = policy or Policy()
        if self.policy.mode is Mode.MALICIOUS and (identity is None or roster is None):
            raise LocalError(
                "malicious mode needs an identity and a roster on every party, and neither can come from the coordinator",
                hint="create an identity with `stfed keygen`, and name it and the roster in the node's config",
            )
        self._store, self._identity, self._roster, self._entropy = store, identity, roster, entropy

    def answer(self, request: bytes) -> bytes:
        """Answers JOIN, PREPARE, CONFIRM or UNMASK.

        Raises:
            DecodeError: no message of this protocol.
            RefusedError: the message breaks a rule; nothing has changed.
        """
        kind, header = peek(request)
        with self._store.transaction(header.run) as transaction:
            if kind is Kind.JOIN_REQUEST:
                return self._join(transaction, request)
            record = self._record(transaction, header)
            if (cached := record.answered(kind, request)) is not None:
                return cached
            match kind:
                case Kind.PREPARE_REQUEST:
                    record, reply = self._prepare(record, request)
                case Kind.CONFIRM_REQUEST:
                    record, reply = self._confirm(record, request)
                case Kind.UNMASK_REQUEST:
                    record, reply = self._unmask(record, request)
                case _:
                    raise WrongStepError(f"{kind.name} is not a light step")
            self._write(transaction, record)
            return reply

    def unmask_and_prepare(self, unmask: bytes, prepare: bytes) -> tuple[bytes, bytes | RefusedError | DecodeError]:
        """Answers UNMASK, and the PREPARE of a later round that rides on it, in one transaction: one message less a round.

        The order is that of two messages, so nothing can be asked this way that could not be asked without it. PREPARE is an offer: a
        party that refuses it has closed the round all the same.

        Returns:
            The reply to UNMASK, and the one to PREPARE or why there is none.

        Raises:
            DecodeError, RefusedError: UNMASK breaks a rule; nothing has changed and PREPARE was not looked at.
        """
        kind, header = peek(unmask)
        if kind is not Kind.UNMASK_REQUEST:
            raise WrongStepError(f"PREPARE rides on UNMASK, not on {kind.name}")
        with self._store.transaction(header.run) as transaction:
            record = before = self._record(transaction, header)
            released = record.answered(kind, unmask)
            if released is None:
                record, released = self._unmask(record, unmask)
            prepared: bytes | RefusedError | DecodeError | None = record.answered(Kind.PREPARE_REQUEST, prepare)
            if prepared is None:
                try:
                    record, prepared = self._prepare(record, prepare, riding_on=(kind, unmask, released))
                except (RefusedError, DecodeError) as error:
                    prepared = error
            if record is not before:
                self._write(transaction, record)
            return released, prepared

    def start_training(self, request: bytes, content: bytes, phase: Phase = Phase.TRAIN, *, reuse: bytes | None = None) -> Ticket:
        """Accepts TRAIN: spends the round's one use, durably, before the train function runs.

        Args:
            request: the coordinator's message.
            content: 32-byte hash of exactly what the train function will receive.
            phase: which function that is.
            reuse: 32-byte hash by which a second use of the same model and config is known; `content` if not given.

        Raises:
            RefusedError: the message breaks a rule, or the same content was trained on before in this phase.
            ShareError: a neighbour's shares are none; in malicious mode it has the signed complaint that goes to the coordinator instead of
                a vector.
        """
        message = _unsigned(TrainRequest.decode(request))
        with self._store.transaction(message.header.run) as transaction:
            record = self._record(transaction, message.header)
            state = record.state
            require(state, Event.TRAIN)
            assert isinstance(state, Prepared)
            if state.facts.phase is not phase:
                raise WrongStepError(f"PREPARE was for {state.facts.phase.name.lower()}, the message is for {phase.name.lower()}")
            self._check_again(state)
            try:
                training, masks = state.train(message, content, self._rules)
            except ShareError as error:
                error.complaint = self._complaint(state, error)
                raise
            if not transaction.add_content(phase, reuse or content) and not self.policy.allow_repeats:
                raise ContentReuseError(
                    "this party has worked on the very same model and config before: two such sums over different cohorts differ by one "
                    "party's update",
                    hint="start from another initial model, or set allow_repeats in this party's policy",
                )
            self._write(transaction, replace(record, state=training))
            return Ticket(state.facts, masks)

    def finish_training(self, ticket: Ticket, schema: bytes, payload_bytes: int, payload_digest: bytes = b"") -> bytes:
        """The vector is masked: the reply that goes beside it, once the store says that it may leave.

        Args:
            ticket: what TRAIN handed out.
            schema: which metrics the vector carries.
            payload_bytes: length of the packed vector.
            payload_digest: its SHA-256, required in malicious mode, where it is signed.

        Raises:
            LocalError: malicious mode without a digest.
            WrongStepError: the coordinator has moved on to another round in the meantime; the vector must not leave.
        """
        header = ticket.facts.header
        with self._store.transaction(header.run) as transaction:
            record = self._record(transaction, header)
            state = record.state
            require(state, Event.MASKED)
            assert isinstance(state, Training)
            if state.header != header:
                raise WrongRoundError("the coordinator has moved on to another round while this party was training")
            if mode_of(state) is Mode.MALICIOUS and len(payload_digest) != hashlib.sha256().digest_size:
                raise LocalError("in malicious mode a party signs its vector: finish_training needs the SHA-256 of the payload")
            trained, reply = state.finish(schema, payload_bytes, payload_digest)
            encoded = self._signed(trained, reply, trained.transcript).encode()
            self._write(transaction, replace(record, state=trained))
            return encoded

    def _join(self, transaction: Transaction, request: bytes) -> bytes:
        message = _unsigned(JoinRequest.decode(request))
        header = message.header
        epoch, round_ = transaction.position()
        if header.epoch == epoch:
            record = self._record(transaction, header)
            if (cached := record.answered(Kind.JOIN_REQUEST, request)) is not None:
                return cached
        if header.epoch <= epoch:
            raise EpochError(
                f"this party has joined epoch {epoch} of this run already, epoch {header.epoch} is not new",
                hint="the coordinator has to start a new epoch",
            )
        if header.round < round_:
            raise RoundOrderError(f"the new epoch starts after round {header.round}, this party has used round {round_}")
        if self.policy.mode is Mode.MALICIOUS and self._identity is not None and self._roster is not None:
            self._check_own_place(self._identity, self._roster)
        state, reply = client.join(message, self.policy, self._identity, self._entropy)
        encoded = reply.encode()
        self._write(transaction, Record.begun(state, _old_pins(transaction)).moved(state, Kind.JOIN_REQUEST, request, encoded))
        return encoded

    def _prepare(self, record: Record, request: bytes, *, riding_on: tuple[Kind, bytes, bytes] | None = None) -> tuple[Record, bytes]:
        """`riding_on`: kind, request and reply of what came in the same message; a resend of it gets that again, too."""
        message = _unsigned(PrepareRequest.decode(request))
        state = record.state
        require(state, Event.PREPARE)
        if isinstance(state, Prepared | Holding):
            # A coordinator that moves on gives the round up, for good: its secrets are erased with this commit.
            state = state.ready()
        assert isinstance(state, Joined | Ready)
        prepared, reply = state.prepare(message, self._rules, self._entropy, self._roster)
        begun = Record.begun(prepared, self._pin(record, message))
        encoded = self._signed(prepared, reply, round_context(prepared.facts)).encode()
        if riding_on is not None:
            begun = begun.moved(prepared, *riding_on)
        return begun.moved(prepared, Kind.PREPARE_REQUEST, request, encoded), encoded

    def _check_again(self, state: Prepared) -> None:
        """The owner's rules as they are now: PREPARE may have come long before TRAIN, with the round before."""
        facts, rules = state.facts, self._rules
        rules.check_mode(facts.mode)
        rules.check_cohort(facts.n)
        rules.check_parameters(facts.n, facts.k, facts.t)
        rules.check_plan(EncodingPlan.decode(facts.plan), facts.n, facts.k)
        rules.check_round(facts.header.round)
        state.member.directory.check_members(self._roster, facts.cohort)

    def _pin(self, record: Record, message: PrepareRequest) -> tuple[tuple[Phase, bytes], ...]:
        """Holds the coordinator to the encoding that it began with.

        A coordinator that varies a bound from round to round asks, in the counts of what was out of range, one comparison after another.
        """
        pins = dict(record.pins)
        plan = EncodingPlan.decode(message.plan)
        digest = hashlib.sha256(plan.pinned(clip_may_move=self._rules.lets_clip_move(plan))).digest()
        if self.policy.fixed_encoding and pins.setdefault(message.phase, digest) != digest:
            raise PlanError(
                f"the encoding for {message.phase.name.lower()} is another one than in the first round of this run",
                hint="adaptive clipping takes noise that hides a party in a count of parties (raise scalar_share or the noise), or parties "
                "whose policy has a noise_multiplier"
                if plan.noise is not None
                else "keep clip, max_weight, ring_bits and the model's tensors the same for the whole run; an adaptive clip takes parties "
                "whose policy has clip_moves",
            )
        return tuple(sorted(pins.items()))

    def _confirm(self, record: Record, request: bytes) -> tuple[Record, bytes]:
        message = _unsigned(ConfirmRequest.decode(request))
        state = record.state
        require(state, Event.CONFIRM)
        assert isinstance(state, Trained)
        confirmed, reply = state.confirm(message, self._rules, self._signer(state))
        encoded = reply.encode()
        return record.moved(confirmed, Kind.CONFIRM_REQUEST, request, encoded), encoded

    def _unmask(self, record: Record, request: bytes) -> tuple[Record, bytes]:
        message = _unsigned(UnmaskRequest.decode(request))
        state = record.state
        require(state, Event.UNMASK)
        assert isinstance(state, Trained | Confirmed)
        ready, reply = state.unmask(message, self._rules)
        encoded = self._signed(state, reply, state.transcript).encode()
        return record.moved(ready, Kind.UNMASK_REQUEST, request, encoded), encoded

    @property
    def _rules(self) -> Policy:
        """The policy with N from the roster where there is one: the corrupt parties are a share of it, not of a cohort that was picked."""
        return self.policy if self._roster is None else replace(self.policy, roster=len(self._roster))

    def _check_own_place(self, identity: Identity, roster: MemberRoster) -> None:
        """Nobody else would take part with a party that is not on the roster; its owner can mend that, the coordinator can't."""
        try:
            roster.member(identity.public_bytes)
        except RefusedError as error:
            raise LocalError(f"this party's own identity: {error.message}", hint="compare the roster with this party's key") from None

    def _signer(self, state: Prepared | Holding) -> Identity:
        """The identity that this party joined with.

        Raises:
            LocalError: it is not the one in this party's config any more.
        """
        member = state.member
        if self._identity is None or self._identity.public_bytes != member.directory.join(member.index).identity:
            raise LocalError(
                "this party joined the epoch with another identity than the one it has now", hint="the coordinator has to start a new epoch"
            )
        return self._identity

    def _signed(self, state: Prepared | Holding, message: M, context: bytes) -> M:
        return signed(message, self._signer(state), context) if mode_of(state) is Mode.MALICIOUS else message

    def _complaint(self, state: Prepared, error: ShareError) -> bytes | None:
        if mode_of(state) is not Mode.MALICIOUS:
            return None
        delivery = hashlib.sha256(error.delivery.encode()).digest()
        message = Complaint(header=state.header, dealer=error.dealer, grievance=error.grievance, delivery=delivery)
        return self._signed(state, message, round_context(state.facts)).encode()

    def _record(self, transaction: Transaction, header: Header) -> Record:
        data = transaction.read()
        if data is None:
            raise StateLostError("this party has not joined this run", hint="the coordinator has to start a new epoch")
        try:
            record = Record.decode(data)
        except (DecodeError, ValueError) as error:
            raise StateLostError(
                "this party's record of this run cannot be read", hint="the coordinator has to start a new epoch"
            ) from error
        if record.state.header.epoch != header.epoch:
            raise WrongRoundError(f"the message is of epoch {header.epoch}, this party is in epoch {record.state.header.epoch}")
        return record

    def _write(self, transaction: Transaction, record: Record) -> None:
        epoch, round_ = transaction.position()
        header = record.state.header
        transaction.write(max(epoch, header.epoch), max(round_, header.round), record.encode())


def _unsigned(message: M) -> M:
    """Refuses a signature that nobody would check: an ignored field is one in which two parties can be told different things."""
    if message.signature:
        raise ModeError(f"{message.KIND.name} is signed, but a coordinator signs nothing")
    return message


def _old_pins(transaction: Transaction) -> tuple[tuple[Phase, bytes], ...]:
    """What the run settled on in an earlier epoch; nothing if that record is lost."""
    try:
        data = transaction.read()
        return () if data is None else Record.decode(data).pins
    except (StateLostError, DecodeError, ValueError):
        return ()
