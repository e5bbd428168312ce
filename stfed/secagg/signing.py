"""What a party signs in malicious mode, and what each signature is bound to beyond the message itself.

Every message of a party is signed by its long-term identity over its header and body and over the *context* it answers: in PREPARE and in
a complaint everything that PREPARE fixed about the round, in TRAIN and UNMASK the transcript T. So a signature is good for one run, epoch,
round and step, and for one model, config, cohort and U1; a model that was changed on the way shows at the coordinator as a signature that
does not fit, before anything is unmasked. JOIN has no context: there is nothing before it.

CONFIRM has a label of its own, because its signatures travel on to all other parties: over header, T and U2.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TypeVar

from stfed.crypto import identity as identities
from stfed.crypto.identity import Identity
from stfed.crypto.labels import Label
from stfed.secagg.messages import Header, Message, encode_parties
from stfed.secagg.transcript import RoundFacts

M = TypeVar("M", bound=Message)


def round_context(facts: RoundFacts) -> bytes:
    """32 bytes for all that PREPARE fixed, the cohort and its JOINs included."""
    return hashlib.sha256(facts.encode()).digest()


def signed(message: M, identity: Identity, context: bytes) -> M:
    """The message with this party's signature."""
    return replace(message, signature=identity.sign(Label.SIGN_MESSAGE, message.unsigned(), context))


def check_signed(message: Message, public: bytes, context: bytes) -> None:
    """Returns if this identity signed the message in this context; BadSignatureError if not."""
    identities.verify(public, message.signature, Label.SIGN_MESSAGE, message.unsigned(), context)


def sign_survivors(identity: Identity, header: Header, transcript: bytes, survivors: tuple[int, ...]) -> bytes:
    """A party's word that U2 is this, in this round, with this transcript."""
    return identity.sign(Label.SIGN_SURVIVORS, header.encode(), transcript, encode_parties(survivors))


def check_survivors(public: bytes, signature: bytes, header: Header, transcript: bytes, survivors: tuple[int, ...]) -> None:
    """Returns if this identity gave its word for exactly this; BadSignatureError if not."""
    identities.verify(public, signature, Label.SIGN_SURVIVORS, header.encode(), transcript, encode_parties(survivors))
