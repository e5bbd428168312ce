"""What a key holder signs, and how a coordinator that pins its key checks it: that it is the one, and that a mean is its answer.

Nothing in an encrypted sum proves who holds the secret key, because the proof by decrypting would make an oracle (ADR 0030). So the key
holder may have a signing key of its own, and a coordinator that pins the public half takes nobody else's word:

- HERE is signed with the challenge of the WHO that asked, the run and the node that answers. No signature counts twice or for another
  node, so that whoever hands one on proves nothing.
- MEAN is signed with the request, all that was sent beside it, and the numbers beside the answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from stfed.crypto.labels import Label
from stfed.flower.ckks.messages import Here, Mean, Who, encode
from stfed.keys.signing import SigningKey, VerifyingKey
from stfed.wire import Writer


def signed_here(key: SigningKey, here: Here, who: Who, run: int, node: int) -> Here:
    """`here` with the key holder's signature.

    Args:
        key: the key holder's.
        here: what it says of itself.
        who: the question.
        run: Flower's id of the run in which it was asked.
        node: Flower's id of the node that answers.
    """
    return replace(here, signature=key.sign(Label.CKKS_HOLDER, *_here(here, who, run, node)))


def check_here(key: VerifyingKey, here: Here, who: Who, run: int, node: int) -> None:
    """Returns if `key` signed it for this question, run and node; BadSignatureError if not."""
    key.verify(here.signature, Label.CKKS_HOLDER, *_here(here, who, run, node))


def signed_mean(key: SigningKey, mean: Mean, request: bytes, sent: Sequence[bytes], numbers: bytes) -> Mean:
    """`mean` with the key holder's signature.

    Args:
        key: the key holder's.
        mean: the answer.
        request: the encoded `Sum` that it answers.
        sent: the vectors that came beside the request.
        numbers: what goes beside the answer.
    """
    return replace(mean, signature=key.sign(Label.CKKS_MEAN, *_mean(mean, request, sent, numbers)))


def check_mean(key: VerifyingKey, mean: Mean, request: bytes, sent: Sequence[bytes], numbers: bytes) -> None:
    """Returns if `key` signed it as the answer to this request; BadSignatureError if not."""
    key.verify(mean.signature, Label.CKKS_MEAN, *_mean(mean, request, sent, numbers))


def _here(here: Here, who: Who, run: int, node: int) -> tuple[bytes, ...]:
    return encode(replace(here, signature=b"")), encode(who), Writer().u64(run).u64(node).getvalue()


def _mean(mean: Mean, request: bytes, sent: Sequence[bytes], numbers: bytes) -> tuple[bytes, ...]:
    beside = b"".join(hashlib.sha256(one).digest() for one in sent)
    return encode(replace(mean, signature=b"")), hashlib.sha256(request).digest(), beside, hashlib.sha256(numbers).digest()
