"""`stfed doctor`: what would go wrong later, found now, each with what to do."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli.options import add_json, print_json
from stfed.cli.party import add_party
from stfed.cli.progress import working
from stfed.cli.style import painted

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.cli.checkup import Finding

_INDENT = 11  # where texts begin


def register(commands: Commands) -> None:
    """Adds `doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="check this machine, this party's files and its SuperLink",
        description="Checks versions, the clock, this party's policy, key and roster, the folder of its state, and whether its SuperLink "
        "can be reached and is the right one. Says what to do about each problem; changes nothing and starts nothing.",
        reads="the party's policy, secret key and roster, and the SuperLink's certificate",
        writes="nothing",
        never="changes a file, sends anything but a TLS greeting to --superlink, or starts a node",
        examples=(
            ("stfed doctor", "this machine"),
            (
                "stfed doctor --policy policy.toml --identity party.key --roster roster.toml --superlink fl.example.org:9092 "
                "--root-certificates ca.crt",
                "a party too, and the way to its SuperLink",
            ),
            ("stfed doctor --json", "for a script; exit code 1 means that there is a problem"),
        ),
    )
    add_party(parser.add_argument_group("this party"))
    network = parser.add_argument_group("its SuperLink")
    network.add_argument("--superlink", metavar="HOST:PORT", help="try to reach this SuperLink")
    network.add_argument("--root-certificates", type=Path, metavar="FILE", help="of the authority that signed the SuperLink's certificate")
    add_json(parser)
    parser.set_defaults(handler=_doctor, wrong=parser.error)


def _doctor(arguments: argparse.Namespace) -> int:
    from stfed.cli.checknet import network
    from stfed.cli.checkup import PROBLEM, clock, failing, party, software, state
    from stfed.flower.store import state_dir

    if arguments.root_certificates and not arguments.superlink:
        arguments.wrong("--root-certificates needs --superlink, to compare it with")
    folder = arguments.state_dir or state_dir()
    with working("looking"):
        found = [
            *failing("software", software),
            *failing("clock", clock),
            *failing("party", lambda: party(arguments)),
            *failing("state", lambda: state(folder)),
        ]
        if arguments.superlink:
            found += failing("network", lambda: network(arguments.superlink, arguments.root_certificates))
    problems = sum(finding.level == PROBLEM for finding in found)
    if arguments.json:
        print_json({"findings": [finding.as_json() for finding in found], "problems": problems})
    else:
        _print(found, problems)
    return 1 if problems else 0


def _print(found: list[Finding], problems: int) -> None:
    area = None
    for finding in found:
        if finding.area != area:
            area = finding.area
            print(painted(area, "heading", sys.stdout))
        first, *more = _wrapped(finding.text)
        print(f"  {painted(f'{finding.level:8}', finding.level, sys.stdout)} {first}")
        for line in [*more, *_wrapped(finding.hint or "")]:
            print(f"{' ' * _INDENT}{line}")
    print("nothing stands in the way" if not problems else f"{problems} problem{'s' if problems > 1 else ''}")


def _wrapped(text: str) -> list[str]:
    """On a terminal, lines that fit beside the levels; in a pipe one, for whoever looks for a word in it."""
    if not sys.stdout.isatty():
        return [text] if text else []
    return textwrap.wrap(text, max(20, shutil.get_terminal_size().columns - _INDENT), break_long_words=False)
