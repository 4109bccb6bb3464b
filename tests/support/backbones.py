"""Small networks of the hub with random weights, in folders as the hub has them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

# Each has a config of its own kind, small; and the pictures that it takes.
TOKENS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
MAPS = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
CONFIGS: dict[str, dict[str, Any]] = {
    "convnextv2": MAPS,
    "resnet": {**MAPS, "embedding_size": 8},
    "efficientnet": {"width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320},
    "mobilenet_v2": {"depth_multiplier": 0.35, "finegrained_output": False},
    "dinov2": {**TOKENS, "image_size": 70, "patch_size": 14},
    "dinov2_with_registers": {**TOKENS, "image_size": 70, "patch_size": 14},
    "vit": {**TOKENS, "intermediate_size": 64, "image_size": 64, "patch_size": 16},
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


def save(folder: Path, kind: str, *, classifier: bool = True, **changes: Any) -> Path:
    """Writes a network with random weights as transformers does."""
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, num_labels=7, **(CONFIGS[kind] | changes))
    of = transformers.AutoModelForImageClassification if classifier else transformers.AutoModel
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
