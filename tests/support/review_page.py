"""A small folder of pictures under review, and what a browser can ask of its page."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from project import Project

from imagetrail.base import files, paths
from imagetrail.review.server import Server

CLASSES = ("boot", "coat", "hat")
EACH = 4


@dataclass
class Page:
    """What a browser can ask of the page of a desk."""

    server: Server
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> bytes:
        request = urllib.request.Request(self.server.address + path, headers=headers)
        with urllib.request.urlopen(request) as reply:
            self.headers = dict(reply.headers)
            return bytes(reply.read())

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def post(self, path: str, **sent: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        body = json.dumps(sent).encode()
        request = urllib.request.Request(self.server.address + path, body, headers)
        return json.load(urllib.request.urlopen(request))

    def decide(
        self,
        queue: str,
        position: int,
        choice: str,
        *,
        source: str | None = None,
        others: bool = False,
    ) -> Any:
        sent = {"queue": queue, "position": position, "choice": choice}
        return self.post("decide", **sent, source=source, others=others)


def refusal(call: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as refused:
        call()
    return refused.value.code, refused.value.read().decode()


def build(root: Path) -> None:
    """Three classes of four pictures in `root`, the working directory, and what stages found."""
    project = Project(root)
    project.set(data={"name": "wear", "source": "own", "path": "photos", "image_size": 8})
    rng = np.random.default_rng(0)
    for name in CLASSES:
        Path("photos", name).mkdir(parents=True)
        for number in range(EACH):
            image = Image.fromarray(rng.integers(0, 256, (12, 16), np.uint8))
            image.save(f"photos/{name}/{number}.png")
    suspect("boot/1.png", "coat/2.png", suggested="hat")
    sources = [f"{name}/{number}.png" for name in CLASSES for number in range(EACH)]
    prints = ["same", *"bcde", "same", *"ghijkl"]
    near = pa.array([None] * 10 + [7, 7], pa.int64())
    paths.artifacts("inspect")
    pq.write_table(
        pa.table({"source": sources, "fingerprint": prints, "near": near}), paths.FINGERPRINTS
    )


def suspect(*sources: str, suggested: str) -> None:
    """Writes what audit finds."""
    facts = {"split": "train", "suggested": suggested, "p_label": 0.02, "p_suggested": 0.9}
    rows = [
        {"source": source, "id": f"wear/{source}", "label": source.split("/")[0], "score": 0.9}
        | facts
        for source in sources
    ]
    files.write_csv(paths.LABEL_ERRORS, rows)
