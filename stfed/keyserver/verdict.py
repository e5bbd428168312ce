"""The verdict over a file: whether the caller, who has proved who they are, gets its key. A function of its arguments alone.

These are the checks that a reader makes, in the readers' own code, with two differences: the policy's `readers` count, and whom to trust is
what the service's roster says at this moment. What costs time comes after what does not: an envelope may name hundreds of keys, and a
thousand grants, so the signatures over the manifest count before anything else in it is parsed (`stfed.keyserver.provenance`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from stfed.errors import SealError
from stfed.keys.encryption import Identity
from stfed.keys.roster import Roster
from stfed.keyserver.messages import Request
from stfed.keyserver.provenance import check_manifest_signed
from stfed.keyserver.rules import Refused
from stfed.sealed.envelope import Envelope
from stfed.sealed.errors import AccessDeniedError, NotARecipientError, TamperedError, UntrustedError
from stfed.sealed.trust import Trust
from stfed.sealed.unwrapping import obtain


def released(request: Request, roster: Roster, identities: Sequence[Identity], now: datetime) -> tuple[Envelope, bytes]:
    """The envelope, decoded and verified, and the file key in it, which the caller may have.

    Args:
        request: by a caller who was authenticated.
        roster: who may seal files.
        identities: the service's secret keys.
        now: by the service's clock.

    Raises:
        Refused: by one of the rules about files.
    """
    with _as_rules():
        envelope = _allowed(request, roster, now)
        return envelope, _unwrapped(envelope, roster, identities, now)


def _allowed(request: Request, roster: Roster, now: datetime) -> Envelope:
    statement = request.statement
    if hashlib.sha256(request.envelope).digest() != statement.envelope_sha256:
        raise Refused("tampered", "the envelope is not the one that the caller signed for")
    check_manifest_signed(request.envelope, roster)
    envelope = Envelope.decode(request.envelope, statement.layout)
    manifest, context = envelope.manifest, envelope.manifest.context
    if manifest.sha256 != statement.manifest_sha256:
        raise Refused("tampered", "the manifest is not the one that the caller signed for")
    Trust.of(roster).check(context, now)
    envelope.verify()
    context.policy.check(now, statement.purpose)
    if context.policy.readers and statement.caller not in context.policy.readers:
        raise Refused("readers", f"the policy names {len(context.policy.readers)} readers and not the caller")
    return envelope


def _unwrapped(envelope: Envelope, roster: Roster, identities: Sequence[Identity], now: datetime) -> bytes:
    """The file key: its stanza opens under exactly this file id, policy and these signers, or not at all."""
    file_key, access = obtain(envelope, identities, None, None, None)
    if access.grant is not None:
        Trust.of(roster).check_granter(access.grant, envelope.manifest.context, now)
    return file_key


@contextmanager
def _as_rules() -> Iterator[None]:
    """What the code that readers share says about a file, as the service's rules."""
    try:
        yield
    except AccessDeniedError as error:
        raise Refused(error.rule, error.message) from None
    except UntrustedError as error:
        raise Refused("signers", error.message) from None
    except NotARecipientError as error:
        raise Refused("recipients", error.message) from None
    except TamperedError as error:
        raise Refused("tampered", error.message) from None
    except SealError as error:
        raise Refused("envelope", error.message) from None
