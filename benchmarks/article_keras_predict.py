"""The article's network in Keras: images a second, and milliseconds for a single one, as JSON."""

import json
import sys
import time

import article_network
import numpy as np
from tensorflow.keras.utils import set_random_seed

set_random_seed(0)
images = (
    np.load(sys.argv[1])["x_test"].astype("float32") / 255
)  # scaled beforehand, to its advantage
repeats, singles = int(sys.argv[2]), int(sys.argv[3])
model = article_network.build()


def rates(**how: int) -> list[float]:
    """Images a second of each repeat, after one that is not measured."""
    taken = []
    for _ in range(repeats + 1):
        before = time.perf_counter()
        model.predict(images, verbose=0, **how)
        taken.append(time.perf_counter() - before)
    return [len(images) / seconds for seconds in taken[1:]]


figures = {"images_per_second": rates(), "images_per_second_batch256": rates(batch_size=256)}
milliseconds = []
for number in range(singles):
    before = time.perf_counter()
    model.predict(images[number : number + 1], verbose=0)
    milliseconds.append((time.perf_counter() - before) * 1000)
print(json.dumps(figures | {"ms_batch1": milliseconds[len(milliseconds) // 10 :]}))
