"""Ciphertexts as their numbers: the bytes, and everything that is refused before SEAL sees one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.encrypted import bits, seal, streams, words
from stfed.errors import LocalError, MalformedError
from tests.encrypted import keys
from tests.encrypted.made import nothing_loaded


@given(st.integers(8, 64), st.integers(1, 6), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_packing_is_one_little_endian_number(width: int, groups: int, random: object) -> None:
    values = [random.getrandbits(width) for _ in range(8 * groups)]  # type: ignore[attr-defined]
    data = bits.pack(np.array(values, np.uint64), width)
    assert data == sum(value << (at * width) for at, value in enumerate(values)).to_bytes(groups * width, "little")
    assert bits.unpack(data, width).tolist() == values


@pytest.mark.parametrize("secret", [keys.adding, keys.usual, keys.deep])
def test_words_are_those_of_the_ciphertext_at_every_level(secret: object) -> None:
    context = secret().public  # type: ignore[operator]
    fresh = context.arithmetic.encrypt(1.5)
    for left in range(context.parameters.depth + 1):
        ciphertext = context.arithmetic.drop(fresh, left)
        data = words.encode(context, ciphertext)
        assert len(data) == words.ciphertext_bytes(context.parameters, left)
        back = words.decode(context, left, data)
        assert seal.dump(back) == seal.dump(ciphertext)
        assert words.encode(context, back) == data


def test_a_word_is_a_coefficient() -> None:
    context = keys.usual().public
    ciphertext = context.arithmetic.encrypt(1.5)
    data, at = words.encode(context, ciphertext), 0
    for modulus, width in zip(context.moduli[:3], (60, 40, 40), strict=True):
        for polynomial in range(2):
            part = int.from_bytes(data[at : at + 8192 * width // 8], "little")
            at += 8192 * width // 8
            for place in (0, 1, 4711, 8191):
                index = (polynomial * 3 + context.moduli.index(modulus)) * 8192 + place
                assert part >> (place * width) & ((1 << width) - 1) == ciphertext[index] < modulus
    assert at == len(data)


def test_a_ciphertext_at_another_scale_or_of_other_parameters_is_not_written() -> None:
    context = keys.usual().public
    ciphertext = context.arithmetic.encrypt(1.0)
    ciphertext.scale = ciphertext.scale * 2
    with pytest.raises(MalformedError, match="a field of SEAL's stream differs"):
        words.encode(context, ciphertext)
    with pytest.raises(MalformedError, match="SEAL wrote"):
        words.encode(context, keys.adding().public.arithmetic.encrypt(1.0))
    three = seal.seal().Ciphertext()
    context.arithmetic._evaluator.multiply(context.arithmetic.encrypt(1.0), context.arithmetic.encrypt(1.0), three)
    with pytest.raises(MalformedError, match="SEAL wrote"):
        words.encode(context, three)


def replaced(data: bytes, context: object, at: int, polynomial: int, values: np.ndarray) -> bytes:
    """The words of one polynomial modulo one modulus exchanged."""
    moduli, degree = context.moduli, context.parameters.degree  # type: ignore[attr-defined]
    start = sum(2 * degree * modulus.bit_length() // 8 for modulus in moduli[:at]) + polynomial * degree * moduli[at].bit_length() // 8
    part = bits.pack(values, moduli[at].bit_length())
    return data[:start] + part + data[start + len(part) :]


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("polynomial", [0, 1])
def test_a_word_that_is_not_below_its_modulus_is_refused(at: int, polynomial: int) -> None:
    context = keys.usual().public
    data = words.encode(context, context.arithmetic.encrypt(1.0))
    good = np.ones(8192, np.uint64)
    for place, value in ((0, context.moduli[at]), (8191, context.moduli[at]), (77, (1 << context.moduli[at].bit_length()) - 1)):
        bad = good.copy()
        bad[place] = value
        with nothing_loaded(), pytest.raises(MalformedError, match=f"not below its modulus, the {at + 1}. one"):
            words.decode(context, 2, replaced(data, context, at, polynomial, bad))
    bad = good.copy()
    bad[5] = context.moduli[at] - 1
    words.decode(context, 2, replaced(data, context, at, polynomial, bad))


def test_what_hides_nothing_is_refused() -> None:
    context = keys.usual().public
    data = words.encode(context, context.arithmetic.encrypt(1.0))
    zeros = np.zeros(8192, np.uint64)
    for at in range(3):  # modulo one of them is enough: lower levels have fewer
        with nothing_loaded(), pytest.raises(MalformedError, match="hides nothing"):
            words.decode(context, 2, replaced(data, context, at, 1, zeros))
        words.decode(context, 2, replaced(data, context, at, 0, zeros))


def test_every_other_length_and_level_is_refused() -> None:
    context = keys.usual().public
    data = words.encode(context, context.arithmetic.drop(context.arithmetic.encrypt(1.0), 1))
    with nothing_loaded():
        for length in (0, 1, len(data) // 2, len(data) - 8, len(data) - 1):
            with pytest.raises(MalformedError, match="two polynomials of degree 8192 at this level"):
                words.decode(context, 1, data[:length])
        with pytest.raises(MalformedError, match="at this level"):
            words.decode(context, 1, data + b"\0")
        for left in (0, 2):
            with pytest.raises(MalformedError, match="at this level"):
                words.decode(context, left, data)
        for left in (-1, 3, 255):
            with pytest.raises(MalformedError, match="of parameters that have 2"):
                words.decode(context, left, data)


def test_a_stream_that_decompresses_to_more_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of SEAL is bounded too: a bomb takes no more memory than a ciphertext."""
    import zstandard

    context = keys.adding().public
    dump = seal.dump(context.arithmetic.encrypt(1.0))
    bomb = zstandard.compress(bytes(1 << 28))
    header = dump[:8] + (16 + len(bomb)).to_bytes(8, "little")
    monkeypatch.setattr(streams, "dump", lambda _: header + bomb)
    with pytest.raises(MalformedError, match="SEAL wrote 65634 bytes where 65633 are due"):
        streams.body(None, 65633)
    for wrong in (
        b"",
        dump[:15],
        b"\0" + dump[1:],
        dump[:3] + b"\5" + dump[4:],
        dump[:5] + b"\1" + dump[6:],
        dump[:6] + b"\1" + dump[7:],
        dump + b"\0",
    ):
        monkeypatch.setattr(streams, "dump", lambda _, wrong=wrong: wrong)
        with pytest.raises(MalformedError, match="cannot read"):
            streams.body(None, 65633)


def test_an_unknown_seal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    streams._version.cache_clear()
    monkeypatch.setattr(streams, "dump", lambda _: b"\x5e\xa1\x10\x05\x00\x02")
    with pytest.raises(LocalError, match="streams of SEAL 5"):
        streams._version()
    streams._version.cache_clear()


def test_all_zeros_and_all_ones_are_refused() -> None:
    context = keys.adding().public
    size = words.ciphertext_bytes(context.parameters, 0)
    for filler in (b"\0", b"\xff"):
        with nothing_loaded(), pytest.raises(MalformedError):
            words.decode(context, 0, filler * size)
