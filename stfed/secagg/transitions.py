"""What may follow what, on both sides, as data.

Theory of operation. For each run it has joined, a party is in one of six states (`stfed.secagg.client`), and six events move it: the
coordinator's messages, and the moment its own vector is masked. `CLIENT` has, for either mode, the next state for every event a state
takes; what is not in it is a `WrongStepError` that changes nothing. Four things can be read off the tables:

- Going forward, each event fits one state only, and takes the party out of it: TRAIN, CONFIRM and UNMASK happen at most once between two
  PREPAREs, and PREPARE takes a new round number every time. That is the once-only rule.
- In malicious mode no path leads to UNMASK but through CONFIRM; in semi-honest mode there is no CONFIRM.
- PREPARE fits every state. A coordinator that moves on, or lost the round, gives up what is open, and no event leads back into it.
- JOIN fits every state too, in a later epoch: it is how a party starts over. It is the only event for a run that is not known yet.

A message that was answered before is no event: a resend gets the cached bytes and moves nothing (`stfed.secagg.party`).

The coordinator's steps (`stfed.secagg.server`) take replies and error replies in any number, in any order, until they are closed. Only
`close` leads on, and in malicious mode `confirm` in the place of Collecting's; nothing leads back, and a closed step stays closed.

`Party` asks `require` before it runs a handler, the tests hold every entry and every gap of both tables against the real objects, and the
state diagrams of docs/protocol.md are drawn from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from stfed.errors import LocalError
from stfed.secagg.client import ClientState, Confirmed, Joined, Prepared, Ready, Trained, Training
from stfed.secagg.client.holding import Holding
from stfed.secagg.params import Mode
from stfed.secagg.refusals import WrongStepError
from stfed.secagg.server import Collecting, Confirming, Enrolment, Joining, Preparing, Sum, Unmasking


class Event(Enum):
    """What moves a party."""

    JOIN = "JOIN"
    PREPARE = "PREPARE"
    TRAIN = "TRAIN"
    MASKED = "vector masked"
    CONFIRM = "CONFIRM"
    UNMASK = "UNMASK"


_ANYTIME: Mapping[Event, type[ClientState]] = {Event.JOIN: Joined, Event.PREPARE: Prepared}
_UP_TO_TRAINED: Mapping[type[ClientState], Mapping[Event, type[ClientState]]] = {
    Joined: _ANYTIME,
    Ready: _ANYTIME,
    Prepared: {**_ANYTIME, Event.TRAIN: Training},
    Training: {**_ANYTIME, Event.MASKED: Trained},
}

CLIENT: Mapping[Mode, Mapping[type[ClientState], Mapping[Event, type[ClientState]]]] = {
    Mode.SEMI_HONEST: {**_UP_TO_TRAINED, Trained: {**_ANYTIME, Event.UNMASK: Ready}},
    Mode.MALICIOUS: {
        **_UP_TO_TRAINED,
        Trained: {**_ANYTIME, Event.CONFIRM: Confirmed},
        Confirmed: {**_ANYTIME, Event.UNMASK: Ready},
    },
}
"""A party's next state. JOIN means one of a later epoch, PREPARE one of a later round."""


class StepEvent(Enum):
    """What happens to a step of the coordinator; the values are its methods."""

    REPLY = "add"
    ERROR = "fail"
    COMPLAINT = "complain"
    CLOSE = "close"
    CONFIRM = "confirm"


_FED: Mapping[type, Mapping[StepEvent, type]] = {
    kind: {StepEvent.REPLY: kind, StepEvent.ERROR: kind} for kind in (Preparing, Collecting, Confirming, Unmasking)
}
_TRAINING: Mapping[StepEvent, type] = {**_FED[Collecting], StepEvent.COMPLAINT: Collecting}
_UP_TO_PREPARING: Mapping[type, Mapping[StepEvent, type]] = {
    Joining: {StepEvent.REPLY: Joining, StepEvent.CLOSE: Enrolment},
    Preparing: {**_FED[Preparing], StepEvent.CLOSE: Collecting},
}

SERVER: Mapping[Mode, Mapping[type, Mapping[StepEvent, type]]] = {
    Mode.SEMI_HONEST: {
        **_UP_TO_PREPARING,
        Collecting: {**_TRAINING, StepEvent.CLOSE: Unmasking},
        Unmasking: {**_FED[Unmasking], StepEvent.CLOSE: Sum},
    },
    Mode.MALICIOUS: {
        **_UP_TO_PREPARING,
        Collecting: {**_TRAINING, StepEvent.CONFIRM: Confirming},
        Confirming: {**_FED[Confirming], StepEvent.CLOSE: Unmasking},
        Unmasking: {**_FED[Unmasking], StepEvent.CLOSE: Sum},
    },
}
"""The coordinator's next step, where there are enough parties for one; what leads on is a `QuorumError` otherwise."""


def mode_of(state: ClientState) -> Mode:
    """The mode of the epoch that a state belongs to. It was fixed in JOIN and is not a matter of today's policy."""
    match state:
        case Joined():
            return state.mode
        case Ready() | Prepared() | Holding():
            return state.member.directory.mode
        case _:
            raise LocalError(f"{type(state).__name__} is no state of a party")


def require(state: ClientState, event: Event) -> None:
    """Refuses an event that does not belong to this state.

    Raises:
        WrongStepError: it does not; the text says which ones do.
    """
    events = CLIENT[mode_of(state)].get(type(state), {})
    if event not in events:
        waits_for = " or ".join(known.value for known in events)
        raise WrongStepError(
            f"{event.value} does not belong to the state this party is in, {type(state).__name__}, which waits for {waits_for}; "
            "each step happens once per round"
        )
