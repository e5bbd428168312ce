"""`stfed plan`, and the manners of the command line that every command shares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from stfed import __version__
from stfed.cli import COMMANDS, main
from stfed.cli.plan import PREPARE_BYTES, UNMASK_BYTES
from stfed.errors import PeerError

ROOT = Path(__file__).parent.parent.parent
KEYS = [
    *("n", "k", "t", "mode", "graph", "gamma", "delta", "roster", "corrupt", "dropouts", "sigma", "eta"),
    *("log2_secrecy", "log2_connectivity", "log2_correctness", "min_survivors", "quorum", "honest_floor"),
]


def plan_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["plan", *arguments, "--json"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    facts: dict[str, Any] = json.loads(output.out)
    return facts


def test_the_numbers_of_a_thousand_parties(capsys: pytest.CaptureFixture[str]) -> None:
    facts = plan_json(capsys, "--parties", "1000", "--gamma", "0.05", "--delta", "0.05")
    assert list(facts) == KEYS
    assert (facts["k"], facts["t"], facts["mode"], facts["graph"]) == (34, 18, "semi-honest", "harary")
    assert (facts["corrupt"], facts["dropouts"], facts["min_survivors"]) == (50, 50, 950)
    assert (facts["gamma"], facts["delta"], facts["quorum"], facts["honest_floor"]) == (0.05, 0.05, None, None)
    assert facts["log2_secrecy"] <= -41
    assert facts["log2_connectivity"] <= -41
    assert facts["log2_correctness"] <= -30


def test_malicious(capsys: pytest.CaptureFixture[str]) -> None:
    facts = plan_json(capsys, "--parties", "1000", "--gamma", "0.05", "--delta", "0.05", "--malicious")
    assert (facts["k"], facts["t"], facts["mode"], facts["graph"]) == (62, 43, "malicious", "k-out")
    assert (facts["quorum"], facts["honest_floor"]) == (526, 612)


def test_what_cannot_fail_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    facts = plan_json(capsys, "--parties", "10")
    assert [facts[key] for key in KEYS if key.startswith("log2")] == [None] * 3


def test_graph_and_roster_are_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    facts = plan_json(capsys, "--parties", "100", "--graph", "complete", "--roster", "200")
    assert (facts["k"], facts["corrupt"], facts["roster"]) == (99, 20, 200)
    assert plan_json(capsys, "--parties", "20", "--graph", "sparse", "--gamma", "0")["graph"] == "harary"


def test_shares_are_exact_and_may_be_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_json(capsys, "--parties", "30", "--gamma", "1/3", "--delta", "0.1")["corrupt"] == 10
    assert plan_json(capsys, "--parties", "100", "--gamma", "0.07", "--delta", "0.29")["dropouts"] == 29


@pytest.mark.parametrize(("bits", "vector_bytes"), [("32", 4_000_004), ("20", 2_500_003), ("9", 1_125_002)])
def test_the_cost_of_a_round(capsys: pytest.CaptureFixture[str], bits: str, vector_bytes: int) -> None:
    facts = plan_json(capsys, "--parties", "10", "--params", "1000001", "--ring-bits", bits)
    assert list(facts) == [*KEYS, "params", "ring_bits", "upload_bytes", "masks_per_party"]
    assert facts["upload_bytes"] == vector_bytes + 9 * (172 + 33)
    assert facts["masks_per_party"] == 10


def test_the_bytes_of_a_neighbour_are_those_of_the_messages() -> None:
    from stfed.crypto.shamir import SHARE_BYTES
    from stfed.secagg.messages import DealtShares

    seed_in_the_box = 32
    assert DealtShares.BYTES + seed_in_the_box == PREPARE_BYTES
    assert 1 + SHARE_BYTES == UNMASK_BYTES


def test_the_table_explains_each_number(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "plan",
        "--parties",
        "1000",
        "--gamma",
        "0.05",
        "--delta",
        "0.05",
        "--malicious",
        "--params",
        "1000000",
        "--ring-bits",
        "20",
    ]
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert output.err == ""
    for text in ("k = 62", "t = 43", "C = 50", "D = 50", "950", "526", "> 612", "2,512,710 B", "63", "allowed 2^-41", "allowed 2^-30"):
        assert text in output.out
    assert max(map(len, output.out.splitlines())) <= 120


def test_the_table_says_never_where_nothing_is_left_to_chance(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--parties", "10", "--roster", "40"]) == 0
    output = capsys.readouterr().out
    assert output.count(" never ") == 3
    assert "of a roster of 40" in output
    assert "upload" not in output
    assert main(["plan", "--parties", "10", "--params", "0"]) == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--parties", "1"], "n = 1: a cohort of one"),
        (["--parties", "10", "--gamma", "1.5"], "gamma = 3/2 is outside [0, 1)"),
        (["--parties", "10", "--roster", "5"], "a roster of 5 parties cannot give a cohort of 10"),
        (["--parties", "10", "--params", "-1"], "a model has no -1 parameters"),
        (["--parties", "10", "--ring-bits", "7"], "a ring of 7 bits"),
        (["--parties", "100", "--gamma", "0.5", "--delta", "0.5"], "no threshold fits k = 99"),
    ],
)
def test_what_is_refused_goes_to_stderr_with_a_hint_and_exits_1(
    capsys: pytest.CaptureFixture[str], arguments: list[str], error: str
) -> None:
    assert main(["plan", *arguments]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    first, second = output.err.splitlines()
    assert first.startswith(f"error: {error}")
    assert second.startswith("hint: ")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["--vers"], "the following arguments are required: COMMAND"),
        (["fly"], "argument COMMAND: invalid choice: 'fly'"),
        (["plan"], "the following arguments are required: --parties"),
        (["plan", "--parties", "ten"], "argument --parties: invalid int value: 'ten'"),
        (["plan", "--parties", "10", "--gamma", "some"], "argument --gamma: 'some' is no share"),
        (["plan", "--parties", "10", "--gamma", "1/0"], "argument --gamma: '1/0' is no share"),
        (["plan", "--parties", "10", "--graph", "ring"], "argument --graph: invalid choice: 'ring'"),
        (["plan", "--part", "10"], "the following arguments are required: --parties"),
    ],
)
def test_wrong_usage_exits_2(capsys: pytest.CaptureFixture[str], arguments: list[str], error: str) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    first, second = output.err.splitlines()
    assert first.startswith(f"error: {error}")
    assert second == f"hint: see {'stfed plan' if arguments[:1] == ['plan'] else 'stfed'} --help"


def test_help_and_version_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"stfed {__version__}\n"
    assert main(["--help"]) == 0
    assert "plan" in capsys.readouterr().out
    assert main(["plan", "--help"]) == 0


def test_every_command_module_registers() -> None:
    assert "plan" in COMMANDS
    assert all(callable(import_module(f"stfed.cli.{name}").register) for name in COMMANDS)


def raising(error: BaseException) -> Any:
    def run(_arguments: object) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (PeerError("the coordinator lied", party="c", hint="leave"), 1, "error: the coordinator lied\nhint: leave\n"),
        (PeerError("the coordinator lied"), 1, "error: the coordinator lied\n"),
        (FileNotFoundError(2, "No such file or directory", "x.key"), 1, "error: x.key: No such file or directory\n"),
        (OSError("disk on fire"), 1, "error: disk on fire\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_lines_and_codes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, stderr: str
) -> None:
    monkeypatch.setattr(import_module("stfed.cli.plan"), "_plan", raising(error))
    assert main(["plan", "--parties", "10"]) == code
    assert capsys.readouterr().err == stderr


def test_a_bug_is_not_dressed_up_as_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("stfed.cli.plan"), "_plan", raising(AssertionError("state")))
    with pytest.raises(AssertionError):
        main(["plan", "--parties", "10"])


def stfed(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "stfed", *arguments], cwd=ROOT, text=True, timeout=60, check=False, **options)


def test_the_real_process() -> None:
    done = stfed("plan", "--parties", "1000", "--gamma", "0.05", "--delta", "0.05", "--json", capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["k"] == 34
    refused = stfed("plan", "--parties", "1", capture_output=True)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: n = 1")


def test_a_reader_that_went_away_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = stfed("plan", "--parties", "10", stdout=write_end, stderr=subprocess.PIPE)
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (141, "")


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from stfed.cli import main; main(['--help']); print(sorted({'numpy', 'flwr', 'torch', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
