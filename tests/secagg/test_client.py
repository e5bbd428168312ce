"""The party's states: what each reply is made of, what each state keeps, and that a state comes back from its bytes as it was."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.crypto import aead, agreement, shamir
from stfed.crypto.identity import Identity, verify
from stfed.crypto.labels import Label
from stfed.crypto.random import system_entropy
from stfed.errors import DecodeError, LocalError
from stfed.secagg import client, keys
from stfed.secagg.client import ClientState, Confirmed, Joined, PairwiseKeys, Prepared, Ready, Trained, Training, thaw
from stfed.secagg.directory import Directory
from stfed.secagg.messages import ConfirmRequest, Header, JoinRequest, Prepare, ShareOf
from stfed.secagg.params import Mode, choose
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import ModeError, RoundOrderError, WrongRoundError
from stfed.testing.protocol import LocalProtocol, scripted_entropy
from tests.secagg.scene import MALICIOUS, VICTIM, Scene, assert_equal, plan_of, sum_of, vectors_of

LAZY = Policy(eager_parties=1)


def states(policy: Policy) -> list[ClientState]:
    """One of each, of a real party."""
    scene = Scene(policy=policy)
    found = [scene.state()]
    scene.at("train")
    found.append(scene.state())
    ticket = scene.start()
    found.append(scene.state())
    scene.send_vector(ticket)
    found.append(scene.state())
    scene.answer(scene.collecting.close().request())
    found.append(scene.state())
    assert [type(state) for state in found] == [Joined, Prepared, Training, Trained, Ready]
    return found


def confirmed() -> Confirmed:
    scene = Scene(policy=MALICIOUS).at("unmask")
    state = scene.state()
    assert isinstance(state, Confirmed)
    return state


# --- freeze and thaw ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [Policy(), LAZY], ids=["eager", "lazy"])
def test_a_state_comes_back_as_it_was(policy: Policy) -> None:
    for state in (*states(policy), confirmed()):
        frozen = state.freeze()
        assert thaw(frozen) == state
        assert thaw(frozen).freeze() == frozen


def test_a_truncated_state_or_one_with_more_behind_it_is_refused() -> None:
    for state in (*states(Policy()), confirmed()):
        frozen = state.freeze()
        for bad in (*(frozen[:end] for end in range(len(frozen))), frozen + b"\0"):
            with pytest.raises(DecodeError):
                thaw(bad)


def test_a_damaged_state_is_refused_or_is_another_state() -> None:
    """Under a store that authenticates nothing. A party takes the `ValueError` of what does not fit together for lost state, too."""
    for state in states(Policy()):
        frozen = state.freeze()
        for at in range(len(frozen)):
            changed = bytearray(frozen)
            changed[at] ^= 1 << at % 8
            try:
                assert thaw(bytes(changed)) != state
            except ValueError:
                continue


@pytest.mark.parametrize("tag", [0, 7, 255])
def test_a_state_that_is_not_known_is_refused(tag: int) -> None:
    with pytest.raises(DecodeError, match=f"party state {tag} is not known"):
        thaw(bytes((tag,)))


def test_the_base_state_keeps_nothing() -> None:
    state = ClientState()
    for use in (state.freeze, lambda: state.header):
        with pytest.raises((NotImplementedError, AttributeError)):
            use()


@pytest.mark.parametrize("policy", [Policy(), LAZY], ids=["eager", "lazy"])
def test_no_secret_shows_in_a_repr(policy: Policy) -> None:
    for state in (*states(policy), confirmed()):
        shown = repr(state)
        for name in ("private_key", "values", "self_seed", "seeds", "incoming", "held"):
            assert f"{name}=" not in shown


# --- JOIN --------------------------------------------------------------------------------------------------------------------------------


def test_a_join_publishes_the_key_that_the_state_keeps() -> None:
    state, reply = client.join(JoinRequest(header=Header(7, 1, 0), mode=1), Policy(), None, system_entropy)
    assert reply.public_key == agreement.public_key(state.private_key)
    assert (reply.signature, reply.encode(), reply.header) == (b"", state.own_join, state.header)


def test_in_malicious_mode_a_join_is_signed_by_the_identity_that_it_names() -> None:
    identity = Identity.generate(system_entropy)
    request, policy = JoinRequest(header=Header(7, 1, 0), mode=2), Policy(mode=Mode.MALICIOUS)
    _, reply = client.join(request, policy, identity, system_entropy)
    assert reply.identity == identity.public_bytes
    verify(identity.public_bytes, reply.signature, Label.SIGN_MESSAGE, reply.unsigned())
    with pytest.raises(LocalError, match="needs an identity on every party"):
        client.join(request, policy, None, system_entropy)


# --- pairwise keys -----------------------------------------------------------------------------------------------------------------------


def members(policy: Policy, n: int = 5, base: int = 0) -> list[tuple[client.Membership, PairwiseKeys]]:
    """Everybody's place and keys in one directory."""
    header = Header(7, 1, base)
    joined = [client.join(JoinRequest(header=header, mode=1), policy, None, scripted_entropy(f"party {at}"))[0] for at in range(n)]
    directory = tuple(sorted(state.own_join for state in joined))
    ready = [state.admit(directory, policy) for state in joined]
    return sorted(((state.member, state.keys) for state in ready), key=lambda item: item[0].index)


