"""JOIN: the directory of an epoch."""

from __future__ import annotations

from dataclasses import dataclass

from stfed.errors import DecodeError, LocalError, PeerError, QuorumError, shown
from stfed.secagg.directory import Directory, check_join
from stfed.secagg.messages import (
    Header,
    Join,
    JoinRequest,
)
from stfed.secagg.params import Mode
from stfed.secagg.roster import MemberRoster
from stfed.secagg.server.drops import Drop, DropReason
from stfed.secagg.server.step import Step
from stfed.secagg.transcript import MODE_CODES


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Who joined an epoch.

    Attributes:
        directory: their JOINs, sorted by identity.
        nodes: per directory index, the coordinator's own key for the party (Flower's node id).
    """

    directory: Directory
    nodes: tuple[int, ...]

    def index_of(self) -> dict[int, int]:
        """Directory index by node."""
        return {node: index for index, node in enumerate(self.nodes)}

    def names(self) -> tuple[str, ...]:
        """How errors name the parties, by index."""
        return tuple(f"node {node}" for node in self.nodes)


class Joining(Step):
    """Collects the JOINs of an epoch.

    Args:
        header: run, epoch, suite; its round is the last round number used before.
        mode: semi-honest or malicious.
        roster: who may take part; required in malicious mode, where parties refuse a directory with anybody else in it.
    """

    def __init__(self, header: Header, mode: Mode, roster: MemberRoster | None = None) -> None:
        if mode is Mode.MALICIOUS and roster is None:
            raise LocalError("malicious mode needs the roster", hint="name the roster file that the parties have")
        self.header: Header = header
        self.mode: Mode = mode
        self._roster = roster
        self.drops: dict[int, Drop] = {}
        self._joins: dict[bytes, tuple[int, bytes]] = {}
        self._public_keys: set[bytes] = set()
        self._joined: set[int] = set()
        self._members: set[str] = set()

    def request(self) -> JoinRequest:
        """The same message for everybody."""
        return JoinRequest(header=self.header, mode=MODE_CODES[self.mode])

    def add(self, node: int, data: bytes) -> None:
        """Takes one JOIN of a node, the first one; one that would spoil the directory for everybody drops its sender instead."""
        if self._closed or node in self._joined or node in self.drops:
            return
        try:
            join = Join.decode(data)
            check_join(join, self.header, self.mode)
            if join.identity in self._joins or join.public_key in self._public_keys:
                raise PeerError("its identity or public key is another party's")
            if self.mode is Mode.MALICIOUS and self._roster is not None:
                if (member := self._roster.member(join.identity)) in self._members:
                    raise PeerError(f"{shown(member)} has joined already with another identity")
                self._members.add(member)
        except (DecodeError, PeerError) as error:
            self.drops[node] = Drop("join", DropReason.MALFORMED, error.message)
            return
        self._joins[join.identity] = (node, bytes(data))
        self._public_keys.add(join.public_key)
        self._joined.add(node)

    def close(self) -> Enrolment:
        """The directory of those who joined.

        Raises:
            QuorumError: nobody did.
        """
        self._close_once()
        if not self._joins:
            raise QuorumError("no party joined the run", missing=[f"node {node}" for node in self.drops])
        order = sorted(self._joins)
        directory = Directory.of(self.header, self.mode, [self._joins[identity][1] for identity in order])
        return Enrolment(directory, tuple(self._joins[identity][0] for identity in order))
