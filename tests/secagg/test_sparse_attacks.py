"""What a lying coordinator can say where parties draw their holders, each lie with its own refusal, and the attacks behind the rules.

As in `test_rules`, every violation is a real message to a real party, is refused with its own error, changes nothing, and the round then
ends in the exact sum with the victim in it. Nine parties, k = 5, t = 4, C = 1: too few for a secure sparse graph, so these parties take
any; every rule but the calculator's holds.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import replace
from itertools import combinations, count
from typing import Any

import numpy as np
import pytest

from stfed.crypto import aead, shamir
from stfed.encoding import Vector, pack_vector, unpack_vector
from stfed.errors import DecodeError, LocalError
from stfed.secagg import keys
from stfed.secagg.client import Prepared
from stfed.secagg.masking import apply_masks
from stfed.secagg.messages import (
    Complaint,
    ConfirmRequest,
    Delivery,
    DrawnPrepare,
    DrawnTrainRequest,
    Grievance,
    Phase,
    ShareOf,
    TrainRequest,
    Unmask,
    UnmaskRequest,
)
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.record import Record
from stfed.secagg.refusals import (
    CohortTooSmallError,
    DealerError,
    ParametersError,
    RefusedError,
    ShareHoldersError,
    ShareUnreadableError,
)
from stfed.secagg.transcript import RoundFacts
from stfed.testing.protocol import LocalProtocol
from tests.secagg.scene import MALICIOUS, Rule, Scene, Violation, each, plan_of, sum_of, u32s, vectors_of, without
from tests.secagg.sparse import SparseScene, any_graph, drawn_parameters


def scene_at_train() -> SparseScene:
    """At TRAIN; somebody did not draw the victim, somebody did whom it drew too, and somebody whom it did not."""
    for attempt in count():
        scene = SparseScene(seed=f"sparse {attempt}")
        scene.at("train")
        drew, drawn = set(scene.request.dealers), set(scene.holders)
        if scene.strangers and drew & drawn and drew - drawn:
            return scene
    raise AssertionError


def swapped(scene: SparseScene) -> DrawnTrainRequest:
    """The shares of two dealers under each other's name."""
    first, second, *rest = scene.request.deliveries
    return replace(scene.request, deliveries=(second, first, *rest))


def too_few_holders(scene: SparseScene) -> DrawnTrainRequest:
    """A U1 with t - 1 of the victim's own holders, and all the dealers that are left."""
    gone = scene.holders[: scene.k - scene.t + 1]
    return scene.only(*without(scene.request.dealers, *gone), alive=without(scene.request.alive, *gone))


TRAIN_RULES: list[Rule] = [
    ("U1 with t - 1 of its own holders", ShareHoldersError, "3 of this party's share-holders are in U1, t = 4", too_few_holders),
    (
        "U1 below the floor",
        CohortTooSmallError,
        "U1 has 3 of 9",
        lambda s: s.only(alive=tuple(sorted((s.index, *s.holders[:2])))),
    ),
    (
        "somebody who did not draw it",
        ShareUnreadableError,
        "do not open",
        lambda s: s.only(*sorted((*s.request.dealers, s.strangers[0]))),
    ),
    ("shares under each other's name", ShareUnreadableError, "do not open", swapped),
    (
        "a dealer that is not in U1",
        DealerError,
        "which is not in U1",
        lambda s: s.only(*s.request.dealers, alive=without(s.request.alive, outside_holders(s))),
    ),
    ("a dealer that is not in the cohort", DealerError, "shares of party 9", lambda s: s.only(*s.request.dealers, 9)),
    ("itself as a dealer", DealerError, "or is this party itself", lambda s: s.only(*sorted((*s.request.dealers, s.index)))),
    ("a dealer without shares", ShareHoldersError, "neighbours", lambda s: s.but(deliveries=s.request.deliveries[1:])),
    ("shares without a dealer", ShareHoldersError, "neighbours", lambda s: s.but(dealers=s.request.dealers[1:])),
    (
        "the message of a graph that is known",
        DealerError,
        "does not name the dealers",
        lambda s: TrainRequest(header=s.request.header, alive=s.request.alive, deliveries=s.request.deliveries),
    ),
]


