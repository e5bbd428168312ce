"""Flower itself as the way around: plain messages, error texts, the run config, channels, other runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Context, Message, RecordDict

from stfed.errors import DecodeError
from stfed.flower import records
from stfed.flower.mod import PartyError, PlainMessageError, SecAggMod, TrainFunctionError
from stfed.keys import Roster
from stfed.secagg.messages import Header, JoinRequest
from stfed.secagg.refusals import ModeError, RefusedError, UnknownIdentityError
from stfed.secagg.transcript import MODE_CODES
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.identity import isolated, only_the_victim_joins
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.sybil import Sybil
from tests.attacks.secagg.training import content_of, model, update_of
from tests.attacks.secagg.world import RUN, member_of
from tests.flower.apps import numpy_of

MOD = "stfed.flower.mod:SecAggMod."


def answers_anything(real: Any, self: Any, message: Message, context: Context, call_next: Any) -> Message:
    """A mod that lets a message without a record of ours through."""
    if records.RECORD not in message.content:
        return call_next(message, context)  # type: ignore[no-any-return]
    return real(message, context, call_next)  # type: ignore[no-any-return]


THROUGH = Instead(f"{MOD}_answer", answers_anything, "a message without a secure step is not answered", wraps=True)


@attack("F", PlainMessageError, "this party answers through secure aggregation only, not a plain 'train' message", THROUGH)
def an_ordinary_train_message(world: Coordinator) -> None:
    """Flower without secure aggregation: the party's model comes back as it is."""
    before = model()
    reply = world.everybody[0].ask(content_of(before))
    after = numpy_of(reply["arrays"])
    assert all(np.allclose(after[name] - before[name], update_of(0)[name], atol=1e-6) for name in before)


@attack("F", PlainMessageError, "not a plain 'evaluate' message", THROUGH)
def an_ordinary_evaluate_message(world: Coordinator) -> None:
    """The metrics of one party on a model of the coordinator's choice."""
    reply = world.everybody[0].ask(content_of(model()), "evaluate")
    assert reply["metrics"]["accuracy"] == 0.5


def fails_with_data(number: int, message: Message, context: Context) -> RecordDict:
    raise ValueError("patient 4711 has no blood pressure")


@attack(
    "S20 F",
    TrainFunctionError,
    "the train function raised ValueError",
    Instead(
        "stfed.flower.mod:run_function",
        lambda call_next, message, context: call_next(message, context).content,
        "errors of the function stay here",
    ),
    Instead(f"{MOD}__call__", lambda self, *args: self._answer(*args), "and so does whatever else goes wrong"),
    function=fails_with_data,
)
def an_error_text_that_quotes_data(world: Coordinator) -> None:
    """Flower sends the text of an exception to the coordinator, who chooses the config that the function stumbles over."""
    world.join().prepared()
    try:
        world.train(0)
    except ValueError as error:
        if "4711" not in str(error):
            raise


@attack("S17 F", RefusedError, "belongs to another run than the one Flower delivers it in", Check(f"{MOD}_answer", "RefusedError"))
def a_message_of_one_run_delivered_in_another(world: Coordinator) -> None:
    """The app's code and config are those of a run; another run's secrets are not for them."""
    request = JoinRequest(header=Header(RUN + 1, 1, 0), mode=MODE_CODES[world.mode])
    world.everybody[0].ask(records.light(request.encode()))


def also_the_run_config(real: Any, self: Any, context: Context) -> None:
    self._values = {**context.node_config, **context.run_config}


@attack(
    "S21 F",
    UnknownIdentityError,
    "no member has it",
    Instead("stfed.flower.party_config:NodeConfig.__init__", also_the_run_config, "only the node's own config is read", wraps=True),
)
def a_roster_named_in_the_run_config(world: Coordinator) -> None:
    """The run config has a key of the same name as the node's, and a roster on which the invented parties are."""
    header = only_the_victim_joins(world)
    invented = [Sybil(header, world.mode) for _ in range(5)]
    members = (member_of(0), *(member_of(number, one.key) for number, one in enumerate(invented, start=1)))
    path = world.folder / "coordinators-roster.toml"
    path.write_bytes(Roster("the coordinator's", members).to_toml())
    context = world.everybody[0].node.context
    context.run_config["stfed-roster"] = str(path)
    world.everybody[0].node.context = context
    isolated(world, invented)


@attack(
    "F",
    PartyError,
    "this party cannot take part",
    Instead("stfed.flower.mod:check_channel", lambda **_: None, "malicious mode asks who handed the message over"),
)
def a_channel_that_nobody_has_checked(world: Coordinator) -> None:
    """The app is called by something that is neither a SuperNode with TLS nor a simulation."""
    party = world.everybody[0]
    request = JoinRequest(header=Header(RUN, 1, 0), mode=MODE_CODES[world.mode])
    message = party.message(records.light(request.encode()))
    reply = SecAggMod()(message, party.node.context, party.app())
    assert records.message_of(reply.content)


@attack("R8 S19", ModeError, "is signed, but a coordinator signs nothing", Check("stfed.secagg.party:_unsigned", "ModeError"))
def a_signed_request(world: Coordinator) -> None:
    """A field that nobody checks is one in which two parties can be told different things."""
    request = JoinRequest(header=Header(RUN, 1, 0), mode=MODE_CODES[world.mode], signature=bytes(64))
    world.light(world.everybody[0], request.encode())


@attack("S19 R8", DecodeError, "left over", Check("stfed.wire:Reader.end", "DecodeError"))
def bytes_behind_the_end_of_a_message(world: Coordinator) -> None:
    """The same for whatever follows a message."""
    request = JoinRequest(header=Header(RUN, 1, 0), mode=MODE_CODES[world.mode])
    world.light(world.everybody[0], request.encode() + b"more")
