"""Secure and plain side by side: the difference is what the logs say, and a plain run is called what it is."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp.strategy import FedAvg

from stfed.errors import LocalError, MalformedError, StfedError
from stfed.flower.plain import PlainAggregation
from stfed.report.beside import load
from stfed.report.blocks import Chart, Report, Table, Warn
from stfed.report.eventlog import read
from stfed.report.html import to_html
from stfed.report.making import make_report
from stfed.report.pdf import to_pdf
from stfed.report.run import Run, State
from stfed.report.schema import faults
from stfed.testing import InMemoryGrid
from tests.cli.commands import done
from tests.flower import apps

N, ROUNDS = 10, 3


def accuracy(offset: float) -> object:
    return lambda number, arrays: MetricRecord({"accuracy": 0.5 + number / 16 + offset})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A secure run, and plain ones; one party drops out of all of them."""
    folder = tmp_path_factory.mktemp("runs")
    apps.secure(FedAvg(), events=folder / "secure" / "events.jsonl").start(
        apps.secure_grid(N, {"action": "drop-reply", "node": 3, "step": "train"}), apps.model(), ROUNDS, evaluate_fn=accuracy(0.0)
    )
    for name, offset in (("plain", 0.01), ("seed", 0.04)):
        start(folder / name / "events.jsonl", offset)
    return folder


def start(log: Path, offset: float = 0.0) -> ArrayRecord | None:
    random.seed(7)  # Flower's own choice of the order of the parties
    return PlainAggregation(FedAvg(), events=log).start(grid(), apps.model(), ROUNDS, evaluate_fn=accuracy(offset)).arrays


def grid() -> InMemoryGrid:
    """The same parties without the mod; a secure sum calls its step TRAIN in an evaluation too."""
    return apps.plain_grid(N, *({"action": "drop-reply", "node": 3, "step": step} for step in ("train", "evaluate")))


def section(report: Report, title: str) -> str:
    (found,) = (one for one in report.sections if one.title == title)
    return json.dumps([getattr(block, "rows", getattr(block, "text", None)) for block in found.blocks])


