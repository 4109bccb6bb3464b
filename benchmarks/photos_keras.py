"""The article's network on pictures of a folder, read as Keras's own guide does.

The article's 10 epochs of batch 32 or, of few pictures, as many as make 500 steps.
"""

import time

import numpy as np
import tensorflow as tf
from article_network import build
from photos_peer import given, report

BATCH, EPOCHS, STEPS = 32, 10, 500
MEASURED = 20  # steps, after one that is not


def main() -> None:
    task = given()
    tf.keras.utils.set_random_seed(task.seed)

    def read(part: str, *, shuffle: bool) -> tf.data.Dataset:
        pictures = tf.keras.utils.image_dataset_from_directory(
            task.folder / part,
            image_size=(task.size, task.size),
            crop_to_aspect_ratio=True,
            batch_size=BATCH,
            shuffle=shuffle,
            seed=task.seed,
            verbose=False,
        )
        return pictures.map(lambda images, labels: (images / 255, labels))

    before = time.perf_counter()
    train = read("train", shuffle=True).cache().shuffle(100).prefetch(tf.data.AUTOTUNE)
    model = build((task.size, task.size, 3), len(task.classes))
    reading = time.perf_counter() - before
    rehearsal = build((task.size, task.size, 3), len(task.classes))
    rehearsal.train_on_batch(*next(iter(train)))
    measured = time.perf_counter()
    rehearsal.fit(train.repeat(), steps_per_epoch=MEASURED, verbose=0)
    step = (time.perf_counter() - measured) / MEASURED
    usual = task.epochs(EPOCHS, steps=STEPS, batch_size=BATCH)
    epochs = task.within(usual, step * len(train))
    before = time.perf_counter()
    model.fit(train, epochs=epochs, verbose=0)
    seconds = reading + time.perf_counter() - before
    answers = model.predict(read("test", shuffle=False), verbose=0).argmax(1)
    report(seconds, np.asarray(answers).tolist(), task.classes, epochs=epochs)


if __name__ == "__main__":
    main()
