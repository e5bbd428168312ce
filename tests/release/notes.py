"""What a release says of itself: its version, the same in each place, and its section of the changelog."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from pathlib import Path

import stfed

KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
_SECTION = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\S+))?$", re.MULTILINE)


class NotReadyError(Exception):
    """Something has to be done before this can be released."""


def check_version(root: Path, version: str) -> None:
    """The version is one, and it is this one. Flower reads it from pyproject.toml, so it cannot be left to the build backend."""
    if not re.fullmatch(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?", version):
        raise NotReadyError(f"{version!r} is no version; it looks like 1.2.3, or 1.2.3rc1")
    declared = {
        "stfed/__init__.py": stfed.__version__,
        "pyproject.toml": str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]),
    }
    for place, found in declared.items():
        if found != version:
            raise NotReadyError(f"{place} says {found}, the release is {version}; write it there, and commit")


def sections(text: str) -> dict[str, tuple[str | None, str]]:
    """The changelog's sections: version to date and body, as they follow each other."""
    matches = list(_SECTION.finditer(text))
    ends = [*(match.start() for match in matches[1:]), len(text)]
    return {match["version"]: (match["date"], text[match.end() : end].strip()) for match, end in zip(matches, ends, strict=True)}


def check_changelog(text: str, version: str) -> str:
    """The body of the version's section, which has a date, is the newest, and says something under the usual headings."""
    found = sections(text)
    if version not in found:
        raise NotReadyError(f"CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD`; rename the unreleased one")
    date, body = found[version]
    try:
        day = dt.date.fromisoformat(date or "")
    except ValueError:
        raise NotReadyError(f"the section of {version} in CHANGELOG.md is dated {date}, not YYYY-MM-DD") from None
    if day > dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1):
        raise NotReadyError(f"the section of {version} in CHANGELOG.md is dated {date}, which is yet to come")
    if next(name for name in found if name != "Unreleased") != version:
        raise NotReadyError(f"the section of {version} in CHANGELOG.md is not the first one")
    if found.get("Unreleased", (None, ""))[1]:
        raise NotReadyError(f"CHANGELOG.md has unreleased entries; they belong to {version}, or to a later commit")
    headings = set(re.findall(r"^### (.+)$", body, re.MULTILINE))
    if not headings or headings - KINDS:
        raise NotReadyError(f"the section of {version} in CHANGELOG.md has the headings {sorted(headings)}, of {sorted(KINDS)}")
    return body
