"""PREPARE of the next round on the UNMASK of this one: how many trips a round takes, and what becomes of it when something else happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAvg

from stfed.errors import DecodeError
from stfed.flower import SecureGrid, records
from stfed.flower.forecast import Expected, Forecast
from stfed.flower.request import Request
from stfed.flower.settings import Settings
from stfed.secagg.messages import Phase
from stfed.secagg.policy import Policy
from stfed.testing import InMemoryGrid
from tests.flower import apps
from tests.flower.parties import LyingMod, app_with
from tests.flower.test_drops import everybody_but, run

N = 6


def trips(strategy: Any) -> list[int]:
    return [report.trips for report in strategy.reports]


def messages_of(grid: InMemoryGrid, node: int = 0) -> list[str]:
    """The steps of a party's messages, in order."""
    return [record.step for record in grid.dump if record.direction == "down" and record.node_id == grid.node(node).node_id]


# --- trips -------------------------------------------------------------------------------------------------------------------------------


def test_a_steady_round_takes_two_trips() -> None:
    grid = apps.secure_grid(N)
    strategy = run(grid, rounds=4)
    assert trips(strategy) == [4, 2, 2, 2]
    assert messages_of(grid) == ["join", "prepare", *["train", "unmask"] * 4]
    assert [report.round for report in strategy.reports] == [1, 2, 3, 4]
    assert all(set(report.bytes_up) == {"train", "unmask", "ahead"} for report in strategy.reports[1:-1])
    assert "ahead" not in strategy.reports[-1].bytes_up, "there is nothing after the last round"


def test_training_and_evaluation_in_turns_take_two_trips_each() -> None:
    grid = apps.secure_grid(N)
    strategy = apps.secure(FedAvg())
    strategy.start(grid, apps.model(), 3)
    assert [report.phase for report in strategy.reports] == ["train", "evaluate"] * 3
    assert trips(strategy) == [4, 2, 2, 2, 2, 2]


def test_a_steady_round_in_malicious_mode_takes_three_trips() -> None:
    grid = apps.malicious_grid(N)
    strategy = apps.malicious(N)
    strategy.start(grid, apps.model(), 3)
    assert trips(strategy) == [5, 3, 3]
    assert messages_of(grid) == ["join", "prepare", *["train", "confirm", "unmask"] * 3]


def test_it_can_be_left() -> None:
    assert trips(run(apps.secure_grid(N), rounds=3, prepare_ahead=False)) == [4, 3, 3]


def test_after_the_last_round_no_party_holds_a_secret() -> None:
    folder = apps.scratch()
    mod = LyingMod(apps.secure_mod(folder), folder, {})
    apps.secure(FedAvg()).start(apps.secure_grid(N, app=app_with(mod)), apps.model(), 2)
    assert {type(state).__name__ for state in mod.states.values()} == {"Ready"}


# --- another request than the one foreseen -----------------------------------------------------------------------------------------------


def test_nodes_that_are_sampled_anew_are_prepared_when_they_are_known() -> None:
    grid = apps.secure_grid(12)
    strategy = run(grid, rounds=6, strategy=apps.only_training(fraction_train=0.5, min_train_nodes=6))
    assert all(len(report.summed) == 6 for report in strategy.reports)
    # The first forecast is made in good faith; after it has failed there is none while the sample changes.
    assert [bool(report.bytes_up["ahead"]) for report in strategy.reports] == [True] + [False] * 5
    assert trips(strategy)[1:] == [3] * 5


def test_another_model_is_prepared_anew() -> None:
    """A strategy that changes what it sends: the encoding is another one, so what was prepared does not fit."""
    grid = apps.secure_grid(N, policy=Policy(fixed_encoding=False))
    secure = SecureGrid(grid, Settings(**apps.TIGHT))
    for arrays in (apps.model(), apps.model(seed=1), apps.record_of({"other": apps.model()["scalar"].numpy()}), apps.model(seed=2)):
        assert len(list(secure.send_and_receive(apps.messages(grid, arrays)))) == N
    # Nothing is foreseen before training was seen to follow training; then the same model is, in vain, twice.
    assert [report.trips for report in secure.reports] == [4, 3, 3, 3]
    assert [report.round for report in secure.reports] == [1, 2, 4, 6]