def outside_holders(scene: SparseScene) -> int:
    """A dealer; its going leaves t of the victim's holders."""
    return scene.request.dealers[0]


@each(TRAIN_RULES)
def test_train_refuses(error: type[Exception], match: str, violation: Violation) -> None:
    scene = scene_at_train()
    with scene.refuses(error, match):
        scene.start(violation(scene))
    scene.finishes()


def test_a_dealer_named_twice_cannot_be_written_down() -> None:
    scene = scene_at_train()
    dealers = scene.request.dealers
    twice = (dealers[0], dealers[0], *dealers[2:])
    with pytest.raises(LocalError, match="dealers must be strictly increasing"):
        scene.but(dealers=twice).encode()
    data, right = scene.request.encode(), u32s(len(dealers), *dealers)
    at = data.rindex(right)
    with scene.refuses(DecodeError, "dealers.*named twice or out of order"):
        scene.start(data[:at] + u32s(len(dealers), *twice) + data[at + len(right) :])
    scene.finishes()


def test_a_complete_graph_takes_no_message_that_names_dealers() -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    header, alive, deliveries = scene.request.header, scene.request.alive, scene.request.deliveries
    request = DrawnTrainRequest(header=header, alive=alive, deliveries=deliveries, dealers=scene.others)
    with scene.refuses(DealerError, "names the dealers"):
        scene.start(request)
    scene.finishes()


def test_shares_of_somebody_who_did_not_draw_it_are_a_complaint_that_accuses_nobody() -> None:
    scene = scene_at_train()
    stranger = scene.strangers[0]
    with pytest.raises(ShareUnreadableError) as refusal:
        scene.start(scene.only(*sorted((*scene.request.dealers, stranger))))
    assert refusal.value.complaint is not None
    complaint = Complaint.decode(refusal.value.complaint)
    assert (complaint.dealer, complaint.grievance) == (stranger, Grievance.UNREADABLE)
    scene.collecting.complain(scene.index, refusal.value.complaint)
    assert scene.collecting.disputes == []
    assert "dealt it nothing" in scene.collecting.drops[scene.index].detail


# --- the point, and the cohort, that shares are bound to ---------------------------------------------------------------------------------


def sealed_anew(scene: SparseScene, point: int, cohort_digest: bytes | None = None) -> DrawnTrainRequest:
    """The first dealer's delivery, sealed by it (its key is the victim's too) at another point or for another cohort."""
    state, dealer = scene.prepared, scene.request.dealers[0]
    facts, delivery = state.facts, scene.request.deliveries[0]
    key = state.incoming[state.neighbours.index(dealer)]
    place = facts.cohort.index(scene.index)

    def associated(point: int, digest: bytes) -> bytes:
        return keys.share_associated_data(facts.header, dealer, scene.index, point, facts.t, facts.k, delivery.commitments, digest)

    shares = aead.open_random(key, delivery.sealed, associated(1 + place, facts.cohort_digest))
    again = aead.seal_random(key, shares, associated(point, facts.cohort_digest if cohort_digest is None else cohort_digest), bytes)
    return scene.but(deliveries=(replace(delivery, sealed=again), *scene.request.deliveries[1:]))


def test_a_share_is_taken_at_the_holders_own_place_only() -> None:
    scene = scene_at_train()
    place = scene.prepared.facts.cohort.index(scene.index)
    for point in range(scene.n + 1):
        if point != 1 + place:
            with scene.refuses(ShareUnreadableError):
                scene.start(sealed_anew(scene, point))
    for digest in (b"", bytes(32)):
        with scene.refuses(ShareUnreadableError):
            scene.start(sealed_anew(scene, 1 + place, digest))
    scene.start(sealed_anew(scene, 1 + place))


