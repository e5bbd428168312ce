"""Rosters: reading and writing, changes that never change what was there, and who is refused as a member."""

import os
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.errors import LocalError, MalformedError
from stfed.keys.member import Member, Retired, Revoked, Role
from stfed.keys.roster import MAX_MEMBERS, Roster
from tests.keys.material import day, keypair, member, roster, signer
from tests.strangers import give_away

NAMES = ["alice", "bob", "carol", "dave"]
# Fixed offsets: Python takes a time in the hour that a zone's clocks go through twice for unequal to every time of another zone.
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=OFFSETS)


@st.composite
def rosters(draw: st.DrawFn) -> Roster:
    """Any roster over a few names, made by the operations and by hand."""
    members = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        window = draw(st.tuples(st.integers(1, 10), st.integers(11, 30)) | st.none())
        times = {"not_before": day(window[0]), "not_after": day(window[1])} if window else {}
        kind = draw(st.sampled_from(["ed25519", "ed25519-mldsa65", ""]))
        members.append(
            Member(
                name,
                frozenset(draw(st.sets(st.sampled_from(list(Role))))),
                keypair(name)[1],
                signer(name, kind).public if kind else None,
                **times,
            )
        )
    retired = [Retired(one.name, draw(TIMES), None, signer(f"old {one.name}").public) for one in members if draw(st.booleans())]
    reasons = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=20)
    revoked = [
        Revoked(name, draw(st.sampled_from([signer(name).public.fingerprint, str(signer(name).public)])), draw(TIMES), draw(reasons))
        for name in draw(st.lists(st.sampled_from(NAMES), max_size=3))
    ]
    return Roster(draw(st.sampled_from(["Heart study", 'Zoë\'s "ward" \\ 7'])), tuple(members), tuple(retired), tuple(revoked))


@given(rosters())
@settings(max_examples=60)
def test_what_is_written_is_read(book: Roster) -> None:
    again = Roster.from_toml(book.to_toml())
    assert again == book
    assert again.to_toml() == book.to_toml()
    assert hash(again) == hash(book)
    assert set(again.members) == set(book.members)
    assert set(again.retired) == set(book.retired)
    assert set(again.revoked) == set(book.revoked)


@given(st.permutations(roster().members))
def test_order_says_nothing(members: list[Member]) -> None:
    book = Roster("Heart study", tuple(members))
    assert book == roster()
    assert book.to_toml() == roster().to_toml()
    assert book.digest() == roster().digest()


def test_everything_counts_in_the_digest() -> None:
    book = roster()
    others = [
        Roster("Lung study", book.members),
        book.remove("eve"),
        book.add(member("mallory")),
        book.rotate("eve", signing=signer("new").public, at=day(1)),
        book.rotate("eve", signing=signer("new").public, at=day(2)),
        book.revoke("eve", day(1)),
        book.revoke("eve", day(2)),
        book.revoke("eve", day(1), "lost"),
        roster(*book.members[:2], member("eve", "auditor", "party")),
        roster(*book.members[:2], member("eve", "auditor", not_after=day(9))),
        roster(*book.members[:2], member("eve", "auditor", not_before=day(9))),
    ]
    assert len({book.digest(), *(other.digest() for other in others)}) == 12
    assert len(book.digest()) == 32
    assert len({book.fingerprint, *(other.fingerprint for other in others)}) == 12
    assert book != "a roster"


def test_files(tmp_path: Path) -> None:
    path, book = tmp_path / "roster.toml", roster()
    before = os.umask(0)
    try:
        book.write(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert Roster.read(path) == Roster.read(str(path)) == book
    path.chmod(0o600)
    book.remove("eve").write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Roster.read(path) == book.remove("eve")
    assert [entry.name for entry in tmp_path.iterdir()] == ["roster.toml"]


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o620, 0o602, 0o666])
def test_a_roster_that_others_may_change_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "roster.toml"
    roster().write(path)
    path.chmod(mode)
    with pytest.raises(LocalError, match=f"others than its owner may change it .mode {mode:04o}") as caught:
        Roster.read(path)
    assert caught.value.hint == f"chmod go-w {path}"
    roster().write(path)
    assert Roster.read(path) == roster()


def test_a_roster_that_others_may_replace_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "roster.toml"
    roster().write(path)
    tmp_path.chmod(0o775)  # what umask 002 makes of a new folder: the group may put its own roster there
    with pytest.raises(LocalError, match="others may replace it, because they may write to its folder") as caught:
        Roster.read(path)
    assert str(caught.value.hint).startswith(f"chmod go-w {tmp_path}")
    tmp_path.chmod(0o755)
    assert Roster.read(path) == roster()
    give_away(path, monkeypatch)
    with pytest.raises(LocalError, match="belongs to another user"):
        Roster.read(path)


def test_files_that_are_no_rosters(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="there is no roster"):
        Roster.read(tmp_path / "none")
    with pytest.raises(LocalError, match="is not a plain file"):
        Roster.read(tmp_path)
    (tmp_path / "bad").write_text("version = 3")
    (tmp_path / "bad").chmod(0o644)
    with pytest.raises(MalformedError, match="bad is no roster: it is of version 3"):
        Roster.read(tmp_path / "bad")
    with (tmp_path / "bad").open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(MalformedError, match="bad is too long: 16777217 bytes"):
        Roster.read(tmp_path / "bad")
    (tmp_path / "link").symlink_to(tmp_path / "bad")
    with pytest.raises(LocalError, match="symbolic link"):
        roster().write(tmp_path / "link")


