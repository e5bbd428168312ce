"""Who is meant by what is given as a recipient."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stfed.errors import LocalError, MalformedError
from stfed.keys import Member, Role, Roster, RosterError, SigningKey
from stfed.library.addressees import Addressee, addressees
from tests.library.homes import identities, key_file

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KEYS = [identity.recipient for identity in identities()]


def member(name: str, number: int, *roles: str) -> Member:
    return Member(name, frozenset(roles), KEYS[number])


ROSTER = Roster("Study", (member("North", 0, Role.RECIPIENT), member("South", 1, Role.RECIPIENT), member("Office", 2, Role.OWNER)))


def test_a_key_may_be_given_in_every_form(tmp_path: Path) -> None:
    path = key_file(tmp_path / "north.key", 0)
    for given in (path, str(path)):
        assert addressees(given, None, NOW) == (Addressee("north", KEYS[0]),)
    for key in (KEYS[0], str(KEYS[0])):
        assert addressees([key], None, NOW) == (Addressee(KEYS[0].fingerprint, KEYS[0]),)


def test_everybody_counts_once_and_has_a_name_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = key_file(tmp_path / "a" / "site.key", 0), key_file(tmp_path / "b" / "site.key", 1)
    found = addressees([first, second, KEYS[0], KEYS[2]], None, NOW)
    assert [one.key for one in found] == KEYS[:3]
    assert [one.name for one in found] == [f"site-{KEYS[0].fingerprint}", f"site-{KEYS[1].fingerprint}", KEYS[2].fingerprint]


def test_nobody_is_refused() -> None:
    with pytest.raises(LocalError, match="nobody to hand it to"):
        addressees([], None, NOW)
    with pytest.raises(LocalError, match="nobody to hand it to"):
        addressees(replace(ROSTER, members=ROSTER.members[2:]), None, NOW)


def test_what_is_no_public_key_is_refused_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="there is no key file"):
        addressees("north", None, NOW)
    secret = identities()[0].secret_string()
    with pytest.raises((LocalError, MalformedError)) as error:
        addressees(secret, None, NOW)
    assert secret not in str(error.value)


def test_names_and_keys_of_a_roster() -> None:
    assert addressees(["South", KEYS[0]], ROSTER, NOW) == (Addressee("South", KEYS[1]), Addressee("North", KEYS[0]))
    assert [one.name for one in addressees(ROSTER, None, NOW)] == ["North", "South"]


def test_a_roster_has_the_last_word(tmp_path: Path) -> None:
    for given in ("Office", KEYS[2], KEYS[3], key_file(tmp_path / "stranger.key", 3)):
        with pytest.raises(RosterError):
            addressees([given], ROSTER, NOW)
    revoked = ROSTER.revoke("South", NOW)
    for given in ("South", KEYS[1]):
        with pytest.raises(RosterError, match="revoked"):
            addressees(["North", given], revoked, NOW)
        with pytest.raises(RosterError, match="revoked"):  # a roster as it was before, or of somebody else
            addressees(ROSTER, revoked, NOW)
    signing = Roster("Study", (Member("North", frozenset([Role.PARTY]), signing=SigningKey.generate().public),))
    with pytest.raises(LocalError, match="no key to encrypt to"):
        addressees("North", signing, NOW)
