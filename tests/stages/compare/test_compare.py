"""`imagetrail compare` on scikit-learn's digits, where a flip harms: they have no mirror."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import yaml
from project import Project

from imagetrail.base import paths, samples
from imagetrail.base.criteria import Criterion
from imagetrail.base.errors import UserError
from imagetrail.base.files import read_csv
from imagetrail.base.paths import BEST, PRETRAINED, REMEDIES
from imagetrail.base.samples import Images, Samples
from imagetrail.models.activations import ACTIVATIONS
from imagetrail.stages.augment import stage as augment
from imagetrail.stages.compare.arms import Contest, resolve
from imagetrail.stages.compare.params import Compare
from imagetrail.stages.compare.stage import _jobs, judged, run
from imagetrail.stages.fetch import stage as fetch
from imagetrail.stages.inspect import stage as inspect
from imagetrail.stages.split import stage as split
from imagetrail.training.chosen import proven_recipe
from imagetrail.training.data import Experiment
from imagetrail.training.jobs import Job, train
from imagetrail.training.recipe import Recipe

RECIPE = {
    "model": "fast",
    "activation": "relu",
    "lr": 0.1,
    "batch_size": 64,
    "width": 0.5,
    "repeat_to": 10000,
}
SECTION: dict[str, Any] = {
    "seeds": 6,
    "remedies": {
        "epochs": 2,
        "images": None,
        "tried": {"flip": True, "augmented": 0.3, "synthetic": 0.1, "pretrained": True},
    },
    "sets": {
        "activations": {
            "epochs": 1,
            "images": 200,
            "reference": "relu",
            "arms": {"relu": {"activation": "relu"}, "sigmoid": {"activation": "sigmoid"}},
        },
        "networks": {
            "epochs": 1,
            "images": 200,
            "reference": "linear",
            "arms": {"linear": {"model": "linear"}, "fast": {"model": "fast"}},
        },
    },
}
NOTHING = {"epochs": 1, "images": 200, "tried": {}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, in which compare has run on digits and augmented ones, without others."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
        made = Project(root)
        made.take("dvc.yaml")
        made.set(
            data={"name": "digits", "source": "digits", "image_size": 8},
            split={"valid": 0.45},  # so many that a score is not all noise
            augment={"policy": [{"Affine": {"rotate": [-8, 8], "p": 1.0}}]},
            recipe=Recipe(**RECIPE, epochs=1).model_dump(exclude={"epochs"}) | {"repeat_to": 2000},
            compare=SECTION,
        )
        for stage in (fetch, inspect, split, augment):
            stage.run()
        train = samples.read(paths.TRAIN)
        none = samples.make_index(ids=[], labels=[], origin="synthetic", sources=[])
        samples.write(
            paths.SYNTHETIC, [], none, classes=train.classes, shape=train.images.shape[1:]
        )
        for path, text in ((BEST, b"{}"), (PRETRAINED, safetensors.torch.save({}))):
            path.parent.mkdir(parents=True)
            path.write_bytes(text)
        run()
        yield root


def ranking() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((paths.ARTIFACTS / "compare/ranking.json").read_text())
    return found


@pytest.mark.usefixtures("project")
def test_a_remedy_that_harms_is_caught_and_does_not_enter_the_final_training() -> None:
    (flip,) = [arm for arm in ranking()["arms"] if arm["arm"] == "+flip"]
    assert flip["verdict"] == "harms" and flip["difference_high"] < 0 and flip["p"] < 0.05
    (remedies,) = [found for found in ranking()["sets"] if found["set"] == "remedies"]
    assert re.search(
        r"\+flip harms .*so the final training .*goes without .*flip", remedies["verdict"]
    )
    assert yaml.safe_load(REMEDIES.read_text())["flip"] is False
    assert not proven_recipe(epochs=1).flip


@pytest.mark.usefixtures("project")
def test_a_remedy_enters_the_final_training_only_with_an_interval_above_0() -> None:
    (augmented,) = [arm for arm in ranking()["arms"] if arm["arm"] == "+augmented"]
    helps = augmented["difference_low"] > 0 and augmented["p"] < 0.05
    assert (augmented["verdict"] == "helps") == helps
    assert proven_recipe(epochs=1).augmented == (0.3 if helps else 0.0)


@pytest.mark.usefixtures("project")
def test_remedies_that_no_stage_has_prepared_are_not_tried() -> None:
    assert {arm["arm"] for arm in ranking()["arms"] if arm["set"] == "remedies"} == {
        "real",
        "+flip",
        "+augmented",
        "all",
    }
    assert set(yaml.safe_load(REMEDIES.read_text())) == {"flip", "augmented"}


@pytest.mark.usefixtures("project")
def test_results_have_a_row_for_each_set_arm_and_seed() -> None:
    rows = read_csv(paths.ARTIFACTS / "compare/results.csv")
    assert list(rows[0]) == [
        "set",
        "arm",
        "seed",
        "valid_top1",
        "valid_macro_recall",
        "valid_loss",
    ]
    assert (
        len(rows) == len({(row["set"], row["arm"], row["seed"]) for row in rows}) == 6 * (4 + 2 + 2)
    )
    recipes = json.loads((paths.ARTIFACTS / "compare/recipes.json").read_text())
    assert all(Recipe(**recipes[row["set"]][row["arm"]]) for row in rows)
    curves = read_csv(paths.ARTIFACTS / "compare/history.csv")
    assert len(curves) == 6 * (2 * 4 + 2 + 2) and list(curves[0])[:4] == [
        "set",
        "arm",
        "seed",
        "epoch",
    ]


@pytest.mark.usefixtures("project")
def test_every_arm_has_its_mean_interval_and_verdict() -> None:
    found = ranking()
    for contest in found["sets"]:
        arms = [arm for arm in found["arms"] if arm["set"] == contest["set"]]
        assert [arm["verdict"] for arm in arms].count("reference") == 1
        assert [arm["mean"] for arm in arms] == sorted((arm["mean"] for arm in arms), reverse=True)
        assert all(arm["low"] <= arm["mean"] <= arm["high"] for arm in arms)
        assert (
            contest["verdict"].endswith("trainings each.")
            and contest["verdict"] in found["verdict"]
        )


@pytest.mark.usefixtures("project")
def test_the_known_lag_of_sigmoid_shows_even_in_a_few_steps() -> None:
    means = {arm["arm"]: arm["mean"] for arm in ranking()["arms"] if arm["set"] == "activations"}
    assert means["sigmoid"] < means["relu"]


@pytest.mark.usefixtures("project")
def test_the_same_recipe_in_two_sets_is_trained_once() -> None:
    scores = {
        (row["set"], row["arm"], row["seed"]): row["valid_loss"]
        for row in read_csv(Path("artifacts/compare/results.csv"))
    }
    assert all(
        scores["activations", "relu", str(seed)] == scores["networks", "fast", str(seed)]
        for seed in range(6)
    )
    assert len(list(Path(".imagetrail/trainings").iterdir())) == 6 * (4 + 3)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_can_be_an_arm(activation: str, tmp_path: Path) -> None:
    recipe = Recipe(**RECIPE | {"activation": activation, "epochs": 2, "repeat_to": 1000})
    *_, row = train(Job({}, recipe, 500, 0, 2, tmp_path / "compare" / "some"))
    assert row["valid_top1"] > 0.4


def compared_anew(
    project: Path, root: Path, *, recipe: dict[str, Any], section: dict[str, Any]
) -> list[dict[str, str]]:
    """The results of `imagetrail compare` in a copy of the project with some params changed."""
    copy = Project(project).copy(root)
    copy.set(recipe=recipe, compare=section)
    copy.imagetrail("compare")
    return read_csv(root / "artifacts/compare/results.csv")


def histories(root: Path) -> dict[str, int]:
    """When each training has last written its history, which it does at the end."""
    files = (root / ".imagetrail/trainings").glob("*/history.csv")
    return {file.parent.name: file.stat().st_mtime_ns for file in files}


def test_another_arm_costs_its_own_trainings_only(project: Path, tmp_path: Path) -> None:
    root, sets = tmp_path / "copy", SECTION["sets"]
    arms = sets["activations"]["arms"] | {"tanh": {"activation": "tanh"}}
    section = {"sets": sets | {"activations": sets["activations"] | {"arms": arms}}}
    rows = compared_anew(project, root, recipe={}, section=section)
    assert [row for row in rows if row["arm"] != "tanh"] == read_csv(
        project / "artifacts/compare/results.csv"
    )
    before, after = histories(project), histories(root)
    assert len(after) == len(before) + 6 and before.items() <= after.items()


def test_a_training_that_diverges_counts_as_guessing(project: Path, tmp_path: Path) -> None:
    arms = {"good": {}, "wild": {"lr": 1000.0, "weight_decay": 1000.0, "batch_size": 16}}
    sets = {"rates": {"epochs": 4, "images": 200, "reference": "good", "arms": arms}}
    section = {"seeds": 3, "remedies": {"epochs": 1, "images": 200, "tried": {}}, "sets": sets}
    rows = compared_anew(project, tmp_path / "copy", recipe={"model": "mlp"}, section=section)
    wild = [row for row in rows if row["arm"] == "wild"]
    assert len(rows) == 6 and len(wild) == 3
    assert all(
        row["valid_top1"] == row["valid_macro_recall"] == "0.1"
        and float(row["valid_loss"]) == pytest.approx(np.log(10))
        for row in wild
    )
    assert all(float(row["valid_top1"]) > 0.1 for row in rows if row["arm"] == "good")


# ---- by which score they are judged ----


def test_arms_are_ranked_by_what_decides_in_the_steps_that_its_scores_have() -> None:
    """One is better in top-1, the other in macro recall, of 90 images of one class, 10 of one."""
    labels = np.repeat([0, 1], [90, 10])
    (contest,) = (
        made for made in contests(remedies=NOTHING).values() if made.name == "activations"
    )
    rows = [
        {"set": contest.name, "arm": arm, "seed": seed, "valid_top1": top1 + seed / 100}
        | {"valid_macro_recall": recall + seed / 100}
        for arm, top1, recall in (("relu", 0.9, 0.5), ("sigmoid", 0.7, 0.7))
        for seed in range(6)
    ]
    found = {by: judged(rows, [contest], by=by, labels=labels) for by in Criterion}
    assert [found[by]["arms"][0]["arm"] for by in Criterion] == ["relu", "sigmoid"]
    assert [found[by]["metric"] for by in Criterion] == ["valid_top1", "valid_macro_recall"]
    assert " macro recall;" in found[Criterion.MACRO_RECALL]["verdict"]
    assert " top-1;" in found[Criterion.TOP1]["verdict"]
    steps = [found[by]["arms"][0 if by is Criterion.MACRO_RECALL else 1] for by in Criterion]
    halves = [step["difference_high"] - step["difference"] for step in steps]
    assert halves[1] / halves[0] == pytest.approx(np.hypot(1 / 90, 1 / 10) / 2 * 100)


# ---- what the arms are ----


def contests(
    base: dict[str, Any] | None = None,
    *,
    prepared: Callable[[str], bool] = lambda _: True,
    **changes: Any,
) -> dict[str, Contest]:
    section, recipe = Compare(**SECTION | changes), Recipe(**RECIPE | {"epochs": 1} | (base or {}))
    return {
        contest.name: contest
        for contest in resolve(
            section.sets, section.remedies, recipe, "params.yaml: compare", prepared=prepared
        )
    }


def tried(values: dict[str, Any]) -> dict[str, Any]:
    return {"remedies": {"epochs": 1, "images": None, "tried": values}}


def test_each_remedy_is_alone_in_its_arm_and_all_are_in_the_last() -> None:
    arms = contests(prepared=lambda remedy: remedy != "synthetic")["remedies"].arms
    fields = {
        arm: (recipe.flip, recipe.augmented, recipe.synthetic, recipe.pretrained)
        for arm, recipe in arms.items()
    }
    assert fields == {
        "real": (False, 0, 0, False),
        "+flip": (True, 0, 0, False),
        "+augmented": (False, 0.3, 0, False),
        "+pretrained": (False, 0, 0, True),
        "all": (True, 0.3, 0, True),
    }


def test_fine_tuning_is_judged_beside_the_frozen_network_whatever_else_is_tried() -> None:
    both = {"fine_tune": True, "pretrained": True}
    found = contests({"pretrained": False}, **tried(both))
    assert list(found)[:2] == ["remedies", "fine_tuning"]
    assert {arm: recipe.pretrained for arm, recipe in found["remedies"].arms.items()} == {
        "real": False,
        "+pretrained": True,
    }
    assert found["fine_tuning"].reference == "frozen"
    assert {
        arm: (recipe.pretrained, recipe.fine_tune)
        for arm, recipe in found["fine_tuning"].arms.items()
    } == {"frozen": (True, False), "+fine_tune": (True, True)}


def test_trainings_of_all_layers_begin_first_and_each_is_done_once() -> None:
    settings = Recipe(**RECIPE, epochs=1)
    frozen = settings.model_copy(update={"fine_tune": False})
    arms = {"frozen": frozen, "+fine_tune": settings}
    contests = [
        Contest("views", "frozen", {"frozen": frozen}, 1, None),
        Contest("fine_tuning", "frozen", arms, 1, None),
    ]
    made = _jobs(contests, [5, 6], {}, Path())
    order = [(job.recipe.fine_tune, job.seed) for job in made]
    assert order == [(True, 5), (True, 6), (False, 5), (False, 6)]


@pytest.mark.parametrize(("gain", "taken"), [(0.1, True), (0.0, False), (-0.1, False)])
def test_all_layers_learn_in_the_final_training_only_if_that_is_shown_to_help(
    gain: float, taken: bool
) -> None:
    found = [contests(**tried({"fine_tune": True}))["fine_tuning"]]
    rows = [
        {"set": "fine_tuning", "arm": arm, "valid_top1": 0.5 + noise + (gain if "+" in arm else 0)}
        for arm in found[0].arms
        for noise in (0.0, 0.01, 0.02)
    ]
    labels = np.arange(1000) % 10
    ranking = judged(rows, found, by=Criterion.TOP1, labels=labels)
    assert ranking["proven"] == {"fine_tune": taken}
    assert ranking["verdict"].startswith("By top-1, against the frozen network +fine_tune ")


def test_the_search_says_how_much_of_a_remedy_is_tried() -> None:
    arms = contests({"augmented": 0.2})["remedies"].arms
    assert arms["+augmented"].augmented == arms["all"].augmented == 0.2
    assert arms["real"].augmented == arms["+flip"].augmented == 0


def test_an_arm_differs_from_the_reference_by_its_own_fields_only() -> None:
    arms = {
        "a": {"lr": 0.05, "pretrained": False},
        "b": {"activation": "tanh"},
        "c": {"activation": "elu", "lr": 0.01},
    }
    only = {"sets": {"x": {"epochs": 7, "images": None, "reference": "a", "arms": arms}}}
    found = contests(**only)["x"].arms
    assert [(arm.lr, arm.activation, arm.pretrained, arm.epochs) for arm in found.values()] == [
        (0.05, "relu", False, 7),
        (0.05, "tanh", False, 7),
        (0.01, "elu", False, 7),
    ]


def test_few_images_for_a_quick_look_are_not_made_many_by_repetition() -> None:
    found = contests()
    assert found["activations"].arms["relu"].repeat_to == 200
    assert found["remedies"].arms["real"].repeat_to == 10000


def test_with_nothing_to_try_no_remedy_is_judged_or_switched_off() -> None:
    for found in (contests(prepared=lambda _: False), contests(**tried({}))):
        assert list(found) == ["activations", "networks"]
    lone = contests(**tried({"shift": 1}))["remedies"].arms
    assert list(lone) == ["real", "+shift"] and lone["real"].shift == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"augmentd": 0.3}, "compare.remedies.tried: recipe has no field augmentd"),
        (
            {"augmented": 1.3},
            "compare.remedies.tried.augmented: input should be less than or equal to 1",
        ),
        (
            {"augmented": 0.0},
            "compare.remedies.tried.augmented: a remedy is a number above 0 or true, not 0.0",
        ),
        (
            {"flip": False},
            "compare.remedies.tried.flip: a remedy is a number above 0 or true, not False",
        ),
        ({"lr": 0.1}, "compare.remedies.arms.real.lr: input should be greater than 0"),
    ],
)
def test_what_is_no_remedy_is_refused_in_one_line(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        contests(**tried(values))
    assert str(caught.value).startswith(f"params.yaml: {said}") and "\n" not in str(caught.value)


# ---- trainings on a part of the images ----


def test_a_part_of_the_images_comes_with_the_new_versions_of_these_only(
    make_samples: Callable[..., Samples],
) -> None:
    """Else an augmented arm would see images that the real arm never does."""

    def grey(numbers: range) -> Images:
        return np.array(numbers, np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2)

    real = make_samples("real", grey(range(40)), [0, 1] * 20)
    index = samples.make_index(
        ids=[f"new{i}" for i in range(40)],
        labels=[0, 1] * 20,
        origin="augmented",
        parents=real.column("id"),
        sources=["x"] * 40,
    )
    augmented = Samples(grey(range(100, 140)), index, real.classes)
    synthetic = make_samples(
        "synthetic", grey(range(200, 240)), [0, 1] * 20
    )  # of no parent: all of them may come
    data = Experiment(
        real, augmented, synthetic, Samples(real.images[:0], real.index[:0], real.classes), real, {}
    )
    recipe = Recipe(**RECIPE | {"epochs": 1, "augmented": 0.4, "synthetic": 0.3, "repeat_to": 0})
    for seed in (0, 1):
        mixture = data.mixture(recipe, images=10)
        seen = {
            int(i)
            for epoch in range(1, 30)
            for images, *_ in mixture.epoch(epoch, batch_size=5, seed=seed)
            for i in images[:, 0, 0, 0]
        }
        used = {i for i in seen if i < 100}
        assert len(used) == 10 and {i - 100 for i in seen if 100 <= i < 200} == used
        assert len({i for i in seen if i >= 200}) > 30
