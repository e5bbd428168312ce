"""Vectors of `stfed.audit`: trees, entries, notes, proofs and a whole log, with every refusal due for a damaged one.

Nothing here imports `stfed`. Trees follow the recursive definitions of RFC 9162, section 2.1, over lists of leaves; the note formats are
written from the C2SP documents. In a case, `expect` is the class of the error, null if there is none, and `says` a part of its text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Json = dict[str, Any]

# The tree that every implementation of Certificate Transparency is tested with; its roots are published (transparency-dev/merkle,
# testonly/constants.go) and repeated here to be compared.
LEAVES = [bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]
PUBLISHED_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def largest_power_below(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def tree_hash(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return sha256(b"\0" + leaves[0]) if leaves else sha256(b"")
    k = largest_power_below(len(leaves))
    return sha256(b"\1" + tree_hash(leaves[:k]) + tree_hash(leaves[k:]))


def inclusion_path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = largest_power_below(len(leaves))
    if m < k:
        return [*inclusion_path(m, leaves[:k]), tree_hash(leaves[k:])]
    return [*inclusion_path(m - k, leaves[k:]), tree_hash(leaves[:k])]


def consistency_path(m: int, leaves: list[bytes], complete: bool = True) -> list[bytes]:
    if m in (0, len(leaves)):
        return [] if complete else [tree_hash(leaves)]
    k = largest_power_below(len(leaves))
    if m <= k:
        return [*consistency_path(m, leaves[:k], complete), tree_hash(leaves[k:])]
    return [*consistency_path(m - k, leaves[k:], False), tree_hash(leaves[:k])]


def stored_hashes(leaves: list[bytes]) -> list[bytes]:
    """Every full subtree's hash, with the last leaf under it, from the leaf upwards."""
    found = []
    for last in range(1, len(leaves) + 1):
        width = 1
        while last % width == 0:
            found.append(tree_hash(leaves[last - width : last]))
            width *= 2
    return found


def hexed(values: list[bytes]) -> list[str]:
    return [value.hex() for value in values]


def merkle() -> Json:
    sizes = range(1, len(LEAVES) + 1)
    return {
        "leaves": hexed(LEAVES),
        "published_roots": PUBLISHED_ROOTS,
        "roots": [tree_hash(LEAVES[:size]).hex() for size in range(len(LEAVES) + 1)],
        "stored": hexed(stored_hashes(LEAVES)),
        "inclusion": [{"index": i, "size": n, "proof": hexed(inclusion_path(i, LEAVES[:n]))} for n in sizes for i in range(n)],
        "consistency": [{"old": m, "new": n, "proof": hexed(consistency_path(m, LEAVES[:n]))} for n in sizes for m in range(n + 1)],
    }


# Entries.


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


EVENTS: list[tuple[str, Json]] = [
    ("roster", {"actor": "coordinator", "roster_sha256": hashlib.sha256(b"roster").hexdigest(), "parties": 3}),
    (
        "seal",
        {
            "actor": "coordinator",
            "file_id": "00" * 16,
            "recipients": "aaaa-bbbb-cccc-dddd,eeee-ffff-gggg-hhhh",
            "path": "model.safetensors",
        },
    ),
    ("grant", {"actor": "coordinator", "file_id": "00" * 16, "recipient": "iiii-jjjj-kkkk-llll"}),
    ("open", {"actor": "aaaa-bbbb-cccc-dddd", "file_id": "00" * 16}),
    ("open-failed", {"file_id": "00" * 16, "reason": "Für diese Datei fehlt der Schlüssel \u2713", "actor": None}),
    ("aggregate", {"round": 7, "epsilon": 0.25, "clipped": True, "parties_summed": 9}),
    ("revoke", {"actor": "coordinator", "file_id": "00" * 16, "recipient": "eeee-ffff-gggg-hhhh"}),
]
TIMES = [f"2026-11-23T08:15:{second:02}.000{second:03}Z" for second in range(len(EVENTS))]
ENTRIES = [
    canonical({"version": 1, "time": time, "kind": kind, "fields": fields}) for time, (kind, fields) in zip(TIMES, EVENTS, strict=True)
]


