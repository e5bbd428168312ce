"""`stfed plan`."""

from __future__ import annotations

import json
from collections import Counter
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stfed.bench import rates
from stfed.bench.rates import Rates
from stfed.cli import main
from stfed.cli.plan import MODES
from stfed.cli.plancost import directory_bytes, masks, plan_of, rates_for, seconds, steps
from stfed.cli.planview import duration, odds
from stfed.encoding import Vector
from stfed.keys import Member, Role, SigningKey
from stfed.secagg.drawn import draw_holders
from stfed.secagg.params import Mode, Parameters, choose
from stfed.secagg.policy import Policy
from stfed.testing.protocol import NOON, LocalProtocol, roster_of, scripted_entropy

ROOT = Path(__file__).parent.parent.parent
KEYS = [
    *("n", "k", "t", "mode", "graph", "gamma", "delta", "roster", "corrupt", "dropouts", "sigma", "eta"),
    *("log2_secrecy", "log2_connectivity", "log2_correctness", "min_survivors", "quorum", "honest_floor"),
    *("floor", "drop_rate", "log2_failure"),
    *("steps", "directory_bytes", "masks_per_party"),
]
BOUNDS = ("log2_secrecy", "log2_connectivity", "log2_correctness")
RATES = Rates(*(float(2**at) for at in range(15)))
"""Each so much larger than the one before that none can stand for another."""


def plan(*arguments: str) -> int:
    """The command, without the second that measuring this machine takes."""
    return main(["plan", *arguments, "--no-measure"])


def plan_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert plan(*arguments, "--json") == 0
    output = capsys.readouterr()
    assert output.err == ""
    facts: dict[str, Any] = json.loads(output.out)
    return facts


def test_the_numbers_of_a_thousand_parties(capsys: pytest.CaptureFixture[str]) -> None:
    facts = plan_json(capsys, "--parties", "1000", "--gamma", "0.05", "--delta", "0.05")
    assert list(facts) == [*KEYS, "seconds"]
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
    assert [facts[key] for key in BOUNDS] == [None] * 3
    assert plan_json(capsys, "--parties", "10", "--drop-rate", "0")["log2_failure"] is None


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
    assert list(facts) == [*KEYS, "params", "ring_bits", "vector_bytes", "upload_bytes", "seconds"]
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
    encoding = plan_of(n, 50, 24)
    size, wide = encoding.vector_length, encoding.wide_length
    protocol.sum_round(encoding, parameters, lambda _: Vector(np.zeros(size, encoding.lane), np.zeros(wide, np.uint32)))
    crossed: Counter[tuple[str, str]] = Counter()
    for name, direction, _, data in protocol.log:
        crossed[name, direction] += len(data)
    found = steps(parameters, encoding)
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
    assert plan(*arguments) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert "graph breaks" not in output.out  # the alpha bound is asked for in its place
    for text in ("k = 70", "t = 50", "C = 50", "D = 50", "950", "526", "> 638", "136", "allowed 2^-65", "allowed 2^-30"):
        assert text in output.out
    assert max(map(len, output.out.splitlines())) <= 120


