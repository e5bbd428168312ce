"""The text of key files: what is written is read, under a passphrase or not, and every change is found."""

import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.errors import LocalError, MalformedError
from stfed.keys.armor import BEGIN, END, Protected
from stfed.keys.keytext import PublicKeys, SecretKeys, holds_secrets, parse_public, parse_secret
from stfed.keys.passphrase import RECOMMENDED, PassphraseError
from tests.keys.material import CHEAP, Script, day, keypair, signer, vectors

CASES: list[dict[str, Any]] = vectors("key_files")
BOTH = SecretKeys(keypair()[0], signer())
KEYS = [
    BOTH,
    SecretKeys(keypair()[0], None),
    SecretKeys(None, signer()),
    SecretKeys(keypair(kind="hybrid")[0], signer(kind="ed25519-mldsa65")),
]


def refused(text: str, passphrase: str | None = None) -> str:
    """The refusal due, which never shows a secret."""
    with pytest.raises((MalformedError, PassphraseError)) as caught:
        parse_secret(text, passphrase)
    shown = "".join(traceback.format_exception(caught.value))
    assert BOTH.identity
    assert BOTH.identity.secret_string()[20:40] not in shown
    assert signer().secret_string()[24:44] not in shown
    return str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_vectors(case: dict[str, Any]) -> None:
    if case["says"]:
        assert case["says"] in refused(case["text"], case["passphrase"])
    else:
        keys = parse_secret(case["text"], case["passphrase"])
        assert keys.identity
        assert keys.identity == parse_secret(CASES[0]["text"]).identity
        assert keys.signing == (None if "only" in case["name"] else parse_secret(CASES[0]["text"]).signing)


def test_a_cost_bomb_is_refused_before_the_passphrase_is_asked_for() -> None:
    def never() -> str:
        raise AssertionError("asked")

    for case in CASES:
        if "is not stretched with" in case["says"]:
            with pytest.raises(MalformedError, match="is not stretched with"):
                parse_secret(case["text"], never)


@pytest.mark.parametrize("keys", KEYS)
def test_what_is_written_is_read(keys: SecretKeys) -> None:
    assert parse_secret(keys.plain()) == parse_secret(keys.plain(day(1))) == keys
    assert parse_public(str(keys.public)) == keys.public
    text = keys.protected("words", RECOMMENDED, day(1), entropy=Script())
    assert parse_secret(text, "words") == parse_secret(text, lambda: "words") == keys
    assert text.startswith("\n".join(keys.public.comments(day(1))))
    for key in (keys.identity, keys.signing):
        assert not key or key.secret_string() not in text
    assert refused(text, "Words").startswith("the passphrase does not fit")


def test_the_text_in_full() -> None:
    recipient, verifier = keypair()[1], signer().public
    comments = [
        "# created: 2026-01-01T00:00:00+00:00",
        f"# fingerprint: {recipient.fingerprint}",
        f"# public key: {recipient}",
        f"# signing fingerprint: {verifier.fingerprint}",
        f"# public signing key: {verifier}",
    ]
    assert BOTH.plain(day(1)).splitlines() == [*comments, keypair()[0].secret_string(), signer().secret_string()]
    lines = BOTH.protected("words", RECOMMENDED, day(1), entropy=Script()).splitlines()
    assert lines[:6] == [*comments, "-----BEGIN STFED ENCRYPTED KEY-----"]
    assert lines[6].startswith("stfed-key-1 argon2id m=65536,t=3,p=4 ")
    assert lines[-1] == "-----END STFED ENCRYPTED KEY-----"
    assert str(BOTH.public) == f"{recipient}\n{verifier}\n"


def test_what_is_written_for_somebody_is_never_cheap() -> None:
    with pytest.raises(LocalError, match="too cheap"):
        BOTH.protected("words", CHEAP)


def test_no_keys() -> None:
    with pytest.raises(LocalError, match="at least one key"):
        SecretKeys(None, None)
    for text in ("", "# only a comment\n"):
        with pytest.raises(MalformedError, match="no key in it"):
            parse_public(text)
        assert "no key in it" in refused(text)


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("a", "a")])
def test_two_of_a_kind(first: str, second: str) -> None:
    assert "there are 2 keys for encryption" in refused("\n".join(keypair(name)[0].secret_string() for name in (first, second)))
    assert "there are 2 keys for signatures" in refused("\n".join(signer(name).secret_string() for name in (first, second)))
    for texts in ([str(keypair(name)[1]) for name in (first, second)], [str(signer(name).public) for name in (first, second)]):
        with pytest.raises(MalformedError, match="there are 2 keys for"):
            parse_public("\n".join(texts))


def test_a_public_key_among_secrets_and_the_reverse() -> None:
    assert "this is no secret key" in refused(str(BOTH.public))
    for text in (BOTH.plain(), signer().secret_string()):
        with pytest.raises(MalformedError, match="this is a secret key") as caught:
            parse_public(text)
        assert signer().secret_string()[24:44] not in "".join(traceback.format_exception(caught.value))


def test_what_looks_secret() -> None:
    for text in (BOTH.plain(), signer().secret_string().lower(), f"# x\n {BEGIN}\n", "AGE-SECRET-KEY-1nonsense"):
        assert holds_secrets(text)
    for text in ("", str(BOTH.public), "# AGE-SECRET-KEY-1\n", "hello"):
        assert not holds_secrets(text)


@given(
    text=st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=200),
    comments=st.lists(st.sampled_from(["# a", "# b", "#"]), max_size=3),
    passphrase=st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=20),
)
@settings(max_examples=50)
def test_a_block_reads_back_to_the_last_bit(text: str, comments: list[str], passphrase: str) -> None:
    block = Protected.seal(text, comments, passphrase, CHEAP)
    assert Protected.from_lines(str(block).splitlines()) == block
    assert block.open(comments, passphrase) == text
    with pytest.raises(MalformedError, match="have been changed"):
        block.open([*comments, "#"], passphrase)


@given(
    st.lists(
        st.sampled_from([BEGIN, END, "stfed-key-1 argon2id m=8,t=1,p=1 AAAAAAAAAAAAAAAAAAAAAA==", "AAAA", "=", "#", "", "A" * 64]),
        max_size=8,
    )
)
def test_any_lines_are_refused_in_order(lines: list[str]) -> None:
    """Whatever the structure: no crash, and never a key."""
    with pytest.raises((MalformedError, PassphraseError)):
        parse_secret("\n".join(lines), "words")


@given(st.data())
def test_every_letter_of_a_block_counts(data: st.DataObject) -> None:
    text = CASES[1]["text"]
    start = text.index(BEGIN)
    at = data.draw(st.integers(start, len(text) - 2))
    letter = data.draw(st.sampled_from("AZaz09+/=-, #").filter(lambda letter: letter != text[at]))
    with pytest.raises((MalformedError, PassphraseError)):
        parse_secret(text[:at] + letter + text[at + 1 :], CASES[1]["passphrase"])


def test_public_keys_compare() -> None:
    assert parse_public(f"# mine\n\n  {keypair()[1]}\r\n") == PublicKeys(keypair()[1], None)
