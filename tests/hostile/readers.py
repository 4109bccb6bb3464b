"""Reads hostile inputs in a process of little memory, in which a hook tells what they set off.

Run as a program in an empty folder; prints a line of JSON for each attack that got through.
"""

import json
import os
import resource
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attacks
from attacks import MARK, Attack
from photos import animals
from tiny_onnx import noise, write

from imagetrail.base import params, pipeline, samples
from imagetrail.base.errors import UserError
from imagetrail.data import archives, corrections, decoding, exports, own
from imagetrail.data.decoding import Target, Unreadable
from imagetrail.models import weights
from imagetrail.release import ledger
from imagetrail.serving import drift, inputs, onnx_model

MEMORY = 2 << 30  # bytes that the process may ask for, beside what its programs take
CODE = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class"}
TARGET = Target((8, 8, 1))


class Watch:
    """What happened since it was last asked: code run, and files opened to be written elsewhere."""

    def __init__(self, allowed: Path) -> None:
        self.allowed, self.seen = allowed.resolve(), list[str]()
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in CODE:
            self.seen.append(f"{event} {arguments}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            path, mode, flags = arguments
            writes = any(letter in (mode or "") for letter in "wax+")
            writes = writes or bool(flags & (os.O_WRONLY | os.O_RDWR))
            place = Path(os.path.realpath(os.fsdecode(path)))
            if writes and not place.is_relative_to(self.allowed):
                self.seen.append(f"write {place}")

    def taken(self) -> list[str]:
        found, self.seen = self.seen, []
        return found


def archive(path: Path) -> None:
    archives.unpack(path, path.parent / "files", path.name)
    own.read(path.parent / "files", None, path.name)


def picture(path: Path) -> None:
    decoding.read(path, TARGET)


def model(path: Path) -> None:
    opened = onnx_model.load(path)
    inputs.target_of(opened)
    opened.predict(samples.np.zeros((1, *opened.shape), samples.np.uint8))


def tensors(path: Path) -> None:
    weights.load_architecture(path)
    weights.load_weights(path)


def reference(path: Path) -> None:
    drift.read_reference(path, OPENED)


def samples_folder(path: Path) -> None:
    index = samples.make_index(ids=["a", "b"], labels=[0, 1], origin="real", sources=["a", "b"])
    samples.pq.write_table(index, path.parent / "index.parquet")
    (path.parent / "classes.json").write_text('["a", "b"]')
    samples.read(path.parent).images[:1].sum()


def table(path: Path) -> None:
    animals(path.parent)
    own.read(path.parent, path.name, "pets")


def parquet(path: Path) -> None:
    found = own.read(path, None, "pets")
    list(found.examined(range(len(found)), TARGET))


def lock(path: Path) -> None:
    locked = pipeline.lock(path.parent)
    pipeline.version(locked)
    pipeline.data_version(path.parent)


def history(path: Path) -> None:
    (path.parent / "champion").mkdir()
    path.rename(path.parent / "champion" / path.name)
    ledger.read(path.parent)


def corrected(path: Path) -> None:
    corrections.apply(own.read(animals(path.parent / "pets"), None, "pets"), path)


def name(path: Path) -> None:
    wanted = os.fsdecode(path.read_bytes())
    top = animals(path.parent / "pets")
    try:
        (top / wanted).parent.mkdir(parents=True, exist_ok=True)
        (top / wanted).write_bytes((top / "cats/1.png").read_bytes())
    except (OSError, ValueError):  # no file can be called so
        return
    own.read(top, None, "pets")


READERS: dict[str, Callable[[Path], object]] = {
    "archive": archive,
    "picture": picture,
    "model": model,
    "weights": tensors,
    "reference": reference,
    "samples": samples_folder,
    "parquet": parquet,
    "params": lambda path: params.load(int, "seed", path),
    "lock": lock,
    "export": exports.read,
    "ledger": history,
    "table": table,
    "corrections": corrected,
    "name": name,
}


def attempt(attack: Attack, folder: Path, watch: Watch) -> list[str]:
    """What is wrong with how an attack went: nothing, if it was read or refused in short lines."""
    folder.mkdir(parents=True)
    path = folder / attack.name
    path.write_bytes(attack.content)
    watch.taken()
    faults = []
    try:
        READERS[attack.kind](path)
    except (UserError, Unreadable) as refused:
        if len(str(refused)) > 5000 or len(str(refused).splitlines()) > 30:
            faults.append(f"says too much: {str(refused)[:200]!r}")
    except Exception:  # noqa: BLE001  whatever comes is a fault
        faults.append(traceback.format_exc())
    return faults + watch.taken()


def limit() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, used + MEMORY))


if __name__ == "__main__":
    here = Path.cwd()
    OPENED = onnx_model.load(write(here / "model.onnx", noise()), threads=1)
    picture(animals(here / "warm") / "cats/1.png")
    limit()
    watch, counts = Watch(here / "in"), Counter[str]()
    for number, attack in enumerate(attacks.every()):
        counts[attack.kind] += 1
        if faults := attempt(attack, here / "in" / str(number), watch):
            print(json.dumps([number, attack.kind, attack.name, faults]), flush=True)
    left = [str(top) for top in (here, Path("/"), Path.home()) if (top / MARK).exists()]
    print(json.dumps({"counts": counts, "left": left}))
