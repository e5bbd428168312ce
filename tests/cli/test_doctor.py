"""`stfed doctor`: each thing that can be wrong is found, said and told what to do about, and nothing is changed."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stfed.cli import checkup
from stfed.testing.pki import Authority, ServerFiles
from tests.cli.commands import keys, run


def findings(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert run("doctor", "--json", *arguments) == code
    told = json.loads(capsys.readouterr().out)
    assert told["problems"] == sum(finding["level"] == "problem" for finding in told["findings"])
    return list(told["findings"])


def problem(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The only one."""
    (one,) = (finding for finding in found if finding["level"] == "problem")
    return one


@contextmanager
def server(files: ServerFiles | None) -> Iterator[int]:
    """Accepts connections, with TLS if it has a certificate; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    context = None
    if files is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                if context is None:
                    connection.sendall(b"hello\n")
                    continue
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def files(tmp_path: Path) -> ServerFiles:
    return Authority.new("Ours").issue(["127.0.0.1"], tmp_path)


def test_a_machine_without_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(capsys, "--state-dir", tmp_path / "state")
    assert {finding["area"] for finding in found} == {"software", "clock", "party", "state"}
    assert not (tmp_path / "state").exists()
    assert run("doctor", "--state-dir", tmp_path / "state") == 0
    assert capsys.readouterr().out.endswith("nothing stands in the way\n")


def test_versions_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        checkup, "requires", lambda _: ["numpy>=1.26,<2", "nowhere>=3", "absent>=1; extra == 'dp'", "flwr[x]>=1.41 ; extra == 'all'"]
    )
    monkeypatch.setattr(checkup, "version", lambda name: {"stfed": "0.1.0", "numpy": "2.4.6", "flwr": "1.42.0"}.get(name) or missing(name))
    levels = {finding.text: (finding.level, finding.hint) for finding in checkup.software()}
    assert levels["numpy 2.4.6 is installed, and numpy>=1.26,<2 is needed"] == ("problem", "pip install 'numpy>=1.26,<2'")
    assert levels["nowhere is not installed"][0] == "problem"
    assert levels["no differential privacy, and what it costs: absent is not installed"][0] == "note"


@pytest.mark.parametrize(
    ("needed", "installed", "fits"),
    [
        ("a>=1.26,<2", "1.26", True),
        ("a>=1.26,<2", "1.9.0", False),  # as text it would fit
        ("a>=1.26,<2", "2.0.dev1", False),
        ("a>=1.26,<3", "2.0rc1", True),  # somebody chose to install it
        ("a~=1.4.2", "1.4.9", True),
        ("a~=1.4.2", "1.5", False),
        ("a!=1.5", "1.5.0", False),
        ("a==1.5.*", "1.5.7+cpu", True),
        ("a>=2.13", "2.13.0+cpu", True),
        ("a>=1", "0!1.0", True),
        ("a", "7", True),
        ("a>=9; sys_platform == 'nowhere'", "7", None),
        ("a>=9; extra == 'dev'", "7", None),
    ],
)
def test_versions_are_compared_as_python_packages_are(
    needed: str, installed: str, fits: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "requires", lambda _: [needed])
    monkeypatch.setattr(checkup, "version", lambda name: "0.1.0" if name == "stfed" else installed)
    found = [finding.level for finding in checkup.software()][2:]
    assert found == ([] if fits is None else ["ok" if fits else "problem"])


def missing(name: str) -> str:
    raise checkup.PackageNotFoundError(name)


def test_a_clock_that_was_never_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup.time, "time", lambda: 1000.0)
    (found,) = checkup.clock()
    assert (found.level, found.hint) == ("problem", "set the clock, or start NTP")


def test_a_state_that_others_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o755)
    told = problem(findings(capsys, "--state-dir", tmp_path, code=1))
    assert (told["area"], told["hint"]) == ("state", f"chmod 700 {tmp_path}")


def test_a_party_that_is_not_on_the_roster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"hospital{i}" for i in range(6)]
    keys(tmp_path, *names, "stranger")
    roster = tmp_path / "roster.toml"
    assert run("roster", "init", roster, "--name", "Heart study") == 0
    for name in names:
        assert run("roster", "add", roster, name, "--key", tmp_path / f"{name}.pub", "--role", "party") == 0
    given = ("--roster", roster, "--state-dir", tmp_path / "state")
    texts = [finding["text"] for finding in findings(capsys, "--identity", tmp_path / "hospital2", *given)]
    assert any(text.startswith("on the roster as hospital2") for text in texts)
    told = problem(findings(capsys, "--identity", tmp_path / "stranger", *given, code=1))
    assert told["area"] == "party"
    assert "this party's own identity" in told["text"]
    (tmp_path / "hospital2").chmod(0o644)
    assert "hospital2" in problem(findings(capsys, "--identity", tmp_path / "hospital2", *given, code=1))["text"]


def test_the_right_superlink(files: ServerFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with server(files) as port:
        found = findings(capsys, "--state-dir", tmp_path / "s", "--superlink", f"127.0.0.1:{port}", "--root-certificates", files.authority)
    network = [finding for finding in found if finding["area"] == "network"]
    assert [finding["level"] for finding in network] == ["ok", "note"]  # the demo's certificates live for two days
    assert "TLSv1.3, and its certificate is good for" in network[1]["text"]


def test_another_superlink(files: ServerFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(Authority.new("Theirs").pem())
    with server(files) as port:
        given = ("--state-dir", tmp_path / "s", "--superlink", f"127.0.0.1:{port}", "--root-certificates")
        told = problem(findings(capsys, *given, other, code=1))
        assert f"this is not the SuperLink that {other} vouches for" in told["text"]
        nothing = tmp_path / "empty.pem"
        nothing.write_text("nothing")
        assert "holds no certificates" in problem(findings(capsys, *given, nothing, code=1))["text"]


def test_a_superlink_without_tls(files: ServerFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with server(None) as port:
        given = ("--state-dir", tmp_path / "s", "--superlink", f"127.0.0.1:{port}")
        told = problem(findings(capsys, *given, "--root-certificates", files.authority, code=1))
        assert "no TLS with 127.0.0.1" in told["text"]
        assert any("without TLS" in finding["text"] for finding in findings(capsys, *given))


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started = time.monotonic()
    told = problem(findings(capsys, "--state-dir", tmp_path / "s", "--superlink", f"127.0.0.1:{port}", code=1))
    assert "no connection" in told["text"]
    assert time.monotonic() - started < 5
    assert "no address" in problem(findings(capsys, "--state-dir", tmp_path / "s", "--superlink", "here", code=1))["text"]


def test_a_certificate_alone_is_wrong_usage(files: ServerFiles, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--root-certificates", files.authority) == 2
    assert "--root-certificates needs --superlink" in capsys.readouterr().err
