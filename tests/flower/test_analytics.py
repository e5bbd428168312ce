"""Secure analytics: what comes out is what NumPy says of the pooled rows, exactly or within the stated error; the policy holds."""

from __future__ import annotations

import importlib
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.encoding import EncodingPlan, Vector, decode_sum, encode_update
from stfed.encoding.metrics import MetricSchema
from stfed.errors import LocalError, PeerError, QuorumError
from stfed.flower import SecAggMod, pinned_app, secagg_mod
from stfed.flower.analytics import (
    Analytics,
    AnswerPolicy,
    Category,
    Count,
    Covariance,
    Crosstab,
    Frequencies,
    Histogram,
    Ledger,
    Mean,
    Number,
    Quantiles,
    Question,
    Variance,
    answer,
    fixed,
)
from stfed.flower.analytics.batch import TENSOR, Batch
from stfed.flower.analytics.results import Result
from stfed.flower.analytics.table import Table
from stfed.testing import InMemoryGrid
from tests.flower import apps

Rows = Mapping[str, Any]

CODEBOOK = {"age": Number(0, 120, step=5), "bmi": Number(10, 60, step=0.1), "sex": Category("f", "m"), "stage": Category(1, 2, 3)}
EVERYTHING = (
    Count("age"),
    Mean("bmi"),
    Variance("age"),
    Histogram("age", edges=(0, 20, 65, 120)),
    Histogram("bmi"),
    Quantiles("bmi", (0, 0.1, 0.25, 0.5, 0.75, 1)),
    Frequencies("sex"),
    Frequencies("stage"),
    Crosstab("sex", "stage"),
    Covariance(("age", "bmi")),
)
N = 5


def rows_of(party: int) -> Rows:
    """Real-looking rows, with some that are missing, out of range and unknown."""
    rng = np.random.default_rng(party)
    count = 30 + 11 * party
    age, bmi = rng.normal(55, 25, count), rng.gamma(20, 1.3, count)
    age[rng.random(count) < 0.1] = np.nan
    bmi[:3] = 9.5, 60.0, 61.0
    stage = [None if rng.random() < 0.1 else int(stage) for stage in rng.choice([1, 2, 3, 4], count)]
    return {"age": age, "bmi": bmi, "sex": rng.choice(["f", "m", "x"], count), "stage": stage}


def app_of(
    mod: SecAggMod | None = None, rows: Callable[[int], Rows] = rows_of, folder: Path | None = None, codebook: Any = CODEBOOK, **policy: Any
) -> ClientApp:
    """Parties that answer and train nothing."""
    app = ClientApp(mods=[mod or apps.secure_mod()])
    policy = {"pairs": True, "ledger": (folder or apps.scratch()) / "told.db", **policy}

    @app.train()
    @app.train("analytics")
    def analytics(message: Message, context: Any) -> Message:
        return answer(message, context, rows(int(context.node_config["partition-id"])), AnswerPolicy(codebook, **policy))

    return app


def grid_of(*faults: Mapping[str, Any], n: int = N, **options: Any) -> InMemoryGrid:
    return apps.secure_grid(n, *faults, app=app_of(**options))


def pooled(parties: Sequence[Rows]) -> Rows:
    return {name: np.concatenate([np.asarray(rows[name], object) for rows in parties]) for name in parties[0]}


# What must come out, from all rows in one place


def expect(question: Question, codebook: Any, rows: Rows, result: Result) -> None:
    names = question.names
    if isinstance(codebook[names[0]], Category):
        expect_labels(question, codebook, rows, result)
        return
    x = np.stack([np.asarray(rows[name], float) for name in names])
    low, high = (np.array([[getattr(codebook[name], end)] for name in names]) for end in ("low", "high"))
    x = x[:, ~np.isnan(x).any(axis=0)]
    clipped = np.clip(x, low, high)
    assert result.values == x.shape[1]
    found: Any = result
    assert (found.incomplete if isinstance(question, Covariance) else found.missing) == len(rows[names[0]]) - x.shape[1]
    if isinstance(question, Covariance):
        assert found.clipped == tuple((x != clipped).sum(axis=1))
        for at, mean in enumerate(found.means or ()):
            assert abs(mean - clipped[at].mean()) < 1e-5 * (high - low)[at]
        if x.shape[1] > 1:
            assert np.all(np.abs(np.array(found.covariance) - np.cov(clipped)) <= np.array(found.errors) * (1 + 1e-9))
        else:
            assert found.covariance is None
    elif not isinstance(question, Count):
        expect_numbers(question, codebook[names[0]], x[0], clipped[0], found)


