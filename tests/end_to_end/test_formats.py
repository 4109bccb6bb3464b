"""The whole pipeline on pictures of every format and shape, brought to one that is not square."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from project import Project

from imagetrail.base import samples
from imagetrail.data.decoding import Target
from imagetrail.serving import inputs, onnx_model

FILES = ("dvc.yaml", ".dvcignore", ".gitignore", "champion/README.md", "src")
DATA = ("data/corrections.csv", "data/schema.json", "data/weights")
KINDS = {".jfif": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".bmp": "BMP", ".avif": "AVIF"}
SMALL = {
    "data": {
        "name": "shapes",
        "source": "own",
        "path": "pictures",
        "image_size": [12, 20],
        "channels": 3,
        "fit": "pad",
    },
    "augment": {"copies": 1, "policy": [{"Affine": {"rotate": [-8, 8], "p": 1.0}}]},
    "synthesise": {"per_class": 0},
    "recipe": {"flip": False, "shift": 1, "batch_size": 32, "width": 0.5, "repeat_to": 256}
    | {"rotate": 5, "elastic": 0.5, "cutout": 3},
    "train": {"epochs": 4},
    "tune": {"trials": 2, "batch": 2, "rungs": [1], "images": 100}
    | {"limits": {"latency_ms": 1000}, "space": {"augmented": [0.0, 0.2]}},
    "compare": {
        "seeds": 3,
        "remedies": {"epochs": 1, "images": 100, "tried": {"augmented": 0.3}},
        "sets": {
            "networks": {
                "epochs": 1,
                "images": 100,
                "reference": "article",
                "arms": {"article": {"model": "article"}, "resnet": {"model": "resnet"}},
            }
        },
    },
    "evaluate": {"bootstrap": 100, "corrupted": 20},
    "explain": {"per_class": 1, "pictures": 8},
    "export": {"calibration": 20, "student": {"width": 0.25, "epochs": 1}},
    "gate": {"margin": None, "max_ece": None, "max_robustness_loss": None},
}


def write_pictures(folder: Path, count: int = 60) -> None:
    """Dark noise of many sizes, bright at the left or at the right end; some lie on their side."""
    rng = np.random.default_rng(0)
    sides = itertools.cycle([(30, 50), (40, 40), (24, 90)])
    for number, (suffix, (height, width)) in enumerate(
        zip(itertools.islice(itertools.cycle(KINDS), count), sides, strict=False)
    ):
        kind = ("left", "right")[number % 2]
        values = rng.integers(0, 90, (height, width, 3), np.uint8)
        values[:, slice(0, width // 2) if kind == "left" else slice(width // 2, None)] += 140
        image, exif = Image.fromarray(values), Image.Exif()
        if suffix == ".jfif":
            exif[ExifTags.Base.Orientation] = 6
            image = image.transpose(Image.Transpose.ROTATE_90)
        (folder / kind).mkdir(parents=True, exist_ok=True)
        image.save(folder / kind / f"{number}{suffix}", KINDS[suffix], exif=exif)


@pytest.mark.slow
def test_pictures_of_every_format_go_all_the_way_in_a_shape_that_is_not_square(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path / "repo")
    project.init()
    project.take(*FILES, *DATA)
    project.set(**SMALL)
    write_pictures(project.root / "pictures")
    project.dvc("repro")
    assert samples.read(project.root / "data/split/train").images.shape[1:] == (12, 20, 3)
    expected = Target((12, 20, 3), "pad")
    export = project.root / "artifacts/export"
    for row in json.loads((export / "export.json").read_text()):
        assert inputs.target_of(onnx_model.load(export / row["file"])) == expected
    answers = project.imagetrail("predict", "pictures", "--format", "json", "--explain", "why")
    rows = [json.loads(line) for line in answers.splitlines() if line.startswith("{")]
    assert len(rows) == 60 and all(row["class"] in row["file"] for row in rows)
