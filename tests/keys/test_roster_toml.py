"""The text of rosters: one order in writing, strict in reading."""

import base64
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import LocalError, MalformedError
from stfed.keys.member import Member
from stfed.keys.roster import Roster
from tests.keys.material import signer, vectors

VECTORS: dict[str, Any] = vectors("rosters")
CANONICAL = VECTORS["canonical"].encode()


def test_there_are_vectors() -> None:
    assert len(VECTORS["cases"]) > 45
    assert len({case["name"] for case in VECTORS["cases"]}) == len(VECTORS["cases"])


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_vectors(case: dict[str, str]) -> None:
    data = base64.b64decode(case["toml"])
    if case["says"] == "other":
        assert Roster.from_toml(data) == Roster("Heart study")
    elif not case["says"]:
        book = Roster.from_toml(data)
        assert book.digest().hex() == VECTORS["digest"]
        assert book.fingerprint == VECTORS["fingerprint"]
        assert book.to_toml() == CANONICAL
    else:
        with pytest.raises(MalformedError, match=case["says"]):
            Roster.from_toml(data)


def test_a_secret_in_a_roster_is_not_quoted() -> None:
    secret = signer().secret_string()
    for text in (VECTORS["canonical"].replace("stfedsig1", f"{secret}#", 1), f"{secret} = 1\n"):
        with pytest.raises(MalformedError) as caught:
            Roster.from_toml(text.encode())
        assert secret[24:44] not in "".join(traceback.format_exception(caught.value))


@given(st.data())
def test_damaged_text_is_refused_or_a_roster(data: st.DataObject) -> None:
    """Never another error; and where it is still a roster, reading it back gives the same."""
    text = bytearray(CANONICAL)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2) | st.sampled_from([b"\n", b'"', b"[", b"=", b"'''"]))
    try:
        book = Roster.from_toml(bytes(text))
    except MalformedError:
        return
    assert Roster.from_toml(book.to_toml()) == book


@pytest.mark.parametrize(("before", "part", "after"), [("", "a", "=1"), ("x={", "a", "=1}"), ("", "''", "=1"), ("[", "a", "]")])
def test_text_that_would_take_hours_to_parse(before: str, part: str, after: str) -> None:
    with pytest.raises(MalformedError, match="full stops"):
        Roster.from_toml(f"{before}{'.'.join([part] * 5_000_000)}{after}".encode())


def test_a_roster_that_could_not_be_read_again_is_not_written() -> None:
    """Names of nothing but full stops, two thousand of them: odd, but they keep all the rules for names."""
    keys = [signer(f"member {number}").public for number in range(2000)]
    book = Roster("x", tuple(Member(f"{number:04}{'.' * 60}", frozenset(), signing=key) for number, key in enumerate(keys)))
    with pytest.raises(LocalError, match="cannot be written: it has more full stops"):
        book.to_toml()
