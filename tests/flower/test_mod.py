"""What a party refuses, and that a refusal tells the coordinator the rule and nothing about the party."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from stfed.errors import QuorumError
from stfed.flower import SecAggMod, SecureGrid, records, secagg_mod
from stfed.flower.journal import Journal
from stfed.flower.settings import Settings
from stfed.secagg.messages import Header, JoinRequest, Masked
from stfed.secagg.policy import Policy
from stfed.secagg.suite import Suite
from stfed.testing import InMemoryGrid
from tests.flower import apps

N = 4
SUITE = Suite.X25519_AES256


def ask(grid: InMemoryGrid, content: RecordDict, kind: str = "train", node: int = 0) -> Message:
    """What one party says to a message of any coordinator."""
    return next(iter(grid.send_and_receive([Message(content, grid.node(node).node_id, kind)])))


def refusal(grid: InMemoryGrid, content: RecordDict, kind: str = "train") -> str:
    reply = ask(grid, content, kind)
    assert reply.has_error()
    return str(reply.error.reason)


def round_of(app: Any, *, phase: str = "train", policy: Policy | None = None, **settings: Any) -> tuple[QuorumError, InMemoryGrid]:
    """One round in which nobody can be summed: why, and the grid."""
    grid = apps.secure_grid(N, app=app, policy=policy)
    with pytest.raises(QuorumError) as caught:
        SecureGrid(grid, Settings(**{**apps.TIGHT, **settings})).send_and_receive(apps.messages(grid, kind=phase))
    return caught.value, grid


# Messages that ask for a reply in clear


@pytest.mark.parametrize("kind", ["train", "evaluate", "query"])
def test_a_plain_message_never_reaches_the_app(kind: str) -> None:
    calls: list[str] = []
    app = ClientApp(mods=[apps.secure_mod()])
    for decorator in (app.train, app.evaluate, app.query):
        decorator()(lambda message, context: calls.append("called"))
    grid = apps.secure_grid(N, app=app)
    content = RecordDict({"arrays": apps.model(), "config": ConfigRecord({"server-round": 1})})
    reason = refusal(grid, content, kind)
    assert "PlainMessageError" in reason
    assert f"secure aggregation only, not a plain '{kind}' message" in reason
    assert "SecureAggregation(strategy)" in reason
    assert calls == []


def test_a_plain_strategy_gets_nothing() -> None:
    grid = apps.secure_grid(N)
    result = apps.only_training().start(grid, apps.model(), 1)
    assert not result.arrays
    assert all("PlainMessageError" in str(record.error) for record in grid.dump if record.direction == "up")


@pytest.mark.parametrize("content", [{"other": 1}, {"message": "text"}, {"message": b""}, {"message": b"\x01\x02\x03"}])
def test_a_record_of_ours_with_something_else_in_it(content: dict[str, Any]) -> None:
    assert "DecodeError" in refusal(
        apps.plain_grid(N, app=apps.client_app(apps.secure_mod())), RecordDict({"stfed": ConfigRecord(content)})
    )


def test_a_record_of_ours_that_is_no_config() -> None:
    grid = apps.plain_grid(N, app=apps.client_app(apps.secure_mod()))
    assert "has no message in it" in refusal(grid, RecordDict({"stfed": MetricRecord({"message": 1})}))


def test_a_message_of_another_run() -> None:
    grid = apps.secure_grid(N)
    other = JoinRequest(header=Header(grid.run.run_id ^ 1, 1, 0, SUITE), mode=0)
    assert "another run than the one Flower delivers it in" in refusal(grid, records.light(other.encode()))


def test_a_message_that_only_a_coordinator_gets() -> None:
    grid = apps.secure_grid(N)
    SecureGrid(grid, Settings(**apps.TIGHT)).send_and_receive(apps.messages(grid))
    reply = Masked(header=Header(grid.run.run_id, 1, 1, SUITE), schema=b"", payload_bytes=0)
    assert "MASKED is not a light step" in refusal(grid, records.light(reply.encode()))


def test_a_train_message_for_a_round_that_was_prepared_for_evaluation() -> None:
    """The digest of what is trained on is bound to its kind, and so is PREPARE."""
    grid = apps.secure_grid(N)
    swapped = _Redirecting(grid, "train", "evaluate")
    with pytest.raises(QuorumError, match="PREPARE was for train, the message is for evaluate"):
        SecureGrid(swapped, Settings(**apps.TIGHT)).send_and_receive(apps.messages(grid))


class _Redirecting(InMemoryGrid):
    """A coordinator that sends TRAIN as another kind of message."""

    def __init__(self, grid: InMemoryGrid, _from: str, to: str) -> None:
        self.__dict__.update(grid.__dict__)
        self._to = to

    def push_messages(self, messages: Any) -> list[str]:
        sent = []
        for message in messages:
            kind = self._to if "arrays" in message.content else message.metadata.message_type
            sent.append(Message(message.content, message.metadata.dst_node_id, kind, group_id=message.metadata.group_id))
        return super().push_messages(sent)


# What the app's own function may do


def replying(content: Callable[[], RecordDict]) -> Any:
    """An app whose train and evaluate functions answer this."""
    app = ClientApp(mods=[apps.secure_mod()])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return Message(content(), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        return Message(content(), reply_to=message)

    return app


def metrics(**values: Any) -> MetricRecord:
    return MetricRecord({"num-examples": 5, **values})


SHAPE_ERRORS: dict[str, tuple[Callable[[], RecordDict], str]] = {
    "a config": (
        lambda: RecordDict({"arrays": apps.model(), "metrics": metrics(), "config": ConfigRecord({"name": "hospital A"})}),
        "1 ArrayRecords, 1 MetricRecords and 1 ConfigRecords",
    ),
    "two models": (lambda: RecordDict({"a": apps.model(), "b": apps.model(), "metrics": metrics()}), "2 ArrayRecords"),
    "no model": (lambda: RecordDict({"metrics": metrics()}), "0 ArrayRecords"),
    "no metrics": (lambda: RecordDict({"arrays": apps.model()}), "0 MetricRecords"),
    "two metrics": (lambda: RecordDict({"arrays": apps.model(), "m": metrics(), "n": metrics()}), "2 MetricRecords"),
}


@pytest.mark.parametrize("what", SHAPE_ERRORS)
def test_a_reply_with_other_records_is_refused_with_what_is_in_it(what: str) -> None:
    content, text = SHAPE_ERRORS[what]
    error, _ = round_of(replying(content))
    assert "everything in it is summed, nothing leaves in clear" in str(error)
    assert text in str(error)
    assert "hospital" not in str(error)


def test_an_evaluation_with_a_model_in_its_reply_is_refused() -> None:
    error, _ = round_of(replying(lambda: RecordDict({"arrays": apps.model(), "metrics": metrics()})), phase="evaluate")
    assert "must be one MetricRecord and nothing else" in str(error)


def changed(**arrays: Any) -> Callable[[], RecordDict]:
    return lambda: RecordDict({"arrays": apps.record_of({**apps.numpy_of(apps.model()), **arrays}), "metrics": metrics()})


def without(name: str) -> RecordDict:
    arrays = apps.numpy_of(apps.model())
    del arrays[name]
    return RecordDict({"arrays": apps.record_of(arrays), "metrics": metrics()})


def with_metrics(**values: Any) -> Callable[[], RecordDict]:
    return lambda: RecordDict({"arrays": apps.model(), "metrics": MetricRecord(values)})


CANNOT_BE_SUMMED: dict[str, tuple[Callable[[], RecordDict], str]] = {
    "NaN": (changed(scalar=np.float32("nan")), "tensor 'scalar' of the trained model has NaN or infinity"),
    "infinity": (changed(**{"layer.bias": np.full(5, -np.inf, np.float32)}), "tensor 'layer.bias' of the trained model has NaN"),
    "another shape": (changed(**{"layer.bias": np.zeros(6, np.float32)}), "has the shape (6,), the plan says (5,)"),
    "another dtype": (changed(scalar=np.float64(1)), "is float64, the plan says float32"),
    "another name": (changed(secret=np.zeros(2, np.float32)), "unplanned tensor 'secret'"),
    "a name less": (lambda: without("scalar"), "lacks tensor 'scalar'"),
    "no weight": (with_metrics(loss=1.0), "no 'num-examples'"),
    "a list for a weight": (with_metrics(**{"num-examples": [1, 2]}), "'num-examples'"),
    "a weight that is no number": (with_metrics(**{"num-examples": float("nan")}), "'num-examples'"),
    "a metric that is no number": (with_metrics(**{"num-examples": 5, "loss": float("inf")}), "'loss'"),
    "a list of metrics": (with_metrics(**{"num-examples": 5, "losses": [1.0, 2.0]}), "'losses' is a list"),
    "too many metrics": (with_metrics(**{"num-examples": 5}, **{f"m{i}": 1.0 for i in range(33)}), "33 metrics"),
}


@pytest.mark.parametrize("what", CANNOT_BE_SUMMED)
def test_what_cannot_be_summed_is_refused_with_its_reason_in_the_partys_log_only(what: str, caplog: pytest.LogCaptureFixture) -> None:
    """One sentence for all of them: which bound a party's numbers break is about its numbers, and the coordinator chose the bounds."""
    content, reason = CANNOT_BE_SUMMED[what]
    with caplog.at_level(logging.ERROR, "stfed"):
        error, grid = round_of(replying(content))
    assert "TrainFunctionError" in str(error)
    assert "the reply of the train function cannot be summed (details are in this party's own log)" in str(error)
    assert reason in caplog.text
    ups = [record for record in grid.dump if record.direction == "up" and record.step == "train"]
    assert len({record.error for record in ups}) == 1
    assert not any(reason.encode() in record.payload for record in ups)


