"""How `--help` is laid out, of every command alike: usage, what the command does and touches, its options in groups, examples.

A `Page` is what a command says of itself beyond argparse; a `Manual` formats it. Text wraps to the terminal; a command in an example is
broken only where a shell takes the break too, so that it can be copied.
"""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Paint = Callable[[str, str], str]  # text and style
Rows = Sequence[tuple[str, str]]

_COLUMN = 28  # where explanations begin at most; a longer name has a line of its own
_WIDEST = 120  # columns; longer lines are hard to read, however wide the window
_NARROWEST = 40
_WORD = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")


@dataclass(frozen=True, slots=True)
class Page:
    """What the help of a command has beyond its arguments.

    Attributes:
        reads: the files and variables that it reads.
        writes: what it writes, and how.
        never: what one can rely on that it does not do.
        examples: commands that can be copied, and what each does.
        sections: more tables, of names and explanations, by their title.
    """

    reads: str = ""
    writes: str = ""
    never: str = ""
    examples: Rows = ()
    sections: Sequence[tuple[str, Rows]] = ()


class Manual(argparse.HelpFormatter):
    """Formats the help of one command.

    Args:
        prog: the command.
        width: columns; those of the terminal if None.
        paint: puts a text in the colour of a style; by default none has any.
    """

    def __init__(self, prog: str, width: int | None = None, paint: Paint = lambda text, _style: text) -> None:
        terminal = shutil.get_terminal_size().columns if width is None else width
        super().__init__(prog, width=max(_NARROWEST, min(_WIDEST, terminal)))
        self._paint = paint

    def page(self, parser: argparse.ArgumentParser, page: Page) -> str:
        """The whole of it."""
        lists = [listed for action in parser._actions if isinstance(action, argparse._SubParsersAction) for listed in sections(action)]
        groups = [
            (_title(group), [(self.invocation(one), self._explained(one)) for one in shown(group)]) for group in parser._action_groups
        ]
        effects = [(name, text) for name, text in (("reads", page.reads), ("writes", page.writes), ("never", page.never)) if text]
        blocks = [
            self.usage(parser),
            self._prose(parser.description or ""),
            *self._tables([("effects", effects)]),
            *self._tables(lists),
            *self._tables([*groups, *page.sections]),
            self._examples(page.examples),
        ]
        return "\n\n".join(block for block in blocks if block) + "\n"

    def usage(self, parser: argparse.ArgumentParser) -> str:
        """`usage: ...` with everything that must be given, and what excludes each other; the rest is `[options]`."""
        exclusive = {id(action): group for group in parser._mutually_exclusive_groups for action in group._group_actions}
        needed: list[str] = []
        optional: list[str] = []
        last: list[str] = []
        done: set[int] = set()
        for action in sorted(parser._actions, key=lambda one: bool(one.option_strings)):
            group = exclusive.get(id(action))
            if action.help is argparse.SUPPRESS or id(group or action) in done:
                continue
            done.add(id(group or action))
            members = [action] if group is None else [one for one in group._group_actions if one.help is not argparse.SUPPRESS]
            text = " | ".join(self.invocation(one) for one in members)
            if group is not None and len(members) > 1:
                (needed if group.required else optional).append(f"({text})" if group.required else f"[{text}]")
            elif isinstance(action, argparse._SubParsersAction):
                last.append(f"{action.metavar} ..." if action.required else f"[{action.metavar} ...]")
            elif not action.option_strings:
                (last if text.startswith("--") else needed).append(self._positional(action))
            elif action.required:
                needed.append(text)
        rest = [
            one for one in parser._actions if one.option_strings and not isinstance(one, argparse._HelpAction | argparse._VersionAction)
        ]
        if any(not one.required and id(one) not in exclusive for one in rest):
            optional.append("[options]")
        head, *lines = self._filled(f"Usage: {parser.prog}", [*needed, *optional, *last])
        return "\n".join([self._heading("usage") + head.removeprefix("Usage:"), *lines])

    def _filled(self, line: str, words: Sequence[str]) -> Iterator[str]:
        """Words behind the beginning of a line; alternatives are kept together where they fit on a line."""
        fits = self._width - len("Usage: ")
        parts = [part for word in words for part in ([word] if len(word) <= fits else word.replace(" | ", "\n| ").split("\n"))]
        for word in parts:
            if len(line) + 1 + len(word) > self._width:
                yield line
                line = " " * len("Usage:")
            line = f"{line} {word}"
        yield line

    def _positional(self, action: argparse.Action) -> str:
        name = self.invocation(action)
        return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}.get(str(action.nargs), name)

    def invocation(self, action: argparse.Action) -> str:
        """`--out SEALED`: an option by its long name, and what it takes; or what a positional argument is called."""
        value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else (action.dest or "").upper())
        name = value if isinstance(value, str) else " ".join(value)
        if not action.option_strings:
            return name
        long = next((option for option in action.option_strings if option.startswith("--")), action.option_strings[0])
        return long if action.nargs == 0 else f"{long} {name}"

    def _explained(self, action: argparse.Action) -> str:
        return self._expand_help(action) if action.help else ""

    def _prose(self, text: str) -> str:
        return "\n\n".join(textwrap.fill(" ".join(part.split()), self._width) for part in re.split(r"\n\s*\n", text.strip()) if part)

    def _tables(self, tables: Sequence[tuple[str, Rows]]) -> Iterator[str]:
        """Names and what they mean, in two columns; all these tables have them in the same place."""
        names = [len(name) for _, rows in tables for name, _ in rows]
        column = min(max((length for length in names if length <= _COLUMN - 4), default=0) + 4, self._width // 2)
        for title, rows in tables:
            lines = [self._heading(title)]
            for name, text in rows:
                wrapped = textwrap.wrap(" ".join(text.split()), self._width - column) or [""]
                lines.append(f"  {self._paint(name, 'name')}")
                if len(name) + 4 <= column:
                    lines[-1] = f"{lines[-1]}{' ' * (column - 2 - len(name))}{wrapped.pop(0)}".rstrip()
                lines += [" " * column + line for line in wrapped]
            if rows:
                yield "\n".join(lines)

    def _examples(self, examples: Rows) -> str:
        """Each with what it does above it."""
        blocks = []
        for command, what in examples:
            said = textwrap.wrap(what, self._width, initial_indent="  # ", subsequent_indent="  # ")
            blocks.append("\n".join([*(self._paint(line, "dim") for line in said), *self._broken(command)]))
        return f"{self._heading('examples')}\n" + "\n\n".join(blocks) if blocks else ""

    def _heading(self, title: str) -> str:
        return self._paint(f"{title[0].upper()}{title[1:]}:", "heading")

    def _broken(self, command: str) -> Iterator[str]:
        """A command on as few lines as fit, each but the last with a backslash at its end, and no option apart from its value."""
        parts: list[str] = []
        for word in _WORD.findall(command):
            if parts and parts[-1].startswith("-") and " " not in parts[-1] and not word.startswith("-"):
                parts[-1] += f" {word}"
            else:
                parts.append(word)
        line = f"  {parts[0]}"
        for part in parts[1:]:
            if len(line) + len(part) + 3 > self._width:
                yield f"{line} \\"
                line = f"      {part}"
            else:
                line = f"{line} {part}"
        yield line


def shown(group: argparse._ArgumentGroup) -> list[argparse.Action]:
    """What the help lists of a group's arguments; what many commands have comes last."""
    listed = [one for one in group._group_actions if one.help is not argparse.SUPPRESS and not isinstance(one, argparse._SubParsersAction)]
    return sorted(listed, key=lambda one: 2 if isinstance(one, argparse._HelpAction | argparse._VersionAction) else one.dest == "json")


def sections(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The commands of a command and what each does, under the sections that they are in."""
    found: dict[str, list[tuple[str, str]]] = {}
    for choice in commands._choices_actions:
        section = getattr(commands.choices[choice.dest], "section", "commands")
        found.setdefault(section, []).append((choice.dest, choice.help or ""))
    return list(found.items())


def _title(group: argparse._ArgumentGroup) -> str:
    return {"positional arguments": "arguments"}.get(group.title or "", group.title or "options")
