"""Shares: ciphertexts that are somebody else's, of another round, missing or wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from stfed.crypto import shamir
from stfed.errors import PeerError
from stfed.secagg import keys
from stfed.secagg.client import dealing
from stfed.secagg.client.deliveries import open_deliveries
from stfed.secagg.messages import Header, Prepare, ShareOf
from stfed.secagg.refusals import ShareHoldersError
from tests.attacks.secagg.cohort import HOLDERS
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import reads
from tests.attacks.secagg.heard import ComplainedError, delivery_of, neighbours, without
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.world import RUN

DELIVERIES = "stfed.secagg.client.deliveries:"
NO_AD = Instead(
    "stfed.secagg.keys:share_associated_data", lambda *_: b"", "the associated data of a share names its ends, point, t, k and commitments"
)


def of_any_round(real: Any, *args: Any) -> Any:
    """Derivation as if there were one round only."""
    return real(*(Header(RUN, 1, 0) if isinstance(one, Header) else one for one in args))


@attack(
    "S17 S6",
    ComplainedError,
    "UNREADABLE",
    Instead("stfed.secagg.keys:neighbour_keys", of_any_round, "share keys are bound to the round", wraps=True),
    Instead("stfed.secagg.keys:next_and_round_key", lambda key: (key, key), "pairwise keys are ratcheted"),
    Instead("stfed.secagg.keys:next_key", lambda key: key, "the same"),
    Instead("stfed.secagg.keys:share_associated_data", of_any_round, "so is the associated data", wraps=True),
    Instead(
        "stfed.secagg.keys:share_hashes",
        lambda shares, of, header, real=keys.share_hashes: real(shares, of, Header(RUN, 1, 0)),
        "and so are the hashes of shares",
    ),
)
def the_shares_of_the_last_round(world: Coordinator) -> None:
    """The victim is to hold, and release, shares of a secret of a party that was dead then and is alive now."""
    world.join().whole_round()
    old = world.delivery(1, 0, world.told[0])
    world.prepared()
    fresh = world.deliveries(0, world.all, world.told[0])
    world.train(0, deliveries=(old, *fresh[1:]))


@attack("S17 R5", ComplainedError, "UNREADABLE", NO_AD)
def another_cohort_moves_the_points(world: Coordinator) -> None:
    """A holder computes its x from the cohort that it knows. Shown one party fewer, it would hold its share at another place."""
    world.join()
    victim, absent = 4, 0
    world.prepared(world.facts(1))
    world.heard[1].prepares.pop(victim)
    smaller = world.facts(2, cohort=without(world.all, absent))
    for index in (1, 2, 3):
        world.prepare(index, world.facts(2, k=5, t=4))
    world.prepare(victim, smaller)
    # The other dealers were asked with everybody, so the victim's place is 4 for them, and 3 in its own eyes.
    deliveries = [delivery_of(world.heard[2].prepares[dealer][0], dealer, victim, world.told[dealer]) for dealer in (1, 2, 3)]
    world.train(victim, deliveries=(*deliveries, world.delivery(5, victim, smaller)))


def of_either_direction(real: Any, *args: Any) -> Any:
    """One key for both directions of a pair."""
    return [(seed, min(outgoing, incoming), min(outgoing, incoming)) for seed, outgoing, incoming in real(*args)]


def one_hash(shares: Any, of: Any, header: Any) -> list[bytes]:
    """Hashes of shares that do not say who dealt them to whom."""
    return [keys.share_hash(share, of, header, 0, 0) for _, _, share in shares]


@attack(
    "R5 S17",
    ComplainedError,
    "UNREADABLE",
    NO_AD,
    Instead("stfed.secagg.keys:neighbour_keys", of_either_direction, "a share key for each direction", wraps=True),
    Instead("stfed.secagg.keys:share_hashes", one_hash, "hashes of shares name dealer and holder"),
)
def a_partys_own_share_is_reflected_to_it(world: Coordinator) -> None:
    """What the victim dealt to a neighbour comes back as if the neighbour had dealt it. When the neighbour is called dead, the victim gives
    up a share of its own secret, one more than the holders have.
    """
    world.join()
    facts = world.prepared()
    victim, neighbour = 0, 1
    own, _ = world.heard[facts.header.round].prepares[victim]
    mine = own.dealt[neighbours(facts, victim).index(neighbour)]
    reflected = replace(
        world.delivery(neighbour, victim, facts), sealed=mine.sealed, self_seed_hash=mine.self_seed_hash, box_key_hash=mine.box_key_hash
    )
    fresh = world.deliveries(victim, world.all, facts)
    for index in without(world.honest, victim):
        world.train(index)
    world.train(victim, deliveries=(reflected, *fresh[1:]))
    survivors = without(world.all, neighbour)
    for index in without(world.honest, neighbour):
        world.confirm(index, survivors)
    unmask = world.unmask(victim, survivors)
    of, share = unmask.shares[0]
    assert of is ShareOf.BOX_KEY
    assert keys.share_hash(share, of, facts.header, 0, 0) == mine.box_key_hash, "this is no share of the victim's own z"


# --- edges -------------------------------------------------------------------------------------------------------------------------------


def leaves_edges_out(real: Any, self: Any, request: Any, content: bytes, policy: Any) -> Any:
    """A party that does without neighbours whose shares are missing or do not open: no masks with them, and no shares of theirs."""
    kept = []
    for at, delivery in enumerate(request.deliveries):
        try:
            open_deliveries(self.member, self.facts, [(self.neighbours[at], self.incoming[at])], [delivery])
        except PeerError:
            continue
        kept.append(at)
    left = {name: tuple(getattr(self, name)[at] for at in kept) for name in ("neighbours", "seeds", "incoming")}
    request = replace(request, deliveries=tuple(request.deliveries[at] for at in kept))
    return real.func(replace(self, holders=left["neighbours"], **left), request, content, policy)


LENIENT = Instead(
    "stfed.secagg.client.prepared:Prepared.train", leaves_edges_out, "an edge to a member of U1 is never left out", wraps=True
)


def only_the_corrupt_edge(world: Coordinator, *, spoil: bool) -> None:
    """The victim gets good shares of the corrupt party alone, so that it masks against nobody else; all the others do as they should."""
    world.join()
    world.corrupt = (0,)
    facts = world.prepared(first=world.honest)
    victim, corrupt = world.honest[0], world.corrupt[0]
    own, *others = world.deliveries(victim, world.all, facts)
    spoilt = (replace(one, sealed=bytes(len(one.sealed))) for one in others)
    view = world.train(victim, deliveries=(own, *spoilt) if spoil else (own,))
    world.heard[facts.header.round].views[victim] = replace(view, dealers=(corrupt,), partners=(corrupt,))
    for index in without(world.honest, victim):
        world.train(index)
    world.ended()
    reads(world, victim)


@attack("R6 S4", ComplainedError, "UNREADABLE", LENIENT, HOLDERS)
def all_honest_edges_spoilt_on_the_way(world: Coordinator) -> None:
    """A party that leaves out neighbours whose shares do not open has no masks but those that the coordinator knows."""
    only_the_corrupt_edge(world, spoil=True)


# --- corrupt dealers ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def other_software(module: Any, name: str, value: Any) -> Iterator[None]:
    """What the corrupt party runs while it deals."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def above_the_field(rows: Any, real: Any = shamir.rows_to_bytes) -> list[bytes]:
    """Shares whose first limb is 65535; the two secrets as they are."""
    return [b"\xff\xff" + row[2:] if len(rows) > 2 else row for row in real(rows)]


