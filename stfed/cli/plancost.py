"""What a round costs: the bytes of each step for one party, counted on messages of the real codec, the masks that it expands, and time.

Not counted: Flower's own framing, the model that travels to the party, and the names of tensors and metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stfed.bench.rates import Rates
    from stfed.encoding import EncodingPlan
    from stfed.encoding.rotation import Rotation
    from stfed.secagg.messages import Message, Prepare, TrainRequest
    from stfed.secagg.params import Parameters

METRICS = 32
"""Metric slots of the vector: the coordinator's default."""


@dataclass(frozen=True)
class Step:
    """One step of a round.

    Attributes:
        name: of the step.
        down_bytes: what a party gets.
        up_bytes: what it sends.
    """

    name: str
    down_bytes: int
    up_bytes: int


def steps(parameters: Parameters, plan: EncodingPlan) -> list[Step]:
    """The steps of a round of which everybody sees the end; where share-holders are drawn, for a party that k others have drawn, the mean.

    Args:
        parameters: of the cohort.
        plan: how its vectors are encoded, see `plan_of`.
    """
    from stfed.crypto.shamir import SHARE_BYTES
    from stfed.encoding import MetricSchema
    from stfed.encoding.vector import payload_bytes
    from stfed.secagg import messages as m
    from stfed.secagg.params import Mode

    n, k = parameters.n, parameters.k
    malicious = parameters.mode is Mode.MALICIOUS
    header = m.Header(run=0, epoch=1, round=1)

    def up(message: Message) -> int:
        return len(replace(message, signature=bytes(m.MAX_SIGNATURE_BYTES) if malicious else b"").encode())

    def of(count: int, message: Callable[[int], Message]) -> int:
        """The size of a message with so many items, all of one length."""
        none, one = len(message(0).encode()), len(message(1).encode())
        return none + count * (one - none)

    def asked(size: int) -> Message:
        return m.PrepareRequest(
            header=header, phase=m.Phase.TRAIN, mode=1, directory=(), cohort=tuple(range(size)), k=k, t=1, plan=plan.encode()
        )

    def unmasked(size: int) -> Message:
        confirmations = tuple((party, bytes(m.MAX_SIGNATURE_BYTES)) for party in range(size)) if malicious else ()
        return m.UnmaskRequest(header=header, survivors=tuple(range(size)), confirmations=confirmations)

    joined = m.Join(header=header, identity=bytes(m.IDENTITY_BYTES), public_key=bytes(m.PUBLIC_KEY_BYTES))
    digest = bytes(32) if malicious else b""
    shares = tuple((m.ShareOf.SELF_SEED, bytes(SHARE_BYTES)) for _ in range(k))
    found = [
        Step("JOIN", len(m.JoinRequest(header=header, mode=1).encode()), up(joined)),
        Step("PREPARE", of(n, asked), up(_prepare(parameters))),
        Step(
            "TRAIN",
            of(n, lambda size: _train(parameters, size)),
            up(m.Masked(header=header, schema=MetricSchema().encode(), payload_bytes=0, payload_digest=digest)) + payload_bytes(plan),
        ),
        Step("UNMASK", of(n, unmasked), up(m.Unmask(header=header, shares=shares))),
    ]
    if malicious:
        confirm = Step(
            "CONFIRM", of(n, lambda size: m.ConfirmRequest(header=header, survivors=tuple(range(size)))), up(m.Confirm(header=header))
        )
        found.insert(3, confirm)
    return found


def plan_of(n: int, values: int, ring_bits: int, value_bits: int | None = None) -> EncodingPlan:
    """The encoding of a model that is one nameless tensor, rotated if `value_bits` is given, as the coordinator's default is.

    Raises:
        LocalError: the ring is too small for so many parties, or the model too large.
    """
    from stfed.encoding import EncodingPlan
    from stfed.encoding.rotation import SEED_BYTES, Rotation
    from stfed.encoding.tensors import TensorSpec

    rotation = None if value_bits is None else Rotation(bytes(SEED_BYTES))
    model = (TensorSpec("", "float32", (values,)),)
    return EncodingPlan(model, n, ring_bits, metric_slots=METRICS, value_bits=value_bits, rotation=rotation)


