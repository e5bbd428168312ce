"""`stfed policy`: a file that one can sign, what it means in words, and whether a party is ready."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from stfed import cli
from stfed.cli.policy import MODES
from stfed.encoding.tensors import TensorSpec
from stfed.secagg.configlimit import ConfigLimit
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.policy_toml import policy_toml, read_policy
from tests.cli.commands import done, keys, refused, run


def study(folder: Path, n: int = 6) -> None:
    """A roster of n parties, and their keys."""
    names = [f"hospital{i}" for i in range(n)]
    keys(folder, *names)
    assert run("roster", "init", folder / "roster.toml", "--name", "Heart study") == 0
    for name in names:
        assert run("roster", "add", folder / "roster.toml", name, "--key", folder / f"{name}.pub", "--role", "party") == 0


def policy_file(folder: Path, text: str = 'mode = "malicious"\n') -> Path:
    path = folder / "policy.toml"
    path.write_text(text)
    return path


def test_the_modes_are_the_librarys() -> None:
    assert {mode.value for mode in Mode} == set(MODES)


def test_init_writes_the_defaults_in_malicious_mode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.toml"
    out, err = done(capsys, "policy", "init", path)
    assert out == ""
    assert f"stfed policy check {path}" in err
    assert path.read_text() == policy_toml(Policy(mode=Mode.MALICIOUS))
    assert read_policy(path) == Policy(mode=Mode.MALICIOUS)
    assert path.stat().st_mode & 0o777 == 0o644
    done(capsys, "policy", "init", tmp_path / "other.toml", "--mode", "semi-honest")
    assert read_policy(tmp_path / "other.toml") == Policy()


def test_init_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = policy_file(tmp_path, "gamma = 0.2")
    assert "exists and is not overwritten" in refused(capsys, "policy", "init", path)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "exists and is not overwritten" in refused(capsys, "policy", "init", tmp_path / "link")
    assert not (tmp_path / "nowhere").exists()
    assert "there is no folder" in refused(capsys, "policy", "init", tmp_path / "no" / "policy.toml")


def test_init_refuses_a_place_where_others_could_replace_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o777)
    assert "others may replace it" in refused(capsys, "policy", "init", tmp_path / "policy.toml")
    assert not (tmp_path / "policy.toml").exists()


def test_init_with_a_model_allows_this_model_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"layer.weight": np.zeros((3, 4), np.float32), "steps": np.array(7), "empty": np.zeros(0, np.float16)}
    safetensors.numpy.save_file(model, tmp_path / "model.safetensors")
    path = tmp_path / "policy.toml"
    done(capsys, "policy", "init", path, "--model", tmp_path / "model.safetensors")
    expected = {TensorSpec("layer.weight", "float32", (3, 4)), TensorSpec("steps", "int64", ()), TensorSpec("empty", "float16", (0,))}
    assert set(read_policy(path).tensors or ()) == expected
    out, err = done(capsys, "policy", "check", path)
    assert "one only: 3 tensors, 13 parameters" in out
    assert "[model.tensors]" not in err


def test_init_with_what_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").write_bytes(b"hello")
    assert "model: the content is no safetensors file" in refused(
        capsys, "policy", "init", tmp_path / "policy.toml", "--model", tmp_path / "model", code=4
    )
    safetensors.numpy.save_file({"w": np.zeros(3, np.complex64)}, tmp_path / "complex")
    error = refused(capsys, "policy", "init", tmp_path / "policy.toml", "--model", tmp_path / "complex")
    assert "unknown dtype 'complex64', and cannot be averaged" in error
    refused(capsys, "policy", "init", tmp_path / "policy.toml", "--model", tmp_path / "gone")


def test_check_says_what_follows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = done(capsys, "policy", "check", policy_file(tmp_path))
    assert out.splitlines()[0] == f"{tmp_path / 'policy.toml'}: malicious mode"
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert "may lie" in rows["coordinator"]
    assert "up to 10 % of the cohort" in rows["coordinator"]
    assert "4 parties or more" in rows["cohort"]
    assert "1 corrupt and 3 honest ones" in rows["sum"]
    assert "only after 3 signatures" in rows["shares"]
    assert "any, of up to 4,294,967,296 parameters" in rows["model"]
    assert "roster" not in rows
    assert [line.partition(":")[0] for line in err.splitlines()] == ["note", "note"]
    assert "[model.tensors]" in err
    assert "[model.config]" in err


def test_check_counts_the_roster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0.1 of 20 parties are two, and the coordinator puts both into every cohort."""
    study(tmp_path, 20)
    path = policy_file(tmp_path)
    facts = json.loads(done(capsys, "policy", "check", path, "--roster", tmp_path / "roster.toml", "--json")[0])
    assert (facts["roster"], facts["corrupt"], facts["smallest_sum"], facts["smallest_cohort"]) == (20, 2, 5, 5)
    assert "20 parties" in done(capsys, "policy", "check", path, "--roster", tmp_path / "roster.toml")[0]


