"""Opening a sharded model: everything that holds the set together is checked before any tensor is given out.

In this order: the index and its signatures; each shard as any sealed file, so by its own signature, policy and encryption; that they are
the set that the index names (`stfed.sealed.shardset`); the pins, once for the whole set. All shards stay open until the set is closed, so
what was checked is what is read.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Self, Unpack

from stfed.audit import Kind, open_log
from stfed.errors import LocalError, about
from stfed.keys.keyfile import PathLike, read_identities
from stfed.keys.smallfile import read_small
from stfed.sealed import shardset
from stfed.sealed.errors import TensorError, UntrustedError
from stfed.sealed.lazy import SafeOpen, SafeSlice
from stfed.sealed.openrequest import OpenRequest
from stfed.sealed.options import OpenOptions
from stfed.sealed.reader import SealedReader
from stfed.sealed.shardindex import INDEX_MAX_BYTES, Index
from stfed.sealed.shardplan import Names
from stfed.sealed.statements import Scalar
from stfed.sealed.times import system_clock
from stfed.sealed.trail import Trail


class _Shard(SafeOpen):
    """One file of the set."""

    @property
    def reader(self) -> SealedReader:
        return self._open()


class safe_open_sharded:
    """A sharded model whose tensors are read one by one, as `safe_open` reads those of a file. Use it in a `with` block.

    Example:
        with safe_open_sharded("folder", "pt", identity="me.key", trusted="coordinator.pub") as model:
            first = model.get_slice("embedding")[:16]

    Args:
        path: the folder, or one of the two indexes in it.
        framework: "np" or "pt".
        device: where torch tensors go.
        name: what the files' names begin with, where `path` is the folder.
        options: as `OpenOptions` says. `pins` holds one entry for the set, not one for each file.

    Attributes:
        index: what the set consists of, verified.

    Raises:
        FileNotFoundError: if there is no index.
        ShardError: if a file is missing or not the shard that the index names, or the usual index was changed.
        TamperedError: if a signature of the index does not hold.
        UntrustedError: if nobody trusted signed index and shards.
        SealError: as `safe_open`, for any of the shards.
    """

    index: Index

    def __init__(
        self,
        path: PathLike,
        framework: str = "np",
        device: str | int | None = "cpu",
        *,
        name: str = "model",
        **options: Unpack[OpenOptions],
    ) -> None:
        self._folder, self._names = _located(Path(path), name)
        options = _once(options)
        request = OpenRequest(**options)  # contradictions are found before anything is read
        options.pop("pins", None)  # they are about the set
        with ExitStack() as stack:
            log = open_log(options.get("audit"))
            if log is not None and log is not options.get("audit"):
                options["audit"] = stack.enter_context(log)
            trail, path = Trail(log), self._folder / self._names.index
            data, _ = read_small(path, INDEX_MAX_BYTES)
            with trail.failures(Kind.OPEN_FAILED, path, lambda: None, actor=request.actor), about(path):
                self.index = Index.decode(data)
                self.index.verify()
                if options.get("trusted") is not None and not self.index.signers:
                    raise UntrustedError("the index is not signed, and a trusted signature was asked for", hint="have its sealer sign it")
                files = shardset.found(self._folder, self.index)
            self._shards = [stack.enter_context(_Shard(file, framework, device, **options)) for file in files]
            with trail.failures(Kind.OPEN_FAILED, path, lambda: None, actor=request.actor), about(path):
                self._homes = shardset.checked(self._folder, self._names, self.index, [shard.reader for shard in self._shards])
                request.check_stated(self.index.sha256, self._shards[0].reader.signers, self.provenance(), system_clock())
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def keys(self) -> list[str]:
        """The tensors' names, sorted."""
        return sorted(self._homes)

    def offset_keys(self) -> list[str]:
        """The tensors' names in the order of their data, shard by shard: the fastest order to read them in."""
        return list(self._homes)

    def metadata(self) -> dict[str, str] | None:
        """The text that was saved with the tensors; it is in every shard, and the first one's is given."""
        return self._shards[0].metadata()

    def provenance(self) -> dict[str, Scalar]:
        """What the sealer states about the content: the same in every shard."""
        return shardset.of_the_set(self._shards[0].provenance())

    def get_tensor(self, name: str) -> Any:
        """A whole tensor; TensorError if there is none of that name."""
        return self._home(name).get_tensor(name)

    def get_tensors(self) -> dict[str, Any]:
        """All tensors; those of one shard share one allocation."""
        return {name: tensor for shard in self._shards for name, tensor in shard.get_tensors().items()}

    def get_slice(self, name: str) -> SafeSlice:
        """A tensor to be indexed; TensorError if there is none of that name."""
        return self._home(name).get_slice(name)

    def _home(self, name: str) -> _Shard:
        if name not in self._homes:
            raise TensorError(f"The model does not contain tensor {name}")
        return self._shards[self._homes[name]]


def load_sharded(
    path: PathLike, framework: str = "np", device: str | int | None = "cpu", *, name: str = "model", **options: Unpack[OpenOptions]
) -> dict[str, Any]:
    """Opens a sharded model and returns all its tensors, every byte verified. Arguments and errors as in `safe_open_sharded`."""
    with safe_open_sharded(path, framework, device, name=name, **options) as model:
        return model.get_tensors()


def _located(path: Path, name: str) -> tuple[Path, Names]:
    """Folder and names, from the folder or the path of one of the indexes."""
    if path.is_dir():
        return path, Names(name)
    for suffix in (".stfed.index.json", ".safetensors.index.json"):
        if path.name.endswith(suffix):
            return path.parent, Names(path.name.removesuffix(suffix))
    if not path.exists():
        raise FileNotFoundError(f"No such file or directory: {path}")
    raise LocalError(f"{path} is no index of a sharded model", hint="name its folder, or its .stfed.index.json")


def _once(options: OpenOptions) -> OpenOptions:
    """The options with keys read and passphrases asked for once, and not once for each shard."""
    resolved = options.copy()
    passphrase, identity = options.get("passphrase"), options.get("identity")
    if callable(passphrase):
        passphrase = resolved["passphrase"] = cache(passphrase)
    if identity is not None:
        resolved["identity"] = read_identities(identity, passphrase)
    return resolved
