"""checkpoint: each step of the move, as a function on a folder. `__main__` tells the story, the README has the same as commands."""

from __future__ import annotations

import hashlib
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import FedAvg

from examples.hospitals import client_app, task
from examples.hospitals.data import partitions, public_test
from stfed import sealed
from stfed.flower import SecureAggregation
from stfed.keys import SigningKey, generate_keypair, write_keypair
from stfed.sealed.torch import load_file, save_file
from stfed.testing import InMemoryGrid

DATASET, SEED, HOSPITALS, ALPHA = "breast-cancer", 7, 5, 0.5
METADATA = {"format": "pt", "trained_on": "rows of the north hospital, 2025", "epochs": "2"}
CONFIG = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]

State = dict[str, torch.Tensor]


def begin_in_clear(folder: Path) -> State:
    """What the north hospital has before: a model of its own rows, as safetensors with metadata, and as torch's state dict."""
    model = task.make_model(DATASET, SEED)
    own = partitions(DATASET, HOSPITALS, ALPHA, SEED)[0].train
    task.train(model, own, epochs=2, lr=0.05, batch_size=16, seed=SEED, server_round=0, party=0)
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors", metadata=METADATA)
    torch.save(model.state_dict(), folder / "model.pt")
    return safetensors.torch.load_file(folder / "model.safetensors")


def make_keys(folder: Path) -> None:
    """North signs and opens; east and south only open. As `stfed keygen --out north.key` and so on."""
    for name in ("north", "east", "south"):
        write_keypair(folder / f"{name}.key", generate_keypair()[0], signing=SigningKey.generate())


def seal(folder: Path) -> None:
    """Seals the file as it is, byte for byte, to north and east; stated as the first version of a model, which rounds can go on from."""
    (folder / "models").mkdir()
    sealed.seal_file(
        folder / "model.safetensors",
        folder / "models" / "round-000.safetensors",
        recipients=[folder / "north.key.pub", folder / "east.key.pub"],
        signer=folder / "north.key",
        public={"model": "heart", "sequence": 1},
    )


def seal_state_dict(folder: Path) -> None:
    """Seals a torch file. It is a pickle, so what is sealed is the tensors in it and not its bytes."""
    weights = torch.load(folder / "model.pt", weights_only=True)
    save_file(weights, folder / "from-pt.safetensors", METADATA, recipients=folder / "north.key.pub", signer=folder / "north.key")


def sha256_inside(folder: Path) -> str:
    """Hash of the plain file that is in the sealed one, without writing it anywhere."""
    keys = {"identity": folder / "east.key", "trusted": folder / "north.key.pub"}
    with sealed.SealedReader(folder / "models" / "round-000.safetensors", **keys) as reader:
        content = bytearray(reader.payload.size_bytes)
        reader.payload.read_into(0, memoryview(content))
    return hashlib.sha256(content).hexdigest()


def metadata_inside(path: Path, folder: Path) -> Mapping[str, str]:
    """What `safetensors.safe_open` calls metadata."""
    with sealed.safe_open(path, "pt", identity=folder / "north.key", trusted=folder / "north.key.pub") as file:
        return dict(file.metadata() or {})


def weights_of(path: Path, folder: Path, who: str) -> State:
    """The line that changes in a training script. It was `safetensors.torch.load_file(path)`."""
    return load_file(path, identity=folder / f"{who}.key", trusted=folder / "north.key.pub")


def equal_bits(one: State, other: State) -> bool:
    """Whether all tensors have the same names, types, shapes and bits."""
    return safetensors.torch.save(one) == safetensors.torch.save(other)


def accuracy(weights: State) -> float:
    """On the public test set."""
    model = task.make_model(DATASET, SEED)
    model.load_state_dict(weights)
    return task.evaluate(model, public_test(DATASET, SEED))[1]


def go_on(folder: Path, rounds: int) -> None:
    """Secure rounds of five hospitals from the sealed checkpoint; each round's model is the next version in the same folder.

    The hospitals are those of examples/hospitals, in this process; how to run them on Flower's runtime is told there.
    """
    weights = weights_of(folder / "models" / "round-000.safetensors", folder, "north")
    strategy = SecureAggregation(
        FedAvg(fraction_evaluate=0.0),
        max_weight=200,
        save=folder / "models",
        recipients=[folder / "north.key.pub", folder / "east.key.pub"],
        signer=folder / "north.key",
        model="heart",
    )
    with tempfile.TemporaryDirectory() as state:  # where the parties keep theirs; each has a machine of its own otherwise
        grid = InMemoryGrid(
            client_app.app,
            HOSPITALS,
            run_config={**CONFIG, "num-parties": HOSPITALS, "drop-per-round": 0, "dirichlet-alpha": ALPHA},
            node_config=lambda party: {"partition-id": party, "num-partitions": HOSPITALS, "stfed-state-dir": state},
        )
        strategy.start(grid, ArrayRecord(weights), num_rounds=rounds, train_config=ConfigRecord({"lr": 0.05}))


def grant_to_south(path: Path, folder: Path) -> None:
    """Lets one more hospital open a file, in place: the ciphertext stays as it is."""
    north = {"identity": folder / "north.key", "trusted": folder / "north.key.pub"}
    sealed.grant(path, recipients=folder / "south.key.pub", signer=folder / "north.key", **north)


def with_a_changed_byte(path: Path, folder: Path) -> Path:
    """A copy with one bit of its ciphertext turned."""
    content = bytearray(path.read_bytes())
    info = sealed.inspect(path)
    content[info.header_bytes + info.slots_bytes + info.payload_bytes // 2] ^= 1
    copy = folder / "changed.safetensors"
    copy.write_bytes(content)
    return copy


def remove_plain(folder: Path) -> list[Path]:
    """Takes the plain files' names away. What that does not do is in the README."""
    gone = [folder / "model.safetensors", folder / "model.pt"]
    for path in gone:
        path.unlink()
    return gone
