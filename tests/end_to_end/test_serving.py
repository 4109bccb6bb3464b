"""`mlflow models serve` on the champion, and the very request that the docs show."""

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pages
import pytest
from mlflow_store import free_port, serving
from PIL import Image
from tiny_onnx import noise, write

from imagetrail.serving import onnx_model
from imagetrail.tracking.opening import open_store
from imagetrail.tracking.registry import Exported, register

SHOWN = pages.blocks("docs/use/serving.md")
SIDE = 8
pytestmark = pytest.mark.slow


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where a champion is served, by the command of the docs, from a registry on sqlite."""
    (tmp_path / "params.yaml").write_text("data: {name: fashion-mnist}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    path = write(tmp_path / "model.onnx", noise(side=SIDE))
    store = open_store(tmp_path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    model = Exported(path, sha256, "the best so far", tags={}, images=tmp_path / "none.npy")
    register(store, "fashion-mnist", model, alias="champion")

    port = free_port()
    (shown,) = [line for block in SHOWN for line in block.commands if line.startswith("mlflow ")]
    words = shown.replace("5001", str(port)).split()[1:]
    with serving(*words, port=port, folder=tmp_path):
        yield f"127.0.0.1:{port}"


def test_the_request_of_the_docs_gets_the_probabilities_of_the_onnx_file(
    address: str, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    Image.fromarray(image).save(tmp_path / "shoe.jpg", "PNG")
    (shown,) = [
        block.code
        for block in SHOWN
        if "127.0.0.1:5001" in block.code and block.language == "python"
    ]
    code = shown.replace("127.0.0.1:5001", address).replace("28, 28, 1", f"{SIDE}, {SIDE}, 1")
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
