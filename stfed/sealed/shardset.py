"""What makes several sealed files one model, checked over files that are open and verified each by itself.

Each is the one that the index names, in the place that it states itself; all state the same; no tensor is in two; and the usual index, if
the set has one, is as it was written and true. Which tensor is where comes from the shards' own headers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from stfed.errors import MalformedError, shown
from stfed.keys.smallfile import read_small
from stfed.sealed.reader import SealedReader
from stfed.sealed.shardindex import Index, ShardError
from stfed.sealed.shardplan import USUAL_INDEX_MAX_BYTES, Names, weight_map
from stfed.sealed.statements import Scalar, Statements


def found(folder: Path, index: Index) -> list[Path]:
    """The shards' paths; ShardError if one of them is not there."""
    paths = [folder / shard.file for shard in index.shards]
    for position, path in enumerate(paths):
        if not path.exists():
            raise ShardError(f"shard {index.place(position)} is missing: there is no {path.name}", hint="copy all files of the model")
    return paths


def checked(folder: Path, names: Names, index: Index, shards: Sequence[SealedReader]) -> dict[str, int]:
    """The position of the shard that each tensor is in, tensors in the order of their data.

    Args:
        folder: where the files are.
        names: how they are called.
        index: verified.
        shards: opened, in the index's order.

    Raises:
        ShardError: if a file is not the shard that the index names, or the usual index is not the one that was written or not true.
        MalformedError: if whoever made the set let its shards contradict each other.
    """
    for position, shard in enumerate(shards):
        index.check(position, shard.manifest)
        if of_the_set(shard.statements) != of_the_set(shards[0].statements):
            raise MalformedError(f"shards 1 and {position + 1} of the model state different things about it")
    homes: dict[str, int] = {}
    for position, shard in enumerate(shards):
        for name in shard.header.tensors:
            if name in homes:
                raise MalformedError(f"tensor {shown(name)} is in two shards of the model")
            homes[name] = position
    if index.usual_index_sha256 is not None:
        listed = weight_map(_usual_index(folder, names, index))
        if listed != {name: index.shards[position].file for name, position in homes.items()}:
            raise ShardError(f"{names.usual_index} names other files for the tensors than those they are in")
    return homes


def of_the_set(stated: Statements) -> dict[str, Scalar]:
    """What a shard states, without its place: the same in every shard of a set."""
    return {name: value for name, value in stated.items() if name != "shard"}


def _usual_index(folder: Path, names: Names, index: Index) -> bytes:
    """The usual index as it was written; it may still wait under its own name, if the writer was interrupted."""
    for file in (names.usual_index, names.pending_index(index.set_id)):
        try:
            data, _ = read_small(folder / file, USUAL_INDEX_MAX_BYTES)
        except FileNotFoundError:
            continue
        if hashlib.sha256(data).digest() == index.usual_index_sha256:
            return data
    raise ShardError(f"{names.usual_index} is missing or not the one that was written with the shards")
