"""JOIN: a fresh key, published; then the directory, which comes with the first PREPARE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from stfed.crypto import agreement
from stfed.crypto.identity import Identity
from stfed.crypto.labels import Label
from stfed.crypto.random import Entropy
from stfed.errors import LocalError
from stfed.secagg.client.membership import Membership
from stfed.secagg.client.pairwise import PairwiseKeys
from stfed.secagg.client.prepared import Prepared
from stfed.secagg.client.ready import Ready
from stfed.secagg.client.state import ClientState
from stfed.secagg.directory import Directory
from stfed.secagg.messages import (
    Header,
    Join,
    JoinRequest,
    Prepare,
    PrepareRequest,
)
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import (
    DirectoryError,
    ModeError,
)
from stfed.secagg.roster import MemberRoster
from stfed.secagg.transcript import MODE_CODES, mode_from
from stfed.wire import Reader, Writer


def join(request: JoinRequest, policy: Policy, identity: Identity | None, entropy: Entropy) -> tuple[Joined, Join]:
    """Takes part in an epoch of a run: a fresh X25519 key, published in a JOIN.

    Args:
        request: the coordinator's message.
        policy: this party's own.
        identity: its long-term identity; required in malicious mode, unused in semi-honest mode.
        entropy: where the key comes from.

    Raises:
        ModeError: the coordinator runs another mode than the policy's.
        LocalError: malicious mode without an identity.
    """
    mode = mode_from(request.mode)
    if mode is not policy.mode:
        raise ModeError(
            f"the coordinator runs in {mode.value} mode, this party's policy is {policy.mode.value}",
            hint="set the same mode in SecureAggregation and in the party's policy",
        )
    if mode is Mode.MALICIOUS and identity is None:
        raise LocalError(
            "malicious mode needs an identity on every party", hint="create one with `stfed keygen` and name it in the node's config"
        )
    private_key = agreement.generate(entropy)
    unsigned = Join(
        header=request.header,
        identity=identity.public_bytes if mode is Mode.MALICIOUS and identity is not None else entropy(32),
        public_key=agreement.public_key(private_key),
    )
    signed = unsigned
    if mode is Mode.MALICIOUS and identity is not None:
        signature = identity.sign(Label.SIGN_MESSAGE, unsigned.unsigned())
        signed = Join(header=request.header, identity=unsigned.identity, public_key=unsigned.public_key, signature=signature)
    return Joined(request.header, mode, private_key, signed.encode()), signed


@dataclass(frozen=True, slots=True)
class Joined(ClientState):
    """Has published a key and waits for the directory, which comes with the first PREPARE."""

    TAG: ClassVar[int] = 1
    epoch_header: Header
    mode: Mode
    private_key: bytes = field(repr=False)
    own_join: bytes = field(repr=False)

    @property
    def header(self) -> Header:
        """Where in the run this state is."""
        return self.epoch_header

    def _write(self, writer: Writer) -> None:
        writer.opaque(self.own_join).u8(MODE_CODES[self.mode]).fixed(self.private_key, 32)

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        own_join, mode = reader.opaque("own_join", max_bytes=256), mode_from(reader.u8("mode"))
        return cls(Join.decode(own_join).header, mode, reader.fixed(32, "private_key"), own_join)

    def admit(self, directory: Sequence[bytes], policy: Policy, roster: MemberRoster | None = None, *, cohort: int = 0) -> Ready:
        """Checks the directory and agrees on a key with everybody in it, at once or when needed (`PairwiseKeys.agree`).

        Raises:
            DirectoryError (and its kinds): the directory is not one, this party's own JOIN is not in it, or, in malicious mode, somebody
                is in it who is not on this party's roster.
        """
        checked = Directory.of(self.epoch_header, self.mode, directory)
        checked.check_members(roster, range(len(checked)))
        index = checked.index_of(self.own_join)
        return Ready(Membership(checked, index), PairwiseKeys.agree(self.private_key, checked, index, policy, cohort))

    def prepare(
        self, request: PrepareRequest, policy: Policy, entropy: Entropy, roster: MemberRoster | None = None
    ) -> tuple[Prepared, Prepare]:
        """Admits the directory that comes with the first PREPARE, then prepares the round."""
        if not request.directory:
            raise DirectoryError("the first PREPARE of an epoch must carry the directory")
        return self.admit(request.directory, policy, roster, cohort=len(request.cohort))._prepare(request, policy, entropy, roster)
