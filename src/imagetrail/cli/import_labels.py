"""`imagetrail import`: the labels of another tool as a table for data.table."""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing, write_csv
from imagetrail.base.terminal import say
from imagetrail.base.words import count_of

UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # what Label Studio puts before an uploaded file's name


def import_labels(
    file: Annotated[Path, typer.Argument(help="Label Studio's JSON, or COCO's of whole pictures.")],
    out: Annotated[
        Path, typer.Option(help="The table to write: beside the pictures, for data.table.")
    ] = Path("labels.csv"),
) -> None:
    """Make a table of the labels that another tool exported."""
    from imagetrail.data import exports

    found = exports.read(file)
    rows = [row | {"path": _beside(out.parent, row["path"])} for row in found.rows]
    with replacing(out) as temporary:
        write_csv(temporary, rows)
        if out.exists() and out.read_bytes() != temporary.read_bytes():
            remedy = "remove it, or name another file by --out"
            raise UserError(f"{out} is there already, with other labels; {remedy}")
    kinds = len({row["label"] for row in rows})
    say(f"{out}: {count_of(len(rows), 'picture')} in {count_of(kinds, 'class')}")
    for reason, count in found.left_out.items():
        say(f"  {count} left out: {reason}")
    absent = [row["path"] for row in rows if not (out.parent / row["path"]).is_file()]
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        say(f"  {len(absent)} {verb} not beside the table, the first: {absent[0]}")


def _beside(folder: Path, path: str) -> str:
    """The name under which a file lies below `folder`, where tools give it another one."""
    name = PurePosixPath(path).name
    uploaded = UPLOADED.fullmatch(name)
    names = [
        path,
        name,
        f"images/{name}",
        *([uploaded[1], f"images/{uploaded[1]}"] if uploaded else []),
    ]
    return next((each for each in names if (folder / each).is_file()), path)
