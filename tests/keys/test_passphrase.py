"""Argon2id as published; the same words always give the same key; what costs too much is never begun."""

import subprocess
import sys
import unicodedata

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import LocalError, MalformedError
from stfed.keys.passphrase import MAX_ITERATIONS, MAX_LANES, MAX_MEMORY_KIB, RECOMMENDED, Cost, PassphraseError, derive, prepared
from tests.keys.material import CHEAP, vectors

SALT = bytes(range(16))
COSTS = st.integers(1, MAX_LANES).flatmap(
    lambda lanes: st.builds(Cost, st.integers(8 * lanes, MAX_MEMORY_KIB), st.integers(1, MAX_ITERATIONS), st.just(lanes))
)


def test_the_library_computes_the_published_values() -> None:
    """RFC 9106, section 5.3, and two of the reference implementation's tests (argon2id, version 19)."""
    rfc = Argon2id(salt=b"\x02" * 16, length=32, iterations=3, lanes=4, memory_cost=32, ad=b"\x04" * 12, secret=b"\x03" * 8)
    assert rfc.derive(b"\x01" * 32).hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    for lanes, key in (
        (1, "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"),
        (2, "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"),
    ):
        made = Argon2id(salt=b"somesalt", length=32, iterations=2, lanes=lanes, memory_cost=256).derive(b"password")
        assert made.hex() == key


@pytest.mark.parametrize("case", vectors("passphrases"), ids=lambda case: case["name"])
def test_vectors(case: dict[str, str]) -> None:
    assert derive(case["passphrase"], bytes.fromhex(case["salt"]), Cost.from_string(case["cost"])).hex() == case["key"]


def test_every_argument_counts() -> None:
    key = derive("words", SALT, CHEAP)
    assert len(key) == 32
    assert derive("words", SALT, CHEAP) == key
    others = [derive("Words", SALT, CHEAP), derive("words", SALT[::-1], CHEAP)]
    others += [derive("words", SALT, cost) for cost in (Cost(9, 1, 1), Cost(8, 2, 1), Cost(16, 1, 2), Cost(16, 1, 1))]
    assert len({key, *others}) == 7


def test_the_passphrase_is_asked_for_once() -> None:
    asked = []

    def ask() -> str:
        asked.append(1)
        return "words"

    assert derive(ask, SALT, CHEAP) == derive("words", SALT, CHEAP)
    assert asked == [1]


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1))
def test_one_text_in_two_normal_forms_is_one_passphrase(text: str) -> None:
    assert prepared(unicodedata.normalize("NFD", text)) == prepared(unicodedata.normalize("NFC", text)) == prepared(text)
    assert prepared(prepared(text).decode()) == prepared(text)


@pytest.mark.parametrize("text", ["", "a\n", "\t", "a\x00b", "\x7f", "\ud800", "\U000e0fff", "\uffff"])
def test_what_is_no_passphrase(text: str) -> None:
    with pytest.raises(PassphraseError, match=r"the passphrase is empty|is not text") as caught:
        derive(text, SALT, CHEAP)
    assert isinstance(caught.value, LocalError)


@given(COSTS)
def test_a_cost_reads_back(cost: Cost) -> None:
    assert Cost.from_string(str(cost)) == cost


@given(st.text(max_size=30) | st.from_regex(r"m=[0-9]{0,4},t=[0-9]{0,3},p=[0-9]{0,3}\n?", fullmatch=True))
def test_a_text_is_refused_or_the_one_form_of_a_cost(text: str) -> None:
    try:
        cost = Cost.from_string(text)
    except MalformedError:
        return
    assert str(cost) == text


@pytest.mark.parametrize(
    "text", ["", "m=8,t=1", "m=08,t=1,p=1", "m=8,t=1,p=1 ", "m=8,t=1,p=1\n", "t=1,m=8,p=1", "m=+8,t=1,p=1", "m=٨,t=1,p=1"]
)
def test_what_is_no_cost(text: str) -> None:
    with pytest.raises(MalformedError, match="no Argon2id cost"):
        Cost.from_string(text)


@pytest.mark.parametrize(
    "cost",
    [
        (MAX_MEMORY_KIB + 1, 1, 1),
        (1 << 40, 1, 1),
        (8, MAX_ITERATIONS + 1, 1),
        (1024, 1, MAX_LANES + 1),
        (7, 1, 1),
        (31, 1, 4),
        (8, 0, 1),
        (8, 1, 0),
    ],
)
def test_a_cost_out_of_bounds_cannot_be_made(cost: tuple[int, int, int]) -> None:
    with pytest.raises(MalformedError, match="is not stretched with"):
        Cost(*cost)


def test_the_floor_of_what_is_written() -> None:
    assert str(RECOMMENDED) == "m=65536,t=3,p=4"
    for enough in (RECOMMENDED, Cost(1 << 17, 3, 4), Cost(1 << 16, 4, 1)):
        enough.check_floor()
    for cheap in (CHEAP, Cost((1 << 16) - 1, 16, 4), Cost(1 << 17, 2, 4)):
        with pytest.raises(LocalError, match="too cheap"):
            cheap.check_floor()


@pytest.mark.parametrize("size_bytes", [0, 8, 15, 17])
def test_a_salt_has_one_length(size_bytes: int) -> None:
    with pytest.raises(LocalError, match="a salt has 16 bytes"):
        derive("words", bytes(size_bytes), CHEAP)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_too_little_memory_is_an_error_of_ours() -> None:
    script = (
        "import resource\n"
        "from stfed.errors import LocalError\n"
        "from stfed.keys.passphrase import Cost, derive\n"
        "derive('warm up', bytes(16), Cost(8, 1, 1))\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        "try:\n    derive('words', bytes(16), Cost(1 << 20, 1, 1))\n"
        "except LocalError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert "not enough memory for the Argon2id cost m=1048576,t=1,p=1" in done.stdout
