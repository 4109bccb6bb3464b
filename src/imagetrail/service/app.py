"""The exported model over HTTP: an application that any ASGI server runs."""

import json
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from imagetrail.service import document, reading
from imagetrail.service.answering import Answered, Answering, Fault
from imagetrail.service.figures import Figures
from imagetrail.service.guard import Guard, refusal
from imagetrail.service.limits import Limits
from imagetrail.service.resources import PAGE, fixed
from imagetrail.serving import prediction
from imagetrail.serving.onnx_model import Model


def build(
    model: Model,
    *,
    top: int,
    unsure: float,
    limits: Limits,
    hosts: Collection[str],
    more: Callable[[Answering], Sequence[Route]] | None = None,
) -> ASGIApp:
    """The application; `more` gives routes beside those of the service, as the demo's page."""
    asked = Answering(model, top=top, unsure=unsure, waiting=limits.waiting, seconds=limits.seconds)
    figures = Figures(lambda: asked.waiting)
    about = _about(asked, limits)

    async def predict(request: Request) -> Response:
        sent = await reading.pictures(request, most=limits.pictures)
        found = await asked.run(lambda: asked.answer(sent))
        figures.answered(found)
        return Response(
            _as_json(found), 200 if found.answers else 422, media_type="application/json"
        )

    async def metrics(_: Request) -> Response:
        return Response(figures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    routes = [
        Route("/predict", predict, methods=["POST"]),
        Route("/metrics", metrics),
        Route("/health", fixed('{"status": "ok"}', "application/json")),
        Route("/version", fixed(json.dumps(about), "application/json")),
        Route("/openapi.json", fixed(json.dumps(document.openapi(limits)), "application/json")),
        Route("/docs", fixed(document.page(limits), "text/html")),
        Route("/docs.css", fixed((PAGE / "docs.css").read_text("utf-8"), "text/css")),
        *(more(asked) if more else ()),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _failed})
    paths = [route.path for route in routes]
    return Guard(app, hosts=hosts, paths=paths, limits=limits, figures=figures)


def _about(asked: Answering, limits: Limits) -> dict[str, object]:
    return {
        "imagetrail": version("imagetrail"),
        "model": asked.model.sha256,
        "classes": list(asked.model.classes),
        "shape": list(asked.model.shape),
        "top": asked.top,
        "unsure": asked.unsure,
        "megabytes": limits.megabytes,
        "pictures": limits.pictures,
    }


def _as_json(found: Answered) -> str:
    """Answers as `imagetrail predict --format json` gives them, among them what is no picture."""
    answers = prediction.as_json(found.answers, ())
    rows = [
        json.dumps({"file": one.file, "error": one.reason})
        if isinstance(one, Fault)
        else next(answers)
        for one in found.results
    ]
    return f'{{"answers": [{", ".join(rows)}], "milliseconds": {found.seconds * 1000:.3f}}}'


async def _failed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, error.detail, dict(error.headers or {}))
