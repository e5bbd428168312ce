"""A coordinator's app that takes what it can get: its bundle, and the app of a hospital that it meets."""

from __future__ import annotations

from pathlib import Path

PYPROJECT = """
[build-system]
requires = []
build-backend = "evil.hook"
backend-path = ["."]

[tool.hatch.build.hooks.custom]
path = "evil/hook.py"

[project]
name = "evil"
version = "1.0.0"
description = "takes what it can get"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "coordinator"

[tool.flwr.app.components]
serverapp = "evil.server:app"
clientapp = "evil.client:app"

[tool.flwr.app.config]
nodes = 1
roster = ""
"""

LEAVES_A_MARK = """
import os
open({marker!r}, "a").write(__name__ + "\\n")
"""

CLIENT = """
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(message, context):
    stolen = open(str(context.node_config["data"])).read()
    return Message(RecordDict({"config": ConfigRecord({"stolen": stolen})}), reply_to=message)
"""

SERVER = """
import time
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()

@app.main()
def main(grid, context):
    wanted = context.run_config["nodes"]
    while len(nodes := list(grid.get_node_ids())) < wanted:
        time.sleep(0.5)
    def asked(node):
        content = RecordDict({"arrays": ArrayRecord({"w": Array(np.zeros(3))}), "config": ConfigRecord({"server-round": 1})})
        return Message(content, dst_node_id=node, message_type="train")
    for reply in grid.send_and_receive([asked(node) for node in nodes], timeout=120):
        print("REPLY", reply.error.reason if reply.has_error() else dict(reply.content["config"]), flush=True)
    if context.run_config["roster"]:
        from stfed.flower import SecureAggregation
        strategy = SecureAggregation(
            FedAvg(fraction_evaluate=0.0, min_train_nodes=wanted, min_available_nodes=wanted),
            mode="malicious", roster=context.run_config["roster"], delta=0.0, max_weight=1,
        )
        result = strategy.start(grid, ArrayRecord({"w": Array(np.zeros(3, np.float32))}), num_rounds=1, timeout=300)
        print("MEAN", result.arrays["w"].numpy().tolist(), flush=True)
"""

HOSPITAL = """
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from stfed.flower import secagg_mod

app = ClientApp(mods=[secagg_mod])

@app.train()
def train(message, context):
    value = float(open(str(context.node_config["data"])).read())
    arrays = {name: Array((array.numpy() + value).astype(array.dtype)) for name, array in message.content["arrays"].items()}
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)
"""


def write_evil(folder: Path, marker: Path) -> Path:
    """The coordinator's app: whatever imports its ClientApp, or builds it, leaves a line in `marker`."""
    mark = LEAVES_A_MARK.format(marker=str(marker))
    texts = {"__init__.py": "", "client.py": mark + CLIENT, "hook.py": mark, "server.py": SERVER}
    return _write(folder / "app", {"pyproject.toml": PYPROJECT} | {f"evil/{name}": text for name, text in texts.items()})


def write_hospital(folder: Path) -> Path:
    """A folder for PYTHONPATH with the hospital's own app, `hospital.client_app:app`."""
    return _write(folder / "site", {"hospital/__init__.py": "", "hospital/client_app.py": HOSPITAL})


def _write(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
