"""`secagg_mod`: what a party adds to its ClientApp. The train and evaluate functions stay as they are.

    app = ClientApp(mods=[secagg_mod])

The mod answers the light steps (JOIN, PREPARE, UNMASK) itself. In the TRAIN step it takes our record out of the message, lets the
function run, and replaces its whole reply by one masked vector: the update, the weight and all metrics. Nothing the function returns
leaves the party in any other form: what cannot ride in the vector is refused, an ordinary train or evaluate message (a coordinator
without secure aggregation, or one that wants to get around it) is refused before the function runs, and when the function fails, its
error text, which may quote data, stays in the party's own log.

Put it first in the ClientApp's `mods`: the first mod is the outermost, so it sees what the others made of the reply. Flower's clipping and
local-DP mods are for training only and go to the train function:

    app = ClientApp(mods=[secagg_mod])

    @app.train(mods=[fixedclipping_mod])
    def train(message, context): ...
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message, RecordDict
from numpy.typing import NDArray

from stfed.crypto.keystream import random_filler
from stfed.crypto.random import system_entropy
from stfed.encoding import Vector, encode_update, pack_vector
from stfed.errors import DecodeError, LocalError
from stfed.flower import records
from stfed.flower.store import SqliteStore
from stfed.secagg.messages import Kind, Phase, peek
from stfed.secagg.party import Party, Ticket
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import RefusedError
from stfed.secagg.store import PartyStore

ClientAppCallable = Callable[[Message, Context], Message]

log = logging.getLogger("stfed")


class PlainMessageError(RefusedError):
    """The coordinator sent a message that asks for a reply in clear."""


class TrainFunctionError(LocalError):
    """The party's own function failed, or returned what secure aggregation cannot carry."""


class PartyError(LocalError):
    """This party cannot take part, for a reason that concerns nobody else."""


class SecAggMod:
    """A Flower mod that takes part in secure aggregation. `secagg_mod` is one with the default policy.

    Args:
        policy: what this party decides alone; the default takes part in cohorts of three or more.
        state_dir: where the party keeps its state; by default the node config's `stfed-state-dir`, $STFED_STATE_DIR, or the XDG one.
        store: builds another store from the Context, for tests.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        state_dir: str | Path | None = None,
        store: Callable[[Context], PartyStore] | None = None,
    ) -> None:
        self.policy = policy or Policy()
        folder = None if state_dir is None else Path(state_dir)
        self._store: Callable[[Context], PartyStore] = store or (lambda context: SqliteStore.of(context, folder))
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
        party = Party(self._store(context), self.policy)
        if kind is Kind.TRAIN_REQUEST:
            return self._train(party, request, content, message, context, call_next)
        return Message(records.light(party.answer(request)), reply_to=message)

    def _train(
        self, party: Party, request: bytes, content: RecordDict, message: Message, context: Context, call_next: ClientAppCallable
    ) -> Message:
        metadata = message.metadata
        phase = records.phase_of(metadata.message_type)
        digest = records.content_digest(content)
        ticket = party.start_training(request, records.bound_digest(metadata.message_type, metadata.group_id, digest), phase, reuse=digest)
        # Read before the function runs: it may change the records in place.
        received = _received(content) if phase is Phase.TRAIN else {}
        message.content = content
        reply = _call(call_next, message, context)
        vector, schema = _encode(ticket, received, reply)
        ticket.masks.apply(vector)
        payload = pack_vector(vector, ticket.masks.plan)
        return Message(records.masked(party.finish_training(ticket, schema, len(payload)), payload), reply_to=message)


def _received(content: RecordDict) -> dict[str, NDArray[np.generic]]:
    """The model that came with the message."""
    arrays = list(content.array_records.values())
    if len(arrays) != 1:
        raise LocalError(f"a train message must have exactly one ArrayRecord, this one has {len(arrays)}")
    return {name: array.numpy() for name, array in arrays[0].items()}


def _call(call_next: ClientAppCallable, message: Message, context: Context) -> RecordDict:
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


def _encode(ticket: Ticket, received: dict[str, NDArray[np.generic]], reply: RecordDict) -> tuple[Vector, bytes]:
    """The reply as one vector, and which metrics are in it.

    What cannot be encoded is refused in one and the same words, whatever the reason: which bound a party's numbers break would tell the
    coordinator, who chooses the bounds, about the numbers.
    """
    plan, train = ticket.masks.plan, ticket.facts.phase is Phase.TRAIN
    arrays, metrics = list(reply.array_records.values()), list(reply.metric_records.values())
    expected = "one ArrayRecord and one MetricRecord" if train else "one MetricRecord"
    if len(arrays) != train or len(metrics) != 1 or reply.config_records:
        raise TrainFunctionError(
            f"the reply must be {expected} and nothing else: everything in it is summed, nothing leaves in clear; "
            f"it has {len(arrays)} ArrayRecords, {len(metrics)} MetricRecords and {len(reply.config_records)} ConfigRecords"
        )
    try:
        values: dict[str, Any] = dict(metrics[0])
        weight = values.pop(plan.weight_key, 1 if plan.uniform else None)
        if weight is None:
            raise LocalError(f"the MetricRecord has no {plan.weight_key!r}, which is the weight")
        trained = {name: array.numpy() for name, array in arrays[0].items()} if train else {}
        update = encode_update(plan, received, trained, weight, values, random_filler(system_entropy))
    except LocalError as error:
        log.error("the reply of the %s function cannot be summed: %s", ticket.facts.phase.name.lower(), error)
        raise TrainFunctionError(
            f"the reply of the {ticket.facts.phase.name.lower()} function cannot be summed", hint="details are in this party's own log"
        ) from None
    return update.vector, update.schema.encode()


secagg_mod = SecAggMod()
