"""The article's code, as it stands, on a data set: runs with TensorFlow, says how long and how well as JSON."""

import json
import sys
import time

import numpy as np
from tensorflow.keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from tensorflow.keras.models import Sequential
from tensorflow.keras.utils import set_random_seed

set_random_seed(int(sys.argv[2]))
data = np.load(sys.argv[1])
x_train, x_test = (data[name].astype("float32") / 255 for name in ("x_train", "x_test"))
y_train, y_test = data["y_train"], data["y_test"]
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
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
before = time.perf_counter()
model.fit(x_train, y_train, epochs=10, batch_size=32, verbose=0)
seconds = time.perf_counter() - before
_, top1 = model.evaluate(x_test, y_test, verbose=0)
print(json.dumps({"seconds": seconds, "top1": float(top1), "images_per_second": 10 * len(x_train) / seconds}))
