"""`Batch`: questions that are asked at once, as they cross the wire: one string of canonical JSON beside one tensor of zeros.

All answers of a party lie one behind the other in one tensor. The columns of the codebook that are asked for travel along, and a party
answers only if its own codebook says the same of them: labels in another order, or another range, would add up to nonsense.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray

from stfed import canonical
from stfed.errors import LocalError, StfedError
from stfed.flower.analytics.codebook import Codebook, Column, column_named, column_of
from stfed.flower.analytics.questions import Question, question_of
from stfed.flower.analytics.results import Result

TENSOR, CONFIG = "stfed.answers", "stfed.questions"
MAX_SLOTS = 1 << 20
_MAX_BYTES = 1 << 22
_ARRAYS, _CONFIG = "arrays", "config"


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions and the columns that they are about.

    Attributes:
        codebook: of the columns asked for.
        questions: in the order of their answers.

    Raises:
        LocalError: no questions, or one that does not fit the codebook.
    """

    codebook: Codebook
    questions: tuple[Question, ...]

    def __post_init__(self) -> None:
        if not self.questions:
            raise LocalError("there is no question to ask")
        if self.size > MAX_SLOTS:
            raise LocalError(f"the answers have {self.size} numbers, at most {MAX_SLOTS} are allowed", hint="ask for fewer bins")

    @classmethod
    def of(cls, codebook: Codebook, questions: Iterable[Question]) -> Batch:
        """The batch of these questions, with the columns that they need."""
        questions = tuple(questions)
        names = dict.fromkeys(name for question in questions for name in question.names)
        return cls({name: column_named(codebook, name) for name in names}, questions)

    @property
    def size(self) -> int:
        """How many numbers an answer has."""
        return sum(question.size(self.codebook) for question in self.questions)

    def content(self, slots: int) -> RecordDict:
        """The message: the questions, and as many zeros as `slots` says."""
        text = canonical.encode(
            {
                "columns": {name: column.as_dict() for name, column in self.codebook.items()},
                "questions": [question.as_dict() for question in self.questions],
            }
        ).decode()
        zeros = ArrayRecord({TENSOR: Array(np.zeros(slots, np.float64))})
        return RecordDict({_ARRAYS: zeros, _CONFIG: ConfigRecord({CONFIG: text})})

    @classmethod
    def read(cls, content: RecordDict) -> tuple[Batch, int]:
        """The batch in a message, and the number of its slots.

        Raises:
            LocalError: there is none, or it is malformed, or the tensor is not of zeros: what is added to it would be clipped, and the
                count of what was is in the sum, so that any other number asks for a comparison with it.
        """
        arrays, config = content.get(_ARRAYS), content.get(_CONFIG)
        text = config.get(CONFIG) if isinstance(config, ConfigRecord) else None
        if not isinstance(arrays, ArrayRecord) or list(arrays) != [TENSOR] or not isinstance(text, str) or len(content) != 2:
            raise LocalError("the message has no questions in it")
        if len(text) > _MAX_BYTES:
            raise LocalError("the questions are too long")
        zeros = arrays[TENSOR].numpy()
        if zeros.dtype != np.float64 or zeros.ndim != 1 or zeros.size > MAX_SLOTS or zeros.any():
            raise LocalError("the message's tensor is not a line of zeros")
        try:
            value: Any = canonical.decode(text.encode(), "the questions")
        except StfedError as error:
            raise LocalError(error.message) from None
        match value:
            case {"columns": dict(columns), "questions": list(questions)} if len(value) == 2:
                made: dict[str, Column] = {name: column_of(column) for name, column in columns.items()}
                batch = cls.of(made, map(question_of, questions))
            case _:
                raise LocalError("the questions are not written as questions are")
        if batch.size > zeros.size:
            raise LocalError(f"the answers have {batch.size} numbers, the message has room for {zeros.size}")
        return batch, int(zeros.size)

    @staticmethod
    def summed(content: RecordDict) -> NDArray[Any]:
        """The tensor of a reply."""
        values: NDArray[Any] = content.array_records[_ARRAYS][TENSOR].numpy()
        return values

    def results(self, sums: Sequence[int], parties: int) -> tuple[Result, ...]:
        """What the sums of all parties' numbers say, one result a question."""
        results, at = [], 0
        for question in self.questions:
            size = question.size(self.codebook)
            results.append(question.read(self.codebook, sums[at : at + size], parties))
            at += size
        return tuple(results)
