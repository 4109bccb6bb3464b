"""`mlflow models serve` on the champion, and the very request that the README shows."""

import hashlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow_store import free_port, serving
from PIL import Image
from project import ROOT
from tiny_onnx import noise, write

from imagetrail.serving import onnx_model
from imagetrail.tracking.store import open_store

README = (ROOT / "README.md").read_text()
SECTION = README.split("## Using the model")[1].split("\n## ")[0]
SIDE = 8


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where a champion is served, by the README's command, from a registry on sqlite."""
    (tmp_path / "params.yaml").write_text("data: {name: fashion-mnist}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    path = write(tmp_path / "model.onnx", noise(side=SIDE))
    store = open_store(tmp_path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    store.register("fashion-mnist", sha256, path, alias="champion", description="the best so far")

    port = free_port()
    shown = re.search(r"^mlflow (models serve .*)$", SECTION, re.MULTILINE)
    assert shown
    with serving(*shown[1].replace("5001", str(port)).split(), port=port, folder=tmp_path):
        yield f"127.0.0.1:{port}"


def test_the_request_of_the_readme_gets_the_probabilities_of_the_onnx_file(
    address: str, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    Image.fromarray(image).save(tmp_path / "shoe.jpg", "PNG")
    shown = re.search(r"```python\n(.*?)```", SECTION, re.DOTALL)
    assert shown
    code = shown[1].replace("127.0.0.1:5001", address).replace("28, 28, 1", f"{SIDE}, {SIDE}, 1")
    said: dict[str, object] = {}
    exec(code, said)
    expected = onnx_model.load(tmp_path / "model.onnx").predict(image[None, ..., None])
    assert np.array(said["answers"]) == pytest.approx(expected, abs=1e-6)

    for wrong in (
        [[[[0]]]],
        np.zeros((1, SIDE, SIDE, 3), int).tolist(),
        "hello",
    ):  # no answer beats a wrong one
        body = json.dumps({"inputs": {"images": wrong}}).encode()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(
                urllib.request.Request(
                    f"http://{address}/invocations", body, {"Content-Type": "application/json"}
                )
            )
        assert refused.value.code == 400