def expect_numbers(question: Question, column: Number, x: np.ndarray, clipped: np.ndarray, found: Any) -> None:
    if isinstance(question, Histogram):
        edges = np.array(column.edges if question.edges is None else question.edges)
        assert found.edges == pytest.approx(edges)
        inside = x[(x >= found.edges[0]) & ((x < found.edges[-1]) | ((x <= column.high) & (found.edges[-1] == column.high)))]
        assert found.counts == tuple(np.histogram(inside, found.edges)[0])
        assert found.below == np.count_nonzero(x < found.edges[0])
        assert found.below + sum(found.counts) + found.above == len(x)
        return
    assert (found.below, found.above) == (np.count_nonzero(x < column.low), np.count_nonzero(x > column.high))
    if isinstance(question, Quantiles):
        assert found.error == column.step / 2
        for share, value in found.quantiles.items():
            assert abs(value - np.sort(clipped)[max(int(np.ceil(share * len(x) - 1e-9)), 1) - 1]) <= found.error * (1 + 1e-9)
        return
    assert (found.mean is None) == (len(x) == 0)
    if found.mean is not None:
        assert abs(found.mean - clipped.mean()) <= found.error + 1e-12 * max(abs(column.low), abs(column.high))
    if isinstance(question, Variance):
        assert (found.variance is None) == (len(x) < 2)
        if found.variance is not None:
            assert abs(found.variance - clipped.var(ddof=1)) <= found.variance_error * (1 + 1e-9)


def expect_labels(question: Question, codebook: Any, rows: Rows, result: Any) -> None:
    values = [[None if value is None or value != value else value for value in rows[name]] for name in question.names]
    labels = [codebook[name].labels for name in question.names]
    if isinstance(question, Crosstab):
        pairs = list(zip(*values, strict=True))
        assert result.counts == tuple(tuple(pairs.count((one, other)) for other in labels[1]) for one in labels[0])
        assert result.left_out == len(pairs) - sum(map(sum, result.counts)) == len(pairs) - result.values
        return
    assert result.counts == {label: values[0].count(label) for label in labels[0]}
    assert result.missing == values[0].count(None)
    assert result.values == len(values[0]) - result.missing == sum(result.counts.values()) + result.other


# Over the protocol


def test_every_question_in_one_secure_round_is_numpy_on_the_pooled_rows() -> None:
    grid = grid_of()
    analytics = Analytics(grid, CODEBOOK)
    results = analytics.ask(*EVERYTHING)
    rows = pooled([rows_of(party) for party in range(N)])
    for question, result in zip(EVERYTHING, results, strict=True):
        assert result.parties == N
        expect(question, CODEBOOK, rows, result)
        assert json.dumps(result.as_dict(), allow_nan=False)
    assert [report.phase for report in analytics.reports] == ["train"]
    assert analytics.reports[0].clipped == 0


def test_who_drops_out_is_in_no_number() -> None:
    analytics = Analytics(grid_of({"action": "drop-reply", "node": 2, "step": "train"}), CODEBOOK)
    results = analytics.ask(*EVERYTHING)
    rows = pooled([rows_of(party) for party in range(N) if party != 2])
    for question, result in zip(EVERYTHING, results, strict=True):
        assert result.parties == N - 1
        expect(question, CODEBOOK, rows, result)


def test_in_malicious_mode() -> None:
    roster = apps.roster_of(N)
    grid = grid_of(mod=apps.malicious_mod(N))
    ages = Analytics(grid, CODEBOOK, mode="malicious", roster=roster).histogram("age")
    expect(Histogram("age"), CODEBOOK, pooled([rows_of(party) for party in range(N)]), ages)


