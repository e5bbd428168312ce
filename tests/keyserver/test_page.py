"""docs/keyserver.md says what the code does: its blocks run, and its rules, limits, fields and deadlines are those of the code."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from stfed.keyserver import certificate, server, service, statement
from stfed.keyserver.config import Config
from stfed.keyserver.messages import REQUEST_MAX_BYTES
from stfed.keyserver.rules import RULES
from stfed.keyserver.service import Limits
from tests.keyserver.world import ROOT

PAGE = (ROOT / "docs" / "keyserver.md").read_text()


def section(title: str) -> str:
    return next(part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE) if part.startswith(title))


def test_every_rule_is_there_with_its_status() -> None:
    said = {
        name: int(status)
        for names, status in re.findall(r"^\| (`[^|]*`) \| (\d+) \|", section("What is checked"), flags=re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert said == {name: rule.status for name, rule in RULES.items()}
    same = re.search(r"\| `unauthenticated` .*? for (.*) alike", PAGE)
    assert same
    assert set(re.findall(r"`([^`]+)`", same[1])) == {name for name, rule in RULES.items() if rule.told}


def test_the_order_is_that_of_the_code() -> None:
    """The first mention of each rule in the table that heads `service.py`."""
    assert service.__doc__
    table = service.__doc__.split("in this order:")[1].split("The reply,")[0]
    heads = [line[4:32].rstrip() for line in table.splitlines() if line.startswith("    ")]
    words = {"not-before/-after": "not-before, not-after", "role...": "role"}
    in_code = [words.get(name, name) for head in heads for name in re.split(r", ", head)]
    in_code = [name for entry in in_code for name in entry.split(", ")]
    on_page = re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (`[^|]*`) \|", section("What is checked"), flags=re.MULTILINE)))
    shared = [name for name in dict.fromkeys(in_code) if name in on_page]
    # the page tells `tampered` before `envelope`, as they come first; what follows is in one order on both
    assert [name for name in on_page if name in shared] == shared
    assert len(shared) > 15


def test_every_limit_is_there_with_its_default() -> None:
    said = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", section("Limits"), flags=re.MULTILINE))
    numbers = {"connections", "connections_per_address", "checkpoint_every"}
    of_config = {one.name: str(one.default) for one in fields(Config) if one.name in numbers}
    assert said == of_config | {one.name: str(one.default) for one in fields(Limits)}
    assert "the last six" in section("Limits")
    assert len(fields(Limits)) == 6


def test_the_times_and_lengths_are_those_of_the_code() -> None:
    assert f"TLS handshake may take {server.HANDSHAKE_S:g} s, the head of a request {server.HEAD_S:g} s" in PAGE
    assert f"a connection {server.CONNECTION_S:g} s in all" in PAGE
    assert f"lives {service.NONCE_LIFE.seconds} s" in PAGE
    assert f"nonce ({statement.NONCE_BYTES} bytes" in PAGE
    assert service.CLOCK_TOLERANCE.seconds == 5 * 60
    assert f"lasts {certificate.LIFE.days} days" in PAGE
    assert 4 << 20 < REQUEST_MAX_BYTES < 4.1 * (1 << 20)


def test_every_field_of_the_statement_is_there() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", section("What is said"), flags=re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == statement._NAMES


@pytest.mark.e2e
def test_the_blocks_run(tmp_path: Path) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    script = 'trap "kill \\$service 2> /dev/null || true" EXIT\n' + "\n".join(blocks).replace("8443", port)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr + (tmp_path / "service.log").read_text()
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    assert not (tmp_path / "sold.safetensors").exists()
    assert not (tmp_path / "never.safetensors").exists()