def entries() -> Json:
    whole = {"version": 1, "time": TIMES[0], "kind": "seal", "fields": {"actor": "a"}}

    def bad(name: str, says: str, **changes: Any) -> Json:
        return {"name": name, "data": canonical(whole | changes).decode(), "says": says}

    text = canonical(whole).decode()
    return {
        "events": [{"kind": kind, "fields": fields, "time": time} for time, (kind, fields) in zip(TIMES, EVENTS, strict=True)],
        "entries": [entry.decode() for entry in ENTRIES],
        "refused": [
            bad("version 2", "version", version=2),
            bad("version true", "version", version=True),
            bad("version 1.0", "version", version=1.0),
            bad("unknown kind", "kind", kind="destroy"),
            bad("kind is a number", "kind", kind=1),
            bad("one more member", "form", extra=1),
            bad("fields are a list", "form", fields=[]),
            bad("nested field", "not a text", fields={"actor": {"name": "a"}}),
            bad("list field", "not a text", fields={"recipients": ["a"]}),
            bad("field name in capitals", "no name", fields={"Actor": "a"}),
            bad("empty field name", "no name", fields={"": "a"}),
            bad("number over 2^63", "number", fields={"round": 1 << 63}),
            bad("secret key", "secret key", fields={"actor": "AGE-SECRET-KEY-1" + "Q" * 58}),
            bad("time without Z", "no time", time=TIMES[0][:-1]),
            bad("time in another zone", "no time", time=TIMES[0][:-1] + "+00:00"),
            bad("time without microseconds", "no time", time="2026-11-23T08:15:00Z"),
            bad("a day that there is not", "there is no time", time="2026-02-30T08:15:00.000000Z"),
            bad("time is a number", "no time", time=0),
            {"name": "space", "data": text.replace(":", ": ", 1), "says": "canonical"},
            {"name": "another order", "data": '{"version":1,' + text[1:].replace(',"version":1', ""), "says": "canonical"},
            {"name": "duplicate key", "data": text.replace('"version":1', '"version":1,"version":1'), "says": "twice"},
            {"name": "newline behind it", "data": text + "\n", "says": "canonical"},
            {"name": "no object", "data": "[]", "says": "form"},
            {"name": "no JSON", "data": "seal", "says": "JSON"},
            {"name": "nothing", "data": "", "says": "JSON"},
        ],
    }


# Notes, checkpoints and cosignatures.

ORIGIN = "stfed/audit/0123456789abcdef"
COSIGNED_AT = 1795421700


def key_id(name: str, typed_key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + typed_key)[:4]


def vkey(name: str, typed_key: bytes) -> str:
    return f"{name}+{key_id(name, typed_key).hex()}+{b64(typed_key)}"


class Key:
    """Somebody with an Ed25519 key: `kind` is 1 for a log, 4 for a cosigner."""

    def __init__(self, name: str, kind: int) -> None:
        self.name, self.kind = name, kind
        self.seed = hashlib.sha256(b"stfed audit vectors: " + name.encode()).digest()
        self.private = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public = self.private.public_key().public_bytes_raw()
        self.key_id = key_id(name, bytes([kind]) + self.public)

    @property
    def vkey(self) -> str:
        return vkey(self.name, bytes([self.kind]) + self.public)

    def line(self, text: str, time: int = COSIGNED_AT, claimed: int | None = None) -> str:
        if self.kind == 1:
            body = self.private.sign(text.encode())
        else:
            body = (claimed or time).to_bytes(8, "big") + self.private.sign(f"cosignature/v1\ntime {time}\n{text}".encode())
        return f"\u2014 {self.name} {b64(self.key_id + body)}\n"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


LOG, OTHER_LOG = Key(ORIGIN, 1), Key("stfed/audit/ffffffffffffffff", 1)
ANNA, BEN, EVE = Key("hospital-a.example/audit", 4), Key("hospital-b.example/audit", 4), Key("nobody.example/audit", 4)
ANNA_TWICE = Key("hospital-a.example/audit", 4)
ANNA_TWICE.name = "hospital-a.example/other"
ANNA_TWICE.key_id = key_id(ANNA_TWICE.name, b"\4" + ANNA_TWICE.public)


def checkpoint_text(size: int, leaves: list[bytes] = ENTRIES, origin: str = ORIGIN) -> str:
    return f"{origin}\n{size}\n{b64(tree_hash(leaves[:size]))}\n"


def note(text: str, *signers: Key) -> str:
    return text + "\n" + "".join(key.line(text) for key in signers)


CHECKPOINTS = {size: note(checkpoint_text(size), LOG) for size in range(len(ENTRIES) + 1)}
COSIGNED, UNSIGNED = note(checkpoint_text(7), LOG, ANNA, BEN), note(checkpoint_text(7), EVE)


