"""Whether this node reaches its SuperLink, and whether that is the right one: name, connection, certificate."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from stfed.cli.checkup import GOOD, NOTE, PROBLEM, Finding
from stfed.errors import LocalError

_TIMEOUT_S = 10.0
_SOON_S = 30 * 86400.0


def network(superlink: str, certificates: Path | None) -> Iterator[Finding]:
    """A connection as a SuperNode makes it, and nothing sent over it.

    Args:
        superlink: HOST:PORT.
        certificates: of the authority that signed the SuperLink's; None without TLS.
    """
    host, colon, port = superlink.rpartition(":")
    host = host.strip("[]")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise LocalError(f"{superlink!r} is no address", hint="write HOST:PORT, as for flower-supernode --superlink")
    try:
        connection = socket.create_connection((host, int(port)), timeout=_TIMEOUT_S)
    except socket.gaierror:
        yield Finding("network", PROBLEM, f"nobody knows a host {host}", "see whether its name is right, and this machine's DNS")
        return
    except OSError as error:
        hint = "is the SuperLink started, and does a firewall let its fleet port through? a node only ever connects outwards"
        yield Finding("network", PROBLEM, f"no connection to {superlink}: {error.strerror or error}", hint)
        return
    with connection:
        yield Finding("network", GOOD, f"{superlink} answers")
        if certificates is None:
            yield Finding(
                "network", NOTE, "without TLS: whoever is on the way can read and change what this node sends", "--root-certificates"
            )
        else:
            yield from _certificate(connection, host, certificates)


def _certificate(connection: socket.socket, host: str, certificates: Path) -> Iterator[Finding]:
    try:
        context = ssl.create_default_context(cafile=certificates)
    except ssl.SSLError:
        yield Finding("network", PROBLEM, f"{certificates} holds no certificates", "ask the coordinator for its CA certificate, in PEM")
        return
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with context.wrap_socket(connection, server_hostname=host) as channel:
            details = cast(dict[str, Any], channel.getpeercert())
            name = channel.version()
    except ssl.SSLCertVerificationError as error:
        hint = "do not go on: this may be somebody else; compare the certificates, and this machine's clock"
        yield Finding("network", PROBLEM, f"this is not the SuperLink that {certificates} vouches for: {error.verify_message}", hint)
        return
    except OSError as error:  # SSLError is one
        reason = getattr(error, "reason", None) or error.strerror or error
        yield Finding("network", PROBLEM, f"no TLS with {host}: {reason}", "is the SuperLink started with --ssl-certfile?")
        return
    left_s = ssl.cert_time_to_seconds(details["notAfter"]) - time.time()
    text = f"{name}, and its certificate is good for {left_s / 86400:.0f} days"
    yield Finding("network", NOTE, text, "have it renewed before the run ends") if left_s < _SOON_S else Finding("network", GOOD, text)
