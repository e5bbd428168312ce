"""What was exported is what the log says, read back by TensorBoard's and MLflow's own readers; twice is once, and nobody is named."""

from __future__ import annotations

import os
import re
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ArrayRecord, MetricRecord

from stfed.errors import LocalError
from stfed.report import export as exporting
from stfed.report.eventlog import read
from stfed.report.export import TensorBoard, export, to_mlflow, to_tensorboard
from stfed.report.export.mlflow import Mlflow, _parted
from stfed.report.export.points import MEANINGS, Begin, Points, Scalar, Words
from stfed.report.run import Run
from tests.cli.commands import done, refused, run
from tests.flower import apps
from tests.flower.test_dp import private

accumulating = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="TensorBoard is not installed")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
tracking = pytest.importorskip("mlflow.tracking", reason="MLflow is not installed")
HParamsPluginData = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2").HParamsPluginData

N = 12


def measured(number: int, arrays: ArrayRecord) -> MetricRecord:
    return MetricRecord({"accuracy": 0.5 + number / 16})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of a run with drops and a run file, one in groups, and a private one."""
    folder = tmp_path_factory.mktemp("runs")
    grid = apps.secure_grid(N, {"action": "drop-reply", "node": 3, "step": "train"})
    apps.secure(apps.FedAvg(), events=folder / "drops" / "events.jsonl").start(grid, apps.model(), 3, evaluate_fn=measured)
    (folder / "drops" / "run.toml").write_text('learning-rate = 0.05\nrun-dir = "/srv/secret-place"\n')
    apps.secure(events=folder / "groups" / "events.jsonl", group_size=4).start(apps.secure_grid(8), apps.model(), 2)
    private(epsilon=100.0, events=folder / "private" / "events.jsonl").start(apps.secure_grid(N), apps.model(), 2)
    return folder


def scalars(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    """All scalars of a TensorBoard run: step, value and time."""
    accumulator = accumulating.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    names = accumulator.Tags()["scalars"]
    return {name: [(one.step, one.value, one.wall_time) for one in accumulator.Scalars(name)] for name in names}


def event_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def expected(log: Path) -> dict[str, dict[int, float]]:
    """What the report's own picture of the run has under the names of an export."""
    run = Run.of(read(log))
    return {name.replace(" ", "/", 1): dict(points) for name, points in run.series().items()}


def test_tensorboard_reads_what_the_log_says(runs: Path, tmp_path: Path) -> None:
    place = to_tensorboard(runs / "drops", tmp_path / "tb")
    assert place == tmp_path / "tb" / "drops"
    found = scalars(place)
    for name, points in expected(runs / "drops" / "events.jsonl").items():
        assert {step: value for step, value, _ in found[name]} == pytest.approx(points), name
    steps = [1, 2, 3]
    assert [(step, value) for step, value, _ in found["parties/train_summed"]] == [(step, N - 1) for step in steps]
    assert [value for _, value, _ in found["parties/train_dropped"]] == [1, 1, 1]
    events = {event["time"] for event in read(runs / "drops" / "events.jsonl")}
    assert {time for points in found.values() for _, _, time in points} <= events
    accumulator = accumulating.EventAccumulator(str(place)).Reload()
    words = accumulator.Tensors("protection")[-1].tensor_proto.string_val[0].decode()
    assert "11 parties (the fewest that a released sum was over)" in words
    plugin = accumulator.SummaryMetadata("_hparams_/session_start_info").plugin_data
    assert plugin.plugin_name == "hparams"
    assert {b"config.learning-rate", b"mode", b"semi-honest", b"FedAvg"} <= set(re.findall(rb"[\w.-]+", plugin.content))
    assert b"secret-place" not in event_file(place).read_bytes()
    again = HParamsPluginData.FromString(plugin.content).SerializeToString(deterministic=True)
    assert plugin.content == again, "the same bytes in every process: an export that goes on depends on it"


def test_the_reference_has_every_family(runs: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "report.md").read_text()
    assert all(f"| `{name}/` | {meaning} |" in page for name, meaning in MEANINGS.items())
    told = set[str]()
    for name in ("drops", "private"):
        points = Points(runs / name / "events.jsonl")
        items = [item for event in read(runs / name / "events.jsonl") for item in points.take(event)]
        told |= {item.name.partition("/")[0] for item in items if isinstance(item, Scalar)}
    assert told == set(MEANINGS)


