"""cheques: A Flower / PyTorch app."""

from __future__ import annotations

from pathlib import Path

from cheques.task import Net, initial_model, load_centralized_test, test
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from stfed.flower import SecureAggregation

# Create ServerApp
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Main entry point for the ServerApp."""
    # Read run config
    config = context.run_config
    out, recipient = Path(str(config["run-dir"])), str(config["recipient"])

    # Initialize FedAvg strategy
    strategy = FedAvg(fraction_evaluate=float(config["fraction-evaluate"]), min_available_nodes=int(config["num-parties"]))

    # Let it see sums only, and seal every round's model
    strategy = SecureAggregation(
        strategy,
        max_weight=1000,
        events=out / "events.jsonl",
        save=out / "models" if recipient else None,
        recipients=[recipient] if recipient else [],
        signer=str(config["signer"]) or None,
        audit=str(config["audit"]) or None,
    )

    # Start strategy, run FedAvg for `num_rounds`
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(initial_model().state_dict()),
        train_config=ConfigRecord({"lr": float(config["learning-rate"])}),
        num_rounds=int(config["num-server-rounds"]),
        evaluate_fn=global_evaluate,
    )


def global_evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    """Evaluate the model on the public test set."""
    model = Net()
    model.load_state_dict(arrays.to_torch_state_dict())
    loss, accuracy = test(model, load_centralized_test())
    return MetricRecord({"loss": loss, "accuracy": accuracy})
