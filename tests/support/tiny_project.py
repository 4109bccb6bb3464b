"""The whole pipeline in its smallest form: every stage does something, and none for long."""

from pathlib import Path

from project import Project

FILES = (
    *("dvc.yaml", ".dvcignore", ".gitignore", "champion/README.md", "data/corrections.csv"),
    *("data/own", "data/schema.json", "data/weights", "src"),
)
ARM = {"epochs": 1, "images": 200}
SMALL = {
    "data": {"name": "digits", "source": "digits", "image_size": 8},
    "audit": {"folds": 2, "epochs": 1},
    "augment": {"policy": [{"Affine": {"rotate": [-8, 8], "p": 1.0}}]},
    "synthesise": {"per_class": 4, "epochs": 1},
    "recipe": {"model": "fast", "width": 0.5, "flip": False, "shift": 1, "repeat_to": 0}
    | {"activation": "relu", "batch_size": 64},
    "pretrain": {"weights": None},
    "train": {"epochs": 2},
    "tune": {"trials": 2, "batch": 2, "rungs": [1], "images": 200, "space": {"lr": [0.05, 0.1]}},
    "compare": {
        "seeds": 3,
        "remedies": ARM | {"tried": {"augmented": 0.3}},
        "sets": {"activations": ARM | {"reference": "relu", "arms": {"relu": {}, "fast": {}}}},
    },
    "evaluate": {"bootstrap": 100, "corrupted": 10},
    "explain": {"per_class": 1, "pictures": 8},
    "export": {"calibration": 10},
    "gate": {"margin": None, "max_ece": None, "min_top1": 0.0},
}


def build(root: Path) -> Project:
    """A repository in which the pipeline has run and is in the second of two commits."""
    made = Project(root, SHELL="/bin/sh")
    made.init()
    made.take(*FILES)
    made.set(**SMALL)
    made.commit("first")
    made.dvc("repro", "--quiet")
    made.commit("results")
    return made
