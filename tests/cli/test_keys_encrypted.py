"""`stfed keygen --encrypted`, and `stfed inspect | fingerprint` of what it writes, through `main`, on real files."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest

from stfed.encrypted.files import save_file
from stfed.encrypted.keyfiles import load_public, load_secret
from stfed.encrypted.parameters import Parameters
from stfed.keys import read_signer
from tests.cli.commands import done, keys, refused, run
from tests.encrypted.made import made

SMALL = ("--encrypted", "--depth", "0", "--no-rotations")


def test_keygen_writes_a_secret_and_a_public_context(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = done(capsys, "keygen", *SMALL, "--out", tmp_path / "k")
    secret = load_secret(tmp_path / "k")
    assert secret.public.parameters == Parameters.for_depth(0)
    assert not secret.public.rotates
    assert out.splitlines()[0] == f"encrypted tensors  {secret.public.fingerprint.hex()}  {tmp_path / 'k.pub'}"
    assert "keep" in err
    assert "cannot decrypt" in err
    assert "this fingerprint" in err
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert done(capsys, "fingerprint", tmp_path / "k.pub")[0] == out.splitlines()[0] + "\n"


def test_keygen_signs_and_protects_and_says_so_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys(tmp_path, "alice")
    monkeypatch.setenv("STFED_PASSPHRASE", "correct horse")
    out, _ = done(capsys, "keygen", *SMALL, "--out", tmp_path / "k", "--sign", tmp_path / "alice", "--passphrase", "--json")
    facts, signer = json.loads(out), read_signer(tmp_path / "alice").public
    public = load_public(tmp_path / "k.pub", trusted=tmp_path / "alice.pub")
    assert facts == {
        "secret": str(tmp_path / "k"),
        "public": str(tmp_path / "k.pub"),
        "fingerprint": public.fingerprint.hex(),
        "parameters": str(public.parameters),
        "rotations": False,
        "signer": signer.fingerprint,
    }
    load_secret(tmp_path / "k", passphrase="correct horse")
    shown = json.loads(done(capsys, "inspect", tmp_path / "k.pub", "--json")[0])
    assert (shown["kind"], shown["fingerprint"], shown["signers"], shown["signature"]) == (
        "public", facts["fingerprint"], [signer.fingerprint], "valid",
    )  # fmt: skip
    assert json.loads(done(capsys, "inspect", tmp_path / "k", "--json")[0])["protected"] is True
    assert public.fingerprint.hex() in done(capsys, "inspect", tmp_path / "k")[0]


def test_keys_of_sums(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from stfed.flower.ckks import SUMS

    done(capsys, "keygen", "--encrypted", "--sums", "--out", tmp_path / "k")
    public = load_secret(tmp_path / "k").public
    assert (public.parameters, public.rotates) == (SUMS, False)


def test_ordinary_keys_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(done(capsys, "keygen", "--out", tmp_path / "me", "--kind", "x25519", "--json")[0])
    assert [key["use"] for key in facts["keys"]] == ["encryption", "signing"]
    assert facts["public"] == str(tmp_path / "me.pub")


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (("--depth", "1"), ("--no-rotations",), ("--sums",), ("--sign", tmp_path / "a")):
        refused(capsys, "keygen", "--out", tmp_path / "k", *wrong, code=2)
    for more in (("--kind", "x25519"), ("--signing", "none"), ("--only", "signing"), ("--depth", "two"), ("--depth", "1", "--sums")):
        refused(capsys, "keygen", "--encrypted", "--out", tmp_path / "k", *more, code=2)
    assert "a depth of -1" in refused(capsys, "keygen", "--encrypted", "--out", tmp_path / "k", "--depth", "-1")
    assert "1000 multiplications" in refused(capsys, "keygen", "--encrypted", "--out", tmp_path / "k", "--depth", "1000")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("keygen", *SMALL, "--out", tmp_path / "k") == 0
    assert "never overwritten" in refused(capsys, "keygen", *SMALL, "--out", tmp_path / "k")
    (tmp_path / "words").write_bytes(b"\n")
    (tmp_path / "words").chmod(0o600)
    refused(capsys, "keygen", *SMALL, "--out", tmp_path / "two", "--passphrase-file", tmp_path / "words", code=3)
    assert not (tmp_path / "two.pub").exists()
    damaged = (tmp_path / "k.pub").read_bytes()
    (tmp_path / "k.pub").write_bytes(damaged[:-1])
    refused(capsys, "inspect", tmp_path / "k.pub", code=4)
    refused(capsys, "fingerprint", tmp_path / "k.pub", code=4)
    (tmp_path / "k.pub").write_bytes(damaged[:-1] + bytes([damaged[-1] ^ 1]))
    assert "not those of its fingerprint" in refused(capsys, "fingerprint", tmp_path / "k.pub", code=4)
    refused(capsys, "inspect", tmp_path / "k", "--key", tmp_path / "k.pub", code=2)


def test_inspect_and_verify_of_a_file_of_encrypted_tensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys(tmp_path, "alice", "bob")
    assert run("keygen", *SMALL, "--out", tmp_path / "k", "--sign", tmp_path / "alice") == 0
    context = load_public(tmp_path / "k.pub", trusted=tmp_path / "alice.pub")
    save_file({"x": made(context, np.ones((3, 2)))}, tmp_path / "x", recipients=tmp_path / "bob.pub", signer=tmp_path / "alice")
    shown = json.loads(done(capsys, "inspect", tmp_path / "x", "--json")[0])
    assert shown["public"] == {
        "type": "ckks",
        "ckks_context": context.fingerprint.hex(),
        "ckks_parameters": str(context.parameters),
        "ckks_tensors": 1,
    }
    assert "'ckks'" in done(capsys, "inspect", tmp_path / "x")[0]
    done(capsys, "verify", tmp_path / "x", "--trusted", tmp_path / "alice.pub")
