"""Parquet files: plain tables, and those with pictures inside, as the Hugging Face hub has them."""

import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imagetrail.base.errors import UserError
from imagetrail.base.words import printable
from imagetrail.data.decoding import Unreadable
from imagetrail.data.tables import Column, Table, refuse_twice

PIECE = 2 << 20  # bytes of pictures that are read at once
MANY = 256  # pictures that are read at once, at most
KEPT = 64  # pieces: threads ask for pictures that are near one another
DAMAGED = (OSError, UnicodeDecodeError, pa.ArrowException)  # what Arrow raises for such files


def load(path: Path, name: str, shown: str) -> Table:
    """The columns that can be texts; pictures stay in the file until they are asked for.

    Numbers of classes become their names, which the hub writes into the file's metadata.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            pictures = [column.name for column in schema if _holds_pictures(column.type)]
            plain = [column.name for column in schema if not pa.types.is_nested(column.type)]
            read = file.read([column for column in plain if column not in pictures])
            rows = _count(file.metadata, read)
    except DAMAGED as error:
        raise UserError(f"{shown}: {name} is no whole Parquet file ({_said(error)})") from None
    refuse_twice(schema.names, name, shown)
    if len(pictures) > 1:
        fault = f"has several columns of pictures: {', '.join(pictures)}"
        raise UserError(f"{shown}: {name} {fault}; leave one of them")
    named = {key: names for key, names in _class_names(schema).items() if key in plain}
    columns = {}
    for key in read.column_names:
        try:
            columns[key] = _texts(read[key], named.get(key, ()))
        except DAMAGED:
            fault = f"{key!r} holds bytes that are no UTF-8; write it as text or leave it out"
            raise UserError(f"{shown}: {name}: the column {fault}") from None
    label = next(iter(named)) if len(named) == 1 else ""
    return Table(name, columns, range(rows), "row", "".join(pictures), label)


def _said(error: Exception) -> str:
    return printable(" ".join(str(error).split()))


def _count(about: pq.FileMetaData, read: pa.Table) -> int:
    """The rows; raises ArrowInvalid unless groups and columns have as many."""
    groups = sum(about.row_group(i).num_rows for i in range(about.num_row_groups))
    columns = len(read) if read.column_names else groups
    if not about.num_rows == groups == columns:
        raise pa.ArrowInvalid(f"rows: {about.num_rows}, in groups {groups}, in columns {columns}")
    return columns


def _holds_pictures(kind: pa.DataType) -> bool:
    """Bytes, or a struct with bytes in it, as datasets.Image."""
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(schema: pa.Schema) -> dict[str, Sequence[str]]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: list(map(str, feature["names"]))
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (AttributeError, KeyError, TypeError, ValueError):  # another tool's
        return {}


def _texts(column: pa.ChunkedArray, names: Sequence[str]) -> Column:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if names and pa.types.is_integer(column.type):  # -1 stands for no label
        return [
            names[n] if n is not None and 0 <= n < len(names) else None for n in column.to_pylist()
        ]
    if pa.types.is_floating(column.type):  # of whole numbers, where some are missing
        return [
            None if n is None or n != n else str(n).removesuffix(".0") for n in column.to_pylist()
        ]
    texts: Column = pc.cast(column, pa.string()).to_pylist()
    return texts


@dataclass(frozen=True)
class _Group:
    """A group of rows of a file."""

    path: Path
    number: int
    piece: int  # rows that are read at once


class Pictures:
    """The pictures in a column of some files, numbered through.

    They are read in small pieces, of which the last are kept: a group of rows may be as large as
    its file. In order, each piece is read once; a step back reads the group from its beginning.
    """

    def __init__(self, files: Sequence[tuple[Path, str]]) -> None:
        """files: each with the name of its column of pictures."""
        self.groups: list[_Group] = []
        self.firsts = [0]  # row of each group
        self.columns = dict(files)
        for path in self.columns:
            about = pq.read_metadata(path)
            for number in range(about.num_row_groups):
                group = about.row_group(number)
                piece = min(MANY, max(1, PIECE * group.num_rows // max(1, group.total_byte_size)))
                self.groups.append(_Group(path, number, piece))
                self.firsts.append(self.firsts[-1] + group.num_rows)
        self._kept: OrderedDict[tuple[int, int], pa.Array] = OrderedDict()
        self._group, self._next = -1, 0  # what `_pieces` is in, and what it yields next
        self._pieces: Iterator[pa.Array] = iter(())
        self._damaged: dict[int, tuple[int, str]] = {}  # from which piece of a group on, and why
        self._lock = Lock()

    def content(self, row: int) -> bytes:
        """The file of the picture in a row, as bytes; raises Unreadable."""
        number = bisect_right(self.firsts, row) - 1
        piece, place = divmod(row - self.firsts[number], self.groups[number].piece)
        with self._lock:
            contents = self._piece(number, piece)
        if place >= len(contents):
            raise Unreadable("damaged (the file ends before this row)")
        content: bytes | None = contents[place].as_py()
        if content is None:
            raise Unreadable("no picture in this row")
        return content

    def _piece(self, group: int, piece: int) -> pa.Array:
        if (group, piece) not in self._kept and (self._group != group or self._next > piece):
            self._group, self._next = group, 0
            self._pieces = self._read(self.groups[group])
        while (group, piece) not in self._kept:
            self._kept[group, self._next] = self._following(piece)
            self._next += 1
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end((group, piece))
        return self._kept[group, piece]

    def _following(self, wanted: int) -> pa.Array:
        """The next piece, on the way to another; past damage there is no way."""
        first, reason = self._damaged.get(self._group, (wanted + 1, ""))
        if wanted >= first:
            raise Unreadable(reason)
        try:
            return next(self._pieces, pa.nulls(0))
        except DAMAGED as error:
            reason = f"damaged ({_said(error)})"
            if not getattr(error, "errno", None):  # the file is to blame, not the machine
                self._damaged[self._group] = self._next, reason
            self._group = -1  # nothing follows an error
            raise Unreadable(reason) from None

    def _read(self, group: _Group) -> Iterator[pa.Array]:
        column = self.columns[group.path]
        with pq.ParquetFile(group.path, buffer_size=PIECE, pre_buffer=False) as file:
            is_struct = pa.types.is_struct(file.schema_arrow.field(column).type)
            leaf = f"{column}.bytes" if is_struct else column
            for batch in file.iter_batches(group.piece, row_groups=[group.number], columns=[leaf]):
                values = batch.column(0)
                yield pc.struct_field(values, "bytes") if is_struct else values
