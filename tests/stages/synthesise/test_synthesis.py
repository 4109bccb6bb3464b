"""Conformance of every synthesiser, and the checks on what it makes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.datasets import load_digits

from imagetrail.base import paths, samples
from imagetrail.base.rng import generator
from imagetrail.base.samples import Images, Samples
from imagetrail.stages.synthesise import fidelity, stage, synthesis

METHODS = list(synthesis.SYNTHESISERS)
Make = Callable[..., Samples]


def bright_and_dark(
    make_samples: Make, labels: list[int], *, size: int = 8, channels: int = 1
) -> Samples:
    rng = np.random.default_rng(0)
    bright = 180 * np.array(labels)[:, None, None, None]
    images = (rng.integers(0, 60, (len(labels), size, size, channels)) + bright).astype(np.uint8)
    return make_samples("train", images, labels)


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (9, 3)])
@pytest.mark.parametrize("method", METHODS)
def test_a_synthesiser_draws_seeded_images_of_the_class_asked_for(
    make_samples: Make, method: str, size: int, channels: int
) -> None:
    train = bright_and_dark(make_samples, [0, 1] * 100, size=size, channels=channels)
    model, again = (synthesis.SYNTHESISERS[method](train, epochs=2, seed=1) for _ in range(2))
    dark, bright = model.sample(0, 30, seed=5), model.sample(1, 30, seed=5)
    assert dark.shape == (30, size, size, channels) and dark.dtype == np.uint8
    assert dark.mean() + 60 < bright.mean()
    assert np.array_equal(dark, again.sample(0, 30, seed=5)) and not np.array_equal(
        dark, model.sample(0, 30, seed=6)
    )


@pytest.mark.parametrize("method", METHODS)
def test_colour_pictures_of_64_pixels_are_no_matter(make_samples: Make, method: str) -> None:
    train = bright_and_dark(make_samples, [0, 1] * 20, size=64, channels=3)
    model = synthesis.SYNTHESISERS[method](train, epochs=1, seed=1)
    dark, bright = (model.sample(label, 5, seed=0) for label in (0, 1))
    assert dark.shape == (5, 64, 64, 3) and dark.mean() + 60 < bright.mean()


@pytest.mark.parametrize("method", METHODS)
def test_a_class_of_one_or_two_images_is_enough(make_samples: Make, method: str) -> None:
    train = bright_and_dark(make_samples, [0, 1, 1])
    model = synthesis.SYNTHESISERS[method](train, epochs=1, seed=1)
    assert all(model.sample(label, 5, seed=0).shape == (5, 8, 8, 1) for label in (0, 1))


def test_warp_makes_new_images_of_a_single_one(make_samples: Make) -> None:
    train = bright_and_dark(make_samples, [0, 1])
    new = synthesis.SYNTHESISERS["warp"](train, epochs=1, seed=1).sample(0, 20, seed=0)
    memory = fidelity.remember([train.images[:1], train.images[1:]], generator(0))
    assert len({image.tobytes() for image in new}) == 20 and not memory.copies(new, 0).any()


def test_nobody_sees_what_is_held_out_and_small_classes_are_not_robbed(make_samples: Make) -> None:
    parts = synthesis.divide(bright_and_dark(make_samples, [0] * 50 + [1]), seed=0)
    held_out, seen, first, second = (
        set(part.column("id")) for part in (parts.held_out, parts.seen, parts.first, parts.second)
    )
    assert len(held_out) == 5 and not held_out & seen and first | second == seen
    assert first & second == {"train50"}


def test_a_copy_of_a_training_image_is_found_and_a_new_one_is_not() -> None:
    rng = np.random.default_rng(0)
    real, new = (rng.integers(0, 256, (300, 8, 8, 1)).astype(np.uint8) for _ in range(2))
    new[3] = real[7]
    new[4] = np.clip(real[250].astype(int) + rng.integers(-6, 7, (8, 8, 1)), 0, 255)
    found = fidelity.remember([real], generator(0)).copies(new, 0)
    assert found[3:5].all() and found.sum() <= 10


@pytest.mark.parametrize("count", [1, 2])
def test_of_a_few_images_a_copy_is_found_too(count: int) -> None:
    rng = np.random.default_rng(0)
    few, many = (rng.integers(0, 256, (n, 8, 8, 1)).astype(np.uint8) for n in (count, 50))
    assert fidelity.remember([few, many], generator(0)).copies(few, 0).all()
    assert fidelity.remember([few], generator(0)).copies(few, 0).all()


class Parrot:
    """Draws the training images themselves, and now and then one of the other class."""

    def __init__(self, train: Samples, strange: Images) -> None:
        self.train, self.strange = train, strange

    def sample(self, label: int, count: int, *, seed: int) -> Images:  # noqa: ARG002  as the interface has it
        mine = self.train.images[self.train.labels == label]
        return np.resize(np.concatenate([mine[:3], self.strange]), (count, *mine.shape[1:]))


def test_copies_and_images_of_another_class_are_dropped_and_the_drawing_ends(
    make_samples: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = bright_and_dark(make_samples, [0, 1] * 100)
    strange = np.full((1, 8, 8, 1), 250, np.uint8)  # of no training image a copy; dark it is not
    monkeypatch.setitem(synthesis.SYNTHESISERS, "parrot", lambda seen, **_: Parrot(seen, strange))
    parts = synthesis.divide(train, seed=0)
    sieve = synthesis.build_sieve(parts, seed=0)
    dark, bright = synthesis.synthesise(
        parts, sieve, method="parrot", per_class=10, epochs=1, seed=0
    )
    assert (len(dark.images), dark.copied, dark.rejected) == (0, 76, 24)
    assert len(bright.images) == 10 and (bright.images == 250).all()
    assert synthesis.counts([dark, bright], sieve)["near_copies"] == 0


def run_stage(root: Path, monkeypatch: pytest.MonkeyPatch, **params: object) -> dict[str, float]:
    monkeypatch.chdir(root)
    section = {"method": "warp", "per_class": 6, "epochs": 1} | params
    (root / "params.yaml").write_text(yaml.safe_dump({"seed": 0, "synthesise": section}))
    stage.run()
    quality: dict[str, float] = json.loads((root / "artifacts/synthesise/quality.json").read_text())
    return quality


def test_the_stage_says_how_good_its_images_are(
    make_samples: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pixels, labels = load_digits(n_class=2, return_X_y=True)
    train = make_samples("train", (pixels * 15).astype(np.uint8).reshape(-1, 8, 8, 1), labels)
    samples.write(
        tmp_path / paths.TRAIN, [train.images], train.index, classes=train.classes, shape=(8, 8, 1)
    )
    quality = run_stage(tmp_path, monkeypatch)
    made = samples.read(paths.SYNTHETIC)
    assert made.column("origin") == ["synthetic"] * 12 and made.labels.tolist() == [0] * 6 + [1] * 6
    assert quality["method"] == "warp" and quality["near_copies"] == 0 and quality["images"] == 12
    assert min(quality[key] for key in ("tstr_top1", "trtr_top1", "label_agreement")) > 0.9
    assert {
        "frechet",
        "frechet_real",
        "density",
        "coverage",
        "rejected",
        "guard_top1",
    } <= quality.keys()
    assert "12 images" in capsys.readouterr().out
    first = made.images.copy()
    run_stage(tmp_path, monkeypatch)
    assert np.array_equal(first, samples.read(paths.SYNTHETIC).images)


def test_no_images_wanted_is_a_stage_without_images(
    make_samples: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = bright_and_dark(make_samples, [0, 1])
    samples.write(
        tmp_path / paths.TRAIN, [train.images], train.index, classes=train.classes, shape=(8, 8, 1)
    )
    assert run_stage(tmp_path, monkeypatch, per_class=0) == {
        "method": "warp",
        "images": 0,
        "near_copies": 0,
    }
    assert (
        len(samples.read(paths.SYNTHETIC)) == 0
        and (tmp_path / "artifacts/synthesise/samples.png").exists()
    )


def test_a_class_with_fewer_images_than_wanted_is_named(
    make_samples: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train = bright_and_dark(make_samples, [0, 1, 1])
    samples.write(
        tmp_path / paths.TRAIN, [train.images], train.index, classes=train.classes, shape=(8, 8, 1)
    )
    monkeypatch.setitem(
        synthesis.SYNTHESISERS, "warp", lambda seen, **_: Parrot(seen, train.images[:0])
    )
    quality = run_stage(tmp_path, monkeypatch)
    assert quality["images"] == 0 and "tstr_top1" not in quality
    assert "fewer than 6 of: left 0, right 0" in capsys.readouterr().out


def test_frechet_distance_is_nought_for_equal_sets_and_the_squared_shift_for_shifted_ones() -> None:
    features = np.random.default_rng(0).normal(size=(500, 4))
    assert fidelity.frechet(features, features) == pytest.approx(0, abs=1e-6)
    assert fidelity.frechet(features, features + 2) == pytest.approx(16, rel=1e-6)


def test_density_and_coverage_fall_where_new_images_are_elsewhere_or_all_alike() -> None:
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(2, 400, 4))
    density, coverage = fidelity.density_coverage(real, other)
    assert 0.8 < density < 1.2 and coverage > 0.9
    assert fidelity.density_coverage(real, other + 20) == (0, 0)
    assert fidelity.density_coverage(real, np.tile(real.mean(0), (400, 1)))[1] < 0.3
