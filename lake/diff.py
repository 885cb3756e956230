"""What changed between two snapshots."""

import duckdb
import pyarrow as pa

from lake import contracts, models
from lake.errors import UsageError
from lake.store import Store

#: Columns that tell where a row comes from, not what it says.
_PROVENANCE = {"file_sha256", "file_row", "model_id"}


def summary(store: Store, a: int | str, b: int | str) -> pa.Table:
    """Rows of each release and table that differ in number or origin between two snapshots.

    Parameters
    ----------
    store : Store
    a, b : int or str
        Snapshots or pins, the earlier first.

    Returns
    -------
    pyarrow.Table
        Columns table_name, release, rows_a, rows_b (null where absent), changed (whether what the
        rows were made from differs).

    Raises
    ------
    UsageError
        If there is no such snapshot or pin, or both are the same, or one is of the empty lake.
    """
    first = store.snapshots()[0].id
    if first in (store.resolve(a), store.resolve(b)):
        raise UsageError(f"snapshot {first} is that of the empty lake; compare with a later one")
    with _two(store, a, b) as connection:
        return connection.sql(
            "SELECT coalesce(x.table_name, y.table_name) AS table_name,"
            " coalesce(x.release, y.release) AS release, x.rows AS rows_a, y.rows AS rows_b,"
            " x.fingerprint IS DISTINCT FROM y.fingerprint AS changed"
            " FROM a.meta.releases AS x FULL JOIN b.meta.releases AS y"
            " ON x.table_name = y.table_name AND x.release = y.release"
            " WHERE coalesce(x.mission, y.mission) <> 'meta'"
            " AND (x.fingerprint IS DISTINCT FROM y.fingerprint OR x.rows <> y.rows)"
            " ORDER BY 1, 2"
        ).to_arrow_table()


def rows(store: Store, a: int | str, b: int | str, table: str) -> pa.Table:
    """Rows of a table or view that were added, removed or changed between two snapshots.

    Parameters
    ----------
    store : Store
    a, b : int or str
        Snapshots or pins, the earlier first.
    table : str

    Returns
    -------
    pyarrow.Table
        Column change (added, removed, changed), the key, and the names of the changed columns.
        Provenance alone (another file with the same content) is no change.

    Raises
    ------
    UsageError
        If there is no such table, or it was not there in one of the snapshots.
    """
    made = models.views().get(table) or contracts.table(table)
    key = [contracts.quote(column) for column in made.key]
    with _two(store, a, b) as connection:
        names = [_columns(connection, side, table) for side in ("a", "b")]
        for at, there in zip((a, b), names, strict=True):
            if not there:
                raise UsageError(f"there is no {table} in snapshot {at}")
        shared = [c for c in sorted(names[0] & names[1]) if c not in {*made.key, *_PROVENANCE}]
        quoted = [contracts.quote(column) for column in shared]
        different = ", ".join(
            f"CASE WHEN x.{q} IS DISTINCT FROM y.{q} THEN {contracts.literal(c)} END"
            for q, c in zip(quoted, shared, strict=True)
        )
        match = " AND ".join(f"x.{k} IS NOT DISTINCT FROM y.{k}" for k in key)
        # Whether a side has the row; the name is one that no input's column has.
        keys = ", ".join(f"CASE WHEN x.lacus_here THEN x.{k} ELSE y.{k} END AS {k}" for k in key)
        return connection.sql(
            f"SELECT * FROM (SELECT CASE WHEN y.lacus_here IS NULL THEN 'removed'"
            f" WHEN x.lacus_here IS NULL THEN 'added' ELSE 'changed' END AS change, {keys},"
            f" CASE WHEN x.lacus_here AND y.lacus_here"
            f" THEN nullif(concat_ws(', ', {different}), '') END AS columns"
            f" FROM (SELECT TRUE AS lacus_here, * FROM a.{table}) AS x"
            f" FULL JOIN (SELECT TRUE AS lacus_here, * FROM b.{table}) AS y ON {match})"
            f" WHERE change <> 'changed' OR columns IS NOT NULL ORDER BY ALL"
        ).to_arrow_table()


def _columns(connection: duckdb.DuckDBPyConnection, side: str, table: str) -> set[str]:
    """Columns of a table or view on one side; none if it is not there."""
    namespace, _, name = table.partition(".")
    rows = connection.execute(
        "SELECT column_name FROM duckdb_columns()"
        " WHERE database_name = ? AND schema_name = ? AND table_name = ?",
        [side, namespace, name],
    ).fetchall()
    return {row[0] for row in rows}


def _two(store: Store, a: int | str, b: int | str) -> duckdb.DuckDBPyConnection:
    """Connect with the lake attached twice, as it was at two snapshots."""
    resolved = {"a": store.resolve(a), "b": store.resolve(b)}
    if resolved["a"] == resolved["b"]:
        raise UsageError(f"{a} and {b} are the same snapshot")
    connection = store.connect()
    for side, at in resolved.items():
        connection.execute(store.attach_sql(at=at, name=side))
    return connection
