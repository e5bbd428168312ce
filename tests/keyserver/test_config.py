"""The configuration is read strictly, set-up makes one that works, and the roster is what the file says now."""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from stfed.errors import LocalError, MalformedError
from stfed.keys.keyfile import read_secret_keys
from stfed.keyserver.certificate import self_signed
from stfed.keyserver.config import Config
from stfed.keyserver.rosterfile import RosterFile
from stfed.keyserver.service import Limits
from stfed.keyserver.setup import set_up
from tests.keyserver.world import ALICE, roster
from tests.strangers import give_away

NOW = datetime(2026, 5, 6, tzinfo=UTC)
LEAST = 'key = "k"\nroster = "r"\ncertificate = "c"\ncertificate_key = "ck"\n'


def written(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "keyserver.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_set_up_makes_what_the_defaults_say(tmp_path: Path) -> None:
    made = set_up(tmp_path / "keys", ["keys.example.org"], host="127.0.0.1", port=8443, now=NOW)
    config = Config.read(made.config)
    assert config.limits == Limits()
    defaults = Config.read(written(tmp_path, LEAST))
    for name in ("host", "port", "checkpoint_every", "connections", "connections_per_address", "limits"):
        assert getattr(config, name) == getattr(defaults, name), name
    assert (config.host, config.port) == ("127.0.0.1", 8443)
    for one in fields(Limits):
        assert f"\n{one.name} = " in made.config.read_text()
    assert config.audit.parent == config.database.parent == tmp_path / "keys"
    keys = read_secret_keys(config.key)
    assert keys.identity is not None
    assert keys.signing is not None
    assert (keys.identity.recipient, keys.signing.public) == (made.recipient, made.verifier)
    assert RosterFile(config.roster).read().members == ()
    assert {path.name for path in (tmp_path / "keys").iterdir() if stat.S_IMODE(path.stat().st_mode) == 0o600} == {
        "keyserver.key", "keyserver.toml", "tls.key",
    }  # fmt: skip
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_set_up_overwrites_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "tls.key").write_text("mine")
    with pytest.raises(LocalError, match="not overwritten"):
        set_up(folder, ["localhost"], host="127.0.0.1", port=1, now=NOW)
    assert {path.name for path in folder.iterdir()} == {"tls.key"}
    with pytest.raises(LocalError, match="there is no folder"):
        set_up(tmp_path / "no" / "where", ["localhost"], host="127.0.0.1", port=1, now=NOW)


@pytest.mark.parametrize("name", ["", "https://host", "host:1", "a b", "*.example.org", "caf\u00e9"])
def test_names_that_no_certificate_is_for(name: str, tmp_path: Path) -> None:
    with pytest.raises(LocalError):
        set_up(tmp_path / "keys", [name], host="127.0.0.1", port=1, now=NOW)
    assert not (tmp_path / "keys").exists()


def test_the_certificate_vouches_for_its_hosts_and_signs_no_others(tmp_path: Path) -> None:
    pem, key = self_signed(["keys.example.org", "192.0.2.7", "::1"], NOW)
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["keys.example.org"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "::1"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert b"PRIVATE KEY" in key
    (tmp_path / "ca").write_bytes(pem)
    context = ssl.create_default_context(cafile=tmp_path / "ca")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert self_signed(["a"], NOW)[1] != self_signed(["a"], NOW)[1]
    with pytest.raises(LocalError):
        self_signed([], NOW)


def test_paths_are_relative_to_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    config = Config.read(written(tmp_path, LEAST + 'former = ["old/k"]\naudit = "/var/a"\n[limits]\ntotal = 7\n'))
    assert (config.key, config.former, config.audit) == (tmp_path / "k", (tmp_path / "old/k",), Path("/var/a"))
    assert config.limits == Limits(total=7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "key is missing"),
        (LEAST.replace("roster", "rooster"), "no field 'rooster'"),
        (LEAST + "port = '1'", "port is not a whole number"),
        (LEAST + "port = true", "port is not a whole number"),
        (LEAST + "port = 65536", "port is not a whole number from 0 to 65535"),
        (LEAST + "connections = 0", "from 1 to"),
        (LEAST + "host = 1", "host is not a text"),
        (LEAST + "former = 'k'", "former is not a list"),
        (LEAST + "former = [1]", "former is not a text"),
        (LEAST + "limits = 1", "limits is not a table"),
        (LEAST + "[limits]\nper_day = 1", "no limit 'per_day'"),
        (LEAST + "[limits]\ntotal = 0", "total is not a whole number"),
        (LEAST.replace('"k"', '""'), "key is not a text"),
        ("key = ", "is not TOML"),
        ("x" * 70_000, "too long"),
    ],
)
def test_what_a_configuration_may_not_say(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises((LocalError, MalformedError), match=says):
        Config.read(written(tmp_path, text))


def test_a_configuration_that_others_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LocalError, match="others than its owner may change it"):
        Config.read(written(tmp_path, LEAST, 0o620))
    with pytest.raises(LocalError, match="there is no configuration"):
        Config.read(tmp_path / "nothing")
    path = written(tmp_path, LEAST)
    tmp_path.chmod(0o770)
    with pytest.raises(LocalError, match="may write to its folder"):
        Config.read(path)
    tmp_path.chmod(0o700)
    give_away(path, monkeypatch)
    with pytest.raises(LocalError, match="belongs to another user"):
        Config.read(path)


def test_a_roster_that_others_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts from the next release on."""
    path = tmp_path / "roster.toml"
    roster().write(path)
    file = RosterFile(path)
    file.read()
    tmp_path.chmod(0o770)
    with pytest.raises(LocalError, match="may write to its folder"):
        file.read()
    tmp_path.chmod(0o700)
    give_away(path, monkeypatch)
    with pytest.raises(LocalError, match="belongs to another user"):
        file.read()


def test_the_roster_is_what_the_file_says_now_whatever_its_times_say(tmp_path: Path) -> None:
    """A change that leaves length, inode and times as they were, in place: it is seen all the same."""
    path = tmp_path / "roster.toml"
    roster().write(path)
    file = RosterFile(path)
    before = file.read()
    assert file.read() is before
    status, data = path.stat(), path.read_bytes()
    with path.open("r+b") as handle:
        handle.write(data.replace(b'"alice"', b'"alicf"'))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    after = file.read()
    assert after.member("alice") is None
    assert after.by_signing(ALICE.public) is after.member("alicf") is not None


def test_a_roster_that_broke_does_not_count_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "roster.toml"
    roster().write(path)
    file = RosterFile(path)
    file.read()
    good = path.read_bytes()
    path.write_bytes(good[:-3])
    for _ in range(2):
        with pytest.raises(MalformedError, match="is no roster"):
            file.read()
    path.write_bytes(good)
    path.chmod(0o666)
    with pytest.raises(LocalError, match="others than its owner"):
        file.read()
    path.unlink()
    with pytest.raises(LocalError, match="cannot be read"):
        file.read()
    path.mkdir()
    with pytest.raises(LocalError, match="not a plain file"):
        file.read()
