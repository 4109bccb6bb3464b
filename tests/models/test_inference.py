"""Many images through a network, in bounded memory."""

import numpy as np

from imagetrail.base.samples import Samples, make_index
from imagetrail.models.inference import predict
from imagetrail.training import loop
from imagetrail.training.recipe import Recipe


def test_of_large_pictures_fewer_go_through_a_network_at_once() -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 500, 500, 3), np.uint8)
    ids = [str(number) for number in range(24)]
    index = make_index(ids=ids, labels=np.arange(24) % 2, origin="real", sources=ids)
    pictures = Samples(images, index, ("a", "b"))
    recipe = Recipe(model="linear", activation="relu", epochs=1, lr=0.1, batch_size=8)
    model = loop.start(recipe, pictures, seed=0).model
    sizes: list[int] = []
    model.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    assert predict(model, pictures).shape == (24, 2)
    assert sizes == [22, 2]
