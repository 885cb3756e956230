"""Parquet that waits to be registered: how it is written, and small files put together."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lake import contracts

#: Bytes that a writer holds back until they make a row group, at most.
_GROUP_BYTES = 1 << 23
#: Small files of a table are put together up to this size.
FILE_BYTES = 1 << 25


@dataclass(frozen=True)
class Staged:
    """A Parquet file that waits to be registered: its table, release, rows and Arrow schema.

    The file has all columns of the table's contract; those that the schema does not have hold no
    value.
    """

    table: str
    release: str
    path: Path
    rows: int
    schema: pa.Schema


class Stage:
    """Writer of one staged Parquet file."""

    def __init__(self, table: str, release: str, path: Path, schema: pa.Schema) -> None:
        self._table, self._release, self._path, self._schema = table, release, path, schema
        self._writer: pq.ParquetWriter | None = None
        self._rows = 0
        # A column of text that no contract, no unit, no format declares: if nothing is in it,
        # its type is anyone's guess, and is left to the first input that has a value.
        declared = contracts.table(table).by_name
        self._untyped = {
            f.name
            for f in schema
            if f.type == pa.string()
            and f.name.lower() not in declared
            and not set(f.metadata or {}) - {b"description"}
        }
        # Arrow metadata is not kept: units live in meta.columns, and one truth is enough. Columns
        # without a value are written: DuckLake (1.0) overlooks that a file which lacks a column
        # brings nulls, and answers IS NULL from the statistics of the other files.
        given = {f.name.lower() for f in schema}
        absent = [c.field() for name, c in declared.items() if name not in given]
        self._whole = pa.schema(
            [f.remove_metadata().with_nullable(True) for f in [*schema, *absent]]
        )
        # One row of a table of lists is large: small groups make the look-up of one row cheap, and
        # large ones all rows. That many fill the batches of a network.
        lists = [f for f in self._whole if pa.types.is_list(f.type)]
        self._group = 2048 if lists else 122_880
        # Numbers in lists are pixels: no dictionary and no statistics help, and their bytes
        # compress by place. Most bits of a float are noise: what little zstd finds in them, LZ4
        # finds but for a fifteenth, and sooner.
        self._scalars = [f.name for f in self._whole if f not in lists] if lists else True
        self._split = [path for path, kind in map(_leaf, lists) if pa.types.is_floating(kind)]
        self._codecs = {
            path: "lz4" if kind == pa.float32() and path != field.name else "zstd"
            for field, (path, kind) in zip(self._whole, map(_leaf, self._whole), strict=True)
        }
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = self._pending_bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        for name in list(self._untyped):
            if batch.column(name).null_count < batch.num_rows:
                self._untyped.remove(name)
        self._rows += batch.num_rows
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        self._pending_bytes += batch.nbytes
        if self._pending_rows >= self._group or self._pending_bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path, self._whole, compression=self._codecs, use_dictionary=self._scalars,
                write_statistics=self._scalars, use_byte_stream_split=self._split,
            )  # fmt: skip
        table = _widened(pa.Table.from_batches(self._pending), self._whole)
        self._writer.write_table(table, row_group_size=self._group)
        self._pending = []
        self._pending_rows = self._pending_bytes = 0

    def close(self) -> None:
        """Finish the file."""
        if self._pending_rows:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.close()
        self._path.unlink(missing_ok=True)

    @property
    def staged(self) -> Staged | None:
        """What was written, or None if there was no row."""
        if not self._rows:
            return None
        schema = pa.schema([f for f in self._schema if f.name not in self._untyped])
        return Staged(self._table, self._release, self._path, self._rows, schema)


def _leaf(field: pa.Field) -> tuple[str, pa.DataType]:
    """Path in a Parquet file, and type, of what a column holds, in lists or not."""
    path, kind = field.name, field.type
    while contracts.is_any_list(kind):
        path, kind = f"{path}.list.element", kind.value_type
    return path, kind


def merge(
    staged: Sequence[Staged], stage: Callable[[str, str, pa.Schema], AbstractContextManager[Stage]]
) -> list[Staged]:
    """Put small files together, so that a table of many inputs does not consist of crumbs.

    Parameters
    ----------
    staged : sequence of Staged
        Of one release; columns of one name have one type. Files that are put together are removed.
    stage : callable
        `lake.writing.Writing.stage`.

    Returns
    -------
    list of Staged
        The same rows in the same order within each table.
    """
    done = []
    for group in _groups(staged):
        if len(group) == 1:
            done += group
            continue
        fields: dict[str, pa.Field] = {}
        for field in (f for member in group for f in member.schema):
            fields.setdefault(field.name, field)
        schema = pa.schema(list(fields.values()))
        with stage(group[0].table, group[0].release, schema) as whole:
            for member in group:
                part = pq.read_table(member.path, columns=member.schema.names, partitioning=None)
                for batch in _widened(part, schema).to_batches():
                    whole.write(batch)
        if whole.staged is not None:
            done.append(whole.staged)
        for member in group:
            member.path.unlink()
    return done


def _groups(staged: Sequence[Staged]) -> Iterator[list[Staged]]:
    """Files of one table, as many as make a file of a fair size."""
    for table in dict.fromkeys(s.table for s in staged):
        group: list[Staged] = []
        size = 0
        for member in (s for s in staged if s.table == table):
            more = member.path.stat().st_size
            if group and size + more > FILE_BYTES:
                yield group
                group, size = [], 0
            group.append(member)
            size += more
        yield group


def add_columns(path: Path, fields: Sequence[pa.Field]) -> None:
    """Write a file anew with further columns, which hold no value."""
    whole = path.with_suffix(".whole.parquet")
    try:
        with pq.ParquetFile(path) as file:
            schema = pa.schema([*file.schema_arrow, *fields])
            with pq.ParquetWriter(whole, schema, compression="zstd") as writer:
                for group in range(file.num_row_groups):
                    writer.write_table(_widened(file.read_row_group(group), schema))
        os.replace(whole, path)
    finally:
        whole.unlink(missing_ok=True)


def _widened(part: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows under a schema that has more columns; what is not there is null."""
    there = set(part.column_names)
    kinds = {f.type for f in schema if f.name not in there}
    nothing = {kind: pa.nulls(part.num_rows, kind) for kind in kinds}
    columns = [part[f.name] if f.name in there else nothing[f.type] for f in schema]
    return pa.Table.from_arrays(columns, names=schema.names).cast(schema)
