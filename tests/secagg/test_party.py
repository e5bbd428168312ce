"""The party as one object: resends, crashes, lost state, races between processes, what is left of a round in its store, and any bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.crypto import shamir
from stfed.errors import DecodeError
from stfed.secagg.client import Joined, Prepared, Ready, Trained, Training
from stfed.secagg.messages import Join, UnmaskRequest
from stfed.secagg.party import Party, Ticket
from stfed.secagg.refusals import (
    ContentReuseError,
    RefusedError,
    RoundOrderError,
    StateLostError,
    WrongStepError,
)
from stfed.secagg.store import MemoryStore, Transaction
from tests.secagg.scene import NO_METRICS, Scene, join_request, without

STEPS = ("prepare", "train", "unmask")


# --- a resend ----------------------------------------------------------------------------------------------------------------------------


def test_a_resend_gets_identical_bytes_from_another_process_too() -> None:
    scene = Scene()
    for step in ("prepare", "unmask"):
        request = scene.at(step).request.encode()
        first = scene.answer(request)
        before = scene.snapshot()
        assert scene.answer(request) == scene.restart().answer(request) == first
        assert scene.snapshot() == before
    scene.finishes()


def test_an_unmask_of_the_round_before_is_refused_even_byte_for_byte() -> None:
    scene = Scene()
    request = scene.at("unmask").request
    scene.finishes()
    scene.at("train")
    with scene.refuses(WrongStepError):
        scene.answer(request)
    scene.finishes()


def test_what_is_answered_is_stored_first() -> None:
    """A store that cannot commit lets nothing out, and the party is where it was."""
    scene = Scene()
    broken = BrokenStore(scene.store)
    for step in STEPS:
        scene.at(step)  # type: ignore[arg-type]
        before = scene.snapshot()
        with pytest.raises(OSError, match="disk full"):
            act(scene, Party(broken, scene.policy))
        assert scene.snapshot() == before
        if step == "train":
            ticket = scene.start()
            with pytest.raises(OSError, match="disk full"):
                Party(broken, scene.policy).finish_training(ticket, NO_METRICS, 1)
            assert isinstance(scene.state(), Training)
            scene.send_vector(ticket)
            scene.unmasking = scene.collecting.close()
            scene.request, scene.step = scene.unmasking.request(), "unmask"
            scene._others_unmask()
    scene.finishes()


def act(scene: Scene, party: Party) -> bytes | Ticket:
    """Gives a party the message that the victim is owed."""
    if scene.step == "train":
        return party.start_training(scene.request.encode(), scene.content)
    return party.answer(scene.request.encode())


class BrokenStore:
    """Reads from a store and fails when it should commit."""

    def __init__(self, inner: MemoryStore) -> None:
        self._inner = inner

    @contextmanager
    def transaction(self, run: int) -> Iterator[Transaction]:
        with self._inner.transaction(run) as transaction:
            yield transaction
            raise OSError("disk full")


# --- crashes and lost state --------------------------------------------------------------------------------------------------------------


def test_a_party_found_in_training_after_a_crash_has_lost_the_round_and_nothing_else() -> None:
    scene = Scene().at("train")
    request, content = scene.request, scene.content
    scene.start()
    scene.party = scene.restart()
    assert isinstance(scene.state(), Training)
    with scene.refuses(WrongStepError):
        scene.start(request, content)
    with scene.refuses(WrongStepError):
        scene.answer(UnmaskRequest(header=request.header, survivors=request.alive))
    scene.step = "idle"
    scene.finishes()


def test_a_content_whose_round_was_lost_in_a_crash_stays_used() -> None:
    scene = Scene().at("train")
    content = scene.content
    scene.start()
    scene.step = "idle"
    scene.at("train")
    with scene.refuses(ContentReuseError):
        scene.start(content=content)
    scene.finishes()


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: data + b"\0", lambda _: bytes((0, 0, 0, 1, 99, 0, 0, 0, 0)), lambda _: b""],
    ids=["truncated", "trailing", "no state", "empty"],
)
def test_a_party_whose_record_is_damaged_says_so_and_joins_again_with_a_new_key(damage: Callable[[bytes], bytes]) -> None:
    scene = Scene()
    scene.finishes()
    old_key = own_join(scene).public_key
    scene.at("prepare")
    record = scene.store._runs[scene.protocol.run]
    record.record = damage(record.record)
    for attempt in (scene.request.encode(), join_request()):
        with scene.refuses(StateLostError, "cannot be read"):
            scene.answer(attempt)
    with scene.refuses(RoundOrderError):  # the position is kept outside the record: a number is never used twice
        scene.answer(join_request(epoch=2, base=0))
    scene.step = "idle"
    scene.protocol.join()
    assert isinstance(scene.state(), Joined)
    assert own_join(scene).public_key != old_key
    scene.finishes()


def own_join(scene: Scene) -> Join:
    assert scene.protocol.enrolment is not None
    return scene.protocol.enrolment.directory.join(scene.index)


def test_a_party_that_never_joined_refuses_everything_but_join() -> None:
    scene = Scene()
    stranger = Party(MemoryStore())
    for step in STEPS:
        scene.at(step)  # type: ignore[arg-type]
        with pytest.raises(StateLostError, match="has not joined this run"):
            act(scene, stranger)
    assert stranger.answer(join_request())


def test_runs_are_apart() -> None:
    store = MemoryStore()
    party = Party(store)
    joins = {run: Join.decode(party.answer(join_request(run=run))) for run in (1, 2)}
    assert joins[1].public_key != joins[2].public_key
    assert party.answer(join_request(run=1)) == joins[1].encode()


# --- two processes on one store ----------------------------------------------------------------------------------------------------------


def race(*contenders: Callable[[], Any]) -> list[Any]:
    """All at once; what each got, or the error it got."""
    start = threading.Barrier(len(contenders))
    results: list[Any] = [None] * len(contenders)

    def run(at: int) -> None:
        start.wait()
        try:
            results[at] = contenders[at]()
        except Exception as error:
            results[at] = error

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(contenders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_many_trains_at_once_exactly_one_wins() -> None:
    scene = Scene().at("train")
    request, contents = scene.request.encode(), [bytes((at,)) * 32 for at in range(8)]
    results = race(*(lambda content=content: scene.restart().start_training(request, content) for content in contents))
    (ticket,) = [result for result in results if isinstance(result, Ticket)]
    assert {type(result) for result in results if result is not ticket} == {WrongStepError}
    assert isinstance(scene.state(), Training)


def test_of_many_ends_of_one_training_exactly_one_lets_its_vector_out() -> None:
    scene = Scene().at("train")
    ticket = scene.start()
    results = race(*(lambda: scene.restart().finish_training(ticket, NO_METRICS, 1) for _ in range(8)))
    assert sorted(type(result).__name__ for result in results) == ["WrongStepError"] * 7 + ["bytes"]


def test_of_many_survivor_sets_at_once_exactly_one_is_answered() -> None:
    scene = Scene().at("unmask")
    requests = [scene.but(survivors=without(scene.request.survivors, other)).encode() for other in scene.others]
    results = race(*(lambda request=request: scene.restart().answer(request) for request in (*requests, *requests)))
    answers = {result for result in results if isinstance(result, bytes)}
    assert len(answers) == 1
    assert {type(result) for result in results if not isinstance(result, bytes)} == {WrongStepError}
    assert isinstance(scene.state(), Ready)


def test_of_many_prepares_of_one_round_at_once_exactly_one_is_answered() -> None:
    scene = Scene()
    scene.finishes()
    scene.at("prepare")
    requests = [scene.but(t=t).encode() for t in (3, 4, 5)]
    results = race(*(lambda request=request: scene.restart().answer(request) for request in (*requests, *requests)))
    assert len({result for result in results if isinstance(result, bytes)}) == 1
    assert {type(result) for result in results if not isinstance(result, bytes)} == {RoundOrderError}


def test_of_many_joins_of_one_epoch_at_once_all_get_the_same_bytes() -> None:
    store = MemoryStore()
    assert len(set(race(*(lambda: Party(store).answer(join_request()) for _ in range(8))))) == 1


# --- forward secrecy ---------------------------------------------------------------------------------------------------------------------


def secrets_of_a_round(scene: Scene) -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """Walks the victim through a round; after each step: its name, and all secrets that the states so far have held."""
    known: dict[str, list[bytes]] = {}

    def seen() -> dict[str, list[bytes]]:
        match state := scene.state():
            case Joined():
                known["private key"] = [state.private_key]
            case Ready():
                known["K after the round"] = [key for key in state.keys.values if key]
            case Prepared():
                known["K after the round"] = [key for key in state.keys.values if key]
                known["b"] = [state.self_seed]
                known["s_ij"] = list(state.seeds)
                known["keys of incoming shares"] = list(state.incoming)
            case Training() | Trained():
                known["shares of b"] = [share for _, share, _ in state.held]
                known["shares of z"] = [share for _, _, share in state.held]
        return known

    yield "joined", seen()
    scene.at("train")
    # K(r) itself is in no state: PREPARE ratchets it in the same transaction. What it was is worked out from the JOIN's key.
    joined = known["private key"][0]
    prepared = scene.state()
    assert isinstance(prepared, Prepared)
    member = prepared.member
    pairwise = type(prepared.keys).agree(joined, member.directory, member.index, scene.party.policy, scene.n)
    known["K of the round"] = [key for key in pairwise.values if key]
    known["R of the round"] = list(pairwise.step(prepared.header.round, prepared.neighbours, member)[1].values())
    known["z"] = [box_secret(scene)]
    yield "prepared", seen()
    ticket = scene.start()
    known["mask keys"] = [*ticket.masks.add, *ticket.masks.subtract]
    yield "training", seen()
    scene.send_vector(ticket)
    yield "trained", seen()
    scene.unmasking = scene.collecting.close()
    scene.answer(scene.unmasking.request())
    yield "ready", seen()


def box_secret(scene: Scene) -> bytes:
    """The victim's z, from the shares that t of the others hold. The victim itself forgot it before PREPARE left."""
    assert scene.protocol.enrolment is not None
    points, shares = [], []
    for holder in scene.others[: scene.parameters.t]:
        state = scene.state(scene.protocol.enrolment.nodes[holder])
        assert isinstance(state, Trained)
        points.append(state.facts.graph().point(scene.index, holder))
        shares.append(next(share_z for dealer, _, share_z in state.held if dealer == scene.index))
    return shamir.to_bytes(shamir.reconstruct(points, np.stack([[shamir.from_bytes(share) for share in shares]]))[0])


