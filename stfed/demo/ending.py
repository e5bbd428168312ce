"""How a round ends for the coordinator: with the sum, by the book; or with shares that it asks for with a survivor set of its own."""

from __future__ import annotations

from stfed.demo.clinics import Pixels
from stfed.demo.loot import Loot
from stfed.demo.recovery import from_vector
from stfed.demo.world import VICTIM, World
from stfed.errors import PeerError, QuorumError
from stfed.secagg.messages import UnmaskRequest
from stfed.secagg.server import Collecting, Enrolment, Sum

VictimsPicture = Pixels | None


def as_it_came(world: World) -> VictimsPicture:
    """The division on the masked vector, if there is one."""
    return from_vector(world.vectors[VICTIM]) if VICTIM in world.vectors else None


def summed(world: World, enrolment: Enrolment, collecting: Collecting) -> Sum | None:
    """CONFIRM and UNMASK as they should be; None if too many refuse."""
    try:
        if world.malicious:
            confirming = collecting.confirm()
            request = confirming.request().encode()
            for index in confirming.survivors:
                reply = world.light(enrolment.nodes[index], request)
                if reply is not None:
                    confirming.add(index, reply)
            unmasking = confirming.close()
        else:
            unmasking = collecting.close()
        for index in unmasking.asked:
            reply = world.light(enrolment.nodes[index], unmasking.request().encode())
            if reply is not None:
                unmasking.add(index, reply)
        return unmasking.close()
    except (QuorumError, PeerError):
        return None


def ask_shares(world: World, enrolment: Enrolment, loot: Loot, holders: tuple[int, ...], survivors: tuple[int, ...]) -> None:
    """CONFIRM, in malicious mode, and UNMASK for a survivor set, to these."""
    signatures = {}
    if world.malicious:
        for index in holders:
            signature = world.confirm(enrolment.nodes[index], survivors)
            if signature is not None:
                signatures[index] = signature
    confirmations = tuple(sorted(signatures.items()))
    request = UnmaskRequest(header=world.header, survivors=survivors, confirmations=confirmations).encode()
    for index in holders if not world.malicious else signatures:
        reply = world.light(enrolment.nodes[index], request)
        if reply is not None:
            loot.take(index, reply)


def but(parties: tuple[int, ...], one: int) -> tuple[int, ...]:
    """All of them without one."""
    return tuple(party for party in parties if party != one)
