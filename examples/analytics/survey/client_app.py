"""survey: what a hospital runs."""

from __future__ import annotations

from functools import partial

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from survey.data import CODEBOOK, rows_of

from stfed.flower import secagg_mod
from stfed.flower.analytics import AnswerPolicy, answer

# Flower ClientApp
app = ClientApp(mods=[secagg_mod])

# Each statistic once, correlations too, and nothing from a hospital with fewer than 20 rows.
POLICY = AnswerPolicy(CODEBOOK, min_rows=20, pairs=True)


@app.train("analytics")
def analytics(msg: Message, context: Context) -> Message:
    """Answer with this hospital's sums."""
    hospital, hospitals = int(context.node_config["partition-id"]), int(context.node_config["num-partitions"])
    return answer(msg, context, partial(rows_of, hospital, hospitals), POLICY)


@app.train()
def train(msg: Message, context: Context) -> Message:
    """The protocol's own messages come as train messages, so there has to be a train function; this app trains nothing."""
    raise NotImplementedError("this hospital answers questions only")
