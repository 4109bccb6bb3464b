"""Networks that timm builds (huggingface.co/docs/timm), loaded only for them."""

from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from imagetrail.base.errors import UserError, damaged
from imagetrail.base.hub import Architecture
from imagetrail.models.backbone import Backbone, Sides, other


class Timm(Backbone):
    """One that timm builds; it needs torchvision."""

    def __init__(self, architecture: Architecture, weights: Path | None = None) -> None:
        import timm

        super().__init__(architecture)
        config = architecture.config
        try:
            self.network = timm.create_model(
                config.get("architecture", ""), num_classes=0, **config.get("model_args", {})
            )
        except (RuntimeError, TypeError) as error:
            raise UserError(f"{architecture.name} is none that timm builds: {error}") from None
        self.places = int(getattr(self.network, "num_prefix_tokens", 0))
        if weights is not None:
            self._load(weights)

    def look(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        seen: Tensor = self.network.forward_features(pictures)
        features: Tensor = self.network.forward_head(seen, pre_logits=True)
        return seen, features.flatten(1)

    def maps(self, seen: Tensor, sides: Sides) -> Tensor | None:
        if seen.ndim == 4 and seen.shape[1] != self.network.num_features:  # N×h×w×C, as Swin's
            return seen.permute(0, 3, 1, 2)
        return super().maps(seen, sides)

    def activate(self, wanted: str | None) -> None:
        if wanted:
            raise self.fixed(wanted)

    def _load(self, weights: Path) -> None:
        try:
            theirs = safetensors.torch.load_file(weights)
        except SafetensorError as error:
            raise damaged(weights, error, remedy="fetch it anew") from None
        ours = self.network.state_dict()
        wrong = [
            name
            for name, own in ours.items()
            if name not in theirs or theirs[name].shape != own.shape
        ]
        if wrong:
            raise other(weights, self.name, wrong)
        self.network.load_state_dict({name: theirs[name] for name in ours})
