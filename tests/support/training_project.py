"""A project as the stages before train leave it, on scikit-learn's digits."""

import hashlib
import shutil
import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import psutil
import tiny_samples
from project import Project, finished
from safetensors.numpy import save_file
from sklearn.datasets import load_digits

from imagetrail.tracking.opening import open_store

# One that is ignored, as SIGINT is in the background of a shell, stays ignored.
SIGNALS = [
    number
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    if signal.getsignal(number) is not signal.SIG_IGN
]
PARTS = {
    "split/train": slice(0, 900),
    "augmented": slice(900, 1100),
    "synthetic": slice(1100, 1200),
    "split/related": slice(0, 0),
    "split/valid": slice(1200, 1797),
}
RECIPE = {  # everything that draws, and all the state that there can be
    "optimiser": "muon",
    "ema": 0.98,
    "batch_size": 128,
    "dropout": 0.1,
    "flip": True,
    "shift": 1,
    "rotate": 10,
    "zoom": 0.1,
    "cutout": 2,
    "mixup": 0.2,
    "cutmix": 0.5,
    "augmented": 0.2,
    "synthetic": 0.1,
    "repeat_to": 32400,  # an epoch takes longer than the second after which a checkpoint is due
}


class TrainingProject(Project):
    stage = "train"

    def build(self) -> None:
        """Writes all that the stage reads, and makes MLflow's database, which takes seconds."""
        self.take("dvc.yaml", "params.yaml")
        digits = load_digits()
        images = (digits.images * 15.9375).astype(np.uint8)[..., None]
        data, classes = self.root / "data", [str(kind) for kind in range(10)]
        for name, part in PARTS.items():
            tiny_samples.write(data, name, images[part], digits.target[part], classes)
        for stage in ("compare", "pretrain", "tune"):
            (self.root / "artifacts" / stage).mkdir(parents=True)
        save_file({}, self.root / "artifacts/pretrain/weights.safetensors")
        (self.root / "artifacts/tune/best.yaml").write_text("activation: silu\n")
        (self.root / "artifacts/compare/cures.yaml").write_text("{}\n")
        self.set(
            data={"name": "digits", "source": "digits", "image_size": 8},
            recipe=RECIPE,
            train={"epochs": 2},
        )
        open_store(self.root)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Starts the stage, or a command that runs it."""
        alone = (sys.executable, "-m", "imagetrail.cli", self.stage)
        return super().start(*(command or alone), **environment)

    def complete(self, *command: str, **environment: str) -> str:
        """Runs it to its end, which must be a good one; returns its stdout."""
        code, output, errors = finished(self.start(*command, **environment))
        assert code == 0, output + errors
        return output

    def forget(self) -> None:
        """As if the stage had never run, but for what MLflow knows."""
        for folder in (".imagetrail", f"artifacts/{self.stage}"):
            shutil.rmtree(self.root / folder, ignore_errors=True)

    def end(self) -> None:
        """Kills what a failed test has left running."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def outs(self) -> dict[str, str]:
        """A hash of every file that the stage has left, but for what tells of this very run."""
        files = (self.root / "artifacts" / self.stage).iterdir()
        return {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
            if file.name != "timing.json"
        }
