"""`stfed doctor`: what would go wrong later, found now, each with what to do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli.options import print_json
from stfed.cli.passphrases import add_passphrase_file

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.cli.checkup import Finding

_COLOURS = {"ok": "32", "note": "33", "problem": "1;31"}


def register(commands: Commands) -> None:
    """Adds `doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="check this machine, this party's files and its SuperLink",
        description="Checks versions, the clock, this party's policy, key and roster, the folder of its state, and whether its SuperLink "
        "can be reached and is the right one. Says what to do about each problem; changes nothing and starts nothing.",
        epilog="example: stfed doctor --policy policy.toml --identity party.key --roster roster.toml "
        "--superlink fl.example.org:9092 --root-certificates ca.crt",
        allow_abbrev=False,
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help="what this party agrees to; without it, the defaults")
    parser.add_argument("--identity", type=Path, metavar="KEY", help="this party's secret key file")
    add_passphrase_file(parser)
    parser.add_argument("--roster", type=Path, metavar="FILE", help="who may take part")
    parser.add_argument("--state-dir", type=Path, metavar="FOLDER", help="where the party keeps its state (~/.local/state/stfed)")
    parser.add_argument("--superlink", metavar="HOST:PORT", help="try to reach this SuperLink")
    parser.add_argument("--root-certificates", type=Path, metavar="FILE", help="of the authority that signed the SuperLink's certificate")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(handler=_doctor, wrong=parser.error)


def _doctor(arguments: argparse.Namespace) -> int:
    from stfed.cli.checknet import network
    from stfed.cli.checkup import PROBLEM, clock, failing, party, software, state
    from stfed.flower.store import state_dir

    if arguments.root_certificates and not arguments.superlink:
        arguments.wrong("--root-certificates needs --superlink, to compare it with")
    folder = arguments.state_dir or state_dir()
    mine = (arguments.policy, arguments.identity, arguments.passphrase_file, arguments.roster)
    found = [
        *failing("software", software),
        *failing("clock", clock),
        *failing("party", lambda: party(*mine)),
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
    coloured, area = sys.stdout.isatty(), None
    for finding in found:
        if finding.area != area:
            area = finding.area
            print(area)
        word = f"{finding.level:8}"
        if coloured:
            word = f"\x1b[{_COLOURS[finding.level]}m{word}\x1b[0m"
        print(f"  {word} {finding.text}")
        if finding.hint:
            print(f"           {finding.hint}")
    print("nothing stands in the way" if not problems else f"{problems} problem{'s' if problems > 1 else ''}")