def test_describe_and_the_short_forms() -> None:
    rows = pooled([rows_of(party) for party in range(N)])
    found = Analytics(grid_of(), CODEBOOK).describe()
    assert {name: list(results) for name, results in found.items()} == {
        "age": ["variance", "quantiles"],
        "bmi": ["variance", "quantiles"],
        "sex": ["frequencies"],
        "stage": ["frequencies"],
    }
    expect(Variance("age"), CODEBOOK, rows, found["age"]["variance"])
    analytics = Analytics(grid_of(times=9), CODEBOOK, slots=600, action="default")
    for question, result in (
        (Mean("age"), analytics.mean("age")),
        (Variance("age"), analytics.variance("age")),
        (Histogram("age", (0, 60)), analytics.histogram("age", [0, 60])),
        (Quantiles("age", (0.3,)), analytics.quantiles("age", [0.3])),
        (Frequencies("sex"), analytics.frequencies("sex")),
        (Crosstab("sex", "stage"), analytics.crosstab("sex", "stage")),
        (Covariance(("age", "bmi")), analytics.covariance("age", "bmi")),
    ):
        expect(question, CODEBOOK, rows, result)
    assert len(analytics.reports) == 7


def test_no_number_of_a_party_is_in_what_the_coordinator_gets() -> None:
    """The bytes of the answer itself, and its numbers as doubles; in a plain run the same search finds them."""
    answers: list[np.ndarray] = []
    spy = SecAggMod(state_dir=apps.scratch())

    def kept(message: Message, context: Any, call_next: Any) -> Message:
        reply = call_next(message, context)
        answers.append(reply.content["arrays"][TENSOR].numpy())
        return reply

    app = ClientApp(mods=[spy, kept])
    policy = AnswerPolicy(CODEBOOK, ledger=apps.scratch() / "told.db")
    app.train()(lambda message, context: answer(message, context, rows_of(context.node_config["partition-id"]), policy))
    grid = apps.secure_grid(N, app=app)
    Analytics(grid, CODEBOOK, action="default").ask(Variance("age"), Variance("bmi"), Frequencies("sex"))
    assert len(answers) == N
    received = b"|".join(record.payload for record in grid.dump if record.direction == "up")
    assert not [value for tensor in answers for value in tensor if value and value.tobytes() in received]


# Any tables: the arithmetic behind it, through the real encoding


def summed(codebook: Any, questions: Sequence[Question], parties: Sequence[Rows]) -> tuple[Result, ...]:
    batch = Batch.of(codebook, questions)
    received = {TENSOR: np.zeros(batch.size)}
    plan = EncodingPlan.for_arrays(received, parties=len(parties), ring_bits=64, clip=1.0, max_weight=1, uniform=True, metric_slots=0)
    rng, total = np.random.default_rng(7), None
    for rows in parties:
        table = Table(codebook, rows, list(batch.codebook))
        numbers = [number for question in batch.questions for number in question.answer(table)]
        total = added(plan, total, {TENSOR: fixed.to_tensor(numbers, batch.size)}, rng)
    assert total is not None
    decoded = decode_sum(plan, total, len(parties), received, MetricSchema(()))
    return batch.results(fixed.from_mean(decoded.arrays[TENSOR], len(parties), decoded.error_bound, batch.size), len(parties))


def added(plan: EncodingPlan, total: Vector | None, trained: Mapping[str, np.ndarray], rng: np.random.Generator) -> Vector:
    def fill(out: np.ndarray) -> None:
        out.view(np.uint8)[:] = rng.integers(0, 256, out.nbytes, np.uint8)

    vector = encode_update(plan, {TENSOR: np.zeros_like(trained[TENSOR])}, trained, 1, {}, fill).vector
    if total is None:
        return vector
    total.add(vector, plan)
    return total


numbers_or_none = (
    st.none() | st.floats(-1e3, 1e3, allow_subnormal=False) | st.sampled_from([-50.0, -12.5, 0.0, 0.3, 0.7, 80.0, np.inf, -np.inf])
)
labels_or_none = st.none() | st.sampled_from(["a", "b", "c", 7, 8])
row = st.tuples(numbers_or_none, numbers_or_none, labels_or_none, labels_or_none)
tables = st.lists(st.lists(row, max_size=12), min_size=2, max_size=4)


