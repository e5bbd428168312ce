"""The checked-in files: regenerated and compared, opened, and refused one damage at a time, each with its own error and nothing written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from stfed import sealed
from stfed.errors import SealError
from stfed.sealed import errors
from stfed.sealed.numpy import load

from .material import SEALED, apply, generated, identity_of, load_json

CASES: list[dict[str, Any]] = load_json("cases.json")


def test_the_generator_gives_exactly_the_checked_in_files() -> None:
    fresh = generated()
    assert fresh, "the generator gives nothing"
    for name, content in fresh.items():
        assert (SEALED.parent / name).read_bytes() == content, f"{name} differs: run tests/vectors/gen_sealed.py"
    others = {"sealed/NOTICE", "sealed/floe_kats.json", "sealed/age.json", "sealed/hybrid_stanza.txt"}
    assert {f"sealed/{path.name}" for path in SEALED.iterdir()} == set(fresh) | others


def test_there_are_cases() -> None:
    assert len(CASES) > 100
    assert len({case["name"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("name", ["x25519", "hybrid"])
def test_a_file_written_by_the_second_implementation_opens(name: str, tmp_path: Path) -> None:
    plain = (SEALED / "plain.safetensors").read_bytes()
    sealed.open_file(SEALED / f"{name}.safetensors", tmp_path / "out", identity=identity_of(name))
    assert (tmp_path / "out").read_bytes() == plain
    tensors = load((SEALED / f"{name}.safetensors").read_bytes(), identity=identity_of(name))
    expected = safetensors.numpy.load(plain)
    assert tensors.keys() == expected.keys()
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[key])
        assert tensor.dtype == expected[key].dtype


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_damage(case: dict[str, Any], tmp_path: Path) -> None:
    path, out = tmp_path / "sealed", tmp_path / "out"
    path.write_bytes(apply(case, (SEALED / "x25519.safetensors").read_bytes()))
    identity = identity_of("x25519")
    if case["expect"] is None:
        sealed.open_file(path, out, identity=identity)
        assert out.read_bytes() == (SEALED / "plain.safetensors").read_bytes()
        return
    out.write_bytes(b"what was there before")
    with pytest.raises(SealError) as caught:
        sealed.open_file(path, out, identity=identity)
    assert type(caught.value) is getattr(errors, case["expect"])
    assert case["says"] in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(SealError):
        load(path.read_bytes(), identity=identity)
    assert out.read_bytes() == b"what was there before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "sealed"]


def test_stock_safetensors_lists_the_parts_of_a_sealed_file() -> None:
    with safetensors.safe_open(SEALED / "hybrid.safetensors", framework="np") as file:
        assert file.keys() == ["stfed.envelope", "stfed.payload"]
        assert file.metadata()["stfed"] == "1"
