"""What people see: MLflow's own pages in a browser, of a repository whose results are published."""

import hashlib
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow_store import runs
from project import kill, wait_for
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from studio import Studio
from tiny_onnx import noise, write

from imagetrail.tracking import ui
from imagetrail.tracking.opening import open_store
from imagetrail.tracking.parts import Part
from imagetrail.tracking.registry import Exported, register

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and shutil.which("chromedriver")), reason="there is no Chromium here"
    ),
]
RECIPE = {"model": "fast", "activation": "gelu", "lr": 0.1, "epochs": 3, "flip": True}


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow sets the variable itself, once a store is open."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")


@contextmanager
def served(studio: Studio) -> Iterator[str]:
    """`imagetrail ui`: the address of the server."""
    process = studio.start("imagetrail", "ui", "--port", "5300")
    try:
        assert process.stdout
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address, line
        assert f"viewStateShareKey={ui.ui_views.FIRST}" in line
        port = int(address[0].rsplit(":", 1)[1])
        wait_for(lambda: not ui._free(port), process)
        yield address[0]
    finally:
        kill(process)


@contextmanager
def browser() -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "window-size=2200,1200",
    ):  # a table draws what is seen
        options.add_argument(f"--{flag}")
    with Chrome(options, ChromeService(shutil.which("chromedriver"))) as made:
        yield made


def sees(page: Chrome, address: str, *texts: str) -> str:
    """The text of a page, once it has all of these."""
    page.get("about:blank")
    page.get(address)
    said = ""
    for _ in range(240):
        said = page.find_element(By.TAG_NAME, "body").text
        if all(text in said for text in texts):
            return said
        time.sleep(0.5)
    raise AssertionError((address, [text for text in texts if text not in said], said))


def published(studio: Studio) -> dict[str, str]:
    """A fifth trial, and a model below the pipeline's run; the runs by name."""
    studio.publish()
    store = open_store(studio.root)
    by_name = {run.info.run_name: str(run.info.run_id) for run in runs(studio.client())}
    tune, (pipeline,) = by_name["tune"], [n for n in by_name if n.startswith("pipeline")]
    curve = [{"epoch": 1, "valid_top1": 0.8, "valid_loss": 1.0, "train_loss": 2.0}]
    store.write(tune, Part("4", "trial 004 · gelu", RECIPE, curve, {"trial": "4"}))
    store.log_metrics(by_name[pipeline], {"test_top1": 0.9123})
    file = write(studio.root / "model.onnx", noise(seed=1))
    model = Exported(
        file,
        hashlib.sha256(file.read_bytes()).hexdigest(),
        "## toy: PROMOTE\n\nIt is **better** than the champion.",
        {"data": "0123abcd.dir", "licence": "CC0-1.0"},
        studio.root / "none.npy",
    )
    register(store, "toy", model, alias="challenger", run=by_name[pipeline])
    return {run.info.run_name: str(run.info.run_id) for run in runs(studio.client())}


def test_pages_show_runs_trials_curves_pictures_and_the_model(studio: Studio) -> None:
    found = published(studio)
    (pipeline,) = [name for name in found if name.startswith("pipeline")]
    trials = [run for name, run in found.items() if name.startswith("trial ")]
    assert len(trials) == 5
    with served(studio) as server, browser() as page:
        page.get(server)
        page.execute_script("localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')")
        table = f"{server}/#/experiments/1/runs?{ui.ui_views.PAGES}&viewStateShareKey="
        sees(page, f"{table}pipelines", pipeline, "test_top1", "0.9123", "Arms: activations")
        sees(page, f"{table}arms-1", "Group: silu", "Group: relu", "difference", "verdict", "win")

        pair = ui.beside("1", trials)
        sees(page, f"{server}/{pair}", "Comparing 5 Runs", "Parallel Coordinates Plot", "gelu")
        run = f"{server}/#/experiments/1/runs/{found['train']}/model-metrics?{ui.ui_views.PAGES}"
        sees(page, run, "valid_top1", "train_loss", "learning_rate")
        picture = f"{server}/#/experiments/1/runs/{found['tune']}/artifacts/pictures/trials.png"
        sees(page, picture, "trials.png")
        WebDriverWait(page, 60).until(
            lambda at: at.execute_script(
                "return [...document.images].some(image => image.naturalWidth > 400)"
            )
        )
        version = f"{server}/#/models/toy/versions/1?{ui.ui_views.PAGES}"
        sees(page, version, "toy: PROMOTE", "challenger", "licence", "CC0-1.0", pipeline)


def test_axes_of_scores_begin_near_the_lowest(studio: Studio) -> None:
    client = studio.client()
    tags = client.get_experiment_by_name("toy").tags
    state = tags["mlflow.sharedViewState.arms-1"]
    ((low, high),) = re.findall(r"yMin\D*([\d.]+)\D*yMax\D*([\d.]+)", state)
    assert 0.8 < float(low) < 0.87 and 0.88 < float(high) < 0.9  # scores are 0.867 … 0.888


def test_one_line_says_where_the_run_is_and_where_it_stands_beside_the_champion(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    alone = ui.where("1", "a", None)
    assert alone == ui.where("1", "a", "a")
    assert alone.endswith("/runs/a?workflowType=machine_learning  (with `imagetrail ui`)")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:secret@mlflow.example.org/")
    both = ui.where("1", "a", "b")
    assert both.count("https://mlflow.example.org/#/") == 2 and "%22a%22%2C%20%22b%22" in both
