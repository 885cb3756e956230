"""What changed between two snapshots: by table, and row by row."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from lake import contracts, models
from lake.contracts import literal, quote
from lake.errors import UsageError
from lake.store import Store

#: Columns that tell where a row comes from, not what it says.
_PROVENANCE = {"file_sha256", "file_row", "model_id"}

#: The UCD of the class of a row; without `meta.main` it is a runner-up or another vote.
_CLASS = {"src.class;meta.main", "src.spType;meta.main"}
#: By what reclassified rows are counted (releases and methods), and what their object is.
_GROUPS, _OBJECT = {"meta.version", "meta.code"}, "meta.id;meta.main"
#: Probabilities that a row has for each class; the largest is that of its class.
_EACH_CLASS = {"stat.probability;src.class", "stat.probability;stat.mean"}


@dataclass(frozen=True)
class Differences:
    """Rows of a table or view that differ between two snapshots.

    Attributes
    ----------
    counts : dict
        Rows by kind of change: added, removed, reclassified (their class differs), changed (they
        differ in anything else).
    classes : pyarrow.Table or None
        Reclassified rows by release, method (if it is part of the key), former and present class,
        with their number and, if several rows are of one object, the number of objects; None for
        a table without classes.
    rows : pyarrow.Table
        Columns change, the key, former and present class with their probabilities (where the
        table has them), and the names of the changed columns.
    """

    counts: dict[str, int]
    classes: pa.Table | None
    rows: pa.Table


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
    with _two(store, a, b) as connection:
        for side, at in (("a", a), ("b", b)):
            if not _columns(connection, side, "meta.releases"):
                raise UsageError(f"snapshot {at} is that of the empty lake; take a later one")
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


def differences(store: Store, a: int | str, b: int | str, table: str) -> Differences:
    """Compare the rows of a table or view at two snapshots.

    Rows are matched by their key, without the model that made them: a source that another model
    puts into another class is reclassified, neither removed nor added. Provenance alone (another
    file with the same content) is no change.

    Parameters
    ----------
    store : Store
    a, b : int or str
        Snapshots or pins, the earlier first.
    table : str

    Raises
    ------
    UsageError
        If there is no such table, or it was not there in one of the snapshots.
    """
    made = models.named(table)
    with _two(store, a, b) as connection:
        there = [_columns(connection, side, table) for side in ("a", "b")]
        for at, names in zip((a, b), there, strict=True):
            if not names:
                raise UsageError(f"there is no {table} in snapshot {at}")
        shared = there[0] & there[1]
        key = _matching(connection, made, shared)
        ucds = {c.name: c.ucd for c in made.columns if c.name in shared and c.name not in key}
        # Files that both have say the same, however large they are; a view may have been another.
        same = table not in models.views() and _same_files(connection, table)
        query = _query(made, key, shared, ucds, "FALSE" if same else "TRUE")
        connection.execute(f"CREATE TEMP TABLE lacus_found AS {query}")
        counts = dict.fromkeys(("added", "removed", "reclassified", "changed"), 0)
        counts |= connection.execute(
            "SELECT change, count(*) FROM lacus_found GROUP BY 1"
        ).fetchall()
        label = _label(ucds)
        classes = None
        if label is None:
            del counts["reclassified"]
        else:
            classes = connection.sql(_reclassified(made, key, label)).to_arrow_table()
        rows = connection.sql("SELECT * FROM lacus_found ORDER BY ALL").to_arrow_table()
    return Differences(counts, classes, rows)


def _matching(
    connection: duckdb.DuckDBPyConnection, made: contracts.Table | models.View, shared: set[str]
) -> list[str]:
    """Columns by which rows are the same row: the key, as far as it says what a row is of."""
    lasting = [name for name in made.key if name not in _PROVENANCE]
    if len(lasting) == len(made.key):
        return lasting
    lasting += {"model_release"} & shared  # what is left of a model's name when it is trained anew
    columns = ", ".join(map(quote, lasting))
    for side in ("a", "b"):
        repeated = f"SELECT 1 FROM {side}.{made.name} GROUP BY {columns} HAVING count(*) > 1"
        if connection.execute(f"{repeated} LIMIT 1").fetchone():
            return list(made.key)
    return lasting


def _query(
    made: contracts.Table | models.View,
    key: list[str],
    shared: set[str],
    ucds: dict[str, str | None],
    rows: str,
) -> str:
    """Query for the rows that differ, of those that a condition holds for."""
    # Whether a side has the row; the name is one that no input's column has.
    first, both = "x.lacus_here", "x.lacus_here AND y.lacus_here"
    compared = [c for c in sorted(shared) if c not in {*made.key, *key, *_PROVENANCE}]
    different = ", ".join(
        f"CASE WHEN x.{quote(c)} IS DISTINCT FROM y.{quote(c)} THEN {literal(c)} END"
        for c in compared
    )
    columns = f"nullif(concat_ws(', ', {different}), '')" if compared else "NULL::VARCHAR"
    shown = [f"CASE WHEN {first} THEN x.{quote(k)} ELSE y.{quote(k)} END AS {quote(k)}"
             for k in key]  # fmt: skip
    reclassified = "FALSE"
    if label := _label(ucds):
        reclassified = f"x.{quote(label)} IS DISTINCT FROM y.{quote(label)}"
        shown += _beside(label, f"{{}}.{quote(label)}")
        if probability := _probability(ucds):
            shown += _beside("probability", probability)
    match = " AND ".join(f"x.{quote(k)} IS NOT DISTINCT FROM y.{quote(k)}" for k in key)
    return (
        "SELECT * FROM (SELECT CASE WHEN y.lacus_here IS NULL THEN 'removed'"
        " WHEN x.lacus_here IS NULL THEN 'added'"
        f" WHEN {reclassified} THEN 'reclassified' ELSE 'changed' END AS change,"
        f" {', '.join(shown)}, CASE WHEN {both} THEN {columns} END AS columns"
        f" FROM (SELECT TRUE AS lacus_here, * FROM a.{made.name} WHERE {rows}) AS x"
        f" FULL JOIN (SELECT TRUE AS lacus_here, * FROM b.{made.name} WHERE {rows}) AS y"
        f" ON {match})"
        " WHERE change <> 'changed' OR columns IS NOT NULL"
    )


def _label(ucds: dict[str, str | None]) -> str | None:
    """Column that holds the class of a row; None if the table has none."""
    return next((name for name, ucd in ucds.items() if ucd in _CLASS), None)


def _beside(name: str, value: str) -> Iterator[str]:
    """Give a value of both sides, as columns of one row."""
    for side, at in (("x", "a"), ("y", "b")):
        yield f"{value.replace('{}', side)} AS {quote(f'{name}_{at}')}"


def _probability(ucds: dict[str, str | None]) -> str | None:
    """Expression for the probability of a row's class; None if the table has none."""
    each = [name for name, ucd in ucds.items() if ucd in _EACH_CLASS]
    if each:
        return f"greatest({', '.join(f'{{}}.{quote(name)}' for name in each)})"
    one = next((name for name, ucd in ucds.items() if ucd == "stat.probability"), None)
    return one and f"{{}}.{quote(one)}"


