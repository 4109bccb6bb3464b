"""A repository with challengers to promote."""

from pathlib import Path

import pytest
from workshop import Workshop


@pytest.fixture(scope="session")
def workshop_once(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = Workshop(tmp_path_factory.mktemp("workshop") / "repo")
    made.build()
    made.train(1)
    made.commit("first")
    return made


@pytest.fixture
def workshop(workshop_once: Workshop, tmp_path: Path) -> Workshop:
    """A repository with one challenger that may be promoted, to be changed."""
    return workshop_once.copy(tmp_path / "repo")
