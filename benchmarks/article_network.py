"""The article's network, as its code builds and compiles it; needs TensorFlow."""

from tensorflow.keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from tensorflow.keras.models import Sequential


def build(shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10) -> Sequential:
    """For images in 0 … 1, the article's by default. Weights are of Keras's global stream."""
    model = Sequential(
        [
            Conv2D(32, (3, 3), activation="relu", input_shape=shape),
            MaxPooling2D((2, 2)),
            Conv2D(64, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Flatten(),
            Dense(64, activation="relu"),
            Dense(classes, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
