"""The completion script for fish: one `complete` a command, option and argument, each with the place where it counts."""

from __future__ import annotations

from collections.abc import Iterator

from stfed.cli.shellwords import Command, Option, Value

_HEAD = """# Completion of stfed for fish, made by: stfed completion fish
function __stfed_at --argument-names place position
    # Whether the words before the cursor are this command, and, if asked, whether its argument at this position is next.
    set -l found
    set -l count 0
    set -l value no
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test $value = yes
            set value no
        else if string match -q -- '-*' $word
            contains -- "$found $word" {valued}; and set value yes
        else if contains -- (string join ' ' $found $word) {places}
            set -a found $word
        else
            set count (math $count + 1)
        end
    end
    test "$found" = "$place"; or return 1
    test -z "$position"; and return 0
    string match -q '*+' $position; and test $count -ge (string trim --right --chars + $position); and return 0
    test "$count" = "$position"
end

complete -c stfed -f
"""


def script(root: Command) -> str:
    """The script for these commands."""
    every = list(root.all())
    valued = [f"{_place(command)} {option.name}" for command in every for option in command.options if option.value]
    places = [_place(command) for command in every if command.words]
    head = _HEAD.format(valued=" ".join(map(_quoted, valued)), places=" ".join(map(_quoted, places)))
    return "\n".join([head, *(line for command in every for line in _lines(command))]) + "\n"


def _lines(command: Command) -> Iterator[str]:
    for one in command.commands:
        yield f"complete -c stfed -n {_at(command, '0')} -a {one.words[-1]} -d {_quoted(one.text)}"
    for option in command.options:
        yield f"complete -c stfed -n {_at(command)} {_option(option)} -d {_quoted(option.text)}"
    for position, value in enumerate(command.arguments):
        last = position == len(command.arguments) - 1
        what = _value(value)
        if what != "-x":
            at = _at(command, f"{position}{'+' if last and command.endless else ''}")
            yield f"complete -c stfed -n {at} {what.removeprefix('-r ')}"


def _place(command: Command) -> str:
    return " ".join(command.words)


def _at(command: Command, position: str = "") -> str:
    return _quoted(f'__stfed_at "{_place(command)}" {position}'.rstrip())


def _option(option: Option) -> str:
    return f"-l {option.name.removeprefix('--')}" + ("" if option.value is None else f" {_value(option.value)}")


def _value(value: Value) -> str:
    if value.words:
        return f"-x -a {_quoted(' '.join(value.words))}"
    return {"files": "-r -F", "folders": "-x -a '(__fish_complete_directories)'", "nothing": "-x"}[value.kind]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
