"""Grants: by the wrong hands, in the wrong place, from elsewhere, undone by damage; and generations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.vectors.sealed_format import keys
from tests.vectors.sealed_format.container import SLOT_BYTES, Sealed, seal, slot, to_keys, to_passphrase
from tests.vectors.sealed_format.damage import (
    DENIED,
    MALFORMED,
    NOT_MINE,
    ROLLBACK,
    SLOT_A,
    SLOT_B,
    TAMPERED,
    UNSUPPORTED,
    flip,
    overwrite,
)
from tests.vectors.sealed_format.encoding import canonical, from_base64, to_base64
from tests.vectors.sealed_format.scenarios import Scenarios, plain_file


def add_chain(scenarios: Scenarios) -> None:
    """Each chain is held against by everybody, the first recipients included: one wrong grant spoils the envelope."""
    plain = plain_file()

    def case(name: str, expect: str, says: str, file: Sealed, *, rule: str | None = None, base: str = "signed", **reader: Any) -> None:
        scenarios.add(f"grant {name}", base, file, expect, says, rule=rule, verify=expect, **reader)

    def signed() -> Sealed:
        return scenarios.copy("signed")

    def changed(base: str, change: Callable[[Sealed], object]) -> Sealed:
        file = scenarios.copy(base)
        change(file)
        return file

    def part(name: str, value: object, index: int = 0) -> Callable[[Sealed], object]:
        return lambda file: file.grants[index].__setitem__(name, value)

    owners, broken, order = "was not made by an owner", "the signature of grant 1 does not verify", "does not follow what was before it"
    case("by a stranger", DENIED, owners, signed().grant("mallory", "stranger"), rule="owners")
    case("by a stranger to themselves", DENIED, owners, signed().grant("mallory", "stranger"), rule="owners", identity=["stranger"])
    case("by a stranger in an owner's name", TAMPERED, broken, signed().grant("alice", "stranger", by="mallory"))
    case("by one of the policy's readers", DENIED, owners, scenarios.copy("policy").grant("bob", "stranger"), rule="owners", base="policy")
    case("by one who was given access", DENIED, owners, signed().grant("alice", "colleague").grant("mallory", "stranger"), rule="owners")
    case(
        "by half of a hybrid owner",
        DENIED,
        owners,
        scenarios.copy("signed-hybrid").grant("half of carol", "hybrid colleague"),
        rule="owners",
        base="signed-hybrid",
    )
    case("with a wrong previous hash", TAMPERED, order, signed().grant("alice", "colleague", previous=bytes(32)))
    case("signed for another generation", TAMPERED, broken, signed().grant("alice", "colleague", generation=3))
    case("signed for another manifest", TAMPERED, broken, signed().grant("alice", "colleague", manifest_hash=bytes(32)))
    second_stanza = scenarios.files["granted-thrice"].grants[1]["stanza"]
    for name, value in (
        ("recipient", "00" * 32),
        ("stanza", second_stanza),
        ("time", "2026-03-01T12:00:01Z"),
        ("signature", to_base64(bytes(64))),
        ("signature", ""),
    ):
        case(
            f"with another {name}{'' if value else ' of no bytes'}",
            TAMPERED,
            broken,
            changed("granted-once", part(name, value)),
            identity=["x25519"],
        )
    case("with another previous hash", TAMPERED, order, changed("granted-once", part("previous", "00" * 32)))
    case("with another granter", DENIED, owners, changed("granted-once", part("granter", "00" * 32)), rule="owners")
    case("with an unknown field", UNSUPPORTED, "'x' in a grant", changed("granted-once", part("x", 1)))
    case("without a time", MALFORMED, "a grant is not a JSON object", changed("granted-once", lambda f: f.grants[0].pop("time")))
    case("with a time that is none", MALFORMED, "no time", changed("granted-once", part("time", "now")))
    case(
        "with a key for a hash", MALFORMED, "32 bytes in hexadecimal", changed("granted-once", part("recipient", keys.written("colleague")))
    )
    case(
        "with an unknown field in its stanza",
        UNSUPPORTED,
        "'x' in a recipient",
        changed("granted-once", lambda f: f.grants[0]["stanza"].update(x=1)),
    )
    case("of another kind", MALFORMED, "mixes", signed().grant("alice", "hybrid colleague"))
    body = from_base64(second_stanza["body"])
    short = {**second_stanza, "body": to_base64(body[:-1])}
    case("with a stanza too short, signed", MALFORMED, "body of 79 bytes", signed().grant("alice", "colleague", stanza=short))

    for name, indices in (
        ("the first dropped", (1, 2)),
        ("the middle dropped", (0, 2)),
        ("the order changed", (1, 0, 2)),
        ("the last twice", (0, 1, 2, 2)),
    ):
        file = scenarios.copy("granted-thrice")
        file.grants = [file.grants[index] for index in indices]
        envelope = slot(canonical(file.envelope()), 1 + len(indices))
        a = envelope if len(indices) % 2 == 0 else bytes(SLOT_BYTES)
        data = file.file(a=a, b=bytes(SLOT_BYTES) if len(indices) % 2 == 0 else envelope)
        scenarios.add(f"grants, {name}", "granted-thrice", data, TAMPERED, order, verify=TAMPERED, generation=None)
    elsewhere = seal("grants elsewhere", plain, to_keys("x25519", "other reader"), signers=["alice"]).grant("alice", "colleague")
    replayed = signed()
    replayed.history.append(canonical(replayed.envelope()))
    replayed.grants = elsewhere.grants
    case("replayed from another file", TAMPERED, order, replayed)
    again = signed().grant("alice", "colleague", previous=bytes.fromhex(elsewhere.grants[0]["previous"]))
    case("that follows another file's envelope", TAMPERED, order, again)
    twin = seal("signed passphrase", plain, to_passphrase(), signers=["alice"])
    twin.history.append(canonical(twin.envelope()))
    twin.grants = elsewhere.grants
    case("in a file under a passphrase", MALFORMED, "mixes", twin, base="signed-passphrase")
    useless = signed().grant("alice", "colleague", stanza={**second_stanza, "tag": "00" * 8})
    for name, reader, expect, says in (
        ("", "x25519", "ok", ""),
        (", asked by its recipient", "colleague", TAMPERED, "hold nothing for it"),
    ):
        scenarios.add(f"grant that opens for nobody{name}", "signed", useless, expect, says, verify="ok", identity=[reader])
    for name, time in (("before the file was sealed", "1999-12-31T23:59:59Z"), ("in the far future", "9999-12-31T23:59:59Z")):
        dated = signed().grant("alice", "colleague", time=time)  # only a roster minds: the other readers must not be locked out
        scenarios.add(f"grant dated {name}", "signed", dated, "ok", "", verify="ok", identity=["colleague"])
    foreign = signed().grant("alice", "colleague", stanza=elsewhere.grants[0]["stanza"])
    name = "grant with a stanza of another file, signed"
    scenarios.add(name, "signed", foreign, TAMPERED, "hold nothing for it", verify="ok", identity=["colleague"])


def add_generations(scenarios: Scenarios) -> None:
    """Two slots in turn: what is left when one is damaged, put back, or claims a place that is not its own."""
    once, thrice = scenarios.whole("granted-once"), scenarios.whole("granted-thrice")
    file = scenarios.copy("granted-once")
    envelope, before = canonical(file.envelope()), file.history[0]
    torn = overwrite(once, SLOT_B + 1500, bytes(500))
    first: dict[str, Any] = {"identity": ["x25519"], "generation": None}
    scenarios.add("torn newest slot falls back", "granted-once", torn, verify="ok", **first)
    scenarios.add("torn newest slot, for the one it gave access", "granted-once", torn, NOT_MINE, "not to", verify="ok", generation=None)
    scenarios.add("torn newest slot, generation asked for", "granted-once", torn, ROLLBACK, "at least 2 is asked for", identity=["x25519"])
    torn_third = overwrite(thrice, SLOT_B + 1500, bytes(500))
    for name, expect in (("second colleague", "ok"), ("third colleague", NOT_MINE)):
        says = "" if expect == "ok" else "not to"
        scenarios.add(
            f"torn fourth generation, for the {name}",
            "granted-thrice",
            torn_third,
            expect,
            says,
            verify="ok",
            generation=None,
            identity=[name],
        )
    torn_older = flip(thrice, SLOT_A + 200)
    scenarios.add("damaged older slot", "granted-thrice", torn_older, verify="ok")
    both = flip(flip(once, SLOT_A + 200), SLOT_B + 200)
    scenarios.add("both slots damaged", "granted-once", both, MALFORMED, "both envelope slots are damaged", verify=MALFORMED)
    undone = scenarios.whole("signed")
    scenarios.add("a grant undone by writing zeros over it", "granted-once", undone, verify="ok", **first)
    scenarios.add(
        "a grant undone, generation asked for",
        "granted-once",
        undone,
        ROLLBACK,
        "of generation 1, at least 2 is asked for",
        identity=["x25519"],
    )
    scenarios.add("a generation that is not there yet", "granted-once", once, ROLLBACK, "at least 3 is asked for", generation=3)

    def placed(name: str, a: bytes, b: bytes, expect: str, says: str, **reader: Any) -> None:
        scenarios.add(name, "granted-once", file.file(a=a, b=b), expect, says, verify=expect, **reader)

    placed("slot generation skipped", slot(before, 1), slot(envelope, 3), MALFORMED, "generation 3 has 1 grants")
    placed("slot generation too low", bytes(SLOT_BYTES), slot(envelope, 1), MALFORMED, "generation 1 has 1 grants")
    placed(
        "old envelope put over the new one with a higher number", slot(before, 3), slot(envelope, 2), MALFORMED, "generation 3 has 0 grants"
    )
    placed("slots exchanged", slot(envelope, 2), slot(before, 1), "ok", "")
    placed(
        "older slot with the envelope of another file",
        slot(canonical(scenarios.files["two-signers"].envelope()), 1),
        slot(envelope, 2),
        "ok",
        "",
    )
    other = canonical(scenarios.copy("two-signers").grant("alice", "colleague").envelope())
    placed(
        "newest slot with the envelope of another file", slot(before, 1), slot(other, 2), MALFORMED, "different suites, file ids or lengths"
    )
