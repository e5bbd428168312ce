"""The digits app runs on Flower's simulation runtime, learns, and its first round is plain FedAvg's; the demo sees a model that is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.digits import compare
from examples.digits.__main__ import main
from stfed.flower import pinned_app, secagg_mod
from stfed.sealed.torch import load_file

ROUNDS, BRANCHES = 2, 5


@pytest.fixture(autouse=True)
def _own_place_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(compare.APP))


@pytest.mark.e2e
def test_the_secure_run_is_the_plain_one_and_leaves_sealed_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_file, out = tmp_path / "few.toml", tmp_path / "run"
    run_file.write_text(f"num-parties = {BRANCHES}\nnum-server-rounds = {ROUNDS}\n")
    assert main([str(run_file), str(out)]) == 0, capsys.readouterr()
    printed = capsys.readouterr().out
    assert "the models after round 1 are equal" in printed
    assert (out / "accuracy.png").stat().st_size > 10_000
    rounds = compare.rounds_of(out)
    assert [(one.number, one.summed) for one in rounds] == [(1, BRANCHES), (2, BRANCHES)]
    assert f"{rounds[-1].central:.4f}" in printed
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert all("eval_acc" in event["metrics"] for event in events if event["event"] == "round" and event["phase"] == "evaluate")

    from cheques import task

    model = task.Net()
    model.load_state_dict(load_file(out / "models" / "round-002.safetensors", identity=out / "key", trusted=out / "coordinator.pub"))
    _, accuracy = task.test(model, task.load_centralized_test())
    assert accuracy == pytest.approx(rounds[-1].central)
    assert accuracy > 0.85

    # One weight of one tensor off by a ten-thousandth, as a sum with somebody's wrong num-examples would have it, is seen.
    first = dict(load_file(out / "models" / "round-001.safetensors", identity=out / "key"))
    wrong = {name: value.numpy() for name, value in first.items()}
    wrong["fc.bias"] = wrong["fc.bias"] + np.float32(1e-4)
    difference, allowed = compare.first_round_differs(out, compare.Plain([], wrong))
    assert difference > allowed


def test_the_branches_share_out_all_images_unevenly_and_none_of_the_test_set() -> None:
    from cheques import task

    dealt, test = task._images()
    parts = task._partitions(20, 0.5)
    assert sorted(np.concatenate(parts)) == list(range(len(dealt)))
    assert len(dealt) + len(test) == 1797
    assert min(map(len, parts)) >= task.FLOOR
    labels = dealt.tensors[1].numpy()
    assert any(len(set(labels[part])) < 10 for part in parts)
    trainloader, testloader = task.load_data(3, 20, 0.5, 16)
    assert len(trainloader.dataset) + len(testloader.dataset) == len(parts[3])
    assert torch.equal(next(iter(trainloader))[0], next(iter(task.load_data(3, 20, 0.5, 16)[0]))[0]), "the same order every time"


def test_a_node_can_be_pinned_to_it() -> None:
    assert pinned_app.load("cheques.client_app:app")[1] is secagg_mod