@pytest.mark.parametrize("policy", [Policy(), LAZY], ids=["eager", "lazy"])
def test_both_ends_derive_the_same_round_key_and_every_pair_and_round_another(policy: Policy) -> None:
    everybody = members(policy)
    seen = set()
    for round_ in (1, 2, 5):
        stepped = [held.step(round_, [other for other in range(5) if other != member.index], member)[1] for member, held in everybody]
        for one, other in combinations(range(5), 2):
            assert stepped[one][other] == stepped[other][one]
            seen.add(stepped[one][other])
    assert len(seen) == 3 * 10


@pytest.mark.parametrize("policy", [Policy(), LAZY], ids=["eager", "lazy"])
def test_skipped_rounds_lead_to_the_same_keys_as_rounds_one_by_one(policy: Policy) -> None:
    member, held = members(policy, base=3)[0]
    walking = held
    for round_ in range(4, 10):
        walking, keys_of_round = walking.step(round_, [1, 2], member)
    jumping, at_once = held.step(9, [1, 2], member)
    assert (jumping, at_once) == (walking, keys_of_round)
    assert jumping.next_round == 10


def test_eager_and_lazy_keys_are_the_same_keys() -> None:
    (member, eager), (_, lazy) = members(Policy())[2], members(LAZY)[2]
    for round_ in (1, 4):
        assert eager.step(round_, [0, 4], member)[1] == lazy.step(round_, [0, 4], member)[1]


def test_eager_keys_forget_the_private_key_and_lazy_ones_keep_it_until_the_epoch_ends() -> None:
    (_, eager), (_, lazy) = members(Policy())[0], members(LAZY)[0]
    assert (eager.private_key, len(eager.values), eager.values[0]) == (b"", 5, b"")
    assert lazy.values == ()
    assert len(lazy.private_key) == 32


@pytest.mark.parametrize(("mode", "cohort", "eager"), [("malicious", 2, True), ("malicious", 1, False), ("semi-honest", 5, False)])
def test_in_malicious_mode_a_directory_of_four_cohorts_is_agreed_on_at_once(mode: str, cohort: int, eager: bool) -> None:
    directory = replace(members(Policy())[0][0].directory, mode=Mode(mode))
    held = PairwiseKeys.agree(bytes(range(32)), directory, 0, LAZY, cohort)
    assert (len(held.values), held.private_key == b"") == (5 if eager else 0, eager)


def test_stepping_leaves_no_key_of_the_round_behind() -> None:
    member, held = members(Policy())[0]
    after, round_keys = held.step(1, [1, 2, 3, 4], member)
    assert set(after.values).isdisjoint({*held.values, *round_keys.values()} - {b""})


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 30), n=st.integers(3, 6))
def test_the_messages_of_a_round_do_not_depend_on_when_keys_are_agreed(seed: int, n: int) -> None:
    logs = []
    for policy in (Policy(), LAZY):
        protocol = LocalProtocol(n, policy, seed=str(seed))
        plan = plan_of(n, 5)
        vectors = vectors_of(plan, n)
        protocol.sum_round(plan, choose(n, 0.1, 0.1), lambda node, vectors=vectors: vectors[node])
        logs.append(protocol.log)
    assert logs[0] == logs[1]


