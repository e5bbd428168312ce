"""labs: A Flower / Scikit-Learn app."""

from __future__ import annotations

import json
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from labs.codebook import CODEBOOK
from labs.task import create_model, everything, get_model_params, set_model_params, standardise

from stfed.flower import SecureAggregation
from stfed.flower.analytics import Analytics, Variance

# Create ServerApp
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Main entry point for the ServerApp. Two runs: one that measures, then one that trains."""
    out = Path(str(context.run_config["out"]))
    if context.run_config["step"] == "measure":
        measure(grid, out / "scaler.json")
    else:
        train(grid, context, json.loads((out / "scaler.json").read_text()), out)


def measure(grid: Grid, path: Path) -> None:
    """Ask for mean and deviation of every column, all of it in one secure sum."""
    answers = Analytics(grid, CODEBOOK).ask(*(Variance(name) for name in CODEBOOK))
    scaler = {"mean": [one.mean for one in answers], "deviation": [one.deviation for one in answers]}
    errors = {"mean_error": [one.error for one in answers], "variance_error": [one.variance_error for one in answers]}
    path.write_text(json.dumps({"rows": answers[0].values, "columns": list(CODEBOOK), **scaler, **errors}, indent=1))


def train(grid: Grid, context: Context, scaler: dict[str, list[float]], out: Path) -> None:
    """Average the coefficients, as FedAvg does, over secure sums."""
    config, recipient = context.run_config, str(context.run_config["recipient"])
    scale = {"mean": scaler["mean"], "deviation": scaler["deviation"]}

    # Initialize FedAvg strategy, and have it see sums only
    strategy = SecureAggregation(
        FedAvg(fraction_evaluate=float(config["fraction-evaluate"])),
        max_weight=500,
        events=out / "events.jsonl",
        save=out / "models" if recipient else None,
        recipients=[recipient] if recipient else [],
    )

    def global_evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        """Evaluate the model on the public test set."""
        x, y = everything()[1]
        model = set_model_params(create_model(), arrays)
        return MetricRecord({"accuracy": float(model.score(standardise(x, **scale), y))})

    # Start strategy, run FedAvg for `num_rounds`
    strategy.start(
        grid=grid,
        initial_arrays=get_model_params(create_model()),
        train_config=ConfigRecord(scale),
        evaluate_config=ConfigRecord(scale),
        num_rounds=int(config["num-server-rounds"]),
        evaluate_fn=global_evaluate,
    )
