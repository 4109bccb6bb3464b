"""Where champion and challenger looked on pictures on which they disagree.

Both by occlusion: it needs no gradients, and maps of two methods could not be compared. A model
whose maps did not pass the trial of stage `explain` has none.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.files import replacing
from imagetrail.base.samples import Images, Samples
from imagetrail.serving import occlusion, onnx_model, tried
from imagetrail.serving.onnx_model import Model
from imagetrail.stages.gate.candidate import Candidate

SHOWN = 6  # pictures: of large ones, each takes hundreds of answers


def draw(
    path: Path, numbers: NDArray[np.int64], models: Mapping[str, Candidate], test: Samples
) -> dict[str, str]:
    """Draws test images of these numbers, and beside each where each of the models looked.

    Returns why a model has no map, by its name. Without pictures or maps it draws that there is
    none.
    """
    from imagetrail.plots import charts  # matplotlib takes longer to load than all else here

    absent: dict[str, str] = {}
    looks = []
    images = test.images[numbers]
    for name, candidate in models.items() if len(numbers) else ():
        file = Path(candidate.file)
        model = onnx_model.load(file)
        known = tried.of(file, model)
        if not known.passed:
            absent[name] = known.text
            continue
        answers = candidate.probabilities[numbers].argmax(1)
        titles = [f"{name}: {model.classes[answer]}" for answer in answers]
        looks.append((titles, _maps(model, images, answers)))
    with replacing(path) as temporary:
        if looks:
            labels = [test.classes[label] for label in test.labels[numbers]]
            charts.compared(images, labels, looks, temporary)
        else:
            charts.gallery([], [], temporary)
    return absent


def _maps(model: Model, images: Images, answers: NDArray[np.int64]) -> NDArray[np.float32]:
    """N×H×W, each from 0 to 1 where most speaks for the answer."""
    pairs = zip(images, answers.tolist(), strict=True)
    maps = [occlusion.sensitivity(model.predict, image, answer) for image, answer in pairs]
    return np.array([fall / max(float(fall.max()), 1e-12) for fall in maps], np.float32)
