"""Tensors that share memory: the same ones are found, kept and left out as by safetensors, and models go round."""

import copy
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from stfed import sealed
from stfed.errors import LocalError
from stfed.sealed.models import SharedMemoryError, aliases, shared
from stfed.sealed.torch import load_model, safe_open, save, save_file, save_model

from .material import keypair

IDENTITY, RECIPIENT = keypair("models")
Tensors = dict[str, torch.Tensor]


def theirs(tensors: Tensors) -> set[frozenset[str]]:
    return {frozenset(names) for names in safetensors.torch._find_shared_tensors(tensors)}


@st.composite
def views(draw: st.DrawFn) -> Tensors:
    """Slices, rows and wholes of two storages, in any order."""
    bases = [torch.zeros(6), torch.zeros(2, 3, dtype=torch.bfloat16)]
    tensors: Tensors = {}
    for name in draw(st.lists(st.sampled_from("abcdefg"), unique=True, max_size=7)):
        base = draw(st.sampled_from(bases)).reshape(-1)
        begin, end = sorted((draw(st.integers(0, 6)), draw(st.integers(0, 6))))
        tensors[name] = base[begin:end] if draw(st.booleans()) else base
    return tensors


@given(views(), st.sets(st.sampled_from("abcdefg")))
def test_the_choice_is_that_of_safetensors(tensors: Tensors, preferred: set[str]) -> None:
    assert {frozenset(names) for names in shared(tensors)} == theirs(tensors)
    try:
        expected = safetensors.torch._remove_duplicate_names(tensors, preferred_names=sorted(preferred))
    except RuntimeError:
        with pytest.raises(RuntimeError, match="found no suitable name to keep"):
            aliases(tensors, preferred)
        return
    assert aliases(tensors, preferred) == expected


def test_what_is_shared() -> None:
    whole, meta = torch.zeros(4), torch.zeros(2, 2, device="meta")
    steps = torch.zeros(16)[::4]
    short = torch.empty([]).set_(source=whole.untyped_storage()[:8])  # the same address, a storage of its own
    for tensors, expected in (
        ({"a": whole[:2], "b": whole[2:]}, [["a"], ["b"]]),
        ({"a": whole[:2], "b": whole[1:]}, [["a", "b"]]),
        ({"a": whole[:2], "b": whole[2:], "c": whole[:1]}, [["c", "a"], ["b"]]),
        ({"a": meta, "b": meta[:1]}, []),
        ({"a": whole, "b": short}, [["a"], ["b"]]),
        ({"a": torch.zeros(0), "b": torch.zeros(2, 0)}, []),
        ({"a": steps, "b": steps}, [["a", "b"]]),
        ({"a": whole[::2], "b": whole[2:]}, [["a", "b"]]),
        ({"a": whole[:3:2], "b": whole[3:]}, [["a"], ["b"]]),
    ):
        assert shared(tensors) == expected
        assert {frozenset(names) for names in expected} == theirs(tensors)


def test_what_covers_a_storage() -> None:
    whole = torch.zeros(6)
    for tensor in (whole[:5], whole[1:], whole[2:3].expand(6), whole[::2]):
        for call in (aliases, safetensors.torch._remove_duplicate_names):
            with pytest.raises(RuntimeError, match="None is covering the entire storage"):
                call({"a": tensor})
    assert aliases({"a": whole.reshape(2, 3).T, "b": whole}) == {"a": ["b"]}


def test_tensors_that_lie_across_are_measured_to_their_last_element() -> None:
    base = torch.zeros(4, 4)
    assert shared({"a": base.T[:2], "b": base.T[2:]}) == [["a", "b"]]  # columns: their areas interlock
    assert shared({"a": base[:2].T, "b": base[2:].T}) == [["a"], ["b"]]


class Tied(torch.nn.Module):
    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.a = torch.nn.Linear(size, size)
        self.b = self.a


