"""Hostile inputs, seeded: each is put into a folder, and read by what reads its like."""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
from PIL import Image
from tiny_onnx import noise

MARK = "pwned"  # what code that runs, and a path that leads out, would leave behind


class Code:
    """What runs if it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, (f"touch {MARK}",)


@dataclass(frozen=True)
class Attack:
    kind: str  # who reads it: a key of readers.READERS
    name: str  # of the file
    content: bytes


def every(seed: int = 0) -> Iterator[Attack]:
    """All of them, some 500, the same each time."""
    for kind, (made, copies) in CRAFTED.items():
        for number, (name, content) in enumerate(made()):
            yield Attack(kind, name, content)
            rng = Random(f"{seed} {kind} {number}")
            for _ in range(copies):
                yield Attack(kind, name, damaged(content, rng))


def damaged(content: bytes, rng: Random) -> bytes:
    """Cut off, overwritten, repeated, or with numbers that lie."""
    found = bytearray(content or b"\0")
    place = rng.randrange(len(found))
    match rng.randrange(6):
        case 0:
            return bytes(found[:place])
        case 1:
            for _ in range(rng.choice([1, 10, 100])):
                found[rng.randrange(len(found))] = rng.randrange(256)
        case 2:
            found[place : place + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
        case 3:
            found[place:place] = found[: rng.randrange(len(found))]
        case 4:
            place = rng.randrange(min(64, len(found)))  # where headers are
            found[place] ^= 1 << rng.randrange(8)
        case _:
            found[place:place] = rng.choice([b"\x1b[2J", b"<script>", b"\xed\xa0\x80", b"\n" * 9])
    return bytes(found)


# ---- archives ----

OUT = (f"../{MARK}", f"/{MARK}", f"a/../../{MARK}", f"..\\{MARK}", f"C:\\{MARK}", f"~/{MARK}")
NAMES = (
    "cats/\x1b[31m.png",
    "<img src=x onerror=alert(1)>/1.png",
    "=cmd|' /C calc'!A0/1.png",
    "$(touch pwned)/1.png",
    "`touch pwned`.png",
    "cats/" + "x" * 300,
    "cats/\u202egnp.png",
    "a/" * 100 + "1.png",
    "dvc.yaml",
    ".dvc/config",
    ".git/hooks/post-checkout",
    "cats/\0.png",
)


def picture(number: int = 0, kind: str = "PNG") -> bytes:
    Image.new("RGB", (9, 9), (number, 0, 0)).save(out := io.BytesIO(), kind)
    return out.getvalue()


def zipped(*names: str, content: bytes = b"", link: str = "") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it stands: the constructor would cut it at a NUL
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o120777 if link else 0o644) << 16
            archive.writestr(info, link or content or picture())
    return out.getvalue()


def tarred(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = -1) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(picture()) if size < 0 else size
    body = picture().ljust(1024, b"\0")
    header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return header + body + b"\0" * 1024


def archives() -> Iterator[tuple[str, bytes]]:
    for name in (*OUT, *NAMES):
        yield "a.zip", zipped(name)
        yield "a.tar", tarred(name)
    for target in ("/etc/passwd", "../..", "."):
        yield "a.zip", zipped("cats", link=target)
        yield "a.tar", tarred("cats", tarfile.SYMTYPE, target)
        yield "a.tar", tarred("cats/1.png", tarfile.LNKTYPE, target)
    for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
        yield "a.tar", tarred("cats/1.png", kind, size=0)
    yield "a.tar", tarred("cats/1.png", size=1 << 40)
    yield "a.zip", zipped("cats/1.png", "cats/1.png")
    yield "a.zip", bomb()
    yield "a.tar.gz", zlib.compress(b"\0" * 10_000_000, 9, 31)


def bomb() -> bytes:
    """Says that it unpacks to 4 GB."""
    found = zipped("cats/1.png", content=b"\0" * 100_000)
    at = found.rindex(b"PK\x01\x02")
    return found[: at + 24] + struct.pack("<I", 0xFFFFFFFE) + found[at + 28 :]


# ---- pictures ----


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *more: bytes, body: bytes = b"\0" * 100_000) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(body, 9))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + data + chunk(b"IEND", b"")


def pictures() -> Iterator[tuple[str, bytes]]:
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"):
        yield f"1.{kind.lower()}", picture(kind=kind)
    yield "1.png", png(65535, 65535)
    yield "1.png", png(2**31 - 1, 1)
    yield "1.png", png(0, 0)
    yield "1.png", png(9, 9, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 50_000_000, 9)))
    yield "1.png", png(9, 9, chunk(b"iCCP", b"a\0\0" + zlib.compress(b"\0" * 50_000_000, 9)))
    yield (
        "1.bmp",
        b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, 2**30, 2**30, 1, 24, *[0] * 6),
    )
    yield "1.gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0xF7, 0, 0) + b"\0" * 999
    yield "1.svg", b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>'
    yield "1.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(pwned) (w) file\n"
    yield "1.jpg", b"\xff\xd8\xff" + b"\xff" * 1000


# ---- models and arrays ----


def models() -> Iterator[tuple[str, bytes]]:
    yield "model.onnx", noise().SerializeToString()
    outside = noise()
    weights = outside.graph.initializer[1]
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../../../etc/passwd")
    yield "model.onnx", outside.SerializeToString()
    large = noise()
    large.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**62
    yield "model.onnx", large.SerializeToString()
    named = noise(("<script>", "\x1b[31m"))
    yield "model.onnx", named.SerializeToString()
    yield "model.onnx", pickle.dumps(Code())


def tensors() -> Iterator[tuple[str, bytes]]:
    yield "x.safetensors", safetensors.numpy.save({"trunk.a": np.zeros((4, 4), np.float32)})
    for header in (
        {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**60]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}},
        {"__metadata__": {"architecture": "[" * 9999}},
        {"__metadata__": {"architecture": '{"name": 1}'}},
    ):
        text = json.dumps(header).encode()
        yield "x.safetensors", struct.pack("<Q", len(text)) + text + b"\0" * 4
    yield "x.safetensors", struct.pack("<Q", 2**63) + b"{}"
    yield "x.safetensors", pickle.dumps(Code())


def references() -> Iterator[tuple[str, bytes]]:
    features, counts = np.zeros((40, 16), np.float32), np.array([20, 20])
    for arrays in (
        {"features": features, "counts": counts},
        {"features": features, "counts": np.array([Code()], object)},
        {"features": np.array("x"), "counts": counts},
        {"counts": counts},
    ):
        np.savez(out := io.BytesIO(), **arrays)
        yield "reference.npz", out.getvalue()
    yield "reference.npz", pickle.dumps(Code())


def samples() -> Iterator[tuple[str, bytes]]:
    for array in (np.zeros((2, 8, 8, 1), np.uint8), np.array([Code()], object)):
        np.save(out := io.BytesIO(), array)
        yield "images.npy", out.getvalue()
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 8, 8, 1), }\n"
    yield "images.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header
    code = b"__import__('os').system('touch pwned')\n"
    yield "images.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(code)) + code


def parquets() -> Iterator[tuple[str, bytes]]:
    for about in ({}, {"huggingface": '{"info": {"features": {"label": {"names": 7}}}}'}):
        columns = {"image": [picture(n) for n in range(4)], "label": [0, 1, 0, 1]}
        pq.write_table(pa.table(columns).replace_schema_metadata(about), out := io.BytesIO())
        yield "p.parquet", out.getvalue()
    pq.write_table(
        pa.table({"path": [f"../{MARK}", "/etc/passwd"], "label": ["a", "b"]}), out := io.BytesIO()
    )
    yield "p.parquet", out.getvalue()


# ---- texts ----

DEEP = "[" * 20_000
BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)
)
TAGS = (
    f"seed: !!python/object/apply:os.system ['touch {MARK}']",
    f"seed: !!python/object/new:subprocess.Popen [['touch', '{MARK}']]",
    "seed: !!python/name:os.system",
    f"seed: !!python/module:{MARK}",
)


def yamls() -> Iterator[tuple[str, bytes]]:
    for text in (*TAGS, BOMB, DEEP, "seed: 2024-13-45", "seed: " + "9" * 5000, "? [a]\n: b", "{}"):
        yield "params.yaml", text.encode()
    yield (
        "params.yaml",
        b"seed: 0\ndata: {name: x, source: digits}\nrecipe: {lr: .inf, model: fast}",
    )


def locks() -> Iterator[tuple[str, bytes]]:
    entry = {"cmd": f"touch {MARK}", "outs": [{"path": f"../{MARK}", "md5": "0" * 32}]}
    for value in (
        {"schema": "2.0", "stages": {"split": entry}},
        {"stages": []},
        {"stages": {"a": 1}},
    ):
        yield "dvc.lock", json.dumps(value).encode()
    for text in (*TAGS, BOMB, DEEP, "stages: {split: {outs: [{path: [1]}]}}"):
        yield "dvc.lock", text.encode()


def jsons() -> Iterator[tuple[str, bytes]]:
    task = {"data": {"image": f"/data/../{MARK}"}, "annotations": [{"result": []}]}
    coco = {"images": [{"id": [1]}], "annotations": [], "categories": [{"id": {}, "name": 1}]}
    for value in ([task], [task | {"annotations": 7}], coco, coco | {"images": 7}, [[]], {}, 1e999):
        yield "export.json", json.dumps(value).encode()
    for text in (DEEP, "9" * 5000, '{"a": NaN}', '"\\ud800"', "\ufeff[]"):
        yield "export.json", text.encode()


def ledgers() -> Iterator[tuple[str, bytes]]:
    for text in ("{}", DEEP, "9" * 5000, "null", '{"number": 1e999}', "\x1b[2J"):
        yield "ledger.jsonl", text.encode()


def csvs() -> Iterator[tuple[str, bytes]]:
    for text in (
        "path,label\n1.png,=cmd|' /C calc'!A0\n2.png,b\n",
        f"path,label\n../{MARK},a\n/etc/passwd,b\n",
        "path,label\n$(touch pwned),a\n`x`,b\n",
        "path,label\n\x1b[31m.png,a\n2.png,<script>\n",
        'path,label\n"1.png,a\n',
        "path,label,weight\n1.png,a,nan\n2.png,b,1e999\n",
        "path,label\n" + "x" * 200_000 + ",a\n2.png,b\n",
        "path,label,path\n1,2,3\n",
        "\0\0\0",
    ):
        yield "labels.csv", text.encode()


def corrections() -> Iterator[tuple[str, bytes]]:
    for text in ("source,label,by,why\n1.png,a,,\n1.png,b,,\n", "source\n", '"', "\0"):
        yield "corrections.csv", text.encode()


def names() -> Iterator[tuple[str, bytes]]:
    """A file's name is its content here."""
    for name in (*NAMES, "-rf", "con", "a\nb", "caf\udce9", " ", "..."):
        yield "name", name.encode("utf-8", "surrogateescape")


# kind: what is made, and how many damaged copies of each there are
CRAFTED: dict[str, tuple[Callable[[], Iterator[tuple[str, bytes]]], int]] = {
    "archive": (archives, 1),
    "picture": (pictures, 6),
    "model": (models, 9),
    "weights": (tensors, 4),
    "reference": (references, 5),
    "samples": (samples, 5),
    "parquet": (parquets, 12),
    "params": (yamls, 2),
    "lock": (locks, 2),
    "export": (jsons, 2),
    "ledger": (ledgers, 2),
    "table": (csvs, 3),
    "corrections": (corrections, 4),
    "name": (names, 0),
}
