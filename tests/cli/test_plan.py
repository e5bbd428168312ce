"""`stfed plan`, and the manners of the command line that every command shares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stfed import __version__
from stfed.cli import COMMANDS, main
from stfed.cli.plan import MODES
from stfed.cli.plancost import directory_bytes, masks, plan_of, steps
from stfed.encoding import Vector
from stfed.errors import PeerError
from stfed.keys import Member, Role, SigningKey
from stfed.secagg.drawn import draw_holders
from stfed.secagg.params import Mode, Parameters, choose
from stfed.secagg.policy import Policy
from stfed.testing.protocol import NOON, LocalProtocol, roster_of, scripted_entropy

ROOT = Path(__file__).parent.parent.parent
KEYS = [
    *("n", "k", "t", "mode", "graph", "gamma", "delta", "roster", "corrupt", "dropouts", "sigma", "eta"),
    *("log2_secrecy", "log2_connectivity", "log2_correctness", "min_survivors", "quorum", "honest_floor"),
    *("steps", "directory_bytes", "masks_per_party"),
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


@pytest.mark.parametrize(
    ("parties", "gamma", "delta", "numbers"),
    [
        # The smallest k and t, and the alpha bound s*, at 64 bits a PREPARE
        (1000, "0.05", "0.05", (70, 50, 638)),
        (500, "0.05", "0.05", (58, 41, 311)),
        (200, "0.05", "0.05", (32, 22, 112)),
        (1000, "0.1", "0.1", (130, 91, 580)),
    ],
)
def test_malicious(capsys: pytest.CaptureFixture[str], parties: int, gamma: str, delta: str, numbers: tuple[int, int, int]) -> None:
    facts = plan_json(capsys, "--parties", str(parties), "--gamma", gamma, "--delta", delta, "--mode", "malicious")
    assert (facts["k"], facts["t"], facts["honest_floor"]) == numbers
    assert (facts["mode"], facts["graph"]) == ("malicious", "k-out")
    assert facts["quorum"] == (parties + facts["corrupt"]) // 2 + 1


def test_malicious_cohorts_of_up_to_128_use_the_complete_graph(capsys: pytest.CaptureFixture[str]) -> None:
    for parties, graph in ((5, "complete"), (128, "complete"), (129, "k-out")):
        facts = plan_json(capsys, "--parties", str(parties), "--gamma", "0.05", "--delta", "0.05", "--mode", "malicious")
        assert facts["graph"] == graph
        assert facts["quorum"] is not None


def test_the_roster_may_be_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Its parties count, valid today or not; nobody else does."""
    owner = Member("owner", frozenset({Role.OWNER}), signing=SigningKey.generate().public)
    roster_of(30).add(owner).revoke("party 3", NOON).write(tmp_path / "roster.toml")
    facts = plan_json(capsys, "--parties", "10", "--mode", "malicious", "--roster", str(tmp_path / "roster.toml"))
    assert (facts["roster"], facts["corrupt"]) == (30, 3)
    assert facts == plan_json(capsys, "--parties", "10", "--mode", "malicious", "--roster", "30")
    assert main(["plan", "--parties", "10", "--roster", str(tmp_path / "gone")]) == 1
    assert "there is no roster" in capsys.readouterr().err
    (tmp_path / "roster.toml").write_text("hello")
    assert main(["plan", "--parties", "10", "--roster", str(tmp_path / "roster.toml")]) == 4


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
    assert list(facts) == [*KEYS, "params", "ring_bits", "vector_bytes", "upload_bytes"]
    assert vector_bytes < facts["vector_bytes"] < vector_bytes + 1000  # weight and metrics
    assert facts["masks_per_party"] == 10
    without = plan_json(capsys, "--parties", "10", "--ring-bits", bits)
    assert [step["name"] for step in facts["steps"]] == ["JOIN", "PREPARE", "TRAIN", "UNMASK"]
    for step, bare in zip(facts["steps"], without["steps"], strict=True):
        assert step["down_bytes"] == bare["down_bytes"]
        assert (step["up_bytes"] > vector_bytes) == (step["name"] == "TRAIN")
    assert facts["upload_bytes"] == sum(step["up_bytes"] for step in facts["steps"][1:])


