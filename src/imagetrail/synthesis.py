"""Class-conditional generators: new images of a class, learned from the images there are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from torch import Tensor, nn

from imagetrail.machine import this_machine
from imagetrail.rng import derive, generator
from imagetrail.samples import Images, Samples


class Synthesiser(Protocol):
    """What every method offers, once fitted."""

    def sample(self, label: int, count: int, *, seed: int) -> Images:
        """`count` new images of a class, count×H×W×C uint8."""


class VariationalAutoencoder(nn.Module):
    """A conditional VAE (arXiv:1312.6114) of dense layers, sampled from each class's own distribution of latents.

    The prior is left aside when sampling: after a short training the latents of a class are still far from it. A
    Gaussian fitted to them afterwards is not (arXiv:1903.12436).
    """

    LATENT, HIDDEN = 24, 512

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.shape, self.classes = shape, classes
        pixels = int(np.prod(shape))
        self.encoder = nn.Sequential(
            *(nn.Linear(pixels, self.HIDDEN), nn.ReLU()),
            *(nn.Linear(self.HIDDEN, self.HIDDEN // 2), nn.ReLU(), nn.Linear(self.HIDDEN // 2, 2 * self.LATENT)),
        )
        self.decoder = nn.Sequential(
            *(nn.Linear(self.LATENT + classes, self.HIDDEN // 2), nn.ReLU()),
            *(nn.Linear(self.HIDDEN // 2, self.HIDDEN), nn.ReLU(), nn.Linear(self.HIDDEN, pixels)),
        )
        self.latents: list[tuple[Tensor, Tensor]] = []  # per class: mean, and Cholesky factor of the covariance

    def loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Negative evidence lower bound per image, in nats; pixels N×P in 0 … 1."""
        mean, log_variance = self.encoder(pixels).float().chunk(2, 1)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        drawn = self.decode(latent, labels).float()
        reconstruction = nn.functional.binary_cross_entropy_with_logits(drawn, pixels, reduction="sum")
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        total: Tensor = (reconstruction + divergence) / len(pixels)
        return total

    def decode(self, latent: Tensor, labels: Tensor) -> Tensor:
        one_hot = nn.functional.one_hot(labels, self.classes).float()
        logits: Tensor = self.decoder(torch.cat([latent, one_hot], 1))
        return logits

    @torch.no_grad()
    def describe(self, pixels: Tensor) -> None:
        """Fits the latents of the next class to all of its images."""
        mean, log_variance = self.encoder(pixels).float().chunk(2, 1)
        covariance = torch.cov(mean.T, correction=0) + torch.diag(log_variance.exp().mean(0))
        self.latents.append((mean.mean(0), torch.linalg.cholesky(covariance)))

    @torch.no_grad()
    def sample(self, label: int, count: int, *, seed: int) -> Images:
        rng = torch.Generator().manual_seed(derive(seed, "sample", label))
        mean, factor = self.latents[label]
        latent = mean + torch.randn(count, self.LATENT, generator=rng) @ factor.T
        drawn = self.decode(latent, torch.full((count,), label)).sigmoid()
        images: Images = (drawn * 255).round().to(torch.uint8).reshape(count, *self.shape).numpy()
        return images


def fit_cvae(train: Samples, *, epochs: int, seed: int) -> Synthesiser:
    machine = this_machine()
    torch.manual_seed(derive(seed, "cvae"))
    model = VariationalAutoencoder(train.images.shape[1:], len(train.classes)).to(machine.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for epoch in range(epochs):
        for chosen in _batches(len(train), generator(seed, "cvae", epoch)):
            pixels = _flat(train.images[chosen]).to(machine.device)
            with machine.autocast():
                loss = model.loss(pixels, torch.from_numpy(train.labels[chosen]).to(machine.device))
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
    model = model.cpu()
    for label in range(len(train.classes)):
        model.describe(_flat(train.images[train.labels == label]))
    return model


SYNTHESISERS = {"cvae": fit_cvae}


def _batches(count: int, rng: np.random.Generator, size: int = 128) -> Iterator[NDArray[np.int64]]:
    order = rng.permutation(count)
    yield from (order[start : start + size] for start in range(0, count, size))


@dataclass(frozen=True)
class NearCopies:
    """Which new images stand as near to a training image as its nearest fellow does in the closest 1 % of cases."""

    mask: NDArray[np.bool_]
    threshold: float  # Euclidean distance in pixels scaled to 0 … 1


def near_copies(new: Images, real: Images, rng: np.random.Generator) -> NearCopies:
    """Memorisation check within one class, against a sample of real–real distances."""
    flat_new, flat_real = _flat(new), _flat(real)
    probe = rng.permutation(len(flat_real))[:500]
    among = torch.cdist(flat_real[probe], flat_real)
    among[torch.arange(len(probe)), torch.from_numpy(probe)] = torch.inf
    fellows = among.min(1).values
    threshold = float(torch.quantile(fellows, 0.01)) if len(real) > 1 else 0.0
    nearest = torch.cdist(flat_new, flat_real).min(1).values
    return NearCopies((nearest <= threshold).numpy(), threshold)


def _flat(images: Images) -> Tensor:
    return torch.from_numpy(images.reshape(len(images), -1).astype(np.float32) / 255)


def frechet(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Fréchet distance of two Gaussians fitted to features, N×D each (arXiv:1706.08500)."""
    mean_difference = ours.mean(0) - theirs.mean(0)
    first, second = np.cov(ours.T), np.cov(theirs.T)
    eigenvalues = linalg.eigvals(first @ second)
    root_trace = np.sqrt(np.maximum(eigenvalues.real, 0)).sum()
    return float(mean_difference @ mean_difference + np.trace(first) + np.trace(second) - 2 * root_trace)
