"""Augmentation: policies mean what they say, workers change no draw, labels survive."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pyarrow as pa
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from imagetrail.base import samples
from imagetrail.base.errors import UserError
from imagetrail.base.lookup import MANY
from imagetrail.base.samples import Images, Samples
from imagetrail.stages.augment import policy as augment
from imagetrail.stages.augment.label_preservation import preservation
from imagetrail.stages.augment.policy import build, draw
from imagetrail.stages.augment.presets import PRESETS, Policy

GREY, RGB = (28, 28, 1), (28, 28, 3)
NESTED: Policy = [
    {
        "SomeOf": {
            "transforms": [
                {"Transpose": {}},
                {"OneOf": {"transforms": [{"InvertImg": {}}, {"Blur": {}}]}},
            ],
            "n": 2,
        }
    },
    {"Affine": {"rotate": [-10, 10], "p": 0.5}},
]


def noise(count: int = 40, shape: tuple[int, ...] = GREY) -> Images:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


def drawn(policy: str | Policy, images: Images, **changes: int) -> Images:
    return draw(
        build(policy, images.shape[1:]), images, **({"group": 8, "seed": 0, "copy": 0} | changes)
    )


# ---- policies ----


@pytest.mark.parametrize("policy", [*PRESETS, NESTED])
@pytest.mark.parametrize("shape", [GREY, RGB, (8, 8, 1), (64, 64, 3)])
def test_presets_and_nested_policies_change_images_and_keep_their_size(
    policy: str | Policy, shape: tuple[int, ...]
) -> None:
    images = noise(shape=shape)
    made = drawn(policy, images)
    assert made.shape == images.shape and made.dtype == np.uint8 and (made != images).any()


@pytest.mark.parametrize("policy", [*PRESETS.values(), NESTED])
def test_policies_survive_yaml_and_albumentations_own_format_exactly(policy: Policy) -> None:
    read = yaml.safe_load(yaml.safe_dump(policy))
    assert read == policy
    compose = build(read, RGB)
    described = json.loads(json.dumps(A.to_dict(compose)))
    again = A.from_dict(described)
    assert A.to_dict(again) == A.to_dict(compose)
    images = noise(shape=RGB)
    assert np.array_equal(
        draw(again, images, group=4, seed=1, copy=0), draw(compose, images, group=4, seed=1, copy=0)
    )


@pytest.mark.parametrize("preset", ["digits", "documents"])
def test_what_is_written_is_never_mirrored_or_turned_far_by_its_preset(preset: str) -> None:
    alone = {
        name: arguments
        for policy in augment.alone(PRESETS[preset])
        for name, arguments in policy[0].items()
    }
    assert not any(word in name for name in alone for word in ("Flip", "D4", "Rotate", "Symmetry"))
    assert max(map(abs, alone["Affine"]["rotate"])) <= 10


def test_what_is_seen_from_above_has_every_orientation_by_its_preset() -> None:
    image = np.zeros((1, 21, 21, 1), np.uint8)
    image[:, 9:12, 14:] = 255  # an arm to the right
    made = drawn("microscopy", image.repeat(64, 0), group=1).astype(float)
    sides = made[:, 8:13, 15:], made[:, 8:13, :6], made[:, 15:, 8:13], made[:, :6, 8:13]
    brightest = np.argmax([part.mean((1, 2, 3)) for part in sides], 0)
    assert set(brightest) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("digit", ["unknown preset", "did you mean 'digits'?", "objects, photos"]),
        (
            [{"HorizontalFlop": {}}],
            ["unknown transform", "did you mean 'HorizontalFlip'?", "the nearest of"],
        ),
        (
            [{"Affine": {"rotat": 3}}],
            ["Affine: unknown argument 'rotat'", "did you mean 'rotate'?", "translate_percent"],
        ),
        ([{"OneOf": {"transform": []}}], ["OneOf: unknown argument", "did you mean 'transforms'?"]),
        ([{"OneOf": {"transforms": []}}], ["OneOf: transforms must be a list of transforms"]),
        (
            [{"OneOf": {"transforms": ["HorizontalFlip"]}}],
            ["OneOf: transforms must be a list of transforms"],
        ),
        (
            [{"OneOf": {"transforms": [{"Blurr": {}}]}}],
            ["unknown transform", "did you mean 'Blur'?"],
        ),
        ([{"OneOf": {"transforms": [{"Blur": {"p": 0}}]}}], ["OneOf"]),
        ([{"Affine": {"rotate": "far"}}], ["Affine", "rotate"]),
        ([{"HorizontalFlip": {"p": 1.5}}], ["HorizontalFlip"]),
        ([{"ISONoise": {}}], ["ISONoise needs 3 channels", "data.channels"]),
        (
            [{"CenterCrop": {"height": 20, "width": 20}}],
            ["turns 28×28×1 uint8 into 20×20×1", "must stay"],
        ),
        ([{"ToFloat": {}}], ["float32", "must stay"]),
        ([{"FDA": {}}], ["FDA cannot be applied", "fda_metadata"]),
    ],
)
def test_wrong_policies_are_one_clear_line(policy: str | Policy, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        build(policy, GREY)
    assert "\n" not in str(error.value) and "params.yaml: augment.policy" in str(error.value)
    for word in words:
        assert word in str(error.value)
    assert str(error.value).count(",") < 2 * MANY


def test_sizes_that_only_a_draw_changes_are_told() -> None:
    compose = A.Compose([A.RandomScale(scale_limit=0.5, p=1.0)])
    with pytest.raises(UserError, match="size and type must stay"):
        draw(compose, noise(), group=1, seed=0, copy=0)


# ---- draws ----


def test_a_draw_depends_on_seed_copy_and_group_alone() -> None:
    images = noise()
    whole = drawn("digits", images)
    assert np.array_equal(drawn("digits", images[16:], first=2), whole[16:])
    for changes in ({"seed": 1}, {"copy": 1}, {"first": 1}):
        assert (drawn("digits", images, **changes) != whole).any()


def test_images_of_a_group_share_a_draw_and_groups_do_not() -> None:
    same = np.repeat(noise(1), 24, 0)
    made = drawn([{"Affine": {"rotate": [-40, 40], "p": 1.0}}], same)
    assert [len(np.unique(made[start : start + 8], axis=0)) for start in (0, 8, 16)] == [1, 1, 1]
    assert len(np.unique(made, axis=0)) == 3
    assert len(np.unique(drawn("digits", same, group=1), axis=0)) > 12


def test_transforms_of_a_policy_are_drawn_independently() -> None:
    """Compose(seed=...) would let them all flip together, or none."""
    picture = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    both: Policy = [{"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}}]
    made = drawn(both, np.repeat(picture, 200, 0), group=1)
    corners = np.unique(made[:, 0, 0, 0], return_counts=True)[1]
    assert len(corners) == 4 and corners.min() > 25


# ---- labels ----


def digits(count: int = 1797) -> tuple[Images, np.ndarray[Any, np.dtype[np.int64]]]:
    found = load_digits()
    return (found.images[:count, ..., None] * 15.9).astype(np.uint8), found.target[:count].astype(
        np.int64
    )


@pytest.mark.parametrize("flip", ["HorizontalFlip", "VerticalFlip"])
def test_flips_of_digits_are_caught_as_harmful(flip: str) -> None:
    images, labels = digits(1000)
    found = preservation(images, drawn([{flip: {"p": 1.0}}], images, group=1), labels)
    assert found.before > 0.98 and found.after < 0.6
    assert found.lost > 400 and found.worst_lost > 0.9
    assert found.margin < -0.01 and found.p < 1e-4


@pytest.mark.parametrize(
    "mild",
    [
        {"Affine": {"translate_percent": [-0.08, 0.08], "rotate": [-8, 8], "p": 1.0}},
        {"RandomBrightnessContrast": {}},
    ],
)
def test_small_changes_of_digits_keep_their_labels(mild: dict[str, dict[str, Any]]) -> None:
    images, labels = digits(1000)
    found = preservation(images, drawn([mild], images, group=1), labels)
    assert found.after > 0.95 and found.margin > 0 and found.p > 0.5


def test_images_that_turn_unfamiliar_but_stay_apart_are_lost_and_yet_not_harmful() -> None:
    """All arrows of a class point left; those that point right get into no other class's way."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (400, 16, 16, 1), np.uint8)
    labels = np.arange(400) % 2
    images[labels == 0, 2:7, :4] += 180
    images[labels == 1, 9:14, :4] += 180
    found = preservation(images, images[:, :, ::-1], labels)
    assert found.p > 0.5


