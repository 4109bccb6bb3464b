"""Networks of the hub, small and with random weights, in the real format: all keep one promise."""

import json
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import backbones as small
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from imagetrail.base import hub
from imagetrail.base.errors import UserError
from imagetrail.base.samples import Samples
from imagetrail.models import backbones, classifier, transformers_backbone, weights
from imagetrail.models.backbone import Backbone, Sides
from imagetrail.models.classifier import Classifier
from imagetrail.models.networks import Spec
from imagetrail.serving import onnx_model
from imagetrail.stages.explain import attribution
from imagetrail.stages.export import onnx_export
from imagetrail.training.optimisers import OPTIMISERS

KINDS = [
    *small.CONFIGS,
    *(pytest.param(kind, marks=pytest.mark.slow) for kind in small.LIKE_THESE),
]


def side(kind: str) -> int:
    return 70 if kind.startswith("dinov2") else 64


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("hub")
    return {kind: small.save(top / kind, kind) for kind in (small.CONFIGS | small.LIKE_THESE)}


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

    network = transformers.AutoModel.from_pretrained(folder).eval()
    says = json.loads((folder / hub.PREPROCESSOR).read_text())
    mean, std = (torch.tensor(says[f"image_{name}"]) for name in ("mean", "std"))
    pixels = ((pictures.float() / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        answer = network(pixel_values=pixels)
    seen: torch.Tensor = answer.last_hidden_state
    return seen


def test_every_kind_that_is_taken_is_tried_here() -> None:
    assert {*small.CONFIGS, *small.LIKE_THESE} == {*transformers_backbone.KINDS}


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
    if kind == "dinov3_convnext":  # a token of the whole stands among those of places
        assert saliency is None
        return
    assert saliency is not None and saliency.shape == (2, *chosen.shape[:2])
    assert saliency.isfinite().all() and saliency.min() >= 0


# ---- sizes and activations ----


@pytest.mark.parametrize("size", [(28, 56), 140])
@pytest.mark.parametrize("kind", ["convnextv2", "resnet", "dinov2", "dinov2_with_registers"])
def test_a_network_takes_pictures_of_other_sizes_up_to_the_file(
    folders: dict[str, Path], tmp_path: Path, kind: str, size: int | Sides
) -> None:
    if kind == "convnextv2" and size == (28, 56):
        size = (32, 56)
    chosen = spec(folders[kind], kind, size=size)
    model, pictures = learned(folders[kind], chosen), images(2, chosen)
    onnx_export.to_onnx(model, tmp_path / "model.onnx")
    found = onnx_model.load(tmp_path / "model.onnx").predict(pictures.numpy())
    with torch.no_grad():
        assert np.abs(found - model(pictures).softmax(1).numpy()).max() < 1e-4


def test_positions_learned_at_another_size_are_spread_as_transformers_does(
    folders: dict[str, Path],
) -> None:
    import transformers

    chosen = spec(folders["vit"], "vit", size=(96, 48))
    model, pictures = learned(folders["vit"], chosen), images(2, chosen)
    shift, backbone = model.trunk.children()
    assert isinstance(backbone, Backbone)
    network = transformers.AutoModel.from_pretrained(folders["vit"]).eval()
    with torch.no_grad():
        pixels = shift(model.normal(pictures))
        seen, _ = backbone.look(pixels)
        expected = network(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state
    assert torch.allclose(seen, expected, atol=1e-5)
    maps = backbone.maps(seen, (96, 48))
    assert maps is not None and maps.shape == (2, 32, 6, 3)
    assert torch.equal(maps[0, :, 1, 2], seen[0, 1 + 1 * 3 + 2])  # row by row


@pytest.mark.parametrize("kind", small.CONFIGS)
def test_an_activation_replaces_the_networks_own(folders: dict[str, Path], kind: str) -> None:
    own, other = (spec(folders[kind], kind, activation=name) for name in (None, "tanh"))
    pictures = images(2, own)
    plain, changed = (learned(folders[kind], one) for one in (own, other))
    kinds = [type(layer).__name__ for layer in changed.trunk.modules()]
    assert "Tanh" in kinds and not {"GELUActivation", "GELU", "SiLU", "ReLU", "ReLU6"} & {*kinds}
    with torch.no_grad():
        assert not torch.allclose(plain(pictures), changed(pictures), rtol=1e-3, atol=0)


def test_statistics_follow_at_the_pace_of_the_network(folders: dict[str, Path]) -> None:
    """Two kinds write TensorFlow's momentum, 1 − torch's, into torch's layers."""
    for kind in ("efficientnet", "mobilenet_v2", "resnet"):
        model = learned(folders[kind], spec(folders[kind], kind))
        layers = [layer for layer in model.trunk.modules() if isinstance(layer, nn.BatchNorm2d)]
        assert layers and all(0 < (layer.momentum or 0) <= 0.1 for layer in layers)


# ---- timm, by a fake of the two calls that are made: it cannot be installed beside this torch ----


class FakeTimm(nn.Module):
    """What timm.create_model gives: features of maps by two methods of its own."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward_features(self, pictures: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.conv(pictures).relu()
        return maps

    def forward_head(self, maps: torch.Tensor, *, pre_logits: bool) -> torch.Tensor:
        assert pre_logits
        pooled: torch.Tensor = self.pool(maps)
        return pooled.flatten(1)


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of timm's, and a module that builds what it names."""

    def create_model(name: str, *, num_classes: int, **args: object) -> nn.Module:
        if name != "tiny" or args:
            raise RuntimeError(f"Unknown model ({name})")
        assert num_classes == 0
        return FakeTimm()

    module = ModuleType("timm")
    module.__dict__.update(create_model=create_model, __spec__=ModuleSpec("timm", None))
    monkeypatch.setitem(sys.modules, "timm", module)
    folder = tmp_path / "tiny"
    pretrained = {"mean": [0.5] * 3, "std": [0.25] * 3, "input_size": [3, 96, 96]}
    small.write(folder / hub.CONFIG, {"architecture": "tiny", "pretrained_cfg": pretrained})
    tensors = FakeTimm().state_dict() | {"fc.weight": torch.zeros(9, 8)}
    weights.save_weights(tensors, folder / hub.WEIGHTS)
    return folder


def test_a_network_of_timm_is_built_filled_and_saved(timm: Path, tmp_path: Path) -> None:
    architecture = hub.read(timm, "timm/tiny")
    assert architecture.size == 96 and architecture.mean == (127.5,) * 3
    chosen = replace(spec_of(architecture), image_size=32, channels=1, mean=(100.0,), std=(50.0,))
    model, pictures = learned(timm, chosen), images(2, chosen)
    kept = weights.load_weights(timm / hub.WEIGHTS)
    pixels = (pictures.float() / 255 - 0.5).permute(0, 3, 1, 2).expand(-1, 3, -1, -1) / 0.25
    maps = nn.functional.conv2d(pixels, kept["conv.weight"], kept["conv.bias"], stride=2).relu()
    with torch.no_grad():
        assert torch.allclose(model.features(pictures), maps.mean((2, 3)), atol=1e-5)
        weights.save(model, tmp_path)
        assert torch.equal(weights.load(tmp_path)(pictures), model(pictures))
    onnx_export.to_onnx(model, tmp_path / "model.onnx")
    onnx_model.load(tmp_path / "model.onnx")
    assert attribution.grad_cam(model, pictures, torch.tensor([0, 1])) is not None


@pytest.mark.parametrize(
    ("config", "activation", "words"),
    [
        ({"architecture": "other"}, None, r"timm/tiny is none that timm builds: Unknown model"),
        ({}, "tanh", "tanh cannot replace that of timm/tiny; null: its own"),
    ],
)
def test_a_network_that_timm_cannot_build_is_one_line(
    timm: Path, config: dict[str, str], activation: str | None, words: str
) -> None:
    small.change(timm / hub.CONFIG, **config)
    architecture = hub.read(timm, "timm/tiny")
    with pytest.raises(UserError, match=words):
        Classifier(replace(spec_of(architecture), activation=activation))


def test_weights_of_another_network_than_timm_builds_are_one_line(timm: Path) -> None:
    weights.save_weights({"conv.weight": torch.zeros(8, 3, 5, 5)}, timm / hub.WEIGHTS)
    with pytest.raises(UserError, match="has the weights of another network than config.json"):
        learned(timm, spec_of(hub.read(timm, "timm/tiny")))


def spec_of(architecture: hub.Architecture) -> Spec:
    return Spec(
        model=architecture.name,
        activation=None,
        width=1.0,
        dropout=0.0,
        classes=("a", "b"),
        image_size=32,
        channels=3,
        mean=(100.0,) * 3,
        std=(50.0,) * 3,
        architecture=architecture,
    )
