"""What a signer may not sign, and policies kept and not kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.vectors.sealed_format import keys
from tests.vectors.sealed_format.container import slot
from tests.vectors.sealed_format.damage import (
    DENIED,
    MALFORMED,
    TAMPERED,
    UNSUPPORTED,
    field,
    within,
)
from tests.vectors.sealed_format.encoding import Json, canonical
from tests.vectors.sealed_format.scenarios import DURING, Scenarios

OTHER_CONTEXT = "does not open"


def add_manifests(scenarios: Scenarios) -> None:
    """The manifest of a signed file, edited under its old signature, and signed anew by a sealer who lies."""
    later, base = "2036-12-31T23:59:59Z", "policy"

    def edited(name: str, change: Callable[[Json], object], **reader: Any) -> None:
        file = scenarios.copy(base)
        change(file.manifest)
        scenarios.add(f"{name} under the old signature", base, file, TAMPERED, "the signature of", verify=TAMPERED, **reader)

    edited("window made longer", within("policy", not_after=later), clock="2030-01-01T00:00:00Z")
    edited("purposes taken away", within("policy", purposes=[]), purpose=None)
    edited("an owner added", lambda m: m["policy"]["owners"].append(keys.written("mallory")))
    edited("time of sealing edited", field("time", "2025-01-02T03:04:05Z"))
    edited("statement edited", within("public", sequence=8))
    edited("sealed statements added", field("sealed", "AAAA" * 8))

    def signed(name: str, expect: str, says: str, change: Callable[[Json], object], base: str = "signed", **reader: Any) -> None:
        file = scenarios.copy(base)
        change(file.manifest)
        names = tuple(reader.pop("by", file.signers))
        verify = "ok" if says == OTHER_CONTEXT else expect  # only a key tells that this was not there when the file was sealed
        scenarios.add(f"{name}, signed", base, file.sign(*names), expect, says, verify=verify, **reader)

    alice, nine = keys.written("alice"), [f"signer {number}" for number in range(9)]
    signed("statement edited", TAMPERED, OTHER_CONTEXT, within("public", sequence=8))
    signed("time of sealing edited", TAMPERED, OTHER_CONTEXT, field("time", "2025-01-02T03:04:05Z"))
    signed("time of sealing that is none", MALFORMED, "the time of sealing is no time", field("time", "yesterday"))
    signed("unknown field in the manifest", UNSUPPORTED, "'x' in the manifest", field("x", 1))
    signed("unknown field in the policy", UNSUPPORTED, "'x' in the policy", within("policy", x=1))
    signed("field missing in the policy", MALFORMED, "the policy is not a JSON object", lambda m: m["policy"].pop("owners"))
    signed("policy a list", MALFORMED, "the policy is not a JSON object", field("policy", []))
    signed("a signer twice", MALFORMED, "name a key twice", field("signers", [alice, alice]), by=["alice", "alice"])
    signed("nine signers", MALFORMED, "at most 8", field("signers", [keys.written(name) for name in nine]), by=nine)
    signed("a signer in capitals", MALFORMED, "not as keys are written", field("signers", [alice.upper()]))
    signed("an encryption key for a signer", MALFORMED, "for encryption", field("signers", [keys.written("x25519")]))
    signed("a signer with a typing error", MALFORMED, "", field("signers", [alice[:-1] + ("q" if alice[-1] != "q" else "p")]))
    signed("a signer that is no text", MALFORMED, "not text", field("signers", [1]))
    signed("an owner twice", MALFORMED, "name a key twice", within("policy", owners=[alice, alice]))
    signed("65 owners", MALFORMED, "at most 64", within("policy", owners=[alice] * 65))
    signed("a reader that is no key", MALFORMED, "", within("policy", readers=["x"]))
    signed("a purpose that is no text", MALFORMED, "not text", within("policy", purposes=[1]))
    signed("an empty purpose", MALFORMED, "printable text", within("policy", purposes=[""]))
    signed("a purpose with an escape sequence", MALFORMED, "printable text", within("policy", purposes=["\x1b[2J"]))
    signed("a purpose twice", MALFORMED, "", within("policy", purposes=["a", "a"]), purpose="a")
    signed("a purpose of 65 characters", MALFORMED, "at most 64 characters", within("policy", purposes=["p" * 65]))
    signed("33 purposes", MALFORMED, "at most 32", within("policy", purposes=[f"p{number}" for number in range(33)]))
    signed(
        "a window that ends before it begins",
        MALFORMED,
        "before it begins",
        within("policy", not_before=later, not_after=DURING),
    )
    for name, time in (
        ("a number", 1767225600), ("with an offset", "2026-01-01T00:00:00+00:00"), ("without seconds", "2026-01-01T00:00Z"),
        ("with fractions", "2026-01-01T00:00:00.5Z"), ("in lower case", "2026-01-01t00:00:00z"), ("on 30 February", "2026-02-30T00:00:00Z"),
        ("in Arabic digits", "٢٠٢٦-01-01T00:00:00Z"), ("with a leap second", "2026-12-31T23:59:60Z"),
        ("of a year with five digits", "12026-01-01T00:00:00Z"),
    ):  # fmt: skip
        signed(f"a time {name}", MALFORMED, "", within("policy", not_before=time))
    unsigned_parts = scenarios.copy("signed")
    unsigned_parts.manifest["signers"] = []
    unsigned_parts.signatures = []
    scenarios.add("signers emptied, digests kept", "signed", unsigned_parts, MALFORMED, "belong to a signed file", verify=MALFORMED)
    text = canonical(scenarios.files["signed"].envelope()).replace(b'"version":1', b'"version":1,"version":1')
    file = scenarios.copy("signed")
    scenarios.add(
        "duplicate key in a signed manifest", "signed", file.file(a=slot(text, 1)), MALFORMED, "'version' occurs twice", verify=MALFORMED
    )
    header = scenarios.copy("signed")
    header.manifest["floe_header_sha256"] = "00" * 32
    scenarios.add("wrong FLOE header hash, signed", "signed", header.sign(), TAMPERED, "payload's header")


def add_policy(scenarios: Scenarios) -> None:
    """Policies that are kept and policies that are not; signatures are in order in all of them."""
    whole, base = scenarios.whole("policy"), "policy"

    def case(name: str, rule: str | None, says: str = "", **reader: Any) -> None:
        scenarios.add(name, base, whole, DENIED if rule else "ok", says, rule=rule, verify="ok", **reader)

    case("policy: long before", "not-before", "may not be opened before 2026-01-01T00:00:00Z", clock="1999-01-01T00:00:00Z")
    case("policy: a second too early", "not-before", "may not be opened before", clock="2025-12-31T23:59:59Z")
    case("policy: the first moment", None, clock="2026-01-01T00:00:00Z")
    case("policy: the last moment", None, clock="2026-12-31T23:59:59Z")
    case("policy: a second too late", "not-after", "may not be opened after 2026-12-31T23:59:59Z", clock="2027-01-01T00:00:00Z")
    case("policy: no purpose", "purpose", "no purpose was given", purpose=None)
    case("policy: another purpose", "purpose", "'marketing' is none of them", purpose="marketing")
    case("policy: a purpose in capitals", "purpose", "is none of them", purpose="Evaluation")
    case("policy: the other purpose", None, purpose="training")
    case(
        "policy: nobody trusted in particular, and late", "not-after", "may not be opened after", clock="2030-01-01T00:00:00Z", trusted=None
    )
    scenarios.add("a purpose where none is asked for", "signed", scenarios.whole("signed"), verify="ok", purpose="anything")