def _prepare(parameters: Parameters) -> Prepare:
    """What a party of these parameters says, in zeros."""
    from stfed.crypto.aead import TAG_BYTES
    from stfed.secagg import messages as m
    from stfed.secagg.server.links import SEED_BYTES

    header, k = m.Header(run=0, epoch=1, round=1), parameters.k
    drawn = parameters.graph == "k-out"
    partners = parameters.n - 1 if drawn else k  # who draws whom is not known yet, so box and commitments cover the whole cohort
    dealt = m.DealtShares(bytes(m.SEALED_SHARES_BYTES), *(bytes(m.SHORT_HASH_BYTES) for _ in range(3)))
    common = m.Prepare(
        header=header,
        commit_self_seed=bytes(m.COMMITMENT_BYTES),
        commit_box_key=bytes(m.COMMITMENT_BYTES),
        box=bytes(partners * SEED_BYTES + TAG_BYTES),
        dealt=(dealt,) * k,
    )
    if not drawn:
        return common
    return m.DrawnPrepare.of(common, tuple(range(k)), bytes((partners - k) * m.SHORT_HASH_BYTES))


def _train(parameters: Parameters, alive: int) -> TrainRequest:
    """What a party is told when so many are alive, and all its k dealers, in zeros. Where share-holders are drawn, k is the mean."""
    from stfed.secagg import messages as m

    header, k = m.Header(run=0, epoch=1, round=1), parameters.k
    delivery = m.Delivery(bytes(m.SEALED_SHARES_BYTES), bytes(m.COMMITMENT_BYTES), bytes(m.SHORT_HASH_BYTES), bytes(m.SHORT_HASH_BYTES))
    deliveries = (delivery,) * k
    if parameters.graph != "k-out":
        return m.TrainRequest(header=header, alive=tuple(range(alive)), deliveries=deliveries)
    return m.DrawnTrainRequest(header=header, alive=tuple(range(alive)), deliveries=deliveries, dealers=tuple(range(k)))


def seconds(parameters: Parameters, plan: EncodingPlan, rates: Rates) -> dict[str, float]:
    """Estimates of a round's time on one core of this machine; training, network and Flower's own work are not in them.

    Args:
        parameters: of the cohort.
        plan: how its vectors are encoded.
        rates: this machine's, with the vector's of this encoding (`rates_for`).

    Returns:
        party, party_first (the first round of an epoch, in which keys are agreed on), coordinator, and coordinator_drops, if as many drop
        as the plan allows for.
    """
    # Work on a vector is by its values, of whatever width; a keystream is as wide as the lane that they lie in.
    words, added = plan.vector_length, masks(parameters)
    rates = replace(rates, mask_ns=rates.mask_ns * plan.lane.itemsize / 4)
    return {
        "party": rates.party_s(parameters, words, added, first=False),
        "party_first": rates.party_s(parameters, words, added, first=True),
        "coordinator": rates.coordinator_s(parameters, words, added),
        "coordinator_drops": rates.coordinator_s(parameters, words, added, dropped=parameters.dropouts),
    }


@lru_cache(maxsize=64)
def _vector_ns(ring_bits: int, rotation: Rotation | None) -> tuple[float, float, float]:
    from stfed.bench.rates import vector_ns

    return vector_ns(ring_bits=ring_bits, rotation=rotation)


def rates_for(plan: EncodingPlan, rates: Rates) -> Rates:
    """This machine's rates with those of encoding, summing and decoding for this plan's ring and rotation: packed bits cost more."""
    if plan.ring_bits == 32 and plan.rotation is None:
        return rates
    encode_ns, sum_ns, decode_ns = _vector_ns(plan.ring_bits, plan.rotation)
    return replace(rates, encode_ns=encode_ns, sum_ns=sum_ns, decode_ns=decode_ns)


def directory_bytes(parameters: Parameters, joined_bytes: int) -> int:
    """What the first PREPARE of an epoch has besides: everybody's JOIN."""
    return parameters.n * (4 + joined_bytes)


def masks(parameters: Parameters) -> int:
    """How many masks of the vector's length a party adds, its own among them; where share-holders are drawn, on average.

    A pair shares a mask if either has drawn the other.
    """
    n, k = parameters.n, parameters.k
    return 1 + (round(2 * k - k * k / (n - 1)) if parameters.graph == "k-out" else k)