def checkpoints() -> Json:
    text = checkpoint_text(5)
    whole = note(text, LOG)
    line = LOG.line(text)
    raw = base64.b64decode(line.split(" ")[2])

    def case(name: str, data: str, expect: str | None, says: str = "", *, trusted: list[Key] | None = None, quorum: int = 0) -> Json:
        vkeys = [key.vkey for key in ([LOG, ANNA, BEN] if trusted is None else trusted)]
        return {"name": name, "note": data, "trusted": vkeys, "quorum": quorum, "expect": expect, "says": says}

    def body(name: str, lines: str, says: str) -> Json:
        return case(name, note(lines, LOG), "MalformedError", says)

    root = b64(tree_hash(ENTRIES[:5]))
    flipped = f"\u2014 {ORIGIN} {b64(raw[:-1] + bytes([raw[-1] ^ 1]))}\n"
    as_cosigner = Key(ORIGIN, 4)  # the log's own key in the wrong role
    return {
        "keys": {key.name: {"seed": key.seed.hex(), "vkey": key.vkey, "kind": key.kind} for key in (LOG, OTHER_LOG, ANNA, BEN, EVE)},
        "cosigned_at": COSIGNED_AT,
        "signed": list(CHECKPOINTS.values()),
        "cosigned": COSIGNED,
        "cases": [
            case("signed", whole, None),
            case("cosigned by one", note(text, LOG, ANNA), None, quorum=1),
            case("cosigned by two, and by one whom nobody knows", note(text, EVE, ANNA, LOG, BEN), None, quorum=2),
            case("an extension line", note(text + "more\n", LOG, ANNA), None, quorum=1),
            case("an empty log", CHECKPOINTS[0], None),
            case("signed twice by the log", whole + line, None),
            case("unknown key", whole, "UntrustedError", "no trusted key", trusted=[OTHER_LOG, ANNA]),
            case("no key", whole, "UntrustedError", "no trusted key", trusted=[]),
            case("cosigned but not signed", note(text, ANNA, BEN), "UntrustedError", "has not signed"),
            case("signed by another log", note(text, OTHER_LOG), "UntrustedError", "no trusted key", trusted=[OTHER_LOG]),
            case("one cosigner of two", note(text, LOG, ANNA), "UntrustedError", "1 of the trusted", quorum=2),
            case("one cosigner twice", note(text, LOG, ANNA, ANNA), "UntrustedError", "1 of the trusted", quorum=2),
            case(
                "one cosigner under two names",
                note(text, LOG, ANNA, ANNA_TWICE),
                "UntrustedError",
                "1 of the trusted",
                trusted=[LOG, ANNA, ANNA_TWICE],
                quorum=2,
            ),
            case("cosigners whom nobody knows", note(text, LOG, EVE), "UntrustedError", "0 of the trusted", quorum=1),
            case("another size", whole.replace("\n5\n", "\n6\n"), "BadSignatureError", "not by the identity"),
            case("another root", whole.replace(root, b64(tree_hash(ENTRIES[:4]))), "BadSignatureError", "not by the identity"),
            case("another origin", note(text, LOG).replace(ORIGIN + "\n5", "x\n5"), "UntrustedError", "no trusted key"),
            case("flipped signature", text + "\n" + flipped, "BadSignatureError", "not by the identity"),
            case("good and flipped signature", whole + flipped, "BadSignatureError", "not by the identity"),
            case("short signature", text + f"\n\u2014 {ORIGIN} {b64(raw[:-1])}\n", "BadSignatureError", "length"),
            case("long signature", text + f"\n\u2014 {ORIGIN} {b64(raw + b'0')}\n", "BadSignatureError", "length"),
            case(
                "cosignature of another time",
                whole + ANNA.line(text, claimed=COSIGNED_AT + 1),
                "BadSignatureError",
                "not by the identity",
            ),
            case(
                "cosignature of another text", note(text, LOG) + ANNA.line(checkpoint_text(4)), "BadSignatureError", "not by the identity"
            ),
            case(
                "cosignature after all time",
                note(text, LOG) + ANNA.line(text, time=(1 << 63) - 1),
                "BadSignatureError",
                "a time that there is not",
            ),
            case("log's key as a cosigner", note(text, as_cosigner), "UntrustedError", "has not signed", trusted=[LOG, as_cosigner]),
            case(
                "log's signature under a cosigner's id",
                text + f"\n\u2014 {ORIGIN} {b64(as_cosigner.key_id + raw[4:])}\n",
                "BadSignatureError",
                "length",
                trusted=[as_cosigner],
            ),
            body("no root", f"{ORIGIN}\n5\n", "three lines"),
            body("empty origin", f"\n5\n{root}\n", "none of them empty"),
            body("empty extension", text + "\nmore\n", "none of them empty"),
            body("leading zero", f"{ORIGIN}\n05\n{root}\n", "decimal"),
            body("plus sign", f"{ORIGIN}\n+5\n{root}\n", "decimal"),
            body("size of other digits", f"{ORIGIN}\n\u0665\n{root}\n", "decimal"),
            body("negative size", f"{ORIGIN}\n-5\n{root}\n", "decimal"),
            body("size of 2^63", f"{ORIGIN}\n{1 << 63}\n{root}\n", "decimal"),
            body("size of a million digits", f"{ORIGIN}\n{'1' * 10000}\n{root}\n", "decimal"),
            body("root without padding", f"{ORIGIN}\n5\n{root[:-1]}\n", "base64"),
            body("root with loose bits", f"{ORIGIN}\n5\n{root[:-2]}{chr(ord(root[-2]) + 1)}=\n", "base64"),
            body("root in the URL alphabet", f"{ORIGIN}\n5\n{b64(bytes([255] * 32)).replace('/', '_')}\n", "base64"),
            body("root of 31 bytes", f"{ORIGIN}\n5\n{b64(bytes(31))}\n", "no root"),
            body("root of an empty log that is none", f"{ORIGIN}\n0\n{root}\n", "no root"),
            case("no signature", text, "MalformedError", "no signed note"),
            case("blank line but no signature", text + "\n", "MalformedError", "no signed note"),
            case("no last newline", whole[:-1], "MalformedError", "no signed note"),
            case("no text", "\n" + line, "MalformedError", "no signed note"),
            case("nothing", "", "MalformedError", "no signed note"),
            case("hyphen for dash", whole.replace("\u2014", "-"), "MalformedError", "no signature line"),
            case("name with a plus", whole.replace(f"\u2014 {ORIGIN}", "\u2014 a+b"), "MalformedError", "no signature line"),
            case("name with another space", whole.replace(f"\u2014 {ORIGIN}", "\u2014 a\u2003b"), "MalformedError", "no signature line"),
            case("no name", whole.replace(f"\u2014 {ORIGIN}", "\u2014 "), "MalformedError", "no signature line"),
            case("signature of four bytes", text + f"\n\u2014 {ORIGIN} {b64(raw[:4])}\n", "MalformedError", "cut off"),
            case("signature with a space behind it", whole[:-1] + " \n", "MalformedError", "base64"),
            case("carriage returns", whole.replace("\n", "\r\n"), "MalformedError", "control"),
            case("a null byte", whole.replace(ORIGIN + "\n5", ORIGIN + "\0\n5"), "MalformedError", "control"),
            case("101 signatures", whole + line * 100, "MalformedError", "more than 100"),
        ],
        "vkeys": [
            {"text": LOG.vkey[:-1], "says": "base64"},
            {"text": LOG.vkey.replace(LOG.key_id.hex(), "00000000"), "says": "id"},
            {"text": LOG.vkey.replace(LOG.key_id.hex(), LOG.key_id.hex().upper()), "says": "id"},
            {"text": LOG.vkey.replace(ORIGIN, "x"), "says": "id"},
            {"text": LOG.vkey.replace(ORIGIN, ""), "says": "printable"},
            {"text": LOG.vkey.replace(ORIGIN, "a b"), "says": "printable"},
            {"text": f"{ORIGIN}+{LOG.key_id.hex()}", "says": "no verifier key"},
            {"text": f"x+{sha256(b'x' + bytes([10, 6]) + LOG.public)[:4].hex()}+{b64(bytes([6]) + LOG.public)}", "says": "not Ed25519"},
            {
                "text": f"x+{sha256(b'x' + bytes([10, 1]) + LOG.public[1:])[:4].hex()}+{b64(bytes([1]) + LOG.public[1:])}",
                "says": "not Ed25519",
            },
            {"text": "", "says": "no verifier key"},
        ],
    }


