"""The live view: a picture of a run as lines of text, a pure function of the run, the time and the size of the terminal.

From top to bottom: what runs and how far it is, the steps of the sum that is under way, the last rounds, curves, drops, the last trouble.
Where there is little room the table of rounds gives way first, then the curves; no line is wider than the terminal. Whatever a log or the
name of a folder holds, no line has a character that steers the terminal.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stfed.cli import livefacts as facts
from stfed.cli.livesteps import bar, under_way
from stfed.report.eventlog import Event
from stfed.report.protection import budget, unprotected
from stfed.report.run import Run, State
from stfed.report.story import anonymous

_COLOURS = {State.WAITING: "dim", State.RUNNING: "cyan", State.DONE: "green", State.FAILED: "bold red"}
_FEWEST_ROWS = 3
_WIDE = 110


@dataclass(frozen=True, slots=True)
class Frame:
    """Where it is shown.

    Attributes:
        title: what the run is called: its run file, or its folder.
        width, height: of the terminal, in characters.
        footer: a line at the bottom, such as how to leave.
    """

    title: str
    width: int
    height: int
    footer: str = ""


def view(run: Run, now_s: float, frame: Frame) -> list[Text]:
    """The lines, at most `frame.height` of them.

    Args:
        run: what is known.
        now_s: seconds since 1970.
        frame: where it is shown.
    """
    top = [*_header(run, now_s, frame), *under_way(run, now_s, frame.width)]
    bottom = [*_drops(run, frame), *_trouble(run, frame)]
    footer = [Text(frame.footer, style="dim")] if frame.footer else []
    curves = _curves(run, frame)
    room = frame.height - len(top) - len(bottom) - len(footer) - 4  # blank lines, and the heading of the table
    curves = curves[: max(0, room - _FEWEST_ROWS)]
    table = _table(run, frame, max(1, room - len(curves)))
    parts = [top, table, curves + bottom, footer]
    lines = [line for part in parts if part for line in (Text(), *part)][1:]
    if footer and len(lines) > frame.height:
        lines = [*lines[: frame.height - 1], *footer]
    for line in lines:
        line.plain = facts.plain(line.plain)  # letter for letter, so that styles stay where they are
        line.truncate(frame.width, overflow="ellipsis")
    return lines[: frame.height]


def _header(run: Run, now_s: float, frame: Frame) -> list[Text]:
    start = run.start
    if start is None:
        return [_sides(Text(frame.title, style="bold"), Text("has not begun", style="dim"), frame.width)]
    how = ("in plain averaging: nothing is protected", "red") if unprotected(run) else f"over secure sums, {facts.plain(_mode(run, start))}"
    left = Text.assemble((facts.plain(start["strategy"]), "bold"), " ", how, "  ", (frame.title, "dim"))
    silent = facts.silent_s(run, now_s)
    if silent is not None:
        right = Text(f"silent for {facts.clock(silent)}", style="yellow")
    else:
        right = Text.assemble((run.state.value, _COLOURS[run.state]), f" {facts.clock(facts.elapsed_s(run, now_s))}")
    done, of = run.rounds, start["num_rounds"]
    words = f"round {done} of {of}  "
    progress = Text(words) + bar(done / of if of else 1.0, frame.width - len(words), _COLOURS[run.state])
    return [_sides(left, right, frame.width), progress, _spent(run)]


def _mode(run: Run, start: Event) -> str:
    """The last sum's, because encrypted sums have their own; before there is one, what was asked for."""
    modes = [one.event["mode"] for one in run.sums if one.event["mode"]]
    return str(modes[-1] if modes else start["settings"].get("mode", ""))


def _spent(run: Run) -> Text:
    """Bytes, who has joined, and privacy."""
    events = [one.event for one in run.sums]
    down, up = (
        facts.total([sum(sum(event[key].values()) for event in events), sum(step.event[key] for step in run.steps.values())])
        for key in ("bytes_down", "bytes_up")
    )
    parts = [f"down {down}", f"up {up}"]
    if run.epochs:
        parts.append(f"epoch {run.epochs[-1]['epoch']}: {run.epochs[-1]['joined']} of {run.epochs[-1]['asked']} joined")
    line = Text("   ".join(parts), style="dim")
    if run.epsilon is not None:
        most = budget(run)
        words = f"   \N{GREEK SMALL LETTER EPSILON} {run.epsilon[0]:.3g}" + ("" if most is None else f" of {most:g}")
        line.append(words, style="not dim magenta").append(f" at \N{GREEK SMALL LETTER DELTA} {run.epsilon[1]:g}")
    return line


