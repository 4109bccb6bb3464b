"""A training is known by what decides how it goes, done once, and kept as long as it is of use."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grimp
import pytest
from project import ROOT
from safetensors.torch import save_file

from imagetrail.base import paths, pipeline
from imagetrail.base.samples import Samples
from imagetrail.training import checkpoints
from imagetrail.training.data import FOLDERS
from imagetrail.training.jobs import (
    BEGUN,
    CHECKPOINT,
    DECISIVE,
    HISTORY,
    ROOMS,
    Job,
    decisive,
    train,
    train_all,
)
from imagetrail.training.recipe import Recipe

RECIPE = Recipe(model="linear", activation="relu", epochs=3, lr=0.1)


@pytest.fixture
def ask(
    toy: Callable[..., Samples], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Job]:
    """`ask(stage, facts, until)` has a stage ask for a training in a folder with toy images."""
    monkeypatch.chdir(tmp_path)
    for folder in FOLDERS:
        toy(folder.as_posix())
    paths.PRETRAINED.parent.mkdir(parents=True)
    save_file({}, paths.PRETRAINED)
    inputs = {"where": str(tmp_path)}  # another folder has other images

    def make(stage: str = "tune", facts: str = "some", until: int = 3) -> Job:
        return Job(inputs, RECIPE, None, 0, until, checkpoints.folder(stage, facts))

    return make


def test_the_rooms_that_decide_are_those_that_a_training_imports() -> None:
    graph = grimp.build_graph("imagetrail", cache_dir=None)
    modules = graph.find_upstream_modules("imagetrail.training.jobs")
    assert {module.split(".")[1] for module in modules} == set(ROOMS)


@pytest.mark.parametrize("stage", ["tune", "compare"])
def test_stages_that_train_depend_on_all_that_decides(stage: str) -> None:
    deps = pipeline.stages(ROOT)[stage].deps
    assert set(DECISIVE) - {paths.REQUIREMENTS.as_posix()} <= set(deps)
    data = {dep for dep in deps if dep.startswith("data/")}
    assert data == {folder.as_posix() for folder in FOLDERS}


def test_another_recipe_or_code_that_trains_is_another_training_and_code_of_a_stage_is_not(
    ask: Callable[..., Job],
) -> None:
    inputs = dict.fromkeys((*DECISIVE, "src/imagetrail/stages/tune"), "as it is")
    job = replace(ask(), inputs=decisive(inputs))
    assert replace(job, inputs=decisive(inputs | {"src/imagetrail/stages/tune": "x"})) == job
    others = [
        *(replace(job, inputs=decisive(inputs | {path: "changed"})) for path in DECISIVE),
        replace(job, recipe=RECIPE.model_copy(update={"lr": 0.2})),
        replace(job, images=10),
        replace(job, seed=1),
    ]
    assert len({other.folder for other in (job, *others)}) == 1 + len(others)


def test_a_training_in_parts_is_that_at_once_and_leaves_no_checkpoint_at_its_end(
    ask: Callable[..., Job],
) -> None:
    job = ask()
    whole = train(job)
    assert not (job.folder / CHECKPOINT).exists()
    (job.folder / HISTORY).unlink()
    for until in (1, 2, 3):
        assert whole and train(ask(until=until)) == whole[:until]
        assert (job.folder / CHECKPOINT).exists() == (until < 3)


def test_what_a_search_has_trained_a_comparison_does_not_train_again(
    ask: Callable[..., Job],
) -> None:
    searched, compared = ask("tune", until=2), ask("compare", until=2)
    rows, written = train(searched), (searched.folder / HISTORY).stat().st_mtime_ns
    assert train(compared) == rows
    assert (compared.folder / HISTORY).stat().st_mtime_ns == written
    assert compared.times() == searched.times()


def test_a_training_that_another_process_is_at_is_waited_for_until_it_ends_or_is_killed(
    ask: Callable[..., Job],
) -> None:
    job = ask()
    job.folder.mkdir(parents=True)
    held = "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX)"
    command = [sys.executable, "-c", f"{held}; print(flush=True); input()", job.folder / BEGUN]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as other, ThreadPoolExecutor() as pool:
        other.stdout.readline()
        waiting = pool.submit(train, job)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=1)
        assert not (job.folder / HISTORY).exists()
        other.kill()
        assert len(waiting.result(timeout=60)) == 3


def test_a_training_is_kept_as_long_as_a_state_that_has_asked_for_it(
    ask: Callable[..., Job],
) -> None:
    job, shared = ask("tune", "0"), replace(ask("tune", "0"), seed=1)
    asked = (job, shared, replace(shared, state=ask("compare").state))
    train_all(asked)  # workers begin when its results are wanted
    for each in asked:
        train(each)
    for number in range(1, checkpoints.KEPT):
        ask("tune", str(number))
        assert job.folder.exists()
    os.utime(job.state, (0, 0))  # the oldest
    ask("tune", "one more")
    assert not job.state.exists() and not job.folder.exists()
    assert shared.folder.exists()
