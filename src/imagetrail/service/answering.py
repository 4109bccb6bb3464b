"""Pictures as bytes become answers, on a few threads and never more at a time than they can take.

Each request is answered by itself, on one thread: no picture waits for another's, and a fault is
its own request's. To answer all that waits as one batch took a quarter less of the processors' time
for 28×28 pixels and 8 clients or more, too little for that.
"""

import asyncio
import io
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from starlette.exceptions import HTTPException

from imagetrail.base.errors import UserError
from imagetrail.base.samples import Images
from imagetrail.data import decoding
from imagetrail.data.decoding import Unreadable
from imagetrail.serving import inputs, prediction
from imagetrail.serving.inputs import Batch
from imagetrail.serving.onnx_model import Model
from imagetrail.serving.prediction import Answer

T = TypeVar("T")
Sent = tuple[str, bytes]  # a picture's name and its file's content


@dataclass(frozen=True)
class Fault:
    """A file that is no picture."""

    file: str
    reason: str


@dataclass(frozen=True)
class Answered:
    """What is in the pictures of a request, in its order."""

    results: list[Answer | Fault]
    seconds: float

    @property
    def answers(self) -> list[Answer]:
        return [one for one in self.results if isinstance(one, Answer)]


class Answering:
    """A model, and the threads that ask it."""

    def __init__(
        self, model: Model, *, top: int, unsure: float, waiting: int, seconds: float
    ) -> None:
        self.model, self.top, self.unsure = model, top, unsure
        self.target = inputs.target_of(model)
        self.waiting = 0
        self._most, self._seconds = waiting, seconds
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, "answering")
        model.predict(np.zeros((1, *model.shape), np.uint8))  # the first answer takes longest

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` gives, on a thread; raises HTTPException 503 if too much waits already."""
        if self.waiting >= self._most:
            raise HTTPException(503, "too many requests are waiting", {"Retry-After": "1"})
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except UserError as error:
            raise HTTPException(500, str(error)) from None
        finally:
            self.waiting -= 1

    def answer(self, sent: Sequence[Sent]) -> Answered:
        """What is in the pictures; runs on a thread."""
        begun = time.perf_counter()
        decoded = self.decode(sent, until=begun + self._seconds)
        good = {i: image for i, image in enumerate(decoded) if not isinstance(image, Unreadable)}
        found: list[Answer] = []
        if good:
            batch = Batch([sent[i][0] for i in good], np.stack([*good.values()]), [])
            found = prediction.answers(self.model, batch, top=self.top, unsure=self.unsure)
        by_place = dict(zip(good, found, strict=True))
        results = [
            by_place[i] if i in good else Fault(name, str(decoded[i]))
            for i, (name, _) in enumerate(sent)
        ]
        return Answered(results, time.perf_counter() - begun)

    def decode(self, sent: Sequence[Sent], *, until: float) -> list[Images | Unreadable]:
        """Each picture H×W×C as the model takes it, or why it is none.

        Raises HTTPException after `until`, when nobody waits for them any more.
        """
        found: list[Images | Unreadable] = []
        for _, content in sent:
            if time.perf_counter() > until:
                raise HTTPException(503, "the pictures took too long")
            try:
                found.append(decoding.read(io.BytesIO(content), self.target)[0])
            except Unreadable as reason:
                found.append(reason)
        return found
