"""Pictures as bytes become answers, on a few threads and never more at a time than they can take.

Each request is answered by itself, on one thread: no picture waits for another's, and a fault is its
own request's. To answer all that waits as one batch took a quarter less of the processors' time for
28×28 pixels and 8 clients or more, too little for that.
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
class Answered:
    """What is in the pictures of a request."""

    answers: list[Answer]
    faults: list[tuple[str, str]]  # name and reason of what is no picture
    seconds: float


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
        """What is in the pictures, in order; runs on a thread."""
        begun = time.perf_counter()
        batch = self.batch(sent, until=begun + self._seconds)
        found: list[Answer] = []
        if batch.files:
            found = prediction.answers(self.model, batch, top=self.top, unsure=self.unsure)
        return Answered(found, batch.faults, time.perf_counter() - begun)

    def batch(self, sent: Sequence[Sent], *, until: float) -> Batch:
        """The pictures as the model takes them; after `until` nobody waits for them any more."""
        names, images, faults = list[str](), list[Images](), list[tuple[str, str]]()
        for name, content in sent:
            if time.perf_counter() > until:
                raise HTTPException(503, "the pictures took too long")
            try:
                images.append(decoding.read(io.BytesIO(content), self.target)[0])
                names.append(name)
            except Unreadable as reason:
                faults.append((name, str(reason)))
        empty = np.empty((0, *self.target.shape), np.uint8)
        return Batch(names, np.stack(images) if images else empty, faults)