def test_check_for_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = (ConfigLimit("lr", 0.0, 0.1), ConfigLimit("server-round"))
    path = policy_file(tmp_path, policy_toml(Policy(tensors=(TensorSpec("w", "float32", (3,)),), config=limits, max_rounds=500)))
    out, err = done(capsys, "policy", "check", path, "--json")
    facts = json.loads(out)
    assert err == ""
    written = tomllib.loads(policy_toml(Policy()))
    expected = {name: value for table in written.values() if isinstance(table, dict) for name, value in table.items()}
    expected |= {name: value for name, value in written.items() if not isinstance(value, dict)}
    expected |= {"honest_survivors": None, "noise_multiplier": None, "roster": None}
    expected["max_rounds"] = 500
    assert {name: value for name, value in facts["settings"].items() if name not in ("tensors", "config")} == expected
    assert facts["settings"]["config"] == {
        "lr": {"min": 0.0, "max": 0.1, "one_of": None},
        "server-round": {"min": None, "max": None, "one_of": None},
    }
    assert facts["settings"]["tensors"] == {"w": {"dtype": "float32", "shape": [3]}}
    assert (facts["smallest_cohort"], facts["corrupt"], facts["signatures"]) == (3, 1, None)
    assert [note.split()[0] for note in facts["notes"]] == ["a"]
    rows = {line.split()[0]: line for line in done(capsys, "policy", "check", path)[0].splitlines()[1:]}
    assert "lr, server-round, and no other value" in rows["config"]
    assert "up to 500 sums a run" in rows["rounds"]


def test_check_warns_of_what_one_might_overlook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoding = "[encoding]\nclip = [0.3, 9]\nclip_moves = true\nfixed_encoding = false\n"
    path = policy_file(tmp_path, f"gamma = 0\n{encoding}[rounds]\nallow_repeats = true\n")
    _, err = done(capsys, "policy", "check", path)
    assert len(err.splitlines()) == 7
    for word in (
        "a coordinator that lies",
        "gamma is 0",
        "any model",
        "may be told anything",
        "allow_repeats",
        "fixed_encoding",
        "at 5 clips",
    ):
        assert word in err


def test_check_of_a_file_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, "policy", "check", policy_file(tmp_path, "[cohort]\nmin_cohrt = 5"))
    assert "policy.toml is no policy: there is no setting [cohort] min_cohrt" in error
    assert "hint: did you mean min_cohort?" in error
    refused(capsys, "policy", "check", tmp_path / "gone.toml")
    path = policy_file(tmp_path)
    path.chmod(0o666)
    assert "chmod go-w" in refused(capsys, "policy", "check", path)


def test_check_of_a_policy_that_no_round_can_meet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study(tmp_path)
    for text, match in (
        ("gamma = 0.5\ndelta = 0.4", "quorum"),
        ("[cohort]\nmin_cohort = 7", "the roster has 6 parties"),
        ("[cohort]\nhonest_survivors = 6", "takes part in 7 or more"),
        ("delta = 0.5", "quorum"),
    ):
        path = policy_file(tmp_path, text)
        error = refused(capsys, "policy", "check", path, "--roster", tmp_path / "roster.toml")
        assert "no cohort meets this policy" in error, text
        assert match in error, error


