"""`--json`: what a script reads, under the same names from every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stfed import cli
from tests.cli.commands import done, fingerprint, keys, plain
from tests.cli.test_docs import parsers
from tests.cli.test_init import an_app

WITHOUT = {
    "stfed": "asks for a command",
    "stfed audit": "asks for a command",
    "stfed audit checkpoint": "prints a signed text that others verify",
    "stfed audit cosign": "prints a signed text that others verify",
    "stfed audit prove": "prints a proof that others verify",
    "stfed completion": "prints a script",
    "stfed dashboard": "prints an address",
    "stfed demo": "asks for a command",
    "stfed export": "says where the run went",
    "stfed help": "is for people",
    "stfed keyserver": "serves",
    "stfed policy": "asks for a command",
    "stfed policy init": "writes a file and prints nothing",
    "stfed report": "prints where the page is",
    "stfed roster": "asks for a command",
    "stfed supernode": "becomes another program; stfed policy check and stfed doctor tell a script the same",
    "stfed watch": "shows an event log, which has one JSON object a line already",
}
"""Commands without the option, and why."""


def test_who_has_it() -> None:
    commands = {parser.prog: parser for parser in parsers(cli.make_parser())}
    lacking = {name for name, parser in commands.items() if "--json" not in parser._option_string_actions}
    assert lacking == set(WITHOUT)


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    found = json.loads(done(capsys, *arguments, "--json")[0])
    assert isinstance(found, dict)
    assert all(name.islower() and name.replace("_", "").isalnum() for name in found)
    return found


def test_a_file_has_the_same_names_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys(tmp_path, "alice", "bob")
    sealed, alice, bob = tmp_path / "sealed", tmp_path / "alice.pub", tmp_path / "bob.pub"
    mine = ("--sign", tmp_path / "alice", "--identity", tmp_path / "alice")
    made = told(capsys, "seal", plain(tmp_path), "--recipient", alice, "--sign", tmp_path / "alice", "--out", sealed)
    assert (made["file"], made["out"]) == (str(tmp_path / "plain"), str(sealed))
    assert made["signers"] == [fingerprint(alice, "signing")]
    named = {name: made[name] for name in ("file_id", "manifest_sha256", "time")}
    shown = told(capsys, "inspect", sealed)
    assert (shown["file_id"], shown["manifest_sha256"]) == (made["file_id"], made["manifest_sha256"])
    verified = told(capsys, "verify", sealed, "--trusted", alice)
    assert named.items() <= verified.items()
    assert (verified["file"], verified["signer"]) == (str(sealed), fingerprint(alice, "signing"))

    granted = told(capsys, "grant", sealed, "--recipient", bob, "--recipient", alice, *mine)
    assert (granted["granted"], granted["could_before"]) == ([fingerprint(bob)], [fingerprint(alice)])
    assert granted["file_id"] == made["file_id"]
    opened = told(capsys, "open", sealed, "--identity", tmp_path / "bob", "--trusted", alice, "--out", tmp_path / "opened")
    assert named.items() <= opened.items()
    assert (opened["file"], opened["out"], opened["member"]) == (str(sealed), str(tmp_path / "opened"), None)
    assert opened["signer"] == opened["granter"] == fingerprint(alice, "signing")
    assert (tmp_path / "opened").read_bytes() == (tmp_path / "plain").read_bytes()
    unproved = told(capsys, "open", sealed, "--identity", tmp_path / "alice", "--out", tmp_path / "opened")
    assert (unproved["signer"], unproved["granter"], unproved["signers"]) == (None, None, made["signers"])

    without = told(capsys, "revoke", sealed, "--recipient", bob, "--known", alice, *mine, "--out", tmp_path / "new")
    assert (without["file"], without["out"], without["revoked"]) == (str(sealed), str(tmp_path / "new"), [fingerprint(bob)])
    assert without["file_id"] == told(capsys, "inspect", tmp_path / "new")["file_id"] != made["file_id"]
    again = told(capsys, "reseal", sealed, "--recipient", bob, *mine)
    assert again["file"] == again["out"] == str(sealed)
    assert again["manifest_sha256"] == told(capsys, "inspect", sealed)["manifest_sha256"]


def test_keys_and_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = told(capsys, "keygen", "--out", tmp_path / "alice", "--kind", "x25519")
    public, roster = Path(made["public"]), tmp_path / "team.toml"
    shown = told(capsys, "fingerprint", public)
    assert shown["keys"] == [{"file": str(public), **key} for key in made["keys"]]
    started = told(capsys, "roster", "init", roster, "--name", "Team")
    assert (started["file"], started["name"]) == (str(roster), "Team")
    added = told(capsys, "roster", "add", roster, "alice", "--key", public, "--role", "owner")
    assert added["fingerprint"] != started["fingerprint"]
    listed = told(capsys, "roster", "show", roster)
    assert (listed["file"], listed["fingerprint"]) == (str(roster), added["fingerprint"])
    assert [key["fingerprint"] for key in listed["members"][0]["keys"]] == [key["fingerprint"] for key in shown["keys"]]
    checked = told(capsys, "roster", "check", roster, public, "--role", "owner", "--at", "2027-01-31")
    assert checked == {"file": str(roster), "key": str(public), "role": "owner", "at": "2027-01-31T00:00:00Z", "members": ["alice"]}
    made = told(capsys, "keyserver", "init", tmp_path / "keys")
    assert Path(made["config"]).is_file()
    assert Path(made["roster"]).is_file()
    assert Path(made["certificate"]).is_file()
    assert (made["recipient"][:4], made["service_key"][:9]) == ("age1", "stfedsig1")


def test_an_app(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = an_app(tmp_path)
    shown = told(capsys, "init", app)
    assert (shown["app"], shown["written"]) == (str(app), False)
    assert "+" in shown["files"][0]["diff"]
    assert {Path(file["file"]).name for file in told(capsys, "init", app, "--write")["files"]} >= {"pyproject.toml"}
    assert told(capsys, "init", app) == {"app": str(app), "written": False, "files": []}
