"""`stfed grant | revoke | reseal`: who can open a file afterwards, and what is said about those who could."""

from __future__ import annotations

from pathlib import Path

import pytest

from stfed import sealed
from tests.cli.commands import done, fingerprint, keys, plain, refused, run


def a_folder(folder: Path) -> Path:
    """Alice has sealed a file to herself and bob, and signed it."""
    keys(folder, "alice", "bob", "carol")
    to = ("--recipient", folder / "alice.pub", "--recipient", folder / "bob.pub")
    assert run("seal", plain(folder), *to, "--sign", folder / "alice", "--out", folder / "sealed") == 0
    return folder


def by_alice(folder: Path) -> tuple[object, ...]:
    return ("--sign", folder / "alice", "--identity", folder / "alice")


def opens(folder: Path, name: str, file: str = "sealed") -> bool:
    code = run("open", folder / file, "--identity", folder / name, "--out", folder / f"{name}.plain")
    assert code in (0, 3)
    return code == 0


def test_grant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    assert not opens(folder, "carol")
    asked = ("--recipient", folder / "carol.pub", "--recipient", folder / "bob.pub")
    out, err = done(capsys, "grant", folder / "sealed", *asked, *by_alice(folder), "--audit", folder / "log")
    assert out == fingerprint(folder / "carol.pub") + "\n"
    assert f"note: {fingerprint(folder / 'bob.pub')} could open {folder / 'sealed'} before\n" in err
    info = sealed.inspect(folder / "sealed")
    assert f"note: what they were given is the file {info.file_id}, manifest {info.manifest_sha256}\n" in err
    capsys.readouterr()
    assert opens(folder, "carol")
    assert f"was granted by {fingerprint(folder / 'alice.pub', 'signing')} at 2" in capsys.readouterr().err
    assert fingerprint(folder / "carol.pub") in done(capsys, "audit", "log", folder / "log", "--kind", "grant")[0]


def test_who_may_grant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    grant = ("grant", folder / "sealed", "--recipient", folder / "carol.pub")
    by_bob = ("--sign", folder / "bob", "--identity", folder / "bob")
    assert "is no owner" in refused(capsys, *grant, *by_bob, code=5)
    refused(capsys, *grant, "--sign", folder / "alice", "--identity", folder / "carol", code=3)
    refused(capsys, *grant, *by_alice(folder), "--trusted", folder / "bob.pub", code=4)
    owned = ("--sign", folder / "alice", "--owner", folder / "bob.pub", "--out", folder / "owned")
    assert run("seal", folder / "plain", "--recipient", folder / "bob.pub", *owned) == 0
    done(capsys, "grant", folder / "owned", "--recipient", folder / "carol.pub", *by_bob, "--trusted", folder / "alice.pub")
    assert opens(folder, "carol", "owned")
    assert run("seal", folder / "plain", "--recipient", folder / "alice.pub", "--out", folder / "unsigned") == 0
    refused(capsys, "grant", folder / "unsigned", "--recipient", folder / "carol.pub", *by_alice(folder))


def test_revoke_in_place_and_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    old = (folder / "sealed").read_bytes()
    drop_bob = ("--recipient", folder / "bob.pub", "--known", folder / "alice.pub")
    out, err = done(capsys, "revoke", folder / "sealed", *drop_bob, *by_alice(folder), "--out", folder / "new")
    bob = fingerprint(folder / "bob.pub")
    assert out == ""
    assert f"note: {bob} cannot open {folder / 'new'}" in err
    assert f"note: {bob} may have kept the key or the content of the old file" in err
    assert (folder / "sealed").read_bytes() == old
    assert opens(folder, "alice", "new")
    assert not opens(folder, "bob", "new")
    assert opens(folder, "bob")
    done(capsys, "revoke", folder / "sealed", *drop_bob, *by_alice(folder))
    assert not opens(folder, "bob")
    with sealed.SealedReader(folder / "new", identity=folder / "alice", trusted=folder / "alice.pub") as reader:
        assert "previous" in reader.statements


def test_revoke_takes_access_from_nobody_by_accident(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    revoke = ("revoke", folder / "sealed", *by_alice(folder), "--out", folder / "new")
    refused(capsys, *revoke, "--recipient", folder / "carol.pub", "--known", folder / "alice.pub")
    refused(capsys, *revoke, "--recipient", folder / "bob.pub", "--known", folder / "carol.pub")
    refused(capsys, *revoke, "--recipient", folder / "bob.pub", code=2)
    refused(capsys, *revoke, "--known", folder / "bob.pub", code=2)
    assert not (folder / "new").exists()


def test_revoke_with_a_roster_that_has_revoked_the_key_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, roster = a_folder(tmp_path), tmp_path / "team"
    assert run("roster", "init", roster, "--name", "Team") == 0
    assert run("roster", "add", roster, "alice", "--key", folder / "alice.pub", "--role", "owner", "--role", "recipient") == 0
    assert run("roster", "add", roster, "bob", "--key", folder / "bob.pub", "--role", "recipient") == 0
    assert run("roster", "revoke", roster, "bob") == 0
    done(capsys, "revoke", folder / "sealed", "--recipient", folder / "bob.pub", "--roster", roster, *by_alice(folder))
    assert opens(folder, "alice")
    assert not opens(folder, "bob")


def test_reseal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    out, err = done(
        capsys, "reseal", folder / "sealed", "--recipient", folder / "carol.pub", *by_alice(folder), "--out", folder / "new"
    )  # fmt: skip
    assert out == ""
    assert "note: who could open the old file" in err
    assert [opens(folder, name, "new") for name in ("alice", "bob", "carol")] == [False, False, True]
    assert "needs a signature too" in refused(
        capsys, "reseal", folder / "sealed", "--recipient", folder / "carol.pub", "--identity", folder / "alice"
    )


@pytest.mark.parametrize("command", ["revoke", "reseal"])
def test_nobody_signs_anew_what_somebody_unknown_has_sealed(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mallory's model in place of alice's: alice must not put her name under it by revoking bob."""
    folder = a_folder(tmp_path)
    keys(folder, "mallory")
    to = ("--recipient", folder / "alice.pub", "--recipient", folder / "bob.pub", "--recipient", folder / "carol.pub")
    for sign in ((), ("--sign", folder / "mallory")):
        assert run("seal", folder / "plain", *to, *sign, "--out", folder / "sealed") == 0
        anew = (command, folder / "sealed", "--recipient", folder / "bob.pub", *by_alice(folder))
        known = ("--known", folder / "alice.pub", "--known", folder / "carol.pub") if command == "revoke" else ()
        refused(capsys, *anew, *known, code=4)
    done(capsys, *anew, *known, "--trusted", folder / "mallory.pub")
    assert run("verify", folder / "sealed", "--trusted", folder / "alice.pub") == 0


def test_an_unsigned_file_is_sealed_anew_unsigned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    assert run("seal", folder / "plain", "--recipient", folder / "alice.pub", "--out", folder / "sealed") == 0
    done(capsys, "reseal", folder / "sealed", "--recipient", folder / "bob.pub", "--identity", folder / "alice")
    assert opens(folder, "bob")
    assert sealed.inspect(folder / "sealed").signature == "none"
