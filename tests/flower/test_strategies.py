"""What a secure run keeps of a model and a strategy: dtypes, counters, weights, hooks (test_matrix.py has the strategies themselves)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import FedAvg, FedAvgM

from stfed.flower import SecureAggregation
from stfed.flower.events import RoundReport
from stfed.secagg.policy import Policy
from tests.flower import apps

N, ROUNDS = 5, 3


def errors(reports: Sequence[RoundReport], arrays: ArrayRecord, dtype: str = "float32") -> list[float]:
    """e_t of every train round."""
    return [report.error_bound + 2 * apps.rounding(N, arrays, dtype) for report in reports if report.phase == "train"]


def test_a_strategy_that_adds_one_shows_that_its_own_code_runs() -> None:
    class PlusOne(FedAvg):
        def aggregate_train(self, server_round, replies):
            arrays, metrics = super().aggregate_train(server_round, replies)
            return apps.record_of({name: array.numpy() + 1 for name, array in arrays.items()}), metrics

    strategy = apps.secure(PlusOne(fraction_evaluate=0.0))
    result = strategy.start(apps.secure_grid(N), apps.model(), 1)
    wanted = {name: value + 1 for name, value in apps.mean_of(range(N), apps.model(), 1).items()}
    assert apps.distance(result.arrays, wanted) <= sum(errors(strategy.reports, apps.model()))
    assert "aggregate_train" not in vars(strategy.strategy)


@pytest.mark.parametrize(("dtype", "ring_bits"), [("float16", 32), ("float32", 24), ("float64", 32), ("float64", 64)])
def test_every_float_comes_back_as_it_went_in(dtype: str, ring_bits: int) -> None:
    """In a ring of 64 bits float64 loses almost nothing; the encoding's error is what its report says in each."""
    before = apps.model(dtype=dtype)
    strategy = apps.secure(ring_bits=ring_bits)
    result = strategy.start(apps.secure_grid(N), before, 1)
    allowed = strategy.reports[0].error_bound + apps.rounding(N, before, dtype)
    assert apps.distance(result.arrays, apps.mean_of(range(N), before, 1)) <= allowed
    assert {array.dtype for array in result.arrays.values()} == {dtype}
    if ring_bits == 64:
        assert allowed < 1e-13


@pytest.mark.parametrize("ring_bits", [8, 9, 32, 64])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_change_of_everybody_at_once_does_not_wrap(ring_bits: int, sign: float) -> None:
    """Everybody far over the clip and with the largest weight: the sum is as large as it can be, and it is n times the clip."""

    def far(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        return {name: value + np.float32(1000 * sign) for name, value in arrays.items()}, {"num-examples": 128}

    n = 12
    strategy = apps.secure(ring_bits=ring_bits)
    before = apps.record_of({"w": np.zeros(50, np.float32)})
    result = strategy.start(apps.secure_grid(n, app=apps.client_app(apps.secure_mod(), train=far)), before, 1)
    np.testing.assert_allclose(result.arrays["w"].numpy(), sign, rtol=1e-6)
    assert strategy.reports[0].clipped == 50 * n


def counting(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
    """Counters and masks beside a float: what a party does to them depends on the party."""
    change = {
        "weight": arrays["weight"] + np.float32(partition / 8),
        "seen": arrays["seen"] + np.int64(1000 + partition),
        "small": arrays["small"] + np.uint8(partition),
        "mask": np.array([partition >= 2, partition < 1, True]),
    }
    return {name: np.asarray(value).astype(arrays[name].dtype) for name, value in change.items()}, {"num-examples": 10 + partition}


def test_integers_and_masks_keep_their_dtype_and_get_the_rounded_mean() -> None:
    before = apps.record_of(
        {
            "weight": np.zeros(3, np.float32),
            "seen": np.array(1 << 40, np.int64),
            "small": np.array([7, 0], np.uint8),
            "mask": np.zeros(3, bool),
        }
    )
    recorder = apps.Recorder()
    strategy = apps.secure()
    strategy.start(apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train=counting)), before, 2, evaluate_fn=recorder)
    weights = np.array([10 + party for party in range(N)])
    step = float(weights @ np.arange(N) / weights.sum())
    for t, arrays in enumerate(map(apps.numpy_of, recorder.models)):
        assert {name: str(value.dtype) for name, value in arrays.items()} == {
            "weight": "float32",
            "seen": "int64",
            "small": "uint8",
            "mask": "bool",
        }
        rounded = round(step)
        assert int(arrays["seen"]) == (1 << 40) + t * (1000 + rounded)
        assert arrays["small"].tolist() == [7 + t * rounded, t * rounded]
        assert arrays["mask"].tolist() == ([True, False, True] if t else [False] * 3)
        np.testing.assert_allclose(arrays["weight"], t * step / 8, atol=1e-5)


