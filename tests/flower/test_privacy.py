"""No value of a single party is in anything the coordinator receives, logs or raises; the scanner that says so finds them in a plain run.

Secret are, of every party and round: the trained model and its change (as float32 and float64 bytes, every window of a few numbers), the
metrics and the number of examples (as numbers of 4 and 8 bytes in both byte orders, as text, as protobuf's variable-length integer), and
the vector before it is masked. What a needle of four bytes hits by chance in random bytes does not hit again in a second run, so a hit
counts if it comes back.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAvg

from stfed.crypto.keystream import KEY_BYTES
from stfed.crypto.random import Entropy
from stfed.encoding import Update
from stfed.errors import QuorumError, StfedError
from stfed.secagg.client.masks import MaskKeys
from stfed.secagg.payload import masked_payload
from stfed.testing import InMemoryGrid
from tests.flower import apps

N, ROUNDS = 5, 4
SETTINGS = {"max_weight": 1e8}
WINDOW = 16
"""Bytes of a needle that is part of an array: four float32 or two float64 in a row."""


def examples_of(partition: int) -> int:
    """Numbers that occur by themselves nowhere else."""
    return 73_013_011 + 1_000_003 * partition


def loss_of(partition: int, server_round: int) -> float:
    return 0.123456789 + partition / 7 + server_round / 11


def accuracy_of(partition: int, server_round: int) -> float:
    return 0.987654321 - partition / 13 - server_round / 17


def train(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
    metrics = {"num-examples": examples_of(partition), "train_loss": loss_of(partition, server_round)}
    return apps.update(partition, arrays, server_round), metrics


def evaluate(partition: int, arrays: apps.Arrays, server_round: int) -> dict[str, Any]:
    return {"num-examples": examples_of(partition), "eval_acc": accuracy_of(partition, server_round)}


def app(*mods: Any) -> Any:
    return apps.client_app(*mods, train=train, evaluate=evaluate)


# The scanner


def varint(value: int) -> bytes:
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def of_number(value: float) -> Iterator[bytes]:
    # Nothing of four bytes but a few varints: masked words are random, and many short needles would be in them by chance.
    for form in ("<d", ">d"):
        yield struct.pack(form, value)
    yield repr(value).encode()
    if isinstance(value, int):
        for form in ("<Q", ">Q"):
            yield struct.pack(form, value)
        yield from (varint(value), varint(2 * value))  # protobuf's int64 and sint64


def of_array(values: np.ndarray) -> Iterator[bytes]:
    """Every window of the array's bytes that begins with an element."""
    for dtype in (np.float32, np.float64):
        data = np.ascontiguousarray(values, dtype).tobytes()
        for start in range(0, len(data) - WINDOW + 1, np.dtype(dtype).itemsize):
            yield data[start : start + WINDOW]


def needles(models: list[Any]) -> dict[str, set[bytes]]:
    """All that is secret, by kind. `models[t]` is the model that the parties got in round t + 1; the next one they evaluated."""
    found: dict[str, set[bytes]] = {"model": set(), "change": set(), "examples": set(), "train metric": set(), "eval metric": set()}
    for party in range(N):
        found["examples"].update(of_number(examples_of(party)))
        for server_round in range(1, ROUNDS + 1):
            before = apps.numpy_of(models[server_round - 1])
            for name, trained in apps.update(party, before, server_round).items():
                found["model"].update(of_array(trained))
                found["change"].update(of_array(trained - before[name]))
            found["train metric"].update(of_number(loss_of(party, server_round)))
            found["eval metric"].update(of_number(accuracy_of(party, server_round)))
    return found


def hits(haystack: bytes, wanted: dict[str, set[bytes]]) -> dict[str, set[bytes]]:
    return {kind: found for kind, values in wanted.items() if (found := {value for value in values if value in haystack})}


def received(grid: InMemoryGrid) -> bytes:
    """Every byte that came up, all steps, lost replies too."""
    return b"|".join(record.payload for record in grid.dump if record.direction == "up")


def run(faults: tuple[dict[str, Any], ...] = ()) -> tuple[InMemoryGrid, list[Any], Any]:
    grid = apps.secure_grid(N, *faults, app=app(apps.secure_mod()))
    recorder, strategy = apps.Recorder(), apps.secure(FedAvg(), **SETTINGS, on_failure="skip")
    strategy.start(grid, apps.model(), ROUNDS, evaluate_fn=recorder)
    return grid, recorder.models, strategy


