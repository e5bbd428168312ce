"""DP-FedAvg whose noise nobody but the parties makes: what a run tells about any one party is bounded, for everybody who sees its models.

DP-FedAvg (McMahan, Ramage, Talwar, Zhang, ICLR 2018) clips every party's change of the model to `l2-clip` and adds noise to the sum. Here
each party adds its share of the noise inside the masks, so the coordinator never sees a sum with less. All parties weigh the same, and no
metric leaves: accuracy is the coordinator's own, on public data.

- `epsilon`, `dp-delta`: what all rounds together may cost. The run stops before it would cost more.
- `noise-multiplier`: the noise's deviation by `l2-clip`. 0: as much as epsilon takes for `num-server-rounds`.
- `l2-clip`: about the norm that updates have. Larger ones are scaled down, and the noise grows with it.
- `adaptive-quantile`: the share of parties whose norm is to be within the clip, which follows it from round to round then (Andrew, Thakkar,
  McMahan, Ramaswamy, NeurIPS 2021), so that a wrong `l2-clip` mends itself. 0: it stays.

Noise is one amount a round, however many parties share in it: ten hospitals drown in what a thousand do not notice. docs/privacy.md.
"""

from __future__ import annotations

from flwr.serverapp.strategy import FedAvg, Strategy

from stfed.flower import SecureAggregation
from stfed.flower.dp import AdaptiveClipping, DistributedDp
from strategies.settings import Config, secure


def inner(config: Config) -> Strategy:
    """Flower's FedAvg, as it would run without secure aggregation and without noise."""
    return FedAvg(fraction_evaluate=0.0, min_available_nodes=int(config["num-parties"]))


def build(config: Config) -> Strategy:
    """The same in secure rounds with noise."""
    dp = DistributedDp(
        l2_clip=float(config["l2-clip"]),
        noise_multiplier=float(config.get("noise-multiplier", 0.0)) or None,
        epsilon=float(config.get("epsilon", 0.0)) or None,
        delta=float(config["dp-delta"]),
        adaptive=AdaptiveClipping(quantile=quantile) if (quantile := float(config.get("adaptive-quantile", 0.0))) else None,
    )
    # The ring, the clip of a coordinate and the largest weight follow from the noise.
    settings = {name: value for name, value in secure(config).items() if name not in ("ring_bits", "value_bits", "clip", "max_weight")}
    return SecureAggregation(inner(config), dp=dp, uniform=True, **settings)
