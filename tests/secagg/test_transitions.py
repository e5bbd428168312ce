"""Both tables, every entry and every gap, against the real objects."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from stfed.errors import LocalError, QuorumError
from stfed.secagg import client
from stfed.secagg.client import ClientState, Joined, MaskKeys, Prepared, Ready, Trained, Training
from stfed.secagg.messages import Delivery, Header, TrainRequest, UnmaskRequest
from stfed.secagg.params import Mode
from stfed.secagg.party import Ticket
from stfed.secagg.refusals import StateLostError, WrongStepError
from stfed.secagg.server import Collecting, Joining, Preparing
from stfed.secagg.transitions import CLIENT, SERVER, Event, StepEvent, diagram, require
from tests.secagg.scene import NO_METRICS, Scene, join_request, without

# --- the party ---------------------------------------------------------------------------------------------------------------------------


def scene_in(state: type[ClientState]) -> Scene:
    """A party in this state, with a round behind it where that is possible."""
    scene = Scene()
    if state is Joined:
        return scene
    scene.finishes()
    if state is Prepared:
        scene.at("train")
    elif state is Training:
        scene.at("train").start()
    elif state is Trained:
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
            scene.answer(join_request(epoch=scene.protocol.epoch + 1, base=scene.protocol.round))
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
            scene.party.finish_training(Ticket(facts, MaskKeys(facts.header, scene.plan, (), ())), NO_METRICS, 1)
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
@pytest.mark.parametrize("state", CLIENT)
def test_every_event_in_every_state(state: type[ClientState], event: Event) -> None:
    scene = scene_in(state)
    following = CLIENT[state].get(event)
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
        Event.UNMASK: lambda: stranger.answer(UnmaskRequest(header=header(scene), survivors=everybody(scene))),
    }
    if event is Event.JOIN:
        stranger.answer(join_request())
        assert type(stranger.state()) is Joined
        return
    with pytest.raises(StateLostError):
        attempts[event]()
    assert stranger.snapshot() == before


def test_the_table_has_every_state_that_can_be_stored() -> None:
    states = {kind for kind in vars(client).values() if isinstance(kind, type) and issubclass(kind, ClientState) and "TAG" in vars(kind)}
    assert states == set(CLIENT) == {following for events in CLIENT.values() for following in events.values()}
    assert len({state.TAG for state in states}) == len(states)


def test_what_the_theory_of_operation_reads_off_the_table() -> None:
    forward = {Event.TRAIN, Event.MASKED, Event.UNMASK}
    for event in forward:
        (state,) = (state for state, events in CLIENT.items() if event in events)
        assert CLIENT[state][event] is not state
    assert all(events[Event.PREPARE] is Prepared and events[Event.JOIN] is Joined for events in CLIENT.values())
    # Without a PREPARE between them, no event happens twice: what TRAIN leads to ends in Ready.
    path = [Prepared]
    while step := next((CLIENT[path[-1]][event] for event in forward if event in CLIENT[path[-1]]), None):
        path.append(step)
    assert path == [Prepared, Training, Trained, Ready]


def test_a_refusal_says_what_the_party_waits_for() -> None:
    state = scene_in(Ready).state()
    require(state, Event.PREPARE)
    with pytest.raises(WrongStepError, match="TRAIN does not belong to the state this party is in, Ready, which waits for JOIN or PREPARE"):
        require(state, Event.TRAIN)


# --- the coordinator ---------------------------------------------------------------------------------------------------------------------


def step_of(kind: type) -> tuple[Any, dict[StepEvent, tuple[Any, ...]]]:
    """A step of a real round that waits for its last reply, and what to call its methods with."""
    scene = Scene()
    if kind is Joining:
        joining = Joining(Header(7, 1, 0), Mode.SEMI_HONEST)
        other, reply = Scene(), Scene()
        assert other.protocol.enrolment is not None
        assert reply.protocol.enrolment is not None
        joining.add(0, other.protocol.enrolment.directory.encoded[0])
        return joining, {StepEvent.REPLY: (1, reply.protocol.enrolment.directory.encoded[0]), StepEvent.CLOSE: ()}
    if kind is Preparing:
        scene.at("prepare")
        reply_: tuple[Any, ...] = (scene.index, scene.answer(scene.request))
        return scene.preparing, {StepEvent.REPLY: reply_, StepEvent.ERROR: (scene.index, "why"), StepEvent.CLOSE: (scene.content,)}
    if kind is Collecting:
        scene.at("train")
        twin = deepcopy(scene.collecting)
        scene.send_vector(scene.start())
        masked, payload = scene.sent
        return twin, {StepEvent.REPLY: (scene.index, masked, payload), StepEvent.ERROR: (scene.index, "why"), StepEvent.CLOSE: ()}
    scene.at("unmask")
    return scene.unmasking, {
        StepEvent.REPLY: (scene.index, scene.answer(scene.request)),
        StepEvent.ERROR: (scene.index, "why"),
        StepEvent.CLOSE: (),
    }


@pytest.mark.parametrize("event", StepEvent)
@pytest.mark.parametrize("kind", SERVER)
def test_every_event_in_every_step(kind: type, event: StepEvent) -> None:
    step, arguments = step_of(kind)
    assert type(step) is kind
    following = SERVER[kind].get(event)
    if following is None:
        assert not hasattr(step, event.value)
        return
    result = getattr(step, event.value)(*arguments[event])
    if event is StepEvent.CLOSE:
        assert type(result) is following
    else:
        assert result is None
        assert following is kind
        assert type(step.close(*arguments[StepEvent.CLOSE])) is SERVER[kind][StepEvent.CLOSE]


@pytest.mark.parametrize("kind", SERVER)
def test_a_closed_step_stays_closed_and_hears_nothing_more(kind: type) -> None:
    step, arguments = step_of(kind)
    following = step.close(*arguments[StepEvent.CLOSE])
    before = deepcopy((step.drops, getattr(following, "drops", None)))
    for event in (StepEvent.REPLY, StepEvent.ERROR):
        if event in SERVER[kind]:
            getattr(step, event.value)(*arguments[event])
    assert (step.drops, getattr(following, "drops", None)) == before
    with pytest.raises(LocalError, match=f"{kind.__name__} is closed already"):
        step.close(*arguments[StepEvent.CLOSE])


def test_a_step_that_closed_with_too_few_stays_closed_too() -> None:
    joining = Joining(Header(7, 1, 0), Mode.SEMI_HONEST)
    with pytest.raises(QuorumError):
        joining.close()
    with pytest.raises(LocalError, match="closed already"):
        joining.close()


# --- the diagrams ------------------------------------------------------------------------------------------------------------------------


def test_the_diagrams_have_every_arrow() -> None:
    drawn = diagram(CLIENT)
    assert drawn.startswith("stateDiagram-v2\n    [*] --> Joined\n    Joined --> Joined: JOIN\n")
    assert drawn.count("-->") == 1 + sum(map(len, CLIENT.values()))
    assert "    Training --> Trained: vector masked\n" in drawn
    steps = diagram(SERVER)
    assert steps.count("-->") == 4 + sum(map(len, SERVER.values()))
    for line in ("[*] --> Joining", "[*] --> Preparing", "Enrolment --> [*]", "Sum --> [*]", "Collecting --> Unmasking: close"):
        assert f"    {line}\n" in steps
