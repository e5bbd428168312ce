"""Public keys that are somebody else's, that give no secret, or that one party has twice."""

from __future__ import annotations

from stfed.crypto import agreement
from stfed.crypto.kdf import derive
from stfed.crypto.labels import Label
from stfed.secagg.messages import Header, Join, JoinRequest
from stfed.secagg.refusals import (
    DuplicateKeyError,
    WeakKeyError,
)
from stfed.secagg.transcript import MODE_CODES
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.heard import ComplainedError
from tests.attacks.secagg.identity import ENTRIES, JOIN, join_with, own_key
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.world import RUN

LOW_ORDER = (1).to_bytes(32, "little")


@attack("S16 R2", DuplicateKeyError, "have the same public key", Check(ENTRIES, "DuplicateKeyError"))
def a_corrupt_party_shows_another_partys_public_key_as_its_own(world: Coordinator) -> None:
    """What is encrypted for the one would open for the other."""
    world.epoch = 1
    request = JoinRequest(header=Header(RUN, 1, 0), mode=MODE_CODES[world.mode]).encode()
    copied = Join.decode(world.light(world.everybody[1], request)).public_key
    join_with(world, own_key(world).claims(public_key=copied), instead_of=(5,))


NO_LOW_ORDER = Instead(
    "stfed.crypto.agreement:_exchange", lambda ours, public: bytes(32), "X25519 with a point of low order is an error in OpenSSL as well"
)


@attack("S16 R2", WeakKeyError, "has low order", Check(JOIN, "WeakKeyError", "low order"), NO_LOW_ORDER)
def a_public_key_of_low_order(world: Coordinator) -> None:
    """The secret shared with it is zero, whatever the victim's key is: everybody who listens can read the shares dealt to it."""
    join_with(world, own_key(world).claims(public_key=LOW_ORDER), instead_of=(5,))


@attack("S16 R2", WeakKeyError, "not in its canonical encoding", Check(JOIN, "WeakKeyError", "canonical"))
def one_public_key_in_two_encodings(world: Coordinator) -> None:
    """X25519 ignores the top bit, so the same key would pass for two different ones."""
    world.epoch = 1
    request = JoinRequest(header=Header(RUN, 1, 0), mode=MODE_CODES[world.mode]).encode()
    copied = bytearray(Join.decode(world.light(world.everybody[1], request)).public_key)
    copied[31] |= 0x80
    join_with(world, own_key(world).claims(public_key=bytes(copied)), instead_of=(5,))


def anonymous(private_key: bytes, own: Join, others: list[Join]) -> list[bytes]:
    """K_ij from the Diffie-Hellman secret alone."""
    secrets = agreement.shared_secrets(private_key, [other.public_key for other in others])
    return [derive(secret, Label.PAIRWISE_KEY, salt=own.header.run.to_bytes(8, "big")) for secret in secrets]


@attack(
    "R3 S16",
    ComplainedError,
    "UNREADABLE",
    Instead("stfed.secagg.keys:pairwise_keys", anonymous, "both identities and public keys are in the pairwise key"),
)
def a_key_that_two_parties_share_without_knowing_with_whom(world: Coordinator) -> None:
    """Unknown key share: in the directory that the victim sees, an honest party's public key stands under the corrupt party's name; the
    honest party sees the true directory. What the victim deals to the corrupt party opens there, as dealt to the honest one.
    """
    world.join()
    victim, honest, corrupt = 0, 4, 5
    entries = world.enrolment.directory.encoded
    mixed = own_key(world)
    mixed.key = world.parties[corrupt].key
    mixed.claims(identity=mixed.key.ed25519.public_bytes, public_key=world.joins[honest].public_key)
    # Without the honest party's own entry, the corrupt one moves to its place, so that everything else about a share is the same.
    facts = world.facts(cohort=(0, 1, 2, 3, 4))
    world.prepare(victim, facts, directory=(*entries[:honest], mixed.join.encode()))
    for index in (1, 2, 3, honest):
        world.prepare(index, facts)
    world.train(honest)