def test_a_weight_over_the_largest_counts_as_the_largest_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A refusal would tell the coordinator, who chooses max_weight, on which side of it the number lies."""
    strategy = apps.secure(max_weight=30.0)
    grid = apps.secure_grid(N)
    with caplog.at_level(logging.WARNING, "stfed"):
        result = strategy.start(grid, apps.model(), 1)
    weights = [min(apps.examples_of(party), 30) for party in range(N)]
    assert sorted(weights) == [20, 27, 30, 30]
    report = strategy.reports[0]
    assert (report.total_weight, report.saturated) == (107, 2)
    assert "the num-examples of 2 of 4 parties is over max_weight and counts as 30; raise max_weight" in caplog.text

    def capped(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        return apps.update(partition, arrays, server_round), {"num-examples": weights[partition]}

    assert apps.distance(result.arrays, apps.mean_of(range(N), apps.model(), 1, capped)) < 1e-6


def test_clipped_coordinates_are_counted_and_not_hidden(caplog: pytest.LogCaptureFixture) -> None:
    def far(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        return {name: value + np.float32(3 if partition == 1 else 0.5) for name, value in arrays.items()}, {"num-examples": 1}

    strategy = apps.secure()
    with caplog.at_level(logging.WARNING, "stfed"):
        strategy.start(apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train=far)), apps.model(), 1)
    size = sum(array.size for array in apps.numpy_of(apps.model()).values())
    assert strategy.reports[0].clipped == size
    assert f"{size} coordinates of {N} updates were clipped to 1; raise clip" in caplog.text


@pytest.mark.parametrize("odd", [0, 2])
def test_metrics_that_differ_cost_whoever_differs_from_most(odd: int) -> None:
    """Also where the odd one answers first."""

    def train(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        extra = {"f1": 0.5} if partition == odd else {}
        return apps.update(partition, arrays, server_round), {"num-examples": 5, **extra}

    strategy = apps.secure()
    grid = apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train=train))
    strategy.start(grid, apps.model(), 1)
    assert apps.parties(grid, strategy.reports[0].summed) == [party for party in range(N) if party != odd]
    drop = strategy.reports[0].dropped[grid.node(odd).node_id]
    assert (drop["step"], drop["reason"]) == ("train", "metrics that the others do not have")


def test_an_exception_of_the_function_is_told_by_its_type_only(caplog: pytest.LogCaptureFixture) -> None:
    def train(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        raise ValueError("patient Zwetschge-12345")

    with caplog.at_level(logging.ERROR, "stfed"):
        error, grid = round_of(apps.client_app(apps.secure_mod(), train=train))
    assert "the train function raised ValueError (details are in this party's own log)" in str(error)
    assert "12345" not in str(error)
    assert not any(b"Zwetschge" in record.payload for record in grid.dump)
    assert "patient Zwetschge-12345" in caplog.text


def test_an_error_that_the_function_or_a_mod_answers_with_is_told_by_its_code_only() -> None:
    def failing(message: Message, context: Context, call_next: Any) -> Message:
        return Message(Error(code=77, reason="patient Zwetschge-12345"), reply_to=message)

    error, grid = round_of(apps.client_app(apps.secure_mod(), train_mods=[failing]))
    assert "the train function answered with error code 77" in str(error)
    assert not any(b"Zwetschge" in record.payload for record in grid.dump)


def test_a_fault_of_the_party_itself_is_told_as_one(caplog: pytest.LogCaptureFixture) -> None:
    """Where its state lies and what is wrong with it is the party's own business."""
    folder = apps.scratch()
    (folder / "party.sqlite").write_bytes(b"not a database" * 100)
    (folder / "party.sqlite").chmod(0o600)
    with caplog.at_level(logging.ERROR, "stfed"):
        error, grid = round_of(apps.client_app(apps.secure_mod(folder)))
    assert "this party cannot take part (details are in its own log)" in str(error)
    assert str(folder) not in str(error)
    assert not any(str(folder).encode() in record.payload for record in grid.dump)
    assert str(folder) in caplog.text


