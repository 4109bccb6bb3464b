"""`imagetrail status`: which stages are out of date, and for which param, file or room."""

import json
from pathlib import Path

import pytest
from project import Project

from imagetrail.cli.freshness import SMALL, states

DVC_YAML = """stages:
  split:
    cmd: mkdir -p data && cp own/picture data/split
    deps: [own, src/room]
    params: [data.name]
    outs: [data/split]
  train:
    cmd: mkdir -p artifacts/train && cp data/split artifacts/train/model
    deps: [data/split, src/other]
    params: [recipe]
    outs: [artifacts/train/model]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose two stages have run."""
    made = Project(tmp_path_factory.mktemp("ran") / "repo")
    made.init()
    for name in ("own/picture", "src/room/code.py", "src/other/code.py"):
        (made.root / name).parent.mkdir(parents=True, exist_ok=True)
        (made.root / name).write_text(name)
    (made.root / "own/large").write_bytes(bytes(SMALL))
    (made.root / "params.yaml").write_text("data: {name: pets}\nrecipe: {lr: 1e-3, flip: true}\n")
    (made.root / "dvc.yaml").write_text(DVC_YAML)
    made.dvc("repro", "--quiet")
    for stage, name, value in (
        ("train", "timing", {"seconds": 125.2}),
        ("evaluate", "metrics", {"top1": 0.9346, "top1_low": 0.93, "top1_high": 0.94, "n": 10_000}),
        ("gate", "decision", {"decision": "HOLD", "reason": "no gain is shown"}),
    ):
        folder = made.root / "artifacts" / stage
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(value))
    return made


@pytest.fixture
def project(ran: Project, tmp_path: Path) -> Project:
    return ran.copy(tmp_path / "repo")


def told(project: Project) -> list[tuple[str, str]]:
    """The words of both stages, and why."""
    return [(state.word, ", ".join(state.why)) for state in states(project.root)]


def test_the_table_has_states_times_and_the_headline(project: Project) -> None:
    assert project.imagetrail("status").splitlines() == [
        "stage         state      took  why",
        "split         fresh",
        "train         fresh      2:05",
        "all stages are fresh",
        "top-1 93.46 % (93.00 % to 94.00 %) on 10,000 test pictures",
        "HOLD: no gain is shown",
    ]


def test_without_any_result_every_stage_has_yet_to_run(project: Project) -> None:
    (project.root / "dvc.lock").unlink()
    for name in ("artifacts/train/timing.json", "artifacts/evaluate/metrics.json"):
        (project.root / name).write_text("{")  # damaged: no reason to say nothing
    said = project.imagetrail("status").splitlines()
    assert said[1:3] == [
        "split         stale            has not run",
        "train         stale            has not run",
    ]
    assert said[4] == "no model has been judged yet"


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        (
            "params.yaml",
            "data: {name: pets}\nrecipe: {lr: 0.002, flip: true, ema: 0.9}\n",
            [("fresh", ""), ("stale", "recipe.lr 0.001 → 0.002, recipe.ema absent → 0.9")],
        ),
        (
            "params.yaml",
            "data: {name: cars}\nrecipe: {lr: 0.001, flip: true}\n",
            [("stale", "data.name pets → cars"), ("waits", "")],
        ),
        ("src/room/code.py", "else", [("stale", "src/room changed"), ("waits", "")]),
        ("src/other/code.py", "else", [("fresh", ""), ("stale", "src/other changed")]),
        ("src/other/__pycache__/code.pyc", "", [("fresh", ""), ("fresh", "")]),
        ("own/new", "a picture", [("stale", "own changed"), ("waits", "")]),
        (
            "artifacts/train/model",
            "else",
            [("fresh", ""), ("stale", "artifacts/train/model is not as it was made")],
        ),
    ],
)
def test_why_a_stage_is_stale(
    project: Project, file: str, content: str, expected: list[tuple[str, str]]
) -> None:
    (project.root / ".dvcignore").write_text("__pycache__/\n")
    path = project.root / file
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)  # DVC's results may be links into its cache
    path.write_text(content)
    assert told(project) == expected


def test_what_is_gone_is_named(project: Project) -> None:
    (project.root / "data/split").unlink()
    (project.root / "src/other/code.py").unlink()
    (project.root / "src/other").rmdir()
    assert told(project) == [
        ("stale", "data/split is missing"),
        ("stale", "src/other is gone"),
    ]
