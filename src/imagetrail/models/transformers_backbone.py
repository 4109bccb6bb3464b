"""Networks that transformers builds (huggingface.co/docs/transformers), loaded only for them."""

import inspect
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from imagetrail.base.errors import damaged
from imagetrail.base.hub import Architecture
from imagetrail.models import activations
from imagetrail.models.backbone import Backbone, other, replace, unknown
from imagetrail.models.layers import Mean

KINDS = (  # by model_type in the config: those that are tried, up to the file that ships
    *("beit", "bit", "convnext", "convnextv2", "data2vec-vision", "deit", "dinov2"),
    *("dinov2_with_registers", "dinov3_convnext", "dinov3_vit", "efficientnet", "mobilenet_v1"),
    *("mobilenet_v2", "mobilevit", "poolformer", "regnet", "resnet", "vit", "vit_msn"),
)
ALIASES = {"swish": "silu"}  # activations: our names
TOKENS = ("cls_token", "distillation_token", "register_tokens")  # that are of no place


class Transformers(Backbone):
    """One that transformers builds."""

    def __init__(self, architecture: Architecture, weights: Path | None = None) -> None:
        super().__init__(architecture)
        self.network = _transformers(architecture, weights)
        named = dict(self.network.named_parameters())
        self.places = sum(
            weight.shape[1] for name, weight in named.items() if name.rpartition(".")[2] in TOKENS
        )
        if self.places and getattr(self.network, "pooler", None) is not None:
            self.network.pooler = None  # of another task than ours, and often without weights
        for part in self.network.modules():
            if getattr(part, "mask_token", None) is not None:
                part.mask_token = None  # of another task as well
        if isinstance(getattr(self.network, "pooler", None), nn.AvgPool2d):
            self.network.pooler = Mean()  # a window larger than any picture's maps
        self.resizes = (
            "interpolate_pos_encoding" in inspect.signature(self.network.forward).parameters
        )

    def look(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Features are its own pooled maps; of tokens, that of the class and the others' mean."""
        options = {"interpolate_pos_encoding": True} if self._resized(pictures) else {}
        answer = self.network(pixel_values=pictures, **options)
        seen: Tensor = answer.last_hidden_state
        if self.places:
            return seen, torch.cat([seen[:, 0], seen[:, self.places :].mean(1)], 1)
        pooled: Tensor | None = getattr(answer, "pooler_output", None)
        if pooled is None:
            pooled = seen.mean((2, 3) if seen.ndim == 4 else 1)
        return seen, pooled.flatten(1)

    def activate(self, wanted: str | None) -> None:
        from transformers.activations import ACT2FN

        name = getattr(self.network.config, "hidden_act", None)
        own = ALIASES.get(str(name), str(name))
        if wanted and not isinstance(name, str):
            raise self.fixed(wanted)
        if wanted or own in activations.ACTIVATIONS:
            kind = type(ACT2FN[name])
            replace(
                self, lambda layer: type(layer) is kind, lambda: activations.build(wanted or own)
            )

    def _resized(self, pictures: Tensor) -> bool:
        """Whether its positions were learned at another size than the pictures have."""
        size = getattr(self.network.config, "image_size", None)
        side = tuple(size) if isinstance(size, list | tuple) else (size, size)
        return self.resizes and side != tuple(pictures.shape[2:])


def _transformers(architecture: Architecture, weights: Path | None) -> Any:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    values = dict(architecture.config)
    kind = values.pop("model_type", None)
    if kind not in KINDS:
        raise unknown(architecture.name, kind, KINDS)
    config = transformers.AutoConfig.for_model(kind, **values)
    config.architectures = config.architectures or []  # none is needed, but it must be a list
    if weights is None:
        return transformers.AutoModel.from_config(config)
    return _with_weights(config, weights, architecture.name)


def _with_weights(config: Any, weights: Path, model: str) -> Any:
    import transformers

    try:
        network, found = transformers.AutoModel.from_pretrained(
            weights.parent,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except SafetensorError as error:
        raise damaged(weights, error, remedy="fetch it anew") from None
    wrong = [*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])]
    if wrong := [name for name in wrong if not name.startswith("pooler.")]:
        raise other(weights, model, wrong)
    return network
