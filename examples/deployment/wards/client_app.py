"""wards: a Flower / NumPy app. What a ward's owner decides (data, policy, identity, roster) is in its SuperNode's config."""

from pathlib import Path

import numpy as np
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from wards import task

from stfed.flower import secagg_mod
from stfed.testing.hold import hold_mod

# Flower ClientApp. hold_mod is the demo's, not yours: it stops a ward at a step so that the script can kill it there.
app = ClientApp(mods=[hold_mod, secagg_mod])


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train the model on this ward's data."""
    x, y = task.load(str(context.node_config["data"]))
    config = msg.content["config"]
    received = {name: array.numpy() for name, array in msg.content["arrays"].items()}
    trained, loss = task.train(received, x, y, int(context.run_config["local-epochs"]), float(config["lr"]))

    metrics = {"train_loss": loss, "num-examples": len(y)}
    _keep(context, int(config["server-round"]), received, trained, metrics)
    content = RecordDict({"arrays": task.record(trained), "metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=msg)


def _keep(context: Context, server_round: int, received: task.Arrays, trained: task.Arrays, metrics: dict[str, float]) -> None:
    """Notes on the ward's own disk what the coordinator must never see, so that the script can look for it in what it did see."""
    if folder := context.node_config.get("secrets"):
        before = {f"before/{name}": value for name, value in received.items()}
        after = {f"after/{name}": value for name, value in trained.items()}
        numbers = {f"metric/{name}": np.asarray(value) for name, value in metrics.items()}
        np.savez(Path(str(folder)) / f"{context.run_id}-{server_round}.npz", **before, **after, **numbers)
