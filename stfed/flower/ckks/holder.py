"""`KeyHolder`: decrypts sums, and nothing else. It is neither the coordinator nor a party.

    app = key_holder_app(load_secret("sums.key"), roster=None, state_dir="/var/lib/stfed")      # the ClientApp of a node of its own

What it can check it checks, before it decrypts: that the sum is under its key, of a run's next round and never asked before, over at least
as many parties as its policy and theirs say, which all worked on the same model, config and plan. What it returns is the mean, with noise
that keeps its key from being computed (`stfed.flower.ckks.scale`), and nobody is told anything else.

What a ciphertext is the sum *of* cannot be seen from it. So there are two ways to hold the key, and a key holder is made with one:

- Without a roster it is sent the sum, and takes the coordinator's word for whose it is. It never has a party's ciphertext. A coordinator
  that lies can have anything decrypted.
- With a roster it is sent everybody's vector, checks that each is signed by another party of the roster for this round, and adds them
  itself, at n times the traffic. A coordinator that lies alone gets sums of enough parties and nothing else. But the key holder has all
  vectors and the key.

Against who lies together with a party neither helps (docs/ckks.md says why); masks in malicious mode do.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from stfed.encoding.metrics import MetricSchema
from stfed.encrypted.context import SecretContext
from stfed.errors import QuorumError
from stfed.flower.ckks import carriage, messages, vectors, vouching
from stfed.flower.ckks.agreement import check_plan
from stfed.flower.ckks.ledger import Ledger
from stfed.flower.ckks.messages import Here, Kind, Mean, Statement, Sum, Who
from stfed.flower.ckks.numbers import average
from stfed.flower.ckks.plan import Numbers, SumPlan
from stfed.flower.ckks.refusals import StatementError, WrongKeyError
from stfed.flower.ckks.scale import DECRYPTIONS, Scale
from stfed.flower.mod import ClientAppCallable, PartyError, SecAggMod
from stfed.keys.keyfile import SignerLike, read_signer
from stfed.keys.roster import Roster
from stfed.keys.signing import VerifyingKey
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import CohortTooSmallError, RefusedError
from stfed.secagg.roster import PartyRoster

log: logging.Logger = logging.getLogger("stfed")


class KeyHolder:
    """Holds the secret key of one pair.

    Args:
        secret: the key pair.
        roster: who may contribute; then only signed contributions are taken, and added here. None takes the coordinator's sums.
        policy: the fewest parties of a sum (`min_cohort`, `min_survivors`, `gamma`) and bounds of its encoding.
        state_dir: where the ledger is kept. None keeps it in memory, which is for simulations: who starts again would decrypt again.
        identity: what it signs its answers with, for a coordinator that pins the public half (`CkksSum(trusted=...)`).
    """

    def __init__(
        self,
        secret: SecretContext,
        *,
        roster: Roster | str | Path | None,
        policy: Policy | None = None,
        state_dir: str | Path | None = None,
        identity: SignerLike | None = None,
    ) -> None:
        self._secret, self._policy = secret, policy or Policy()
        self._key = None if identity is None else read_signer(identity)
        self._roster = None if roster is None else PartyRoster(roster if isinstance(roster, Roster) else Roster.read(roster))
        self._ledger = Ledger(None if state_dir is None else Path(state_dir), DECRYPTIONS)

    @property
    def fingerprint(self) -> bytes:
        """Of the key pair's public context, 32 bytes."""
        return self._secret.public.fingerprint

    @property
    def signs_as(self) -> VerifyingKey | None:
        """The public half of what it signs its answers with."""
        return None if self._key is None else self._key.public

    @property
    def wants_vectors(self) -> bool:
        """Whether it adds everybody's signed vector itself, and takes no sums."""
        return self._roster is not None

    def here(self, who: Who, run: int, node: int) -> Here:
        """What it says of itself to this question, asked in this run of this node."""
        here = Here(self.fingerprint, self.wants_vectors)
        return here if self._key is None else vouching.signed_here(self._key, here, who, run, node)

    def mean(self, run: int, data: bytes, sent: Sequence[bytes]) -> tuple[Mean, Numbers]:
        """Answers a `Sum` message.

        Args:
            run: in which it was delivered.
            data: the message.
            sent: the sum, or everybody's vector.

        Returns:
            The answer and the numbers beside it, little-endian float64: see `stfed.flower.ckks.numbers.average`.

        Raises:
            RefusedError: a rule is broken; nothing was decrypted.
            DecodeError: the message or a vector is none.
            QuorumError: the parties have no weight.
        """
        request = messages.decode(Sum, data)
        if request.round.fingerprint != self.fingerprint:
            raise WrongKeyError("this sum is under another key than that of this key holder")
        if request.round.run != run:
            raise RefusedError("the message belongs to another run than the one Flower delivers it in")
        plan = SumPlan.read(request.plan)
        check_plan(self._policy, plan, request.round.number)
        statements = [messages.decode(Statement, one) for one in request.statements]
        self._check_statements(request, plan, statements)
        first, count = statements[0], len(statements)
        scale = plan.scale(self._secret.public, len(MetricSchema.decode(first.schema).names))
        total = self._total(scale, statements, sent)
        self._ledger.claim(
            request.round,
            first.phase,
            first.content,
            hashlib.sha256(replace(plan, parties=1).encode()).digest(),
            repeats=self._policy.allow_repeats,
            fixed=self._policy.fixed_encoding,
        )
        sums = vectors.decrypt(self._secret, total)
        log.info("round %d of run %d: the mean of %d parties was decrypted", request.round.number, run, count)
        numbers = np.ascontiguousarray(average(plan, sums, count, scale.error, scale.scalar_error), "<f8")
        mean = Mean(request.round)
        return mean if self._key is None else vouching.signed_mean(self._key, mean, data, sent, numbers.tobytes()), numbers

    def _check_statements(self, request: Sum, plan: SumPlan, statements: Sequence[Statement]) -> None:
        n, digest = plan.parties, hashlib.sha256(request.plan).digest()
        size = None if self._roster is None else len(self._roster)
        least = replace(self._policy, roster=size).floor(n, n - 1) if size else self._policy.floor(n, n - 1)
        if not least <= len(statements) <= n:
            raise CohortTooSmallError(f"the sum is said to be of {len(statements)} of {n} parties, this key holder takes {least} to {n}")
        if len(statements) < (wanted := max(one.least for one in statements)):
            raise CohortTooSmallError(f"the sum is said to be of {len(statements)} parties, one of them takes part from {wanted} on")
        first = statements[0]
        if first.round != request.round or first.plan != digest or any(one.facts != first.facts for one in statements):
            raise StatementError("the parties do not all say the same of round, plan, model and config")
        if len({one.vector for one in statements}) < len(statements):
            raise StatementError("a contribution is there twice")
        if self._roster is None:
            return
        names = set()
        for one in statements:
            one.check_signature()
            names.add(self._roster.member(one.identity))
        if len(names) < len(statements):
            raise StatementError("two contributions are signed by one party")

    def _total(self, scale: Scale, statements: Sequence[Statement], sent: Sequence[bytes]) -> vectors.Total:
        """The sum: as it was sent, or added here of what the parties signed."""
        if self._roster is None and len(sent) != 1:
            raise StatementError(f"{len(sent)} vectors are sent, and this key holder takes the sum")
        if self._roster is not None and [one.vector for one in statements] != [hashlib.sha256(vector).digest() for vector in sent]:
            raise StatementError("the vectors are not those that the parties signed; this key holder adds them itself")
        total = vectors.Total(scale)
        for vector in sent:
            total.add(vector)
        return total

    def __repr__(self) -> str:
        return f"<KeyHolder of {self._secret.public!r}>"


