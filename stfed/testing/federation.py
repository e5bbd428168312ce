"""The parties of a simulated federation, the line of requests in front of each, and the books about what crossed."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter

from flwr.app import Message

from stfed.testing.exchange import Exchange, WireRecord
from stfed.testing.faults import FaultMatcher, FaultPlan
from stfed.testing.node import SimulatedNode
from stfed.testing.parcel import Parcel

Describe = Callable[[Message], tuple[str, int] | None]


class Federation:
    """Lets parties work on requests, each party in the order in which they were sent to it, and keeps the books.

    Args:
        parties: the parties, by index.
        plan: what goes wrong.
        describe: names the protocol step and round of a request; without it, or where it says None, the message type and the count of
            such messages to this party, from 1.
        threads: how many parties work at once.
        keep_payloads: whether the dump keeps the bytes.
    """

    def __init__(
        self, parties: Iterable[SimulatedNode], plan: FaultPlan, *, describe: Describe | None, threads: int, keep_payloads: bool
    ) -> None:
        self.parties: dict[int, SimulatedNode] = {party.node_id: party for party in parties}
        plan.check(len(self.parties))
        self._matcher, self._replays = FaultMatcher(plan), plan.replays
        self._describe, self._threads, self._keep_payloads = describe, threads, keep_payloads
        self._lines: dict[int, deque[Exchange]] = {node_id: deque() for node_id in self.parties}
        self._order = itertools.count()
        self._sent: Counter[tuple[int, str]] = Counter()
        self._oldest: dict[tuple[int, str], Parcel] = {}
        self.gone: set[int] = set()
        self.dump: list[WireRecord] = []
        self.bytes_down: Counter[int] = Counter()
        self.bytes_up: Counter[int] = Counter()
        self.surplus: list[Message] = []

    def send(self, message: Message, request: Parcel, now_s: float) -> Exchange:
        """Puts a request, given as the message and as its bytes, into its party's line."""
        message_type, party = message.metadata.message_type, self.parties[message.metadata.dst_node_id]
        self._sent[party.index, message_type] += 1
        named = self._describe(message) if self._describe else None
        step, round_ = named or (message_type, self._sent[party.index, message_type])
        exchange = Exchange(
            order=next(self._order),
            party=party,
            message_id=request.message_id,
            request=request,
            oldest=self._oldest.setdefault((party.index, step), request) if self._replays else request,
            message_type=message_type,
            step=step,
            round=round_,
            faults=self._matcher.match(party.index, step, round_),
            arrives_at_s=now_s,
            keep_payloads=self._keep_payloads,
        )
        exchange.send(gone=party.node_id in self.gone)
        if exchange.open:
            self._lines[party.node_id].append(exchange)
        else:
            self._leave(exchange)
        self._book(exchange)
        return exchange

    def work(self, wanted: Iterable[Exchange]) -> None:
        """Lets parties carry these exchanges out, and before each whatever its party was sent earlier."""
        lines: dict[int, list[Exchange]] = {}
        for exchange in wanted:
            line = self._lines[exchange.party.node_id]
            while line and line[0].order <= exchange.order:
                lines.setdefault(exchange.party.node_id, []).append(line.popleft())
        in_order = sorted(itertools.chain.from_iterable(lines.values()), key=attrgetter("order"))
        if self._threads > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(self._carry_out, lines.values()))
        else:
            self._carry_out(in_order)
        for exchange in in_order:
            self._book(exchange)

    def _carry_out(self, exchanges: Iterable[Exchange]) -> None:
        for exchange in exchanges:
            if exchange.party.node_id in self.gone:
                exchange.request = None
            else:
                exchange.carry_out(at_once=self._threads > 1)
                self._leave(exchange)

    def _leave(self, exchange: Exchange) -> None:
        if any(fault.permanent for fault in exchange.faults):
            self.gone.add(exchange.party.node_id)

    def _book(self, exchange: Exchange) -> None:
        for record in exchange.crossed:
            (self.bytes_down if record.direction == "down" else self.bytes_up)[record.node_id] += record.size_bytes
        self.dump += exchange.crossed
        self.surplus += exchange.surplus
        exchange.crossed, exchange.surplus = [], []
