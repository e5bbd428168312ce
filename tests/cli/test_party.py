"""A party's files: every command that takes them has the same options for them, and they all become the same node config."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import pytest

from stfed import cli
from stfed.cli.parser import Parser, commands_of
from stfed.cli.party import add_party, node_config, start_command
from stfed.flower.nodecheck import KEYS

GIVEN = ["--policy", "p.toml", "--identity", "k", "--passphrase-file", "w", "--roster", "r.toml", "--state-dir", "s"]


def parsed(*words: str, **asked: bool) -> argparse.Namespace:
    parser = Parser(prog="x")
    add_party(parser, **asked)
    return parser.parse_args(words)


def test_three_commands_have_one_and_the_same() -> None:
    commands = commands_of(cli.make_parser())
    takers = [commands["doctor"], commands["supernode"], commands_of(commands["policy"])["check"]]
    options = [{name: (one.metavar, one.help) for one in parser._actions for name in one.option_strings} for parser in takers]
    for name in GIVEN[::2]:
        found = {described[name] for described in options if name in described}
        assert len(found) == 1, name
    assert options[0].keys() & set(GIVEN) == options[1].keys() & set(GIVEN) == set(GIVEN[::2])


def test_what_is_given_becomes_absolute_paths_under_the_nodes_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = node_config(parsed(*GIVEN))
    assert config == {
        "stfed-policy": str(tmp_path / "p.toml"),
        "stfed-identity": str(tmp_path / "k"),
        "stfed-identity-passphrase-file": str(tmp_path / "w"),
        "stfed-roster": str(tmp_path / "r.toml"),
        "stfed-state-dir": str(tmp_path / "s"),
    }
    assert config.keys() < set(KEYS)
    assert node_config(parsed()) == {}
    assert node_config(parsed("--roster", "r.toml", policy=False, state=False)) == {"stfed-roster": str(tmp_path / "r.toml")}


def test_the_command_that_starts_the_node_takes_it_all_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(start_command(parsed(*GIVEN)))
    again = cli.make_parser().parse_args([*words[1:], "--app", "a:b", "--state-dir", str(tmp_path / "s")])
    assert node_config(again) == node_config(parsed(*GIVEN))