def test_the_table_says_never_where_nothing_is_left_to_chance(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan("--parties", "10", "--roster", "40") == 0
    output = capsys.readouterr().out
    assert output.count(" never ") == 3
    assert "the masked vector from it" in output
    assert "of a roster of 40" in output
    assert "upload" not in output
    assert plan("--parties", "10", "--params", "0") == 0


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


def test_the_modes_are_the_librarys() -> None:
    assert tuple(mode.value for mode in Mode) == MODES


def test_value_bits_take_the_smallest_ring_for_the_cohort(capsys: pytest.CaptureFixture[str]) -> None:
    for parties, ring_bits in (("10", 12), ("50", 14), ("1000", 18)):
        facts = plan_json(capsys, "--parties", parties, "--params", "100000", "--value-bits", "8")
        assert facts["ring_bits"] == ring_bits
        assert 0 < facts["vector_bytes"] - 100_000 * ring_bits // 8 < 1000
    assert main(["plan", "--parties", "10", "--ring-bits", "20", "--value-bits", "8"]) == 2
    assert "not allowed with" in capsys.readouterr().err


def test_several_values_are_rows_of_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan("--parties", "10,50,100-300:100", "--delta", "0.05,0.1", "--params", "1000", "--drop-rate", "0.02") == 0
    output = capsys.readouterr().out
    assert output.startswith("A semi-honest coordinator, gamma = 0.1, params = 1,000\n")
    head, *rows = (line.split() for line in output.split("\n\n")[1].splitlines())
    assert head[:2] == ["n", "delta"]
    assert "gamma" not in head
    assert [row[:2] for row in rows] == [[str(n), delta] for n in (10, 50, 100, 200, 300) for delta in ("0.05", "0.1")]
    assert "with probability 0.02" in output
    assert max(map(len, output.splitlines())) <= 120


def test_what_has_no_plan_does_not_hide_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--parties", "2,10", "--mode", "malicious")
    assert plan(*arguments) == 0
    output = capsys.readouterr().out
    assert "n = 2: no threshold fits" in output
    assert " complete " in output
    facts = plan_json(capsys, *arguments)["plans"]
    assert [sorted(facts[0]), facts[1]["k"]] == [["delta", "gamma", "n", "refused"], 9]
    assert plan("--parties", "2,3", "--mode", "malicious", "--gamma", "0.4") == 1  # none at all
    assert "n = 3: " in capsys.readouterr().out


def test_a_row_is_the_plan_that_is_asked_for_alone(capsys: pytest.CaptureFixture[str]) -> None:
    one = plan_json(capsys, "--parties", "50", "--params", "1000")
    assert plan_json(capsys, "--parties", "10,50", "--params", "1000")["plans"][1] == one


@pytest.mark.parametrize("given", ["", "10,", "5-2", "1-2000", "10-20:0", "10:20", "1.5", "0x10"])
def test_what_is_no_list_of_numbers_is_wrong_usage(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--parties", given]) == 2
    assert "argument --parties: " in capsys.readouterr().err


def test_too_many_plans_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan("--parties", "1-100", "--params", "1-100") == 1
    assert "error: 10000 plans" in capsys.readouterr().err


def test_how_likely_a_round_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    facts = plan_json(capsys, "--parties", "10", "--drop-rate", "1/2")
    # t = 5 of 9: six or more have to stay.
    assert 2.0 ** facts["log2_failure"] == pytest.approx(sum(comb(10, stay) for stay in range(6)) / 2**10)
    assert facts["drop_rate"] == 0.5
    assert plan_json(capsys, "--parties", "10", "--delta", "0.3")["drop_rate"] == 0.15
    assert plan("--parties", "10", "--drop-rate", "1.5") == 1
    assert "error: a drop rate of 3/2 is no probability" in capsys.readouterr().err


def test_the_smallest_sum_is_what_parties_insist_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_json(capsys, "--parties", "20")["floor"] == 4  # two corrupt and two honest
    assert plan_json(capsys, "--parties", "100")["floor"] == 90  # a ring falls apart below
    malicious = plan_json(capsys, "--parties", "20", "--mode", "malicious")
    assert malicious["floor"] == malicious["quorum"]


def test_seconds_grow_with_what_there_is_to_do() -> None:
    def of(n: int, values: int, ring_bits: int = 32, **options: Any) -> dict[str, float]:
        return seconds(choose(n, 0.05, 0.1, **options), plan_of(n, values, ring_bits), RATES)

    small, wide, many = of(10, 10**7), of(10, 2 * 10**7), of(20, 10**7)
    assert list(small) == ["party", "party_first", "coordinator", "coordinator_drops"]
    for key in small:
        assert small[key] < wide[key]
        assert small[key] < many[key]
    # Vectors are most of it here, and twice as many values are twice as much. A lane of half the width has masks of half the length.
    assert wide["party"] / small["party"] == pytest.approx(2, rel=0.1)
    saved = small["party"] - of(10, 10**7, 16)["party"]
    assert saved == pytest.approx(1e-9 * 10**7 * 10 * RATES.mask_ns / 2, rel=0.01)
    parameters, encoding = choose(10, 0.05, 0.1), plan_of(10, 10**7, 32)
    work = parameters, encoding.vector_length, masks(parameters)
    assert small["party"] == RATES.party_s(*work, first=False)
    assert small["coordinator"] == RATES.coordinator_s(*work)
    assert small["party"] <= small["party_first"]
    assert small["coordinator"] < small["coordinator_drops"]
    assert of(100, 10_000, graph="sparse")["party"] < of(100, 10_000, graph="complete")["party"]
    assert of(20, 1000)["party"] < of(20, 1000, mode=Mode.MALICIOUS)["party"]


def test_the_rates_of_another_encoding_are_measured() -> None:
    assert rates_for(plan_of(10, 100, 32), RATES) == RATES
    narrow = rates_for(plan_of(10, 100, 20), RATES)
    changed = {name for name in RATES.__dataclass_fields__ if getattr(narrow, name) != getattr(RATES, name)}
    assert changed == {"encode_ns", "sum_ns", "decode_ns"}


def test_this_machine_is_measured_once_and_only_for_what_can_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []

    def measure() -> Rates:
        asked.append(None)
        return RATES

    monkeypatch.setattr(rates, "measure", measure)
    assert main(["plan", "--parties", "10,20", "--params", "1000"]) == 0
    assert len(asked) == 1
    assert "estimates for one core of this machine, without network, training" in capsys.readouterr().out
    assert main(["plan", "--parties", "1", "--params", "1000"]) == 1
    assert main(["plan", "--parties", "10", "--no-measure"]) == 0
    assert len(asked) == 1
    assert "estimates" not in capsys.readouterr().out


def test_this_machine_is_measured_for_real(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--parties", "10", "--params", "100000"]) == 0
    output = capsys.readouterr().out
    assert output.count("of work in a round; ") == 2
    assert max(map(len, output.splitlines())) <= 120


def test_numbers_for_people() -> None:
    assert [odds(value) for value in (None, 0.0, -1.0, -10.0, -39.9, -70.25)] == [
        *("never", "100 %", "50 %", "1 in 1,000", "1 in 1,000,000,000,000", "2^-70.2"),
    ]
    assert [duration(value) for value in (2e-7, 3.14e-3, 0.5, 12.0, 90.0, 7200.0)] == [
        *("0.2 us", "3.1 ms", "500 ms", "12 s", "1.5 min", "2 h"),
    ]


NINES = "9" * 4000
"""Python still reads them; over 4,300 it raises ValueError."""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--parties", "1-99999999"], 2, "'1-99999999' are 99,999,999 numbers; give 1 to 1000"),
        (["--parties", "5,1-1000"], 2, "'5,1-1000' are 1,001 numbers"),
        (["--parties", NINES], 2, "is no whole number and no range"),
        (["--parties", "20", "--params", NINES], 2, "is no whole number and no range"),
        (["--parties", "20", "--gamma", "1e99999999"], 2, "'1e99999999' is no share"),
        (["--parties", "20", "--gamma", "1E1_0_0"], 2, "is no share"),
        (["--parties", "20", "--delta", f"0.{NINES}"], 2, "is no share"),
        (["--parties", "20", "--drop-rate", "1e-400"], 2, "'1e-400' is no share"),
        (["--parties", "20", "--roster", NINES], 1, "a roster of '999"),
        (["--parties", "20", "--roster", 2 * NINES], 1, "a roster of '999"),
    ],
)
def test_numbers_that_are_too_long_are_refused_at_once_and_not_repeated(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(*arguments) == code
    error = capsys.readouterr().err
    assert said in error
    assert len(error) < 400


def test_small_shares_may_have_an_exponent(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_json(capsys, "--parties", "20", "--drop-rate", "1E-99")["drop_rate"] == 1e-99
