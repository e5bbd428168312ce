"""Who takes part: invented, borrowed, expired and doubled parties, and keys that are none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stfed.keys import Member, Role, Roster, SigningKey
from stfed.secagg.messages import Header, Join, JoinRequest
from stfed.secagg.refusals import (
    DirectoryError,
    DuplicateMemberError,
    EpochError,
    ExpiredIdentityError,
    RevokedIdentityError,
    UnknownIdentityError,
    UnsignedJoinError,
)
from stfed.secagg.transcript import MODE_CODES
from stfed.testing.protocol import signing_key
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import reads
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.sybil import Sybil
from tests.attacks.secagg.world import RUN, Setting, member_of

ROSTER = Instead(
    "stfed.secagg.roster:PartyRoster.member", lambda self, identity: identity.hex(), "every identity of a directory is on the roster"
)
ENTRIES = "stfed.secagg.directory:_check_entries"
JOIN = "stfed.secagg.directory:check_join"
A_CENTURY = timedelta(days=36525)


def only_the_victim_joins(world: Coordinator) -> Header:
    """The header of the epoch, and the victim's JOIN in `world.victims_join`."""
    world.epoch = 1
    header = Header(RUN, 1, 0)
    request = JoinRequest(header=header, mode=MODE_CODES[world.mode])
    world.victims_join = world.light(world.everybody[0], request.encode())  # type: ignore[attr-defined]
    return header


def alone_among(world: Coordinator, sybils: list[Sybil]) -> int:
    """A directory of the victim and these; the victim's place."""
    victim = world.everybody[0]
    world.enrol({world.victims_join: victim, **{one.join.encode(): one for one in sybils}}, sybils)  # type: ignore[attr-defined]
    return victim.index


def isolated(world: Coordinator, sybils: list[Sybil]) -> None:
    """A round in which the victim is alone among invented parties: once its vector is there, nobody has to be asked any more."""
    victim = alone_among(world, sybils)
    world.prepared(first=[victim])
    world.train(victim)
    reads(world, victim)


@attack("S2 A2", UnknownIdentityError, "no member has it", ROSTER)
def all_peers_are_invented(world: Coordinator) -> None:
    """Everybody in the cohort but the victim is the coordinator's invention, so that the sum minus its own part is the victim's update."""
    header = only_the_victim_joins(world)
    isolated(world, [Sybil(header, world.mode) for _ in range(5)])


@attack("S2 S16", UnsignedJoinError, "is not signed by its identity", Check(JOIN, "UnsignedJoinError"))
def all_peers_are_members_that_never_joined(world: Coordinator) -> None:
    """The identities on the roster are public: the coordinator joins in the name of every other member, with keys of its own."""
    header = only_the_victim_joins(world)
    isolated(world, [Sybil(header, world.mode).claims(identity=signing_key(number).ed25519.public_bytes) for number in range(1, 6)])


@attack("S2", UnknownIdentityError, "its member is auditor", ROSTER, setting=Setting(members=7))
def a_peer_is_on_the_roster_as_an_auditor_only(world: Coordinator) -> None:
    """An auditor holds no data; it would be one more corrupt party than was counted."""
    one_stranger(world, lambda roster: replace(roster, members=with_fifth(roster, roles=frozenset({Role.AUDITOR}))))


@attack("S2", ExpiredIdentityError, "it counted until", ROSTER)
def a_peer_uses_an_expired_identity(world: Coordinator) -> None:
    """The key of a hospital that left a year ago has been found on an old disk."""
    past = datetime.now(UTC) - timedelta(days=365)
    one_stranger(world, lambda roster: replace(roster, members=with_fifth(roster, not_after=past)))


@attack("S2", RevokedIdentityError, "revoked", ROSTER)
def a_peer_is_revoked_while_the_run_goes_on(world: Coordinator) -> None:
    """The key was stolen after everybody had joined; it counts no longer from the next round on."""
    world.join()
    world.whole_round()
    world.write_roster(world.roster.revoke("party 5", datetime.now(UTC) - timedelta(days=1)))
    index = next(party.index for party in world.everybody if party.number == 0)
    world.prepare(index, world.facts())


def with_fifth(roster: Roster, **changes: Any) -> tuple[Member, ...]:
    """The members, with something else said of number 5."""
    return (*roster.members[:5], member_of(5, **changes), *roster.members[6:])


def one_stranger(world: Coordinator, change: Any) -> None:
    """Everybody joins as they should; by the roster that the parties have, number 5 may not be there."""
    world.join()
    world.write_roster(change(world.roster))
    world.prepare(0 if world.parties[0].number != 5 else 1, world.facts())


@attack("S2", DuplicateMemberError, "party 5", Check("stfed.secagg.directory:Directory.check_members", "DuplicateMemberError"))
def a_member_takes_part_twice_with_its_old_and_its_new_key(world: Coordinator) -> None:
    """A key that was replaced counts a while longer. One corrupt member with two identities would be two parties, and C counts one."""
    later, new = datetime.now(UTC) + A_CENTURY, SigningKey.generate()
    world.write_roster(rotated(world.roster, new, later))
    join_with(world, Sybil(Header(RUN, 1, 0), world.mode, new))


def rotated(roster: Roster, new: SigningKey, at: datetime) -> Roster:
    return roster.rotate("party 5", signing=new.public, at=at)


def join_with(world: Coordinator, *sybils: Sybil, instead_of: tuple[int, ...] = ()) -> None:
    """The parties join, and these too; then the victim is asked to prepare with all of them."""
    world.epoch = 1
    request = JoinRequest(header=Header(RUN, 1, 0), mode=MODE_CODES[world.mode]).encode()
    joins = {world.light(party, request): party for party in world.everybody if party.number not in instead_of}
    world.enrol({**joins, **{one.join.encode(): one for one in sybils}}, sybils)
    victim = world.everybody[0].index
    honest = [index for index in world.all if index not in (victim, *world.corrupt)]
    cohort = sorted([victim, *world.corrupt, *honest][: world.setting.n])
    world.prepare(victim, world.facts(cohort=tuple(cohort)))


def own_key(world: Coordinator) -> Sybil:
    """The corrupt member, with its own identity."""
    return Sybil(Header(RUN, 1, 0), world.mode, signing_key(5))


@attack("S6 S16", DirectoryError, "belongs to another run, epoch or suite", Check(JOIN, "DirectoryError", "another run"))
def a_join_of_an_earlier_epoch(world: Coordinator) -> None:
    """The private key that belongs to it may have been found since."""
    old = own_key(world)
    world.join()
    world.epoch = 2
    request = JoinRequest(header=Header(RUN, 2, 0), mode=MODE_CODES[world.mode]).encode()
    joins = {world.light(party, request): party for party in world.everybody if party.number != 5}
    world.enrol({**joins, old.join.encode(): old}, [old])
    world.enrolment = replace(world.enrolment, directory=replace(world.enrolment.directory, header=Header(RUN, 2, 0)))
    world.prepare(world.everybody[0].index, world.facts())


@attack("R2 R11 S6", EpochError, "has joined epoch 1 of this run already", Check("stfed.secagg.party:Party._join", "EpochError"))
def a_run_that_was_joined_already(world: Coordinator) -> None:
    """A party that begins the same epoch anew forgets which round numbers it has used."""
    world.join()
    world.whole_round()
    request = JoinRequest(header=Header(RUN, 1, 1), mode=MODE_CODES[world.mode])
    assert Join.decode(world.light(world.parties[0], request.encode()))
