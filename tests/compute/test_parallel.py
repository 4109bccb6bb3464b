"""Work in several processes and on a cluster: the same results, whatever becomes of a worker."""

import os
import signal
from pathlib import Path

import pytest
import torch

from imagetrail.base.errors import UserError
from imagetrail.compute import parallel


def product(seed: int) -> list[float]:
    """Sums whose bits depend on how many threads share them."""
    torch.manual_seed(seed)
    one, two = torch.randn(2, 300, 300)
    return [float(value) for value in (one @ two).sum(1)]


def setting(_: int) -> tuple[int, str, str]:
    return torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], str(Path.cwd())


def who(_: int) -> int:
    return os.getpid()


def refuse(number: int) -> int:
    if number == 1:
        raise UserError("lr is too high")
    return number


def die(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_same_bits_in_the_same_order_with_one_thread_each(
    monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("IMAGETRAIL_WORKERS", workers)
    assert list(parallel.map(product, range(6))) == [product(seed) for seed in range(6)]
    assert {threads for threads, *_ in parallel.map(setting, range(4))} == {1}


def test_workers_are_in_the_folder_of_the_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in (tmp_path, Path.cwd()):
        monkeypatch.chdir(folder)
        assert {found for *_, found in parallel.map(setting, range(2))} == {str(folder)}


def test_the_same_workers_serve_the_next_call_unless_what_they_were_doing_is_not_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IMAGETRAIL_WORKERS", "1")

    def worker(*, wanted: int) -> int:
        results = parallel.map(who, range(3))
        process, *_ = [next(results) for _ in range(wanted)]
        return process

    first = worker(wanted=3)
    assert worker(wanted=3) == first and worker(wanted=1) == first
    assert worker(wanted=3) != first


def test_a_killed_worker_is_told_in_one_line_and_the_next_call_works() -> None:
    with pytest.raises(
        UserError, match="^a worker was killed.*run the same command again to go on$"
    ):
        list(parallel.map(die, range(3)))
    assert list(parallel.map(abs, [-1, 2])) == [1, 2]


@pytest.mark.parametrize(
    ("name", "value"), [("IMAGETRAIL_WORKERS", "two"), ("IMAGETRAIL_WORKERS", "0")]
)
def test_an_impossible_number_of_workers_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(
        UserError, match=f"{name} is '{value}'; it must be a number of processes, 1 or more"
    ):
        list(parallel.map(abs, [1]))


def test_an_unknown_backend_is_refused_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IMAGETRAIL_BACKEND", "rya")
    with pytest.raises(
        UserError,
        match="unknown IMAGETRAIL_BACKEND 'rya'; did you mean 'ray'\\? choose from local, ray",
    ):
        list(parallel.spread(abs, [1], reads=[], keeps=Path))
