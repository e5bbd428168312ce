"""Which text gets colours: the one place that decides it, for everything that `stfed` prints.

Colours are for a person at a terminal. A pipe or a file gets none, and neither does anybody who set NO_COLOR, or whose terminal is dumb.
FORCE_COLOR asks for them wherever the text goes, and only NO_COLOR is stronger: the order that Python's own tools keep.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {
    "heading": "1",
    "name": "36",
    "dim": "2",
    "error": "1;31",
    "hint": "36",
    "note": "33",
    "ok": "32",
    "problem": "1;31",
    "added": "32",
    "removed": "31",
    "place": "36",
}
"""Select Graphic Rendition parameters, ECMA-48 8.3.117, by what the text is."""


def coloured(stream: TextIO) -> bool:
    """Whether text for this stream gets colours."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def painted(text: str, style: str, stream: TextIO) -> str:
    """The text in the colour of a style, if the stream it goes to gets colours; KeyError for a style that is not there."""
    codes = _STYLES[style]
    return f"\x1b[{codes}m{text}\x1b[0m" if coloured(stream) else text


def console(*, stderr: bool = False, **options: Any) -> Console:
    """Rich's console for stdout or stderr, with colours under the same conditions."""
    from rich.console import Console

    return Console(stderr=stderr, color_system="auto" if coloured(sys.stderr if stderr else sys.stdout) else None, **options)
