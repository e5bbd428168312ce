"""docs/troubleshooting.md quotes errors as they are: every one is in the source, and those that are provoked here read as quoted."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, FedMedian, Strategy

from stfed import cli
from stfed.errors import LocalError, QuorumError, SealError, StfedError
from stfed.flower import DistributedDp, SecureAggregation
from stfed.flower.pinned_app import PinnedAppError, load
from stfed.keys import RosterError, SigningKey, generate_keypair
from stfed.sealed import Policy as FilePolicy
from stfed.sealed.numpy import load_file, save_file
from stfed.secagg.policy import Policy
from tests.flower import apps

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
GAP = "…"
QUOTED = [
    (message, hint)
    for block in re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)
    for message, _, hint in (block.replace("\n  ", " ").partition("\nhint: "),)
]


def pattern(text: str) -> re.Pattern[str]:
    """What a text with gaps stands for."""
    return re.compile(".*".join(map(re.escape, text.split(GAP))), re.DOTALL)


@cache
def source() -> frozenset[str]:
    """Every string of the package, with a gap for each placeholder of an f-string or a log message."""
    return frozenset(text for path in (ROOT / "stfed").rglob("*.py") for text in _strings(ast.parse(path.read_text())))


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"%[dgs]", GAP, node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else GAP for part in node.values)


def says(text: str, template: str) -> bool:
    """Whether this template prints such a text: every letter of the template is there, and next to nothing else."""
    parts = template.split(GAP)
    if 2 * sum(map(len, parts)) <= len(text.replace(GAP, "")) or not all(part in text for part in parts):
        return False
    return pattern(template).fullmatch(text) is not None


def in_source(text: str) -> bool:
    """Whether a string of the package prints it; what follows a colon at the end may be another error."""
    return any(says(whole, template) for whole in (text, text.removesuffix(f": {GAP}")) for template in source())


@pytest.mark.parametrize(("message", "hint"), QUOTED, ids=[message[:40] for message, _ in QUOTED])
def test_every_quoted_message_and_hint_is_in_the_source(message: str, hint: str) -> None:
    assert in_source(message), message
    assert not hint or in_source(hint), hint


def test_the_page_has_the_errors_of_every_situation() -> None:
    assert len(QUOTED) == len({message for message, _ in QUOTED}) == PAGE.count("```text")
    assert 25 <= len(QUOTED) <= 40
    situations = re.split(r"^## (?!Not here|Which systems|The first run of an app)", PAGE, flags=re.MULTILINE)[1:]
    assert all(re.search(r"```text\n", part) for part in situations)


def quoted(beginning: str) -> tuple[str, str]:
    """The entry that begins like this."""
    (entry,) = [entry for entry in QUOTED if entry[0].startswith(beginning)]
    return entry


def reads_as(beginning: str, error: StfedError) -> None:
    """An error is printed as the page quotes it; a file's name may stand before it."""
    message, hint = quoted(beginning)
    assert pattern(message).fullmatch(error.message) or pattern(f"{GAP}: {message}").fullmatch(error.message), error.message
    assert not hint or pattern(hint).fullmatch(error.hint or ""), error.hint


def caught(kind: type[StfedError], call: Callable[..., object], *arguments: Any, **options: Any) -> StfedError:
    with pytest.raises(kind) as info:
        call(*arguments, **options)
    return info.value


# The strategy


def run(grid: Grid, strategy: Strategy | None = None, arrays: ArrayRecord | None = None) -> object:
    return (strategy or apps.secure()).start(grid, arrays or apps.model(), num_rounds=1)


def test_a_strategy_that_votes() -> None:
    reads_as("… cannot run on a secure sum", caught(LocalError, SecureAggregation, FedMedian()))


def test_noise_and_an_evaluation() -> None:
    noise = DistributedDp(l2_clip=1.0, noise_multiplier=1.0)
    reads_as("… has the parties evaluate", caught(LocalError, SecureAggregation, FedAvg(), uniform=True, dp=noise))


