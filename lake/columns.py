"""Rows of one table, gathered column by column until they are made Arrow at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import compress
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
        self._parts: list[tuple[list[str], dict[str, Sequence[Any]]]] = []
        self._part_rows = 0
        self.list_bytes = 0

    @property
    def rows(self) -> int:
        """Rows gathered."""
        return len(self._given) + self._table_rows + self._part_rows

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
            self.list_bytes += sum(_size(row.get(name)) for name in self._large)

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
            If there is a column that the contract does not declare.
        """
        self._declared(columns.keys())
        self._parts.append((list(hashes), dict(columns)))
        self._part_rows += len(hashes)
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
        made = []
        if self._hashes:
            made.append(self._batch(self._row_values, self._numbers, self._hashes))
        for hashes, columns in self._parts:
            made.append(self._batch(columns.get, columns["file_row"], hashes))
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

    def _row_values(self, name: str) -> list[Any]:
        return [row.get(name) for row in self._given]

    def _batch(
        self,
        values_of: Callable[[str], Sequence[Any] | None],
        numbers: Sequence[int],
        hashes: Sequence[str],
    ) -> pa.RecordBatch:
        """Rows of which each column is there as a sequence, or is null."""
        size = len(hashes)
        own = {
            "release": pa.repeat(self._release, size),
            "file_sha256": pa.array(hashes, pa.string()),
            "file_row": pa.array(numbers, pa.int64()),
        }
        arrays = []
        for column in self._table.columns:
            values = None
            if (array := own.get(column.name)) is None:
                values = values_of(column.name)
                try:
                    array = (
                        pa.nulls(size, column.arrow)
                        if values is None
                        else _array(values, column.arrow)
                    )
                except _MISFITS:
                    raise self._misfits(column, values or (), hashes) from None
            if array.null_count and not column.nullable:
                raise self._misfits(column, values or [None] * size, hashes)
            arrays.append(array)
        return pa.record_batch(arrays, schema=self.schema)

    def _misfits(self, column: Column, values: Sequence[Any], hashes: Sequence[str]) -> Misfit:
        found: dict[str, str] = {}
        for sha256, value in zip(hashes, values, strict=True):
            if reason := _misfit(value, column):
                found.setdefault(sha256, self._named(column, reason))
        return Misfit(found)

    def drop(self, hashes: Mapping[str, Any]) -> None:
        """Forget the rows of some files."""
        keep = [sha256 not in hashes for sha256 in self._hashes]
        self._given = list(compress(self._given, keep))
        self._hashes = list(compress(self._hashes, keep))
        self._numbers = list(compress(self._numbers, keep))
        self._parts = [left for part in self._parts if (left := _without(hashes, *part))[0]]
        self._part_rows = sum(len(part) for part, _ in self._parts)
        self._tables = [(s, table) for s, table in self._tables if s not in hashes]
        self._table_rows = sum(table.num_rows for _, table in self._tables)


def _without(
    dropped: Mapping[str, Any], hashes: list[str], columns: dict[str, Sequence[Any]]
) -> tuple[list[str], dict[str, Sequence[Any]]]:
    keep = [sha256 not in dropped for sha256 in hashes]
    left: dict[str, Sequence[Any]] = {
        name: list(compress(values, keep)) for name, values in columns.items()
    }
    return list(compress(hashes, keep)), left


def _size(value: Any) -> int:
    """Bytes of an array, or of a value of bytes."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    return len(value) if isinstance(value, bytes) else 0


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
