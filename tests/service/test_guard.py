"""What a client may take: of memory together with all others, and of time."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_onnx
from service_client import CLASSES, draw
from starlette.exceptions import HTTPException

from imagetrail.service import app
from imagetrail.service.answering import Answering
from imagetrail.service.guard import name_of
from imagetrail.service.limits import MEGABYTE, Limits
from imagetrail.serving import onnx_model

Send = Callable[[dict[str, Any]], Awaitable[None]]


@pytest.fixture(scope="module")
def opened(model: Path) -> onnx_model.Model:
    return onnx_model.load(model, threads=1)


class Client:
    """One request to an application, as a server hands it on; its body comes in pieces."""

    def __init__(self, *pieces: bytes, path: str = "/predict") -> None:
        self.pieces, self.path = [*pieces], path
        self.said, self.go_on = list[dict[str, Any]](), asyncio.Event()

    async def ask(self, built: Any, send: Send | None = None) -> tuple[int, Any]:
        scope = {
            "type": "http",
            "method": "POST" if self.pieces else "GET",
            "path": self.path,
            "headers": [(b"host", b"here:1")],
            "query_string": b"",
        }
        await built(scope, self._receive, send or self._send)
        body = b"".join(part.get("body", b"") for part in self.said)
        return self.said[0]["status"], json.loads(body)

    async def _receive(self) -> dict[str, Any]:
        piece = self.pieces.pop(0)
        if not piece:
            await self.go_on.wait()
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}

    async def _send(self, message: dict[str, Any]) -> None:
        self.said.append(message)


def build(opened: onnx_model.Model, **limits: Any) -> Any:
    return app.build(opened, top=3, unsure=0.5, limits=Limits(**limits), hosts=["here"])


def test_what_all_requests_hold_is_bounded_and_given_back(opened: onnx_model.Model) -> None:
    async def scene() -> None:
        built = build(opened, megabytes=1, held=1)
        large = bytes(MEGABYTE * 6 // 10)
        first, second = Client(large, b"", b"."), Client(large, b".")
        waits = asyncio.ensure_future(first.ask(built))
        await asyncio.sleep(0)
        assert await second.ask(built) == (503, {"error": "too much is being sent at a time"})
        first.go_on.set()
        assert (await waits)[0] == 422  # whole, and no picture
        assert (await Client(draw(0)).ask(built))[0] == 200
        assert (await Client(large, large).ask(built))[0] == 413

    asyncio.run(scene())


def test_a_client_that_does_not_take_its_answer_is_let_go(opened: onnx_model.Model) -> None:
    async def stuck(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(60)

    async def scene() -> None:
        built = build(opened, seconds=0.2)
        client = Client(path="/health")
        with pytest.raises(IndexError):  # nothing was said, and the application has returned
            await asyncio.wait_for(client.ask(built, stuck), 30)

    asyncio.run(scene())


def test_an_answer_that_takes_too_long_is_given_up(opened: onnx_model.Model) -> None:
    asked = Answering(opened, top=1, unsure=0, waiting=1, seconds=-1)
    with pytest.raises(HTTPException, match="took too long"):
        asked.answer([("a.png", draw(0))])


def test_a_damaged_model_is_said_to_be(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(64, 4)).astype(np.float32), np.zeros(4, np.float32)
    last = np.full((4, 3), np.nan, np.float32), np.zeros(3, np.float32)
    proto = tiny_onnx.proto(hidden, last, classes=CLASSES)
    file = tiny_onnx.write(tmp_path / "m.onnx", proto)
    with pytest.raises(Exception, match="no numbers"):
        build(onnx_model.load(file, threads=1))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost:80", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]:80", "::1"),
        ("Shoes.Example:1", "shoes.example"),
        ("[", ""),
        ("", ""),
        ("localhost@evil.example:80", "evil.example"),
    ],
)
def test_the_name_that_is_asked_for(host: str, name: str) -> None:
    assert name_of(host) == name
