"""`stfed completion`: a script that lets a shell complete commands, options, choices and files."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stfed.cli import Commands

SHELLS = ("bash", "zsh", "fish")


def register(commands: Commands) -> None:
    """Adds `completion`."""
    parser = commands.add_parser(
        "completion",
        help="print a completion script for a shell",
        description="Prints a script that lets a shell complete commands, options, choices and files. It is made from this command line "
        "itself and asks Python nothing when it runs; make it anew after an update.",
        never="changes a shell's configuration, or completes what belongs to a secret, such as --passphrase-file",
        examples=(
            (
                "stfed completion bash > ~/.local/share/bash-completion/completions/stfed",
                "bash, with bash-completion; without it, source the file",
            ),
            ("stfed completion zsh > ~/.zfunc/_stfed", "zsh, with fpath+=(~/.zfunc) before compinit in ~/.zshrc"),
            ("stfed completion fish > ~/.config/fish/completions/stfed.fish", "fish"),
        ),
    )
    parser.add_argument("shell", choices=SHELLS, help="which one")
    parser.set_defaults(handler=_completion)


def _completion(arguments: argparse.Namespace) -> int:
    from stfed.cli import make_parser
    from stfed.cli.shellwords import read

    script: str = import_module(f"stfed.cli.shell{arguments.shell}").script(read(make_parser()))
    print(script, end="")
    return 0
