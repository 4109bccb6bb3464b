"""The article's code on draws of a few images of a data set: how well each does, as JSON.

The article's 10 epochs of batch 32, or as many more as make 500 steps: of 100 images, 10 epochs are
40, which is too few. Arguments: the data set, and a file with the draws, each an array of numbers
of training images, beside the images and labels that all are judged on.
"""

import json
import sys

import article_network
import numpy as np
from tensorflow.keras import backend
from tensorflow.keras.utils import set_random_seed

data, draws = np.load(sys.argv[1]), np.load(sys.argv[2])
x_train, x_judged = (
    images.astype("float32") / 255 for images in (data["x_train"], draws["x_judged"])
)
scores = {}
for seed, name in enumerate(name for name in draws.files if not name.endswith("_judged")):
    backend.clear_session()
    set_random_seed(seed)
    model = article_network.build()
    epochs = max(10, 16_000 // len(draws[name]))
    model.fit(
        x_train[draws[name]], data["y_train"][draws[name]], epochs=epochs, batch_size=32, verbose=0
    )
    scores[name] = float(model.evaluate(x_judged, draws["y_judged"], batch_size=1000, verbose=0)[1])
print(json.dumps(scores))
