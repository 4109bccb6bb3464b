"""Classes and files may be called anything: a whole run, read where users read it."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from project import Project
from sklearn.datasets import load_digits
from tests.end_to_end.conftest import FILES, SMALL

pytestmark = pytest.mark.slow
ODD = ["a b", "c,d", 'e"f', "<b>g&amp;", "猫", "-x", "null", "true", "=1+1", "$5_to_$10"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("names"))
    made.init()
    made.take(*FILES)
    digits = load_digits()
    for i, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        file = made.root / "pictures" / ODD[label] / f"it's {i} #%?.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype("u1")).save(file)
    own = {"name": "odd", "source": "own", "path": "pictures", "image_size": 8}
    made.set(**SMALL | {"data": own})
    made.dvc("repro")
    made.imagetrail("publish")
    return made


def test_the_report_shows_every_name(run: Project) -> None:
    page = (run.root / "artifacts/report/index.html").read_text()
    for shown in ("c,d", "e&#34;f", "&lt;b&gt;g&amp;amp;", "猫", "-x", "=1+1", "$5_to_$10"):
        assert f"<td>{shown}</td>" in page


def test_tables_have_every_name(run: Project) -> None:
    folder = run.root / "artifacts/evaluate"
    with (folder / "confusion.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == set(ODD)
    assert sum(int(row["images"]) for row in rows) == run.json("evaluate/metrics.json")["n"]
    assert {row["class"] for row in run.json("evaluate/classes.json")} == set(ODD)
    columns = pq.read_schema(folder / "predictions.parquet").names
    assert {f"p_{name}" for name in ODD} <= set(columns)
    run.dvc("plots", "show")


def test_predict_answers_with_the_name(run: Project) -> None:
    output = run.imagetrail("predict", "--format", "json", "pictures/猫")
    answers = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert len(answers) == 181
    assert sum(answer["class"] == "猫" for answer in answers) > 150
    assert all(Path(answer["file"]).parent.name == "猫" for answer in answers)


def test_mlflow_calls_experiment_and_model_by_the_name_of_the_data_set(run: Project) -> None:
    client = run.client()
    assert client.get_experiment_by_name("odd") is not None
    assert [model.name for model in client.search_registered_models()] == ["odd"]
