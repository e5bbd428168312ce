"""Parties that drop, come back, forget, answer late, twice or wrongly: what a Flower user sees, on simulated time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp.strategy import FedAvg

from stfed.errors import LocalError, PeerError, QuorumError
from stfed.flower import SecureGrid
from stfed.flower.settings import Settings
from stfed.testing import InMemoryGrid
from tests.flower import apps

STEPS = ("join", "prepare", "train", "unmask")
ACTIONS = ("drop-request", "drop-reply", "error")
N = 6
T = 3
"""What the calculator chooses for six parties; checked below."""


def run(grid: InMemoryGrid, rounds: int = 1, between: dict[int, Callable[[], object]] | None = None, strategy: Any = None, **settings: Any):
    """Trains, checks every round against plain averaging of exactly the parties summed, and returns the strategy."""
    recorder = apps.Recorder(between)
    secure = apps.secure(strategy, **settings)
    secure.start(grid, apps.model(), rounds, evaluate_fn=recorder)
    for report, before, after in zip(secure.reports, recorder.models, recorder.models[1:], strict=False):
        check_mean(grid, report, before, after)
    return secure


def check_mean(grid: InMemoryGrid, report: Any, before: Any, after: Any) -> None:
    if report.failure is not None:
        assert after is before
        return
    summed = apps.parties(grid, report.summed)
    allowed = report.error_bound + apps.rounding(len(summed), before)
    assert apps.distance(after, apps.mean_of(summed, before, report.server_round)) <= allowed
    assert report.total_weight == sum(apps.examples_of(party) for party in summed)


def dropped(grid: InMemoryGrid, report: Any) -> dict[int, tuple[str, str]]:
    return {grid.index(node): (drop["step"], drop["reason"]) for node, drop in report.dropped.items()}


def everybody_but(*absent: int, n: int = N) -> list[int]:
    return [party for party in range(n) if party not in absent]


@pytest.mark.parametrize(("step", "action"), list(product(STEPS, ACTIONS)))
def test_one_party_dropping_at_any_step_never_loses_the_round_and_is_back_in_the_next(step: str, action: str) -> None:
    grid = apps.secure_grid(N, {"action": action, "node": 2, "step": step, "occurrence": 1})
    strategy = run(grid, rounds=2)
    first, second = strategy.reports
    assert first.t == T
    # Who drops in UNMASK is in the sum already.
    assert apps.parties(grid, first.summed) == (list(range(N)) if step == "unmask" else everybody_but(2))
    reason = "error reply" if action == "error" else "no reply"
    # UNMASK ends when enough shares are in, so nobody knows whether a silent party would have answered.
    expected = {} if (step, reason) == ("unmask", "no reply") else {2: (step, reason)}
    assert dropped(grid, first) == expected
    assert (2 in dropped(grid, first)) == (grid.node(2).node_id in first.dropped)
    assert apps.parties(grid, second.summed) == list(range(N))
    assert second.dropped == {}
    assert second.epoch == (2 if step in ("join", "prepare") else 1)


@pytest.mark.parametrize(("one", "other"), list(combinations(STEPS, 2)))
def test_two_parties_dropping_at_different_steps(one: str, other: str) -> None:
    faults = [
        {"action": "drop-reply", "node": 0, "step": one, "occurrence": 1},
        {"action": "error", "node": 4, "step": other, "occurrence": 1},
    ]
    grid = apps.secure_grid(N, *faults)
    report = run(grid).reports[0]
    assert apps.parties(grid, report.summed) == everybody_but(0, *([4] if other != "unmask" else []))


def test_drops_at_all_steps_at_once_in_every_round() -> None:
    n = 12
    faults = [
        {"action": "drop-request", "node": 1, "step": "prepare", "round": 1},
        {"action": "drop-reply", "node": 2, "step": "train", "round": 1},
        {"action": "error", "node": 3, "step": "unmask", "round": 1},
        {"action": "drop-reply", "node": 4, "step": "prepare", "round": 2},
        {"action": "error", "node": 5, "step": "train", "round": 2},
        {"action": "drop-request", "node": 6, "step": "unmask", "round": 2},
        {"action": "drop-request", "node": 7, "step": "train", "round": 3},
        {"action": "drop-request", "node": 8, "step": "train", "round": 3},
    ]
    grid = apps.secure_grid(n, *faults)
    reports = run(grid, rounds=4).reports
    assert [apps.parties(grid, report.summed) for report in reports] == [
        everybody_but(1, 2, n=n),
        everybody_but(4, 5, n=n),
        everybody_but(7, 8, n=n),
        list(range(n)),
    ]


@pytest.mark.parametrize("step", ["prepare", "train"])
def test_t_holders_beside_each_party_are_enough(step: str) -> None:
    """Four of six are left: each of them has t = 3 others that hold shares of its secrets."""
    grid = apps.secure_grid(N, *({"action": "drop-reply", "node": node, "step": step} for node in (0, 1)))
    report = run(grid).reports[0]
    assert apps.parties(grid, report.summed) == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("step", "gone", "text"),
    [
        ("join", (0, 1, 2, 3), "2 of 6 parties have joined"),
        ("prepare", (0, 1, 2, 3), "0 of 6 parties are left after PREPARE"),
        ("train", (0, 1, 2, 3), "2 of 6 parties sent an update"),
        ("unmask", (0, 1, 2, 3), "fewer than t = 3 shares"),
    ],
)
def test_too_few_are_named(step: str, gone: tuple[int, ...], text: str) -> None:
    """After PREPARE those who answered are among the missing, too: nobody is left to hold t shares of theirs."""
    grid = apps.secure_grid(N, *({"action": "drop-reply", "node": node, "step": step} for node in gone))
    with pytest.raises(QuorumError, match=text) as caught:
        run(grid)
    missing = {f"node {grid.node(party).node_id}" for party in (range(N) if step == "prepare" else gone)}
    assert set(caught.value.missing) == missing


def test_nobody_joins() -> None:
    grid = apps.secure_grid(N, {"action": "error", "step": "join", "reason": "no such model"})
    with pytest.raises(QuorumError, match=r"no party joined the run: .*no such model") as caught:
        run(grid)
    assert "ClientApp(mods=[secagg_mod])" in str(caught.value)


def test_nobody_joins_who_has_another_policy_and_the_mod_is_not_what_is_missing() -> None:
    with pytest.raises(QuorumError, match="no party joined the run: ModeError: ") as caught:
        run(apps.malicious_grid(N))
    assert caught.value.hint is None


@pytest.mark.parametrize("step", STEPS)
def test_skip_keeps_the_model_and_goes_on(step: str) -> None:
    grid = apps.secure_grid(N, *({"action": "drop-reply", "node": node, "step": step, "occurrence": 1} for node in (0, 1, 2, 3)))
    first, second = run(grid, rounds=2, on_failure="skip").reports
    assert first.failure
    assert first.summed == ()
    assert second.failure is None
    assert apps.parties(grid, second.summed) == list(range(N))


def test_a_cohort_too_small_for_the_given_threshold_is_a_matter_of_who_is_there() -> None:
    """With all six there t = 5 is fine; with four left it can not be: that is a lost round, not a wrong setting."""
    faults = [{"action": "drop-reply", "node": node, "step": "join", "occurrence": 1} for node in (0, 1)]
    grid = apps.secure_grid(N, *faults)
    first, second = run(grid, rounds=2, on_failure="skip", threshold=5, delta=0.0).reports
    assert "4 of 6 parties have joined, too few for the settings" in str(first.failure)
    assert apps.parties(grid, second.summed) == list(range(N))


# Parties that forget


def own_folders(n: int) -> tuple[Callable[[int], Any], list[Path]]:
    """An app for each party, with a store of its own."""
    folders = [apps.scratch() for _ in range(n)]
    return lambda index: apps.client_app(apps.secure_mod(folders[index])), folders


def test_a_party_that_lost_its_context_is_left_out_and_joins_the_next_epoch() -> None:
    grid = apps.secure_grid(N)

    def forget() -> None:
        context = grid.node(3).context
        context.state.clear()
        grid.node(3).context = context

    first, second, third = run(grid, 3, {1: forget}).reports
    assert apps.parties(grid, first.summed) == list(range(N))
    assert apps.parties(grid, second.summed) == everybody_but(3)
    assert dropped(grid, second) == {3: ("train", "error reply")}
    assert "StateLostError" in second.dropped[grid.node(3).node_id]["detail"]
    assert apps.parties(grid, third.summed) == list(range(N))
    assert [report.epoch for report in (first, second, third)] == [1, 1, 2]


@pytest.mark.parametrize("lost", ["rolled back", "deleted"])
def test_a_party_whose_store_is_not_what_it_was_is_left_out_and_joins_the_next_epoch(lost: str) -> None:
    app, folders = own_folders(N)
    grid = apps.secure_grid(N, app=app)
    file, copy = folders[2] / "party.sqlite", folders[2] / "copy"

    def put_back() -> None:
        if lost == "deleted":
            file.unlink()
        else:
            shutil.copy(copy, file)

    reports = run(grid, 4, {1: lambda: shutil.copy(file, copy), 2: put_back}).reports
    assert [apps.parties(grid, report.summed) for report in reports] == [list(range(N)), list(range(N)), everybody_but(2), list(range(N))]
    assert dropped(grid, reports[2]) == {2: ("train", "error reply")}
    assert [report.epoch for report in reports] == [1, 1, 1, 2]


# Nodes that come and go


def test_a_node_that_never_answers_costs_its_timeouts_and_not_the_run() -> None:
    """It is asked to join again after 1, 3, 7, ... rounds only."""
    grid = apps.secure_grid(N, {"action": "delay", "node": 5, "delay_s": 1e9})
    reports = run(grid, 9, light_timeout_s=60.0).reports
    assert all(apps.parties(grid, report.summed) == everybody_but(5) for report in reports)
    assert [report.epoch for report in reports] == [1, 2, 2, 3, 3, 3, 3, 4, 4]
    assert all(dropped(grid, report) == {5: ("join", "no reply")} for report in reports)
    assert grid.clock() == pytest.approx(4 * 60.0)


def test_a_node_that_is_gone_for_good_is_not_sampled_any_more() -> None:
    grid = apps.secure_grid(N, {"action": "drop-reply", "node": 1, "step": "train", "round": 2, "permanent": True})
    reports = run(grid, 4).reports
    assert [len(report.asked) for report in reports] == [6, 6, 5, 5]
    assert [len(report.summed) for report in reports] == [6, 5, 5, 5]
    assert {report.epoch for report in reports} == {1}


class LateGrid(InMemoryGrid):
    """A grid in which the last node connects later."""

    hidden = True

    def get_node_ids(self) -> list[int]:
        return super().get_node_ids()[: -1 if self.hidden else None]


def test_a_node_that_appears_in_the_middle_of_a_run_takes_part_from_then_on() -> None:
    grid = LateGrid(apps.client_app(apps.secure_mod()), N)
    reports = run(grid, 3, {1: lambda: setattr(grid, "hidden", False)}).reports
    assert [apps.parties(grid, report.summed) for report in reports] == [everybody_but(5), list(range(N)), list(range(N))]
    assert [report.epoch for report in reports] == [1, 2, 2]


# What the strategy decides


def test_a_fraction_of_the_nodes_is_sampled_as_ever() -> None:
    """Everybody joins once; then each round asks its own sample, and train and evaluate samples differ."""
    strategy = apps.secure(FedAvg(fraction_train=0.5, fraction_evaluate=0.3, min_evaluate_nodes=4))
    grid = apps.secure_grid(10)
    strategy.start(grid, apps.model(), 4)
    assert [len(report.asked) for report in strategy.reports] == [5, 4] * 4
    assert all(set(report.summed) == set(report.asked) for report in strategy.reports)
    assert {report.epoch for report in strategy.reports} == {1}
    assert len({report.summed for report in strategy.reports}) > 2
    assert sum(record.step == "join" and record.direction == "down" for record in grid.dump) == 10


def test_a_run_without_training_evaluates() -> None:
    strategy = apps.secure(FedAvg(fraction_train=0.0))
    result = strategy.start(apps.secure_grid(N), apps.model(), 2)
    assert [report.phase for report in strategy.reports] == ["evaluate"] * 2
    assert result.arrays == {}
    assert set(result.evaluate_metrics_clientapp[2]) == {"eval_acc", "eval_loss"}


def test_min_train_nodes_below_what_is_secure_says_so() -> None:
    grid = apps.secure_grid(8)
    with pytest.raises(QuorumError, match="2 of 2 parties have joined, 3 are needed") as caught:
        apps.secure(apps.only_training(fraction_train=0.1, min_train_nodes=2)).start(grid, apps.model(), 1)
    assert "fraction_train" in str(caught.value.hint)


@pytest.mark.parametrize(("delay_s", "summed"), [(29.0, list(range(N))), (31.0, everybody_but(1))])
def test_train_waits_as_long_as_start_says(delay_s: float, summed: list[int]) -> None:
    grid = apps.secure_grid(N, {"action": "delay", "node": 1, "step": "train", "delay_s": delay_s})
    strategy = apps.secure()
    strategy.start(grid, apps.model(), 1, timeout=30)
    assert apps.parties(grid, strategy.reports[0].summed) == summed
    assert grid.clock() == pytest.approx(min(delay_s, 30.0), abs=0.6)


@pytest.mark.parametrize("step", ["join", "prepare", "unmask"])
def test_light_steps_wait_for_their_own_timeout(step: str) -> None:
    late = {"action": "delay", "node": 1, "step": step, "delay_s": 100.0}
    patient, hasty = apps.secure_grid(N, late), apps.secure_grid(N, late)
    assert len(run(patient, light_timeout_s=101.0).reports[0].summed) == N
    # UNMASK has enough without it.
    assert len(run(hasty, light_timeout_s=99.0).reports[0].summed) == (N if step == "unmask" else N - 1)
    assert patient.clock() == pytest.approx(0.0 if step == "unmask" else 100.0, abs=0.6)
    assert hasty.clock() == pytest.approx(0.0 if step == "unmask" else 99.0)


def test_error_replies_reach_the_strategy_once_and_not_for_a_party_in_the_sum() -> None:
    """FedAvg logs them and the DP wrappers count them, so they are Flower's own: one reply to each message."""
    faults = [
        {"action": "error", "node": 0, "step": "join"},
        {"action": "error", "node": 1, "step": "prepare"},
        {"action": "error", "node": 2, "step": "train"},
        {"action": "error", "node": 3, "step": "unmask"},
    ]
    grid = apps.secure_grid(12, *faults)
    secure = SecureGrid(grid, Settings(**apps.TIGHT))
    sent = apps.messages(grid)
    replies = list(secure.send_and_receive(sent))
    errors = [reply for reply in replies if reply.has_error()]
    assert {reply.metadata.reply_to_message_id for reply in replies} == {message.metadata.message_id for message in sent}
    assert len(replies) == 12
    assert apps.parties(grid, (reply.metadata.src_node_id for reply in errors)) == [0, 1, 2]
    assert {reply.error.code for reply in errors} == {ErrorCode.CLIENT_APP_RAISED_EXCEPTION}


