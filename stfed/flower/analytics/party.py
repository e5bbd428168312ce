"""`answer`: a party's train function for analytics. It answers what its `AnswerPolicy` allows, or nothing.

    app = ClientApp(mods=[secagg_mod])

    @app.train("analytics")
    def analytics(message, context):
        return answer(message, context, read_columns, AnswerPolicy(CODEBOOK))

The reply is one vector of numbers that the mod masks; only the sum over all parties is ever seen. JOIN, PREPARE and UNMASK travel as plain
train messages, so the app needs a default train function as well; one without training registers this one for both.

A party that does not answer fails: it is not in the sum, and the coordinator is told the one type `QuestionRefusedError`, whatever the
reason, which stays in the party's log. It does not send zeros in place of an answer. The protocol makes sure that a sum is over enough
parties, and one that sends zeros counts as one of them: if all but one did, the sum would be that one's answer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict

from stfed.errors import LocalError, shown
from stfed.flower.analytics import fixed
from stfed.flower.analytics.batch import TENSOR, Batch
from stfed.flower.analytics.codebook import Codebook, Column
from stfed.flower.analytics.ledger import FILE_NAME, Ledger
from stfed.flower.analytics.table import Source, Table
from stfed.flower.store import state_dir

log: logging.Logger = logging.getLogger("stfed")


class QuestionRefusedError(LocalError):
    """This party does not answer this question."""


@dataclass(frozen=True, slots=True)
class AnswerPolicy:
    """What a party answers; its owner's, like `stfed.secagg.policy.Policy`, which comes before it.

    Attributes:
        codebook: the columns that may be asked for, with their ranges, steps and labels. A question with others is refused.
        min_rows: a party with fewer rows does not answer. Whether it did shows in the sum's list of parties: one bit, with a bound that the
            owner chose and no coordinator can move.
        max_numbers: most numbers in one answer.
        times: in how many answers a column may occur, in all runs together. What is asked at once is one answer.
        pairs: whether questions about two columns at once are answered. They also tell sums over only those rows that have both, and so,
            by subtraction, over those that lack one.
        ledger: where it is noted what was told; by default a file beside the party's other state.
    """

    codebook: Codebook
    min_rows: int = 20
    max_numbers: int = 4096
    times: int = 1
    pairs: bool = False
    ledger: Path | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.codebook, Mapping) or not all(isinstance(column, Column) for column in self.codebook.values()):
            raise LocalError("a codebook is a dict of Number and Category, by the name of the column")
        for name in ("min_rows", "max_numbers", "times"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise LocalError(f"{name} is {value!r}, it must be a whole number, 1 or more")

    def check(self, batch: Batch) -> None:
        """Refuses questions by what they are, before any data is read.

        Raises:
            LocalError: with the rule.
        """
        for name, column in batch.codebook.items():
            if name not in self.codebook:
                raise LocalError(f"the column {shown(name)} is not in this party's codebook")
            if column != self.codebook[name]:
                raise LocalError(f"the column {shown(name)} is {column}, this party's codebook says {self.codebook[name]}")
        if batch.size > self.max_numbers:
            raise LocalError(f"the answer has {batch.size} numbers, this party's policy allows {self.max_numbers}")
        if not self.pairs and any(len(question.names) > 1 for question in batch.questions):
            raise LocalError("a question is about more than one column", hint="set pairs=True in the policy to answer those")


def answer(message: Message, context: Context, source: Source, policy: AnswerPolicy) -> Message:
    """The reply of one party.

    Args:
        message: with the questions.
        context: the node's.
        source: its columns by name, or what reads those that are asked for.
        policy: its owner's.

    Raises:
        QuestionRefusedError: the policy does not allow it, the message is no question, or the table does not fit the codebook.
    """
    try:
        batch, slots = Batch.read(message.content)
        policy.check(batch)
        table = Table(policy.codebook, source, list(batch.codebook))
        if table.rows < policy.min_rows:
            raise LocalError(f"this party has {table.rows} rows, its policy asks for {policy.min_rows}")
        numbers = [number for question in batch.questions for number in question.answer(table)]
        tensor = fixed.to_tensor(numbers, slots)
        ledger = Ledger(policy.ledger or state_dir(dict(context.node_config)) / FILE_NAME)
        ledger.spend(context.node_id, message.metadata.run_id, batch.codebook, policy.times)
    except Exception as error:
        # One type for whatever it is: which error the data of this party leads to would be told about the data.
        log.error("this party does not answer: %s", error if isinstance(error, LocalError) else repr(error))
        raise QuestionRefusedError("this party does not answer this question") from None
    content = RecordDict({"arrays": ArrayRecord({TENSOR: Array(tensor)}), "metrics": MetricRecord()})
    return Message(content, reply_to=message)
