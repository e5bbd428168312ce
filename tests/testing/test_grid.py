"""The in-memory grid against Flower: FedAvg on it gives what a hand computation gives, and its rules are those of a deployment."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.run import Run

from stfed.errors import LocalError
from stfed.testing import InMemoryGrid
from tests.testing.apps import adding_app, grid_with, queries, senders, training


def run_fedavg(grid: Grid, rounds: int = 2) -> tuple[np.ndarray, dict[int, object], dict[int, object]]:
    result = FedAvg().start(grid, ArrayRecord([np.zeros(3, np.float32)]), num_rounds=rounds)
    return result.arrays.to_numpy_ndarrays()[0], dict(result.train_metrics_clientapp), dict(result.evaluate_metrics_clientapp)


def test_fedavg_equals_the_hand_computation() -> None:
    # party i of 3 adds i+1 with weight 10(i+1): each round adds (1*1 + 2*2 + 3*3) / (1 + 2 + 3) = 14/6
    grid = InMemoryGrid(adding_app(), 3)
    model, train_metrics, evaluate_metrics = run_fedavg(grid)
    np.testing.assert_allclose(model, np.full(3, 2 * 14 / 6), rtol=1e-6)
    assert model.dtype == np.float32
    assert train_metrics[1]["train_loss"] == pytest.approx(14 / 6)
    assert train_metrics[2]["messages"] == pytest.approx(2)  # the state outlives the round
    assert evaluate_metrics[2]["eval_loss"] == pytest.approx(2 * 14 / 6)


def test_two_runs_are_alike_in_everything_but_flowers_timestamps() -> None:
    def trace() -> tuple[bytes, list[object]]:
        random.seed(7)  # Flower samples parties with the global generator
        grid = InMemoryGrid(adding_app(), 5)
        model, *_ = run_fedavg(grid)
        return model.tobytes(), [(r.direction, r.node_id, r.step, r.round, r.size_bytes, r.error, r.fault) for r in grid.dump]

    assert trace() == trace()


def test_nothing_is_shared_between_coordinator_and_party() -> None:
    seen: list[RecordDict] = []
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        seen.append(message.content)
        message.content["config"]["a"] = 2
        reply = RecordDict({"config": message.content["config"]})
        seen.append(reply)
        return Message(reply, reply_to=message)

    grid = InMemoryGrid(app, 2)
    sent = queries(grid, a=1)
    replies = grid.send_and_receive(sent)
    assert [message.content["config"]["a"] for message in sent] == [1, 1]
    seen[1]["config"]["a"] = 3
    assert [reply.content["config"]["a"] for reply in replies] == [2, 2]
    assert all(reply.content["config"] is not there["config"] for reply in replies for there in seen)


def test_state_persists_as_bytes_and_only_in_the_context() -> None:
    kept: list[object] = []
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        kept.append(context.state)
        count = context.state.setdefault("mine", ConfigRecord({"n": 0}))
        count["n"] += 1
        context.node_config["extra"] = 1
        return Message(RecordDict({"config": ConfigRecord({"n": count["n"]})}), reply_to=message)

    grid = InMemoryGrid(app, 1)
    counts = [grid.send_and_receive(queries(grid))[0].content["config"]["n"] for _ in range(3)]
    assert counts == [1, 2, 3]
    assert len({id(state) for state in kept}) == 3  # a new object each time
    kept[-1]["mine"]["n"] = 100  # a reference that a party kept is of no use
    assert grid.send_and_receive(queries(grid))[0].content["config"]["n"] == 4


def test_a_party_can_be_rolled_back_and_wiped() -> None:
    grid = grid_with(num_nodes=1)
    grid.send_and_receive(queries(grid))
    old = grid.node(0).context
    grid.send_and_receive(queries(grid))
    assert grid.node(0).context.state["queries"]["seen"] == 2
    grid.node(0).context = old
    assert grid.send_and_receive(queries(grid))[0].content["config"]["seen"] == 1
    fresh = grid.node(0).context
    fresh.state = RecordDict()
    grid.node(0).context = fresh
    assert grid.send_and_receive(queries(grid))[0].content["config"]["seen"] == 0


def test_state_written_before_an_exception_is_kept_and_the_reply_is_flowers_error() -> None:
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        context.state["seen"] = ConfigRecord({"yes": True})
        raise ZeroDivisionError("no data today")

    grid = InMemoryGrid(app, 1)
    (reply,) = grid.send_and_receive(queries(grid))
    assert reply.has_error()
    assert reply.error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert reply.error.reason == "<class 'ZeroDivisionError'>:<'no data today'>"
    assert grid.node(0).context.state["seen"]["yes"] is True
    assert grid.dump[-1].error == reply.error.reason


def test_an_unregistered_message_type_and_an_app_that_cannot_load_are_error_replies() -> None:
    grid = grid_with(num_nodes=1)
    (reply,) = grid.send_and_receive([Message(RecordDict(), grid.get_node_ids()[0], "query.unheard_of")])
    assert "No query function registered with name 'unheard_of'" in reply.error.reason

    def no_app(index: int) -> ClientApp:
        raise ImportError("torch")

    broken = InMemoryGrid(no_app, 1)
    (reply,) = broken.send_and_receive(queries(broken))
    assert reply.error.code == ErrorCode.LOAD_CLIENT_APP_EXCEPTION


def test_an_app_factory_makes_a_new_app_for_every_message() -> None:
    made: list[int] = []

    def factory(index: int) -> ClientApp:
        made.append(index)
        return adding_app()

    grid = InMemoryGrid(factory, 2)
    grid.send_and_receive(queries(grid))
    grid.send_and_receive(queries(grid, [1]))
    assert made == [0, 1, 1]


def test_an_answer_that_is_no_reply_is_refused_by_name() -> None:
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        return Message(RecordDict(), message.metadata.src_node_id, "query")

    grid = InMemoryGrid(app, 1)
    with pytest.raises(LocalError, match="party 0: its app answered a 'query' message with something else than a reply"):
        grid.send_and_receive(queries(grid))


def test_ids_configs_and_run_reach_the_party_unharmed() -> None:
    seen: list[Context] = []
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        seen.append(context)
        return Message(RecordDict(), reply_to=message)

    grid = InMemoryGrid(app, 2, run_config={"seed": 7, "lr": 0.5, "deep": True, "name": "x"}, run_id=2**64 - 3)
    assert all(node_id > 1 for node_id in grid.get_node_ids())
    assert list(grid.get_node_ids()) != sorted(grid.get_node_ids()) or max(grid.get_node_ids()) > 2**32
    grid.send_and_receive(queries(grid))
    assert [context.node_config for context in seen] == [{"partition-id": i, "num-partitions": 2} for i in range(2)]
    assert seen[0].run_config == {"seed": 7, "lr": 0.5, "deep": True, "name": "x"}
    assert seen[0].run_id == 2**64 - 3 == grid.run.run_id
    assert [node.node_id for node in grid.get_nodes()] == grid.get_node_ids() == [context.node_id for context in seen]


def test_own_node_ids_and_node_config() -> None:
    grid = InMemoryGrid(adding_app(), 2, node_ids=[20, 10], node_config=lambda index: {"partition-id": 5 + index})
    assert grid.get_node_ids() == [20, 10]
    assert grid.node(1).context.node_config == {"partition-id": 6}


@pytest.mark.parametrize(
    "arguments",
    [{"num_nodes": 0}, {"threads": 0}, {"replies_per_pull": 0}, {"node_ids": [5]}, {"node_ids": [5, 5]}, {"node_ids": [1, 5]}],
)
def test_impossible_grids_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(LocalError):
        InMemoryGrid(adding_app(), **{"num_nodes": 2, **arguments})


def test_parties_are_found_by_index_and_by_node_id() -> None:
    grid = grid_with()
    assert [grid.index(grid.node(place).node_id) for place in range(3)] == [0, 1, 2]
    with pytest.raises(LocalError, match="no party 3, the parties are 0 to 2"):
        grid.node(3)
    with pytest.raises(LocalError, match="no node 5"):
        grid.index(5)


def test_push_then_pull_gives_each_reply_once_and_then_flowers_error() -> None:
    grid = grid_with()
    ids = grid.push_messages(queries(grid))
    assert not grid.exhausted(ids)
    assert len(grid.dump) == 3  # nobody has worked yet
    assert senders(grid, grid.pull_messages(ids[1:2])) == [1]
    assert senders(grid, grid.pull_messages([ids[2], ids[0]])) == [0, 2]  # the order of the requests
    assert grid.exhausted(ids)
    again = grid.pull_messages(ids[:1])
    assert again[0].error.code == ErrorCode.MESSAGE_UNAVAILABLE
    assert again[0].metadata.reply_to_message_id == ids[0]


def test_a_request_that_nobody_asks_about_is_handled_before_the_next_one_to_that_party() -> None:
    grid = grid_with()
    grid.push_messages(queries(grid))
    assert [reply.content["config"]["seen"] for reply in grid.send_and_receive(queries(grid))] == [1, 1, 1]


def test_a_message_to_nobody_has_no_id_and_a_message_pushed_twice_one() -> None:
    grid = grid_with()
    stray = Message(RecordDict(), 999, "query")
    assert list(grid.push_messages([stray])) == [""]
    (reply,) = grid.send_and_receive([stray])
    assert reply.error.code == ErrorCode.MESSAGE_UNAVAILABLE
    (message,) = queries(grid, [0])
    assert grid.push_messages([message]) == grid.push_messages([message])
    assert len(grid.dump) == 1


def test_messages_of_another_run_are_refused_until_the_grid_is_current_again() -> None:
    first = InMemoryGrid(adding_app(), 1, run_id=11)
    InMemoryGrid(adding_app(), 1, run_id=12)
    with pytest.raises(LocalError, match="of run 12, this grid of run 11"):
        first.push_messages(queries(first))
    first.set_run(first.run)
    assert len(first.send_and_receive(queries(first))) == 1
    with pytest.raises(LocalError, match="build one grid per run"):
        first.set_run(Run.create_empty(13))


def test_the_dump_holds_what_crossed_and_the_counters_add_it_up() -> None:
    grid = grid_with()
    secret = b"a value that only this message holds"
    ids = [message.metadata.dst_node_id for message in queries(grid)]
    grid.send_and_receive(queries(grid, note=secret))
    down = [record for record in grid.dump if record.direction == "down"]
    up = [record for record in grid.dump if record.direction == "up"]
    assert [record.node_id for record in down] == ids == [record.node_id for record in up]
    assert all(secret in record.payload for record in grid.dump)
    assert all(len(record.payload) == record.size_bytes > len(secret) for record in grid.dump)
    assert dict(grid.bytes_down) == {record.node_id: record.size_bytes for record in down}
    assert dict(grid.bytes_up) == {record.node_id: record.size_bytes for record in up}
    assert all((record.message_type, record.step, record.round) == ("query", "query", 1) for record in grid.dump)
    assert secret not in repr(down[0]).encode()


def test_floats_cross_bit_for_bit() -> None:
    grid = grid_with(num_nodes=1)
    value = np.array([0.1, -0.0, 1e-45, 3.4e38], np.float32)
    content = RecordDict({"arrays": ArrayRecord([value]), "config": ConfigRecord()})
    grid.push_messages([Message(content, grid.get_node_ids()[0], "train")])
    assert value.tobytes() in grid.dump[0].payload


def test_payloads_can_be_left_out() -> None:
    grid = InMemoryGrid(adding_app(), 2, keep_payloads=False)
    grid.send_and_receive(training(grid))
    assert [record.payload for record in grid.dump] == [b""] * 4
    assert all(record.size_bytes > 100 for record in grid.dump)
    assert sum(grid.bytes_up.values()) == sum(record.size_bytes for record in grid.dump if record.direction == "up")


def test_describe_names_step_and_round() -> None:
    def describe(message: Message) -> tuple[str, int] | None:
        config = message.content.config_records.get("config")
        return ("heavy", config["server-round"] + 40) if config and "server-round" in config else None

    grid = InMemoryGrid(adding_app(), 1, describe=describe)
    grid.send_and_receive(training(grid))
    grid.send_and_receive(queries(grid))
    grid.send_and_receive(queries(grid))
    assert [(r.step, r.round) for r in grid.dump if r.direction == "down"] == [("heavy", 41), ("query", 1), ("query", 2)]


def test_with_one_reply_per_pull_parties_work_one_after_the_other() -> None:
    grid = InMemoryGrid(adding_app(), 4, replies_per_pull=1)
    ids = grid.push_messages(queries(grid))
    for done in range(4):
        assert sum(record.direction == "up" for record in grid.dump) == done
        assert senders(grid, grid.pull_messages(ids[done:])) == [done]
    assert grid.exhausted(ids)
    assert senders(grid, grid.send_and_receive(queries(grid))) == [0, 1, 2, 3]


def test_threads_let_parties_work_at_once_and_keep_the_order_of_replies() -> None:
    meet = threading.Barrier(4, timeout=20)
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        meet.wait()  # passes only if all four are here
        return Message(RecordDict(), reply_to=message)

    grid = InMemoryGrid(app, 4, threads=4)
    assert senders(grid, grid.send_and_receive(queries(grid))) == [0, 1, 2, 3]
    assert [r.node_id for r in grid.dump if r.direction == "up"] == grid.get_node_ids()


def test_one_party_never_works_on_two_requests_at_once() -> None:
    grid = InMemoryGrid(adding_app(), 3, threads=4)
    ids = [key for _ in range(5) for key in grid.push_messages(queries(grid))]
    replies = grid.pull_messages(ids)
    assert [reply.content["config"]["seen"] for reply in replies] == [n for n in range(5) for _ in range(3)]


def test_the_deprecated_way_to_make_a_message_works() -> None:
    grid = grid_with(num_nodes=1)
    message = grid.create_message(RecordDict({"config": ConfigRecord({"a": 1})}), "query", grid.get_node_ids()[0], "1")
    assert grid.send_and_receive([message])[0].content["config"]["a"] == 1
