"""Every lie of the demo is refused by the rule that is there for it; and with that rule taken out, it ends with the victim's image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message

from stfed.demo.attack import Attack, mount
from stfed.demo.lies import LIES, all_others_gone, asked_twice, in_clear, invented, split_view, swapped_keys, two_alone, two_shares_enough
from stfed.demo.recovery import EXACT, closeness
from stfed.demo.world import VICTIM, World
from stfed.flower import records
from stfed.flower.mod import SecAggMod
from stfed.secagg.client.confirmed import Confirmed
from stfed.secagg.client.prepared import Prepared
from stfed.secagg.params import Mode
from stfed.secagg.party import Party
from stfed.secagg.policy import Policy
from stfed.secagg.record import Record
from stfed.secagg.roster import PartyRoster

RULES = {
    in_clear: {"PlainMessageError"},
    two_alone: {"CohortTooSmallError"},
    all_others_gone: {"CohortTooSmallError"},
    two_shares_enough: {"ParametersError"},
    asked_twice: {"WrongStepError"},
}
"""In both modes."""
MALICIOUS = {split_view: {"ConfirmationQuorumError"}, swapped_keys: {"UnsignedJoinError"}, invented: {"UnknownIdentityError"}}


@pytest.fixture(scope="module")
def attack() -> Attack:
    return mount()


def test_plain_updates_give_every_image_away_and_masked_ones_none(attack: Attack) -> None:
    assert [closeness(one, clinic) > EXACT for clinic, one in attack.plain.items()] == [True] * 5
    assert [abs(attack.closeness(clinic)) < 0.6 for clinic in attack.secure] == [True] * 5
    assert attack.works_on_plain()
    assert attack.leaks() == []


def test_every_lie_is_refused_by_its_rule(attack: Attack) -> None:
    assert len(attack.told) == 15
    for told in attack.told:
        wanted = RULES | (MALICIOUS if told.mode is Mode.MALICIOUS else {})
        assert {answer.rule for answer in told.refusals} == wanted.get(told.lie.tell, set()), told.lie.tries
        assert told.answers


def test_one_lie_is_believed_where_nobody_has_an_identity(attack: Attack) -> None:
    believed = [told for told in attack.told if told.found]
    assert [(told.lie.tell, told.mode) for told in believed] == [(swapped_keys, Mode.SEMI_HONEST)]
    assert believed[0].correlation > EXACT
    assert not believed[0].claimed
    assert "assumes" in " ".join(believed[0].said)


def test_a_lie_that_is_believed_where_it_must_not_be_is_a_leak(attack: Attack) -> None:
    believed = next(told for told in attack.told if told.found)
    (lie,) = (lie for lie in LIES if lie.tell is invented)
    found = type(believed)(lie, Mode.MALICIOUS, believed.answers, believed.picture)
    leaking = Attack(attack.plain, {VICTIM: attack.plain[VICTIM]}, attack.mean, (found,))
    assert len(leaking.leaks()) == 2
    assert not Attack({0: attack.plain[1]}, attack.secure, attack.mean, ()).works_on_plain()


def answers_plainly(self: SecAggMod, message: Message, context: Context, call_next: Any) -> Message:
    answer = SecAggMod._answer
    return call_next(message, context) if records.detach(message.content)[0] is None else answer(self, message, context, call_next)


REAL_UNMASK = Party._unmask


def forgets(self: Party, record: Record, request: bytes) -> tuple[Record, bytes]:
    """A party that answers UNMASK and stays as it was."""
    return record, REAL_UNMASK(self, record, request)[1]


COHORT = [(Policy, name) for name in ("check_cohort", "check_alive", "check_parameters")]
WITHOUT = [
    (two_alone, COHORT),
    (all_others_gone, [(Policy, "check_alive"), (Prepared, "_check_holders")]),
    (two_shares_enough, [(Policy, "check_parameters"), (Confirmed, "_check_confirmations")]),
]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("tell", "checks"), WITHOUT, ids=lambda value: getattr(value, "__name__", None))
def test_without_its_rule_a_lie_finds_the_image(
    tell: Any, checks: list[tuple[Any, str]], mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where, name in checks:
        monkeypatch.setattr(where, name, lambda *_, **__: None)
    picture = tell(World(mode, tmp_path))
    assert picture is not None
    assert closeness(picture, VICTIM) > EXACT


def test_without_the_mods_first_check_a_plain_message_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SecAggMod, "__call__", answers_plainly)
    picture = in_clear(World(Mode.MALICIOUS, tmp_path))
    assert picture is not None
    assert closeness(picture, VICTIM) > EXACT


def test_without_the_roster_four_invented_clinics_are_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartyRoster, "member", lambda self, identity: identity.hex())
    picture = invented(World(Mode.MALICIOUS, tmp_path))
    assert picture is not None
    assert closeness(picture, VICTIM) > EXACT


def test_a_clinic_that_forgets_what_it_answered_gives_both_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Party, "_unmask", forgets)
    picture = asked_twice(World(Mode.SEMI_HONEST, tmp_path))
    assert picture is not None
    assert closeness(picture, VICTIM) > EXACT
