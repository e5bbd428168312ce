"""`stfed roster`: every change is whole, and prints what people compare."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stfed.cli.roster import ROLES
from stfed.keys import Role, Roster, read_recipient
from tests.cli.commands import ROOT, done, fingerprint, keys, refused, run


def a_roster(folder: Path) -> Path:
    """Of alice and bob."""
    keys(folder, "alice", "bob")
    roster = folder / "team"
    assert run("roster", "init", roster, "--name", "Heart study") == 0
    assert run("roster", "add", roster, "alice", "--key", folder / "alice.pub", "--role", "owner", "--role", "recipient") == 0
    assert run("roster", "add", roster, "bob", "--key", folder / "bob.pub", "--role", "recipient", "--not-after", "2999-01-01") == 0
    return roster


def test_the_roles_are_the_librarys() -> None:
    assert tuple(Role) == ROLES


def test_every_change_prints_the_new_fingerprint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roster = a_roster(tmp_path)
    keys(tmp_path, "carol", "bob2")
    seen = [done(capsys, "roster", "show", roster)[0].split()[2]]
    for change in (
        ("add", roster, "carol", "--key", tmp_path / "carol.pub"),
        ("rotate", roster, "bob", "--key", tmp_path / "bob2.pub"),
        ("revoke", roster, fingerprint(tmp_path / "bob.pub"), "--reason", "laptop stolen"),
        ("remove", roster, "carol"),
    ):
        out, err = done(capsys, "roster", *change)
        assert (out, err) == (f"{Roster.read(roster).fingerprint}\n", "")
        seen.append(out.strip())
    assert len(set(seen)) == 5


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roster = a_roster(tmp_path)
    keys(tmp_path, "bob2")
    bob = fingerprint(tmp_path / "bob.pub")
    assert run("roster", "rotate", roster, "bob", "--key", tmp_path / "bob2.pub") == 0
    assert run("roster", "revoke", roster, bob, "--reason", "laptop stolen") == 0
    facts = json.loads(done(capsys, "roster", "show", roster, "--json")[0])
    assert facts["fingerprint"] == Roster.read(roster).fingerprint
    by_name = {member["name"]: member for member in facts["members"]}
    assert by_name["alice"]["roles"] == ["owner", "recipient"]
    assert by_name["bob"]["not_after"] == "2999-01-01T00:00:00Z"
    assert [key["state"] for key in by_name["bob"]["keys"]] == ["current", "current", "revoked", "retired"]
    assert by_name["alice"]["keys"][0]["key"] == str(read_recipient(tmp_path / "alice.pub"))
    assert [(entry["fingerprint"], entry["reason"]) for entry in facts["revoked"]] == [(bob, "laptop stolen")]
    text = done(capsys, "roster", "show", roster)[0]
    for part in ("Heart study", "bob: recipient, until 2999-01-01T00:00:00Z", f"{bob}  revoked", "laptop stolen", "retired 2"):
        assert part in text


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roster = a_roster(tmp_path)
    check = ("roster", "check", roster, tmp_path / "bob.pub", "--role")
    assert done(capsys, *check, "recipient") == ("bob\n", "")
    assert "(rule: role)" in refused(capsys, *check, "owner", code=5)
    assert "(rule: not-after)" in refused(capsys, *check, "recipient", "--at", "3000-01-01", code=5)
    keys(tmp_path, "mallory")
    assert "(rule: unknown)" in refused(capsys, "roster", "check", roster, tmp_path / "mallory.pub", "--role", "owner", code=5)
    assert run("roster", "revoke", roster, "bob") == 0
    assert "(rule: revoked)" in refused(capsys, *check, "recipient", code=5)


def test_a_member_with_keys_in_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roster = a_roster(tmp_path)
    for only in ("encryption", "signing"):
        done(capsys, "keygen", "--out", tmp_path / only, "--only", only)
    both = ("--key", tmp_path / "encryption.pub", "--key", tmp_path / "signing.pub")
    done(capsys, "roster", "add", roster, "carol", *both, "--role", "owner")
    member = Roster.read(roster).member("carol")
    assert member is not None
    assert member.encryption is not None
    assert member.signing is not None
    assert "a second key" in refused(capsys, "roster", "add", roster, "dan", *both, "--key", tmp_path / "alice.pub")


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roster = a_roster(tmp_path)
    (tmp_path / "link").symlink_to(roster)
    (tmp_path / "broken").write_text("version = 2")
    for arguments, code in (
        (("init", roster, "--name", "Again"), 1),
        (("init", tmp_path / "no" / "where", "--name", "Lost"), 1),
        (("init", tmp_path / "link", "--name", "Linked"), 1),
        (("add", roster, "alice", "--key", tmp_path / "bob.pub"), 1),
        (("add", roster, "carol", "--key", tmp_path / "bob.pub"), 1),
        (("add", roster, "carol", "--key", tmp_path / "bob"), 4),
        (("remove", roster, "carol"), 1),
        (("revoke", roster, "carol"), 1),
        (("show", tmp_path / "none"), 1),
        (("show", tmp_path / "broken"), 4),
        (("add", roster, "carol", "--key", tmp_path / "bob.pub", "--role", "king"), 2),
        (("show",), 2),
        ((), 2),
    ):
        refused(capsys, "roster", *arguments, code=code)


def test_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    roster = a_roster(tmp_path)
    names = [f"member{number}" for number in range(6)]
    keys(tmp_path, *names)
    command = [sys.executable, "-m", "stfed", "roster", "add", str(roster)]
    processes = [subprocess.Popen([*command, name, "--key", str(tmp_path / f"{name}.pub")], cwd=ROOT, stdout=-3) for name in names]
    assert [process.wait(60) for process in processes] == [0] * len(names)
    assert {member.name for member in Roster.read(roster).members} == {"alice", "bob", *names}
