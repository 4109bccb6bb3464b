"""A repository whose stages copy what is given, so that a new model takes a second."""

import hashlib
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tiny_onnx
import tiny_samples
from project import Project

COPY = "    cmd: mkdir -p {1} && cp -r given/{0}/. {1}\n    deps: [given/{0}]\n"
DVC_YAML = f"""stages:
  split:
{COPY.format("split", "data/split")}    outs: [data/split/train, data/split/valid, data/split/test]
  evaluate:
{COPY.format("evaluate", "artifacts/evaluate")}    outs:
    - artifacts/evaluate/metrics.json: {{cache: false}}
  export:
{COPY.format("export", "artifacts/export")}    outs:
    - artifacts/export/model.onnx
    - artifacts/export/reference.npz
    - artifacts/export/trained_on.parquet
    metrics: [artifacts/export/export.json: {{cache: false}}]
  explain:
    cmd: mkdir -p artifacts/explain && cp given/scores.json artifacts/explain/
    deps: [given/scores.json]
    outs:
    - artifacts/explain/scores.json: {{cache: false}}
  gate:
    cmd: {sys.executable} gate.py
    deps: [champion, given/gate, artifacts/export/model.onnx]
    outs: [artifacts/gate/disagreements.png, artifacts/gate/looked.png]
    metrics: [artifacts/gate/decision.json: {{cache: false}}]
"""
GATE = """
import hashlib, json, pathlib

def sha256(path):
    path = pathlib.Path(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None

root = pathlib.Path("artifacts/gate")
root.mkdir(parents=True, exist_ok=True)
models = {
    "challenger": sha256("artifacts/export/model.onnx"),
    "champion": sha256("champion/model/model.onnx"),
}
given = pathlib.Path("given/gate").read_text()
verdict = "HOLD" if models["challenger"] == models["champion"] else given
facts = {"decision": verdict, "reason": "so it is", "checks": [], **models}
(root / "decision.json").write_text(json.dumps(facts))
for name in ("disagreements", "looked"):
    (root / f"{name}.png").write_bytes(b"a picture")
"""


class Workshop(Project):
    """One challenger after another, judged as one says."""

    def build(self) -> None:
        self.init()
        given, champion = self.root / "given", self.root / "champion"
        for part, count in (("train", 24), ("valid", 8), ("test", 8)):
            tiny_samples.write_toy(given / "split", part, count=count)
        (given / "evaluate").mkdir()
        metrics = {"top1": 0.9, "top1_low": 0.8, "top1_high": 1.0, "n": 8}
        (given / "evaluate" / "metrics.json").write_text(json.dumps(metrics))
        (given / "scores.json").write_text(json.dumps({"methods": {}}))
        champion.mkdir()
        (champion / "README.md").write_text("The champion.\n")
        (self.root / "dvc.yaml").write_text(DVC_YAML)
        (self.root / "gate.py").write_text(GATE)
        (self.root / "params.yaml").write_text("data: {name: toy}\n")
        (self.root / ".gitignore").write_text(".imagetrail/\nmlflow.db\nmlartifacts/\n.*.partial\n")

    def train(self, seed: int, verdict: str = "PROMOTE") -> str:
        """A new challenger, judged; returns its sha256."""
        folder = self.root / "given" / "export"
        folder.mkdir(exist_ok=True)
        tiny_onnx.write(folder / "model.onnx", tiny_onnx.noise(seed=seed))
        pq.write_table(
            pa.table({"id": [f"train{number}" for number in range(24)]}),
            folder / "trained_on.parquet",
        )
        np.savez(folder / "reference.npz", features=np.zeros((2, 3), np.float32))
        (folder / "export.json").write_text(
            json.dumps([{"file": "model.onnx", "format": "float32", "chosen": True}])
        )
        (self.root / "given" / "gate").write_text(verdict)
        self.dvc("repro", "--quiet")
        return hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