def options(out: str) -> dict[str, str]:
    """Of the last line, which starts the node."""
    words = shlex.split(out.splitlines()[-1])
    assert words[:2] == ["stfed", "supernode"]
    parsed = cli.make_parser().parse_args(words[1:])
    given = {name: getattr(parsed, name) for name in ("policy", "identity", "roster", "passphrase_file")}
    return {name: str(path) for name, path in given.items() if path is not None}


def test_a_party_that_is_ready_is_told_how_its_node_is_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "with space, and 'quo\"tes'"
    folder.mkdir()
    study(folder)
    path = policy_file(folder)
    ready = ("policy", "check", path, "--roster", folder / "roster.toml", "--identity", folder / "hospital0")
    out, _ = done(capsys, *ready)
    assert "this party is ready" in out
    assert options(out) == {"policy": str(path), "identity": str(folder / "hospital0"), "roster": str(folder / "roster.toml")}
    facts = json.loads(done(capsys, *ready, "--json")[0])
    assert facts["command"] in out
    assert facts["node_config"] == {f"stfed-{name}": value for name, value in options(out).items()}


def test_a_party_that_is_not_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study(tmp_path)
    keys(tmp_path, "stranger")
    path, roster, identity = policy_file(tmp_path), ("--roster", tmp_path / "roster.toml"), ("--identity", tmp_path / "hospital0")
    assert "no member has it" in refused(capsys, "policy", "check", path, *roster, "--identity", tmp_path / "stranger")
    assert "no key file" in refused(capsys, "policy", "check", path, *roster, "--identity", tmp_path / "gone")
    refused(capsys, "policy", "check", path, *identity, code=2)
    refused(capsys, "policy", "check", path, *roster, "--passphrase-file", path, code=2)
    assert run("roster", "revoke", tmp_path / "roster.toml", "hospital0", "--reason", "laptop stolen") == 0
    assert "it was revoked" in refused(capsys, "policy", "check", path, *roster, *identity)
    (tmp_path / "hospital1").chmod(0o640)
    assert "chmod 600" in refused(capsys, "policy", "check", path, *roster, "--identity", tmp_path / "hospital1")


def test_a_protected_identity_needs_a_passphrase_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STFED_PASSPHRASE", "correct horse")
    done(capsys, "keygen", "--out", tmp_path / "key", "--kind", "x25519", "--passphrase")
    monkeypatch.delenv("STFED_PASSPHRASE")
    done(capsys, "roster", "init", tmp_path / "roster.toml", "--name", "Heart study")
    done(capsys, "roster", "add", tmp_path / "roster.toml", "me", "--key", tmp_path / "key.pub", "--role", "party")
    for i in range(4):
        keys(tmp_path, f"other{i}")
        done(capsys, "roster", "add", tmp_path / "roster.toml", f"other{i}", "--key", tmp_path / f"other{i}.pub", "--role", "party")
    ready = ("policy", "check", policy_file(tmp_path), "--roster", tmp_path / "roster.toml", "--identity", tmp_path / "key")
    assert "stfed-identity-passphrase-file" in refused(capsys, *ready, code=3)
    phrase = tmp_path / "phrase"
    phrase.write_text("correct horse\n")
    phrase.chmod(0o600)
    out, _ = done(capsys, *ready, "--passphrase-file", phrase)
    assert options(out)["passphrase_file"] == str(phrase)


def test_a_semi_honest_party_needs_neither(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study(tmp_path)
    path = policy_file(tmp_path, 'mode = "semi-honest"')
    facts = json.loads(
        done(capsys, "policy", "check", path, "--roster", tmp_path / "roster.toml", "--identity", tmp_path / "hospital0", "--json")[0]
    )
    assert facts["settings"]["mode"] == "semi-honest"
    assert facts["roster"] is None
