"""The training pictures most like a picture, by what the exported model sees in them."""

import hashlib
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from imagetrail.base import hashing, samples
from imagetrail.base.errors import UserError
from imagetrail.base.files import remove, replacing
from imagetrail.serving import neighbours, onnx_model


class Nearest:
    """Features of all training pictures, computed once for a model and its data, kept on disk."""

    def __init__(self, model: Path, train: Path, cache: Path) -> None:
        self._files = model, train, cache
        self._features: NDArray[np.float32] | None = None
        self._sources: list[str] = []
        self._model: onnx_model.Model | None = None
        self._state = "the nearest training pictures are being looked for"

    def start(self) -> None:
        """Begins in a thread of its own; until it is through, `of` says how far it is."""
        threading.Thread(target=self.prepare, daemon=True).start()

    def prepare(self) -> None:
        """Opens the model and, if they are not kept from before, computes the features."""
        model, train, _ = self._files
        if not model.exists() or not train.exists():
            self._state = "the nearest training pictures need a model: run dvc repro export"
            return
        try:
            self._model = onnx_model.load(model)
            self._sources = samples.read_table(train / "index.parquet", columns=["source"])[
                "source"
            ].to_pylist()
            self._features = self._kept(self._model)
        except (UserError, OSError) as error:
            self._state = f"the nearest training pictures cannot be found: {error}"

    def _kept(self, model: onnx_model.Model) -> NDArray[np.float32]:
        """The features N×D, on disk; an interrupted pass begins anew."""
        _, train, cache = self._files
        facts = model.sha256 + hashing.sha256(train / "index.parquet")
        path = cache / f"{hashlib.sha256(facts.encode()).hexdigest()[:16]}.npy"
        if not path.exists():
            with replacing(path) as temporary, temporary.open("wb") as file:
                self._compute(model, file)
            for other in cache.glob("*.npy"):
                if other != path:  # of another model or other pictures
                    remove(other)
        features: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        return features

    def _compute(self, model: onnx_model.Model, file: BinaryIO) -> None:
        """Writes them as .npy, a chunk at a time."""
        data, done = samples.read(self._files[1]), 0
        wide = model.features(np.zeros((0, *model.shape), np.uint8)).shape[1]
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(data), wide)}
        np.lib.format.write_array_header_2_0(file, header)
        for chunk in data.chunks():
            file.write(model.features(chunk).astype("<f4").tobytes())
            done += len(chunk)
            self._state = f"{done:,} of {len(data):,} training pictures compared so far"

    def of(self, image: NDArray[np.uint8], *, but: str, count: int) -> tuple[list[str], str]:
        """Sources of the training pictures nearest to one, other than `but`; or why there are none.

        image: H×W×C, as the model takes it.
        """
        rows, reason = self.rows(image, count=count + 1)
        return [self._sources[i] for i in rows if self._sources[i] != but][:count], reason

    def rows(self, image: NDArray[np.uint8], *, count: int) -> tuple[list[int], str]:
        """Numbers of the nearest training pictures, or why there are none."""
        if self._features is None or self._model is None:
            return [], self._state
        try:
            mine = self._model.features(image[None])[0]
        except UserError as error:  # a model of pictures of another size
            return [], str(error)
        return neighbours.closest(self._features, mine, count), ""
