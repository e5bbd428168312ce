"""wards without secure aggregation: the same training in Flower's plain federated averaging, to show what a coordinator sees then."""

from flwr.app import ConfigRecord, Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from wards import client_app, task

client = ClientApp()
client.train()(client_app.train)

server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run plain rounds."""
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=2, min_available_nodes=2)
    lr = ConfigRecord({"lr": float(context.run_config["learning-rate"])})
    strategy.start(grid, task.record(task.make_model()), num_rounds=int(context.run_config["num-server-rounds"]), train_config=lr)
