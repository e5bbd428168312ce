"""A recording TCP proxy: every byte that passes, in both directions, one file per connection and direction.

Without TLS of its own it records what somebody on the way sees. With the server's certificate it ends TLS and begins it anew, and records
what the server's operator sees: every request of every party, whole and in clear, before the server does anything with it.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from stfed.errors import LocalError
from stfed.testing.pki import ServerFiles

_READ_BYTES = 1 << 16
_START_TIMEOUT_S = 10.0


class Tap:
    """Listens on a port of 127.0.0.1 and passes everything on, for as long as the `with` block lasts.

    Args:
        folder: for the recordings, `0001-up` and `0001-down` and so on; made if it is not there.
        target_port: where connections go, on 127.0.0.1. May be another one from one connection to the next: a restarted server.
        tls: the server's certificate and key, to record in clear; None records what is on the wire.

    Attributes:
        port: where it listens.
    """

    def __init__(self, folder: Path, target_port: int, tls: ServerFiles | None = None) -> None:
        self.folder: Path = folder
        self.target_port: int = target_port
        self.port: int = 0
        self._tls, self._count = tls, 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"tap {folder.name}", daemon=True)
        self._server: asyncio.Server | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_START_TIMEOUT_S)
        except OSError as error:
            self.__exit__(None, None, None)
            raise LocalError(f"a recording proxy cannot listen on 127.0.0.1: {error.strerror}") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_START_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_TIMEOUT_S)
        self._loop.close()

    async def _listen(self) -> int:
        context = None
        if self._tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._tls.certificate, self._tls.key)
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=context)
        return int(self._server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count += 1
        name = f"{self._count:04d}"
        context = None
        if self._tls is not None:
            context = ssl.create_default_context(cafile=str(self._tls.authority))
        try:
            server = await asyncio.open_connection(
                "127.0.0.1", self.target_port, ssl=context, server_hostname="127.0.0.1" if context else None
            )
        except OSError:  # the server is down; the caller finds out as it would without us
            writer.transport.abort()
            return
        with (self.folder / f"{name}-up").open("wb") as up, (self.folder / f"{name}-down").open("wb") as down:
            await asyncio.gather(_pass(reader, server[1], up), _pass(server[0], writer, down))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: BinaryIO) -> None:
    """Passes bytes on until one side ends, and then ends the other."""
    try:
        while data := await reader.read(_READ_BYTES):
            record.write(data)
            writer.write(data)
            await writer.drain()
    except (OSError, asyncio.CancelledError):  # a side is gone, killed for example
        pass
    finally:
        record.flush()
        writer.transport.abort() if reader.exception() else writer.close()
