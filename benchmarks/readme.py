"""The tables of `benchmarks/README.md`, written from the reference run, so that nobody types a figure.

    python -m benchmarks.readme --from benchmarks/results/latest    take the sections of a run into the reference, draw, and write
    python -m benchmarks.readme                                     write the tables anew

The reference is results/reference.json, a section after the other as they were last taken in. A section's table stands in the README
between `<!-- results: NAME -->` and `<!-- end -->`; a test holds the two against each other.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import picture
from benchmarks.__main__ import FOLDER, SECTIONS
from benchmarks.line import Section

README, REFERENCE = Path(__file__).parent / "README.md", FOLDER / "reference.json"
TARGETS = "targets"
_SPOT = re.compile(r"(<!-- results: (?P<name>[a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Kept = Mapping[str, Any]
"""A section as JSON."""


def reference() -> dict[str, Kept]:
    """The sections of the reference run by name, in the order of `SECTIONS`; none if nothing was measured yet."""
    kept: dict[str, Kept] = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {}
    return {name: kept[name] for name in SECTIONS if name in kept}


def take(folder: Path) -> dict[str, Kept]:
    """The reference with all sections that this run measured.

    Raises:
        ValueError: a section was run with `--quick`, or had a wrong result.
    """
    found = {name: json.loads(file.read_text()) for name in SECTIONS if (file := folder / f"{name}.json").exists()}
    for name, kept in found.items():
        if kept["quick"] or kept["wrong"]:
            raise ValueError(f"{name} is no reference: it was " + ("a quick run" if kept["quick"] else "wrong"))
    merged = {**reference(), **found}
    return {name: merged[name] for name in SECTIONS if name in merged}


def written(text: str, sections: Mapping[str, Kept]) -> str:
    """The README with the tables of these sections; a section that is not among them gets a sentence.

    Raises:
        ValueError: the README has no place for a section.
    """
    missing = set(sections) - {match["name"] for match in _SPOT.finditer(text)}
    if missing:
        raise ValueError(f"README.md has no place for {', '.join(sorted(missing))}")
    return _SPOT.sub(lambda match: match[1] + _block(match["name"], sections) + match[3], text)


def _block(name: str, sections: Mapping[str, Kept]) -> str:
    if name == TARGETS:
        lines = list(_overview(sections)) or ["Nothing measured yet."]
    else:
        lines = list(_table(name, sections[name])) if name in sections else ["Not measured yet."]
    return "\n".join(["", *lines, "", ""])


def _overview(sections: Mapping[str, Kept]) -> Iterator[str]:
    """How many targets are met, every line that misses its own, and the picture of all."""
    aimed = [(name, line) for name, kept in sections.items() for line in Section.from_json(kept).lines if line.target is not None]
    if not aimed:
        return
    yield f"{sum(bool(line.met) for _, line in aimed)} of {len(aimed)} targets are met."
    rest = [(name, line) for name, line in aimed if not line.met]
    if rest:
        yield from ("", "| section | what | measured | target | | why |", "|---|---|---|---|---|---|")
    for name, line in rest:
        yield "| " + " | ".join(map(_cell, (name, *line.cells()))) + " |"
    yield from ("", "![How far every figure is from its target](results/targets.png)")


def _table(name: str, kept: Kept) -> Iterator[str]:
    section, machine, versions = Section.from_json(kept), kept["machine"], kept["versions"]
    packages = ", ".join(f"{package} {version}" for package, version in versions.items() if version)
    yield f"{_cell(section.title)}. {machine['processors']} processors ({machine['processor']}), load {machine['load']}; {packages}."
    yield from ("", "| | measured | target | | |", "|---|---|---|---|---|")
    yield from ("| " + " | ".join(map(_cell, line.cells())) + " |" for line in section.lines)
    for plot in section.data.get("plots", ()):
        yield from ("", f"![{_cell(plot['title'])}](results/{name}-{plot['name']}.png)")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("&lt;=", "≤").replace(">=", "≥")


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--from", dest="folder", type=Path, metavar="FOLDER", help="a run of `python -m benchmarks` to take in")
    options = parser.parse_args(argv)
    sections = take(options.folder) if options.folder else reference()
    if options.folder:
        REFERENCE.parent.mkdir(exist_ok=True)
        REFERENCE.write_text(json.dumps(sections, indent=1, allow_nan=False) + "\n")
        for path in picture.draw_all([(name, Section.from_json(kept)) for name, kept in sections.items()], FOLDER):
            print(path)
    README.write_text(written(README.read_text(), sections))
    return 0


if __name__ == "__main__":
    sys.exit(main())
