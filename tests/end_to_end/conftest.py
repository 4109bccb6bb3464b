"""The whole pipeline on scikit-learn's digits: real DVC, real MLflow on sqlite, no network."""

from pathlib import Path

import pytest
from project import Project

FILES = (
    "dvc.yaml",
    ".dvcignore",
    ".gitignore",
    "champion",
    "data/corrections.csv",
    "data/own",
    "data/schema.json",
    "data/weights",
    "src",
)
SMALL = {
    "data": {"name": "digits", "source": "digits", "image_size": 8},
    "audit": {"folds": 2, "epochs": 1},
    "augment": {"policy": [{"Affine": {"rotate": [-8, 8], "p": 1.0}}]},
    "synthesise": {"per_class": 20, "epochs": 2},
    "recipe": {"flip": False, "shift": 1, "batch_size": 64, "width": 0.5, "repeat_to": 2000},
    "train": {"epochs": 8},
    "tune": {
        "trials": 4,
        "batch": 2,
        "rungs": [1, 2],
        "images": 600,
        "space": {"activation": ["relu", "silu"], "augmented": [0.0, 0.3]},
    },
    "compare": {
        "seeds": 3,
        "remedies": {
            "epochs": 2,
            "images": 600,
            "tried": {"augmented": 0.3, "synthetic": 0.1, "pretrained": True},
        },
        "sets": {
            "activations": {
                "epochs": 2,
                "images": 600,
                "reference": "relu",
                "arms": {"relu": {"activation": "relu"}, "tanh": {"activation": "tanh"}},
            }
        },
    },
    "evaluate": {"bootstrap": 100, "corrupted": 100},
    "explain": {"per_class": 1, "pictures": 8},
    "export": {"calibration": 100},
    "gate": {"margin": 0.2, "max_ece": 0.2},  # 36 images a class cannot show less
}


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A user's repository in which `dvc repro` and `imagetrail publish` have run once."""
    made = Project(tmp_path_factory.mktemp("repo"))
    made.init()
    made.take(*FILES)
    made.set(**SMALL)
    made.dvc("repro")
    made.imagetrail("publish")
    return made


@pytest.fixture
def copy(repo: Project, tmp_path: Path) -> Project:
    """A copy of that repository, to be changed."""
    return repo.copy(tmp_path / "repo")
