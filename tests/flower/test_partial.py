"""Partial and personal models on real torch networks: what is shared is the mean, what is local differs and never leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402
from flwr.proto import fleet_pb2  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from stfed.errors import LocalError, QuorumError  # noqa: E402
from stfed.flower import Shared  # noqa: E402
from stfed.flower.partial import LOCAL, batch_norm  # noqa: E402
from stfed.secagg.policy import Policy  # noqa: E402
from stfed.testing import InMemoryGrid  # noqa: E402
from stfed.testing.leaks import Label, Secrets  # noqa: E402
from tests.flower import apps  # noqa: E402

N, ROUNDS, WORDS, CLASSES = 4, 3, 12, 3


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class LoraLinear(nn.Module):
    """A frozen layer and a low-rank change of it (Hu et al., ICLR 2022), named as peft names them."""

    def __init__(self, size: int, rank: int = 2) -> None:
        super().__init__()
        self.base_layer = nn.Linear(size, size).requires_grad_(False)
        self.lora_A = nn.Linear(size, rank, bias=False)
        self.lora_B = nn.Linear(rank, size, bias=False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base_layer(x) + self.lora_B(self.lora_A(x))


class Adapted(nn.Module):
    """A transformer of one layer: frozen but for adapters on its queries and values, and a head of its own."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, size).requires_grad_(False)
        self.query, self.key, self.value = LoraLinear(size), nn.Linear(size, size).requires_grad_(False), LoraLinear(size)
        self.norm = nn.LayerNorm(size).requires_grad_(False)
        self.head = nn.Linear(size, CLASSES)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x = self.embed(words)
        x = self.norm(x + functional.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x)))
        return self.head(x.mean(1))


class WithBatchNorm(nn.Module):
    """Convolutions with batch normalisation between them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Conv1d(4, 4, 3), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, CLASSES)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(words[:, None].float() / WORDS).mean(2))


def made(kind: type[nn.Module]) -> nn.Module:
    """The model that everybody builds, as from the same pretrained file."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return kind()


def fit(model: nn.Module, party: int, server_round: int) -> None:
    """Three steps on what this party has: its own labels for the same words, so that heads have to differ."""
    generator = torch.Generator().manual_seed(100 * party + server_round)
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.3)
    model.train()
    for _ in range(3):
        words = torch.randint(0, WORDS, (12, 6), generator=generator)
        optimizer.zero_grad()
        functional.cross_entropy(model(words), (words[:, 0] + party) % CLASSES).backward()
        optimizer.step()


class Party:
    """A ClientApp as the docs have it, and a notebook of what each party did, which only the test reads."""

    def __init__(self, kind: type[nn.Module], shared: Shared, *mods: Any) -> None:
        self.before: dict[tuple[int, int], dict[str, np.ndarray]] = {}
        self.after: dict[tuple[int, int], dict[str, np.ndarray]] = {}
        self.restored: dict[tuple[int, int], bool] = {}
        self.app = ClientApp(mods=list(mods))

        @self.app.train()
        def train(message: Message, context: Context) -> Message:
            at = int(context.node_config["partition-id"]), int(message.content["config"]["server-round"])
            model = made(kind)
            shared.load(model, message.content["arrays"])
            self.restored[at] = shared.restore_local(model, context)
            self.before[at] = state_of(model)
            fit(model, *at)
            self.after[at] = state_of(model)
            shared.keep_local(model, context)
            metrics = MetricRecord({"num-examples": 10 + at[0]})
            return Message(RecordDict({"arrays": shared.arrays(model), "metrics": metrics}), reply_to=message)

        @self.app.evaluate()
        def evaluate(message: Message, context: Context) -> Message:
            model = made(kind)
            shared.load(model, message.content["arrays"])
            assert shared.restore_local(model, context)
            at = int(context.node_config["partition-id"]), int(message.content["config"]["server-round"])
            for name in shared.local(model):
                assert np.array_equal(state_of(model)[name], self.after[at][name])
            return Message(RecordDict({"metrics": MetricRecord({"num-examples": 10, "eval_loss": 0.5})}), reply_to=message)