# What the party's policy says


@pytest.mark.parametrize(
    ("policy", "settings", "text"),
    [
        (Policy(min_cohort=5), {}, "the cohort has 4 parties, this party takes part in 5 or more"),
        (Policy(clip=(0.1, 0.5)), {}, "the clip is 1, this party allows 0.1 to 0.5"),
        (Policy(weight_keys=("batches",)), {}, "the weight is 'num-examples', this party allows 'batches'"),
        (Policy(ring_bits=(8, 24)), {}, "the ring has 32 bits, this party allows 8 to 24"),
        (Policy(max_parameters=10), {}, "this party allows 10"),
        (Policy(gamma=0.4), {}, "4"),
    ],
)
def test_a_policy_that_the_coordinator_does_not_meet(policy: Policy, settings: dict[str, Any], text: str) -> None:
    error, _ = round_of(apps.client_app(apps.secure_mod(policy=policy)), policy=policy, **settings)
    assert "0 of 4 parties" in str(error)
    assert text in str(error)


def test_the_same_model_and_config_twice_is_refused_unless_the_policy_allows_it() -> None:
    """Two sums over the same inputs and other cohorts differ by one party's update."""
    grid = apps.secure_grid(N)
    ours = SecureGrid(grid, Settings(**apps.TIGHT))
    ours.send_and_receive(apps.messages(grid))
    with pytest.raises(QuorumError, match="the very same model and config before"):
        ours.send_and_receive(apps.messages(grid))
    assert len(list(ours.send_and_receive(apps.messages(grid, kind="evaluate")))) == N
    relaxed = apps.secure_grid(N, policy=Policy(allow_repeats=True))
    ours = SecureGrid(relaxed, Settings(**apps.TIGHT))
    first, second = (list(ours.send_and_receive(apps.messages(relaxed))) for _ in range(2))
    assert len(first) == len(second) == N


