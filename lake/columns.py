"""Rows of one table, gathered column by column until they are made Arrow at once."""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import pyarrow as pa

from lake.contracts import Column, Table
from lake.errors import LacusError
from lake.formats.columns import make_list
from lake.formats.room import joined


class Misfit(Exception):
    """Files with a value that its column cannot hold.

    Attributes
    ----------
    reasons : dict of str to str
        By SHA-256 of the file.
    """

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = reasons


class Columns:
    """Rows of a table, as Python values and NumPy arrays.

    Parameters
    ----------
    table : Table
        Its contract; it has the columns release, file_sha256 and file_row.
    release : str
    """

    def __init__(self, table: Table, release: str) -> None:
        self._table, self._release = table, release
        self._own = {"release", "file_sha256", "file_row"}
        self._names = {c.name for c in table.columns}
        # Columns whose values are large: lists and binary ones.
        self._large = [
            c.name for c in table.columns if pa.types.is_list(c.arrow) or c.arrow == pa.binary()
        ]
        self.schema = table.schema()
        self.clear()

    def clear(self) -> None:
        """Start without rows."""
        self._given: list[Mapping[str, Any]] = []
        self._hashes: list[str] = []
        self._numbers: list[int] = []
        self._tables: list[tuple[str, pa.Table]] = []
        self._table_rows = 0
        self.list_bytes = 0

    @property
    def rows(self) -> int:
        """Rows gathered."""
        return len(self._given) + self._table_rows

    def extend(self, rows: Sequence[Mapping[str, Any]] | pa.Table, sha256: str) -> None:
        """Add the rows of one file.

        Raises
        ------
        LacusError
            If a row has a column that the contract does not declare.
        """
        if isinstance(rows, pa.Table):
            self._declared(set(rows.column_names))
            self._tables.append((sha256, rows))
            self._table_rows += rows.num_rows
            self.list_bytes += rows.nbytes
            return
        for number, row in enumerate(rows, 1):
            self._declared(row.keys())
            self._given.append(row)
            self._hashes.append(sha256)
            self._numbers.append(row.get("file_row", number))
            for name in self._large:
                value = row.get(name)
                if isinstance(value, np.ndarray):
                    self.list_bytes += value.nbytes
                elif isinstance(value, bytes):
                    self.list_bytes += len(value)

    def _declared(self, names: Set[str]) -> None:
        if not names <= self._names:
            unknown = ", ".join(sorted(names - self._names))
            raise LacusError(f"{self._table.name} declares no column {unknown}")

    def batches(self) -> list[pa.RecordBatch]:
        """Give all rows as batches of the contract's schema; those of Arrow tables are not copied.

        Raises
        ------
        Misfit
            If a value does not fit its column.
        """
        made = [self._batch()] if self._hashes else []
        for sha256, table in self._tables:
            made += self._completed(table, sha256)
        return made

    def _completed(self, table: pa.Table, sha256: str) -> Iterator[pa.RecordBatch]:
        """Rows of an Arrow table of one file with the columns that it does not give."""
        number = 1
        for part in table.to_batches():
            rows = np.arange(number, number + part.num_rows)
            number += part.num_rows
            given = dict(zip(part.schema.names, part.columns, strict=True))
            given |= {
                "release": pa.repeat(self._release, part.num_rows),
                "file_sha256": pa.repeat(sha256, part.num_rows),
            }
            given.setdefault("file_row", pa.array(rows))
            arrays = []
            for column in self._table.columns:
                array = given.get(column.name, pa.nulls(part.num_rows, column.arrow))
                if array.type != column.arrow or (array.null_count and not column.nullable):
                    problem = f"{array.type}, {array.null_count} null, but it is {column.arrow}"
                    raise Misfit({sha256: self._named(column, problem)})
                arrays.append(array)
            yield pa.record_batch(arrays, schema=self.schema)

    def _named(self, column: Column, reason: str) -> str:
        return f"{self._table.name}, column {column.name!r}: {reason}"

    def _batch(self) -> pa.RecordBatch:
        """Rows that were given one by one."""
        own: dict[str, Sequence[Any]] = {
            "release": [self._release] * len(self._hashes),
            "file_sha256": self._hashes,
            "file_row": self._numbers,
        }
        arrays = []
        for column in self._table.columns:
            values = own.get(column.name) or self._values(column)
            try:
                array = _array(values, column.arrow)
            except _MISFITS:
                raise self._misfits(column) from None
            if array.null_count and not column.nullable:
                raise self._misfits(column)
            arrays.append(array)
        return pa.record_batch(arrays, schema=self.schema)

    def _values(self, column: Column) -> list[Any]:
        return [row.get(column.name) for row in self._given]

    def _misfits(self, column: Column) -> Misfit:
        found: dict[str, str] = {}
        for sha256, value in zip(self._hashes, self._values(column), strict=True):
            if reason := _misfit(value, column):
                found.setdefault(sha256, self._named(column, reason))
        return Misfit(found)

    def drop(self, hashes: Mapping[str, Any]) -> None:
        """Forget the rows of some files."""
        keep = [i for i, sha256 in enumerate(self._hashes) if sha256 not in hashes]
        self._given = [self._given[i] for i in keep]
        self._hashes = [self._hashes[i] for i in keep]
        self._numbers = [self._numbers[i] for i in keep]
        self._tables = [(s, table) for s, table in self._tables if s not in hashes]
        self._table_rows = sum(table.num_rows for _, table in self._tables)


_MISFITS = (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError, OverflowError)


def _misfit(value: Any, column: Column) -> str | None:
    try:
        array = _array([value], column.arrow)
    except _MISFITS:
        shown = "an array" if isinstance(value, np.ndarray) else repr(value)
        return f"{shown} is not of type {column.arrow}"
    if array.null_count and not column.nullable:
        return "null, but this column must have a value"
    return None


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Arrow array of Python values; a NaN is null, but not inside a list.

    Masked elements of a list are null.
    """
    if not pa.types.is_list(kind):
        return pa.array(values, kind, from_pandas=True)
    if pa.types.is_string(kind.value_type):
        return pa.array(values, kind)
    parts = [value for value in values if value is not None]
    if not parts:
        return pa.nulls(len(values), kind)
    lengths = np.fromiter((0 if v is None else len(v) for v in values), np.int64, len(values))
    if lengths.sum() > np.iinfo(np.int32).max:
        raise ValueError(f"{lengths.sum()} numbers are too many for one batch")
    # One copy at most gathers the numbers in the machine's byte order.
    flat = joined([np.asarray(p) for p in parts], np.dtype(kind.value_type.to_pandas_dtype()))
    nulls: np.ndarray | None = None
    if any(isinstance(p, np.ma.MaskedArray) for p in parts):
        nulls = np.concatenate([np.ma.getmaskarray(p) for p in parts])
    is_null = pa.array([v is None for v in values]) if len(parts) < len(values) else None
    return make_list(pa.array(flat, mask=nulls), lengths, is_null).cast(kind)