def test_nobody_holds_shares_of_a_dealer_that_was_shown_another_cohort() -> None:
    """Two cohorts in one round could each confirm a survivor set of its own, and the shares released for both would add up."""
    n, victim, k, t = 10, 3, 7, 5
    protocol = LocalProtocol(n, any_graph(), seed="two cohorts")
    enrolment = protocol.join()
    directory, everybody = enrolment.directory, tuple(range(n))

    def prepared(index: int, cohort: tuple[int, ...]) -> DrawnPrepare:
        header, plan = replace(directory.header, round=1), plan_of(len(cohort), 5).encode()
        facts = RoundFacts(header, Phase.TRAIN, Mode.MALICIOUS, k, t, plan, cohort, directory.cohort_digest(cohort))
        return DrawnPrepare.decode(protocol.parties[enrolment.nodes[index]].answer(facts.request(directory.encoded).encode()))

    ours, theirs = without(everybody, 9), without(everybody, 8)  # the victim has the same place in both
    prepared(victim, ours)
    state = state_of(protocol, victim)
    assert isinstance(state, Prepared)
    dealt_to_it = [(dealer, prepare) for dealer in range(3) if victim in (prepare := prepared(dealer, theirs)).holders]
    assert dealt_to_it
    for dealer, prepare in dealt_to_it:
        dealt = prepare.dealt[prepare.holders.index(victim)]
        delivery = Delivery(dealt.sealed, keys.published_by(prepare, dealer), dealt.self_seed_hash, dealt.box_key_hash)
        request = DrawnTrainRequest(header=prepare.header, alive=ours, deliveries=(delivery,), dealers=(dealer,))
        with pytest.raises(ShareUnreadableError):
            state.train(request, bytes(32), protocol.policy)


def state_of(protocol: LocalProtocol, index: int) -> Any:
    assert protocol.enrolment is not None
    with protocol.stores[protocol.enrolment.nodes[index]].transaction(protocol.run) as transaction:
        record = transaction.read()
    assert record is not None
    return Record.decode(record).state


# --- what leaving dealers out gains ------------------------------------------------------------------------------------------------------


def test_a_dealer_that_is_left_out_still_masks_and_its_mask_never_comes_off() -> None:
    """The victim trains without complaint; only the coordinator loses: a sum that is noise, and one share fewer."""
    scene = scene_at_train()
    dealer = next(dealer for dealer in scene.request.dealers if dealer not in scene.holders)
    state = scene.prepared
    kept = without(scene.request.dealers, dealer)
    training, masks = state.train(scene.only(*kept), scene.content, scene.party.policy)
    key = keys.pairwise_mask_key(state.seeds[state.neighbours.index(dealer)], training.transcript)
    assert key not in (*masks.add, *masks.subtract)
    assert [held for held, _, _ in training.held] == list(kept)

    scene.send_vector(scene.start(scene.only(*kept)))
    confirming = scene.collecting.confirm()
    for index in confirming.survivors:
        confirming.add(index, scene.party_at(index).answer(confirming.request().encode()))
    unmasking = confirming.close()
    for index in unmasking.asked:
        unmasking.add(index, scene.party_at(index).answer(unmasking.request().encode()))
    assert f"it has {len(kept)} shares, {len(kept) + 1} are due" in unmasking.drops[scene.index].detail
    total, exact = unmasking.close().total, sum_of(scene.plan, scene.vectors, range(scene.n))
    assert np.mean(total.ring == exact.ring) < 0.1


def test_a_holder_that_was_also_left_out_as_a_dealer_is_masked_with_all_the_same() -> None:
    scene = scene_at_train()
    both = [dealer for dealer in scene.request.dealers if dealer in scene.holders]
    state = scene.prepared
    training, masks = state.train(scene.only(*without(scene.request.dealers, both[0])), scene.content, scene.party.policy)
    key = keys.pairwise_mask_key(state.seeds[state.neighbours.index(both[0])], training.transcript)
    assert (*masks.add, *masks.subtract).count(key) == 1


# --- two attacks on the victim's vector, in numbers --------------------------------------------------------------------------------------


