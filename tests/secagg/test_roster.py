"""The roster: whom it lets in and when, and that a party refuses every directory and cohort with anybody else in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from stfed.crypto.identity import Identity
from stfed.crypto.labels import Label
from stfed.errors import LocalError, PeerError
from stfed.keys import Member, Role, Roster, SigningKey
from stfed.secagg.directory import Directory
from stfed.secagg.messages import Header, Join
from stfed.secagg.params import Mode, choose
from stfed.secagg.party import Party
from stfed.secagg.refusals import (
    CohortTooSmallError,
    DirectoryError,
    DuplicateMemberError,
    ExpiredIdentityError,
    ParametersError,
    RevokedIdentityError,
    UnknownIdentityError,
    UnsignedJoinError,
)
from stfed.secagg.roster import PartyRoster, system_clock
from stfed.secagg.server import DropReason, Joining
from stfed.secagg.store import MemoryStore
from stfed.testing.protocol import NOON, LocalProtocol, roster_of, signing_key
from tests.secagg.scene import MALICIOUS, VICTIM, N, Scene, assert_equal, join_request, plan_of, sum_of, vectors_of, without

HOUR = timedelta(hours=1)
SOMEBODY = 4  # a node that is not the victim
NAME = f"party {SOMEBODY}"


def member(roster: Roster, **changes: Any) -> Roster:
    """The roster with somebody's entry changed."""
    found = roster.member(NAME)
    assert found is not None
    return replace(roster, members=tuple(replace(one, **changes) if one is found else one for one in roster.members))


ROSTERS: list[tuple[str, type[DirectoryError], str, Callable[[Roster], Roster]]] = [
    ("not on it", UnknownIdentityError, "no member has it", lambda r: r.remove(NAME)),
    ("on it in another role", UnknownIdentityError, "its member is auditor", lambda r: member(r, roles=frozenset({Role.AUDITOR}))),
    ("not valid yet", ExpiredIdentityError, "it counts from", lambda r: member(r, not_before=NOON + HOUR)),
    ("expired", ExpiredIdentityError, "it counted until", lambda r: member(r, not_after=NOON - HOUR)),
    ("replaced", ExpiredIdentityError, "it was replaced", lambda r: r.rotate(NAME, signing=SigningKey.generate().public, at=NOON - HOUR)),
    ("revoked", RevokedIdentityError, "it was revoked", lambda r: r.revoke(NAME, NOON + HOUR)),
]
each = pytest.mark.parametrize(("error", "match", "change"), [case[1:] for case in ROSTERS], ids=[case[0] for case in ROSTERS])


@each
def test_a_directory_with_somebody_who_may_not_take_part_is_refused(
    error: type[DirectoryError], match: str, change: Callable[[Roster], Roster]
) -> None:
    scene = Scene(policy=MALICIOUS).at("prepare")
    usual, scene.party._roster = scene.party._roster, PartyRoster(change(roster_of(N)), lambda: NOON)
    with scene.refuses(error, match):
        scene.answer(scene.request)
    scene.party._roster = usual
    scene.finishes()


def test_a_directory_with_a_stranger_is_refused_even_if_the_cohort_is_without_it() -> None:
    scene = Scene(policy=MALICIOUS).at("prepare")
    usual, scene.party._roster = scene.party._roster, PartyRoster(roster_of(N).remove(NAME), lambda: NOON)
    stranger = scene.protocol.enrolment.index_of()[SOMEBODY]  # type: ignore[union-attr]
    with scene.refuses(UnknownIdentityError, "no member has it"):
        scene.answer(scene.but(cohort=without(scene.request.cohort, stranger), k=4, t=4, plan=plan_of(N - 1).encode()))
    scene.party._roster = usual
    scene.finishes()


@each
def test_a_cohort_with_somebody_who_may_not_take_part_any_more_is_refused(
    error: type[DirectoryError], match: str, change: Callable[[Roster], Roster]
) -> None:
    """A key that is revoked during a run is out from the next round on, not from the next epoch."""
    scene = Scene(policy=MALICIOUS)
    scene.finishes()
    scene.at("prepare")
    usual, scene.party._roster = scene.party._roster, PartyRoster(change(roster_of(N)), lambda: NOON)
    with scene.refuses(error, match):
        scene.answer(scene.request)
    scene.party._roster = usual
    scene.finishes()


