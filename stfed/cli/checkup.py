"""What `stfed doctor` finds out about this machine and this party: each check gives findings, and none of them raises.

A finding is good, worth knowing, or a problem that would stop or endanger a run; the last two say what to do.
"""

from __future__ import annotations

import argparse
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from stfed.cli.party import read_party
from stfed.errors import StfedError

GOOD, NOTE, PROBLEM = "ok", "note", "problem"

_EXTRAS = {
    "torch": "models of PyTorch",
    "simulation": "Flower's simulation of many parties on one machine",
    "dp": "differential privacy, and what it costs",
    "encrypted": "arithmetic on encrypted tensors",
    "report": "reports of runs as pages",
    "gpu": "masks and encoding on CUDA devices",
}
"""What an extra is for, by its name; the others are for developers."""
_FREE_BYTES = 1 << 30
_BEFORE_US = time.mktime((2026, 1, 1, 0, 0, 0, 0, 0, 0))
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: "software", "clock", "party", "state" or "network".
        level: "ok", "note" or "problem".
        text: what was found.
        hint: what to do, if there is anything to do.
    """

    area: str
    level: str
    text: str
    hint: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self)


def failing(area: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What a check finds; what it raises is a finding as well, behind those that it made before."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except StfedError as error:
        found.append(Finding(area, PROBLEM, error.message, error.hint))
    except OSError as error:
        found.append(Finding(area, PROBLEM, f"{error.filename}: {error.strerror}" if error.filename else str(error)))
    return found


def software() -> Iterator[Finding]:
    """Versions of what must be here, and of the extras."""
    yield Finding("software", GOOD, f"Python {sys.version.split()[0]}")
    try:
        needed = requires("stfed") or []
    except PackageNotFoundError:
        yield Finding("software", PROBLEM, "stfed is not installed here, only lies on the path", "pip install stfed")
        return
    yield Finding("software", GOOD, f"stfed {version('stfed')}")
    lacking: dict[str, list[str]] = {}
    for text in needed:
        requirement = Requirement(text)
        extras = [extra for extra in _EXTRAS if _applies(requirement, extra)]
        if not extras:
            continue
        wrong = _wrong(requirement)
        if _applies(requirement, ""):
            hint = f"pip install '{_written(requirement)}'"
            yield (
                Finding("software", PROBLEM, wrong, hint)
                if wrong
                else Finding("software", GOOD, f"{requirement.name} {version(requirement.name)}")
            )
        elif wrong:
            for extra in extras:
                lacking.setdefault(extra, []).append(wrong)
    for name, purpose in _EXTRAS.items():
        if name in lacking:
            yield Finding("software", NOTE, f"no {purpose}: {', '.join(lacking[name])}", f"pip install 'stfed[{name}]', if you want it")


def _applies(requirement: Requirement, extra: str) -> bool:
    """Whether a package is needed on this machine with an extra; "" for none."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _wrong(requirement: Requirement) -> str | None:
    """Why a package does not do; None if it does. A development version of what is asked for does."""
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(installed, prereleases=True):
        return None
    return f"{requirement.name} {installed} is installed, and {_written(requirement)} is needed"


def _written(requirement: Requirement) -> str:
    """As people write it: the lower bound first."""
    bounds = sorted(map(str, requirement.specifier), key=lambda bound: bound.startswith("<"))
    return requirement.name + ",".join(bounds)


def clock() -> Iterator[Finding]:
    """A wrong clock makes valid certificates and rosters look invalid, and sealed files look old."""
    if time.time() < _BEFORE_US:
        yield Finding("clock", PROBLEM, f"this machine thinks that it is {time.strftime('%Y-%m-%d')}", "set the clock, or start NTP")
        return
    text = time.strftime("%Y-%m-%d %H:%M:%S %z")
    if _SYNCHRONISED.exists():
        yield Finding("clock", GOOD, f"{text}, set over the network")
    else:
        yield Finding("clock", GOOD, text)


def state(folder: Path) -> Iterator[Finding]:
    """The folder where a party keeps its secrets from message to message."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if existing != folder:
        yield Finding("state", GOOD, f"{folder} is made with the first message")
    elif not folder.is_dir():
        yield Finding("state", PROBLEM, f"{folder} is no folder", "name another one: stfed-state-dir in the node's config")
        return
    else:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & 0o077:
            hint = f"chmod 700 {folder}"
            yield Finding("state", PROBLEM, f"{folder} has mode {mode:o}: others on this machine can see what is in it", hint)
        else:
            yield Finding("state", GOOD, f"{folder}, mode {mode:o}")
    free = shutil.disk_usage(existing).free
    if free < _FREE_BYTES:
        yield Finding("state", NOTE, f"{free >> 20} MiB are free where {folder} is", "a party that cannot write its state answers nothing")


def party(arguments: argparse.Namespace) -> Iterator[Finding]:
    """What this party agrees to and who it is, read as a message would have it read."""
    from stfed.cli.policyview import facts, warnings

    found = read_party(arguments)
    members = None if found.roster is None else len(found.roster)
    told = facts(found.policy, members)
    yield Finding("party", GOOD, f"{found.policy.mode.value} mode" + ("" if arguments.policy else ", the default policy"))
    yield Finding(
        "party",
        GOOD,
        f"takes part where {told['smallest_cohort']} parties or more do; sums are over {told['smallest_sum']} or more, "
        f"and {told['corrupt']} may work with the coordinator",
    )
    if found.identity is not None and found.roster is not None:
        key = found.identity.public_bytes
        yield Finding("party", GOOD, f"on the roster as {found.roster.member(key)}, key {found.roster.key(key).fingerprint}")
        yield Finding("party", GOOD, f"the roster has {members} parties; the others must have it too: {found.roster.fingerprint}")
    for text in warnings(found.policy):
        yield Finding("party", NOTE, text)
