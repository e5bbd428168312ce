"""Sealing a large model as several files with one signed index over them.

What a crash leaves. Files of an older set are never overwritten: new shards take names that are free. The rename of the signed index is the
moment at which the new set takes the old one's place, whole; before it a reader finds the old set, after it the new one. Only then does the
usual index take its name (it waits under one of its own, where readers find it too) and the old shards are removed. What an interrupted
saving leaves behind is not part of any set and is removed by the next one. Whoever has the old set open can go on reading it; whoever is
about to open it at that very moment may find a shard gone, and opens the new one at the next try.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Unpack

from stfed.crypto.random import system_entropy
from stfed.errors import LocalError, MalformedError, SealError, shown
from stfed.files import File, opened, replacing, sync_folder
from stfed.keys.keyfile import PathLike
from stfed.keys.smallfile import read_small
from stfed.sealed import anytensor, statements
from stfed.sealed.options import SealOptions
from stfed.sealed.outside import read_outside
from stfed.sealed.sealrequest import SealRequest
from stfed.sealed.shardindex import SET_ID_BYTES, Index, Shard
from stfed.sealed.shardplan import USUAL_INDEX_MAX_BYTES, Names, size_from, split, usual_index, weight_map
from stfed.sealed.stream import Progress
from stfed.sealed.trail import trail
from stfed.sealed.writer import seal_as_asked

STATEMENTS = ("shard_set", "shard")


def save_sharded(
    tensors: Mapping[str, Any],
    folder: PathLike,
    metadata: Mapping[str, str] | None = None,
    *,
    max_shard_size: int | str = "5GB",
    name: str = "model",
    index: str = "public",
    progress: Progress | None = None,
    **options: Unpack[SealOptions],
) -> Index:
    """Seals a model as files of limited size, each under a key of its own, in place of the set of that name that was there.

    Args:
        tensors: numpy arrays or torch tensors by name, in the order in which they are put into files.
        folder: made if it is not there. One saving at a time may be under way in it.
        metadata: text to save with the tensors, in every file.
        max_shard_size: of a file's tensors together, in bytes, or as text: "5GB". A larger tensor has a file to itself.
        name: what the files' names begin with.
        index: "public" for the usual `model.safetensors.index.json`, which shows the tensors' names to everybody; "none" for no such file.
        progress: hears of every segment.
        options: as `SealOptions` says; all shards state and allow the same.

    Returns:
        The index. Its `sha256` is what the next version of the model names as `previous`.

    Raises:
        LocalError: as `save_file`; if somebody else is saving into the folder, or it has the index of a model that is not sealed.
    """
    names, max_bytes, request = Names(name), size_from(max_shard_size), _request(options)
    if index not in ("public", "none"):
        raise LocalError(f"index={shown(index)} is neither 'public' nor 'none'")
    anytensor.refuse_shared(tensors)
    sizes = {key: getattr(tensor, "nbytes", 0) for key, tensor in tensors.items()}
    plan, set_id, place = split(sizes, max_bytes), system_entropy(SET_ID_BYTES), Path(folder)
    requests = [_of_shard(request, set_id, f"{number}/{len(plan)}") for number in range(1, len(plan) + 1)]
    _make(place)
    with _locked(place), trail(request.audit) as log:
        _refuse_others(place / names.usual_index)
        files = names.shards(len(plan), set_id, [entry.name for entry in place.iterdir()])
        usual = usual_index({key: file for file, keys in zip(files, plan, strict=True) for key in keys}, sum(sizes.values()), set_id)
        usual_sha256 = hashlib.sha256(usual).digest() if index == "public" else None
        new = Index(set_id, usual_sha256, tuple(key.public for key in request.signers), ())
        try:
            shards = []
            for file, keys, asked in zip(files, plan, requests, strict=True):
                source = anytensor.source({key: tensors[key] for key in keys}, metadata)
                manifest = seal_as_asked(source, place / file, asked, log, progress)
                shards.append(Shard(file, manifest.context.file_id, manifest.sha256))
            if usual_sha256 is not None:
                _write(place / names.pending_index(set_id), usual)
            new = replace(new, shards=tuple(shards)).signed(request.signers)
            _write(place / names.index, new.encode())
        except BaseException:
            if not _is_there(place / names.index, new):
                for file in (*files, names.pending_index(set_id)):
                    (place / file).unlink(missing_ok=True)
            raise
        _tidy_up(place, names, new)
    return new


def _request(options: SealOptions) -> SealRequest:
    """The options, read once for all shards: nobody is asked for a passphrase twice."""
    request = SealRequest.of(**options)
    stated = sorted({*request.public, *request.provenance} & set(STATEMENTS))
    if stated:
        raise LocalError(f"{shown(stated[0])} is stated by the shards themselves", hint="leave it out")
    return replace(request, passphrase=cache(request.passphrase)) if callable(request.passphrase) else request


def _of_shard(request: SealRequest, set_id: bytes, place: str) -> SealRequest:
    """The same for one shard, which states where it belongs; LocalError if that is too much to state."""
    public = {**request.public, "shard_set": set_id.hex(), "shard": place}
    wrong = statements.problem(public)
    if wrong:
        raise LocalError(wrong)
    return replace(request, public=public)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        raise LocalError(f"{folder} cannot be made: there is no folder {folder.parent}") from None
    except FileExistsError:
        raise LocalError(f"{folder} is not a folder") from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError(f"somebody else is saving a model into {folder} just now", hint="wait, or use another folder") from None
        yield
    finally:
        os.close(descriptor)


def _refuse_others(index: Path) -> None:
    """LocalError if there is the usual index of a model that is not sealed: saving would overwrite it."""
    try:
        weight_map(read_small(index, USUAL_INDEX_MAX_BYTES)[0])
    except FileNotFoundError:
        return
    except MalformedError:
        raise LocalError(f"{index} belongs to a model that is not sealed", hint="use another folder or another name") from None


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as target:
        target.write_at(0, data)


def _is_there(path: Path, index: Index) -> bool:
    """Whether the set counts already, although its writing failed: the rename may have succeeded and what came after it not."""
    try:
        return path.read_bytes() == index.encode()
    except OSError:
        return False


def _tidy_up(folder: Path, names: Names, index: Index) -> None:
    """Gives the usual index its name, and removes what belongs to no set any more: sealed shards, and indexes that waited in vain."""
    waiting, usual = folder / names.pending_index(index.set_id), folder / names.usual_index
    if index.usual_index_sha256 is None:
        usual.unlink(missing_ok=True)
    else:
        waiting.replace(usual)
    current = {shard.file for shard in index.shards}
    for path in sorted(folder.iterdir()):
        if names.is_pending_index(path.name) or (names.is_shard(path.name) and path.name not in current and _is_sealed_shard(path)):
            path.unlink()
    sync_folder(folder)


def _is_sealed_shard(path: Path) -> bool:
    """Whether a file is the shard of a sealed set: plain ones of the same name are somebody else's."""
    try:
        with opened(path) as descriptor:
            return "shard_set" in read_outside(File(descriptor)).envelope.manifest.context.public
    except (SealError, LocalError):
        return False
