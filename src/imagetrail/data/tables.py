"""Tables as people and tools write them, read as texts: CSV, TSV and JSON lines."""

import codecs
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from imagetrail.base.errors import UserError

DELIMITERS = ",;\t"
MARKS = {  # byte order marks: the encoding of what follows
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
Column = Sequence[str | None]  # a text a row, None where nothing is


@dataclass(frozen=True)
class Table:
    """A table whose values are texts: 1, true and null are names like any other.

    Messages call it `name` in the source `shown`; what cannot be read is a UserError.
    """

    name: str  # path from the top of the data set
    columns: Mapping[str, Column]
    places: Sequence[int]  # of each row: the line of a text file, the row of a Parquet file
    unit: str  # what `places` counts
    pictures: str = ""  # the column with the pictures themselves, if there is one
    label: str = ""  # the column of labels, if the file itself says which

    def __len__(self) -> int:
        return len(self.places)

    def where(self, row: int) -> str:
        return f"{self.name}, {self.unit} {self.places[row]}"


def _text(path: Path, name: str, shown: str) -> str:
    content = path.read_bytes()
    encoding = next((code for mark, code in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{shown}: {name}, line {line} is not UTF-8 (byte {content[error.start]:#04x}); "
            "save the table as UTF-8"
        ) from None


def delimited(path: Path, name: str, shown: str) -> Table:
    """A table with commas, semicolons or tabs, whichever its first line has most of."""
    text = _text(path, name, shown)
    header = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)  # a spreadsheet's CSV may have semicolons
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    places: list[int] = []
    begins = 1
    try:
        names = [column.strip() for column in next(lines, [])]
        begins = lines.line_num + 1
        for row in lines:
            begins = lines.line_num + 1
            if not row:
                continue
            if len(row) != len(names):
                fault = f"has {len(row)} values, but the header {len(names)} names"
                raise UserError(f"{shown}: {name}, line {lines.line_num} {fault}")
            rows.append(row)
            places.append(lines.line_num)
    except csv.Error as error:
        fault = broken(error, begins, lines.line_num)
        raise UserError(f"{shown}: {name}, {fault}") from None
    suffixes = Image.registered_extensions()
    if picture := next((one for one in names if PurePosixPath(one).suffix.lower() in suffixes), ""):
        wanted = "the first line must name the columns, such as path,label"
        raise UserError(f"{shown}: {name}, line 1 has the picture {picture}; {wanted}")
    refuse_twice(names, name, shown)
    columns = zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True)
    return Table(name, {column: values for column, values in columns if column}, places, "line")


def refuse_twice(names: Sequence[str], name: str, shown: str) -> None:
    """Raises UserError for a table with several columns of one name."""
    if twice := sorted({column for column in names if column and names.count(column) > 1}):
        raise UserError(f"{shown}: {name} has several columns called {twice[0]!r}")


def broken(error: csv.Error, begins: int, line: int) -> str:
    """Where and how the row that begins in one line, and cannot be read on in another, is wrong."""
    if "unexpected end" in str(error):
        return f"line {begins}: a quote opened in line {begins} is never closed"
    if line > begins:
        return f"line {begins}: a quote opened in line {begins} goes on to line {line} ({error})"
    return f"line {line}: {error}"


def json_lines(path: Path, name: str, shown: str) -> Table:
    """A table with a JSON object a line; what is missing in one is None."""
    rows: list[dict[str, Any]] = []
    places: list[int] = []
    for number, line in enumerate(_text(path, name, shown).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (RecursionError, ValueError) as error:
            raise UserError(f"{shown}: {name}, line {number} is not JSON ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{shown}: {name}, line {number} is no JSON object: {{…}} is wanted")
        rows.append(row)
        places.append(number)
    names = dict.fromkeys(key for row in rows for key in row)
    columns = {key: [_written(row.get(key)) for row in rows] for key in names}
    return Table(name, columns, places, "line")


def _written(value: Any) -> str | None:
    """A value of JSON as it stands there, a text without its quotes."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
