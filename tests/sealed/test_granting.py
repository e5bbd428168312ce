"""Granting: in place, by owners only, safe at any kill, one at a time."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stfed import sealed
from stfed.audit import AuditLog
from stfed.errors import LocalError
from stfed.files import File, opened
from stfed.keys.signing import SigningKey
from stfed.sealed import granting
from stfed.sealed.bounds import HEADER_BYTES
from stfed.sealed.grants import Grant
from stfed.sealed.manifest import Manifest
from stfed.sealed.numpy import load_file, save_file
from stfed.sealed.outside import read_outside

from .material import Script, keypair

SEALER, OWNER, STRANGER = (SigningKey.generate(entropy=Script(name)) for name in ("sealer", "owner", "stranger"))
FIRST, SECOND, THIRD = (keypair(name) for name in ("first", "second", "third"))
TENSORS = {"w": np.arange(10, dtype=np.float32)}


def sealed_file(path: Path, **options: Any) -> Path:
    save_file(TENSORS, path, **{"recipients": FIRST[1], "signer": SEALER} | options)
    return path


def opens(path: Path, pair: Any, **options: Any) -> bool:
    try:
        loaded = load_file(path, identity=pair[0], trusted=SEALER.public, **options)
    except sealed.NotARecipientError:
        return False
    np.testing.assert_array_equal(loaded["w"], TENSORS["w"])
    return True


def test_a_grant_lets_in_whom_it_names_and_changes_nothing_else(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f", policy=sealed.Policy(owners=OWNER.public))
    before = path.read_bytes()
    assert not opens(path, SECOND)
    assert sealed.grant(path, recipients=SECOND[1], signer=SEALER, identity=FIRST[0]) == (SECOND[1],)
    assert opens(path, FIRST)
    assert opens(path, SECOND)
    assert not opens(path, THIRD)
    assert sealed.grant(path, recipients=[THIRD[1], FIRST[1]], signer=OWNER, identity=SECOND[0]) == (THIRD[1],)  # FIRST is in already
    assert all(opens(path, pair) for pair in (FIRST, SECOND, THIRD))
    after = path.read_bytes()
    slots = slice(HEADER_BYTES, HEADER_BYTES + (128 << 10))
    assert (after[: slots.start], after[slots.stop :]) == (before[: slots.start], before[slots.stop :])
    info = sealed.inspect(path, known={"first": FIRST[1], "third": THIRD[1], "other": keypair("other")[1]})
    assert (info.generation, info.slots, info.signature, info.known) == (3, ("live", "older"), "valid", ("first", "third"))
    assert [grant["recipient"] for grant in info.grants] == [SECOND[1].fingerprint, THIRD[1].fingerprint]
    assert [grant["granter"] for grant in info.grants] == [SEALER.public.fingerprint, OWNER.public.fingerprint]
    assert "grant" in info.table()
    assert sealed.verify_file(path, trusted=SEALER.public).generation == 3
    with sealed.SealedReader(path, identity=THIRD[0]) as reader:
        assert (reader.access.how, reader.access.who) == ("granted", THIRD[1].fingerprint)


def test_granting_to_who_is_in_already_writes_nothing(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f")
    before = path.read_bytes()
    assert sealed.grant(path, recipients=FIRST[1], signer=SEALER, identity=FIRST[0]) == ()
    assert path.read_bytes() == before


def refused(path: Path, error: type[Exception], says: str, **options: Any) -> None:
    before = path.read_bytes()
    with pytest.raises(error, match=says):
        sealed.grant(path, **{"recipients": SECOND[1], "signer": SEALER, "identity": FIRST[0]} | options)
    assert path.read_bytes() == before


def test_who_cannot_grant(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f")
    refused(path, sealed.AccessDeniedError, "no owner", signer=STRANGER)
    refused(path, sealed.NotARecipientError, "not to", identity=THIRD[0])
    refused(path, sealed.UntrustedError, "not among the trusted", trusted=STRANGER.public)
    refused(path, sealed.RollbackError, "at least 2", generation=2)
    refused(path, LocalError, "another kind", recipients=keypair("hybrid", "hybrid")[1])
    unsigned = tmp_path / "unsigned"
    save_file(TENSORS, unsigned, recipients=FIRST[1])
    refused(unsigned, LocalError, "takes no grants")
    limited = sealed_file(tmp_path / "limited", policy=sealed.Policy(not_after=datetime(2020, 1, 1, tzinfo=UTC)))
    refused(limited, sealed.AccessDeniedError, "after 2020")


def test_a_passphrase_takes_no_grants(tmp_path: Path) -> None:
    path = tmp_path / "f"
    save_file(TENSORS, path, passphrase="correct horse", signer=SEALER)
    refused(path, LocalError, "under a passphrase", identity=None, passphrase="correct horse")


def test_the_envelope_runs_full_with_a_clear_error(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f")
    keys = [keypair(f"many {index}")[1] for index in range(400)]
    with pytest.raises(LocalError, match="no room for another grant"):
        sealed.grant(path, recipients=keys, signer=SEALER, identity=FIRST[0])
    assert sealed.verify_file(path, trusted=SEALER.public).generation > 50  # what was written before stays good
    assert opens(path, FIRST)


def test_a_kill_at_any_moment_leaves_a_good_envelope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot write that stops after any number of bytes: the file opens as before, or as it is to be."""
    path = sealed_file(tmp_path / "f")
    sealed.grant(path, recipients=SECOND[1], signer=SEALER, identity=FIRST[0])
    before = path.read_bytes()

    class Torn(File):
        def write_at(self, offset: int, data: memoryview | bytes) -> None:
            super().write_at(offset, data[:stop])
            raise KeyboardInterrupt

    monkeypatch.setattr(granting, "File", Torn)
    for stop in (0, 1, 8, 100, 1000, 30_000, (64 << 10) - 1, 64 << 10):
        path.write_bytes(before)
        with pytest.raises(KeyboardInterrupt):
            sealed.grant(path, recipients=THIRD[1], signer=SEALER, identity=FIRST[0])
        assert opens(path, FIRST)
        assert opens(path, SECOND)
        assert opens(path, THIRD) == (stop == 64 << 10)


