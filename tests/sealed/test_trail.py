"""What the library writes to a log: before anything appears or is given out, or it does not happen."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stfed import sealed
from stfed.audit import AuditLog
from stfed.keys.signing import SigningKey
from stfed.sealed.numpy import load, load_file, safe_open, save, save_file

from .material import Script, keypair

SEALER = SigningKey.generate(entropy=Script("sealer"))
READER, OTHER = keypair("reader"), keypair("other")
TENSORS = {"w": np.arange(600_000, dtype=np.float32)}


def facts(log: AuditLog) -> list[tuple[str, dict[str, Any]]]:
    return [(str(entry.event.kind), dict(entry.event.fields)) for entry in log.entries()]


def test_sealing_and_opening_leave_who_what_and_whom(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with AuditLog(tmp_path / "log") as log:
        save_file(TENSORS, path, recipients=[READER[1], OTHER[1]], signer=SEALER, public={"model": "m", "sequence": 3}, audit=log)
        load_file(path, identity=READER[0], trusted=SEALER.public, purpose="test", audit=log)
        (sealing, sealed_fields), (opening, opened_fields) = facts(log)
    info = sealed.inspect(path)
    assert (sealing, opening) == ("seal", "open")
    for fields in (sealed_fields, opened_fields):
        assert (fields["path"], fields["file_id"], fields["manifest_sha256"]) == ("f", info.file_id, info.manifest_sha256)
        assert (fields["model"], fields["sequence"], fields["signers"]) == ("m", 3, SEALER.public.fingerprint)
    assert sealed_fields["recipients"] == f"{READER[1].fingerprint},{OTHER[1].fingerprint}"
    assert (opened_fields["actor"], opened_fields["how"]) == (READER[1].fingerprint, "addressed")
    assert (opened_fields["purpose"], opened_fields["trusted"]) == ("test", SEALER.public.fingerprint)


def test_files_in_memory_are_logged_too(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "log") as log:
        data = save(TENSORS, passphrase="correct horse", audit=log)
        load(data, passphrase="correct horse", audit=log)
        assert [(kind, fields["path"]) for kind, fields in facts(log)] == [("seal", None), ("open", None)]
        assert facts(log)[0][1]["recipients"] == "passphrase"


def test_every_failed_opening_is_logged_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "f"
    save_file(TENSORS, path, recipients=READER[1], signer=SEALER, policy=sealed.Policy(purposes="test"))
    with AuditLog(tmp_path / "log") as log:
        for options in (
            {"identity": OTHER[0], "purpose": "test"},
            {"identity": READER[0]},
            {"identity": READER[0], "purpose": "test", "trusted": SigningKey.generate().public},
        ):
            with pytest.raises((sealed.NotARecipientError, sealed.AccessDeniedError, sealed.UntrustedError)):
                load_file(path, **options, audit=log)  # type: ignore[arg-type]
        data = bytearray(path.read_bytes())
        data[-1_000_000] ^= 1
        path.write_bytes(data)
        with safe_open(path, "np", identity=READER[0], purpose="test", audit=log) as file, pytest.raises(sealed.TamperedError):
            file.get_tensor("w")
        path.write_bytes(b"rubbish")
        with pytest.raises(sealed.MalformedError):
            load_file(path, identity=READER[0], audit=log)
        found = facts(log)
    assert [(kind, fields.get("error")) for kind, fields in found] == [
        ("open-failed", "NotARecipientError"),
        ("open-failed", "AccessDeniedError"),
        ("open-failed", "UntrustedError"),
        ("open", None),
        ("open-failed", "TamperedError"),
        ("open-failed", "MalformedError"),
    ]
    assert all("file_id" in fields for _, fields in found[:-1])
    assert "file_id" not in found[-1][1]
    assert all(fields["reason"] for kind, fields in found if kind == "open-failed")


def test_without_an_entry_nothing_is_sealed_or_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    save_file(TENSORS, path, recipients=READER[1])

    def full(*_: object) -> int:
        raise OSError("no space left")

    with AuditLog(tmp_path / "log") as log:
        monkeypatch.setattr(log, "append", full)
        with pytest.raises(OSError, match="no space"):
            save_file(TENSORS, tmp_path / "g", recipients=READER[1], audit=log)
        for read in (load_file, lambda path, **options: safe_open(path, "np", **options)):
            with pytest.raises(OSError, match="no space"):
                read(path, identity=READER[0], audit=log)
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.startswith("log")) == ["f"]


def test_a_log_by_its_path_is_closed_again(tmp_path: Path) -> None:
    for _ in range(3):
        save_file(TENSORS, tmp_path / "f", recipients=READER[1], audit=tmp_path / "log")
    with AuditLog(tmp_path / "log", create=False) as log:
        assert [kind for kind, _ in facts(log)] == ["seal"] * 3


def test_no_secret_and_no_folder_in_the_log(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "log") as log:
        save_file(TENSORS, tmp_path / "f", recipients=READER[1], signer=SEALER, provenance={"note": "confidential"}, audit=log)
        load_file(tmp_path / "f", identity=READER[0], audit=log)
        whole = b"".join(entry.data for entry in log.entries())
    for never in (b"SECRET", b"SIGNING-KEY", b"confidential", str(tmp_path).encode()):
        assert never not in whole
