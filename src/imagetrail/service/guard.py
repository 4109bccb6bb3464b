"""Who may ask, how much and for how long: checked before anything else looks at a request."""

import asyncio
import time
from collections.abc import Collection
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagetrail.service.figures import Figures
from imagetrail.service.limits import Limits

ANY = "*"
CLOSE = {"Connection": "close"}  # what else was sent with the request is not read
SECURE = [
    (
        b"content-security-policy",
        b"default-src 'none'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class Guard:
    """Wraps an application.

    A page elsewhere whose name was rebound to this address is told by the Host header; one that
    asks across by the Origin. A body is counted as it comes, and so is what all requests hold.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        paths: Collection[str],
        limits: Limits,
        figures: Figures,
    ) -> None:
        """hosts: the names that may be asked for, "*" for any. paths: those that are counted."""
        self._app, self._hosts, self._limits, self._figures = app, frozenset(hosts), limits, figures
        self._paths = frozenset(paths)
        self._held = 0  # bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(self, receive, send)
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._answer(scope, exchange)
        except TimeoutError:
            if exchange.status:
                return  # the client does not take its answer: the connection is cut
            text = "the answer took too long" if exchange.whole else "the request came too slowly"
            status = 503 if exchange.whole else 408
            await refusal(status, text, CLOSE)(scope, exchange.receive, exchange.send)
        finally:
            self._held -= exchange.bytes
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._figures.request(path, exchange.status, time.perf_counter() - begun)

    async def _answer(self, scope: Scope, exchange: "Exchange") -> None:
        try:
            self._check(Headers(scope=scope))
        except HTTPException as error:
            reply = refusal(error.status_code, error.detail, CLOSE)
            await reply(scope, exchange.receive, exchange.send)
        else:
            await self._app(scope, exchange.receive, exchange.send)

    def _check(self, headers: Headers) -> None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if ANY not in self._hosts and name_of(host) not in self._hosts:
            raise HTTPException(403, "not asked for by a name that this service has; see --allow")
        if origin is not None and origin.partition("://")[2] != host:
            raise HTTPException(403, "a page of another site asks")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._limits.request_bytes:
            raise self.too_large()

    def too_large(self) -> HTTPException:
        most = f"a request may have {self._limits.megabytes:,} megabytes"
        return HTTPException(413, most, CLOSE)

    def hold(self, exchange: "Exchange", count: int) -> None:
        """Notes that more of a body has come; raises HTTPException if that is too much."""
        exchange.bytes += count
        self._held += count
        if exchange.bytes > self._limits.request_bytes:
            raise self.too_large()
        if self._held > self._limits.held_bytes:
            raise HTTPException(
                503, "too much is being sent at a time", {"Retry-After": "1"} | CLOSE
            )


class Exchange:
    """One request and its answer, as they pass."""

    def __init__(self, guard: Guard, receive: Receive, send: Send) -> None:
        self._guard, self._receive, self._send = guard, receive, send
        self.bytes, self.whole, self.status = 0, False, 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._guard.hold(self, len(message.get("body", b"")))
            self.whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", []), *SECURE]
        await self._send(message)


@lru_cache(256)
def name_of(host: str) -> str:
    """The name in a Host header, without the port; "" if it makes no sense."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def refusal(status: int, text: str, headers: dict[str, Any] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers)
