"""Everybody who takes part, in the order of the table."""

from __future__ import annotations

from benchmarks.files.contender import Contender
from benchmarks.files.limits import Aes, Copy, Transfer
from benchmarks.files.ours import Sealed, SealedTorch, SignedBlake3, SignedSha256
from benchmarks.files.peers import CryptotensorsNumpy, CryptotensorsTorch, Pyrage, Tensorizer
from benchmarks.files.plain import SafetensorsNumpy, SafetensorsTorch, TorchPickle

_CLASSES: tuple[type[Contender], ...] = (
    Copy, Transfer, Aes,
    SafetensorsNumpy, SafetensorsTorch, TorchPickle,
    Tensorizer, CryptotensorsNumpy, CryptotensorsTorch, Pyrage,
    Sealed, SignedBlake3, SignedSha256, SealedTorch,
)  # fmt: skip
CONTENDERS = {one.name: one for one in _CLASSES}
