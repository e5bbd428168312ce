"""A party's policy as a file: TOML, read strictly, written with what each setting means.

    mode = "malicious"
    gamma = 0.05

    [cohort]
    min_cohort = 5

    [model.tensors]
    "layer.weight" = { dtype = "float32", shape = [10, 784] }

Settings have the names that `Policy` gives them. What a file leaves out has its default, so an empty file is the default policy. A setting
that is not known is an error, never skipped: it could be a restriction that is misspelt, or that a newer version knows.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import tomli_w

from stfed.encoding.tensors import TensorSpec
from stfed.errors import LocalError, MalformedError, shown
from stfed.keys.smallfile import read_private
from stfed.secagg.configlimit import ConfigLimit
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.policy_settings import SECTIONS, TITLES, TOP, Setting

MAX_BYTES = 1 << 20
_MAX_DOTS_PER_LINE = 400  # as for rosters: tomllib's time grows with the square of the number of parts in a dotted key
_SECTION_OF = {setting.name: section for section, settings in SECTIONS.items() for setting in settings}
_HEAD = """\
# What this party agrees to in secure aggregation. A coordinator that asks for anything else is refused before anything is computed.
# Only you and root may be able to write to this file and its folder. What is left out has its default; `stfed policy check` explains.
"""


def read_policy(path: str | os.PathLike[str], *, mode: Mode = Mode.SEMI_HONEST) -> Policy:
    """The policy in a file.

    Args:
        path: the file.
        mode: what counts where the file names none.

    Raises:
        LocalError: there is no such file, somebody else may change or replace it (`stfed.files.check_private`), or it is no policy; with
            the file, the setting and what to do.
    """
    try:
        data = read_private(Path(path), MAX_BYTES)
    except FileNotFoundError:
        raise LocalError(f"there is no policy {os.fspath(path)}", hint="`stfed policy init FILE` writes one") from None
    except MalformedError as error:
        raise LocalError(error.message) from None
    try:
        return _parsed(data, mode)
    except LocalError as error:
        raise LocalError(f"{os.fspath(path)} is no policy: {error.message}", hint=error.hint) from None


@lru_cache(maxsize=16)
def _parsed(data: bytes, mode: Mode) -> Policy:
    """Cached by content, so no file time can hide a change, and the parties of a simulation parse their file once."""
    return policy_from_toml(data, mode=mode)


def policy_from_toml(data: bytes, *, mode: Mode = Mode.SEMI_HONEST) -> Policy:
    """The policy in a text, wherever that comes from; LocalError if it is none."""
    if any(line.count(b".") > _MAX_DOTS_PER_LINE for line in data.splitlines()):
        raise LocalError("a line has more full stops than a policy needs", hint=f"{_MAX_DOTS_PER_LINE} are possible")
    try:
        values = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise LocalError("it is not UTF-8") from None
    except RecursionError:
        raise LocalError("it is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, which gives the place, and what Python says of a number with too many digits
        raise LocalError(f"it is not TOML: {error}") from None
    tables = {name: value for name, value in values.items() if name in SECTIONS}
    settings = {"mode": mode} | _read(TOP, {name: value for name, value in values.items() if name not in tables})
    for name, table in tables.items():
        if type(table) is not dict:
            raise LocalError(f"{name} is no table", hint=f"it begins with [{name}]")
        settings |= _read(name, table)
    return Policy(**settings)


def _read(section: str, table: Mapping[str, Any]) -> dict[str, Any]:
    known = {setting.name: setting for setting in SECTIONS[section]}
    settings = {}
    for name, value in table.items():
        place = f"[{section}] {_word(name)}" if section else _word(name)
        if name not in known:
            raise LocalError(f"there is no setting {place}", hint=_meant(section, name))
        try:
            settings[name] = known[name].read(value)
        except LocalError as error:
            raise LocalError(f"{place} {error.message}", hint=error.hint) from None
    return settings


def _word(name: str) -> str:
    """A name as the file has it, unless it could steer a terminal."""
    return name if name.isascii() and name.replace("_", "").isalnum() and len(name) <= 40 else shown(name)


def _meant(section: str, name: str) -> str:
    if name in _SECTION_OF:
        return f"{name} stands {f'under [{_SECTION_OF[name]}]' if _SECTION_OF[name] else 'before the first [table]'}"
    close = get_close_matches(name, [*_SECTION_OF, *SECTIONS], 1)
    return f"did you mean {close[0]}?" if close else f"known here are {', '.join(setting.name for setting in SECTIONS[section])}"


def policy_toml(policy: Policy) -> str:
    """The text of a policy file, with every setting and what it means. Reading it gives the same policy."""
    return "".join(_lines(policy))


def _lines(policy: Policy) -> Iterator[str]:
    yield _HEAD
    for section, settings in SECTIONS.items():
        yield f"\n# {TITLES[section]}\n" + (f"[{section}]\n" if section else "")
        for setting in settings:
            yield "\n" + "".join(f"# {line}\n" for line in setting.comment.splitlines())
            yield _assignment(setting, getattr(policy, setting.name))


def _assignment(setting: Setting, value: Any) -> str:
    if value is None:
        lines = setting.example.splitlines()
        return "".join(f"# {line}\n" for line in (lines if len(lines) > 1 else [f"{setting.name} = {setting.example}"]))
    if setting.name == "tensors":
        return "[model.tensors]\n" + "".join(f"{_toml(spec.name)} = {_tensor(spec)}\n" for spec in value)
    if setting.name == "config":
        return "[model.config]\n" + "".join(f"{_toml(limit.name)} = {_limit(limit)}\n" for limit in value)
    return f"{setting.name} = {_toml(value)}\n"


def _tensor(spec: TensorSpec) -> str:
    return f"{{ dtype = {_toml(spec.dtype)}, shape = {_toml(spec.shape)} }}"


def _limit(limit: ConfigLimit) -> str:
    parts = {"min": limit.low, "max": limit.high, "one_of": limit.one_of}
    given = ", ".join(f"{name} = {_toml(value)}" for name, value in parts.items() if value is not None)
    return f"{{ {given} }}" if given else "{}"


def _toml(value: Any) -> str:
    if isinstance(value, Mode):
        return _toml(value.value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").removesuffix("\n")
