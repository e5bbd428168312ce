"""labs: A Flower / Scikit-Learn app."""

from __future__ import annotations

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from labs.codebook import CODEBOOK
from labs.task import create_model, get_model_params, load_data, set_model_params, standardise
from labs.task import train as train_fn
from sklearn.metrics import log_loss

from stfed.flower import secagg_mod
from stfed.flower.analytics import AnswerPolicy, answer

# Flower ClientApp
app = ClientApp(mods=[secagg_mod])

# Each column's statistics once, and nothing from a laboratory with fewer than 20 rows.
POLICY = AnswerPolicy(CODEBOOK, min_rows=20)


@app.train("analytics")
def analytics(msg: Message, context: Context) -> Message:
    """Answer with this laboratory's sums over its training rows."""
    (x, _), _ = _load(context)
    return answer(msg, context, dict(zip(CODEBOOK, x.T, strict=True)), POLICY)


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train the model on local data."""
    # Load the model with the received parameters, and the data as all laboratories scale it
    model = set_model_params(create_model(), msg.content["arrays"])
    (x, y), _ = _load(context)
    x = standardise(x, msg.content["config"]["mean"], msg.content["config"]["deviation"])

    # Call the training function
    train_fn(model, x, y, int(context.run_config["local-epochs"]), float(context.run_config["l2"]))

    # Construct and return reply Message
    metrics = {"train_loss": float(log_loss(y, model.predict_proba(x))), "num-examples": len(y)}
    content = RecordDict({"arrays": get_model_params(model), "metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Evaluate the model on local data."""
    # Load the model with the received parameters, and the data as all laboratories scale it
    model = set_model_params(create_model(), msg.content["arrays"])
    _, (x, y) = _load(context)
    x = standardise(x, msg.content["config"]["mean"], msg.content["config"]["deviation"])

    # Construct and return reply Message
    metrics = {"eval_acc": float(model.score(x, y)), "num-examples": len(y)}
    return Message(content=RecordDict({"metrics": MetricRecord(metrics)}), reply_to=msg)


def _load(context: Context):
    return load_data(int(context.node_config["partition-id"]), int(context.node_config["num-partitions"]))
