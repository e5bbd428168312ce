"""timed: federated averaging without secure aggregation."""

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from timed import task

client = ClientApp(mods=[task.stamp_mod])
client.train()(task.train)
client.evaluate()(task.evaluate)

server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run plain rounds."""
    parties = int(context.run_config["parties"])
    fraction = 1.0 if context.run_config["evaluate"] else 0.0
    strategy = FedAvg(fraction_evaluate=fraction, min_train_nodes=parties, min_evaluate_nodes=parties, min_available_nodes=parties)
    task.start_strategy(strategy, grid, context)
