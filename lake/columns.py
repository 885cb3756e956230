"""Rows of one table, gathered column by column until they are made Arrow at once."""

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import chain, compress
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

    Attributes
    ----------
    rows : int
        Rows gathered.
    list_bytes : int
        Bytes of their lists and of Arrow tables.
    """

    def __init__(self, table: Table, release: str) -> None:
        self._table, self._release = table, release
        self._names = {c.name for c in table.columns}
        # Columns whose values are large: lists and binary ones.
        self._large = [
            c.name for c in table.columns if pa.types.is_list(c.arrow) or c.arrow == pa.binary()
        ]
        self.schema = table.schema()
        self.clear()

    def clear(self) -> None:
        """Start without rows."""
        self._hashes: list[str] = []
        # Of equal length; of columns that none of the rows has a value for, there is none.
        self._values: dict[str, list[Any]] = {}
        self._tables: list[tuple[str, pa.Table]] = []
        self.rows = self.list_bytes = 0

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
            self.rows += rows.num_rows
            self.list_bytes += rows.nbytes
            return
        columns = by_column(rows)
        columns["file_row"] = [row.get("file_row", number) for number, row in enumerate(rows, 1)]
        self.extend_columns(columns, [sha256] * len(rows))

    def extend_columns(self, columns: Mapping[str, Sequence[Any]], hashes: Sequence[str]) -> None:
        """Add rows of several files column by column.

        Parameters
        ----------
        columns : mapping of str to sequence
            Values of equal number by column, file_row among them; a column left out is null.
        hashes : sequence of str
            SHA-256 of each row's file.

        Raises
        ------
        LacusError
            If there is a column that the contract does not declare, or of another length.
        """
        self._declared(columns.keys())
        before = len(self._hashes)
        self._hashes += hashes
        self.rows += len(hashes)
        for name, values in columns.items():
            if len(values) != len(hashes):
                problem = f"{len(values)} values of {name}, but {len(hashes)} rows"
                raise LacusError(f"{self._table.name}: {problem}")
            self._values.setdefault(name, [None] * before).extend(values)
        for name in self._values.keys() - columns.keys():
            self._values[name] += [None] * len(hashes)
        for name in self._large:
            self.list_bytes += sum(map(_size, columns.get(name, ())))

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
        """Rows that were given value by value."""
        size = len(self._hashes)
        own = {
            "release": pa.repeat(self._release, size),
            "file_sha256": pa.array(self._hashes, pa.string()),
        }
        arrays = []
        for column in self._table.columns:
            if (array := own.get(column.name)) is None:
                array = self._array(column)
            arrays.append(array)
        return pa.record_batch(arrays, schema=self.schema)

    def _array(self, column: Column) -> pa.Array:
        values = self._values.get(column.name)
        try:
            if values is None:
                array = pa.nulls(len(self._hashes), column.arrow)
            else:
                array = _array(values, column.arrow)
        except _MISFITS as error:
            raise self._misfits(column, str(error)) from None
        if array.null_count and not column.nullable:
            raise self._misfits(column, "null")
        return array

    def _misfits(self, column: Column, problem: str) -> Misfit:
        """Files whose values do not fit a column: all of them, if each fits by itself."""
        values = self._values.get(column.name, [None] * len(self._hashes))
        found: dict[str, str] = {}
        for sha256, value in zip(self._hashes, values, strict=True):
            if reason := _misfit(value, column):
                found.setdefault(sha256, self._named(column, reason))
        return Misfit(found or dict.fromkeys(self._hashes, self._named(column, problem)))

    def drop(self, hashes: Mapping[str, Any]) -> None:
        """Forget the rows of some files."""
        keep = [sha256 not in hashes for sha256 in self._hashes]
        self._hashes = list(compress(self._hashes, keep))
        self._values = {name: list(compress(v, keep)) for name, v in self._values.items()}
        self._tables = [(s, table) for s, table in self._tables if s not in hashes]
        self.rows = len(self._hashes) + sum(table.num_rows for _, table in self._tables)


def by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]]:
    """Columns of rows; None where a row has no value."""
    return {
        name: [row.get(name) for row in rows] for name in dict.fromkeys(chain.from_iterable(rows))
    }


def _size(value: Any) -> int:
    """Bytes of an array, or of a value of bytes."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    return len(value) if isinstance(value, bytes) else 0


#: Numbers that the lists of one batch may hold.
_MOST_NUMBERS = np.iinfo(np.int32).max
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
    if lengths.sum() > _MOST_NUMBERS:
        raise ValueError(f"{lengths.sum()} numbers are too many for one batch")
    # One copy at most gathers the numbers in the machine's byte order.
    flat = joined([np.asarray(p) for p in parts], np.dtype(kind.value_type.to_pandas_dtype()))
    nulls: np.ndarray | None = None
    if any(isinstance(p, np.ma.MaskedArray) for p in parts):
        nulls = np.concatenate([np.ma.getmaskarray(p) for p in parts])
    is_null = pa.array([v is None for v in values]) if len(parts) < len(values) else None
    return make_list(pa.array(flat, mask=nulls), lengths, is_null).cast(kind)
