"""Look before anything is learned. Reads data/raw and data/schema.json, writes artifacts/inspect.

What `inspect.fail_on` names stops the pipeline, once all is written.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing, write_csv, write_json
from imagetrail.base.params import load
from imagetrail.base.terminal import say
from imagetrail.base.words import count_of
from imagetrail.data import arrival
from imagetrail.data.decoding import Target
from imagetrail.data.params import Data
from imagetrail.data.pictures import Pictures
from imagetrail.plots.sheets import contact_sheet
from imagetrail.stages.inspect import classes, findings, inspection, near_duplicates, schema
from imagetrail.stages.inspect.findings import Finding
from imagetrail.stages.inspect.inspection import Inspection, for_a_sheet
from imagetrail.stages.inspect.params import Inspect
from imagetrail.stages.inspect.seen import Numbers, Seen

SHOWN = 8  # findings on the terminal; the report has all
FINGERPRINTS = pa.schema(
    [("source", pa.string()), ("fingerprint", pa.string()), ("near", pa.int64())]
)


def run() -> None:
    data, limits = load(Data, "data"), load(Inspect, "inspect")
    pictures, expected = arrival.read(data), schema.read()
    found = inspection.inspect(pictures, data.target, paths.artifacts("inspect"))
    _write_quarantine(found)
    if not found.readable.any():
        where = f"{paths.QUARANTINE} has the reason of each"
        raise UserError(f"broken: {classes.words_of_broken(found)}. Mend the files; {where}")
    near = near_duplicates.groups(found.thumbnails, found.fingerprints)
    seen = Seen(found, near, limits, data.shape, expected, schema.describe(found, data.name))
    wrong = findings.look(seen)
    _write_sheets(found, wrong, data.target)
    report = inspection.report(found, data.target, licence=arrival.licence(data))
    report["findings"] = [_named(finding, pictures) for finding in wrong]
    report["schema"] = seen.schema.model_dump(mode="json")
    write_json(paths.INSPECTION, report)
    _write_fingerprints(found, near)
    say(*pictures.notes)
    _print(report, wrong)
    _refuse(wrong, limits)
    pictures.tidy()


def _named(finding: Finding, pictures: Pictures) -> dict[str, Any]:
    """A finding as plain values; the pictures that belong together are one list."""
    return {
        "name": finding.name,
        "severity": finding.severity,
        "text": finding.text,
        "number": finding.number,
        "pictures": [[pictures.sources[i] for i in group] for group in finding.groups],
        "cure": finding.cure,
    }


# ---- files ----


def _write_quarantine(found: Inspection) -> None:
    bad = [(fault["source"], fault["reason"]) for fault in found.unreadable]
    out = (*bad, *found.pictures.ignored)
    rows = [{"source": source, "reason": reason} for source, reason in out]
    write_csv(paths.QUARANTINE, rows, columns=("source", "reason"))


def _write_fingerprints(found: Inspection, near: Numbers) -> None:
    with replacing(paths.FINGERPRINTS) as temporary:
        columns = {
            "source": found.pictures.sources,
            "fingerprint": found.fingerprints,
            "near": pa.array(near, mask=near < 0),
        }
        pq.write_table(pa.table(columns, FINGERPRINTS), temporary)


def _write_sheets(found: Inspection, wrong: Sequence[Finding], target: Target) -> None:
    pictures, folder = found.pictures, paths.artifacts("inspect")
    with replacing(folder / "classes") as sheets:
        sheets.mkdir()
        for label, images in sorted(found.sheets.items()):
            name = re.sub(r"\W+", "-", pictures.classes[label])
            contact_sheet(images).save(sheets / f"{label:03d}-{name}.png")
    with replacing(folder / "findings") as sheets:
        sheets.mkdir()
        for finding in wrong:
            if finding.groups:
                images = [_side_by_side(pictures, group, target) for group in finding.groups]
                columns = 10 // min(2, len(finding.groups[0]))
                contact_sheet(images, columns, gap=6).save(sheets / f"{finding.name}.png")


def _side_by_side(pictures: Pictures, group: Sequence[int], target: Target) -> NDArray[np.uint8]:
    """One picture, or the first two of those that belong together."""
    images = [for_a_sheet(image) for image in pictures.readable(group[:2], target)]
    return np.concatenate(images, axis=1)


# ---- words ----


def _print(report: dict[str, Any], wrong: Sequence[Finding]) -> None:
    """The counts, then the worst findings, a line each."""
    copies = count_of(report["duplicates"]["superfluous"], "exact duplicate")
    files = count_of(len(report["unreadable"]) + len(report["ignored"]), "file")
    kinds = count_of(len(report["classes"]), "class")
    say(f"{count_of(report['images'], 'picture')} in {kinds}, {copies}; {files} left out")
    for finding in wrong[:SHOWN]:
        say(f"  {finding.severity}: {finding.name}: {finding.text}")
    if len(wrong) > SHOWN:
        say(f"  and {count_of(len(wrong) - SHOWN, 'finding')} more")
    if any(finding.cure in (findings.SCHEMA, findings.NO_SCHEMA) for finding in wrong):
        say(f"  {paths.SCHEMA} is not of these pictures: {schema.REMEDY}")
    if wrong:
        say(f"  cures and pictures: {paths.INSPECTION}, {paths.ARTIFACTS / 'inspect/findings'}")


def _refuse(wrong: Sequence[Finding], limits: Inspect) -> None:
    fatal = [finding for finding in wrong if finding.name in limits.fail_on]
    if fatal:
        lines = [f"{finding.name}: {finding.text}. {finding.cure}" for finding in fatal]
        where = f"{paths.INSPECTION} and {paths.QUARANTINE} say where"
        lines.append(f"  {where}; inspect.fail_on in params.yaml decides what stops")
        raise UserError("\n".join(lines))
