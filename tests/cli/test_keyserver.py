"""`stfed keyserver`, through `main` and as a process."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import safetensors.numpy

from stfed import cli
from stfed.cli.codes import FORBIDDEN
from stfed.keys.keyfile import read_public_keys
from stfed.sealed.numpy import load
from tests.keyserver.world import ALICE, TENSORS, House, roster, running, sealed


def run(*arguments: str | Path) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_init_then_run_then_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    assert run("keyserver", "init", folder, "--port", "0") == 0
    output = capsys.readouterr()
    public = read_public_keys(folder / "keyserver.key.pub")
    assert output.out == f"{public.recipient}\n{public.verifier}\n"
    assert f"stfed keyserver --config {folder / 'keyserver.toml'}" in output.err
    assert "SECRET" not in output.out + output.err
    house = House.existing(folder)
    roster().write(folder / "roster.toml")
    with running(house) as service:
        assert load(sealed(house.made.recipient), service=service.client(ALICE))["w"].shape == (1000,)
        assert service.stop(signal.SIGINT) == (0, "key service stopped\n")


def test_from_the_command_line_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Set up, enrol two people, seal for one of them, open through the service, revoke, be refused, and find all of it in the log."""
    folder, roster_file, plain, sealed_file = tmp_path / "keys", tmp_path / "keys" / "roster.toml", tmp_path / "plain", tmp_path / "sealed"
    assert run("keyserver", "init", folder, "--port", "0") == 0
    for name, role in (("lab", "owner"), ("ann", "recipient")):
        assert run("keygen", "--out", tmp_path / name) == 0
        assert run("roster", "add", roster_file, name, "--key", tmp_path / f"{name}.pub", "--role", role) == 0
    safetensors.numpy.save_file(TENSORS, plain)
    assert (
        run(
            "seal", plain, "--out", sealed_file, "--recipient", folder / "keyserver.key.pub", "--sign", tmp_path / "lab",
            "--reader", tmp_path / "ann.pub", "--purpose", "evaluation",
        )
        == 0
    )  # fmt: skip
    capsys.readouterr()
    with running(House.existing(folder)) as service:
        asking = (
            "open", sealed_file, "--keyserver", service.url, "--service-key", folder / "keyserver.key.pub", "--sign", tmp_path / "ann",
            "--ca", folder / "tls.crt", "--trusted", tmp_path / "lab.pub", "--purpose",
        )  # fmt: skip
        assert run(*asking, "evaluation", "--out", tmp_path / "back") == 0
        assert (tmp_path / "back").read_bytes() == plain.read_bytes()
        assert run("roster", "revoke", roster_file, "ann", "--reason", "laptop stolen") == 0
        capsys.readouterr()
        assert run(*asking, "evaluation", "--out", tmp_path / "again") == FORBIDDEN
        assert "your signing key is revoked" in capsys.readouterr().err
        assert not (tmp_path / "again").exists()
    assert run("audit", "log", folder / "audit.db", "--json") == 0
    said = capsys.readouterr().out
    assert '"key-release"' in said
    assert "laptop stolen" in said


def test_init_overwrites_nothing_and_refuses_nonsense(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("keyserver", "init", tmp_path / "keys") == 0
    before = {path: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    for arguments in ((tmp_path / "keys",), (tmp_path / "other", "--port", "70000"), (tmp_path / "other", "--name", "https://x")):
        capsys.readouterr()
        assert run("keyserver", "init", *arguments) == 1
        assert capsys.readouterr().err.startswith("error: ")
    assert {path: path.read_bytes() for path in (tmp_path / "keys").iterdir()} == before
    assert not (tmp_path / "other").exists()


def test_a_configuration_that_is_missing_or_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("keyserver", "--config", tmp_path / "none.toml") == 1
    assert "there is no configuration" in capsys.readouterr().err
    (tmp_path / "k.toml").write_text("kex = 1")
    assert run("keyserver", "--config", tmp_path / "k.toml") == 1
    assert "there is no field 'kex'" in capsys.readouterr().err
    assert run("keyserver", "--help") == 0
    assert run("keyserver", "nonsense") == 2
