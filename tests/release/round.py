"""One secure round of four parties with the installed stfed, beside their plain mean. A script: it imports nothing of the repository."""

from __future__ import annotations

import sys
import tempfile

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

import stfed
from stfed.flower import SecureAggregation, secagg_mod
from stfed.testing import InMemoryGrid

PARTIES = 4

app = ClientApp(mods=[secagg_mod])


@app.train()
def train(message: Message, context: Context) -> Message:
    own = np.full(5, float(context.node_config["partition-id"]), np.float32)
    reply = {"arrays": ArrayRecord([own]), "metrics": MetricRecord({"num-examples": 1})}
    return Message(RecordDict(reply), reply_to=message)


def main() -> int:
    strategy = SecureAggregation(FedAvg(fraction_evaluate=0.0, min_train_nodes=PARTIES, min_available_nodes=PARTIES), uniform=True)
    with tempfile.TemporaryDirectory() as folder:
        grid = InMemoryGrid(app, PARTIES, node_config=lambda party: {"partition-id": party, "stfed-state-dir": folder})
        result = strategy.start(grid, ArrayRecord([np.zeros(5, np.float32)]), num_rounds=1)
    (mean,) = result.arrays.to_numpy_ndarrays()
    print(f"stfed {stfed.__version__} from {stfed.__file__}: the sum of {PARTIES} parties gives {mean[0]:.6f}, their mean is 1.5")
    return 0 if np.allclose(mean, 1.5, atol=1e-5) else 1


if __name__ == "__main__":
    sys.exit(main())
