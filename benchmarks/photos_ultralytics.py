"""Ultralytics from the command line, with its defaults: a YOLO11n classifier from its YAML.

100 epochs, or as many as fit into the minutes, which its own argument `time` sees to. It is run as
a program, and nothing of it is imported: it is under the AGPL. The seconds are those that its own
results.csv has.
"""

import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from photos_peer import Task, given, report

PROGRAM = Path(sys.executable).with_name("yolo")  # in the environment that runs this
EPOCHS = 100  # its default
MULTIPLE = 32  # pixels, to which it rounds sizes


def run(mode: str, scratch: Path, **arguments: object) -> None:
    words = [f"{key}={value}" for key, value in arguments.items()]
    quiet = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
    subprocess.run(
        [PROGRAM, "classify", mode, *words, f"project={scratch}", "device=cpu", "exist_ok=True"],
        check=True,
        env=os.environ | quiet | {"YOLO_CONFIG_DIR": str(scratch)},
        stdout=subprocess.DEVNULL,
    )


def train(task: Task, scratch: Path, **length: float) -> list[float]:
    """The seconds since the beginning, after each epoch."""
    pictures = {"data": scratch / "pictures", "imgsz": -(-task.size // MULTIPLE) * MULTIPLE}
    fixed = {"model": "yolo11n-cls.yaml", "seed": task.seed, "plots": False, "name": "train"}
    run("train", scratch, **pictures, **fixed, **length)
    with (scratch / "train" / "results.csv").open() as rows:
        return [float(row["time"]) for row in csv.DictReader(rows)]


def answers(task: Task, scratch: Path) -> list[str]:
    """Classes by name, of the files of test in their order."""
    files = task.files("test")
    for number, file in enumerate(files):
        os.link(file, scratch / "test" / f"{number:06}{file.suffix}")
    size = -(-task.size // MULTIPLE) * MULTIPLE
    where = {"source": scratch / "test", "model": scratch / "train" / "weights" / "best.pt"}
    how = {"imgsz": size, "save": False, "save_txt": True, "name": "answers"}
    run("predict", scratch, **where, **how)
    labels = scratch / "answers" / "labels"
    first = [
        (labels / f"{number:06}.txt").read_text().split("\n")[0] for number in range(len(files))
    ]
    return [line.split(maxsplit=1)[1] for line in first]


def main() -> None:
    task = given()
    with tempfile.TemporaryDirectory(dir=task.folder.parent) as folder:
        scratch = Path(folder)
        for name in ("pictures", "test"):
            (scratch / name).mkdir()
        for theirs, part in (("train", "train"), ("val", "valid")):  # it writes files beside them
            (scratch / "pictures" / theirs).symlink_to(task.folder / part)
        first = train(task, scratch, epochs=1)[0]
        fits = first * EPOCHS <= task.minutes * 60
        length = {"epochs": EPOCHS} if fits else {"time": task.minutes / 60}
        clock = train(task, scratch, **length)
        found = answers(task, scratch)
    classes = task.classes
    report(clock[-1], map(classes.index, found), classes, epochs=len(clock))


if __name__ == "__main__":
    main()
