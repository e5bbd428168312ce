"""`Shared`: which tensors of a model are summed. The rest stays with the party, or is frozen and needs no summing.

    shared = Shared("*.lora_*")                 # adapters only; or Shared.except_("head.*"), or Shared.trainable(model)

    strategy.start(grid, shared.arrays(model), ...)               # server_app.py: the global model is the shared part

    model = make_model()                                          # client_app.py, in the train and the evaluate function
    shared.load(model, message.content["arrays"])
    shared.restore_local(model, context)
    ...                                                           # train as before
    shared.keep_local(model, context)
    reply = RecordDict({"arrays": shared.arrays(model), "metrics": metrics})

Patterns are those of the shell over the names of `model.state_dict()`: `*` is any text, dots included, `?` one character, `[ab]` one of
these. Each has to match something, so that a layer that was renamed is an error and not a head that leaves, or an adapter that stays.

Nothing but the chosen tensors is ever in a record that is sent, and nothing else of the model changes when a record is loaded. Whoever
sends another set of tensors is refused by `load`; a policy with `tensors=shared.specs(model)` refuses it before anything is computed.

Local heads: Arivazhagan, Aggarwal, Singh, Choudhary, "Federated Learning with Personalization Layers", 2019. Local batch normalisation: Li,
Jiang, Zhang, Kamp, Dou, "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", ICLR 2021. docs/partial.md.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from flwr.app import ArrayRecord, Context

from stfed.encoding.tensors import TensorSpec
from stfed.errors import LocalError, shown

if TYPE_CHECKING:
    import torch

LOCAL = "stfed.local"
"""The record in `context.state` with the local part. Flower gives a ClientApp the same `context.state` for every message of a run (of a
series of runs, if they are one) and keeps it in the memory of the SuperNode in between: no message has it, and no disk. A SuperNode that
restarts has lost it."""

_LISTED = 8


class Shared:
    """The tensors of a model that are summed, chosen by name.

    Args:
        patterns: a tensor whose name matches one of them is shared.

    Raises:
        LocalError: no pattern is given. The methods raise one for a pattern that matches no name of their model.
    """

    def __init__(self, *patterns: str) -> None:
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            raise LocalError("no tensor is chosen", hint='give patterns of names: Shared("*.lora_*")')
        self._patterns, self._chosen = patterns, True

    @classmethod
    def except_(cls, *patterns: str) -> Shared:
        """All tensors but those that match."""
        shared = cls(*patterns)
        shared._chosen = False
        return shared

    @classmethod
    def trainable(cls, model: torch.nn.Module) -> Shared:
        """The parameters that training moves: frozen ones would cost bytes for zeros, and buffers are no parameters.

        Raises:
            LocalError: all are frozen.
        """
        frozen = _frozen(model)
        names = [name for name, _ in model.named_parameters(remove_duplicate=False) if name not in frozen]
        if not names:
            raise LocalError("every parameter of the model is frozen", hint="call Shared.trainable after requires_grad is set")
        return cls(*map(glob.escape, names))

    def __repr__(self) -> str:
        return f"Shared{'' if self._chosen else '.except_'}({', '.join(map(repr, self._patterns))})"

    def tensors(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        """The shared tensors themselves, in the order of the model's `state_dict()`.

        Raises:
            LocalError: a pattern matches nothing, nothing is chosen, or a tensor is shared under one name and local under another.
        """
        state = model.state_dict()
        for pattern in self._patterns:
            if not any(fnmatchcase(name, pattern) for name in state):
                raise LocalError(f"{shown(pattern)} matches no tensor of the model", hint=f"its tensors are {_listed(state)}")
        names = [name for name in state if any(fnmatchcase(name, pattern) for pattern in self._patterns) is self._chosen]
        if not names:
            raise LocalError(f"{self!r} leaves no tensor to share", hint=f"the model's tensors are {_listed(state)}")
        chosen = _checked({name: state[name] for name in names})
        _refuse_ties(chosen, state)
        return chosen

    def local(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        """The tensors that are the party's own: all that are not shared, without frozen parameters, which are as they were built."""
        state, apart = model.state_dict(), self.tensors(model).keys() | _frozen(model)
        return _checked({name: value for name, value in state.items() if name not in apart})

    def arrays(self, model: torch.nn.Module) -> ArrayRecord:
        """The shared tensors as Flower sends them: the coordinator's initial arrays, or a party's reply.

        Raises:
            LocalError: as `tensors`, and for a bfloat16, which Flower's arrays do not have.
        """
        return _record(self.tensors(model))

    def load(self, model: torch.nn.Module, arrays: ArrayRecord) -> None:
        """Puts received arrays into the model, whose other tensors stay as they are.

        Raises:
            LocalError: an array is missing, unexpected or of another shape; then nothing is loaded.
        """
        _load(model, self.tensors(model), arrays, "the received arrays", "both sides need the same Shared and the same model")

    def specs(self, model: torch.nn.Module) -> tuple[TensorSpec, ...]:
        """Name, dtype and shape of the shared tensors, for `Policy(tensors=...)`: a party that takes part with these and no others."""
        return tuple(
            TensorSpec(name, str(value.dtype).removeprefix("torch."), tuple(value.shape)) for name, value in self.tensors(model).items()
        )

    def keep_local(self, model: torch.nn.Module, context: Context, *, record: str = LOCAL) -> None:
        """Keeps the local part until this party's next message, also when the round comes to nothing.

        Args:
            model: as it is now.
            context: of this message.
            record: where in `context.state`, for apps with more than one model.

        Raises:
            LocalError: as `arrays`, of the local part.
        """
        context.state[record] = _record(self.local(model))

    def restore_local(self, model: torch.nn.Module, context: Context, *, record: str = LOCAL) -> bool:
        """Puts the local part back, and says whether there was any: in the first round there is none, and the model stays as it was built.

        Raises:
            LocalError: what was kept is not the local part of this model.
        """
        kept = context.state.get(record)
        if kept is None:
            return False
        if not isinstance(kept, ArrayRecord):
            raise LocalError(f"the record {shown(record)} of context.state has no arrays in it", hint="give another record=")
        _load(model, self.local(model), kept, "the kept local part", "freeze the same parameters before keep_local and restore_local")
        return True


