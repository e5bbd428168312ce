"""`stfed keygen | fingerprint`, through `main`, on real files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from stfed.keys import read_identity, read_recipient, read_signer, read_verifier
from tests.cli.commands import done, refused, run


@pytest.mark.parametrize(("kind", "start"), [("hybrid", "age1pq1"), ("x25519", "age1")])
def test_keygen_writes_a_key_to_decrypt_and_one_to_sign(kind: str, start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = done(capsys, "keygen", "--out", tmp_path / "me", "--kind", kind)
    encryption, signing = (tmp_path / "me.pub").read_text().splitlines()
    assert encryption.startswith(start)
    assert signing.startswith("stfedsig1")
    prints = [line.split()[:3] for line in out.splitlines()]
    assert prints == [
        ["encryption", kind, read_recipient(tmp_path / "me.pub").fingerprint],
        ["signing", "ed25519", read_verifier(tmp_path / "me.pub").fingerprint],
    ]
    assert stat.S_IMODE((tmp_path / "me").stat().st_mode) == 0o600
    for secret in (read_identity(tmp_path / "me").secret_string(), read_signer(tmp_path / "me").secret_string()):
        assert secret not in out + err


def test_a_key_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("keygen", "--out", tmp_path / "me") == 0
    assert "never overwritten" in refused(capsys, "keygen", "--out", tmp_path / "me")


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (("--only", "encryption"), ["encryption"]),
        (("--signing", "none"), ["encryption"]),
        (("--only", "signing"), ["signing"]),
        (("--only", "signing", "--signing", "ed25519-mldsa65"), ["signing"]),
    ],
)
def test_keys_for_one_purpose(options: tuple[str, ...], lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = done(capsys, "keygen", "--out", tmp_path / "me", *options)
    assert [line.split()[0] for line in out.splitlines()] == lines
    assert ("ed25519-mldsa65" in out) == ("ed25519-mldsa65" in options)


def test_no_key_at_all_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "at least one key" in refused(capsys, "keygen", "--out", tmp_path / "me", "--only", "signing", "--signing", "none")


def test_a_protected_key_opens_with_its_passphrase_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STFED_PASSPHRASE", "correct horse")
    out, err = done(capsys, "keygen", "--out", tmp_path / "me", "--only", "signing", "--passphrase")
    assert "correct" not in out + err + (tmp_path / "me").read_text()
    assert read_signer(tmp_path / "me", "correct horse").public == read_verifier(tmp_path / "me.pub")


def test_a_passphrase_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = tmp_path / "words"
    words.write_text("of many\nand more\n")
    assert "others than its owner" in refused(capsys, "keygen", "--out", tmp_path / "me", "--passphrase-file", words)
    words.chmod(0o600)
    done(capsys, "keygen", "--out", tmp_path / "me", "--only", "signing", "--passphrase-file", words)
    read_signer(tmp_path / "me", "of many")
    for content, says in ((b"\n", "passphrase is empty"), (b"\xff\n", "not UTF-8"), (b"a" * 5000, "longer than 4096 bytes")):
        words.write_bytes(content)
        code = 3 if content == b"\n" else 1
        assert says in refused(capsys, "keygen", "--out", tmp_path / "you", "--passphrase-file", words, code=code)
    assert not (tmp_path / "you").exists()


def test_a_passphrase_from_a_descriptor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"of many\n")
    os.close(write_end)
    done(capsys, "keygen", "--out", tmp_path / "me", "--only", "signing", "--passphrase-file", f"/dev/fd/{read_end}")
    os.close(read_end)
    read_signer(tmp_path / "me", "of many")


def test_fingerprints_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [done(capsys, "keygen", "--out", tmp_path / name, "--kind", "x25519")[0] for name in ("a", "b")]
    assert done(capsys, "fingerprint", tmp_path / "a.pub", tmp_path / "b.pub")[0] == "".join(made)
    refused(capsys, "fingerprint", tmp_path / "a.pub", tmp_path / "a", code=4)
    refused(capsys, "fingerprint", tmp_path / "none.pub")


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("keygen",), ("keygen", "--out", tmp_path / "k", "--kind", "rsa"), ("fingerprint",)):
        refused(capsys, *arguments, code=2)
    assert list(tmp_path.iterdir()) == []
