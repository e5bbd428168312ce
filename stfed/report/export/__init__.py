"""A run's event log into the tools that people live in: TensorBoard and MLflow, afterwards or while the run goes on.

    from stfed.report.export import to_mlflow, to_tensorboard

    to_tensorboard("runs/quickstart", "tb")                     # then: tensorboard --logdir tb
    to_mlflow("runs/quickstart", "mlflow", experiment="heart")  # then: mlflow server --backend-store-uri sqlite:///mlflow/mlflow.db

Both say the same: scalars by Flower's round, what the run was set to, and in words what protected the parties.
Times are those of the events. Exporting again adds what is new and doubles nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import sleep
from typing import Protocol

from stfed.errors import LocalError
from stfed.report.eventlog import Event, find, lines, name_of
from stfed.report.export.mlflow import EXPERIMENT, Mlflow
from stfed.report.export.points import Item, Points
from stfed.report.export.tensorboard import TensorBoard

__all__ = ["Mlflow", "Target", "TensorBoard", "export", "name_of", "to_mlflow", "to_tensorboard"]

_POLL_S = 0.5


class Target(Protocol):
    """What a run is exported to: a `TensorBoard` or an `Mlflow`."""

    @property
    def place(self) -> str:
        """Where the export is."""
        ...

    @property
    def viewer(self) -> str:
        """The command that shows it."""
        ...

    def write(self, items: Sequence[Item]) -> None:
        """Adds items, all of them or what is not there yet."""
        ...


def to_tensorboard(run: str | os.PathLike[str], folder: str | os.PathLike[str], *, name: str | None = None, follow: bool = False) -> Path:
    """Writes a run as a TensorBoard event file.

    Args:
        run: the run's folder, or its event log.
        folder: TensorBoard's `--logdir`; the run gets a folder in it.
        name: of that folder; by default the one of the run.
        follow: go on until the run has ended.

    Returns:
        The run's folder in `folder`.

    Raises:
        LocalError: there is no event log, TensorBoard is not installed, or another run is in that folder.
        MalformedError: the log holds what is no event.
    """
    target = TensorBoard(folder, name or name_of(run))
    export(run, target, follow=follow)
    return Path(target.place)


def to_mlflow(
    run: str | os.PathLike[str],
    place: str | os.PathLike[str],
    *,
    experiment: str = EXPERIMENT,
    name: str | None = None,
    follow: bool = False,
) -> str:
    """Logs a run to MLflow.

    Args:
        run: the run's folder, or its event log.
        place: a tracking URI, or a folder that gets a database mlflow.db.
        experiment: MLflow's; made if it is not there.
        name: of the run; by default that of its folder.
        follow: go on until the run has ended.

    Returns:
        MLflow's run id; empty if the run has not begun.

    Raises:
        LocalError: there is no event log, MLflow is not installed, cannot be reached, or refuses.
        MalformedError: the log holds what is no event.
    """
    target = Mlflow(os.fspath(place), name or name_of(run), experiment=experiment)
    export(run, target, follow=follow)
    return target.run_id or ""


def export(
    run: str | os.PathLike[str], *targets: Target, follow: bool = False, over: Callable[[], bool] = lambda: False, poll_s: float = _POLL_S
) -> None:
    """Writes a run to all targets.

    Args:
        run: the run's folder, or its event log.
        targets: where to.
        follow: go on until the run has ended.
        over: whether nothing more will come even if the run has not said that it ended; asked before each look.
        poll_s: how often to look.

    Raises:
        LocalError: there is no event log, the run has not begun, or a target refuses.
        MalformedError: the log holds what is no event.
    """
    log = find(run)
    points = Points(log)
    begun = False
    for events in _looks(log, follow=follow, over=over, poll_s=poll_s):
        begun = begun or bool(events)
        items = [item for event in events for item in points.take(event)]
        for target in targets if items else ():
            target.write(items)
    if not begun:
        raise LocalError(f"the run of {log} has not begun: there is nothing to export", hint="follow it, and the export begins with it")


def _looks(log: Path, *, follow: bool, over: Callable[[], bool], poll_s: float) -> Iterator[list[Event]]:
    """The events that are new at each look, without those of runs before the last one."""
    offset, ended = 0, False
    while True:
        last = not follow or over()
        new = lines(log, offset)
        events = list(new)
        offset = new.offset
        begins = [number for number, event in enumerate(events) if event["event"] == "start"]
        events = events[begins[-1] if begins else 0 :]
        yield events
        ended = events[-1]["event"] == "end" if events else ended
        if last or ended:
            return
        sleep(poll_s)