def state_of(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


CASES: dict[str, tuple[type[nn.Module], Callable[[nn.Module], Shared], list[str]]] = {
    "adapters": (Adapted, lambda model: Shared("*.lora_*"), [f"{at}.lora_{half}.weight" for at in ("query", "value") for half in "AB"]),
    "trainable": (
        Adapted,
        Shared.trainable,
        [*(f"{at}.lora_{half}.weight" for at in ("query", "value") for half in "AB"), "head.weight", "head.bias"],
    ),
    "body": (
        WithBatchNorm,
        lambda model: Shared.except_("head.*", "*.running_*", "*.num_batches_tracked"),
        [f"features.{layer}.{part}" for layer in (0, 1, 3, 4) for part in ("weight", "bias")],
    ),
    "FedBN": (
        WithBatchNorm,
        lambda model: Shared.except_(*batch_norm(model)),
        ["features.0.weight", "features.0.bias", "features.3.weight", "features.3.bias", "head.weight", "head.bias"],
    ),
}
LOCAL_PARTS = {"adapters": {"head.weight", "head.bias"}, "trainable": set()}


@pytest.mark.parametrize("case", CASES)
def test_what_is_shared_is_the_mean_and_what_is_local_stays(case: str) -> None:
    kind, choose, names = CASES[case]
    model = made(kind)
    shared = choose(model)
    party = Party(kind, shared, apps.secure_mod(policy=Policy(tensors=shared.specs(model))))
    grid, recorder = apps.secure_grid(N, app=party.app), apps.Recorder()
    strategy = apps.secure(apps.FedAvg())
    result = strategy.start(grid, shared.arrays(model), ROUNDS, evaluate_fn=recorder)
    assert list(result.arrays) == names

    reports = [report for report in strategy.reports if report.phase == "train"]
    for server_round, (report, found) in enumerate(zip(reports, recorder.models[1:], strict=True), start=1):
        weights = np.array([10 + index for index in range(N)], float)
        for name in names:
            mean = np.average([party.after[index, server_round][name].astype(float) for index in range(N)], axis=0, weights=weights)
            allowed = report.error_bound + apps.rounding(N, found)
            assert np.abs(found[name].numpy() - mean).max() <= allowed < 1e-4

    local = set(shared.local(model))
    assert local == LOCAL_PARTS.get(case, set(model.state_dict()) - set(names))
    frozen = model.state_dict().keys() - local - set(names)
    for at, after in party.after.items():
        assert party.restored[at] is (at[1] > 1)
        assert all(np.array_equal(after[name], state_of(model)[name]) for name in frozen)
        if at[1] > 1:
            assert all(np.array_equal(party.before[at][name], party.after[at[0], at[1] - 1][name]) for name in local)
    counts = {name for name in local if name.endswith("num_batches_tracked")}  # everybody has as many batches
    for name in local - counts:
        assert len({party.after[index, ROUNDS][name].tobytes() for index in range(N)}) == N, f"{name} is the same for two parties"
    assert sum(len(grid.node(0).context.state[LOCAL][name].data) > 0 for name in local) == len(local)

    secrets = Secrets()
    for (index, server_round), after in party.after.items():
        moved = {name: after[name] for name in after if name not in frozen and name not in counts}
        secrets.add_update(f"party {index}", server_round, party.before[index, server_round], moved)
    assert len(secrets) > 1000
    assert not {label for record in grid.dump for label in secrets.found_in(record.payload)}, "training left a party in clear"


def test_the_search_finds_heads_where_everything_is_shared_in_the_plain() -> None:
    """The same parties with nothing local and no mod: the search above would have seen a head that leaves."""
    party = Party(Adapted, Shared("*"))
    grid = InMemoryGrid(party.app, N)
    apps.only_training().start(grid, Shared("*").arrays(made(Adapted)), 1)
    secrets = Secrets()
    for (index, server_round), after in party.after.items():
        head = {name: value for name, value in after.items() if name.startswith("head.")}
        secrets.add_update(f"party {index}", server_round, party.before[index, server_round], head)
    found = {label for record in grid.dump for label in secrets.found_in(record.payload)}
    assert found == {Label(f"party {index}", 1, "trained model") for index in range(N)}


def test_no_message_of_flowers_fleet_can_carry_a_context() -> None:
    """What keeps `context.state` with the party: the messages between SuperNode and SuperLink have no place for it."""
    seen, waiting = set(), list(fleet_pb2.DESCRIPTOR.message_types_by_name.values())
    while waiting:
        kind = waiting.pop()
        if kind.full_name not in seen:
            seen.add(kind.full_name)
            waiting += [field.message_type for field in kind.fields if field.message_type is not None]
    assert {"flwr.proto.PushMessagesRequest", "flwr.proto.Message"} <= seen
    assert "flwr.proto.Context" not in seen


# A coordinator that wants more


def test_a_coordinator_that_sends_the_whole_model_to_get_the_head_back_is_refused() -> None:
    model, shared = made(Adapted), Shared("*.lora_*")
    party = Party(Adapted, shared, apps.secure_mod(policy=Policy(tensors=shared.specs(model))))
    grid = apps.secure_grid(N, app=party.app)
    with pytest.raises(QuorumError, match=r"the model has a tensor '[a-z_.]+', which this party does not allow"):
        apps.secure().start(grid, Shared("*").arrays(model), 1)
    assert not party.before, "a train function saw it"


def test_without_a_policy_the_train_function_refuses_it_and_says_nothing() -> None:
    party = Party(Adapted, Shared("*.lora_*"), apps.secure_mod())
    with pytest.raises(QuorumError, match="the train function raised LocalError"):
        apps.secure().start(apps.secure_grid(N, app=party.app), Shared("*").arrays(made(Adapted)), 1)
    assert not party.before


def test_a_head_that_got_into_a_reply_is_not_sent() -> None:
    """The reply has to be of the tensors that were received: a party's own mistake does not leave either."""

    def train(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        return {**arrays, "head.weight": np.full((2, 2), 0.125 + partition, np.float32)}, {"num-examples": 10}

    grid = apps.secure_grid(3, app=apps.client_app(apps.secure_mod(), train=train))
    with pytest.raises(QuorumError, match="cannot be summed"):
        apps.secure().start(grid, apps.model(), 1)


# Choosing


def test_the_order_is_that_of_the_model_whatever_the_patterns() -> None:
    model = made(Adapted)
    names = list(model.state_dict())
    for shared in (Shared("head.*", "embed.*", "*"), Shared("*"), Shared.except_("head.bias")):
        chosen = list(shared.tensors(model))
        assert chosen == [name for name in names if name in set(chosen)]
        assert list(shared.arrays(model)) == chosen == [spec.name for spec in shared.specs(model)]
    assert list(Shared("query.lora_[A]*").tensors(model)) == ["query.lora_A.weight"]


def test_shared_tensors_cost_what_they_are() -> None:
    model = made(Adapted)
    adapters, whole = (sum(len(array.data) for array in shared.arrays(model).values()) for shared in (Shared("*.lora_*"), Shared("*")))
    assert adapters < whole / 2


def bad_choices() -> dict[str, tuple[Callable[[], object], str]]:
    model, frozen = made(Adapted), made(Adapted).requires_grad_(False)
    return {
        "no pattern": (Shared, "no tensor is chosen"),
        "no exception": (Shared.except_, "no tensor is chosen"),
        "a pattern of nothing": (lambda: Shared("*.lora_*", "classifier.*").arrays(model), "'classifier.*' matches no tensor"),
        "an exception of nothing": (lambda: Shared.except_("heads.*").arrays(model), "'heads.*' matches no tensor"),
        "other case": (lambda: Shared("HEAD.*").arrays(model), "'HEAD.*' matches no tensor"),
        "nothing left": (lambda: Shared.except_("*").arrays(model), r"Shared.except_\('\*'\) leaves no tensor to share"),
        "all frozen": (lambda: Shared.trainable(frozen), "every parameter of the model is frozen"),
        "no batch norm": (lambda: batch_norm(model), "no batch normalisation"),
        "bfloat16": (lambda: Shared("head.*").arrays(made(Adapted).bfloat16()), "'head.weight' is bfloat16"),
    }


@pytest.mark.parametrize("choice", bad_choices())
def test_a_choice_that_can_not_be_is_refused_with_the_reason(choice: str) -> None:
    build, text = bad_choices()[choice]
    with pytest.raises(LocalError, match=text) as caught:
        build()
    if "matches" in text:
        assert "'embed.weight'" in str(caught.value.hint)
        assert "and 7 more" in str(caught.value.hint)


def test_a_tensor_under_two_names_is_not_shared_under_one_and_local_under_the_other() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(4, 3), nn.Linear(3, 4, bias=False)
            self.out.weight = self.embed.weight

    tied = Tied()
    for shared in (Shared("embed.*"), Shared.except_("embed.*")):
        with pytest.raises(LocalError, match="but they are one tensor"):
            shared.arrays(tied)
    assert len(Shared("*").arrays(tied)) == len(Shared.trainable(tied).arrays(tied)) == 2


def test_what_is_no_tensor_is_refused_where_it_would_be_sent_or_kept_and_ignored_elsewhere() -> None:
    class Noted(nn.Linear):
        def get_extra_state(self) -> object:
            return {"note": 1}

        def set_extra_state(self, state: object) -> None: ...

    model = nn.Sequential(Noted(2, 2), nn.Linear(2, 2))
    assert list(Shared("1.*").arrays(model)) == ["1.weight", "1.bias"]
    for use in (Shared("*").arrays, Shared("1.*").local):
        with pytest.raises(LocalError, match=r"'0._extra_state' of the model's state_dict is a dict"):
            use(model)


# Loading


def changed(arrays: ArrayRecord, **changes: Array | None) -> ArrayRecord:
    values = {**arrays, **{name.replace("__", "."): value for name, value in changes.items()}}
    return ArrayRecord({name: value for name, value in values.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"head__bias": None}, "the received arrays have no 'head.bias'"),
        ({"embed__weight": Array(np.zeros((12, 8), np.float32))}, "have 'embed.weight', which is not among"),
        ({"other": Array(np.zeros(1, np.float32))}, "have 'other', which is not among"),
        ({"head__bias": Array(np.zeros(4, np.float32))}, r"'head.bias' in the shape \(4,\), the model has \(3,\)"),
        ({"head__bias": Array(np.zeros((3, 1), np.float32))}, r"'head.bias' in the shape \(3, 1\)"),
    ],
)
def test_arrays_that_are_not_the_shared_ones_are_refused_and_nothing_is_loaded(changes: dict[str, Array | None], text: str) -> None:
    shared, model = Shared("head.*"), made(Adapted)
    before = state_of(model)
    arrays = changed(shared.arrays(model), **{"head__weight": Array(np.ones((3, 8), np.float32)), **changes})
    with pytest.raises(LocalError, match=text):
        shared.load(model, arrays)
    assert all(np.array_equal(value, before[name]) for name, value in state_of(model).items())


