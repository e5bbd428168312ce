"""Every rule of a roster refuses what it is for, by its name, and in its order."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import LocalError
from stfed.keys import bech32
from stfed.keys.member import Member, PublicKey, Retired, Revoked
from stfed.keys.roster import Roster
from stfed.keys.rules import RosterError
from stfed.keys.signing import SigningKey
from tests.keys.material import day, keypair, member, roster, signer

WINDOW = {"not_before": day(5), "not_after": day(10)}
INSTANT = timedelta(microseconds=1)


def rule(book: Roster, key: PublicKey, role: str = "owner", now: int = 7) -> str:
    try:
        book.check(key, role, day(now))
    except RosterError as error:
        refusal = error
    else:
        return ""
    assert f"(rule: {refusal.rule})" in str(refusal)
    assert key.fingerprint in str(refusal)
    return refusal.rule


def test_a_key_that_may() -> None:
    book = roster()
    for key in (keypair("alice")[1], signer("alice").public):
        assert book.check(key, "owner", day(1)) is book.members[0]
        assert book.check(key, "recipient", day(1)).name == "alice"


def test_unknown() -> None:
    assert rule(roster(), signer("mallory").public) == rule(roster(), keypair("mallory")[1]) == "unknown"
    with pytest.raises(RosterError, match="of an unknown person") as caught:
        roster().check(signer("mallory").public, "owner", day(1))
    assert "compare the fingerprint" in str(caught.value.hint)


def test_role() -> None:
    assert rule(roster(), signer("bob").public, "owner") == "role"
    with pytest.raises(RosterError, match="'bob' does not count as owner: its member is recipient"):
        roster().check(signer("bob").public, "owner", day(1))
    with pytest.raises(RosterError, match="its member is without a role"):
        roster(member("x")).check(signer("x").public, "party", day(1))


def test_the_window_includes_both_its_ends() -> None:
    book, key = roster(member("alice", "owner", **WINDOW)), signer("alice").public
    assert [rule(book, key, now=now) for now in (4, 5, 10, 11)] == ["not-before", "", "", "not-after"]
    for moment, due in ((day(5) - INSTANT, "not-before"), (day(10) + INSTANT, "not-after")):
        with pytest.raises(RosterError) as caught:
            book.check(key, "owner", moment)
        assert caught.value.rule == due


def test_retired() -> None:
    """An old signing key verifies what was signed before; an old key for encryption serves for nothing."""
    book = roster().rotate("alice", encryption=keypair("new")[1], signing=signer("new").public, at=day(7))
    old, new = signer("alice").public, signer("new").public
    assert [rule(book, old, now=now) for now in (6, 7, 8)] == ["", "", "retired"]
    assert [rule(book, keypair("alice")[1], "recipient", now) for now in (6, 7, 8)] == ["retired"] * 3
    assert [rule(book, key, now=8) for key in (new, keypair("new")[1])] == ["", ""]
    assert rule(book, old, "auditor", 6) == "role"
    assert old in book.verifiers("owner", day(6))
    assert old not in book.verifiers("owner", day(8))
    assert book.recipients(now=day(6)) == [keypair("new")[1], keypair("bob")[1]]


def test_revoked_at_any_time() -> None:
    """In the window, before the revocation, with the right role: a revoked key is refused."""
    book = roster(member("alice", "owner", **WINDOW)).revoke("alice", day(9), "laptop stolen")
    for now in (1, 5, 8, 9, 30):
        assert rule(book, signer("alice").public, now=now) == rule(book, keypair("alice")[1], now=now) == "revoked"
    with pytest.raises(RosterError, match=r"'alice' .* revoked on 2026-01-09 00:00:00 UTC, because: 'laptop stolen'"):
        book.check(signer("alice").public, "owner", day(7))


def test_revoked_wins_over_every_other_rule() -> None:
    old = signer("alice").public
    book = roster(member("alice", "owner", **WINDOW)).rotate("alice", signing=signer("new").public, at=day(7))
    for now, role, due in (
        (1, "owner", "not-before"),
        (11, "owner", "not-after"),
        (7, "party", "role"),
        (8, "owner", "retired"),
        (6, "owner", ""),
    ):
        assert rule(book, old, role, now) == due
        assert rule(book.revoke(old.fingerprint, day(20)), old, role, now) == "revoked"
    gone = roster().revoke("alice", day(1)).remove("alice")
    assert rule(gone, old) == "revoked"
    assert rule(roster().remove("alice"), old) == "unknown"


def test_a_revocation_concerns_the_key_that_it_names() -> None:
    book = roster().revoke(signer("alice").public.fingerprint, day(1))
    assert rule(book, signer("alice").public) == "revoked"
    assert rule(book, keypair("alice")[1]) == ""
    by_text = Roster("x", roster().members, revoked=(Revoked("alice", str(signer("alice").public), day(1)),))
    assert rule(by_text, signer("alice").public) == "revoked"


def test_half_of_a_hybrid_key_is_not_that_key() -> None:
    whole = signer("h", "ed25519-mldsa65")
    half = SigningKey.from_string(bech32.encode("stfed-signing-key-", whole.ed25519.private_bytes())).public
    owner = Member("h", frozenset({"owner"}), signing=whole.public)
    assert rule(roster(owner), half) == "unknown"
    with pytest.raises(LocalError, match="occurs twice"):
        roster(owner, Member("mallory", frozenset({"owner"}), signing=half))
    with pytest.raises(LocalError, match="occurs twice"):
        Roster("x", (owner,), retired=(Retired("h", day(1), signing=half),))


def test_wrong_questions() -> None:
    with pytest.raises(LocalError, match="there is no role 'king'"):
        roster().check(signer("alice").public, "king", day(1))
    for ask in (
        lambda: roster().check(signer("alice").public, "owner", day(1).replace(tzinfo=None)),
        lambda: roster().recipients(now=day(1).replace(tzinfo=None)),
        lambda: roster().verifiers("owner", day(1).replace(tzinfo=None)),
    ):
        with pytest.raises(LocalError, match="no time zone"):
            ask()


@given(
    now=st.integers(1, 31),
    start=st.integers(1, 15),
    length=st.integers(1, 10),
    roles=st.sets(st.sampled_from(["owner", "recipient", "auditor"])),
    rotated=st.integers(1, 31) | st.none(),
    revoked=st.booleans(),
)
def test_the_lists_hold_exactly_what_check_lets_pass(
    now: int, start: int, length: int, roles: set[str], rotated: int | None, revoked: bool
) -> None:
    book = roster(member("alice", *roles, not_before=day(start), not_after=day(start + length)), member("bob", "recipient", "auditor"))
    keys: list[PublicKey] = [keypair("alice")[1], signer("alice").public, keypair("bob")[1], signer("bob").public]
    if rotated:
        book = book.rotate("alice", encryption=keypair("new")[1], signing=signer("new").public, at=day(rotated))
        keys = [keypair("new")[1], signer("new").public, *keys]
    if revoked:
        book = book.revoke("alice", day(31))
    assert set(book.recipients(now=day(now))) == {key for key in keys[::2] if not rule(book, key, "recipient", now)}
    assert set(book.verifiers(["owner", "auditor"], day(now))) == {
        key for key in keys[1::2] if not (rule(book, key, "owner", now) and rule(book, key, "auditor", now))
    }
