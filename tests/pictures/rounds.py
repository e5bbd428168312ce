"""One round to draw: what crosses between the coordinator and five parties, one of which is lost while it trains.

The round is real: Flower's FedAvg under `SecureAggregation` and five ClientApps behind `SecAggMod`, in memory. A recorder in front of each
party keeps the request and the reply as the protocol's own messages; the grid says which of them arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from flwr.app import Context, RecordDict
from flwr.app import Message as FlowerMessage

from stfed.flower import records
from stfed.flower.events import RoundReport
from stfed.secagg.messages import (
    Confirm,
    ConfirmRequest,
    Join,
    JoinRequest,
    Kind,
    Masked,
    Message,
    Prepare,
    PrepareRequest,
    TrainRequest,
    Unmask,
    UnmaskRequest,
    peek,
)
from stfed.secagg.params import Mode
from tests.flower import apps

PARTIES, LOST, STAYS = 5, 4, 0
"""How many; who is lost after PREPARE, and whom the picture follows besides."""
PARAMETERS = 1_000_000
STEPS = ("join", "prepare", "train", "confirm", "unmask")
_KINDS: Mapping[Kind, type[Message]] = {
    kind.KIND: kind
    for kind in (JoinRequest, Join, PrepareRequest, Prepare, TrainRequest, Masked, ConfirmRequest, Confirm, UnmaskRequest, Unmask)
}


@dataclass(frozen=True, slots=True)
class Crossing:
    """A message of the protocol to a party or from it.

    Attributes:
        message: decoded.
        size_bytes: of the message and of the model or vector beside it, without Flower's framing.
        arrived: whether it reached the other side.
    """

    message: Message
    size_bytes: int
    arrived: bool


@dataclass
class Round:
    """One round as it was: by step, by party, the request and the reply."""

    mode: Mode
    report: RoundReport
    down: dict[tuple[str, int], Crossing] = field(default_factory=dict)
    up: dict[tuple[str, int], Crossing] = field(default_factory=dict)

    @property
    def steps(self) -> list[str]:
        """The steps that there were, in order."""
        return [step for step in STEPS if (step, STAYS) in self.down]


def _read(content: RecordDict) -> tuple[Message, int]:
    """The protocol's message in a request or reply, and its size with the arrays beside it."""
    data = records.message_of(content)
    beside = sum(len(array.data) for one in content.array_records.values() for array in one.values())
    return _KINDS[peek(data)[0]].decode(data), len(data) + beside


@cache
def play(mode: Mode) -> Round:
    """Plays the round, once a process."""
    crossed: dict[tuple[str, str, int], tuple[Message, int]] = {}
    real = apps.malicious_mod(PARTIES) if mode is Mode.MALICIOUS else apps.secure_mod()

    def recorder(message: FlowerMessage, context: Context, call_next: Any) -> FlowerMessage:
        step = records.describe(message)
        assert step is not None
        party = int(context.node_config["partition-id"])
        crossed["down", step[0], party] = _read(message.content)
        reply = real(message, context, call_next)
        crossed["up", step[0], party] = _read(reply.content)
        return reply

    def train(party: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        return {"w": arrays["w"] + np.float32(party / 10)}, {"num-examples": 100}

    lost = {"action": "drop-reply", "node": LOST, "step": "train", "permanent": True}
    grid = apps.secure_grid(PARTIES, lost, app=apps.client_app(recorder, train=train), keep_payloads=False)
    strategy = _strategy(mode)
    strategy.start(grid, apps.record_of({"w": np.zeros(PARAMETERS, np.float32)}), num_rounds=1)
    found = Round(mode, strategy.reports[0])
    arrived = {(one.direction, one.step, grid.index(one.node_id)): one.fault is None and one.error is None for one in grid.dump}
    for (direction, step, party), (message, size_bytes) in crossed.items():
        crossing = Crossing(message, size_bytes, arrived[direction, step, party])
        (found.down if direction == "down" else found.up)[step, party] = crossing
    return found


def _strategy(mode: Mode) -> Any:
    settings: dict[str, Any] = {"gamma": 0.2, "delta": 0.2}
    return apps.malicious(PARTIES, **settings) if mode is Mode.MALICIOUS else apps.secure(**settings)
