"""hospitals: a Flower / PyTorch app."""

from __future__ import annotations

import random
from importlib import import_module

from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

from examples.hospitals import task
from examples.hospitals.data import public_test

# Create ServerApp
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Main entry point for the ServerApp."""
    config = context.run_config
    dataset, seed = str(config["dataset"]), int(config["seed"])
    random.seed(seed)  # Flower samples parties with Python's global generator

    model = task.make_model(dataset, seed)
    shared = task.shared(config)
    strategy = import_module(f"strategies.{config['strategy']}").build(config)

    def global_evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
        """Evaluate the model on the public test set, if there is a whole model."""
        if shared is not None:
            return None
        model.load_state_dict(arrays.to_torch_state_dict())
        loss, accuracy = task.evaluate(model, public_test(dataset, seed))
        return MetricRecord({"loss": loss, "accuracy": accuracy})

    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(model.state_dict()) if shared is None else shared.arrays(model),
        train_config=ConfigRecord({"lr": float(config["learning-rate"])}),
        num_rounds=int(config["num-server-rounds"]),
        evaluate_fn=global_evaluate,
    )
