"""Key files: KEY, the secrets, readable by its owner alone; KEY.pub, a line for each public key, to give away.

Every reader takes the file, or the key itself where the caller has it already. What is in the files is the business of `keytext`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from stfed.crypto.random import Entropy, system_entropy
from stfed.errors import LocalError, MalformedError, about
from stfed.files import create_file, sync_folder
from stfed.keys.encryption import Identity, Recipient
from stfed.keys.keytext import PublicKeys, SecretKeys, holds_secrets, parse_public, parse_secret
from stfed.keys.passphrase import RECOMMENDED, Cost, Passphrase, PassphraseError
from stfed.keys.signing import SigningKey, VerifyingKey
from stfed.keys.smallfile import read_small

KEY_FILE_MAX_BYTES = 64 << 10

PathLike = str | os.PathLike[str]
RecipientLike = Recipient | PathLike
IdentityLike = Identity | PathLike
VerifierLike = VerifyingKey | PathLike
SignerLike = SigningKey | PathLike

_Key = TypeVar("_Key")


def write_keypair(
    path: PathLike,
    identity: Identity | None = None,
    signing: SigningKey | None = None,
    *,
    created: datetime | None = None,
    passphrase: Passphrase | None = None,
    cost: Cost = RECOMMENDED,
    entropy: Entropy = system_entropy,
) -> Path:
    """Writes `path` (mode 0600) and `path`.pub; returns the latter. Never replaces a file: both are written or neither.

    Args:
        path: where the secrets go.
        identity: the key to decrypt with; left out for a file that holds a signing key only.
        signing: the key to sign with, likewise.
        created: goes into a comment, if given.
        passphrase: protects the secrets in the file, if given.
        cost: of one guess at it; `RECOMMENDED` or more.
        entropy: where the salt and the nonce come from.

    Raises:
        LocalError: if one of the two exists, or the folder does not; if there is no key to write, or the cost is too low.
    """
    secret, public = Path(path), Path(f"{os.fspath(path)}.pub")
    keys = SecretKeys(identity, signing)
    for target in (secret, public):
        if target.is_symlink() or target.exists():
            raise LocalError(f"{target} exists, and a key is never overwritten", hint="choose another name, or move the old key away")
    text = keys.plain(created) if passphrase is None else keys.protected(passphrase, cost, created, entropy=entropy)
    create_file(public, str(keys.public).encode("ascii"), 0o644)
    try:
        create_file(secret, text.encode("ascii"), 0o600)
    except BaseException:
        public.unlink()
        raise
    sync_folder(secret.parent)
    return public


def read_secret_keys(path: PathLike, passphrase: Passphrase | None = None) -> SecretKeys:
    """All keys of a KEY file, its passphrase asked for and stretched once.

    Raises:
        LocalError: if there is no such file, or others than its owner may read it.
        PassphraseError: if it is protected by a passphrase and none or a wrong one is given.
        MalformedError: if it is no file of secret keys.
    """
    if _is_secret(path):
        raise LocalError("a secret key was given where its file is expected", hint="give the path, or the key itself as an object")
    text, mode = _read(path)
    if mode & 0o077 and holds_secrets(text):
        raise LocalError(f"{path} holds a secret key and others than its owner may use it (mode {mode:04o})", hint=f"chmod 600 {path}")
    try:
        with about(f"{path} is no file of secret keys"):
            return parse_secret(text, passphrase)
    except PassphraseError as error:
        raise PassphraseError(f"{path}: {error.message}", hint=error.hint) from None


def read_public_keys(path: PathLike) -> PublicKeys:
    """All keys of a KEY.pub file.

    Raises:
        LocalError: if there is no such file.
        MalformedError: if it is no file of public keys.
    """
    if _is_secret(path):
        raise LocalError("a secret key was given where a public one belongs", hint="give KEY.pub, or the line that is in it")
    text, _ = _read(path)
    with about(f"{path} is no file of public keys"):
        return parse_public(text)


def read_identity(source: IdentityLike, passphrase: Passphrase | None = None) -> Identity:
    """The secret key to decrypt with, from a KEY file, or the object itself; raises as `read_secret_keys`, LocalError if there is none."""
    if isinstance(source, Identity):
        return source
    return _present(read_secret_keys(source, passphrase).identity, source, "decrypt with", "sign with")


def read_signer(source: SignerLike, passphrase: Passphrase | None = None) -> SigningKey:
    """The secret key to sign with, from a KEY file, or the object itself; raises as `read_secret_keys`, LocalError if there is none."""
    if isinstance(source, SigningKey):
        return source
    return _present(read_secret_keys(source, passphrase).signing, source, "sign with", "decrypt with")


def read_recipient(source: RecipientLike) -> Recipient:
    """The public key to encrypt to, from a KEY.pub, a string (`age1...`), or the object itself.

    Raises:
        LocalError: if there is no such file, or only a signing key in it.
        MalformedError: if it is, or holds, no public key.
    """
    if isinstance(source, Recipient):
        return source
    if _is_public(source):
        with about(_short(source)):
            return Recipient.from_string(os.fspath(source))
    return _present(read_public_keys(source).recipient, source, "encrypt to", "verify signatures with")


def read_verifier(source: VerifierLike) -> VerifyingKey:
    """The public key to verify signatures with, from a KEY.pub, a string (`stfedsig1...`), or the object itself.

    Raises:
        LocalError: if there is no such file, or only an encryption key in it.
        MalformedError: if it is, or holds, no public key.
    """
    if isinstance(source, VerifyingKey):
        return source
    if _is_public(source):
        with about(_short(source)):
            return VerifyingKey.from_string(os.fspath(source))
    return _present(read_public_keys(source).verifier, source, "verify signatures with", "encrypt to")


def read_identities(source: IdentityLike | Iterable[IdentityLike], passphrase: Passphrase | None = None) -> list[Identity]:
    """One identity, or several."""
    if isinstance(source, Identity | str | os.PathLike):
        return [read_identity(source, passphrase)]
    return [read_identity(one, passphrase) for one in source]


def read_recipients(source: RecipientLike | Iterable[RecipientLike]) -> list[Recipient]:
    """One recipient, or several; each counts once."""
    if isinstance(source, Recipient | str | os.PathLike):
        return [read_recipient(source)]
    return list(dict.fromkeys(read_recipient(one) for one in source))


def read_verifiers(source: VerifierLike | Iterable[VerifierLike]) -> list[VerifyingKey]:
    """One verifying key, or several; each counts once."""
    if isinstance(source, VerifyingKey | str | os.PathLike):
        return [read_verifier(source)]
    return list(dict.fromkeys(read_verifier(one) for one in source))


def _present(key: _Key | None, source: PathLike, wanted: str, there: str) -> _Key:
    if key is None:
        raise LocalError(f"{source} holds no key to {wanted}, only one to {there}", hint="`stfed keygen --out KEY` writes one of each")
    return key


def _is_secret(source: PathLike) -> bool:
    return os.fspath(source).lstrip().lower().startswith(("age-secret-key-", "stfed-signing-key-"))


def _is_public(source: PathLike) -> bool:
    """Whether this is a public key and no path; a file that is named like one is given with its folder."""
    text = os.fspath(source).lower()
    return text.startswith(("age1", "stfedsig1", "stfedsigpq1")) and not any(letter in text for letter in "./")


def _short(source: PathLike) -> str:
    text = os.fspath(source)
    return text if len(text) < 24 else f"{text[:20]}..."


def _read(path: PathLike) -> tuple[str, int]:
    """The text of a key file, and its mode."""
    try:
        data, mode = read_small(Path(path), KEY_FILE_MAX_BYTES)
    except FileNotFoundError:
        raise LocalError(f"there is no key file {path}", hint="`stfed keygen --out KEY` writes KEY and KEY.pub") from None
    if not data.isascii():
        raise MalformedError(f"{path} is no key file: it is not ASCII text")
    return data.decode("ascii"), mode
