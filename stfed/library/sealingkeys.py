"""The two keys that a library seals with, and its audit log: found, or made together once, whoever starts first.

`keys/library.key` holds an identity to decrypt with (hybrid, X-Wing) and a key to sign with (Ed25519), as `stfed keygen` writes them, and
`keys/library.key.pub` their public halves. The log is there before the keys are, so keys without a log are a loss, and so is a log with
entries without keys.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stfed.audit import AuditLog
from stfed.errors import LocalError
from stfed.keys.encryption import Identity, generate_keypair
from stfed.keys.keyfile import read_public_keys, read_secret_keys, write_keypair
from stfed.keys.keytext import PublicKeys, SecretKeys
from stfed.keys.passphrase import Passphrase, PassphraseError
from stfed.keys.signing import SigningKey
from stfed.library.home import Home

log: logging.Logger = logging.getLogger("stfed")

FOLDER, SECRET = "keys", "library.key"
PUBLIC = f"{SECRET}.pub"


@dataclass(frozen=True, repr=False)
class SealingKeys:
    """What a library decrypts and signs with.

    Attributes:
        identity: to decrypt with.
        signer: to sign with.
        log: path of the audit log.
    """

    identity: Identity
    signer: SigningKey
    log: Path

    @property
    def public(self) -> PublicKeys:
        """What to give away."""
        return PublicKeys(self.identity.recipient, self.signer.public)


def find_or_make(home: Home, passphrase: Passphrase | None) -> SealingKeys:
    """The keys of a library; new ones, and a line in the log of the program that says where, if it has none yet.

    Args:
        home: where they are. Of several processes that start at once, one makes them and the others find them.
        passphrase: protects new keys, and opens keys that are protected. The line says if there is none.

    Raises:
        LocalError: parts are missing or do not go together, or a passphrase is given for keys that lie there without one.
        PassphraseError: the keys are under another passphrase, or under one and none is given.
    """
    audit = home.path / "audit.db"
    with home.locked():
        if not home.has(FOLDER, (SECRET, PUBLIC)):
            _make(home, audit, passphrase)
    if not audit.is_file():
        raise LocalError(
            f"the audit log {audit} is missing, and with it the record of what was done with these keys",
            hint="put it back from a backup; to go on without the record, make a new log there: stfed.audit.AuditLog(path)",
        )
    return _find(home.path / FOLDER, audit, passphrase)


def _make(home: Home, audit: Path, passphrase: Passphrase | None) -> None:
    with AuditLog(audit) as made:
        entries = made.size
    if entries:
        raise LocalError(
            f"{home.path} has an audit log of {entries} entries and the keys are missing",
            hint="put the folder back from a backup; without these keys nothing that was saved with them can be opened",
        )
    with home.making(FOLDER) as folder:
        write_keypair(folder / SECRET, generate_keypair()[0], SigningKey.generate(), created=datetime.now(UTC), passphrase=passphrase)
    guarded = "under a passphrase" if passphrase is not None else "WITHOUT a passphrase: who can read this folder can read what they seal"
    log.warning("made new keys in %s (%s). Keep a backup: without them nothing opens that is saved with them.", home.path, guarded)


def _find(folder: Path, audit: Path, passphrase: Passphrase | None) -> SealingKeys:
    path = folder / SECRET
    secret = _open(path, passphrase)
    if secret.identity is None or secret.signing is None:
        raise LocalError(f"{path} is not the key file of a library: it holds one key, not two", hint="put it back from a backup")
    if read_public_keys(folder / PUBLIC) != secret.public:
        raise LocalError(f"{folder / PUBLIC} is not the public half of {path}", hint="put both back from one backup")
    return SealingKeys(secret.identity, secret.signing, audit)


def _open(path: Path, passphrase: Passphrase | None) -> SecretKeys:
    if passphrase is None:
        return read_secret_keys(path)
    try:
        read_secret_keys(path)
    except PassphraseError:
        return read_secret_keys(path, passphrase)
    raise LocalError(  # else somebody believes that the keys are protected, and they are not
        f"a passphrase is given, and the keys in {path} are not under any",
        hint="leave it out, or make new keys under it in another folder: home=...",
    )
