"""The envelope: who can open the file, and what its sealer states about it. Canonical JSON, one per slot; knows no key.

    recipients    one stanza for each the file was sealed to: the file key, wrapped
    manifest      lengths, hashes, signers, policy, provenance: what is signed
    signatures    one for each signer
    grants        one for each that was given access later

It is readable by everybody. `verify` proves, without a key, that the signers stated the manifest and that owners made the grants; that the
signers are whom the reader trusts is the business of `stfed.sealed.trust`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from stfed import canonical
from stfed.crypto.labels import Label
from stfed.errors import MalformedError
from stfed.keys.encryption import Recipient
from stfed.keys.signing import SigningKey
from stfed.sealed.bounds import RECIPIENTS_MAX, SIGNERS_MAX
from stfed.sealed.errors import TamperedError
from stfed.sealed.fields import from_base64, items, only_fields, to_base64
from stfed.sealed.format import Layout
from stfed.sealed.grants import Grant, key_sha256
from stfed.sealed.manifest import Manifest, check_signatures
from stfed.sealed.recipients import check_stanzas, is_for
from stfed.sealed.stanza import Stanza, recipients_sha256


@dataclass(frozen=True)
class Envelope:
    """What a slot holds.

    Attributes:
        manifest: what the sealer states.
        recipients: the stanzas that the file was sealed with.
        signatures: one for each of the manifest's signers, in their order.
        grants: in the order in which they were given.
    """

    manifest: Manifest
    recipients: tuple[Stanza, ...]
    signatures: tuple[bytes, ...] = ()
    grants: tuple[Grant, ...] = ()

    @property
    def stanzas(self) -> tuple[Stanza, ...]:
        """All of them: those of the recipients, then those of the grants."""
        return (*self.recipients, *(grant.stanza for grant in self.grants))

    @property
    def generation(self) -> int:
        """1 as sealed, one more with each grant."""
        return 1 + len(self.grants)

    def addresses(self, recipient: Recipient) -> bool:
        """Whether the file was sealed to this key, as far as its mark tells."""
        return any(is_for(stanza, recipient) for stanza in self.recipients)

    def grants_to(self, recipient: Recipient) -> tuple[Grant, ...]:
        """The grants that name this key. What they name counts, not the mark of their stanza, which is whatever the granter wrote."""
        return tuple(grant for grant in self.grants if grant.recipient == key_sha256(recipient)) if self.grants else ()

    @property
    def chain_sha256(self) -> bytes:
        """Hash of manifest and grants, which the next grant names."""
        return self.grants[-1].sha256 if self.grants else self.manifest.sha256

    def encode(self) -> bytes:
        """Its canonical JSON."""
        return canonical.encode(
            {
                "manifest": self.manifest.to_json(),
                "recipients": [stanza.to_json() for stanza in self.recipients],
                "signatures": [to_base64(signature) for signature in self.signatures],
                "grants": [grant.to_json() for grant in self.grants],
            }
        )

    @classmethod
    def decode(cls, data: bytes, layout: Layout) -> Self:
        """Reads an envelope and holds it against the header. Verifies nothing.

        Raises:
            MalformedError: if it is not canonical, has a value out of bounds, or contradicts the header.
            UnsupportedError: if version, suite, a field or a kind of recipient is unknown.
            TamperedError: if the recipient list is not the one that the manifest names.
        """
        value: Any = canonical.decode(data, "the envelope")
        parts = only_fields(value, "the envelope", "manifest", "recipients", "signatures", "grants")
        manifest = Manifest.from_json(parts["manifest"], layout)
        recipients = tuple(Stanza.from_json(one) for one in items(parts["recipients"], "the recipient list", RECIPIENTS_MAX))
        grants = tuple(Grant.from_json(one) for one in items(parts["grants"], "the list of grants", RECIPIENTS_MAX))
        signatures = tuple(from_base64(one, "a signature") for one in items(parts["signatures"], "the list of signatures", SIGNERS_MAX))
        envelope = cls(manifest, recipients, signatures, grants)
        if not recipients or len(envelope.stanzas) > RECIPIENTS_MAX:
            raise MalformedError(f"the envelope has not between 1 and {RECIPIENTS_MAX} recipients")
        if len(signatures) != len(manifest.context.signers) or (grants and not signatures):
            raise MalformedError(
                f"the file names {len(manifest.context.signers)} signers, has {len(signatures)} signatures and {len(grants)} grants"
            )
        check_stanzas(envelope.stanzas)
        if recipients_sha256(recipients) != manifest.recipients_sha256:
            raise TamperedError("the recipient list is not the one that the file was sealed with")
        if envelope.encode() != data:  # true for 1, 1.0 for 1: equal values, other bytes
            raise MalformedError("the envelope is not in canonical form")
        return envelope

    def signed(self, signers: tuple[SigningKey, ...]) -> Self:
        """The same with signatures, by exactly the manifest's signers."""
        manifest = self.manifest.encode()
        return replace(self, signatures=tuple(key.sign(Label.SEALED_SIGNATURE, manifest) for key in signers))

    def granted(self, grant: Grant) -> Self:
        """The same with one more grant."""
        return replace(self, grants=(*self.grants, grant))

    def verify(self) -> None:
        """Returns if every signer signed the manifest and the chain of grants holds. An unsigned envelope has nothing to verify.

        Raises:
            TamperedError: if a signature or the chain does not verify.
            AccessDeniedError: if a grant was not made by an owner.
        """
        check_signatures(self.manifest.context.signers, self.signatures, self.manifest.encode())
        previous = self.manifest.sha256
        for generation, grant in enumerate(self.grants, start=2):
            grant.check(self.manifest, previous, generation)
            previous = grant.sha256
