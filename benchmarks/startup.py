"""How long a stage that needs no torch takes to start, against the same stage with torch and MLflow loaded.

Stages are processes, so every repro pays this for each of them; both sides run alternately.
"""

import subprocess
import sys
import time

from harness import figure, write

REPEATS = 5
STAGES = ("fetch", "inspect", "split", "augment", "gate", "report")


def seconds(code: str) -> float:
    before = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - before


def measure(stage: str) -> dict[str, object]:
    plain = f"import imagetrail.cli.main, imagetrail.stages.{stage}.stage"
    seconds(plain)  # once unmeasured: files come into the page cache
    pairs = [(seconds(plain), seconds(f"import torch, mlflow; {plain}")) for _ in range(REPEATS)]
    ours, peer = zip(*pairs, strict=True)
    return figure(ours, peer, "s")


def main() -> None:
    write(
        "startup", (__doc__ or "").strip(), {f"start_{stage}": measure(stage) for stage in STAGES}
    )


if __name__ == "__main__":
    main()
