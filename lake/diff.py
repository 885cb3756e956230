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
    """
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
        names = [
            {row[0] for row in connection.execute(f"DESCRIBE {side}.{table}").fetchall()}
            for side in ("a", "b")
        ]
        shared = [c for c in sorted(names[0] & names[1]) if c not in {*made.key, *_PROVENANCE}]
        quoted = [contracts.quote(column) for column in shared]
        different = ", ".join(
            f"CASE WHEN x.{q} IS DISTINCT FROM y.{q} THEN {contracts.literal(c)} END"
            for q, c in zip(quoted, shared, strict=True)
        )
        match = " AND ".join(f"x.{k} IS NOT DISTINCT FROM y.{k}" for k in key)
        keys = ", ".join(f"CASE WHEN x.here THEN x.{k} ELSE y.{k} END AS {k}" for k in key)
        return connection.sql(
            f"SELECT * FROM (SELECT CASE WHEN y.here IS NULL THEN 'removed'"
            f" WHEN x.here IS NULL THEN 'added' ELSE 'changed' END AS change, {keys},"
            f" CASE WHEN x.here AND y.here THEN nullif(concat_ws(', ', {different}), '') END"
            f" AS columns FROM (SELECT TRUE AS here, * FROM a.{table}) AS x"
            f" FULL JOIN (SELECT TRUE AS here, * FROM b.{table}) AS y ON {match})"
            f" WHERE change <> 'changed' OR columns IS NOT NULL ORDER BY ALL"
        ).to_arrow_table()


def _two(store: Store, a: int | str, b: int | str) -> duckdb.DuckDBPyConnection:
    """Connect with the lake attached twice, as it was at two snapshots."""
    if a == b:
        raise UsageError(f"{a} and {b} are the same snapshot")
    connection = store.connect()
    for side, at in (("a", a), ("b", b)):
        connection.execute(store.attach_sql(at=store.resolve(at), name=side))
    return connection
