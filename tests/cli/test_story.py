"""The whole story, with commands only: a model for two colleagues, one of whom leaves, and proof afterwards of who was given what."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.numpy

from tests.cli.commands import done, fingerprint, refused, run

SCRIPT = """
import numpy as np
from safetensors.numpy import load_file, save_file

rng = np.random.default_rng(0)
model = {"embed.weight": rng.standard_normal((100, 16), dtype=np.float32), "head.bias": np.zeros(4, dtype=np.float16), "steps": np.array(7)}
save_file(model, "model.safetensors", metadata={"format": "np"})
assert load_file("model.safetensors")["steps"] == 7
"""
"""Any safetensors script, as people write them."""


def test_seal_for_two_hand_over_revoke_one_and_prove_who_was_given_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, check=True)
    for name in ("alice", "bob", "carol", "auditor"):
        done(capsys, "keygen", "--out", f"{name}.key")
    bob, carol = (fingerprint(Path(f"{name}.key.pub")) for name in ("bob", "carol"))

    # Alice seals her model for Bob and Carol; what she keeps for herself is a recipient like any other.
    to = [argument for name in ("alice", "bob", "carol") for argument in ("--recipient", f"{name}.key.pub")]
    by_alice = ("--sign", "alice.key", "--audit", "audit.db")
    done(capsys, "seal", "model.safetensors", *to, *by_alice, "--out", "sealed.safetensors")
    with pytest.raises(Exception, match="steps"):
        safetensors.numpy.load_file("sealed.safetensors")["steps"]
    first_file = json.loads(done(capsys, "inspect", "sealed.safetensors", "--json")[0])["file_id"]
    Path("monday").write_text(done(capsys, "audit", "checkpoint", "audit.db", "--sign", "alice.key")[0])

    # Handed over, in whatever way: whoever carries it can verify it and not read it.
    handed = Path("handed-over")
    handed.mkdir()
    (handed / "model").write_bytes(Path("sealed.safetensors").read_bytes())
    done(capsys, "verify", handed / "model", "--trusted", "alice.key.pub")
    refused(capsys, "open", handed / "model", "--identity", "auditor.key", "--out", handed / "stolen", code=3)
    for name in ("bob", "carol"):
        opening = ("--identity", f"{name}.key", "--trusted", "alice.key.pub")
        done(capsys, "open", handed / "model", *opening, "--out", handed / name)
        assert (handed / name).read_bytes() == Path("model.safetensors").read_bytes()

    # Bob leaves.
    known = ("--known", "alice.key.pub", "--known", "carol.key.pub", "--identity", "alice.key", *by_alice)
    _, err = done(capsys, "revoke", "sealed.safetensors", "--recipient", "bob.key.pub", *known, "--out", "next.safetensors")
    assert "may have kept the key or the content" in err
    refused(capsys, "open", "next.safetensors", "--identity", "bob.key", "--out", "bob-next", code=3)
    done(capsys, "open", "next.safetensors", "--identity", "carol.key", "--trusted", "alice.key.pub", "--out", "carol-next")
    assert Path("carol-next").read_bytes() == Path("model.safetensors").read_bytes()
    second_file = json.loads(done(capsys, "inspect", "next.safetensors", "--json")[0])["file_id"]

    # Who was given what? The log says so, and nothing of it was changed since Monday.
    def given(key: str) -> list[tuple[str, str]]:
        lines = done(capsys, "audit", "log", "audit.db", "--recipient", key, "--json")[0].splitlines()
        return [(entry["kind"], entry["fields"]["file_id"]) for entry in map(json.loads, lines)]

    assert given("bob.key.pub") == [("seal", first_file), ("revoke", second_file)]
    assert given("carol.key.pub") == [("seal", first_file), ("seal", second_file)]
    done(capsys, "audit", "verify", "audit.db", "--trusted", "alice.key.pub", "--known", "monday")

    # The auditor puts a name under the log, and proofs of single entries convince people who never see it.
    Path("tuesday").write_text(done(capsys, "audit", "checkpoint", "audit.db", "--sign", "alice.key")[0])
    cosigning = ("--sign", "auditor.key", "--state", "auditor.seen", "--trusted", "alice.key.pub")
    Path("cosigned").write_text(done(capsys, "audit", "cosign", "tuesday", *cosigning)[0])
    entries = [json.loads(line) for line in done(capsys, "audit", "log", "audit.db", "--json")[0].splitlines()]
    for entry in entries:
        Path("proof").write_text(done(capsys, "audit", "prove", "audit.db", entry["index"], "--checkpoint", "cosigned")[0])
        log = Path("audit.db").rename("elsewhere")
        checked = done(capsys, "audit", "check", "proof", "--trusted", "alice.key.pub", "--cosigner", "auditor.key.pub", "--json")[0]
        log.rename("audit.db")
        assert entry.items() <= json.loads(checked).items()
    assert bob in entries[0]["fields"]["recipients"]
    assert carol in entries[0]["fields"]["recipients"]
    proof = Path("proof").read_text()
    Path("proof").write_text(proof.replace(f"index {entries[-1]['index']}", "index 0"))
    assert run("audit", "check", "proof", "--trusted", "alice.key.pub") == 4
