"""Networks of the hub, small and with random weights, in the real format: all keep one promise."""

import json
from dataclasses import replace
from pathlib import Path

import backbones as small
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from imagetrail.base import hub
from imagetrail.base.samples import Samples
from imagetrail.models import backbones, classifier, weights
from imagetrail.models.backbone import Backbone, Sides
from imagetrail.models.classifier import Classifier
from imagetrail.models.networks import Spec
from imagetrail.serving import onnx_model
from imagetrail.stages.explain import attribution
from imagetrail.stages.export import onnx_export
from imagetrail.training.optimisers import OPTIMISERS

KINDS = list(small.CONFIGS)
TOKENS = ["dinov2", "dinov2_with_registers", "vit"]
SIDE = 56  # pixels; of ViT 64: a multiple of all their patches is 112


def side(kind: str) -> int:
    return 70 if kind.startswith("dinov2") else 64


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("hub")
    return {kind: small.save(top / kind, kind) for kind in KINDS}


def spec(
    folder: Path,
    kind: str,
    *,
    size: int | Sides = 0,
    channels: int = 3,
    **changes: object,
) -> Spec:
    plain = Spec(
        model=small.name(kind),
        activation=None,
        width=1.0,
        dropout=0.0,
        classes=("a", "b", "c"),
        image_size=size or side(kind),
        channels=channels,
        mean=(100.0, 120.0, 90.0)[:channels],
        std=(50.0, 60.0, 70.0)[:channels],
        architecture=hub.read(folder, small.name(kind)),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def learned(folder: Path, chosen: Spec) -> Classifier:
    """With the weights of the folder in its trunk, as in a training that begins."""
    assert chosen.architecture is not None
    trunk, _ = backbones.build(
        chosen.architecture,
        sides=chosen.shape[:2],
        mean=chosen.mean,
        std=chosen.std,
        activation=chosen.activation,
        weights=folder / hub.WEIGHTS,
    )
    model = Classifier(chosen)
    weights.load_trunk(model, trunk.state_dict(prefix="trunk."))
    model.head[0].running_var.uniform_(0.5, 2)  # type: ignore[union-attr,operator]
    return model.eval()


def images(count: int, chosen: Spec) -> torch.Tensor:
    """Coarse patterns of colours, by which pictures differ more than noise does."""
    rng = torch.Generator().manual_seed(0)
    height, width, channels = chosen.shape
    few = torch.randint(0, 256, (count, 4, 4, channels), generator=rng, dtype=torch.uint8)
    large = few.repeat_interleave(-(-height // 4), 1).repeat_interleave(-(-width // 4), 2)
    return large[:, :height, :width].contiguous()


def theirs(folder: Path, pictures: torch.Tensor) -> torch.Tensor:
    """What transformers itself answers to pictures N×H×W×3, normalised as the folder says."""
    import transformers

    network = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    says = json.loads((folder / hub.PREPROCESSOR).read_text())
    mean, std = (torch.tensor(says[f"image_{name}"]) for name in ("mean", "std"))
    pixels = ((pictures.float() / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        answer = network.base_model(pixel_values=pixels)
    seen: torch.Tensor = answer.last_hidden_state
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_the_trunk_sees_what_transformers_does(folders: dict[str, Path], kind: str) -> None:
    chosen = spec(folders[kind], kind)
    model, pictures = learned(folders[kind], chosen), images(2, chosen)
    shift, backbone = model.trunk.children()
    assert isinstance(backbone, Backbone)
    with torch.no_grad():
        seen, _ = backbone.look(shift(model.normal(pictures)))
    assert torch.allclose(seen, theirs(folders[kind], pictures), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_gives_features_and_logits_and_survives_saving(
    folders: dict[str, Path], tmp_path: Path, kind: str, channels: int
) -> None:
    chosen = spec(folders[kind], kind, channels=channels)
    model, pictures = learned(folders[kind], chosen), images(3, chosen)
    weights.save(model, tmp_path)
    loaded = weights.load(tmp_path)
    with torch.no_grad():
        features = model.features(pictures)
        assert features.ndim == 2 and features.std() > 0 and features.isfinite().all()
        assert torch.equal(loaded(pictures), model(pictures))
        assert model(pictures).shape == (3, 3)
    assert loaded.spec == chosen
    card = json.loads((tmp_path / "model.json").read_text())["card"]
    assert card == classifier.card(loaded)
    assert card["parameters"] == sum(weight.numel() for weight in model.parameters())
    assert card["flops_forward"] > 1000


@pytest.mark.parametrize("kind", KINDS)
def test_a_grey_picture_is_one_of_three_equal_channels(folders: dict[str, Path], kind: str) -> None:
    grey, colour = (spec(folders[kind], kind, channels=channels) for channels in (1, 3))
    colour = replace(colour, mean=grey.mean * 3, std=grey.std * 3)
    pictures = images(2, grey)
    with torch.no_grad():
        one = learned(folders[kind], grey).features(pictures)
        three = learned(folders[kind], colour).features(pictures.expand(-1, -1, -1, 3))
    assert torch.allclose(one, three, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_gradients_reach_every_weight_of_the_trunk(
    folders: dict[str, Path], kind: str, optimiser: str
) -> None:
    chosen = spec(folders[kind], kind)
    model = learned(folders[kind], chosen).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    torch.manual_seed(0)  # some layers are left out at random
    loss = nn.functional.cross_entropy(model(images(4, chosen)), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    for one in OPTIMISERS[optimiser](model, 0.1, 0.0, 1.0, 0.9):
        one.step()
    now = dict(model.trunk.named_parameters(prefix="trunk"))
    assert not [name for name, weight in now.items() if weight.grad is None]
    still = [name for name, weight in now.items() if torch.equal(weight, before[name])]
    assert len(still) < len(now) / 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_that_ships_answers_as_the_network(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    import pyarrow as pa

    chosen = spec(folders[kind], kind)
    model, pictures = learned(folders[kind], chosen), images(5, chosen)
    onnx_export.to_onnx(model, tmp_path / "model.onnx")
    found = onnx_model.load(tmp_path / "model.onnx").predict(pictures.numpy())
    with torch.no_grad():
        expected = model(pictures).softmax(1).numpy()
    assert np.abs(found - expected).max() < 1e-4
    few = Samples(pictures.numpy(), pa.table({"label": [0, 1, 2, 0, 1]}), chosen.classes)
    onnx_export.quantise(tmp_path / "model.onnx", few, tmp_path / "model.int8.onnx")
    quantised = onnx_model.load(tmp_path / "model.int8.onnx").predict(pictures.numpy())
    assert np.abs(quantised - expected).max() < 0.2
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.int8.onnx").graph.node}
    assert "QuantizeLinear" in kinds


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_shows_where_the_network_looks(folders: dict[str, Path], kind: str) -> None:
    chosen = spec(folders[kind], kind)
    model, pictures = learned(folders[kind], chosen), images(2, chosen)
    saliency = attribution.grad_cam(model, pictures, torch.tensor([0, 1]))
    assert saliency is not None and saliency.shape == (2, *chosen.shape[:2])
    assert saliency.isfinite().all() and saliency.min() >= 0 and saliency.max() <= 1