def _table(run: Run, frame: Frame, rows: int) -> list[Text]:
    found = facts.rounds(run)
    if not found:
        return []
    wide, series = frame.width >= _WIDE, run.series()
    metrics = facts.worth_showing(series, 4 if wide else 2)
    table = Table(box=None, pad_edge=False, padding=(0, 3 if wide else 1, 0, 0), header_style="dim", expand=False)
    columns = ["round", "asked", "summed", "dropped", *map(facts.plain, metrics), "seconds", *(("down", "up") if wide else ("bytes",))]
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True, overflow="ellipsis", max_width=18)
    for one in found[-rows:]:
        gone = one.asked - one.summed
        dropped = Text("failed", style="red") if one.failed else Text(str(gone), "yellow" if gone else "")
        points = [series[name].get(one.number) if one.number is not None else None for name in metrics]
        sizes = [facts.total([one.bytes_down]), facts.total([one.bytes_up])] if wide else [facts.total([one.bytes_down, one.bytes_up])]
        table.add_row(
            "-" if one.number is None else str(one.number),
            str(one.asked),
            str(one.summed),
            dropped,
            *("" if point is None else f"{point:.4f}" for point in points),
            f"{one.seconds:.2f}",
            *sizes,
        )
    return _rendered(table, frame.width)


def _rendered(table: Table, width: int) -> list[Text]:
    console = Console(width=width, color_system=None, legacy_windows=False, force_terminal=True, markup=False, emoji=False, _environ={})
    found = []
    for line in console.render_lines(table, pad=False):
        text = Text()
        for segment in line:
            text.append(segment.text, style=segment.style)
        text.rstrip()
        found.append(text)
    return found


def _curves(run: Run, frame: Frame) -> list[Text]:
    series = run.series()
    names = facts.worth_showing(series, 2 if frame.height < 30 else 4)
    labels = max((len(facts.plain(name)) for name in names), default=0)
    found = []
    for name in names:
        values = [value for _, value in sorted(series[name].items())]
        ends = f"  {values[0]:.4f} to {values[-1]:.4f}"
        curve = facts.sparkline(values, max(4, frame.width - labels - 2 - len(ends)))
        found.append(Text.assemble((f"{facts.plain(name):<{labels}}  ", "dim"), (curve, "cyan"), ends))
    return found


def _drops(run: Run, frame: Frame) -> list[Text]:
    found = facts.drops(run)
    if not found:
        return []
    line = Text("dropped  ", style="dim")
    for shown, (name, times) in enumerate(found):
        words = f"{name} {times}  "
        rest = f"and {len(found) - shown} more"
        if line.cell_len + len(words) + len(rest) > frame.width:
            return [line.append(rest, style="dim")]
        line.append(words, style="not dim")
    return [line]


def _trouble(run: Run, frame: Frame) -> list[Text]:
    if run.end is not None and run.end["failure"]:
        text = Text(f"failed   {facts.plain(anonymous(run, run.end['failure']))}", style="red")
        return list(text.wrap(Console(width=frame.width, _environ={}), frame.width))[:4]
    if run.budget is not None:
        early = f"ended early after round {run.budget['server_round']}: the privacy budget has no room for another one"
        return [Text(early, style="magenta")]
    trouble = facts.last_trouble(run)
    return [] if trouble is None else [Text.assemble(("last     ", "dim"), (facts.plain(trouble), "yellow"))]


def _sides(left: Text, right: Text, width: int) -> Text:
    """One at either side; the right one stays where both do not fit."""
    left = left.copy()
    left.truncate(max(0, width - right.cell_len - 2), overflow="ellipsis", pad=True)
    return left + Text("  ") + right