@each
def test_the_coordinator_takes_no_join_that_would_make_the_parties_refuse(
    error: type[DirectoryError], match: str, change: Callable[[Roster], Roster]
) -> None:
    protocol = LocalProtocol(N, MALICIOUS)
    joining = Joining(Header(7, 1, 0), Mode.MALICIOUS, PartyRoster(change(roster_of(N)), lambda: NOON))
    for node, party in enumerate(protocol.parties):
        joining.add(node, party.answer(joining.request().encode()))
    assert joining.drops[SOMEBODY].reason is DropReason.MALFORMED
    assert match in joining.drops[SOMEBODY].detail
    assert set(joining.close().nodes) == set(range(N)) - {SOMEBODY}


def test_one_member_with_two_good_keys_counts_once() -> None:
    """A key that is to be replaced later is still good, and so is the new one: together they would be two parties."""
    second = signing_key(99)
    roster = PartyRoster(roster_of(N).rotate(NAME, signing=second.public, at=NOON + HOUR), lambda: NOON)
    assert len(roster) == N
    assert roster.member(second.ed25519.public_bytes) == roster.member(signing_key(SOMEBODY).ed25519.public_bytes) == NAME
    joining = Joining(Header(7, 1, 0), Mode.MALICIOUS, roster)
    replies = {}
    for node, identity in enumerate([*(signing_key(node).ed25519 for node in range(N)), second.ed25519]):
        replies[node] = Party(MemoryStore(), MALICIOUS, identity=identity, roster=roster).answer(joining.request().encode())
        joining.add(node, replies[node])
    assert "has joined already with another identity" in joining.drops[N].detail
    directory = Directory.of(Header(7, 1, 0), Mode.MALICIOUS, sorted(replies.values(), key=lambda reply: Join.decode(reply).identity))
    with pytest.raises(DuplicateMemberError, match="two parties of the directory are 'party 4'"):
        directory.check_members(roster, range(N + 1))


def test_the_clock_is_asked_every_time() -> None:
    times = [NOON]
    roster = PartyRoster(member(roster_of(N), not_after=NOON + HOUR), lambda: times[0])
    identity = signing_key(SOMEBODY).ed25519.public_bytes
    assert roster.member(identity) == NAME
    times[0] = NOON + 2 * HOUR
    with pytest.raises(ExpiredIdentityError):
        roster.member(identity)
    assert abs(system_clock() - datetime.now().astimezone()) < HOUR


def test_n_counts_the_parties_whose_keys_are_valid_now_or_not() -> None:
    owner = Member("owner", frozenset({Role.OWNER}), signing=signing_key(50).public)
    for _, _, _, change in ROSTERS[2:]:
        assert len(PartyRoster(change(roster_of(N)).add(owner))) == N
    assert len(PartyRoster(roster_of(N).remove(NAME))) == N - 1


def test_a_hybrid_key_takes_part_with_its_ed25519_half() -> None:
    key = SigningKey.generate("ed25519-mldsa65")
    roster = PartyRoster(Roster("test", (Member("hybrid", frozenset({Role.PARTY}), signing=key.public),)), lambda: NOON)
    assert roster.member(key.ed25519.public_bytes) == "hybrid"


def test_a_party_that_is_not_on_its_own_roster_does_not_join_and_that_is_its_owners_concern() -> None:
    roster = PartyRoster(roster_of(3), lambda: NOON)
    party = Party(MemoryStore(), MALICIOUS, identity=signing_key(9).ed25519, roster=roster)
    with pytest.raises(LocalError, match=r"this party's own identity: .*no member has it") as caught:
        party.answer(join_request(mode=2))
    assert not isinstance(caught.value, PeerError)


def test_malicious_mode_without_a_roster_is_no_mode() -> None:
    scene = Scene(policy=MALICIOUS)
    assert scene.protocol.enrolment is not None
    with pytest.raises(LocalError, match="needs the roster"):
        scene.protocol.enrolment.directory.check_members(None, [0])
    with pytest.raises(LocalError, match="needs the roster"):
        Joining(Header(7, 1, 0), Mode.MALICIOUS)


# --- signatures under JOIN ---------------------------------------------------------------------------------------------------------------