def test_loading_changes_the_shared_tensors_and_nothing_else() -> None:
    shared, model = Shared("head.*"), made(Adapted)
    before = state_of(model)
    shared.load(model, changed(shared.arrays(model), head__bias=Array(np.array([1.5, -2.0, 3.0], np.float32))))
    after = state_of(model)
    assert after.pop("head.bias").tolist() == [1.5, -2.0, 3.0]
    assert all(np.array_equal(value, before[name]) for name, value in after.items())
    assert not model.embed.weight.requires_grad
    assert model.head.bias.requires_grad


# The local part


def context() -> Context:
    return Context(1, 2, {}, RecordDict(), {})


def test_the_local_part_survives_and_the_shared_part_is_not_touched_by_it() -> None:
    shared, one, two, here = Shared("*.lora_*"), made(Adapted), made(Adapted), context()
    assert not shared.restore_local(one, here)
    fit(one, 1, 1)
    shared.keep_local(one, here)
    assert shared.restore_local(two, here)
    assert set(here.state[LOCAL]) == {"head.weight", "head.bias"}
    for name, value in state_of(two).items():
        assert np.array_equal(value, state_of(one)[name]) is (".lora_B" not in name and ".lora_A" not in name)


def test_two_models_of_one_app_keep_their_parts_apart() -> None:
    shared, one, here = Shared("*.lora_*"), made(Adapted), context()
    shared.keep_local(one, here, record="first")
    assert not shared.restore_local(one, here)
    assert shared.restore_local(one, here, record="first")


def test_a_local_part_of_another_model_is_refused() -> None:
    here, model = context(), made(Adapted)
    Shared("*.lora_*").keep_local(model, here)
    with pytest.raises(LocalError, match="the kept local part"):
        Shared.except_("head.weight").restore_local(model, here)
    model.head.requires_grad_(False)
    with pytest.raises(LocalError, match="which is not among") as caught:
        Shared("*.lora_*").restore_local(model, here)
    assert "freeze the same parameters" in str(caught.value.hint)
    here.state[LOCAL] = MetricRecord({"a": 1})
    with pytest.raises(LocalError, match="has no arrays in it"):
        Shared("*.lora_*").restore_local(model, here)
