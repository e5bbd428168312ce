"""The recording proxy passes on every byte, and records the wire or, with the server's key, what is behind TLS; with a real server."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from stfed.testing.pki import Authority, ServerFiles
from stfed.testing.tap import Tap

SAID = b"what the party said, in clear " * 1000


class Echo(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def server(tls: ServerFiles) -> Iterator[int]:
    echo = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    echo.socket = context.wrap_socket(echo.socket, server_side=True)
    thread = threading.Thread(target=echo.serve_forever)
    thread.start()
    try:
        yield echo.server_port
    finally:
        echo.shutdown()
        thread.join()
        echo.server_close()


def recorded(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_the_wire_shows_nothing_and_the_servers_side_everything(tmp_path: Path) -> None:
    tls = Authority.new("test").issue(["127.0.0.1"], tmp_path / "tls")
    with server(tls) as port, Tap(tmp_path / "clear", port, tls) as clear, Tap(tmp_path / "wire", clear.port) as wire:
        context = ssl.create_default_context(cafile=str(tls.authority))
        with httpx.Client(verify=context) as client:
            assert client.post(f"https://127.0.0.1:{wire.port}/", content=SAID).content == SAID
            assert client.post(f"https://127.0.0.1:{wire.port}/", content=b"again").content == b"again"
    assert recorded(tmp_path / "clear").count(SAID) == 2  # up and down
    assert SAID[:30] not in recorded(tmp_path / "wire")
    assert len(recorded(tmp_path / "wire")) > 2 * len(SAID)


def test_a_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    tls = Authority.new("test").issue(["127.0.0.1"], tmp_path / "tls")
    other = ssl.create_default_context(cadata=Authority.new("test").pem().decode())
    with server(tls) as port, Tap(tmp_path / "wire", port) as wire, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.post(f"https://127.0.0.1:{wire.port}/", content=SAID, verify=other)


def test_a_certificate_is_for_its_hosts_only(tmp_path: Path) -> None:
    authority = Authority.new("test")
    tls = authority.issue(["fl.example.org", "10.0.0.7"], tmp_path / "tls")
    trusting = ssl.create_default_context(cafile=str(tls.authority))
    with server(tls) as port, pytest.raises(httpx.ConnectError, match="IP address mismatch"):
        httpx.get(f"https://127.0.0.1:{port}/", verify=trusting)
    assert (tls.key.stat().st_mode & 0o777) == 0o600


def test_a_server_that_is_down_ends_the_connection_and_may_come_back(tmp_path: Path) -> None:
    tls = Authority.new("test").issue(["127.0.0.1"], tmp_path / "tls")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    context = ssl.create_default_context(cafile=str(tls.authority))
    with Tap(tmp_path / "clear", closed, tls) as clear:
        with pytest.raises(httpx.TransportError):
            httpx.post(f"https://127.0.0.1:{clear.port}/", content=SAID, verify=context)
        with server(tls) as port:
            clear.target_port = port
            assert httpx.post(f"https://127.0.0.1:{clear.port}/", content=SAID, verify=context).content == SAID
