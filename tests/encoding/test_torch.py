"""torch tensors: every dtype, bfloat16 in particular, and that the kind of `received` is what comes back."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.encoding import EncodingPlan, decode_sum, encode_update
from stfed.errors import LocalError

from .helpers import ROUNDING, seeded, vector_sum

torch = pytest.importorskip("torch")


def summed(received: dict[str, Any], models: list[dict[str, Any]], weights: list[float], **settings: Any) -> Any:
    plan = EncodingPlan.for_arrays(received, parties=len(models), **settings)
    fill = seeded(4)
    updates = [encode_update(plan, received, model, weight, {}, fill) for model, weight in zip(models, weights, strict=True)]
    return decode_sum(plan, vector_sum(plan, [update.vector for update in updates]), len(models), received, updates[0].schema)


def test_every_supported_dtype_comes_back_as_it_was() -> None:
    names = ["float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
    received = {name: torch.zeros(2, 3).to(getattr(torch, name)) for name in names}
    trained = {name: torch.ones(2, 3).to(getattr(torch, name)) for name in names}
    result = summed(received, [trained], [1], max_weight=1, ring_bits=48)
    for name in names:
        got = result.arrays[name]
        assert isinstance(got, torch.Tensor)
        assert (got.dtype, got.shape) == (getattr(torch, name), (2, 3))
        if name == "float64":
            assert (got - 1).abs().max() <= result.error_bound
        else:
            assert torch.equal(got, trained[name])


@settings(deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=1, max_size=20), st.integers(16, 64))
def test_bfloat16_means_are_within_the_bound(values: list[float], ring_bits: int) -> None:
    received = {"w": torch.tensor(values[::-1]).to(torch.bfloat16)}
    models = [{"w": torch.tensor(values).mul(factor).to(torch.bfloat16)} for factor in (0.5, -0.25)]
    result = summed(received, models, [3, 5], ring_bits=ring_bits, max_weight=8)
    relative, smallest = ROUNDING["bfloat16"]
    for index, got in enumerate(result.arrays["w"].tolist()):
        exact = (3 * Fraction(models[0]["w"][index].item()) + 5 * Fraction(models[1]["w"][index].item())) / 8
        assert abs(Fraction(got) - exact) <= result.error_bound * (1 + relative) + relative * abs(exact) + smallest


def test_shapes_strides_gradients_and_mixed_kinds() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    received = {
        "t": base.T,
        "grad": torch.nn.Parameter(base.clone()),
        "scalar": torch.tensor(2.0, dtype=torch.bfloat16),
        "empty": torch.empty(0, 5, dtype=torch.bfloat16),
        "numpy": base.numpy(),
    }
    trained = {name: torch.as_tensor(value).detach() + 1 for name, value in received.items()}
    trained["t"] = trained["t"].numpy()
    result = summed(received, [trained], [1], max_weight=1, ring_bits=40)
    assert isinstance(result.arrays["numpy"], np.ndarray)
    for name in received:
        got = torch.as_tensor(result.arrays[name])
        assert not got.requires_grad
        assert torch.equal(got, torch.as_tensor(trained[name]).detach())


def test_a_state_dict_with_batch_norm() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    received = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.randn(8, 3))
    result = summed(received, [model.state_dict(), model.state_dict()], [10, 20])
    assert result.arrays["1.num_batches_tracked"].item() == 1
    model.load_state_dict(result.arrays)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (torch.zeros(2, dtype=torch.complex64), "complex64"),
        (torch.zeros(2).to_sparse(), "torch.sparse_coo"),
    ],
)
def test_what_has_no_mean_is_refused(value: Any, why: str) -> None:
    with pytest.raises(LocalError, match=f"tensor 'w' has dtype {why}"):
        EncodingPlan.for_arrays({"w": value}, parties=2)


def test_non_finite_bfloat16_is_refused() -> None:
    received = {"w": torch.zeros(4, dtype=torch.bfloat16)}
    for bad in (float("nan"), float("inf")):
        with pytest.raises(LocalError, match="'w' of the trained model has NaN or infinity"):
            summed(received, [{"w": torch.tensor([0, 1, bad, 2], dtype=torch.bfloat16)}], [1])
