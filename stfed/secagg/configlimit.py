"""What a coordinator may tell the train and evaluate functions: the bounds on one value of a config.

The config is the coordinator's, and what a function does with it is the app's business: a learning rate, a number of steps, an index into
the data. Secure aggregation makes sure that all parties are told the same; these bounds, that it is something a party has agreed to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from stfed.errors import LocalError, shown
from stfed.secagg.refusals import ConfigError

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ConfigLimit:
    """One value by name, and what it may be; with neither bounds nor a choice, anything.

    Attributes:
        name: of the value.
        low: smallest number.
        high: largest number.
        one_of: the only values, of exactly these types; no bounds then.

    Raises:
        LocalError: bounds that no number meets, or bounds beside a choice.
    """

    name: str
    low: float | None = None
    high: float | None = None
    one_of: tuple[Scalar, ...] | None = None

    def __post_init__(self) -> None:
        if self.one_of is not None and (self.low, self.high) != (None, None):
            raise LocalError(f"the config value {shown(self.name)} has bounds and a choice", hint="give min and max, or one_of")
        if self.one_of is None and not self._least <= self._most:
            raise LocalError(f"no number is a config value {shown(self.name)}: {self._least:g} to {self._most:g}")

    @property
    def _least(self) -> float:
        return -inf if self.low is None else self.low

    @property
    def _most(self) -> float:
        return inf if self.high is None else self.high

    def check(self, value: object) -> None:
        """Returns if the value is allowed.

        Raises:
            ConfigError: it is not.
        """
        if self.one_of is not None:
            if not any(type(value) is type(allowed) and value == allowed for allowed in self.one_of):
                choice = ", ".join(map(shown, self.one_of))
                raise ConfigError(f"the config says {shown(self.name)} = {shown(value)}, this party allows {choice}")
        elif (self.low, self.high) != (None, None) and not self._is_between(value):
            bounds = f"{self._least:g} to {self._most:g}"
            raise ConfigError(f"the config says {shown(self.name)} = {shown(value)}, this party allows {bounds}")

    def _is_between(self, value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self._least <= value <= self._most


def check_config(limits: Iterable[ConfigLimit], values: Iterable[tuple[str, object]]) -> None:
    """Refuses a config with a value that is not named, or not within its limits.

    Raises:
        ConfigError: for the first such value.
    """
    known = {limit.name: limit for limit in limits}
    for name, value in values:
        if name not in known:
            raise ConfigError(
                f"the config has a value {shown(name)}, which this party does not allow", hint="name it under [model.config] of the policy"
            )
        known[name].check(value)
