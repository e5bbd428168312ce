import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.audit.errors import UntrustedError
from stfed.audit.note import Note, Signature, base64_bytes, base64_text, check_name, decimal
from stfed.audit.signatures import Algorithm, VerifierKey, cosign, cosigner_key, keys, log_key, sign, verified
from stfed.crypto.identity import BadSignatureError, Identity
from stfed.errors import LocalError, MalformedError

from .material import ANNA, BEN, EVE, START

LETTERS = st.characters(exclude_categories=["Cs", "Cc"])
LINES = st.lists(st.text(LETTERS, max_size=20), min_size=1, max_size=5)
TEXTS = LINES.map(lambda lines: "\n".join(lines) + "\n").filter(lambda text: text != "\n")
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=20).filter(lambda name: "+" not in name)
SIGNATURES = st.builds(Signature, NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80))
MEMBERS = st.lists(SIGNATURES, min_size=1, max_size=5).map(tuple)


@given(TEXTS, MEMBERS)
def test_a_note_reads_back_as_it_was_written(text: str, signatures: tuple[Signature, ...]) -> None:
    note = Note(text, signatures)
    assert Note.parse(str(note)) == note
    assert Note.parse(str(note).encode()) == note


@given(TEXTS, MEMBERS, st.integers(0, 200), st.integers(0, 3), st.text(max_size=3))
def test_what_parses_is_written_again_the_same(text: str, signatures: tuple[Signature, ...], at: int, cut: int, piece: str) -> None:
    whole = str(Note(text, signatures))
    data = whole[:at] + piece + whole[at + cut :]
    try:
        note = Note.parse(data)
    except MalformedError:
        return
    assert str(note) == data


@given(st.binary(max_size=200))
def test_any_bytes_give_a_note_or_the_one_error(data: bytes) -> None:
    try:
        assert str(Note.parse(data)).encode() == data
    except MalformedError:
        return


def test_empty_lines_belong_to_the_text() -> None:
    note = Note("a\n\nb\n", (sign("a\n\nb\n", "x", ANNA),))
    assert Note.parse(str(note)) == note


def test_a_note_is_bounded() -> None:
    with pytest.raises(MalformedError, match="longer than"):
        Note.parse("a" * (1 << 20) + "\n\n")
    with pytest.raises(MalformedError, match="UTF-8"):
        Note.parse(b"\xff")
    with pytest.raises(MalformedError, match="UTF-8"):
        Note.parse("\ud800\n\n")


def test_signatures_are_added_once() -> None:
    one, other = sign("a\n", "x", ANNA), sign("a\n", "y", BEN)
    note = Note("a\n", (one,))
    assert note.signed(one, other).signatures == (one, other)


@given(st.binary(min_size=1, max_size=40))
def test_base64_has_one_form(data: bytes) -> None:
    text = base64_text(data)
    assert base64_bytes(text, "it") == data
    for other in (text + "=", text.rstrip("=") + "====", " " + text, text + "\n", text[:-1], ""):
        if other != text:
            with pytest.raises(MalformedError, match="it is not base64"):
                base64_bytes(other, "it")


@given(st.integers(0, (1 << 63) - 1))
def test_decimals(value: int) -> None:
    assert decimal(str(value), "it") == value


@pytest.mark.parametrize("text", ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "1e3", "0x1", "\u0661", "1\n", str(1 << 63)])
def test_texts_that_are_no_decimal(text: str) -> None:
    with pytest.raises(MalformedError, match="decimal"):
        decimal(text, "it")


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\nb", "a\x7fb", "\u2028", "x" * 256, "\u00e4" * 128, "\u202eevil"])
def test_names_that_no_note_can_carry(name: str) -> None:
    with pytest.raises(LocalError, match="the name"):
        check_name(name, "the name")
    with pytest.raises(LocalError):
        sign("a\n", name, ANNA)


# Signatures.


class Hybrid:
    """A signing key of several algorithms, as `stfed.keys` makes them."""

    def __init__(self, half: Identity) -> None:
        self.ed25519 = half


def test_a_key_with_an_ed25519_half_signs_as_that_half() -> None:
    assert sign("a\n", "x", Hybrid(ANNA)) == sign("a\n", "x", ANNA)
    assert cosign("a\n", "x", Hybrid(ANNA), START) == cosign("a\n", "x", ANNA, START)
    assert log_key("x", Hybrid(ANNA)) == log_key("x", ANNA) == log_key("x", ANNA.public_bytes)


def test_a_key_is_read_as_it_is_written() -> None:
    for key in (log_key("x", ANNA), cosigner_key("\u00e4.example/y", BEN)):
        assert VerifierKey.parse(str(key)) == key
    assert keys([str(log_key("x", ANNA)), log_key("x", ANNA)]) == (log_key("x", ANNA),)


def test_one_text_is_not_a_list_of_keys() -> None:
    with pytest.raises(LocalError, match="list"):
        keys(str(log_key("x", ANNA)))
    with pytest.raises(LocalError, match="32 bytes"):
        log_key("x", bytes(31))


def test_one_key_in_two_roles_signs_two_things() -> None:
    """The key ids differ, and so do the messages, even where somebody puts one signature under the other's id."""
    text, plain, timed = "x\n1\n2\n", log_key("x", ANNA), cosigner_key("x", ANNA)
    signature, cosignature = sign(text, "x", ANNA), cosign(text, "x", ANNA, START)
    assert verified(Note(text, (signature, cosignature)), [plain, timed]) == {plain: None, timed: START}
    for forged in (Signature("x", plain.key_id, cosignature.body[8:]), Signature("x", timed.key_id, bytes(8) + signature.body)):
        with pytest.raises(BadSignatureError):
            verified(Note(text, (forged,)), [plain, timed])


def test_no_note_is_signed_that_could_be_a_cosignature() -> None:
    text, seconds = "x\n1\n2\n", int(START.timestamp())
    trap = f"cosignature/v1\ntime {seconds}\n{text}"
    with pytest.raises(LocalError, match="cosigners"):
        sign(trap, "x", ANNA)
    body = cosign(text, "x", ANNA, START).body[8:]
    with pytest.raises(BadSignatureError, match="cosigners"):
        log_key("x", ANNA).check(trap, body)


def test_unknown_signatures_are_ignored_and_false_ones_are_not() -> None:
    text = "a\n"
    mine, theirs = sign(text, "x", ANNA), sign(text, "y", EVE)
    assert verified(Note(text, (theirs, mine)), [log_key("x", ANNA)]) == {log_key("x", ANNA): None}
    same_id = Signature("z", mine.key_id, b"?")
    assert verified(Note(text, (same_id, mine)), [log_key("x", ANNA)])
    with pytest.raises(BadSignatureError, match="'x'") as caught:
        verified(Note(text, (mine, Signature("x", mine.key_id, theirs.body))), [log_key("x", ANNA)])
    assert caught.value.party == "x"
    with pytest.raises(UntrustedError, match="signed as 'y'"):
        verified(Note(text, (theirs,)), [log_key("x", ANNA)])


def test_the_two_types() -> None:
    assert {item.name: item.value for item in Algorithm} == {"NOTE": 1, "COSIGNATURE": 4}
