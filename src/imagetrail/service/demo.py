"""The page on which people try the model, beside what `imagetrail serve` answers."""

import base64
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imagetrail.data.decoding import Unreadable
from imagetrail.service import reading
from imagetrail.service.answering import Answering, Sent
from imagetrail.service.limits import Limits
from imagetrail.service.resources import PAGE, fixed
from imagetrail.serving import occlusion
from imagetrail.serving.tried import Tried

SHOWN = {  # name of the page's part: the file
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/engine.js": ("remote.js", "text/javascript"),
}
NEAREST = 6
SIDE = 224  # pixels that a small picture is enlarged to, about
TINT = np.array([255, 90, 0])  # where the model looked
Pixels = NDArray[np.uint8]  # H×W×C


@dataclass(frozen=True)
class Neighbour:
    """A training picture that is like the one that is asked about."""

    label: str
    pixels: Pixels


Nearest = Callable[[Pixels, int], tuple[Sequence[Neighbour], str]]  # or why there are none


@dataclass(frozen=True)
class Knowledge:
    """What the page can say of a picture beside the model's answer."""

    nearest: Nearest
    unusual: Callable[[Pixels], bool]
    maps: Tried


def routes(asked: Answering, limits: Limits, knowledge: Knowledge) -> list[Route]:
    """The page, and what it shows beside the answer."""

    async def look(request: Request) -> Response:
        (sent,) = await reading.pictures(request, most=1)
        return JSONResponse(await asked.run(lambda: _looked(asked, sent, limits, knowledge)))

    parts = [
        Route(path, fixed((PAGE / name).read_text("utf-8"), kind))
        for path, (name, kind) in SHOWN.items()
    ]
    return [*parts, Route("/look", look, methods=["POST"])]


def _looked(asked: Answering, sent: Sent, limits: Limits, knowledge: Knowledge) -> dict[str, Any]:
    """Where the model looked, by the measure of `imagetrail predict --explain`; what is like it."""
    begun = time.perf_counter()
    (image,) = asked.decode([sent], until=begun + limits.seconds)
    if isinstance(image, Unreadable):
        raise HTTPException(422, str(image))
    target = int(asked.model.predict(image[None])[0].argmax())
    picture = None
    if not knowledge.maps.failed:
        picture = _address(marked(image, occlusion.sensitivity(asked.model.predict, image, target)))
    looked = time.perf_counter()
    found, reason = knowledge.nearest(image, NEAREST)
    return {
        "class": asked.model.classes[target],
        "picture": picture,
        "tried": knowledge.maps.text,
        "unusual": knowledge.unusual(image),
        "milliseconds": round(1000 * (looked - begun), 3),
        "nearest": [{"class": one.label, "picture": _address(_drawn(one.pixels))} for one in found],
        "reason": reason,
    }


def marked(image: Pixels, heat: NDArray[np.float64]) -> Image.Image:
    """The picture, and beside it the same in grey, orange where the heat is."""
    scale = max(1, round(SIDE / image.shape[0]))
    colour = np.broadcast_to(image, (*image.shape[:2], 3))
    grey = np.broadcast_to(image.mean(2, keepdims=True), colour.shape)
    share = heat / max(float(heat.max()), 1e-12)
    marked = grey + share[..., None] * 0.8 * (TINT - grey)
    line = np.full((image.shape[0], 1, 3), 255)
    both = np.concatenate([colour, line, marked.round()], 1).astype(np.uint8)
    return Image.fromarray(both.repeat(scale, 0).repeat(scale, 1))


def _drawn(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _address(picture: Image.Image) -> str:
    """A data: address, which a page may show though it may load nothing."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
