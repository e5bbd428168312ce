"""`stfed.sealed` as a script uses it: unsigned, signed with either digest and checked against the signer's key, and with torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stfed.sealed.numpy
from benchmarks.files.contender import Contender, Kind
from benchmarks.files.plain import TorchContender
from benchmarks.files.workload import EMBEDDING, PROBE, ROW, Workload
from stfed.keys.encryption import generate_keypair
from stfed.keys.signing import SigningKey

UNSIGNED, BLAKE3, SHA256, TORCH = "stfed numpy", "stfed numpy, BLAKE3", "stfed numpy, SHA-256", "stfed torch"


class Sealed(Contender):
    """Sealed to one hybrid recipient."""

    name, kind = UNSIGNED, Kind.OURS
    _verbs: Any = stfed.sealed.numpy
    _digest: str | None = None

    def __init__(self) -> None:
        identity, recipient = generate_keypair()
        self._sealing: dict[str, Any] = {"recipients": recipient}
        self._opening: dict[str, Any] = {"identity": identity}
        if self._digest is not None:
            signer = SigningKey.generate()
            self._sealing.update(signer=signer, digest=self._digest)
            self._opening.update(trusted=signer.public)

    def save(self, prepared: Any, path: Path) -> None:
        self._verbs.save_file(prepared, path, **self._sealing)

    def load(self, path: Path) -> Mapping[str, Any]:
        tensors: Mapping[str, Any] = self._verbs.load_file(path, **self._opening)
        return tensors

    def tensor(self, path: Path, name: str) -> Any:
        with self._open(path) as file:
            return file.get_tensor(name)

    def row(self, path: Path, name: str, index: int) -> Any:
        with self._open(path) as file:
            return file.get_slice(name)[index]

    def _open(self, path: Path) -> Any:
        return self._verbs.safe_open(path, **self._opening)


class SignedBlake3(Sealed):
    """Signed with Ed25519 over BLAKE3 digests of the segments, which loading checks: what `signer=` does by default."""

    name = BLAKE3
    _digest = "blake3"


class SignedSha256(Sealed):
    """The same with SHA-256."""

    name = SHA256
    _digest = "sha256"


class SealedTorch(Sealed, TorchContender):
    """Unsigned, torch tensors."""

    name = TORCH

    def __init__(self) -> None:
        TorchContender.__init__(self)
        Sealed.__init__(self)
        import stfed.sealed.torch

        self._verbs = stfed.sealed.torch

    prepare = TorchContender.prepare


@dataclass(frozen=True)
class Reach:
    """How many segments a reading decrypted, the header's included, and how many it needed."""

    opened: int
    needed: int


def reach(workload: Workload, path: Path) -> dict[str, Reach]:
    """Seals a workload and counts for one tensor and for one row of a large one; nothing is timed."""
    sealed = Sealed()
    sealed.save(workload.tensors, path)
    reaches = {}
    for what in ("tensor", "row"):
        with sealed._open(path) as file:
            reader = file._open()
            info = reader.header.tensors[PROBE if what == "tensor" else EMBEDDING]
            begin, end = info.begin, info.end
            if what == "row":
                step = (end - begin) // info.shape[0]
                begin, end = begin + ROW * step, begin + (ROW + 1) * step
                file.get_slice(EMBEDDING)[ROW]
            else:
                file.get_tensor(PROBE)
            chunk, start = reader.manifest.geometry.chunk_bytes, reader.header.data_start
            needed = {*range(-(-start // chunk)), *range((start + begin) // chunk, (start + end - 1) // chunk + 1)}
            reaches[what] = Reach(reader.payload.segments_opened, len(needed))
    path.unlink()
    return reaches
