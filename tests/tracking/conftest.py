"""A repository whose results are in MLflow."""

from pathlib import Path

import pytest
from studio import Studio


@pytest.fixture(scope="session")
def studio_once(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    made = Studio(tmp_path_factory.mktemp("studio") / "repo")
    made.build()
    made.repro()
    made.publish()
    return made


@pytest.fixture
def studio(studio_once: Studio, tmp_path: Path) -> Studio:
    """A repository whose made-up search, training and comparison are in MLflow, to be changed."""
    return studio_once.copy(tmp_path / "repo")