def test_a_plain_run_is_flowers_own_with_a_log(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    arrays = start(log)
    random.seed(7)
    flowers = FedAvg().start(grid(), apps.model(), ROUNDS)
    assert arrays is not None
    assert flowers.arrays is not None
    assert apps.distance(arrays, flowers.arrays) == 0
    events = read(log)
    assert {fault for event in events for fault in faults(event)} == set()
    run = Run.of(events)
    assert (run.state, run.rounds) == (State.DONE, ROUNDS)
    assert run.series()["train train_loss"] == pytest.approx({n: m["train_loss"] for n, m in flowers.train_metrics_clientapp.items()})
    assert run.series()["evaluate eval_acc"] == pytest.approx({n: m["eval_acc"] for n, m in flowers.evaluate_metrics_clientapp.items()})
    assert [one.summed for one in run.of_phase("train")] == [N - 1] * ROUNDS
    heavy = sum(array.numpy().nbytes for array in apps.model().values())
    assert all(N * heavy < one.bytes_down < 2 * N * (heavy + 400) for one in run.of_phase("train"))


def test_a_plain_run_that_fails_says_so(tmp_path: Path) -> None:
    def broken(number: int, arrays: ArrayRecord) -> MetricRecord:
        raise ValueError("no data")

    with pytest.raises(ValueError, match="no data"):
        PlainAggregation(FedAvg(), events=tmp_path / "log").start(apps.plain_grid(2), apps.model(), 1, evaluate_fn=broken)
    assert Run.of(read(tmp_path / "log")).state is State.FAILED
    with pytest.raises(LocalError, match="without SecureAggregation"):
        PlainAggregation(apps.secure(), events=tmp_path / "log")


def test_a_report_of_a_plain_run_says_in_red_that_nothing_was_protected(runs: Path) -> None:
    report = make_report(runs / "plain")
    (warning,) = (block for one in report.sections for block in one.blocks if isinstance(block, Warn))
    assert "NOTHING PROTECTED THE PARTIES" in warning.text
    assert '<p class="warn" role="alert">NOTHING PROTECTED THE PARTIES' in to_html(report)
    assert ("Mode", "NONE") in [(fact.name, fact.value) for fact in report.summary]
    assert to_pdf(report).startswith(b"%PDF-")
    secure = to_html(make_report(runs / "secure"))
    assert "NOTHING PROTECTED" not in secure
    assert 'class="warn"' not in secure


def test_the_difference_in_numbers_and_in_words(runs: Path) -> None:
    report = make_report(runs / "secure", beside=runs / "plain")
    (chart,) = (block for one in report.sections for block in one.blocks if isinstance(block, Chart) and block.y == "accuracy")
    assert chart.series["this run"] == pytest.approx({0: 0.5, 1: 0.5625, 2: 0.625, 3: 0.6875})
    assert chart.series["plain"][3] == pytest.approx(0.6975)
    text = section(report, "Secure and plain")
    assert '["accuracy, coordinator\'s data", "3", "0.6875", "0.6975", "-0.0100", "-0.0100"]' in text
    assert "they differ most in accuracy, by 0.0100" in text
    assert "by chance alone is not known here" in text
    seeds = section(make_report(runs / "secure", beside=[runs / "plain", runs / "seed"]), "Secure and plain")
    assert '"-0.0100", "0.6975", "0.7275"]' in seeds
    assert "no difference is larger than that" in seeds
    close = section(make_report(runs / "seed", beside=[runs / "plain", runs / "plain"]), "Secure and plain")
    assert "the difference in accuracy is larger than that" in close
    same = section(make_report(runs / "plain", beside=runs / "plain"), "Secure and plain")
    assert "equal to four digits in all that was measured" in same


def test_what_either_cost(runs: Path) -> None:
    report = make_report(runs / "secure", beside=runs / "plain")
    (found,) = (one for one in report.sections if one.title == "Secure and plain")
    (costs,) = (block for block in found.blocks if isinstance(block, Table) and block.header[0] == "mean of a round")
    rows = {row[0]: row[1:] for row in costs.rows}
    ours, theirs = (Run.of(read(runs / name / "events.jsonl")) for name in ("secure", "plain"))
    for name, count in (("bytes from the parties", "bytes_up"), ("bytes to the parties", "bytes_down")):
        ratio = sum(getattr(one, count) for one in ours.sums) / sum(getattr(one, count) for one in theirs.sums)
        assert float(rows[name][2]) == pytest.approx(ratio, abs=0.006)


def test_a_table_of_metrics_from_any_tool(runs: Path, tmp_path: Path) -> None:
    rows = [{"round": number, "accuracy": 0.5 + number / 10, "evaluate eval_acc": 0.25} for number in range(4)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    assert load(tmp_path / "a.json").series == load(tmp_path / "a.csv").series
    assert load(tmp_path / "a.csv").series["global accuracy"] == pytest.approx({0: 0.5, 1: 0.6, 2: 0.7, 3: 0.8})
    text = section(make_report(runs / "secure", beside=tmp_path / "a.csv"), "Secure and plain")
    assert '"0.6875", "0.8000", "-0.1125"' in text
    assert "What a round cost" not in text
    (tmp_path / "none.csv").write_text("round,f1\n1,0.5\n")
    assert "No metric is in both" in section(make_report(runs / "secure", beside=tmp_path / "none.csv"), "Secure and plain")


@pytest.mark.parametrize("text", ["", "accuracy\n0.5\n", "round,accuracy\none,0.5\n", "round,accuracy\n1,good\n"])
def test_what_is_no_table_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    if text:
        with pytest.raises(MalformedError, match="no table of numbers by round"):
            load(tmp_path / "a.csv")
    for bad in ("{}x", '{"round": 1}', "[1]", '[{"accuracy": 1}]', "7"):
        (tmp_path / "a.json").write_text(bad)
        with pytest.raises(StfedError, match="no table of numbers by round"):
            load(tmp_path / "a.json")
    with pytest.raises(LocalError, match="cannot be read"):
        load(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("latin.csv", b"round,a\xff\n1,2\n"),
        ("inf.json", b'[{"round": Infinity, "a": 1}]'),
        ("half.json", b'[{"round": 1.5, "a": 1}]'),
        ("big.json", b'[{"round": 1, "a": %s}]' % (b"9" * 400)),
        ("bigger.json", b'[{"round": 1, "a": %s}]' % (b"9" * 5000)),
        ("long.csv", b"round,a\n1," + b"9" * 200_000 + b"\n"),
        ("word.csv", b"round,a\n1," + b"x" * 100_000 + b"\n"),
        ("deep.json", b"[" * 100_000),
        ("empty.csv", b""),
        ("header.csv", b"round,accuracy\n"),
        ("rounds.csv", b"round\n1\n"),
        ("nothing.json", b"[]"),
    ],
)
def test_a_hostile_or_empty_table_is_one_short_error(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(MalformedError, match=r"no table of numbers by round: (its text|row 1|it holds no metric)") as caught:
        load(tmp_path / name)
    assert len(str(caught.value)) < 400


def test_a_number_that_is_not_finite_is_not_lost(runs: Path, tmp_path: Path) -> None:
    """Neither behind a metric that is equal, nor among seeds, nor where both have none."""
    rounds = "round,accuracy,evaluate eval_acc\n"
    same = load(runs / "secure").series["evaluate eval_acc"]
    for value in ("nan", "inf", "9" * 400):
        (tmp_path / "a.csv").write_text(f"{rounds}3,{value},{same[3]}\n")
        for others in ([tmp_path / "a.csv"], [tmp_path / "a.csv", runs / "seed"], [tmp_path / "a.csv", tmp_path / "a.csv"]):
            text = section(make_report(runs / "secure", beside=others), "Secure and plain")
            assert "they cannot be compared in accuracy: there a run has no finite number" in text
            assert "equal to four digits" not in text
            assert '"not finite", "not finite"' in text
    (tmp_path / "early.csv").write_text("round,accuracy\n1,0.1\n2,nan\n3,0.6875\n")
    early = section(make_report(runs / "secure", beside=tmp_path / "early.csv"), "Secure and plain")
    assert '"0.6875", "0.6875", "0", "not finite"]' in early, "the most in any round"
    between = section(make_report(runs / "secure", beside=[runs / "plain", tmp_path / "a.csv"]), "Secure and plain")
    assert "they differ most in accuracy, by 0.0100" in between
    assert '"not finite", "not finite"]' in between


def test_the_command(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    done(capsys, "report", runs / "secure", "--out", page, "--beside", runs / "plain", "--beside", runs / "seed")
    assert "Secure and plain" in page.read_text()
    assert "all 2 beside it, from" in page.read_text()
