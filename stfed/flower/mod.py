"""`secagg_mod`: what a party adds to its ClientApp. The train and evaluate functions stay as they are.

    app = ClientApp(mods=[secagg_mod])

The mod answers the light steps (JOIN, PREPARE, CONFIRM, UNMASK) itself. In the TRAIN step it takes our record out of the message, lets the
function run, and replaces its whole reply by one masked vector: the update, the weight and all metrics. Nothing the function returns
leaves the party in any other form: what cannot ride in the vector is refused, an ordinary train or evaluate message (a coordinator
without secure aggregation, or one that wants to get around it) is refused before the function runs, and when the function fails, its
error text, which may quote data, stays in the party's own log.

Put it first in the ClientApp's `mods`: the first mod is the outermost, so it sees what the others made of the reply. Flower's clipping and
local-DP mods are for training only and go to the train function:

    app = ClientApp(mods=[secagg_mod])

    @app.train(mods=[fixedclipping_mod])
    def train(message, context): ...

What the party decides alone is its owner's and comes with the node, never from the coordinator:

    flower-supernode --node-config 'stfed-policy="policy.toml" stfed-identity="party.key" stfed-roster="roster.toml"' ...

A policy with `mode = "malicious"` is all it takes to ask for signatures and CONFIRM; then identity and roster are required.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from flwr.app import Context, Message, RecordDict

from stfed.crypto.keystream import random_filler
from stfed.crypto.random import system_entropy
from stfed.encoding import Array, Update
from stfed.errors import DecodeError, LocalError
from stfed.flower import records
from stfed.flower.agreed import check_agreed
from stfed.flower.channel import check_channel
from stfed.flower.outcome import TrainFunctionError, taken_apart
from stfed.flower.party_config import PartyConfig, party_config
from stfed.flower.store import SqliteStore
from stfed.flower.views import views
from stfed.keys.keyfile import SignerLike
from stfed.keys.roster import Roster
from stfed.secagg.messages import Kind, Phase, peek
from stfed.secagg.params import Mode
from stfed.secagg.party import Party, Ticket
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import RefusedError, ShareError
from stfed.secagg.store import PartyStore

ClientAppCallable = Callable[[Message, Context], Message]

log: logging.Logger = logging.getLogger("stfed")


class PlainMessageError(RefusedError):
    """The coordinator sent a message that asks for a reply in clear."""


class PartyError(LocalError):
    """This party cannot take part, for a reason that concerns nobody else."""


class SecAggMod:
    """A Flower mod that takes part in secure aggregation. `secagg_mod` is one that takes everything from the node's own config.

    Args:
        policy: what this party decides alone, an object or a TOML file. Without one: cohorts of three or more, in malicious mode where
            there is an identity or a roster, in semi-honest mode otherwise. The node config's `stfed-policy` comes before it, as its
            `stfed-identity`, `stfed-roster` and `stfed-allow-insecure` come before the next three.
        identity: the party's signing key or its file, or a function that finds it by the Context (for simulations, where all parties are
            in one process). Malicious mode needs it.
        roster: who may take part. Malicious mode needs it.
        allow_insecure: take part in malicious mode over a channel that is not TLS, or not known to be.
        state_dir: where the party keeps its state; by default the node config's `stfed-state-dir`, $STFED_STATE_DIR, or the XDG one.
        store: builds another store from the Context, for tests.
    """

    def __init__(
        self,
        policy: Policy | str | Path | None = None,
        *,
        identity: SignerLike | Callable[[Context], SignerLike] | None = None,
        roster: Roster | str | Path | None = None,
        allow_insecure: bool = False,
        state_dir: str | Path | None = None,
        store: Callable[[Context], PartyStore] | None = None,
    ) -> None:
        self._store, self._folder = store, None if state_dir is None else Path(state_dir)
        self._policy, self._identity, self._roster, self._allow_insecure = policy, identity, roster, allow_insecure
        self.__name__ = "secagg_mod"

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Handles one message of the coordinator.

        Raises:
            RefusedError: the message breaks a rule of the protocol or of this party's policy; Flower turns it into an error reply.
            DecodeError: the message is none of ours.
            TrainFunctionError: the wrapped function failed, or its reply cannot be summed.
            PartyError: something on this party's side is wrong. The coordinator is told nothing else; the party's log has it.
        """
        try:
            return self._answer(message, context, call_next)
        except (RefusedError, DecodeError, TrainFunctionError):
            raise
        except Exception:
            log.exception("this party cannot answer the %s message", message.metadata.message_type)
            raise PartyError("this party cannot take part", hint="details are in its own log") from None

    def _answer(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        request, content = records.detach(message.content)
        if request is None:
            raise PlainMessageError(
                f"this party answers through secure aggregation only, not a plain {message.metadata.message_type!r} message",
                hint="wrap the coordinator's strategy: SecureAggregation(strategy)",
            )
        kind, header = peek(request)
        if header.run != message.metadata.run_id:
            raise RefusedError("the message belongs to another run than the one Flower delivers it in")
        party, riding = self._party(context), records.riding_on(message.content)
        if kind in (Kind.TRAIN_REQUEST, Kind.DRAWN_TRAIN_REQUEST) and riding is None:
            return self._train(party, request, content, message, context, call_next)
        if riding is not None:
            reply = records.unmasked_and_prepared(*party.unmask_and_prepare(request, riding), records.config_digest(context))
        elif kind is Kind.PREPARE_REQUEST:
            reply = records.prepared(party.answer(request), records.config_digest(context))
        else:
            reply = records.light(party.answer(request))
        return Message(reply, reply_to=message)

    def config_of(self, context: Context) -> PartyConfig:
        """What this party decides about itself; LocalError if that cannot be read or does not fit together."""
        return party_config(context, policy=self._policy, identity=self._identity, roster=self._roster, allow_insecure=self._allow_insecure)

    def store_of(self, context: Context, config: PartyConfig) -> PartyStore:
        """Where this party keeps its state."""
        if self._store is not None:
            return self._store(context)
        return SqliteStore.of(context, self._folder, b"" if config.identity is None else config.identity.public_bytes)

    def _party(self, context: Context) -> Party:
        config = self.config_of(context)
        if config.policy.mode is Mode.MALICIOUS:
            check_channel(allow_insecure=config.allow_insecure)
        return Party(self.store_of(context, config), config.policy, identity=config.identity, roster=config.roster)

    def _train(
        self, party: Party, request: bytes, content: RecordDict, message: Message, context: Context, call_next: ClientAppCallable
    ) -> Message:
        metadata = message.metadata
        phase = records.phase_of(metadata.message_type)
        digest = records.content_digest(content)
        check_agreed(party.policy, content, context)
        run_config = records.config_digest(context)
        if run_config != records.run_config_of(message.content):
            raise RefusedError("the run config of this party is not that of the others", hint="start a new run")
        bound = records.bound_digest(metadata.message_type, metadata.group_id, digest, run_config)
        try:
            ticket = party.start_training(request, bound, phase, reuse=digest)
        except ShareError as error:
            if error.complaint is None:
                raise
            log.error("this party refuses to train and complains to the coordinator: %s", error)
            return Message(records.light(error.complaint), reply_to=message)
        # Read before the function runs: it may change the records in place.
        received = received_model(content) if phase is Phase.TRAIN else {}
        reply = run_function(call_next, records.for_function(message, content), context)
        payload, schema = _encode(ticket, received, reply)
        signed = hashlib.sha256(payload).digest() if ticket.facts.mode is Mode.MALICIOUS else b""
        return Message(records.masked(party.finish_training(ticket, schema, len(payload), signed), payload), reply_to=message)


def received_model(content: RecordDict) -> Mapping[str, Array]:
    """The model that came with the message, without a copy."""
    arrays = list(content.array_records.values())
    if len(arrays) != 1:
        raise LocalError(f"a train message must have exactly one ArrayRecord, this one has {len(arrays)}")
    return views(arrays[0])


def run_function(call_next: ClientAppCallable, message: Message, context: Context) -> RecordDict:
    """The wrapped function's reply; its failure becomes an error without its text, which may quote data."""
    try:
        reply = call_next(message, context)
    except Exception as error:
        log.exception("the %s function failed; the coordinator is told its type only", message.metadata.message_type)
        raise TrainFunctionError(
            f"the {message.metadata.message_type} function raised {type(error).__name__}", hint="details are in this party's own log"
        ) from None
    if reply.has_error():
        log.error("the %s function answered with an error: %s", message.metadata.message_type, reply.error.reason)
        raise TrainFunctionError(f"the {message.metadata.message_type} function answered with error code {reply.error.code}")
    return reply.content


def _encode(ticket: Ticket, received: Mapping[str, Array], reply: RecordDict) -> tuple[bytes, bytes]:
    """The reply as one masked and packed vector, and which metrics are in it."""
    plan = ticket.masks.plan
    with taken_apart(reply, ticket.facts.phase, plan) as outcome:
        update = Update(plan, received, outcome.trained, outcome.weight, outcome.metrics, random_filler(system_entropy))
        return ticket.masks.seal(update, system_entropy), update.schema.encode()


secagg_mod: SecAggMod = SecAggMod()