# Proofs.


def inclusion_text(index: int, size: int, checkpoint: str, *, extra: bytes | None = None) -> str:
    head = "c2sp.org/tlog-proof@v1\n" + (f"extra {b64(extra)}\n" if extra is not None else "") + f"index {index}\n"
    return head + "".join(f"{b64(value)}\n" for value in inclusion_path(index, ENTRIES[:size])) + "\n" + checkpoint


def consistency_text(old: int, size: int, checkpoint: str) -> str:
    return f"old {old}\n" + "".join(f"{b64(value)}\n" for value in consistency_path(old, ENTRIES[:size])) + "\n" + checkpoint


def proofs() -> Json:
    whole = inclusion_text(2, 7, COSIGNED, extra=ENTRIES[2])
    lines = whole.split("\n")
    bare = inclusion_text(2, 7, COSIGNED)
    grown = consistency_text(3, 7, COSIGNED)

    def case(name: str, proof: str, expect: str | None, says: str = "", *, entry: bytes | None = None, quorum: int = 0) -> Json:
        given = None if entry is None else entry.decode()
        return {"name": name, "proof": proof, "entry": given, "quorum": quorum, "expect": expect, "says": says}

    def growth(name: str, proof: str, expect: str | None, says: str = "", *, old: str = CHECKPOINTS[3]) -> Json:
        return {"name": name, "proof": proof, "old": old, "expect": expect, "says": says}

    forked = note(checkpoint_text(7, [b"{}", *ENTRIES[1:]]), LOG)
    return {
        "trusted": [LOG.vkey, ANNA.vkey, BEN.vkey],
        "inclusion": [inclusion_text(i, n, CHECKPOINTS[n], extra=ENTRIES[i]) for n in range(1, 8) for i in range(n)],
        "consistency": [{"old": m, "proof": consistency_text(m, n, CHECKPOINTS[n])} for n in range(8) for m in range(n + 1)],
        "inclusion_cases": [
            case("with its entry", whole, None, quorum=2),
            case("entry brought by the verifier", bare, None, entry=ENTRIES[2]),
            case("entry brought, another one in the proof", inclusion_text(2, 7, COSIGNED, extra=ENTRIES[3]), None, entry=ENTRIES[2]),
            case("no entry at all", bare, "LocalError", "does not hold the entry"),
            case("another entry", inclusion_text(2, 7, COSIGNED, extra=ENTRIES[3]), "ProofError", "does not lead"),
            case("another entry brought", whole, "ProofError", "does not lead", entry=ENTRIES[3]),
            case("another index", whole.replace("index 2", "index 3"), "ProofError", "does not lead"),
            case("index past the end", whole.replace("index 2", "index 7"), "ProofError", "no entry 7"),
            case("a hash too few", "\n".join(lines[:5] + lines[6:]), "ProofError", "does not lead"),
            case("a hash too many", "\n".join(lines[:6] + lines[5:]), "ProofError", "longer"),
            case("two hashes swapped", "\n".join([*lines[:3], lines[4], lines[3], *lines[5:]]), "ProofError", "does not lead"),
            case("under another checkpoint", inclusion_text(2, 7, CHECKPOINTS[6], extra=ENTRIES[2]), "ProofError", "does not lead"),
            case("under an unsigned checkpoint", inclusion_text(2, 7, UNSIGNED, extra=ENTRIES[2]), "UntrustedError", ""),
            case("under too few cosignatures", inclusion_text(2, 7, CHECKPOINTS[7], extra=ENTRIES[2]), "UntrustedError", "0 of", quorum=1),
            case("another first line", whole.replace("@v1", "@v2"), "MalformedError", "does not start"),
            case("no index", whole.replace("index 2\n", ""), "MalformedError", "'index' is due"),
            case("index with a leading zero", whole.replace("index 2", "index 02"), "MalformedError", "decimal"),
            case("two spaces", whole.replace("index 2", "index  2"), "MalformedError", "decimal"),
            case("negative index", whole.replace("index 2", "index -2"), "MalformedError", "decimal"),
            case("empty extra", bare.replace("index", "extra \nindex"), "MalformedError", "base64"),
            case("extra behind the index", bare.replace("index 2\n", "index 2\nextra AAAA\n"), "MalformedError", "base64"),
            case("two extras", whole.replace("extra", "extra AAAA\nextra"), "MalformedError", "'index' is due"),
            case("hash of 31 bytes", bare.replace("index 2\n", f"index 2\n{b64(bytes(31))}\n"), "MalformedError", "32 bytes"),
            case("64 hashes", bare.replace("index 2\n", "index 2\n" + f"{b64(bytes(32))}\n" * 61), "MalformedError", "63 hashes"),
            case("no checkpoint", bare.split("\n\n")[0] + "\n", "MalformedError", "no checkpoint"),
            case("two blank lines", whole.replace("\n\n", "\n\n\n", 1), "MalformedError", "none of them empty"),
            case("text behind it", whole + "more\n", "MalformedError", "no signature line"),
            case("nothing", "", "MalformedError", "no checkpoint"),
        ],
        "consistency_cases": [
            growth("from 3 to 7", grown, None),
            growth("from 7 to 7", consistency_text(7, 7, COSIGNED), None, old=CHECKPOINTS[7]),
            growth("from nothing", consistency_text(0, 7, COSIGNED), None, old=CHECKPOINTS[0]),
            growth("from elsewhere", consistency_text(4, 7, COSIGNED), "ProofError", "starts at 4"),
            growth("from nothing, though 3 were seen", consistency_text(0, 7, COSIGNED), "ProofError", "starts at 0"),
            growth(
                "backwards", consistency_text(3, 3, CHECKPOINTS[3]).replace("old 3", "old 7"), "ProofError", "did not grow", old=COSIGNED
            ),
            growth("another history", consistency_text(7, 7, COSIGNED), "ForkError", "two histories", old=forked),
            growth("another history before", grown, "ProofError", "does not lead", old=note(checkpoint_text(3, [b"{}", *ENTRIES]), LOG)),
            growth("under an unsigned checkpoint", consistency_text(3, 7, UNSIGNED), "UntrustedError", "no trusted key"),
            growth("of another log", grown, "UntrustedError", "not 'x'", old=note(checkpoint_text(3, origin="x"), Key("x", 1))),
            growth("no hashes", "old 3\n\n" + COSIGNED, "ProofError", "is empty"),
            growth("a hash where none is due", f"old 7\n{b64(bytes(32))}\n\n{COSIGNED}", "ProofError", "due", old=COSIGNED),
            growth("a hash too many", grown.replace("old 3\n", f"old 3\n{b64(bytes(32))}\n"), "ProofError", ""),
            growth("no old size", grown.replace("old 3\n", ""), "MalformedError", "'old' is due"),
            growth("old size with a leading zero", grown.replace("old 3", "old 03"), "MalformedError", "decimal"),
            growth("no checkpoint", grown.split("\n\n")[0], "MalformedError", "no checkpoint"),
        ],
    }


