"""A Flower Grid in memory that runs the same ClientApp objects that a deployment would, with faults on demand.

What holds here and in a deployment: every message crosses as bytes (`parcel`); a party keeps nothing between messages but its `Context`
(`node`); a party handles its messages in the order sent; exceptions come back as error replies; a message to an unknown node gets the
id ""; pulling an id that is unknown or was pulled before gives an error reply.

What differs: there is no time. The clock moves only when somebody waits (`wait`, or `send_and_receive` for a reply that is late), and a
party works at the moment when its reply is asked for, never while requests are still being pushed. Replies that will never come simply
do not appear; `exhausted` tells so at once.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.constant import SYSTEM_MESSAGE_TYPE
from flwr.supercore.date import now
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from stfed.errors import LocalError
from stfed.testing.exchange import Exchange, WireRecord
from stfed.testing.faults import FaultPlan
from stfed.testing.federation import Describe, Federation
from stfed.testing.node import SimulatedNode
from stfed.testing.parcel import pack, unpack

RUN_ID = 0x9F1C_0A53_7E6B_D284  # above 2^63, as half of Flower's run ids are


class InMemoryGrid(Grid):
    """Runs `num_nodes` parties in this process.

    One grid is current at a time: building it makes `Message(...)` create messages of its run, as starting a ServerApp does.

    Args:
        app: the parties' ClientApp, or a function from a party's index to its ClientApp, called anew for every message.
        num_nodes: how many parties there are, 1 or more.
        node_ids: their Flower node ids; by default fixed 64-bit numbers in no order, as Flower's are.
        node_config: a party's node config by index; by default `{"partition-id": i, "num-partitions": n}`.
        run_config: the run config that every party sees.
        faults: what goes wrong.
        run_id: the run's id.
        threads: how many parties work at once. With 1, order and bytes of everything are deterministic as far as the apps are.
        describe: names the protocol step and round of a request; without it, or where it says None, the message type and the count of
            such messages to this party, from 1.
        keep_payloads: whether `dump` keeps every byte; turn it off for large models.
        replies_per_pull: at most so many parties work, and reply, per pull; None for no limit. With 1, no more than one reply is ever
            waiting, which is how a test shows that a coordinator does not hoard replies.

    Raises:
        LocalError: a count below 1, node ids that do not fit, or a fault for a party that does not exist.
    """

    def __init__(
        self,
        app: ClientApp | Callable[[int], ClientApp],
        num_nodes: int,
        *,
        node_ids: Sequence[int] | None = None,
        node_config: Callable[[int], UserConfig] | None = None,
        run_config: UserConfig | None = None,
        faults: FaultPlan | None = None,
        run_id: int = RUN_ID,
        threads: int = 1,
        describe: Describe | None = None,
        keep_payloads: bool = True,
        replies_per_pull: int | None = None,
    ) -> None:
        if num_nodes < 1 or threads < 1 or (replies_per_pull is not None and replies_per_pull < 1):
            raise LocalError("num_nodes, threads and replies_per_pull must be 1 or more")
        ids = [_node_id(index) for index in range(num_nodes)] if node_ids is None else list(node_ids)
        if len(ids) != num_nodes or len(set(ids)) != num_nodes or SUPERLINK_NODE_ID in ids:
            raise LocalError(f"node_ids must be {num_nodes} different ids, none of them {SUPERLINK_NODE_ID}, which is the coordinator's")
        parties = []
        for index, node_id in enumerate(ids):
            config: UserConfig = {"partition-id": index, "num-partitions": num_nodes} if node_config is None else node_config(index)
            context = Context(run_id, node_id, dict(config), RecordDict(), dict(run_config or {}))
            parties.append(SimulatedNode(index, _loader(app, index), context))
        plan = FaultPlan() if faults is None else faults
        self._federation = Federation(parties, plan, describe=describe, threads=threads, keep_payloads=keep_payloads)
        self._replies_per_pull = replies_per_pull
        self._clock_s = 0.0
        self._exchanges: dict[str, Exchange] = {}
        self._run = Run.create_empty(run_id)
        self.set_run(self._run)

    # Flower's Grid

    def set_run(self, run: Run) -> None:
        """Makes this grid the current one (again); a grid belongs to one run."""
        if run.run_id != self._run.run_id:
            raise LocalError(f"this grid is of run {self._run.run_id}, not {run.run_id}", hint="build one grid per run")
        self._run = run
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run.run_id, SUPERLINK_NODE_ID, 1

    @property
    def run(self) -> Run:
        """A copy of the run's description."""
        return Run(**vars(self._run))

    def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None) -> Message:
        """A message of this run; Flower recommends `Message(...)` instead."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """The parties that are still there, by index."""
        return [node_id for node_id in self._federation.parties if node_id not in self._federation.gone]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Sends requests; no party works yet.

        Returns:
            The messages' ids, in order, "" for a message to a node that does not exist.

        Raises:
            LocalError: a message that was made for another run.
        """
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies that are there by now, in the order in which the requests were sent, each delivered once.

        Lets the parties asked for do their work first, and whatever was sent to them before.
        """
        asked = set(message_ids)
        known = sorted((self._exchanges[key] for key in asked & self._exchanges.keys()), key=attrgetter("order"))
        self._federation.work([exchange for exchange in known if exchange.request is not None][: self._replies_per_pull])
        replies = [self._unavailable(key) for key in sorted(asked - self._exchanges.keys())]
        here = [exchange for exchange in known if exchange.reply is not None and exchange.arrives_at_s <= self._clock_s]
        for exchange in here[: self._replies_per_pull]:
            assert exchange.reply is not None
            replies.append(unpack(exchange.reply))
            del self._exchanges[exchange.message_id]
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Sends requests and returns the replies that come within `timeout` seconds of the grid's clock.

        Never waits for a reply that cannot come: if one is missing at the end, the clock just stands at the deadline.
        """
        deadline_s = math.inf if timeout is None else self._clock_s + timeout
        waiting = set(self.push_messages(messages))
        replies: list[Message] = []
        while waiting:
            new = self.pull_messages(waiting)
            replies += new
            waiting -= {reply.metadata.reply_to_message_id for reply in new}
            due_s = min((self._exchanges[key].arrives_at_s for key in waiting if self._exchanges[key].open), default=math.inf)
            if due_s > deadline_s or due_s == math.inf:
                break
            self._clock_s = max(self._clock_s, due_s)
        if waiting and timeout is not None:
            self._clock_s = deadline_s
        return replies

    # The simulation

    @property
    def dump(self) -> list[WireRecord]:
        """Everything that crossed, in order; a request at the push, a reply when its party has worked."""
        return self._federation.dump

    @property
    def bytes_down(self) -> Counter[int]:
        """Bytes sent to each party so far, by node id."""
        return self._federation.bytes_down

    @property
    def bytes_up(self) -> Counter[int]:
        """Bytes that each party sent so far, by node id."""
        return self._federation.bytes_up

    @property
    def surplus(self) -> list[Message]:
        """What parties said to duplicated and replayed requests, in order; the coordinator never sees it."""
        return self._federation.surplus

    def node(self, index: int) -> SimulatedNode:
        """The party with this index, to look at its context or to roll it back."""
        for node in self._federation.parties.values():
            if node.index == index:
                return node
        raise LocalError(f"there is no party {index}, the parties are 0 to {len(self._federation.parties) - 1}")

    def index(self, node_id: int) -> int:
        """The index of the party with this node id."""
        if node_id not in self._federation.parties:
            raise LocalError(f"there is no node {node_id} in this grid")
        return self._federation.parties[node_id].index

    def wait(self, seconds: float) -> None:
        """Moves the clock on; what was late may then be there."""
        if not 0 <= seconds < math.inf:
            raise LocalError(f"cannot wait for {seconds} seconds")
        self._clock_s += seconds

    def clock(self) -> float:
        """Seconds that somebody waited so far."""
        return self._clock_s

    def exhausted(self, message_ids: Iterable[str]) -> bool:
        """Whether no reply to any of these will come any more, however long one waits."""
        return not any(self._exchanges[key].open for key in message_ids if key in self._exchanges)

    def _push(self, message: Message) -> str:
        if message.metadata.run_id != self._run.run_id:
            raise LocalError(
                f"this message is of run {message.metadata.run_id}, this grid of run {self._run.run_id}",
                hint="call grid.set_run(grid.run) to go back to an older grid",
            )
        request = pack(message)
        if message.metadata.dst_node_id not in self._federation.parties:
            return ""
        if request.message_id not in self._exchanges:  # the SuperLink files a message that is pushed twice once
            self._exchanges[request.message_id] = self._federation.send(message, request, self._clock_s)
        return request.message_id

    def _unavailable(self, message_id: str) -> Message:
        """What the SuperLink answers for an id that it does not know, or no longer."""
        metadata = Metadata(
            run_id=self._run.run_id,
            message_id="",
            src_node_id=SUPERLINK_NODE_ID,
            dst_node_id=SUPERLINK_NODE_ID,
            reply_to_message_id=message_id,
            group_id="",
            created_at=now().timestamp(),
            ttl=0,
            message_type=SYSTEM_MESSAGE_TYPE,
        )
        return make_message(metadata, error=Error(ErrorCode.MESSAGE_UNAVAILABLE, "Error: Message Unavailable"))


def _loader(app: ClientApp | Callable[[int], ClientApp], index: int) -> Callable[[], ClientApp]:
    if isinstance(app, ClientApp):
        return lambda: app
    return lambda: app(index)


def _node_id(index: int) -> int:
    """A fixed 64-bit number: Flower's ids are random, so nothing may lean on them being small or in order."""
    return int.from_bytes(hashlib.sha256(b"stfed testing node %d" % index).digest()[:8], "big")
