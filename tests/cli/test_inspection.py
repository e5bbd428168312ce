"""`stfed inspect | verify`: what somebody without a key gets to know."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stfed import sealed
from tests.cli.commands import done, fingerprint, keys, plain, refused, run


def a_signed_file(folder: Path) -> Path:
    """Sealed by alice to bob and carol."""
    keys(folder, "alice", "bob", "carol")
    to = ("--recipient", folder / "bob.pub", "--recipient", folder / "carol.pub")
    assert run("seal", plain(folder), *to, "--sign", folder / "alice", "--state-public", "model=heart", "--out", folder / "sealed") == 0
    return folder / "sealed"


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = a_signed_file(tmp_path)
    facts = json.loads(done(capsys, "inspect", path, "--json")[0])
    assert facts == json.loads(json.dumps(sealed.inspect(path).to_dict()))
    assert (facts["recipients"], facts["public"], facts["signature"], facts["known"]) == ({"x25519": 2}, {"model": "heart"}, "valid", [])
    assert done(capsys, "inspect", path)[0] == sealed.inspect(path).table() + "\n"
    refused(capsys, "inspect", tmp_path / "plain", code=4)
    refused(capsys, "inspect", tmp_path / "none")
    refused(capsys, "inspect", code=2)


def test_inspect_says_which_of_the_keys_given_can_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = a_signed_file(tmp_path)
    asked = [argument for name in ("alice", "bob") for argument in ("--key", tmp_path / f"{name}.pub")]
    assert json.loads(done(capsys, "inspect", path, "--json", *asked)[0])["known"] == [str(tmp_path / "bob.pub")]


def test_inspect_names_members_whose_keys_no_longer_count_because_they_open_the_file_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, roster = a_signed_file(tmp_path), tmp_path / "team"
    assert run("roster", "init", roster, "--name", "Team") == 0
    for name in ("alice", "bob", "carol"):
        assert run("roster", "add", roster, name, "--key", tmp_path / f"{name}.pub", "--role", "recipient") == 0
    known = ("inspect", path, "--json", "--roster", roster)
    assert json.loads(done(capsys, *known)[0])["known"] == ["bob", "carol"]
    keys(tmp_path, "carol2")
    assert run("roster", "revoke", roster, "bob") == 0
    assert run("roster", "rotate", roster, "carol", "--key", tmp_path / "carol2.pub") == 0
    bob, carol = (fingerprint(tmp_path / f"{name}.pub") for name in ("bob", "carol"))
    assert json.loads(done(capsys, *known)[0])["known"] == [f"bob (revoked, {bob})", f"carol (not valid now, {carol})"]


def test_verify_proves_who_sealed_the_file_or_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = a_signed_file(tmp_path)
    out, err = done(capsys, "verify", path, "--trusted", tmp_path / "alice.pub", "--json")
    facts, info = json.loads(out), sealed.inspect(path)
    assert err == ""
    assert facts == {
        "file": str(path),
        "time": facts["time"],
        "signer": fingerprint(tmp_path / "alice.pub", "signing"),
        "member": None,
        "file_id": info.file_id,
        "manifest_sha256": info.manifest_sha256,
        "generation": 1,
        "segments": 1,
    }
    assert datetime.now(UTC) - datetime.fromisoformat(facts["time"]) < timedelta(minutes=5)
    assert info.manifest_sha256 in done(capsys, "verify", path, "--trusted", tmp_path / "alice.pub")[0]
    refused(capsys, "verify", path, "--trusted", tmp_path / "bob.pub", code=4)
    refused(capsys, "verify", path, "--trusted", tmp_path / "alice.pub", "--generation", "2", code=4)
    refused(capsys, "verify", path, code=2)


def test_verify_finds_any_changed_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = a_signed_file(tmp_path)
    good, info = path.read_bytes(), sealed.inspect(path)
    payload = info.header_bytes + info.slots_bytes
    for place in (0, 8, info.header_bytes + 100, payload, payload + 2000, len(good) - 1):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        refused(capsys, "verify", path, "--trusted", tmp_path / "alice.pub", code=4)
    refused(capsys, "verify", tmp_path / "plain", "--trusted", tmp_path / "alice.pub", code=4)


def test_verify_with_a_roster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, roster = a_signed_file(tmp_path), tmp_path / "team"
    assert run("roster", "init", roster, "--name", "Team") == 0
    assert run("roster", "add", roster, "Alice", "--key", tmp_path / "alice.pub", "--role", "owner") == 0
    assert json.loads(done(capsys, "verify", path, "--roster", roster, "--json")[0])["member"] == "Alice"
    assert run("roster", "remove", roster, "Alice") == 0
    refused(capsys, "verify", path, "--roster", roster, code=4)
