"""What the coordinator keeps of a round, and where things are in it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from stfed.encoding import EncodingPlan, MetricSchema, Vector
from stfed.errors import StfedError
from stfed.secagg import keys
from stfed.secagg.client import Prepared
from stfed.secagg.messages import (
    Delivery,
    DrawnPrepare,
    Kind,
    Masked,
    Prepare,
    ShareOf,
    peek,
)
from stfed.secagg.server.links import Links
from stfed.secagg.transcript import RoundFacts
from tests.attacks.secagg.training import Arrays, model

Parties = tuple[int, ...]


class ComplainedError(StfedError):
    """The party answered with a complaint in the place of a vector."""


@dataclass(frozen=True)
class View:
    """What a party took for the round when it sent its vector, and the vector.

    Attributes:
        alive: U1.
        dealers: whose shares it was given.
        partners: whom it masked against.
    """

    facts: RoundFacts
    alive: Parties
    dealers: Parties
    partners: Parties
    transcript: bytes
    received: Arrays
    rate: float
    vector: Vector
    schema: MetricSchema
    reply: Masked
    payload: bytes


@dataclass
class Heard:
    """All that is known of one round."""

    prepares: dict[int, tuple[Prepare, RoundFacts]] = field(default_factory=dict)
    spied: list[tuple[int, Prepared, Prepare]] = field(default_factory=list)
    views: dict[int, View] = field(default_factory=dict)
    signatures: dict[tuple[int, bytes, Parties], bytes] = field(default_factory=dict)
    released: dict[tuple[int, ShareOf], dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    guessed: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))


def prepare_from(reply: bytes) -> Prepare:
    """A PREPARE, of a party that has drawn its holders or not."""
    return (DrawnPrepare if peek(reply)[0] is Kind.DRAWN_PREPARE else Prepare).decode(reply)


def neighbours(facts: RoundFacts, party: int) -> Parties:
    """On a graph that can be computed: directory indices, ascending."""
    return tuple(facts.cohort[other] for other in facts.graph().neighbours(facts.cohort.index(party)))


def links_of(prepare: Prepare, dealer: int, facts: RoundFacts) -> Links:
    """Where everything is that concerns this dealer."""
    links = Links(facts)
    links.add(dealer, prepare)
    return links


def delivery_of(prepare: Prepare, dealer: int, holder: int, facts: RoundFacts) -> Delivery:
    """A dealer's shares for this holder, out of its PREPARE."""
    dealt = prepare.dealt[links_of(prepare, dealer, facts).slot(dealer, holder)]
    return Delivery(dealt.sealed, keys.published_by(prepare, dealer), dealt.self_seed_hash, dealt.box_key_hash)


def seed_commitment(prepare: Prepare, party: int, other: int, facts: RoundFacts) -> bytes:
    """What a party has published about its seed with anybody in the cohort that it has one with."""
    links = links_of(prepare, party, facts)
    if other in links.holders(party):
        return prepare.dealt[links.slot(party, other)].seed_commitment
    assert isinstance(prepare, DrawnPrepare)
    at = [index for index in facts.cohort if index not in (party, *prepare.holders)].index(other)
    return prepare.others[16 * at : 16 * (at + 1)]


def plan_of(n: int, arrays: Arrays | None = None, **settings: Any) -> EncodingPlan:
    """The encoding of the model here."""
    return EncodingPlan.for_arrays(
        model() if arrays is None else arrays, parties=n, **{"clip": 1.0, "max_weight": 64.0, "metric_slots": 2, **settings}
    )


def without(parties: Parties, *gone: int) -> Parties:
    return tuple(party for party in parties if party not in gone)
