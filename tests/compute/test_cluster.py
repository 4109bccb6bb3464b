"""Work on a cluster: what a job reads comes to it, what it leaves comes back."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from project import ROOT

from imagetrail.base.errors import UserError
from imagetrail.compute import cluster, luggage, parallel

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray")]
spread = partial(parallel.spread, reads=[], keeps=lambda number: Path(f"state/{number}"))


def product(seed: int) -> list[float]:
    """Sums whose bits depend on how many threads share them."""
    torch.manual_seed(seed)
    one, two = torch.randn(2, 300, 300)
    return [float(value) for value in (one @ two).sum(1)]


def setting(_: int) -> tuple[int, str]:
    return torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]


def refuse(number: int) -> int:
    if number == 1:
        raise UserError("lr is too high")
    return number


def die(number: int) -> int:
    """Ends its worker, once."""
    mark = Path(os.environ["IMAGETRAIL_CACHE"]) / "../died"
    if number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def see(_: int) -> dict[str, str]:
    """All files of the working folder, with what is in them."""
    found = [
        Path(base, name) for base, _, names in os.walk(".", followlinks=True) for name in names
    ]
    return {file.as_posix(): file.read_text() for file in found}


def where(_: int) -> str:
    return str(Path.cwd())


def go_on(number: int) -> int:
    """Adds a line to its state; returns how many there are."""
    log = Path(f"state/{number}/log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"{number}\n")
    return len(log.read_text().splitlines())


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cluster on this machine, whose workers can import these tests."""
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGETRAIL_BACKEND", "ray")
        patch.setenv("IMAGETRAIL_CACHE", str(tmp_path_factory.mktemp("node") / "cache"))
        patch.setenv("RAY_worker_niceness", "0")
        for folder in (ROOT / "tests/support", ROOT):
            patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("workers", ["", "1"])
def test_a_cluster_gives_the_same_bits_in_the_same_order(
    monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("IMAGETRAIL_WORKERS", workers)
    assert list(spread(product, range(4))) == [product(seed) for seed in range(4)]
    assert set(spread(setting, range(2))) == {(1, "1")}


def test_what_a_worker_of_a_cluster_refuses_is_one_line() -> None:
    results = spread(refuse, range(3))
    assert next(results) == 0
    with pytest.raises(UserError, match="^lr is too high$"):
        next(results)


def test_a_job_whose_worker_is_killed_begins_again() -> None:
    assert list(spread(die, range(3))) == [0, 1, 2]


def test_a_job_sees_what_it_reads_and_nothing_else_of_the_folder(folder: Path) -> None:
    for name in ("data/a/1", "data/a/b/2", "data/empty", "weights", "secret"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("" if name == "data/empty" else name)
    reads = [Path("data/a"), Path("data/empty"), Path("weights"), Path("missing")]
    wanted = {name: name for name in ("data/a/1", "data/a/b/2", "weights")}
    (seen,) = spread(see, [1], reads=reads)
    assert seen == wanted | {"data/empty": ""}
    (folder / "weights").write_text("others")
    (seen,) = spread(see, [1], reads=[Path("weights")])
    assert seen == {"weights": "others"}
    assert not set(spread(where, range(2))) & {str(folder)}


def test_state_goes_with_its_job_and_comes_back(folder: Path) -> None:
    assert list(spread(go_on, range(2))) == [1, 1]
    assert (folder / "state/1/log").read_text() == "1\n"
    assert list(spread(go_on, range(2))) == [2, 2]
    (folder / "state/1/log").unlink()
    assert list(spread(go_on, range(2))) == [3, 1]


def test_content_that_was_damaged_on_a_node_comes_anew(folder: Path) -> None:
    (folder / "weights").write_text("right")
    content = luggage.packed(folder / "weights", lambda piece: piece)
    damaged = luggage.cache() / content.md5 / luggage.CONTENT
    damaged.parent.mkdir(parents=True)
    damaged.write_text("wrong")
    (seen,) = spread(see, [1], reads=[Path("weights")])
    assert seen == {"weights": "right"} and damaged.read_text() == "right"


@pytest.mark.parametrize("share", ["half", "-1", "2", "nan"])
def test_an_impossible_share_of_a_gpu_is_refused(
    monkeypatch: pytest.MonkeyPatch, share: str
) -> None:
    monkeypatch.setenv("IMAGETRAIL_GPUS", share)
    with pytest.raises(UserError, match=f"IMAGETRAIL_GPUS is '{share}'; it must be a share of a"):
        list(spread(abs, [1]))


def test_a_node_with_another_version_of_what_decides_is_refused() -> None:
    with pytest.raises(
        UserError, match="^node .* has torch 2.*, and here is 1.0, which gives other bits: install"
    ):
        cluster._refuse_others({"numpy": cluster._versions()["numpy"], "torch": "1.0"})
