"""The attack from beginning to end: plain averaging, a secure round, and every lie in both modes; and whether it found what it must not."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stfed.demo import listening
from stfed.demo.answers import Answer
from stfed.demo.clinics import Pixels, image
from stfed.demo.lies import LIES, Lie
from stfed.demo.recovery import EXACT, closeness, is_image
from stfed.demo.world import VICTIM, World
from stfed.secagg.params import Mode

STEPS = 2 + sum(len(lie.modes) for lie in LIES)
_MEMORY = Path("/dev/shm")  # noqa: S108 - clinics of a demo, in a folder of this process's own
Reached = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class Told:
    """A lie, and what came of it.

    Attributes:
        mode: of the run.
        answers: of the clinics, in order.
        picture: what the coordinator makes of what it has; None if it has nothing.
        remark: how far it came, if that is a number.
    """

    lie: Lie
    mode: Mode
    answers: tuple[Answer, ...]
    picture: Pixels | None
    remark: str = ""

    @property
    def correlation(self) -> float:
        """Of the picture with the victim's image."""
        return 0.0 if self.picture is None else closeness(self.picture, VICTIM)

    @property
    def found(self) -> bool:
        """Whether the picture is the victim's image."""
        return is_image(self.correlation)

    @property
    def refusals(self) -> tuple[Answer, ...]:
        """Those of the clinics that refused, the same words once."""
        return tuple({(answer.rule, answer.reason): answer for answer in reversed(self.answers) if answer.rule}.values())[::-1]

    @property
    def claimed(self) -> bool:
        """Whether the mode promises that this finds nothing."""
        return self.mode not in self.lie.works_in

    @property
    def learned(self) -> str:
        """In a few words."""
        if self.found:
            return f"the image (correlation {self.correlation:.3f})"
        return "nothing: no reply came" if self.picture is None else f"noise (correlation {self.correlation:.2f})"

    @property
    def said(self) -> list[str]:
        """What the clinics answered, a sentence for everything that was said."""
        lines = []
        for refusal in self.refusals:
            who = [answer.clinic + 1 for answer in self.answers if (answer.rule, answer.reason) == (refusal.rule, refusal.reason)]
            lines.append(f"{_clinics(who)}: {refusal.reason} ({refusal.rule})")
        if not lines:
            who = sorted({answer.clinic + 1 for answer in self.answers})
            lines.append(f"{_clinics(who)}: {'does' if len(who) == 1 else 'do'} as asked")
        if self.remark:
            lines.append(f"so far: {self.remark}")
        if self.found and not self.claimed:
            lines.append(f"{self.mode.value} mode assumes that the coordinator does not do this")
        return lines

    def as_json(self) -> dict[str, Any]:
        """All of it but the picture."""
        answers = [{"clinic": one.clinic + 1, "refused": one.rule or None, "reason": one.reason or None} for one in self.answers]
        return {
            "mode": self.mode.value,
            "tries": self.lie.tries,
            "hope": self.lie.hope,
            "answers": answers,
            "remark": self.remark or None,
            "correlation": self.correlation,
            "found": self.found,
            "promised": self.claimed,
        }


@dataclass(frozen=True, slots=True)
class Attack:
    """What came out.

    Attributes:
        plain: what plain updates gave away, by clinic.
        secure: what masked ones did.
        mean: what the sum did, which the coordinator may know.
        told: the lies.
    """

    plain: dict[int, Pixels]
    secure: dict[int, Pixels]
    mean: Pixels
    told: tuple[Told, ...]

    def leaks(self) -> list[str]:
        """A sentence for everything that the coordinator found of a single clinic and should not have; none if all is well."""
        found = [f"a masked update shows clinic {clinic + 1}'s image" for clinic in self.secure if is_image(self.closeness(clinic))]
        believed = [told for told in self.told if told.found and told.claimed]
        return found + [f"in {told.mode.value} mode a coordinator that {told.lie.tries} finds its image" for told in believed]

    def closeness(self, clinic: int) -> float:
        """Correlation of what a masked update gave away with the clinic's image."""
        return closeness(self.secure[clinic], clinic)

    def works_on_plain(self) -> bool:
        """Whether the attack got every clinic's image out of plain updates: otherwise its failure elsewhere says nothing."""
        return all(closeness(one, clinic) > EXACT for clinic, one in self.plain.items()) and bool(self.plain)

    def as_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "plain": [closeness(one, clinic) for clinic, one in self.plain.items()],
            "secure": [self.closeness(clinic) for clinic in self.secure],
            "lies": [told.as_json() for told in self.told],
            "leaks": self.leaks(),
            "works_on_plain": self.works_on_plain(),
        }


def mount(reached: Reached = lambda done, total: None) -> Attack:
    """All of it.

    Args:
        reached: told how many of how many steps are done.

    Raises:
        LocalError: scikit-learn is not installed.
    """
    image(VICTIM)  # first of all: without images nothing below means anything
    with _folders() as new, _quiet():
        plain = listening.plain()
        reached(1, STEPS)
        secure, mean = listening.secure(new())
        reached(2, STEPS)
        told: list[Told] = []
        for mode in Mode:
            for lie in LIES:
                if mode in lie.modes:
                    told.append(_told(lie, mode, new()))
                    reached(2 + len(told), STEPS)
    return Attack(plain, secure, mean, tuple(told))


def _told(lie: Lie, mode: Mode, state: Path) -> Told:
    world = World(mode, state)
    picture = lie.tell(world)
    return Told(lie, mode, tuple(sorted(world.answers, key=lambda answer: answer.clinic)), picture, world.remark)


@contextmanager
def _folders() -> Iterator[Callable[[], Path]]:
    """Makes empty folders that are gone afterwards, in memory where there is such a place: a clinic writes to its disk at every step."""
    with tempfile.TemporaryDirectory(prefix="stfed-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield lambda: Path(tempfile.mkdtemp(dir=folder))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the clinics' own logs and Flower's: what they say to the coordinator is in the answers."""
    names = ("flwr", "stfed")
    before = [logging.getLogger(name).level for name in names]
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in zip(names, before, strict=True):
            logging.getLogger(name).setLevel(level)


def _clinics(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"clinic {numbers[0]}"
    return f"clinics {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
