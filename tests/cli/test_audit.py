"""`stfed audit`: what the log says, and what can be proved from it to somebody who does not have it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from stfed.audit import AuditLog, Event, Kind, cosigner_key, log_key
from stfed.keys import read_verifier
from tests.cli.commands import done, fingerprint, keys, plain, refused, run
from tests.strangers import stolen_journal


def a_log(folder: Path) -> Path:
    """Alice has sealed two files, to bob and to carol, and granted the first to carol."""
    keys(folder, "alice", "bob", "carol")
    log, by_alice = folder / "log", ("--sign", folder / "alice", "--audit", folder / "log")
    both = ("--recipient", folder / "alice.pub", "--recipient", folder / "bob.pub")
    assert run("seal", plain(folder), *both, *by_alice, "--out", folder / "first") == 0
    assert run("seal", folder / "plain", "--recipient", folder / "carol.pub", *by_alice, "--out", folder / "second") == 0
    granting = ("--recipient", folder / "carol.pub", "--identity", folder / "alice")
    assert run("grant", folder / "first", *granting, *by_alice) == 0
    return log


def checkpoint(log: Path, capsys: pytest.CaptureFixture[str], name: str = "checkpoint") -> Path:
    """Signed by alice, in a file."""
    path = log.parent / name
    path.write_text(done(capsys, "audit", "checkpoint", log, "--sign", log.parent / "alice")[0])
    return path


def kinds(out: str) -> list[str]:
    return [json.loads(line)["kind"] for line in out.splitlines()]


def test_log_and_its_filters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = a_log(tmp_path)
    carol = fingerprint(tmp_path / "carol.pub")
    entries = [json.loads(line) for line in done(capsys, "audit", "log", log, "--json")[0].splitlines()]
    assert [entry["index"] for entry in entries] == [0, 1, 2]
    assert [entry["kind"] for entry in entries] == ["seal", "seal", "grant"]
    file_id = entries[0]["fields"]["file_id"]
    for filters, found in (
        (("--kind", "grant"), ["grant"]),
        (("--file-id", file_id), ["seal", "grant"]),
        (("--recipient", tmp_path / "carol.pub"), ["seal", "grant"]),
        (("--recipient", carol), ["seal", "grant"]),
        (("--recipient", (tmp_path / "carol.pub").read_text().split()[0], "--kind", "seal"), ["seal"]),
        (("--actor", fingerprint(tmp_path / "alice.pub", "signing")), ["seal", "seal", "grant"]),
        (("--actor", carol), []),
        (("--since", "2999-01-01"), []),
        (("--until", "2999-01-01", "--since", "2020-01-01"), ["seal", "seal", "grant"]),
    ):
        assert kinds(done(capsys, "audit", "log", log, "--json", *filters)[0]) == found, filters
    refused(capsys, "audit", "log", log, "--kind", "theft")
    refused(capsys, "audit", "log", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_log_for_people_names_members_and_stays_on_its_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, roster = a_log(tmp_path), tmp_path / "team"
    assert run("roster", "init", roster, "--name", "Team") == 0
    assert run("roster", "add", roster, "Carol", "--key", tmp_path / "carol.pub") == 0
    with AuditLog(log) as opened:
        opened.append(Event(Kind.OPEN_FAILED, {"reason": "one\n3  2026-01-01 00:00:00  seal\x1b[2J"}))
    lines = done(capsys, "audit", "log", log, "--roster", roster)[0].splitlines()
    assert len(lines) == 4
    carol = fingerprint(tmp_path / "carol.pub")
    assert f"recipients={carol} (Carol)" in lines[1]
    assert "\x1b" not in lines[3]


def test_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = a_log(tmp_path)
    known = checkpoint(log, capsys)
    trusted = ("--trusted", tmp_path / "alice.pub", "--known", known)
    out, err = done(capsys, "audit", "verify", log, *trusted, "--json")
    report = json.loads(out)
    assert (report["size"], report["covered"], report["signed"]) == (3, 3, True)
    assert report["kinds"] == {"grant": 1, "seal": 2}
    assert err == ""
    out, err = done(capsys, "audit", "verify", log)
    assert "1 grant, 2 seal" in out
    assert "use --trusted" in err
    assert "use --known" in err
    done(capsys, "open", tmp_path / "first", "--identity", tmp_path / "bob", "--audit", log, "--out", tmp_path / "back")
    assert "the entries from 3 on" in done(capsys, "audit", "verify", log, *trusted)[1]
    refused(capsys, "audit", "verify", log, "--trusted", tmp_path / "bob.pub", code=4)


def test_verify_finds_a_changed_and_a_replaced_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = a_log(tmp_path)
    known = checkpoint(log, capsys)
    other = tmp_path / "other"
    other.mkdir()
    replaced = a_log(other)
    refused(capsys, "audit", "verify", replaced, "--known", known, code=4)
    with sqlite3.connect(log) as database:
        triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE entries SET data = CAST(replace(CAST(data AS TEXT), '\"seal\"', '\"open\"') AS BLOB) WHERE position = 1")
        for _, statement in triggers:
            database.execute(statement)
    database.close()
    assert "entry 1" in refused(capsys, "audit", "verify", log, code=4)


def test_evidence_is_not_changed_by_being_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not by a journal beside it either: SQLite would undo with it what was appended last. Where the evidence lies does not matter."""
    log = a_log(tmp_path)
    checkpoint(log, capsys)
    folder = tmp_path / "evidence"
    folder.mkdir()
    evidence = folder / "log"
    evidence.write_bytes(log.read_bytes())
    evidence.chmod(0o666)
    folder.chmod(0o777)
    reading = [("log", evidence), ("verify", evidence), ("prove", evidence, "0")]
    for command in reading:
        done(capsys, "audit", *command)
    assert [path.name for path in folder.iterdir()] == ["log"]
    for command in (("checkpoint", evidence), ("prove", evidence, "0")):
        assert "may write to its folder" in refused(capsys, "audit", *command, "--sign", tmp_path / "alice")
    (tmp_path / "work").mkdir()
    triggers = [row[0] for row in sqlite3.connect(log).execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
    (folder / "log-journal").write_bytes(stolen_journal(log, tmp_path / "work", drop=tuple(triggers)))
    witness = ("cosign", evidence, "--sign", tmp_path / "bob", "--state", tmp_path / "seen", "--trusted", tmp_path / "alice.pub")
    for command in (*reading, witness):
        assert "killed before it was done, or somebody put a -journal beside it" in refused(capsys, "audit", *command)
    assert evidence.read_bytes() == log.read_bytes()


def test_prove_and_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, proof = a_log(tmp_path), tmp_path / "proof"
    refused(capsys, "audit", "prove", log, "0")
    proof.write_text(done(capsys, "audit", "prove", log, "2", "--sign", tmp_path / "alice")[0])
    kept = log.read_bytes()
    log.unlink()
    trusted = ("--trusted", tmp_path / "alice.pub")
    facts = json.loads(done(capsys, "audit", "check", proof, *trusted, "--json")[0])
    assert (facts["index"], facts["kind"], facts["size"]) == (2, "grant", 3)
    assert facts["fields"]["recipients"] == fingerprint(tmp_path / "carol.pub")
    assert done(capsys, "audit", "check", proof, *trusted)[0].startswith("2  20")
    with_vkey = ("--trusted", log_key(facts["origin"], read_verifier(tmp_path / "alice.pub").ed25519))
    done(capsys, "audit", "check", proof, *with_vkey)
    refused(capsys, "audit", "check", proof, "--trusted", tmp_path / "bob.pub", code=4)
    refused(capsys, "audit", "check", proof, code=2)
    text = proof.read_text()
    for wrong in (text.replace("index 2", "index 1"), text[:-10], text.replace("v1", "v9", 1), text.replace("extra ey", "extra fy")):
        assert wrong != text
        proof.write_text(wrong)
        refused(capsys, "audit", "check", proof, *trusted, code=4)
    log.write_bytes(kept)
    refused(capsys, "audit", "prove", log, "3")


def test_prove_under_a_checkpoint_that_others_cosigned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = a_log(tmp_path)
    trusted = ("--trusted", tmp_path / "alice.pub")
    by_bob = ("--sign", tmp_path / "bob", "--state", tmp_path / "seen", *trusted)
    made = checkpoint(log, capsys)
    cosigned, proof = tmp_path / "cosigned", tmp_path / "proof"
    out, err = done(capsys, "audit", "cosign", made, *by_bob, "--name", "bob.example")
    cosigned.write_text(out)
    proof.write_text(done(capsys, "audit", "prove", log, "0", "--checkpoint", cosigned)[0])
    bob, vkey = ("--cosigner", tmp_path / "bob.pub"), cosigner_key("bob.example", read_verifier(tmp_path / "bob.pub").ed25519)
    assert str(vkey) in err
    for cosigner in (bob, ("--cosigner", vkey)):
        done(capsys, "audit", "check", proof, *trusted, *cosigner)
    both = (*bob, "--cosigner", tmp_path / "carol.pub")
    refused(capsys, "audit", "check", proof, *trusted, *both, code=4)
    done(capsys, "audit", "check", proof, *trusted, *both, "--quorum", "1")
    assert "give it as --cosigner" in refused(capsys, "audit", "check", proof, "--trusted", vkey)
    origin = json.loads(done(capsys, "audit", "verify", log, "--json")[0])["origin"]
    refused(capsys, "audit", "check", proof, *trusted, "--cosigner", log_key(origin, read_verifier(tmp_path / "bob.pub").ed25519))


def test_cosign_follows_a_log_and_only_one_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = a_log(tmp_path)
    copy = log.read_bytes()
    by_bob = ("--sign", tmp_path / "bob", "--state", tmp_path / "seen", "--trusted", tmp_path / "alice.pub")
    assert "no checkpoint yet" in refused(capsys, "audit", "cosign", log, *by_bob)
    first = checkpoint(log, capsys)
    done(capsys, "audit", "cosign", log, *by_bob)
    done(capsys, "audit", "cosign", first, *by_bob)  # the same one again
    opening = ("open", tmp_path / "first", "--identity", tmp_path / "bob", "--out", tmp_path / "back", "--audit")
    assert run(*opening, log) == 0
    second = checkpoint(log, capsys, "second")
    assert "ask the log for a proof from 3" in refused(capsys, "audit", "cosign", second, *by_bob, code=4)
    since = tmp_path / "since"
    since.write_text(done(capsys, "audit", "checkpoint", log, "--sign", tmp_path / "alice", "--since", "3")[0])
    done(capsys, "audit", "cosign", since, *by_bob)
    done(capsys, "audit", "cosign", log, *by_bob)
    refused(capsys, "audit", "cosign", since, "--sign", tmp_path / "bob", "--state", tmp_path / "new", "--trusted", "bob", code=1)
    fork = tmp_path / "fork"
    fork.write_bytes(copy)
    fork.chmod(0o600)
    assert run(*opening, fork) == 0
    checkpoint(fork, capsys, "forked")
    refused(capsys, "audit", "cosign", fork, *by_bob, code=4)


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("log", "verify", "checkpoint", "cosign", "prove", "check"):
        assert f"Usage: stfed audit {command}" in done(capsys, "audit", command, "--help")[0]
