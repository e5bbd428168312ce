"""Libraries for tests: keys that are made once for all of them, or none at all until somebody asks."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from stfed import SafeTensorLibrary
from stfed.encrypted.context import SecretContext
from stfed.encrypted.keyfiles import save_public, save_secret
from stfed.keys.encryption import Identity, generate_keypair
from stfed.keys.keyfile import write_keypair
from stfed.keys.signing import SigningKey
from stfed.library import contexts
from stfed.library.home import Home
from tests.encrypted import keys


@cache
def identities() -> tuple[Identity, ...]:
    """Four people's."""
    return tuple(generate_keypair()[0] for _ in range(4))


def key_file(path: Path, number: int) -> Path:
    """The KEY.pub of one of them."""
    return write_keypair(path, identities()[number], SigningKey.generate())


def library(path: Path, secret: SecretContext | None = None, **options: Any) -> SafeTensorLibrary:
    """A library in `path` whose keys for computing are these; the default can multiply, and moves no elements."""
    secret = keys.stranger() if secret is None else secret
    made = SafeTensorLibrary(path, **options)
    with Home(path).making(contexts.FOLDER) as folder:
        save_secret(secret, folder / contexts.SECRET, passphrase=options.get("passphrase"))
        save_public(secret.public, folder / contexts.PUBLIC, signer=made._keys.signer)
    return made