# --- PREPARE -----------------------------------------------------------------------------------------------------------------------------


def prepared() -> tuple[Scene, Prepared, Prepare, dict[int, Prepared]]:
    """The victim's PREPARE, its state behind it, and the states of its neighbours."""
    scene = Scene().at("prepare")
    reply = Prepare.decode(scene.answer(scene.request))
    state = scene.state()
    assert isinstance(state, Prepared)
    assert scene.protocol.enrolment is not None
    nodes = scene.protocol.enrolment.nodes
    theirs: dict[int, Any] = {other: scene.state(nodes[other]) for other in scene.others}
    return scene, state, reply, theirs


def test_every_holder_can_open_its_shares_and_any_t_of_them_give_what_was_committed_to() -> None:
    scene, state, reply, theirs = prepared()
    header, facts = state.header, state.facts
    digest = keys.commitments_digest(
        header, scene.index, reply.commit_self_seed, reply.commit_box_key, reply.box, keys.published(reply.dealt)
    )
    shares = []
    for point, (holder, dealt) in enumerate(zip(state.neighbours, reply.dealt, strict=True), start=1):
        key = theirs[holder].incoming[theirs[holder].neighbours.index(scene.index)]
        associated = keys.share_associated_data(header, scene.index, holder, point, facts.t, facts.k, digest)
        opened = aead.open_random(key, dealt.sealed, associated)
        assert keys.share_hash(opened[:32], ShareOf.SELF_SEED, header, scene.index, holder) == dealt.self_seed_hash
        assert keys.share_hash(opened[32:], ShareOf.BOX_KEY, header, scene.index, holder) == dealt.box_key_hash
        shares.append((opened[:32], opened[32:]))
    for chosen in combinations(range(facts.k), facts.t):
        points = [at + 1 for at in chosen]
        secrets = shamir.reconstruct(points, np.stack([[shamir.from_bytes(shares[at][which]) for at in chosen] for which in (0, 1)]))
        b, z = map(shamir.to_bytes, secrets)
        assert b == state.self_seed
        assert keys.commit_self_seed(b, header, scene.index) == reply.commit_self_seed
        assert keys.commit_box_key(z, header, scene.index) == reply.commit_box_key
    opened = aead.open_(keys.box_key(z, header, scene.index), bytes(12), reply.box, keys.box_associated_data(header, scene.index))
    assert opened == b"".join(state.seeds)


def test_both_ends_commit_to_the_same_seed_and_nobody_else_knows_it() -> None:
    _, state, reply, theirs = prepared()
    for at, other in enumerate(state.neighbours):
        mine = theirs[other].neighbours.index(state.member.index)
        assert theirs[other].seeds[mine] == state.seeds[at]
        assert keys.commit_pairwise_seed(state.seeds[at], state.header, state.member.index, other) == reply.dealt[at].seed_commitment
        assert sum(state.seeds[at] in somebody.seeds for somebody in theirs.values()) == 1


def test_every_key_of_a_round_is_used_for_one_thing() -> None:
    _, state, reply, _ = prepared()
    everything = [*state.seeds, *state.incoming, state.self_seed, *(key for key in state.keys.values if key)]
    assert len(set(everything)) == len(everything)
    nonces = [dealt.sealed[:12] for dealt in reply.dealt]
    assert len(set(nonces)) == len(nonces)


def test_two_rounds_share_no_secret() -> None:
    scene = Scene().at("train")
    first = scene.state()
    scene.finishes()
    second = scene.at("train").state()
    assert isinstance(first, Prepared)
    assert isinstance(second, Prepared)
    assert {*first.seeds, *first.incoming, first.self_seed}.isdisjoint({*second.seeds, *second.incoming, second.self_seed})


# --- masks -------------------------------------------------------------------------------------------------------------------------------


