"""`python -m benchmarks.book`: pictures and tables of the book's page on performance, from the reference run.

Nothing is measured here. The figures are those of `results/reference.json`, as `benchmarks/README.md` has them; a test holds page and
pictures against it. A time is processor time of one thread, of all steps of one round.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.chart import Panel, Series, bars, lines, seconds
from benchmarks.line import number
from benchmarks.readme import Kept, reference

DOCS = Path(__file__).parents[1] / "docs"
PAGE, PICTURES = DOCS / "performance.md", DOCS / "pictures"
_SPOT = re.compile(r"(<!-- computed: (?P<name>[a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_OURS, _FLOWER, _PLAIN, _LIMIT = "stfed", "Flower SecAgg+", "plain averaging", "the limit"


def spent(steps: Iterable[Mapping[str, Any]], role: str) -> float:
    """Processor time of a role, in seconds, over all its steps."""
    return float(sum(step["process_s"] for step in steps if step["role"] == role))


def points(sections: Mapping[str, Kept], **wanted: object) -> list[dict[str, Any]]:
    """The points of the comparison with Flower that are as wanted, from small to large."""
    found = [point for point in sections["peers"]["data"]["points"] if all(point[key] == value for key, value in wanted.items())]
    return sorted(found, key=lambda point: (point["n"], point["d"], point["graph"], point["dropout"]))


def limit_of(sections: Mapping[str, Kept], point: Mapping[str, Any], role: str) -> float:
    """Seconds that the masks of a point take where keystream and addition are as fast as each is alone, in cache."""
    limit = sections["party"]["data"]["limit"]
    masks = point["stfed"]["k"] + 1 if role == "parties" else point["stfed"]["masks_removed"]
    return float(masks * point["d"] * (limit["keystream_ns"] + limit["add_ns"]) * 1e-9)


def _panel(sections: Mapping[str, Kept], found: Sequence[Mapping[str, Any]], over: str, role: str) -> Panel:
    """A role's time in all points, beside Flower, plain averaging where it was measured at the same size, and the limit."""

    def each(point: Mapping[str, Any], total: float) -> float:
        return total / point["n"] if role == "parties" else total

    def series(side: str) -> tuple[tuple[float, float], ...]:
        return tuple((point[over], each(point, spent(point[side]["steps"], role))) for point in found)

    sizes = {(point["n"], point["d"]) for point in found}
    plain = [size for size in sections["fedavg"]["data"]["sizes"] if (size["n"], size["d"]) in sizes]
    drawn = [
        Series(_FLOWER, series("flower"), 1),
        Series(_OURS, series("stfed"), 0),
        Series(_LIMIT, tuple((point[over], limit_of(sections, point, role)) for point in found), 4, dashed=True),
        Series(_PLAIN, tuple((size[over], each(size, spent(size["steps"], role))) for size in plain), 2),
    ]
    return Panel("each party" if role == "parties" else "the coordinator", tuple(drawn))


def pictures(sections: Mapping[str, Kept]) -> dict[str, str]:
    """The pictures by the names of their files."""
    by_parties = points(sections, d=1_000_000, graph="complete", dropout=0.1)
    by_size = points(sections, n=10, graph="complete", dropout=0.1)
    drawn = {
        "speed-parties": lines(
            "speed-parties",
            "A round of 1,000,000 parameters by the number of parties",
            "parties",
            "processor time of a round, one thread",
            [_panel(sections, by_parties, "n", role) for role in ("parties", "coordinator")],
        ),
        "speed-parameters": lines(
            "speed-parameters",
            "A round of ten parties by the number of parameters",
            "parameters",
            "processor time of a round, one thread",
            [_panel(sections, by_size, "d", role) for role in ("parties", "coordinator")],
        ),
        "speed-deployed": bars("speed-deployed", "A training round on a real SuperLink", "seconds", deployed(sections), own=_own(sections)),
        "speed-bytes": bars("speed-bytes", "What a party sends", "bytes a parameter", traffic(sections), own=_OURS_SENT),
    }
    return {f"{name}.svg": picture.render() for name, picture in drawn.items()}


_OURS_SENT = ("stfed, 16 bits", "stfed, 32 bits", "stfed, encrypted sums")


