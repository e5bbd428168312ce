"""Where the state lies: in Flower's Context, on a disk that is put back, in a coordinator's memory that is lost."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

from flwr.app import ConfigRecord

from stfed.errors import LocalError
from stfed.flower.journal import Journal
from stfed.flower.store import SqliteStore
from stfed.secagg.refusals import StateLostError, WrongStepError
from tests.attacks.secagg.confirm import FIVE
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import has_both, reads
from tests.attacks.secagg.heard import without
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.replay import SPENT, VICTIM
from tests.attacks.secagg.world import RUN


class InContext:
    """A store in Flower's Context alone, which is read when a message comes and written when its answer is there."""

    def __init__(self, real: Any, store: SqliteStore) -> None:
        self._real, self._store = real, store

    @contextmanager
    def __call__(self, run: int) -> Any:
        state = self._store.context.state
        kept = state.setdefault("in-context", ConfigRecord({"record": b"", "epoch": 0, "round": 0}))

        class Kept:
            def position(self) -> tuple[int, int]:
                return int(kept["epoch"]), int(kept["round"])

            def read(self) -> bytes | None:
                return bytes(kept["record"]) or None

            def write(self, epoch: int, round_: int, record: bytes) -> None:
                kept.update({"epoch": epoch, "round": round_, "record": record})

            def add_content(self, phase: int, digest: bytes) -> bool:
                return True

        yield Kept()


IN_CONTEXT = Instead(
    "stfed.flower.store:SqliteStore.transaction",
    lambda real, self, run: InContext(real, self)(run),
    "a test-and-set outside of Flower's Context",
    wraps=True,
)


@attack("R9 R11 S3", WrongStepError, "CONFIRM does not belong to the state this party is in, Confirmed", IN_CONTEXT, setting=FIVE)
def two_confirms_in_flight(world: Coordinator) -> None:
    """Two survivor sets at the same moment, so that either gets the signatures of all its members."""
    world.join().trained()
    a, b, c, d = world.honest
    one, other = without(world.all, a), without(world.all, b)
    unmasks = {b: one, c: one, a: other, d: other}
    for index, last in unmasks.items():
        before = world.parties[index].node.context
        for survivors in (one if last is other else other, last):
            if index in survivors:
                world.parties[index].node.context = before
                world.confirm(index, survivors)
    for index, survivors in unmasks.items():
        world.unmask(index, survivors)
    reads(world, c, d)


@attack("R11 S6 S1", WrongStepError, SPENT, IN_CONTEXT, semi_honest=True)
def two_unmasks_in_flight(world: Coordinator) -> None:
    """Sent at the same moment: both find the Context as it was before either."""
    world.join().trained()
    before = {index: world.parties[index].node.context for index in world.honest}
    for survivors in (world.all, without(world.all, VICTIM)):
        for index in without(world.honest, VICTIM):
            world.parties[index].node.context = before[index]
            world.unmask(index, survivors)
    has_both(world, VICTIM)
    reads(world, VICTIM)


@attack(
    "R11 S6",
    StateLostError,
    "one of them was put back from a copy",
    Check("stfed.flower.store:SqliteStore.key_at", "StateLostError", "put back from a copy"),
    Instead("stfed.flower.store:derive", lambda key, label: key, "the key of a record is ratcheted with every version"),
    semi_honest=True,
)
def a_backup_of_the_disk_is_put_back(world: Coordinator) -> None:
    """After UNMASK the parties' disks are set back to the moment before, and UNMASK comes again with another survivor set."""
    world.join().trained()
    disks = {index: world.parties[index].database.read_bytes() for index in world.honest}
    for index in without(world.honest, VICTIM):
        world.unmask(index, world.all)
    for index, data in disks.items():
        world.parties[index].database.write_bytes(data)
    for index in without(world.honest, VICTIM):
        world.unmask(index, without(world.all, VICTIM))
    has_both(world, VICTIM)
    reads(world, VICTIM)


@attack(
    "R10",
    LocalError,
    "the survivors of round 1 were frozen before; the round is aborted",
    Instead("stfed.flower.journal:Journal.freeze", lambda *_: None, "U2 is written down before the first CONFIRM or UNMASK leaves"),
    who="crash",
)
def an_honest_coordinator_that_crashed_goes_on_with_another_u2(world: Coordinator) -> None:
    """No lie at all: the process ends between two UNMASKs, and its successor has counted other survivors."""
    for survivors in ((1, 2, 3), (1, 2)):
        Journal(world.folder / "coordinator" / "journal").freeze(RUN, 1, survivors)