@settings(max_examples=40, deadline=None)
@given(tables, st.sampled_from([0.5, 26.0]))
def test_any_tables(parties: list[list[tuple[Any, ...]]], step: float) -> None:
    codebook = {"x": Number(-50, 80, step=step), "y": Number(0, 1, step=0.05), "k": Category("a", "b"), "l": Category("b", 7)}
    split = [
        dict(zip("xykl", map(list, zip(*rows, strict=True)), strict=True)) if rows else {key: [] for key in "xykl"} for rows in parties
    ]
    questions = (
        Count("x"),
        Mean("y"),
        Variance("x"),
        Histogram("x"),
        Histogram("y", (0.25, 0.75, 1)),
        Histogram("y", (0, 0.5)),
        Quantiles("x", (0, 0.07, 0.5, 1)),
        Frequencies("k"),
        Crosstab("k", "l"),
        Covariance(("x", "y")),
    )
    rows = {name: np.array([value for party in split for value in party[name]], object) for name in "xykl"}
    for question, result in zip(questions, summed(codebook, questions, split), strict=True):
        expect(question, codebook, rows, result)


@pytest.mark.parametrize("parties", [2, 31, fixed.MAX_PARTIES])
def test_whole_numbers_up_to_the_limit_add_up_exactly(parties: int) -> None:
    rng = np.random.default_rng(parties)
    numbers = [[fixed.MAX_NUMBER, -fixed.MAX_NUMBER, *map(int, rng.integers(-(1 << 40), 1 << 40, 20)), 1, 0] for _ in range(parties)]
    received = {TENSOR: np.zeros(24)}
    plan = EncodingPlan.for_arrays(received, parties=parties, ring_bits=64, clip=1.0, max_weight=1, uniform=True, metric_slots=0)
    total = None
    for own in numbers:
        total = added(plan, total, {TENSOR: fixed.to_tensor(own, 24)}, rng)
    assert total is not None
    decoded = decode_sum(plan, total, parties, received, MetricSchema(()))
    assert fixed.from_mean(decoded.arrays[TENSOR], parties, decoded.error_bound, 24) == [
        sum(column) for column in zip(*numbers, strict=True)
    ]
    assert decoded.clipped == 0


def test_over_the_limits_nothing_is_said() -> None:
    with pytest.raises(LocalError, match=r"over 2\^40"):
        fixed.to_tensor([fixed.MAX_NUMBER + 1], 1)
    with pytest.raises(LocalError, match="are not exact"):
        fixed.from_mean(np.zeros(1), 512, 2.0**-50, 1)
    with pytest.raises(PeerError, match="longer than the questions"):
        fixed.from_mean(np.array([0.0, 0.5]), 3, 2.0**-50, 1)


def test_an_edge_belongs_to_the_bin_above_it_and_the_top_of_the_range_to_the_last() -> None:
    codebook = {"x": Number(0, 1, step=0.1)}
    rows = {"x": [0.0, 0.1, 0.3, 0.7, np.nextafter(0.7, 0), 1.0, 1.1, -0.1]}
    whole, part = (
        question.read(codebook, question.answer(Table(codebook, rows, ["x"])), 1)
        for question in (Histogram("x"), Histogram("x", (0.1, 0.7)))
    )
    assert whole.counts == (1, 1, 0, 1, 0, 0, 1, 1, 0, 1)
    assert (whole.below, whole.above) == (1, 1)
    assert (part.below, part.counts, part.above) == (2, (3,), 3)


# What a party does not answer


def refusing(grid: InMemoryGrid, ask: Callable[[], object], caplog: pytest.LogCaptureFixture, reason: str) -> None:
    with caplog.at_level(logging.ERROR, "stfed"), pytest.raises(QuorumError) as caught:
        ask()
    assert "QuestionRefusedError" in str(caught.value)
    assert reason not in str(caught.value), "the coordinator is told that it was refused, not why"
    assert reason in caplog.text