def _reclassified(made: contracts.Table | models.View, key: list[str], label: str) -> str:
    """Query that counts the reclassified rows found."""
    ucds = {column.name: column.ucd for column in made.columns}
    groups = [k for k in key if ucds[k] in _GROUPS]
    groups += [f"{label}_a", f"{label}_b"]
    columns = ", ".join(map(quote, groups))
    objects = [k for k in key if ucds[k] == _OBJECT]
    several = set(key) - set(groups) - set(objects)
    counted = f", count(DISTINCT {quote(objects[0])}) AS objects" if objects and several else ""
    return (
        f"SELECT {columns}, count(*) AS rows{counted} FROM lacus_found"
        " WHERE change = 'reclassified'"
        f" GROUP BY {columns} ORDER BY rows DESC, {columns}"
    )


def _columns(connection: duckdb.DuckDBPyConnection, side: str, table: str) -> set[str]:
    """Columns of a table or view on one side; none if it is not there."""
    namespace, _, name = table.partition(".")
    rows = connection.execute(
        "SELECT column_name FROM duckdb_columns()"
        " WHERE database_name = ? AND schema_name = ? AND table_name = ?",
        [side, namespace, name],
    ).fetchall()
    return {row[0] for row in rows}


def _same_files(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Whether the rows of a table and their deletions are in the same files on both sides."""
    namespace, _, name = table.partition(".")
    query = "SELECT data_file, delete_file FROM ducklake_list_files(?, ?, schema => ?)"
    a, b = (set(connection.execute(query, [s, name, namespace]).fetchall()) for s in ("a", "b"))
    return a == b


@contextlib.contextmanager
def _two(store: Store, a: int | str, b: int | str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Connect with the lake attached twice, as it was at two snapshots."""
    resolved = {"a": store.resolve(a), "b": store.resolve(b)}
    if resolved["a"] == resolved["b"]:
        raise UsageError(f"{a} and {b} are the same snapshot")
    with store.connect() as connection:
        for side, at in resolved.items():
            connection.execute(store.attach_sql(at=at, name=side))
        yield connection
