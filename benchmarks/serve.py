"""How many answers a second `imagetrail serve` gives, against `mlflow models serve`.

Both serve the same file on this machine, with the clients on the same cores, and answer one picture
a request: ours a PNG or JPEG file, which it decodes, the peer the pixels as JSON, which is what it
takes. 1, 8 or 64 clients ask again as soon as they are answered. The networks (fast for 28×28 grey,
efficientnet_lite0 for 224×224 colour) are untrained: that changes no time. p99: 99 of 100 answers
took no longer. A measurement goes on until as many answers are there as clients.
"""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.onnx  # noqa: TID251  the peer
import numpy as np
import onnx
from harness import HERE, Figure, figure, write
from mlflow.models import infer_signature  # noqa: TID251
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from imagetrail.models.classifier import Classifier
from imagetrail.models.networks import Spec
from imagetrail.stages.export import onnx_export

CLIENTS = (1, 8, 64)
REPEATS = 3
SECONDS = 3.0  # of each measurement
PATIENCE = 120  # seconds for a server to start


@dataclass(frozen=True)
class Case:
    """A network, and a picture as a file for us and as pixels for the peer."""

    name: str
    spec: Spec
    picture: NDArray[np.uint8]  # H×W×C
    format: str


def cases() -> list[Case]:
    photo = Image.fromarray(load_sample_image("flower.jpg")).crop((200, 100, 424, 324))
    small = np.asarray(photo.convert("L").resize((28, 28)))[..., None]
    plain = {"activation": None, "width": 1.0, "dropout": 0.0}
    ten = tuple(str(digit) for digit in range(10))
    grey = Spec("fast", **plain, classes=ten, image_size=28, channels=1, mean=(73.0,), std=(90.0,))
    colour = Spec(
        "efficientnet_lite0",
        **plain,
        classes=ten,
        image_size=224,
        channels=3,
        mean=(127.0,) * 3,
        std=(64.0,) * 3,
    )
    return [
        Case("28", grey, small, "PNG"),
        Case("224", colour, np.asarray(photo), "JPEG"),
    ]


def ours(case: Case) -> dict[str, Any]:
    """What a client sends us."""
    file, pixels = io.BytesIO(), case.picture.squeeze()
    Image.fromarray(pixels).save(file, case.format, quality=90)
    headers = {"Content-Type": f"image/{case.format.lower()}"}
    return {"path": "/predict", "headers": headers, "body": file.getvalue()}


def peer(case: Case) -> dict[str, Any]:
    """What a client sends MLflow."""
    body = json.dumps({"inputs": {"images": [case.picture.tolist()]}}, separators=(",", ":"))
    headers = {"Content-Type": "application/json"}
    return {"path": "/invocations", "headers": headers, "body": body.encode()}


def save_for_peer(file: Path, folder: Path, case: Case) -> None:
    mlflow.onnx.save_model(
        onnx.load(file),
        folder,
        signature=infer_signature({"images": case.picture[None]}),
        save_as_external_data=False,
        onnx_execution_providers=["CPUExecutionProvider"],
        pip_requirements=[],
    )


@contextmanager
def running(command: list[str], port: int, path: str) -> Iterator[None]:
    """A server that answers at `path`."""
    quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
    sink = subprocess.DEVNULL
    process = subprocess.Popen(command, env=quiet, stdout=sink, stderr=sink, process_group=0)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}").close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, 15)  # MLflow starts its server as a child
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def load(port: int, clients: int, request: dict[str, Any]) -> tuple[float, float]:
    """Answers a second, and the 99th percentile of their milliseconds."""
    plan = request | {"host": "127.0.0.1", "port": port, "clients": clients, "seconds": SECONDS}
    plan["body"] = base64.b64encode(request["body"]).decode()
    command = [sys.executable, str(HERE / "serve_load.py")]
    done = subprocess.run(
        command, input=json.dumps(plan), stdout=subprocess.PIPE, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["failed"] == 0, f"{found['failed']} requests were refused"
    return found["rate"], float(np.percentile(found["milliseconds"], 99))


def measure(case: Case, folder: Path) -> dict[str, Figure]:
    """Both sides run at the same time and are asked in turn: what is not asked does nothing."""
    file, saved = folder / "model.onnx", folder / "mlflow"
    onnx_export.to_onnx(Classifier(case.spec).eval(), file)
    save_for_peer(file, saved, case)
    mine, theirs = free_port(), free_port()
    python = [sys.executable, "-m"]
    serve = [*python, "imagetrail.cli", "serve", "--model", str(file), "--port", str(mine)]
    mlflow_serve = [*python, "mlflow", "models", "serve", "-m", str(saved), "--env-manager"]
    figures: dict[str, Figure] = {}
    with (
        running(serve, mine, "/health"),
        running([*mlflow_serve, "local", "--port", str(theirs)], theirs, "/health"),
    ):
        for clients in CLIENTS:
            pairs = [
                (load(mine, clients, ours(case)), load(theirs, clients, peer(case)))
                for _ in range(REPEATS)
            ]
            (rates, p99), (peer_rates, peer_p99) = (
                zip(*side, strict=True) for side in zip(*pairs, strict=True)
            )
            label = f"{case.name}_{clients}_clients"
            figures[f"{label}_answers_per_second"] = figure(
                rates, peer_rates, "answers/s", more_is_better=True
            )
            figures[f"{label}_p99"] = figure(p99, peer_p99, "ms")
    return figures


def main() -> None:
    figures: dict[str, Figure] = {}
    for case in cases():
        with tempfile.TemporaryDirectory() as folder:
            figures |= measure(case, Path(folder))
    write("serve", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    main()
