"""`stfed supernode`: what it refuses before anything starts, what it says, and that Flower finds our commands and no others.

That a coordinator's code does not run is in tests/deployment/test_pinned_app.py, with a real SuperLink.
"""

from __future__ import annotations

import inspect
import itertools
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from flwr.clientapp.client_app import LoadClientAppError
from flwr.common.config import parse_config_args
from flwr.supercore.constant import TASK_TYPE_TO_COMMAND, TaskType
from flwr.supercore.superexec.executor import ExecutionSpec, SubprocessExecutor

from stfed.flower import launchers as module
from stfed.flower import pinned_app
from stfed.flower.launchers import launchers
from stfed.flower.pinned_app import PinnedAppError, check_flower, load
from tests.cli.commands import done, fingerprint, keys, refused, run

RUNNER = "flwr.supernode.runtime.run_clientapp"
numbers = itertools.count()

GOOD = """
from flwr.clientapp import ClientApp
from stfed.flower import secagg_mod
app = ClientApp(mods=[secagg_mod])
@app.train()
def train(message, context):
    return message
"""


def own_app(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = GOOD) -> str:
    """A module that this process and those that it starts can import; the reference of its `app`."""
    name = f"ward{next(numbers)}"
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return f"{name}:app"


def study(folder: Path) -> tuple[object, ...]:
    """Four parties, and the options of the first."""
    names = [f"hospital{i}" for i in range(4)]
    keys(folder, *names)
    assert run("roster", "init", folder / "roster.toml", "--name", "Heart study") == 0
    for name in names:
        assert run("roster", "add", folder / "roster.toml", name, "--key", folder / f"{name}.pub", "--role", "party") == 0
    return "--identity", folder / "hospital0", "--roster", folder / "roster.toml"


def check(app: str, folder: Path, *more: object) -> tuple[object, ...]:
    """The command for a check; `more` may go on with -- and Flower's options."""
    return "supernode", "--app", app, "--state-dir", folder / "state", "--check", *more


# --- what it says ------------------------------------------------------------------------------------------------------------------------


def test_check_says_what_the_node_agrees_to_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    party = study(tmp_path)
    out, err = done(capsys, *check(own_app(tmp_path, monkeypatch), tmp_path, *party, "--", "--superlink", "fl.example.org:8000"))
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines()[1:]}
    assert rows["mode"] == "malicious"
    assert "4 parties or more take part" in rows["policy"]
    assert rows["party"] == f"hospital0, key {fingerprint(tmp_path / 'hospital0.pub', 'signing')}"
    assert rows["roster"] == f"4 parties, {roster_fingerprint(tmp_path, capsys)}"
    assert rows["superlink"] == "fl.example.org:8000, TLS"
    assert "of no installed package" in rows["app"]
    assert "decides what this node runs" in err
    assert (tmp_path / "state" / "party.sqlite").exists()
    assert not list((tmp_path / "state").glob("node-*"))


def roster_fingerprint(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    from stfed.keys import Roster

    printed, _ = done(capsys, "roster", "show", folder / "roster.toml")
    found = Roster.read(folder / "roster.toml").fingerprint
    assert found in printed
    return found


def test_an_installed_package_is_named_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stfed.flower.nodecheck import _package

    name = own_app(tmp_path, monkeypatch).partition(":")[0]
    info = tmp_path / "site" / "hospital_app-1.2.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hospital-app\nVersion: 1.2.3\n")
    (info / "top_level.txt").write_text(f"{name}\n")
    assert _package(f"{name}:app") == "hospital-app 1.2.3"
    assert _package("stfed_no_such_module:app") is None


# --- the app -----------------------------------------------------------------------------------------------------------------------------

