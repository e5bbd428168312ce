"""hospitals: a Flower / PyTorch app."""

from __future__ import annotations

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from examples.hospitals import task
from examples.hospitals.data import Split, partitions
from stfed.flower import SecAggMod, Shared
from stfed.secagg.policy import Policy

# Flower ClientApp. What a hospital agrees to is its own decision: these let the clip of a run move (configs/adaptive.toml).
# A policy file in a node's config comes before this one.
app = ClientApp(mods=[SecAggMod(Policy(clip_moves=True))])


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train the model on this hospital's data."""
    config = context.run_config
    samples = _open(msg, context, "train").train
    model = task.make_model(str(config["dataset"]), int(config["seed"]))
    shared = _load(model, msg, context)

    train_loss = task.train(
        model,
        samples,
        epochs=int(config["local-epochs"]),
        lr=float(msg.content["config"]["lr"]),
        batch_size=int(config["batch-size"]),
        seed=int(config["seed"]),
        server_round=msg.content["config"]["server-round"],
        party=int(context.node_config["partition-id"]),
        proximal_mu=float(msg.content["config"].get("proximal-mu", 0.0)),
    )

    metrics = {"train_loss": train_loss, "num-examples": len(samples.y)}
    if shared is not None:
        shared.keep_local(model, context)
    arrays = ArrayRecord(model.state_dict()) if shared is None else shared.arrays(model)
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Evaluate the model on the samples that this hospital keeps aside."""
    config = context.run_config
    samples = _open(msg, context, "evaluate").test
    model = task.make_model(str(config["dataset"]), int(config["seed"]))
    _load(model, msg, context)

    eval_loss, eval_acc = task.evaluate(model, samples)

    metrics = {"eval_loss": eval_loss, "eval_acc": eval_acc, "num-examples": len(samples.y)}
    return Message(content=RecordDict({"metrics": MetricRecord(metrics)}), reply_to=msg)


def _load(model: torch.nn.Module, msg: Message, context: Context) -> Shared | None:
    """Gives the model what came with the message and, where only some tensors are shared, what this hospital kept of the others."""
    shared = task.shared(context.run_config)
    if shared is None:
        model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
    else:
        shared.load(model, msg.content["arrays"])
        shared.restore_local(model, context)
    return shared


def _open(msg: Message, context: Context, step: str) -> Split:
    """This hospital's data; raises if the demo's script has it offline in this step of this round."""
    config, party = context.run_config, int(context.node_config["partition-id"])
    num_parties, seed = int(context.node_config["num-partitions"]), int(config["seed"])
    server_round = msg.content["config"]["server-round"]
    if config["drop-step"] == step and party in task.dropped(seed, server_round, num_parties, int(config["drop-per-round"])):
        raise RuntimeError(f"hospital {party} is offline (scripted)")
    return partitions(str(config["dataset"]), num_parties, float(config["dirichlet-alpha"]), seed)[party]
