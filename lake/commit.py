"""One transaction on the lake, and what may be done in it."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from lake import contracts
from lake.errors import LacusError
from lake.staging import Staged, add_columns


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
        written = {name.lower() for name in pq.read_schema(staged.path).names}
        lacking = columns - written
        if not lacking:
            return
        target = f"lake.{staged.table}"
        empty = self.connection.execute(f"SELECT * FROM {target} LIMIT 0").to_arrow_table()
        add_columns(staged.path, [f for f in empty.schema if f.name.lower() in lacking])

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
        data = rows if isinstance(rows, pa.Table) else contracts.table(table).arrow(list(rows))
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