def test_groups_are_one_point_a_round(runs: Path, tmp_path: Path) -> None:
    found = scalars(to_tensorboard(runs / "groups", tmp_path, name="by group"))
    assert [(step, value) for step, value, _ in found["parties/train_asked"]] == [(1, 8), (2, 8)]
    assert {step: value for step, value, _ in found["train/train_loss"]} == pytest.approx(
        expected(runs / "groups" / "events.jsonl")["train/train_loss"]
    )


def test_what_is_said_between_groups_does_not_part_them(runs: Path) -> None:
    events = read(runs / "groups" / "events.jsonl")
    first = next(number for number, event in enumerate(events) if event["event"] == "round")
    dispute = {"event": "dispute", "time": events[first]["time"], "round": 1, "accuser": "a", "accused": "b", "grievance": "share"}
    told = []
    for some in (events, [*events[: first + 1], dispute, *events[first + 1 :]]):
        points = Points(runs / "groups" / "events.jsonl")
        told.append([item for event in some for item in points.take(event) if isinstance(item, Scalar)])
    assert told[0] == told[1]


def test_privacy_spent(runs: Path, tmp_path: Path) -> None:
    spent = Run.of(read(runs / "private" / "events.jsonl")).epsilon
    assert spent is not None
    found = scalars(to_tensorboard(runs / "private", tmp_path))["privacy/epsilon"]
    assert [step for step, _, _ in found] == [1, 2]
    assert found[-1][1] == pytest.approx(spent[0])
    assert found[0][1] < found[1][1]


def test_a_longer_log_gives_the_same_items_and_more(runs: Path) -> None:
    """The ground that going on with an export stands on, at every place where a log can end."""
    for name in ("drops", "groups", "private"):
        log = runs / name / "events.jsonl"
        events, points = read(log), Points(log)
        whole = [item for event in events for item in points.take(event)]
        for cut in range(len(events)):
            part = Points(log)
            items = [item for event in events[:cut] for item in part.take(event)]
            assert items == whole[: len(items)]
        again = Points(log)
        twice = [item for event in [*events, *events] for item in again.take(event)]
        assert twice == whole + whole, "a log that two runs were appended to"


