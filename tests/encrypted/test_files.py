"""Encrypted tensors in sealed files: the container works as it does for plain ones, and nothing inside is trusted."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stfed import sealed
from stfed.encrypted import files
from stfed.encrypted.files import load, load_file, save, save_file
from stfed.encrypted.messages import dumps
from stfed.errors import LocalError, MalformedError, SealError
from stfed.keys import SigningKey, generate_keypair
from stfed.sealed import numpy as plain
from stfed.sealed import torch as plain_torch
from stfed.sealed.errors import TensorError
from stfed.sealed.options import OpenOptions, SealOptions
from tests.encrypted import keys
from tests.encrypted.made import made, nothing_loaded

BOB, BOBS = generate_keypair("x25519")
CAROL, CAROLS = generate_keypair("x25519")
ALICE = SigningKey.generate()
TO: SealOptions = {"recipients": BOBS, "signer": ALICE}
BY: OpenOptions = {"identity": BOB, "trusted": ALICE.public}
CKKS = "stfed.ckks"


def tensors() -> dict[str, Any]:
    context = keys.adding().public
    return {"rows": made(context, np.arange(12.0).reshape(4, 3)), "one": made(context, 2.5), "long": made(context, np.ones(5000))}


def test_a_file_comes_back(tmp_path: Path) -> None:
    path, context = tmp_path / "x.safetensors", keys.adding().public
    saved = tensors()
    save_file(saved, path, {"study": "heart"}, **TO)
    for loaded in (load_file(path, context, **BY), load(path.read_bytes(), context, **BY), load(save(saved, **TO), context, **BY)):
        assert {name: dumps(tensor) for name, tensor in loaded.items()} == {name: dumps(tensor) for name, tensor in saved.items()}
    with sealed.reader.SealedReader(path, **BY) as reader:
        assert reader.header.metadata is not None
        assert reader.header.metadata["study"] == "heart"
        shapes = {name: info.shape for name, info in reader.header.tensors.items()}
    assert shapes == {"rows": (1, 55296), "one": (1, 55296), "long": (3, 55296)}


def test_levels_and_layouts_come_back(tmp_path: Path) -> None:
    context, path = keys.usual().public, tmp_path / "x"
    saved = {f"{left} {block}": made(context, np.ones((3, 2)), left=left, block=block) for left in range(3) for block in (4, 4096)}
    save_file(saved, path, **TO)
    loaded = load_file(path, context, **BY)
    assert {name: dumps(tensor) for name, tensor in loaded.items()} == {name: dumps(tensor) for name, tensor in saved.items()}


def test_inspect_verify_grant_and_audit_are_those_of_any_sealed_file(tmp_path: Path) -> None:
    path, context, log = tmp_path / "x", keys.adding().public, tmp_path / "log"
    save_file(tensors(), path, public={"model": "heart"}, audit=log, **TO)
    info = sealed.inspect(path)
    stated = {"type": "ckks", "ckks_context": context.fingerprint.hex(), "ckks_parameters": str(context.parameters), "ckks_tensors": 3}
    assert (info.public, info.signature) == ({**stated, "model": "heart"}, "valid")
    assert context.fingerprint.hex() in info.table()
    sealed.verify_file(path, trusted=ALICE.public)
    with pytest.raises(sealed.NotARecipientError):
        load_file(path, context, identity=CAROL, audit=log)
    sealed.grant(path, recipients=CAROLS, signer=ALICE, identity=BOB, audit=log)
    assert load_file(path, context, identity=CAROL, audit=log).keys() == tensors().keys()
    sealed.reseal(path, tmp_path / "y", recipients=CAROLS, signer=ALICE, identity=BOB)
    assert sealed.inspect(tmp_path / "y").public["type"] == "ckks"
    assert load_file(tmp_path / "y", context, identity=CAROL, trusted=ALICE.public).keys() == tensors().keys()


def test_the_wrong_context_is_told_whose_is_needed(tmp_path: Path) -> None:
    path, usual = tmp_path / "x", keys.usual().public
    save_file(tensors(), path, **TO)
    with nothing_loaded(), pytest.raises(LocalError, match=keys.adding().public.fingerprint.hex()) as caught:
        load_file(path, usual, **BY)
    assert "use the evaluation context with that fingerprint" in str(caught.value)


def test_plain_and_encrypted_files_are_not_taken_for_each_other(tmp_path: Path) -> None:
    context = keys.adding().public
    plain.save_file({"x": np.ones(3)}, tmp_path / "plain", **TO)
    with pytest.raises(LocalError, match="not encrypted for computing"):
        load_file(tmp_path / "plain", context, **BY)
    save_file(tensors(), tmp_path / "x", **TO)
    for read in (plain.load_file, plain.safe_open, plain_torch.load_file):
        with pytest.raises(TensorError, match="are encrypted"):
            read(tmp_path / "x", **BY)
    with pytest.raises(TensorError, match="are encrypted"):
        plain.load((tmp_path / "x").read_bytes(), **BY)
    sealed.open_file(tmp_path / "x", tmp_path / "opened", **BY)  # the plain file inside: a valid one, of ciphertexts
    import safetensors.numpy

    assert {array.dtype for array in safetensors.numpy.load_file(tmp_path / "opened").values()} == {np.dtype(np.uint8)}


def test_what_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    one = made(keys.adding().public, [1.0])
    other = made(keys.usual().public, [1.0])
    cases: list[tuple[Any, Any, dict[str, Any], str]] = [
        ({}, None, {}, "nothing to save"),
        ([one], None, {}, "nothing to save"),
        ({"x": np.ones(3)}, None, {}, "'x' is .*ndarray"),
        ({"x": one, "y": other}, None, {}, "tensor 'y' is encrypted under the keys"),
        ({"x": one}, {CKKS: "{}"}, {}, "the format's own"),
        ({"x": one}, None, {"public": {"type": "mine"}}, "states itself"),
        ({"x": one}, None, {"provenance": {"ckks_tensors": 1}}, "states itself"),
    ]
    for given, metadata, more, says in cases:
        with pytest.raises(LocalError, match=says):
            save_file(given, tmp_path / "x", metadata, **TO, **more)
        with pytest.raises(LocalError, match=says):
            save(given, metadata, **TO, **more)
    assert not list(tmp_path.iterdir())


def forged(change: Any) -> bytes:
    """A sealed file by somebody who may seal, and who changes what is inside before."""
    context, (name, tensor) = keys.adding().public, ("x", made(keys.adding().public, np.ones((2, 2))))
    other = made(context, [1.0, 2.0, 3.0])
    content = load_plain(save({name: tensor, "y": other}, **TO))
    arrays, index = dict(content[0]), json.loads(content[1])
    public = dict(files.stated(context, 2))
    change(arrays, index, public)
    text = index if isinstance(index, str) else json.dumps(index, sort_keys=True, separators=(",", ":"))
    return plain.save(arrays, {CKKS: index.get("raw", text)}, public=public, **TO)


def load_plain(data: bytes) -> tuple[dict[str, Any], str]:
    with sealed.reader.SealedReader(data, **BY) as reader:
        whole = np.frombuffer(reader.read(0, reader.header.data_bytes), np.uint8)
        assert reader.header.metadata is not None
        return {
            name: whole[info.begin : info.end].reshape(info.shape) for name, info in reader.header.tensors.items()
        }, reader.header.metadata[CKKS]


def test_what_is_forged_with_nothing_changed_loads() -> None:
    assert load(forged(lambda *_: None), keys.adding().public, **BY).keys() == {"x", "y"}


def describe(name: str, **fields: Any) -> Any:
    return lambda _arrays, index, _public: index["tensors"][name].update(fields)


CHANGES: dict[str, tuple[Any, str]] = {
    "no version": (lambda a, i, p: i.pop("version"), "version that this release"),
    "another version": (lambda a, i, p: i.update(version=2), "version that this release"),
    "version true": (lambda a, i, p: i.update(version=True), "version that this release"),
    "a field more": (lambda a, i, p: i.update(more=1), "version that this release"),
    "raw text": (lambda a, i, p: i.update(raw="{"), "not JSON"),
    "a list": (lambda a, i, p: i.update(raw="[]"), "version that this release"),
    "not canonical": (lambda a, i, p: i.update(raw=json.dumps({key: i[key] for key in i})), "not in canonical form"),
    "nested": (lambda a, i, p: i.update(raw="[" * 100_000), "nested too deeply"),
    "no fingerprint": (lambda a, i, p: i.update(fingerprint=None), "no fingerprint"),
    "a short fingerprint": (lambda a, i, p: i.update(fingerprint=i["fingerprint"][2:]), "no fingerprint"),
    "upper case": (lambda a, i, p: i.update(fingerprint=i["fingerprint"].upper()), "no fingerprint"),
    "another fingerprint": (lambda a, i, p: i.update(fingerprint="0" * 64), "encrypted under the keys 0000"),
    "another fingerprint outside": (lambda a, i, p: p.update(ckks_context="0" * 64), "states another 'ckks_context'"),
    "another type outside": (lambda a, i, p: p.update(type="plain"), "states another 'type'"),
    "no type outside": (lambda a, i, p: p.pop("type"), "states another 'type'"),
    "another number outside": (lambda a, i, p: p.update(ckks_tensors=1), "states another 'ckks_tensors'"),
    "a tensor more": (lambda a, i, p: a.update(z=a["x"]), "not those of the tensors"),
    "a tensor fewer": (lambda a, i, p: a.pop("x"), "not those of the tensors"),
    "no descriptions": (lambda a, i, p: i.update(tensors=[]), "not those of the tensors"),
    "no shape": (describe("x", shape=None), "other fields"),
    "an oversized shape": (describe("x", shape=[1 << 47, 1 << 47]), "columns of 2 slots|not the shape"),
    "an oversized column": (describe("x", shape=[2, 1 << 47]), "not the shape"),
    "another level": (describe("x", left=1), "not the shape|1 multiplications left"),
    "a level below": (describe("x", left=-1), "multiplications left|not the shape"),
    "another block": (describe("x", block=3), "columns of 3"),
    "no finite bound": (describe("x", bound=-1.0), "no finite"),
    "a bound without room": (describe("x", bound=1e9), "as large as"),
    "a whole number for a bound": (describe("x", bound=16), "other fields"),
    "words as numbers": (lambda a, i, p: a.update(x=a["x"].view(np.float32)), "not the shape"),
    "signed words": (lambda a, i, p: a.update(x=a["x"].view(np.int8)), "not the shape"),
    "words in one row": (lambda a, i, p: a.update(x=a["x"].reshape(-1)), "not the shape"),
    "words in two rows": (lambda a, i, p: a.update(x=a["x"].reshape(2, -1)), "not the shape"),
    "words cut off": (lambda a, i, p: a.update(x=a["x"][:, :-8]), "not the shape"),
    "two ciphertexts": (lambda a, i, p: a.update(x=np.concatenate([a["x"]] * 2)), "not the shape"),
    "no ciphertext": (lambda a, i, p: a.update(x=a["x"][:0]), "not the shape"),
    "zeros": (lambda a, i, p: a.update(x=np.zeros_like(a["x"])), "^encrypted tensor 'x': this ciphertext hides nothing"),
    "ones": (lambda a, i, p: a.update(x=np.full_like(a["x"], 255)), "^encrypted tensor 'x': a coefficient is not below"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_inside_is_trusted(name: str) -> None:
    change, says = CHANGES[name]
    data, context = forged(change), keys.adding().public
    with nothing_loaded(), pytest.raises((SealError, LocalError), match=says):
        load(data, context, **BY)


def test_a_tensor_of_other_parameters_in_the_place_of_one_is_refused() -> None:
    """Those of the same parameters fit: `test_messages` has what becomes of them."""
    foreign = np.frombuffer(dumps(made(keys.usual().public, np.ones((2, 2))))[-286720:], np.uint8).reshape(1, -1)
    data = forged(lambda a, i, p: a.update(x=foreign))
    with nothing_loaded(), pytest.raises(MalformedError, match="not the shape"):
        load(data, keys.adding().public, **BY)


def test_any_change_outside_is_seen(tmp_path: Path) -> None:
    context = keys.adding().public
    data = save(tensors(), **TO)
    with nothing_loaded():
        payload = len(data) - 32 - 5 * 55296  # before it the second slot of the envelope, which a reader may find damaged
        for at in (0, 9, 5000, 6000, *range(payload, len(data), 23456), len(data) - 1):
            with pytest.raises(SealError):
                load(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], context, **BY)
        for length in (0, 7, 4096, len(data) // 2, len(data) - 1):
            with pytest.raises(SealError):
                load(data[:length], context, **BY)


def test_memory_is_that_of_one_tensor_or_less(tmp_path: Path) -> None:
    context, path = keys.adding().public, tmp_path / "x"
    one = made(context, np.ones(20 * 2048))
    many = {f"t{at}": one for at in range(35)}
    tracemalloc.start()
    save_file(many, path, **TO)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 36 << 20
    assert peak_bytes < 25 << 20  # the writer's sixteen segments of 1 MiB, a few for its threads, and one ciphertext


def test_errors_name_the_file_once(tmp_path: Path) -> None:
    path, context = tmp_path / "x", keys.adding().public
    path.write_bytes(forged(lambda arrays, *_: arrays.update(x=np.zeros_like(arrays["x"]))))
    with pytest.raises(MalformedError, match="hides nothing") as caught:
        load_file(path, context, **BY)
    assert caught.value.message.startswith(f"{path}: encrypted tensor 'x': ")
    save_file(tensors(), path, **TO)
    data = path.read_bytes()
    path.write_bytes(data[:-60000] + b"?" + data[-59999:])
    with pytest.raises(SealError) as tampered:
        load_file(path, context, **BY)
    assert tampered.value.message.count(str(path)) == 1
