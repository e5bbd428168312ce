"""The key service over HTTP: three addresses, bounded bodies, decisions in threads because they wait for the disk.

    POST /v1/challenge    no body          200 challenge
    POST /v1/release      a request        200 reply
    GET  /v1/health       no body          200 if a key could be released now, 503 if not

A refusal is JSON with the rule's name, under the status that `stfed.keyserver.rules` gives it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from stfed.errors import StfedError
from stfed.keyserver.gate import network
from stfed.keyserver.messages import REQUEST_MAX_BYTES, encode_refusal
from stfed.keyserver.rules import Refused
from stfed.keyserver.service import Service

_HEADERS = {"Cache-Control": "no-store"}
_GONE = 499  # nobody reads it: the caller hung up


def build(service: Service) -> Starlette:
    """The application around a service."""

    async def challenge(_request: Request, address: str) -> bytes:
        return await run_in_threadpool(service.challenge, address)

    async def release(request: Request, address: str) -> bytes:
        return await run_in_threadpool(service.release, await _body(request), address)

    async def health(_request: Request, _address: str) -> bytes:
        try:
            await run_in_threadpool(service.check)
        except StfedError as error:
            raise Refused("unavailable", error.message) from error
        return b'{"status":"ok"}'

    def route(path: str, method: str, answer: Callable[[Request, str], Awaitable[bytes]]) -> Route:
        async def endpoint(request: Request) -> Response:
            address = network(request.client.host if request.client else "")
            try:
                await run_in_threadpool(service.admit, address)
                return Response(await answer(request, address), 200, _HEADERS, "application/json")
            except Refused as refused:
                rule = refused.rule.heard
                return Response(encode_refusal(rule.name), rule.status, _HEADERS, "application/json")
            except ClientDisconnect:
                return Response(status_code=_GONE)

        return Route(path, endpoint, methods=[method])

    return Starlette(
        routes=[route("/v1/challenge", "POST", challenge), route("/v1/release", "POST", release), route("/v1/health", "GET", health)]
    )


async def _body(request: Request) -> bytes | None:
    """The whole body; None as soon as it is known to be over the limit."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > REQUEST_MAX_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > REQUEST_MAX_BYTES:
            return None
    return bytes(body)