class Attack:
    """Nine parties, one of them the victim, k = 4 and t = 3; the coordinator says what it likes and reads what it can."""

    def __init__(self, seed: str, policy: Policy | None = None, t: int = 3) -> None:
        self.n, self.k, self.t = 9, 4, t
        self.protocol = LocalProtocol(self.n, policy or any_graph(delta=0.45), seed=seed)
        self.protocol.join()
        self.plan = plan_of(self.n, 6)
        self.vectors = vectors_of(self.plan, self.n)
        self.preparing = self.protocol.prepare(self.plan, drawn_parameters(self.n, self.k, self.t), range(self.n))
        self.prepares = dict(self.preparing._prepares)
        self.collecting = deepcopy(self.preparing).close(bytes(32))
        self.everybody = tuple(range(self.n))
        self.victim = 4
        self.holders = self.prepares[self.victim].holders  # type: ignore[attr-defined]

    def party(self, index: int) -> Any:
        assert self.protocol.enrolment is not None
        return self.protocol.parties[self.protocol.enrolment.nodes[index]]

    def request(self, index: int, alive: tuple[int, ...], dealers: Any = None) -> DrawnTrainRequest:
        """TRAIN with this U1, and the shares of these dealers, or of all."""
        full = self.collecting.request(index)
        assert isinstance(full, DrawnTrainRequest)
        chosen = [
            (dealer, delivery)
            for dealer, delivery in zip(full.dealers, full.deliveries, strict=True)
            if dealer in alive and (dealers is None or dealer in dealers)
        ]
        return replace(full, alive=alive, dealers=tuple(d for d, _ in chosen), deliveries=tuple(d for _, d in chosen))

    def train(self, index: int, request: DrawnTrainRequest, content: bytes = bytes(32)) -> Vector:
        """The masked vector that the coordinator gets."""
        ticket = self.party(index).start_training(request.encode(), content)
        vector = deepcopy(self.vectors[self.protocol.enrolment.nodes[index]])  # type: ignore[union-attr]
        ticket.masks.apply(vector)
        payload = pack_vector(vector, ticket.masks.plan)
        self.party(index).finish_training(ticket, b"\x00" * 4, len(payload), hashlib.sha256(payload).digest())
        return unpack_vector(payload, self.plan)

    def released(self, asked: tuple[int, ...], survivors: tuple[int, ...]) -> dict[tuple[int, ShareOf], dict[int, bytes]]:
        """CONFIRM and UNMASK with these; (dealer, of) -> point -> share."""
        header = self.preparing.facts.header
        signatures = []
        for index in asked:
            reply = self.party(index).answer(ConfirmRequest(header=header, survivors=survivors).encode())
            signatures.append((index, reply[-64:]))
        found: dict[tuple[int, ShareOf], dict[int, bytes]] = {}
        for index in asked:
            dealers = [dealer for dealer, _, _ in state_of(self.protocol, index).held]
            request = UnmaskRequest(header=header, survivors=survivors, confirmations=tuple(signatures))
            shares = Unmask.decode(self.party(index).answer(request.encode())).shares
            for dealer, (of, share) in zip(dealers, shares, strict=True):
                found.setdefault((dealer, of), {})[1 + index] = share
        return found

    def recovered(self, shares: dict[int, bytes]) -> bytes | None:
        """The secret, if there are t shares."""
        if len(shares) < self.t:
            return None
        points = sorted(shares)[: self.t]
        rows = shamir.rows_from_bytes([shares[point] for point in points])[None]
        return shamir.rows_to_bytes(shamir.reconstruct(points, rows))[0]

    def reads(self, masked: Vector, seed: bytes, transcript: bytes) -> bool:
        """Whether the victim's vector is what is left when its own mask is off."""
        vector = deepcopy(masked)
        apply_masks(vector, self.plan, [], [keys.self_mask_key(seed, transcript)])
        truth = self.vectors[self.protocol.enrolment.nodes[self.victim]]  # type: ignore[union-attr]
        return bool((vector.ring == truth.ring).all())


def attack_with_another_u1(seed: str, kept: tuple[int, ...] = ()) -> tuple[bytes | None, bool]:
    """The victim is shown a U1 with no more than these of its holders, the others the whole cohort, and then they answer for its b.

    Returns:
        Its b, where it can be reconstructed, and whether the victim's vector is what is left without it.
    """
    attack = Attack(seed)
    lonely = without(attack.everybody, *(holder for at, holder in enumerate(attack.holders) if at not in kept))
    masked = attack.train(attack.victim, attack.request(attack.victim, lonely, dealers=()))
    transcript = state_of(attack.protocol, attack.victim).transcript
    others = without(attack.everybody, attack.victim)
    for index in others:
        attack.train(index, attack.request(index, attack.everybody))
    shares = attack.released(others, attack.everybody)
    secret = attack.recovered(shares.get((attack.victim, ShareOf.SELF_SEED), {}))
    return secret, secret is not None and attack.reads(masked, secret, transcript)


