"""The envelope as JSON, in an unsigned file, where nothing but reading stands in the way."""

from __future__ import annotations

from collections.abc import Callable

from tests.vectors.sealed_format.container import SLOT_BYTES, slot
from tests.vectors.sealed_format.damage import MALFORMED, TAMPERED, UNSUPPORTED, changed, field, within, without
from tests.vectors.sealed_format.encoding import Json, canonical
from tests.vectors.sealed_format.scenarios import Scenarios


def add_envelope(scenarios: Scenarios) -> None:
    one = scenarios.copy("x25519")
    envelope = canonical(one.envelope())
    name_twice = envelope.replace(b'"signatures":[]', b'"signatures":[],"signatures":[]')

    def raw(name: str, expect: str, says: str, text: bytes) -> None:
        assert text != envelope, name
        scenarios.add(name, "x25519", one.file(a=slot(text, 1)), expect, says)

    def edited(name: str, expect: str, says: str, change: Callable[[Json], object]) -> None:
        raw(name, expect, says, canonical(changed(one.envelope(), change)))

    def manifest(name: str, expect: str, says: str, change: Callable[[Json], object]) -> None:
        edited(name, expect, says, lambda e: change(e["manifest"]))

    raw("envelope is a list", MALFORMED, "not a JSON object", b"[]")
    raw("envelope is empty", MALFORMED, "not JSON", b"")
    raw("envelope nested deeply", MALFORMED, "nested too deeply", b"[" * 30_000 + b"]" * 30_000)
    raw("envelope with a space more", MALFORMED, "canonical", envelope.replace(b",", b", ", 1))
    raw("envelope with a line break at its end", MALFORMED, "canonical", envelope + b"\n")
    raw("duplicate key in the envelope", MALFORMED, "'signatures' occurs twice", name_twice)
    raw("duplicate key in the manifest", MALFORMED, "'version' occurs twice", envelope.replace(b'"version":1', b'"version":1,"version":1'))
    raw("needless escape", MALFORMED, "canonical", envelope.replace(b"FedAvg", b"\\u0046edAvg"))
    raw("lone surrogate", MALFORMED, "not UTF-8", envelope.replace(b"FedAvg", b"\\ud800"))
    raw("NaN", MALFORMED, "NaN is no JSON number", envelope.replace(b'"round":7', b'"round":NaN'))
    raw("number without end", MALFORMED, "range of doubles", envelope.replace(b'"round":7', b'"round":1e999'))
    raw("number of 5,000 digits", MALFORMED, "number is too long", envelope.replace(b'"round":7', b'"round":' + b"7" * 5000))
    raw("number with a needless zero", MALFORMED, "canonical", envelope.replace(b'"clip":1.5', b'"clip":1.50'))
    raw("minus zero", MALFORMED, "-0 is no integer", envelope.replace(b'"round":7', b'"round":-0'))
    edited("unknown field in the envelope", UNSUPPORTED, "'critical' in the envelope", field("critical", True))
    for name in ("grants", "manifest", "recipients", "signatures"):
        edited(f"envelope without {name}", MALFORMED, "not a JSON object with", without(name))
        edited(f"{name} a number", MALFORMED, "", field(name, 1))
    edited("a signature in an unsigned file", MALFORMED, "0 signers, has 1 signatures", field("signatures", ["AAAA"]))
    edited("a signature that is no text", MALFORMED, "a signature is not base64", field("signatures", [{}]))
    granted = scenarios.files["granted-once"].grants
    edited("a grant in an unsigned file", MALFORMED, "1 grants", field("grants", granted))
    edited("a grant that is no object", MALFORMED, "a grant is not a JSON object", field("grants", [1]))

    manifest("manifest of version 2", UNSUPPORTED, "version 2", field("version", 2))
    manifest("version true", UNSUPPORTED, "version True", field("version", True))
    manifest("version a float", UNSUPPORTED, "version 1.0", field("version", 1.0))
    manifest("manifest of an unknown suite", MALFORMED, "different suites", field("suite", "none"))
    manifest("unknown field in the manifest", UNSUPPORTED, "'x' in the manifest", field("x", 0))
    for name in sorted(one.manifest):
        manifest(f"manifest without {name}", MALFORMED, "the manifest is not a JSON object with", without(name))
    manifest("other file id", MALFORMED, "different suites, file ids or lengths", field("file_id", scenarios.files["signed"].file_id.hex()))
    manifest("other payload length", MALFORMED, "different suites, file ids or lengths", field("payload_bytes", 5))
    manifest("other slot length", MALFORMED, "different suites, file ids or lengths", field("slot_bytes", 2 * SLOT_BYTES))
    manifest("slot length a float", MALFORMED, "canonical", field("slot_bytes", float(SLOT_BYTES)))
    manifest("segments too short", MALFORMED, "segment length", field("segment_bytes", 64))
    manifest("segments too long", MALFORMED, "segment length", field("segment_bytes", 1 << 30))
    manifest("segment length true", MALFORMED, "segment length", field("segment_bytes", True))
    manifest("other segment length", UNSUPPORTED, "other parameters", field("segment_bytes", 8192))
    manifest(
        "a signer in an unsigned file",
        MALFORMED,
        "belong to a signed file",
        field("signers", scenarios.files["signed"].manifest["signers"]),
    )
    manifest("a policy in an unsigned file", MALFORMED, "belong to a signed file", within("policy", purposes=["training"]))
    manifest("digests in an unsigned file", MALFORMED, "belong to a signed file", field("digests_sha256", "00" * 32))
    manifest("digests hash a number", MALFORMED, "", field("digests_sha256", 0))
    manifest("FLOE header hash in capitals", MALFORMED, "32 bytes in hexadecimal", field("floe_header_sha256", "AB" * 32))
    manifest("recipients hash too short", MALFORMED, "32 bytes in hexadecimal", field("recipients_sha256", "ab"))
    manifest("other FLOE header hash", TAMPERED, "payload's header", field("floe_header_sha256", "00" * 32))
    manifest("time of sealing edited", TAMPERED, "does not open", field("time", "2025-01-02T03:04:05Z"))
    manifest("statement edited", TAMPERED, "does not open", within("public", parties_summed=10))
    manifest("statement added", TAMPERED, "does not open", within("public", more=1))
    manifest("statements all taken away", TAMPERED, "does not open", field("public", {}))
    manifest("statement nested", MALFORMED, "'x' is not text", within("public", x=[]))
    manifest("statements a list", MALFORMED, "flat mapping", field("public", []))
    manifest("statement over 53 bits", MALFORMED, "53 bits", within("public", x=1 << 53))
    manifest("statements too long", MALFORMED, "at most 32768", within("public", x="x" * 33000))
    manifest("sealed statements not base64", MALFORMED, "not base64", field("sealed", "?"))
    manifest("sealed statements empty", MALFORMED, "sealed provenance", field("sealed", ""))
    manifest("sealed statements added", TAMPERED, "does not open", field("sealed", "AAAA" * 8))
