"""The checked-in scenarios: regenerated, opened in every way there is, and refused each with its own error and nothing written."""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from stfed import sealed
from stfed.errors import SealError
from stfed.sealed.errors import AccessDeniedError
from stfed.sealed.numpy import load
from stfed.sealed.reader import SealedReader
from stfed.sealed.shards import load_sharded
from tests.vectors.sealed_format import sharded

from . import material
from .material import SCENARIOS, SEALED, VECTORS, apply, generated, identity_of, open_options, scenarios, verifying_key_of, whole

OTHERS = {"sealed/NOTICE", "sealed/floe_kats.json", "sealed/age.json", "sealed/recorded.json"}
ALL = list(scenarios().values())


def named(scenario: dict[str, Any]) -> str:
    return str(scenario["name"])


def sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def refused(scenario: dict[str, Any], expect: str, act: Callable[[], object]) -> SealError:
    """The error of the class and, if it is the one of the scenario's opening, the text and rule that are due."""
    with pytest.raises(SealError) as caught:
        act()
    error = caught.value
    assert type(error) is getattr(sealed, expect), str(error)
    if expect == scenario["expect"]:
        assert scenario["says"] in str(error)
        assert not isinstance(error, AccessDeniedError) or error.rule == scenario["rule"]
    return error


def test_the_generator_gives_exactly_the_checked_in_files() -> None:
    fresh = generated()
    assert len(fresh) > 400
    present = {str(path.relative_to(VECTORS)) for path in SEALED.rglob("*") if path.is_file()}
    assert present == set(fresh) | OTHERS
    for name, content in fresh.items():
        assert (VECTORS / name).read_bytes() == content, f"{name} differs: python -m tests.vectors.generate"


def test_the_generator_does_not_know_this_package() -> None:
    for path in [VECTORS / "gen_sealed.py", *(VECTORS / "sealed_format").glob("*.py")]:
        assert not re.search(r"^\s*(from|import) stfed", path.read_text(), re.MULTILINE), path


def test_an_empty_folder_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(material, "SCENARIOS", tmp_path)
    with pytest.raises(FileNotFoundError, match="no scenarios"):
        scenarios.__wrapped__()


def test_there_are_scenarios_of_every_outcome() -> None:
    assert len(ALL) == len(list(SCENARIOS.iterdir())) > 400
    outcomes = {scenario["expect"] for scenario in ALL}
    refusals = {"Malformed", "Tampered", "Unsupported", "Untrusted", "NotARecipient", "WrongPassphrase", "AccessDenied", "Rollback"}
    assert outcomes == {"ok"} | {f"{name}Error" for name in refusals}
    assert {scenario["rule"] for scenario in ALL} == {None, "owners", "not-before", "not-after", "purpose"}


@pytest.mark.parametrize("scenario", ALL, ids=named)
def test_open(scenario: dict[str, Any], tmp_path: Path) -> None:
    """A path and bytes, whole and tensor by tensor; what comes out is listed, what is there stays if nothing may."""
    path, out = tmp_path / "sealed", tmp_path / "out"
    data, options = apply(scenario), open_options(scenario)
    path.write_bytes(data)
    out.write_bytes(b"what was there before")
    if scenario["expect"] == "ok":
        with SealedReader(path, **options) as reader:
            reader.write_plain(out)
        assert sha256(out.read_bytes()) == scenario["releases"]["file"]
    else:

        def act() -> None:
            with SealedReader(path, **options) as reader:
                reader.write_plain(out)

        error = refused(scenario, scenario["expect"], act)
        assert str(error).startswith(f"{path}: ")
        assert out.read_bytes() == b"what was there before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "sealed"]
    assert path.read_bytes() == data
    if "clock" not in options:
        check_verbs(scenario, path, out, options)


def check_verbs(scenario: dict[str, Any], path: Path, out: Path, options: dict[str, Any]) -> None:
    """The verbs that have no clock."""
    if scenario["expect"] != "ok":
        refused(scenario, scenario["expect"], lambda: load(path.read_bytes(), **options))
        refused(scenario, scenario["expect"], lambda: sealed.open_file(path, out, **options))
        return
    sealed.open_file(path, out, **options)
    tensors, expected = load(path.read_bytes(), **options), safetensors.numpy.load(out.read_bytes())
    assert sha256(out.read_bytes()) == scenario["releases"]["file"]
    assert tensors.keys() == expected.keys()
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[key])
        assert tensor.dtype == expected[key].dtype


@pytest.mark.parametrize("scenario", [one for one in ALL if one["expect"] != "ok"], ids=named)
def test_what_a_lazy_reader_releases_of_a_refused_file(scenario: dict[str, Any]) -> None:
    """Tensors that lie in sound segments only, and those all; nothing if the damage is seen on opening."""
    assert dict(lazily(scenario)) == scenario["releases"]


def lazily(scenario: dict[str, Any]) -> Iterator[tuple[str, str]]:
    try:
        reader = SealedReader(apply(scenario), **open_options(scenario))
    except SealError:
        return
    with reader:
        for name, info in reader.header.tensors.items():
            if name in scenario["releases"]:
                yield name, sha256(reader.read(info.begin, info.end))
            else:
                refused(scenario, scenario["expect"], lambda info=info: reader.read(info.begin, info.end))  # type: ignore[misc]


@pytest.mark.parametrize("scenario", [one for one in ALL if one["verify"]], ids=named)
def test_verify_without_a_key(scenario: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "sealed"
    path.write_bytes(apply(scenario))
    trusted = [verifying_key_of(name) for name in scenario["open"].get("trusted", ["alice"])]
    if scenario["verify"] == "ok":
        assert sealed.verify_file(path, trusted=trusted).signer in trusted
    elif scenario["verify"] != "RollbackError":
        refused(scenario, scenario["verify"], lambda: sealed.verify_file(path, trusted=trusted))


@pytest.mark.parametrize("scenario", ALL, ids=named)
def test_inspect_shows_what_it_is_or_an_error_of_ours(scenario: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "sealed"
    path.write_bytes(apply(scenario))
    try:
        info = sealed.inspect(path)
    except SealError as error:
        assert scenario["expect"] == type(error).__name__  # noqa: PT017 - opening sees it too
        return
    assert all(letter.isprintable() or letter == "\n" for letter in info.table())
    sizes = (info.header_bytes, info.slots_bytes, info.payload_bytes, info.digests_bytes)
    assert sum(sizes) == info.file_bytes == path.stat().st_size


def test_a_sharded_model_of_the_second_implementation_opens() -> None:
    tensors = load_sharded(SEALED / "sharded", identity=identity_of("x25519"), trusted=verifying_key_of("alice"))
    expected = {name: array for shard in sharded.SHARDS for name, array in shard.items()}
    assert tensors.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(tensors[name], array)


def test_stock_safetensors_lists_the_parts_of_a_sealed_file() -> None:
    for name, parts in (("hybrid", []), ("signed", ["stfed.digests"])):
        with safetensors.safe_open(SEALED / f"{name}.safetensors", framework="np") as file:
            assert sorted(file.keys()) == [*parts, "stfed.envelope", "stfed.payload"]
            assert file.metadata()["stfed"] == "1"
            assert bytes(file.get_tensor("stfed.payload")) in whole(name)