def test_a_party_that_is_sent_something_else() -> None:
    class OwnRates(FedAvg):
        def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> list[Message]:
            sent = list(super().configure_train(server_round, arrays, config, grid))
            other = RecordDict({"arrays": arrays, "config": ConfigRecord({**config, "rate": 0.1})})
            return [Message(other, sent[0].metadata.dst_node_id, "train"), *sent[1:]]

    reads_as("the strategy sends node", caught(LocalError, run, apps.secure_grid(3), apps.secure(OwnRates(fraction_evaluate=0.0))))


# Joining


def test_no_mod_no_policy_in_common_and_a_plain_message() -> None:
    error = caught(QuorumError, run, apps.plain_grid(3))
    reads_as("no party joined", error)
    assert "KeyError" in error.message
    error = caught(QuorumError, run, apps.malicious_grid(4))
    assert pattern(quoted("no party joined")[0]).fullmatch(error.message)
    assert pattern(GAP + quoted("the coordinator runs in")[0] + GAP).fullmatch(error.message)


def test_a_plain_message_to_a_party() -> None:
    grid = apps.secure_grid(2)
    replies = list(grid.send_and_receive(apps.messages(grid)))
    message, hint = quoted("this party answers through")
    for reply in replies:
        assert pattern(f"{GAP}{message} ({hint}){GAP}").fullmatch(reply.error.reason)


def test_too_few() -> None:
    strategy = apps.secure(apps.only_training(min_train_nodes=1, min_available_nodes=1))
    reads_as("… of … parties have joined", caught(QuorumError, run, apps.secure_grid(1), strategy))


def test_a_party_without_an_identity() -> None:
    mod = apps.SecAggMod(Policy(mode=apps.Mode.MALICIOUS), roster=apps.roster_of(4), state_dir=apps.scratch())
    error = caught(QuorumError, run, apps.secure_grid(4, app=apps.client_app(mod)), apps.malicious(4))
    message, hint = quoted("this party cannot take part")
    assert f"{message} ({hint})" in error.message


def test_a_key_that_is_not_on_the_roster() -> None:
    error = caught(RosterError, apps.roster_of(3).check, apps.signing_key(7).public, "party", datetime.now(UTC))
    reads_as("the key … of … does not count", error)


# A round


def failing(beginning: str, **options: Any) -> str:
    """What the coordinator says of a round that fails so."""
    error = caught(QuorumError, run, apps.secure_grid(3, **options))
    reads_as(beginning, error)
    return error.message


def test_a_floor_of_the_partys_own() -> None:
    message, hint = quoted("the cohort has")
    assert pattern(f"{GAP}{message} ({hint}){GAP}").fullmatch(failing("… of … parties are left", policy=Policy(min_cohort=5)))
    assert pattern(f"{GAP}{quoted('the clip is')[0]}{GAP}").fullmatch(failing("… of … parties are left", policy=Policy(clip=(2.0, 4.0))))


def trained(change: Callable[[apps.Arrays, dict[str, Any]], apps.Trained]) -> Any:
    return apps.client_app(apps.secure_mod(), train=lambda *arguments: change(*apps.train(*arguments)))


def crash(arrays: apps.Arrays, metrics: dict[str, Any]) -> apps.Trained:
    raise RuntimeError("a patient's name")


def test_a_train_function_that_fails() -> None:
    text = failing("… of … parties sent an update", app=trained(crash))
    message, hint = quoted("the train function raised")
    assert pattern(f"{GAP}{message} ({hint}){GAP}").fullmatch(text)
    assert "patient" not in text