FAULTS = (
    {"action": "drop-reply", "node": 0, "step": "train", "round": 3},
    {"action": "drop-reply", "node": 1, "step": "prepare", "round": 5},
    {"action": "error", "node": 2, "step": "unmask", "round": 1},
    {"action": "duplicate", "node": 3},
    {"action": "replay", "node": 4},
)


def test_the_scanner_finds_everything_in_a_plain_run() -> None:
    grid, recorder = apps.plain_grid(N, app=app()), apps.Recorder()
    FedAvg().start(grid, apps.model(), ROUNDS, evaluate_fn=recorder)
    wanted = needles(recorder.models)
    found = hits(received(grid), wanted)
    assert set(found) == {"model", "examples", "train metric", "eval metric"}
    # A scalar has no window; everything else of every party and round is there.
    assert len(found["model"]) == N * ROUNDS * (7 * 5 - 3 + 5 - 3)
    for party in range(N):
        assert varint(2 * examples_of(party)) in found["examples"]
        assert all(struct.pack("<d", loss_of(party, t)) in found["train metric"] for t in range(1, ROUNDS + 1))
        assert all(struct.pack("<d", accuracy_of(party, t)) in found["eval metric"] for t in range(1, ROUNDS + 1))


@pytest.mark.parametrize("faults", [(), FAULTS], ids=["everybody", "drops and repeats"])
def test_no_value_of_a_party_reaches_the_coordinator(faults: tuple[dict[str, Any], ...]) -> None:
    again: dict[str, set[bytes]] = {}
    for attempt in range(2):
        grid, models, strategy = run(faults)
        assert sum(report.failure is None for report in strategy.reports) == 2 * ROUNDS
        haystack = received(grid)
        assert len(haystack) > 10_000
        found = hits(haystack, needles(models) if attempt == 0 else again)
        again = found
    assert found == {}


def test_the_vector_before_its_masks_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ring words and exact numbers, in windows of the bytes that would be sent without masks."""
    plain: list[bytes] = []

    def recording(masks: MaskKeys, update: Update, entropy: Entropy) -> bytes:
        dither_key = entropy(KEY_BYTES)
        plain.append(masked_payload(update, (), (), dither_key))
        return masked_payload(update, masks.add, masks.subtract, dither_key)

    monkeypatch.setattr(MaskKeys, "seal", recording)
    grid, _, _ = run()
    assert len(plain) == 2 * N * ROUNDS
    windows = {data[start : start + WINDOW] for data in plain for start in range(len(data) - WINDOW + 1)}
    # Empty metric slots are zeros, which an honest message may have as well.
    windows = {window for window in windows if window.count(0) < WINDOW // 2}
    assert len(windows) > 1000
    assert hits(received(grid), {"vector": windows}) == {}

    def baring(masks: MaskKeys, update: Update, entropy: Entropy) -> bytes:
        recording(masks, update, entropy)
        return plain[-1]

    monkeypatch.setattr(MaskKeys, "seal", baring)
    bare = apps.secure_grid(N, app=app(apps.secure_mod()))
    plain.clear()
    with pytest.raises(StfedError):  # the coordinator takes masks off that are not there
        apps.secure(FedAvg(), **SETTINGS).start(bare, apps.model(), 1)
    windows = {data[start : start + WINDOW] for data in plain for start in range(len(data) - WINDOW + 1)}
    assert hits(received(bare), {"vector": windows})["vector"] == windows, "the scanner must see a vector without masks"


class Keeping(InMemoryGrid):
    """Keeps every masked vector, by round and node."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.vectors: list[bytes] = []

    def pull_messages(self, message_ids: Any) -> Any:
        replies = super().pull_messages(message_ids)
        self.vectors += [reply.content["stfed.masked"]["vector"].data for reply in replies if "stfed.masked" in reply.content]
        return replies


