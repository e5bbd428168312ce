"""Sharded models: what comes back, what is refused, and what a crash leaves."""

import base64
import hashlib
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from stfed.audit import AuditLog
from stfed.errors import LocalError, MalformedError, SealError
from stfed.keys.signing import SigningKey
from stfed.sealed.bounds import PROVENANCE_MAX_BYTES
from stfed.sealed.errors import NotARecipientError, RollbackError, TamperedError, TensorError, UnsupportedError, UntrustedError
from stfed.sealed.models import SharedMemoryError
from stfed.sealed.numpy import load_file, save_file
from stfed.sealed.pins import Pins
from stfed.sealed.reader import SealedReader
from stfed.sealed.resealing import reseal
from stfed.sealed.shardindex import Index, Shard, ShardError
from stfed.sealed.shardplan import size_from, split
from stfed.sealed.shards import load_sharded, safe_open_sharded, save_sharded

from .material import Script, keypair

IDENTITY, RECIPIENT = keypair("shards")
STRANGER, _ = keypair("stranger")
ANN, BOB = (SigningKey.generate(entropy=Script(name)) for name in ("ann", "bob"))
SEAL: dict[str, Any] = {"recipients": RECIPIENT, "max_shard_size": 400}
OPEN: dict[str, Any] = {"identity": IDENTITY}
TRUST: dict[str, Any] = {"identity": IDENTITY, "trusted": ANN.public}
FILES = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
INDEX, USUAL = "model.stfed.index.json", "model.safetensors.index.json"


