"""The roll: which nodes have joined the current epoch, when everybody has to join again, and whom to leave out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from flwr.app import Error, Message
from flwr.serverapp import Grid

from stfed.crypto.identity import fingerprint
from stfed.errors import DecodeError, LocalError, QuorumError
from stfed.flower import records
from stfed.flower.blame import Blame
from stfed.flower.courier import Courier
from stfed.flower.events import EventLog, RoundReport
from stfed.flower.journal import Journal
from stfed.flower.settings import Settings
from stfed.flower.steps import TimedStep
from stfed.flower.talk import error_text
from stfed.secagg.messages import Header
from stfed.secagg.params import Mode, corrupt_parties
from stfed.secagg.roster import MemberRoster
from stfed.secagg.server import Dispute, Drop, DropReason, Enrolment, Joining

_MAX_BACKOFF = 10


def check_roster(mode: Mode, roster: object | None) -> None:
    """Refuses malicious mode without a roster, and a roster that nobody would look at."""
    if mode is Mode.MALICIOUS and roster is None:
        raise LocalError("malicious mode needs the roster that the parties have", hint='SecureAggregation(..., roster="roster.toml")')
    if mode is not Mode.MALICIOUS and roster is not None:
        raise LocalError("a roster is for malicious mode: in semi-honest mode nobody proves who it is", hint='mode="malicious"')


class Roll:
    """Keeps the enrolment of a run.

    A node that is sampled and has not joined, or has lost its state, makes everybody join again: a new epoch. One that does not answer
    does so after 1, 3, 7, ... rounds only, because it may be gone for good.

    Args:
        roster: who may take part, in malicious mode.

    Attributes:
        blame: what is known about who spoilt earlier rounds.

    Raises:
        LocalError: malicious mode without a roster.
    """

    def __init__(
        self,
        grid: Grid,
        courier: Courier,
        journal: Journal,
        settings: Settings,
        events: EventLog,
        roster: MemberRoster | None = None,
    ) -> None:
        check_roster(settings.mode, roster)
        self._grid, self._courier, self._journal, self._settings, self._events = grid, courier, journal, settings, events
        self._roster = roster
        self.blame: Blame = Blame()
        self._enrolment: Enrolment | None = None
        self._outdated = False
        self._knows_directory: set[int] = set()
        self._node_of: dict[bytes, int] = {}
        self._members: dict[int, str] = {}
        self._absent: dict[int, Drop] = {}
        self._failures: dict[int, int] = {}
        self._rounds_until_retry: dict[int, int] = {}

    def enrol(self, nodes: Collection[int], report: RoundReport, errors: dict[int, Error]) -> Enrolment:
        """The enrolment for a round with these nodes; a new epoch if one of them is new or due for another try.

        Args:
            nodes: whom the strategy sampled.
            report: notes what JOIN took.
            errors: takes the error replies of these nodes.

        Raises:
            QuorumError: nobody joins.
        """
        excluded = self.excluded()
        waiting = [node for node in nodes if not self.present(node) and node not in excluded]
        for node in waiting:
            self._rounds_until_retry[node] = self._rounds_until_retry.get(node, 0) - 1
        if self._enrolment is None or self._outdated or any(self._rounds_until_retry[node] < 0 for node in waiting):
            replies: dict[int, Error] = {}
            self._enrolment = self._join({*self._grid.get_node_ids(), *nodes}, report, replies)
            self._outdated = False
            errors.update((node, error) for node, error in replies.items() if node in nodes)
        return self._enrolment

    def has_to_join(self, nodes: Collection[int]) -> bool:
        """Whether the next round with these nodes would begin with a JOIN."""
        excluded = self.excluded()
        waiting = (node for node in nodes if not self.present(node) and node not in excluded)
        return self._outdated or any(self._rounds_until_retry.get(node, 0) < 1 for node in waiting)

    def members(self, nodes: Collection[int]) -> tuple[list[int], dict[int, Drop]]:
        """Who of these nodes can take part in a round, and why the others cannot."""
        excluded = self.excluded()
        members = [node for node in nodes if self.present(node) and node not in excluded]
        return members, {node: excluded.get(node) or self.why_absent(node) for node in set(nodes) - set(members)}

    def begin_anew(self) -> None:
        """The next round begins with a JOIN of everybody."""
        self._outdated = True  # the sums that are under way go on in this epoch

    def present(self, node: int) -> bool:
        """Whether the node has joined and answered since."""
        return self._enrolment is not None and node in self._enrolment.nodes and node not in self._absent

    @property
    def roster_size(self) -> int | None:
        """N, where there is a roster."""
        return None if self._roster is None else len(self._roster)

    def names(self) -> tuple[str, ...]:
        """How errors name the parties of the epoch, by directory index: the node, and the member where there is a roster."""
        enrolment = self._enrolment
        assert enrolment is not None
        return tuple(f"node {node} ({self._members[node]})" if node in self._members else f"node {node}" for node in enrolment.nodes)

    def excluded(self) -> dict[int, Drop]:
        """Who of the epoch is left out of its rounds for what happened before, and why."""
        if self._roster is None:
            return {}
        return self.blame.left_out(self._node_of, corrupt_parties(len(self._roster), self._settings.gamma))

    def accuse(self, index: int, drop: Drop) -> None:
        """A party is at fault for a round.

        In malicious mode what it signed proves it, and it is left out of the run. In semi-honest mode a byte that changed on the way looks
        the same, so it only has to join again.

        Args:
            index: in the epoch's directory.
            drop: what it did.
        """
        enrolment = self._enrolment
        assert enrolment is not None
        if self._roster is None:
            self.mark_absent(enrolment.nodes[index], drop)
        else:
            self.blame.accuse(enrolment.directory.join(index).identity, str(drop))

    def note_disputes(self, disputes: Iterable[Dispute], round_: int) -> None:
        """Keeps complaints for good, and tells the event log."""
        for dispute in disputes:
            self.blame.disputes.append(dispute)
            accuser, accused = fingerprint(dispute.accuser), fingerprint(dispute.accused)
            self._events.emit("dispute", round=round_, accuser=accuser, accused=accused, grievance=dispute.complaint.grievance.name.lower())

    def why_absent(self, node: int) -> Drop:
        """Why a node is not present, as a drop in the JOIN of the round that it misses."""
        why = self._absent.get(node)
        return Drop("join", DropReason.NO_REPLY) if why is None else Drop("join", why.reason, why.detail)

    def mark_absent(self, node: int, why: Drop) -> None:
        """The node did not prepare: it has to join again before it can take part."""
        self._absent[node] = why
        self._failures[node] = self._failures.get(node, 0) + 1
        self._rounds_until_retry[node] = (1 << min(self._failures[node] - 1, _MAX_BACKOFF)) - 1

    def directory_for(self, node: int) -> Sequence[bytes]:
        """The directory, for a node that has not prepared in this epoch yet; nothing afterwards."""
        assert self._enrolment is not None
        return () if node in self._knows_directory else self._enrolment.directory.encoded

    def directory_arrived(self, node: int) -> None:
        """The node has answered a PREPARE of this epoch."""
        self._knows_directory.add(node)

    def mark_well(self, node: int) -> None:
        """The node has prepared and is in U1: only this resets its back-off."""
        self._failures.pop(node, None)

    def _join(self, nodes: set[int], report: RoundReport, errors: dict[int, Error]) -> Enrolment:
        run = self._grid.run.run_id
        epoch = self._journal.next_epoch(run)
        joining = Joining(Header(run, epoch, self._journal.position(run)[1]), self._settings.mode, self._roster)
        request = joining.request().encode()

        def on_reply(node: int, reply: Message) -> None:
            watched.answered()
            if reply.has_error():
                errors[node] = reply.error
                joining.drops[node] = Drop("join", DropReason.ERROR_REPLY, error_text(reply))
                return
            try:
                joining.add(node, report.received("join", records.message_of(reply.content)))
            except DecodeError as error:
                joining.drops[node] = Drop("join", DropReason.MALFORMED, error.message)

        report.trips += 1
        with TimedStep(self._events, report, "join", len(nodes), self._courier.now) as watched:
            self._courier.exchange(
                {node: records.light(report.sent("join", request)) for node in sorted(nodes)},
                records.LIGHT_MESSAGE,
                f"join-{epoch}",
                timeout_s=self._settings.light_timeout_s,
                on_reply=on_reply,
            )
        try:
            enrolment = joining.close()
        except QuorumError as error:
            first = next((drop.detail for drop in joining.drops.values()), "nobody answered")
            raise QuorumError(f"{error.message}: {first}", missing=error.missing, hint=_hint(joining, errors)) from None
        joined = set(enrolment.nodes)
        if self._roster is not None:
            self._node_of = {enrolment.directory.join(index).identity: node for index, node in enumerate(enrolment.nodes)}
            self._members = {node: self._roster.member(identity) for identity, node in self._node_of.items()}
        # Who joins may still refuse every PREPARE, so only a PREPARE resets the back-off.
        for node in joined:
            self._absent.pop(node, None)
        for node in nodes - joined:
            self.mark_absent(node, joining.drops.get(node) or Drop("join", DropReason.NO_REPLY))
        self._knows_directory = set()
        self._events.emit(
            "epoch", epoch=epoch, asked=len(nodes), joined=len(joined), refused={str(n): d.detail for n, d in joining.drops.items()}
        )
        return enrolment


def _hint(joining: Joining, errors: Mapping[int, Error]) -> str | None:
    """What to do where nobody joined."""
    if not joining.drops:
        return "are nodes connected? Start them, or raise light_timeout_s if they are slow"
    if any("<class 'stfed." in (error.reason or "") for error in errors.values()):
        return None  # the mod is there, and has said what it wants
    return "every ClientApp needs the mod: ClientApp(mods=[secagg_mod])"
