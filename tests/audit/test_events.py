import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.audit.events import MAX_ENTRY_BYTES, Entry, Event, Kind
from stfed.errors import LocalError, MalformedError

from .material import START

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
        lambda text: "-KEY-" not in text
    ),  # Hypothesis knows our constants
)
EVENTS = st.builds(Event, st.sampled_from(Kind), st.dictionaries(st.from_regex(r"\A[a-z][a-z0-9_]{0,8}\Z"), VALUES, max_size=5))
TIMES = st.datetimes(timezones=st.just(UTC))


@given(st.integers(0, 9), TIMES, EVENTS)
def test_an_entry_reads_back_as_it_was_made(index: int, time: datetime, event: Event) -> None:
    entry = Entry.make(index, time, event)
    assert Entry.parse(index, entry.data) == entry
    assert (entry.time, entry.event) == (time, event)


@given(TIMES, EVENTS, st.integers(0, 200), st.binary(max_size=2))
def test_no_other_bytes_read_as_an_entry(time: datetime, event: Event, at: int, piece: bytes) -> None:
    data = Entry.make(0, time, event).data
    other = data[:at] + piece + data[at + 1 :]
    try:
        found = Entry.parse(0, other)
    except MalformedError:
        return
    assert Entry.make(0, found.time, found.event).data == other


def test_the_kinds_are_their_names() -> None:
    names = "seal open open-failed grant revoke key-release key-refused aggregate roster dp-release decrypt distribute"
    assert " ".join(Kind) == names
    assert Event("seal", {}).kind is Kind.SEAL  # type: ignore[arg-type]


def test_an_event_keeps_its_own_copy_of_the_fields() -> None:
    fields = {"actor": "a"}
    event = Event(Kind.SEAL, fields)
    fields["actor"] = "b"
    assert event.fields == {"actor": "a"}


@pytest.mark.parametrize("value", [b"a", ["a"], {"a": 1}, START, object()])
def test_values_that_are_not_flat(value: object) -> None:
    with pytest.raises(LocalError, match="the field actor of an audit entry is a"):
        Event(Kind.SEAL, {"actor": value})  # type: ignore[dict-item]


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**63, -(2**63)])
def test_numbers_that_not_everybody_reads(value: float) -> None:
    with pytest.raises(LocalError, match="number"):
        Event(Kind.AGGREGATE, {"epsilon": value})


@pytest.mark.parametrize("name", ["", "Actor", "1a", "a-b", "a b", "\u00e4", "a" * 65])
def test_names_that_no_field_has(name: str) -> None:
    with pytest.raises(LocalError, match="no name"):
        Event(Kind.SEAL, {name: 1})


@pytest.mark.parametrize("secret", ["AGE-SECRET-KEY-1QQQ", "key: AGE-SECRET-KEY-PQ-1QQQ", "STFED-SIGNING-KEY-1QQQ"])
def test_secret_keys_are_not_logged_and_not_shown(secret: str) -> None:
    with pytest.raises(LocalError, match="secret key") as caught:
        Event(Kind.SEAL, {"reason": secret})
    assert "QQQ" not in str(caught.value)


def test_an_entry_is_bounded() -> None:
    with pytest.raises(LocalError, match="over the limit"):
        Entry.make(0, START, Event(Kind.SEAL, {"reason": "x" * MAX_ENTRY_BYTES}))
    with pytest.raises(MalformedError, match="longer than"):
        Entry.parse(0, b" " * (MAX_ENTRY_BYTES + 1))
    room = MAX_ENTRY_BYTES - len(Entry.make(0, START, Event(Kind.SEAL, {"reason": ""})).data)
    assert len(Entry.make(0, START, Event(Kind.SEAL, {"reason": "x" * room})).data) == MAX_ENTRY_BYTES


def test_a_text_that_json_cannot_hold() -> None:
    with pytest.raises(LocalError, match="JSON"):
        Entry.make(0, START, Event(Kind.SEAL, {"reason": "\ud800"}))


def test_times_are_written_in_utc() -> None:
    elsewhere = START.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert Entry.make(0, elsewhere, Event(Kind.SEAL, {})).data == Entry.make(0, START, Event(Kind.SEAL, {})).data
    with pytest.raises(LocalError, match="time zone"):
        Entry.make(0, START.replace(tzinfo=None), Event(Kind.SEAL, {}))