def test_an_image_is_judged_by_a_classifier_that_has_not_seen_it() -> None:
    images, labels = noise(200, (8, 8, 1)), np.arange(200) % 2
    found = preservation(images, images.copy(), labels)
    assert 0.3 < found.before < 0.7 and found.before == found.after and found.lost == 0


# ---- the stage ----


def stage(root: Path, train: Samples, *, workers: int = 2, ok: bool = True, **params: Any) -> str:
    shutil.rmtree(root / "data", ignore_errors=True)
    samples.write(
        root / "data/split/train",
        [train.images],
        train.index,
        classes=train.classes,
        shape=train.images.shape[1:],
    )
    section = {"copies": 2, "group": 8, "policy": "digits"} | params
    (root / "params.yaml").write_text(
        yaml.safe_dump({"seed": 0, "data": {"name": "toy"}, "augment": section})
    )
    environment = os.environ | {"IMAGETRAIL_WORKERS": str(workers)}
    command = [sys.executable, "-m", "imagetrail.cli", "augment"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert (done.returncode == 0) == ok and "Traceback" not in done.stderr, (
        done.stdout + done.stderr
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", samples.NUMBERS)
def test_a_new_image_weighs_and_is_as_sure_as_the_one_that_it_was_made_from(
    name: str, tmp_path: Path, make_samples: Callable[..., Samples]
) -> None:
    plain = make_samples("train", *digits(40), [str(digit) for digit in range(10)])
    column = pa.array((np.arange(40) + 1) / 40)
    train = replace(plain, index=plain.index.append_column(name, column))
    stage(tmp_path, train)
    made = samples.read(tmp_path / "data/augmented", columns=["parent"])
    number = {name: i for i, name in enumerate(train.column("id"))}
    found = made.index[name].to_pylist()
    assert found == [(number[parent] + 1) / 40 for parent in made.column("parent")]


def test_one_and_two_workers_give_the_same_bytes_and_every_image_its_parent(
    tmp_path: Path, make_samples: Callable[..., Samples]
) -> None:
    images, labels = digits(1797)
    images, labels = (
        np.tile(images, (5, 1, 1, 1)),
        np.tile(labels, 5),
    )  # more than one worker takes at a time
    train = make_samples("train", images, labels, [str(digit) for digit in range(10)])
    files = (
        "data/augmented/images.npy",
        "data/augmented/index.parquet",
        "artifacts/augment/labels.json",
    )
    outs = []
    for workers in (1, 2):
        output = stage(tmp_path, train, workers=workers, policy=[{"HorizontalFlip": {"p": 1.0}}])
        outs.append(
            [(tmp_path / file).read_bytes() for file in (*files, "artifacts/augment/pairs.png")]
        )
    assert outs[0] == outs[1]
    assert "HorizontalFlip" in output and "harmful" in output
    (row,) = json.loads((tmp_path / files[2]).read_text())
    assert (
        row["harmful"]
        and row["transform"] == "HorizontalFlip"
        and row["after"] < 0.6 < row["before"]
    )
    made = samples.read(tmp_path / "data/augmented")
    number = {name: i for i, name in enumerate(train.column("id"))}
    parents = np.array([number[parent] for parent in made.column("parent")])
    assert np.array_equal(made.images, images[parents, :, ::-1]) and np.array_equal(
        made.labels, labels[parents]
    )
    assert np.array_equal(np.bincount(parents), np.full(len(train), 2)) and len(
        set(made.column("id"))
    ) == 2 * len(train)
    sheet = Image.open(tmp_path / "artifacts/augment/pairs.png")
    assert sheet.height == 3 * (7 * 8 + 2)  # original, HorizontalFlip, all together


def test_few_images_no_copies_and_single_images_are_taken_as_they_are(
    tmp_path: Path, make_samples: Callable[..., Samples]
) -> None:
    train = make_samples("few", noise(4, (8, 8, 1)), [0, 1, 1, 1], ("one", "many", "none"))
    assert "8 images from 4, 1 by a draw" in stage(tmp_path, train)
    assert samples.read(tmp_path / "data/augmented").classes == ("one", "many", "none")
    assert "0 images from 4" in stage(tmp_path, train, copies=0)
    assert len(samples.read(tmp_path / "data/augmented")) == 0
    assert json.loads((tmp_path / "artifacts/augment/labels.json").read_text()) == []
    alone = make_samples("alone", noise(1, (8, 8, 1)), [0])
    assert "2 images from 1" in stage(tmp_path, alone)


def test_blank_images_are_replaced_and_told_and_a_policy_that_makes_many_is_refused(
    tmp_path: Path, make_samples: Callable[..., Samples]
) -> None:
    images = noise(400, (8, 8, 1))
    images[:10] = 7  # blank from the start: no fault of the policy
    train = make_samples("train", images, np.arange(400) % 2)
    away = {"translate_percent": [1.5, 1.5]}  # out of the picture
    output = stage(tmp_path, train, policy=[{"Affine": away | {"p": 0.02}}])
    assert "images came out blank: their originals are in their place" in output
    made = samples.read(tmp_path / "data/augmented").images.reshape(800, -1)
    assert ((made.max(1) == made.min(1)).sum()) == 20
    output = stage(tmp_path, train, policy=[{"Affine": away | {"p": 0.5}}], ok=False)
    assert "augment.policy: leaves nothing to see of over 5 % of the images" in output
    assert not list((tmp_path / "data").glob("augmented*")) and not list(
        (tmp_path / "data").glob(".*")
    )
