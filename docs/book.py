"""What the book takes from outside of docs/: files of the repository that its pages link to, so that no link leads out of it.

A page says `[the recipe](../strategies/secure_median.py)`, which is right where the repository is browsed. In the book the file is under
`source/`, with its own path, and the link goes there; a Markdown file becomes a page, with its pictures.

SVG pictures are put into the page itself: they then have the page's own text colour, in light and in dark mode.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(\]\()([^)#\s]+)([^)]*\))")
_SOURCE = "source"
_PICTURE = re.compile(r'<p><img alt="[^"]*" src="(?P<path>[^"]+\.svg)" ?/?></p>')


def _target(page: str, link: str) -> str | None:
    """The path in the repository that a link of a page under docs/ leads to, if it leads out of docs/ to a file."""
    if ":" in link or link.startswith("/"):
        return None
    folder = posixpath.dirname(page)
    home = posixpath.relpath(folder, _SOURCE) if page.startswith(f"{_SOURCE}/") else posixpath.join("docs", folder)
    path = posixpath.normpath(posixpath.join(home, link))
    outside = page.startswith(f"{_SOURCE}/") or not path.startswith("docs/")
    return path if outside and not path.startswith("..") and (ROOT / path).is_file() else None


def _place(path: str) -> str:
    """Where a file of the repository is in the book. Browsers show text, and save what they do not know: Python and TOML are to be read."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{_SOURCE}/{path}" if path.endswith((".md", ".png")) else f"{_SOURCE}/{path}.txt"


def on_files(files: Files, config: Any) -> Files:
    """Adds every file that is linked to, and what those that are pages link to."""
    waiting = [(file.src_uri, (ROOT / "docs" / file.src_uri).read_text()) for file in files.documentation_pages()]
    added = set[str]()
    while waiting:
        page, text = waiting.pop()
        for match in _LINK.finditer(text):
            path = _target(page, match[2])
            if path is None or path in added or path.startswith("docs/"):
                continue
            added.add(path)
            data = (ROOT / path).read_bytes()
            files.append(File.generated(config, _place(path), content=data))
            if path.endswith(".md"):
                waiting.append((_place(path), data.decode()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Leads links to where the files are in the book."""

    def led(match: re.Match[str]) -> str:
        path = _target(page.file.src_uri, match[2])
        if path is None:
            return match[0]
        return f"{match[1]}{posixpath.relpath(_place(path), posixpath.dirname(page.file.src_uri))}{match[3]}"

    return _LINK.sub(led, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Puts SVG pictures in the place of the images that show them. The search has the text of the page, not of the pictures."""

    def drawn(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), match["path"]))
        svg = (ROOT / "docs" / path).read_text(encoding="utf-8")
        return f'<figure class="picture" data-search-exclude tabindex="0">{svg}</figure>'

    return _PICTURE.sub(drawn, html)
