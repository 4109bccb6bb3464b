"""Weights of a network of the hub, from the files that fetch or the user has put here."""

from torch import Tensor

from imagetrail.base import hub
from imagetrail.base.errors import UserError
from imagetrail.base.hashing import sha256
from imagetrail.base.hub import Architecture
from imagetrail.base.terminal import say
from imagetrail.models import backbones

Shape = tuple[int, int, int]  # H, W, C


def read(
    model: str, shape: Shape, *, activation: str | None, digest: str | None
) -> tuple[dict[str, Tensor], Architecture]:
    """The tensors of the trunk, and what builds it.

    shape: of the project's pictures as it sees them, which it must be able to take. digest: the
    SHA-256 that the weights must have. Raises UserError for anything that is not as it should be.
    """
    hub.check(model)
    folder = hub.folder(model)
    architecture = hub.read(folder, model)
    path = folder / hub.WEIGHTS
    if digest and sha256(path) != digest:
        raise UserError(
            f"{path} has sha256 {sha256(path)}, not {digest} as pretrain.sha256 in params.yaml "
            "says; to accept it, write the new one there"
        )
    height, width, channels = shape
    trunk, _ = backbones.build(
        architecture,
        sides=(height, width),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        activation=activation,
        weights=path,
    )
    if architecture.size not in (height, width):
        best, factor = "its best image_size", round(architecture.size / min(height, width))
        if factor > 1:
            best += f"; recipe.enlarge: {factor} brings these near it"
        say(f"{model} was learned on pictures of {architecture.size} pixels: {best}")
    return trunk.state_dict(prefix="trunk."), architecture