# Late, doubled, repeated and changed messages


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("action", ["duplicate", "replay"])
def test_a_request_that_comes_twice_changes_nothing(step: str, action: str) -> None:
    """A light request that comes again gets the very same bytes, a TRAIN, or one of an older round, a refusal."""
    grid = apps.secure_grid(N, {"action": action, "node": 1, "step": step})
    reports = run(grid, 3).reports
    assert all(len(report.summed) == N for report in reports)
    seen = [reply.has_error() for reply in grid.surplus]
    if step == "train":
        assert seen == [True] * 3
    elif action == "duplicate" or step == "join":
        assert seen == [False] * len(seen)
    else:
        # The oldest request of its kind: in the first round the one just answered, afterwards one of a round that is over. PREPARE is a
        # message of its own in the first round only.
        assert seen == ([False] if step == "prepare" else [False, True, True])
    for reply in grid.surplus:
        if not reply.has_error():
            first = next(record for record in grid.dump if record.direction == "up" and reply.content["stfed"]["message"] in record.payload)
            assert first.node_id == grid.node(1).node_id


def test_a_duplicate_gets_the_identical_bytes() -> None:
    for step in ("join", "prepare", "unmask"):
        grid = apps.secure_grid(N, {"action": "duplicate", "node": 1, "step": step})
        run(grid)
        up = [record for record in grid.dump if record.direction == "up" and record.step == step and record.node_id == grid.node(1).node_id]
        message = grid.surplus[0].content["stfed"]["message"]
        assert isinstance(message, bytes)
        assert [record.fault for record in up] == ["duplicate", None]
        assert all(message in record.payload for record in up)


