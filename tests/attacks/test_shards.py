"""Attacks on sharded models: true files of alice's in the wrong set, and indexes that say so."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from stfed.crypto.labels import Label
from stfed.sealed import MalformedError, RollbackError, TamperedError, UntrustedError
from stfed.sealed.shards import ShardError, load_sharded, save_sharded
from tests.attacks.scene import TENSORS, Scene, attack
from tests.vectors.sealed_format.encoding import Json, canonical, to_base64

INDEX = "model.stfed.index.json"
FILES = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def shards(scene: Scene, name: str, scale: int = 1, **options: Any) -> Path:
    """A model in two files by alice; another model if `scale` is another."""
    tensors = {key: scale * array for key, array in TENSORS.items()}
    folder = scene.folder / name
    save_sharded(tensors, folder, recipients=scene.recipient, max_shard_size=12_100, **{"signer": scene.alice, **options})
    assert sorted(path.name for path in folder.glob("*.safetensors")) == FILES
    return folder


def opens_set(scene: Scene, folder: Path, **options: Any) -> None:
    """The victim opens the set, and gets the true tensors or an error."""
    given = {"identity": scene.identity, "trusted": scene.alice.public, **options}
    tensors = load_sharded(folder, **{name: value for name, value in given.items() if value is not None})
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], array, "a wrong tensor was released")


def rewritten(folder: Path, index: Json, *signatures: str) -> None:
    (folder / INDEX).write_bytes(canonical({"index": index, "signatures": list(signatures)}))


def index_of(folder: Path) -> Json:
    index: Json = json.loads((folder / INDEX).read_bytes())["index"]
    return index


@attack(ShardError, "it belongs to another set")
def test_a_shard_of_another_model(scene: Scene) -> None:
    """Puts a true shard of another model of alice's in the place of one, hoping for a mixture that behaves as they like."""
    folder, other = shards(scene, "model"), shards(scene, "other", 2)
    (folder / FILES[1]).write_bytes((other / FILES[1]).read_bytes())
    opens_set(scene, folder)


@attack(ShardError, "it belongs to another set")
def test_a_shard_of_another_model_where_nobody_is_trusted(scene: Scene) -> None:
    """The same with unsigned sets and a reader who asks for no signature."""
    folder, other = shards(scene, "model", signer=None), shards(scene, "other", 2, signer=None)
    (folder / FILES[1]).write_bytes((other / FILES[1]).read_bytes())
    opens_set(scene, folder, trusted=None)


@attack(ShardError, "it is a file by itself")
def test_a_whole_file_for_a_shard(scene: Scene) -> None:
    """Puts a true file of alice's, no shard, in the place of one."""
    folder = shards(scene, "model")
    (folder / FILES[1]).write_bytes(scene.sealed())
    opens_set(scene, folder)


@attack(ShardError, "it is shard '2/2'")
def test_shards_exchanged(scene: Scene) -> None:
    """Exchanges two files of one set."""
    folder = shards(scene, "model")
    first, second = ((folder / name).read_bytes() for name in FILES)
    (folder / FILES[0]).write_bytes(second)
    (folder / FILES[1]).write_bytes(first)
    opens_set(scene, folder)


@attack(ShardError, "shard 2/2 is missing")
def test_a_shard_taken_away(scene: Scene) -> None:
    """Deletes a file, hoping that a model without its last layers is used."""
    folder = shards(scene, "model")
    (folder / FILES[1]).unlink()
    opens_set(scene, folder)


@attack(TamperedError, "over the index does not verify")
def test_a_shard_taken_off_the_index(scene: Scene) -> None:
    """Deletes a file and takes it off the index."""
    folder = shards(scene, "model")
    outer = json.loads((folder / INDEX).read_bytes())
    (folder / FILES[1]).unlink()
    outer["index"]["shards"].pop()
    rewritten(folder, outer["index"], *outer["signatures"])
    opens_set(scene, folder)


@attack(ShardError, "its signers are not those of the index")
def test_an_index_of_their_own_over_true_shards(scene: Scene) -> None:
    """Signs an index of their own over alice's shards, hoping to be the one who says what belongs together."""
    folder = shards(scene, "model")
    index = index_of(folder)
    index["signers"] = [str(scene.mallory_signer.public)]
    rewritten(folder, index, to_base64(scene.mallory_signer.sign(Label.SEALED_INDEX, canonical(index))))
    opens_set(scene, folder)


@attack(TamperedError, "over the index does not verify")
def test_an_index_in_alices_name(scene: Scene) -> None:
    """The same in alice's name."""
    folder = shards(scene, "model")
    index = index_of(folder)
    rewritten(folder, index, to_base64(scene.mallory_signer.sign(Label.SEALED_INDEX, canonical(index))))
    opens_set(scene, folder)


@attack(UntrustedError, "the index is not signed")
def test_the_signature_of_the_index_stripped(scene: Scene) -> None:
    """Makes the index an unsigned one, which they can edit."""
    folder = shards(scene, "model")
    rewritten(folder, {**index_of(folder), "signers": []})
    opens_set(scene, folder)


@attack(UntrustedError, "nobody trusted signed the file")
def test_a_set_of_their_own(scene: Scene) -> None:
    """Seals and signs a whole set of their own."""
    opens_set(scene, shards(scene, "model", 2, signer=scene.mallory_signer))


@attack(MalformedError, "which is no name of a shard")
def test_a_path_in_the_index(scene: Scene) -> None:
    """Names a file outside the folder in an unsigned index, hoping that it is read."""
    folder = shards(scene, "model", signer=None)
    index = index_of(folder)
    (scene.folder / "elsewhere.safetensors").write_bytes((folder / FILES[1]).read_bytes())
    index["shards"][1]["file"] = "../elsewhere.safetensors"
    rewritten(folder, index)
    opens_set(scene, folder, trusted=None)


@attack(ShardError, "model.safetensors.index.json is missing or not the one")
def test_the_usual_index_edited(scene: Scene) -> None:
    """Edits the index that other tools read, hoping that they and we load different models from one folder."""
    folder = shards(scene, "model")
    usual = folder / "model.safetensors.index.json"
    usual.write_bytes(usual.read_bytes().replace(FILES[0].encode(), FILES[1].encode()))
    opens_set(scene, folder)


@attack(RollbackError, "sequence 3, is older than sequence 4")
def test_an_older_set(scene: Scene) -> None:
    """Keeps the whole set of round 3 and offers it when round 4 is out."""
    old, new = (shards(scene, f"round {number}", provenance={"model": "m", "sequence": number}) for number in (3, 4))
    opens_set(scene, new, pins=scene.pins)
    opens_set(scene, old, pins=scene.pins)


@attack(ShardError, "it belongs to another set")
def test_a_shard_of_an_older_round(scene: Scene) -> None:
    """Puts one file of round 3 into the set of round 4."""
    old, new = (shards(scene, f"round {number}", provenance={"model": "m", "sequence": number}) for number in (3, 4))
    (new / FILES[0]).write_bytes((old / FILES[0]).read_bytes())
    opens_set(scene, new, pins=scene.pins)
