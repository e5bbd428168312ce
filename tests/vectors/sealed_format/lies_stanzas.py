"""Recipients: stanzas moved, changed, of other kinds; costs that are bombs; and statements and keys that contradict each other."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors.sealed_format import encoding, stanzas
from tests.vectors.sealed_format.container import Sealed, Wrap, seal, to_keys, to_passphrase
from tests.vectors.sealed_format.damage import (
    MALFORMED,
    NOT_MINE,
    TAMPERED,
    UNSUPPORTED,
    WRONG_PASSPHRASE,
    field,
    flip,
)
from tests.vectors.sealed_format.encoding import Json, derive, framed, from_base64, seed, to_base64
from tests.vectors.sealed_format.scenarios import Scenarios, plain_file
from tests.vectors.sealed_format.stanzas import PASSPHRASE


def add_stanzas(scenarios: Scenarios) -> None:
    one = scenarios.copy("x25519")
    foreign = scenarios.files["signed"].recipients[0]

    def edited(name: str, expect: str, says: str, change: Callable[[list[Json]], object], *, rehash: bool = True) -> None:
        file = one.copy()
        change(file.recipients)
        scenarios.add(name, "x25519", file.hash_recipients() if rehash else file, expect, says)

    def first(name: str, expect: str, says: str, part: str, value: Any) -> None:
        edited(name, expect, says, lambda r: field(part, value)(r[0]))

    body = from_base64(one.recipients[0]["body"])
    flipped = to_base64(body[:-1] + bytes([body[-1] ^ 1]))
    edited("recipient removed", TAMPERED, "recipient list", lambda r: r.pop(), rehash=False)
    edited("recipient removed, hash too", TAMPERED, "FLOE header", lambda r: r.pop())
    edited("recipient added", TAMPERED, "recipient list", lambda r: r.append(foreign), rehash=False)
    edited("recipient added, hash too", TAMPERED, "FLOE header", lambda r: r.append(foreign))
    edited("recipients in another order", TAMPERED, "FLOE header", lambda r: r.reverse())
    edited("no recipients", MALFORMED, "between 1 and 1024", lambda r: r.clear())
    edited("too many recipients", MALFORMED, "at most 1024", lambda r: r.extend([{}] * 1023))
    edited("stanza of another file", TAMPERED, "does not open", lambda r: r.insert(0, foreign))
    other_info = stanzas.to_key("x25519", b"another info", one.file_key, "ephemeral stranger")
    edited("stanza under another info", TAMPERED, "does not open", lambda r: r.insert(0, other_info))
    first("stanza's ciphertext flipped", TAMPERED, "does not open", "body", flipped)
    first("stanza's encapsulated key flipped", NOT_MINE, "not to", "body", to_base64(bytes([body[0] ^ 1]) + body[1:]))
    first("stanza's tag changed", NOT_MINE, "not to", "tag", "00" * 8)
    first("stanza's tag of another length", MALFORMED, "8 bytes in hexadecimal", "tag", "00" * 7)
    first("stanza of an unknown kind", UNSUPPORTED, "kind 'scrypt'", "kind", "scrypt")
    first("stanza's kind a number", MALFORMED, "not text", "kind", 1)
    first("stanza with more fields", UNSUPPORTED, "'x' in a recipient", "x", 1)
    first("stanza one byte short", MALFORMED, "body of 79 bytes", "body", to_base64(body[:-1]))
    first("stanza one byte long", MALFORMED, "body of 81 bytes", "body", to_base64(body + b"\0"))
    first("stanza empty", MALFORMED, "body of 0 bytes", "body", "")
    first("stanza not base64", MALFORMED, "not base64", "body", "?")
    first("stanza without padding", MALFORMED, "not base64", "body", flipped.rstrip("="))
    stray = flipped[:-2] + chr(ord(flipped[-2]) + 1) + "="
    assert base64.b64decode(stray) == from_base64(flipped)
    first("base64 with stray bits", MALFORMED, "canonical base64", "body", stray)
    edited("stanza without a body", MALFORMED, "not a JSON object", lambda r: r[0].pop("body"))
    edited("both kinds of recipients", MALFORMED, "mixes", lambda r: r.append(scenarios.files["hybrid"].recipients[0]))
    edited("a passphrase beside a key", MALFORMED, "mixes", lambda r: r.append(scenarios.files["passphrase"].recipients[0]))

    def small_order(info: bytes, key: bytes) -> list[Json]:
        stanza = to_keys("x25519")(info, key)[0]
        return [stanzas.marked("x25519", bytes(32), from_base64(stanza["body"])[32:])]

    file = seal("small order", one.plain, small_order)
    scenarios.add("encapsulated key of low order", "x25519", file, TAMPERED, "does not open")


def add_hybrid_stanzas(scenarios: Scenarios) -> None:
    """Both halves of X-Wing are bound: a change of either encapsulation, under a tag that fits, gives another key."""
    stanza = scenarios.files["hybrid"].recipients[0]
    body = from_base64(stanza["body"])
    for name, at in (("ML-KEM", 500), ("X25519", 1088 + 5)):
        file = scenarios.copy("hybrid")
        file.recipients = [stanzas.marked("hybrid", flip(body, at)[:1120], body[1120:])]
        scenarios.add(f"{name} half of an encapsulated key flipped, tag too", "hybrid", file.hash_recipients(), TAMPERED, "does not open")
    old = scenarios.copy("hybrid")
    old.recipients = [stanzas.marked("hybrid", flip(body, 500)[:1120], body[1120:]) | {"tag": stanza["tag"]}]
    scenarios.add("encapsulated key flipped under the old tag", "hybrid", old.hash_recipients(), NOT_MINE, "not to")


def add_sealers_lies(scenarios: Scenarios) -> None:
    """Files by a sealer who signs, or holds, whatever they like."""
    plain = plain_file()

    def two_keys(info: bytes, key: bytes) -> list[Json]:
        return [*to_keys("x25519")(info, key), *to_keys("other reader")(info, seed("another file key"))]

    for base, signers in (("x25519", ()), ("signed", ("alice",))):
        file = seal(f"two keys {base}", plain, two_keys, signers=signers)
        scenarios.add(f"two keys for one file, {base}, first", base, file)
        scenarios.add(f"two keys for one file, {base}, second", base, file, TAMPERED, "FLOE header", identity=["other reader"])

    def short_key(info: bytes, key: bytes) -> list[Json]:
        stanza = stanzas.to_key("x25519", info, key[:31], "short file key")
        return [{**stanza, "body": to_base64(from_base64(stanza["body"]) + b"\0")}]

    scenarios.add("a file key of 31 bytes and a byte of filling", "x25519", seal("short key", plain, short_key), TAMPERED, "does not open")
    twice = seal("stated twice", plain, to_keys("x25519"), public={"round": 1}, sealed={"round": 2})
    scenarios.add("the same stated publicly and sealed", "x25519", twice, MALFORMED, "both publicly and sealed")

    def stating(name: str, secret: bytes, *, right: bool = True) -> Sealed:
        """A file whose sealed statements are these bytes."""
        file_key = seed(f"{name} file key")
        key = derive(file_key if right else seed("wrong"), encoding.PROVENANCE, seed(f"{name} file id"))
        return seal(name, plain, to_keys("x25519"), sealed_bytes=AESGCM(key).encrypt(bytes(12), secret, b""))

    scenarios.add("sealed statements under another key", "x25519", stating("stating 1", b"{}", right=False), TAMPERED, "sealed provenance")
    scenarios.add("sealed statements not canonical", "x25519", stating("stating 2", b'{"x": 1}'), MALFORMED, "canonical")
    scenarios.add("sealed statements nested", "x25519", stating("stating 3", b'{"x":[1]}'), MALFORMED, "'x' is not text")


def add_passphrases(scenarios: Scenarios) -> None:
    file = scenarios.copy("passphrase")
    info = framed(encoding.FILE_KEY, *file.context())

    def case(name: str, expect: str, says: str, data: Sealed, **reader: Any) -> None:
        scenarios.add(name, "passphrase", data, expect, says, **reader)

    def with_stanza(*stanza: Json) -> Sealed:
        changed = file.copy()
        changed.recipients = list(stanza)
        return changed.hash_recipients()

    stanza = file.recipients[0]
    body = from_base64(stanza["body"])
    case("wrong passphrase", WRONG_PASSPHRASE, "does not open the file", file, passphrase="correct horse battery stapler")
    case("a space for a passphrase", WRONG_PASSPHRASE, "does not open the file", file, passphrase=" ")
    case("a key for a file under a passphrase", NOT_MINE, "under a passphrase", file, passphrase=None, identity=["x25519"])
    scenarios.add(
        "a passphrase for a file to keys",
        "x25519",
        scenarios.whole("x25519"),
        NOT_MINE,
        "public keys",
        identity=None,
        passphrase=PASSPHRASE,
    )
    changed = with_stanza({**stanza, "body": to_base64(body[:-1] + bytes([body[-1] ^ 1]))})
    case("passphrase stanza flipped", TAMPERED, "entry for the passphrase does not open", changed)
    case("passphrase stanza too long", MALFORMED, "body of 109 bytes", with_stanza({**stanza, "body": to_base64(body + b"\0")}))
    case("passphrase stanza with a tag", MALFORMED, "empty tag", with_stanza({**stanza, "tag": "01" * 8}))
    case("two passphrases", MALFORMED, "stands alone", with_stanza(stanza, stanzas.to_passphrase(info, file.file_key, "second")))
    for name, claimed in (
        ("4 TiB of memory", (2**32 - 1, 1, 1)), ("just over 1 GiB of memory", ((1 << 20) + 1, 1, 1)), ("17 iterations", (64, 17, 1)),
        ("2^32-1 iterations", (64, 2**32 - 1, 1)), ("17 lanes", (1024, 1, 17)), ("2^32-1 lanes", (64, 1, 2**32 - 1)),
        ("no memory", (0, 1, 1)), ("memory below 8 KiB a lane", (15, 1, 2)), ("no iterations", (64, 0, 1)), ("no lanes", (64, 1, 0)),
    ):  # fmt: skip
        bomb = stanzas.to_passphrase(info, file.file_key, "bomb", claimed=claimed)
        case(f"Argon2id with {name}", MALFORMED, "a passphrase is not stretched with", with_stanza(bomb))
    case(
        "Argon2id with another cost than was paid",
        WRONG_PASSPHRASE,
        "does not open",
        with_stanza(stanzas.to_passphrase(info, file.file_key, "other", claimed=(64, 1, 1))),
    )
    composed, typed = "K\u00e4se und Brot", "Ka\u0308se\u00a0und\u2003Brot"
    words = seal("composed words", file.plain, to_passphrase(composed))
    case("a passphrase composed", "ok", "", words, passphrase=composed)
    case("the same passphrase decomposed, with other spaces", "ok", "", words, passphrase=typed)
    case("the same passphrase in capitals", WRONG_PASSPHRASE, "does not open", words, passphrase=composed.upper())
    case("the same passphrase and a space", WRONG_PASSPHRASE, "does not open", words, passphrase=composed + " ")
    for cost in ((8, 1, 1), (128, 16, 16)):
        honest: Wrap = to_passphrase(cost=cost)
        case(f"Argon2id at the edge, {cost}", "ok", "", seal(f"edge {cost}", file.plain, honest))