def test_a_round_that_fails_is_followed_by_one_that_is_prepared_anew() -> None:
    faults = [{"action": "error", "node": node, "step": "train", "round": 2} for node in range(5)]
    grid = apps.secure_grid(N, *faults)
    strategy = run(grid, rounds=4, on_failure="skip")
    assert [report.failure is None for report in strategy.reports] == [True, False, True, True]
    assert trips(strategy) == [4, 1, 4, 2], "and with a JOIN: rules that became stricter show in TRAIN"


# --- who does not answer -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["drop-request", "drop-reply", "error"])
def test_who_misses_the_message_is_asked_again_and_misses_no_round(action: str) -> None:
    """A party that answered and was not heard says the same again."""
    grid = apps.secure_grid(N, {"action": action, "node": 2, "step": "unmask", "round": 1})
    strategy = run(grid, rounds=3)
    assert all(apps.parties(grid, report.summed) == list(range(N)) for report in strategy.reports)
    assert trips(strategy) == [4, 3, 2]
    again = [grid.index(record.node_id) for record in grid.dump if (record.step, record.round, record.direction) == ("prepare", 2, "down")]
    assert again == [2]


def test_nobody_waits_for_a_party_that_is_slow_to_prepare() -> None:
    """UNMASK ends when the round can be unmasked and a few seconds have passed; the next round waits as long as a PREPARE may take."""
    grid = apps.secure_grid(N, {"action": "delay", "node": 2, "step": "unmask", "round": 1, "delay_s": 50.0})
    strategy = run(grid, rounds=2)
    assert [apps.parties(grid, report.summed) for report in strategy.reports] == [list(range(N))] * 2
    assert strategy.reports[0].seconds["unmask"] < 10 < strategy.reports[1].seconds.get("prepare", 0) + 60
    assert trips(strategy) == [4, 3]


def test_who_was_not_in_the_sum_is_asked_to_prepare_in_the_same_step() -> None:
    grid = apps.secure_grid(N, {"action": "drop-reply", "node": 4, "step": "train", "round": 1})
    strategy = run(grid, rounds=2)
    assert [apps.parties(grid, report.summed) for report in strategy.reports] == [everybody_but(4), list(range(N))]
    assert trips(strategy) == [4, 2]
    assert messages_of(grid, 4) == ["join", "prepare", "train", "prepare", "train", "unmask"]


class Changed:
    """The real mod, whose replies to UNMASK one party changes."""

    def __init__(self, honest: Any, party: int, change: Callable[[dict[str, Any]], dict[str, Any]], times: int = 1) -> None:
        self._honest, self._party, self._change, self._left = honest, party, change, times

    def __call__(self, message: Message, context: Any, call_next: Any) -> Message:
        reply = self._honest(message, context, call_next)
        rides = reply.has_content() and "next" in reply.content.get(records.RECORD, {})
        if not rides or context.node_config["partition-id"] != self._party or not self._left:
            return reply
        self._left -= 1
        changed = self._change(dict(reply.content[records.RECORD]))
        return Message(RecordDict({records.RECORD: ConfigRecord(changed)}), reply_to=message)


