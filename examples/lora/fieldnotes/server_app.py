"""fieldnotes: what the coordinator runs. Its global model is half of an adapter."""

from __future__ import annotations

from pathlib import Path

from flwr.app import ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from stfed.flower import SecureAggregation

from .base import load_base, sha256_of
from .task import SHARED

# Create ServerApp
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Main entry point for the ServerApp."""
    # Read run config
    config = context.run_config
    base, out, recipient = str(config["base"]), Path(str(config["run-dir"])), str(config["recipient"])

    # Initialize FedAvg strategy, and have it see sums only
    strategy = SecureAggregation(
        FedAvg(),
        clip=1.0,
        max_weight=2000,
        events=out / "events.jsonl",
        save=out / "adapters" if recipient else None,
        recipients=[recipient] if recipient else [],
    )

    # Start strategy from an adapter that changes nothing, and say which base model it is for
    model = load_base(base)
    told = ConfigRecord({"base": sha256_of(base)})
    strategy.start(
        grid=grid,
        initial_arrays=SHARED.arrays(model),
        train_config=told,
        evaluate_config=told,
        num_rounds=int(config["num-server-rounds"]),
    )
