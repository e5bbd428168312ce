"""A party that the coordinator invents: it has no node, no files and no policy, and any identity that it can claim."""

from __future__ import annotations

from dataclasses import replace

from stfed.crypto.labels import Label
from stfed.crypto.random import system_entropy
from stfed.keys import SigningKey
from stfed.secagg import client
from stfed.secagg.client import Joined, Prepared
from stfed.secagg.messages import Header, JoinRequest, Prepare, PrepareRequest
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.transcript import MODE_CODES


class Anybody:
    """A roster that has everybody on it."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def member(self, identity: bytes) -> str:
        return identity.hex()


class Sybil:
    """One of them.

    Attributes:
        key: what it signs with.
        join: its JOIN; change it before `enrol` to claim something else.
    """

    def __init__(self, header: Header, mode: Mode, key: SigningKey | None = None) -> None:
        self.key, self.index, self._mode = key or SigningKey.generate(), -1, mode
        request = JoinRequest(header=header, mode=MODE_CODES[mode])
        self._state, self.join = client.join(request, Policy(mode=mode), self.key.ed25519, system_entropy)

    def claims(self, **fields: bytes) -> Sybil:
        """Changes its JOIN: identity, public_key or signature; signed anew unless a signature is given."""
        join = replace(self.join, **fields)
        if "signature" not in fields and self._mode is Mode.MALICIOUS:
            join = replace(join, signature=self.key.ed25519.sign(Label.SIGN_MESSAGE, join.unsigned()))
        self.join = join
        self._state = Joined(self._state.epoch_header, self._mode, self._state.private_key, join.encode())
        return self

    def joined(self) -> None:
        """Nothing to remember: its state is a value."""

    def deal(self, request: bytes) -> tuple[Prepared, Prepare]:
        """As a corrupt party."""
        message = PrepareRequest.decode(request)
        return self._state.prepare(message, Policy(mode=self._mode), system_entropy, Anybody(len(message.cohort)))
