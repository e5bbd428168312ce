"""BIP 173's own examples, but for its limit of 90 characters, and every single wrong letter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import MalformedError
from stfed.keys import bech32

LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
PREFIXES = st.text("abcdefghijklmnopqrstuvwxyz-1", min_size=1, max_size=20)

# From BIP 173; the data parts of these are whole bytes.
VALID = ["A12UEL5L", "a12uel5l", "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs", "?1ezyfcl"]
INVALID = {
    "pzry9x0s0muk": "cut off",
    "1pzry9x0s0muk": "cut off",
    "x1b4n0q5v": "no key has",
    "li1dgmt3": "cut off",
    "A1G7SGD8": "checksum",
    "10a06t8": "cut off",
    "1qzzfhee": "cut off",
    "A12uEL5L": "mixes",
    "a 12uel5l": "no key has",
    "ä12uel5l": "no key has",
    "": "cut off",
}


@pytest.mark.parametrize("text", VALID)
def test_published_examples(text: str) -> None:
    prefix, data = bech32.decode(text)
    assert bech32.encode(prefix, data) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_published_counterexamples(text: str) -> None:
    with pytest.raises(MalformedError, match=INVALID[text]):
        bech32.decode(text)


@given(PREFIXES, st.binary(max_size=100))
def test_decode_gives_back_what_encode_wrote(prefix: str, data: bytes) -> None:
    text = bech32.encode(prefix, data)
    assert bech32.decode(text) == bech32.decode(text.upper()) == (prefix, data)


@given(st.data())
def test_a_wrong_letter_never_passes_and_is_never_quoted(data: st.DataObject) -> None:
    text = bech32.encode("age-secret-key-", bytes(range(32)))
    at = data.draw(st.integers(len("age-secret-key-1"), len(text) - 1))
    letter = data.draw(st.sampled_from(LETTERS).filter(lambda letter: letter != text[at]))
    wrong = text[:at] + letter + text[at + 1 :]
    with pytest.raises(MalformedError) as caught:
        bech32.decode(wrong)
    assert wrong[20:40] not in str(caught.value)


@pytest.mark.parametrize("values", [[0] * 9, [0] * 6 + [1]])
def test_left_over_bits_are_refused(values: list[int]) -> None:
    """A letter too many, or padding that is not zero, under a checksum that fits."""
    check = bech32._polymod([*bech32._expand("a"), *values, *[0] * 6]) ^ 1
    letters = [LETTERS[value] for value in values] + [LETTERS[check >> 5 * (5 - at) & 31] for at in range(6)]
    with pytest.raises(MalformedError, match="left-over bits"):
        bech32.decode("a1" + "".join(letters))
