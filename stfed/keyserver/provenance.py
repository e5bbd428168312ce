"""A first look at an envelope that anybody in the roster may have made up: did somebody in it sign the manifest?

To parse an envelope takes a third of a second where its policy names all the hybrid keys that it may. To find its signers, and to verify
their signatures over the manifest's bytes, takes a few hundredths of that. This is no verdict: `Envelope.decode`, `Trust.check` and
`Envelope.verify` come after it and leave nothing out.
"""

from __future__ import annotations

from typing import Any

from stfed import canonical
from stfed.errors import MalformedError
from stfed.keys.roster import Roster
from stfed.sealed.bounds import SIGNERS_MAX
from stfed.sealed.errors import UntrustedError
from stfed.sealed.fields import fields, from_base64, items
from stfed.sealed.manifest import check_signatures
from stfed.sealed.policy import keys_from_json


def check_manifest_signed(envelope: bytes, roster: Roster) -> None:
    """Returns if each signer whom the manifest names signed it, and the roster has an entry for one of them.

    Raises:
        MalformedError: if the envelope is no canonical JSON with a manifest, signers and a signature of each.
        UntrustedError: if the roster has no entry for any of them, or there are none.
        TamperedError: if a signature does not verify.
    """
    value: Any = canonical.decode(envelope, "the envelope")
    parts = fields(value, "the envelope", "manifest", "signatures")
    manifest = fields(parts["manifest"], "the manifest", "signers")
    signers = keys_from_json(manifest["signers"], "the signers", SIGNERS_MAX)
    signatures = [from_base64(one, "a signature") for one in items(parts["signatures"], "the list of signatures", SIGNERS_MAX)]
    if len(signatures) != len(signers):
        raise MalformedError(f"the file names {len(signers)} signers and has {len(signatures)} signatures")
    if not any(roster.by_signing(key) for key in signers):
        raise UntrustedError("the file is signed by nobody whom the roster knows")
    check_signatures(signers, signatures, canonical.encode(manifest))