def forged(scene: Scene, signer: Identity | None, **changes: Any) -> Any:
    """The PREPARE that the victim is owed, with somebody's JOIN changed and signed by whom the test says."""
    entries = list(scene.request.directory)
    at = scene.others[0]
    join = replace(Join.decode(entries[at]), **changes)
    entries[at] = replace(join, signature=signer.sign(Label.SIGN_MESSAGE, join.unsigned()) if signer else b"").encode()
    return scene.but(directory=tuple(sorted(entries, key=lambda entry: Join.decode(entry).identity)))


def test_an_unsigned_or_wrongly_signed_join_is_refused() -> None:
    scene = Scene(policy=MALICIOUS).at("prepare")
    victim, theirs = scene.protocol.identities[VICTIM], Join.decode(scene.request.directory[scene.others[0]])
    other_run = Join(header=Header(8, 1, 0), identity=theirs.identity, public_key=theirs.public_key)
    node = scene.protocol.enrolment.nodes[scene.others[0]]  # type: ignore[union-attr]
    replayed = scene.protocol.identities[node].sign(Label.SIGN_MESSAGE, other_run.unsigned())
    entries = list(scene.request.directory)
    entries[scene.others[0]] = replace(theirs, signature=replayed).encode()
    for request in (
        forged(scene, None),
        forged(scene, victim),
        forged(scene, victim, public_key=bytes(range(32))),
        scene.but(directory=tuple(entries)),
    ):
        with scene.refuses(UnsignedJoinError, "is not signed by its identity"):
            scene.answer(request)
    scene.finishes()


def test_an_invented_party_that_signs_for_itself_is_still_nobody() -> None:
    scene = Scene(policy=MALICIOUS).at("prepare")
    sybil = signing_key(77).ed25519
    with scene.refuses(UnknownIdentityError, "no member has it"):
        scene.answer(forged(scene, sybil, identity=sybil.public_bytes))
    scene.finishes()


def test_a_join_of_a_roster_member_in_another_run_is_refused() -> None:
    scene = Scene(policy=MALICIOUS).at("prepare")
    node = scene.protocol.enrolment.nodes[scene.others[0]]  # type: ignore[union-attr]
    with scene.refuses(DirectoryError, "belongs to another run, epoch or suite"):
        scene.answer(forged(scene, scene.protocol.identities[node], header=Header(8, 1, 0)))
    scene.finishes()


# --- C is a share of the roster ----------------------------------------------------------------------------------------------------------


def test_the_corrupt_are_a_share_of_the_roster_and_not_of_the_cohort_that_was_picked() -> None:
    """Of 40 on the roster four may be corrupt, and a coordinator puts all of them into a cohort of 8."""
    roster = PartyRoster(roster_of(40), lambda: NOON)
    protocol = LocalProtocol(8, MALICIOUS, roster=roster)
    party = protocol.parties[0]
    assert party._rules.roster == 40
    assert (party._rules.floor(8, 7), party._rules.quorum(8)) == (7, 7)
    assert (party.policy.floor(8, 7), party.policy.quorum(8)) == (4, 5)


def test_low_parameters_for_the_roster_are_refused_though_they_would_do_for_the_cohort() -> None:
    scene = Scene(policy=MALICIOUS).at("prepare")
    usual = scene.party._roster
    secrecy = "t = 4 shares reconstruct a secret, this party asks for 5 or more"
    for size, error, match in ((30, ParametersError, secrecy), (40, CohortTooSmallError, "7 or more")):
        scene.party._roster = PartyRoster(roster_of(size), lambda: NOON)
        with scene.refuses(error, match):
            scene.answer(scene.request)
    scene.party._roster = usual
    scene.finishes()


def test_a_round_without_the_one_who_left_is_exact() -> None:
    protocol = LocalProtocol(N, replace(MALICIOUS, fixed_encoding=False))
    nodes = [node for node in range(N) if node != SOMEBODY]
    for asked in (list(range(N)), nodes):
        plan = plan_of(len(asked))
        parameters = choose(len(asked), 0.1, 0.1, mode=Mode.MALICIOUS, roster=N)
        result = protocol.sum_round(plan, parameters, lambda node, plan=plan: vectors_of(plan, N)[node], nodes=asked)
        assert_equal(result.total, sum_of(plan, vectors_of(plan, N), asked))
        protocol.roster = PartyRoster(roster_of(N).revoke(NAME, NOON), lambda: NOON)
        for party in protocol.parties:
            party._roster = protocol.roster
