"""What the tests of all missions' views share."""

from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from lake import contracts

Row = dict[str, Any]


def insert(
    tables: duckdb.DuckDBPyConnection,
    name: str,
    rows: Iterable[Row] | pa.Table,
    plain: Mapping[str, Any] | None = None,
) -> None:
    """Put rows into a table; what they do not say is as in `plain`, else null."""
    data = rows
    if not isinstance(data, pa.Table):
        filled = [{**(plain or {}), **row} for row in data]
        data = pa.Table.from_pylist(filled, contracts.table(name).schema())
    tables.register("rows_in", data)
    tables.execute(f"INSERT INTO {name} BY NAME SELECT * FROM rows_in")
    tables.unregister("rows_in")
