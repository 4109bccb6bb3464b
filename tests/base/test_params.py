from pathlib import Path

import pytest
from pydantic import ValidationError

from imagetrail.base import params
from imagetrail.base.errors import UserError
from imagetrail.base.lookup import alternatives, choose
from imagetrail.data.datasets import Data
from imagetrail.training.recipe import Recipe

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
            "recipe.model: unknown model 'fst'; did you mean 'fast'? choose from article, ",
        ),
        ({"epochs": "0"}, "recipe.epochs: input should be greater than or equal to 1, not 0"),
        (
            {"epochs": "many"},
            "recipe.epochs: input should be a valid integer, unable to parse string as an integer, "
            "not 'many'",
        ),
        ({"lr": ".inf"}, "recipe.lr: input should be a finite number, not inf"),
        ({"lr": None}, "recipe.lr: missing"),
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
        "recipe.epochs",
        "recipe.lr",
        "recipe.colour",
    ]


def test_dots_lead_to_a_section_inside_a_section(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("tune:\n  space:\n    lr: 0.1\n")
    assert params.load(float, "tune.space.lr", path) == 0.1
    for key in ("tune.other.lr", "tune.space.lr.deeper"):
        with pytest.raises(UserError, match=f"params.yaml: {key} is missing"):
            params.load(float, key, path)


@pytest.mark.parametrize("size", [7, 225])
def test_image_size_stays_within_8_to_224(size: int) -> None:
    with pytest.raises(UserError, match=r"data\.image_size: input should be"):
        params.check(
            Data, {"name": "digits", "path": ".", "image_size": size, "channels": 1}, "data"
        )


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
    assert alternatives("xyz", table) == "choose from elu, relu"
