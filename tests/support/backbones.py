"""Small networks of the hub with random weights, in folders as the hub has them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

# Each has a config of its own kind, small; and the pictures that it takes.
TOKENS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
PATCHES = {**TOKENS, "intermediate_size": 64, "image_size": 64, "patch_size": 16}
MAPS = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
CONFIGS: dict[str, dict[str, Any]] = {
    "convnextv2": MAPS,
    "resnet": {**MAPS, "embedding_size": 8},
    "efficientnet": {"width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320},
    "mobilenet_v2": {"depth_multiplier": 0.35, "finegrained_output": False},
    "dinov2": {**TOKENS, "image_size": 70, "patch_size": 14},
    "dinov2_with_registers": {**TOKENS, "image_size": 70, "patch_size": 14},
    "vit": PATCHES,
}
LIKE_THESE: dict[str, dict[str, Any]] = {  # of other names, built as one of those above is
    "beit": PATCHES,
    "bit": {**MAPS, "embedding_size": 8, "num_groups": 4},
    "convnext": MAPS,
    "data2vec-vision": PATCHES,
    "deit": PATCHES,
    "dinov3_convnext": MAPS,
    "dinov3_vit": PATCHES,
    "mobilenet_v1": {"depth_multiplier": 0.25},
    "mobilevit": {"neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32], "hidden_sizes": [16, 24, 32]},
    "poolformer": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    "regnet": {**MAPS, "embedding_size": 8, "groups_width": 8},
    "vit_msn": PATCHES,
}
PREPROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "size": {"height": 64, "width": 64},
}


def name(kind: str) -> str:
    """As recipe.model has it."""
    return f"hub/small/{kind}"


def save(folder: Path, kind: str, **changes: Any) -> Path:
    """Writes a network with random weights as transformers does."""
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **((CONFIGS | LIKE_THESE)[kind] | changes))
    config.num_labels, config.architectures = 7, []
    classifies = kind not in ("dinov3_convnext", "dinov3_vit")
    of = transformers.AutoModelForImageClassification if classifies else transformers.AutoModel
    network = of.from_config(config)
    for part in network.modules():  # a network that has learned lets signals through
        if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(part.weight)
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.5, 2)
    network.save_pretrained(folder)
    write(folder / "preprocessor_config.json", PREPROCESSOR)
    return folder


def write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def change(path: Path, **values: Any) -> None:
    """Sets keys of a JSON file."""
    write(path, json.loads(path.read_text()) | values)
