"""Signatures: stripped, swapped, by others, halved."""

from __future__ import annotations

from typing import Any

from tests.vectors.sealed_format import encoding, keys
from tests.vectors.sealed_format.container import NO_POLICY, SUITES, Sealed, seal, to_keys
from tests.vectors.sealed_format.damage import MALFORMED, TAMPERED, UNTRUSTED, flip
from tests.vectors.sealed_format.encoding import canonical, from_base64, to_base64
from tests.vectors.sealed_format.scenarios import Scenarios, plain_file

BROKEN = "does not verify"


def add_trust(scenarios: Scenarios) -> None:
    """Files as they were sealed, and readers who want another signature."""
    for name, base, says, trusted in (
        ("wrong key trusted", "signed", "nobody trusted signed the file", "bob"),
        ("half of a hybrid key trusted", "signed-hybrid", "nobody trusted signed the file", "half of carol"),
        ("unsigned where a signature is asked for", "x25519", "not signed", "alice"),
    ):
        scenarios.add(name, base, scenarios.whole(base), UNTRUSTED, says, verify=UNTRUSTED, trusted=[trusted])


def add_strangers(scenarios: Scenarios) -> None:
    """What somebody without the key can make of the signers: known to whoever trusts one, and to nobody else of any use."""

    def case(name: str, file: Sealed, says: str) -> None:
        scenarios.add(name, "signed", file, UNTRUSTED, says, verify=UNTRUSTED)
        scenarios.add(f"{name}, nobody trusted in particular", "signed", file, TAMPERED, "does not open", trusted=None)

    stripped = scenarios.copy("signed")
    stripped.digest, stripped.digests, stripped.signatures = None, b"", []
    stripped.manifest.update(suite=SUITES[None], signers=[], digests_sha256=None, policy=NO_POLICY)
    case("signature stripped", stripped, "not signed")
    replaced = scenarios.copy("signed")
    replaced.manifest["signers"] = [keys.written("mallory")]
    case("signer replaced and signed anew", replaced.sign("mallory"), "nobody trusted signed the file")
    low_order = scenarios.copy("signed")
    low_order.manifest["signers"] = [keys.bech32("stfedsig", b"\x01" + bytes(31))]
    low_order.signatures = [to_base64(b"\x01" + bytes(63))]  # the neutral element: R = itself and S = 0 fit every message
    name = "a signer of low order whose signature fits everything"
    scenarios.add(name, "signed", low_order, TAMPERED, BROKEN, verify="UntrustedError", trusted=None)


def add_signatures(scenarios: Scenarios) -> None:
    """Other signatures than those that are due, under a manifest that nobody touched."""

    def case(name: str, base: str, signatures: list[str], expect: str = TAMPERED, says: str = BROKEN, **reader: Any) -> None:
        file = scenarios.copy(base)
        file.signatures = signatures
        scenarios.add(name, base, file, expect, says, verify=expect, **reader)

    (true,) = scenarios.files["signed"].signatures
    mallorys = scenarios.copy("signed").sign("mallory").signatures
    other = seal("other by alice", plain_file(), to_keys("x25519"), signers=["alice"])
    label = to_base64(keys.sign("alice", encoding.GRANT, canonical(scenarios.files["signed"].manifest)))
    case("signature flipped", "signed", [to_base64(flip(from_base64(true), 3))])
    case("signature by another key", "signed", mallorys)
    case("signature by another key, nobody trusted in particular", "signed", mallorys, trusted=None)
    case("signature of another file", "signed", other.signatures)
    case("signature under another label", "signed", [label])
    case("signature of 63 bytes", "signed", [to_base64(from_base64(true)[:-1])])
    case("signature not base64", "signed", ["?"], MALFORMED, "not base64")
    case("no signature", "signed", [], MALFORMED, "1 signers, has 0 signatures")
    case("a signature too many", "signed", [true, true], MALFORMED, "1 signers, has 2 signatures")
    case("signatures in another order", "two-signers", scenarios.files["two-signers"].signatures[::-1])

    hybrid = from_base64(scenarios.files["signed-hybrid"].signatures[0])
    curve, lattice = hybrid[: keys.ED25519_BYTES], hybrid[keys.ED25519_BYTES :]
    for name, signature in (
        ("Ed25519 half wrong", flip(curve, 3) + lattice),
        ("ML-DSA half wrong", curve + flip(lattice, 3)),
        ("ML-DSA half missing", curve),
        ("Ed25519 half missing", lattice),
        ("ML-DSA half all zero", curve + bytes(len(lattice))),
        ("halves exchanged", lattice + curve),
        ("a byte after both halves", hybrid + b"\0"),
    ):
        case(f"hybrid signature, {name}", "signed-hybrid", [to_base64(signature)])


def add_signers(scenarios: Scenarios) -> None:
    """Another list of signers under the old signatures."""

    def case(name: str, base: str, signers: list[str], signatures: list[str]) -> None:
        file = scenarios.copy(base)
        file.manifest["signers"] = signers
        file.signatures = signatures
        scenarios.add(name, base, file, TAMPERED, BROKEN, verify=TAMPERED)

    two, one = scenarios.files["two-signers"], scenarios.files["signed"]
    first, second = two.manifest["signers"]
    case("signers in another order", "two-signers", [second, first], two.signatures)
    case("signers and signatures in another order", "two-signers", [second, first], two.signatures[::-1])
    case("one of two signers dropped", "two-signers", [first], two.signatures[:1])
    added = scenarios.copy("signed")
    added.manifest["signers"] += [keys.written("mallory")]
    case("a signer added", "signed", added.manifest["signers"], one.signatures + added.sign("mallory").signatures)
