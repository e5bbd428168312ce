"""What a sealer states about the content: flat and small, for everybody or for recipients alone.

Some names have a meaning: `model` (text), `sequence` and `revision` (whole numbers) and `previous` (a manifest's hash) order the versions
of a model, so that an old one offered as the newest shows (`stfed.sealed.pins`); `shard_set` and `shard` bind the parts of a large one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stfed import canonical
from stfed.crypto import aead
from stfed.crypto.kdf import derive
from stfed.crypto.labels import Label
from stfed.errors import LocalError, MalformedError, shown
from stfed.sealed.bounds import INTEGER_MAX, PROVENANCE_MAX_BYTES
from stfed.sealed.errors import TamperedError

Scalar = str | int | float | bool | None
Statements = Mapping[str, Scalar]


def problem(value: Any) -> str | None:
    """What is wrong with statements, if anything: they are flat, their values are scalars, their size is bounded."""
    if not isinstance(value, Mapping):
        return "the provenance is not a flat mapping"
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str | int | float | bool | None):
            return f"the provenance entry {shown(key)} is not text, a number, a boolean or null"
        if isinstance(item, int) and abs(item) > INTEGER_MAX:
            return f"the provenance entry {shown(key)} does not fit 53 bits: write it as text"
    try:
        size_bytes = len(canonical.encode(dict(value)))
    except LocalError:
        return "the provenance holds NaN, infinity or text that is not Unicode"
    return f"the provenance takes {size_bytes} bytes of at most {PROVENANCE_MAX_BYTES}" if size_bytes > PROVENANCE_MAX_BYTES else None


def encrypt(stated: Statements, file_key: bytes, file_id: bytes) -> bytes:
    """The statements for recipients alone, encrypted; empty if there are none. The key serves once, so its nonce is zero."""
    if not stated:
        return b""
    return aead.seal(_key(file_key, file_id), bytes(aead.NONCE_BYTES), canonical.encode(dict(stated)), b"")


def decrypt(sealed: bytes, file_key: bytes, file_id: bytes) -> dict[str, Scalar]:
    """What `encrypt` was given.

    Raises:
        TamperedError: if it does not verify.
        MalformedError: if its writer encrypted something else than statements.
    """
    if not sealed:
        return {}
    try:
        plain = aead.open_(_key(file_key, file_id), bytes(aead.NONCE_BYTES), sealed, b"")
    except aead.AuthenticationError:
        raise TamperedError("the sealed provenance does not verify: the envelope was changed after sealing") from None
    stated = canonical.decode(plain, "the sealed provenance")
    wrong = problem(stated)
    if wrong:
        raise MalformedError(wrong)
    return dict(stated)


def merged(public: Statements, sealed: Statements) -> dict[str, Scalar]:
    """Both parts as one; MalformedError if they state the same thing twice."""
    twice = sorted(set(public) & set(sealed))
    if twice:
        raise MalformedError(f"the provenance states {shown(twice[0])} both publicly and sealed")
    return {**public, **sealed}


def _key(file_key: bytes, file_id: bytes) -> bytes:
    return derive(file_key, Label.SEALED_PROVENANCE, file_id)
