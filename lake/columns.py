"""Rows of one table, gathered column by column until they are made Arrow at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lake.contracts import Column, Table
from lake.errors import LacusError
from lake.formats.columns import make_list


class MisfitError(Exception):
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
        self.schema = table.schema()
        self.clear()

    def clear(self) -> None:
        """Start without rows."""
        self._values: dict[str, list[Any]] = {
            c.name: [] for c in self._table.columns if c.name not in self._own
        }
        self._hashes: list[str] = []
        self._rows: list[int] = []
        self._tables: list[tuple[str, pa.Table]] = []
        self.list_bytes = 0

    @property
    def rows(self) -> int:
        """Rows gathered."""
        return len(self._hashes) + sum(table.num_rows for _, table in self._tables)

    def extend(self, rows: Sequence[Mapping[str, Any]] | pa.Table, sha256: str) -> None:
        """Add the rows of one file.

        Raises
        ------
        LacusError
            If a row has a column that the contract does not declare.
        """
        if isinstance(rows, pa.Table):
            self._declared(rows.column_names)
            self._tables.append((sha256, rows))
            self.list_bytes += rows.nbytes
            return
        values = self._values
        for number, row in enumerate(rows, 1):
            self._declared(row)
            for name, column in values.items():
                value = row.get(name)
                column.append(value)
                if isinstance(value, np.ndarray):
                    self.list_bytes += value.nbytes
                elif isinstance(value, bytes):
                    self.list_bytes += len(value)
            self._hashes.append(sha256)
            self._rows.append(row.get("file_row", number))

    def _declared(self, names: Iterable[str]) -> None:
        unknown = set(names) - self._values.keys() - self._own
        if unknown:
            raise LacusError(f"{self._table.name} declares no column {', '.join(sorted(unknown))}")

    def batches(self) -> list[pa.RecordBatch]:
        """Give all rows as batches of the contract's schema; those of Arrow tables are not copied.

        Raises
        ------
        MisfitError
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
                    raise MisfitError({sha256: self._named(column, problem)})
                arrays.append(array)
            yield pa.record_batch(arrays, schema=self.schema)

    def _named(self, column: Column, reason: str) -> str:
        return f"{self._table.name}, column {column.name!r}: {reason}"

    def _batch(self) -> pa.RecordBatch:
        """Rows that were given one by one."""
        own: dict[str, Sequence[Any]] = {
            "release": [self._release] * len(self._hashes),
            "file_sha256": self._hashes,
            "file_row": self._rows,
        }
        arrays = []
        for column in self._table.columns:
            values = own[column.name] if column.name in own else self._values[column.name]
            try:
                array = _array(values, column.arrow)
            except _MISFITS:
                raise self._misfits(column) from None
            if array.null_count and not column.nullable:
                raise self._misfits(column)
            arrays.append(array)
        return pa.record_batch(arrays, schema=self.schema)

    def _misfits(self, column: Column) -> "MisfitError":
        found: dict[str, str] = {}
        for sha256, value in zip(self._hashes, self._values[column.name], strict=True):
            if reason := _misfit(value, column):
                found.setdefault(sha256, self._named(column, reason))
        return MisfitError(found)

    def drop(self, hashes: Mapping[str, Any]) -> None:
        """Forget the rows of some files."""
        keep = [i for i, sha256 in enumerate(self._hashes) if sha256 not in hashes]
        for name, values in self._values.items():
            self._values[name] = [values[i] for i in keep]
        self._hashes = [self._hashes[i] for i in keep]
        self._rows = [self._rows[i] for i in keep]
        self._tables = [(s, table) for s, table in self._tables if s not in hashes]


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
    # One copy takes the numbers out of the files' bytes and into the machine's byte order.
    lengths = [0 if v is None else len(v) for v in values]
    total = sum(lengths)
    if total > np.iinfo(np.int32).max:
        raise ValueError(f"{total} numbers are too many for one batch")
    dtype = kind.value_type.to_pandas_dtype()
    flat = np.empty(total, dtype)
    nulls: np.ndarray | None = None
    end = 0
    for value, length in zip(values, lengths, strict=True):
        if length:
            start, end = end, end + length
            np.copyto(flat[start:end], np.asarray(value), casting="same_kind")
            if isinstance(value, np.ma.MaskedArray) and value.mask.any():
                nulls = np.zeros(total, bool) if nulls is None else nulls
                nulls[start:end] = value.mask
    missing = np.fromiter((v is None for v in values), bool, len(values))
    is_null = pa.array(missing) if missing.any() else None
    return make_list(pa.array(flat, mask=nulls), np.array(lengths, int), is_null).cast(kind)
