"""The article's network answering with Keras: images a second, and milliseconds for a single picture, as JSON."""

import json
import sys
import time

import numpy as np
from tensorflow.keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from tensorflow.keras.models import Sequential
from tensorflow.keras.utils import set_random_seed

set_random_seed(0)
images = np.load(sys.argv[1])["x_test"].astype("float32") / 255  # scaled beforehand, to its advantage
repeats, singles = int(sys.argv[2]), int(sys.argv[3])
model = Sequential(
    [
        Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation="relu"),
        MaxPooling2D((2, 2)),
        Flatten(),
        Dense(64, activation="relu"),
        Dense(10, activation="softmax"),
    ]
)


def rates(**how: int) -> list[float]:
    """Images a second of each repeat, after one that is not measured."""
    taken = []
    for _ in range(repeats + 1):
        before = time.perf_counter()
        model.predict(images, verbose=0, **how)
        taken.append(time.perf_counter() - before)
    return [len(images) / seconds for seconds in taken[1:]]


said = {"images_per_second": rates(), "images_per_second_batch256": rates(batch_size=256)}
milliseconds = []
for number in range(singles):
    before = time.perf_counter()
    model.predict(images[number : number + 1], verbose=0)
    milliseconds.append((time.perf_counter() - before) * 1000)
print(json.dumps(said | {"ms_batch1": milliseconds[len(milliseconds) // 10 :]}))