def test_exporting_again_adds_what_is_new_in_place(runs: Path, tmp_path: Path) -> None:
    lines = (runs / "groups" / "events.jsonl").read_bytes().splitlines(keepends=True)
    whole = event_file(to_tensorboard(runs / "groups", tmp_path / "whole")).read_bytes()
    log = tmp_path / "groups" / "events.jsonl"
    log.parent.mkdir()
    seen = set[int]()
    for cut in (1, len(lines) // 3, len(lines) // 2, len(lines) - 1, len(lines), len(lines)):
        log.write_bytes(b"".join(lines[:cut]))
        file = event_file(to_tensorboard(log, tmp_path / "tb"))
        assert whole.startswith(file.read_bytes())
        seen.add(file.stat().st_ino)
    assert file.read_bytes() == whole
    assert len(seen) == 1, "a TensorBoard that is open goes on reading the same file"
    file.write_bytes(b"damaged" + whole)
    to_tensorboard(log, tmp_path / "tb")
    assert file.read_bytes() == whole, "what is not the beginning is replaced"


def test_a_run_is_followed(runs: Path, tmp_path: Path) -> None:
    whole = event_file(to_tensorboard(runs / "drops", tmp_path / "whole")).read_bytes()
    log = tmp_path / "drops" / "events.jsonl"
    log.parent.mkdir()
    shutil.copy(runs / "drops" / "run.toml", log.parent)
    data = (runs / "drops" / "events.jsonl").read_bytes()
    sizes = list[int]()

    def write() -> bool:
        """A piece more at each look, and pieces end in the middle of lines."""
        log.write_bytes(data[: len(sizes) * 1500])
        sizes.append(sum(path.stat().st_size for path in (tmp_path / "tb").rglob("*tfevents*")))
        return False

    log.write_bytes(b"")
    export(log, TensorBoard(tmp_path / "tb", "drops"), follow=True, over=write, poll_s=0.0)
    assert event_file(tmp_path / "tb" / "drops").read_bytes() == whole
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 5, "it grew while the run went on"


def test_a_folder_of_another_run_is_refused(runs: Path, tmp_path: Path) -> None:
    to_tensorboard(runs / "drops", tmp_path, name="mine")
    before = event_file(tmp_path / "mine").read_bytes()
    with pytest.raises(LocalError, match="holds another run already"):
        to_tensorboard(runs / "groups", tmp_path, name="mine")
    assert event_file(tmp_path / "mine").read_bytes() == before
    for name in ("..", "a/b", ""):
        with pytest.raises(LocalError, match="cannot be named"):
            TensorBoard(tmp_path, name)


def test_failures_are_told_and_name_nobody(runs: Path) -> None:
    events = [dict(event) for event in read(runs / "drops" / "events.jsonl")]
    node = next(event["asked"][0] for event in events if event["event"] == "round")
    lost = next(event for event in events if event["event"] == "round")
    lost.update(failure=f"party {node} lied", summed=[])
    events[-1]["failure"] = f"QuorumError: {node}"
    points = Points(runs / "drops" / "events.jsonl")
    items = [item for event in events for item in points.take(event)]
    told = [item.text for item in items if isinstance(item, Words) and item.name == "failure"]
    assert [re.sub(r"P\d+", "P", text) for text in told] == ["train: party P lied", "QuorumError: P"]
    assert node not in repr(items)
    assert next(item.value for item in items if isinstance(item, Scalar) and item.name == "parties/train_summed") == 0


def logged(uri: str, run_id: str) -> tuple[Any, dict[str, list[tuple[int, float, int]]]]:
    """A run as MLflow has it, and all points of its metrics."""
    client = tracking.MlflowClient(uri)
    found = client.get_run(run_id)
    return found, {
        name: sorted((one.step, one.value, one.timestamp) for one in client.get_metric_history(run_id, name)) for name in found.data.metrics
    }


def test_mlflow_reads_what_the_log_says_and_twice_is_once(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In MLflow's store of files, which keeps a point as often as it is logged; its databases keep it once in any case."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = (tmp_path / "mlruns").as_uri()
    lines = (runs / "drops" / "events.jsonl").read_bytes().splitlines(keepends=True)
    shutil.copytree(runs / "drops", tmp_path / "drops")
    log = tmp_path / "drops" / "events.jsonl"
    log.write_bytes(b"".join(lines[: len(lines) // 2]))
    first = to_mlflow(log, mlflow, experiment="heart study")
    half, points = logged(mlflow, first)
    assert half.info.status == "RUNNING"
    assert 0 < len(points["global/accuracy"]) < 4
    log.write_bytes(b"".join(lines))
    for _ in range(2):
        assert to_mlflow(log, mlflow, experiment="heart study") == first
    whole, points = logged(mlflow, first)
    for name, by_round in expected(log).items():
        assert {step: value for step, value, _ in points[name]} == pytest.approx(by_round)
        assert len(points[name]) == len(by_round), "no point twice"
    times = {round(event["time"] * 1000) for event in read(log)}
    assert {time for some in points.values() for _, _, time in some} <= times
    assert (whole.info.status, whole.info.run_name) == ("FINISHED", "drops")
    assert whole.data.params.items() >= {"strategy": "FedAvg", "mode": "semi-honest", "n": "12", "config.learning-rate": "0.05"}.items()
    assert "config.run-dir" not in whole.data.params
    assert "the fewest that a released sum was over" in whole.data.tags["mlflow.note.content"]
    events = read(log)
    failed = tmp_path / "failed.jsonl"
    failed.write_text("".join(line.decode() for line in lines[:-1]) + '{"time": 9e9, "event": "end", "seconds": 1.0, "failure": "power"}\n')
    other = to_mlflow(failed, mlflow, experiment="heart study", name="again")
    assert other == first, "the same run, whose log says another end now"
    assert logged(mlflow, other)[0].info.status == "FAILED"
    second = to_mlflow(runs / "groups", mlflow, experiment="heart study")
    assert second != first
    text = b"".join(path.read_bytes() for path in (tmp_path / "mlruns").rglob("*") if path.is_file())
    nodes = Run.of(events).nodes()
    assert len(nodes) == N
    assert not any(node.encode() in text for node in nodes), "nobody is named"
    assert b"secret-place" not in text


def test_a_password_in_the_address_is_not_repeated(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = refused(capsys, "export", runs / "drops", "--mlflow", "http://me:hunter2@127.0.0.1:9/")
    assert "MLflow at http://127.0.0.1:9/ did not take the run" in said
    assert "hunter2" not in said


SECRETS = ("hunter2", "ssw0rd", "bob")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://bob:hunter2@127.0.0.1:9", "https://127.0.0.1:9"),
        ("https://bob:p@ssw0rd@127.0.0.1:9/a", "https://127.0.0.1:9/a"),
        ("https://h/a?password=hunter2#ssw0rd", "https://h/a"),
        ("postgresql://bob:hunter2@h:5432/db?sslpassword=ssw0rd", "postgresql://h:5432/db"),
        ("postgresql://bob:ssw0rd/hunter2@h/db", "postgresql://***"),
        ("postgresql://bob:1/hunter2@h/db", "postgresql://***"),
        ("postgresql://bob:1?hunter2@h/db", "postgresql://***"),
        ("postgresql://[bob:hunter2@h/db", "postgresql://***"),
        ("sqlite:////a/me@home/mlflow.db", "sqlite:////a/me@home/mlflow.db"),
        ("file:///a/me@home", "file:///a/me@home"),
        ("databricks", "databricks"),
    ],
)
def test_of_an_address_only_what_is_no_secret_is_shown(uri: str, shown: str) -> None:
    assert _parted(uri)[0] == shown


@pytest.mark.parametrize(
    "uri", ["https://bob:ssw0rd/hunter2@h", "https://bob:1/hunter2@h", "https://bob:1#hunter2@h", "https:bob:hunter2@h", "http://h:hunter2"]
)
def test_an_address_of_a_server_that_is_not_certain_is_refused(uri: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "export", runs / "drops", "--mlflow", uri)
    assert "cannot be read for certain" in said
    assert not any(secret in said for secret in SECRETS)


@pytest.mark.parametrize(
    "uri", ["http://bob:p@ssw0rd@127.0.0.1:9?token=hunter2", "nothing://bob:ssw0rd@h?x=hunter2", "nothing://bob:1/hunter2@h"]
)
def test_no_error_or_its_cause_has_a_secret(uri: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(LocalError, match="did not take the run") as caught:
        Mlflow(uri, "x")
    said = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr())
    said = said.replace(f'"{uri}"', "")
    assert "127.0.0.1" not in uri or "HTTPConnectionPool(host='127.0.0.1', port=9)" in said, "words are left whole"
    assert not any(secret in said for secret in SECRETS)


def test_a_folder_is_the_one_named_and_its_database_is_private(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m?x", "m#x", "m%20x", "m?x/inner"):
        assert "means something else in a database's address" in refused(capsys, "export", runs / "drops", "--mlflow", name)
    assert list(tmp_path.iterdir()) == []
    before = os.umask(0o022)
    try:
        run_id = to_mlflow(runs / "drops", "a folder, +&@é")
    finally:
        os.umask(before)
    database = tmp_path / "a folder, +&@é" / "mlflow.db"
    assert database.stat().st_mode & 0o777 == 0o600
    assert logged(f"sqlite:///{database}", run_id)[0].info.run_name == "drops"
    assert [path.name for path in tmp_path.iterdir()] == ["a folder, +&@é"]


def test_a_family_without_a_meaning_is_exported(tmp_path: Path) -> None:
    target = TensorBoard(tmp_path, "mine")
    target.write([Begin(1.0, "0" * 32, "1"), Scalar(2.0, 1, "query/loss", 0.5)])
    assert scalars(tmp_path / "mine")["query/loss"] == [(1, 0.5, 2.0)]


def test_the_command(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mlflow = tmp_path / "mlflow"
    out, err = done(capsys, "export", runs / "drops", "--tensorboard", tmp_path / "tb", "--mlflow", mlflow, "--follow", "--name", "mine")
    place, run_id = out.splitlines()
    assert place == str(tmp_path / "tb" / "mine")
    assert re.fullmatch("[0-9a-f]{32}", run_id)
    assert f"tensorboard --logdir {tmp_path / 'tb'}" in err
    found, points = logged(f"sqlite:///{mlflow / 'mlflow.db'}", run_id)
    assert found.info.run_name == "mine"
    assert [(step, value) for step, value, _ in points["global/accuracy"]] == [(step, 0.5 + step / 16) for step in range(4)]
    assert run("export", runs / "drops") == 2
    assert run("export", runs / "drops", "--tensorboard", tmp_path, "--experiment", "x") == 2
    assert "there is no event log" in refused(capsys, "export", tmp_path, "--tensorboard", tmp_path / "tb")
    (tmp_path / "new.jsonl").write_text("")
    assert "has not begun" in refused(capsys, "export", tmp_path / "new.jsonl", "--tensorboard", tmp_path / "tb")


@pytest.mark.parametrize(("package", "option"), [("tensorboard", "--tensorboard"), ("mlflow", "--mlflow")])
def test_without_the_extra_the_error_says_how_to_install_it(
    package: str, option: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert f"pip install 'stfed[{package}]'" in refused(capsys, "export", runs / "drops", option, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert exporting.name_of(runs / "drops") == "drops"
