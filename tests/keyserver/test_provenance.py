"""The first look: cheap, and it lets nothing pass that is nobody's, and keeps nothing out that the verdict would let in."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from stfed import canonical
from stfed.errors import MalformedError
from stfed.keys.encryption import generate_keypair
from stfed.keys.signing import SigningKey
from stfed.keyserver.provenance import check_manifest_signed
from stfed.sealed.bounds import OWNERS_MAX, READERS_MAX
from stfed.sealed.envelope import Envelope
from stfed.sealed.errors import TamperedError, UntrustedError
from stfed.sealed.numpy import save
from stfed.sealed.policy import Policy
from tests.keyserver.world import ALICE, EVE, LAB, TENSORS, envelope_of, roster, sealed

KEY = generate_keypair("x25519")[1]
GOOD = envelope_of(sealed(KEY))


def test_files_of_people_in_the_roster_pass() -> None:
    both = envelope_of(save(TENSORS, recipients=KEY, signer=[EVE.signing, LAB.signing], policy=Policy()))
    hybrid = SigningKey.generate("ed25519-mldsa65")
    of_hybrid = envelope_of(sealed(KEY, signer=hybrid))
    check_manifest_signed(GOOD.encode(), roster())
    check_manifest_signed(both.encode(), roster())
    check_manifest_signed(of_hybrid.encode(), roster().rotate("lab", signing=hybrid.public, at=datetime.now(UTC)))


def test_a_former_key_is_for_the_verdict_to_judge() -> None:
    check_manifest_signed(GOOD.encode(), roster().rotate("lab", signing=EVE.public, at=datetime.now(UTC)))


def test_strangers_files_and_unsigned_ones_do_not() -> None:
    for data in (sealed(KEY, signer=EVE.signing), sealed(KEY, signer=None)):
        with pytest.raises(UntrustedError, match="nobody whom the roster knows"):
            check_manifest_signed(envelope_of(data).encode(), roster())


def test_a_known_name_without_their_signature_does_not() -> None:
    """Of several signers each must have signed, though one in the roster is enough."""
    for forged in (replace(GOOD, signatures=(bytes(64),)), GOOD.signed((ALICE.signing,))):
        with pytest.raises(TamperedError, match="does not verify"):
            check_manifest_signed(forged.encode(), roster())
    both = envelope_of(save(TENSORS, recipients=KEY, signer=[EVE.signing, LAB.signing], policy=Policy()))
    with pytest.raises(TamperedError):
        check_manifest_signed(replace(both, signatures=(bytes(64), both.signatures[1])).encode(), roster())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"signatures": []}, "1 signers and has 0 signatures"),
        ({"signatures": ["x"]}, "signature"),
        ({"signatures": 1}, "not a list"),
        ({"manifest": []}, "manifest is not a JSON object"),
        ({"manifest": {}}, "manifest is not a JSON object"),
        ({"manifest": {"signers": "x"}}, "not a list"),
        ({"manifest": {"signers": ["x"] * 9}}, "not a list"),
        ({"manifest": {"signers": [1]}}, "not text"),
    ],
)
def test_what_has_not_the_form_is_malformed(change: dict[str, object], says: str) -> None:
    value = canonical.decode(GOOD.encode(), "it")
    with pytest.raises(MalformedError, match=says):
        check_manifest_signed(canonical.encode(value | change), roster())
    for junk in (b"", b"[]", GOOD.encode() + b" "):
        with pytest.raises(MalformedError):
            check_manifest_signed(junk, roster())


def test_a_strangers_bomb_costs_a_fraction_of_its_parsing() -> None:
    """As many hybrid keys in a policy as it may name, signed by nobody, or in the name of somebody who is known."""
    keys = [SigningKey.generate("ed25519-mldsa65").public for _ in range(32)]
    bomb = envelope_of(sealed(KEY, signer=EVE.signing, policy=Policy(readers=keys, owners=keys)))
    named = replace(bomb, manifest=replace(bomb.manifest, context=replace(bomb.manifest.context, signers=(LAB.public,))))
    assert OWNERS_MAX + READERS_MAX > 64
    for envelope, refusal in ((bomb, UntrustedError), (named, TamperedError)):
        data = envelope.encode()
        whole = _cpu_s(lambda: Envelope.decode(data, envelope.manifest.layout))  # noqa: B023

        def looked(data: bytes = data, refusal: type[Exception] = refusal) -> None:
            with pytest.raises(refusal):
                check_manifest_signed(data, roster())

        assert _cpu_s(looked) < whole / 4


def _cpu_s(work: object) -> float:
    assert callable(work)
    spent = []
    for _ in range(3):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)
