"""mnist: what `examples.hospitals` trains, "secure" as it is there, or "plain", with Flower's strategy alone.

After every round the coordinator evaluates the model on the public test set and writes down the time.
"""

from __future__ import annotations

import json
import random
import time
from importlib import import_module
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable
from flwr.serverapp import Grid, ServerApp

from examples.hospitals import client_app, task
from examples.hospitals.data import public_test
from stfed.flower import secagg_mod


def secure_if_asked(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """The party's mod, or nothing at all."""
    return secagg_mod(message, context, call_next) if context.run_config["variant"] == "secure" else call_next(message, context)


client = ClientApp(mods=[secure_if_asked])
client.train()(client_app.train)
client.evaluate()(client_app.evaluate)

server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Runs all rounds."""
    config = context.run_config
    dataset, seed, stamps = str(config["dataset"]), int(config["seed"]), Path(str(config["stamps"]))
    random.seed(seed)
    recipe, model = import_module(f"strategies.{config['strategy']}"), task.make_model(dataset, seed)
    strategy = (recipe.build if config["variant"] == "secure" else recipe.inner)(config)

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        model.load_state_dict(arrays.to_torch_state_dict())
        loss, accuracy = task.evaluate(model, public_test(dataset, seed))
        with stamps.open("a") as file:
            file.write(json.dumps({"round": server_round, "time": time.time(), "accuracy": accuracy}) + "\n")
        return MetricRecord({"loss": loss, "accuracy": accuracy})

    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(model.state_dict()),
        train_config=ConfigRecord({"lr": float(config["learning-rate"])}),
        num_rounds=int(config["num-server-rounds"]),
        evaluate_fn=evaluate,
    )
