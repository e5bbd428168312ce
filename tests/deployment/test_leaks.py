"""The search finds what it is for, wherever and however it lies, and nothing else."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import LocalError
from stfed.testing import InMemoryGrid
from stfed.testing.leaks import Label, Secrets, parties
from tests.flower import apps

GENERATOR = np.random.default_rng(3)
BEFORE = {"w": GENERATOR.normal(0, 0.3, (6, 5)).astype(np.float32), "b": np.zeros(1, np.float32)}
AFTER = {"w": BEFORE["w"] + GENERATOR.normal(0, 0.01, (6, 5)).astype(np.float32), "b": np.ones(1, np.float32)}
UPDATE = AFTER["w"].astype(np.float64) - BEFORE["w"]


def secrets() -> Secrets:
    found = Secrets()
    found.add_update("ward", 3, BEFORE, AFTER)
    found.add_metrics("ward", 3, {"num-examples": 71, "train_loss": 0.1234567891})
    return found


@pytest.mark.parametrize("form", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
@given(before=st.integers(0, 40), first=st.integers(0, 22), seed=st.integers(0, 1000))
def test_a_piece_of_an_update_is_found_at_any_place(form: str, before: int, first: int, seed: int) -> None:
    noise = random.Random(seed).randbytes
    for what, values in (("update", UPDATE), ("trained model", AFTER["w"])):
        piece = values.ravel()[first : first + 8].astype(form).tobytes()
        assert secrets().found_in(noise(before) + piece + noise(9)) == {Label("ward", 3, what)}


@given(data=st.binary(max_size=4096))
def test_nothing_is_found_in_other_bytes(data: bytes) -> None:
    assert secrets().found_in(data) == set()


def test_the_model_before_training_is_public() -> None:
    assert secrets().found_in(BEFORE["w"].tobytes() + BEFORE["w"].astype(">f8").tobytes()) == set()


def test_what_training_did_not_move_is_public_too() -> None:
    after = BEFORE["w"].copy()
    after[2:] += np.float32(0.5)
    found = Secrets()
    found.add_update("ward", 1, {"w": BEFORE["w"]}, {"w": after})
    assert found.found_in(after[:2].tobytes() + bytes(64)) == set()
    assert parties(found.found_in(after[2:].tobytes())) == {("ward", 1)}


def test_metrics_are_found_as_numbers_as_text_and_as_flower_sends_them() -> None:
    loss, count = Label("ward", 3, "train_loss"), Label("ward", 3, "num-examples")
    for form in (struct.pack("<d", 0.1234567891), struct.pack(">d", 0.1234567891), b'{"loss": 0.1234567891}'):
        assert secrets().found_in(b"xyz" + form) == {loss}
    assert secrets().found_in(MetricRecord({"train_loss": 0.1234567891, "num-examples": 71}).deflate()) == {loss, count}
    assert secrets().found_in(MetricRecord({"num-examples": 72}).deflate()) == set()


def test_a_name_too_short_to_be_sought_is_an_error_and_not_skipped() -> None:
    with pytest.raises(LocalError, match="too few to tell it from chance"):
        Secrets().add_metrics("ward", 1, {"n": 1})


def test_folders_are_searched_all_the_way_down(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "leak").write_bytes(b"?" + AFTER["w"].tobytes())
    (tmp_path / "empty").touch()
    (tmp_path / "other").write_bytes(b"nothing here")
    assert list(secrets().found_below(tmp_path)) == [inner / "leak"]
    assert len(secrets()) > 100
    assert Secrets().found_below(tmp_path) == {}


def leaking_mod(message: Message, context: Context, call_next: object) -> Message:
    """In front of secagg_mod, it puts the update beside the masked vector: what no coordinator would look at."""
    reply: Message = call_next(message, context)  # type: ignore[operator]
    reply.content["extra"] = ConfigRecord({"cache": UPDATE.astype(np.float32).tobytes()})
    return reply


def test_a_party_that_leaks_its_update_in_a_config_record_is_found() -> None:
    for mods, found in ((), set()), ((leaking_mod,), {("ward", 3)}):
        app = ClientApp(mods=[*mods, apps.secure_mod()])

        @app.train()
        def train(message: Message, context: Context) -> Message:
            content = RecordDict({"arrays": ArrayRecord(list(AFTER.values())), "metrics": MetricRecord({"num-examples": 71})})
            return Message(content, reply_to=message)

        grid = apps.secure_grid(3, app=app)
        apps.secure(FedAvg(fraction_evaluate=0.0)).start(grid, ArrayRecord(list(BEFORE.values())), 1)
        sent = b"".join(record.payload for record in grid.dump if record.direction == "up")
        assert parties(secrets().found_in(sent)) == found


def test_the_same_training_in_the_plain_is_found() -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        content = RecordDict({"arrays": ArrayRecord(list(AFTER.values())), "metrics": MetricRecord({"num-examples": 71})})
        return Message(content, reply_to=message)

    grid = InMemoryGrid(app, 3)
    FedAvg(fraction_evaluate=0.0).start(grid, ArrayRecord(list(BEFORE.values())), 1)
    sent = b"".join(record.payload for record in grid.dump if record.direction == "up")
    assert {label.what for label in secrets().found_in(sent)} == {"trained model", "num-examples"}
