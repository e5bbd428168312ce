"""hospitals: a Flower / PyTorch app."""

from __future__ import annotations

import random
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from examples.hospitals import task
from examples.hospitals.data import public_test
from stfed.flower import SecureAggregation

# Create ServerApp
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Main entry point for the ServerApp."""
    config = context.run_config
    dataset, seed = str(config["dataset"]), int(config["seed"])
    random.seed(seed)  # Flower samples parties with Python's global generator

    model = task.make_model(dataset, seed)
    run_dir, recipient = Path(str(config["run-dir"]) or "runs/latest"), str(config["recipient"])
    strategy = SecureAggregation(
        FedAvg(fraction_evaluate=float(config["fraction-evaluate"]), min_available_nodes=int(config["num-parties"])),
        gamma=float(config["gamma"]),
        delta=float(config["delta"]),
        ring_bits=int(config["ring-bits"]),
        clip=float(config["clip"]),
        max_weight=float(config["max-weight"]),
        events=run_dir / "events.jsonl",
        save=run_dir / "models" if recipient else None,
        recipients=[recipient] if recipient else [],
    )

    def global_evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        """Evaluate the model on the public test set."""
        model.load_state_dict(arrays.to_torch_state_dict())
        loss, accuracy = task.evaluate(model, public_test(dataset, seed))
        return MetricRecord({"loss": loss, "accuracy": accuracy})

    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(model.state_dict()),
        train_config=ConfigRecord({"lr": float(config["learning-rate"])}),
        num_rounds=int(config["num-server-rounds"]),
        evaluate_fn=global_evaluate,
    )
