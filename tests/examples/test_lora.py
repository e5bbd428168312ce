"""The adapters change nothing at first and nothing but B later, nothing else leaves a party, and what comes out is the weighted mean."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from runpy import run_module
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Context, RecordDict
from flwr.serverapp.strategy import FedAvg

from examples.lora import __main__ as demo
from examples.lora.fieldnotes import client_app, server_app, text
from examples.lora.fieldnotes.base import load_base, make_base, sha256_of
from examples.lora.fieldnotes.lora import LoraLinear, adapt, merge
from examples.lora.fieldnotes.model import Transformer
from examples.lora.fieldnotes.task import CONTEXT, SHARED, bits_per_byte, create_model, fit, windows_of
from examples.lora.simulate import APP, Run
from stfed.errors import LocalError, QuorumError
from stfed.flower import SecureAggregation, Shared
from stfed.keys import generate_keypair, write_keypair
from stfed.sealed.torch import load_file
from stfed.testing import InMemoryGrid
from stfed.testing.leaks import Secrets
from tests.flower.apps import HALF_ULP

LABORATORIES = len(text.FIELDS)
CONFIG: dict[str, Any] = {"num-server-rounds": 1, "local-steps": 2, "batch-size": 2, "learning-rate": 0.02}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    make_base(path, steps=2)
    return path


def state_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def some_text(*shape: int) -> torch.Tensor:
    return torch.randint(len(text.ALPHABET), shape, generator=torch.Generator().manual_seed(1))


# The adapters


def test_the_model_sees_nothing_of_what_comes_later() -> None:
    model, windows = create_model(), some_text(2, CONTEXT)
    changed = windows.clone()
    changed[:, 40:] = (changed[:, 40:] + 1) % len(text.ALPHABET)
    one, other = model(windows), model(changed)
    assert torch.allclose(one[:, :40], other[:, :40], atol=1e-5)
    assert not torch.allclose(one[:, 40:], other[:, 40:], atol=1e-2)


def test_an_adapter_begins_as_the_base_exactly_and_merges_into_it() -> None:
    torch.manual_seed(1)
    model, windows = create_model(), some_text(4, CONTEXT)
    plain, names = model(windows), list(model.state_dict())
    adapt(model)
    assert sum(isinstance(layer, LoraLinear) for layer in model.modules()) == 12
    assert torch.equal(model(windows), plain)
    for tensor in SHARED.tensors(model).values():
        torch.nn.init.normal_(tensor, std=0.1)
    adapted = model(windows)
    assert not torch.allclose(adapted, plain, atol=1e-2)
    merge(model)
    assert list(model.state_dict()) == names
    assert torch.allclose(model(windows), adapted, atol=1e-4)


def test_training_moves_b_and_nothing_else(base: Path) -> None:
    model = load_base(base)
    before = state_of(model)
    fit(model, [some_text(500)], [0.02] * 3, 2, seed=1)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == set(SHARED.tensors(model))
    assert {name.rpartition("lora_")[2] for name in moved} == {"B.weight"}
    assert not any(torch.equal(value, before[name]) for name, value in SHARED.tensors(model).items())


@pytest.mark.parametrize("train_a", [False, True])
def test_the_mean_of_b_is_the_mean_of_the_changes_only_with_a_frozen(train_a: bool) -> None:
    torch.manual_seed(2)
    model = adapt(Transformer(len(text.ALPHABET), CONTEXT, 16, 2, 1), rank=4, train_a=train_a)
    shared = Shared.trainable(model)
    start, trained = state_of(model), []
    for laboratory in range(3):
        model.load_state_dict(start)
        fit(model, [some_text(500)], [0.05] * 4, 2, seed=laboratory)
        changes = [layer.change().detach() for layer in model.modules() if isinstance(layer, LoraLinear)]
        trained.append(({name: value.clone() for name, value in shared.tensors(model).items()}, changes))
    mean = {name: torch.stack([tensors[name] for tensors, _ in trained]).mean(0) for name in trained[0][0]}
    model.load_state_dict(mean, strict=False)
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLinear)]
    errors = []
    for layer, *changes in zip(layers, *(changes for _, changes in trained), strict=True):
        wanted = torch.stack(changes).mean(0)
        errors.append(float((layer.change().detach() - wanted).abs().max() / wanted.abs().max()))
    assert (min(errors) > 1e-3) if train_a else (max(errors) < 1e-5), errors


# What leaves a laboratory


def trained_by(laboratory: int, base: Path) -> dict[str, np.ndarray]:
    """What a laboratory's B is after the first round."""
    model = load_base(base)
    rates = [CONFIG["learning-rate"]] * CONFIG["local-steps"]
    fit(model, [text.documents(laboratory)[0]], rates, CONFIG["batch-size"], seed=1000 * laboratory)
    return {name: value.numpy().copy() for name, value in SHARED.tensors(model).items()}


