"""Key files: KEY, the secret, readable by its owner alone; KEY.pub, one line to give away. The text is age's, so `age` reads them too."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from stfed.errors import LocalError
from stfed.sealed.bounds import KEY_FILE_MAX_BYTES
from stfed.sealed.errors import MalformedError, about
from stfed.sealed.keys import Identity, Recipient
from stfed.sealed.storage import File, create_file, opened, read_bytes, sync_folder

PathLike = str | os.PathLike[str]
RecipientLike = Recipient | PathLike
IdentityLike = Identity | PathLike


def write_keypair(path: PathLike, identity: Identity, *, created: datetime | None = None) -> Path:
    """Writes `path` (mode 0600) and `path`.pub; returns the latter. Never replaces a file: both are written or neither.

    Args:
        path: where the secret key goes.
        identity: the key.
        created: goes into a comment, if given.

    Raises:
        LocalError: if one of the two exists, or the folder does not.
    """
    secret, public = Path(path), Path(f"{os.fspath(path)}.pub")
    recipient = f"{identity.recipient}\n"
    comments = f"# created: {created.isoformat(timespec='seconds')}\n" if created else ""
    comments += f"# fingerprint: {identity.recipient.fingerprint}\n# public key: {recipient}"
    for target in (secret, public):
        if target.is_symlink() or target.exists():
            raise LocalError(f"{target} exists, and a key is never overwritten", hint="choose another name, or move the old key away")
    create_file(public, recipient.encode("ascii"), 0o644)
    try:
        create_file(secret, f"{comments}{identity.secret_string()}\n".encode("ascii"), 0o600)
    except BaseException:
        public.unlink()
        raise
    sync_folder(secret.parent)
    return public


def read_identity(source: IdentityLike) -> Identity:
    """The secret key in a file, or the object itself.

    Raises:
        LocalError: if there is no such file, or others than its owner may read it.
        MalformedError: if it does not hold exactly one secret key.
    """
    if isinstance(source, Identity):
        return source
    if _looks_like_secret(source):
        raise LocalError("a secret key was given where its file is expected", hint="give the path, or Identity.from_string(...)")
    lines, mode = _key_lines(Path(source))
    try:
        (line,) = lines
        identity = Identity.from_string(line)
    except ValueError as error:
        reason = error.message if isinstance(error, MalformedError) else f"it holds {len(lines)} keys"
        raise MalformedError(f"{source} is no key file: {reason}", hint="`stfed keygen --out KEY` writes one") from None
    if mode & 0o077:
        raise LocalError(
            f"{source} holds a secret key and others than its owner may read or write it (mode {mode:04o})", hint=f"chmod 600 {source}"
        )
    return identity


def read_recipient(source: RecipientLike) -> Recipient:
    """The public key in a file or a string (`age1...`), or the object itself.

    Raises:
        LocalError: if there is no such file.
        MalformedError: if it is, or holds, no public key.
    """
    if isinstance(source, Recipient):
        return source
    if _looks_like_secret(source):
        raise LocalError("a secret key was given as a recipient", hint="recipients are public keys: KEY.pub, or age1...")
    if isinstance(source, str) and source.lower().startswith("age1") and "." not in source and "/" not in source:
        with about(source if len(source) < 24 else f"{source[:20]}..."):
            return Recipient.from_string(source)
    lines, _ = _key_lines(Path(source))
    try:
        (line,) = lines
        return Recipient.from_string(line)
    except ValueError as error:
        reason = error.message if isinstance(error, MalformedError) else f"it holds {len(lines)} keys"
        raise MalformedError(f"{source} is no public key file: {reason}", hint="a recipient is the KEY.pub that keygen writes") from None


def read_identities(source: IdentityLike | Iterable[IdentityLike]) -> list[Identity]:
    """One identity, or several."""
    if isinstance(source, Identity | str | os.PathLike):
        return [read_identity(source)]
    return [read_identity(one) for one in source]


def read_recipients(source: RecipientLike | Iterable[RecipientLike]) -> list[Recipient]:
    """One recipient, or several; each counts once."""
    if isinstance(source, Recipient | str | os.PathLike):
        return [read_recipient(source)]
    return list(dict.fromkeys(read_recipient(one) for one in source))


def _looks_like_secret(source: PathLike) -> bool:
    return os.fspath(source).lstrip().upper().startswith("AGE-SECRET-KEY-")


def _key_lines(path: Path) -> tuple[list[str], int]:
    """The lines of a small text file that are not comments, and its mode."""
    try:
        with opened(path) as descriptor:
            file, mode = File(descriptor), stat.S_IMODE(os.fstat(descriptor).st_mode)
            data = read_bytes(file, 0, min(file.size_bytes, KEY_FILE_MAX_BYTES + 1))
    except FileNotFoundError:
        raise LocalError(f"there is no key file {path}", hint="`stfed keygen --out KEY` writes KEY and KEY.pub") from None
    if len(data) > KEY_FILE_MAX_BYTES or not data.isascii():
        raise MalformedError(f"{path} is no key file: it is not short text")
    lines = (line.strip() for line in data.decode("ascii").splitlines())
    return [line for line in lines if line and not line.startswith("#")], mode
