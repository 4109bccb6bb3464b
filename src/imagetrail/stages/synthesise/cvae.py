"""A conditional variational autoencoder of dense layers (arXiv:1312.6114)."""

import numpy as np
import torch
from torch import Tensor, nn

from imagetrail.base.rng import derive
from imagetrail.base.samples import Images, Samples
from imagetrail.compute.device import this_machine
from imagetrail.training import optimisers
from imagetrail.training.batches import Mixture

LATENT, HIDDEN = 64, 512
BATCH, LR = 256, 1e-3
REPEAT_TO = 5000  # images an epoch has at least: a smaller set is repeated
CHUNK = 4096


class Autoencoder(nn.Module):
    """It is sampled from each class's own distribution of latents.

    The prior is left aside when sampling: after a short training the latents of a class are still
    far from it. A Gaussian fitted to them afterwards is not (arXiv:1903.12436).
    """

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.shape, self.classes = shape, classes
        pixels = int(np.prod(shape))
        self.encoder = nn.Sequential(
            *(nn.Linear(pixels + classes, HIDDEN), nn.ReLU()),
            *(nn.Linear(HIDDEN, HIDDEN // 2), nn.ReLU(), nn.Linear(HIDDEN // 2, 2 * LATENT)),
        )
        self.decoder = nn.Sequential(
            *(nn.Linear(LATENT + classes, HIDDEN // 2), nn.ReLU()),
            *(nn.Linear(HIDDEN // 2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, pixels)),
        )
        # per class: mean, and Cholesky factor of the covariance
        self.latents: list[tuple[Tensor, Tensor]] = []

    def encode(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latents, N×LATENT each; of N×H×W×C uint8."""
        seen = self._with_class(images.flatten(1) / 255, labels)
        mean, log_variance = self.encoder(seen).float().chunk(2, 1)
        return mean, log_variance

    def decode(self, latent: Tensor, labels: Tensor) -> Tensor:
        """N×P in 0 … 1."""
        pixels: Tensor = self.decoder(self._with_class(latent, labels)).float().sigmoid()
        return pixels

    def _with_class(self, values: Tensor, labels: Tensor) -> Tensor:
        return torch.cat([values, nn.functional.one_hot(labels, self.classes).float()], 1)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Negative evidence lower bound per image, in nats.

        The noise of a pixel is what it is (arXiv:2006.13202).
        """
        mean, log_variance = self.encode(images, labels)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        error = (self.decode(latent, labels) - images.flatten(1) / 255).square().mean()
        reconstruction = 0.5 * images[0].numel() * (error + 1e-6).log()
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        total: Tensor = reconstruction + divergence
        return total

    @torch.no_grad()
    def describe(self, images: Images, label: int) -> None:
        """Fits the latents of the next class to all of its images."""
        chunks = [torch.from_numpy(images[at : at + CHUNK]) for at in range(0, len(images), CHUNK)]
        encoded = [self.encode(chunk, torch.full((len(chunk),), label)) for chunk in chunks]
        mean, log_variance = (torch.cat(parts) for parts in zip(*encoded, strict=True))
        covariance = torch.cov(mean.T, correction=0) + torch.diag(log_variance.exp().mean(0))
        self.latents.append((mean.mean(0), torch.linalg.cholesky(covariance)))

    @torch.no_grad()
    def sample(self, label: int, count: int, *, seed: int) -> Images:
        rng = torch.Generator().manual_seed(derive(seed, "sample", label))
        mean, factor = self.latents[label]
        latent = mean + torch.randn(count, LATENT, generator=rng) @ factor.T
        parts = torch.split(latent, CHUNK)
        drawn = [self.decode(part, torch.full((len(part),), label)) for part in parts]
        pixels = (torch.cat(drawn) * 255).round().to(torch.uint8)
        images: Images = pixels.reshape(count, *self.shape).numpy()
        return images


def fit(train: Samples, *, epochs: int, seed: int) -> Autoencoder:
    machine = this_machine()
    torch.manual_seed(derive(seed, "cvae"))
    model = Autoencoder(train.images.shape[1:], len(train.classes)).to(machine.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
    images = Mixture(train, repeat_to=REPEAT_TO)
    steps, step = -(-len(images) // BATCH) * epochs, 0
    for epoch in range(epochs):
        for batch, labels, *_ in images.epoch(epoch, batch_size=BATCH, seed=seed):
            optimiser.param_groups[0]["lr"] = LR * optimisers.one_cycle(step / steps, 0.05)
            with machine.autocast():
                loss = model.loss(batch.to(machine.device), labels.to(machine.device))
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            step += 1
    model = model.cpu()
    for label in range(len(train.classes)):
        model.describe(train.images[train.labels == label], label)
    return model
