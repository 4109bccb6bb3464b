"""The rules of the house: dvc.yaml says what the code does, the test split stays out of sight."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import grimp
import pytest
import yaml
from project import ROOT

from imagetrail.base import pipeline
from imagetrail.cli.main import STAGES
from imagetrail.stages.evaluate.stage import HEADLINE

SOURCE = "src/imagetrail/"
OBSERVER = "imagetrail.tracking"  # alters no out, so a change to it repeats nothing
NO_TORCH = ["fetch", "inspect", "split", "augment", "weights", "gate", "report"]


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("imagetrail", cache_dir=None)


def closure(stage: str) -> set[Path]:
    """The modules that a stage's code is made of."""
    seen: set[str] = set()
    todo = [f"imagetrail.stages.{stage}.stage"]
    while todo:
        module = todo.pop()
        if module not in seen and not f"{module}.".startswith(f"{OBSERVER}."):
            seen.add(module)
            todo += graph().find_modules_directly_imported_by(module)
    files = [
        ROOT / SOURCE / f"{module.removeprefix('imagetrail.').replace('.', '/')}.py"
        for module in seen
    ]
    return {file for file in files if file.exists()}  # the others are rooms themselves


def room(module: Path) -> str:
    """The folder that a stage depends on: a shared room, or the stage's own below `stages`."""
    inside = module.relative_to(ROOT / SOURCE).parts
    return SOURCE + "/".join(inside[: 2 if inside[0] == "stages" else 1])


MAY_IMPORT = {  # a shared room: the others that it knows; the layers of import-linter allow more
    "base": set(),
    "metrics": {"base"},
    "compute": {"base"},
    "data": {"base"},
    "plots": {"base"},
    "release": {"base", "compute"},
    "models": {"base", "compute"},
    "serving": {"base", "data"},
    "review": {"base", "data", "serving"},
    "service": {"base", "data", "serving"},
    "training": {"base", "compute", "models"},
    "tracking": {"base", "plots", "release"},
}


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_room_knows_no_more_rooms_than_it_may(name: str) -> None:
    modules = graph().find_descendants(f"imagetrail.{name}")
    imported = {
        to for module in modules for to in graph().find_modules_directly_imported_by(module)
    }
    assert {module.split(".")[1] for module in imported} - {name} <= MAY_IMPORT[name]


@pytest.mark.parametrize("stage", STAGES)
def test_rooms_are_exactly_those_that_the_stage_imports_from(stage: str) -> None:
    listed = {dep for dep in pipeline.stages(ROOT)[stage].deps if dep.startswith(SOURCE)}
    assert listed == {room(module) for module in closure(stage)}, (
        "dvc.yaml: add or remove these rooms"
    )


def test_the_pipeline_names_few_rooms_and_no_file_of_code() -> None:
    stages = pipeline.stages(ROOT).values()
    rooms = [dep for stage in stages for dep in stage.deps if dep.startswith("src/")]
    assert len(rooms) <= 5 * len(stages)
    assert all((ROOT / room).is_dir() for room in rooms)


def test_only_fetch_inspect_and_split_know_where_pictures_are_from() -> None:
    """So a changed mirror address, or a mended decoder, repeats nothing if the pictures stay."""
    stages = pipeline.stages(ROOT).items()
    raw = ("src/imagetrail/data", "data/raw", "data/related", "data/unknown")
    readers = {name for name, stage in stages if any(dep.startswith(raw) for dep in stage.deps)}
    assert readers == {"fetch", "inspect", "split", "weights"}  # it asks addresses, as fetch does


def test_a_share_is_written_in_one_way() -> None:
    """92.00 %, by base/words: Python's own format has no space."""
    modules = (ROOT / SOURCE).rglob("*.py")
    assert not [file for file in modules if re.search(r":\.\d%\}", file.read_text())]


def test_package_files_hold_no_code() -> None:
    """They are in no closure, so an edit would repeat nothing."""
    files = [file for file in (ROOT / SOURCE).rglob("__init__.py") if file.parent != ROOT / SOURCE]
    assert files and not [file for file in files if file.read_text()]


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_exactly_what_the_stage_loads(stage: str) -> None:
    modules = (ROOT / SOURCE / f"stages/{stage}").glob("*.py")
    loaded = [_loads(module) for module in modules if module.name != "params.py"]
    used = set().union(*loaded)
    # of a section loaded whole, keys alone may be listed: a change of others repeats nothing
    listed = {
        key if key in used else key.split(".")[0] for key in pipeline.stages(ROOT)[stage].params
    }
    assert listed == used


