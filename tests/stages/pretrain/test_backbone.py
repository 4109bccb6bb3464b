"""From the files of a network of the hub to a training that begins with it, or one clear line."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import backbones as small
import numpy as np
import pytest
import torch
from PIL import Image
from project import ROOT, Project

from imagetrail.base import hub, paths
from imagetrail.base.errors import UserError
from imagetrail.base.hashing import sha256
from imagetrail.cli.params import check_all
from imagetrail.models.weights import load as load_model
from imagetrail.models.weights import load_architecture, load_weights, trunk_weights
from imagetrail.models.weights import save as save_model
from imagetrail.stages.augment import stage as augment
from imagetrail.stages.fetch import stage as fetch
from imagetrail.stages.inspect import stage as inspect
from imagetrail.stages.pretrain import backbone
from imagetrail.stages.pretrain import stage as pretrain
from imagetrail.stages.split import stage as split
from imagetrail.stages.synthesise import stage as synthesise
from imagetrail.stages.weights import stage as weights
from imagetrail.training.chosen import default_recipe
from imagetrail.training.data import open_experiment
from imagetrail.training.recipe import Recipe, override

SHAPE = (64, 64, 3)


def put(kind: str, **changes: Any) -> Path:
    """The files of a small network where a user puts them."""
    return small.save(hub.own_folder(small.name(kind)), kind, **changes)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two classes of coloured pictures, the params of a network of the hub, and no network."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for kind, colour in (("red", 0), ("blue", 2)):
        for number in range(40):
            pixels = rng.integers(0, 120, (64, 64, 3), dtype=np.uint8)
            pixels[..., colour] += 100
            path = tmp_path / "own" / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    monkeypatch.setattr(socket, "create_connection", None)
    made = Project(tmp_path)
    made.set(
        data={"name": "pictures", "source": "own", "path": "own", "image_size": 64, "channels": 3},
        recipe={"model": small.name("resnet"), "activation": None, "batch_size": 8, "lr": 0.01}
        | {"optimiser": "adamw", "repeat_to": 0},
        inspect={"fail_on": []},
        augment={"copies": 0},
        synthesise={"per_class": 0},
        tune={"space": {"lr": [0.01, 0.02]}, "known": []},
    )
    return made


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(kind: str, shape: tuple[int, int, int] = SHAPE, **options: Any) -> str:
    plain: dict[str, Any] = {"activation": None, "digest": None}
    with pytest.raises(UserError) as caught:
        backbone.read(small.name(kind), shape, **(plain | options))
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(
    ("side", "words"),
    [(64, ""), (48, "64 pixels: its best image_size\n"), (32, "recipe.enlarge: 2 brings these")],
)
def test_pictures_of_another_size_than_was_learned_are_told(
    capsys: pytest.CaptureFixture[str], side: int, words: str
) -> None:
    put("resnet")
    backbone.read(small.name("resnet"), (side, side, 3), activation=None, digest=None)
    said = capsys.readouterr().out
    assert words in said and bool(said) == bool(words)


@pytest.mark.usefixtures("project")
def test_stages_without_a_network_begin_a_training_with_the_weights_of_a_folder(
    tmp_path: Path,
) -> None:
    folder = put("resnet")
    for stage in (fetch, inspect, split, augment, synthesise, weights, pretrain):
        stage.run()
    architecture = load_architecture(paths.PRETRAINED)
    assert architecture == hub.read(folder, small.name("resnet"))
    experiment = open_experiment()
    recipe = default_recipe(epochs=2)
    begun = experiment.start(recipe, seed=0)
    kept = load_weights(paths.PRETRAINED)
    assert kept.keys() == trunk_weights(begun.model).keys()
    assert all(torch.equal(kept[name], found) for name, found in trunk_weights(begun.model).items())
    epochs = list(experiment.fit(begun))
    assert len(epochs) == 2 and epochs[-1].valid_top1 > 0.7
    files = [folder, paths.HUB, paths.PRETRAINED.parent]
    save_model(begun.outcome, tmp_path / "model")
    for path in files:  # what is saved is whole in itself
        shutil.rmtree(path)
    pictures = torch.from_numpy(experiment.valid.images[:4].copy())
    with torch.no_grad():
        expected = begun.outcome.eval()(pictures)
        assert torch.equal(load_model(tmp_path / "model")(pictures), expected)
    fresh = experiment.start(override(recipe, {"pretrained": False}, "here"), seed=0)
    assert not torch.equal(*(next(one.model.trunk.parameters()) for one in (begun, fresh)))


@pytest.mark.usefixtures("project")
def test_a_recipe_may_compare_with_our_networks_but_not_with_another_of_the_hub() -> None:
    put("resnet")
    recipe = default_recipe(epochs=1)
    assert override(recipe, {"model": "fast"}, "here").model == "fast"
    with pytest.raises(
        UserError, match="here: hub/small/vit: the network of the hub is recipe.mod"
    ):
        override(recipe, {"model": "hub/small/vit"}, "here")
    with pytest.raises(UserError, match=r"here: hub/small/resnet comes in one width, 1, not 0\.5"):
        override(recipe, {"width": 0.5}, "here")


@pytest.mark.usefixtures("project")
def test_params_are_checked_against_the_files_that_are_there() -> None:
    folder = put("resnet")
    check_all()
    small.change(folder / hub.CONFIG, auto_map={"AutoModel": "modeling.Own"})
    with pytest.raises(UserError, match="hub/small/resnet comes with code of its own"):
        check_all()


def test_a_network_of_one_width_has_no_slimmer_student(project: Project) -> None:
    project.set(export={"student": {"width": 0.5, "epochs": 1}})
    with pytest.raises(UserError, match="export.student: hub/small/resnet comes in one width"):
        check_all()
    project.set(export={"student": {"model": "fast", "width": 0.5}})
    with pytest.raises(UserError, match="export.student: its epochs are missing"):
        check_all()
    project.set(export={"student": {"model": "fast", "width": 0.5, "epochs": 1}})
    check_all()


def test_imagenet_is_not_for_a_network_that_has_weights(project: Project) -> None:
    project.set(pretrain={"weights": "imagenet"})
    with pytest.raises(UserError, match="hub/small/resnet comes with its own weights: null, not"):
        check_all()


@pytest.mark.parametrize("name", ["hub/", "hub/../x", "hub/a/b/c", "hub/a b", "timm/../../etc"])
def test_a_name_that_leads_elsewhere_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of the hub, such as hub/microsoft/resnet-18"):
        Recipe(model=name, lr=0.1, epochs=1)


def test_a_misspelt_model_is_offered_ours_and_the_hub() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'fast'\? choose from airbench, .*hub/…"):
        Recipe(model="fst", lr=0.1, epochs=1)


# ---- what is refused ----


@pytest.mark.usefixtures("empty")
class TestRefused:
    def test_files_that_are_not_here(self) -> None:
        assert "the files of hub/small/vit are not here; run `dvc repro" in refusal("vit")

    @pytest.mark.parametrize("name", [hub.CONFIG, hub.PREPROCESSOR, hub.WEIGHTS])
    def test_a_file_that_is_missing(self, name: str) -> None:
        folder = put("resnet")
        (folder / name).unlink()
        said = refusal("resnet")
        assert f"{folder} has no {name}" in said

    @pytest.mark.parametrize("name", [hub.CONFIG, hub.PREPROCESSOR, hub.WEIGHTS])
    def test_a_file_that_is_damaged(self, name: str) -> None:
        folder = put("resnet")
        (folder / name).write_text("nothing")
        assert f"{folder / name} is damaged" in refusal("resnet")

    def test_weights_of_another_architecture(self) -> None:
        folder = put("resnet")
        other = put("vit")
        shutil.copy(other / hub.WEIGHTS, folder / hub.WEIGHTS)
        said = refusal("resnet")
        assert "has the weights of another network than config.json beside it says" in said

    def test_weights_of_another_width(self) -> None:
        folder = put("resnet")
        small.change(folder / hub.CONFIG, hidden_sizes=[8, 16, 24, 40])
        assert "is not there, or of another shape" in refusal("resnet")

    def test_a_pickle(self) -> None:
        folder = put("resnet")
        (folder / hub.WEIGHTS).rename(folder / hub.PICKLE)
        assert "a pickle, which can run code and is never read" in refusal("resnet")

    def test_code_of_its_own(self) -> None:
        folder = put("resnet")
        small.change(folder / hub.CONFIG, auto_map={"AutoModel": "modeling.Own"})
        assert "which is never run; choose a network that transformers knows" in refusal("resnet")

    def test_another_checksum(self) -> None:
        folder = put("resnet")
        said = refusal("resnet", digest="0" * 64)
        assert sha256(folder / hub.WEIGHTS) in said and "pretrain.sha256 in params.yaml" in said

    def test_a_network_that_is_none_for_pictures(self) -> None:
        folder = put("resnet")
        small.change(folder / hub.CONFIG, model_type="bert")
        assert "of kind bert, which is not for pictures" in refusal("resnet")

    def test_a_folder_that_does_not_say_how_pictures_are_normalised(self) -> None:
        folder = put("resnet")
        small.change(folder / hub.PREPROCESSOR, image_mean=None)
        assert "it does not say how pictures are normalised" in refusal("resnet")

    @pytest.mark.parametrize(
        ("kind", "side", "words"),
        [
            ("vit", 60, "its patches need a multiple of 16; it was learned on 64 pixels"),
            ("dinov2", 64, "its patches need a multiple of 14"),
            ("convnextv2", 16, "hub/small/convnextv2 cannot take pictures of 16×16 pixels"),
            ("efficientnet", 8, "cannot take pictures of 8×8 pixels"),
        ],
    )
    def test_a_size_that_the_network_cannot_take(self, kind: str, side: int, words: str) -> None:
        put(kind)
        assert words in refusal(kind, (side, side, 3))


# ---- what is read ----


@pytest.mark.parametrize(
    ("says", "mean", "std", "size"),
    [
        ({}, 0.485 * 255, 0.229 * 255, 64),
        ({"do_normalize": False}, 0, 255, 64),
        ({"do_rescale": False}, 0.485, 0.229, 64),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True}, 1.485 * 127.5, 0.229 * 127.5, 64),
        ({"include_top": True}, 0.485 * 255, 0.229**2 * 255, 64),
        (
            {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}},
            *[None] * 2,
            224,
        ),
        ({"size": 384}, None, None, 384),
    ],
)
def test_normalisation_and_best_size_are_those_of_the_files(
    tmp_path: Path, says: dict[str, Any], mean: float | None, std: float | None, size: int
) -> None:
    small.write(tmp_path / hub.CONFIG, {"model_type": "resnet"})
    small.write(tmp_path / hub.PREPROCESSOR, small.PREPROCESSOR | says)
    (tmp_path / hub.WEIGHTS).touch()
    found = hub.read(tmp_path, "hub/a")
    assert found.size == size
    if mean is not None and std is not None:
        assert (found.mean[0], found.std[0]) == pytest.approx((mean, std))


def test_our_own_networks_are_built_without_the_libraries_of_others() -> None:
    code = (
        "import sys; import imagetrail.training.loop, imagetrail.models.classifier, "
        "imagetrail.stages.pretrain.stage, imagetrail.cli.params; "
        "sys.exit(bool({'transformers', 'timm'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