def test_messages_that_arrive_twice_at_the_same_time_are_answered_once() -> None:
    """Two workers of one party read the same old Context; the store decides. TRAIN: one trains, the other is refused."""
    grid = apps.secure_grid(N, {"action": "duplicate", "node": 1, "step": "train"}, {"action": "duplicate", "step": "prepare"}, threads=4)
    reports = run(grid, 2).reports
    answers = [reply for reply in grid.surplus if reply.metadata.src_node_id == grid.node(1).node_id]
    # Either of the two may be the one that trains, and the coordinator counts whichever it gets.
    assert all(len(report.summed) >= N - 1 for report in reports)
    train = [
        record for record in grid.dump if record.step == "train" and record.direction == "up" and record.node_id == grid.node(1).node_id
    ]
    for report in reports:
        pair = [record.error for record in train if record.round == report.round]
        assert len(pair) == 2
        assert sum(error is None for error in pair) == 1
    assert answers


LATE = [{"action": "delay", "node": node, "step": "train", "round": 1, "delay_s": 40.0} for node in (0, 3)]


def test_late_replies_of_an_older_round_are_never_counted() -> None:
    grid = apps.secure_grid(N, *LATE)
    recorder = apps.Recorder({1: lambda: grid.wait(60.0)})
    strategy = apps.secure()
    strategy.start(grid, apps.model(), 2, timeout=30, evaluate_fn=recorder)
    assert apps.parties(grid, strategy.reports[0].summed) == [1, 2, 4, 5]
    assert apps.parties(grid, strategy.reports[1].summed) == list(range(N))
    for report, before, after in zip(strategy.reports, recorder.models, recorder.models[1:], strict=False):
        check_mean(grid, report, before, after)


