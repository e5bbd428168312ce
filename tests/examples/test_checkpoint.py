"""Moving a checkpoint to a sealed one: the demo's steps hold, and are seen where they do not; the README's commands run."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from examples.checkpoint import steps
from examples.checkpoint.__main__ import main

README = Path(steps.__file__).with_name("README.md")


@pytest.fixture(autouse=True)
def _flowers_log_as_it_was() -> Iterator[None]:
    level = logging.getLogger("flwr").level
    yield
    logging.getLogger("flwr").setLevel(level)


def test_every_step_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rounds", "2", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "every step held" in printed
    assert "NO" not in printed
    names = sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and not path.name.endswith((".key", ".pub")))
    assert names == ["from-pt.safetensors", "round-000.safetensors", "round-001.safetensors", "round-002.safetensors"]
    first = steps.weights_of(tmp_path / "models" / "round-000.safetensors", tmp_path, "north")
    raw = b"".join(path.read_bytes() for path in tmp_path.rglob("*.safetensors"))
    assert not any(value.numpy().tobytes() in raw for value in first.values()), "nothing is left in clear"
    last = steps.weights_of(tmp_path / "models" / "round-002.safetensors", tmp_path, "south")
    assert steps.accuracy(last) >= steps.accuracy(first)


def changed_state(folder: Path) -> None:
    state = torch.load(folder / "model.pt", weights_only=True)
    next(iter(state.values())).view(-1)[0] += 1e-6
    torch.save(state, folder / "model.pt")
    right_state(folder)


right_state = steps.seal_state_dict


@pytest.mark.parametrize(
    ("step", "instead", "said"),
    [
        ("seal_state_dict", changed_state, "every tensor of model.pt is in it"),
        ("with_a_changed_byte", lambda path, folder: Path(os.link(path, folder / "copy") or folder / "copy"), "nobody opens it"),
        ("sha256_inside", lambda folder: "0" * 64, "byte for byte"),
    ],
)
def test_a_step_that_does_not_do_what_it_says_is_seen(
    step: str, instead: object, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, step, instead)
    assert main(["--rounds", "1", str(tmp_path)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("NO ")]
    assert said in line


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("mine")
    assert main([str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    first, *blocks = re.findall(r"^```bash\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert first == "python -m examples.checkpoint\n", "which the tests above run"
    for block in blocks:
        command = ["bash", "-euo", "pipefail", "-c", block]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, f"{block}\n{result.stdout}{result.stderr}"
    assert (tmp_path / "models" / "round-000.safetensors").exists()
    assert not (tmp_path / "model.safetensors").exists()
