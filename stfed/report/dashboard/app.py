"""The dashboard's server: pages and JSON, read only, for whoever has the address with its secret part.

Other users of a machine reach its loopback address as well, and pages from anywhere can make a browser ask for it. So every path begins
with a random word that only the address which was printed has, requests must name this machine as their host (a name that somebody points
here is refused: DNS rebinding), nothing is ever written, and the pages may load nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stfed.errors import LocalError
from stfed.report.dashboard import facts
from stfed.report.dashboard.watching import Runs

_HOSTS = ("127.0.0.1", "localhost")
_WORD_BYTES = 16
_STATIC = {"": ("page.html", "text/html"), "style.css": ("style.css", "text/css"), "script.js": ("script.js", "text/javascript")}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def build(folder: Path, word: str) -> Starlette:
    """The application.

    Args:
        folder: whose runs are shown.
        word: the secret part of every address.
    """
    runs = Runs(folder)

    def refused(request: Request) -> bool:
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
        given = request.path_params["word"].encode()
        return host not in _HOSTS or not hmac.compare_digest(given, word.encode())

    def static(request: Request) -> Response:
        name = request.path_params.get("file", "")
        if refused(request) or name not in _STATIC:
            return _nothing()
        file, kind = _STATIC[name]
        return Response(files(__package__).joinpath(file).read_bytes(), media_type=kind, headers=_HEADERS)

    def listed(request: Request) -> Response:
        return _nothing() if refused(request) else JSONResponse([facts.overview(one) for one in runs.look()], headers=_HEADERS)

    def one(request: Request) -> Response:
        if refused(request):
            return _nothing()
        name = request.query_params.get("name", "")
        watched = runs.named(name)
        if watched is None:
            runs.look()
            watched = runs.named(name)
        return _nothing() if watched is None else JSONResponse(facts.details(watched), headers=_HEADERS)

    return Starlette(
        routes=[
            Route("/{word}/runs.json", listed),
            Route("/{word}/run.json", one),
            Route("/{word}/", static),
            Route("/{word}/{file}", static),
        ]
    )


def _nothing() -> Response:
    return Response("nothing here\n", status_code=404, media_type="text/plain", headers=_HEADERS)


def serve(folder: Path, port: int, ready: Callable[[str], None]) -> None:
    """Serves until it is interrupted.

    Args:
        folder: whose runs are shown.
        port: on the loopback address; 0 for any that is free.
        ready: called with the address as soon as somebody can open it.

    Raises:
        LocalError: there is no such folder, or the port is taken.
    """
    if not folder.is_dir():
        raise LocalError(f"there is no folder {folder}", hint="name the folder that holds the runs, such as runs/")
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LocalError(f"cannot listen on port {port}: {reason}", hint="leave --port out for one that is free") from None
    with listener:
        word = secrets.token_urlsafe(_WORD_BYTES)
        config = uvicorn.Config(
            build(folder, word), lifespan="off", ws="none", log_config=None, access_log=False, server_header=False, proxy_headers=False
        )
        ready(f"http://127.0.0.1:{listener.getsockname()[1]}/{word}/")
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
