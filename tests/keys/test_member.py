"""Entries of a roster check themselves."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from stfed.errors import LocalError, MalformedError
from stfed.keys.fingerprint import fingerprint
from stfed.keys.member import Member, Retired, Revoked, Role, check_name, folded, parse_key
from tests.keys.material import day, keypair, member, signer

NAIVE = datetime(2026, 1, 1)


@pytest.mark.parametrize("name", ["a", "Zoë", "Dr. 王 (Ward 7)", "a-b_c@d.org", "x" * 64, "अनिता", "abcd-efgh-ijkl"])
def test_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "x" * 65, "a\n", "a\tb", "\x00", "a\u202eb", "a\u200bb", "a\u2028b", " a", "a ", "\u3000a", "a\u0308", "\ud800", "\ue000",
     "\U000e0fff",      "abcd-efgh-ijkl-mnop", "age1xyz", "AGE1PQ1", "stfedsig1", "STFED-SIGNING-KEY-1QQ", "age-secret-key-1"],
)  # fmt: skip
def test_names_that_mislead(name: str) -> None:
    with pytest.raises(LocalError):
        check_name(name)


def test_a_secret_given_as_a_name_is_not_quoted() -> None:
    secret = keypair()[0].secret_string()
    with pytest.raises(LocalError) as caught:
        check_name(secret[:60])
    assert secret[20:40] not in str(caught.value)


@pytest.mark.parametrize(("one", "two"), [("alice", "Alice"), ("strasse", "straße"), ("file", "ﬁle"), ("A", "Ａ")])
def test_names_that_look_alike(one: str, two: str) -> None:
    assert folded(one) == folded(two)
    assert folded(one) != folded(one + "x")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"encryption": None, "signing": None, "roles": frozenset()}, "has no key"),
        ({"encryption": None, "roles": frozenset({"recipient"})}, "no key to encrypt to"),
        ({"roles": frozenset({"owner", "king"})}, "no role 'king'"),
        ({"not_before": NAIVE}, "no time zone"),
        ({"not_after": NAIVE}, "no time zone"),
        ({"not_before": day(2), "not_after": day(2)}, "never valid"),
        ({"not_before": day(3), "not_after": day(2)}, "never valid"),
        ({"not_before": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "before the year 1"),
        ({"not_after": datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=1)))}, "after the year 9999"),
    ],
)
def test_members_that_cannot_be(changes: dict[str, Any], says: str) -> None:
    values = {"name": "alice", "roles": frozenset({"owner"}), "encryption": keypair()[1], "signing": signer().public}
    Member(**values)
    with pytest.raises(LocalError, match=says):
        Member(**values | changes)


def test_roles_are_their_names() -> None:
    assert member("a", "owner").roles == {Role.OWNER}
    assert {str(role) for role in Role} == {"owner", "recipient", "auditor", "party", "coordinator"}


def test_retired_entries() -> None:
    Retired("alice", day(1), signing=signer().public)
    with pytest.raises(LocalError, match="has no key"):
        Retired("alice", day(1))
    with pytest.raises(LocalError, match="no time zone"):
        Retired("alice", NAIVE, signing=signer().public)


def test_revoked_entries() -> None:
    for key in (keypair()[1], signer().public):
        for text in (str(key), key.fingerprint):
            assert Revoked("alice", text, day(1)).fingerprint == key.fingerprint
        assert parse_key(str(key)) == key
    for text in ("", "alice", "ABCD-EFGH-IJKL-MNOP", "abcd-efgh-ijkl-mnop\n", "abcd-efgh-ijkl-mno1", str(keypair()[1])[:-1]):
        with pytest.raises(MalformedError):
            Revoked("alice", text, day(1))
    with pytest.raises(LocalError, match="no time zone"):
        Revoked("alice", signer().public.fingerprint, NAIVE)
    for reason in ("x" * 257, "a\nb", "\x1b[2J"):
        with pytest.raises(LocalError, match="the reason why"):
            Revoked("alice", signer().public.fingerprint, datetime.now(UTC), reason)


def test_a_fingerprint_is_80_bits_of_the_text() -> None:
    assert fingerprint("") == "4oym-iquy-7qob-jgx3"  # e3b0c442 98fc1c14 9afb, the start of SHA-256 of nothing
    assert signer().public.fingerprint == fingerprint(str(signer().public))
    assert keypair()[1].fingerprint == fingerprint(str(keypair()[1]))
