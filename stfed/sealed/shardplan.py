"""Which tensors of a large model go into which of its files, and how these are called: both as Hugging Face does it. No input or output."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from stfed import canonical
from stfed.errors import LocalError, MalformedError, shown

SHARDS_MAX = 10_000
"""More files than this are no set: every one is held open while the set is."""
USUAL_INDEX_MAX_BYTES = 100_000_000
"""As much as safetensors allows a header, which has the same names in it."""

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,9})\s*([KMGT]i?B)", re.IGNORECASE | re.ASCII)
_SET_LETTERS = 8
_MARK = "stfed_set"


def size_from(size: int | str) -> int:
    """A number of bytes, written as one or as "5GB" (10^9 bytes a GB) or "5GiB"; LocalError for anything else."""
    match = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    value = int(match[1]) * _UNITS[match[2].upper()] if match else size
    if type(value) is not int or value < 1:
        raise LocalError(f"{shown(size)} is no size of a shard", hint='give a number of bytes, or text such as "5GB"')
    return value


def split(sizes: Mapping[str, int], max_bytes: int) -> list[list[str]]:
    """Names in their order, put together as long as the sum of their sizes is at most `max_bytes`; a larger tensor is alone.

    Returns:
        At least one list, which is empty if there are no tensors.

    Raises:
        LocalError: for more than `SHARDS_MAX` shards.
    """
    shards: list[list[str]] = []
    current: list[str] = []
    filled = 0
    for name, size in sizes.items():
        if size > max_bytes:
            shards.append([name])
            continue
        if filled + size > max_bytes:
            shards.append(current)
            current, filled = [], 0
        current.append(name)
        filled += size
    if current or not shards:
        shards.append(current)
    if len(shards) > SHARDS_MAX:
        raise LocalError(f"{len(shards)} shards are more than {SHARDS_MAX}", hint="choose a larger max_shard_size")
    return shards


class Names:
    """What the files of sets called `name` are called in a folder."""

    def __init__(self, name: str) -> None:
        if not name or Path(name).name != name or name.startswith(".") or not name.isprintable():
            raise LocalError(f"{shown(name)} is no name for the files of a model", hint='it is a part of a file name, such as "model"')
        self._name = name
        self.index: str = f"{name}.stfed.index.json"
        self.usual_index: str = f"{name}.safetensors.index.json"

    def shards(self, count: int, set_id: bytes, taken: Collection[str]) -> list[str]:
        """The usual names, or those with a mark of the set if one of the usual names is taken: no file of an older set is overwritten."""
        names = [f"{self._name}-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
        if taken and not set(names).isdisjoint(taken):
            mark = self._mark(set_id)
            names = [f"{self._name}-{mark}-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
        return names

    def pending_index(self, set_id: bytes) -> str:
        """Where the usual index waits until its set is complete."""
        return f"{self._name}-{self._mark(set_id)}.safetensors.index.json"

    def is_shard(self, file: str) -> bool:
        """Whether a file is called as shards are."""
        return re.fullmatch(rf"{re.escape(self._name)}(-[0-9a-f]{{{_SET_LETTERS}}})?-\d{{5}}-of-\d{{5}}\.safetensors", file) is not None

    def is_pending_index(self, file: str) -> bool:
        """Whether a file is called as an index that waits."""
        return re.fullmatch(rf"{re.escape(self._name)}-[0-9a-f]{{{_SET_LETTERS}}}\.safetensors\.index\.json", file) is not None

    def _mark(self, set_id: bytes) -> str:
        return set_id.hex()[:_SET_LETTERS]


def usual_index(files: Mapping[str, str], total_bytes: int, set_id: bytes) -> bytes:
    """The index that other tools know: which file a tensor is in, and how long all tensors are. It shows the tensors' names."""
    value = {"metadata": {"total_size": total_bytes, _MARK: set_id.hex()}, "weight_map": dict(files)}
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode("utf-8") + b"\n"


def weight_map(index: bytes) -> dict[str, str]:
    """Which file each tensor is in, according to a usual index; MalformedError if it is none of a sealed set."""
    value = canonical.parse(index, "the usual index")
    if not isinstance(value, dict) or not isinstance(value.get("weight_map"), dict) or not isinstance(value.get("metadata"), dict):
        raise MalformedError("the usual index has no weight_map and metadata")
    if _MARK not in value["metadata"]:
        raise MalformedError("the usual index is not that of a sealed model")
    return dict(value["weight_map"])
