"""`imagetrail init`: what is seen of pictures, what is chosen for them, and how it is written."""

import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from project import ROOT, Project

from imagetrail.base import pipeline
from imagetrail.base.errors import UserError
from imagetrail.cli.begin import choose, expect, learning, origin, plans, speed, write
from imagetrail.cli.begin.kinds import CHANGES, KINDS, changes, seen_kind
from imagetrail.cli.begin.look import Look, look
from imagetrail.cli.begin.plans import EFFORTS, Plan
from imagetrail.cli.begin.speed import PRETRAINED, SOLVE, Network
from imagetrail.cli.params import check_all
from imagetrail.data import datasets
from imagetrail.models.efficientnet import enlargement
from imagetrail.stages.audit import stage
from imagetrail.stages.augment.policy import PRESETS
from imagetrail.training import heads
from imagetrail.training.recipe import Recipe

PHOTOS = Look(
    count=2000,
    classes=("cat", "dog"),
    smallest=900,
    largest=1100,
    tested=0,
    grouped=False,
    formats=("JPEG",),
    short=3000,
    same_size=False,
    long=1.34,
    grey=False,
    plain=False,
    written=False,
    several=0.0,
)
DIGITS = replace(
    PHOTOS,
    count=1797,
    classes=tuple("0123456789"),
    smallest=174,
    largest=183,
    short=8,
    same_size=True,
    long=1.0,
    grey=True,
    written=True,
)
ODD = "a #b %c [d] *e $f ${g} {h} @i 'j' \"k\" é日"  # each has a meaning in YAML, DVC or Git


def paint(
    folder: Path,
    *,
    classes: str = "ab",
    count: int = 12,
    size: tuple[int, int] = (40, 40),
    mode: str = "RGB",
) -> Path:
    """Pictures of noise, a sub-folder a class."""
    rng = np.random.default_rng(0)
    for kind in classes:
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            noise = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(noise).convert(mode).save(folder / kind / f"{number}.png")
    return folder


def seen(folder: Path) -> Look:
    with origin.opened(origin.find(str(folder), Path("data/own"))) as (_, pictures):
        assert pictures is not None
        return look(pictures, str(folder))


def machine(rate: float) -> expect.Machine:
    """One that has so many answers of 96 pixels a second and core, and more of smaller ones."""

    def answers(network: Network) -> float:
        if network.work == SOLVE:
            return 20 * rate
        slower = 1 if network.model == PRETRAINED else 5 if network.model == "fast" else 2
        return rate * slower * (96 / network.size) ** 2

    return expect.Machine(2, 0.02, answers)


def planned(
    what: Look, rate: float = 200, *, weights: bool = True, minutes: int = choose.MINUTES
) -> Plan:
    return choose.plan(what, machine(rate), seen_kind(what), minutes=minutes, weights=weights)


