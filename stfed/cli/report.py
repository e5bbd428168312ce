"""`stfed report`: what a run did, as one page to hand on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli import note

if TYPE_CHECKING:
    from stfed.cli import Commands


def register(commands: Commands) -> None:
    """Adds `report`."""
    parser = commands.add_parser(
        "report",
        help="write what a run did as one page",
        description="One page that needs nothing else: what was trained and with which result, who took part (under names that mean "
        "nothing elsewhere), what protected them, what was spent of privacy, what it cost, the sealed files, and whether the audit log "
        "verifies.",
        reads="RUN's event log, run file, sealed files (from outside) and audit log; those of --beside",
        writes="one page, complete or not at all; prints where",
        never="names a party, opens a sealed file, or loads anything from elsewhere",
        examples=(
            ("stfed report runs/quickstart-20270131-120000", "as report.html in that folder"),
            ("stfed report runs/heart --out heart.pdf --title 'Heart study, first year'", "to print"),
            ("stfed report runs/heart --beside plain/plain-7.jsonl --beside plain/plain-8.jsonl", "secure and plain, two seeds"),
        ),
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run, or its event log")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file.html or file.pdf (default: report.html in the folder of the run)")
    parser.add_argument("--title", metavar="TEXT", help="of the page (default: the folder's name)")
    parser.add_argument(
        "--beside",
        type=Path,
        action="append",
        default=[],
        metavar="RUN",
        help="compare with another run, a plain one say: its folder, its event log, or a .csv or .json of metrics by round; "
        "given again, with other seeds, it tells how much chance does",
    )
    parser.set_defaults(handler=_report, wrong=parser.error)


def _report(arguments: argparse.Namespace) -> int:
    from stfed.cli.progress import working
    from stfed.files import replacing
    from stfed.report.eventlog import find
    from stfed.report.html import to_html
    from stfed.report.making import make_report
    from stfed.report.pdf import to_pdf

    out = arguments.out or find(arguments.run).parent / "report.html"
    if out.suffix not in (".html", ".pdf"):
        arguments.wrong(f"--out {out}: write a name that ends in .html or .pdf")
    with working("drawing the page"):
        report = make_report(arguments.run, title=arguments.title, beside=arguments.beside)
        page = to_pdf(report) if out.suffix == ".pdf" else to_html(report).encode()
    with replacing(out) as file:
        file.write_at(0, page)
    print(out)
    note("it names no party, and shows what the event log and the audit log say: look through it before you hand it on")
    return 0
