"""The page of a small folder of pictures, served for real."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import review_page
from review_page import Page

from imagetrail.base.params import load
from imagetrail.data import arrival
from imagetrail.data.params import Data
from imagetrail.review.desk import Desk
from imagetrail.review.server import Server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with pictures and what the stages found about them."""
    monkeypatch.chdir(tmp_path)
    review_page.build(tmp_path)
    return tmp_path


@pytest.fixture
def opened(folder: Path) -> Iterator[Callable[[], Page]]:
    """`opened()` serves what is in `folder`, the working directory."""
    assert folder == Path.cwd()
    servers = []

    def serve() -> Page:
        data = load(Data, "data")
        server = Server(Desk(data, arrival.originals(data), by="Ada"), 0)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return Page(server)

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def page(opened: Callable[[], Page]) -> Page:
    return opened()
