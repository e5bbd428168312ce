"""A crowd as real parties: every one a ClientApp with `secagg_mod` on an in-memory grid, with keys, shares, masks and a store of its own.

The training is the crowd's, all parties at once: who is asked first computes the round, and everybody takes their own part of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from benchmarks.softmax import TENSOR, WEIGHT, Floats, Train, arrays_of
from stfed.flower import SecAggMod
from stfed.secagg.policy import Policy
from stfed.testing import InMemoryGrid

_MEMORY = Path("/dev/shm")


@contextmanager
def secure_grid(train: Train, parties: int, policy: Policy | None = None) -> Iterator[InMemoryGrid]:
    """The grid, for as long as the parties' state is there."""
    with tempfile.TemporaryDirectory(prefix="stfed-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield InMemoryGrid(_app(train, SecAggMod(policy, state_dir=folder)), parties, keep_payloads=False)


def _app(train: Train, mod: SecAggMod) -> ClientApp:
    app, rounds = ClientApp(mods=[mod]), dict[int, tuple[Floats, Floats]]()

    @app.train()
    def train_function(message: Message, context: Context) -> Message:
        received = message.content["arrays"][TENSOR].numpy()
        server_round = int(message.content["config"]["server-round"])
        if server_round not in rounds:
            rounds.clear()
            rounds[server_round] = received, train(received, server_round)
        before, trained = rounds[server_round]
        assert (before == received).all(), "all parties receive one model"
        own = trained[int(context.node_config["partition-id"])]
        return Message(RecordDict({"arrays": arrays_of(own), "metrics": MetricRecord({WEIGHT: 1})}), reply_to=message)

    return app