@pytest.mark.parametrize(
    ("codebook", "policy", "question", "reason"),
    [
        ({"age": CODEBOOK["age"]}, {}, Mean("bmi"), "is not in this party's codebook"),
        ({**CODEBOOK, "age": Number(0, 120, step=10)}, {}, Mean("age"), "this party's codebook says"),
        ({**CODEBOOK, "sex": Category("m", "f")}, {}, Frequencies("sex"), "this party's codebook says"),
        (CODEBOOK, {"max_numbers": 502}, Histogram("bmi"), "has 503 numbers"),
        (CODEBOOK, {"pairs": False}, Crosstab("sex", "stage"), "more than one column"),
        (CODEBOOK, {"pairs": False}, Covariance(("age", "bmi")), "more than one column"),
        (CODEBOOK, {"min_rows": 75}, Mean("age"), "its policy asks for 75"),
    ],
)
def test_what_a_policy_forbids(codebook: Any, policy: Any, question: Question, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    grid = grid_of(n=3, codebook=codebook, **policy)
    refusing(grid, lambda: Analytics(grid, CODEBOOK).ask(question), caplog, reason)


def test_a_party_with_few_rows_is_not_in_the_sum_rather_than_in_it_with_zeros() -> None:
    grid = grid_of(min_rows=40)
    analytics = Analytics(grid, CODEBOOK)
    ages = analytics.histogram("age")
    assert apps.parties(grid, analytics.reports[0].summed) == [1, 2, 3, 4]
    expect(Histogram("age"), CODEBOOK, pooled([rows_of(party) for party in range(1, N)]), ages)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (Histogram("age", (0, 60)), Histogram("age", (0, 65))),
        (Mean("age"), Histogram("age")),
        (Mean("age"), Covariance(("bmi", "age"))),
        (Frequencies("sex"), Crosstab("stage", "sex")),
    ],
)
def test_a_column_is_told_of_once_whatever_the_words_and_the_run(
    first: Question, again: Question, caplog: pytest.LogCaptureFixture
) -> None:
    folder = apps.scratch()
    Analytics(grid_of(n=3, folder=folder), CODEBOOK).ask(first)
    later = apps.secure_grid(3, app=app_of(folder=folder), run_id=77)
    refusing(later, lambda: Analytics(later, CODEBOOK).ask(again), caplog, "was told of as often as this party's policy allows")
    Analytics(apps.secure_grid(3, app=app_of(folder=folder, times=2), run_id=78), CODEBOOK).ask(again)
    told = Ledger(folder / "told.db").told(later.node(0).node_id)
    assert told == {name: 1 + (name in first.names) for name in again.names}


def test_a_ledger_takes_all_or_nothing() -> None:
    ledger = Ledger(apps.scratch() / "new" / "told.db")
    ledger.spend(1, 5, ["a", "b"], 1)
    with pytest.raises(LocalError, match="'b' was told of as often"):
        ledger.spend(1, 6, ["c", "b"], 1)
    assert ledger.told(1) == {"a": 1, "b": 1}
    ledger.spend(2, 6, ["b"], 1)
    assert ledger.path.stat().st_mode & 0o777 == 0o600


def zeros(array: np.ndarray) -> ArrayRecord:
    return ArrayRecord({TENSOR: Array(array)})


def questions(text: object) -> ConfigRecord:
    return ConfigRecord({"stfed.questions": text if isinstance(text, str) else json.dumps(text, separators=(",", ":"), sort_keys=True)})


AGE = {"age": CODEBOOK["age"].as_dict()}


