"""The completion scripts, in the shells themselves: what they offer is what the parsers take, and a secret's place offers nothing."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from stfed import cli
from stfed.cli import shellbash, shellfish, shellzsh
from stfed.cli.completion import SHELLS
from stfed.cli.parser import commands_of
from stfed.cli.shellwords import read
from tests.cli.commands import done

ROOT_COMMAND = read(cli.make_parser())
COMMANDS = list(ROOT_COMMAND.all())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bob.key.pub").touch()
    (tmp_path / "a model.safetensors").touch()
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name} on this machine")
    return path


def bash(*lines: list[str], before: str = "") -> list[list[str]]:
    """What bash offers for the last word of each line. Without a PATH: no process is started for it."""
    script = [shellbash.script(ROOT_COMMAND), "PATH=/nowhere", before]
    for words in lines:
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        script.append(
            f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMPREPLY=(); _stfed; printf '%s\\t' \"${{COMPREPLY[@]}}\"; echo"
        )
    run = subprocess.run([shell("bash"), "--norc"], input="\n".join(script), capture_output=True, text=True, timeout=60, check=True)
    assert run.stderr == ""
    return [line.rstrip("\t").split("\t") if line.strip("\t") else [] for line in run.stdout.splitlines()]


def test_bash_completes_commands_options_choices_and_files() -> None:
    cases: dict[tuple[str, ...], list[str]] = {
        ("se",): ["seal"],
        ("audit", ""): list(commands_of(commands_of(cli.make_parser())["audit"])),
        ("audit", "c"): ["checkpoint", "cosign", "check"],
        ("seal", "--rec"): ["--recipient"],
        ("seal", "--digest", ""): ["blake3", "sha256"],
        ("seal", "--digest", "=", "s"): ["sha256"],
        ("seal", "--recipient", "b"): ["bob.key.pub"],
        ("seal", "a"): ["a model.safetensors"],
        ("seal", "a model.safetensors", ""): [],
        ("seal", "--digest", "sha256", "a"): ["a model.safetensors"],
        ("doctor", "--superlink", "fl.example.org", ":", "9092", "--po"): ["--policy"],
        ("open", "--keyserver", "https", ":", "//keys.example.org", ":", "8443", "a"): ["a model.safetensors"],
        ("seal", "--digest", "="): ["blake3", "sha256"],
        ("dashboard", ""): ["runs"],
        ("roster", "check", "team.toml", "bob"): ["bob.key.pub"],
        ("roster", "check", "team.toml", "bob.key.pub", "--role", "own"): ["owner"],
        ("fingerprint", "x.pub", "y.pub", "b"): ["bob.key.pub"],
        ("open", "--", "a"): ["a model.safetensors"],
        ("open", "--purpose", ""): [],
        ("help", "audit", "pro"): ["prove"],
        ("help", "audit", "--"): [],
        ("completion", ""): list(SHELLS),
    }
    offered = bash(*(["stfed", *words] for words in cases))
    for (words, expected), found in zip(cases.items(), offered, strict=True):
        assert found == expected, words


def test_bash_without_compopt_quotes_paths_itself(folder: Path) -> None:
    """Bash 3.2 has none; what it offers is put on the line as it is, and may be run."""
    for name in ("d/x;touch PWN", "home/b $(c)"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    lines = [["stfed", "seal", word] for word in ("a", "d/", "bob", "~/", "~/b")]
    assert bash(*lines, before=f"HOME='{folder}/home'; enable -n compopt") == [
        [r"a\ model.safetensors"], [r"d/x\;touch\ PWN"], ["bob.key.pub"], [r"~/b\ \$\(c\)"], [r"~/b\ \$\(c\)"],
    ]  # fmt: skip
    assert bash(["stfed", "seal", "d/"]) == [["d/x;touch PWN"]]  # readline quotes it


def test_bash_knows_every_command_and_every_option() -> None:
    options = [(command, option) for command in COMMANDS for option in command.options]
    lines = [["stfed", *command.words, option.name] for command, option in options]
    lines += [["stfed", *command.words[:-1], command.words[-1]] for command in COMMANDS if command.words]
    for line, found in zip(lines, bash(*lines), strict=True):
        assert line[-1] in found, line
    assert len(options) > 150


def test_what_belongs_to_a_secret_is_never_completed() -> None:
    secret = [(command, option) for command in COMMANDS for option in command.options if re.search("passphrase|secret|token", option.name)]
    assert len(secret) > 5
    lines = [["stfed", *command.words, option.name, ""] for command, option in secret if option.value is not None]
    assert bash(*lines) == [[] for _ in lines]


def test_where_files_are_expected_files_are_offered() -> None:
    files = {
        (command.words[0], option.name)
        for command in COMMANDS
        for option in command.options
        if option.value and option.value.kind == "files"
    }
    assert files >= {("seal", "--roster"), ("open", "--identity"), ("open", "--trusted"), ("verify", "--trusted"), ("doctor", "--policy")}
    assert not any(name in ("--purpose", "--superlink", "--model-id", "--keyserver") for _, name in files)


@pytest.mark.parametrize("name", SHELLS)
def test_the_script_is_printed_and_the_shell_understands_it(name: str, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    script, notes = done(capsys, "completion", name)
    assert notes == ""
    assert "python" not in script.lower()
    (folder / "script").write_text(script)
    subprocess.run([shell(name), "-n", folder / "script"], check=True, capture_output=True, timeout=60)


def test_a_shell_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "fsh"]) == 2
    assert "did you mean fish?" in capsys.readouterr().err


def test_fish_completes_commands_options_choices_and_files(folder: Path) -> None:
    cases = {
        "se": ["seal"],
        "audit c": ["check", "checkpoint", "cosign"],
        "seal --rec": ["--recipient"],
        "seal --digest ": ["blake3", "sha256"],
        "seal --recipient b": ["bob.key.pub"],
        "seal x b": [],
        "fingerprint x y b": ["bob.key.pub"],
        "keygen --passphrase-file b": [],
        "dashboard r": ["runs/"],
        "keyserver --config x in": ["init"],
        "help audit pro": ["prove"],
    }
    (folder / "script.fish").write_text(shellfish.script(ROOT_COMMAND))
    asked = "\n".join(f"echo '= {line}'; complete -C 'stfed {line}'" for line in cases)
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "c"), "XDG_DATA_HOME": str(folder / "d")}
    run = subprocess.run(
        [shell("fish"), "--no-config", "-c", f"source script.fish\n{asked}"],
        capture_output=True, text=True, timeout=60, check=True, env=environment,
    )  # fmt: skip
    answers = [part.splitlines() for part in run.stdout.split("= ")[1:]]
    assert {line: [one.partition("\t")[0] for one in found] for line, *found in answers} == cases


def test_zsh_completes_commands_options_choices_and_files(folder: Path) -> None:
    cases = {
        "fing": "fingerprint ",
        "audit cos": "audit cosign ",
        "seal --pur": "seal --purpose=",
        "seal --digest sh": "seal --digest sha256 ",
        "seal --recipient bo": "seal --recipient bob.key.pub ",
        "open x --out=bo": "open x --out=bob.key.pub ",
        "seal x bo": "seal x bo",
        "keygen --passphrase-file bo": "keygen --passphrase-file bo",
        "dashboard ru": "dashboard runs/",
        "grant f --recipient x --recip": "grant f --recipient x --recipient=",
        "help audit pro": "help audit prove ",
    }
    assert zsh(folder, [f"stfed {line}" for line in cases]) == [f"stfed {line}" for line in cases.values()]


def zsh(folder: Path, lines: list[str]) -> list[str]:
    """What is on zsh's line after a tab behind each of these: zsh completes on a terminal only."""
    (folder / "_script").write_text(shellzsh.script(ROOT_COMMAND))
    typed = folder / "typed"
    typed.touch()
    path = shell("zsh")
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(HOME=str(folder), ZDOTDIR=str(folder), TERM="dumb")
        os.execv(path, ["zsh", "-f", "-i"])
    try:
        widget = f"keep() {{ print -r -- \"$BUFFER\" >> '{typed}'; BUFFER='' }}; zle -N keep; bindkey '^P' keep; bindkey '^I' complete-word"
        os.write(terminal, f"autoload -U compinit; compinit -u -D; source ./_script; {widget}\n".encode())
        for count, line in enumerate(lines, 1):
            os.write(terminal, f"{line}\t\x10".encode())
            until = time.monotonic() + 20
            while len(typed.read_text().splitlines()) < count and time.monotonic() < until:
                if select.select([terminal], [], [], 0.02)[0]:
                    os.read(terminal, 4096)
    finally:
        os.close(terminal)  # which ends the shell
        os.waitpid(process, 0)
    return typed.read_text().splitlines()


def test_the_help_says_how_to_install_each_in_one_line() -> None:
    page = commands_of(cli.make_parser())["completion"].format_help(120)
    for name in SHELLS:
        (line,) = re.findall(rf"^  stfed completion {name} > (\S+)$", page, re.MULTILINE)
        assert line.startswith("~/")