def batch_norm(model: torch.nn.Module) -> tuple[str, ...]:
    """Patterns of all that is batch normalisation: `Shared.except_(*batch_norm(model))` is FedBN.

    Raises:
        LocalError: the model has none.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    found = tuple(f"{glob.escape(name)}.*" for name, module in model.named_modules() if name and isinstance(module, _BatchNorm))
    if not found:
        raise LocalError("the model has no batch normalisation")
    return found


def _frozen(model: torch.nn.Module) -> frozenset[str]:
    return frozenset(name for name, parameter in model.named_parameters(remove_duplicate=False) if not parameter.requires_grad)


def _checked(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Modules may put anything into a state_dict (`get_extra_state`)."""
    for name, value in tensors.items():
        if not hasattr(value, "untyped_storage"):
            raise LocalError(f"{shown(name)} of the model's state_dict is a {type(value).__name__}, not a tensor")
    return dict(tensors)


def _refuse_ties(chosen: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> None:
    """An embedding that is the output layer, too, would leave under one name and be overwritten by the local one under the other."""
    places = {_place(value): name for name, value in chosen.items() if value.numel() and not value.is_meta}
    for name, value in state.items():
        other = None if name in chosen or not hasattr(value, "untyped_storage") else places.get(_place(value))
        if other is not None:
            raise LocalError(f"{shown(other)} is shared and {shown(name)} is not, but they are one tensor", hint="share both or neither")


def _place(value: torch.Tensor) -> tuple[str, int]:
    return str(value.device), value.data_ptr()


def _record(tensors: Mapping[str, torch.Tensor]) -> ArrayRecord:
    for name, value in tensors.items():
        if str(value.dtype) == "torch.bfloat16":
            raise LocalError(f"{shown(name)} is bfloat16, which Flower's arrays do not have", hint="keep what is trained in float32")
    return ArrayRecord(dict(tensors))


def _load(model: torch.nn.Module, wanted: Mapping[str, torch.Tensor], arrays: ArrayRecord, what: str, hint: str) -> None:
    for name in wanted:
        if name not in arrays:
            raise LocalError(f"{what} have no {shown(name)}", hint=hint)
    for name, array in arrays.items():
        if name not in wanted:
            raise LocalError(f"{what} have {shown(name)}, which is not among the tensors that were chosen", hint=hint)
        if tuple(array.shape) != (shape := tuple(wanted[name].shape)):
            raise LocalError(f"{what} have {shown(name)} in the shape {tuple(array.shape)}, the model has {shape}", hint=hint)
    model.load_state_dict(arrays.to_torch_state_dict(), strict=False)


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return ", ".join(map(shown, known[:_LISTED])) + more