# A whole log, as the statements that make its file.


def quoted(value: bytes | str | int) -> str:
    if isinstance(value, bytes):
        return f"X'{value.hex().upper()}'"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def log() -> str:
    tables = {
        "log": "origin TEXT NOT NULL",
        "entries": "position INTEGER PRIMARY KEY, data BLOB NOT NULL",
        "hashes": "position INTEGER PRIMARY KEY, hash BLOB NOT NULL",
        "checkpoints": "size INTEGER NOT NULL, note TEXT NOT NULL, PRIMARY KEY (size, note)",
    }
    lines = ["PRAGMA application_id=1937001575", "PRAGMA user_version=1"]
    for name, columns in tables.items():
        lines.append(f"CREATE TABLE {name} ({columns})" + (" WITHOUT ROWID" if name == "checkpoints" else ""))
    refusal = "BEGIN SELECT RAISE(ABORT, 'the log only grows'); END"
    verbs = ("UPDATE", "DELETE")
    lines += [f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} {refusal}" for name in tables for verb in verbs]
    rows: list[tuple[str, tuple[bytes | str | int, ...]]] = [("log", (ORIGIN,))]
    rows += [("entries", (index, entry)) for index, entry in enumerate(ENTRIES)]
    rows += [("hashes", (index, value)) for index, value in enumerate(stored_hashes(ENTRIES))]
    rows += [("checkpoints", (size, CHECKPOINTS[size])) for size in (3, 7)] + [("checkpoints", (7, COSIGNED))]
    lines += [f"INSERT INTO {table} VALUES ({','.join(map(quoted, values))})" for table, values in rows]
    return "".join(f"{line};\n" for line in lines)


def generate() -> dict[str, bytes]:
    files = {"merkle": merkle(), "entries": entries(), "checkpoints": checkpoints(), "proofs": proofs()}
    content = {f"audit/{name}.json": json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n" for name, value in files.items()}
    return content | {"audit/log.sql": log().encode()}
