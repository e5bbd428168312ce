"""The list of attacks, and how one is run: with the defence, and without."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stfed.errors import StfedError
from stfed.secagg.params import Mode
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import ExactAllTheSameError, NothingLearnedError, check_nothing
from tests.attacks.secagg.heard import ComplainedError
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.world import Setting

Defence = Check | Instead
MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: what is tried.
        family: the module it is in.
        source: keys of `rules` that it is about, with spaces between them.
        who: who tries it.
        setting: who is there.
        mount: the script. It ends with the refusal, or with a check that the coordinator got what it was after.
        expect: class of the refusal.
        says: part of its text.
        defences: what is taken out for the attack to succeed; more than one where two protect against the same.
        given: what is taken out for both runs, so that a small world stands for a large one.
        how: further arguments of the world.
    """

    name: str
    family: str
    source: str
    who: str
    setting: Setting
    mount: Callable[[Coordinator], object]
    expect: type[StfedError]
    says: str
    defences: Sequence[Defence]
    given: Sequence[Defence]
    how: dict[str, Any]

    @property
    def covers(self) -> frozenset[str]:
        """Which entries of `rules` it is about."""
        return frozenset(self.source.split())

    @property
    def malicious(self) -> bool:
        """Whether the party that is attacked is in malicious mode."""
        return self.setting.mode is Mode.MALICIOUS

    def refused(self) -> str:
        """Mounts it against the defences; how it ended. AssertionError if not as it must."""
        with self._world(self.given) as world:
            try:
                self.mount(world)
            except StfedError as error:
                ended = error
            else:
                raise AssertionError("the attack succeeded")
            assert type(ended) is self.expect, f"ended with {type(ended).__name__}: {ended}"
            assert self.says in str(ended), str(ended)
            check_nothing(world, 3 if self.malicious else 2)
            return f"{ENDS.get(self.expect, self.expect.__name__)}: {ended}"

    def succeeds(self) -> None:
        """Mounts it with the defences taken out; whatever it raises is a failure."""
        with self._world((*self.given, *self.defences)) as world:
            self.mount(world)

    @contextmanager
    def _world(self, removed: Sequence[Defence]) -> Iterator[Coordinator]:
        with tempfile.TemporaryDirectory(prefix="stfed-", dir=MEMORY if MEMORY.is_dir() else None) as folder, ExitStack() as stack:
            for defence in removed:
                stack.enter_context(defence.removed())
            yield Coordinator(Path(folder), self.setting, **self.how)


ENDS: dict[type[StfedError], str] = {
    NothingLearnedError: "nothing comes of it",
    ComplainedError: "refused",
    ExactAllTheSameError: "nothing comes of it",
}
"""What the suite's own errors stand for."""
ATTACKS: list[Attack] = []


def attack(
    source: str,
    expect: type[StfedError],
    says: str,
    *defences: Defence,
    who: str = "coordinator",
    setting: Setting | None = None,
    semi_honest: bool = False,
    given: Sequence[Defence] = (),
    **how: Any,
) -> Callable[[Callable[[Coordinator], object]], Callable[[Coordinator], object]]:
    """Puts a script on the list."""

    def register(mount: Callable[[Coordinator], object]) -> Callable[[Coordinator], object]:
        assert mount.__doc__, f"{mount.__name__} does not say who wants what"
        assert defences, f"{mount.__name__} names no defence"
        assert issubclass(expect, StfedError)
        chosen = setting or Setting()
        if semi_honest:
            chosen = chosen.but(mode=Mode.SEMI_HONEST)
        family = mount.__module__.rpartition(".")[2]
        name = mount.__name__.replace("_", " ")
        assert name not in {one.name for one in ATTACKS}, name
        ATTACKS.append(Attack(name, family, source, who, chosen, mount, expect, says, defences, given, how))
        return mount

    return register
