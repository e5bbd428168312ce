"""What a party takes for its own configuration: from whom, in which order, and what it says when something is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from stfed.errors import DecodeError, LocalError, PeerError
from stfed.flower import party_config as module
from stfed.flower.party_config import PartyConfig, party_config
from stfed.keys import Member, Role, Roster, SigningKey, generate_keypair, write_keypair
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.testing.protocol import NOON, roster_of, signing_key
from tests.strangers import give_away

MALICIOUS = Policy(mode=Mode.MALICIOUS)
PHRASE = "correct horse battery staple"


def context(**node_config: Any) -> Context:
    """A Context whose run config, which is the coordinator's, says the opposite of everything."""
    run_config: dict[str, Any] = {
        "stfed-policy": "/theirs",
        "stfed-identity": "/theirs",
        "stfed-roster": "/theirs",
        "stfed-allow-insecure": True,
    }
    config = {f"stfed-{name.replace('_', '-')}": str(value) if isinstance(value, Path) else value for name, value in node_config.items()}
    return Context(1, 2, config, RecordDict(), run_config)


def files(folder: Path, *, passphrase: str | None = None, n: int = 3, policy: str = 'mode = "malicious"\n') -> dict[str, Any]:
    """Policy, identity and roster of party 0 on the disk, as its node config names them."""
    (folder / "policy.toml").write_text(policy)
    write_keypair(folder / "party.key", signing=signing_key(0), passphrase=passphrase)
    roster_of(n).write(folder / "roster.toml")
    return {"policy": folder / "policy.toml", "identity": folder / "party.key", "roster": folder / "roster.toml"}


def refused(match: str, given: Context, **arguments: Any) -> LocalError:
    """A refusal of our own family, in which no secret is quoted."""
    with pytest.raises(LocalError, match=match) as caught:
        party_config(given, **arguments)
    assert not isinstance(caught.value, PeerError | DecodeError)
    text = f"{caught.value!r} {caught.value}"
    assert "SIGNING-KEY-1" not in text
    assert PHRASE not in text
    assert "\n" not in text
    return caught.value


def test_nothing_given_is_the_default_policy_in_semi_honest_mode() -> None:
    assert party_config(context()) == PartyConfig(Policy(), None, None, False)


def test_everything_from_the_nodes_own_config(tmp_path: Path) -> None:
    given = party_config(context(**files(tmp_path), allow_insecure=True))
    assert given.policy == MALICIOUS
    assert given.identity is not None
    assert given.identity.public_bytes == signing_key(0).ed25519.public_bytes
    assert given.roster is not None
    assert (len(given.roster), given.roster.member(given.identity.public_bytes)) == (3, "party 0")
    assert given.allow_insecure


def test_the_nodes_own_config_comes_before_the_code(tmp_path: Path) -> None:
    """The code may be the coordinator's; who started the node wrote its config."""
    node = context(**files(tmp_path), allow_insecure=False)
    code: dict[str, Any] = {"policy": Policy(min_cohort=9), "identity": signing_key(1), "roster": roster_of(7), "allow_insecure": True}
    given = party_config(node, **code)
    assert given.policy == MALICIOUS
    assert given.identity is not None
    assert given.identity.public_bytes == signing_key(0).ed25519.public_bytes
    assert given.roster is not None
    assert len(given.roster) == 3
    assert not given.allow_insecure


def test_a_policy_in_the_code_can_not_take_a_node_with_an_identity_out_of_malicious_mode(tmp_path: Path) -> None:
    paths = files(tmp_path)
    refused("the policy in the ClientApp's code is semi-honest", context(identity=paths["identity"]), policy=Policy())
    refused("the policy in the ClientApp's code is semi-honest", context(roster=paths["roster"]), policy=Policy())


