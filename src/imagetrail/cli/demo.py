"""`imagetrail demo`: a page to try the model on."""

import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagetrail.base.errors import UserError
from imagetrail.base.terminal import say
from imagetrail.cli.serve import need_extra

if TYPE_CHECKING:  # what the command works with is loaded when it runs: the others start without it
    from imagetrail.service.demo import Nearest, Pixels
    from imagetrail.serving.onnx_model import Model

KEPT = Path(".imagetrail/demo")
TOP = 5  # classes that are shown
SECONDS = 60  # for an answer: where a large network looks takes many of its answers


def demo(
    model: Annotated[
        Path | None, typer.Option(help="An ONNX file; else the champion, else what export chose.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The first one to try.")] = 8090,
    unsure: Annotated[
        float, typer.Option(min=0, max=1, help="Unsure below this probability.")
    ] = 0.5,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page.")] = True,
    static: Annotated[
        Path | None,
        typer.Option(help="Write a page into this folder that runs the model in the browser."),
    ] = None,
) -> None:
    """Open a page to try the model on: drop a picture, paste one, or use the camera."""
    from imagetrail.serving import prediction

    path = prediction.model_in_use(model)
    if static:
        from imagetrail.service import static_page

        static_page.write(path, static, top=TOP, unsure=unsure)
        say(f"{static}: a page of files; try it with `python -m http.server -d {static}`")
        return
    need_extra()
    _open(path, port=port, unsure=unsure, browser=browser)


def _open(path: Path, *, port: int, unsure: float, browser: bool) -> None:
    from imagetrail.service import app, server
    from imagetrail.service import demo as page
    from imagetrail.service.limits import Limits
    from imagetrail.serving import onnx_model, tried

    model, limits = onnx_model.load(path, threads=1), Limits(seconds=SECONDS)
    knowledge = page.Knowledge(near(path), unlike(model, path), tried.of(path, model))
    built = app.build(
        model,
        top=TOP,
        unsure=unsure,
        limits=limits,
        hosts=server.NAMES,
        more=lambda asked: page.routes(asked, limits, knowledge),
    )
    with server.listen(server.LOOPBACK, port, tried=server.TRIED) as listening:
        address = f"http://{server.LOOPBACK}:{listening.getsockname()[1]}/"
        say(f"model: {path} ({model.sha256[:12]})", error=True)
        say(f"demo: {address}  (Ctrl-C ends it)")
        if browser:
            webbrowser.open(address)
        server.run(built, listening, seconds=SECONDS)


def unlike(model: "Model", path: Path) -> "Callable[[Pixels], bool]":
    """What tells pictures that are unlike those that the model knows; where it cannot, none is."""
    from imagetrail.service.unusual import Unusual

    try:
        return Unusual(model, path)
    except UserError:
        return lambda _image: False


def near(model: Path) -> "Nearest":
    """What finds the nearest training pictures, or says why it cannot."""
    from imagetrail.base import paths, samples
    from imagetrail.review.nearest import Nearest as Features
    from imagetrail.service.demo import Neighbour

    try:
        train = samples.read(paths.TRAIN)
    except UserError as error:
        reason = f"the nearest training pictures are not shown: {error}"
        return lambda _image, _count: ([], reason)
    features = Features(model, paths.TRAIN, KEPT)
    features.start()

    def nearest(image: "Pixels", count: int) -> tuple[list[Neighbour], str]:
        rows, reason = features.rows(image, count=count)
        labels = train.labels
        return [Neighbour(train.classes[labels[i]], train.images[i]) for i in rows], reason

    return nearest