def test_the_mean_is_the_plain_one_and_only_masked_adapters_leave(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STFED_STATE_DIR", str(tmp_path / "state"))
    write_keypair(tmp_path / "key", generate_keypair()[0])
    config = {**CONFIG, "base": str(base), "run-dir": str(tmp_path), "recipient": str(tmp_path / "key.pub")}
    grid = InMemoryGrid(client_app.app, LABORATORIES, run_config=config)
    server_app.main(grid, Context(grid.run.run_id, 1, {}, RecordDict(), config))

    # The mean, by number of windows, within what the round's report promises
    (report,) = (event for event in events_of(tmp_path) if event["event"] == "round" and event["phase"] == "train")
    adapter = load_file(tmp_path / "adapters" / "round-001.safetensors", identity=tmp_path / "key")
    found = {name: value.numpy() for name, value in adapter.items()}
    parties = [trained_by(laboratory, base) for laboratory in range(LABORATORIES)]
    weights = [windows_of(text.documents(laboratory)[0]) for laboratory in range(LABORATORIES)]
    assert len(set(weights)) == LABORATORIES
    assert found.keys() == parties[0].keys()
    for name, value in found.items():
        mean = np.average([party[name].astype(float) for party in parties], axis=0, weights=weights)
        assert np.abs(value - mean).max() <= report["error_bound"] + 8 * HALF_ULP["float32"] * np.abs(mean).max() < 1e-4
        assert np.abs(value - np.mean([party[name].astype(float) for party in parties], axis=0)).max() > 1e-4, "weights tell"

    # Every message, both ways: no name but those of B, and neither a party's B nor anything of the base in clear
    whole = state_of(load_base(base))
    frozen = {name: value.numpy().ravel()[:64] for name, value in whole.items() if "lora_B" not in name}
    secrets = Secrets()
    for laboratory, party in enumerate(parties):
        some = {name: value.ravel()[:256] for name, value in party.items()}
        secrets.add_update(f"laboratory {laboratory}", 1, {name: np.zeros_like(value) for name, value in some.items()}, some)
    secrets.add_update("the base", 0, {name: np.full_like(value, np.inf) for name, value in frozen.items()}, frozen)
    assert len(secrets) > 10_000
    sent = [record.payload for record in grid.dump]
    assert {name for name in whole if any(name.encode() in payload for payload in sent)} == set(found)
    assert not {label for payload in sent for label in secrets.found_in(payload)}
    assert secrets.found_in(ArrayRecord({"x": Array(frozen["head.weight"])})["x"].data), "the search would see a tensor of the base"
    assert secrets.found_in(parties[3]["blocks.0.up.lora_B.weight"].tobytes()), "and a laboratory's adapter"


def test_a_laboratory_gives_nothing_but_b_and_works_on_no_other_base(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STFED_STATE_DIR", str(tmp_path / "state"))
    worked: list[object] = []
    monkeypatch.setattr(client_app, "fit", lambda *args, **options: worked.append(args) or 0.0)
    both = Shared("*.lora_*")
    with pytest.raises(QuorumError, match=r"the model has a tensor '[\w.]+lora_A.weight', which this party does not allow"):
        SecureAggregation(FedAvg()).start(InMemoryGrid(client_app.app, 5, run_config=CONFIG), both.arrays(load_base(base)), 1)

    monkeypatch.setenv("STFED_STATE_DIR", str(tmp_path / "other-state"))
    other = tmp_path / "other.safetensors"
    make_base(other, steps=1)
    config = {**CONFIG, "base": str(base), "run-dir": str(tmp_path), "recipient": ""}
    monkeypatch.setattr(server_app, "sha256_of", lambda path: sha256_of(other))
    grid = InMemoryGrid(client_app.app, 5, run_config=config)
    with pytest.raises(QuorumError, match="the train function raised LocalError"):
        server_app.main(grid, Context(grid.run.run_id, 1, {}, RecordDict(), config))
    assert not worked


def test_a_base_that_is_missing_or_another_is_refused(base: Path, tmp_path: Path) -> None:
    load_base(base, sha256_of(base))
    with pytest.raises(LocalError, match="is not the base model that this run adapts"):
        load_base(base, "0" * 64)
    with pytest.raises(LocalError, match="cannot be read") as caught:
        load_base(tmp_path / "none.safetensors")
    assert "fieldnotes.base" in str(caught.value.hint)


def test_the_base_is_made_from_the_apps_folder(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m fieldnotes.base FILE STEPS`, the app being a package of its own there."""
    monkeypatch.syspath_prepend(str(APP))
    monkeypatch.setattr("sys.argv", ["fieldnotes.base", str(tmp_path / "base.safetensors"), "2"])
    try:
        run_module("fieldnotes.base", run_name="__main__")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "fieldnotes"]:
            del sys.modules[name]
    assert sha256_of(tmp_path / "base.safetensors") == sha256_of(base), "the same steps make the same base"


# The text


def test_laboratories_have_text_of_their_own_and_none_of_it_is_held_out() -> None:
    seen: list[set[str]] = []
    for laboratory in range(LABORATORIES):
        train, held_out = ({part for part in text.decode(side).split("\n\n") if part} for side in text.documents(laboratory))
        assert len(train) > 10
        assert len(held_out) > 10
        assert not train & held_out
        seen.append(train)
    assert all(len(seen[one] & seen[other]) < 3 for one in range(LABORATORIES) for other in range(one))
    assert text.decode(text.encode("a\nb ~ é\t")) == "a\nb ~ "


def test_bits_per_byte_is_what_guessing_costs() -> None:
    model = create_model()
    with torch.no_grad():
        model.head.weight.zero_()
    assert bits_per_byte(model, some_text(1000)) == pytest.approx(np.log2(len(text.ALPHABET)))


# The whole


@pytest.mark.e2e
def test_the_demo_runs_and_its_sealed_adapter_is_opened_as_the_page_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--rounds", "2", "--steps", "4", "--pretraining", "40", str(tmp_path)]) == 0, capsys.readouterr()
    printed = capsys.readouterr().out
    assert "as the laboratories' secure mean says" in printed
    assert (tmp_path / "bits.png").stat().st_size > 10_000
    base, total = re.search(r"all +│ +[\d,]+ │ +([\d.]+) │ +[\d.]+ │ +([\d.]+) │", printed).groups()
    assert float(total) < float(base)
    rounds = [event for event in events_of(tmp_path) if event["event"] == "round"]
    assert [len(event["summed"]) for event in rounds] == [LABORATORIES] * 4
    adapter, whole = (float(value) for value in re.search(r"sent ([\d.]+) kB in a round.* are ([\d.]+) kB", printed).groups())
    assert adapter < whole / 10

    (block,) = re.findall(r"^```python\n(.*?)^```$", (APP / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "adapters" / "round-002.safetensors").rename(tmp_path / "adapters" / "round-008.safetensors")
    opened: dict[str, Any] = {}
    exec(block.replace("runs/lora-TIME", str(tmp_path)), opened)
    assert f"{bits_per_byte(opened['model'], text.documents(0)[1]):.3f}" in printed
    assert not any("lora" in name for name in opened["model"].state_dict())


def test_an_adapter_that_is_not_what_was_evaluated_is_seen(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bits = 3.5
    monkeypatch.setattr(demo, "load_file", lambda path, identity: {})
    monkeypatch.setattr(demo, "by_laboratory", lambda model: [bits] * LABORATORIES)
    same, column = tmp_path / "adapter", [[bits] * LABORATORIES]
    same.write_bytes(b"")
    apart = [[bits]] * LABORATORIES
    console = demo.Console(quiet=True)
    assert demo.report(console, tmp_path, base, Run([bits], 1.0, same), apart, bits, column) == 0
    assert demo.report(console, tmp_path, base, Run([bits + 1e-4], 1.0, same), apart, bits, column) == 1


def events_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
