"""How long a stage that needs no torch takes to start, against the same stage with torch and MLflow loaded.

Stages are processes, so every repro pays this for each of them; both sides run alternately.
"""

import json
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
REPEATS = 7
STAGES = ("fetch", "inspect", "split", "augment", "gate", "report")


def seconds(code: str) -> float:
    before = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - before


def measure(stage: str) -> dict[str, object]:
    plain = f"import imagetrail.cli, imagetrail.stages.{stage}"
    seconds(plain)  # once unmeasured: files come into the page cache
    pairs = [(seconds(plain), seconds(f"import torch, mlflow; {plain}")) for _ in range(REPEATS)]
    ours, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {"ours": ours, "peer": peer, "ratio": peer / ours, "unit": "s", "repeats": pairs}


def main() -> None:
    figures = {f"start_{stage}": measure(stage) for stage in STAGES}
    versions = {name: version(name) for name in ("torch", "mlflow", "numpy")} | {"python": platform.python_version()}
    result = {"figures": figures, "machine": platform.platform(), "versions": versions}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "startup.json").write_text(json.dumps(result, indent=2) + "\n")
    rows = [f"| {name} | {f['ours']:.2f} s | {f['peer']:.2f} s | {f['ratio']:.1f} |" for name, f in figures.items()]
    table = "\n".join(["| figure | ours | with torch and MLflow | ratio |", "|---|---|---|---|", *rows])
    said = f"Written by `make bench`: medians of {REPEATS} runs, both sides in one run."
    (HERE / "README.md").write_text(f"# Benchmarks\n\n{said}\n\n## Start of a stage\n\n{table}\n")
    print(table)


if __name__ == "__main__":
    main()
