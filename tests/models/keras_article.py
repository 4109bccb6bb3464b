"""Writes keras_article.npz: the article's network as Keras built it, with some of its answers.

Run once, with tensorflow-cpu 2.21 (Keras 3.15); the tests need only what it wrote.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
images = rng.random((512, 28, 28, 1), np.float32)
labels = (images.mean((1, 2, 3)) * 1e5).astype(int) % 10
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, (3, 3), activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
model.fit(images, labels, epochs=3, batch_size=32, verbose=0)
halves = [
    weight.astype(np.float16) for weight in model.get_weights()
]  # half the file; Keras answers with the same
model.set_weights([weight.astype(np.float32) for weight in halves])
arrays = {f"weight_{i}": weight for i, weight in enumerate(halves)}
np.savez_compressed(
    Path(__file__).with_suffix(".npz"),
    images=images[:8],
    probabilities=model(images[:8]).numpy(),
    **arrays,
)