@pytest.mark.parametrize(
    ("beginning", "change"),
    [
        (
            "tensor … of the … model has NaN",
            lambda arrays, metrics: ({name: value * np.float32("nan") for name, value in arrays.items()}, metrics),
        ),
        ("metric … is a list", lambda arrays, metrics: (arrays, {**metrics, "acc": [0.5, 0.5]})),
        ("the MetricRecord has no", lambda arrays, metrics: (arrays, {"train_loss": 1.0})),
    ],
)
def test_a_reply_that_has_no_sum(beginning: str, change: Any, caplog: pytest.LogCaptureFixture) -> None:
    text = failing("… of … parties sent an update", app=trained(change))
    message, hint = quoted("the reply of the … function")
    assert pattern(f"{GAP}{message} ({hint}){GAP}").fullmatch(text)
    message, hint = quoted(beginning)
    own = f"{message} ({hint})" if hint else message
    assert any(pattern(GAP + own).fullmatch(record.getMessage()) for record in caplog.records)
    assert not pattern(GAP + message + GAP).fullmatch(text)


def test_a_run_that_begins_like_another_one() -> None:
    grid = apps.secure_grid(3)
    run(grid)
    message, hint = quoted("this party has worked on the very same")
    assert f"{message} ({hint})" in caught(QuorumError, run, grid).message


def test_values_and_weights_beyond_their_bounds(caplog: pytest.LogCaptureFixture) -> None:
    grown = trained(
        lambda arrays, metrics: ({name: value + np.float32(5) for name, value in arrays.items()}, {**metrics, "num-examples": 1000})
    )
    run(apps.secure_grid(3, app=grown))
    said = [record.getMessage() for record in caplog.records]
    for beginning in ("round …: … coordinates", "round …: the … of"):
        assert any(pattern(quoted(beginning)[0]).fullmatch(text) for text in said)


# A node, a command, a file


def test_an_app_that_a_node_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bare_clinic.py").write_text("from tests.flower import apps\n\napp = apps.client_app()\n")
    monkeypatch.syspath_prepend(tmp_path)
    reads_as("a … message reaches", caught(PinnedAppError, load, "bare_clinic:app"))
    reads_as("… cannot be imported", caught(PinnedAppError, load, "no_such_clinic:app"))


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> StfedError:
    """The error of a command, which must refuse."""
    capsys.readouterr()
    assert cli.main([str(argument) for argument in arguments]) != 0
    lines = capsys.readouterr().err.splitlines()
    hint = lines[1].removeprefix("hint: ") if len(lines) > 1 else None
    return StfedError(lines[0].removeprefix("error: "), hint=hint)


def test_what_commands_say_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STFED_PASSPHRASE", raising=False)
    alice, bob, plain, sealed = (tmp_path / name for name in ("alice", "bob", "plain", "sealed"))
    for key in (alice, bob):
        assert cli.main(["keygen", "--out", str(key), "--kind", "x25519"]) == 0
    safetensors.numpy.save_file({"w": np.zeros(3, np.float32)}, plain)
    assert cli.main(["seal", str(plain), "--out", str(sealed), "--recipient", f"{alice}.pub"]) == 0
    open_it = ("open", sealed, "--out", tmp_path / "out", "--identity")
    reads_as("the file is sealed to", printed(capsys, *open_it, bob))
    reads_as("the file is not signed", printed(capsys, *open_it, alice, "--trusted", f"{bob}.pub"))
    alice.chmod(0o640)
    reads_as("… holds a secret key", printed(capsys, *open_it, alice))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    reads_as("a passphrase is needed", printed(capsys, "keygen", "--out", tmp_path / "carol", "--passphrase"))


def test_what_a_sealed_file_says(tmp_path: Path) -> None:
    (identity, recipient), signer, other = generate_keypair("x25519"), SigningKey.generate(), SigningKey.generate()
    path = tmp_path / "sealed"
    save_file({"w": np.zeros(3, np.float32)}, path, recipients=recipient, signer=signer, policy=FilePolicy(purposes="evaluation"))
    reads_as("nobody trusted signed", caught(SealError, load_file, path, identity=identity, trusted=other.public, purpose="evaluation"))
    reads_as("the file may be opened for", caught(SealError, load_file, path, identity=identity, trusted=signer.public))
    save_file({"w": np.zeros(3, np.float32)}, path, recipients=recipient)
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    reads_as("segment … does not verify", caught(SealError, load_file, path, identity=identity))
