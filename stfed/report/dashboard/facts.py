"""What the pages show of a run, as JSON. Texts are the log's own: the page sets them as text and never as markup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stfed.report import protection, story
from stfed.report.blocks import Fact, Facts, Section, Warn
from stfed.report.dashboard.watching import Watched
from stfed.report.run import Step, Sum

if TYPE_CHECKING:
    from stfed.audit import Entry

_SUMS_SHOWN = 400
_AUDIT_SHOWN = 50


def overview(watched: Watched) -> dict[str, Any]:
    """A line of the list of runs."""
    return _overview(watched, watched.run.series())


def _overview(watched: Watched, series: dict[str, dict[int, float]]) -> dict[str, Any]:
    run = watched.run
    start = run.start or {}
    last = {name.removeprefix("global "): points[max(points)] for name, points in series.items() if name.startswith("global ")}
    return {
        "name": watched.name,
        "state": "broken" if watched.broken else run.state.value,
        "strategy": start.get("strategy"),
        "rounds": run.rounds,
        "of": start.get("num_rounds"),
        "time": start.get("time"),
        "parties": len(run.nodes()),
        "last": last,
        "epsilon": run.epsilon[0] if run.epsilon else None,
        "plain": protection.unprotected(run),
    }


def details(watched: Watched) -> dict[str, Any]:
    """Everything about one run."""
    run = watched.run
    names, series = story.pseudonyms(run), run.series()
    return {
        **_overview(watched, series),
        "broken": watched.broken,
        "failure": run.end["failure"] if run.end else None,
        "summary": [_fact(fact) for fact in story.summary(run)],
        "series": {name: sorted(points.items()) for name, points in series.items()},
        "sums": [_sum(one, names) for one in run.sums[-_SUMS_SHOWN:]],
        "parties": [{"name": names[node], "asked": asked, "summed": summed} for node, (asked, summed) in run.nodes().items()],
        "privacy": [[release["round_number"], release["epsilon"]] for release in run.releases],
        "budget": protection.budget(run),
        "protection": _facts(protection.protocol(run)),
        "warnings": [block.text for block in protection.protocol(run).blocks if isinstance(block, Warn)],
        "now": [_step(one) for one in run.steps.values() if not one.over],
        "models": [{**{key: event[key] for key in ("server_round", "bytes")}, "file": Path(event["path"]).name} for event in run.models],
        "disputes": len(run.disputes),
        "audit": audit(watched),
    }


def audit(watched: Watched) -> dict[str, Any] | None:
    """The newest entries of the audit log beside the event log; None if there is none. Signatures are `stfed audit verify`'s business."""
    from stfed.audit import AuditLog
    from stfed.errors import StfedError
    from stfed.report.evidence import AUDIT

    path = watched.log.parent / AUDIT
    if not path.exists():
        return None
    try:
        with AuditLog(path, create=False, read_only=True) as log:
            entries = list(log.entries(max(0, log.size - _AUDIT_SHOWN)))
    except (StfedError, OSError) as error:
        return {"broken": str(error), "entries": []}
    return {"broken": None, "entries": [_entry(entry) for entry in reversed(entries)]}


def _entry(entry: Entry) -> dict[str, Any]:
    said = {name: value for name, value in entry.event.fields.items() if value not in (None, "")}
    return {"index": entry.index, "time": entry.time.timestamp(), "kind": str(entry.event.kind), "fields": said}


def _sum(one: Sum, names: dict[str, str]) -> dict[str, Any]:
    return {
        "round": one.server_round,
        "phase": one.phase,
        "group": one.event["group"],
        "asked": one.asked,
        "summed": one.summed,
        "dropped": {names.get(node, "?"): f"{drop['step']}: {drop['reason']}" for node, drop in one.event["dropped"].items()},
        "seconds": dict(one.seconds),
        "up": one.bytes_up,
        "down": one.bytes_down,
        "metrics": dict(one.metrics),
        "failure": one.failure,
    }


def _step(one: Step) -> dict[str, Any]:
    return {key: one.event[key] for key in ("server_round", "phase", "group", "step", "asked", "answered")}


def _fact(fact: Fact) -> dict[str, str]:
    return {"name": fact.name, "value": fact.value, "meaning": fact.meaning}


def _facts(section: Section) -> list[dict[str, str]]:
    return [_fact(fact) for block in section.blocks if isinstance(block, Facts) for fact in block.facts]