def model(seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Three shards at 400 bytes: {a, b}, {c}, {d}."""
    lengths = {"a": 25, "b": 75, "c": 100, "d": 10}
    return {name: np.arange(length, dtype=np.float32) + 1000 * seed for name, length in lengths.items()}


def same(loaded: dict[str, Any], expected: dict[str, Any]) -> bool:
    return loaded.keys() == expected.keys() and all(np.array_equal(loaded[name], expected[name]) for name in expected)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def index_of(folder: Path) -> Index:
    return Index.decode((folder / INDEX).read_bytes())


# What comes back


@pytest.mark.parametrize("signed", [False, True])
def test_a_model_in_three_files(signed: bool, tmp_path: Path) -> None:
    more, trust = ({"signer": ANN}, TRUST) if signed else ({}, OPEN)
    index = save_sharded(model(), tmp_path / "m", {"format": "np"}, **SEAL, **more, provenance={"round": 3}, public={"name": "m"})
    assert names_in(tmp_path / "m") == sorted([*FILES, INDEX, USUAL])
    assert same(load_sharded(tmp_path / "m", **trust), model())
    for path in (INDEX, USUAL):
        assert same(load_sharded(tmp_path / "m" / path, **trust), model())
    with safe_open_sharded(tmp_path / "m", **trust) as opened:
        assert opened.keys() == ["a", "b", "c", "d"]
        assert opened.offset_keys() == ["a", "b", "c", "d"]
        assert opened.metadata() == {"format": "np"}
        assert opened.provenance() == {"round": 3, "name": "m", "shard_set": index.set_id.hex()}
        assert opened.index == index == index_of(tmp_path / "m")
        assert np.array_equal(opened.get_slice("b")[3:5], model()["b"][3:5])
        assert np.array_equal(opened.get_tensor("d"), model()["d"])
        for wrong in (opened.get_tensor, opened.get_slice):
            with pytest.raises(TensorError, match="does not contain tensor x"):
                wrong("x")
    with pytest.raises(TensorError, match="closed"):
        opened.get_tensor("a")
    assert set(load_file(tmp_path / "m" / FILES[0], **trust)) == {"a", "b"}  # each is a sealed file as any other


def test_the_usual_index_is_what_others_expect(tmp_path: Path) -> None:
    save_sharded(model(), tmp_path, **SEAL)
    usual = json.loads((tmp_path / USUAL).read_text())
    assert usual["weight_map"] == {"a": FILES[0], "b": FILES[0], "c": FILES[1], "d": FILES[2]}
    assert usual["metadata"]["total_size"] == 4 * 210


def test_the_signed_index_as_the_format_describes_it(tmp_path: Path) -> None:
    """Read with JSON, hashes and Ed25519 alone."""
    index = save_sharded(model(), tmp_path, **SEAL, signer=ANN)
    outer = json.loads((tmp_path / INDEX).read_bytes())
    assert outer.keys() == {"index", "signatures"}
    inner = outer["index"]
    assert inner.keys() == {"version", "set_id", "usual_index_sha256", "signers", "shards"}
    assert (inner["version"], inner["signers"]) == (1, [str(ANN.public)])
    assert inner["usual_index_sha256"] == hashlib.sha256((tmp_path / USUAL).read_bytes()).hexdigest()
    content = json.dumps(inner, sort_keys=True, separators=(",", ":")).encode()
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in (b"stfed/sealed/index/1", content))
    Ed25519PublicKey.from_public_bytes(ANN.public.public_bytes).verify(base64.b64decode(outer["signatures"][0]), framed)
    assert index.sha256 == hashlib.sha256(framed).digest()
    for number, (entry, file) in enumerate(zip(inner["shards"], FILES, strict=True), 1):
        with SealedReader(tmp_path / file, **OPEN) as reader:
            context = reader.manifest.context
            assert entry == {"file": file, "file_id": context.file_id.hex(), "manifest_sha256": reader.manifest.sha256.hex()}
            assert context.public == {"shard_set": inner["set_id"], "shard": f"{number}/3"}


def test_without_it_no_name_of_a_tensor_is_readable(tmp_path: Path) -> None:
    tensors = {f"very-telling-name-{name}": array for name, array in model().items()}
    save_sharded(tensors, tmp_path, index="none", **SEAL, signer=ANN)
    assert names_in(tmp_path) == sorted([*FILES, INDEX])
    assert not any(b"telling" in path.read_bytes() for path in tmp_path.iterdir())
    assert same(load_sharded(tmp_path, **TRUST), tensors)


def test_torch_tensors(tmp_path: Path) -> None:
    tensors = {name: torch.from_numpy(array).to(torch.bfloat16) for name, array in model().items()}
    save_sharded(tensors, tmp_path, recipients=RECIPIENT, max_shard_size="1KB")
    loaded = load_sharded(tmp_path, "pt", "cpu", **OPEN)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    with pytest.raises(SharedMemoryError, match="share memory"):  # in different shards, where no shard by itself would show it
        save_sharded({"x": tensors["c"], "y": tensors["c"]}, tmp_path, recipients=RECIPIENT, max_shard_size=200)
    assert same(
        {name: tensor.float() for name, tensor in load_sharded(tmp_path, "pt", **OPEN).items()}, {n: t.float() for n, t in tensors.items()}
    )


def test_no_tensors_at_all(tmp_path: Path) -> None:
    save_sharded({}, tmp_path, {"only": "text"}, recipients=RECIPIENT)
    with safe_open_sharded(tmp_path, **OPEN) as opened:
        assert (opened.keys(), opened.metadata()) == ([], {"only": "text"})


def test_several_models_in_one_folder(tmp_path: Path) -> None:
    save_sharded(model(1), tmp_path, name="one", **SEAL)
    save_sharded(model(2), tmp_path, name="one-two", **SEAL)
    save_sharded(model(3), tmp_path, name="one", **SEAL)
    assert same(load_sharded(tmp_path, name="one", **OPEN), model(3))
    assert same(load_sharded(tmp_path / "one-two.stfed.index.json", **OPEN), model(2))


def test_a_passphrase_is_asked_for_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask() -> str:
        asked.append("asked")
        return "correct horse battery staple"

    save_sharded({"a": np.zeros(1), "b": np.ones(1)}, tmp_path, passphrase=ask, max_shard_size=8)
    assert same(load_sharded(tmp_path, passphrase=ask), {"a": np.zeros(1), "b": np.ones(1)})
    assert asked == ["asked", "asked"]


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 50), max_size=20), st.integers(1, 60))
def test_the_split(sizes: dict[str, int], max_bytes: int) -> None:
    shards = split(sizes, max_bytes)
    assert sorted(name for shard in shards for name in shard) == sorted(sizes)
    assert all(len(shard) == 1 or sum(sizes[name] for name in shard) <= max_bytes for shard in shards)
    order = list(sizes)
    small = [[order.index(name) for name in shard] for shard in shards if sum(sizes[name] for name in shard) <= max_bytes]
    assert [place for shard in small for place in shard] == sorted(place for shard in small for place in shard)
    for shard, following in itertools.pairwise(small):  # none was closed too early
        assert sum(sizes[order[place]] for place in [*shard, following[0]]) > max_bytes


@pytest.mark.parametrize(("text", "size"), [(7, 7), ("5GB", 5 * 10**9), ("1 MiB", 1 << 20), ("10kb", 10_000), ("2TiB", 2 << 40)])
def test_sizes(text: int | str, size: int) -> None:
    assert size_from(text) == size


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None, "", "5", "GB", "5 PB", "-5GB", "1.5GB", "5GB and more", "0GB"])
def test_no_sizes(wrong: Any) -> None:
    with pytest.raises(LocalError, match="no size of a shard"):
        size_from(wrong)


def test_arguments_that_do_not_fit(tmp_path: Path) -> None:
    save_sharded(model(), tmp_path / "m", **SEAL)
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    for wrong, says in (
        ({"index": "secret"}, "neither"),
        ({"name": "a/b"}, "no name for the files"),
        ({"name": ".."}, "no name for the files"),
        ({"max_shard_size": "much"}, "no size"),
        ({"public": {"shard": "1/1"}}, "stated by the shards themselves"),
        ({"provenance": {"shard_set": "00"}}, "stated by the shards themselves"),
        ({"public": {"long": "x" * (PROVENANCE_MAX_BYTES - 60)}}, "bytes of at most"),
        ({"recipients": ()}, "recipient"),
        ({"metadata": {"a": 1}}, "text"),
    ):
        with pytest.raises((LocalError, TypeError), match=says):
            save_sharded(model(), tmp_path / "m", **{**SEAL, **wrong})
    with pytest.raises(LocalError, match=r"expected np.ndarray"):
        save_sharded({**model(), "z": [1, 2]}, tmp_path / "m", **SEAL)  # type: ignore[dict-item]
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before
    for place, says in ((tmp_path / "no" / "where", "no folder"), (tmp_path / "m" / INDEX, "not a folder")):
        with pytest.raises(LocalError, match=says):
            save_sharded(model(), place, **SEAL)
    with pytest.raises(FileNotFoundError, match="No such file"):
        load_sharded(tmp_path / "none", **OPEN)
    with pytest.raises(FileNotFoundError, match="No such file"):
        load_sharded(tmp_path, **OPEN)
    with pytest.raises(LocalError, match="no index of a sharded model"):
        load_sharded(tmp_path / "m" / FILES[0], **OPEN)
    with pytest.raises(LocalError, match="whom you trust"):
        load_sharded(tmp_path / "m", **OPEN, pins=tmp_path / "pins")


def test_the_models_of_others_are_left_alone(tmp_path: Path) -> None:
    """A plain model in the same folder: its index is not overwritten, its shards are not removed."""
    (tmp_path / USUAL).write_text('{"metadata": {"total_size": 1}, "weight_map": {}}')
    with pytest.raises(LocalError, match="not sealed"):
        save_sharded(model(), tmp_path, **SEAL)
    (tmp_path / USUAL).unlink()
    (tmp_path / FILES[0]).write_bytes(b"plain")
    save_file({"x": np.zeros(1)}, tmp_path / FILES[1], recipients=RECIPIENT)  # sealed, but no shard
    before = {name: (tmp_path / name).read_bytes() for name in FILES[:2]}
    for seed in (1, 2):
        save_sharded(model(seed), tmp_path, **SEAL)
        assert same(load_sharded(tmp_path, **OPEN), model(seed))
        assert before == {name: (tmp_path / name).read_bytes() for name in FILES[:2]}
        assert len(names_in(tmp_path)) == 2 + 3 + 2


# What is refused


def two_sets(folder: Path, *, signed: bool) -> tuple[Path, Path]:
    """Copies of two sets, made once: most of the time goes into syncing files."""
    made = folder.parent / f"two-sets-{'signed' if signed else 'unsigned'}"
    for seed, name in ((1, "one"), (2, "two")):
        if not (made / name).exists():
            made.mkdir(exist_ok=True)
            save_sharded(model(seed), made / name, **SEAL, signer=ANN if signed else None, provenance={"model": "m", "sequence": 1})
        shutil.copytree(made / name, folder / name)
    return folder / "one", folder / "two"


def edit_unsigned(folder: Path, change: Callable[[Index], Index]) -> None:
    (folder / INDEX).write_bytes(change(index_of(folder)).encode())


def foreign(one: Path, two: Path) -> None:
    shutil.copy(two / FILES[1], one / FILES[1])


def swapped(one: Path, _two: Path) -> None:
    (one / FILES[0]).rename(one / "aside")
    (one / FILES[1]).rename(one / FILES[0])
    (one / "aside").rename(one / FILES[1])


def missing(one: Path, _two: Path) -> None:
    (one / FILES[2]).unlink()


def by_itself(one: Path, _two: Path) -> None:
    save_file(model(), one / FILES[0], recipients=RECIPIENT, signer=ANN)


def sealed_anew(one: Path, _two: Path) -> None:
    reseal(one / FILES[0], recipients=RECIPIENT, signer=ANN, **OPEN)


def usual_edited(one: Path, _two: Path) -> None:
    (one / USUAL).write_text((one / USUAL).read_text().replace('"a"', '"A"'))


def usual_removed(one: Path, _two: Path) -> None:
    (one / USUAL).unlink()


def usual_foreign(one: Path, two: Path) -> None:
    shutil.copy(two / USUAL, one / USUAL)


def index_foreign(one: Path, two: Path) -> None:
    shutil.copy(two / INDEX, one / INDEX)
    shutil.copy(two / USUAL, one / USUAL)


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        (foreign, f"{FILES[1]} is not shard 2/3 of the set that the index names: it belongs to another set"),
        (swapped, f"{FILES[0]} is not shard 1/3 of the set that the index names: it is shard '2/3'"),
        (missing, f"shard 3/3 is missing: there is no {FILES[2]}"),
        (by_itself, "it is a file by itself"),
        (sealed_anew, "it is another sealing of this shard"),
        (usual_edited, f"{USUAL} is missing or not the one"),
        (usual_removed, f"{USUAL} is missing or not the one"),
        (usual_foreign, f"{USUAL} is missing or not the one"),
        (index_foreign, "it belongs to another set"),
    ],
)
@pytest.mark.parametrize("options", [OPEN, TRUST])
def test_files_that_are_not_the_set(attack: Callable[[Path, Path], None], says: str, options: dict[str, Any], tmp_path: Path) -> None:
    one, two = two_sets(tmp_path, signed=True)
    attack(one, two)
    with AuditLog(tmp_path / "log") as log:
        with pytest.raises(ShardError) as caught:
            load_sharded(one, **options, audit=log)
        assert says in caught.value.message
        assert [entry.event.fields["path"] for entry in log.entries() if entry.event.kind == "open-failed"] == [INDEX]
    with pytest.raises(ShardError):
        safe_open_sharded(one, **options)


def without_the_last(index: Index) -> Index:
    return replace(index, shards=index.shards[:-1])


def in_another_order(index: Index) -> Index:
    return replace(index, shards=(index.shards[1], index.shards[0], index.shards[2]))


def of_another_set(index: Index) -> Index:
    return replace(index, set_id=bytes(32))


def with_another_id(index: Index) -> Index:
    return replace(index, shards=(replace(index.shards[0], file_id=bytes(32)), *index.shards[1:]))


def with_another_hash(index: Index) -> Index:
    return replace(index, shards=(replace(index.shards[0], manifest_sha256=bytes(32)), *index.shards[1:]))


def with_one_more(index: Index) -> Index:
    return replace(index, shards=(*index.shards, Shard("more.safetensors", bytes(32), bytes(32))))


def without_usual_hash(index: Index) -> Index:
    return replace(index, usual_index_sha256=bytes(32))


EDITS = [
    (without_the_last, "it is shard '1/3'"),
    (in_another_order, "it is shard '2/3'"),
    (of_another_set, "it belongs to another set"),
    (with_another_id, "another sealing"),
    (with_another_hash, "another sealing"),
    (with_one_more, "it is shard '1/3'"),
    (without_usual_hash, f"{USUAL} is missing or not the one"),
]


@pytest.mark.parametrize(("change", "says"), EDITS)
def test_an_edited_index_of_an_unsigned_set(change: Callable[[Index], Index], says: str, tmp_path: Path) -> None:
    """Whoever edits the index cannot edit what the shards state: it is bound into their encryption."""
    one, two = two_sets(tmp_path, signed=False)
    shutil.copy(two / FILES[2], one / "more.safetensors")
    edit_unsigned(one, change)
    with pytest.raises(ShardError) as caught:
        load_sharded(one, **OPEN)
    assert says in caught.value.message


def test_a_usual_index_that_was_exchanged_together_with_its_hash(tmp_path: Path) -> None:
    one, _ = two_sets(tmp_path, signed=False)
    for old, new, error in ((FILES[2], FILES[1], ShardError), ('"a":', '"x":', ShardError), ("stfed_set", "other_set", MalformedError)):
        usual = (one / USUAL).read_bytes().replace(old.encode(), new.encode())
        shutil.copytree(one, tmp_path / new[-8:])
        (tmp_path / new[-8:] / USUAL).write_bytes(usual)
        edit_unsigned(tmp_path / new[-8:], partial(replace, usual_index_sha256=hashlib.sha256(usual).digest()))
        with pytest.raises(error):
            load_sharded(tmp_path / new[-8:], **OPEN)


@pytest.mark.parametrize("change", [change for change, _ in EDITS])
@pytest.mark.parametrize("options", [OPEN, TRUST])
def test_an_edited_index_of_a_signed_set(change: Callable[[Index], Index], options: dict[str, Any], tmp_path: Path) -> None:
    one, two = two_sets(tmp_path, signed=True)
    shutil.copy(two / FILES[2], one / "more.safetensors")
    edit_unsigned(one, change)  # the old signature stays
    with pytest.raises(TamperedError, match=r"signature of .* over the index does not verify"):
        load_sharded(one, **options)
    edit_unsigned(one, lambda index: replace(index, signers=(BOB.public,)).signed([BOB]))  # somebody else's
    with pytest.raises((ShardError, UntrustedError)):
        load_sharded(one, **options)


def test_a_signature_that_was_taken_away(tmp_path: Path) -> None:
    one, _ = two_sets(tmp_path, signed=True)
    edit_unsigned(one, lambda index: replace(index, signers=(), signatures=()))
    with pytest.raises(UntrustedError, match="index is not signed"):
        load_sharded(one, **TRUST)
    with pytest.raises(ShardError, match="its signers are not those of the index"):
        load_sharded(one, **OPEN)
    edit_unsigned(one, lambda index: replace(index, signers=(BOB.public,)).signed([BOB]))
    with pytest.raises(ShardError, match="its signers are not those of the index"):
        load_sharded(one, **TRUST)  # the shards are Ann's, but who says that they belong together?


def test_whose_set_it_is(tmp_path: Path) -> None:
    one, _ = two_sets(tmp_path, signed=False)
    with pytest.raises(UntrustedError, match="index is not signed"):
        load_sharded(one, **TRUST)
    save_sharded(model(), one, **SEAL, signer=BOB)
    with pytest.raises(UntrustedError):
        load_sharded(one, **TRUST)
    save_sharded(model(), one, **SEAL, signer=[BOB, ANN])
    assert same(load_sharded(one, **TRUST), model())
    with pytest.raises(NotARecipientError):
        load_sharded(one, identity=STRANGER)


@given(st.data())
def test_no_byte_of_the_index_can_be_changed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "signed-set"
    if not folder.exists():
        save_sharded(model(), folder, **SEAL, signer=ANN)
        shutil.copy(folder / INDEX, folder / "index")
    octets = bytearray((folder / "index").read_bytes())
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / INDEX).write_bytes(octets)
    with pytest.raises(SealError):
        load_sharded(folder, **OPEN)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('"version":1', '"version":2', UnsupportedError),
        ('"version":1', '"version":true', UnsupportedError),
        ('"version":1', '"version":1,"x":1', UnsupportedError),
        ('"signatures":[]', '"signatures":[],"x":1', UnsupportedError),
        ('"signatures":[]', '"signatures":["AAAA"]', MalformedError),
        ('"signatures":[]', '"signatures": []', MalformedError),
        (FILES[1], FILES[0], MalformedError),
        (FILES[0], "../one/" + FILES[0], MalformedError),
        (FILES[0], "/etc/model.safetensors", MalformedError),
        (FILES[0], "..", MalformedError),
        (FILES[0], "", MalformedError),
        (FILES[0], ".safetensors", MalformedError),
        (FILES[0], "..\\\\model.safetensors", MalformedError),
        (FILES[0], "a\\nb.safetensors", MalformedError),
        (FILES[0], "a" * 256 + ".safetensors", MalformedError),
    ],
)
def test_malformed_indexes(old: str, new: str, error: type[SealError], tmp_path: Path) -> None:
    save_sharded(model(), tmp_path / "one", **SEAL)
    path = tmp_path / "one" / INDEX
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(error, match=INDEX):
        load_sharded(tmp_path / "one", **OPEN)


def by_hand(folder: Path, contents: list[dict[str, Any]], stated: list[dict[str, Any]]) -> None:
    """A set that its signer made badly."""
    shards = []
    for number, (tensors, more) in enumerate(zip(contents, stated, strict=True), 1):
        file = f"{number}.safetensors"
        save_file(tensors, folder / file, recipients=RECIPIENT, signer=ANN, public={"shard_set": "00" * 32, "shard": f"{number}/2", **more})
        with SealedReader(folder / file, **OPEN) as reader:
            shards.append(Shard(file, reader.manifest.context.file_id, reader.manifest.sha256))
    (folder / INDEX).write_bytes(Index(bytes(32), None, (ANN.public,), tuple(shards)).signed([ANN]).encode())


def test_sets_that_contradict_themselves(tmp_path: Path) -> None:
    one, other = {"a": np.zeros(1)}, {"b": np.zeros(1)}
    by_hand(tmp_path, [one, other], [{}, {}])
    assert same(load_sharded(tmp_path, **TRUST), {**one, **other})
    by_hand(tmp_path, [one, one], [{}, {}])
    with pytest.raises(MalformedError, match="'a' is in two shards"):
        load_sharded(tmp_path, **TRUST)
    by_hand(tmp_path, [one, other], [{"sequence": 1}, {"sequence": 2}])
    with pytest.raises(MalformedError, match="shards 1 and 2 of the model state different things"):
        load_sharded(tmp_path, **TRUST)


def test_an_older_set_in_place_of_the_newer_one(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins")
    first = save_sharded(model(1), tmp_path / "m", **SEAL, signer=ANN, provenance={"model": "m", "sequence": 1})
    shutil.copytree(tmp_path / "m", tmp_path / "kept")
    load_sharded(tmp_path / "m", **TRUST, pins=pins)
    following = {"model": "m", "sequence": 2, "previous": first.sha256.hex()}
    second = save_sharded(model(2), tmp_path / "m", **SEAL, signer=ANN, provenance=following)
    assert same(load_sharded(tmp_path / "m", **TRUST, pins=tmp_path / "pins"), model(2))
    assert [(pin.version.sequence, pin.version.manifest_sha256) for pin in pins.seen()] == [(2, second.sha256)]
    with pytest.raises(RollbackError, match="older"):
        load_sharded(tmp_path / "kept", **TRUST, pins=pins)
    save_sharded(model(3), tmp_path / "m", **SEAL, signer=ANN, provenance=following)
    with pytest.raises(RollbackError, match="not the one seen before"):
        load_sharded(tmp_path / "m", **TRUST, pins=pins)
    with pytest.raises(LocalError, match="whole set"):
        load_file(next((tmp_path / "m").glob("*-00001-of-*")), **TRUST, pins=pins)


def test_a_set_that_is_refused_is_not_remembered(tmp_path: Path) -> None:
    one, two = two_sets(tmp_path, signed=True)
    foreign(one, two)
    with pytest.raises(ShardError):
        load_sharded(one, **TRUST, pins=tmp_path / "pins")
    assert Pins(tmp_path / "pins").seen() == []


# What a crash leaves


def test_one_saving_at_a_time(tmp_path: Path) -> None:
    def meanwhile(_done: int) -> None:
        with pytest.raises(LocalError, match="somebody else is saving"):
            save_sharded(model(2), tmp_path, **SEAL)

    save_sharded(model(1), tmp_path, **SEAL, progress=meanwhile)
    assert same(load_sharded(tmp_path, **OPEN), model(1))


def test_a_failure_leaves_the_old_set_alone(tmp_path: Path) -> None:
    save_sharded(model(1), tmp_path, **SEAL)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done: list[int] = []

    def full(_done: int) -> None:
        done.append(1)
        if len(done) == 3:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save_sharded(model(2), tmp_path, **SEAL, progress=full)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def interrupted_at(step: int, action: Callable[[], object], *, killed: bool) -> bool:
    """Runs `action` in a child, where the `step`-th change or syncing of a folder kills the process, or fails. Whether that happened."""
    child = os.fork()
    if child == 0:
        left = step

        def hook(event: str, arguments: Any) -> None:
            nonlocal left
            if event in ("os.rename", "os.remove") or (event == "open" and arguments[2] & os.O_DIRECTORY):
                left -= 1
                if left == -1 and killed:
                    os.kill(os.getpid(), signal.SIGKILL)
                if left == -1:
                    raise OSError("no more disk")

        sys.addaudithook(hook)
        try:
            action()
            os._exit(0)
        except OSError:
            os._exit(1)
        except BaseException:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) if killed and status else os.WEXITSTATUS(status) in (0, 1)
    return status != 0


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize(("usual", "size"), [("public", 400), ("none", 300)])  # 300: one shard more than the old set has
def test_an_end_at_any_moment_leaves_the_old_or_the_new_set(usual: str, size: int, killed: bool, tmp_path: Path) -> None:
    old, _ = two_sets(tmp_path, signed=True)
    seen = []
    for step in range(100):
        folder = tmp_path / str(step)
        shutil.copytree(old, folder)
        save = partial(save_sharded, model(2), folder, recipients=RECIPIENT, max_shard_size=size, index=usual, signer=ANN)
        interrupted = interrupted_at(step, save, killed=killed)
        loaded = load_sharded(folder, **TRUST)
        seen.append(1 if same(loaded, model(1)) else 2)
        assert same(loaded, model(seen[-1]))
        save_sharded(model(3), folder, **SEAL, signer=ANN)  # and what was left behind is no obstacle
        assert same(load_sharded(folder, **TRUST), model(3))
        assert len([name for name in names_in(folder) if not name.endswith(".tmp")]) == 5
        if not interrupted:
            break
    assert seen == sorted(seen)
    assert seen.count(1) >= 4
    assert seen.count(2) >= 4


def test_old_and_new_names_take_turns(tmp_path: Path) -> None:
    for seed in range(4):
        index = save_sharded(model(seed), tmp_path, **SEAL)
        mark = f"{index.set_id.hex()[:8]}-" if seed % 2 else ""
        assert [shard.file for shard in index.shards] == [f"model-{mark}0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
        assert names_in(tmp_path) == sorted([*(shard.file for shard in index.shards), INDEX, USUAL])
        assert same(load_sharded(tmp_path, **OPEN), model(seed))
