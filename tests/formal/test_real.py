"""The model against the real parties: its attacks work on them, and they answer what it answers."""

import random
from collections.abc import Iterator

import pytest

from stfed.secagg.messages import ShareOf
from tests.formal.cases import ATTACKS
from tests.formal.model import Action, Confirm, Leak, Model, Prepare, Release, Train, Unmask, View
from tests.formal.real import TAKE_OUT, Real, ResentError, refused_by, taken_out
from tests.formal.rules import Rule, Setting, Without
from tests.formal.symbolic import find
from tests.formal.test_symbolic import named

MOUNTED = [without for without in ATTACKS if without <= set(TAKE_OUT)]


@pytest.mark.parametrize("without", MOUNTED, ids=named)
def test_an_attack_of_the_model_works_on_real_parties_without_these_rules(without: Without) -> None:
    """To the last word of the vector: inputs or secrets come out of bytes that the parties sent."""
    setting = ATTACKS[without]
    found = find(setting, without)
    assert found.leak is not None
    with taken_out(without):
        real = Real(setting, without)
        for action in found.trace[:-1]:
            real.does(action)
        assert not real.learns(found.leak), "the last step is needed"
        real.does(found.trace[-1])
        assert real.learns(found.leak)


@pytest.mark.parametrize("without", MOUNTED, ids=named)
def test_with_the_rules_the_real_party_refuses_at_the_step_at_which_the_model_does(without: Without) -> None:
    setting = ATTACKS[without]
    model, real = Model(setting), Real(setting)
    state = model.start()
    for action in find(setting, without).trace:
        broken = model.broken(state, action)
        if broken:
            refuses(real, action, broken)
            return
        real.does(action)
        state = model.apply(state, action)
    raise AssertionError("nothing was refused")


def refuses(real: Real, action: Action, broken: set[Rule]) -> None:
    with pytest.raises((*refused_by(broken, riding=real.riding), ResentError)) as caught:
        real.does(action)
    if caught.type is ResentError:
        assert broken & {Rule.ONCE_PREPARE, Rule.ONCE_CONFIRM, Rule.ONCE_UNMASK}


WALKS = [Setting(4, 1, 3, 3), Setting(5, 1, 3, 2), Setting(5, 0, 3, 3), Setting(6, 2, 4, 2)]


@pytest.mark.parametrize("riding", [False, True], ids=["alone", "with PREPARE on UNMASK"])
@pytest.mark.parametrize("setting", WALKS, ids=str)
def test_on_random_walks_real_parties_answer_exactly_what_the_model_answers(setting: Setting, riding: bool) -> None:
    rng = random.Random(str(setting))
    model, real = Model(setting), Real(setting, riding=riding)
    start = real.mark()
    answered = dict.fromkeys((Prepare, Train, Confirm, Unmask), 0)
    refused: set[Rule] = set()
    for _ in range(12):
        real.back_to(start)
        state = model.start()
        for action in walk(model, rng):
            if broken := model.broken(state, action):
                refuses(real, action, broken)
                refused |= broken
            else:
                real.does(action)
                state = model.apply(state, action)
                answered[type(action)] += 1
        assert model.leak(state) is None
        b, z = model.known(state)
        for party in range(model.h):
            if real.prepared[party]:
                assert [bool(real.learns_secret(party, of)) for of in ShareOf] == [(party, 0) in b, (party, 0) in z]
    assert min(answered.values()) > 5, answered
    assert refused >= {
        Rule.ONCE_PREPARE,
        Rule.ONCE_TRAIN,
        Rule.SELF_IN_U1,
        Rule.OPENS,
        Rule.U2_IN_U1,
        Rule.SELF_IN_U2,
        Rule.SIGNED_U2,
        Rule.QUORUM,
    }


def walk(model: Model, rng: random.Random) -> Iterator[Action]:
    """Mostly in the order of the steps, mostly sensible, and then anything."""
    kinds = [Prepare] * model.h * 2 + [Train] * model.h * 4 + [Confirm] * model.h * 3 + [Unmask] * model.h * 4
    favourite = mostly_everybody(model, rng)
    for kind in kinds:
        party = rng.randrange(model.h)
        if rng.random() < 0.1:
            kind = rng.choice(kinds)
        chosen = favourite if rng.random() < 0.7 else mostly_everybody(model, rng)
        if kind is Prepare:
            yield Prepare(party, model.everybody)
        elif kind is Train:
            alive = model.everybody if rng.random() < 0.7 else chosen
            masked = alive & model.everybody & ~(1 << party)
            if rng.random() < 0.1:
                masked &= ~(1 << rng.randrange(model.h))
            yield Train(party, View(alive, int(rng.random() < 0.1), masked))
        elif kind is Confirm:
            yield Confirm(party, chosen)
        else:
            yield Unmask(party, Release(chosen))


def mostly_everybody(model: Model, rng: random.Random) -> int:
    chosen = model.everybody
    for party in range(model.setting.parties):
        if rng.random() < 0.15:
            chosen &= ~(1 << party)
    return chosen | (rng.random() < 0.1) << model.setting.parties or 1


def test_what_is_not_known_is_not_learnt() -> None:
    real = Real(Setting(4, 1, 3, 3))
    everybody = 0b1111
    for party in range(3):
        real.does(Prepare(party, everybody))
    for party in range(3):
        real.does(Train(party, View(everybody, 0, everybody & ~(1 << party))))
    assert not real.learns(Leak(both=0))
    assert not real.learns(Leak(combination=(((0, 0, 0), 1),)))
    assert not real.learns(Leak(combination=(((0, 0, 0), 1), ((1, 0, 0), 1), ((2, 0, 0), 1))))
