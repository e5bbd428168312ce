"""Conditions of use: one encoding, both ends of the window included, each refusal with its rule."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed import canonical
from stfed.errors import LocalError, MalformedError
from stfed.keys.signing import SigningKey
from stfed.sealed.errors import AccessDeniedError, UnsupportedError
from stfed.sealed.policy import Policy

from .material import Script

KEYS = [SigningKey.generate(entropy=Script(f"policy {index}")).public for index in range(3)]
NOON, SECOND = datetime(2026, 11, 23, 12, tzinfo=UTC), timedelta(seconds=1)
moments = st.none() | st.datetimes(datetime(1000, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))
texts = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=64)


@given(st.lists(st.sampled_from(KEYS), unique=True), st.lists(texts, unique=True, max_size=5), moments, moments)
def test_a_policy_reads_back(owners: list[Any], purposes: list[str], start: datetime | None, end: datetime | None) -> None:
    if start and end and start > end:
        start, end = end, start
    policy = Policy(owners=owners, readers=reversed(owners), purposes=purposes, not_before=start, not_after=end)
    value = canonical.decode(policy.encode(), "it")
    assert Policy.from_json(value) == policy
    assert Policy.from_json(value).encode() == policy.encode()
    assert bool(policy) == bool(owners or purposes or start or end)


def test_the_window_includes_both_ends() -> None:
    policy = Policy(not_before=NOON, not_after=NOON + 10 * SECOND)
    for moment in (NOON, NOON + 5 * SECOND, NOON + 10 * SECOND, NOON.astimezone(timezone(timedelta(hours=5)))):
        policy.check(moment, None)
    for moment, rule in ((NOON - SECOND, "not-before"), (NOON + 11 * SECOND, "not-after")):
        with pytest.raises(AccessDeniedError) as caught:
            policy.check(moment, None)
        assert caught.value.rule == rule


def test_a_purpose_must_be_stated_if_any_is_named() -> None:
    policy = Policy(purposes=["training", "audit"])
    policy.check(NOON, "audit")
    for purpose in (None, "", "Audit", "trainin"):
        with pytest.raises(AccessDeniedError, match="'training', 'audit' only") as caught:
            policy.check(NOON, purpose)
        assert caught.value.rule == "purpose"
    Policy().check(NOON, "anything at all")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"not_before": datetime(2026, 1, 1)}, "has no zone"),
        ({"not_before": NOON, "not_after": NOON - SECOND}, "ends .* before it begins"),
        ({"purposes": [""]}, "printable text"),
        ({"purposes": ["x" * 65]}, "at most 64"),
        ({"purposes": ["a\nb"]}, "printable text"),
        ({"purposes": [str(number) for number in range(33)]}, "32 purposes"),
    ],
)
def test_policies_that_cannot_be_meant(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(LocalError, match=says):
        Policy(**fields)


def test_keys_come_as_text_too_and_count_once() -> None:
    assert Policy(owners=str(KEYS[0])) == Policy(owners=[KEYS[0], str(KEYS[0])])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"owners": [str(KEYS[0])] * 2}, MalformedError),
        ({"owners": [str(KEYS[0]).upper()]}, MalformedError),
        ({"owners": "x"}, MalformedError),
        ({"owners": [1]}, MalformedError),
        ({"purposes": [1]}, MalformedError),
        ({"purposes": [""]}, MalformedError),
        ({"not_before": "2026-11-23"}, MalformedError),
        ({"not_before": "2026-11-23T12:00:00+00:00"}, MalformedError),
        ({"not_before": "2026-02-30T12:00:00Z"}, MalformedError),
        ({"not_before": 5}, MalformedError),
        ({"not_before": "2026-11-23T12:00:01Z", "not_after": "2026-11-23T12:00:00Z"}, MalformedError),
        ({"country": "CH"}, UnsupportedError),
    ],
)
def test_policies_of_others_are_read_strictly(change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Policy.from_json(Policy().to_json() | change)
    incomplete = Policy().to_json()
    del incomplete["readers"]
    with pytest.raises(MalformedError):
        Policy.from_json(incomplete)
