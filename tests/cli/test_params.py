"""`imagetrail params`: every mistake of the file at once, without what only training needs."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
import yaml
from photos import animals
from project import ROOT, Project

from imagetrail.base.errors import UserError
from imagetrail.base.params import Section, check
from imagetrail.cli.params import SECTIONS, check_all


def write(tmp_path: Path, **changes: Any) -> Path:
    """params.yaml with other values in some sections; None leaves a section out."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, change in changes.items():
        if isinstance(change, dict) and section in values:
            values[section] |= change
        else:
            values[section] = change
    path = tmp_path / "params.yaml"
    path.write_text(
        yaml.safe_dump({key: value for key, value in values.items() if value is not None})
    )
    return path


def faults(path: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        check_all(path)
    return [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]


def test_the_command_says_in_one_line_that_all_is_valid_and_loads_no_torch(tmp_path: Path) -> None:
    write(tmp_path)
    code = (
        "import sys; from imagetrail.cli.main import app; app(['params'], standalone_mode=False); "
        "sys.exit(bool({'torch', 'mlflow', 'optuna'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"params.yaml: all {len(SECTIONS)} sections are valid\n"


def test_a_misspelt_section_is_unknown_and_not_missing_as_well(tmp_path: Path) -> None:
    (line,) = faults(write(tmp_path, gate=None, gates={}))
    assert line.startswith("unknown section 'gates'; did you mean 'gate'? choose from audit, ")


def test_a_share_of_the_training_for_the_head_alone_is_a_choice_now(tmp_path: Path) -> None:
    (line,) = faults(write(tmp_path, recipe={"probe": 0.5}))
    assert line == "recipe.probe: is called fine_tune now"


def test_a_section_left_out_is_missing(tmp_path: Path) -> None:
    assert faults(write(tmp_path, gate=None)) == ["gate is missing"]


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_no_generator_takes_is_refused(tmp_path: Path, seed: int) -> None:
    (line,) = faults(write(tmp_path, seed=seed))
    assert line.startswith("seed: input should be ")


def test_mistakes_between_sections_are_all_found_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        data={"name": "pictures", "source": "own", "path": "/nowhere"},
        augment={"policy": "digit"},
        pretrain={"weights": "imagenet"},
        synthesise={"per_class": 0},
    )
    places = ("data.path", "augment.policy", "pretrain.weights", "tune.space")
    found = faults(path)
    assert len(found) == len(places)
    assert all(place in line for place, line in zip(places, found, strict=True))


def test_pictures_that_cannot_be_used_are_told_before_anything_runs(tmp_path: Path) -> None:
    (animals(tmp_path / "pets") / os.fsdecode(b"caf\xe9")).mkdir()
    own = {"name": "pets", "source": "own", "path": str(tmp_path / "pets")}
    (line,) = faults(write(tmp_path, data=own))
    assert line == f"data.path: {tmp_path}/pets: caf\\xe9: the name is not UTF-8; rename it"


def test_a_share_that_nobody_makes_is_one_line_where_it_stands(tmp_path: Path) -> None:
    none = {"remedies": {"epochs": 1, "images": None, "tried": {}}}
    path = write(tmp_path, recipe={"related": 0.2}, compare=none)
    assert faults(path) == [
        "recipe: takes a share of 0.2 related images, but pretrain.related makes none of these "
        "classes"
    ]


def sections(kind: type[Section] = Section) -> list[type[Section]]:
    """Every section, those within others too."""
    return [inner for each in kind.__subclasses__() for inner in (each, *sections(each))]


@pytest.mark.parametrize("kind", sections(), ids=lambda kind: kind.__name__)
def test_every_field_of_every_section_is_described(kind: type[Section]) -> None:
    assert [key for key, field in kind.model_fields.items() if not field.description] == []


def test_a_wrong_param_is_one_line_for_each_and_no_traceback(tmp_path: Path) -> None:
    made = Project(tmp_path)
    made.set(data={"source": "cifar"}, gate={"alpha": 2})
    said = made.imagetrail("params", ok=False).splitlines()
    assert len(said) == 2 and said[0].startswith(
        "error: params.yaml: data.source: unknown data source 'cifar'"
    )
    assert said[1].startswith("error: params.yaml: gate.alpha: input should be less than")


# ---- values that no run could mean ----


Number = tuple[tuple[str, ...], Sequence[Any]]


def numbers(kind: Any, place: tuple[str, ...], rules: Sequence[Any] = ()) -> Iterator[Number]:
    """Every number that may be at a place of params.yaml, and the rules that bound it."""
    parts = get_args(kind)
    if get_origin(kind) is Annotated:
        yield from numbers(parts[0], place, [*rules, *parts[1:]])
    elif get_origin(kind) in (Union, UnionType):
        for part in parts:
            yield from numbers(part, place, rules)
    elif get_origin(kind) in (list, dict, tuple):
        for part in parts:
            yield from numbers(part, (*place, "…"))
    elif isinstance(kind, type) and issubclass(kind, Section):
        for name, field in kind.model_fields.items():
            yield from numbers(field.annotation, (*place, name), field.metadata)
    elif kind in (int, float):
        inner = [one for rule in rules for one in getattr(rule, "metadata", [rule])]
        yield place, inner


BOUNDED_ELSEWHERE = {  # by a rule of its own; as a field of the recipe
    ("data", "image_size"),
    ("data", "image_size", "…"),
    ("compare", "remedies", "tried", "…"),
    ("tune", "space", "…", "low"),
    ("tune", "space", "…", "high"),
}


def test_every_number_has_a_least_and_a_largest_value() -> None:
    found = [each for name, kind in SECTIONS.items() for each in numbers(kind, (name,))]
    ends = (("ge", "gt"), ("le", "lt"))
    open_ended = {
        place
        for place, rules in found
        if not all(any(hasattr(rule, name) for rule in rules for name in end) for end in ends)
    }
    assert len(found) > 80 and open_ended == BOUNDED_ELSEWHERE


ABSURD: list[Any] = [
    10**12,
    -1,
    10**30,
    10**5000,
    1e300,
    "$(reboot)",
    "x" * 500,
    ["../"] * 1000,
    {"a": {"b": "c"}},
    [[[[[[]]]]]],
]


OURS = yaml.safe_load((ROOT / "params.yaml").read_text())
OURS["recipe"]["epochs"] = 1  # each stage has its own


def changed(section: str, key: str, value: Any) -> Any:
    """What a section holds, with another value in it."""
    return OURS[section] | {key: value} if key else value


def places() -> Iterator[tuple[str, str]]:
    for name, kind in SECTIONS.items():
        yield from ((name, key) for key in getattr(kind, "model_fields", {"": None}))


@pytest.mark.parametrize(("section", "key"), places())
def test_absurd_values_are_refused_in_few_short_lines(section: str, key: str) -> None:
    """Most of them: a list or a name may be right in itself, and is checked beside the others."""
    refused = 0
    for value in ABSURD:
        try:
            check(SECTIONS[section], changed(section, key, value), section)
        except UserError as error:
            refused += 1
            said = str(error).splitlines()
            assert len(said) <= 21 and all(len(line) < 1000 for line in said)
            assert all(line.startswith(section) for line in said)
    assert refused >= 7


@pytest.mark.parametrize(
    "changes",
    [
        {"augment": {"policy": "x" * 500}},
        {"augment": {"policy": [{"PadIfNeeded": {"min_height": 10**7, "min_width": 10**7}}]}},
        {"augment": {"policy": [{"Blur": {"blur_limit": 10**9}}]}},
        {"augment": {"policy": [{"$(reboot)": {}}]}},
        {"tune": {"space": {"lr": [10**400]}}},
        {"tune": {"space": {"lr": {"low": 1e-3, "high": 1e300}}}},
        {"tune": {"space": {"width": {"by": "x" * 500}}}},
        {"tune": {"known": [{"lr": "$(reboot)"}]}},
        {"pretrain": {"weights": "x" * 200}},
        {"data": {"source": "own", "path": "x" * 200}},
        {"compare": {"remedies": {"epochs": 1, "images": None, "tried": {"<b>": 0.1}}}},
    ],
    ids=lambda changes: ".".join((name := next(iter(changes)), next(iter(changes[name])))),
)
def test_absurd_values_beside_others_are_refused_each_in_one_short_line(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    said = faults(write(tmp_path, **changes))
    assert len(said) == 1 and len(said[0]) < 1000


MARKED = ("<b>", "a|b", "a'b", "`x`", "\x1b[31m", "a\nb", "=1+1", "x" * 101)
PLAIN = ("Größe [mm]", "3 × 3", "lr 0.1, adamw", "50 %", "a/b", "狗")


def named(where: str, name: str) -> None:
    """Raises UserError if nothing in params.yaml may be called so."""
    length = {"epochs": 1, "images": None}
    arms = {"a": {}, name if where == "arm" else "b": {}}
    sets = {name if where == "set" else "x": length | {"reference": "a", "arms": arms}}
    check(SECTIONS["compare"], changed("compare", "sets", sets), "")
    slices = [name] if where == "slice" else []
    check(SECTIONS["evaluate"], changed("evaluate", "slices", slices), "")


@pytest.mark.parametrize("where", ["set", "arm", "slice"])
def test_names_that_reports_tables_or_mlflow_would_take_for_more_are_refused(where: str) -> None:
    for name in MARKED:
        with pytest.raises(UserError, match="a name of at most 100 characters is wanted"):
            named(where, name)
    for name in PLAIN:
        named(where, name)


@pytest.mark.parametrize(
    "text",
    [
        "seed: 2024-13-45",
        "seed: " + "1" * 5000,
        "seed: " + "[" * 5000,
        "seed: !!python/object/apply:os.system [touch pwned]",
        "{[1]: 2}",
        "seed: \x1b[31m",
        "seed: &a [*a]",
        "seed: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
        + "\n".join(f"l{i}: &l{i} [*{'c' if not i else f'l{i - 1}'}, *c]" for i in range(99)),
        "\x00",
        "- a",
        "",
    ],
)
def test_yaml_that_means_harm_or_nothing_is_one_line_each(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    said = faults(tmp_path / "params.yaml")
    assert all(len(line) < 1000 for line in said)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


REMEDIES = {"epochs": 1, "images": None}


def contest(reference: str, name: str = "x", **arms: dict[str, Any]) -> dict[str, Any]:
    """A change of params: one set of arms to compare."""
    return {
        "compare": {
            "sets": {name: {"epochs": 1, "images": None, "reference": reference, "arms": arms}}
        }
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"recipe": {"activation": "rleu"}},
            ["recipe.activation: unknown activation 'rleu'; did you mean 'relu'?"],
        ),
        ({"recipe": {"epochs": 3}}, ["recipe.epochs", "train.epochs"]),
        (
            {"split": {"vaild": 0.1}},
            ["split.vaild: unknown key; did you mean 'valid'? choose from folds, per_class, "],
        ),
        (
            contest("gelu", relu={}, tanh={}),
            ["compare.sets.x: reference must be one of the arms relu, tanh, got 'gelu'"],
        ),
        (
            contest("a", a={}, b={"synthetic": 0.1}) | {"synthesise": {"per_class": 0}},
            ["arm b", "synthesise.per_class"],
        ),
        (
            contest("a", a={}, b={"augmented": 0.6, "synthetic": 0.6}),
            ["set x, arm b", "is 1.2; at most 1"],
        ),
        (contest("a", a={}, b={}, name=" "), ["compare.sets", "a name of at most", "got ' '"]),
        ({"pretrain": {"weights": "../../x.safetensors"}}, ["pretrain.weights", "leads out of"]),
        ({"pretrain": {"weights": "/etc/passwd"}}, ["pretrain.weights", "leads out of"]),
        ({"data": {"path": "a\x1b[31m"}}, ["data.path: the path has a control character"]),
        (contest("a", a={}, b={}, name="remedies"), ["compare.remedies makes"]),
        (
            {"compare": {"remedies": REMEDIES | {"tried": {"augmentd": 0.1}}}},
            ["compare.remedies.tried", "no field augmentd"],
        ),
        (
            {"compare": {"remedies": REMEDIES | {"tried": {"flip": False}}}},
            ["compare.remedies.tried.flip"],
        ),
        ({"tune": {"rungs": [3, 1]}}, ["rungs must be rising"]),
        ({"tune": {"space": {"widht": [1.0]}}}, ["tune.space.widht", "width"]),
        ({"tune": {"space": {"augmented": [0, 1.4]}}}, ["tune.space.augmented"]),
        (
            contest("relu", relu={}, s={"activation": "sigmoide"}),
            ["compare.sets.x.arms.s", "did you mean 'sigmoid'?"],
        ),
        ({"pretrain": {"related": ["mnits"]}}, ["did you mean 'mnist'?"]),
        (
            {"evaluate": {"unknown": "mnits"}},
            ["evaluate.unknown: unknown data set 'mnits'; did you mean 'mnist'?"],
        ),
        (
            {"evaluate": {"unknown": "fashion-mnist"}},
            ["evaluate.unknown", "a published data set other than"],
        ),
        (
            {"evaluate": {"unknown": "digits"}, "pretrain": {"related": ["digits"]}},
            ["evaluate.unknown: 'digits' is among pretrain.related"],
        ),
        ({"evaluate": {"corrupted": 0}}, ["evaluate.corrupted"]),
        (
            {"data": {"name": "pictures", "source": "own", "path": "/nowhere"}},
            ["data.path: /nowhere does not exist"],
        ),
        (
            {"augment": {"policy": [{"HorizontalFlop": {}}]}},
            ["unknown transform", "did you mean 'HorizontalFlip'?"],
        ),
        ({"augment": {"policy": [{"HorizontalFlip": {"prob": 1}}]}}, ["HorizontalFlip", "prob"]),
        (
            {"augment": {"policy": [{"ChannelDropout": {}}]}},
            ["augment.policy", "ChannelDropout needs 3 channels"],
        ),
    ],
)
def test_a_wrong_param_is_told_before_anything_runs(
    tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    Project(tmp_path).set(**changes)
    with pytest.raises(UserError) as caught:
        check_all(tmp_path / "params.yaml")
    assert all(word in str(caught.value) for word in words)


def test_a_network_too_deep_for_the_pictures_is_refused_wherever_it_is_named(
    tmp_path: Path,
) -> None:
    data = {"source": "digits", "image_size": [8, 32]}
    article = {"recipe": {"model": "article"}, "tune": {"space": {"model": ["fast", "article"]}}}
    assert faults(write(tmp_path, data=data, **article)) == [
        "recipe: model 'article' needs data.image_size 10 or more, not 8",
        "tune.space.model: model 'article' needs data.image_size 10 or more, not 8",
    ]
    assert faults(write(tmp_path, data=data)) == [
        "compare, set networks, arm article: model 'article' needs data.image_size 10 or more, "
        "not 8"
    ]
    check_all(write(tmp_path, data=data | {"image_size": [10, 32]}, **article))
    lite = {"recipe": {"model": "efficientnet_lite0", "enlarge": 4}}
    assert faults(write(tmp_path, data=data, **lite)) == [
        "recipe: model 'efficientnet_lite0' needs data.image_size 33 or more, not 8 times enlarge 4"
    ]
    searched = {"recipe": {"model": "article", "enlarge": 2}, "tune": {"space": {"enlarge": [1]}}}
    assert faults(write(tmp_path, data=data, **searched)) == [
        "tune.space.enlarge: model 'article' needs data.image_size 10 or more, not 8 times "
        "enlarge 1"
    ]
    assert faults(write(tmp_path, data=data, recipe={"enlarge": 33})) == [
        f"{where}: a network sees 1024 pixels a side at most, not data.image_size 32 times "
        "enlarge 33"
        for where in ("recipe", "compare, set networks, arm article")
    ]
