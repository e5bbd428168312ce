"""Where the time of a run goes: wall and process seconds by who worked and at which step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

PARTIES, COORDINATOR = "parties", "coordinator"


@dataclass(slots=True)
class Spent:
    """Time spent on something, over `calls` visits.

    Attributes:
        wall_s: seconds on the clock.
        process_s: seconds of processor time of the whole process, all its threads together.
    """

    wall_s: float = 0.0
    process_s: float = 0.0
    calls: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall_s + other.wall_s, self.process_s + other.process_s, self.calls + other.calls)


class Stopwatch:
    """Adds up time by (role, step), in the order in which the steps first happen."""

    def __init__(self) -> None:
        self.steps: dict[tuple[str, str], Spent] = {}

    @contextmanager
    def timing(self, role: str, step: str) -> Iterator[None]:
        """Counts the block for this role and step."""
        wall_s, process_s = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.add(role, step, Spent(time.perf_counter() - wall_s, time.process_time() - process_s, 1))

    def add(self, role: str, step: str, spent: Spent) -> None:
        """Counts what was measured elsewhere."""
        self.steps[role, step] = self.steps.get((role, step), Spent()) + spent

    def of(self, role: str, *steps: str) -> Spent:
        """All of a role's time, or that of the named steps. `calls` is meaningful for a single step only."""
        chosen = (spent for (who, step), spent in self.steps.items() if who == role and (not steps or step in steps))
        return sum(chosen, Spent())

    def table(self) -> list[str]:
        """The steps as lines of text, with the sum of each role."""
        lines = [f"{'':13}{'step':31}{'wall s':>10}{'process s':>11}{'calls':>7}{'ms a call':>11}"]
        for (role, step), spent in self.steps.items():
            each_ms = 1e3 * spent.process_s / spent.calls
            lines.append(f"{role:13}{step:31}{spent.wall_s:10.3f}{spent.process_s:11.3f}{spent.calls:7d}{each_ms:11.3f}")
        for role in (PARTIES, COORDINATOR):
            spent = self.of(role)
            lines.append(f"{role:13}{'all':31}{spent.wall_s:10.3f}{spent.process_s:11.3f}")
        return lines

    def as_json(self) -> list[dict[str, Any]]:
        """The steps, for `json.dump`."""
        return [{"role": role, "step": step, **asdict(spent)} for (role, step), spent in self.steps.items()]
