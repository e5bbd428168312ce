"""`stfed demo attack`: what a coordinator learns of single parties, in pictures."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli import note
from stfed.cli.codes import FAILED, OK
from stfed.cli.options import print_json

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.demo.attack import Attack


def register(commands: Commands) -> None:
    """Adds `demo attack`."""
    demo = commands.add_parser(
        "demo",
        help="show what secure aggregation is for",
        description="Runs something small that shows what secure aggregation is for.",
        examples=[("stfed demo attack", "what a coordinator learns of single parties")],
    ).add_subparsers(title="commands", metavar="COMMAND", required=True)
    attack = demo.add_parser(
        "attack",
        help="steal images out of updates, plain and secure",
        description="Five clinics train a network to read handwritten digits, and each has one image that nobody else is to see. A "
        "coordinator gets all of them out of plain updates, by one division. Then it tries the same in a secure round; and then it lies, "
        "in eight ways, to clinics in semi-honest and in malicious mode. What it says, what each clinic answers and what it sees in the "
        "end is printed, with the images on a terminal that has colours.\n\n"
        "The clinics run the code that a deployment runs. The exit code is 1 if the coordinator finds anything in a secure round that the "
        "mode promises to keep from it.",
        reads="the digits that come with scikit-learn (extra: examples)",
        writes="attack.html, a page of its own, attack.json and, where Matplotlib is installed, attack.png into the folder of --out",
        never="talks to anybody: clinics and coordinator are in this process",
        examples=[
            ("stfed demo attack", "a few seconds"),
            ("stfed demo attack --out attack --json", "for a script; the pictures go to a folder of that name"),
        ],
    )
    attack.add_argument("--out", type=Path, metavar="FOLDER", help="for the page and the pictures (default: runs/attack-TIME)")
    attack.add_argument("--json", action="store_true", help="print one JSON object")
    attack.set_defaults(handler=_attack)


def _attack(arguments: argparse.Namespace) -> int:
    from stfed.cli.progress import counting
    from stfed.cli.style import console
    from stfed.demo.attack import mount
    from stfed.demo.terminal import tell

    with counting("attack") as reached:
        attack = mount() if reached is None else mount(reached)
    files = _written(attack, arguments.out or Path("runs") / f"attack-{datetime.now():%Y%m%d-%H%M%S}")
    leaks = attack.leaks()
    if arguments.json:
        print_json(attack.as_json() | {"files": [str(path) for path in files]})
    else:
        tell(attack, console())
        for path in files:
            print(path)
    for leak in leaks:
        note(f"this must not be: {leak}")
    if not attack.works_on_plain():
        note("the attack did not work on plain updates, so it says nothing that it finds nothing elsewhere")
    return FAILED if leaks or not attack.works_on_plain() else OK


def _written(attack: Attack, folder: Path) -> list[Path]:
    """The files, each complete or not there."""
    import json

    from stfed.demo.page import page_of
    from stfed.demo.picture import png_of
    from stfed.errors import LocalError
    from stfed.files import replacing
    from stfed.report.html import to_html

    contents = {"attack.html": to_html(page_of(attack)).encode(), "attack.json": (json.dumps(attack.as_json(), indent=2) + "\n").encode()}
    try:
        contents["attack.png"] = png_of(attack)
    except LocalError as error:
        note(f"{error}; the page has the same images")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with replacing(folder / name) as file:
            file.write_at(0, content)
    return [folder / name for name in contents]
