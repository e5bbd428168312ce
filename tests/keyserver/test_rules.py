"""Every rule has its own words."""

from stfed.keyserver.rules import RULES


def test_every_rule_has_a_status_and_words_of_its_own() -> None:
    assert len({rule.says for rule in RULES.values()}) == len(RULES)
    for rule in RULES.values():
        assert 400 <= rule.status < 600
        assert rule.heard.status == rule.status
