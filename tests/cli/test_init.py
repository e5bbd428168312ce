"""`stfed init` changes what the README's diff changes and nothing else, or says what to do by hand."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands import ROOT, done, refused

PLAIN = ROOT / "examples" / "plain"
PROJECT = """\
[project]
name = "app"
version = "1.0.0"
dependencies = ["flwr>=1.41"]

[tool.flwr.app.components]
serverapp = "app.server:app"
clientapp = "app.client:app"
"""
CLIENT = "from flwr.clientapp import ClientApp\n\napp = ClientApp()\n"
SERVER = """\
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context) -> None:
    strategy = FedAvg()
    strategy.start(grid, None)
"""


def an_app(folder: Path, *, client: str = CLIENT, server: str = SERVER, project: str = PROJECT) -> Path:
    (folder / "app").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(project)
    (folder / "app" / "client.py").write_bytes(client.encode())
    (folder / "app" / "server.py").write_bytes(server.encode())
    return folder


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return shutil.copytree(PLAIN, tmp_path / "plain", ignore=shutil.ignore_patterns("__pycache__"))


def test_the_diff_is_shown_and_nothing_changed(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in plain.rglob("*") if path.is_file()}
    out, err = done(capsys, "init", plain)
    assert {path: path.read_bytes() for path in plain.rglob("*") if path.is_file()} == before
    assert "nothing was changed" in err
    added = [line[1:].strip() for line in out.splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert added[0] == "from stfed.flower import secagg_mod"
    assert "app = ClientApp(mods=[secagg_mod])" in added
    assert "from stfed.flower import SecureAggregation" in added
    assert any(line.startswith("strategy = SecureAggregation(FedAvg(") for line in added)
    assert '"stfed",' in added
    assert len(added) <= 6


def test_writing_is_what_the_diff_said_and_twice_is_once(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patched = shutil.copytree(plain, tmp_path / "patched")
    out, _ = done(capsys, "init", plain, "--write")
    subprocess.run(["patch", "-p1", "--fuzz=0"], input=out.encode(), cwd=patched, check=True, capture_output=True)
    files = {path.relative_to(plain): path.read_bytes() for path in plain.rglob("*") if path.is_file()}
    assert {path.relative_to(patched): path.read_bytes() for path in patched.rglob("*") if path.is_file()} == files
    out, err = done(capsys, "init", plain, "--write")
    assert out == ""
    assert "has it already" in err


CLIENTS = {
    "empty": ("ClientApp()", "ClientApp(mods=[secagg_mod])"),
    "mods": ("ClientApp(mods=[fixedclipping_mod])", "ClientApp(mods=[secagg_mod, fixedclipping_mod])"),
    "no mods": ("ClientApp(mods=[])", "ClientApp(mods=[secagg_mod])"),
    "a comma": ("ClientApp(\n    mods=[one],\n)", "ClientApp(\n    mods=[secagg_mod, one],\n)"),
    "qualified": ("flwr.clientapp.ClientApp()", "flwr.clientapp.ClientApp(mods=[secagg_mod])"),
    "not ASCII before": ('name = "Börse"; app = ClientApp()', 'name = "Börse"; app = ClientApp(mods=[secagg_mod])'),
}


@pytest.mark.parametrize("which", CLIENTS)
def test_client_apps(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = CLIENTS[which]
    head = '"""An app."""\n\nimport flwr\n\n'
    app = an_app(tmp_path / "a", client=f"{head}{before}  # ours\n")
    done(capsys, "init", app, "--write")
    text = (app / "app" / "client.py").read_text()
    assert text == f'"""An app."""\n\nimport flwr\nfrom stfed.flower import secagg_mod\n\n{after}  # ours\n'
    ast.parse(text)


_START, _S = "\n    strategy.start(grid=grid)", "\n    s.start(grid=grid)"
SERVERS = {
    "annotated": (f"strategy: FedAvg = FedAvg(){_START}", f"strategy: FedAvg = SecureAggregation(FedAvg()){_START}"),
    "at once": ("FedAdam(eta=1).start(grid, None)", "SecureAggregation(FedAdam(eta=1)).start(grid, None)"),
    "long": (f"strategy = FedAvg(\n        a=1,\n    ){_START}", f"strategy = SecureAggregation(FedAvg(\n        a=1,\n    )){_START}"),
    "another start": (
        f"timer.start()\n    strategy = FedAvg(){_START}",
        f"timer.start()\n    strategy = SecureAggregation(FedAvg()){_START}",
    ),
}


@pytest.mark.parametrize("which", SERVERS)
def test_server_apps(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = SERVERS[which]
    body = SERVER.partition("    strategy = ")[0]
    app = an_app(tmp_path / "a", server=f"{body}    {before}\n")
    done(capsys, "init", app, "--write")
    text = (app / "app" / "server.py").read_text()
    assert text == f"{body}    {after}\n".replace("import FedAvg\n", "import FedAvg\nfrom stfed.flower import SecureAggregation\n")


def test_line_ends_stay_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = an_app(tmp_path / "a", client=CLIENT.replace("\n", "\r\n"))
    done(capsys, "init", app, "--write")
    data = (app / "app" / "client.py").read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n") == 4


PROJECTS = {
    '["flwr>=1.41"]': '["stfed", "flwr>=1.41"]',
    "[]": '["stfed"]',
    '[\n    "flwr",\n]': '[\n    "stfed",\n    "flwr",\n]',
    '["stfed>=0.1"]': '["stfed>=0.1"]',
    '["stfed[torch]"]': '["stfed[torch]"]',
}


@pytest.mark.parametrize("before", PROJECTS)
def test_dependencies(before: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = an_app(tmp_path / "a", project=PROJECT.replace('["flwr>=1.41"]', before))
    done(capsys, "init", app, "--write")
    assert (app / "pyproject.toml").read_text() == PROJECT.replace('["flwr>=1.41"]', PROJECTS[before])


REFUSED = {
    "two client apps": ({"client": CLIENT + "other = ClientApp()\n"}, "2 calls of ClientApp"),
    "none": ({"client": "import flwr\n"}, "0 calls of ClientApp"),
    "an old one": ({"client": "import flwr\napp = ClientApp(make)\n"}, "a client_fn"),
    "mods from elsewhere": ({"client": "import flwr\napp = ClientApp(mods=mine)\n"}, "mods= is not a list"),
    "a strategy from elsewhere": ({"server": SERVER.replace("strategy = FedAvg()", "strategy, _ = mine()")}, "0 strategies"),
    "two strategies": ({"server": SERVER + "    strategy = FedAvg(b=2)\n"}, "2 strategies"),
    "no python": ({"client": "def\n"}, "line 1: no Python"),
    "no dependencies": ({"project": PROJECT.replace('dependencies = ["flwr>=1.41"]\n', "")}, "no [project] dependencies"),
    "no app": ({"project": PROJECT.replace("clientapp", "klientapp")}, "names no serverapp and clientapp"),
    "no file": ({"project": PROJECT.replace("app.client:app", "app.absent:app")}, "there is no such file"),
}


@pytest.mark.parametrize("which", REFUSED)
def test_what_is_not_understood_is_left_alone(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, text = REFUSED[which]
    app = an_app(tmp_path / "a", **files)
    before = {path: path.read_bytes() for path in app.rglob("*") if path.is_file()}
    assert text in refused(capsys, "init", app, "--write")
    assert {path: path.read_bytes() for path in app.rglob("*") if path.is_file()} == before


def test_a_folder_without_an_app(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no" in refused(capsys, "init", tmp_path)