def test_granters_wait_for_each_other(tmp_path: Path) -> None:
    """Eight processes grant at once: no grant is lost."""
    path = sealed_file(tmp_path / "f")
    script = (
        "import sys\nfrom stfed import sealed\nfrom stfed.keys.signing import SigningKey\n"
        "lines = sys.stdin.read().split()\n"
        "sealed.grant(sys.argv[1], recipients=lines[2], signer=SigningKey.from_string(lines[0]), "
        "identity=sealed.Identity.from_string(lines[1]))\n"
    )
    pairs = [keypair(f"worker {index}") for index in range(8)]
    running = [subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, text=True) for _ in pairs]
    for process, pair in zip(running, pairs, strict=True):
        process.communicate(f"{SEALER.secret_string()}\n{FIRST[0].secret_string()}\n{pair[1]}\n", timeout=60)
        assert process.returncode == 0
    assert sealed.verify_file(path, trusted=SEALER.public).generation == 9
    assert all(opens(path, pair) for pair in pairs)


def test_a_granter_waits_while_anybody_else_holds_the_file(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f")
    before = path.read_bytes()
    waiting = threading.Thread(target=sealed.grant, args=(path,), kwargs={"recipients": SECOND[1], "signer": SEALER, "identity": FIRST[0]})
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        assert path.read_bytes() == before
    waiting.join(10)
    assert opens(path, SECOND)


def test_a_grant_is_logged_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sealed_file(tmp_path / "f")
    with AuditLog(tmp_path / "log") as log:
        sealed.grant(path, recipients=SECOND[1], signer=SEALER, identity=FIRST[0], audit=log)
        (entry,) = log.entries()
        assert (str(entry.event.kind), entry.event.fields["actor"]) == ("grant", SEALER.public.fingerprint)
        assert entry.event.fields["recipients"] == SECOND[1].fingerprint
        with pytest.raises(sealed.AccessDeniedError):
            sealed.grant(path, recipients=THIRD[1], signer=STRANGER, identity=FIRST[0], audit=log)
        assert log.entry(1).event.fields["reason"].endswith("cannot grant")  # type: ignore[union-attr]
        before = path.read_bytes()

        def full(*_: object) -> int:
            raise OSError("no space left")

        monkeypatch.setattr(log, "append", full)
        with pytest.raises(OSError, match="no space"):
            sealed.grant(path, recipients=THIRD[1], signer=SEALER, identity=FIRST[0], audit=log)
        assert path.read_bytes() == before


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def test_the_time_of_a_grant_is_the_granters(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f")
    sealed.grant(path, recipients=SECOND[1], signer=SEALER, identity=FIRST[0], clock=at(datetime(2030, 1, 2, 3, 4, 5, 999, tzinfo=UTC)))
    assert sealed.inspect(path).grants[0]["time"] == "2030-01-02T03:04:05Z"


def test_a_long_chain_is_checked_in_linear_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's file with a thousand grants must not cost minutes: the manifest is written once, each grant a few times."""
    path = sealed_file(tmp_path / "f")
    sealed.grant(path, recipients=[keypair(f"long {index}")[1] for index in range(40)], signer=SEALER, identity=FIRST[0])
    calls = {"manifest": 0, "grant": 0}
    for name, owner in (("manifest", Manifest), ("grant", Grant)):
        monkeypatch.setattr(owner, "to_json", counted(calls, name, owner.to_json))
    with opened(path) as descriptor:
        envelope = read_outside(File(descriptor)).envelope
    calls.update(manifest=0, grant=0)
    envelope.verify()
    assert calls["manifest"] <= 1
    assert calls["grant"] == 40


def counted(calls: dict[str, int], name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(self: Any) -> Any:
        calls[name] += 1
        return function(self)

    return call