class KeyHolderMod(SecAggMod):
    """Answers the coordinator for a key holder; no function is ever called. Errors are those of `SecAggMod`.

    Args:
        holder: the key holder.
        policy: its policy.
    """

    def __init__(self, holder: KeyHolder, policy: Policy | None) -> None:
        super().__init__(policy)
        self._holder = holder
        self.__name__ = "key_holder_mod"

    def _answer(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        data = carriage.message_of(message.content)
        if messages.kind_of(data) is Kind.WHO:
            here = self._holder.here(messages.decode(Who, data), message.metadata.run_id, message.metadata.dst_node_id)
            return Message(carriage.carried(messages.encode(here)), reply_to=message)
        try:
            mean, numbers = self._holder.mean(message.metadata.run_id, data, carriage.vectors_in(message.content))
        except QuorumError as error:
            raise RefusedError(error.message, hint=error.hint) from None
        return Message(carriage.carried(messages.encode(mean), [numbers.tobytes()]), reply_to=message)


def key_holder_app(
    secret: SecretContext,
    *,
    roster: Roster | str | Path | None,
    state_dir: str | Path,
    policy: Policy | None = None,
    identity: SignerLike | None = None,
) -> ClientApp:
    """The ClientApp of a key holder's node: a node that never trains.

    Args:
        secret: the key pair, as `stfed.encrypted.load_secret` has it.
        roster: see `KeyHolder`.
        state_dir: where the ledger is kept.
        policy: see `KeyHolder`.
        identity: see `KeyHolder`.
    """
    holder = KeyHolder(secret, roster=roster, policy=policy, state_dir=state_dir, identity=identity)
    app = ClientApp(mods=[KeyHolderMod(holder, policy)])

    @app.train()
    def never(message: Message, context: Context) -> Message:
        """Not called: the mod answers everything."""
        raise PartyError("a key holder does not train")

    return app
