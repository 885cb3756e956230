"""Columns and rows of tables for a paper."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from lake import contracts
from lake.errors import LacusError


def column(
    name: str,
    kind: pa.DataType,
    description: str,
    *,
    unit: str | None = None,
    ucd: str | None = None,
    form: str | None = None,
) -> pa.Field:
    """Make an Arrow field that says what it holds.

    Parameters
    ----------
    name : str
    kind : pyarrow.DataType
    description : str
    unit, ucd : str, optional
        VOUnit and UCD1+.
    form : str, optional
        Digits that are worth printing, in Fortran's notation (``F6.3``).
    """
    given = contracts.field_metadata(unit, ucd, description)
    return pa.field(name, kind, metadata=given | ({b"format": form.encode()} if form else {}))


def declared(table: str, names: Iterable[str], forms: Mapping[str, str]) -> pa.Schema:
    """Give columns as the contract of a table declares them.

    Parameters
    ----------
    table : str
        Such as ``sdss.cnn_models``.
    names : iterable of str
    forms : mapping of str to str
        Digits that are worth printing, by column.
    """
    columns = contracts.table(table).by_name
    fields = [columns[name.lower()].field() for name in names]
    return pa.schema(
        [
            field.with_metadata({**field.metadata, b"format": forms[field.name].encode()})
            if field.name in forms
            else field
            for field in fields
        ]
    )


#: Class of a row.
CLASS = column("class_mk", pa.string(), "Class; null: without a label", ucd="src.spType")


def of_one(table: pa.Table, names: list[str]) -> None:
    """Refuse rows that belong to different things.

    Parameters
    ----------
    table : pyarrow.Table
    names : list of str
        Text columns that must be the same in all rows.

    Raises
    ------
    LacusError
        They are not.
    """
    found = table.select(names).group_by(names).aggregate([])
    if len(found) > 1:
        shown = sorted(" ".join(row.values()) for row in found.to_pylist())
        raise LacusError(f"a table shows one {' and '.join(names)}, not {', '.join(shown)}")


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Make a table of rows that may hold more than its columns."""
    return pa.Table.from_pylist([{k: row[k] for k in schema.names} for row in rows], schema)
