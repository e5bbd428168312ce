"""A party's app as a user writes it: tests/e2e/test_wheel.py runs `mypy --strict` on it against the installed wheel."""

from __future__ import annotations

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from stfed.flower import SecAggMod
from stfed.flower.analytics import AnswerPolicy, Number, answer
from stfed.secagg.policy import Policy

CODEBOOK = {"age": Number(0.0, 120.0, step=1.0)}

app = ClientApp(mods=[SecAggMod(Policy(min_cohort=5, gamma=0.2, delta=0.1))])


@app.train()
def train(message: Message, context: Context) -> Message:
    arrays = message.content.array_records["arrays"].to_numpy_ndarrays()
    trained = ArrayRecord([array + np.float32(1) for array in arrays])
    return Message(RecordDict({"arrays": trained, "metrics": MetricRecord({"num-examples": 3})}), reply_to=message)


@app.train("analytics")
def analytics(message: Message, context: Context) -> Message:
    return answer(message, context, {"age": np.array([31.0, 64.0])}, AnswerPolicy(CODEBOOK))
