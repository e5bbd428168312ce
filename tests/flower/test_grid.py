"""`SecureGrid`: what a strategy may hand over and what it gets back, and what the coordinator needs for it."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from stfed.errors import LocalError, QuorumError
from stfed.flower import SecAggMod, SecureGrid
from stfed.flower.replies import SharedArray
from stfed.flower.settings import Settings
from stfed.secagg.policy import Policy
from stfed.secagg.store import MemoryStore
from stfed.testing import InMemoryGrid
from tests.flower import apps

N = 5


def secure(grid: Any, **settings: Any) -> SecureGrid:
    return SecureGrid(grid, Settings(**{**apps.TIGHT, **settings}))


# What comes back


def test_one_reply_for_each_party_summed_and_all_the_same() -> None:
    grid = apps.secure_grid(N, {"action": "drop-reply", "node": 1, "step": "train"})
    sent = apps.messages(grid)
    replies = list(secure(grid).send_and_receive(sent))
    assert apps.parties(grid, (reply.metadata.src_node_id for reply in replies)) == [0, 2, 3, 4]
    assert {reply.metadata.message_type for reply in replies} == {"train"}
    weight = sum(apps.examples_of(party) for party in (0, 2, 3, 4)) / 4
    loss = sum(apps.examples_of(party) * apps.loss_of(party, 1) for party in (0, 2, 3, 4)) / (4 * weight)
    for reply in replies:
        assert set(reply.content) == {"arrays", "metrics"}
        assert reply.content["metrics"]["num-examples"] == weight
        assert reply.content["metrics"]["train_loss"] == pytest.approx(loss, abs=2.0**-30)
        assert reply.content["arrays"] is replies[0].content["arrays"]


def test_an_evaluation_gives_metrics_only() -> None:
    grid = apps.secure_grid(N)
    replies = list(secure(grid).send_and_receive(apps.messages(grid, kind="evaluate")))
    assert len(replies) == N
    assert all(set(reply.content) == {"metrics"} for reply in replies)


def test_the_mean_is_read_only_and_decoded_once() -> None:
    array = SharedArray.of(np.arange(3.0))
    assert array.numpy() is array.numpy()
    with pytest.raises(ValueError, match="read-only"):
        array.numpy()[0] = 1
    plain = apps.array_of(np.arange(3.0))
    assert (array.dtype, array.shape, array.stype, array.data) == (plain.dtype, plain.shape, plain.stype, plain.data)


def test_the_key_of_the_arrays_is_the_strategys() -> None:
    grid = apps.secure_grid(N)
    content = RecordDict({"model": apps.model(), "config": ConfigRecord({"server-round": 1})})

    def train(message: Message, context: Any, call_next: Any) -> Message:
        message.content = RecordDict({"arrays": message.content["model"], "config": message.content["config"]})
        return call_next(message, context)

    grid = apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train_mods=[train]))
    replies = list(secure(grid).send_and_receive([Message(content, node, "train") for node in grid.get_node_ids()]))
    assert set(replies[0].content) == {"model", "metrics"}
    strategy = apps.secure(apps.only_training(arrayrecord_key="model"))
    grid = apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train_mods=[train]))
    assert strategy.start(grid, apps.model(), 1).arrays.keys() == apps.SHAPES.keys()


def test_no_messages_are_no_round() -> None:
    grid = apps.secure_grid(N)
    ours = secure(grid)
    assert list(ours.send_and_receive([])) == []
    assert ours.reports == []
    assert grid.dump == []


def test_everything_else_is_the_grids_own() -> None:
    grid = apps.secure_grid(N)
    ours = secure(grid)
    assert list(ours.get_node_ids()) == grid.get_node_ids()
    assert ours.run.run_id == grid.run.run_id
    ours.set_run(grid.run)
    message = ours.create_message(RecordDict(), "query", grid.node(0).node_id, "group")
    assert message.metadata.dst_node_id == grid.node(0).node_id


# What is refused before anything is sent


def refused(sent: list[Message], grid: Any, match: str) -> None:
    before = len(grid.dump)
    with pytest.raises(LocalError, match=match):
        secure(grid).send_and_receive(sent)
    assert len(grid.dump) == before


def test_single_replies_can_not_be_asked_for() -> None:
    grid = apps.secure_grid(N)
    for call in (secure(grid).push_messages, secure(grid).pull_messages):
        with pytest.raises(LocalError, match="single replies") as caught:
            call([])
        assert caught.value.hint == "use send_and_receive"


def test_two_messages_to_one_node() -> None:
    grid = apps.secure_grid(N)
    node = grid.node(3).node_id
    refused([*apps.messages(grid), *apps.messages(grid, nodes=[3])], grid, f"two messages to node {node}")


@pytest.mark.parametrize("kind", ["query", "query.default"])
def test_other_kinds_of_messages(kind: str) -> None:
    grid = apps.secure_grid(N)
    refused(apps.messages(grid, kind=kind), grid, "train and evaluate messages")


def test_mixed_kinds_of_messages() -> None:
    grid = apps.secure_grid(N)
    mixed = [*apps.messages(grid, nodes=[0, 1]), *apps.messages(grid, kind="evaluate", nodes=[2, 3])]
    refused(mixed, grid, "mixes message types")


def test_content_that_differs_between_parties() -> None:
    """Another config, another model, another order: each party must get what the others get."""
    grid = apps.secure_grid(N)
    same = apps.messages(grid, nodes=range(4))
    for other in (
        apps.messages(grid, nodes=[4], lr=0.5),
        apps.messages(grid, apps.model(seed=1), nodes=[4]),
        [Message(RecordDict(dict(reversed(same[0].content.items()))), grid.node(4).node_id, "train")],
    ):
        refused([*same, *other], grid, f"node {grid.node(4).node_id} another model or config")


def test_equal_content_in_other_objects_is_the_same_content() -> None:
    grid = apps.secure_grid(N)
    assert len(list(secure(grid).send_and_receive([message for i in range(N) for message in apps.messages(grid, nodes=[i])]))) == N


def test_a_model_in_two_records_or_none() -> None:
    grid = apps.secure_grid(N)
    for content in (RecordDict({"arrays": apps.model(), "more": apps.model()}), RecordDict({"config": ConfigRecord({"x": 1})})):
        refused([Message(content, node, "train") for node in grid.get_node_ids()], grid, "exactly one ArrayRecord")


def test_a_record_with_our_name() -> None:
    grid = apps.secure_grid(N)
    content = RecordDict({"arrays": apps.model(), "stfed": ConfigRecord({"server-round": 1})})
    with pytest.raises(LocalError, match="record 'stfed' of their own"):
        secure(grid).send_and_receive([Message(content, node, "train") for node in grid.get_node_ids()])


def test_a_model_that_cannot_be_averaged() -> None:
    grid = apps.secure_grid(N)
    arrays = apps.record_of({"z": np.zeros(2, np.complex64)})
    with pytest.raises(LocalError, match="dtype complex64, which cannot be averaged"):
        secure(grid).send_and_receive(apps.messages(grid, arrays))


def test_a_ring_too_small_for_the_parties() -> None:
    with pytest.raises(LocalError, match="ring_bits=8 leaves less than one bit a value for 64 parties") as caught:
        Settings(ring_bits=8).plan({}, 64)
    assert caught.value.hint == "set ring_bits to at least 9"


def test_a_round_over_parties_that_have_no_examples() -> None:
    def train(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        return arrays, {"num-examples": 0}

    grid = apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train=train))
    ours = secure(grid)
    with pytest.raises(QuorumError, match="no weight, so there is no mean"):
        ours.send_and_receive(apps.messages(grid))
    assert "no weight" in str(ours.reports[0].failure)


def test_messages_for_nodes_that_do_not_exist() -> None:
    grid = apps.secure_grid(N)
    content = RecordDict({"arrays": apps.model(), "config": ConfigRecord({"server-round": 1})})
    sent = [*apps.messages(grid), Message(content, 4711, "train")]
    ours = secure(grid)
    assert len(list(ours.send_and_receive(sent))) == N
    assert ours.reports[0].dropped == {4711: {"step": "join", "reason": "no reply", "detail": ""}}


# What the coordinator needs


class Watched(InMemoryGrid):
    """Notes, at every pull of TRAIN, how many masked vectors it has delivered are still alive, and how much memory is in use."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.delivered: list[weakref.ref[Message]] = []
        self.alive: list[int] = []
        self.bytes_in_use: list[int] = []

    def pull_messages(self, message_ids: Any) -> list[Message]:
        gc.collect()  # a RecordDict of Flower's refers to itself once its `array_records` were looked at, as a party's is
        self.alive.append(sum(message() is not None for message in self.delivered))
        self.bytes_in_use.append(tracemalloc.get_traced_memory()[0])
        replies = super().pull_messages(message_ids)
        self.delivered += [weakref.ref(reply) for reply in replies if reply.has_content() and "stfed.masked" in reply.content]
        return replies


