"""The recorded rounds: they are what the generator makes, a second implementation agrees with every byte, and the sums are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from stfed.secagg.messages import (
    Confirm,
    ConfirmRequest,
    Join,
    JoinRequest,
    Masked,
    Message,
    Prepare,
    PrepareRequest,
    TrainRequest,
    Unmask,
    UnmaskRequest,
)
from tests.secagg.paper import Replay
from tests.vectors import gen_secagg, generate

FOLDER = Path(gen_secagg.__file__).parent / "secagg"
CASES = {path.stem: json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))}
IN_FULL = [name for name, case in CASES.items() if len(case["messages"][0]) == 4]
TYPES: dict[tuple[str, str], type[Message]] = {
    ("join", "down"): JoinRequest,
    ("join", "up"): Join,
    ("prepare", "down"): PrepareRequest,
    ("prepare", "up"): Prepare,
    ("train", "down"): TrainRequest,
    ("train", "up"): Masked,
    ("confirm", "down"): ConfirmRequest,
    ("confirm", "up"): Confirm,
    ("unmask", "down"): UnmaskRequest,
    ("unmask", "up"): Unmask,
}


def test_the_folder_is_what_the_generator_makes() -> None:
    made = gen_secagg.generate()
    assert made
    assert {f"secagg/{path.name}" for path in FOLDER.iterdir()} == set(made)
    for name, content in made.items():
        assert (FOLDER.parent / name).read_bytes() == content, name
        assert len(content) < 200_000


def test_rounds_of_every_kind_are_there() -> None:
    assert len(IN_FULL) >= 9
    assert len([name for name in IN_FULL if "malicious" in name]) >= 3
    assert len(CASES) > len(IN_FULL)


@pytest.mark.parametrize("name", IN_FULL)
def test_every_recorded_message_decodes_and_encodes_to_itself(name: str) -> None:
    for step, direction, _, data in CASES[name]["messages"]:
        if direction != "vector":
            assert TYPES[step, direction].decode(bytes.fromhex(data)).encode().hex() == data


@pytest.mark.parametrize("name", IN_FULL)
def test_a_second_implementation_agrees(name: str) -> None:
    agrees(CASES[name])


def agrees(case: dict[str, Any]) -> None:
    replay = Replay(case)
    assert replay.nodes == case["directory"]
    replay.check_joins()
    replay.check_prepares()
    replay.check_trains()
    replay.check_confirms()
    assert replay.sum().hex() == case["sum"]


@pytest.mark.parametrize("name", CASES)
def test_the_sum_is_the_sum_of_the_survivors_inputs(name: str) -> None:
    case: dict[str, Any] = CASES[name]
    arithmetic = Replay.__new__(Replay)  # for its numbers only: hashed messages cannot be replayed
    arithmetic.case = case
    vectors = [arithmetic.numbers(bytes.fromhex(case["inputs"][str(node)])) for node in case["survivors"]]
    assert arithmetic.packed([sum(column) for column in zip(*vectors, strict=True)]).hex() == case["sum"]


@pytest.mark.parametrize(
    ("step", "direction"), [("join", "up"), ("prepare", "up"), ("train", "down"), ("train", "vector"), ("unmask", "up")]
)
def test_the_second_implementation_is_no_rubber_stamp(step: str, direction: str) -> None:
    """With one byte of one recorded message changed it disagrees."""
    case = json.loads(json.dumps(CASES["five-parties"]))
    message = next(item for item in case["messages"] if item[:2] == [step, direction])
    data = bytearray.fromhex(message[3])
    data[-9] ^= 1
    message[3] = data.hex()
    with pytest.raises((AssertionError, InvalidTag)):
        agrees(case)


@pytest.mark.parametrize("step", ["join", "prepare", "train", "confirm", "unmask"])
def test_the_second_implementation_checks_every_signature(step: str) -> None:
    text = json.dumps(CASES["six-parties-malicious"])
    message = next(data for at, direction, _, data in CASES["six-parties-malicious"]["messages"] if (at, direction) == (step, "up"))
    changed = bytearray.fromhex(message)
    changed[-1] ^= 1
    case = json.loads(text.replace(message, changed.hex()))  # wherever it went: a JOIN is in the directory, too
    with pytest.raises(AssertionError, match="signature"):
        agrees(case)


def test_one_command_checks_all_vectors(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(generate, "generated", lambda: iter([(tmp_path / "area" / "one.json", b"one")]))
    monkeypatch.setattr(generate, "HERE", tmp_path)
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().out == "differs: area/one.json\n"
    assert not (tmp_path / "area").exists()
    assert generate.main([]) == 0
    assert capsys.readouterr().out == "written: area/one.json\n"
    assert generate.main(["--check"]) == 0
    assert capsys.readouterr().out == "all vectors are what their generators write\n"


def test_the_command_knows_every_area() -> None:
    areas = {path.relative_to(generate.HERE).parts[0] for path, _ in generate.generated()}
    assert areas == {module.stem.removeprefix("gen_") for module in generate.HERE.glob("gen_*.py")}
    assert {"crypto", "encoding", "graph", "sealed", "secagg"} <= areas