def test_a_masked_vector_is_uniform_and_never_the_same_again() -> None:
    """Parties that have nothing to say: zeros, in each round. Neither their bytes nor the differences of two vectors show it."""
    size, rounds = 20_000, 3

    def still(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        return arrays, {"num-examples": 10}

    grid = Keeping(apps.client_app(apps.secure_mod(), train=still), N)
    apps.secure().start(grid, apps.record_of({"w": np.zeros(size, np.float32)}), rounds)
    words = [np.frombuffer(vector[: 4 * size], "<u4") for vector in grid.vectors]
    assert len(words) == N * rounds
    pairs = [one - other for at, one in enumerate(words) for other in words[:at]]
    for values in (*words, *pairs):
        counts = np.bincount(values.view(np.uint8), minlength=256)
        expected = values.nbytes / 256
        chi_squared = float(((counts - expected) ** 2).sum() / expected)
        # 255 degrees of freedom: mean 255, deviation 22.6. Eight deviations in 120 tries are once in 10^11 runs.
        assert abs(chi_squared - 255) < 8 * 22.6


def test_events_and_reports_have_means_and_no_partys_value(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    grid = apps.secure_grid(N, app=app(apps.secure_mod()))
    path, recorder = tmp_path / "events.jsonl", apps.Recorder()
    strategy = apps.secure(FedAvg(), **SETTINGS, events=path)
    with caplog.at_level(logging.DEBUG):
        strategy.start(grid, apps.model(), ROUNDS, evaluate_fn=recorder)
    wanted = needles(recorder.models)
    texts = {
        kind: {value for value in wanted[kind] if value.isascii() and len(value) > 5}
        for kind in ("examples", "train metric", "eval metric")
    }
    said = path.read_bytes() + caplog.text.encode() + repr(strategy.reports).encode()
    assert all(texts.values())
    assert hits(said, texts) == {}
    rounds = [json.loads(line) for line in path.read_text().splitlines()]
    means = [entry["metrics"]["train_loss"] for entry in rounds if entry["event"] == "round" and entry["phase"] == "train"]
    weights = np.array([examples_of(party) for party in range(N)], float)
    losses = [float(weights @ [loss_of(party, t) for party in range(N)] / weights.sum()) for t in range(1, ROUNDS + 1)]
    assert means == pytest.approx(losses, abs=2.0**-30)


def failing(why: Callable[[], object]) -> Any:
    def broken(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        why()
        raise AssertionError

    return apps.client_app(apps.secure_mod(), train=broken)


class Patient(Exception):
    def __str__(self) -> str:
        return "patient Zwetschge-12345"


@pytest.mark.parametrize(
    "why",
    [
        lambda: (_ for _ in ()).throw(ValueError("patient Zwetschge-12345")),
        lambda: (_ for _ in ()).throw(Patient("patient Zwetschge-12345")),
        lambda: (_ for _ in ()).throw(QuorumError("patient Zwetschge-12345", hint="patient Zwetschge-12345")),
        lambda: {}["patient Zwetschge-12345"],
        lambda: (_ for _ in ()).throw(UnicodeDecodeError("utf-8", b"patient Zwetschge-12345", 0, 1, "patient Zwetschge-12345")),
    ],
)
def test_no_text_of_an_exception_leaves_a_party(why: Callable[[], object]) -> None:
    """Not in the reply, not in what the coordinator raises, not in the exception's chain."""
    grid = apps.secure_grid(N, app=failing(why))
    with pytest.raises(QuorumError) as caught:
        apps.secure().start(grid, apps.model(), 1)
    assert b"Zwetschge" not in received(grid)
    error: BaseException | None = caught.value
    while error is not None:
        assert "Zwetschge" not in f"{error!r} {error} {vars(error)}"
        error = error.__cause__ or error.__context__


def test_the_plain_run_shows_the_text_of_an_exception() -> None:
    """What the test above would find."""

    def broken(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        raise ValueError("patient Zwetschge-12345")

    grid = apps.plain_grid(N, app=apps.client_app(train=broken))
    apps.only_training().start(grid, apps.model(), 1)
    assert b"patient Zwetschge-12345" in received(grid)


def test_the_names_of_metrics_are_public_and_their_number_of_examples_is_not() -> None:
    """What is said in the clear: metric names. The schema has to be the same for all parties, so it is no party's own."""
    grid, _, _ = run()
    haystack = received(grid)
    assert b"train_loss" in haystack
    assert b"eval_acc" in haystack
    assert b"num-examples" not in haystack
