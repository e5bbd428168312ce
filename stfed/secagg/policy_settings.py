"""The settings of a policy file: what each is called, where it stands, what it means and in which unit, and how its value is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stfed.encoding.tensors import TensorSpec
from stfed.errors import LocalError, shown
from stfed.secagg.configlimit import ConfigLimit
from stfed.secagg.params import Mode


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: of the setting, and of the attribute of `Policy`.
        read: the attribute's value from the TOML value; LocalError, without the name, if it is of the wrong type.
        comment: what it means, with its unit; the lines that stand above it in a file.
        example: what it may look like, where the default is to say nothing.
    """

    name: str
    read: Callable[[Any], Any]
    comment: str
    example: str = ""


TOP = ""
"""The place before the first [table]."""


def number(value: Any) -> float:
    """A number."""
    if type(value) not in (int, float):
        raise LocalError("is no number")
    try:
        return float(value)
    except OverflowError:
        raise LocalError("is too large") from None


def share(value: Any) -> float:
    """A share of the parties."""
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise LocalError("is no share", hint="it is at least 0 and below 1, such as 0.1 for ten percent")
    return float(value)


def whole(value: Any) -> int:
    """A whole number."""
    if type(value) is not int:
        raise LocalError("is no whole number")
    return value


def flag(value: Any) -> bool:
    """Yes or no."""
    if type(value) is not bool:
        raise LocalError("is neither true nor false")
    return value


def mode(value: Any) -> Mode:
    """A security mode."""
    try:
        return Mode(value)
    except ValueError:
        raise LocalError(f"is {shown(value)}", hint=f"modes: {', '.join(mode.value for mode in Mode)}") from None


def texts(value: Any) -> tuple[str, ...]:
    """Names."""
    if type(value) is not list or any(type(text) is not str for text in value):
        raise LocalError("is no array of strings", hint='write ["num-examples"]')
    return tuple(value)


