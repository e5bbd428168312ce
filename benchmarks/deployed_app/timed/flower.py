"""timed: Flower's own SecAgg+, which exists for its older interface only (legacy client, workflow and strategy)."""

from pathlib import Path

import numpy as np
from flwr.app import Context, Message
from flwr.client import ClientApp, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.common import ndarrays_to_parameters
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.serverapp import Grid, ServerApp

from timed import task

_SHARES, _THRESHOLD = 3, 2  # the fewest parties that it supports


class Client(NumPyClient):
    """The same training, behind the older interface."""

    def fit(self, parameters: list[np.ndarray], config: dict[str, object]) -> tuple[list[np.ndarray], int, dict[str, float]]:
        """One round of training."""
        return [task.trained(parameters[0])], task.EXAMPLES, {"train_loss": 1.0}

    def evaluate(self, parameters: list[np.ndarray], config: dict[str, object]) -> tuple[float, int, dict[str, float]]:
        """Evaluation, which its workflow does not protect."""
        return 1.0, task.EXAMPLES, {}


def _fit_only(message: Message, context: Context, call_next: task.ClientAppCallable) -> Message:
    """Its mod fails on evaluate messages, so these go around it."""
    return secaggplus_mod(message, context, call_next) if message.metadata.message_type == "train" else call_next(message, context)


client = ClientApp(client_fn=lambda context: Client().to_client(), mods=[task.stamp_mod, _fit_only])
server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run rounds of its workflow."""
    config = context.run_config
    parties, marks = int(config["parties"]), Path(str(config["marks"]))
    last: list[np.ndarray] = []

    def mark(server_round: int, parameters: list[np.ndarray], _: dict[str, object]) -> None:
        task.note(marks, round=server_round)
        last[:] = parameters

    strategy = FedAvg(
        fraction_fit=1.0,
        fraction_evaluate=1.0 if config["evaluate"] else 0.0,
        min_fit_clients=parties,
        min_evaluate_clients=parties,
        min_available_clients=parties,
        evaluate_fn=mark,
        initial_parameters=ndarrays_to_parameters([task.make_model(int(config["parameters"]))]),
    )
    legacy = LegacyContext(context=context, config=ServerConfig(num_rounds=int(config["num-server-rounds"])), strategy=strategy)
    secure = SecAggPlusWorkflow(num_shares=_SHARES, reconstruction_threshold=_THRESHOLD, max_weight=task.MAX_WEIGHT)
    DefaultWorkflow(fit_workflow=secure)(grid, legacy)
    np.save(marks.with_suffix(".npy"), last[0])