@pytest.mark.parametrize(
    ("part", "value", "match"),
    [
        ("arrays", zeros(np.full(8, 0.25)), "not a line of zeros"),  # a comparison with whatever the coordinator likes
        ("arrays", zeros(np.zeros(8, np.float32)), "not a line of zeros"),
        ("arrays", zeros(np.zeros((8, 1))), "not a line of zeros"),
        ("arrays", zeros(np.zeros(4)), "has room for 4"),
        ("arrays", ConfigRecord({}), "no questions in it"),
        ("more", ConfigRecord({"a": 1}), "no questions in it"),
        ("config", ConfigRecord({}), "no questions in it"),
        ("config", questions("{}"), "not written as questions are"),
        ("config", questions("{ }"), "not in canonical form"),
        ("config", questions({"columns": {}, "questions": []}), "no question to ask"),
        ("config", questions({"columns": AGE, "questions": [{"kind": "sort", "column": "age"}]}), "this is no question"),
        ("config", questions({"columns": AGE, "questions": [{"kind": "mean"}]}), "has other fields"),
        ("config", questions({"columns": AGE, "questions": [{"kind": "mean", "column": "age", "where": "sex"}]}), "has other fields"),
        ("config", questions({"columns": AGE, "questions": [{"kind": "mean", "column": 3}]}), "is no string"),
        (
            "config",
            questions({"columns": {"age": {"low": 0}}, "questions": [{"kind": "mean", "column": "age"}]}),
            "no column of a codebook",
        ),
        ("config", questions({"columns": {}, "questions": [{"kind": "mean", "column": "age"}]}), "no column 'age'"),
        (
            "config",
            questions({"columns": AGE, "questions": [{"kind": "histogram", "column": "age", "edges": [0, 63.001]}]}),
            "no edge at 63",
        ),
    ],
)
def test_what_is_no_question_is_refused(part: str, value: Any, match: str) -> None:
    content = Batch.of(CODEBOOK, [Mean("age")]).content(8)
    content[part] = value
    with pytest.raises(LocalError, match=match):
        Batch.read(content)


def test_a_question_survives_the_wire() -> None:
    batch = Batch.of(CODEBOOK, EVERYTHING)
    read, slots = Batch.read(batch.content(1050))
    assert (read, slots) == (batch, 1050)


def test_whatever_goes_wrong_with_the_data_has_one_name(caplog: pytest.LogCaptureFixture) -> None:
    for rows in ({"age": ["old"] * 30}, {"age": [[1.0]] * 30}, {"bmi": [1.0] * 30}, {"age": [1j] * 30}):
        grid = grid_of(n=3, rows=lambda party, rows=rows: rows)
        refusing(grid, lambda grid=grid: Analytics(grid, CODEBOOK).mean("age"), caplog, "this party does not answer: ")


# One encoding a run


def test_questions_of_other_length_need_room_from_the_start_or_a_run_of_their_own() -> None:
    analytics = Analytics(grid_of(), CODEBOOK)
    analytics.mean("age")
    with pytest.raises(LocalError, match="this run has room for 5"):
        analytics.histogram("age")
    grid = grid_of()
    Analytics(grid, CODEBOOK).mean("age")
    with pytest.raises(QuorumError, match="another one than in the first round of this run"):
        Analytics(grid, CODEBOOK).histogram("age")


def test_a_training_does_not_fit_into_the_run_of_an_analysis() -> None:
    grid = grid_of()
    Analytics(grid, CODEBOOK).mean("age")
    with pytest.raises(QuorumError, match="another one than in the first round of this run"):
        apps.secure().start(grid, apps.model(), 1)


# What a coordinator is told before anything is sent


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Number(0, 1, 0.3), "a whole number of steps"),
        (lambda: Number(1, 1, 0.1), "has no range"),
        (lambda: Number(0, float("inf"), 1), "finite number"),
        (lambda: Number(0, 1, 1e-9), "at most 65536"),
        (lambda: Number(0, True, 1), "finite number"),
        (lambda: Category(), "different labels"),
        (lambda: Category("a", "a"), "different labels"),
        (lambda: Category("a", 1.5), "a string or a whole number"),  # type: ignore[arg-type]
        (lambda: Quantiles("age", (1.5,)), "from 0 to 1"),
        (lambda: Covariance(("age",)), "a list of 2 or more"),
        (lambda: Covariance(("age", "age")), "different columns"),
        (lambda: Histogram("age", (5,)), "a list of 2 or more"),
        (lambda: Batch.of(CODEBOOK, ()), "no question"),
        (lambda: Batch.of(CODEBOOK, [Mean("weight")]), "no column 'weight'"),
        (lambda: Batch.of(CODEBOOK, [Mean("sex")]), "is a category"),
        (lambda: Batch.of(CODEBOOK, [Frequencies("age")]), "is a number"),
        (lambda: Batch.of(CODEBOOK, [Histogram("age", (0, 7))]), "no edge at 7"),
        (lambda: Batch.of(CODEBOOK, [Histogram("age", (60, 0))]), "do not rise"),
        (lambda: AnswerPolicy(CODEBOOK, min_rows=0), "min_rows is 0"),
        (lambda: AnswerPolicy({"age": (0, 1)}), "a codebook is"),
    ],
)
def test_what_makes_no_sense(make: Callable[[], object], match: str) -> None:
    with pytest.raises(LocalError, match=match):
        make()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"clip": 2.0}, "clip: this is fixed"),
        ({"uniform": False}, "uniform: this is fixed"),
        ({"gama": 0.1}, "the settings are"),
        ({"group_size": 3}, "without groups"),
        ({"mode": "malicious"}, "roster"),
    ],
)
def test_settings_that_are_not_up_to_the_caller(options: Any, match: str) -> None:
    grid = grid_of()
    with pytest.raises(LocalError, match=match):
        Analytics(grid, CODEBOOK, **options)
    assert grid.dump == []


