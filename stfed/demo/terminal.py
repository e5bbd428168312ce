"""The same in a terminal, images included: a character cell is two pixels, the upper half in one grey and the lower half in another."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from stfed.demo.attack import Attack, Told
from stfed.demo.clinics import CLINICS, SIDE, Pixels, image
from stfed.demo.page import MODES
from stfed.demo.recovery import closeness, is_image, shown
from stfed.secagg.params import Mode

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_HALF = "\N{UPPER HALF BLOCK}"
_GAP = 3
_INDENT = "   "
_SCALE = 2
"""Characters for one pixel in a row, and pixels of the terminal for one of the image in a column."""
_WIDTH = SIDE * _SCALE


def tell(attack: Attack, console: Console) -> None:
    """Prints all of it; the images only where there are colours to draw them with."""
    from rich.rule import Rule

    drawn = console.color_system is not None

    def images(pictures: Iterable[Pixels | None], captions: Iterable[tuple[str, bool]]) -> None:
        for line in _side_by_side(list(pictures) if drawn else [], list(captions), console.width):
            console.print(line)
        console.print()

    console.print(Rule("plain averaging", align="left", style="dim"))
    if drawn:
        console.print(f"{CLINICS} clinics train one small network. Each has one image that nobody else is to see:", highlight=False)
        images((image(clinic)[0] for clinic in range(CLINICS)), ((f"clinic {clinic + 1}", False) for clinic in range(CLINICS)))
    console.print("What the coordinator finds in their updates, by one division:")
    images(attack.plain.values(), (_caption(one, clinic) for clinic, one in attack.plain.items()))
    console.print(Rule("a secure round", align="left", style="dim"))
    console.print("The coordinator follows the protocol, keeps everything that it is sent, and divides:")
    images(attack.secure.values(), (_caption(one, clinic) for clinic, one in attack.secure.items()))
    for mode in Mode:
        console.print(Rule(f"lies in {mode.value} mode", align="left", style="dim"))
        for line in textwrap.wrap(MODES[mode], max(console.width - 1, 20)):
            console.print(line, style="dim", highlight=False, soft_wrap=True)
        console.print()
        told = [one for one in attack.told if one.mode is mode]
        for number, one in enumerate(told, 1):
            _lie(number, one, console, drawn=drawn)


def _lie(number: int, told: Told, console: Console, *, drawn: bool) -> None:
    """What it says, what it hopes for, what the clinics answer, what it has then."""
    from rich.padding import Padding

    _paragraph(console, f"{number}. It {told.lie.tries}.", "bold", first="")
    _paragraph(console, f"hoping for {told.lie.hope}", "dim")
    for sentence in told.said:
        _paragraph(console, sentence)
    _paragraph(console, f"It sees {told.learned}.", "bold red" if told.found else "green")
    if drawn and told.found and told.picture is not None:
        for line in _side_by_side([told.picture], [("clinic 1", True)], console.width):
            console.print(Padding(line, (0, 0, 0, len(_INDENT))))
    console.print()


def _paragraph(console: Console, text: str, style: str = "", first: str | None = None) -> None:
    """Wrapped by words, and indented, without blanks at the ends of lines."""
    from rich.text import Text

    width = max(console.width - 1, 20)
    for line in textwrap.wrap(text, width, initial_indent=_INDENT if first is None else first, subsequent_indent=_INDENT):
        console.print(Text(line, style), soft_wrap=True)


def _caption(found: Pixels, clinic: int) -> tuple[str, bool]:
    correlation = closeness(found, clinic)
    text = f"{correlation:.3f}" if is_image(correlation) else f"{correlation:.2f}"
    return f"{clinic + 1}: corr. {text}", is_image(correlation)


def _side_by_side(pictures: Sequence[Pixels | None], captions: Sequence[tuple[str, bool]], width: int) -> Iterator[Text]:
    """Lines of as many images as fit beside each other, each with its caption below."""
    from rich.text import Text

    across = max(1, (width + _GAP) // (_WIDTH + _GAP))
    for begin in range(0, len(captions), across):
        block = pictures[begin : begin + across]
        for y in range(0, SIDE * _SCALE if block else 0, 2):
            line = Text()
            for pixels in block:
                line.append_text(_cells(pixels, y))
                line.append(" " * _GAP)
            line.rstrip()
            yield line
        line = Text()
        for caption, alarm in captions[begin : begin + across]:
            line.append(caption.ljust(_WIDTH)[:_WIDTH] + " " * _GAP, "red" if alarm else "dim")
        line.rstrip()
        yield line


def _cells(pixels: Pixels | None, y: int) -> Text:
    """One line of characters of an image: rows y and y + 1 of the picture drawn twice as large."""
    from rich.text import Text

    if pixels is None:
        return Text(" " * _WIDTH)
    rows, line = shown(pixels).reshape(SIDE, SIDE), Text()
    for x in range(SIDE):
        upper, lower = (round(255 * (1 - float(rows[at // _SCALE, x]))) for at in (y, y + 1))
        line.append(_HALF * _SCALE, f"rgb({upper},{upper},{upper}) on rgb({lower},{lower},{lower})")
    return line
