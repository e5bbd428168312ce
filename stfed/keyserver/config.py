"""The configuration of a key service: one TOML file, read strictly. Paths in it are relative to its own folder."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from stfed.errors import LocalError, shown
from stfed.keys.smallfile import read_private
from stfed.keyserver.service import Limits

_MAX_BYTES = 64 << 10
_LIMIT_MAX = 1_000_000


@dataclass(frozen=True)
class Config:
    """What `keyserver.toml` says.

    Attributes:
        key: KEY file with the identity that files are sealed to and the key that signs replies and checkpoints.
        former: KEY files of identities that older files are sealed to.
        roster: who is who; read at every release.
        audit: the audit log, made if there is none.
        database: nonces and allowances, made if there is none.
        certificate: TLS certificate with its chain, PEM.
        certificate_key: its secret key, PEM.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        checkpoint_every: how many log entries there are from one signed checkpoint to the next.
        connections: how many may be open at once, TLS or not yet.
        connections_per_address: how many of them from one address (an IPv6 network of 64 bits counts as one).
        limits: how much the service does.
    """

    key: Path
    roster: Path
    certificate: Path
    certificate_key: Path
    former: tuple[Path, ...] = ()
    audit: Path = Path("audit.db")
    database: Path = Path("keyserver.db")
    host: str = "127.0.0.1"
    port: int = 8443
    checkpoint_every: int = 100
    connections: int = 128
    connections_per_address: int = 32
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Config:
        """The configuration in a file.

        Raises:
            LocalError: there is none, somebody else may change or replace it, or it has a field that is unknown, missing or of a wrong
                type.
        """
        path = Path(path)
        try:
            data = read_private(path, _MAX_BYTES)
        except FileNotFoundError:
            raise LocalError(f"there is no configuration {path}", hint="`stfed keyserver init FOLDER` writes one") from None
        try:
            values = tomllib.loads(data.decode("utf-8"))
        except ValueError as error:
            raise LocalError(f"{path} is not TOML: {error}") from None
        try:
            return cls._of(values, path.parent)
        except LocalError as error:
            raise LocalError(f"{path}: {error.message}", hint=error.hint) from None

    @classmethod
    def _of(cls, values: Mapping[str, Any], folder: Path) -> Config:
        known = {one.name: one.type for one in fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise LocalError(f"there is no field {shown(unknown[0])}", hint=f"fields: {', '.join(known)}")
        missing = [name for name in ("key", "roster", "certificate", "certificate_key") if name not in values]
        if missing:
            raise LocalError(f"the field {missing[0]} is missing")
        read: dict[str, Any] = {"audit": folder / "audit.db", "database": folder / "keyserver.db"}
        for name, value in values.items():
            if name == "limits":
                read[name] = _limits(value)
            elif name == "former":
                if not isinstance(value, list):
                    raise LocalError("former is not a list of paths")
                read[name] = tuple(_path(one, name, folder) for one in value)
            elif known[name] == "int":
                read[name] = _whole(value, name, low=0 if name == "port" else 1, high=65535 if name == "port" else _LIMIT_MAX)
            elif name == "host":
                read[name] = _text(value, name)
            else:
                read[name] = _path(value, name, folder)
        return cls(**read)


def _limits(value: Any) -> Limits:
    names = [one.name for one in fields(Limits)]
    if not isinstance(value, dict):
        raise LocalError("limits is not a table", hint="it begins with [limits]")
    unknown = sorted(set(value) - set(names))
    if unknown:
        raise LocalError(f"there is no limit {shown(unknown[0])}", hint=f"limits: {', '.join(names)}")
    return Limits(**{name: _whole(number, name, low=1, high=_LIMIT_MAX) for name, number in value.items()})


def _path(value: Any, name: str, folder: Path) -> Path:
    return folder / Path(_text(value, name)).expanduser()


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise LocalError(f"{name} is not a text")
    return value


def _whole(value: Any, name: str, *, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise LocalError(f"{name} is not a whole number from {low} to {high}")
    return value
