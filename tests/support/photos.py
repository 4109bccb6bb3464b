"""Small pictures of a user's, each with pixels of its own."""

import io
import json
import shutil
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def photo(path: Path) -> Path:
    """A picture whose colour is that of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = tuple(zlib.crc32(str(path.name).encode()).to_bytes(4)[:3])
    Image.new("RGB", (9, 9), colour).save(path, "PNG")
    return path


def photos(top: Path, names: Iterable[str]) -> Path:
    for name in names:
        photo(top / name)
    return top


ANIMALS = ("cats/1.png", "cats/2.JPG", "dogs/more/1.jpeg")


def animals(top: Path) -> Path:
    """Two classes: two cats and a dog."""
    return photos(top, ANIMALS)


# ---- archives of a folder ----


def as_zip(top: Path) -> Path:
    return Path(shutil.make_archive(str(top), "zip", top.parent, top.name))


def as_tar(top: Path, kind: str = "tar") -> Path:
    return Path(shutil.make_archive(str(top), kind, top.parent, top.name))


def as_gzip(top: Path) -> Path:
    return as_tar(top, "gztar")


def as_bzip(top: Path) -> Path:
    return as_tar(top, "bztar")


def as_xz(top: Path) -> Path:
    return as_tar(top, "xztar")


def as_zstandard(top: Path) -> Path:
    path = as_tar(top).with_suffix(".tar.zst")
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write(as_tar(top).read_bytes())
    return path


# ---- Parquet files with pictures inside ----


def png(number: int) -> bytes:
    Image.new("L", (9, 9), number % 256).save(out := io.BytesIO(), "PNG")
    return out.getvalue()


def hub(path: Path, numbers: Sequence[int], labels: Sequence[int], *, rows: int = 50) -> Path:
    """A file as `datasets` pushes it to the hub."""
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["a/b", "true", "c"], "_type": "ClassLabel"},
    }
    images = [{"bytes": png(number), "path": f"{number}.png"} for number in numbers]
    columns = {
        "image": images,
        "label": labels,
        "age": [1.0] * len(labels),
        "box": [[1]] * len(labels),
    }
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(about), path, row_group_size=rows)
    return path
