"""Bech32 (BIP 173) without its length limit, as age uses it for keys: a readable prefix, base-32 data, six checksum characters.

The checksum finds up to four wrong characters, which is what it is for: a key is copied by hand more often than one thinks. It is no
authentication. Errors here never quote the input, because it may be a secret key.
"""

from __future__ import annotations

from functools import reduce
from operator import xor

from stfed.errors import MalformedError

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE = {letter: value for value, letter in enumerate(_ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
# What the five bits that leave the state add back to it: a hybrid key has 3200 letters, and a roster thousands of keys.
_FEEDBACK = tuple(reduce(xor, (term for bit, term in enumerate(_GENERATOR) if top >> bit & 1), 0) for top in range(32))
_CHECKSUM_LETTERS = 6


def _polymod(values: list[int]) -> int:
    state = 1
    for value in values:
        state = (state & 0x1FFFFFF) << 5 ^ value ^ _FEEDBACK[state >> 25]
    return state


def _expand(prefix: str) -> list[int]:
    return [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]


def _regroup(values: list[int], from_bits: int, to_bits: int) -> tuple[list[int], int, int]:
    """Re-cuts a bit string; returns the whole groups, the left-over bits and their number."""
    groups, state, bits = [], 0, 0
    for value in values:
        state, bits = state << from_bits | value, bits + from_bits
        while bits >= to_bits:
            bits -= to_bits
            groups.append(state >> bits & (1 << to_bits) - 1)
            state &= (1 << bits) - 1
    return groups, state, bits


def encode(prefix: str, data: bytes) -> str:
    """`data` under a lower-case `prefix`."""
    values, rest, bits = _regroup(list(data), 8, 5)
    if bits:
        values.append(rest << 5 - bits)
    check = _polymod([*_expand(prefix), *values, *[0] * _CHECKSUM_LETTERS]) ^ 1
    values += [check >> 5 * (_CHECKSUM_LETTERS - 1 - place) & 31 for place in range(_CHECKSUM_LETTERS)]
    return f"{prefix}1" + "".join(_ALPHABET[value] for value in values)


def decode(text: str) -> tuple[str, bytes]:
    """The prefix, in lower case, and the data.

    Raises:
        MalformedError: for mixed case, foreign characters, a wrong checksum or padding that is not zero.
    """
    if text not in (text.lower(), text.upper()):
        raise MalformedError("the key mixes upper and lower case", hint="keys are all of one case; copy it again")
    if not all("!" <= letter <= "~" for letter in text):
        raise MalformedError("the key has characters that no key has", hint="copy it again, without spaces or line breaks")
    prefix, separator, letters = text.lower().rpartition("1")
    if not separator or not prefix or len(letters) < _CHECKSUM_LETTERS:
        raise MalformedError("the key is cut off", hint="copy it again, whole")
    if not all(letter in _VALUE for letter in letters):
        raise MalformedError("the key has characters that no key has", hint="copy it again")
    values = [_VALUE[letter] for letter in letters]
    if _polymod(_expand(prefix) + values) != 1:
        raise MalformedError("the key's checksum does not fit: a character is wrong or missing", hint="copy it again")
    data, rest, bits = _regroup(values[:-_CHECKSUM_LETTERS], 5, 8)
    if bits >= 5 or rest:
        raise MalformedError("the key has left-over bits", hint="copy it again")
    return prefix, bytes(data)
