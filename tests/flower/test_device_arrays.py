"""Arrays that stay tensors until somebody looks, and are Flower's own arrays to whoever does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto

from stfed.errors import LocalError
from stfed.flower import device_arrays
from stfed.flower.device import DeviceArray
from stfed.flower.grid import SecureGrid
from stfed.flower.settings import Settings
from stfed.flower.views import views
from tests.flower import apps

torch = pytest.importorskip("torch", reason="torch is not installed")


def state() -> dict[str, torch.Tensor]:
    return {"weight": torch.arange(12.0).reshape(3, 4), "steps": torch.tensor(5)}


def serialised(array: Array) -> bool:
    return array.__dict__["_plain"] is not None


def test_what_the_mod_reads_are_the_tensors_themselves() -> None:
    tensors = state()
    record = device_arrays(tensors)
    found = views(record)
    assert list(found) == list(tensors)
    assert all(found[name].data_ptr() == tensor.data_ptr() for name, tensor in tensors.items())
    assert "12" not in repr(record)
    assert not any(map(serialised, record.values()))


def test_a_parameter_is_read_without_its_history() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    assert not DeviceArray(parameter).tensor.requires_grad


def test_to_flower_it_is_the_record_of_the_same_state() -> None:
    record, plain = device_arrays(state()), ArrayRecord(state())
    assert record.object_id == plain.object_id
    assert record.count_bytes() == plain.count_bytes()
    assert [array.deflate() for array in record.values()] == [array.deflate() for array in plain.values()]
    for name, tensor in record.to_torch_state_dict().items():
        assert torch.equal(tensor, state()[name])


def test_it_travels_as_any_other_record() -> None:
    arrived = recorddict_from_proto(recorddict_to_proto(RecordDict({"arrays": device_arrays(state())})))["arrays"]
    assert {type(array) for array in arrived.values()} == {Array}
    assert all(np.array_equal(array.numpy(), state()[name].numpy()) for name, array in arrived.items())


def test_bfloat16_is_refused_with_the_way_out() -> None:
    with pytest.raises(LocalError, match="bfloat16") as refused:
        device_arrays({"weight": torch.zeros(2, dtype=torch.bfloat16)})
    assert "float()" in (refused.value.hint or "")


def test_a_secure_round_sums_them_and_serialises_none() -> None:
    seen: list[DeviceArray] = []

    def keep_tensors(message: Message, context: Context, call_next: Callable[[Message, Context], Message]) -> Message:
        reply = call_next(message, context)
        record = device_arrays({name: torch.from_numpy(array.numpy()) for name, array in reply.content["arrays"].items()})
        seen.extend(record.values())
        reply.content["arrays"] = record
        return reply

    means = []
    for mods in ([], [keep_tensors]):
        grid = apps.secure_grid(3, app=apps.client_app(apps.secure_mod(), train_mods=mods))
        replies = SecureGrid(grid, Settings(**apps.TIGHT)).send_and_receive(apps.messages(grid))
        means.append(next(iter(replies)).content["arrays"])
    assert len(seen) == 3 * len(apps.SHAPES)
    assert not any(map(serialised, seen))
    assert apps.distance(*means) < 1e-5