def test_what_one_end_adds_the_other_subtracts_and_each_self_mask_stays() -> None:
    scene = Scene().at("prepare")
    scene.preparing.add(scene.index, scene.answer(scene.request))
    collecting = scene.preparing.close(scene.content)
    assert scene.protocol.enrolment is not None
    parties = [scene.protocol.parties[node] for node in scene.protocol.enrolment.nodes]
    requests = [collecting.request(index).encode() for index in collecting.alive]
    masks = [party.start_training(request, scene.content).masks for party, request in zip(parties, requests, strict=True)]
    added = [key for mask in masks for key in mask.add]
    subtracted = [key for mask in masks for key in mask.subtract]
    assert len(added) == len(set(added)) == 15 + 6  # an edge each, and a self-mask each
    assert len(subtracted) == len(set(subtracted)) == 15
    assert set(subtracted) < set(added)
    assert [len(mask.subtract) for mask in masks] == [0, 1, 2, 3, 4, 5]


def test_only_neighbours_in_u1_are_masked_against() -> None:
    scene = Scene().at("train")
    gone = scene.others[:2]
    masks = scene.start(scene.left(*gone)).masks
    assert len(masks.add) + len(masks.subtract) == 1 + 3


def test_masks_go_on_a_vector_of_the_plan_only() -> None:
    scene = Scene().at("train")
    ticket = scene.start()
    with pytest.raises(LocalError):
        ticket.masks.apply(vectors_of(plan_of(6, 41), 1)[0])
    with pytest.raises(LocalError):
        ticket.masks.apply(vectors_of(plan_of(6, 40, 16), 1)[0])


def test_a_masked_vector_is_reduced_into_its_ring() -> None:
    scene = Scene(ring_bits=13).at("train")
    (vector,) = vectors_of(scene.plan, 1)
    scene.start().masks.apply(vector)
    assert int(vector.ring.max()) < 1 << 13
    assert int(vector.wide.max()) < 1 << 30


def test_a_sum_of_vectors_is_what_python_says() -> None:
    """The yardstick of these tests against the sum of the package."""
    plan = plan_of(4, 9, 17)
    vectors = vectors_of(plan, 4)
    expected = sum_of(plan, vectors, range(4))
    total = vectors[0]
    for vector in vectors[1:]:
        total.add(vector, plan)
    total.reduce(plan)
    assert_equal(total, expected)


# --- what the party in front of a state sees to as well ----------------------------------------------------------------------------------


def test_a_state_refuses_a_round_of_another_run_or_epoch_by_itself() -> None:
    scene = Scene()
    scene.finishes()
    request = scene.at("prepare").request
    state = scene.state()
    assert isinstance(state, Ready)
    for header in (replace(request.header, run=8), replace(request.header, epoch=2)):
        with pytest.raises(WrongRoundError, match="another run, epoch or suite"):
            state.prepare(replace(request, header=header), Policy(), system_entropy)


def test_a_malicious_round_is_never_unmasked_without_confirm() -> None:
    scene = Scene().at("unmask")
    state = scene.state()
    assert isinstance(state, Trained)
    malicious = replace(state, facts=replace(state.facts, mode=Mode.MALICIOUS))
    with pytest.raises(ModeError, match="malicious mode needs CONFIRM before UNMASK"):
        malicious.unmask(scene.request, Policy())
    confirm = ConfirmRequest(header=scene.request.header, survivors=scene.request.survivors)
    with pytest.raises(ModeError, match="CONFIRM belongs to malicious mode, the round is semi-honest"):
        state.confirm(confirm, Policy(), scene.protocol.identities[VICTIM])


def test_a_directory_of_one_has_nobody_to_agree_with() -> None:
    policy = Policy()
    state, reply = client.join(JoinRequest(header=Header(7, 1, 0), mode=1), policy, None, system_entropy)
    ready = state.admit((reply.encode(),), policy)
    assert ready.keys.values == (b"",)
    assert ready.member.directory == Directory.of(Header(7, 1, 0), Mode.SEMI_HONEST, [reply.encode()])


def test_the_largest_round_number_is_the_last() -> None:
    """2^32 - 1 is a round like any other, and none comes after it."""
    scene = Scene()
    scene.protocol.round = (1 << 32) - 2
    scene.protocol.join()
    scene.finishes()
    assert scene.protocol.round == (1 << 32) - 1
    with scene.refuses(RoundOrderError, "the next one is 4294967296"):
        scene.answer(replace(scene.preparing.request(), plan=plan_of(6, clip=4.0).encode()))
