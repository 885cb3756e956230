"""Bring a lake into line with the contracts: make what is missing, refuse what would lose data."""

import hashlib
from typing import Any

import duckdb
import pyarrow as pa

from lake import contracts, models
from lake.errors import LacusError


def digest() -> str:
    """SHA-256 over `schema/` and `sql/`, and over the way `meta` is filled from them."""
    state = hashlib.sha256(b"meta 1")
    for kind in ("schema", "sql"):
        root = contracts.contracts_dir(kind)
        for path in sorted(p for p in root.rglob("*") if p.suffix in {".yaml", ".sql"}):
            state.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return state.hexdigest()


def sync(connection: duckdb.DuckDBPyConnection) -> bool:
    """Make tables, columns and views that the contracts declare and the lake lacks.

    All of it happens in one transaction, and only if the contracts differ from those that the
    lake was last brought into line with.

    Returns
    -------
    bool
        Whether anything was changed.

    Raises
    ------
    LacusError
        If a declared type differs from the stored one: that needs a migration.
    """
    wanted, present = digest(), _stored_tables(connection)
    if "meta.releases" in present:
        stored = connection.execute(
            "SELECT fingerprint FROM lake.meta.releases WHERE table_name = 'meta.columns'"
        ).fetchone()
        if stored and stored[0] == wanted:
            return False
    else:
        connection.execute("CALL lake.set_option('data_inlining_row_limit', '0')")
    statements = [f"CREATE SCHEMA IF NOT EXISTS lake.{n}" for n in contracts.namespaces()]
    for table in contracts.tables().values():
        statements += _alterations(table, present.get(table.name))
    statements += [f"DROP VIEW lake.{n}" for n in _stored_views(connection) - set(models.views())]
    for view in models.views().values():
        statements += view.ddl()
    connection.execute("BEGIN")
    # A thousand statements: given one by one, each would wait for the interpreter.
    connection.execute(";\n".join(statements))
    _describe(connection)
    connection.execute("DELETE FROM lake.meta.releases WHERE mission = 'meta'")
    connection.execute(
        "INSERT INTO lake.meta.releases BY NAME SELECT 'meta' AS mission, 'contracts' AS release,"
        " 'meta.columns' AS table_name, count(*) AS rows, ? AS fingerprint, '1' AS code_version,"
        " ? AS snapshot, now() AS committed_at FROM lake.meta.columns",
        [wanted, _next_snapshot(connection)],
    )
    connection.execute(
        "CALL lake.set_commit_message('lacus', 'bring the lake into line with its contracts',"
        " extra_info => ?)",
        [f'{{"contracts": "{wanted}"}}'],
    )
    connection.execute("COMMIT")
    return True


def _next_snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("SELECT id + 1 FROM lake.current_snapshot()").fetchone()
    return int(row[0]) if row else 0


def _stored_tables(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    rows = connection.execute(
        "SELECT schema_name || '.' || table_name, lower(column_name), data_type"
        " FROM duckdb_columns() WHERE database_name = 'lake'"
    ).fetchall()
    tables: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        tables.setdefault(table, {})[column] = kind
    return tables


def _stored_views(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute(
        "SELECT schema_name || '.' || view_name FROM duckdb_views()"
        " WHERE database_name = 'lake' AND NOT internal"
    ).fetchall()
    return {name for (name,) in rows}


def _alterations(table: contracts.Table, stored: dict[str, str] | None) -> list[str]:
    if stored is None:
        return list(table.ddl())
    statements = []
    for column in table.columns:
        kind = stored.get(column.name.lower())
        target = f"lake.{table.name}"
        if kind is None:
            name = contracts.quote(column.name)
            statements.append(f"ALTER TABLE {target} ADD COLUMN {name} {column.duckdb}")
        elif kind != column.duckdb:
            raise LacusError(
                f"{table.name}.{column.name} is stored as {kind} and now declared {column.duckdb}:"
                " this lake needs a migration"
            )
        statements.append(
            contracts.comment(target, column.name, column.description, column.unit, column.ucd)
        )
    return statements


def _describe(connection: duckdb.DuckDBPyConnection) -> None:
    """Write `meta.columns` and `meta.lineage`; columns kept from inputs stay described."""
    meanings: dict[tuple[str, str], tuple[Any, ...]] = {}
    lineage = []
    for table in contracts.tables().values():
        for column in table.columns:
            meanings[table.name, column.name] = (
                column.unit, column.ucd, column.description, "contract",
            )  # fmt: skip
    for view in models.views().values():
        for made in view.columns:
            meanings[view.name, made.name] = (made.unit, made.ucd, made.description, "view")
            lineage += [(view.name, made.name, *source) for source in made.sources]
    stored = connection.execute(
        "SELECT schema_name || '.' || table_name, column_name, column_index, data_type"
        " FROM duckdb_columns() WHERE database_name = 'lake' ORDER BY ALL"
    ).fetchall()
    rows = [
        (table, column, position, kind, *meanings[table, column])
        for table, column, position, kind in stored
        if (table, column) in meanings
    ]
    connection.execute("DELETE FROM lake.meta.columns WHERE origin <> 'input'")
    _insert(connection, "meta.columns", rows)
    # An input's column that the contracts have come to declare is described by them.
    connection.execute(
        "DELETE FROM lake.meta.columns AS c WHERE origin = 'input' AND EXISTS (SELECT 1 FROM"
        " lake.meta.columns AS d WHERE d.table_name = c.table_name"
        " AND lower(d.column_name) = lower(c.column_name) AND d.origin <> 'input')"
    )
    connection.execute("DELETE FROM lake.meta.lineage")
    _insert(connection, "meta.lineage", lineage)


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[Any, ...]]) -> None:
    schema = contracts.table(table).schema()
    data = pa.table(
        {f.name: pa.array(c, f.type) for f, c in zip(schema, zip(*rows, strict=True), strict=True)}
    )
    connection.register("described_rows", data)
    connection.execute(f"INSERT INTO lake.{table} BY NAME SELECT * FROM described_rows")
    connection.unregister("described_rows")
