"""How long what needs no torch takes to start, against the same with torch and MLflow loaded.

Stages are processes, so every repro pays this for each of them, and `make repro` for the check of
params.yaml, which is run, not only started. Both sides run alternately.
"""

import subprocess
import sys
import time
from pathlib import Path

from harness import figure, write

ROOT = Path(__file__).parents[1]
REPEATS = 5
STAGES = ("fetch", "inspect", "split", "augment", "gate", "report")


def seconds(code: str) -> float:
    before = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return time.perf_counter() - before


def measure(plain: str) -> dict[str, object]:
    seconds(plain)  # once unmeasured: files come into the page cache
    pairs = [(seconds(plain), seconds(f"import torch, mlflow; {plain}")) for _ in range(REPEATS)]
    ours, peer = zip(*pairs, strict=True)
    return figure(ours, peer, "s")


def main() -> None:
    figures = {
        f"start_{stage}": measure(f"import imagetrail.cli.main, imagetrail.stages.{stage}.stage")
        for stage in STAGES
    }
    figures["start_params"] = measure("from imagetrail.cli.main import app; app(['params'])")
    write("startup", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    main()