def test_lookups() -> None:
    book = roster().rotate("alice", encryption=keypair("new")[1], signing=signer("new").public, at=day(7)).revoke("bob", day(8))
    alice = book.member("alice")
    assert alice
    assert (alice.encryption, alice.signing) == (keypair("new")[1], signer("new").public)
    for name in ("alice", "new"):
        assert book.by_signing(signer(name).public) is book.by_recipient(keypair(name)[1]) is alice
    assert book.by_signing(signer("bob").public) == member("bob", "recipient")
    assert book.member("Alice") is book.member("mallory") is book.by_signing(signer("mallory").public) is None
    assert book.by_recipient(keypair("mallory")[1]) is None


def test_changes_leave_the_roster_that_they_start_from() -> None:
    book = roster()
    before = book.digest(), book.members
    for changed in (
        book.add(member("mallory")),
        book.remove("eve"),
        book.rotate("eve", signing=signer("new").public, at=day(1)),
        book.revoke("eve", day(1)),
    ):
        assert changed != book
        assert (book.digest(), book.members) == before == (roster().digest(), roster().members)
    assert book.add(member("mallory")).remove("mallory") == book


def test_rotating() -> None:
    book = roster().rotate("eve", signing=signer("new").public, at=day(7))
    assert book.retired == (Retired("eve", day(7), signing=signer("eve").public),)
    assert book.member("eve") == Member("eve", frozenset({"auditor"}), keypair("eve")[1], signer("new").public)
    twice = book.rotate("eve", signing=signer("newer").public, encryption=keypair("newer")[1], at=day(8))
    assert len(twice.retired) == 2
    assert twice.verifiers("auditor", day(6)) == [signer("newer").public, signer("eve").public, signer("new").public]
    first = roster(Member("x", frozenset(), keypair("x")[1])).rotate("x", signing=signer("x").public, at=day(1))
    assert first.retired == ()
    assert first.member("x") == member("x")


def test_a_rotation_to_a_key_that_is_there_already() -> None:
    book = roster().rotate("eve", signing=signer("new").public, at=day(7))
    for name, key in (("eve", signer("new")), ("eve", signer("eve")), ("alice", signer("eve")), ("alice", signer("bob"))):
        with pytest.raises(LocalError, match=f"the key {key.public.fingerprint} occurs twice"):
            book.rotate(name, signing=key.public, at=day(8))
    with pytest.raises(LocalError, match="no new key is given"):
        book.rotate("eve", at=day(8))


def test_removing_takes_retired_keys_along_and_leaves_revocations() -> None:
    book = roster().rotate("eve", signing=signer("new").public, at=day(7)).revoke("eve", day(8)).remove("eve")
    assert (len(book.members), book.retired, len(book.revoked)) == (2, (), 3)
    with pytest.raises(LocalError, match="has no member 'eve'"):
        book.remove("eve")


def test_a_revoked_key_does_not_come_back() -> None:
    book = roster().revoke("eve", day(8)).remove("eve")
    with pytest.raises(LocalError, match="is revoked"):
        book.add(member("eve"))
    with pytest.raises(LocalError, match="is revoked"):
        book.add(Member("mallory", frozenset(), signing=signer("eve").public))
    for new in ({"signing": signer("eve").public}, {"encryption": keypair("eve")[1]}):
        with pytest.raises(LocalError, match="is revoked"):
            book.rotate("bob", **new, at=day(9))
    fresh = book.add(Member("eve", frozenset({"auditor"}), signing=signer("new").public))
    assert fresh.verifiers("auditor", day(9)) == [signer("new").public]


def test_revoking() -> None:
    book = roster()
    of_eve = {keypair("eve")[1].fingerprint, signer("eve").public.fingerprint}
    assert {entry.fingerprint for entry in book.revoke("eve", day(1)).revoked} == of_eve
    one = book.revoke(signer("eve").public.fingerprint, day(1), "lost")
    assert one.revoked == (Revoked("eve", signer("eve").public.fingerprint, day(1), "lost"),)
    assert book.revoke(str(signer("eve").public), day(1), "lost") == one
    assert len(one.revoke("eve", day(2)).revoked) == 2
    for who in ("eve", signer("eve").public.fingerprint):
        with pytest.raises(LocalError, match="is revoked already"):
            book.revoke("eve", day(1)).revoke(who, day(2))
    for who in ("mallory", signer("mallory").public.fingerprint, ""):
        with pytest.raises(LocalError, match="nobody in 'Heart study'"):
            book.revoke(who, day(1))


def test_who_cannot_be_a_member() -> None:
    for other, says in (
        (member("alice"), "the same name"),
        (Member("ALICE", frozenset(), signing=signer("x").public), "or nearly so: 'alice' and 'ALICE'"),
        (Member("mallory", frozenset(), keypair("alice")[1]), "occurs twice: for 'alice' and for 'mallory'"),
        (Member("mallory", frozenset(), signing=signer("alice").public), "occurs twice: for 'alice' and for 'mallory'"),
    ):
        with pytest.raises(LocalError, match=says):
            roster().add(other)
    with pytest.raises(LocalError, match="the same name"):
        roster(*[roster().members[0]] * 2)  # the very same object is no exception
    with pytest.raises(LocalError, match="0 letters"):
        Roster("")


def test_the_number_of_entries_is_bounded() -> None:
    revoked = tuple(Revoked("x", f"aaaa-aaaa-aaaa-{chr(97 + at % 26) * 4}", day(1)) for at in range(MAX_MEMBERS + 1))
    Roster("x", revoked=revoked[1:])
    with pytest.raises(LocalError, match="at most 10000 entries"):
        Roster("x", revoked=revoked)
