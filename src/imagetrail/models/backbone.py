"""What a network of another library must offer to be a trunk."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from imagetrail.base import hub
from imagetrail.base.errors import UserError
from imagetrail.base.hub import Architecture

Sides = tuple[int, int]  # H, W


class Backbone(nn.Module):
    """A network of another library, of pictures N×3×H×W in its own unit to features N×D."""

    network: Any  # nn.Module
    places = 0  # the first token that is one of a place

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.name = architecture.name

    @abstractmethod
    def activate(self, wanted: str | None) -> None:
        """Puts the activation that is wanted, or ours of the same name, for the network's own.

        Raises UserError if it cannot be replaced.
        """

    def fixed(self, wanted: str) -> UserError:
        """For an activation that cannot be replaced."""
        return UserError(
            f"recipe.activation: {wanted} cannot replace that of {self.name}; null: its own"
        )

    @abstractmethod
    def look(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """What its last layer gives, maps N×C×h×w or tokens N×T×C, and the features N×D of that."""

    def forward(self, pictures: Tensor) -> Tensor:
        return self.look(pictures)[1]

    def maps(self, seen: Tensor, sides: Sides) -> Tensor | None:
        """What `look` has seen of pictures of these sides as maps; None if it has lost places."""
        if seen.ndim == 4:
            return seen
        tokens = seen[:, self.places :]
        count = tokens.shape[1]
        high = round((count * sides[0] / sides[1]) ** 0.5)
        wide = count // max(high, 1)
        if high * wide != count:
            return None
        return tokens.transpose(1, 2).reshape(len(seen), -1, high, wide)


def replace(
    part: nn.Module, which: Callable[[nn.Module], bool], new: Callable[[], nn.Module]
) -> None:
    """Puts new layers in the places of some."""
    for layer in [*part.modules()]:
        for place, child in layer.named_children():
            if which(child):
                setattr(layer, place, new())


def other(weights: Path, model: str, names: list[str]) -> UserError:
    return UserError(
        f"{weights} has the weights of another network than {hub.CONFIG} beside it says: "
        f"{min(names)} of {model} is not there, or of another shape"
    )


def unknown(model: str, kind: object, known: Iterable[str]) -> UserError:
    return UserError(
        f"{model} is of kind {kind}, which is not for pictures, or untried; known are "
        f"{', '.join(known)}"
    )