def test_a_torch_model_with_batch_norm_trains_as_in_the_plain_run() -> None:
    """Plain Flower makes a float64 of `num_batches_tracked` after the first round; here it stays the int64 that torch wants."""
    torch = pytest.importorskip("torch")

    torch.set_num_threads(1)  # the model is tiny, and the machine may be busy

    def network():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 2))

    def step(partition, arrays, server_round):
        net = network()
        net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
        generator = torch.Generator().manual_seed(100 * partition + server_round)
        for _ in range(3):
            inputs = torch.randn(16, 6, generator=generator)
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(inputs), (inputs.sum(1) > partition / 4).long())
            loss.backward()
            optimizer.step()
        return {name: value.numpy() for name, value in net.state_dict().items()}, {"num-examples": 16 * (1 + partition)}

    before = ArrayRecord(network().state_dict())
    strategy = apps.secure()
    result = strategy.start(apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train=step)), before, ROUNDS)
    plain = apps.only_training().start(apps.plain_grid(N, app=apps.client_app(train=step)), before, ROUNDS)
    assert plain.arrays["1.num_batches_tracked"].dtype == "float64"
    assert result.arrays["1.num_batches_tracked"].dtype == "int64"
    assert int(result.arrays["1.num_batches_tracked"].numpy()) == 3 * ROUNDS
    # Three steps of training between two averages, so errors grow by more than a sum; a hundred times the bound is still 1e-4 of the way.
    assert apps.distance(result.arrays, plain.arrays) <= 100 * sum(errors(strategy.reports, before))
    assert 100 * sum(errors(strategy.reports, before)) < apps.distance(result.arrays, before) / 1000
    network().load_state_dict(result.arrays.to_torch_state_dict())


def test_every_party_trains_once_a_round_and_server_side_evaluation_sees_every_model() -> None:
    seen: list[tuple[int, int]] = []

    def train(partition, arrays, server_round):
        seen.append((server_round, partition))
        return apps.train(partition, arrays, server_round)

    recorder = apps.Recorder()
    grid = apps.secure_grid(4, app=apps.client_app(apps.secure_mod(), train=train))
    result = apps.secure().start(grid, apps.model(), 2, train_config=ConfigRecord({"lr": 0.5}), evaluate_fn=recorder)
    assert sorted(seen) == [(server_round, partition) for server_round in (1, 2) for partition in range(4)]
    assert len(recorder.models) == 3
    assert apps.distance(recorder.models[-1], result.arrays) == 0


def test_another_weight_key_weights() -> None:
    def train(partition, arrays, server_round):
        return apps.update(partition, arrays, server_round), {"batches": 1 + partition}

    def by_batches(partition, arrays, server_round):
        return apps.update(partition, arrays, server_round), {"num-examples": 1 + partition}

    strategy = apps.secure(apps.only_training(weighted_by_key="batches"))
    mod = apps.secure_mod(policy=Policy(weight_keys=("batches",)))
    result = strategy.start(apps.secure_grid(N, app=apps.client_app(mod, train=train)), apps.model(), 1)
    assert apps.distance(result.arrays, apps.mean_of(range(N), apps.model(), 1, by_batches)) <= errors(strategy.reports, apps.model())[0]
    assert strategy.reports[0].total_weight == sum(range(1, N + 1))


def test_uniform_weights_everybody_the_same_and_needs_no_examples() -> None:
    def train(partition, arrays, server_round):
        return apps.update(partition, arrays, server_round), {}

    def alike(partition, arrays, server_round):
        return apps.update(partition, arrays, server_round), {"num-examples": 1}

    strategy = SecureAggregation(apps.only_training(), clip=1.0, uniform=True)
    result = strategy.start(apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train=train)), apps.model(), 1)
    assert apps.distance(result.arrays, apps.mean_of(range(N), apps.model(), 1, alike)) <= errors(strategy.reports, apps.model())[0]
    assert strategy.reports[0].total_weight == N


def test_an_aggregate_train_of_the_instance_is_put_back() -> None:
    inner = apps.only_training()
    own = inner.aggregate_train
    calls = []

    def mine(server_round, replies):
        calls.append(server_round)
        return own(server_round, replies)

    inner.aggregate_train = mine
    apps.secure(inner).start(apps.secure_grid(4), apps.model(), 1)
    assert calls == [1]
    assert inner.aggregate_train is mine


def test_two_strategies_one_after_the_other_share_a_run() -> None:
    """A warm-up and then the real thing, as a ServerApp may do: epochs and round numbers go on where the first one stopped."""
    grid = apps.secure_grid(4)
    first = apps.secure()
    warm = first.start(grid, apps.model(), 1).arrays
    second = apps.secure(FedAvgM(server_momentum=0.5, fraction_evaluate=0.0))
    result = second.start(grid, warm, 2)
    assert [report.round for report in (*first.reports, *second.reports)] == [1, 2, 3]
    assert [report.epoch for report in (*first.reports, *second.reports)] == [1, 2, 2]
    assert apps.distance(result.arrays, warm) > 0.01


def test_flowers_own_log_says_that_the_rounds_are_secure(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    with caplog.at_level(logging.INFO, logger="flwr"):
        apps.secure().start(apps.secure_grid(3), apps.model(), 1)
    assert [record.name for record in caplog.records if record.message.startswith("secure aggregation: semi-honest, ")] == ["flwr"]
