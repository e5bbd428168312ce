"""fieldnotes: what a laboratory runs."""

from __future__ import annotations

import torch
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from stfed.flower import SecAggMod
from stfed.secagg.policy import Policy

from .base import load_base
from .model import Transformer
from .task import SHARED, bits_per_byte, create_adapted, fit, windows_of
from .text import documents

# This laboratory takes part with half of its adapter, and refuses any other set of tensors before it computes anything.
app = ClientApp(mods=[SecAggMod(Policy(tensors=SHARED.specs(create_adapted())))])


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train the adapter on local documents."""
    model, config = _model(msg, context), context.run_config
    laboratory, text = int(context.node_config["partition-id"]), _documents(context)[0]

    # Smaller steps from round to round
    done = int(msg.content["config"]["server-round"]) - 1
    rate = float(config["learning-rate"]) * (1 - done / int(config["num-server-rounds"]))
    loss = fit(model, [text], [rate] * int(config["local-steps"]), int(config["batch-size"]), seed=1000 * laboratory + done)

    # Construct and return reply Message
    metrics = {"train_loss": loss, "num-examples": windows_of(text)}
    content = RecordDict({"arrays": SHARED.arrays(model), "metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Evaluate the adapter on local documents that training did not see."""
    text = _documents(context)[1]
    metrics = {"bits_per_byte": bits_per_byte(_model(msg, context), text), "num-examples": windows_of(text)}
    return Message(content=RecordDict({"metrics": MetricRecord(metrics)}), reply_to=msg)


def _model(msg: Message, context: Context) -> Transformer:
    """The base model from this laboratory's own disk, with the adapter that was received."""
    model = load_base(str(context.run_config["base"]), str(msg.content["config"]["base"]))
    SHARED.load(model, msg.content["arrays"])
    return model


def _documents(context: Context) -> tuple[torch.Tensor, torch.Tensor]:
    return documents(int(context.node_config["partition-id"]))
