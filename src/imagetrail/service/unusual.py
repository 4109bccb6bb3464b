"""Whether a picture is like those that the model knows: of others its answers may mean nothing."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagetrail.serving import drift, two_sample
from imagetrail.serving.onnx_model import Model


class Unusual:
    """As `imagetrail drift` tells, whose reference lies beside the model."""

    def __init__(self, model: Model, file: Path) -> None:
        """Raises UserError if there is no such reference, or another model's."""
        self._model = model
        self._known = drift.read_reference(drift.reference_of(file), model).features
        usual = two_sample.nearest(self._known, self._known, same=True)
        self._bound = float(np.quantile(usual, drift.FAR))

    def __call__(self, image: NDArray[np.uint8]) -> bool:
        """Whether all but one in a hundred of the validation pictures are nearer to their like."""
        features = self._model.features(image[None])
        return bool(two_sample.nearest(features, self._known)[0] > self._bound)