def a_round_with_a_dealer_that(world: Coordinator, module: Any, name: str, value: Any) -> Prepare:
    world.join()
    facts = world.facts()
    with other_software(module, name, value):
        dealt = world.prepare(world.corrupt[0], facts)
    for index in world.honest:
        world.prepare(index, facts)
    world.train(0)
    return dealt


@attack("R5 S15", ComplainedError, "OUT_OF_FIELD", Check(f"{DELIVERIES}_check_field", "ShareFieldError"), who="party")
def a_share_that_is_not_in_the_field(world: Coordinator) -> None:
    """Two numbers for one element would let a holder tell apart, or spoil, what must be the same."""
    a_round_with_a_dealer_that(world, dealing.shamir, "rows_to_bytes", above_the_field)


@attack("S15", ComplainedError, "MISMATCH", Check(f"{DELIVERIES}_check_hashes", "ShareMismatchError"), who="party")
def a_share_that_is_not_the_one_whose_hash_was_published(world: Coordinator) -> None:
    """The round ends in UNMASK with a wrong share, and it is the holder, not the dealer, who looks guilty."""
    a_round_with_a_dealer_that(world, dealing.keys, "share_hashes", lambda shares, of, header: [bytes(16) for _ in shares])


@attack(
    "R6",
    ShareHoldersError,
    "the message has shares of 1",
    Instead("stfed.secagg.client.prepared:Prepared.train", leaves_edges_out, "shares of every neighbour in U1 must come", wraps=True),
    HOLDERS,
)
def edges_left_out_of_the_message(world: Coordinator) -> None:
    """Shares of the corrupt party come and no others."""
    only_the_corrupt_edge(world, spoil=False)
