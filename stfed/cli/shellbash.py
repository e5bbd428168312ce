"""The completion script for bash: a function that walks the words typed so far. It needs nothing but bash 3.2, which macOS still has."""

from __future__ import annotations

from collections.abc import Iterator

from stfed.cli.shellwords import Command, Value

_SCRIPT = r"""# Completion of stfed for bash, made by: stfed completion bash
_stfed() {
    local word option="" place="" at position=0 value="" dashes=""
    local current="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=()
    # The words before the cursor say which command this is, and which of its arguments is typed. Bash breaks words at = and : too.
    for ((at = 1; at < COMP_CWORD; at++)); do
        word="${COMP_WORDS[at]}"
        if [[ $word == "=" || $word == ":" ]]; then
            [[ $word == "=" && -n $value ]] && option="$value"
            [[ $word == ":" ]] && ((at++))
        elif [[ -n $option ]]; then
            option=""
        elif [[ -n $dashes ]]; then
            ((position++))
        elif [[ $word == "--" ]]; then
            dashes=1
        elif [[ $word == -* ]]; then
            value=""
            _stfed_value "$place $word" && option="$word" && value="$word"
        elif _stfed_enters "$place $word"; then
            place="$place $word"
        else
            ((position++))
        fi
    done
    [[ $current == "=" ]] && current=""
    if [[ -n $option ]]; then
        _stfed_value "$place $option"
    elif [[ $current == -* && -z $dashes ]]; then
        _stfed_words "$(_stfed_options "$place")"
        return
    else
        _stfed_words "$(_stfed_commands "$place")"
        _stfed_argument "$place" "$position"
    fi
    case $_stfed_kind in
        words) _stfed_words "$_stfed_choices" ;;
        files) _stfed_paths -f ;;
        folders) _stfed_paths -d ;;
    esac
}

_stfed_words() {
    local found
    while IFS= read -r found; do
        [[ -n $found ]] && COMPREPLY+=("$found")
    done < <(compgen -W "$1" -- "$current")
}

_stfed_paths() {
    local found quoting=1
    # With -o filenames readline quotes what it inserts. Without compopt nobody does, and a name such as "x;y" would be two commands.
    type compopt &> /dev/null && quoting="" && compopt -o filenames 2> /dev/null
    while IFS= read -r found; do
        if [[ -z $quoting ]]; then
            COMPREPLY+=("$found")
        elif [[ $found == "~/"* ]]; then
            COMPREPLY+=("~/$(printf %q "${found:2}")")
        else
            COMPREPLY+=("$(printf %q "$found")")
        fi
    done < <(compgen "$1" -- "$current")
}

# What follows an option: true if anything does.
_stfed_value() {
    _stfed_kind=nothing _stfed_choices=""
    case $1 in
@values
        *) return 1 ;;
    esac
}

# What an argument is, by its place behind the command.
_stfed_argument() {
    _stfed_kind=nothing _stfed_choices=""
    case "$1 $2" in
@arguments
    esac
}

_stfed_enters() {
    case $1 in
        @places) ;;
        *) return 1 ;;
    esac
}

_stfed_commands() {
    case $1 in
@commands
    esac
}

_stfed_options() {
    case $1 in
@options
    esac
}

complete -F _stfed stfed
"""


def script(root: Command) -> str:
    """The script for these commands."""
    every = list(root.all())
    parts = {
        "values": _cases(_values(every)),
        "arguments": _cases(_arguments(every)),
        "places": " | ".join(_quoted(_place(command)) for command in every if command.words),
        "commands": _cases(
            (_quoted(_place(command)), f'echo "{" ".join(one.words[-1] for one in command.commands)}"')
            for command in every
            if command.commands
        ),
        "options": _cases((_quoted(_place(command)), f'echo "{" ".join(option.name for option in command.options)}"') for command in every),
    }
    text = _SCRIPT
    for name, part in parts.items():
        text = text.replace(f"@{name}", part)
    return text


def _place(command: Command) -> str:
    return "".join(f" {word}" for word in command.words)


def _values(every: list[Command]) -> Iterator[tuple[str, str]]:
    for command in every:
        by_action: dict[str, list[str]] = {}
        for option in command.options:
            if option.value is not None:
                by_action.setdefault(_action(option.value), []).append(f"{_place(command)} {option.name}")
        for action, places in by_action.items():
            yield " | ".join(map(_quoted, places)), action


def _arguments(every: list[Command]) -> Iterator[tuple[str, str]]:
    for command in every:
        for position, value in enumerate(command.arguments):
            last = position == len(command.arguments) - 1
            place = _quoted(f"{_place(command)} ") + "*" if last and command.endless else _quoted(f"{_place(command)} {position}")
            yield place, _action(value)


def _action(value: Value) -> str:
    if value.words:
        return f'_stfed_kind=words _stfed_choices="{" ".join(value.words)}"'
    return ":" if value.kind == "nothing" else f"_stfed_kind={value.kind}"


def _quoted(text: str) -> str:
    return f'"{text}"'


def _cases(cases: Iterator[tuple[str, str]]) -> str:
    return "\n".join(f"        {pattern}) {action} ;;" for pattern, action in cases)
