"""Groups: strategies that compare updates, on the means of groups that are summed at the same time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Bulyan, FedAvg, FedMedian, FedTrimmedAvg, Krum, MultiKrum, Strategy
from hypothesis import given
from hypothesis import strategies as st

from stfed.dp.accountant import ORDERS
from stfed.errors import LocalError, PeerError, QuorumError
from stfed.flower import DistributedDp, SecureAggregation, SecureGrid
from stfed.flower.compatibility import VOTING, least_groups
from stfed.flower.courier import Courier, Exchange
from stfed.flower.dp import sum_of
from stfed.flower.events import EventLog
from stfed.flower.groups import _SHUFFLE, Groups
from stfed.flower.settings import Settings
from stfed.keys import SigningKey, generate_keypair
from stfed.sealed.inspect import inspect
from stfed.secagg.policy import Policy
from stfed.testing import InMemoryGrid
from tests.flower import apps
from tests.flower.test_ahead import messages_of

N, G = 12, 3
TRAIN_ONLY = {"fraction_evaluate": 0.0}
VOTERS = {
    "FedMedian": lambda: FedMedian(**TRAIN_ONLY),
    "FedTrimmedAvg": lambda: FedTrimmedAvg(beta=0.3, **TRAIN_ONLY),
    "Krum": lambda: Krum(**TRAIN_ONLY),
    "MultiKrum": lambda: MultiKrum(num_nodes_to_select=2, **TRAIN_ONLY),
    "Bulyan": lambda: Bulyan(**TRAIN_ONLY),
}


def median() -> Strategy:
    return VOTERS["FedMedian"]()


def rounds_of(strategy: SecureAggregation) -> list[list[Any]]:
    """The reports of the trainings, those of one round together."""
    found: dict[int | None, list[Any]] = {}
    for report in strategy.reports:
        if report.phase == "train":
            found.setdefault(report.server_round, []).append(report)
    return list(found.values())


def cut_of(reports: list[Any]) -> list[set[int]]:
    return [set(report.asked) for report in reports]


def in_clear(grid: InMemoryGrid, strategy: Strategy, reports: list[Any], before: Any, server_round: int) -> Any:
    """What Flower's own strategy makes of the groups' means, computed by hand."""
    sent = {message.metadata.dst_node_id: message for message in apps.messages(grid, before)}
    replies = []
    for report in reports:
        parties = apps.parties(grid, report.summed)
        means = apps.mean_of(parties, before, server_round)
        weight = float(sum(apps.examples_of(party) for party in parties))
        record = apps.record_of({name: mean.astype(before[name].dtype) for name, mean in means.items()})
        content = RecordDict({"arrays": record, "metrics": MetricRecord({"num-examples": weight})})
        replies.append(Message(content, reply_to=sent[report.summed[0]]))
    return strategy.aggregate_train(server_round, replies)[0]


def run(
    grid: InMemoryGrid,
    make: Callable[[], Strategy] = median,
    rounds: int = 1,
    start: Callable[..., SecureAggregation] = apps.secure,
    **settings: Any,
) -> SecureAggregation:
    """Trains, and checks every round against Flower's strategy on the groups' means."""
    recorder = apps.Recorder()
    secure = start(strategy=make(), **{"group_size": G, **settings})
    secure.start(grid, apps.model(), rounds, evaluate_fn=recorder)
    for reports, before, after in zip(rounds_of(secure), recorder.models, recorder.models[1:], strict=False):
        good = [report for report in reports if report.failure is None]
        wanted = in_clear(grid, make(), good, before, int(good[0].server_round))
        allowed = max(report.error_bound for report in good) + apps.rounding(len(good), before)
        assert apps.distance(after, wanted) <= allowed
        assert 0 < allowed < 1e-4, "the comparison says something"
        assert apps.distance(after, before) > 100 * allowed
    return secure


# --- what a strategy gets ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VOTERS)
def test_a_strategy_that_votes_gets_the_means_of_groups_to_vote_on(name: str) -> None:
    strategy = run(apps.secure_grid(N), VOTERS[name])
    assert len(strategy.reports) == 4
    assert all(len(report.summed) == G for report in strategy.reports)


def test_averaging_the_groups_is_averaging_everybody() -> None:
    """Groups of 3, 4 and 4, weighted by their examples."""
    grid, recorder = apps.secure_grid(11), apps.Recorder()
    apps.secure(group_size=G).start(grid, apps.model(), 1, evaluate_fn=recorder)
    assert apps.distance(recorder.models[1], apps.mean_of(range(11), apps.model(), 1)) < 1e-5


def test_one_reply_for_each_group_with_its_mean_and_its_total_weight() -> None:
    grid = apps.secure_grid(N)
    secure = SecureGrid(grid, Settings(**apps.TIGHT, group_size=G))
    replies = list(secure.send_and_receive(apps.messages(grid)))
    assert len(replies) == len(secure.reports) == 4
    assert sorted(report.group for report in secure.reports) == [0, 1, 2, 3]
    for reply, report in zip(replies, secure.reports, strict=True):
        parties = apps.parties(grid, report.summed)
        weight = sum(map(apps.examples_of, parties))
        loss = sum(apps.examples_of(party) * apps.loss_of(party, 1) for party in parties) / weight
        assert reply.metadata.src_node_id in report.summed
        assert reply.content["metrics"]["num-examples"] == report.total_weight == weight
        assert reply.content["metrics"]["train_loss"] == pytest.approx(loss, abs=2.0**-30)
        mean = apps.mean_of(parties, apps.model(), 1)
        assert apps.distance(apps.record_of({name: array.numpy() for name, array in reply.content["arrays"].items()}), mean) < 1e-5


def test_a_poisoned_group_is_outvoted_and_averaging_is_not() -> None:
    def train(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        if partition == 0:
            return {name: (value + 0.99).astype(value.dtype) for name, value in arrays.items()}, {"num-examples": 128}
        moved = {name: value + np.float32(0.01 * partition / N) for name, value in arrays.items()}
        return moved, {"num-examples": apps.examples_of(partition)}

    moved = {}
    for make in (lambda: Krum(num_malicious_nodes=1, **TRAIN_ONLY), lambda: FedAvg(**TRAIN_ONLY)):
        recorder = apps.Recorder()
        grid = apps.secure_grid(15, app=apps.client_app(apps.secure_mod(), train=train))
        apps.secure(make(), group_size=G).start(grid, apps.model(), 1, evaluate_fn=recorder)
        moved[type(make()).__name__] = apps.distance(recorder.models[1], recorder.models[0])
    assert moved["Krum"] < 0.02 < 0.05 < moved["FedAvg"]


# --- trips, numbers, what is prepared ahead ----------------------------------------------------------------------------------------------


def test_all_groups_take_the_same_two_trips() -> None:
    n = 9
    grid = apps.secure_grid(n)
    strategy = run(grid, rounds=3)
    assert [report.trips for report in strategy.reports] == [4] * 3 + [2] * 6
    assert all(messages_of(grid, node) == ["join", "prepare", *["train", "unmask"] * 3] for node in range(n))
    down = Counter(record.step for record in grid.dump if record.direction == "down")
    assert down == {"join": n, "prepare": n, "train": 3 * n, "unmask": 3 * n}
    assert sorted(report.round for report in strategy.reports) == list(range(1, 10)), "a number of its own for each sum"
    assert [bool(report.bytes_up["join"]) for report in strategy.reports] == [True] + [False] * 8
    first, second, third = map(cut_of, rounds_of(strategy))
    assert first == second == third, "and are kept"


def test_training_in_groups_and_evaluation_over_everybody_are_prepared_on_each_other() -> None:
    n = 9
    grid = apps.secure_grid(n)
    strategy = apps.secure(FedMedian(), group_size=G)
    result = strategy.start(grid, apps.model(), 2)
    assert [report.trips for report in strategy.reports] == [*[4] * 3, 2, *[2] * 3, 2]
    assert messages_of(grid) == ["join", "prepare", *["train", "unmask"] * 4]
    evaluations = [report for report in strategy.reports if report.phase == "evaluate"]
    assert [(report.group, len(report.summed)) for report in evaluations] == [(None, n)] * 2
    weights, accuracies = map(apps.examples_of, range(n)), [apps.accuracy_of(party, 1) for party in range(n)]
    wanted = np.average(accuracies, weights=list(weights))
    assert result.evaluate_metrics_clientapp[1]["eval_acc"] == pytest.approx(wanted, abs=1e-6)


def test_without_prepare_ahead_there_is_a_trip_more() -> None:
    strategy = run(apps.secure_grid(9), rounds=2, prepare_ahead=False)
    assert [report.trips for report in strategy.reports] == [4] * 3 + [3] * 3


def test_in_malicious_mode_a_steady_round_takes_three_trips() -> None:
    n = 11
    grid = apps.malicious_grid(n)
    strategy = run(grid, apps.only_training, rounds=2, start=lambda **options: apps.malicious(n, **options), group_size=5)
    assert [report.trips for report in strategy.reports] == [5] * 2 + [3] * 2
    # All corrupt parties of the roster, ceil(0.1 11), may be in one group.
    assert {(report.n, report.corrupt) for report in strategy.reports} == {(5, 2), (6, 2)}
    assert all(len(report.confirmed) >= (report.quorum or 0) > 0 for report in strategy.reports)


def test_with_differential_privacy_a_round_costs_what_its_costliest_group_costs() -> None:
    """A party is in one group a round, each of which has the whole noise for its own survivors."""
    strategy = apps.secure(group_size=4, uniform=True, dp=DistributedDp(l2_clip=1.0, noise_multiplier=0.8))
    strategy.start(apps.secure_grid(9), apps.model(), 2)
    first, second = rounds_of(strategy)
    for reports in (first, second):
        assert [(report.n, report.plan.noise.survivors) for report in reports] == [(5, 5), (4, 4)]
        assert len({id(report.privacy) for report in reports}) == 1, "one release for all groups"
        costs = [sum_of(report.plan, report.corrupt) for report in reports]
        charged = reports[0].privacy.sum
        assert all((charged.rdp(ORDERS) >= cost.rdp(ORDERS) * (1 - 1e-12)).all() for cost in costs), "that of each of them"
        assert charged.noise_multiplier == pytest.approx(min(cost.noise_multiplier for cost in costs), rel=1e-5), "and of no more"
    assert [report.trips for report in second] == [2] * 2, "what was prepared ahead has the noise of each group"


def test_no_group_waits_for_the_slow_party_of_another() -> None:
    grid = apps.secure_grid(N, {"action": "delay", "node": 5, "step": "train", "delay_s": 50.0})
    slow, *others = sorted(run(grid).reports, key=lambda report: grid.node(5).node_id not in report.asked)
    assert slow.seconds["train"] >= 50
    assert all(sum(report.seconds.values()) < 5 for report in others)


def test_events_and_provenance_name_the_groups(tmp_path: Any) -> None:
    heard: list[dict[str, Any]] = []
    files = {"save": tmp_path, "signer": SigningKey.generate(), "recipients": generate_keypair()[1], "audit": tmp_path / "log"}
    strategy = apps.secure(median(), group_size=G, events=EventLog(listener=heard.append), **files)
    strategy.start(apps.secure_grid(N), apps.model(), 1)
    assert [event["group"] for event in heard if event["event"] == "round"] == [0, 1, 2, 3]
    public = inspect(tmp_path / "round-001.safetensors").public
    assert (public["groups"], public["secure_round"], public["parties_summed"]) == (4, "1 2 3 4", "3 3 3 3")


# --- who is with whom --------------------------------------------------------------------------------------------------------------------


@given(st.integers(2, 6), st.sets(st.integers(0, 2**64), max_size=40), st.integers(0, 2**32))
def test_groups_are_a_partition_into_nearly_equal_parts(size: int, nodes: set[int], seed: int) -> None:
    cut = Groups(size, shuffle=Random(seed).shuffle).cut(nodes)
    assert len(cut) == len(nodes) // size
    sizes = [len(group) for group in cut]
    assert not cut or (min(sizes) >= size and max(sizes) - min(sizes) <= 1)
    assert not cut or sorted(node for group in cut for node in group) == sorted(nodes)


@given(st.integers(2, 4), st.lists(st.sets(st.integers(0, 20), min_size=8), min_size=2, max_size=6), st.integers(0, 2**32))
def test_groups_stay_while_they_can_and_no_group_is_ever_too_small(size: int, asked: list[set[int]], seed: int) -> None:
    groups = Groups(size, shuffle=Random(seed).shuffle)
    before: tuple[tuple[int, ...], ...] = ()
    known: list[set[int]] = []
    for nodes in asked:
        foreseen = groups.foresee(nodes)
        cut = groups.cut(nodes)
        assert cut == foreseen, "what was prepared ahead is what is used"
        assert all(size <= len(group) < 2 * size for group in cut)
        assert sorted(node for group in cut for node in group) == sorted(nodes)
        places = [group & nodes for group in known]
        if not nodes.difference(*known) and known and all(size <= len(place) < 2 * size for place in places):
            assert [set(group) for group in cut] == places, "drawn anew without need"
        if [set(group) & nodes for group in map(set, before)] == [set(group) for group in cut]:
            known = [one | set(group) for one, group in zip(known, cut, strict=True)]
        else:
            known = [set(group) for group in cut]
        before = tuple(tuple(sorted(group)) for group in known)


def test_a_foresight_that_does_not_come_true_changes_nothing() -> None:
    groups = Groups(3, shuffle=Random(1).shuffle)
    first = groups.cut(range(12))
    groups.foresee(range(100, 112))
    assert groups.cut(range(12)) == first


def test_the_draw_is_the_operating_systems() -> None:
    assert isinstance(_SHUFFLE.__self__, SystemRandom)
    assert len({Groups(3).cut(range(12)) for _ in range(20)}) > 15


def singled_out(groups: Groups, nodes: int, rounds: int) -> int:
    """How many nodes' updates follow from the sums of these rounds, if they stay the same: whose unit vector is in the sums' span."""
    sums = np.array([[node in group for node in range(nodes)] for _ in range(rounds) for group in groups.cut(range(nodes))], float)
    rank = np.linalg.matrix_rank(sums)
    return sum(np.linalg.matrix_rank(np.vstack([sums, unit])) == rank for unit in np.eye(nodes))


def test_kept_groups_single_nobody_out_and_ever_new_ones_do() -> None:
    """So et al., AAAI 2023."""
    assert singled_out(Groups(3), 13, 50) == 0
    assert singled_out(Groups(3, regroup_every=1), 13, 50) == 13


def test_they_can_be_drawn_anew_every_so_often_and_that_is_prepared_ahead_too() -> None:
    strategy = run(apps.secure_grid(9), rounds=3, regroup_every=2)
    one, two, three = map(cut_of, rounds_of(strategy))
    assert one == two != three
    assert [report.trips for report in strategy.reports] == [4] * 3 + [2] * 6


def test_who_is_away_comes_back_to_its_group_and_who_is_new_goes_to_the_smallest() -> None:
    groups = Groups(3)
    home = next(group for group in groups.cut(range(8)) if 5 in group)
    assert len(groups.cut({*range(8)} - {5})) == 2
    if len(home) == 4:  # else the groups had to be drawn anew
        assert home in groups.cut(range(8))
    sizes = sorted(len(group) for group in groups.cut(range(10)))
    assert sizes == [5, 5]


# --- what goes wrong ---------------------------------------------------------------------------------------------------------------------


def test_a_drop_in_one_group_is_that_groups_alone() -> None:
    grid = apps.secure_grid(N, {"action": "drop-reply", "node": 7, "step": "train", "round": None, "occurrence": 1})
    strategy = run(grid, rounds=2, group_size=4)
    first, second = rounds_of(strategy)
    assert sorted(len(report.summed) for report in first) == [3, 4, 4]
    assert [grid.node(7).node_id in report.dropped for report in first] == [len(report.summed) == 3 for report in first]
    assert [len(report.summed) for report in second] == [4, 4, 4]
    assert cut_of(first) == cut_of(second)


@pytest.mark.parametrize("step", ["prepare", "train", "unmask"])
def test_a_group_that_fails_is_left_out_and_the_others_have_their_sums(step: str) -> None:
    """A group of three has no sum without one of its parties; two in UNMASK leave too few shares."""
    grid = apps.secure_grid(N)
    faulty = _run_with_a_failing_group(grid, step)
    first, second, third = rounds_of(faulty)
    assert [report.failure is None for report in first] == [True] * 4
    assert sorted(report.failure is None for report in second) == [False, True, True, True]
    assert [report.failure is None for report in third] == [True] * 4
    failed = next(report for report in second if report.failure is not None)
    assert failed.summed == ()
    if step == "train":  # nobody else joins or prepares again for it
        again = [report.asked == failed.asked for report in third]
        assert [report.trips for report in third] == [3 if own else 2 for own in again]
        assert sum(again) == 1


def _run_with_a_failing_group(grid: InMemoryGrid, step: str) -> SecureAggregation:
    """The nodes of a group that is drawn at run time fail in the second round."""
    mod, broken = apps.secure_mod(), set[int]()

    def failing(message: Message, context: Any, call_next: Any) -> Message:
        named = apps.describe(message)
        if context.node_id in broken and named is not None and named[0] == step:
            broken.discard(context.node_id)
            raise RuntimeError("out of order")
        return mod(message, context, call_next)

    grid = apps.secure_grid(N, app=apps.client_app(failing))
    secure = apps.secure(median(), group_size=G, prepare_ahead=step != "prepare")

    def break_a_group() -> None:
        broken.update(secure.reports[0].asked[:2])

    secure.start(grid, apps.model(), 3, evaluate_fn=apps.Recorder({1: break_a_group}))
    return secure


def test_a_round_fails_when_too_few_groups_are_left() -> None:
    grid = apps.secure_grid(9, *({"action": "error", "node": node, "step": "train"} for node in (0, 1)))
    with pytest.raises(QuorumError, match=r"[12] of 3 groups have a sum, 3 are needed; one failed: ") as caught:
        run(grid)
    assert caught.value.missing
    grid = apps.secure_grid(9, {"action": "error", "node": 0, "step": "train"})
    strategy = apps.secure(median(), group_size=G, on_failure="skip")
    recorder = apps.Recorder()
    strategy.start(grid, apps.model(), 1, evaluate_fn=recorder)
    assert recorder.models[-1] is recorder.models[0] or apps.distance(recorder.models[-1], recorder.models[0]) == 0
    assert sorted(report.failure is None for report in strategy.reports) == [False, True, True]


def test_who_has_not_joined_is_in_no_group() -> None:
    grid = apps.secure_grid(N + 1, {"action": "drop-request", "node": 3, "step": "join"})
    reports = run(grid).reports
    assert sorted(apps.parties(grid, (node for report in reports for node in report.summed))) == [*range(3), *range(4, N + 1)]
    assert reports[0].dropped[grid.node(3).node_id]["step"] == "join"
    grid = apps.secure_grid(9, {"action": "drop-request", "node": 3, "step": "join"})
    with pytest.raises(QuorumError, match="8 of 9 parties have joined, too few for 3 groups of 3"):
        run(grid)


def test_a_group_that_became_too_small_for_the_settings_fails_alone() -> None:
    """Two groups of four with three neighbours each; then one of them has three parties."""
    grid = apps.secure_grid(8, {"action": "drop-request", "node": 3, "step": "join"})
    strategy = run(grid, apps.only_training, neighbours=3)
    good, failed = strategy.reports
    assert (good.failure, len(good.summed)) == (None, 4)
    assert "3 of 3 parties have joined, too few for the settings" in failed.failure


def test_nodes_that_are_gone_make_new_groups() -> None:
    grid = apps.secure_grid(13)
    strategy = apps.secure(median(), group_size=G)
    secure = SecureGrid(grid, strategy.settings, least_groups=3)
    for nodes in (range(13), range(9), range(9)):
        assert (
            len(list(secure.send_and_receive(apps.messages(grid, nodes=nodes, at=str(nodes), times=len(secure.reports)))))
            == len(nodes) // G
        )
    reports = secure.reports
    assert cut_of(reports[4:7]) == cut_of(reports[7:])
    assert all(len(report.asked) == 3 for report in reports[4:])


# --- what is refused ---------------------------------------------------------------------------------------------------------------------


def refused(n: int, match: str, strategy: Strategy, **settings: Any) -> LocalError:
    grid = apps.secure_grid(n)
    with pytest.raises(LocalError, match=match) as caught:
        apps.secure(strategy, **{"group_size": G, **settings}).start(grid, apps.model(), 1)
    assert grid.dump == [], "before anything is sent"
    return caught.value


@pytest.mark.parametrize(
    ("strategy", "least"),
    [
        (FedMedian(), 3),
        (FedTrimmedAvg(beta=0.2), 5),
        (FedTrimmedAvg(beta=0.3), 4),
        (FedTrimmedAvg(beta=0.0), 2),
        (Krum(num_malicious_nodes=1), 5),
        (MultiKrum(num_malicious_nodes=2), 7),
        (Bulyan(num_malicious_nodes=1), 7),
        (FedAvg(), 1),
    ],
    ids=lambda value: getattr(type(value), "__name__", ""),
)
def test_a_strategy_that_has_too_few_groups_is_told_before_anything_is_sent(strategy: Strategy, least: int) -> None:
    assert least_groups(strategy) == least
    n = least * G - 1
    error = refused(n, f"{n} parties make {least - 1} groups of 3 or more, the strategy needs {least}", strategy)
    assert "group_size" in str(error.hint)


@pytest.mark.parametrize("kind", [*VOTING, Krum], ids=lambda kind: kind.__name__)
def test_votes_need_groups(kind: type[Strategy]) -> None:
    with pytest.raises(LocalError, match="compares the updates of single parties") as caught:
        apps.secure(kind())
    assert "set group_size" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["DifferentialPrivacyClientSideFixedClipping", "DifferentialPrivacyClientSideAdaptiveClipping"])
def test_noise_for_single_replies_is_not_for_groups(name: str) -> None:
    wrapper = getattr(flower, name).__new__(getattr(flower, name))
    wrapper.strategy = FedAvg()
    with pytest.raises(LocalError, match=f"{name} makes its noise for the mean of single replies"):
        apps.secure(wrapper, group_size=G, uniform=True)


@pytest.mark.parametrize("settings", [{"group_size": 1}, {"group_size": True}, {"group_size": 2.5}, {"regroup_every": 0, "group_size": 3}])
def test_settings_that_are_no_groups(settings: dict[str, Any]) -> None:
    with pytest.raises(LocalError, match="whole number"):
        Settings(**settings)
    with pytest.raises(LocalError, match="there are no groups"):
        Settings(regroup_every=2)


def test_groups_too_small_for_the_settings_are_refused_with_the_size_that_would_do() -> None:
    error = refused(12, "group_size=2 makes a group of 2 parties: 3 are needed for a sum", median(), group_size=2)
    assert error.hint == "set group_size to 3 or more"


def test_groups_too_small_for_the_roster_are_refused_with_the_size_that_would_do() -> None:
    n = 20
    grid = apps.malicious_grid(n)
    with pytest.raises(LocalError, match="group_size=3 makes a group of 3 parties: 5 are needed for a sum") as caught:
        apps.malicious(n, median(), group_size=3).start(grid, apps.model(), 1)
    assert caught.value.hint == "set group_size to 5 or more"
    assert grid.dump == []


def test_the_documented_smallest_groups_are_those_of_the_calculator() -> None:
    def fits(settings: Settings, n: int, roster: int) -> bool:
        try:
            return n >= settings.floor(n, n - 1, roster) and settings.parameters(n, roster).n == n
        except LocalError:
            return False

    text = (Path(__file__).parents[2] / "docs" / "robust.md").read_text()
    rosters = [int(cell) for cell in re.search(r"\| roster N \|(.*)\|\n", text)[1].split("|")]
    rows = re.findall(r"\| γ = ([\d.]+) \|(.*)\|\n", text)
    assert len(rows) == 3
    for gamma, cells in rows:
        settings = Settings(mode="malicious", gamma=float(gamma))
        found = [next(n for n in range(2, roster) if fits(settings, n, roster)) for roster in rosters]
        assert found == [int(cell) for cell in cells.split("|")]


def test_a_party_refuses_a_group_below_its_own_minimum() -> None:
    """Its policy is about the cohort that it is asked into, and a group is one: whatever the coordinator makes of it."""
    grid = apps.secure_grid(N, policy=Policy(min_cohort=4))
    with pytest.raises(QuorumError):
        apps.secure(median(), group_size=3).start(grid, apps.model(), 1)
    texts = {record.error for record in grid.dump if record.error}
    assert any("the cohort has 3 parties, this party takes part in 4 or more" in text for text in texts)
    assert not [record for record in grid.dump if record.step in ("train", "unmask")]


def test_parties_that_count_everybodys_corrupt_ones_against_their_group_are_met_by_a_higher_threshold() -> None:
    """docs/robust.md: of twelve parties three may collude, and in semi-honest mode all three may be in one group of six."""
    policy = Policy(gamma=0.25, roster=N)
    strategy = apps.secure(median(), gamma=0.25, group_size=6, threshold=4)
    with pytest.raises(LocalError, match="2 groups of 6"):
        strategy.start(apps.secure_grid(N, policy=policy), apps.model(), 1)
    strategy = apps.secure(apps.only_training(), gamma=0.25, group_size=6, threshold=4)
    strategy.start(apps.secure_grid(N, policy=policy), apps.model(), 2)
    assert [(report.t, len(report.summed)) for report in strategy.reports] == [(4, 6)] * 4
    with pytest.raises(QuorumError) as caught:
        apps.secure(apps.only_training(), gamma=0.25, group_size=6).start(apps.secure_grid(N, policy=policy), apps.model(), 1)
    assert "secrecy: t = 3" in str(caught.value)


def test_one_party_that_asks_for_more_costs_its_group_only() -> None:
    strict, lax = apps.secure_mod(policy=Policy(min_cohort=4)), apps.secure_mod()

    def mod(message: Message, context: Any, call_next: Any) -> Message:
        return (strict if context.node_config["partition-id"] == 2 else lax)(message, context, call_next)

    grid = apps.secure_grid(N, app=apps.client_app(mod))
    reports = run(grid).reports
    assert [report.failure is None for report in reports] == [grid.node(2).node_id not in report.asked for report in reports]


def test_a_coordinator_that_counts_the_group_instead_of_the_roster_is_refused_by_the_parties() -> None:
    """In malicious mode all corrupt parties of the roster may be in one group, and each party counts them so, whatever it is told."""
    n = 12
    grid = apps.malicious_grid(n)
    with pytest.raises(QuorumError):
        apps.malicious(n, median(), group_size=4, gamma=0.05).start(grid, apps.model(), 1)
    texts = {record.error for record in grid.dump if record.error}
    assert any("the cohort has 4 parties, this party takes part in 5 or more" in text for text in texts)
    assert not [record for record in grid.dump if record.step == "train"]


# --- many conversations at once ----------------------------------------------------------------------------------------------------------


def conversation(
    grid: InMemoryGrid, nodes: list[int], log: list[str], name: str, error: Exception | None = None
) -> Generator[Exchange, None, str]:
    contents = {message.metadata.dst_node_id: message.content for message in apps.messages(grid, nodes=nodes)}

    def on_reply(node: int, reply: Message) -> None:
        log.append(f"{name} reply")
        if error is not None:
            raise error

    try:
        yield Exchange(contents, "train", name, 10.0, on_reply)
        log.append(f"{name} second")
        yield Exchange(contents, "train", name, 10.0, lambda *_: None, lambda: True)
    finally:
        log.append(f"{name} closed")
    return name


def test_conversations_go_on_at_their_own_pace_and_return_in_order() -> None:
    grid, log = apps.plain_grid(4, {"action": "delay", "node": 0, "delay_s": 5.0, "occurrence": 1}), list[str]()
    names = Courier(grid).converse([conversation(grid, [0, 1], log, "slow"), conversation(grid, [2, 3], log, "fast")])
    assert names == ["slow", "fast"]
    assert log.index("fast closed") < log.index("slow second")


def test_what_goes_wrong_with_a_reply_is_raised_where_it_was_asked_for_and_the_others_are_closed() -> None:
    grid, log = apps.plain_grid(4), list[str]()
    caught: list[Exception] = []

    def watched() -> Generator[Exchange, None, str]:
        try:
            return (yield from conversation(grid, [0, 1], log, "bad", PeerError("not what was committed to")))
        except PeerError as error:
            caught.append(error)
            raise

    with pytest.raises(PeerError, match="not what was committed to"):
        Courier(grid).converse([watched(), conversation(grid, [2, 3], log, "good")])
    assert len(caught) == 1
    assert log.count("bad reply") == 1, "nothing is handed on after it"
    assert {"bad closed", "good closed"} <= set(log)


def test_a_group_whose_nodes_are_all_gone_does_not_stop_the_others() -> None:
    grid = apps.plain_grid(4)

    def nobody() -> Generator[Exchange, None, str]:
        yield Exchange({4711: apps.messages(grid)[0].content}, "train", "gone", 10.0, lambda *_: None)
        return "gone"

    assert Courier(grid).converse([nobody(), conversation(grid, [2, 3], [], "there")]) == ["gone", "there"]
    with pytest.raises(LocalError, match="accepted none of the messages"):
        Courier(grid).converse([nobody()])
