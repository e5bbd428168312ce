"""The example that scores encrypted rows: it ends well, and notices scores that are not what they say."""

from __future__ import annotations

import re
from functools import cache
from tempfile import TemporaryDirectory

import pytest

pytest.importorskip("mlxtend")

from examples.encrypted_inference import __main__ as example
from examples.encrypted_inference.service import ScoringService
from examples.encrypted_inference.training import Model, train
from stfed.encrypted import EvaluationContext, Parameters, SecretContext, dumps, loads


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same model and keys for all tests here: they take most of the time."""
    monkeypatch.setattr(example, "train", lambda folder: model())
    monkeypatch.setattr(example, "SecretContext", Keys)


@cache
def model() -> Model:
    with TemporaryDirectory() as folder:
        return train(folder)


class Keys:
    @staticmethod
    @cache
    def generate(parameters: Parameters) -> SecretContext:
        return SecretContext.generate(parameters)


def test_encrypted_scores_are_the_plain_ones_within_their_error_and_as_accurate(capsys: pytest.CaptureFixture[str]) -> None:
    assert example.main() == 0
    out = capsys.readouterr().out
    (accuracies,) = re.findall(r"accuracy +([\d.]+) in plain, ([\d.]+) by encrypted logits, ([\d.]+) by encrypted probabilities", out)
    assert len(set(accuracies)) == 1
    assert float(accuracies[0]) > 0.94
    for off, promised in re.findall(r"at most (\S+) from plain arithmetic, promised are (\S+)", out):
        assert float(off) <= float(promised) < 1e-2


def test_a_service_that_is_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ScoringService.logits

    def wrong(self: ScoringService, message: bytes) -> bytes:
        context: EvaluationContext = self._context
        return dumps(loads(context, right(self, message)) + 0.01)

    monkeypatch.setattr(ScoringService, "logits", wrong)
    assert example.main() == 1
