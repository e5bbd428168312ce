"""timed: the same federated averaging inside `SecureAggregation`, in the mode that the run config names."""

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from stfed.flower import SecAggMod, SecureAggregation
from timed import task


class TimedMod(SecAggMod):
    """The mod, with its notes around it: nothing may stand before it under `stfed supernode`."""

    def __call__(self, message: Message, context: Context, call_next: task.ClientAppCallable) -> Message:
        """Handles a message and notes when."""
        return task.stamp_mod(message, context, lambda message, context: super(TimedMod, self).__call__(message, context, call_next))


client = ClientApp(mods=[TimedMod()])
client.train()(task.train)
client.evaluate()(task.evaluate)

server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run secure rounds."""
    config = context.run_config
    parties = int(config["parties"])
    fraction = 1.0 if config["evaluate"] else 0.0
    strategy = SecureAggregation(
        FedAvg(fraction_evaluate=fraction, min_train_nodes=parties, min_evaluate_nodes=parties, min_available_nodes=parties),
        mode=str(config["mode"]),
        roster=str(config["roster"]) or None,
        allow_insecure=True,
        max_weight=task.MAX_WEIGHT,
        events=str(config["events"]),
    )
    task.start_strategy(strategy, grid, context)
