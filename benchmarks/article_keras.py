"""The article's code, as it stands, on a data set, by TensorFlow: seconds and accuracy as JSON."""

import json
import sys
import time

import article_network
import numpy as np
from tensorflow.keras.utils import set_random_seed

set_random_seed(int(sys.argv[2]))
data = np.load(sys.argv[1])
x_train, x_test = (data[name].astype("float32") / 255 for name in ("x_train", "x_test"))
y_train, y_test = data["y_train"], data["y_test"]
model = article_network.build()
before = time.perf_counter()
model.fit(x_train, y_train, epochs=10, batch_size=32, verbose=0)
seconds = time.perf_counter() - before
_, top1 = model.evaluate(x_test, y_test, verbose=0)
print(
    json.dumps(
        {"seconds": seconds, "top1": float(top1), "images_per_second": 10 * len(x_train) / seconds}
    )
)
