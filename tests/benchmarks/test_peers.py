"""CKKS, plain averaging and the profile: each runs small, its result is right, and a wrong one is noticed."""

from __future__ import annotations

import json
import pstats
import sys
import tomllib
from cProfile import Profile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import ckks, fedavg, mnist, profiled
from benchmarks.line import Section
from stfed.bench.workload import Workload


def section(file: Path) -> Section:
    return Section.from_json(json.loads(file.read_text()))


def test_plain_averaging_beside_ours(tmp_path: Path) -> None:
    assert fedavg.main(["--quick", "--json", str(tmp_path / "f.json")]) == 0
    found = section(tmp_path / "f.json")
    (size,) = found.data["sizes"]
    assert {(step["role"], step["step"]): step["calls"] for step in size["steps"]} == {
        ("parties", "serialise"): 5, ("coordinator", "read and average"): 1,
    }  # fmt: skip
    assert 4 * size["d"] < size["up_bytes"] < 4 * size["d"] + 200
    assert all(line.measured is not None and line.measured > 0 for line in found.lines)


def test_a_wrong_plain_mean_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = fedavg.run_round(Workload(3, 1000))
    assert right.error <= 1e-6
    monkeypatch.setattr(fedavg, "run_round", lambda workload: replace(right, error=1e-3))
    assert fedavg.run([(3, 1000)]).wrong == ["n = 3: the mean of FedAvg is off by 1.00e-03"]


def test_ckks_beside_ours(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tenseal")
    assert ckks.main(["--quick", "--json", str(tmp_path / "c.json")]) == 0
    found = section(tmp_path / "c.json")
    (size,) = found.data["sizes"]
    assert {(step["role"], step["step"]): step["calls"] for step in size["steps"]} == {
        ("parties", "encrypt"): 3, ("parties", "serialise"): 3, ("coordinator", "read"): 3, ("coordinator", "add"): 3,
        ("coordinator", "divide"): 1, ("coordinator", "serialise"): 1, ("parties", "read"): 3, ("parties", "decrypt"): 3,
    }  # fmt: skip
    # Two polynomials of two primes on the way up and of one on the way down, 8 bytes a coefficient, 4096 numbers in each of 5.
    assert size["up_bytes"] == pytest.approx(5 * 2 * 2 * 8192 * 8, rel=0.15)
    assert size["down_bytes"] == pytest.approx(5 * 2 * 8192 * 8, rel=0.15)
    assert size["stfed"]["upload_bytes"] == pytest.approx(2 * size["d"], rel=0.02)
    # Two polynomials of a prime of 60 and one of 59 bits, 8192 numbers in each of 3.
    assert size["mode"]["up_bytes"] == 3 * 2 * 8192 * (60 + 59) // 8
    assert {(step["role"], step["step"]): step["calls"] for step in size["mode"]["steps"]} == {
        ("parties", "encode"): 3, ("parties", "encrypt"): 3, ("coordinator", "read and add"): 3, ("coordinator", "write the sum"): 1,
        ("key holder", "read the sum"): 1, ("key holder", "decrypt"): 1, ("coordinator", "decode"): 1,
    }  # fmt: skip
    # What TenSEAL prints from C++ stays off the table.
    assert "WARNING" not in capfd.readouterr().out


def test_without_tenseal_the_targets_stand_with_the_reason(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "tenseal", None)
    assert ckks.main(["--quick"]) == 0
    assert capsys.readouterr().out.count(">= 20  not measured  TenSEAL is not installed") == 3


def test_the_server_of_ckks_has_no_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    tenseal = pytest.importorskip("tenseal")
    made = []
    real = tenseal.context_from
    monkeypatch.setattr(tenseal, "context_from", lambda *arguments: made.append(real(*arguments)) or made[-1])
    ckks.run_round(Workload(2, 100))
    assert [context.is_private() for context in made] == [False]


def test_the_profile_counts_everything_once(tmp_path: Path) -> None:
    assert profiled.main(["--quick", "--json", str(tmp_path / "p.json")]) == 0
    found = section(tmp_path / "p.json")
    lines = {line.name: line.measured for line in found.lines}
    for who, parts in found.data["parts_ms"].items():
        assert sum(parts.values()) == pytest.approx(lines[f"{who}, under the profiler"])
        assert {"keystreams", "adding masks", "Shamir", "HMAC and HKDF", profiled.AROUND} <= set(parts) <= set(profiled.PARTS)
    (plot,) = found.data["plots"]
    assert [sum(series["y"][bar] for series in plot["series"]) for bar in (0, 1)] == pytest.approx([100.0, 100.0])


def test_the_parts_are_all_of_the_profile() -> None:
    profile = Profile()
    profile.runcall(fedavg.run_round, Workload(2, 1000))
    assert sum(profiled.parts_s(profile).values()) == pytest.approx(pstats.Stats(profile).total_tt)  # type: ignore[attr-defined]


def test_parts_are_told_by_file_name_and_caller() -> None:
    root = str(Path(profiled.stfed.__file__).parent)
    keystream, kdf, party = ((f"{root}/{file}", 1, "f") for file in ("crypto/keystream.py", "crypto/kdf.py", "secagg/party.py"))
    sha, aead = ("~", 0, "<built-in method _hashlib.openssl_sha256>"), "{method '%s' of 'x.aead.AESGCM' objects}"
    assert profiled.part(keystream) == "adding masks"
    assert profiled.part(("~", 0, aead % "encrypt_into"), keystream) == "keystreams"
    assert profiled.part(("~", 0, aead % "encrypt"), party) == "AES-GCM of shares"
    assert (profiled.part(sha, kdf), profiled.part(sha, party)) == ("HMAC and HKDF", "SHA-256 of models, messages, lists")
    assert profiled.part(("/elsewhere/crypto/kdf.py", 1, "f")) == profiled.AROUND
    assert profiled.part(("~", 0, "<built-in method builtins.len>")) == profiled.AROUND


def test_the_mnist_app_has_every_key_that_the_recipe_reads(tmp_path: Path) -> None:
    app = mnist._app(tmp_path / "app")
    keys = tomllib.loads((app / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    assert set(tomllib.loads(mnist.RUN_FILE.read_text())) | {"variant", "stamps"} <= set(keys)


def test_a_training_is_the_time_between_stamps() -> None:
    def run(variant: str, accuracy: float, *times: float) -> mnist.Training:
        return mnist.Training(variant, 5.0, tuple((time, accuracy) for time in times))

    runs = [run(mnist.PLAIN, 0.96, 10, 20, 22, 26, 30), run(mnist.SECURE, 0.95, 10, 22, 23, 25, 26.5)]
    lines = mnist.lines(runs)
    assert [line.measured for line in lines[:3]] == pytest.approx([16.5 / 20, 1.25 / 3, 12 / 10])
    assert [(line.target, line.met) for line in lines[:2]] == [(1.1, True), (None, None)]
    assert lines[-1].measured == pytest.approx(-0.01)
