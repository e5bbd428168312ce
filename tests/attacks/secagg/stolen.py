"""Secrets outside of their round: guessed, computed from older ones, stolen afterwards, or read off the disk."""

from __future__ import annotations

from typing import Any

from stfed.crypto import aead
from stfed.crypto.kdf import derive
from stfed.crypto.labels import Label
from stfed.secagg import keys
from stfed.secagg.client import Prepared, Ready
from stfed.secagg.messages import Header, ShareOf
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import NothingLearnedError, reads
from tests.attacks.secagg.heard import neighbours, without
from tests.attacks.secagg.loot import Loot
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Instead
from tests.attacks.secagg.world import RUN

VICTIM = 0
NOTHING = "nothing below the sum over"
FEW = 1 << 11


def weak(real: Any, *args: Any) -> Any:
    """Pairwise seeds of eleven bits; 32 are what some pseudorandom generators make of any seed."""
    return [((int.from_bytes(seed[:2], "big") % FEW).to_bytes(32, "big"), out, into) for seed, out, into in real(*args)]


@attack(
    "S8",
    NothingLearnedError,
    NOTHING,
    Instead("stfed.secagg.keys:neighbour_keys", weak, "seeds and keystream keys have 256 bits", wraps=True),
)
def seeds_are_guessed(world: Coordinator) -> None:
    """The commitment to a seed tells when a guess is right, so seeds that come from 32 bits are found in seconds."""
    world.join().whole_round()
    guesses = [guess.to_bytes(32, "big") for guess in range(FEW)]
    prepare, facts = world.heard[1].prepares[VICTIM]
    for dealt, other in zip(prepare.dealt, neighbours(facts, VICTIM), strict=True):
        fits = (guess for guess in guesses if keys.commit_pairwise_seed(guess, facts.header, VICTIM, other) == dealt.seed_commitment)
        world.heard[1].guessed[VICTIM] += fits
    reads(world, VICTIM)


NO_RATCHET = (
    Instead("stfed.secagg.keys:next_and_round_key", lambda key: (key, derive(key, Label.RATCHET_ROUND)), "pairwise keys are ratcheted"),
    Instead("stfed.secagg.keys:next_key", lambda key: key, "the same"),
)


def of_any_round(real: Any, *args: Any) -> Any:
    return real(*(Header(RUN, 1, 0) if isinstance(one, Header) else bytes(32) if at == 2 else one for at, one in enumerate(args)))


@attack(
    "S7 S6",
    NothingLearnedError,
    NOTHING,
    *NO_RATCHET,
    Instead("stfed.secagg.keys:neighbour_keys", of_any_round, "seeds are bound to the round and the cohort", wraps=True),
)
def seeds_of_one_round_in_the_next(world: Coordinator) -> None:
    """The victim drops out of round 1, so that its seeds of that round become known as they should; it is back in round 2."""
    world.join().prepared()
    for index in world.honest:
        world.train(index)
    world.ended(without(world.all, VICTIM))
    first = Loot(world, world.heard[1])
    assert first.secret(VICTIM, ShareOf.BOX_KEY) is not None
    seeds = [seed for other in neighbours(world.told[VICTIM], VICTIM) if (seed := first.seed(VICTIM, other))]
    world.whole_round()
    world.heard[2].guessed[VICTIM] += seeds
    reads(world, VICTIM)


@attack("R4", NothingLearnedError, NOTHING, *NO_RATCHET, who="thief")
def a_party_is_seized_after_the_round(world: Coordinator) -> None:
    """All that was sent has been recorded, and then the victim's computer, with its Context, is in the coordinator's hands."""
    facts = world.join().whole_round()
    state = world.parties[VICTIM].state()
    assert isinstance(state, Ready)
    for key in filter(None, state.keys.values):
        seed = keys.pairwise_seed(keys.round_key(key), facts.header, facts.cohort_digest)
        world.heard[1].guessed[VICTIM].append(seed)
    reads(world, VICTIM)


class InClear:
    """AES-GCM that leaves what a party writes to its disk as it is."""

    @staticmethod
    def seal(key: bytes, plaintext: bytes, associated: bytes, entropy: Any, real: Any = aead.seal_random) -> bytes:
        return plaintext if Label.STORE_RECORD.value in associated else real(key, plaintext, associated, entropy)

    @staticmethod
    def open(key: bytes, sealed: bytes, associated: bytes, real: Any = aead.open_random) -> bytes:
        return sealed if Label.STORE_RECORD.value in associated else real(key, sealed, associated)


@attack(
    "S20",
    NothingLearnedError,
    "no seed is on the disk",
    Instead("stfed.crypto.aead:seal_random", InClear.seal, "a party's record is encrypted under a key that only its Context has"),
    Instead("stfed.crypto.aead:open_random", InClear.open, "the same"),
    who="thief",
)
def seeds_are_read_off_the_disk(world: Coordinator) -> None:
    """A thief has the party's database, at every moment of a round, and not its Context, which a SuperNode keeps in memory."""
    world.join()
    facts = world.facts()
    for index in facts.cohort:
        world.prepare(index, facts)
    state = world.parties[VICTIM].state()
    assert isinstance(state, Prepared)
    secrets, seen = {state.self_seed, *state.seeds, *state.incoming}, []
    for index in world.honest:
        world.train(index)
        seen.append(world.parties[VICTIM].database.read_bytes())
    world.ended()
    seen.append(world.parties[VICTIM].database.read_bytes())
    context = str(world.parties[VICTIM].node.context).encode()
    found = {secret for secret in secrets for data in (*seen, context) if secret in data}
    on_disk_before = [held for data in seen for held in shares_of(world) if held in data]
    if not found and not on_disk_before:
        raise NothingLearnedError("no seed is on the disk")


def shares_of(world: Coordinator) -> list[bytes]:
    """What the victim held for others and has released since."""
    return [shares[VICTIM] for shares in world.heard[1].released.values() if VICTIM in shares]