class Apart(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Linear(4, 4)
        self.b = torch.nn.Linear(4, 4)


class Copied(Tied):
    def __init__(self) -> None:
        super().__init__()
        self.b = copy.deepcopy(self.a)


class Transposed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Linear(4, 4)
        self.a.weight = torch.nn.Parameter(torch.arange(16.0).reshape(4, 4).T)


class Part(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(torch.zeros(10, 4)[:2])


def states(model: torch.nn.Module) -> dict[str, Any]:
    return {name: tensor.tolist() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("kind", [Tied, Apart, Copied, Transposed])
@pytest.mark.parametrize("metadata", [None, {}, {"b.bias": "mine", "x": "y"}])
def test_a_model_goes_round_and_the_file_is_that_of_safetensors(
    kind: type[torch.nn.Module], metadata: dict[str, str] | None, tmp_path: Path
) -> None:
    model, fresh, stock = kind(), kind(), kind()
    given = copy.copy(metadata)
    save_model(model, tmp_path / "sealed", given, recipients=RECIPIENT)
    assert given == metadata  # safetensors adds to what it is given
    safetensors.torch.save_model(model, str(tmp_path / "plain"), copy.copy(metadata))
    sealed.open_file(tmp_path / "sealed", tmp_path / "opened", identity=IDENTITY)
    with safetensors.safe_open(tmp_path / "opened", "pt") as ours, safetensors.safe_open(tmp_path / "plain", "pt") as plain:
        assert ours.metadata() == plain.metadata()
        assert {name: ours.get_tensor(name).tolist() for name in ours.keys()} == {  # noqa: SIM118
            name: plain.get_tensor(name).tolist()
            for name in plain.keys()  # noqa: SIM118
        }
    safetensors.torch.load_model(stock, tmp_path / "plain")
    assert load_model(fresh, tmp_path / "sealed", device=None, identity=IDENTITY) == (set(), [])
    assert states(fresh) == states(stock) == states(model)


def test_aliases_are_noted_in_the_metadata(tmp_path: Path) -> None:
    save_model(Tied(), tmp_path / "sealed", recipients=RECIPIENT)
    with safe_open(tmp_path / "sealed", identity=IDENTITY) as file:
        assert file.metadata() == {"b.bias": "a.bias", "b.weight": "a.weight"}
        assert file.keys() == ["a.bias", "a.weight"]


def test_a_file_that_kept_the_other_name(tmp_path: Path) -> None:
    model, fresh = Tied(), Tied()
    kept = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("b")}
    save_file(kept, tmp_path / "sealed", recipients=RECIPIENT)
    assert load_model(fresh, tmp_path / "sealed", identity=IDENTITY, backend="pread") == (set(), [])
    assert states(fresh) == states(model)


@pytest.mark.parametrize(
    ("saved", "loaded", "says"),
    [
        (Tied, Apart, 'Missing key(s) in state_dict: "b.bias", "b.weight"'),
        (Apart, Tied, 'Unexpected key(s) in state_dict: "b.bias", "b.weight"'),
        (Tied, Part, 'Missing key(s) in state_dict: "a"\n    Unexpected key(s) in state_dict: "a.bias", "a.weight"'),
    ],
)
def test_models_that_do_not_fit(saved: type[torch.nn.Module], loaded: type[torch.nn.Module], says: str, tmp_path: Path) -> None:
    model, fresh, stock = saved(), loaded(), loaded()
    if loaded is Part:
        fresh.a, stock.a = (torch.nn.Parameter(torch.zeros(2, 4)) for _ in range(2))
    save_model(model, tmp_path / "sealed", recipients=RECIPIENT)
    safetensors.torch.save_model(model, str(tmp_path / "plain"))
    with pytest.raises(RuntimeError) as ours:
        load_model(fresh, tmp_path / "sealed", identity=IDENTITY)
    with pytest.raises(RuntimeError) as theirs:
        safetensors.torch.load_model(stock, tmp_path / "plain")
    assert says in str(ours.value)
    assert str(ours.value) == str(theirs.value)
    expected: Any = safetensors.torch.load_model(stock, tmp_path / "plain", False)
    assert load_model(fresh, tmp_path / "sealed", False, identity=IDENTITY) == expected


def test_shapes_that_do_not_fit_are_torchs_to_refuse(tmp_path: Path) -> None:
    save_model(Tied(), tmp_path / "sealed", recipients=RECIPIENT)
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_model(Tied(5), tmp_path / "sealed", identity=IDENTITY)


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"use save_model\(..., force_contiguous=True\)"):
        save_model(Transposed(), tmp_path / "sealed", force_contiguous=False, recipients=RECIPIENT)
    with pytest.raises(SharedMemoryError, match="None is covering the entire storage"):
        save_model(Part(), tmp_path / "sealed", recipients=RECIPIENT)
    with pytest.raises(TypeError, match="text to text"):
        save_model(Tied(), tmp_path / "sealed", {"a": 1}, recipients=RECIPIENT)  # type: ignore[dict-item]
    with pytest.raises(RuntimeError, match="save_model"):
        save(Tied().state_dict(), recipients=RECIPIENT)
    with pytest.raises(LocalError, match="no recipient"):
        save_model(Tied(), tmp_path / "sealed")
    assert list(tmp_path.iterdir()) == []


def test_state_that_is_no_tensor(tmp_path: Path) -> None:
    class Extra(Tied):
        def get_extra_state(self) -> str:
            return "text"

    with pytest.raises(LocalError, match="Key `_extra_state` is invalid"):
        save_model(Extra(), tmp_path / "sealed", recipients=RECIPIENT)


def test_a_loaded_model_can_be_saved_again(tmp_path: Path) -> None:
    """Also when it took the loaded tensors over as they are."""
    save_model(Apart(), tmp_path / "sealed", recipients=RECIPIENT)
    fresh = Apart()
    with safe_open(tmp_path / "sealed", identity=IDENTITY) as file:
        fresh.load_state_dict(file.get_tensors(), assign=True)
    save_model(fresh, tmp_path / "again", recipients=RECIPIENT)
    assert load_model(Apart(), tmp_path / "again", identity=IDENTITY) == (set(), [])
