"""A run as lines: one per secure sum, for pipes and logs and whoever asked for them; or its events as they are.

Whatever a log holds, lines are text and nothing else: what steers a terminal is taken out, and no markup is read from them.
"""

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
        self._print((text, "dim"))

    def event(self, event: Mapping[str, Any]) -> None:
        """Shows one event of the log."""
        shown = {"start": self._start, "epoch": self._epoch, "round": self._round, "evaluation": self._evaluation, "end": self._end}
        if event["event"] in shown:
            shown[event["event"]](event)

    def _print(self, *parts: str | tuple[str, str]) -> None:
        """The one way out: texts, and texts with a style."""
        from rich.text import Text

        line = Text.assemble(*parts)
        line.plain = plain(line.plain)  # letter for letter, so that styles stay where they are
        self._console.print(line, highlight=False)

    def _start(self, event: Mapping[str, Any]) -> None:
        self._rounds = event["num_rounds"]
        settings = event["settings"]
        strategy = (str(event["strategy"]), "bold")
        if settings.get("mode") == PLAIN:
            self._print(strategy, " in plain averaging: ", ("the coordinator sees every party's update", "red"))
            return
        self._clip_follows = isinstance(settings.get("clip"), dict)
        said = ", ".join(_protected(settings))
        self._print(strategy, " over secure sums", f": {said}" if said else "")

    def _epoch(self, event: Mapping[str, Any]) -> None:
        self._print(f"epoch {event['epoch']}: {event['joined']} of {event['asked']} parties joined")

    def _round(self, event: Mapping[str, Any]) -> None:
        train = event["phase"] == "train"
        number = "-" if event["server_round"] is None else event["server_round"]
        name = f"round {number:>3}/{self._rounds}" if train else " " * len(f"round   1/{self._rounds}")
        what = event["phase"] if event["group"] is None else f"group {event['group'] + 1}"
        if event["failure"]:
            self._print(f"{name}  {what:<8} ", ("failed", "red"), f": {event['failure']}")
            return
        asked, summed = len(event["asked"]), len(event["summed"])
        seconds = "  ".join(f"{step} {value:.2f} s" for step, value in event["seconds"].items() if step != "sum")
        up, down = sum(event["bytes_up"].values()), sum(event["bytes_down"].values())
        clip = f"  clip {event['clip']:g}" if self._clip_follows and train else ""
        self._print(
            f"{name}  {what:<8}  asked {asked:>3}  summed {summed:>3}  ",
            (f"{asked - summed} dropped", "yellow" if asked > summed else ""),
            f"  {_metrics(event)}{clip}  ",
            (f"up {_size(up)}  down {_size(down)}  {seconds}", "dim"),
        )

    def _evaluation(self, event: Mapping[str, Any]) -> None:
        name = " " * len(f"round   1/{self._rounds}")
        self._print(f"{name}  ", (f"global    {_metrics(event)}", "bold"))

    def _end(self, event: Mapping[str, Any]) -> None:
        if not event["failure"]:
            self._print(f"done in {event['seconds']:.1f} s")


class Json(Lines):
    """Prints the events as they are."""

    def note(self, text: str) -> None:
        """Nothing: standard output is for events."""

    def event(self, event: Mapping[str, Any]) -> None:
        """As it is, in ASCII: what is no printable letter of it is written as an escape of JSON."""
        print(json.dumps(event).replace("\x7f", "\\u007f"), flush=True)


def _metrics(event: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in numbers(event["metrics"]).items())


def _protected(settings: Mapping[str, Any]) -> list[str]:
    """What the settings say of the protection; a log of another version may have others, and what is not there is left out."""

    def number(name: str, text: str) -> list[str]:
        value = settings.get(name)
        return [text.format(value)] if isinstance(value, int | float) else []

    said = [str(settings["mode"])] if "mode" in settings else []
    said += number("ring_bits", "{}-bit ring") if settings.get("value_bits") is None else number("value_bits", "{}-bit values")
    said += ["rotated"] if settings.get("rotation") else []
    said += ["a learnt clip"] if isinstance(settings.get("clip"), dict) else number("clip", "clip {:g}")
    return said + number("gamma", "up to {:.0%} of the parties corrupt") + number("delta", "{:.0%} dropping")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"