ALLOWED = {
    "joined": {"private key"},
    "prepared": {"K after the round", "b", "s_ij", "keys of incoming shares"},
    "training": {"K after the round", "shares of b", "shares of z"},
    "trained": {"K after the round", "shares of b", "shares of z"},
    # The shares of b have just been released, and stay in the cached reply until the next PREPARE.
    "ready": {"K after the round", "shares of b"},
}


def test_a_record_holds_the_secrets_of_its_state_and_none_of_an_earlier_one() -> None:
    scene = Scene()
    for state, secrets in secrets_of_a_round(scene):
        record = scene.record()
        found = {name for name, values in secrets.items() if any(value in record for value in values)}
        assert found == ALLOWED[state], state
        assert all(all(value in record for value in secrets[name]) for name in found), f"the search of {state} finds what is there"


def test_no_secret_shows_in_a_repr_or_an_error() -> None:
    scene = Scene()
    shown = []
    for _, secrets in secrets_of_a_round(scene):
        shown += [repr(scene.state()), repr(scene.party), repr(scene.store._runs), repr(scene.request)]
        with pytest.raises(RefusedError) as caught:
            scene.answer(UnmaskRequest(header=scene.state().header, survivors=()))
        shown += [repr(caught.value), str(caught.value)]
        text = "".join(shown)
        for values in secrets.values():
            assert not any(value.hex() in text or repr(value)[2:-1] in text for value in values)


