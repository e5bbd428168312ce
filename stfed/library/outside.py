"""What a file says of itself to everybody, looked at before it is opened. Whatever is decided by it is enforced when it is."""

from __future__ import annotations

from collections.abc import Collection

from stfed.encrypted.files import TYPE
from stfed.errors import SealError
from stfed.keys.keyfile import PathLike
from stfed.sealed.inspect import SealedInfo, inspect

CKKS_STATEMENTS = ("type", "ckks_context", "ckks_parameters", "ckks_tensors")
"""What `stfed.encrypted.files` states for everybody."""


def context_of(path: PathLike) -> bytes | None:
    """Fingerprint of the context that its tensors are encrypted under; None if they are not, or the file is none: opening it says why."""
    info = _inspected(path)
    stated = None if info is None or info.public.get("type") != TYPE else info.public.get("ckks_context")
    try:
        return bytes.fromhex(stated) if isinstance(stated, str) else None
    except ValueError:
        return None


def signers_of(path: PathLike) -> Collection[str]:
    """Fingerprints of the keys that it names as its signers'."""
    info = _inspected(path)
    return () if info is None else info.signers


def _inspected(path: PathLike) -> SealedInfo | None:
    try:
        return inspect(path)
    except SealError:
        return None
