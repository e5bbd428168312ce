"""The door: how many connections may be open at once, in all and from one address, counted from the moment the kernel hands one over.

A connection counts while it is a descriptor, whether or not it ever speaks TLS; one too many is closed before a byte of it is read. That
needs a listening socket of our own, because nobody above it learns of a connection before its TLS handshake is done.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

_REPORT_S = 60.0
_logger = logging.getLogger("stfed.keyserver")


class Gate:
    """Who is in.

    Args:
        total: how many connections at once.
        per_address: how many of them from one address.
        clock: seconds, never set back.
    """

    def __init__(self, total: int, per_address: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._per_address, self._clock = total, per_address, clock
        self._open: Counter[str] = Counter()
        self._refused, self._reported = 0, -_REPORT_S

    @property
    def open(self) -> int:
        """How many are in."""
        return self._open.total()

    def enter(self, address: str) -> bool:
        """Whether one more may come in from there, and counts it if so."""
        if self.open < self._total and self._open[address] < self._per_address:
            self._open[address] += 1
            return True
        self._refused += 1
        now = self._clock()
        if now - self._reported >= _REPORT_S:  # a line a minute, whatever happens
            mine = self._open[address]
            _logger.warning(
                "%d connections refused, the last from %s: open are %d of it, %d in all", self._refused, address, mine, self.open
            )
            self._refused, self._reported = 0, now
        return False

    def leave(self, address: str) -> None:
        """One that came in from there is gone."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


class Listener(socket.socket):
    """A listening socket behind a gate.

    Args:
        listening: one that listens; it is this one's from now on.
        gate: asked about each connection.
    """

    def __init__(self, listening: socket.socket, gate: Gate) -> None:
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self._gate = gate

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection; BlockingIOError if there is none, or it was one too many and is closed."""
        connection, peer = super().accept()
        address = network(str(peer[0]))
        if not self._gate.enter(address):
            connection.close()
            raise BlockingIOError("one too many")
        return _Guest(connection, self._gate, address), peer


class _Guest(socket.socket):
    """A connection that the gate counts until it is closed."""

    def __init__(self, accepted: socket.socket, gate: Gate, address: str) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self._leave = weakref.finalize(self, gate.leave, address)

    def close(self) -> None:
        super().close()
        self._leave()


def network(host: str) -> str:
    """Whom an address stands for: itself, or for IPv6 its network of 64 bits, all of which one machine can use."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address), 64), strict=False))
        address = address.ipv4_mapped
    return str(address)
