"""The completion script for zsh: one function a command, in the words of `_arguments`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stfed.cli.shellwords import Command, Option, Value

_GROUP = """{function}() {{
    local curcontext="$curcontext" state line
    typeset -A opt_args
    _arguments -C -S {specs}
    case $state in
        rest)
            curcontext="${{curcontext%:*:*}}:{prefix}-$words[1]:"
            case $words[1] in
{cases}
            esac
            ;;
    esac
}}"""
_LEAF = """{function}() {{
    _arguments -S {specs}
}}"""
_END = """if [[ $funcstack[1] == _stfed ]]; then
    _stfed "$@"
else
    compdef _stfed stfed
fi
"""


def script(root: Command) -> str:
    """The script for these commands."""
    head = "#compdef stfed\n# Completion of stfed for zsh, made by: stfed completion zsh"
    return "\n\n".join([head, *(_function(command) for command in root.all()), _END])


def _function(command: Command) -> str:
    specs = [_option(option) for option in command.options]
    if not command.commands:
        return _LEAF.format(function=_name(command), specs=_lines([*specs, *_arguments(command)]))
    below = " ".join(f"{one.words[-1]}\\:{_quoted(_plain(one.text))}" for one in command.commands)
    specs += [f"'1:command:(({below}))'", "'*::argument:->rest'"]
    cases = "\n".join(f"                {one.words[-1]}) {_name(one)} ;;" for one in command.commands)
    return _GROUP.format(function=_name(command), specs=_lines(specs), cases=cases, prefix="-".join(["stfed", *command.words]))


def _name(command: Command) -> str:
    return "_".join(["_stfed", *command.words])


def _lines(specs: list[str]) -> str:
    return "".join(f"\\\n        {spec} " for spec in specs).rstrip()


def _option(option: Option) -> str:
    value = "" if option.value is None else _value(option.value)
    name = option.name if option.value is None else f"{option.name}="
    return f"'{'*' if option.repeats else ''}{name}[{_plain(option.text)}]{value}'"


def _arguments(command: Command) -> Iterator[str]:
    for position, value in enumerate(command.arguments, 1):
        last = position == len(command.arguments)
        yield f"'{'*' if last and command.endless else position}{_value(value)}'"


def _value(value: Value) -> str:
    words = f"({' '.join(value.words)})"
    action = words if value.words else {"files": "_files", "folders": "_files -/", "nothing": " "}[value.kind]
    return f":{_plain(value.name)}:{action}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "") + '"'


def _plain(text: str) -> str:
    """Without what means something in a specification, which is in single quotes."""
    return re.sub(r"[\[\]:'\\]", " ", text.replace("'s ", "s ")).strip()
