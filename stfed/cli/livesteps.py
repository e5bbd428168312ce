"""The part of the live view that is about the sum under way: its steps, how many have answered, and for how long it has gone on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from stfed.cli.livefacts import clock, plain
from stfed.report.run import Run, State, Step

_STEPS = {"semi-honest": ("train", "unmask", "sum"), "malicious": ("train", "confirm", "unmask", "sum")}
"""What comes in every sum; JOIN and PREPARE are shown where they happen, because they are not in a steady one."""
_PHASES = {"train": "training", "evaluate": "evaluation"}
_INDENT = "  "


def under_way(run: Run, now_s: float, width: int) -> list[Text]:
    """A blank line and two more, all groups together; always as many, so that nothing below jumps. None once the run is over.

    Args:
        run: what is known.
        now_s: seconds since 1970.
        width: of the terminal.
    """
    if run.state is not State.RUNNING:
        return []
    if not run.steps:
        return [Text(), Text("between sums: the coordinator's own work", style="dim"), Text()]
    names = list(dict.fromkeys(name for name, _ in run.steps))
    current = next((name for name in names if not all(step.over for step in _of(run, name))), None)
    line = _steps(run, names, current, counted=True)
    if line.cell_len > width:
        line = _steps(run, names, current, counted=False)
    return [
        Text(),
        line,
        Text(_INDENT + "the coordinator is at work", style="dim") if current is None else _progress(run, current, now_s, width),
    ]


def _steps(run: Run, names: Sequence[str], current: str | None, *, counted: bool) -> Text:
    """One line: what has been, what is, what comes. Where there is no room, steps that everybody has answered are not `counted`."""
    newest = list(run.steps.values())[-1].event
    groups = len({group for _, group in run.steps if group is not None})
    place = "" if newest["server_round"] is None else f"round {newest['server_round']}, "
    line = Text.assemble((place + _PHASES.get(newest["phase"], plain(newest["phase"])), "bold"), f" in {groups} groups" if groups else "")
    for name in names:
        asked, answered = _counts(_of(run, name))
        line.append("  ")
        counts = f" {answered}/{asked}" if asked and (counted or name == current or answered < asked) else ""
        if name == current:
            line.append(f"\N{BLACK RIGHT-POINTING SMALL TRIANGLE} {plain(name)}{counts}", style="bold cyan")
        else:
            line.append("\N{CHECK MARK} ", style="yellow" if answered < asked else "green").append(plain(name) + counts)
    mode = str((run.start or {"settings": {}})["settings"].get("mode"))
    for name in _STEPS.get(mode, ()):
        if name not in names:
            line.append(f"  \N{MIDDLE DOT} {name}", style="dim")
    return line


def _progress(run: Run, current: str, now_s: float, width: int) -> Text:
    asked, answered = _counts(_of(run, current))
    since = clock(max(0.0, now_s - min(step.began_s for step in _of(run, current))))
    words = f"  {answered} of {asked} answered, {since}" if asked else f"  the coordinator adds up, {since}"
    return Text(_INDENT) + bar(answered / asked if asked else 0.0, max(4, width - len(words) - len(_INDENT)), "cyan") + Text(words)


def _of(run: Run, name: str) -> list[Step]:
    return [known for (step, _), known in run.steps.items() if step == name]


def _counts(steps: Sequence[Step]) -> tuple[int, int]:
    return sum(step.event["asked"] for step in steps), sum(step.event["answered"] for step in steps)


def bar(share: float, width: int, style: str) -> Text:
    """So much of a line."""
    full = round(max(0.0, min(1.0, share)) * width)
    return Text.assemble(("\N{BOX DRAWINGS HEAVY HORIZONTAL}" * full, style), ("\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (width - full), "dim"))