@pytest.mark.parametrize("kind", [str, Path])
def test_paths_as_arguments(tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    given = party_config(context(), **{name: kind(path) for name, path in files(tmp_path).items()})
    assert given.policy == MALICIOUS
    assert given.identity is not None


def test_a_function_finds_the_identity_of_each_node_of_a_simulation(tmp_path: Path) -> None:
    write_keypair(tmp_path / "1", signing=signing_key(1))
    found: list[Callable[[Context], Any]] = [
        lambda node: signing_key(node.node_config["partition-id"]),
        lambda node: tmp_path / str(node.node_config["partition-id"]),
    ]
    for finder in found:
        node = Context(1, 2, {"partition-id": 1}, RecordDict(), {})
        given = party_config(node, policy=MALICIOUS, identity=finder, roster=roster_of(3))
        assert given.identity is not None
        assert given.identity.public_bytes == signing_key(1).ed25519.public_bytes


def test_of_a_hybrid_key_the_ed25519_half_takes_part(tmp_path: Path) -> None:
    key = SigningKey.generate("ed25519-mldsa65")
    write_keypair(tmp_path / "key", generate_keypair("x25519")[0], key)
    roster = Roster("study", (Member("hybrid", frozenset({Role.PARTY}), signing=key.public),))
    given = party_config(context(identity=tmp_path / "key"), roster=roster)
    assert given.identity is not None
    assert given.identity.public_bytes == key.ed25519.public_bytes


def test_a_home_folder_may_be_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    files(tmp_path)
    given = party_config(context(policy="~/policy.toml", identity="~/party.key", roster="~/roster.toml"))
    assert given.policy.mode is Mode.MALICIOUS


# --- which mode --------------------------------------------------------------------------------------------------------------------------


def test_a_party_with_an_identity_or_a_roster_is_in_malicious_mode_unless_it_says_otherwise(tmp_path: Path) -> None:
    paths = files(tmp_path, policy="")
    assert party_config(context(**paths)).policy == MALICIOUS
    assert party_config(context(identity=paths["identity"], roster=paths["roster"])).policy == MALICIOUS
    assert party_config(context(policy=paths["policy"])).policy == Policy()
    for name in ("identity", "roster"):
        refused("malicious mode needs", context(**{name: paths[name]}))
    paths["policy"].write_text('mode = "semi-honest"')
    assert party_config(context(**paths)) == PartyConfig(Policy(), None, None, False)


def test_an_identity_that_would_not_be_used_is_an_error() -> None:
    for arguments in ({"identity": signing_key(0)}, {"roster": roster_of(3)}):
        refused("semi-honest, which uses neither", context(), policy=Policy(), **arguments)


def test_malicious_mode_needs_both(tmp_path: Path) -> None:
    paths = files(tmp_path)
    for missing, match in (("identity", "needs this party's identity"), ("roster", "needs the roster")):
        error = refused(match, context(**{name: path for name, path in paths.items() if name != missing}))
        assert f"stfed-{missing}" in str(error.hint)


# --- what is wrong with it ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["policy", "identity", "roster"])
@pytest.mark.parametrize("value", [True, 3, 0.5, ""])
def test_a_path_of_another_type(tmp_path: Path, name: str, value: Any) -> None:
    error = refused(f"stfed-{name} of the node's config is", context(**files(tmp_path) | {name: value}))
    assert "in quotes" in str(error.hint)


@pytest.mark.parametrize("value", ["true", 1, ""])
def test_only_a_flag_allows_an_insecure_channel(value: Any) -> None:
    refused("stfed-allow-insecure of the node's config is", context(allow_insecure=value))


@pytest.mark.parametrize(("name", "match"), [("policy", "there is no policy"), ("identity", "no key file"), ("roster", "roster .*gone")])
def test_a_file_that_is_not_there(tmp_path: Path, name: str, match: str) -> None:
    refused(match, context(**files(tmp_path) | {name: tmp_path / "gone"}))


@pytest.mark.parametrize("name", ["policy", "identity", "roster"])
def test_a_folder_in_place_of_a_file(tmp_path: Path, name: str) -> None:
    refused("is not a plain file", context(**files(tmp_path) | {name: tmp_path}))


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("policy", "mode = ", "policy.toml is no policy: it is not TOML: Invalid value"),
        ("policy", "gama = 0.1", "there is no setting gama"),
        ("identity", "hello", "the identity .*party.key cannot be used"),
        ("identity", "", "there is no key in it"),
        ("identity", "STFED-SIGNING-KEY-1QQQQ", "the identity .* cannot be used"),
        ("roster", "hello", "the roster .*roster.toml cannot be used: it is not TOML"),
        ("roster", 'version = 2\nname = "x"', "it is of version 2"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, name: str, content: str, match: str) -> None:
    paths = files(tmp_path)
    paths[name].write_text(content)
    refused(match, context(**paths))


def test_a_file_that_is_too_long(tmp_path: Path) -> None:
    paths = files(tmp_path)
    for name in ("policy", "identity"):
        paths[name].write_bytes(b"#" * (2 << 20))
        refused("is too long", context(**paths))
        paths[name].write_bytes(b"")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_secret_key_that_others_may_use(tmp_path: Path, mode: int) -> None:
    paths = files(tmp_path)
    paths["identity"].chmod(mode)
    refused("others than its owner may use it", context(**paths))


@pytest.mark.parametrize("name", ["policy", "roster"])
def test_a_file_that_others_may_change(tmp_path: Path, name: str) -> None:
    paths = files(tmp_path)
    paths[name].chmod(0o664)
    refused("others than its owner may change it", context(**paths))


@pytest.mark.parametrize("name", ["policy", "roster"])
def test_a_file_of_somebody_else(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files(tmp_path)
    give_away(paths[name], monkeypatch)
    refused("belongs to another user", context(**paths))


def test_an_identity_that_is_nobodys(tmp_path: Path) -> None:
    paths = files(tmp_path)
    refused("this party's own identity: .*no member has it", context(roster=paths["roster"]), identity=signing_key(9))
    only_to_encrypt = tmp_path / "encrypt"
    write_keypair(only_to_encrypt, generate_keypair("x25519")[0])
    refused("holds no key to sign with", context(**paths | {"identity": only_to_encrypt}))


def test_a_secret_key_in_place_of_its_file(tmp_path: Path) -> None:
    refused("a secret key was given where its file is expected", context(**files(tmp_path) | {"identity": signing_key(0).secret_string()}))


# --- a passphrase ------------------------------------------------------------------------------------------------------------------------


def test_an_identity_under_a_passphrase(tmp_path: Path) -> None:
    paths = files(tmp_path, passphrase=PHRASE)
    error = refused("under a passphrase, and none was given", context(**paths))
    assert "stfed-identity-passphrase-file in the node's config" in str(error.hint)
    phrase = tmp_path / "phrase"
    phrase.write_text(f"{PHRASE}\n")
    refused("holds a passphrase and others than its owner may use it", context(**paths, identity_passphrase_file=phrase))
    phrase.chmod(0o600)
    given = party_config(context(**paths, identity_passphrase_file=phrase))
    assert given.identity is not None
    phrase.write_text("another one\n")
    refused("party.key", context(**paths, identity_passphrase_file=phrase))
    phrase.unlink()
    refused("the identity .* cannot be read", context(**paths, identity_passphrase_file=phrase))


def test_a_passphrase_file_is_read_only_where_one_is_needed(tmp_path: Path) -> None:
    assert party_config(context(**files(tmp_path), identity_passphrase_file=tmp_path / "gone")).identity is not None


# --- seen at the next message ------------------------------------------------------------------------------------------------------------


def test_a_change_counts_at_the_next_message_whatever_the_files_time_and_size(tmp_path: Path) -> None:
    paths = files(tmp_path)
    before = paths["roster"].stat()
    assert party_config(context(**paths)).identity is not None
    changed = paths["roster"].read_text().replace('"party 0"', '"party x"')
    paths["roster"].write_text(changed)
    os.utime(paths["roster"], ns=(before.st_atime_ns, before.st_mtime_ns))
    after = paths["roster"].stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    given = party_config(context(**paths))
    assert given.roster is not None
    assert given.identity is not None
    assert given.roster.member(given.identity.public_bytes) == "party x"
    roster_of(3).revoke("party 0", NOON).write(paths["roster"])
    refused("this party's own identity: .*it was revoked", context(**paths))
    roster_of(3).write(paths["roster"])
    paths["policy"].write_text('mode = "malicious"\ngamma = 0.2\n')
    assert party_config(context(**paths)).policy.gamma == 0.2


def test_a_file_that_became_bad_counts_as_bad(tmp_path: Path) -> None:
    paths = files(tmp_path)
    party_config(context(**paths))
    paths["roster"].chmod(0o666)
    refused("others than its owner may change it", context(**paths))


def test_one_process_parses_a_roster_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files(tmp_path)
    parsed: list[bytes] = []
    module._parsed.cache_clear()
    real = Roster.from_toml

    def counting(data: bytes) -> Roster:
        parsed.append(data)
        return real(data)

    monkeypatch.setattr(Roster, "from_toml", counting)
    given = [party_config(context(**paths)) for _ in range(5)]
    assert len(parsed) == 1
    assert len({id(one.roster) for one in given}) == 1


def test_what_it_shows_of_itself_has_no_key(tmp_path: Path) -> None:
    shown = repr(party_config(context(**files(tmp_path))))
    assert "identity" not in shown
    assert "PartyConfig(policy=Policy(mode=" in shown
