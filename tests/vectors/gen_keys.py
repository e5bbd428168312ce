"""Vectors of `stfed.keys`: signing keys and signatures, protected key files, rosters, each with the refusal due for what is wrong with it.

Nothing here imports `stfed`: bech32, the framing, the armor and the order of a roster are written a second time. Two things are recorded
instead of made, in `keys/hybrid_signature.txt`: no library lets one choose ML-DSA's randomness.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tests.vectors.sealed_format.keys import bech32

RECORDED = Path(__file__).parent / "keys" / "hybrid_signature.txt"
LABEL = b"stfed/sealed/policy/1"
PARTS = [b"", b"some", bytes(range(256))]

Json = dict[str, Any]


def seed(name: str, size_bytes: int = 32) -> bytes:
    return hashlib.shake_256(b"stfed keys vectors: " + name.encode()).digest(size_bytes)


def framed(label: bytes, *parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in (label, *parts))


def readable(digest: bytes) -> str:
    letters = base64.b32encode(digest[:10]).decode().lower()
    return "-".join(letters[at : at + 4] for at in range(0, 16, 4))


def fingerprint(text: str) -> str:
    return readable(hashlib.sha256(text.encode()).digest())


# Keys for encryption: X-Wing's expansion of a seed, and X25519.


def x25519_public(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def hybrid_public(secret: bytes) -> bytes:
    expanded = hashlib.shake_256(secret).digest(96)
    return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).public_key().public_bytes_raw() + x25519_public(expanded[64:])


def age(name: str) -> str:
    return bech32("age", x25519_public(seed(name)))


def encryption_keys() -> list[Json]:
    entries = []
    for name in ("alice", "bob"):
        for kind, public, secret_prefix in (
            ("x25519", age(name), "age-secret-key-"),
            ("mlkem768x25519", bech32("age1pq", hybrid_public(seed(name))), "age-secret-key-pq-"),
        ):
            entries.append(
                {
                    "name": f"{name}, {kind}",
                    "kind": kind,
                    "seed": seed(name).hex(),
                    "identity": bech32(secret_prefix, seed(name)).upper(),
                    "recipient": public,
                    "fingerprint": fingerprint(public),
                }
            )
    return entries


# Signing keys.


def curve(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed(name, 64)[:32])


def lattice(name: str) -> MLDSA65PrivateKey:
    return MLDSA65PrivateKey.from_seed_bytes(seed(name, 64)[32:])


def ed25519_text(name: str) -> str:
    return bech32("stfedsig", curve(name).public_key().public_bytes_raw())


def hybrid_text(name: str) -> str:
    return bech32("stfedsigpq", curve(name).public_key().public_bytes_raw() + lattice(name).public_key().public_bytes_raw())


def signing_keys() -> list[Json]:
    entries = []
    for name in ("alice", "bob"):
        for kind, public, secret_prefix, size_bytes in (
            ("ed25519", ed25519_text(name), "stfed-signing-key-", 32),
            ("ed25519-mldsa65", hybrid_text(name), "stfed-signing-key-pq-", 64),
        ):
            secret = seed(name, 64)[:size_bytes]
            entries.append(
                {
                    "name": name,
                    "kind": kind,
                    "seed": secret.hex(),
                    "secret": bech32(secret_prefix, secret).upper(),
                    "public": public,
                    "fingerprint": fingerprint(public),
                }
            )
    return entries


def record() -> None:
    """Run once by hand; a new recording is as good as the old one."""
    RECORDED.write_text(base64.b64encode(lattice("alice").sign(framed(LABEL, *PARTS), b"stfed")).decode() + "\n")


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def signatures() -> list[Json]:
    message = framed(LABEL, *PARTS)
    alone, other = curve("alice").sign(message), curve("bob").sign(message)
    second = base64.b64decode(RECORDED.read_bytes())
    ed25519, hybrid = ed25519_text("alice"), hybrid_text("alice")
    return [
        {"name": name, "key": key, "signature": signature.hex(), "good": name.startswith("good")}
        for name, key, signature in (
            ("good: Ed25519", ed25519, alone),
            ("good: hybrid", hybrid, alone + second),
            ("another's signature", ed25519, other),
            ("Ed25519: a bit flipped", ed25519, flipped(alone, 5)),
            ("Ed25519: the message without its frame", ed25519, curve("alice").sign(b"".join(PARTS))),
            ("Ed25519: another label", ed25519, curve("alice").sign(framed(b"stfed/sealed/payload/1", *PARTS))),
            ("Ed25519: two parts run together", ed25519, curve("alice").sign(framed(LABEL, b"some", bytes(range(256))))),
            ("Ed25519: s + the group's order", ed25519, malleated(alone)),
            ("Ed25519: empty", ed25519, b""),
            ("Ed25519: cut off", ed25519, alone[:-1]),
            ("Ed25519: something behind it", ed25519, alone + b"\0"),
            ("Ed25519 key, hybrid signature", ed25519, alone + second),
            ("hybrid key, its Ed25519 half only", hybrid, alone),
            ("hybrid key, its ML-DSA half only", hybrid, second),
            ("hybrid key, zeros for Ed25519", hybrid, bytes(64) + second),
            ("hybrid key, zeros for ML-DSA", hybrid, alone + bytes(3309)),
            ("hybrid key, halves exchanged", hybrid, second + alone),
            ("hybrid key, Ed25519 by another", hybrid, other + second),
            ("hybrid key, ML-DSA: a bit flipped", hybrid, alone + flipped(second, 1000)),
            ("hybrid key, ML-DSA: the last byte cut off", hybrid, alone + second[:-1]),
            ("another hybrid key", hybrid_text("bob"), alone + second),
        )
    ]


def malleated(signature: bytes) -> bytes:
    order = 2**252 + 27742317777372353535851937790883648493
    return signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")


# Key files under a passphrase, at the least cost that Argon2id has.

PASSPHRASE = "korrekt Pferd Batterie Heftklammer äö"
COMMENTS = ["# created: 2026-01-02T03:04:05+00:00"]


def hkdf(secret: bytes, label: bytes) -> bytes:
    return hmac.digest(hmac.digest(bytes(32), secret, "sha256"), framed(label) + b"\x01", "sha256")


def secret_lines(name: str) -> tuple[list[str], str]:
    """The comments and the secret part of a key file with a key of each kind."""
    public = age(name)
    comments = [
        *COMMENTS,
        f"# fingerprint: {fingerprint(public)}",
        f"# public key: {public}",
        f"# signing fingerprint: {fingerprint(ed25519_text(name))}",
        f"# public signing key: {ed25519_text(name)}",
    ]
    secrets = f"{bech32('age-secret-key-', seed(name)).upper()}\n{bech32('stfed-signing-key-', seed(name, 64)[:32]).upper()}\n"
    return comments, secrets


def argon2id(passphrase: str, salt: bytes, memory_kib: int = 8, iterations: int = 1, lanes: int = 1) -> bytes:
    return Argon2id(salt=salt, length=32, iterations=iterations, lanes=lanes, memory_cost=memory_kib).derive(passphrase.encode())


def protected(text: str, comments: list[str]) -> str:
    salt, nonce = seed("salt", 16), seed("nonce", 12)
    stretched = argon2id(PASSPHRASE, salt)
    bound = framed(b"stfed/keys/key-file/1", *(comment.encode() for comment in comments))
    sealed = AESGCM(hkdf(stretched, b"stfed/keys/key-file-key/1")).encrypt(nonce, text.encode(), bound)
    body = base64.b64encode(hkdf(stretched, b"stfed/keys/key-file-commitment/1") + nonce + sealed).decode()
    lines = ["-----BEGIN STFED ENCRYPTED KEY-----", f"stfed-key-1 argon2id m=8,t=1,p=1 {base64.b64encode(salt).decode()}"]
    lines += [body[at : at + 64] for at in range(0, len(body), 64)]
    return "\n".join([*comments, *lines, "-----END STFED ENCRYPTED KEY-----", ""])


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def passphrases() -> list[Json]:
    """Argon2id over the prepared text; `prepared` is what the passphrase becomes."""
    entries = []
    for name, passphrase, prepared in (
        ("ASCII", "correct horse", "correct horse"),
        ("composed", "\u00e4", "\u00e4"),
        ("decomposed", "a\u0308", "\u00e4"),
        ("a ligature stays", "\ufb01", "\ufb01"),
        ("full-width letters stay", "\uff21", "\uff21"),
        ("an ideographic space", "a\u3000b", "a b"),
        ("a space that does not break", "a\u00a0b", "a b"),
        ("case and spaces at the ends stay", " Ab ", " Ab "),
    ):
        salt = seed(name, 16)
        key = argon2id(prepared, salt, 32, 2, 2)
        entries.append({"name": name, "passphrase": passphrase, "salt": salt.hex(), "cost": "m=32,t=2,p=2", "key": key.hex()})
    return entries


def key_files() -> list[Json]:
    comments, secrets = secret_lines("alice")
    whole = protected(secrets, comments)
    first = whole.splitlines()[len(comments) + 2]
    cost = "m=8,t=1,p=1"
    foreign = replaced(whole, ed25519_text("alice"), ed25519_text("bob"))
    cases: list[tuple[str, str, str | None, str]] = [
        ("plain", "\n".join([*comments, secrets]), None, ""),
        ("protected", whole, PASSPHRASE, ""),
        ("protected, with other line ends and blank lines", "\r\n" + whole.replace("\n", "\r\n"), PASSPHRASE, ""),
        ("protected, encryption key only", protected(secrets.splitlines()[0] + "\n", []), PASSPHRASE, ""),
        ("no passphrase", whole, None, "none was given"),
        ("wrong passphrase", whole, "wrong", "does not fit"),
        ("passphrase in capitals", whole, PASSPHRASE.upper(), "does not fit"),
        ("a comment changed", whole.replace("2026", "2027"), PASSPHRASE, "have been changed"),
        (
            "another's public key in the comments",
            foreign,
            PASSPHRASE,
            "have been changed",
        ),
        ("a comment added", "# mine\n" + whole, PASSPHRASE, "have been changed"),
        ("a comment left out", whole.partition("\n")[2], PASSPHRASE, "have been changed"),
        ("ciphertext changed", replaced(whole, whole.splitlines()[-3], whole.splitlines()[-3].swapcase()), PASSPHRASE, "have been changed"),
        ("commitment changed", replaced(whole, first, "AAAA" + first[4:]), PASSPHRASE, "does not fit"),
        ("cost changed", replaced(whole, cost, "m=8,t=2,p=1"), PASSPHRASE, "does not fit"),
        ("16 GiB", replaced(whole, cost, "m=16777216,t=1,p=1"), PASSPHRASE, "is not stretched with 16777216 KiB"),
        ("one KiB over 1 GiB", replaced(whole, cost, "m=1048577,t=1,p=1"), PASSPHRASE, "is not stretched with 1048577 KiB"),
        ("a billion passes", replaced(whole, cost, "m=8,t=1000000000,p=1"), PASSPHRASE, "is not stretched with 1000000000 passes"),
        ("a thousand lanes", replaced(whole, cost, "m=8000,t=1,p=1000"), PASSPHRASE, "is not stretched with 1000 lanes"),
        ("too little memory for the lanes", replaced(whole, cost, "m=8,t=1,p=2"), PASSPHRASE, "is not stretched with 8 KiB"),
        ("cost with a leading zero", replaced(whole, cost, "m=08,t=1,p=1"), PASSPHRASE, "no Argon2id cost"),
        ("another version", replaced(whole, "stfed-key-1", "stfed-key-2"), PASSPHRASE, "of no version"),
        ("another function", replaced(whole, "argon2id", "argon2i"), PASSPHRASE, "of no version"),
        ("a field more", replaced(whole, cost, f"{cost} x"), PASSPHRASE, "of no version"),
        ("cut off", whole.rpartition("-----END")[0], PASSPHRASE, "cut off, or something stands after it"),
        ("a key behind the block", whole + secrets.splitlines()[0] + "\n", PASSPHRASE, "something stands after it"),
        ("two blocks", whole + whole, PASSPHRASE, "not in its one form"),
        ("a line of the body missing", replaced(whole, first + "\n", ""), PASSPHRASE, "does not fit"),
        ("shorter lines", replaced(whole, first, f"{first[:32]}\n{first[32:]}"), PASSPHRASE, "not in its one form"),
        ("not base64", replaced(whole, first, "A"), PASSPHRASE, "not base64"),
        ("no body", "\n".join([*whole.splitlines()[: len(comments) + 2], whole.splitlines()[-1]]), PASSPHRASE, "not in its one form"),
        ("nothing inside", protected("", comments), PASSPHRASE, "no key in it"),
        ("a block inside", protected(whole, comments), PASSPHRASE, "characters that no key has"),
    ]
    return [{"name": name, "text": text, "passphrase": passphrase, "says": says} for name, text, passphrase, says in cases]


# Rosters.


ALICE = f"""[[member]]
name = "alice"
roles = [
    "owner",
    "recipient",
]
encryption = "{age("alice")}"
signing = "{hybrid_text("alice")}"
not_before = 2026-01-01 00:00:00+00:00
not_after = 2027-01-01 00:00:00+00:00
"""
BOB = f"""[[member]]
name = "bob"
roles = [
    "auditor",
]
signing = "{ed25519_text("bob")}"
"""
RETIRED = f"""[[retired]]
name = "alice"
until = 2026-03-01 12:30:00.500000+00:00
encryption = "{age("old alice")}"
signing = "{ed25519_text("old alice")}"
"""
REVOKED = f"""[[revoked]]
name = "bob"
key = "{fingerprint(ed25519_text("old bob"))}"
at = 2026-02-01 00:00:00+00:00
reason = "lost \\"it\\""
"""
HEAD = 'version = 1\nname = "Heart study"\n'
ROSTER = "\n".join([HEAD, ALICE, BOB, RETIRED, REVOKED])


def roster_digest() -> bytes:
    """Over what `ROSTER` says, as JSON: keys sorted, no spaces, UTF-8, times as Python writes them in UTC."""
    value = {
        "version": 1,
        "name": "Heart study",
        "member": [
            {
                "name": "alice",
                "roles": ["owner", "recipient"],
                "encryption": age("alice"),
                "signing": hybrid_text("alice"),
                "not_before": "2026-01-01T00:00:00+00:00",
                "not_after": "2027-01-01T00:00:00+00:00",
            },
            {"name": "bob", "roles": ["auditor"], "signing": ed25519_text("bob")},
        ],
        "retired": [
            {
                "name": "alice",
                "until": "2026-03-01T12:30:00.500000+00:00",
                "encryption": age("old alice"),
                "signing": ed25519_text("old alice"),
            }
        ],
        "revoked": [
            {
                "name": "bob",
                "key": fingerprint(ed25519_text("old bob")),
                "at": "2026-02-01T00:00:00+00:00",
                "reason": 'lost "it"',
            }
        ],
    }
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(framed(b"stfed/keys/roster/1", text.encode())).digest()


def rosters() -> list[Json]:
    key = f'signing = "{ed25519_text("bob")}"'
    other = HEAD + BOB
    mallory = replaced(BOB, '"bob"', '"mallory"')
    cases = [
        ("canonical", ROSTER, ""),
        ("another order, another layout", "\n".join([HEAD, REVOKED, RETIRED, BOB.replace("\n    ", " "), ALICE]), ""),
        ("another time zone", replaced(ROSTER, "2026-01-01 00:00:00+00:00", "2026-01-01T01:00:00+01:00"), ""),
        ("nobody", HEAD, "other"),
        ("not TOML", "version = ", "not TOML"),
        ("not UTF-8", None, "not UTF-8"),
        ("no version", 'name = "x"', "version None"),
        ("version 2", replaced(other, "version = 1", "version = 2"), "version 2"),
        ("version true", replaced(other, "version = 1", "version = true"), "version True"),
        ("version 1.0", replaced(other, "version = 1", "version = 1.0"), "version 1.0"),
        ("no name", "version = 1", "the roster has no name"),
        ("an unknown field", HEAD + "quorum = 3", "'quorum'"),
        ("an unknown field of a member", other + "max_uses = 3", "'max_uses'"),
        ("an unknown role", replaced(other, '"auditor"', '"auditor", "king"'), "no role 'king'"),
        ("a role twice", replaced(other, '"auditor"', '"auditor", "auditor"'), "not different strings"),
        ("a role that is no string", replaced(other, '"auditor"', "1"), "not different strings"),
        ("roles as a string", replaced(other, '[\n    "auditor",\n]', '"auditor"'), "roles is not an array"),
        ("no roles", replaced(other, 'roles = [\n    "auditor",\n]', ""), "member 1 has no roles"),
        ("a duplicate TOML key", other + key, "not TOML"),
        ("the member table twice over", replaced(other, "[[member]]", "[member]\n[[member]]"), "not TOML"),
        ("a member that is a table", replaced(other, "[[member]]", "[member]"), "member is not an array"),
        ("members that are no tables", HEAD + "member = [1]", "member 1 is no table"),
        ("no key", replaced(other, key, ""), "has no key"),
        ("an encryption key to sign with", replaced(other, ed25519_text("bob"), age("bob")), "for encryption"),
        ("a signing key to encrypt to", replaced(other, "signing", "encryption"), "for signatures"),
        ("a mistyped key", replaced(other, key[-4:], 'q"'), "member 1: the key's checksum"),
        ("a secret key", replaced(other, ed25519_text("bob"), bech32("stfed-signing-key-", seed("bob")).upper()), "this is a secret key"),
        ("a time without a zone", other + "not_after = 2026-01-01T00:00:00", "not a date and time with its zone"),
        ("a date", other + "not_after = 2026-01-01", "not a date and time with its zone"),
        ("a time before all time", other + "not_before = 0001-01-01T00:00:00+14:00", "before the year 1"),
        ("never valid", other + "not_before = 2026-01-02T00:00:00Z\nnot_after = 2026-01-02T00:00:00Z", "never valid"),
        ("the same name", other + replaced(BOB, ed25519_text("bob"), ed25519_text("x")), "the same name"),
        ("nearly the same name", other + BOB.replace(ed25519_text("bob"), ed25519_text("x")).replace('"bob"', '"BOB"'), "nearly so"),
        ("the same key", other + mallory, "occurs twice"),
        ("the same key, retired", ROSTER + RETIRED.replace(age("old alice"), age("x")), "occurs twice"),
        (
            "half of another's key",
            ROSTER + mallory.replace(ed25519_text("bob"), ed25519_text("alice")),
            "occurs twice",
        ),
        ("a retired key of nobody", other + RETIRED, "who is no member"),
        ("a retired entry without a key", ROSTER + '[[retired]]\nname = "alice"\nuntil = 2026-01-01T00:00:00Z', "has no key"),
        ("a retired entry without a time", other + '[[retired]]\nname = "bob"\nencryption = "x"', "retired 1 has no until"),
        ("a revoked key that is none", other + REVOKED.replace(fingerprint(ed25519_text("old bob")), "abcd"), "cut off"),
        ("a recipient who cannot", replaced(other, "auditor", "recipient"), "no key to encrypt to"),
        ("an invisible letter in a name", replaced(other, '"bob"', '"bo\u200bb"'), "invisible"),
        ("a line break in a name", replaced(other, '"bob"', '"bo\\nb"'), "invisible"),
        ("a name not in NFC", replaced(other, '"bob"', '"bo\u0308b"'), "normal form C"),
        ("a space at the end of a name", replaced(other, '"bob"', '"bob "'), "invisible"),
        ("an empty name", replaced(other, '"bob"', '""'), "0 letters"),
        ("a long name", replaced(other, '"bob"', f'"{"b" * 65}"'), "65 letters"),
        ("a name like a fingerprint", replaced(other, '"bob"', '"abcd-efgh-ijkl-mnop"'), "looks like a key"),
        ("a name like a key", replaced(other, '"bob"', '"stfedsig1qqqq"'), "looks like a key"),
        ("nested deeply", "x = " + "[" * 20000, "nested too deeply"),
        ("a number with many digits", "x = " + "1" * 5000, "not TOML"),
        ("a dotted key with many parts", ".".join("a" * 500) + " = 1", "full stops"),
    ]
    return [
        {"name": name, "toml": base64.b64encode(b"\xff" if text is None else text.encode()).decode(), "says": says}
        for name, text, says in cases
    ]


def generate() -> dict[str, bytes]:
    """All files, by their names relative to this folder."""
    files = {
        "encryption": encryption_keys(),
        "signing": {"keys": signing_keys(), "label": "SEALED_POLICY", "parts": [part.hex() for part in PARTS], "signatures": signatures()},
        "passphrases": passphrases(),
        "key_files": key_files(),
        "rosters": {"canonical": ROSTER, "digest": roster_digest().hex(), "fingerprint": readable(roster_digest()), "cases": rosters()},
    }
    return {f"keys/{name}.json": json.dumps(value, indent=1).encode() + b"\n" for name, value in files.items()}
