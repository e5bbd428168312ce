"""`ckks_mod`: a party whose replies are encrypted under a key holder's key, in one trip. The train and evaluate functions stay as they are.

    app = ClientApp(mods=[CkksMod(public)])               # `public` came from the key holder, not from the coordinator
    app = ClientApp(mods=[ckks_mod])                      # the node's config names the file: stfed-ckks-context, stfed-ckks-fingerprint

Who hands a party a public key reads what the party encrypts. So the key is the party's own setting; a coordinator only says which one it
expects, by fingerprint, and is refused if that is another one. Otherwise the mod does what `secagg_mod` does: the whole reply is replaced,
ordinary messages are refused before the function runs, and the function's errors stay in the party's own log.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from flwr.app import Context, Message, RecordDict

from stfed.encrypted.context import EvaluationContext
from stfed.errors import LocalError
from stfed.flower import records
from stfed.flower.agreed import check_agreed
from stfed.flower.ckks import carriage, messages, vectors
from stfed.flower.ckks.agreement import check_plan
from stfed.flower.ckks.messages import Here, Kind, Statement, Train, Who
from stfed.flower.ckks.numbers import numbers_of
from stfed.flower.ckks.plan import SumPlan
from stfed.flower.ckks.refusals import WrongKeyError
from stfed.flower.mod import ClientAppCallable, PlainMessageError, SecAggMod, received_model, run_function
from stfed.flower.outcome import taken_apart
from stfed.flower.party_config import (
    CKKS_CONTEXT,
    CKKS_FINGERPRINT,
    IDENTITY,
    PASSPHRASE_FILE,
    POLICY,
    FindSigner,
    NodeConfig,
    PartyConfig,
    signer_of,
)
from stfed.keys.keyfile import SignerLike
from stfed.secagg.messages import Phase
from stfed.secagg.policy import Policy
from stfed.secagg.policy_toml import read_policy
from stfed.secagg.refusals import RefusedError


class CkksMod(SecAggMod):
    """A Flower mod that takes part in encrypted sums. `ckks_mod` is one that takes everything from the node's own config.

    Errors are those of `SecAggMod`, and it can be the outermost mod of an app that `stfed supernode` pins.

    Args:
        context: the key holder's public context: what this party encrypts under, and nothing else.
        policy: what this party decides alone, an object or a TOML file; the node config's `stfed-policy` comes before it.
        identity: what this party signs its contributions with, for a key holder with a roster: a signing key, its file, or what finds one
            for a Context; the node config's `stfed-identity` comes before it. Without one nothing is signed.
    """

    def __init__(
        self,
        context: EvaluationContext | None = None,
        *,
        policy: Policy | str | Path | None = None,
        identity: SignerLike | FindSigner | None = None,
    ) -> None:
        super().__init__(policy, identity=identity)
        self._context = context
        self.__name__ = "ckks_mod"

    def _answer(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        data, content = carriage.detach(message.content)
        if data is None:
            raise PlainMessageError(
                f"this party answers through encrypted sums only, not a plain {message.metadata.message_type!r} message",
                hint="wrap the coordinator's strategy: SecureAggregation(strategy, ckks=CkksSum(...))",
            )
        if messages.kind_of(data) is Kind.WHO:
            messages.decode(Who, data)
            return Message(carriage.carried(messages.encode(Here())), reply_to=message)
        request = messages.decode(Train, data)
        party, own = self._settings(context)
        if request.round.run != message.metadata.run_id:
            raise RefusedError("the message belongs to another run than the one Flower delivers it in")
        if request.round.fingerprint != own.fingerprint:
            raise WrongKeyError(
                f"the coordinator wants updates under the key {request.round.fingerprint.hex()[:16]}..., and this party encrypts under "
                f"{own.fingerprint.hex()[:16]}... alone",
                hint="ask the key holder, not the coordinator, which one is right",
            )
        plan, phase = SumPlan.read(request.plan), records.phase_of(message.metadata.message_type)
        check_plan(party.policy, plan, request.round.number)
        check_agreed(party.policy, content, context)
        digest = records.content_digest(content)
        bound = records.bound_digest(message.metadata.message_type, message.metadata.group_id, digest, records.config_digest(context))
        # Read before the function runs: it may change the records in place.
        received = received_model(content) if phase is Phase.TRAIN else {}
        reply = run_function(call_next, records.for_function(message, content), context)
        vector, schema = _encrypt(own, plan, phase, received, reply)
        said = Statement(
            request.round,
            hashlib.sha256(request.plan).digest(),
            phase,
            digest,
            bound,
            schema,
            hashlib.sha256(vector).digest(),
            party.policy.floor(plan.parties, plan.parties - 1),
        )
        statement = said if party.identity is None else said.signed(party.identity)
        return Message(carriage.carried(messages.encode(statement), [vector]), reply_to=message)

    def config_of(self, context: Context) -> PartyConfig:
        """What this party decides about itself. There is no roster: whose contributions count is the key holder's to say."""
        return self._settings(context)[0]

    def _settings(self, context: Context) -> tuple[PartyConfig, EvaluationContext]:
        own = NodeConfig(context)
        policy = own.path(POLICY) or self._policy or Policy()
        identity = own.path(IDENTITY) or self._identity
        config = PartyConfig(
            policy if isinstance(policy, Policy) else read_policy(policy),
            None if identity is None else signer_of(identity, context, own.path(PASSPHRASE_FILE)).ed25519,
            None,
            allow_insecure=False,
        )
        return config, self._own_context(own)

    def _own_context(self, own: NodeConfig) -> EvaluationContext:
        path = own.path(CKKS_CONTEXT)
        if path is not None:
            from stfed.encrypted.keyfiles import load_public

            return load_public(path, fingerprint=own.text(CKKS_FINGERPRINT))
        if self._context is None:
            raise LocalError(
                "this party has no key to encrypt under",
                hint=f"get the public context from the key holder and set {CKKS_CONTEXT} and {CKKS_FINGERPRINT} in the node's config",
            )
        return self._context


def _encrypt(context: EvaluationContext, plan: SumPlan, phase: Phase, received: Any, reply: RecordDict) -> tuple[bytes, bytes]:
    """The whole reply as one encrypted vector, and the names of its metrics."""
    with taken_apart(reply, phase, plan) as outcome:
        numbers, schema = numbers_of(plan, received, outcome.trained, outcome.weight, outcome.metrics)
        return vectors.encrypt(plan.scale(context, len(schema.names)), numbers), schema.encode()


ckks_mod: CkksMod = CkksMod()
