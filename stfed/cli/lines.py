"""A run as lines: one per secure sum, for pipes and logs and whoever asked for them; or its events as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stfed.cli.livefacts import plain
from stfed.report.protection import PLAIN
from stfed.report.run import numbers

if TYPE_CHECKING:
    from rich.console import Console


class Lines:
    """Prints one line per secure sum."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rounds, self._clip_follows = 0, False

    def note(self, text: str) -> None:
        """A line of explanation."""
        self._console.print(text, style="dim", highlight=False)

    def event(self, event: Mapping[str, Any]) -> None:
        """Shows one event of the log."""
        shown = {"start": self._start, "epoch": self._epoch, "round": self._round, "evaluation": self._evaluation, "end": self._end}
        if event["event"] in shown:
            shown[event["event"]](event)

    def _start(self, event: Mapping[str, Any]) -> None:
        self._rounds = event["num_rounds"]
        settings = event["settings"]
        if settings.get("mode") == PLAIN:
            text = f"[bold]{_said(event['strategy'])}[/] in plain averaging: [red]the coordinator sees every party's update[/]"
            self._console.print(text, highlight=False)
            return
        self._clip_follows = isinstance(settings["clip"], dict)
        self._console.print(
            f"[bold]{_said(event['strategy'])}[/] over secure sums: {settings['mode']}, {_precision(settings)}, "
            + ("a learnt clip, " if self._clip_follows else f"clip {settings['clip']:g}, ")
            + f"up to {settings['gamma']:.0%} of the parties corrupt, {settings['delta']:.0%} dropping",
            highlight=False,
        )

    def _epoch(self, event: Mapping[str, Any]) -> None:
        self._console.print(f"epoch {event['epoch']}: {event['joined']} of {event['asked']} parties joined", highlight=False)

    def _round(self, event: Mapping[str, Any]) -> None:
        train = event["phase"] == "train"
        name = f"round {event['server_round']:>3}/{self._rounds}" if train else " " * len(f"round   1/{self._rounds}")
        what = event["phase"] if event["group"] is None else f"group {event['group'] + 1}"
        if event["failure"]:
            self._console.print(f"{name}  {what:<8} [red]failed[/]: {_said(event['failure'])}", highlight=False)
            return
        asked, summed = len(event["asked"]), len(event["summed"])
        metrics = "  ".join(f"{_said(key)} {value:.4f}" for key, value in numbers(event["metrics"]).items())
        seconds = "  ".join(f"{step} {value:.2f} s" for step, value in event["seconds"].items() if step != "sum")
        up, down = sum(event["bytes_up"].values()), sum(event["bytes_down"].values())
        dropped = f"{asked - summed} dropped"
        clip = f"  clip {event['clip']:g}" if self._clip_follows and train else ""
        self._console.print(
            f"{name}  {what:<8}  asked {asked:>3}  summed {summed:>3}  "
            + (f"[yellow]{dropped}[/]" if asked > summed else dropped)
            + f"  {metrics}{clip}  [dim]up {_size(up)}  down {_size(down)}  {seconds}[/]",
            highlight=False,
        )

    def _evaluation(self, event: Mapping[str, Any]) -> None:
        name = " " * len(f"round   1/{self._rounds}")
        metrics = "  ".join(f"{_said(key)} {value:.4f}" for key, value in numbers(event["metrics"]).items())
        self._console.print(f"{name}  [bold]global    {metrics}[/]", highlight=False)

    def _end(self, event: Mapping[str, Any]) -> None:
        if not event["failure"]:
            self._console.print(f"done in {event['seconds']:.1f} s", highlight=False)


class Json(Lines):
    """Prints the events as they are."""

    def note(self, text: str) -> None:
        """Nothing: standard output is for events."""

    def event(self, event: Mapping[str, Any]) -> None:
        """As it is."""
        print(json.dumps(event), flush=True)


def _said(text: object) -> str:
    """What the log says, as text and nothing else: names of metrics are the parties' own, and a log may come from elsewhere."""
    from rich.markup import escape

    return escape(plain(text))


def _precision(settings: Mapping[str, Any]) -> str:
    bits = f"{settings['ring_bits']}-bit ring" if settings.get("value_bits") is None else f"{settings['value_bits']}-bit values"
    return f"{bits}, rotated" if settings.get("rotation") else bits


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"