def test_the_train_function_sees_the_strategys_records_and_nothing_of_ours() -> None:
    seen: list[tuple[list[str], str, str]] = []

    def look(message: Message, context: Context, call_next: Any) -> Message:
        seen.append((list(message.content), message.metadata.message_type, message.metadata.group_id))
        return call_next(message, context)

    grid = apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), look))
    SecureGrid(grid, Settings(**apps.TIGHT)).send_and_receive(apps.messages(grid))
    assert seen == [(["arrays", "config"], "train", "")] * N


def test_a_function_may_change_what_it_got_in_place() -> None:
    def train(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        return apps.train(partition, arrays, server_round)

    def in_place(message: Message, context: Context, call_next: Any) -> Message:
        reply = call_next(message, context)
        message.content["arrays"].clear()
        message.content["arrays"]["gone"] = apps.array_of(np.zeros(1))
        return reply

    strategy = apps.secure()
    grid = apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train_mods=[in_place], train=train))
    result = strategy.start(grid, apps.model(), 1)
    assert apps.distance(result.arrays, apps.mean_of(range(N), apps.model(), 1)) < 1e-6


def test_a_coordinator_that_starts_over_is_refused_until_it_uses_a_new_epoch() -> None:
    """Its journal is lost: it counts epochs from 1 again, which the parties have used."""
    grid = apps.secure_grid(N)
    SecureGrid(grid, Settings(**apps.TIGHT)).send_and_receive(apps.messages(grid))
    journal = Journal()
    again = SecureGrid(grid, Settings(**apps.TIGHT), journal=journal)
    with pytest.raises(QuorumError, match="has joined epoch 1 of this run already"):
        again.send_and_receive(apps.messages(grid, lr=0.5))
    with pytest.raises(QuorumError, match="the new epoch starts after round 0, this party has used round 1"):
        again.send_and_receive(apps.messages(grid, lr=0.5))
    journal.next_round(grid.run.run_id)
    assert len(list(again.send_and_receive(apps.messages(grid, lr=0.5)))) == N


def test_the_mod_is_a_mod_by_name() -> None:
    assert secagg_mod.__name__ == "secagg_mod"
    assert isinstance(secagg_mod, SecAggMod)


def test_every_message_down_is_one_of_the_protocol() -> None:
    grid = apps.secure_grid(N)
    apps.secure().start(grid, apps.model(), 2)
    kinds = {(record.step, record.round) for record in grid.dump if record.direction == "down"}
    assert kinds == {("join", 0), ("prepare", 1), *((step, round_) for step in ("train", "unmask") for round_ in (1, 2))}


def test_arrays_that_are_no_numpy_arrays_are_refused() -> None:
    def odd() -> RecordDict:
        record = apps.model()
        array = record["scalar"]
        record["scalar"] = type(array)(dtype="float32", shape=(), stype="pickle", data=b"patient Zwetschge-12345")
        return RecordDict({"arrays": ArrayRecord(dict(record)), "metrics": metrics()})

    error, grid = round_of(replying(odd))
    assert "cannot" in str(error)
    assert not any(b"Zwetschge" in record.payload for record in grid.dump)