def values(what: Look, plan: Plan) -> dict[str, Any]:
    return {key: value for one in choose.choices(what, plan) for key, value in one.values.items()}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A clone, committed, without what running takes."""
    made = Project(tmp_path / "project")
    made.init()
    made.take("params.yaml", "dvc.yaml", ".gitignore", ".dvcignore")
    made.commit()
    return made


# ---- what is seen ----


def test_a_sample_shows_size_colour_and_shape(tmp_path: Path) -> None:
    found = seen(paint(tmp_path / "wide", size=(20, 50)))
    assert (found.count, found.short, found.long, found.same_size) == (24, 20, 2.5, True)
    assert not found.grey and seen(paint(tmp_path / "grey", mode="L")).grey


def test_digits_are_signs_and_noise_is_none(tmp_path: Path) -> None:
    datasets.fetch("digits", tmp_path / "digits")
    pictures = datasets.read("digits", tmp_path / "digits")
    assert look(pictures, "digits").written
    named = replace(pictures, classes=tuple(f"kind {name}" for name in pictures.classes))
    assert not look(named, "digits").written
    assert not seen(paint(tmp_path / "noise")).written


def test_directions_are_signs_by_their_names(tmp_path: Path) -> None:
    turn = paint(tmp_path / "turn")
    (turn / "a").rename(turn / "turn_left")
    assert seen(turn).written


def test_the_same_pictures_are_seen_the_same_again(tmp_path: Path) -> None:
    folder = paint(tmp_path / "noise", count=80)
    assert seen(folder) == seen(folder)


# ---- what is chosen ----


def test_small_pictures_keep_their_size_and_signs_are_not_mirrored() -> None:
    plan = planned(DIGITS)
    chosen = values(DIGITS, plan)
    assert (plan.size, plan.channels, plan.model) == (8, 1, "fast")
    assert chosen["augment.policy"] == "digits" and chosen["recipe.flip"] is False


def test_of_small_pictures_the_network_sees_as_much_as_the_minutes_leave_time_for() -> None:
    small = replace(PHOTOS, short=32, same_size=True)
    known = [planned(small, rate) for rate in (0.1, 20, 10_000)]
    assert [plan.size for plan in known] == [32] * 3 and known[0].model == PRETRAINED
    assert [plan.factor for plan in known] == sorted(plan.factor for plan in known)
    assert values(small, known[0])["recipe.enlarge"] == known[0].factor == 3
    assert values(small, known[-1])["recipe.enlarge"] is None and known[-1].factor == 7
    large = [planned(replace(PHOTOS, short=96), rate) for rate in (0.1, 150, 10_000)]
    assert [(plan.size, plan.factor) for plan in large] == [(64, 1), (96, 1), (96, 2)]
    assert values(PHOTOS, replace(planned(PHOTOS), size=128))["recipe.enlarge"] == 1
    assert values(DIGITS, planned(DIGITS))["recipe.enlarge"] is None


def test_small_photos_that_are_many_have_a_network_of_their_own_where_there_is_time() -> None:
    small = replace(PHOTOS, count=50_000, smallest=20_000, short=32, same_size=True)
    slow, fast = (planned(small, rate, minutes=60) for rate in (20, 400))
    assert (slow.model, fast.model) == ("fast", "airbench")
    chosen, others = values(small, fast), values(small, slow)
    assert chosen["recipe.initialisation"] == "identity" and "width" not in chosen["tune.space"]
    assert "airbench" in chosen["compare.sets"]["networks"]["arms"]
    assert set(chosen) == set(others)  # another choice leaves nothing behind
    for other in (replace(small, plain=True), replace(small, written=True), PHOTOS):
        assert planned(replace(other, count=50_000), 400, minutes=60).model != "airbench"


def test_imagenet_knows_more_of_small_photos_than_of_small_things_on_a_plain_ground() -> None:
    small = replace(PHOTOS, short=32, same_size=True)
    for plain, most in ((False, 12_000), (True, 6000)):
        looks = [replace(small, plain=plain, count=count) for count in (most, most + 1)]
        assert [planned(look, 400).model == PRETRAINED for look in looks] == [True, False]


def test_what_is_expected_of_the_network_is_what_it_does() -> None:
    assert learning.TRIED == heads.TRIED
    assert len(heads.COARSE) * (heads.FOLDS - 1) > learning.CHOSEN, "they are solved roughly"
    for size in range(8, 225):
        own, *others = plans.factors(size, PRETRAINED)
        assert own == enlargement(PRETRAINED, (size, size)) and all(own > one for one in others)


def test_of_few_photos_a_head_is_solved_and_fine_tuning_has_to_prove_its_worth() -> None:
    chosen = values(PHOTOS, planned(PHOTOS))
    assert chosen["recipe.fine_tune"] is False and list(chosen["tune.space"]) == ["penalty"]
    assert chosen["compare.remedies"]["tried"]["fine_tune"] is True
    many = replace(PHOTOS, count=500_000)
    fresh = values(many, planned(many))
    assert fresh["recipe.fine_tune"] is True
    assert "fine_tune" not in fresh["compare.remedies"]["tried"]


def test_a_head_on_features_is_expected_to_take_less_time_than_a_network_from_nothing() -> None:
    plan, rates = replace(planned(PHOTOS), size=224), machine(50)
    fresh = replace(plan, model="fast", effort=EFFORTS["fast"][0])
    known, nothing = (expect.seconds(some, PHOTOS, rates) for some in (plan, fresh))
    for name in ("audit", "synthesise", "tune"):
        assert known[name] < nothing[name] / 3


def test_photos_begin_with_imagenet_where_its_weights_are_installed() -> None:
    assert values(PHOTOS, planned(PHOTOS))["pretrain.weights"] == "imagenet"
    assert values(PHOTOS, planned(PHOTOS, weights=False))["pretrain.weights"] is None


def test_few_photos_begin_with_imagenet_on_the_slowest_machine_too_and_say_why_they_are_small() -> (
    None
):
    slow, fast = planned(PHOTOS, 0.1), planned(PHOTOS, 10_000)
    assert slow.model == fast.model == PRETRAINED
    reasons = [
        next(one.why for one in choose.choices(PHOTOS, plan) if "data.image_size" in one.values)
        for plan in (slow, fast)
    ]
    assert ["no time for more" in reason for reason in reasons] == [True, False]


@pytest.mark.parametrize(
    ("what", "weights", "reason"),
    [
        (DIGITS, True, "these are signs"),
        (PHOTOS, False, "weights are not installed"),
        (replace(PHOTOS, count=500_000), True, "pictures are many"),
    ],
)
def test_the_reason_for_a_network_from_nothing_is_the_true_one(
    what: Look, weights: bool, reason: str
) -> None:
    chosen = choose.choices(what, planned(what, weights=weights))
    why = next(one.why for one in chosen if "recipe.model" in one.values)
    assert why.startswith("trained from nothing") and reason in why


def test_other_sizes_follow_from_two(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measured(network: Network) -> float:
        asked.append(network.size)
        return 1 / (0.002 + 1e-6 * network.size**2)  # seconds

    monkeypatch.setattr(speed, "measured", measured)
    rate = speed.speeds(3000)
    rates = [rate(Network("fast", size, 3, 2)) for size in (32, 96, 224)]
    expected = [1 / (0.002 + 1e-6 * size**2) for size in (32, 96, 224)]
    assert rates == pytest.approx(expected) and asked == [96, 192]


@pytest.mark.slow
def test_other_work_on_the_machine_hardly_counts() -> None:
    network = Network("fast", 32, 3, 2)
    quiet = speed.measured(network)
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(3 * (os.cpu_count() or 1))
    ]
    try:
        assert speed.measured(network) > quiet / 2
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_a_slower_machine_gets_smaller_pictures_or_less_search() -> None:
    plans = [planned(PHOTOS, rate) for rate in (2, 20, 200, 2000)]
    assert [plan.size for plan in plans] == sorted(plan.size for plan in plans)
    assert plans[0].size < plans[-1].size
    assert plans[-1].effort.trials > plans[0].effort.trials


def test_what_is_chosen_is_expected_to_take_no_longer_than_promised() -> None:
    for rate in (50, 200, 2000):
        times = expect.seconds(planned(PHOTOS, rate), PHOTOS, machine(rate))
        assert sum(times.values()) <= 60 * choose.MINUTES


def test_more_minutes_are_used_for_larger_pictures_or_more_search() -> None:
    plans = [planned(PHOTOS, 60, minutes=minutes) for minutes in (20, 40, 120, 600)]
    reach = [(plan.size, plan.effort.trials) for plan in plans]
    assert reach == sorted(reach) and len(set(reach)) == len(reach)
    for plan, minutes in zip(plans, (20, 40, 120, 600), strict=True):
        assert sum(expect.seconds(plan, PHOTOS, machine(60)).values()) <= 60 * minutes


def test_no_plan_takes_less_time_than_the_one_for_too_few_minutes() -> None:
    least = sum(expect.seconds(planned(PHOTOS, 60, minutes=1), PHOTOS, machine(60)).values())
    every = plans.options(PHOTOS, seen_kind(PHOTOS), weights=True)
    took = [sum(expect.seconds(plan, PHOTOS, machine(60)).values()) for plan in every]
    assert min(took) == least > 60


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (PHOTOS, "photos"),
        (replace(PHOTOS, plain=True), "objects"),
        (DIGITS, "digits"),
        (replace(DIGITS, plain=True, short=1200), "documents"),
    ],
)
def test_the_kind_is_what_is_seen(what: Look, kind: str) -> None:
    assert seen_kind(what) is KINDS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_policy_and_fields_of_the_recipe(kind: str) -> None:
    assert KINDS[kind].policy in PRESETS
    for few in (True, False):
        Recipe.model_validate(
            {"model": "fast", "activation": "relu", "epochs": 1, "lr": 0.1}
            | changes(KINDS[kind], 200, few=few)
        )


def test_every_kind_sets_the_same_fields_so_that_another_kind_leaves_nothing_behind() -> None:
    for kind in KINDS.values():
        assert sorted(changes(kind, 64, few=False)) == CHANGES
    few, many = (changes(KINDS["digits"], 28, few=few) for few in (True, False))
    assert (few["shift"], few["elastic"], few["rotate"]) == (2, 0.6, 12.0)
    assert (many["shift"], many["elastic"], many["rotate"]) == (2, 0.0, 0.0)


def test_a_machine_too_slow_for_the_promise_gets_the_shortest_run_and_is_told_so() -> None:
    plan = planned(PHOTOS, 1)
    assert sum(expect.seconds(plan, PHOTOS, machine(1)).values()) > 60 * choose.MINUTES
    reasons = [choice.why for choice in choose.choices(PHOTOS, plan)]
    assert "the shortest search there is" in reasons


def test_every_stage_has_an_expected_time() -> None:
    times = expect.seconds(planned(PHOTOS), PHOTOS, machine(200))
    assert list(times) == list(pipeline.stages(ROOT))


def test_the_audit_takes_no_longer_for_ten_million_pictures_than_for_one() -> None:
    def audit(count: int) -> float:
        look = replace(DIGITS, count=count)
        plan = Plan(KINDS["digits"], "fast", 8, 1, EFFORTS["fast"][0])
        return expect.seconds(plan, look, machine(200))["audit"]

    assert audit(10_000) < audit(50_000) < audit(1_000_000) == audit(10_000_000)


def test_the_audit_that_is_expected_is_that_of_params_yaml() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert params["audit"] == expect.AUDIT
    assert stage.QUICK["repeat_to"] == expect.AUDITED


def test_a_class_too_small_to_be_judged_is_not_asked_for_a_margin() -> None:
    few = replace(PHOTOS, count=60, smallest=20)
    assert values(few, planned(few))["gate.margin"] is None
    many = replace(PHOTOS, count=20_000, smallest=9000)
    assert values(many, planned(many))["gate.margin"] == 0.03


def test_classes_of_unequal_size_count_alike() -> None:
    for smallest, by in {1000: "top1", 300: "top1", 299: "macro_recall"}.items():
        some = replace(PHOTOS, count=1500, smallest=smallest, largest=900)
        assert values(some, planned(some))["decide_by"] == by


def test_folds_are_no_more_than_the_smallest_class_has_pictures() -> None:
    for smallest, folds in {3: 3, 5: 5, 40: 5}.items():
        few = replace(PHOTOS, count=100, smallest=smallest)
        assert values(few, planned(few))["split.folds"] == folds


def test_a_calibration_error_that_few_pictures_cannot_show_is_not_judged() -> None:
    for count, bound in {5: None, 100: None, 400: 0.19, 40_000: 0.05}.items():
        some = replace(PHOTOS, count=count)
        assert values(some, planned(some))["gate.max_ece"] == bound
    one = replace(PHOTOS, count=5, smallest=3)
    reasons = [choice.why for choice in choose.choices(one, planned(one))]
    assert "1 test picture: too few to tell it" in reasons


def test_long_pictures_are_not_cut_and_files_of_several_pages_are_taken() -> None:
    panels = replace(PHOTOS, long=3.0, several=0.5)
    chosen = values(panels, planned(panels))
    assert (chosen["data.fit"], chosen["data.frames"]) == ("pad", "first")


@pytest.mark.parametrize("rate", [1, 100, 10_000])
@pytest.mark.parametrize(
    "what",
    [
        PHOTOS,
        DIGITS,
        replace(PHOTOS, count=40, smallest=2),
        replace(PHOTOS, short=3),
        replace(PHOTOS, count=500_000, smallest=3000, short=32),
        replace(PHOTOS, classes=tuple(map(str, range(300))), smallest=3),
        replace(PHOTOS, tested=500, grey=True, plain=True, several=1.0, long=9.0),
    ],
)
def test_whatever_is_chosen_is_valid(
    what: Look, rate: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    path = Path("params.yaml")
    path.write_text(write.changed(text, values(what, planned(what, rate))))
    check_all(path)


# ---- where it is written ----


def comments(text: str) -> list[str]:
    return re.findall(r"(?:^|\s)(# .*)", text)


def test_values_change_and_comments_stay_in_their_column() -> None:
    text = (ROOT / "params.yaml").read_text()
    chosen = {"data.name": "cats", "data.path": ODD, "data.table": "a#b.csv", "seed": 1}
    chosen |= {"recipe.model": "resnet", "split.per_class": 10}
    after = write.changed(text, chosen)
    assert comments(after) == comments(text)
    params = yaml.safe_load(after)
    assert params["data"]["path"] == ODD and params["data"]["table"] == "a#b.csv"
    same = [line for line in after.splitlines() if line in text.splitlines()]
    assert len(same) == len(text.splitlines()) - len(chosen)
    assert "  model: resnet         # airbench" in after
    assert write.changed(after, yaml_values(text, chosen)) == text


def yaml_values(text: str, keys: dict[str, object]) -> dict[str, object]:
    """What a text of params has at dotted keys."""
    found = {}
    for key in keys:
        value = yaml.safe_load(text)
        for part in key.split("."):
            value = value[part]
        found[key] = value
    return found


def test_a_new_value_stands_in_its_section() -> None:
    text = (ROOT / "params.yaml").read_text()
    after = write.changed(text, {"recipe.zoom": 0.1})
    assert "\n  zoom: 0.1\n\ntrain:" in after and after.replace("  zoom: 0.1\n", "") == text


def test_no_value_changes_nothing() -> None:
    text = (ROOT / "params.yaml").read_text()
    assert write.changed(text, {}) == text


def test_changes_that_git_lacks_are_kept_unless_forced(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    path = Path("params.yaml")
    assert write.write(path, {"seed": 1})
    with pytest.raises(UserError, match=r"^params.yaml has changes that are not in git; commit"):
        write.write(path, {"seed": 2})
    assert yaml.safe_load(path.read_text())["seed"] == 1
    assert not write.write(path, {"seed": 1})
    project.commit()
    assert write.write(path, {"seed": 2}) and write.write(path, {"seed": 3}, force=True)


def test_params_that_would_be_wrong_are_not_written(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    before = sorted(project.root.iterdir()), Path("params.yaml").read_text()
    with pytest.raises(UserError, match=r"^params.yaml: data.channels: "):
        write.write(Path("params.yaml"), {"data.channels": 2}, force=True)
    assert (sorted(project.root.iterdir()), Path("params.yaml").read_text()) == before


# ---- where the pictures are ----


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("cats and dogs", "cats-and-dogs"),
        ("../X-ray (2024)/", "X-ray-2024"),
        ("birds.tar.gz", "birds"),
        ("猫", "猫"),
        ("#%*", "pictures"),
        ("house/photos", "house"),
        ("x" * 300, "x" * 100),
    ],
)
def test_the_data_set_is_called_as_its_folder_where_mlflow_takes_that(path: str, name: str) -> None:
    assert origin.named(Path(path)) == name
    assert origin.Origin(name, "own", Path(path)).data().name == name


def test_paths_stay_relative_and_from_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    for folder in (here / "in", tmp_path / "out"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    for given, kept in {
        "in": "in",
        "./in/": "in",
        "../out": "../out",
        str(here / "in"): "in",
        str(tmp_path / "out"): str(tmp_path / "out"),
    }.items():
        assert str(origin.find(given, Path("x")).path) == kept


@pytest.mark.parametrize("path", [".", "..", "data", "artifacts", "data/split", "champion"])
def test_a_folder_that_stages_write_to_is_refused(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / path).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(here)
    with pytest.raises(UserError, match="the project's own files in it"):
        origin.find(path, Path("x"))


def test_an_address_and_a_published_name_are_noted_and_looked_at_once_they_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = origin.find("https://example.org/birds.zip?raw=1", Path("data/own"))
    assert (address.name, address.path) == ("birds", Path("data/own"))
    for before in (address, origin.find("digits", Path("data/own"))):
        with origin.opened(before) as (_, pictures):
            assert pictures is None
    datasets.fetch("digits", Path("data/raw/digits/files"))
    with origin.opened(origin.find("digits", Path("data/own"))) as (_, pictures):
        assert pictures is not None and len(pictures) == 1797


def test_an_archive_is_looked_into_and_nothing_of_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = paint(tmp_path / "noise")
    with zipfile.ZipFile("noise.zip", "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder))
    before = sorted(tmp_path.iterdir())
    assert seen(Path("noise.zip")) == seen(folder)
    assert sorted(tmp_path.iterdir()) == before


def labelled(folder: Path, *tables: str) -> Path:
    """Pictures in a folder that is no class, and tables that name them."""
    paint(folder, classes="p")
    rows = "".join(f"p/{number}.png,{'ab'[number % 2]}\n" for number in range(12))
    for table in tables:
        (folder / table).write_text(f"path,label\n{rows}")
    return folder


def test_a_damaged_archive_is_told_even_where_its_table_is_whole(tmp_path: Path) -> None:
    folder, path = labelled(tmp_path / "pets", "labels.csv"), tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*"), key=lambda file: file.suffix):
            archive.write(file, file.relative_to(folder))
    found = origin.find(str(path), Path("x"))
    with origin.opened(found) as (known, pictures):
        assert known.table == "labels.csv" and pictures is not None and len(pictures) == 12
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path} cannot be unpacked"), origin.opened(found):
        pass


def test_what_an_address_brought_is_seen_by_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    labelled(Path("data/raw/pets/files"), "labels.csv")
    with origin.opened(origin.find("https://example.org/pets.zip", Path("x"))) as (found, pictures):
        assert pictures is not None and pictures.classes == ("a", "b")
        assert (found.source, found.table) == ("https://example.org/pets.zip", "labels.csv")


def test_hidden_files_are_no_tables_and_hide_none(tmp_path: Path) -> None:
    labelled(tmp_path / "wrapped" / "pets", "labels.csv", "._labels.csv")
    (tmp_path / "wrapped" / ".DS_Store").touch()
    with origin.opened(origin.find(str(tmp_path / "wrapped"), Path("x"))) as (found, _):
        assert found.table == "pets/labels.csv"


def test_of_several_tables_one_is_to_be_named(tmp_path: Path) -> None:
    folder = labelled(tmp_path / "pets", "a.csv", "b.csv")
    with pytest.raises(UserError) as caught, origin.opened(origin.find(str(folder), Path("x"))):
        pass
    remedy = f"name the one that is meant: `imagetrail init {folder}/a.csv`"
    assert f"{folder}: a.csv, b.csv are tables of pictures; {remedy}" == str(caught.value)


def test_a_table_is_named_within_its_folder(tmp_path: Path) -> None:
    folder = paint(tmp_path / "noise")
    (folder / "labels.csv").write_text("path,label\na/0.png,x\nb/0.png,y\n")
    found = origin.find(str(folder / "labels.csv"), Path("x"))
    assert (found.path, found.table, found.name) == (folder, "labels.csv", "noise")


# ---- the command ----


def test_one_command_sets_the_params_and_says_why(project: Project) -> None:
    paint(project.root / "odd" / ODD, mode="L")
    printed = project.imagetrail("init", f"odd/{ODD}")
    assert "24 pictures of 2 classes" in printed and "`dvc repro` will take about" in printed
    assert "data.image_size 40: the pictures are 40 pixels" in printed
    assert printed.endswith("next: make repro\n")
    data = pipeline.read_yaml(project.root / "params.yaml")["data"]
    assert (data["source"], data["path"], data["channels"]) == ("own", f"odd/{ODD}", 1)
    assert project.imagetrail("params").startswith("params.yaml: all")
    assert pipeline.stages(project.root)["inspect"].deps[0] == f"odd/{ODD}"
    assert "inspect:" in project.dvc("status", "inspect")
    project.run("git", "check-ignore", f"odd/{ODD}/a/0.png")


def test_minutes_and_kind_are_kept_to_or_refused_in_one_line(project: Project) -> None:
    paint(project.root / "odd")
    before = (project.root / "params.yaml").read_text()
    for words, fault in {
        ("--minutes", "1"): r"error: --minutes 1: too few; the shortest run here takes \d+\n",
        ("--kind", "foto"): "error: unknown kind 'foto'; did you mean 'photos'\\? choose from .*\n",
    }.items():
        printed = project.imagetrail("init", "odd", *words, ok=False)
        assert re.fullmatch(fault, printed.splitlines(keepends=True)[-1])
    assert (project.root / "params.yaml").read_text() == before
    printed = project.imagetrail("init", "odd", "--minutes", "500", "--kind", "digits")
    assert "what 500 minutes in all leave time for" in printed
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    assert params["augment"]["policy"] == "digits" and params["recipe"]["rotate"] == 12
    project.imagetrail("init", "odd", "--kind", "photos", "--force")
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    assert params["augment"]["policy"] == "photos" and params["recipe"]["rotate"] == 0


def test_make_hands_the_pictures_on(project: Project) -> None:
    project.take(
        "Makefile", "pipeline.mk", "requirements.lock", "requirements.cuda.lock", "pyproject.toml"
    )
    folder = project.root / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "imagetrail").symlink_to(Path(sys.executable).with_name("imagetrail"))
    stamp = re.search(r"touch (\S+)", project.run("make", "--dry-run", "setup"))
    assert stamp
    (project.root / stamp[1]).touch()  # it is installed
    paint(project.root / "two words")
    printed = project.run("make", "init", "DATA=two words", "MINUTES=90", "KIND=objects")
    assert "24 pictures of 2 classes" in printed
    assert "augment.policy objects" in printed and "90 minutes" in printed


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("nothing", "nothing: no such file or folder"),
        ("empty", "empty: no class folders"),
        ("one", "one: only one class, 'a'"),
        ("few", "few: class dog has 1 picture; at least 3 are needed"),
        ("ftp://x", "ftp://x: no address begins so"),
        ("broken", "broken: none of 6 pictures can be read; a/0.png: "),
        ("notes.txt", "notes.txt is neither a folder nor an archive"),
    ],
)
def test_what_cannot_be_learned_from_is_one_line_and_writes_nothing(
    project: Project, path: str, fault: str
) -> None:
    root = project.root
    (root / "empty").mkdir()
    paint(root / "one", classes="a")
    (paint(root / "few", classes="ab", count=3) / "b").rename(root / "few" / "dog")
    for number in (1, 2):
        (root / "few" / "dog" / f"{number}.png").unlink()
    for kind in "ab":
        (root / "broken" / kind).mkdir(parents=True)
        for number in range(3):
            (root / "broken" / kind / f"{number}.png").write_bytes(b"no picture")
    (root / "notes.txt").write_text("no picture")
    before = {file: file.read_bytes() for file in root.iterdir() if file.is_file()}
    lines = project.imagetrail("init", path, ok=False).splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and fault in lines[0]
    assert {file: file.read_bytes() for file in root.iterdir() if file.is_file()} == before


def test_pictures_that_git_keeps_are_left_to_it(project: Project) -> None:
    paint(project.root / "kept", count=3)
    project.commit()
    before = (project.root / ".gitignore").read_text()
    project.imagetrail("init", "kept")
    assert (project.root / ".gitignore").read_text() == before
    assert subprocess.run(["git", "diff", "--quiet"], cwd=project.root).returncode == 1