def test_too_few_parties_there() -> None:
    with pytest.raises(QuorumError, match="5 parties are there, 6 are needed"):
        Analytics(grid_of(), CODEBOOK, min_parties=6, timeout_s=0.0).mean("age")


def test_a_party_does_not_load_the_coordinators_half() -> None:
    code = "import sys; from stfed.flower.analytics import answer; print([m for m in sys.argv[1:] if m in sys.modules])"
    unwanted = ["stfed.flower.grid", "stfed.flower.strategy", "torch", "stfed.testing", "pandas"]
    result = subprocess.run([sys.executable, "-c", code, *unwanted], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"


def test_small_variances_are_not_below_zero_and_have_no_correlation() -> None:
    codebook = {"x": Number(0, 100, step=1), "y": Number(0, 100, step=1)}
    rows = {"x": [33.3] * 9, "y": [1.0, 2.0] * 4 + [3.0]}
    variance, covariance = summed(codebook, (Variance("x"), Covariance(("x", "y"))), [rows, rows])
    assert variance.variance >= 0
    assert variance.deviation is not None
    assert covariance.correlation is None
    other = replace(covariance, covariance=((4.0, 1.0), (1.0, 1.0)))
    assert other.correlation == ((1.0, 0.5), (0.5, 1.0))


# The example and the page

ROOT = Path(__file__).parents[2]


def survey_run(folder: Path, out: Path) -> InMemoryGrid:
    """The example's own apps, five hospitals in memory."""
    from survey import client_app, server_app

    def config(hospital: int) -> dict[str, Any]:
        return {"partition-id": hospital, "num-partitions": N, "stfed-state-dir": str(folder)}

    grid = InMemoryGrid(client_app.app, N, node_config=config)
    server_app.app(grid, Context(grid.run.run_id, 0, {}, RecordDict(), {"min-parties": N, "out": str(out)}))
    return grid


def test_the_example_is_numpy_on_the_real_rows_and_draws_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = importlib.import_module("examples.analytics.__main__")
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "analytics"))

    def run(folder: Path) -> list[dict[str, Any]]:
        survey_run(apps.scratch(), folder / "answers.json")
        answers: list[dict[str, Any]] = json.loads((folder / "answers.json").read_text())
        return answers

    monkeypatch.setattr(demo, "run", run)
    assert demo.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert pinned_app.load("survey.client_app:app")[1] is secagg_mod, "a node can be pinned to it: no function is reached past the mod"
    assert "569 patients of 5 hospitals: 212 malignant, 357 benign" in printed
    assert "every answer is that of the pooled rows" in printed
    assert (tmp_path / "histogram.png").stat().st_size > 10_000
    pooled_module = importlib.import_module("examples.analytics.pooled")
    answers = json.loads((tmp_path / "answers.json").read_text())
    for answer_, field, wrong in zip(answers[:1] + answers[-3:-1], ("mean", "counts", "counts"), (0.0, [], {}), strict=True):
        assert list(pooled_module.differences({**answer_, field: wrong})), "the demo sees an answer that is wrong"


def test_the_blocks_of_the_page_run() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "analytics.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
