import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from imagetrail.base import params
from imagetrail.base.errors import UserError
from imagetrail.base.lookup import alternatives, choose, names_in
from imagetrail.base.params import Section
from imagetrail.data.params import Data
from imagetrail.stages.export.params import Export
from imagetrail.training.recipe import Recipe

SOURCES = Path(params.__file__).parents[1]
TABLES = sorted(
    table
    for path in SOURCES.rglob("*.py")
    for table in re.findall(r'"(imagetrail\.[\w.]+:[A-Z]+)"', path.read_text())
)

GOOD = {"model": "fast", "activation": "relu", "epochs": "3", "lr": "1e-3"}


def write(tmp_path: Path, **changes: str | None) -> Path:
    lines = [f"  {key}: {value}" for key, value in (GOOD | changes).items() if value is not None]
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(["recipe:", *lines]))
    return path


def test_a_section_arrives_typed_and_frozen(tmp_path: Path) -> None:
    recipe = params.load(Recipe, "recipe", write(tmp_path))
    assert recipe == Recipe(
        model="fast", activation="relu", epochs=3, lr=0.001
    )  # YAML reads 1e-3 as a string
    with pytest.raises(ValidationError, match="frozen"):
        recipe.lr = 1.0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"widht": "2"},
            "recipe.widht: unknown key; did you mean 'width'? choose from activation, augmented, ",
        ),
        (
            {"model": "fst"},
            "recipe.model: unknown model 'fst'; did you mean 'fast'? choose from airbench, ",
        ),
        ({"epochs": "0"}, "recipe.epochs: input should be greater than or equal to 1, not 0"),
        (
            {"epochs": "many"},
            "recipe.epochs: input should be a valid integer, unable to parse string as an integer, "
            "not 'many'",
        ),
        ({"lr": ".inf"}, "recipe.lr: input should be a finite number, not inf"),
        ({"lr": None}, "recipe.lr: missing"),
        ({"lr": None, "lrr": "1"}, "recipe.lrr: unknown key; did you mean 'lr'? choose from "),
        (
            {"batch_size": "1000000000000"},
            "recipe.batch_size: input should be less than or equal to 1000000, not 1000000000000",
        ),
    ],
)
def test_a_wrong_param_is_one_line_that_says_where_what_and_what_would_be_right(
    tmp_path: Path, changes: dict[str, str | None], line: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(UserError) as caught:
        params.load(Recipe, "recipe", path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        params.load(Recipe, "recipe", write(tmp_path, lr=None, epochs="0", colour="red"))
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "recipe.colour",
        "recipe.lr",
        "recipe.epochs",
    ]


def test_a_misspelt_key_inside_a_section_is_not_missing_as_well() -> None:
    budget = {"max_ms": None, "max_mbs": 1, "max_loss": None}
    values = {"tolerance": 0.1, "calibration": 1, "student": None, "budget": budget}
    with pytest.raises(UserError) as caught:
        params.check(Export, values, "export")
    assert str(caught.value) == (
        "export.budget.max_mbs: unknown key; did you mean 'max_mb'? choose from max_mb"
    )


def test_a_renamed_key_is_one_line_with_its_new_name() -> None:
    class Renamed(Section):
        renamed = {"cures": "remedies"}  # noqa: RUF012
        remedies: int

    with pytest.raises(UserError) as caught:
        params.check(Renamed, {"cures": 1}, "compare")
    assert str(caught.value) == "compare.cures: is called remedies now"


@pytest.mark.parametrize("table", TABLES)
def test_names_read_from_a_tables_source_are_its_keys(table: str) -> None:
    module, variable = table.split(":")
    assert names_in(table) == tuple(getattr(import_module(module), variable))


def test_every_family_of_the_recipe_is_among_the_tables() -> None:
    variables = {table.split(":")[1] for table in TABLES}
    families = {"MODELS", "ACTIVATIONS", "INITIALISATIONS", "OPTIMISERS", "SCHEDULES"}
    assert variables >= families | {"DATASETS", "SYNTHESISERS", "SAMPLERS", "PRUNERS", "COSTS"}


def test_dots_lead_to_a_section_inside_a_section(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("tune:\n  space:\n    lr: 0.1\n")
    assert params.load(float, "tune.space.lr", path) == 0.1
    for key in ("tune.other.lr", "tune.space.lr.deeper"):
        with pytest.raises(UserError, match=f"params.yaml: {key} is missing"):
            params.load(float, key, path)


DATA = {"name": "digits", "source": "digits", "path": ".", "image_size": 8, "channels": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_size": 7}, "data.image_size: 8 … 512 pixels are wanted, for both sides or as ["),
        ({"image_size": 513}, "data.image_size: 8 … 512 pixels are wanted"),
        ({"image_size": [8, 600]}, "[height, width], not [8, 600]"),
        ({"image_size": [8, 8, 8]}, "data.image_size: 8 … 512"),
        ({"image_size": True}, "data.image_size: 8 … 512"),
        ({"image_size": "small"}, "data.image_size: 8 … 512"),
        ({"name": "my/pets"}, "data.name: wanted are at most 100 letters, digits, -, _ and ., the"),
        ({"name": "x" * 101}, "data.name: wanted are"),
        ({"name": "-x"}, "data.name: wanted are"),
        ({"source": "mnits"}, "data.source: unknown data source 'mnits'; did you mean 'mnist'?"),
        ({"source": "s4://pets"}, "data.source: s4://pets: no address begins so"),
        ({"path": None}, "data.path: a folder or archive is wanted, not None"),
        ({"sha256": "abc"}, "data.sha256: string should match pattern"),
        ({"fit": "squeeze"}, "data.fit: input should be 'crop', 'pad' or 'stretch'"),
    ],
)
def test_a_wrong_choice_of_pictures_is_one_line(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        params.check(Data, DATA | change, "data")
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "write `source: own` and `name: a name of your choice`"),
        ("mnist", "write `source: mnist` and `name: mnist`"),
    ],
)
def test_params_of_before_there_was_a_source_are_told_what_to_write(name: str, words: str) -> None:
    before = {"name": name, "path": ".", "image_size": 8, "channels": 1}
    with pytest.raises(UserError) as caught:
        params.check(Data, before, "data")
    assert str(caught.value).startswith("data: source is missing; ") and words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_address_that_is_refused_is_named_once_and_its_password_never() -> None:
    for source in ("s4://pets", "https://me:secret@host/pets.zip"):
        with pytest.raises(UserError) as caught:
            params.check(Data, DATA | {"source": source}, "data")
        assert str(caught.value).count("pets") == 1 and "secret" not in str(caught.value)


def test_a_picture_may_be_of_any_shape() -> None:
    assert params.check(Data, DATA | {"image_size": [16, 512]}, "data").shape == (16, 512, 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("other: 1", "recipe is missing"),
        ("- a\n- b", "expected `key: value` lines"),
        ("", "expected `key: value` lines"),
        ("recipe: [1,", "not valid YAML"),
        (None, "no such file; run imagetrail in the folder that has params.yaml"),
    ],
)
def test_an_unusable_params_file_is_told_from_a_wrong_param(
    tmp_path: Path, text: str | None, reason: str
) -> None:
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as caught:
        params.load(Recipe, "recipe", path)
    assert str(caught.value).startswith(f"{path}: {reason}") and "\n" not in str(caught.value)


def test_a_failed_look_up_lists_the_choices_and_guesses_only_when_near() -> None:
    table = {"relu": 1, "elu": 2}
    assert choose(table, "elu", "activation") == 2
    with pytest.raises(
        UserError, match=r"^unknown activation 'rleu'; did you mean 'relu'\? choose from elu, relu$"
    ):
        choose(table, "rleu", "activation")
    assert alternatives("daten", ["data", "gate"]).startswith("did you mean 'data'? ")
    assert alternatives("xyz", table) == "choose from elu, relu"
