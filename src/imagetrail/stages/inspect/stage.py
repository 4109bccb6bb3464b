"""Look before anything is learned. Reads data/raw, writes artifacts/inspect.

Fatal faults stop the pipeline.
"""

import re

import pyarrow as pa
import pyarrow.parquet as pq

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing, write_json
from imagetrail.base.params import load
from imagetrail.data import arrival
from imagetrail.data.params import Data
from imagetrail.plots.sheets import contact_sheet
from imagetrail.stages.inspect import inspection
from imagetrail.stages.inspect.inspection import Inspection
from imagetrail.stages.inspect.params import Inspect

SHOWN = 5  # faults named on the terminal; the report has all
FINGERPRINTS = pa.schema([("source", pa.string()), ("fingerprint", pa.string())])


def run() -> None:
    data, limits = load(Data, "data"), load(Inspect, "inspect")
    pictures = arrival.read(data)
    found = inspection.inspect(pictures, data.target)
    report = inspection.report(found, licence=arrival.licence(data))
    _print_faults("unreadable, left out", report["unreadable"])
    _print_faults("ignored", report["ignored"])
    _refuse(found, limits)
    folder = paths.artifacts("inspect")
    with replacing(folder / "classes") as sheets:
        sheets.mkdir()
        for label, images in sorted(found.sheets.items()):
            name = re.sub(r"\W+", "-", pictures.classes[label])
            contact_sheet(images).save(sheets / f"{label:03d}-{name}.png")
    write_json(paths.INSPECTION, report)
    with replacing(paths.FINGERPRINTS) as temporary:
        columns = {"source": pictures.sources, "fingerprint": found.fingerprints}
        pq.write_table(pa.table(columns, FINGERPRINTS), temporary)
    pictures.tidy()
    copies = report["duplicates"]["superfluous"]
    print(
        f"{report['images']} pictures in {len(pictures.classes)} classes, {copies} exact duplicates"
    )


def _print_faults(kind: str, faults: list[dict[str, str]]) -> None:
    if not faults:
        return
    print(f"{len(faults)} file(s) {kind}:")
    for fault in faults[:SHOWN]:
        print(f"  {fault['source']}: {fault['reason']}")
    if len(faults) > SHOWN:
        print(f"  and {len(faults) - SHOWN} more, all in {paths.INSPECTION}")


def _refuse(found: Inspection, limits: Inspect) -> None:
    pictures = found.pictures
    share = len(found.unreadable) / len(pictures)
    if share > limits.max_unreadable:
        first = found.unreadable[0]
        raise UserError(
            f"{len(found.unreadable)} of {len(pictures)} pictures cannot be read ({share:.1%}), "
            f"the first is {first['source']}: {first['reason']}; mend them, "
            f"or raise inspect.max_unreadable ({limits.max_unreadable:g}) in params.yaml"
        )
    for label, name in enumerate(pictures.classes):
        splits = sorted(set(pictures.splits))
        counts = {split: found.counts[split, label] for split in splits}
        if sum(counts.values()) < limits.min_per_class or not all(counts.values()):
            raise UserError(
                f"class {name!r} has too few readable pictures: {_words(counts)}; "
                f"{limits.min_per_class} are needed"
            )
    if found.low == found.high:
        fault = f"every pixel of every picture is {found.low}"
        raise UserError(f"{fault}: there is nothing to learn from")


def _words(counts: dict[str, int]) -> str:
    named = [f"{count} in {split}" if split else str(count) for split, count in counts.items()]
    return ", ".join(named)
