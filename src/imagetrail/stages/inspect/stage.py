"""Look before anything is learned. Reads data/raw, writes artifacts/inspect; stops the pipeline on fatal faults."""

import re

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing, write_json
from imagetrail.base.params import load
from imagetrail.data import datasets
from imagetrail.data.datasets import Data
from imagetrail.plots.sheets import contact_sheet
from imagetrail.stages.inspect import inspection
from imagetrail.stages.inspect.inspection import Inspection
from imagetrail.stages.inspect.params import Inspect

SHOWN = 5  # faults named on the terminal; the report has all


def run() -> None:
    data, limits = load(Data, "data"), load(Inspect, "inspect")
    pictures = datasets.read(data.name, paths.RAW / data.name / "files")
    found = inspection.inspect(pictures, data)
    report = inspection.report(found)
    _say(report["unreadable"], "unreadable, left out")
    _say(
        [{"source": name, "reason": "no JPEG or PNG by its name"} for name in report["ignored"]],
        "ignored",
    )
    _refuse(found, limits)
    folder = paths.artifacts("inspect")
    with replacing(folder / "classes") as sheets:
        sheets.mkdir()
        for label, images in sorted(found.sheets.items()):
            name = re.sub(r"\W+", "-", pictures.classes[label])
            contact_sheet(images).save(sheets / f"{label:03d}-{name}.png")
    write_json(folder / "report.json", report)
    copies = report["duplicates"]["superfluous"]
    print(
        f"{report['images']} pictures in {len(pictures.classes)} classes, {copies} exact duplicates"
    )


def _say(faults: list[dict[str, str]], what: str) -> None:
    if faults:
        named = "".join(f"\n  {fault['source']}: {fault['reason']}" for fault in faults[:SHOWN])
        more = (
            f"\n  and {len(faults) - SHOWN} more, all in artifacts/inspect/report.json"
            if len(faults) > SHOWN
            else ""
        )
        print(f"{len(faults)} file(s) {what}:{named}{more}")


def _refuse(found: Inspection, limits: Inspect) -> None:
    pictures = found.pictures
    share = len(found.unreadable) / len(pictures)
    if share > limits.max_unreadable:
        raise UserError(
            f"{len(found.unreadable)} of {len(pictures)} pictures cannot be read ({share:.1%}), the first is "
            f"{found.unreadable[0]['source']}: {found.unreadable[0]['reason']}; "
            f"mend them, or raise inspect.max_unreadable ({limits.max_unreadable:g}) in params.yaml"
        )
    for label, name in enumerate(pictures.classes):
        splits = sorted(set(pictures.splits))
        counts = {split: found.counts[split, label] for split in splits}
        if sum(counts.values()) < limits.min_per_class or not all(counts.values()):
            raise UserError(
                f"class {name!r} has too few readable pictures: {_words(counts)}; {limits.min_per_class} are needed"
            )
    if found.low == found.high:
        raise UserError(
            f"every pixel of every picture is {found.low}: there is nothing to learn from"
        )


def _words(counts: dict[str, int]) -> str:
    return ", ".join(
        f"{count} in {split}" if split else str(count) for split, count in counts.items()
    )
