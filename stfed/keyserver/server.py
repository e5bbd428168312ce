"""The process: opens what the configuration names, listens with TLS, and stops cleanly when told to.

uvicorn has no deadline for a peer that sends half a request and waits, and asyncio gives a TLS handshake a minute. So connections are
counted at the door (`stfed.keyserver.gate`), and each has three deadlines here: for the handshake, for the head of each request, and for
everything together. A challenge and a release take a fraction of the shortest.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from stfed.audit import AuditLog
from stfed.errors import LocalError
from stfed.keys.keyfile import read_identity, read_secret_keys
from stfed.keys.signing import SigningKey
from stfed.keyserver.app import build
from stfed.keyserver.config import Config
from stfed.keyserver.gate import Gate, Listener
from stfed.keyserver.logbook import Logbook
from stfed.keyserver.rosterfile import RosterFile
from stfed.keyserver.service import Service
from stfed.keyserver.store import Store

HANDSHAKE_S = 5.0
HEAD_S = 10.0
CONNECTION_S = 60.0
_STOPPING_S = 10
_BACKLOG = 128  # connections that the kernel holds for us, and that are descriptors at once before the door closes them
_HEADERS_MAX_BYTES = 16 << 10

Ready = Callable[[str, int, SigningKey], None]
"""Is called with host, port and the service's key as soon as the service listens."""


@contextmanager
def opened(config: Config) -> Iterator[tuple[Service, Logbook, SigningKey]]:
    """The service that a configuration describes, its files open inside the block.

    Raises:
        LocalError, MalformedError: if a file is missing, not what it should be, or may be used by others than its owner.
    """
    keys = read_secret_keys(config.key)
    if keys.identity is None or keys.signing is None:
        raise LocalError(f"{config.key} does not hold both a key to decrypt with and one to sign with", hint="`stfed keygen` writes both")
    identities = [keys.identity, *(read_identity(path) for path in config.former)]
    roster = RosterFile(config.roster)
    roster.read()  # a service that would refuse everybody does not start
    with ExitStack() as stack:
        log = stack.enter_context(AuditLog(config.audit))
        store = Store(config.database)
        stack.callback(store.close)
        logbook = Logbook(log, keys.signing, config.checkpoint_every, strangers_per_minute=config.limits.strangers_logged)
        yield Service(identities, keys.signing, roster.read, store, logbook, limits=config.limits), logbook, keys.signing


def serve(config: Config, ready: Ready) -> None:
    """Runs the service until SIGTERM or SIGINT; requests in progress are finished, and the log's head is signed at the end.

    Raises:
        LocalError: as `opened`; also if certificate or address cannot be used.
    """
    context = tls_context(config)
    with opened(config) as (service, logbook, signer), _listening(config) as listener:
        host, port = listener.getsockname()[:2]
        uvicorn_config = uvicorn.Config(
            build(service),
            loop="asyncio",
            ws="none",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="error",  # not a line for each request that is no HTTP
            h11_max_incomplete_event_size=_HEADERS_MAX_BYTES,
            timeout_graceful_shutdown=_STOPPING_S,
        )
        _Server(uvicorn_config, listener, context, lambda: ready(host, port, signer)).run()
        logbook.finish()


def tls_context(config: Config) -> ssl.SSLContext:
    """TLS 1.2 or later with the configured certificate; LocalError if that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        if config.certificate_key.stat().st_mode & 0o007:  # a group for those who may use certificates is common
            raise LocalError(
                f"{config.certificate_key} may be used by everybody on this machine", hint=f"chmod o= {config.certificate_key}"
            )
        context.load_cert_chain(config.certificate, config.certificate_key, password="")  # else OpenSSL asks on the terminal
    except OSError as error:  # SSLError is one
        reason = error.strerror or str(error)
        raise LocalError(
            f"the TLS certificate {config.certificate} and its key {config.certificate_key} cannot be used: {reason}",
            hint="both are PEM files, the key without a passphrase",
        ) from None
    return context


@contextmanager
def _listening(config: Config) -> Iterator[Listener]:
    try:
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listening = socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        raise LocalError(f"cannot listen on {config.host}, port {config.port}: {error.strerror}") from None
    with Listener(listening, Gate(config.connections, config.connections_per_address)) as listener:
        yield listener


class _Connection(H11Protocol):
    """One connection after its handshake, which ends at a deadline."""

    _end: asyncio.TimerHandle
    _head: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end = self.loop.call_later(CONNECTION_S, transport.abort)
        self._head = self.loop.call_later(HEAD_S, self._expect_head)

    def on_response_complete(self) -> None:
        self._head.cancel()
        self._head = self.loop.call_later(HEAD_S, self._expect_head)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        self._head.cancel()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


class _Server(uvicorn.Server):
    """Listens with deadlines that uvicorn has no options for, says when it is ready, and takes a signal as the request to stop that it is,
    not as its cause of death.
    """

    def __init__(self, config: uvicorn.Config, listener: Listener, context: ssl.SSLContext, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._listener, self._context, self._ready = listener, context, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        listening = await asyncio.get_running_loop().create_server(
            lambda: _Connection(config=self.config, server_state=self.server_state, app_state=self.lifespan.state),
            sock=self._listener,
            backlog=_BACKLOG,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_S,
            ssl_shutdown_timeout=HANDSHAKE_S,
        )
        self.servers = [listening]
        self.started = True
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before: dict[signal.Signals, Any] = {which: signal.signal(which, self.handle_exit) for which in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)
