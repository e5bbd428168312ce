"""What the coordinator says that is not true, one function a lie. Each goes on for as long as the clinics answer, and returns what it saw.

A lie that is believed ends with a picture of the victim's image. docs/attacks.md lists the attacks on the protocol that we know of, each
with the check that refuses it; these are a few that need no mathematics to be understood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from flwr.app import RecordDict

from stfed.demo.clinics import arrays_of, model, record, trained
from stfed.demo.ending import VictimsPicture, as_it_came, ask_shares, but, summed
from stfed.demo.loot import Loot
from stfed.demo.recovery import change_of, from_vector, quotient
from stfed.demo.recovery import numbers as numbers_of
from stfed.demo.world import OWN, VICTIM, World
from stfed.secagg.directory import Directory
from stfed.secagg.messages import Join, TrainRequest
from stfed.secagg.params import Mode
from stfed.secagg.server import Enrolment
from stfed.wire import Records

ACCOMPLICE = 1
BOTH = (Mode.SEMI_HONEST, Mode.MALICIOUS)


@dataclass(frozen=True, slots=True)
class Lie:
    """One.

    Attributes:
        tries: what the coordinator does.
        hope: what it would have if it were believed.
        tell: mounts it.
        modes: in which it is another one than those before it.
        works_in: the modes that do not promise to withstand it, because they assume a coordinator that does not do this.
    """

    tries: str
    hope: str
    tell: Callable[[World], VictimsPicture]
    modes: tuple[Mode, ...] = BOTH
    works_in: tuple[Mode, ...] = ()


def in_clear(world: World) -> VictimsPicture:
    """An ordinary train message, without ours."""
    world.lies()
    reply = world.ask(VICTIM, RecordDict({"arrays": record(model())}))
    return None if reply is None else quotient(change_of(model(), arrays_of(reply.array_records["arrays"])))


def two_alone(world: World) -> VictimsPicture:
    """A cohort of the victim and one that works for the coordinator: its update is known, and can be taken off the sum."""
    enrolment = world.join(world.clinics)
    world.lies()
    cohort = tuple(sorted((enrolment.nodes.index(VICTIM), enrolment.nodes.index(ACCOMPLICE))))
    preparing = world.prepare(enrolment, cohort, k=1, t=1)
    total = None if preparing is None else summed(world, enrolment, world.train(enrolment, preparing))
    if total is None:
        return as_it_came(world)
    known, unit = change_of(model(), trained(model(), ACCOMPLICE)), total.plan.step
    return quotient({name: unit * numbers - known[name] for name, numbers in numbers_of(total.total.ring).items()})


def all_others_gone(world: World) -> VictimsPicture:
    """A TRAIN in which the victim is alone, so that it has nobody to share a mask with."""
    enrolment = world.join(world.clinics)
    preparing = world.prepare(enrolment)
    assert preparing is not None, "nothing was wrong with it"
    world.lies()
    victim = enrolment.nodes.index(VICTIM)
    alone = TrainRequest(header=world.header, alive=(victim,), deliveries=())
    collecting = world.train(enrolment, preparing, {VICTIM: alone})
    if VICTIM not in world.vectors:
        return None
    loot = Loot(world, enrolment, preparing.facts)
    ask_shares(world, enrolment, loot, but(collecting.alive, victim), collecting.alive)
    return loot.picture()


def split_view(world: World, *, t: int | None = None) -> VictimsPicture:
    """U2 with the victim to two of the others, without it to the other two: shares of both its secrets, if that is enough of them."""
    enrolment = world.join(world.clinics)
    if t is not None:
        world.lies()
    preparing = world.prepare(enrolment, t=t)
    if preparing is None:
        return None
    collecting = world.train(enrolment, preparing)
    world.lies()
    loot, victim = Loot(world, enrolment, preparing.facts), enrolment.nodes.index(VICTIM)
    others = sorted(but(collecting.alive, victim), key=lambda index: enrolment.nodes[index])
    ask_shares(world, enrolment, loot, tuple(others[:2]), collecting.alive)
    ask_shares(world, enrolment, loot, tuple(others[2:]), but(collecting.alive, victim))
    world.remark = str(loot)
    return loot.picture()


def two_shares_enough(world: World) -> VictimsPicture:
    """The same after a PREPARE in which t is 2, so that two holders have enough shares of one secret, and two of the other."""
    return split_view(world, t=2)


def asked_twice(world: World) -> VictimsPicture:
    """UNMASK with the victim among the survivors, and then again without it."""
    enrolment = world.join(world.clinics)
    preparing = world.prepare(enrolment)
    assert preparing is not None, "nothing was wrong with it"
    collecting = world.train(enrolment, preparing)
    loot, victim = Loot(world, enrolment, preparing.facts), enrolment.nodes.index(VICTIM)
    others = but(collecting.alive, victim)
    ask_shares(world, enrolment, loot, others, collecting.alive)
    world.lies()
    ask_shares(world, enrolment, loot, others, others)
    world.remark = str(loot)
    return loot.picture()


def swapped_keys(world: World) -> VictimsPicture:
    """The directory has the other clinics, with the public keys of the coordinator's own nodes."""
    if not world.malicious:
        return invented(world)  # who has no identity cannot be told from its key
    victim, others, own = (world.join(nodes).directory for nodes in ((VICTIM,), tuple(world.clinics)[1:], OWN))
    keys = (Join.decode(entry).public_key for entry in own.encoded)
    forged = [replace(Join.decode(entry), public_key=key).encode() for entry, key in zip(others.encoded, keys, strict=True)]
    entries = sorted([*victim.encoded, *forged], key=lambda entry: Join.decode(entry).identity)
    directory, free = Directory(victim.header, world.mode, Records(b"".join(entries), len(entries[0]), bytes)), iter(OWN)
    return _among_own(world, Enrolment(directory, tuple(VICTIM if entry == victim.encoded[0] else next(free) for entry in entries)))


def invented(world: World) -> VictimsPicture:
    """The directory has the victim, and nodes of the coordinator's own with identities of their own."""
    return _among_own(world, world.join((VICTIM, *OWN)))


def _among_own(world: World, enrolment: Enrolment) -> VictimsPicture:
    """A round by the book, in which everybody but the victim is the coordinator."""
    world.lies()
    preparing = world.prepare(enrolment)
    total = None if preparing is None else summed(world, enrolment, world.train(enrolment, preparing))
    return as_it_came(world) if total is None else from_vector(total.total)


_ALONE = "a sum of which it knows everything but clinic 1's part"
LIES = (
    Lie("asks clinic 1 for its update in clear", "the update itself", in_clear),
    Lie("announces a round of clinic 1 and its accomplice, clinic 2", "a sum of which it knows one half", two_alone),
    Lie("tells clinic 1 that all others have left", "an update with no mask but clinic 1's own", all_others_gone),
    Lie("says that two shares are enough to rebuild a secret", "both secrets of clinic 1, from two clinics each", two_shares_enough),
    Lie("tells two clinics that clinic 1 took part, two that it dropped out", "shares of both its secrets", split_view),
    Lie("asks for shares again: clinic 1 has dropped out after all", "both its secrets, from the same clinics", asked_twice),
    Lie("puts keys of its own in the place of the other clinics'", _ALONE, swapped_keys, works_in=(Mode.SEMI_HONEST,)),
    Lie("invents four clinics", _ALONE, invented, (Mode.MALICIOUS,)),
)
"""In the order in which they are told. Where nobody has an identity, invented clinics and swapped keys are one thing."""