ROUNDS = [
    choose(6, 0.1, 0.1),
    choose(40, 0.0, 0.05, graph="sparse"),
    choose(6, 0.1, 0.1, mode=Mode.MALICIOUS),
    choose(130, 0.0, 0.0, mode=Mode.MALICIOUS),
]


@pytest.mark.parametrize("parameters", ROUNDS, ids=lambda p: f"{p.mode.value}-{p.graph}")
def test_the_bytes_are_those_of_a_round(parameters: Parameters) -> None:
    """Real parties and a real coordinator, every message as it crossed; what a party sends or gets on average."""
    n = parameters.n
    policy = Policy(mode=parameters.mode, gamma=parameters.gamma, delta=parameters.delta)
    protocol = LocalProtocol(n, policy, seed="plan")
    plan = plan_of(n, 50, 24)
    size, wide = plan.vector_length, plan.wide_length
    protocol.sum_round(plan, parameters, lambda _: Vector(np.zeros(size, plan.lane), np.zeros(wide, np.uint32)))
    crossed: Counter[tuple[str, str]] = Counter()
    for name, direction, _, data in protocol.log:
        crossed[name, direction] += len(data)
    found = steps(parameters, plan)
    assert [step.name.lower() for step in found] == list(dict.fromkeys(name for name, _ in crossed))
    for step in found:
        first = directory_bytes(parameters, found[0].up_bytes) if step.name == "PREPARE" else 0
        assert crossed[step.name.lower(), "down"] == n * (step.down_bytes + first), step
        assert crossed[step.name.lower(), "up"] == n * step.up_bytes, step


def test_the_masks_of_a_party_that_drew_its_share_holders() -> None:
    parameters = choose(1000, 0.05, 0.05, mode=Mode.MALICIOUS)
    partners = np.zeros((1000, 1000), bool)
    for own in range(1000):
        partners[own, list(draw_holders(1000, own, parameters.k, scripted_entropy(str(own))))] = True
    assert abs((partners | partners.T).sum(axis=1).mean() + 1 - masks(parameters)) < 1


def test_the_table_explains_each_number(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "plan",
        "--parties",
        "1000",
        "--gamma",
        "0.05",
        "--delta",
        "0.05",
        "--mode",
        "malicious",
        "--params",
        "1000000",
        "--ring-bits",
        "20",
    ]
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert "graph breaks" not in output.out  # the alpha bound is asked for in its place
    for text in ("k = 70", "t = 50", "C = 50", "D = 50", "950", "526", "> 638", "136", "allowed 2^-65", "allowed 2^-30"):
        assert text in output.out
    assert max(map(len, output.out.splitlines())) <= 120


def test_the_table_says_never_where_nothing_is_left_to_chance(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--parties", "10", "--roster", "40"]) == 0
    output = capsys.readouterr().out
    assert output.count(" never ") == 3
    assert "the masked vector from it" in output
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
        (["--parties", "1000", "--ring-bits", "8"], "ring_bits=8 leaves less than one bit a value for 1000 parties"),
        (["--parties", "20", "--mode", "malicious", "--graph", "sparse", "--roster", "200"], "quorum: "),
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
        (["plan", "--parties", "10", "--mode", "honest"], "argument --mode: invalid choice: 'honest'"),
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


def test_the_modes_are_the_librarys() -> None:
    assert tuple(mode.value for mode in Mode) == MODES


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


def test_value_bits_take_the_smallest_ring_for_the_cohort(capsys: pytest.CaptureFixture[str]) -> None:
    for parties, ring_bits in (("10", 12), ("50", 14), ("1000", 18)):
        facts = plan_json(capsys, "--parties", parties, "--params", "100000", "--value-bits", "8")
        assert facts["ring_bits"] == ring_bits
        assert 0 < facts["vector_bytes"] - 100_000 * ring_bits // 8 < 1000
    assert main(["plan", "--parties", "10", "--ring-bits", "20", "--value-bits", "8"]) == 2
    assert "not allowed with" in capsys.readouterr().err
