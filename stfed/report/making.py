"""A report of a run, from its folder."""

from __future__ import annotations

import os

from stfed.report import evidence, protection, story
from stfed.report.blocks import Report, Section
from stfed.report.eventlog import find, read
from stfed.report.run import Run


def make_report(place: str | os.PathLike[str], *, title: str | None = None, beside: str | os.PathLike[str] | None = None) -> Report:
    """Everything that the event log, the sealed models and the audit log of a run tell.

    Args:
        place: the run's folder, or its event log.
        title: of the page; the folder's name by default.
        beside: another run, whose curves are drawn beside these: the same training in the clear, say.

    Raises:
        LocalError: there is no event log.
        MalformedError: it holds what is no event.
    """
    log = find(place)
    folder, run = log.parent, Run.of(read(log))
    other = None if beside is None else Run.of(read(find(beside)))
    return Report(
        title or f"Run {folder.resolve().name}",
        story.summary(run),
        [
            story.result(run, other),
            story.parties(run),
            protection.protocol(run),
            protection.privacy(run),
            protection.precision(run),
            Section("Cost", list(story.cost(run))),
            evidence.files(run, folder),
            evidence.audit(folder),
            evidence.environment(),
        ],
    )
