"""`stfed seal | open`, through `main`, on real files."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from stfed import sealed
from stfed.sealed.numpy import save_file
from tests.cli.commands import ROOT, done, fingerprint, keys, plain, refused, run


def a_folder(tmp_path: Path) -> Path:
    """Key pairs of three people and a plain file."""
    keys(tmp_path, "me", "you", "stranger")
    plain(tmp_path)
    return tmp_path


def seal(folder: Path, *more: object, to: str = "me.pub", out: str = "sealed") -> int:
    return run("seal", folder / "plain", "--recipient", folder / to, "--out", folder / out, *more)


def test_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    assert done(capsys, "seal", folder / "plain", "--recipient", folder / "me.pub", "--out", folder / "sealed") == ("", "")
    out, err = done(capsys, "open", folder / "sealed", "--identity", folder / "me", "--out", folder / "back")
    assert out == ""
    assert "nothing proves who sealed it" in err
    assert (folder / "back").read_bytes() == (folder / "plain").read_bytes()
    assert safetensors.numpy.load_file(folder / "back")["w"].sum() == 499_500
    assert stat.S_IMODE((folder / "back").stat().st_mode) == 0o600


def test_several_recipients_and_identities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    you = (folder / "you.pub").read_text().split()[0]
    assert seal(folder, "--recipient", you) == 0
    for name in ("me", "you"):
        done(capsys, "open", folder / "sealed", "--identity", folder / "stranger", "--identity", folder / name, "--out", folder / "back")
    error = refused(capsys, "open", folder / "sealed", "--identity", folder / "stranger", "--out", folder / "other", code=3)
    assert "is sealed to 2 x25519 keys and not to" in error


def test_what_open_says_about_the_signer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    signer = fingerprint(folder / "you.pub", "signing")
    assert seal(folder, "--sign", folder / "you") == 0
    assert run("roster", "init", folder / "team", "--name", "Team") == 0
    assert run("roster", "add", folder / "team", "Yuki", "--key", folder / "you.pub", "--role", "owner") == 0
    opening = ("open", folder / "sealed", "--identity", folder / "me", "--out", folder / "back")
    assert f"is signed by {signer}, and nothing here says whose key that is" in done(capsys, *opening)[1]
    assert f"was sealed by {signer} at 2" in done(capsys, *opening, "--trusted", folder / "you.pub")[1]
    assert f"was sealed by {signer}, Yuki in the roster, at 2" in done(capsys, *opening, "--roster", folder / "team")[1]
    (folder / "back").unlink()
    assert "nobody trusted signed the file" in refused(capsys, *opening, "--trusted", folder / "stranger.pub", code=4)
    assert run("roster", "revoke", folder / "team", "Yuki", "--reason", "lost") == 0
    assert "lost" in refused(capsys, *opening, "--roster", folder / "team", code=4)
    assert seal(folder, out="unsigned") == 0
    assert "is not signed" in refused(
        capsys, "open", folder / "unsigned", "--identity", folder / "me", "--trusted", folder / "you.pub", "--out", folder / "back", code=4
    )
    assert not (folder / "back").exists()


def test_the_recipients_of_a_roster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    assert run("roster", "init", folder / "team", "--name", "Team") == 0
    for name, role in (("me", "recipient"), ("you", "owner")):
        assert run("roster", "add", folder / "team", name, "--key", folder / f"{name}.pub", "--role", role) == 0
    done(capsys, "seal", folder / "plain", "--roster", folder / "team", "--out", folder / "sealed")
    done(capsys, "open", folder / "sealed", "--identity", folder / "me", "--out", folder / "back")
    refused(capsys, "open", folder / "sealed", "--identity", folder / "you", "--out", folder / "other", code=3)


def test_a_policy_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    sign = ("--sign", folder / "me")
    opening = ("--identity", folder / "me", "--out", folder / "back")
    assert seal(folder, *sign, "--purpose", "research", "--purpose", "audit", "--not-after", "2999-01-01") == 0
    error = refused(capsys, "open", folder / "sealed", *opening, code=5)
    assert "for 'research', 'audit' only" in error
    assert "hint: state it: --purpose\n" in error
    refused(capsys, "open", folder / "sealed", *opening, "--purpose", "sale", code=5)
    done(capsys, "open", folder / "sealed", *opening, "--purpose", "audit")
    assert seal(folder, *sign, "--not-after", "2020-01-01T00:00:00+02:00", out="old") == 0
    assert "after 2019-12-31T22:00:00Z" in refused(capsys, "open", folder / "old", *opening, code=5)
    assert seal(folder, *sign, "--not-before", "2999-01-01", out="new") == 0
    assert "before 2999-01-01T00:00:00Z" in refused(capsys, "open", folder / "new", *opening, code=5)
    policy = ("--owner", folder / "you.pub", "--reader", folder / "stranger.pub")
    assert seal(folder, *sign, *policy, out="named") == 0
    stated = sealed.inspect(folder / "named").policy
    assert stated["owners"] == [fingerprint(folder / "you.pub", "signing")]
    assert stated["readers"] == [fingerprint(folder / "stranger.pub", "signing")]
    error = refused(capsys, "seal", folder / "plain", "--recipient", folder / "me.pub", *policy, "--out", folder / "x")
    assert "a policy without a signature is nobody's policy\nhint: --sign\n" in error


def test_statements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    public = ("--state-public", "model=heart", "--state-public", "sequence=3", "--state-public", "score=0.5", "--state-public", 'v="1"')
    assert seal(folder, *public, "--state", "site=Kiel", "--state", "list=[1]", "--state", "ok=true", "--state", "a=b=c") == 0
    assert sealed.inspect(folder / "sealed").public == {"model": "heart", "sequence": 3, "score": 0.5, "v": "1"}
    with sealed.SealedReader(folder / "sealed", identity=folder / "me") as reader:
        assert reader.statements["site"] == "Kiel"
        assert reader.statements["list"] == "[1]"
        assert reader.statements["ok"] is True
        assert reader.statements["a"] == "b=c"
    for stated, code in ((("a=1", "--state", "a=2"), 1), (("a=1", "--state-public", "a=1"), 1), (("a",), 2), (("=1",), 2)):
        refused(capsys, "seal", folder / "plain", "--recipient", folder / "me.pub", "--out", folder / "x", "--state", *stated, code=code)


def test_an_older_version_is_refused_by_pins_and_an_older_envelope_by_generation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_folder(tmp_path)
    for sequence in (1, 2):
        stated = ("--state", "model=heart", "--state", f"sequence={sequence}")
        assert seal(folder, "--sign", folder / "me", *stated, out=f"sealed{sequence}") == 0
    opening = ("--identity", folder / "me", "--out", folder / "back")
    pins = ("--trusted", folder / "me.pub", "--pins", folder / "pins")
    done(capsys, "open", folder / "sealed1", *opening, *pins)
    done(capsys, "open", folder / "sealed2", *opening, *pins)
    assert "is older than sequence 2" in refused(capsys, "open", folder / "sealed1", *opening, *pins, code=4)
    assert "say whom you trust: --trusted" in refused(capsys, "open", folder / "sealed2", *opening, "--pins", folder / "pins")
    assert "at least 2 is asked for" in refused(capsys, "open", folder / "sealed2", *opening, "--generation", "2", code=4)


def test_the_digest(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    assert seal(folder, "--sign", folder / "me", "--digest", "sha256") == 0
    assert sealed.inspect(folder / "sealed").suite == "floe-aes256gcm-sha256"


def test_sealing_and_opening_are_logged_and_a_failed_opening_is_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    log = ("--audit", folder / "log")
    assert seal(folder, *log) == 0
    done(capsys, "open", folder / "sealed", "--identity", folder / "me", "--out", folder / "back", *log)
    assert run("open", folder / "sealed", "--identity", folder / "you", "--out", folder / "other", *log) == 3
    lines = done(capsys, "audit", "log", folder / "log")[0].splitlines()
    assert [re.split("  +", line)[2] for line in lines] == ["seal", "open", "open-failed"]
    assert fingerprint(folder / "me.pub") in lines[0]
    assert fingerprint(folder / "you.pub") in lines[2]


def test_refusals_write_nothing_and_say_one_clear_thing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    assert seal(folder) == 0
    assert run("keygen", "--out", folder / "hybrid") == 0
    (folder / "cut").write_bytes((folder / "sealed").read_bytes()[:-5])
    (folder / "changed").write_bytes((folder / "sealed").read_bytes()[:-5] + b"12345")
    (folder / "broken").write_bytes((folder / "plain").read_bytes()[:-5])
    (folder / "link").symlink_to("plain")
    (folder / "open").write_text((folder / "me").read_text())
    (folder / "open").chmod(0o644)
    to_me = ("--recipient", folder / "me.pub", "--out", folder / "out")
    identity = ("--identity", folder / "me", "--out")
    for code, arguments, says in (
        (4, ("seal", folder / "sealed", *to_me), "sealed: it is sealed already"),
        (4, ("seal", folder / "broken", *to_me), "broken: the safetensors header describes"),
        (4, ("seal", folder / "me", *to_me), "me: the content is no safetensors file"),
        (1, ("seal", folder / "none", *to_me), "No such file or directory"),
        (4, ("seal", folder / "plain", "--recipient", folder / "me", "--out", folder / "out"), "this is a secret key"),
        (1, ("seal", folder / "plain", "--recipient", folder / "no.pub", "--out", folder / "out"), "there is no key file"),
        (4, ("seal", folder / "plain", "--recipient", "age1typo", "--out", folder / "out"), "age1typo: the key is cut off"),
        (1, ("seal", folder / "plain", *to_me, "--recipient", folder / "hybrid.pub"), "hybrid and x25519 recipients in one file"),
        (1, ("seal", folder / "plain", "--recipient", folder / "me.pub", "--out", folder / "plain"), "input and output at once"),
        (1, ("seal", folder / "plain", "--recipient", folder / "me.pub", "--out", folder / "link"), "symbolic link"),
        (1, ("seal", folder / "plain", "--recipient", folder / "me.pub", "--out", folder), "is a folder"),
        (1, ("seal", folder / "plain", "--recipient", folder / "me.pub", "--out", folder / "no" / "where"), "there is no folder"),
        (4, ("open", folder / "plain", *identity, folder / "out"), "plain: not sealed: it looks like a plain safetensors file"),
        (4, ("open", folder / "cut", *identity, folder / "out"), "cut: the file is"),
        (4, ("open", folder / "changed", *identity, folder / "out"), "changed: "),
        (1, ("open", folder / "sealed", *identity, folder / "sealed"), "input and output at once"),
        (1, ("open", folder / "sealed", *identity, folder / "link"), "symbolic link"),
        (1, ("open", folder / "sealed", "--identity", folder / "open", "--out", folder / "out"), "others than its owner"),
        (4, ("open", folder / "sealed", "--identity", folder / "me.pub", "--out", folder / "out"), "no file of secret keys"),
        (1, ("open", folder / "sealed", "--identity", folder / "none", "--out", folder / "out"), "there is no key file"),
        (3, ("open", folder / "sealed", "--identity", folder / "hybrid", "--out", folder / "out"), "is sealed to 1 x25519 key and not to"),
        (
            3,
            ("open", folder / "sealed", "--passphrase", "--passphrase-file", folder / "me", "--out", folder / "out"),
            "not under a passphrase",
        ),
    ):
        assert says in refused(capsys, *arguments, code=code), arguments
        assert not (folder / "out").exists()


def test_a_secret_key_on_the_command_line_is_not_echoed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    for secret in (folder / "me").read_text().splitlines()[-2:]:
        for arguments in (
            ("open", folder / "plain", "--identity", secret, "--out", folder / "out"),
            ("seal", folder / "plain", "--recipient", secret, "--out", folder / "out"),
            ("seal", folder / "plain", "--recipient", folder / "me.pub", "--sign", secret, "--out", folder / "out"),
            ("inspect", secret),
            ("open", secret, secret, "--identity", folder / "me", "--out", folder / "out"),
        ):
            run(*arguments)
            output = capsys.readouterr()
            assert secret[20:40].lower() not in (output.out + output.err).lower()


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seal_to = ("seal", "x", "--out", "y", "--recipient", "z")
    for arguments in (
        ("seal", "x"),
        ("seal", "x", "--out", "y"),
        (*seal_to, "--passphrase"),
        (*seal_to, "--not-after", "soon"),
        (*seal_to, "--not-after", "2027-01-31T12:00:00"),
        (*seal_to, "--not-after", "20270131"),
        ("open", "x"),
        ("open", "x", "--out", "y"),
        ("open", "x", "--out", "y", "--identity", "k", "--trusted", "a", "--roster", "b"),
    ):
        refused(capsys, *arguments, code=2)
    assert list(tmp_path.iterdir()) == []


PROGRESS = """
import sys
from stfed import cli
import stfed.cli.progress
stfed.cli.progress._QUIET_S = float(sys.argv.pop(1))
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("quiet_s", "shown"), [("0", True), ("60", False)])
def test_a_bar_on_a_terminal_for_what_takes_long(quiet_s: str, shown: bool, tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    save_file({"w": np.zeros(3_000_000, np.float32)}, folder / "sealed", recipients=folder / "me.pub")
    master, slave = os.openpty()
    command = [
        sys.executable,
        "-c",
        PROGRESS,
        quiet_s,
        "open",
        str(folder / "sealed"),
        "--identity",
        str(folder / "me"),
        "--out",
        str(folder / "b"),
    ]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=slave, check=False, cwd=ROOT, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    screen = os.read(master, 1 << 16).decode()
    os.close(master)
    assert result.returncode == 0
    assert result.stdout == b""
    assert ("opening" in screen) is shown
    assert "nothing proves who sealed it" in screen
