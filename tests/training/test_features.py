"""Features are computed once, are the same from the store as afresh, and no fault of it matters."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from imagetrail.base.samples import Samples
from imagetrail.models.classifier import Classifier
from imagetrail.training import features
from imagetrail.training.features import BATCH, Extractor, Store
from imagetrail.training.loop import start
from imagetrail.training.recipe import Recipe

Toy = Callable[..., Samples]


@pytest.fixture
def model(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(model="fast", activation="relu", width=0.25, epochs=1, lr=0.1)
    return start(recipe, toy(), seed=0).model


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    drawn = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), np.uint8)
    return torch.from_numpy(drawn)


class Counting(Extractor):
    computed = 0

    def _compute(self, pictures: torch.Tensor) -> np.ndarray:
        self.computed += len(pictures)
        return super()._compute(pictures)


def counting(model: Classifier) -> Counting:
    made = Counting(model)
    made.computed = 0
    return made


def stored() -> Path:
    (file,) = Path(".imagetrail/features").glob("*.db")
    return file


def test_features_from_the_store_are_those_computed_afresh_and_the_second_time_none_is(
    model: Classifier,
) -> None:
    first, second = counting(model), counting(model)
    fresh = first(pictures(50))
    assert first.computed == 50
    assert torch.equal(second(pictures(50)), fresh) and second.computed == 0
    stored().unlink()
    again = counting(model)
    assert torch.equal(again(pictures(50)), fresh) and again.computed == 50


def test_a_picture_has_the_same_features_among_whatever_others(model: Classifier) -> None:
    many = pictures(3 * BATCH + 5)
    together = Extractor(model)(many)
    stored().unlink()
    alone = Extractor(model)
    backwards = torch.cat([alone(part.clone()) for part in many.flip(0).split(7)])
    assert torch.equal(backwards.flip(0), together)


def test_features_are_what_the_network_sees(model: Classifier) -> None:
    some = pictures(5)
    with torch.no_grad():
        seen = model.eval().features(some)
    assert torch.allclose(Extractor(model)(some).float(), seen, rtol=0.05, atol=0.05)


def test_equal_pictures_are_computed_once(model: Classifier) -> None:
    extract = counting(model)
    rows = extract(torch.cat([pictures(3)] * 4))
    assert extract.computed == 3 and torch.equal(rows[:3], rows[9:])


def test_a_picture_in_another_type_of_numbers_is_another(model: Classifier) -> None:
    extract = counting(model)
    extract(pictures(3))
    extract(pictures(3).float() + 0.5)
    assert extract.computed == 6


def test_other_weights_and_another_normalisation_have_another_store(model: Classifier) -> None:
    names = {Extractor(model).store.path}
    with torch.no_grad():
        next(model.trunk.parameters()).mul_(1.01)
    names.add(Extractor(model).store.path)
    model.mean += 1  # normalises otherwise
    names.add(Extractor(model).store.path)
    assert len(names) == 3


SHARING = """
import sys
import numpy as np, torch
from imagetrail.models.classifier import Classifier
from imagetrail.models.networks import Spec
from imagetrail.training import features
features.BATCH = 4
torch.manual_seed(0)
spec = Spec("fast", "relu", 0.25, 0.0, ("a", "b"), 8, 1, (100.0,), (50.0,))
extract = features.Extractor(Classifier(spec))
compute, computed = extract._compute, []
extract._compute = lambda pictures: computed.append(len(pictures)) or compute(pictures)
drawn = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2000, 8, 8, 1), np.uint8))
print("begin", flush=True)
sys.stdin.readline()
rows = torch.cat([extract(part) for part in drawn.split(256)])
print(sum(computed), hash(rows.numpy().tobytes()))
"""


def test_what_two_processes_want_at_once_is_computed_once(tmp_path: Path) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SHARING],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout.readline() == "begin\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    ended = [process.communicate()[0].split() for process in both]
    shares, (one, other) = [int(count) for count, _ in ended], [rows for _, rows in ended]
    assert sum(shares) == 2000 and one == other


def test_two_processes_fill_a_store_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from imagetrail.training.features import Store\n"
        "store = Store(Path('features/some.db')); first = int(sys.argv[1])\n"
        "for at in range(first, first + 300): store.put({b'%d' % at: b'%d' % (at * at)})\n"
    )
    commands = [[sys.executable, "-c", code, first] for first in ("0", "150")]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) for command in commands]
    assert [process.communicate()[0] for process in both] == [b"", b""]
    rows = Store(tmp_path / "features/some.db").get(b"%d" % at for at in range(500))
    assert rows == {b"%d" % at: b"%d" % (at * at) for at in range(450)}


@pytest.mark.parametrize("damage", ["no database", "cut off", "overwritten"])
def test_a_damaged_store_is_made_anew_with_one_line(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.db"
    rows = {b"%d" % at: bytes(5000) for at in range(50)}
    store = Store(path)
    store.put(rows)
    store.close()
    whole = path.read_bytes()
    path.write_bytes(
        {
            "no database": b"nothing of the kind" * 100,
            "cut off": whole[: len(whole) // 2],
            "overwritten": whole[:100] + bytes(range(256)) * 64 + whole[100 + 256 * 64 :],
        }[damage]
    )
    again = Store(path)
    again.put(again.get(rows) or {b"other": b"1"})
    again.put(rows)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and "some.db is damaged" in lines[0], lines
    assert again.get(rows) == rows


def test_a_row_whose_bits_have_changed_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "some.db")
    store.put({b"a": b"right", b"b": b"right"})
    with sqlite3.connect(store.path) as other:
        other.execute("UPDATE features SET features = x'00' WHERE picture = ?", (b"a",))
    other.close()
    assert store.get([b"a", b"b"]) == {b"b": b"right"}


def test_without_space_or_a_folder_all_is_computed_and_one_line_says_so(
    model: Classifier, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = Extractor(model)(pictures(200))
    stored().unlink()
    full = Extractor(model)
    full.store._file.execute("PRAGMA max_page_count = 12")
    assert torch.equal(full(pictures(200)), fresh)
    (line,) = capsys.readouterr().out.splitlines()
    assert "full; features are kept no more" in line
    for file in Path(".imagetrail/features").iterdir():
        file.unlink()
    Path(".imagetrail/features").rmdir()
    Path(".imagetrail/features").write_text("in the way")
    assert torch.equal(Extractor(model)(pictures(200)), fresh)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("features are kept no more")


def test_stores_of_long_ago_go(tmp_path: Path) -> None:
    for name in "abcde":
        store = Store(tmp_path / f"{name}.db")
        store.put({b"a": b"1"})
        store.close()
    assert len(list(tmp_path.glob("*.db"))) == features.KEPT
    assert Store(tmp_path / "e.db").get([b"a"]) == {b"a": b"1"}
