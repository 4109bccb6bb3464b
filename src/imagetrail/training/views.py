"""What a head is solved on: epoch n adds the n-th view of every picture.

The first view is the picture as it is, the others pass the recipe's random changes.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from imagetrail.base.rng import derive
from imagetrail.base.samples import Samples
from imagetrail.models.classifier import Classifier
from imagetrail.training.batches import Mixture
from imagetrail.training.features import Extractor
from imagetrail.training.heads import TRIED, Rows, counts, solve
from imagetrail.training.losses import believed
from imagetrail.training.state import Training
from imagetrail.training.transforms import Jitter

READ = 256  # pictures changed at a time
MEMORY = 1 << 30  # bytes of features: once there are so many, further views are left out


class Views:
    """The features of a training's pictures, and its head."""

    def __init__(self, training: Training, images: Mixture) -> None:
        self.training = training
        self.images = replace(images, repeat_to=0, repeats=0)
        self.size = READ + (len(self.images) % READ == 1)  # an epoch leaves out a batch of one
        self.steps = -(-len(self.images) // self.size)
        self.extract = Extractor(training.model)
        # blends are no views of a picture
        self.jitter = replace(Jitter.of(training.recipe), mixup=0.0, cutmix=0.0)
        self.features: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.weights: list[Tensor] = []
        self.certainties: list[Tensor] = []
        self.counts: Tensor | None = None  # of each feature, once a head is solved

    def add(self, number: int, *, most: int | None = None) -> Iterator[int]:
        """Adds view `number`, of at most so many batches; yields the size of each as it is done."""
        if sum(batch.nbytes for batch in self.features) > MEMORY:
            return
        seed = self.training.seed
        batches = self.images.epoch(number, batch_size=self.size, seed=seed)
        for place, batch in enumerate(islice(batches, most)):
            view = batch.images
            if number > 1:
                draw = derive(seed, "view", number, place)
                view, _ = self.jitter(view, batch.labels, batch.mirrored, classes=0, seed=draw)
            self.features.append(self.extract(view))
            self.labels.append(batch.labels)
            self.weights.append(batch.weights)
            self.certainties.append(batch.certainties)
            yield len(view)

    def solve(self) -> float:
        """Solves the head of the training's model on all rows; returns their mean loss."""
        recipe, classes = self.training.recipe, len(self.training.model.spec.classes)
        targets = believed(torch.cat(self.labels), torch.cat(self.certainties), classes)
        features, weights = torch.cat(self.features), torch.cat(self.weights)
        shares = torch.from_numpy(self.images.shares(self.training.seed))
        prior, model = recipe.logit_adjustment * shares.log(), self.training.model
        if self.counts is None:
            # of the first view alone: no fold has another view of a picture of a second
            first = slice(min(TRIED, len(self.images)))
            known = Rows.of(features[first], targets[first], weights[first])
            self.counts = counts(model, known, penalty=recipe.penalty, prior=prior)
        rows = Rows.of(features, targets, weights, self.counts)
        return solve(model, rows, penalty=recipe.penalty, prior=prior)

    def predict(self, samples: Samples) -> Tensor:
        """Logits N×K float32 on the CPU."""
        return predict(self.training.model, self.extract, samples)


@torch.no_grad()
def predict(model: Classifier, extract: Extractor, samples: Samples) -> Tensor:
    """Logits N×K float32 on the CPU, of the model whose trunk the extractor has."""
    head, device = model.head.eval(), extract.machine.device
    chunks = (torch.from_numpy(chunk.copy()) for chunk in samples.chunks(READ))
    return torch.cat([head(extract(chunk).float().to(device)).cpu() for chunk in chunks])