def _loads(path: Path) -> set[str]:
    """The sections that a module asks `load` for, or those who make a recipe."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = [(call.func.id, call.args) for call in calls if isinstance(call.func, ast.Name)]
    keys = [args[1] for name, args in named if name == "load" and len(args) > 1]
    recipe = {"recipe"} & {name.split("_")[-1] for name, _ in named}
    return {key.value for key in keys if isinstance(key, ast.Constant)} | recipe


def test_every_stage_of_the_command_line_is_in_the_pipeline() -> None:
    assert list(pipeline.stages(ROOT)) == list(STAGES)
    described = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert {name: it["cmd"] for name, it in described.items()} == {
        name: f"exec imagetrail {name}"
        for name in STAGES  # no shell stays between DVC and it
    }


def test_only_what_judges_reads_the_test_split() -> None:
    readers = {
        name for name, stage in pipeline.stages(ROOT).items() if "data/split/test" in stage.deps
    }
    # audit judges labels, and no training reads what it finds: see below
    # of crossvalidate's models none is kept, and report shows the pictures of mistakes
    judges = {"audit", "crossvalidate", "evaluate", "explain", "export", "gate", "report"}
    assert readers == judges


def test_nothing_that_learns_reads_what_audit_found() -> None:
    """It has seen test: the only way from there to a training is a person's correction."""
    found = pipeline.stages(ROOT)["audit"].outs
    readers = {
        name for name, stage in pipeline.stages(ROOT).items() if set(found) & set(stage.deps)
    }
    assert readers <= {"report"}


def test_what_makes_images_sees_train_only() -> None:
    for stage in ("augment", "synthesise"):
        data = {dep for dep in pipeline.stages(ROOT)[stage].deps if dep.startswith("data/")}
        assert data == {"data/split/train"}


def test_no_stage_reads_what_a_clock_said() -> None:
    assert not [
        dep
        for stage in pipeline.stages(ROOT).values()
        for dep in stage.deps
        if dep.endswith(pipeline.OBSERVATIONS)
    ]


def test_uncached_outs_are_metrics_or_plots_only() -> None:
    """Any other uncached out would switch a stage's run-cache off."""
    text = (ROOT / "dvc.yaml").read_text()
    for outs in re.findall(r"^    outs:\n((?:      .*\n)+)", text, re.MULTILINE):
        assert "cache: false" not in outs


def test_metrics_are_what_a_terminal_has_room_for() -> None:
    """`dvc metrics show` makes each key of each such file a column."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    declared = [
        name for stage in stages.values() for file in stage.get("metrics", ()) for name in file
    ]
    columns = ["Path", *sorted(HEADLINE)]
    assert declared == ["artifacts/evaluate/headline.json"] and columns[1] == "accuracy"
    assert sum(max(len(name), 7) + 4 for name in columns[1:]) + len(declared[0]) <= 100


def test_no_cached_out_is_in_git() -> None:
    """DVC refuses to run a stage whose cached out Git holds as well."""
    text = (ROOT / "dvc.yaml").read_text()
    cached = re.findall(
        r"^      - ((?:artifacts|data)/\S+)$",
        "".join(re.findall(r"^    outs:\n((?:      .*\n)+)", text, re.MULTILINE)),
        re.MULTILINE,
    )
    tracked = subprocess.run(
        ["git", "ls-files", "artifacts", "data"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split("\n")
    assert cached and not [
        path
        for path in tracked
        if path in cached or path.startswith(tuple(f"{out}/" for out in cached))
    ]


@pytest.mark.parametrize("stage", NO_TORCH)
def test_stages_that_need_no_torch_do_not_load_it(stage: str) -> None:
    loaded = f"import sys, imagetrail.cli.main, imagetrail.stages.{stage}.stage"
    code = f"{loaded}; sys.exit(bool({{'torch', 'mlflow'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
