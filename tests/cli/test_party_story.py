"""From nothing to a party that takes part in malicious mode, with the commands that the deployment page tells people to type.

Two hands: the study keeps the roster, the hospital keeps its key and its policy. Only public keys and the roster travel.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from stfed.keys import Roster
from stfed.secagg.policy_toml import read_policy
from tests.cli.commands import done, keys, refused

HOSPITAL = """
stfed keygen --out hospital.key
"""
STUDY = """
stfed roster init roster.toml --name "Heart study"
stfed roster add roster.toml hospital --key hospital.key.pub --role party
for other in north south east west; do stfed roster add roster.toml $other --key $other.key.pub --role party; done
stfed roster show roster.toml
"""
HOSPITAL_AGAIN = """
stfed roster show roster.toml
stfed policy init policy.toml --model model.safetensors
stfed plan --parties 5 --gamma 0.1 --delta 0.1 --mode malicious --roster roster.toml
stfed policy check policy.toml --roster roster.toml --identity hospital.key
"""
NODE = """
PYTHONPATH=. {command} --app hospital_app:app --state-dir state --check -- --superlink fl.example.org:9092 --root-certificates ca.crt
"""
APP = """
from flwr.clientapp import ClientApp
from stfed.flower import secagg_mod

app = ClientApp(mods=[secagg_mod])

@app.train()
def train(message, context): ...
"""


def typed(folder: Path, script: str) -> str:
    """What a script of commands prints on stdout; every one of them has to succeed."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_from_nothing_to_a_node(tmp_path: Path) -> None:
    hospital, study = tmp_path / "hospital", tmp_path / "study"
    hospital.mkdir(mode=0o700)
    study.mkdir(mode=0o755)

    mine = typed(hospital, HOSPITAL)
    (study / "hospital.key.pub").write_bytes((hospital / "hospital.key.pub").read_bytes())
    for other in ("north", "south", "east", "west"):
        typed(study, f"stfed keygen --out {other}.key")
    told = typed(study, STUDY)
    (hospital / "roster.toml").write_bytes((study / "roster.toml").read_bytes())
    safetensors.numpy.save_file({"layer.weight": np.zeros((10, 4), np.float32)}, hospital / "model.safetensors")
    ready = typed(hospital, HOSPITAL_AGAIN)

    # Over the telephone: the hospital's key is the one that the study has, and the roster the one that the hospital has.
    fingerprint = re.search(r"^signing .* (\S{4}(-\S{4}){3}) ", mine, re.MULTILINE)
    assert fingerprint is not None
    assert fingerprint[1] in told
    name_and_fingerprint = f"Heart study  {Roster.read(hospital / 'roster.toml').fingerprint}\n"
    assert name_and_fingerprint in told
    assert name_and_fingerprint in ready

    # What the last command printed starts a node, and that node is this party in malicious mode.
    (hospital / "hospital_app.py").write_text(APP)
    (hospital / "ca.crt").write_text("of whoever runs the SuperLink")
    command, _, _ = ready.splitlines()[-1].partition(" --app ")
    started = typed(hospital, NODE.format(command=command))
    assert re.search(r"^ *mode +malicious$", started, re.MULTILINE)
    assert re.search(rf"^ *party +hospital, key {fingerprint[1]}$", started, re.MULTILINE)
    assert re.search(rf"^ *roster +5 parties, {Roster.read(hospital / 'roster.toml').fingerprint}$", started, re.MULTILINE)
    assert [spec.name for spec in read_policy(hospital / "policy.toml").tensors or ()] == ["layer.weight"]

    # The key never left.
    assert sorted(path.name for path in study.iterdir() if path.name.startswith("hospital")) == ["hospital.key.pub"]
    assert (hospital / "hospital.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_lost_is_revoked_and_the_party_stops_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roster, policy = tmp_path / "roster.toml", tmp_path / "policy.toml"
    names = ("hospital", "north", "south", "east", "west")
    keys(tmp_path, *names, "new")
    done(capsys, "roster", "init", roster, "--name", "Heart study")
    for name in names:
        done(capsys, "roster", "add", roster, name, "--key", tmp_path / f"{name}.pub", "--role", "party")
    done(capsys, "policy", "init", policy)
    ready = ("policy", "check", policy, "--roster", roster, "--identity")
    done(capsys, *ready, tmp_path / "hospital")
    done(capsys, "roster", "revoke", roster, "hospital", "--reason", "laptop stolen")
    assert "laptop stolen" in refused(capsys, *ready, tmp_path / "hospital")
    done(capsys, *ready, tmp_path / "north")
    done(capsys, "roster", "rotate", roster, "hospital", "--key", tmp_path / "new.pub")
    done(capsys, *ready, tmp_path / "new")
    refused(capsys, *ready, tmp_path / "hospital")
