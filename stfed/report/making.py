"""A report of a run, from its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeAlias

from stfed.report import evidence, protection, story
from stfed.report.beside import compared, load
from stfed.report.blocks import Report, Section
from stfed.report.cost import cost
from stfed.report.eventlog import find, name_of, read
from stfed.report.run import Run
from stfed.report.runfile import config

Place: TypeAlias = str | os.PathLike[str]


def make_report(place: Place, *, title: str | None = None, beside: Place | Sequence[Place] = ()) -> Report:
    """Everything that the event log, the sealed models and the audit log of a run tell.

    Args:
        place: the run's folder, or its event log.
        title: of the page; the folder's name by default.
        beside: another run that this one is compared with, the same training in the clear, say: a folder, an event log, or a table of
            metrics by round (`stfed.report.beside`). After the first, the same with other seeds: they say how much chance does.

    Raises:
        LocalError: there is no event log.
        MalformedError: it holds what is no event.
    """
    log = find(place)
    folder, run = log.parent, Run.of(read(log))
    others = [load(one) for one in ([beside] if isinstance(beside, str | os.PathLike) else beside)]
    result = story.result(run, others[0].series, others[0].called) if others else story.result(run)
    protected = protection.protocol(run)
    alarming = protection.unprotected(run)
    return Report(
        title or f"Run {name_of(log)}",
        story.summary(run),
        [
            *([protected] if alarming else []),
            story.trained(run, config(log)),
            result,
            *([compared(run, others)] if others else []),
            story.parties(run),
            *([] if alarming else [protected]),
            protection.privacy(run),
            protection.precision(run),
            Section("Cost", list(cost(run))),
            evidence.files(run, folder),
            evidence.audit(folder),
            evidence.environment(),
        ],
    )
