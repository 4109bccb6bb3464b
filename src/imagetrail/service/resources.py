"""Texts that are answered as they are."""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

PAGE = files("imagetrail.service") / "page"


def fixed(text: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that always says the same."""

    async def endpoint(_: Request) -> Response:
        return Response(text, media_type=kind)

    return endpoint
