"""A report says what the logs say, names nobody, needs nothing else, and is written whole or not at all."""

from __future__ import annotations

import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flwr.app import ArrayRecord, MetricRecord

from stfed.audit import AuditLog
from stfed.errors import QuorumError
from stfed.keys import SigningKey
from stfed.keys.encryption import generate_keypair
from stfed.report.eventlog import read
from stfed.report.html import to_html
from stfed.report.making import make_report
from stfed.report.pdf import to_pdf
from stfed.report.run import Run
from tests.cli.commands import done, refused, run
from tests.flower import apps
from tests.flower.test_dp import private

N = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a private run with drops, sealed models and an audit log."""
    folder = tmp_path_factory.mktemp("run")
    with AuditLog(folder / "audit.db") as audit:
        secure = private(
            epsilon=100.0,
            events=folder / "events.jsonl",
            save=folder / "models",
            recipients=generate_keypair()[1],
            signer=SigningKey.generate(),
            audit=audit,
        )
        secure.start(apps.secure_grid(N, {"action": "drop-reply", "node": 3, "step": "train"}), apps.model(), 2, evaluate_fn=measured)
    return folder


def measured(number: int, arrays: ArrayRecord) -> MetricRecord:
    return MetricRecord({"accuracy": 0.5 + number / 10})


class _Page(HTMLParser):
    """What a page asks for from elsewhere, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.asked: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.asked += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href") and not (value or "").startswith("#")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_needs_nothing_else_and_names_nobody(made: Path) -> None:
    html = to_html(make_report(made))
    page = _Page(html)
    assert page.asked == []
    assert not {"script", "iframe", "img", "link", "object"} & set(page.tags)
    nodes = list(Run.of(read(made / "events.jsonl")).nodes())
    assert len(nodes) == N
    assert not any(node in html for node in nodes)
    assert {"svg", "table", "dl"} <= set(page.tags)


def test_failures_name_nobody_either(made: Path, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    secure = apps.secure(events=log)
    with pytest.raises(QuorumError):
        secure.start(apps.secure_grid(N, *({"action": "drop-reply", "node": node} for node in range(1, N))), apps.model(), 1)
    report, html = make_report(log), to_html(make_report(log))
    nodes = list(Run.of(read(log)).nodes())
    assert any(node in log.read_text() for node in nodes)
    assert not any(node in html for node in nodes)
    assert "failed" in report.summary[0].value


def test_the_page_says_what_the_logs_say(made: Path) -> None:
    text = " ".join(_Page(to_html(make_report(made, title="Heart <study>"))).texts)
    events = Run.of(read(made / "events.jsonl"))
    assert "Heart <study>" in text
    assert events.epsilon is not None
    assert f"epsilon {events.epsilon[0]:.3g} at delta" in text
    assert "came to its end" in text
    assert re.search(r"FedAvg, 2 of 2 rounds", text)
    for model in (made / "models").iterdir():
        assert model.name in text
    assert text.count("valid") == 2
    with AuditLog(made / "audit.db", create=False, read_only=True) as log:
        assert log.verify().root.hex() in text


def test_what_was_changed_afterwards_shows(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(made, folder)
    lines = (folder / "events.jsonl").read_text().replace(str(made), str(folder))
    (folder / "events.jsonl").write_text(lines)
    (folder / "models" / "round-001.safetensors").unlink()
    broken = folder / "models" / "round-002.safetensors"
    broken.write_bytes(broken.read_bytes()[:300])
    (folder / "audit.db").write_bytes(b"no log")
    text = " ".join(_Page(to_html(make_report(folder))).texts)
    assert "not there: No such file" in text
    assert "DAMAGED" in text
    assert "THE LOG DOES NOT VERIFY" in text


def test_a_run_that_goes_on_and_one_that_never_began(made: Path, tmp_path: Path) -> None:
    lines = (made / "events.jsonl").read_text().splitlines(keepends=True)
    log = tmp_path / "events.jsonl"
    for count in range(len(lines)):
        log.write_text("".join(lines[:count]))
        report = make_report(log)
        assert "has not" in report.summary[0].value
        if count % 8 == 0:  # drawing takes long
            assert "has not" in " ".join(_Page(to_html(report)).texts)


def test_as_pdf(made: Path) -> None:
    pdf = to_pdf(make_report(made, title="Herzstudie \N{GREEK SMALL LETTER EPSILON}"))
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) > 20_000


def test_the_command(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = done(capsys, "report", made, "--out", tmp_path / "page.html", "--beside", made)
    assert out.strip() == str(tmp_path / "page.html")
    assert "Beside the other run" in (tmp_path / "page.html").read_text()
    assert err.startswith("note: it names no party")
    done(capsys, "report", made / "events.jsonl", "--out", tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")
    assert "there is no event log" in refused(capsys, "report", tmp_path)
    assert run("report", made, "--out", tmp_path / "page.doc") == 2


@pytest.mark.parametrize("package", ["matplotlib", "fpdf"])
def test_without_the_extra_the_error_says_how_to_install_it(
    package: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert "pip install 'stfed[report]'" in refused(capsys, "report", made, "--out", tmp_path / "page.pdf")
    assert list(tmp_path.iterdir()) == []
