"""The event log and the reports: what happened, in order, complete, and no more than the coordinator may keep."""

from __future__ import annotations

import json
import math
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flwr.app import MetricRecord
from flwr.serverapp.strategy import FedAvg

from stfed.errors import LocalError, QuorumError
from stfed.flower.events import EventLog, RoundReport
from tests.flower import apps

N = 5


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_from_its_start_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "events.jsonl"
    strategy = apps.secure(FedAvg(), events=path)
    strategy.start(apps.secure_grid(N), apps.model(), 2, evaluate_fn=lambda t, arrays: MetricRecord({"accuracy": t / 4}))
    events = [event for event in lines(path) if event["event"] != "step"]
    assert [event["event"] for event in events] == [
        "start",
        "evaluation",
        "epoch",
        *("round", "round", "evaluation") * 2,
        "end",
    ]
    assert all(isinstance(event["time"], float) for event in events)
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    start, end = events[0], events[-1]
    assert (start["strategy"], start["num_rounds"], start["settings"]["clip"]) == ("FedAvg", 2, 1.0)
    assert end["failure"] is None
    evaluations = [(event["server_round"], event["metrics"]) for event in events if event["event"] == "evaluation"]
    assert evaluations == [(0, {"accuracy": 0.0}), (1, {"accuracy": 0.25}), (2, {"accuracy": 0.5})]
    rounds = [event for event in events if event["event"] == "round"]
    assert [(event["phase"], event["server_round"], event["round"]) for event in rounds] == [
        ("train", 1, 1),
        ("evaluate", 1, 2),
        ("train", 2, 3),
        ("evaluate", 2, 4),
    ]
    assert [strategy.reports[at].as_dict() for at in range(4)] == [
        {key: value for key, value in event.items() if key not in ("time", "event")} for event in rounds
    ]


def test_a_failure_is_in_the_round_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    grid = apps.secure_grid(N, *({"action": "drop-reply", "node": node, "step": "train"} for node in range(4)))
    with pytest.raises(QuorumError) as caught:
        apps.secure(events=path).start(grid, apps.model(), 2)
    events = [event for event in lines(path) if event["event"] != "step"]
    assert [event["event"] for event in events] == ["start", "epoch", "round", "end"]
    assert events[2]["failure"] == str(caught.value)
    assert events[2]["summed"] == []
    assert set(events[2]["dropped"]) == {str(grid.node(node).node_id) for node in range(4)}
    assert events[3]["failure"] == f"QuorumError: {caught.value}"


def test_a_wrong_setting_is_in_the_round_too(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with pytest.raises(LocalError):
        apps.secure(events=path, threshold=N).start(apps.secure_grid(N), apps.model(), 1)
    assert "t = 5" in next(event["failure"] for event in lines(path) if event["event"] == "round")


def test_an_interrupted_run_has_an_end(tmp_path: Path) -> None:
    def interrupt(server_round: int, arrays: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apps.secure(events=tmp_path / "events.jsonl").start(apps.secure_grid(N), apps.model(), 1, evaluate_fn=interrupt)
    assert lines(tmp_path / "events.jsonl")[-1]["failure"] == "interrupted"


def test_what_a_report_says() -> None:
    faults = [{"action": "drop-reply", "node": 1, "step": "train"}, {"action": "delay", "node": 2, "step": "prepare", "delay_s": 7.0}]
    grid = apps.secure_grid(N, *faults)
    strategy = apps.secure()
    strategy.start(grid, apps.model(), 1)
    (report,) = strategy.reports
    size = sum(array.size for array in apps.numpy_of(apps.model()).values())
    assert (report.phase, report.server_round, report.round, report.epoch) == ("train", 1, 1, 1)
    assert apps.parties(grid, report.asked) == list(range(N))
    assert apps.parties(grid, report.summed) == [0, 2, 3, 4]
    assert report.dropped == {grid.node(1).node_id: {"step": "train", "reason": "no reply", "detail": ""}}
    assert (report.n, report.k, report.graph, report.ring_bits, report.clip, report.max_weight) == (N, N - 1, "complete", 32, 1.0, 128.0)
    assert 2 <= report.t < N
    assert report.parameters == size
    assert report.total_weight == sum(map(apps.examples_of, (0, 2, 3, 4)))
    assert (report.clipped, report.saturated, report.failure) == (0, 0, None)
    assert set(report.seconds) == {"join", "prepare", "train", "unmask", "sum"}
    assert report.seconds["prepare"] == pytest.approx(7.0, abs=0.6)


def test_bytes_are_those_of_the_messages() -> None:
    """The protocol's own bytes and the model, without Flower's framing: less than what crossed, and most of it."""
    grid = apps.secure_grid(N)
    strategy = apps.secure()
    strategy.start(grid, apps.model(), 1)
    (report,) = strategy.reports
    for counted, direction in ((report.bytes_down, "down"), (report.bytes_up, "up")):
        crossed: Counter[str] = Counter()
        for record in grid.dump:
            crossed[record.step] += (record.direction == direction) * record.size_bytes
        assert set(counted) == {"join", "prepare", "train", "unmask"}
        for step, size in counted.items():
            framing = N * (3500 if step == "train" else 700)
            assert crossed[step] - framing < size < crossed[step]
    assert report.bytes_up["join"] == N * 88


def test_the_log_does_not_tell_the_total_weight(tmp_path: Path) -> None:
    """Not by itself and not through the error bound: two rounds' totals would tell the weight of who took part in one of them."""
    path = tmp_path / "events.jsonl"
    strategy = apps.secure(events=path)
    strategy.start(apps.secure_grid(N), apps.model(), 1)
    (report,) = strategy.reports
    (entry,) = (event for event in lines(path) if event["event"] == "round")
    assert "total_weight" not in entry
    assert report.total_weight not in [*entry.values(), *entry["metrics"].values()]
    assert report.error_bound <= entry["error_bound"] < 2 * report.error_bound
    assert math.log2(entry["error_bound"]).is_integer()
    assert RoundReport("train", ()).as_dict()["error_bound"] == 0.0


def test_node_ids_are_texts() -> None:
    big = (1 << 64) - 1
    entry = RoundReport("train", (big,), summed=(big,), dropped={big: {"step": "join", "reason": "no reply", "detail": ""}}).as_dict()
    assert json.loads(json.dumps(entry)) == entry
    assert (entry["asked"], entry["summed"], list(entry["dropped"])) == ([str(big)], [str(big)], [str(big)])


def test_the_log_is_private_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventLog(path).emit("one", value=1)
    EventLog(path).emit("two", value=[1.5, None, "x"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [(event["event"], event["value"]) for event in lines(path)] == [("one", 1), ("two", [1.5, None, "x"])]


def test_a_listener_hears_what_is_written(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    log = EventLog(tmp_path / "events.jsonl", heard.append)
    apps.secure(events=log).start(apps.secure_grid(N), apps.model(), 1)
    assert heard == lines(tmp_path / "events.jsonl")
    EventLog(listener=heard.append).emit("alone")
    assert heard[-1]["event"] == "alone"


def test_a_log_that_cannot_be_written_is_known_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "events.jsonl"):
        with pytest.raises(LocalError, match=r"event log .* cannot be written"):
            apps.secure(events=path)