TAMPERED = {
    # what changes on the way, and who is out for it
    "join, up": ({"step": "join", "direction": "up"}, {2}),
    "prepare, down: header": ({"step": "prepare", "direction": "down", "position": 8}, {2}),
    "prepare, up: header": ({"step": "prepare", "direction": "up", "position": 8}, {2}),
    "train, down: shares": ({"step": "train", "direction": "down", "record": "stfed"}, {2}),
    "train, down: U1": ({"step": "train", "direction": "down", "record": "stfed", "position": 40}, {2}),
    "train, up: message": ({"step": "train", "direction": "up", "record": "stfed", "position": 8}, {2}),
    "unmask, down": ({"step": "unmask", "direction": "down"}, set()),
    "unmask, up": ({"step": "unmask", "direction": "up", "record": "stfed", "key": "message"}, set()),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_changed_message_costs_its_party_the_round_and_nobody_else(what: str) -> None:
    where, out = TAMPERED[what]
    grid = apps.secure_grid(N, {"action": "tamper", "node": 2, "occurrence": 1, **where})
    first, second = run(grid, rounds=2).reports
    assert apps.parties(grid, first.summed) == everybody_but(*out)
    assert set(dropped(grid, first)) <= {2}
    assert apps.parties(grid, second.summed) == list(range(N))


def lost(grid: InMemoryGrid) -> QuorumError | PeerError | None:
    """Why there is no sum; None where there is one, which `run` has checked, or no byte to change."""
    try:
        run(grid)
    except (QuorumError, PeerError) as error:
        return error
    except LocalError as error:
        if "tamper: byte" not in str(error):
            raise
    return None


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("step", STEPS)
def test_no_changed_byte_of_our_messages_ever_gives_a_wrong_sum(step: str, direction: str) -> None:
    """Bytes all over every message. Changed in PREPARE, some cost the round, none makes it wrong."""
    where = {"action": "tamper", "node": 2, "step": step, "direction": direction, "record": "stfed", "xor": 0x41}
    for position in (0, 19, 24, 57, 90, 260, 500, -2, -17, -40):
        error = lost(apps.secure_grid(4, {**where, "position": position}))
        assert error is None or step == "prepare"


def test_a_vector_that_was_changed_on_the_way_is_another_update_of_that_party() -> None:
    """What the protocol does not promise (docs/protocol.md: a party may submit any vector): here, one ring word, so one coordinate."""
    fault = {"action": "tamper", "node": 2, "step": "train", "record": "stfed.masked", "position": 4 * 35 + 2, "xor": 1}
    grid = apps.secure_grid(N, fault)
    result = apps.secure().start(grid, apps.model(), 1)
    expected = apps.mean_of(range(N), apps.model(), 1)
    assert apps.distance(apps.record_of({"w": result.arrays["layer.weight"].numpy()}), {"w": expected["layer.weight"]}) < 1e-6
    wrong = abs(result.arrays["layer.bias"].numpy() - expected["layer.bias"]) > 1e-6
    assert wrong.tolist() == [True, False, False, False, False]


def test_a_model_that_was_changed_on_the_way_down_is_no_sum() -> None:
    """The digest of what a party trained on keys its masks, so they do not come off: noise, and the coordinator sees that it is."""
    grid = apps.secure_grid(N, {"action": "tamper", "node": 2, "step": "train", "direction": "down", "record": "arrays"})
    assert isinstance(lost(grid), PeerError)


def test_the_app_of_one_party_lacks_the_mod() -> None:
    """It answers JOIN with an error of its own train function; the others go on, and the report says why."""
    apps_of = [apps.client_app(apps.secure_mod()) for _ in range(N)]
    apps_of[4] = apps.client_app()
    grid = apps.secure_grid(N, app=lambda index: apps_of[index])
    report = run(grid).reports[0]
    assert apps.parties(grid, report.summed) == everybody_but(4)
    assert dropped(grid, report) == {4: ("join", "error reply")}


def test_no_app_has_the_mod() -> None:
    with pytest.raises(QuorumError, match="no party joined the run") as caught:
        run(apps.plain_grid(N))
    assert caught.value.hint == "every ClientApp needs the mod: ClientApp(mods=[secagg_mod])"


def test_a_reply_to_join_that_is_not_ours_says_what_is_missing() -> None:
    def echo(message: Any, context: Any, call_next: Any) -> Any:
        return Message(RecordDict({"config": ConfigRecord({"hello": 1})}), reply_to=message)

    grid = apps.secure_grid(N, app=apps.client_app(echo))
    with pytest.raises(QuorumError, match="does the ClientApp have the mod"):
        run(grid)
