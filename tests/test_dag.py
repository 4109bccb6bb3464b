"""The rules of the house: dvc.yaml says what the code does, and the test split stays out of sight."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import grimp
import pytest

from imagetrail.base import pipeline
from imagetrail.cli.main import STAGES

ROOT = Path(__file__).parent.parent
SOURCE = "src/imagetrail/"
OBSERVERS = {
    "imagetrail.tracking.live",
    "imagetrail.tracking.store",
}  # alter no outs
NO_TORCH = ["fetch", "inspect", "split", "augment", "gate", "report"]


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("imagetrail", cache_dir=None)


def closure(stage: str) -> set[str]:
    seen: set[str] = set()
    todo = [f"imagetrail.stages.{stage}.stage"]
    while todo:
        module = todo.pop()
        if module not in seen | OBSERVERS:
            seen.add(module)
            todo += graph().find_modules_directly_imported_by(module)
    return {f"src/{module.replace('.', '/')}.py" for module in seen} - {f"{SOURCE}__init__.py"}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_exactly_what_the_stage_imports(stage: str) -> None:
    listed = {dep for dep in pipeline.stages(ROOT)[stage].deps if dep.startswith(SOURCE) and dep.endswith(".py")}
    assert listed == closure(stage), "dvc.yaml: add or remove these deps"


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_exactly_what_the_stage_loads(stage: str) -> None:
    modules = [ROOT / path for path in closure(stage)]
    loaded = {
        key
        for path in modules
        if path.name == "stage.py" or path.parts[-2:] == ("training", "data.py")
        for key in _loads(path)
    }
    assert set(pipeline.stages(ROOT)[stage].params) == loaded


def _loads(path: Path) -> set[str]:
    """The sections that a module asks `load` for."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "load" and len(call.args) > 1]
    return {call.args[1].value for call in named if isinstance(call.args[1], ast.Constant)}


def test_every_stage_of_the_command_line_is_in_the_pipeline() -> None:
    assert list(pipeline.stages(ROOT)) == list(STAGES)


def test_only_what_judges_reads_the_test_split() -> None:
    readers = {name for name, stage in pipeline.stages(ROOT).items() if "data/split/test" in stage.deps}
    assert readers == {"evaluate", "explain", "export", "gate"}


def test_what_makes_images_sees_train_only() -> None:
    for stage in ("augment", "synthesise"):
        data = {dep for dep in pipeline.stages(ROOT)[stage].deps if dep.startswith("data/")}
        assert data == {"data/split/train"}


def test_no_stage_reads_what_a_clock_said() -> None:
    assert not [dep for stage in pipeline.stages(ROOT).values() for dep in stage.deps if dep.endswith(pipeline.OBSERVATIONS)]


def test_uncached_outs_are_metrics_or_plots_only() -> None:
    """Any other uncached out would switch a stage's run-cache off."""
    text = (ROOT / "dvc.yaml").read_text()
    for outs in re.findall(r"^    outs:\n((?:      .*\n)+)", text, re.MULTILINE):
        assert "cache: false" not in outs


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
    assert cached and not [path for path in tracked if path in cached or path.startswith(tuple(f"{out}/" for out in cached))]


@pytest.mark.parametrize("stage", NO_TORCH)
def test_stages_that_need_no_torch_do_not_load_it(stage: str) -> None:
    loaded = f"import sys, imagetrail.cli.main, imagetrail.stages.{stage}.stage"
    code = f"{loaded}; sys.exit(bool({{'torch', 'mlflow'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