def test_after_the_next_prepare_nothing_of_the_round_is_left() -> None:
    scene = Scene()
    for _, secrets in secrets_of_a_round(scene):
        everything = dict(secrets)
    scene.step = "idle"
    scene.at("train")
    record = scene.record()
    assert not any(value in record for values in everything.values() for value in values)


# --- any bytes ---------------------------------------------------------------------------------------------------------------------------


def refused_or_understood(scene: Scene, attempt: Callable[[], Any]) -> bool:
    """Whether it was understood. A refusal is one of ours and changes nothing; what was understood is undone again."""
    before = scene.snapshot()
    try:
        attempt()
    except (DecodeError, RefusedError):
        assert scene.snapshot() == before
        return False
    scene.restore(before)
    return True


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert not refused_or_understood(QUIET, lambda: QUIET.answer(data))
    assert not refused_or_understood(QUIET, lambda: QUIET.start(data))


# What may change in PREPARE and still be a sensible request: the phase, t, and the plan's clip, weights, slots and names.
@pytest.mark.parametrize(("step", "sensible"), [("prepare", 40), ("train", 0), ("unmask", 0)])
def test_a_request_with_any_one_bit_changed_is_refused_or_makes_sense(step: Any, sensible: int) -> None:
    scene = Scene()
    scene.finishes()
    data = scene.at(step).request.encode()
    send = scene.start if step == "train" else scene.answer
    understood = 0
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        understood += refused_or_understood(scene, lambda request=bytes(changed): send(request))
    assert understood <= sensible
    scene.finishes()


QUIET = Scene().at("train")