def _line(sections: Mapping[str, Kept], section: str, name: str) -> float:
    (line,) = [line for line in sections[section]["lines"] if line["name"] == name]
    return float(line["measured"])


def deployed(sections: Mapping[str, Kept]) -> dict[str, float]:
    """Seconds of a round in the steady state on a SuperLink."""
    prefix = "train: a round, "
    found = {
        line["name"].removeprefix(prefix): line["measured"] for line in sections["deployed"]["lines"] if line["name"].startswith(prefix)
    }
    return dict(sorted(found.items(), key=lambda pair: float(pair[1])))


def _own(sections: Mapping[str, Kept]) -> list[str]:
    return [name for name in deployed(sections) if name.startswith("stfed")]


def traffic(sections: Mapping[str, Kept]) -> dict[str, float]:
    """Bytes a parameter, from a party to the coordinator in one round, of ten parties with 1,000,000 parameters."""
    ckks, plain = sections["ckks"]["data"]["sizes"][0], sections["fedavg"]["data"]["sizes"][0]
    assert (ckks["n"], ckks["d"]) == (plain["n"], plain["d"]) == (10, 1_000_000)
    return {
        _OURS_SENT[0]: ckks["stfed"]["upload_bytes"] / ckks["d"],
        "plain averaging, float32": plain["up_bytes"] / plain["d"],
        _OURS_SENT[1]: plain["stfed"]["upload_bytes"] / plain["d"],
        _OURS_SENT[2]: _line(sections, "ckks", "n = 10, d = 1,000,000: bytes up a parameter, CKKS mode"),
        "CKKS, one key for all clients": ckks["up_bytes"] / ckks["d"],
    }


def _rows(sections: Mapping[str, Kept]) -> str:
    head = "| parties | parameters | graph | lost | a party: stfed | Flower | coordinator: stfed | Flower |\n" + "|---" * 8 + "|\n"
    rows = []
    for point in points(sections):
        times = [
            seconds(spent(point[side]["steps"], role) / (point["n"] if role == "parties" else 1))
            for role in ("parties", "coordinator")
            for side in ("stfed", "flower")
        ]
        graph = f"{point['graph']}, k = {point['stfed']['k']}"
        rows.append(f"| {point['n']} | {point['d']:,} | {graph} | {point['dropout']:.0%} | {' | '.join(times)} |\n")
    return head + "".join(rows)


def _plain(sections: Mapping[str, Kept]) -> str:
    head = "| parties | parameters | a party: stfed | plain | coordinator: stfed | plain |\n|---|---|---|---|---|---|\n"
    rows = []
    for size in sections["fedavg"]["data"]["sizes"]:
        times = [
            seconds(spent(steps, role) / (size["n"] if role == "parties" else 1))
            for role in ("parties", "coordinator")
            for steps in (size["stfed"]["steps"], size["steps"])
        ]
        rows.append(f"| {size['n']} | {size['d']:,} | {' | '.join(times)} |\n")
    return head + "".join(rows)


def _limits(sections: Mapping[str, Kept]) -> str:
    limit, masking = sections["party"]["data"]["limit"], sections["party"]["data"]["masking"]
    both = limit["keystream_ns"] + limit["add_ns"]
    rows = [f"| keystream and addition, in cache | {number(both)} ns | |\n"]
    for one in masking:
        share = both * one["bits"] / 32 / one["one_ns"]
        rows.append(
            f"| one mask on one {one['bits']}-bit word, as a party does it | {number(one['one_ns'])} ns | {share:.0%} of the limit |\n"
        )
    return "| on one core | | |\n|---|---|---|\n" + "".join(rows)


def written(page: str, sections: Mapping[str, Kept]) -> str:
    """The page with its tables anew."""
    tables = {"flower": _rows, "plain": _plain, "limit": _limits}
    return _SPOT.sub(lambda spot: f"{spot[1]}\n{tables[spot['name']](sections)}\n{spot[3]}", page)


if __name__ == "__main__":
    kept = reference()
    PICTURES.mkdir(exist_ok=True)
    for name, text in pictures(kept).items():
        (PICTURES / name).write_text(text, encoding="utf-8")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), kept), encoding="utf-8")
    sys.exit(0)
