"""`imagetrail serve`: the exported model over HTTP."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from imagetrail.base.errors import UserError
from imagetrail.base.terminal import say

EXTRA = "pip install 'imagetrail[serve]'"
LIBRARIES = ("httptools", "prometheus_client", "python_multipart", "starlette", "uvicorn")


def serve(
    model: Annotated[
        Path | None, typer.Option(help="An ONNX file; else the champion, else what export chose.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="A name, beside --host, that it may be asked for by; * for any."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to name, the likeliest first.")] = 3,
    unsure: Annotated[
        float, typer.Option(min=0, max=1, help="Unsure below this probability.")
    ] = 0.5,
    megabytes: Annotated[int, typer.Option(min=1, help="Of a request, at most.")] = 20,
    seconds: Annotated[float, typer.Option(min=0.1, help="For a request, at most.")] = 10,
    waiting: Annotated[
        int, typer.Option(min=1, help="Requests that may wait; the next are refused with 503.")
    ] = 128,
) -> None:
    """Answer over HTTP: POST /predict, GET /health, /version, /metrics and /docs.

    The pictures of a request are its body, or the files of a form.
    """
    need_extra()
    from imagetrail.service import app, server
    from imagetrail.service.limits import Limits
    from imagetrail.serving import onnx_model, prediction

    path = prediction.model_in_use(model)
    opened = onnx_model.load(path, threads=1)
    limits = Limits(megabytes=megabytes, seconds=seconds, waiting=waiting)
    names = [*server.NAMES, host, *(allow or ())]
    built = app.build(opened, top=top, unsure=unsure, limits=limits, hosts=names)
    with server.listen(host, port) as listening:
        place, number = f"[{host}]" if ":" in host else host, listening.getsockname()[1]
        say(f"model: {path} ({opened.sha256[:12]})", error=True)
        say(f"serve: http://{place}:{number}/docs  (Ctrl-C ends it)")
        server.run(built, listening, seconds=seconds)


def need_extra() -> None:
    """Raises UserError if the libraries that serve are not installed."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise UserError(f"{missing[0]} is not installed; what serves comes by {EXTRA}")
