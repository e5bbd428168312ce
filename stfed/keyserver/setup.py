"""Setting up a key service: a folder with everything that it needs, ready to run and trusted by nobody yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stfed.errors import LocalError
from stfed.files import create_file
from stfed.keys.encryption import Recipient, generate_keypair
from stfed.keys.keyfile import write_keypair
from stfed.keys.roster import Roster
from stfed.keys.signing import SigningKey, VerifyingKey
from stfed.keyserver.certificate import self_signed

CONFIG, KEY, ROSTER = "keyserver.toml", "keyserver.key", "roster.toml"
CERTIFICATE, CERTIFICATE_KEY = "tls.crt", "tls.key"

_TEXT = f"""\
# A key service of stfed. Paths are relative to this file's folder. Restart the service after a change here; the roster needs no restart.

# What files are sealed to, and what signs replies: readers have {KEY}.pub. Whoever gets this file opens every file sealed to it.
key = "{KEY}"
# Keys that were in its place before, for files sealed to them.
# former = ["keyserver-2025.key"]

# Who is who. Recipients may ask for keys; files count if an owner or a coordinator signed them. It is read at every request, so a
# revocation counts at once; a roster that cannot be read refuses everybody.
roster = "{ROSTER}"

# Every release and every refusal, with the caller's name and network address. Without an entry no key leaves.
audit = "audit.db"
# A signed checkpoint of the log after so many entries.
checkpoint_every = 100

# Used nonces and allowances. Several processes may share it and the log.
database = "keyserver.db"

# TLS. This certificate vouches for itself: give {CERTIFICATE} to the readers (ca=...), or put one of your own authority here.
certificate = "{CERTIFICATE}"
certificate_key = "{CERTIFICATE_KEY}"

host = "%s"
port = %d
# Open connections at once, in all and from one address.
connections = 128
connections_per_address = 32

[limits]
# Releases a minute to one caller, and MiB of envelopes from one; requests a minute from one address, and from all. One opening takes two.
per_caller = 300
mib_per_caller = 16
per_address = 1200
total = 6000
# Entries a minute about refusals of strangers. The others are counted.
strangers_logged = 10
# Nonces that may be out; each lives a minute.
challenges = 10000
"""


@dataclass(frozen=True)
class Made:
    """What was made.

    Attributes:
        config: the configuration.
        recipient: the key that files are to be sealed to.
        verifier: the key that readers pin.
    """

    config: Path
    recipient: Recipient
    verifier: VerifyingKey


def set_up(folder: Path, names: Sequence[str], *, host: str, port: int, now: datetime) -> Made:
    """Fills a folder with configuration, keys, an empty roster and a TLS certificate. Overwrites nothing.

    Args:
        folder: made if there is none, with mode 0700.
        names: host names or addresses under which readers will reach the service.
        host: address to listen on.
        port: port to listen on.
        now: start of the certificate's validity.

    Raises:
        LocalError: if one of the files is there already, or a name is none.
    """
    certificate, certificate_key = self_signed(names, now)
    if not folder.parent.is_dir():
        raise LocalError(f"{folder} cannot be made: there is no folder {folder.parent}")
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in (CONFIG, KEY, f"{KEY}.pub", ROSTER, CERTIFICATE, CERTIFICATE_KEY):
        if (folder / name).exists() or (folder / name).is_symlink():
            raise LocalError(f"{folder / name} exists and is not overwritten", hint="choose another folder")
    identity, recipient = generate_keypair()
    signing = SigningKey.generate()
    write_keypair(folder / KEY, identity, signing, created=now)
    Roster("key service").write(folder / ROSTER)
    create_file(folder / CERTIFICATE, certificate, 0o644)
    create_file(folder / CERTIFICATE_KEY, certificate_key, 0o600)
    create_file(folder / CONFIG, (_TEXT % (host, port)).encode("utf-8"), 0o600)
    return Made(folder / CONFIG, recipient, signing.public)