CHANGES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "no second reply": lambda said: {key: value for key, value in said.items() if key == "message"},
    "a refusal": lambda said: {"message": said["message"], "next-refused": "not today"},
    "a text in its place": lambda said: {**said, "next": "patient Zwetschge-12345"},
    "another signature": lambda said: {**said, "next": said["next"][:-1] + bytes([said["next"][-1] ^ 1])},
    "the first reply again": lambda said: {**said, "next": said["message"]},
    "no run config": lambda said: {key: value for key, value in said.items() if key != "run-config"},
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_wrong_with_the_second_reply_costs_its_sender_one_round_at_most_and_nobody_else_anything(what: str) -> None:
    """The first reply counts: its shares are in. What cannot be read is asked for again; what is signed wrongly is out, by name."""
    mod = Changed(apps.malicious_mod(N), 3, CHANGES[what])
    grid = apps.malicious_grid(N, mod=mod)
    strategy = apps.malicious(N)
    strategy.start(grid, apps.model(), 3)
    first, second, third = strategy.reports
    assert all(apps.parties(grid, report.summed) == list(range(N)) for report in (first, third))
    assert 3 not in {grid.index(node) for node in first.dropped}
    read = what in {"another signature", "the first reply again"}
    assert apps.parties(grid, second.summed) == (everybody_but(3) if read else list(range(N)))
    assert [second.dropped[grid.node(3).node_id]["step"] for _ in range(read)] == ["prepare"] * read
    assert trips(strategy) == ([5, 3, 5] if read else [5, 4, 3])


@pytest.mark.parametrize("what", CHANGES)
def test_who_does_it_in_every_round_cannot_make_the_others_join_in_every_round(what: str) -> None:
    mod = Changed(apps.malicious_mod(N), 3, CHANGES[what], times=99)
    strategy = apps.malicious(N)
    grid = apps.malicious_grid(N, mod=mod)
    strategy.start(grid, apps.model(), 6)
    named = [report for report in strategy.reports if grid.node(3).node_id in report.dropped]
    assert strategy.reports[-1].epoch <= 1 + len(named), "an epoch for each time that it is named, at most"
    assert all(report.failure is None for report in strategy.reports)


def test_a_refusal_is_shown_with_its_reason() -> None:
    """A limit that only some parties have: they close the round, and the others go on without them."""
    few, many = apps.secure_mod(policy=Policy(max_rounds=1)), apps.secure_mod()

    def mod(message: Message, context: Any, call_next: Any) -> Message:
        return (few if context.node_config["partition-id"] == 2 else many)(message, context, call_next)

    grid = apps.secure_grid(N, app=apps.client_app(mod))
    strategy = run(grid, rounds=2)
    first, second = strategy.reports
    assert apps.parties(grid, first.summed) == list(range(N))
    assert apps.parties(grid, second.summed) == everybody_but(2)
    assert "over this party's limit of 1 sums per run" in second.dropped[grid.node(2).node_id]["detail"]


# --- the forecast ------------------------------------------------------------------------------------------------------------------------


def request(grid: InMemoryGrid, kind: str, nodes: range, server_round: int) -> Request:
    return Request.of(apps.messages(grid, kind=kind, nodes=nodes, **{"server-round": server_round}))


def test_a_forecast_is_what_followed_before() -> None:
    grid, everybody = apps.plain_grid(N), range(N)
    forecast = Forecast(rounds=3)
    seen = []
    for server_round in (1, 2, 3):
        for kind in ("train", "evaluate"):
            forecast.saw(request(grid, kind, everybody, server_round))
            expected = forecast.next()
            seen.append(expected and expected.phase)
    assert seen == [None, None, Phase.EVALUATE, Phase.TRAIN, Phase.EVALUATE, None]


def test_a_forecast_knows_what_the_strategy_says_about_itself() -> None:
    grid = apps.plain_grid(N)
    nodes = frozenset(grid.get_node_ids())
    with_evaluation, without = Forecast(evaluates=True, rounds=2), Forecast(evaluates=False, rounds=2)
    for forecast in (with_evaluation, without):
        forecast.saw(request(grid, "train", range(N), 1))
    assert with_evaluation.next() == Expected(Phase.EVALUATE, nodes, None)
    assert without.next() == Expected(Phase.TRAIN, nodes, None)
    without.saw(request(grid, "train", range(N), 2))
    assert without.next() is None