def test_a_victim_is_not_shown_a_u1_of_its_own_without_t_of_its_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ShareHoldersError, match="0 of this party's share-holders are in U1, t = 3"):
        attack_with_another_u1("lonely")
    monkeypatch.setattr(Prepared, "_check_holders", lambda state, living: None)
    secret, read = attack_with_another_u1("lonely")
    assert secret is not None
    assert read  # that rule is what stands between the coordinator and this party's update


@pytest.mark.parametrize("kept", list(combinations(range(4), 3)))
def test_with_t_of_its_holders_in_that_u1_their_masks_stay_on(kept: tuple[int, ...]) -> None:
    """All of its holders answer, so its b is known; those whom it was shown have masked under another transcript, so nothing comes off."""
    secret, read = attack_with_another_u1("split", kept)
    assert secret is not None
    assert not read


def test_who_cuts_off_the_victims_holders_has_nobody_to_answer_for_it() -> None:
    """The victim's holders are made to drop, so that their masks can be taken off; then nobody holds the victim's own mask."""
    attack = Attack("cut")
    masked = {index: attack.train(index, attack.request(index, attack.everybody)) for index in attack.everybody}
    assert masked
    survivors = without(attack.everybody, *attack.holders)
    with pytest.raises(RefusedError):  # five of nine are no quorum
        attack.released(survivors, survivors)

    attack = Attack("cut again")
    for index in attack.everybody:
        attack.train(index, attack.request(index, attack.everybody))
    survivors = without(attack.everybody, *attack.holders[:3])
    shares = attack.released(survivors, survivors)
    assert len(shares.get((attack.victim, ShareOf.SELF_SEED), {})) == 1 < attack.t
    assert (attack.victim, ShareOf.BOX_KEY) not in shares
    assert not set(shares).intersection({(holder, ShareOf.SELF_SEED) for holder in attack.holders[:3]})


# --- parameters --------------------------------------------------------------------------------------------------------------------------


def test_a_party_takes_no_sparse_graph_below_129_parties_nor_easier_numbers_above() -> None:
    def refused(n: int, k: int, t: int) -> str:
        with pytest.raises(ParametersError) as refusal:
            Policy(mode=Mode.MALICIOUS, gamma=0.05, delta=0.05).check_parameters(n, k, t)
        return refusal.value.message

    assert "up to 128 parties" in refused(128, 22, 15)
    assert "secrecy" in refused(200, 36, 23)
    assert "correctness" in refused(200, 32, 24)
    assert "no threshold fits" in refused(200, 20, 14)
    Policy(mode=Mode.MALICIOUS, gamma=0.05, delta=0.05).check_parameters(200, 32, 22)
    strict = Policy(mode=Mode.MALICIOUS, gamma=0.05, delta=0.05, honest_survivors=116)
    with pytest.raises(ParametersError, match=r"isolation: .* a sum of 113 honest inputs, 116 are needed"):
        strict.check_parameters(200, 32, 22)


def test_a_lying_prepare_for_a_real_party_with_easier_numbers() -> None:
    n = 130
    protocol = LocalProtocol(n, Policy(mode=Mode.MALICIOUS, gamma=0.05, delta=0.05), keep_log=False)
    directory = protocol.join().directory
    cohort, plan = tuple(range(n)), plan_of(n, 4).encode()
    for k, t in ((4, 3), (20, 10)):
        header = replace(directory.header, round=1)
        facts = RoundFacts(header, Phase.TRAIN, Mode.MALICIOUS, k, t, plan, cohort, directory.cohort_digest(cohort))
        with pytest.raises(ParametersError):
            protocol.parties[0].answer(facts.request(directory.encoded).encode())