WRONG_APPS = {
    "is a int": "app = 1",
    "RuntimeError: broken": "raise RuntimeError('broken')",
    "no function": "from flwr.clientapp import ClientApp\napp = ClientApp()",
    "without SecAggMod": GOOD.replace("mods=[secagg_mod]", ""),
    "a train message .* without SecAggMod": GOOD.replace("mods=[secagg_mod]", "mods=[lambda m, c, f: f(m, c), secagg_mod]"),
    # The mod of one function does not cover the other.
    "a evaluate message": GOOD.replace("mods=[secagg_mod]", "").replace("train()", "train(mods=[secagg_mod])")
    + "@app.evaluate()\ndef evaluate(message, context):\n    return message\n",
    # What is registered before the mod is put there goes without it.
    "a query message": GOOD.replace("mods=[secagg_mod]", "")
    + "@app.query()\ndef query(message, context):\n    return message\napp._mods.insert(0, secagg_mod)\n",
}


@pytest.mark.parametrize("match", WRONG_APPS)
def test_an_app_that_is_none_or_lets_messages_past_the_mod(match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = WRONG_APPS[match]
    if match == "a query message":
        text = text.replace("@app.train()", "@app.train(mods=[secagg_mod])")
    with pytest.raises(PinnedAppError, match=match):
        load(own_app(tmp_path, monkeypatch, text))


@pytest.mark.parametrize("reference", ["hospital", "hospital:", ":app", "", "no_such_module_here:app", "json:nothing", ".relative:app"])
def test_a_reference_to_nothing(reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "hint: " in refused(capsys, *check(reference, tmp_path))
    assert not (tmp_path / "state").exists()


def test_the_mod_with_others_behind_it_and_of_its_own_policy_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = GOOD.replace("import secagg_mod", "import SecAggMod").replace("[secagg_mod]", "[SecAggMod(), lambda m, c, f: f(m, c)]")
    app, mod, file = load(own_app(tmp_path, monkeypatch, text))
    assert type(mod).__name__ == "SecAggMod"
    assert "train.default" in app._registered_funcs
    assert file.parent == tmp_path / "site"


# --- the party ---------------------------------------------------------------------------------------------------------------------------


def test_a_party_that_is_not_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    party, app = study(tmp_path), own_app(tmp_path, monkeypatch)
    keys(tmp_path, "stranger")
    roster = ("--roster", tmp_path / "roster.toml")
    assert "no member has it" in refused(capsys, *check(app, tmp_path, "--identity", tmp_path / "stranger", *roster))
    assert "needs the roster" in refused(capsys, *check(app, tmp_path, *party[:2]))
    assert "needs this party's identity" in refused(capsys, *check(app, tmp_path, *roster))
    (tmp_path / "hospital1").chmod(0o640)
    assert "chmod 600" in refused(capsys, *check(app, tmp_path, "--identity", tmp_path / "hospital1", *roster))
    (tmp_path / "policy.toml").write_text("[cohort]\nmin_cohrt = 5\n")
    assert "there is no setting" in refused(capsys, *check(app, tmp_path, *party, "--policy", tmp_path / "policy.toml"))
    (tmp_path / "policy.toml").write_text('mode = "malicious"\n[cohort]\nmin_cohort = 5\n')
    assert "no cohort meets this policy" in refused(capsys, *check(app, tmp_path, *party, "--policy", tmp_path / "policy.toml"))


def test_a_protected_identity_needs_its_passphrase_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study(tmp_path)
    monkeypatch.setenv("STFED_PASSPHRASE", "correct horse")
    done(capsys, "keygen", "--out", tmp_path / "key", "--kind", "x25519", "--passphrase")
    monkeypatch.delenv("STFED_PASSPHRASE")
    done(capsys, "roster", "add", tmp_path / "roster.toml", "me", "--key", tmp_path / "key.pub", "--role", "party")
    app, party = own_app(tmp_path, monkeypatch), ("--identity", tmp_path / "key", "--roster", tmp_path / "roster.toml")
    refused(capsys, *check(app, tmp_path, *party), code=3)
    (tmp_path / "phrase").write_text("correct horse\n")
    (tmp_path / "phrase").chmod(0o600)
    done(capsys, *check(app, tmp_path, *party, "--passphrase-file", tmp_path / "phrase"))


def test_malicious_mode_needs_tls_unless_the_owner_says_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    party, app = study(tmp_path), own_app(tmp_path, monkeypatch)
    for spelling in ("--insecure", "--insec"):
        assert "malicious mode needs TLS" in refused(capsys, *check(app, tmp_path, *party, "--", spelling))
    allowed = ("--node-config", "stfed-allow-insecure=true")
    _, err = done(capsys, *check(app, tmp_path, *party, *allowed, "--", "--insecure"))
    assert "whoever is on the way" in err
    out, _ = done(capsys, *check(app, tmp_path, "--", "--insecure"))
    assert "semi-honest" in out


def test_a_state_folder_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    app = own_app(tmp_path, monkeypatch)
    (tmp_path / "state").write_text("in its place")
    assert "state cannot be kept" in refused(capsys, *check(app, tmp_path))
    (tmp_path / "state").unlink()
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    assert "others may replace it" in refused(capsys, *check(app, tmp_path))


# --- the node's config and Flower's options ----------------------------------------------------------------------------------------------


def test_a_node_config_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    app = own_app(tmp_path, monkeypatch)
    for text, match in (
        ('stfed-polciy="p"', "'stfed-polciy', which is none of ours"),
        ("stfed-allow-insecure='\"yes\"'", "stfed-allow-insecure"),
        ("a=b", "cannot be read"),
        (f'stfed-state-dir="{tmp_path}"', "given twice"),
    ):
        assert match in refused(capsys, *check(app, tmp_path, "--node-config", text)), text


def test_the_nodes_own_config_reaches_flower_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config: dict[str, str | int | float | bool] = {"data": 'a "b" \\ ü\n', "partition-id": 3, "x.y": 0.5, "stfed-allow-insecure": True}
    reference = own_app(tmp_path, monkeypatch)
    with launchers(tmp_path, reference, load(reference)[2], config) as folder:
        assert parse_config_args([str(folder / module.NODE_CONFIG)]) == config


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--isolation", "process"], "somebody else starts the ClientApp"),
        (["--isol=process"], "somebody else starts the ClientApp"),
        (["--allow-runtime-dependency-installation"], "installs what a run asks for"),
        (["--host", "0.0.0.0"], "only this node's own processes"),
        (["--host", "fl.example.org"], "only this node's own processes"),
        (["--node-config", "a=1"], "before the --"),
        (["--root-certificates", "/nowhere/ca.crt"], "there is no file /nowhere/ca.crt"),
        (["--auth-supernode-private-key", "/nowhere/key"], "there is no file"),
        (["--insecure", "--root-certificates", "/dev/null"], "contradict"),
    ],
)
def test_options_that_let_another_app_in_or_cannot_work(
    options: list[str], match: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert match in refused(capsys, *check(own_app(tmp_path, monkeypatch), tmp_path, "--", *options))


def test_an_option_that_flower_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(*check(own_app(tmp_path, monkeypatch), tmp_path, "--", "--no-such-option")) == 2
    assert run("supernode", "--check") == 2


# --- the launchers -----------------------------------------------------------------------------------------------------------------------


def test_flower_finds_our_commands_and_none_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower's own executor, on the SuperNode's PATH. Without our launcher it finds nothing: the node stops, it does not run theirs."""
    reference = own_app(tmp_path, monkeypatch)
    with launchers(tmp_path / "state", reference, load(reference)[2], {}) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {path.name for path in folder.iterdir()} == {*TASK_TYPE_TO_COMMAND.values(), "flower-superexec", module.NODE_CONFIG}
        for command in set(TASK_TYPE_TO_COMMAND.values()) - {"flwr-clientapp"}:
            result = subprocess.run([command], env={"PATH": str(folder)}, capture_output=True, text=True, check=False)
            assert result.returncode == 1
            assert "refused" in result.stderr
        monkeypatch.setenv("PATH", str(folder))
        (folder / "flwr-clientapp").unlink()
        spec = ExecutionSpec(TaskType.CLIENT_APP, "127.0.0.1:1", "t", True, None, False, os.getpid(), True, 1)
        with pytest.raises(FileNotFoundError):
            SubprocessExecutor().launch(spec)
    assert not folder.exists()


def test_the_launcher_loads_the_app_with_the_owners_path_and_nothing_from_the_folder_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = GOOD + "import os, pathlib\npathlib.Path(os.environ['SAID']).write_text(os.environ['PATH'])\n"
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    reference = own_app(tmp_path, monkeypatch, said)
    file = load(reference)[2]
    monkeypatch.setenv("PATH", f"{tmp_path}/with space:{os.environ['PATH']}")
    with launchers(tmp_path / "state", reference, file, {}):
        assert (tmp_path / "said").read_text() == os.environ["PATH"]
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.chdir(tmp_path / "site")
    with pytest.raises(PinnedAppError, match=r"in a process of its own: .*No module named"), launchers(tmp_path, reference, file, {}):
        pass


def test_another_file_of_the_same_name_is_another_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = own_app(tmp_path, monkeypatch)
    with pytest.raises(PinnedAppError, match="when it was checked"), launchers(tmp_path, reference, tmp_path / "other.py", {}):
        pass
    assert not list(tmp_path.glob("node-*"))


def test_a_folder_in_which_nothing_can_be_started(tmp_path: Path) -> None:
    (tmp_path / "flwr-clientapp").write_text("#!/bin/sh\n")  # not executable, as everything is under noexec
    with pytest.raises(PinnedAppError, match=r"nothing can be started in .*Permission denied") as caught:
        module._probe(tmp_path / "flwr-clientapp")
    assert "noexec" in str(caught.value.hint)


# --- in the process that handles a message -----------------------------------------------------------------------------------------------


def test_this_version_of_flower_is_tested() -> None:
    check_flower()


def _vanish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(f"{RUNNER}.install_from_fab")


def _change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{RUNNER}.install_from_fab", lambda content: None)


def _move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{RUNNER}.run_clientapp", lambda: None)


def _update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinned_app, "version", lambda name: "1.41.1")


@pytest.mark.parametrize("alter", [_vanish, _change, _move, _update])
def test_another_flower_runs_nothing(alter: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    import_module(RUNNER)
    alter(monkeypatch)
    with pytest.raises(PinnedAppError):
        check_flower()


def test_what_a_run_brings_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = check_flower()
    for name in pinned_app._PARAMETERS:
        monkeypatch.setattr(runner, name, getattr(runner, name))  # put back afterwards
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "flwr"))
    reference = own_app(tmp_path, monkeypatch)
    pinned_app.pin(reference, str(tmp_path / "site" / f"{reference.partition(':')[0]}.py"))
    runner.install_from_fab(b"no zip file, and nobody looks", skip_prompt=True)
    assert not (tmp_path / "flwr").exists()
    with pytest.raises(PinnedAppError, match="nothing is installed"):
        runner.install_app_dependencies(tmp_path)
    loader = runner.get_load_client_app_fn(default_app_ref="", app_path=None, multi_app=True)
    assert loader("evil/app", "1.0", "hash") is load(reference)[0]


def test_the_coordinator_is_not_told_why_an_app_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = own_app(tmp_path, monkeypatch, "raise RuntimeError('the ward of Mr Smith')")
    with pytest.raises(LoadClientAppError) as caught:
        pinned_app._load(reference, "x")
    assert "Smith" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_flower_still_looks_up_what_is_replaced() -> None:
    """The names are those that the tested version's source calls; a version that calls others would not be noticed by signatures alone."""
    source = inspect.getsource(import_module(RUNNER).run_clientapp)
    for name in pinned_app._PARAMETERS:
        assert f"{name}(" in source
    assert "fab.content" in source
    assert source.count("fab.content") == 1  # the bundle's bytes go to install_from_fab and nowhere else


def test_the_entry_ends_with_an_error_for_people(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-P", "-m", "stfed.flower.pinned_app", "nothing:app", "x", pinned_app.PROBE],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("error: nothing:app cannot be imported")