def pair(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The smallest and the largest value."""

    def both(value: Any) -> Any:
        if type(value) is not list or len(value) != 2:
            raise LocalError("is no pair", hint="write the smallest and the largest value that are allowed, such as [1, 10]")
        return read(value[0]), read(value[1])

    return both


_TENSOR = '"layer.weight" = { dtype = "float32", shape = [10, 784] }'


def tensors(value: Any) -> tuple[TensorSpec, ...]:
    """Tensors by name."""
    if type(value) is not dict:
        raise LocalError("is no table", hint=f"it begins with [model.tensors], then a line for each: {_TENSOR}")
    return tuple(_tensors(value))


def _tensors(table: Mapping[str, Any]) -> Iterator[TensorSpec]:
    for name, entry in table.items():
        if type(entry) is not dict or entry.keys() != {"dtype", "shape"}:
            raise LocalError(f"has an entry {shown(name)} that is not a dtype and a shape", hint=_TENSOR)
        dtype, shape = entry["dtype"], entry["shape"]
        if type(dtype) is not str or type(shape) is not list or any(type(size) is not int for size in shape):
            raise LocalError(f"has an entry {shown(name)} whose dtype is no string or whose shape is no array of sizes", hint=_TENSOR)
        try:
            yield TensorSpec(name, dtype, tuple(shape))
        except LocalError as error:
            raise LocalError(f"has an entry that cannot be: {error.message}", hint=error.hint) from None


_CONFIG = (
    "server-round = {}",
    "learning-rate = { min = 1e-5, max = 0.1 }",
    "local-epochs = { min = 1, max = 5 }",
    'optimizer = { one_of = ["sgd", "adam"] }',
)


def config(value: Any) -> tuple[ConfigLimit, ...]:
    """Limits on config values by name."""
    if type(value) is not dict:
        raise LocalError("is no table", hint=f"it begins with [model.config], then a line for each: {_CONFIG[1]}")
    return tuple(_limits(value))


def _limits(table: Mapping[str, Any]) -> Iterator[ConfigLimit]:
    for name, entry in table.items():
        if type(entry) is not dict or not entry.keys() <= {"min", "max", "one_of"}:
            raise LocalError(f"has an entry {shown(name)} that is no limit", hint=f"{_CONFIG[1]}, or {_CONFIG[3]}")
        choice = entry.get("one_of")
        if choice is not None and (type(choice) is not list or any(type(one) not in (str, int, float, bool) for one in choice)):
            raise LocalError(f"has an entry {shown(name)} whose one_of is no array of values", hint=_CONFIG[3])
        try:
            low, high = (number(entry[bound]) if bound in entry else None for bound in ("min", "max"))
        except LocalError as error:
            raise LocalError(f"has an entry {shown(name)} whose min or max {error.message}", hint=_CONFIG[1]) from None
        try:
            yield ConfigLimit(name, low, high, None if choice is None else tuple(choice))
        except LocalError as error:
            raise LocalError(f"has an entry that cannot be: {error.message}", hint=error.hint) from None


SECTIONS: Mapping[str, tuple[Setting, ...]] = {
    TOP: (
        Setting(
            "mode",
            mode,
            '"malicious": the coordinator may lie, and nothing is learnt from it but sums. Needs an identity and a roster.\n'
            '"semi-honest": it follows the protocol and looks at everything.',
        ),
        Setting("gamma", share, "Share of the roster, at most, that may work with the coordinator."),
        Setting("delta", share, "Share of a cohort that may vanish in one round and leave it safe."),
        Setting(
            "sigma", whole, "Bits of security: a bad graph, the only thing left to chance, comes up with probability 2^-sigma at most."
        ),
    ),
    "cohort": (
        Setting("min_cohort", whole, "Fewest parties that are asked in a round, this one among them."),
        Setting("min_survivors", whole, "Fewest parties in a sum."),
        Setting(
            "honest_survivors",
            whole,
            "Fewest honest parties in a sum, on top of as many corrupt ones as gamma allows.\nDefault: 2, in malicious mode 3.",
            "3",
        ),
        Setting(
            "min_threshold", whole, "Fewest shares that rebuild a secret. What is secure is computed in any case; this only raises it."
        ),
        Setting(
            "eager_parties",
            whole,
            "Up to so many parties, all keys of an epoch are agreed on at once, and the private key they come from is erased.",
        ),
        Setting(
            "roster",
            whole,
            "Parties from which the coordinator can choose a cohort. Default: as many as are in it.\n"
            "With a roster file (malicious mode) those on it count.",
            "100",
        ),
    ),
    "encoding": (
        Setting(
            "ring_bits",
            pair(whole),
            "Smallest and largest size of a masked number, in bits, 8 to 64; also where it follows from value bits and the cohort.",
        ),
        Setting(
            "clip",
            pair(number),
            "Smallest and largest bound on the change of one parameter, in units of the model; where updates are rotated, of one\n"
            "rotated parameter, which is of the same size on average. Where nearly everything is cut off, a sum shows signs.",
        ),
        Setting(
            "clip_moves",
            flag,
            "Let the clip move within a run, among the powers of two within clip. Each of them asks one more question of the updates:\n"
            "the narrower clip is, the fewer; what matters is the smallest, which should still cut off little.",
        ),
        Setting(
            "max_weight",
            pair(number),
            "Smallest and largest bound on the weight of one party, in units of the weight (examples).\n"
            "The largest keeps one party from outweighing all others. How many are over a bound is counted: a small one asks a question.",
        ),
        Setting("weight_keys", texts, "Metrics that may be the weight."),
        Setting(
            "noise_multiplier",
            number,
            "Smallest noise multiplier of every sum, if sums have to be differentially private. Default: noise is not asked for.\n"
            "With max_rounds it bounds what a run can tell about this party.",
            "0.5",
        ),
        Setting("fixed_encoding", flag, "Hold the coordinator to the encoding that a run began with."),
    ),
    "model": (
        Setting("max_parameters", whole, "Largest vector that is masked, in numbers: the parameters and some for weight and metrics."),
        Setting(
            "tensors",
            tensors,
            "The model that this party takes part with, all of its tensors. Default: any model.",
            f"[model.tensors]\n{_TENSOR}",
        ),
        Setting(
            "config",
            config,
            "What the functions for training and evaluation may be told, in a message or in the run's config. Default: anything.\n"
            "With this table, every value has to be named: {} lets it be anything.",
            "[model.config]\n" + "\n".join(_CONFIG),
        ),
    ),
    "rounds": (
        Setting(
            "max_rounds",
            whole,
            "Most sums in one run: training and evaluation, failed ones and those prepared in vain, too.\n"
            "Default: any number; in malicious mode 2^24, which is also the most.",
            "500",
        ),
        Setting("max_skipped_rounds", whole, "How far the number of a round may jump. Each one skipped costs a hash per party."),
        Setting(
            "allow_repeats",
            flag,
            "Work on the very same model and config again. The difference of two such sums is the update of whoever is in one only.",
        ),
    ),
}
"""By table, in the order of the file."""

TITLES: Mapping[str, str] = {
    TOP: "What is assumed about the coordinator and the others.",
    "cohort": "With how many others this party's update is added up.",
    "encoding": "How updates become numbers; within these bounds the coordinator chooses.",
    "model": "What may be trained.",
    "rounds": "How often.",
}
"""The line above each table."""
