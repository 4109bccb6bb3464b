"""A rectified flow: a network learns the velocities that carry noise to images of a class.

See arXiv:2209.03003. It works on principal components, where a small dense network is enough:
seconds an epoch on a CPU.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from imagetrail.base.rng import derive, generator
from imagetrail.base.samples import Images, Samples
from imagetrail.compute.device import Machine, this_machine
from imagetrail.training import optimisers
from imagetrail.training.batches import Mixture

COMPONENTS = 128
BASIS = 1 << 26  # values that the components are computed from, at most
HIDDEN, BLOCKS, CONDITION = 512, 3, 128
FREQUENCIES = 16
BATCH, LR, WEIGHT_DECAY = 512, 2e-3, 0.01
STEPS = 24  # from noise to image
CHUNK = 4096
REPEAT_TO = 5000  # images an epoch has at least: a smaller set is repeated


@dataclass(frozen=True)
class Components:
    """Images as coordinates in which each class has mean 0, and the classes together variance 1."""

    centre: Tensor  # P
    basis: Tensor  # P×D
    means: Tensor  # K×D, of the classes
    scale: Tensor  # D
    shape: tuple[int, ...]

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        coordinates = (images.flatten(1).float() - self.centre) @ self.basis
        return (coordinates - self.means[labels]) / self.scale

    def decode(self, coordinates: Tensor, labels: Tensor) -> Tensor:
        pixels = (coordinates * self.scale + self.means[labels]) @ self.basis.T + self.centre
        return pixels.round().clamp(0, 255).to(torch.uint8).reshape(-1, *self.shape)


def components(train: Samples, seed: int) -> Components:
    """Principal components by a randomised decomposition (arXiv:0909.4061).

    They are of as many images as memory allows.
    """
    shape = train.images.shape[1:]
    most = max(2, min(20_000, BASIS // int(np.prod(shape))))
    chosen = np.sort(generator(seed, "components").permutation(len(train))[:most])
    pixels = torch.from_numpy(train.images[chosen]).flatten(1).float()
    centre = pixels.mean(0)
    torch.manual_seed(derive(seed, "components"))
    basis = torch.svd_lowrank(pixels - centre, min(COMPONENTS, *pixels.shape), niter=3)[2]
    labels = torch.from_numpy(train.labels[chosen])
    coordinates = (pixels - centre) @ basis
    membership = nn.functional.one_hot(labels, len(train.classes)).float()
    means = membership.T @ coordinates / membership.sum(0).clamp(min=1)[:, None]
    scale = (coordinates - means[labels]).square().mean(0).sqrt().clamp(min=1.0)
    return Components(centre, basis, means, scale, shape)


class Velocity(nn.Module):
    """Coordinates n×D at times n in 0 … 1, and labels n, to velocities n×D."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.enter = nn.Linear(size, HIDDEN)
        self.condition = nn.Sequential(nn.Linear(2 * FREQUENCIES + classes, CONDITION), nn.SiLU())
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm, self.leave = nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, size)
        nn.init.zeros_(self.leave.weight)

    def forward(self, coordinates: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        angles = time[:, None] * torch.logspace(0, 2, FREQUENCIES, device=time.device)
        one_hot = nn.functional.one_hot(labels, self.classes).float()
        condition = self.condition(torch.cat([angles.sin(), angles.cos(), one_hot], 1))
        hidden = self.enter(coordinates)
        for block in self.blocks:
            hidden = block(hidden, condition)
        velocity: Tensor = self.leave(self.norm(hidden))
        return velocity


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.condition = nn.LayerNorm(HIDDEN), nn.Linear(CONDITION, HIDDEN)
        self.first, self.second = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        inner = nn.functional.silu(self.first(self.norm(hidden)) + self.condition(condition))
        added: Tensor = hidden + self.second(inner)
        return added


@dataclass(frozen=True)
class Flow:
    network: Velocity
    space: Components
    machine: Machine

    @torch.no_grad()
    def sample(self, label: int, count: int, *, seed: int) -> Images:
        rng = torch.Generator().manual_seed(derive(seed, "flow", label))
        noise = torch.randn(count, len(self.space.scale), generator=rng)
        return np.concatenate([self._carry(some, label) for some in torch.split(noise, CHUNK)])

    def _carry(self, place: Tensor, label: int) -> Images:
        """Heun's method; both of its slopes count half."""
        place = place.to(self.machine.device)
        labels = torch.full((len(place),), label, device=place.device)
        times = torch.linspace(0, 1, STEPS // 2 + 1, device=place.device)
        with self.machine.autocast():
            for start, end in pairwise(times):
                slope = self.network(place, start.expand(len(place)), labels).float()
                next_place = place + (end - start) * slope
                ahead = self.network(next_place, end.expand(len(place)), labels).float()
                place = place + (end - start) * (slope + ahead) / 2
        images: Images = self.space.decode(place.cpu(), labels.cpu()).numpy()
        return images


def fit(train: Samples, *, epochs: int, seed: int) -> Flow:
    machine = this_machine()
    space = components(train, seed)
    torch.manual_seed(derive(seed, "flow"))
    network = Velocity(len(space.scale), len(train.classes)).to(machine.device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True
    )
    images = Mixture(train, repeat_to=REPEAT_TO)
    steps, step = -(-len(images) // BATCH) * epochs, 0
    for epoch in range(epochs):
        for batch, labels, *_ in images.epoch(epoch, batch_size=BATCH, seed=seed):
            optimiser.param_groups[0]["lr"] = LR * optimisers.one_cycle(step / steps, 0.05)
            place = space.encode(batch, labels).to(machine.device)
            labels = labels.to(machine.device)
            noise, time = torch.randn_like(place), torch.rand(len(place), device=place.device)
            with machine.autocast():
                velocity = network(torch.lerp(noise, place, time[:, None]), time, labels).float()
            loss = (velocity - (place - noise)).square().mean()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            step += 1
    return Flow(network, space, machine)
