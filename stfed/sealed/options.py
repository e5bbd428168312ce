"""What a caller may say about sealing and opening beyond safetensors' own arguments: one list, shared by every verb.

All verbs take these as keyword arguments (PEP 692). Nothing here is checked; that is the business of who uses it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypedDict

from stfed.audit import AuditLog
from stfed.keys.keyfile import IdentityLike, PathLike, RecipientLike, SignerLike, VerifierLike
from stfed.keys.passphrase import Passphrase
from stfed.keys.roster import Roster
from stfed.sealed.policy import Policy
from stfed.sealed.statements import Statements

if TYPE_CHECKING:
    from stfed.sealed.pins import Pins
    from stfed.sealed.unwrapping import KeyService


class SealOptions(TypedDict, total=False):
    """How to seal. Either `recipients` or `passphrase` is needed.

    Attributes:
        recipients: public keys, all hybrid or all X25519: objects, `age1...` strings, KEY.pub paths, one or several; or a roster, whose
            recipients are meant. With `passphrase` it must be absent.
        passphrase: text, or a function that asks for it; stretched by Argon2id.
        signer: signing key or keys, objects or KEY paths. A signed file says who sealed it, can have a policy and take grants.
        policy: who may grant, when and for what the file may be opened. Needs `signer`.
        provenance: flat statements about the content, for recipients only. `model`, `sequence` and `previous` make rollback visible.
        public: flat statements that stand in the file readable without a key.
        digest: hash of the segments in a signed file, "blake3" (default) or "sha256".
        audit: log that the sealing is written to before the file appears.
    """

    recipients: RecipientLike | Iterable[RecipientLike] | Roster | None
    passphrase: Passphrase | None
    signer: SignerLike | Iterable[SignerLike] | None
    policy: Policy | None
    provenance: Statements | None
    public: Statements | None
    digest: str
    audit: AuditLog | PathLike | None


class OpenOptions(TypedDict, total=False):
    """How to open. One of `identity`, `passphrase` and `service` is needed.

    Attributes:
        identity: secret key or keys: objects or paths of key files.
        passphrase: of a file that was sealed under one, or of a protected key file; text, or a function that asks for it.
        trusted: whose signature is needed: public signing keys, KEY.pub paths, one or several, or a roster, whose owners and coordinators
            are meant. A file without such a signature is refused. Without it anybody's file opens, signed or not.
        purpose: what the file is opened for; must be one of those that its policy names, if it names any.
        model_id: the model that is meant; a file that states another one, or none, is refused. Give it with `pins`, or another model by the
            same signer passes in this one's place.
        file_id: the file that is meant, in hexadecimal; any other is refused.
        generation: the least generation of the envelope; one with fewer grants is refused.
        pins: what was seen of each model before; an older one is refused.
        audit: log that the opening, or its failure, is written to before any tensor is given out.
        service: the key service that the file is sealed to, in place of an own key.
    """

    identity: IdentityLike | Iterable[IdentityLike] | None
    passphrase: Passphrase | None
    trusted: VerifierLike | Iterable[VerifierLike] | Roster | None
    purpose: str | None
    model_id: str | None
    file_id: str | None
    generation: int
    pins: Pins | PathLike | None
    audit: AuditLog | PathLike | None
    service: KeyService | None
