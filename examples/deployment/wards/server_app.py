"""wards: a Flower / NumPy app. The coordinator's part."""

import time
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from wards import task

from stfed.flower import SecureAggregation
from stfed.sealed.numpy import load_file

# Create ServerApp
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run secure rounds, from the newest sealed model of earlier runs if there is one."""
    config = context.run_config
    out, key = Path(str(config["out"])), Path(str(config["key"]))

    strategy = SecureAggregation(
        FedAvg(fraction_evaluate=0.0, min_train_nodes=3, min_available_nodes=3),
        mode=str(config["mode"]),
        roster=str(config["roster"]),
        gamma=0.1,
        delta=0.3,
        max_weight=200,
        allow_insecure=bool(config["allow-insecure"]),
        save=out / "models" / f"run-{context.run_id}",
        recipients=[f"{key}.pub"],
        signer=key,
        model="wards",
        audit=out / "audit.db",
        events=out / "events.jsonl",
        journal=out / "rounds.json",
    )
    strategy.start(
        grid=grid,
        initial_arrays=task.record(newest_model(out, key) or task.make_model()),
        num_rounds=int(config["num-server-rounds"]),
        train_config=ConfigRecord({"lr": float(config["learning-rate"])}),
        evaluate_fn=lambda server_round, arrays: evaluate(server_round, arrays, config),
    )


def newest_model(out: Path, key: Path) -> task.Arrays | None:
    """The model that the last run released last; None if there was none. Its signature is checked against our own key."""
    sealed = sorted((out / "models").glob("*/*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    return dict(load_file(sealed[-1], identity=key, trusted=f"{key}.pub")) if sealed else None


def evaluate(server_round: int, arrays: ArrayRecord, config: dict[str, str]) -> MetricRecord:
    """Accuracy on the public test set; then waits for the demo's script, if there is one, to let the next round begin."""
    accuracy = task.accuracy({name: array.numpy() for name, array in arrays.items()}, *task.load(config["public-test"]))
    if server_round and config["gate"]:
        gate = Path(config["gate"])
        gate.joinpath(f"{server_round}.done").touch()
        while not gate.joinpath(f"{server_round}.go").exists():
            time.sleep(0.1)
    return MetricRecord({"accuracy": accuracy})