def test_there_is_no_forecast_while_the_nodes_change() -> None:
    grid = apps.plain_grid(N)
    forecast = Forecast(evaluates=False)
    made = []
    for nodes in (range(4), range(1, 5), range(2, 6), range(2, 6), range(2, 6)):
        forecast.saw(request(grid, "train", nodes, 1))
        made.append(forecast.next() is not None)
    assert made == [True, False, False, True, True]


def test_there_is_no_forecast_where_now_this_follows_and_now_that() -> None:
    """Evaluation after every second training."""
    grid = apps.plain_grid(N)
    forecast = Forecast(evaluates=True)
    made = []
    for kind in ["train", "train", "evaluate"] * 3:
        forecast.saw(request(grid, kind, range(N), 1))
        expected = forecast.next()
        made.append((kind, expected and expected.phase))
    assert made[3:] == [("train", None), ("train", None), ("evaluate", Phase.TRAIN)] * 2


def test_an_old_preparation_is_not_used() -> None:
    """Who answered may be gone, and TRAIN waits longer than PREPARE."""
    grid = apps.secure_grid(N)
    strategy = run(grid, rounds=3, between={1: lambda: grid.wait(200.0)})
    assert trips(strategy) == [4, 3, 2]
    assert [report.round for report in strategy.reports] == [1, 3, 4]


def test_a_run_config_that_changes_in_between_is_refused_by_name() -> None:
    grid = apps.secure_grid(N)

    def change() -> None:
        context = grid.node(2).context
        context.run_config["lr"] = 99.0
        grid.node(2).context = context

    strategy = run(grid, rounds=2, between={1: change})
    assert "is not that of the others" in strategy.reports[1].dropped[grid.node(2).node_id]["detail"]
    assert apps.parties(grid, strategy.reports[1].summed) == everybody_but(2)


def test_what_an_error_is_about_is_what_the_strategy_is_told() -> None:
    """A party fails in TRAIN, and then over the PREPARE of the next round: the first is this round's error."""
    grid = apps.secure_grid(
        N,
        {"action": "error", "node": 2, "step": "train", "round": 1, "reason": "TRAIN OF ROUND 1"},
        {"action": "error", "node": 2, "step": "prepare", "round": 2, "reason": "PREPARE OF ROUND 2"},
    )
    secure = SecureGrid(grid, Settings(**apps.TIGHT), forecast=Forecast(evaluates=False))
    replies = list(secure.send_and_receive(apps.messages(grid)))
    assert any(record.error and "PREPARE OF ROUND 2" in record.error for record in grid.dump)
    (error,) = [reply.error for reply in replies if reply.has_error()]
    assert "TRAIN OF ROUND 1" in error.reason


def test_prepare_rides_on_unmask_only() -> None:
    grid = apps.secure_grid(N)
    content = RecordDict({**apps.messages(grid)[0].content, **records.light(b"x", riding=b"y")})
    assert records.riding_on(content) == b"y"
    with pytest.raises(DecodeError, match="something else than a message"):
        records.riding_on(RecordDict({records.RECORD: ConfigRecord({"message": b"", "next": "text"})}))


def test_strategies_say_whether_they_evaluate() -> None:
    from flwr.serverapp.strategy import DifferentialPrivacyClientSideFixedClipping

    from stfed.flower.compatibility import evaluates

    assert evaluates(FedAvg()) is True
    assert evaluates(apps.only_training()) is False
    assert evaluates(DifferentialPrivacyClientSideFixedClipping(apps.only_training(), 1.0, 1.0, 5)) is False


def test_every_reply_that_rides_is_counted_once() -> None:
    grid = apps.secure_grid(N)
    strategy = run(grid, rounds=2)
    down = Counter(record.step for record in grid.dump if record.direction == "down")
    assert down == {"join": N, "prepare": N, "train": 2 * N, "unmask": 2 * N}
    ahead = strategy.reports[0].bytes_up["ahead"]
    assert ahead == strategy.reports[0].bytes_up["prepare"], "the same message, but for what is in it"