def test_masked_vectors_are_added_as_they_arrive() -> None:
    """The coordinator holds the sum and what one pull gives, however many parties have answered: O(model), not O(parties x model)."""
    n, size = 20, 200_000
    grid = Watched(apps.client_app(apps.secure_mod()), n, keep_payloads=False)
    before = apps.record_of({"w": np.zeros(size, np.float32)})
    gc.freeze()
    tracemalloc.start()
    try:
        replies = list(secure(grid).send_and_receive(apps.messages(grid, before)))
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    assert len(replies) == len(grid.delivered) == n
    assert max(grid.alive) <= 8
    # The pulls of UNMASK come last: requests and replies of TRAIN are gone from the grid, so what is left is the coordinator's.
    assert grid.bytes_in_use[-1] - grid.bytes_in_use[0] < 4 * 4 * size


def test_eleven_hundred_parties_are_exact() -> None:
    """Above 1024, where Flower's own secure aggregation overflows; on a sparse graph, with drops at two steps.

    The parties' state is in memory: 5,500 transactions of a file are a third of the time and not what this is about.
    """
    n, gone, late = 1100, (3, 700), (5, 41)

    def train(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        return {"w": arrays["w"] + np.float32([partition / 2048, -1, 0.5])}, {"num-examples": 1 + partition % 3}

    policy = Policy(gamma=0.0, delta=0.01)
    faults = [{"action": "drop-reply", "node": node, "step": "prepare"} for node in gone]
    faults += [{"action": "drop-reply", "node": node, "step": "train"} for node in late]
    stores: dict[int, MemoryStore] = {}
    mod = SecAggMod(policy, store=lambda context: stores.setdefault(context.node_id, MemoryStore()))
    grid = apps.secure_grid(n, *faults, app=apps.client_app(mod, train=train), keep_payloads=False)
    strategy = apps.secure(FedAvg(fraction_evaluate=0.0), gamma=0.0, delta=0.01, max_weight=4.0)
    before = apps.record_of({"w": np.zeros(3, np.float32)})
    result = strategy.start(grid, before, 1)
    report = strategy.reports[0]
    summed = [party for party in range(n) if party not in (*gone, *late)]
    assert apps.parties(grid, report.summed) == summed
    assert report.graph == "harary"
    assert report.k < 32
    assert report.total_weight == sum(1 + party % 3 for party in summed)
    expected = apps.mean_of(summed, before, 1, train)
    assert apps.distance(result.arrays, expected) <= report.error_bound + apps.rounding(len(summed), apps.record_of(expected))
    assert report.error_bound < 1e-5


def test_the_metrics_of_a_reply_are_plain_numbers() -> None:
    grid = apps.secure_grid(N)
    reply = next(iter(secure(grid).send_and_receive(apps.messages(grid))))
    assert isinstance(reply.content["metrics"], MetricRecord)
    assert {type(value) for value in reply.content["metrics"].values()} == {float}
