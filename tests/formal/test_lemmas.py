import pytest

from tests.formal.lemmas import LEMMAS, Lemma


@pytest.mark.parametrize("lemma", LEMMAS, ids=lambda lemma: lemma.text)
def test_a_lemma_holds_for_all_numbers_and_needs_each_of_its_rules(lemma: Lemma) -> None:
    assert lemma.counterexample() is None
    for rule in lemma.rules:
        assert lemma.counterexample(without=rule), rule
