"""FedAvg with few bits a parameter: a third of the traffic, and a mean that is as good.

These settings make it work, and docs/precision.md has the figures:

- `value-bits`: precision of one party's parameter. 8 is enough for training; each bit less doubles the step.
- `clip`: updates are rotated first, so that all parameters are about as large as their root mean square change in a round, and 8 times that
  is the clip. Half of it cuts, twice of it costs a bit. Without a clip that fits, few bits are bad bits: leave the 32-bit ring, or
- `clip-target`: the share of coordinates that may be cut, 1e-4 for 8 bits. The clip then follows the updates from round to round, wherever
  it begins, if the parties' policies let it (`clip_moves`). 0: it stays.
- `max-weight`: just over the largest number of examples, because a party sends its change times weight / max-weight.

The ring follows: as many bits as the sum over all parties of a round needs, so it cannot wrap.
"""

from __future__ import annotations

from flwr.serverapp.strategy import FedAvg, Strategy

from stfed.errors import LocalError
from stfed.flower import SecureAggregation
from strategies.settings import Config, secure

CLIP_AT_MOST = 1.0  # a default of 8 would be rounding noise: at 8 bits, steps of 0.06


def inner(config: Config) -> Strategy:
    """Flower's FedAvg, as it would run without secure aggregation."""
    return FedAvg(fraction_evaluate=float(config["fraction-evaluate"]), min_available_nodes=int(config["num-parties"]))


def build(config: Config) -> Strategy:
    """The same in secure rounds of few bits."""
    if not int(config.get("value-bits", 0)):
        raise LocalError("the recipe is for few bits, and value-bits is not set", hint="value-bits = 8, or the recipe secure_fedavg")
    if float(config["clip"]) > CLIP_AT_MOST and not float(config.get("clip-target", 0.0)):
        hint = "8 times the rms change, or clip-target = 1e-4: docs/precision.md"
        raise LocalError(f"a clip of {config['clip']} leaves few bits nothing to say", hint=hint)
    return SecureAggregation(inner(config), **secure(config))
