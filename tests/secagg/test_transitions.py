"""Both tables, every entry and every gap, against the real objects."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from stfed.errors import LocalError, QuorumError
from stfed.secagg import client
from stfed.secagg.client import ClientState, Confirmed, Joined, MaskKeys, Prepared, Ready, Trained, Training
from stfed.secagg.messages import ConfirmRequest, Delivery, Header, TrainRequest, UnmaskRequest
from stfed.secagg.params import Mode
from stfed.secagg.party import Ticket
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import StateLostError, WrongStepError
from stfed.secagg.server import Collecting, Confirming, Joining, Preparing
from stfed.secagg.transcript import MODE_CODES
from stfed.secagg.transitions import CLIENT, SERVER, Event, StepEvent, mode_of, require
from tests.secagg.scene import MALICIOUS, NO_METRICS, Scene, join_request, without

# --- the party ---------------------------------------------------------------------------------------------------------------------------


EITHER = pytest.mark.parametrize("mode", Mode)
POLICIES = {Mode.SEMI_HONEST: Policy(), Mode.MALICIOUS: MALICIOUS}


def entries(table: Any) -> list[tuple[Mode, Any]]:
    return [(mode, kind) for mode in Mode for kind in table[mode]]


def scene_in(state: type[ClientState], mode: Mode = Mode.SEMI_HONEST) -> Scene:
    """A party in this state, with a round behind it where that is possible."""
    scene = Scene(policy=POLICIES[mode])
    if state is Joined:
        return scene
    scene.finishes()
    if state is Prepared:
        scene.at("train")
    elif state is Training:
        scene.at("train").start()
    elif state is Trained:
        scene.at("confirm" if mode is Mode.MALICIOUS else "unmask")
    elif state is Confirmed:
        scene.at("unmask")
    assert type(scene.state()) is state
    return scene


def header(scene: Scene) -> Header:
    """The round that is open, or the last one."""
    return Header(scene.protocol.run, scene.protocol.epoch, scene.protocol.round)


def everybody(scene: Scene) -> tuple[int, ...]:
    return tuple(range(scene.n))


def happens(scene: Scene, event: Event) -> None:
    """The event, as well-formed as it can be in any state: it never arrived before, and its header is right."""
    match event:
        case Event.JOIN:
            mode = MODE_CODES[scene.party.policy.mode]
            scene.answer(join_request(epoch=scene.protocol.epoch + 1, base=scene.protocol.round, mode=mode))
        case Event.PREPARE:
            scene.step = "idle"
            scene.at("prepare")
            scene.answer(scene.request)
        case Event.TRAIN:
            request = scene.request if isinstance(scene.request, TrainRequest) else nobodys_train(scene)
            scene.start(request, content=b"something new".ljust(32))
        case Event.MASKED:
            state = scene.state()
            facts = getattr(state, "facts", None)
            facts = facts if facts is not None and facts.header == header(scene) else stub_facts(scene)
            scene.party.finish_training(Ticket(facts, MaskKeys(facts.header, scene.plan, (), ())), NO_METRICS, 1, bytes(32))
        case Event.CONFIRM:
            scene.answer(ConfirmRequest(header=header(scene), survivors=without(everybody(scene), scene.others[0])))
        case Event.UNMASK if isinstance(scene.state(), Confirmed):
            scene.answer(scene.request)
        case Event.UNMASK:
            scene.answer(UnmaskRequest(header=header(scene), survivors=without(everybody(scene), scene.others[0])))


def nobodys_train(scene: Scene) -> TrainRequest:
    delivery = Delivery(bytes(92), bytes(32), bytes(16), bytes(16))
    return TrainRequest(header=header(scene), alive=everybody(scene), deliveries=(delivery,) * (scene.n - 1))


def stub_facts(scene: Scene) -> Any:
    """The facts of a round that this party is not in any more, or not yet."""
    other = scene_in(Prepared).state()
    assert isinstance(other, Prepared)
    return replace(other.facts, header=header(scene))


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize(("mode", "state"), entries(CLIENT))
def test_every_event_in_every_state(mode: Mode, state: type[ClientState], event: Event) -> None:
    scene = scene_in(state, mode)
    assert mode_of(scene.state()) is mode
    following = CLIENT[mode][state].get(event)
    if following is None:
        wrong = f"^{event.value} does not belong to the state this party is in, {state.__name__}, which waits for JOIN or PREPARE"
        with scene.refuses(WrongStepError, wrong):
            happens(scene, event)
    else:
        happens(scene, event)
        assert type(scene.state()) is following


@pytest.mark.parametrize("event", Event)
def test_a_party_that_is_in_no_run_takes_nothing_but_a_join(event: Event) -> None:
    scene = Scene()
    scene.at("prepare")
    stranger = Scene()
    stranger.store._runs.clear()
    before = stranger.snapshot()
    attempts: dict[Event, Callable[[], Any]] = {
        Event.PREPARE: lambda: stranger.answer(scene.request),
        Event.TRAIN: lambda: stranger.start(nobodys_train(scene)),
        Event.MASKED: lambda: stranger.party.finish_training(
            Ticket(stub_facts(scene), MaskKeys(header(scene), scene.plan, (), ())), NO_METRICS, 1
        ),
        Event.CONFIRM: lambda: stranger.answer(ConfirmRequest(header=header(scene), survivors=everybody(scene))),
        Event.UNMASK: lambda: stranger.answer(UnmaskRequest(header=header(scene), survivors=everybody(scene))),
    }
    if event is Event.JOIN:
        stranger.answer(join_request())
        assert type(stranger.state()) is Joined
        return
    with pytest.raises(StateLostError):
        attempts[event]()
    assert stranger.snapshot() == before


def test_the_tables_have_every_state_that_can_be_stored() -> None:
    states = {kind for kind in vars(client).values() if isinstance(kind, type) and issubclass(kind, ClientState) and "TAG" in vars(kind)}
    assert states == set(CLIENT[Mode.MALICIOUS]) == set(CLIENT[Mode.SEMI_HONEST]) | {Confirmed}
    assert len({state.TAG for state in states}) == len(states)
    for table in CLIENT.values():
        assert set(table) == {following for events in table.values() for following in events.values()}


@EITHER
def test_what_the_theory_of_operation_reads_off_the_table(mode: Mode) -> None:
    table = CLIENT[mode]
    forward = {event for events in table.values() for event in events} - {Event.JOIN, Event.PREPARE}
    for event in forward:
        (state,) = (state for state, events in table.items() if event in events)
        assert table[state][event] is not state
    assert all(events[Event.PREPARE] is Prepared and events[Event.JOIN] is Joined for events in table.values())
    # Without a PREPARE between them, no event happens twice: what TRAIN leads to ends in Ready, in malicious mode through CONFIRM.
    path = [Prepared]
    while step := next((table[path[-1]][event] for event in forward if event in table[path[-1]]), None):
        path.append(step)
    assert path == [Prepared, Training, Trained, *([Confirmed] if mode is Mode.MALICIOUS else []), Ready]
    assert (Event.CONFIRM in forward) == (mode is Mode.MALICIOUS)


def test_a_refusal_says_what_the_party_waits_for() -> None:
    state = scene_in(Ready).state()
    require(state, Event.PREPARE)
    with pytest.raises(WrongStepError, match="TRAIN does not belong to the state this party is in, Ready, which waits for JOIN or PREPARE"):
        require(state, Event.TRAIN)


def test_what_is_no_state_has_no_mode() -> None:
    with pytest.raises(LocalError, match="ClientState is no state of a party"):
        mode_of(ClientState())


# --- the coordinator ---------------------------------------------------------------------------------------------------------------------


def step_of(kind: type, mode: Mode) -> tuple[Any, dict[StepEvent, tuple[Any, ...]]]:
    """A step of a real round that waits for its last reply, and what to call its methods with."""
    scene = Scene(policy=POLICIES[mode])
    if kind is Joining:
        joining = Joining(Header(7, 1, 0), mode, scene.protocol.roster)
        assert scene.protocol.enrolment is not None
        first, second, *_ = scene.protocol.enrolment.directory.encoded
        joining.add(0, first)
        return joining, {StepEvent.REPLY: (1, second), StepEvent.CLOSE: ()}
    if kind is Preparing:
        scene.at("prepare")
        reply_: tuple[Any, ...] = (scene.index, scene.answer(scene.request))
        return scene.preparing, {StepEvent.REPLY: reply_, StepEvent.ERROR: (scene.index, "why"), StepEvent.CLOSE: (scene.content,)}
    if kind is Collecting:
        scene.at("train")
        twin = deepcopy(scene.collecting)
        scene.send_vector(scene.start())
        masked, payload = scene.sent
        return twin, {
            StepEvent.REPLY: (scene.index, masked, payload),
            StepEvent.ERROR: (scene.index, "why"),
            StepEvent.COMPLAINT: (scene.index, b""),
            StepEvent.CLOSE: (),
            StepEvent.CONFIRM: (),
        }
    scene.at("confirm" if kind is Confirming else "unmask")
    return scene.confirming if kind is Confirming else scene.unmasking, {
        StepEvent.REPLY: (scene.index, scene.answer(scene.request)),
        StepEvent.ERROR: (scene.index, "why"),
        StepEvent.CLOSE: (),
    }


def leads_on(kind: type, mode: Mode) -> StepEvent:
    return StepEvent.CONFIRM if kind is Collecting and mode is Mode.MALICIOUS else StepEvent.CLOSE


@pytest.mark.parametrize("event", StepEvent)
@pytest.mark.parametrize(("mode", "kind"), entries(SERVER))
def test_every_event_in_every_step(mode: Mode, kind: type, event: StepEvent) -> None:
    step, arguments = step_of(kind, mode)
    assert type(step) is kind
    following, onward = SERVER[mode][kind].get(event), leads_on(kind, mode)
    if following is None:
        if kind is Collecting:  # each mode has the other one's way on, and refuses it
            with pytest.raises(LocalError, match="CONFIRM"):
                getattr(step, event.value)()
        else:
            assert not hasattr(step, event.value)
        return
    result = getattr(step, event.value)(*arguments[event])
    if event is onward:
        assert type(result) is following
    else:
        assert result is None
        assert following is kind
        assert type(getattr(step, onward.value)(*arguments[onward])) is SERVER[mode][kind][onward]


@pytest.mark.parametrize(("mode", "kind"), entries(SERVER))
def test_a_closed_step_stays_closed_and_hears_nothing_more(mode: Mode, kind: type) -> None:
    step, arguments = step_of(kind, mode)
    onward = leads_on(kind, mode)
    following = getattr(step, onward.value)(*arguments[onward])
    before = deepcopy((step.drops, getattr(following, "drops", None)))
    for event in (StepEvent.REPLY, StepEvent.ERROR, StepEvent.COMPLAINT):
        if event in SERVER[mode][kind]:
            getattr(step, event.value)(*arguments[event])
    assert (step.drops, getattr(following, "drops", None)) == before
    with pytest.raises(LocalError, match=f"{kind.__name__} is closed already"):
        getattr(step, onward.value)(*arguments[onward])


def test_a_step_that_closed_with_too_few_stays_closed_too() -> None:
    joining = Joining(Header(7, 1, 0), Mode.SEMI_HONEST)
    with pytest.raises(QuorumError):
        joining.close()
    with pytest.raises(LocalError, match="closed already"):
        joining.close()
