"""The run file that `stfed run` keeps in the folder of a run: what the app was set to."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeAlias

from stfed.report.eventlog import NAME

Value: TypeAlias = bool | int | float | str
RUN_FILE = "run.toml"
_PLACES = ("run-dir", "recipient", "signer", "audit")
"""Keys whose values are paths on the coordinator's machine."""


def config(log: Path) -> dict[str, Value]:
    """What is in the run file beside an event log, without what names places on this machine; nothing if there is none.

    Args:
        log: the event log. One that has another name than `stfed run` gives it has no run file.
    """
    try:
        values = tomllib.loads((log.parent / RUN_FILE).read_text()) if log.name == NAME else {}
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in values.items() if key not in _PLACES and isinstance(value, bool | int | float | str)}
