"""Bring a lake into line with the contracts: make what is missing, refuse what would lose data."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from lake import contracts, models
from lake.errors import LacusError

#: Types of growing range: every value of one is a value of those behind it.
_WIDER = (("TINYINT", "SMALLINT", "INTEGER", "BIGINT"), ("FLOAT", "DOUBLE"))


def digest() -> str:
    """SHA-256 over `schema/` and `sql/`, and over the way `meta` is filled from them."""
    state = hashlib.sha256(b"meta 1")
    for kind in ("schema", "sql"):
        root = contracts.contracts_dir(kind)
        for path in sorted(p for p in root.rglob("*") if p.suffix in {".yaml", ".sql"}):
            state.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return state.hexdigest()


@dataclass(frozen=True)
class Change:
    """What brings one table or view into line with its contract.

    Attributes
    ----------
    what : str
        In words, the names first.
    statements : tuple of str
        In SQL.
    destructive : bool
        Whether rows lose values by it.
    """

    what: str
    statements: tuple[str, ...]
    destructive: bool = False


def sync(
    connection: duckdb.DuckDBPyConnection, *, destructive: bool = False, comments: bool = True
) -> bool:
    """Bring a lake into line with the contracts, if they differ from those of the last time.

    All of it happens in one transaction; former snapshots stay as they were.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Writes the lake, under its lock.
    destructive : bool
        Whether changes that lose values are made too.
    comments : bool
        Whether tables, views and columns are commented, too; see `comment_all`.

    Returns
    -------
    bool
        Whether anything was changed.

    Raises
    ------
    LacusError
        If a change loses values and these are not to be made; the lake is as it was.
    """
    wanted, former = digest(), _former(connection)
    if wanted == former:
        return False
    # Every transaction looks for its snapshot, which takes longer than what is asked for below.
    connection.execute("BEGIN")
    if former is None:
        connection.execute("CALL lake.set_option('data_inlining_row_limit', '0')")
    todo = changes(connection)
    losing = [change.what for change in todo if change.destructive]
    if losing and not destructive:
        raise LacusError(
            f"this lake was made by other contracts, and the present ones would lose values:"
            f" {'; '.join(losing)}. `lacus migrate --dry-run` lists all changes,"
            " `lacus migrate --allow-destructive` makes them; former snapshots keep the values"
        )
    statements = [f"CREATE SCHEMA IF NOT EXISTS lake.{n}" for n in contracts.namespaces()]
    for change in todo:
        statements += change.statements
    for view in models.views().values():
        statements += view.ddl()
    if comments:
        for table in contracts.tables().values():
            statements += table.comments()
        for view in models.views().values():
            statements += view.comments()
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
    info = {"contracts": wanted} | ({"changes": [c.what for c in todo]} if former else {})
    connection.execute(
        "CALL lake.set_commit_message('lacus', 'bring the lake into line with its contracts',"
        " extra_info => ?)",
        [json.dumps(info)],
    )
    connection.execute("COMMIT")
    return True


def changes(connection: duckdb.DuckDBPyConnection) -> list[Change]:
    """What `sync` would do to the tables and views of a lake, besides renewing descriptions.

    A table without rows has nothing to lose. Columns that came with an input are kept, and a type
    that holds all values of the stored one (INTEGER to BIGINT, FLOAT to DOUBLE) loses none.
    """
    present, declared = _stored_tables(connection), contracts.tables()
    found = [
        Change(f"view {name} goes", (f"DROP VIEW lake.{name}",))
        for name in sorted(_stored_views(connection) - set(models.views()))
    ]
    former: dict[str, set[str]] = {}
    if "meta.columns" in present:
        described = "SELECT table_name, column_name FROM lake.meta.columns WHERE origin = ?"
        for name, column in connection.execute(described, ["contract"]).fetchall():
            former.setdefault(name, set()).add(column)
    found += [
        Change(f"table {name} goes", (f"DROP TABLE lake.{name}",), _has_rows(connection, name))
        for name in sorted(former.keys() & present.keys() - declared.keys())
    ]
    for table in declared.values():
        stored = present.get(table.name)
        if stored is None:
            found.append(Change(f"table {table.name} is new", tuple(table.ddl())))
            continue
        altered = list(_alterations(table, stored, former.get(table.name, set())))
        if any(c.destructive for c in altered) and not _has_rows(connection, table.name):
            made = (f"DROP TABLE lake.{table.name}", *table.ddl())
            altered = [Change(f"table {table.name}, which has no row, is made anew", made)]
        found += altered
    return found


def _former(connection: duckdb.DuckDBPyConnection) -> str | None:
    """Digest of the contracts that the lake was last in line with; None while it is being made."""
    stored_by = "SELECT fingerprint FROM lake.meta.releases WHERE table_name = 'meta.columns'"
    try:
        stored = connection.execute(stored_by).fetchone()
    except duckdb.CatalogException:  # there is no such table
        return None
    return None if stored is None else str(stored[0])


def _has_rows(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return connection.execute(f"SELECT 1 FROM lake.{table} LIMIT 1").fetchone() is not None


def _next_snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("SELECT id + 1 FROM lake.current_snapshot()").fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True)
class _Stored:
    """A column as the lake has it."""

    name: str
    kind: str
    nullable: bool


def _stored_tables(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, _Stored]]:
    """Columns of all tables and views by lower-case name."""
    rows = connection.execute(
        "SELECT schema_name || '.' || table_name, column_name, data_type, is_nullable"
        " FROM duckdb_columns() WHERE database_name = 'lake'"
    ).fetchall()
    tables: dict[str, dict[str, _Stored]] = {}
    for table, *column in rows:
        tables.setdefault(table, {})[column[0].lower()] = _Stored(*column)
    return tables


def _stored_views(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute(
        "SELECT schema_name || '.' || view_name FROM duckdb_views()"
        " WHERE database_name = 'lake' AND NOT internal"
    ).fetchall()
    return {name for (name,) in rows}


def _alterations(
    table: contracts.Table, stored: dict[str, _Stored], former: set[str]
) -> Iterator[Change]:
    """Changes of a stored table; `former` are its columns that contracts have declared."""
    target = f"lake.{table.name}"
    for name in sorted(former):
        if name.lower() in stored and name.lower() not in table.by_name:
            drop = f"ALTER TABLE {target} DROP COLUMN {contracts.quote(name)}"
            yield Change(f"column {table.name}.{name} goes", (drop,), destructive=True)
    for column in table.columns:
        there, name = stored.get(column.name.lower()), contracts.quote(column.name)
        what = f"column {table.name}.{column.name}"
        alter = f"ALTER TABLE {target} ALTER COLUMN {name}"
        if there is None:
            add = f"ALTER TABLE {target} ADD COLUMN {name} {column.duckdb}"
            yield Change(f"{what} ({column.duckdb}) is new", (add,))
            continue
        if column.nullable and not there.nullable:
            yield Change(f"{what} may be null", (f"{alter} DROP NOT NULL",))
        if there.kind == column.duckdb:
            continue
        what += f" becomes {column.duckdb}, was {there.kind}"
        if _widens(there.kind, column.duckdb):
            yield Change(what, (f"{alter} SET DATA TYPE {column.duckdb}",))
        else:
            yield Change(f"{what}; null where a value does not fit", _recast(table, column), True)


def _widens(old: str, new: str) -> bool:
    """Whether a type holds all values of another, and the lake can change to it in place."""
    for order in _WIDER:
        kinds = [*order, *(f"{kind}[]" for kind in order)]
        if old in kinds and new in kinds and old.endswith("]") == new.endswith("]"):
            return kinds.index(old) < kinds.index(new)
    return False


def _recast(table: contracts.Table, column: contracts.Column) -> tuple[str, ...]:
    """Statements that change a column to a type that may not hold all of its values."""
    target, name = f"lake.{table.name}", contracts.quote(column.name)
    new = contracts.quote(f"{column.name} lacus")  # a name that no column has
    return (
        f"ALTER TABLE {target} ADD COLUMN {new} {column.duckdb}",
        f"UPDATE {target} SET {new} = TRY_CAST({name} AS {column.duckdb})",
        f"ALTER TABLE {target} DROP COLUMN {name}",
        f"ALTER TABLE {target} RENAME COLUMN {new} TO {name}",
    )


#: Comments are tags of tables, views and columns (DuckLake 1.0: ducklake_tag, ducklake_column_tag).
_COMMENT_ALL = """
BEGIN;
CREATE TEMP TABLE objects AS
SELECT s.schema_name || '.' || o.name AS name, o.id, o.begin_snapshot
FROM (
    SELECT table_id AS id, schema_id, table_name AS name, begin_snapshot FROM ducklake_table
    UNION ALL
    SELECT view_id, schema_id, view_name, begin_snapshot FROM ducklake_view
) AS o
JOIN ducklake_schema AS s USING (schema_id);
INSERT INTO ducklake_tag
SELECT o.id, o.begin_snapshot, NULL, 'comment', c.text
FROM comments AS c JOIN objects AS o USING (name)
WHERE c.column_name IS NULL;
INSERT INTO ducklake_column_tag
SELECT o.id, d.column_id, d.begin_snapshot, NULL, 'comment', c.text
FROM ducklake_column AS d JOIN objects AS o ON d.table_id = o.id
JOIN comments AS c ON c.name = o.name AND c.column_name = d.column_name
WHERE d.parent_column IS NULL;
COMMIT;
"""


def comment_all(catalog: sqlite3.Connection) -> None:
    """Comment the tables, views and columns of a lake that was just made, in its catalogue.

    The statements that do so one by one take as long as all else that makes the lake.
    """
    rows: list[tuple[str, str | None, str]] = []
    for view in models.views().values():
        rows.append((view.name, None, view.description))
    for table in contracts.tables().values():
        rows.append((table.name, None, table.description))
        rows += [
            (table.name, c.name, contracts.comment_text(c.description, c.unit, c.ucd))
            for c in table.columns
        ]
    catalog.execute("CREATE TEMP TABLE comments (name, column_name, text)")
    catalog.execute("CREATE INDEX temp.comments_by_name ON comments (name, column_name)")
    catalog.executemany("INSERT INTO comments VALUES (?, ?, ?)", rows)
    catalog.executescript(_COMMENT_ALL)


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
    # The others have moved if a column before them went, and are gone with their table.
    places = {(table, column): position for table, column, position, _ in stored}
    of_inputs = "SELECT table_name, column_name, position FROM lake.meta.columns WHERE origin = ?"
    for table, column, position in connection.execute(of_inputs, ["input"]).fetchall():
        place, own = places.get((table, column)), "table_name = ? AND column_name = ?"
        if place is None:
            connection.execute(f"DELETE FROM lake.meta.columns WHERE {own}", [table, column])
        elif place != position:
            connection.execute(
                f"UPDATE lake.meta.columns SET position = ? WHERE {own}", [place, table, column]
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
