"""One transaction on the lake: what is staged for it, and what may be done in it."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from lake import contracts
from lake.errors import LacusError

#: Bytes that a writer holds back until they make a row group, at most.
_GROUP_BYTES = 1 << 23
#: Staged files are put together up to this size.
_FILE_BYTES = 1 << 25


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
        # One row of a table of lists is large: small groups make the look-up of one row cheap.
        lists = [f for f in self._whole if pa.types.is_list(f.type)]
        self._group = 1000 if lists else 122_880
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
    while (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
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
        `lake.store.Store.stage`.

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
            if group and size + more > _FILE_BYTES:
                yield group
                group, size = [], 0
            group.append(member)
            size += more
        yield group


def _widened(part: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows under a schema that has more columns; what is not there is null."""
    there = set(part.column_names)
    kinds = {f.type for f in schema if f.name not in there}
    nothing = {kind: pa.nulls(part.num_rows, kind) for kind in kinds}
    columns = [part[f.name] if f.name in there else nothing[f.type] for f in schema]
    return pa.Table.from_arrays(columns, names=schema.names).cast(schema)


class Commit:
    """What may be done inside a transaction; see `Store.commit`.

    Parameters
    ----------
    data : Path
        Holds the data files.
    connection : duckdb.DuckDBPyConnection
        Has begun the transaction.
    snapshot : int
        That the transaction will make.
    """

    def __init__(self, data: Path, connection: duckdb.DuckDBPyConnection, snapshot: int) -> None:
        self.connection = connection
        self._data = data
        self._moved: list[Path] = []
        self._added: Counter[tuple[str, str]] = Counter()
        self.snapshot = snapshot

    def undo_moves(self) -> None:
        """Remove the files of a transaction that failed; those of one that did not are kept.

        An interrupt that arrives while the transaction is being committed shows itself only
        after it has been: then the lake refers to these files.
        """
        if self._moved and current_snapshot(self.connection) < self.snapshot:
            for path in self._moved:
                path.unlink(missing_ok=True)

    def delete(self, table: str, where: str, params: Sequence[object] = ()) -> int:
        """Delete rows; returns how many."""
        cursor = self.connection.execute(f"DELETE FROM lake.{table} WHERE {where}", list(params))
        return int(only(cursor.fetchone()))

    def delete_keys(self, table: str, release: str, keys: pa.Table) -> int:
        """Delete a release's rows of some keys (columns without nulls); returns how many."""
        if not keys.num_rows:
            return 0
        columns = ", ".join(map(contracts.quote, keys.column_names))
        self.connection.register("deleted_keys", keys)
        where = f"release = ? AND ({columns}) IN (SELECT ({columns}) FROM deleted_keys)"
        number = self.delete(table, where, [release])
        self.connection.unregister("deleted_keys")
        return number

    def add(self, staged: Staged) -> None:
        """Register a staged file, adding columns to its table that it did not have."""
        columns = self._extend(staged)
        namespace, _, name = staged.table.partition(".")
        partition = f"release={staged.release}"
        directory = self._data / namespace / name / partition
        directory.mkdir(parents=True, exist_ok=True)
        target = directory / staged.path.name
        self._moved.append(target)
        self._complete(staged, columns)
        os.replace(staged.path, target)
        self.connection.execute(
            "CALL ducklake_add_data_files('lake', ?, ?, schema => ?, ignore_extra_columns => true,"
            " hive_partitioning => true)",
            [name, str(target), namespace],
        )
        self._added[staged.table, staged.release] += staged.rows

    def _complete(self, staged: Staged, columns: Set[str]) -> None:
        """Write the columns that other inputs brought into the table and this file lacks."""
        given = {name.lower() for name in staged.schema.names}
        if columns <= given | contracts.table(staged.table).by_name.keys():
            return
        file = pq.ParquetFile(staged.path)
        lacking = columns - {name.lower() for name in file.schema_arrow.names}
        if not lacking:
            return
        target = f"lake.{staged.table}"
        empty = self.connection.execute(f"SELECT * FROM {target} LIMIT 0").to_arrow_table()
        fields = [f for f in empty.schema if f.name.lower() in lacking]
        schema = pa.schema([*file.schema_arrow, *fields])
        whole = staged.path.with_suffix(".whole.parquet")
        try:
            with pq.ParquetWriter(whole, schema, compression="zstd") as writer:
                for group in range(file.num_row_groups):
                    writer.write_table(_widened(file.read_row_group(group), schema))
            os.replace(whole, staged.path)
        finally:
            whole.unlink(missing_ok=True)

    def _extend(self, staged: Staged) -> set[str]:
        """Add the columns that came with an input: type, comment and `meta.columns`.

        Returns
        -------
        set of str
            All columns of the table, in small letters.
        """
        known = set(self.columns(staged.table))
        for field in (f for f in staged.schema if f.name.lower() not in known):
            given = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
            unit, ucd, text = given.get("unit"), given.get("ucd"), given.get("description")
            if not text:
                raise LacusError(f"{staged.table} declares no column {field.name}")
            kind = contracts.duckdb_type(field.type)
            target = f"lake.{staged.table}"
            name = contracts.quote(field.name)
            self.connection.execute(f"ALTER TABLE {target} ADD COLUMN {name} {kind}")
            self.connection.execute(contracts.comment(target, field.name, text, unit, ucd))
            known.add(field.name.lower())
            row = {
                "table_name": staged.table,
                "column_name": field.name,
                "position": len(known),
                "datatype": kind,
                "unit": unit,
                "ucd": ucd,
                "description": text,
                "origin": "input",
            }
            self.insert("meta.columns", [row])
        return known

    def columns(self, table: str) -> dict[str, str]:
        """DuckDB types of a table's columns by lower-case name, as they are now."""
        described = f"SELECT lower(column_name), column_type FROM (DESCRIBE lake.{table})"
        return dict(self.connection.execute(described).fetchall())

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]] | pa.Table) -> None:
        """Insert rows, given as Arrow or, if they are few, as mappings from column to value."""
        data = rows
        if not isinstance(data, pa.Table):
            data = pa.Table.from_pylist(list(data), contracts.table(table).schema())
        self.connection.register("inserted_rows", data)
        self.connection.execute(f"INSERT INTO lake.{table} BY NAME SELECT * FROM inserted_rows")
        self.connection.unregister("inserted_rows")

    def record(
        self,
        release: str,
        made: Mapping[str, tuple[str, str]],
        content: Mapping[str, str] = MappingProxyType({}),
        read_snapshot: int | None = None,
    ) -> None:
        """Note in `meta.releases` what a release's rows of some tables are made from.

        Parameters
        ----------
        release : str
        made : mapping
            Fingerprint and code version by table.
        content : mapping
            Digest of what the rows say, of tables whose computation gives one.
        read_snapshot : int, optional
            Snapshot that the rows were computed from.
        """
        if not made:
            return
        tables = ", ".join(map(contracts.literal, made))
        own = f"table_name IN ({tables}) AND release = ?"
        former = {
            name
            for (name,) in self.connection.execute(
                f"SELECT table_name FROM lake.meta.releases WHERE {own}", [release]
            ).fetchall()
        }
        # Counting takes milliseconds a table: what is new to the lake has the rows added now.
        rows = {name: self._added[name, release] for name in made}
        if former:
            self.delete("meta.releases", own, [release])
            counts = " UNION ALL ".join(
                f"SELECT {contracts.literal(name)}, count(*) FROM lake.{name} WHERE release = $1"
                for name in sorted(former)
            )
            rows |= dict(self.connection.execute(counts, [release]).fetchall())
        self.insert(
            "meta.releases",
            [
                {
                    "mission": name.split(".")[0],
                    "release": release,
                    "table_name": name,
                    "rows": rows[name],
                    "fingerprint": fingerprint,
                    "content": content.get(name),
                    "code_version": code_version,
                    "snapshot": self.snapshot,
                    "read_snapshot": read_snapshot,
                    "committed_at": now(),
                }
                for name, (fingerprint, code_version) in made.items()
            ],
        )


def current_snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the present snapshot of the lake that a connection has attached."""
    return int(only(connection.execute("SELECT id FROM lake.current_snapshot()").fetchone()))


def now() -> datetime:
    """Return the present time, UTC."""
    return datetime.now(UTC)


def only(row: tuple[Any, ...] | None) -> Any:
    """Return the one value of a row that a query must give."""
    if row is None:
        raise LacusError("the lake gave no row where it must give one")
    return row[0]
