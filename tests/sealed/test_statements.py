"""What a sealer states: flat, bounded, for all or for recipients; never twice."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed import canonical
from stfed.crypto import aead
from stfed.crypto.kdf import derive
from stfed.crypto.labels import Label
from stfed.errors import LocalError, MalformedError
from stfed.sealed import statements
from stfed.sealed.errors import TamperedError
from stfed.sealed.numpy import load, save

from .material import keypair

KEY, FILE = bytes(range(32)), bytes(32)
values = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 53) + 1, (1 << 53) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=5))
def test_sealed_statements_come_back(stated: dict[str, Any]) -> None:
    sealed = statements.encrypt(stated, KEY, FILE)
    assert (sealed == b"") == (not stated)
    assert statements.decrypt(sealed, KEY, FILE) == stated
    if stated:
        for key, file_id in ((bytes(32), FILE), (KEY, KEY)):
            with pytest.raises(TamperedError):
                statements.decrypt(sealed, key, file_id)
        with pytest.raises(TamperedError):
            statements.decrypt(sealed[:-1] + bytes([sealed[-1] ^ 1]), KEY, FILE)


@pytest.mark.parametrize("content", [b"[]", b'{"a":[1]}', b'{"a": 1}', b"\xff", b'{"a":9007199254740992}'])
def test_what_a_strange_writer_may_have_sealed(content: bytes) -> None:
    sealed = aead.seal(derive(KEY, Label.SEALED_PROVENANCE, FILE), bytes(12), content, b"")
    with pytest.raises(MalformedError):
        statements.decrypt(sealed, KEY, FILE)


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"a": [1]}, "not text, a number"),
        ({1: "a"}, "not text"),
        ({"a": 1 << 53}, "53 bits"),
        ({"a": float("nan")}, "NaN"),
        ({"a": "x" * 33_000}, "at most 32768"),
        (["a"], "flat mapping"),
    ],
)
def test_what_nobody_can_state(stated: Any, says: str) -> None:
    for option in ("public", "provenance"):
        with pytest.raises(LocalError, match=says):
            save({}, recipients=keypair()[1], **{option: stated})
    assert says in str(statements.problem(stated))


def test_nothing_is_stated_both_ways() -> None:
    with pytest.raises(LocalError, match="both publicly and sealed"):
        save({}, recipients=keypair()[1], public={"a": 1}, provenance={"a": 1})
    with pytest.raises(MalformedError, match="both publicly and sealed"):
        statements.merged({"a": 1}, {"a": 1})
    assert statements.merged({"a": 1}, {"b": 2}) == {"a": 1, "b": 2}


def test_sealed_statements_are_not_in_the_file_in_clear() -> None:
    identity, recipient = keypair()
    data = save({}, recipients=recipient, provenance={"diagnosis": "confidential"}, public={"round": 1})
    assert b"confidential" not in data
    assert canonical.encode({"round": 1}) in data
    assert load(data, identity=identity) == {}
