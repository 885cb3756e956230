"""Checks of a staged file in SQL: no key twice, in the file or beside it; rows that belong."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from lake import contracts
from lake.commit import only
from lake.errors import InputError
from lake.intake import left_out
from lake.staging import Staged

#: Rows that are compared in memory, at most; more of them DuckDB compares sooner.
_FEW = 100_000


def unique(
    connection: duckdb.DuckDBPyConnection, staged: Staged, path: Path, *, keep_first: bool
) -> tuple[Staged, str | None]:
    """Check that no key repeats in a file.

    Columns of the key that the input does not have do not take part: detections without obi and
    region_id must be unique by name and obsid.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
    staged : Staged
    path : Path
        The input file, for the message.
    keep_first : bool
        Leave out repeats, and say how many, instead of refusing the file.

    Returns
    -------
    staged : Staged
        The same file, or one without repeats.
    note : str or None
        What was left out.

    Raises
    ------
    InputError
        If a key repeats and `keep_first` is false.
    """
    key = _key(staged)
    columns = ", ".join(map(contracts.quote, key))
    source = _source(staged)
    repeats = connection.execute(
        "SELECT count(*), min(file_row), min_by(first_row, file_row) FROM ("
        f"SELECT file_row, first_value(file_row) OVER same AS first_row FROM {source}"
        f" WINDOW same AS (PARTITION BY {columns} ORDER BY file_row)) WHERE file_row > first_row"
    ).fetchone()
    if not repeats or not repeats[0]:
        return staged, None
    count, row, first = repeats
    text = f"repeats the key ({', '.join(c for c in key if c != 'release')}) of row {first}"
    if not keep_first:
        more = f" ({count} rows of this file repeat one)" if count > 1 else ""
        hint = "`lacus add ... -o duplicates=first` keeps the first row of each key"
        raise InputError(path, f"{text}{more}; {hint}", f"row {row}")
    target = staged.path.with_name(f"{uuid.uuid4()}.parquet")
    connection.execute(
        f"COPY (SELECT * FROM {source} QUALIFY row_number() OVER"
        f" (PARTITION BY {columns} ORDER BY file_row) = 1 ORDER BY file_row)"
        f" TO {contracts.literal(str(target))} (COMPRESSION zstd)"
    )
    staged.path.unlink()
    note = left_out(count, f"row {row} {text}")
    return replace(staged, path=target, rows=staged.rows - count), note


def distinct(staged: Sequence[Staged]) -> bool:
    """Whether the rows of some files of a table are few and are seen to differ in their keys.

    Then `apart` finds nothing among them; in memory, that is known sooner than SQL is planned.
    """
    if sum(s.rows for s in staged) > _FEW:
        return False
    key = [c for s in staged[:1] for c in contracts.table(s.table).key if c != "release"]
    parts = []
    for file in staged:
        names = {name.lower(): name for name in file.schema.names}
        if not names.keys() >= set(key):
            return False
        part = pq.read_table(file.path, columns=[names[c] for c in key], partitioning=None)
        parts.append(part.rename_columns(key))
    if not parts:
        return True
    rows = pa.concat_tables(parts, promote_options="permissive")
    return rows.group_by(key).aggregate([]).num_rows == rows.num_rows


@dataclass(frozen=True)
class Clash:
    """A row whose key another file's row of the release has already."""

    row: int
    other_row: int
    other_sha256: str


def apart(
    connection: duckdb.DuckDBPyConnection,
    staged: Sequence[Staged],
    order: Sequence[str],
    others: str,
) -> dict[str, Clash]:
    """Find files that share a key with an earlier one, or with rows that will stand beside them.

    The cost is linear in the rows: files are not compared in pairs.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
    staged : sequence of Staged
        Rows of the files, all of one table.
    order : sequence of str
        SHA-256 of the files, each without repeated keys, in the order in which they go first;
        other files' rows are passed over.
    others : str
        Query for the rows that will stand beside them; empty if there are none.

    Returns
    -------
    dict
        By SHA-256, the first clash of each file that cannot be taken. A file that clashes only
        with such a file can.
    """
    # A key that names the file is no other file's.
    if not order or "file_sha256" in contracts.table(staged[0].table).key:
        return {}
    key = [c for c in contracts.table(staged[0].table).key if c != "release"]
    columns = ", ".join(map(contracts.quote, key))
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW claims AS " + _claims(connection, staged, order, others, key)
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE shared AS"
        f" SELECT {columns} FROM claims GROUP BY ALL HAVING min(claimant) < max(claimant)"
    )
    if not only(connection.execute("SELECT count(*) FROM shared").fetchone()):
        return {}
    same = " AND ".join(f"c.{k} IS NOT DISTINCT FROM s.{k}" for k in map(contracts.quote, key))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE rivals AS SELECT s.rowid AS key_id, c.claimant, c.file_row,"
        f" c.file_sha256 FROM claims AS c JOIN shared AS s ON {same}"
    )
    refused: dict[int, Clash] = {}
    while rows := connection.execute(_RIVALS, [list(refused)]).fetchall():
        held_off = {claimant for claimant, *_ in rows}
        # The first holder of a key stays unless it is itself held off by an earlier one.
        for claimant, holder, *clash in rows:
            if holder not in held_off and claimant not in refused:
                refused[claimant] = Clash(*clash)
    return {order[claimant]: clash for claimant, clash in refused.items()}


def yielding(
    connection: duckdb.DuckDBPyConnection, staged: Sequence[Staged], condition: str
) -> set[str]:
    """Give the SHA-256 of files with a row that a condition in SQL holds for.

    Behind all others, they are refused where they share a key; see `apart`.
    """
    found = connection.execute(
        f"SELECT DISTINCT file_sha256 FROM {_parquet(staged)} WHERE {condition}"
    ).fetchall()
    return {sha256 for (sha256,) in found}


def giving_way(
    connection: duckdb.DuckDBPyConnection,
    staged: Sequence[Staged],
    order: Sequence[str],
    there: str,
    condition: str,
) -> dict[str, Clash]:
    """Find files in the lake that yield to new ones of the same key.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
    staged, order
        As of `apart`.
    there : str
        Query for rows in the lake.
    condition : str
        In SQL; holds for the rows that yield, and not for those that they yield to.

    Returns
    -------
    dict
        By SHA-256 of a file in the lake, its first clash.
    """
    key = [c for c in contracts.table(staged[0].table).key if c != "release"]
    same = " AND ".join(f"t.{k} IS NOT DISTINCT FROM n.{k}" for k in map(contracts.quote, key))
    rows = connection.execute(
        "SELECT t.file_sha256, t.file_row, n.file_row, n.file_sha256"
        f" FROM (SELECT * FROM ({there}) WHERE {condition}) AS t"
        f" JOIN (SELECT * FROM {_parquet(staged)} WHERE list_contains(?, file_sha256)"
        f" AND NOT coalesce({condition}, false)) AS n ON {same} ORDER BY ALL DESC",
        [list(order)],
    ).fetchall()
    return {sha256: Clash(*clash) for sha256, *clash in rows}


def _parquet(staged: Sequence[Staged]) -> str:
    """Rows of staged files, as SQL has them behind FROM."""
    files = ", ".join(contracts.literal(str(s.path)) for s in staged)
    return f"read_parquet([{files}], union_by_name => true)"


#: For each file and each earlier one that holds some of its keys: the first row concerned.
_RIVALS = """
WITH live AS (SELECT * FROM rivals WHERE NOT list_contains(?, claimant)),
holders AS (
    SELECT key_id, min(claimant) AS claimant, min_by(file_row, claimant) AS file_row,
        min_by(file_sha256, claimant) AS file_sha256
    FROM live GROUP BY key_id
)
SELECT l.claimant, h.claimant, min(l.file_row), min_by(h.file_row, l.file_row),
    min_by(h.file_sha256, l.file_row)
FROM live AS l JOIN holders AS h USING (key_id)
WHERE h.claimant < l.claimant
GROUP BY ALL ORDER BY ALL
"""


def unrelated(
    connection: duckdb.DuckDBPyConnection,
    staged: Sequence[Staged],
    order: Sequence[str],
    column: str,
    others: str,
) -> set[str]:
    """Find files that have nothing to do with the rows of another table; see `apart`.

    Returns
    -------
    set of str
        SHA-256 of the files of which no value of the column is among `others`.
    """
    if not order or not others:
        return set(order)
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW claims AS " + _claims(connection, staged, order, "", [column])
    )
    related = connection.execute(
        f"SELECT DISTINCT claimant FROM claims SEMI JOIN ({others}) AS o"
        f" USING ({contracts.quote(column)})"
    ).fetchall()
    return set(order) - {order[claimant] for (claimant,) in related}


def _claims(
    connection: duckdb.DuckDBPyConnection,
    staged: Sequence[Staged],
    order: Sequence[str],
    others: str,
    columns: list[str],
) -> str:
    """Query for columns of some files, with their place in the order as `claimant`, and of others.

    A column that an input does not have is null; `claimant` of the others is -1.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE places AS"
        " SELECT unnest(?) AS file_sha256, unnest(range(?)) AS claimant",
        [list(order), len(order)],
    )
    parts = []
    for there in dict.fromkeys(_present(s.schema.names, columns) for s in staged):
        files = ", ".join(
            contracts.literal(str(s.path))
            for s in staged
            if _present(s.schema.names, columns) == there
        )
        parts.append(
            f"SELECT places.claimant, file_row, file_sha256, {_select(columns, there)}"
            f" FROM read_parquet([{files}]) JOIN places USING (file_sha256)"
        )
    if others:
        there = _present(connection.sql(f"SELECT * FROM ({others}) LIMIT 0").columns, columns)
        parts.append(
            f"SELECT -1 AS claimant, file_row, file_sha256, {_select(columns, there)}"
            f" FROM ({others})"
        )
    return " UNION ALL BY NAME ".join(parts)


def _present(names: Iterable[str], columns: list[str]) -> tuple[bool, ...]:
    lower = {name.lower() for name in names}
    return tuple(column in lower for column in columns)


def _select(columns: list[str], there: tuple[bool, ...]) -> str:
    return ", ".join(
        contracts.quote(c) if here else f"NULL AS {contracts.quote(c)}"
        for c, here in zip(columns, there, strict=True)
    )


def _key(staged: Staged) -> list[str]:
    own = {name.lower() for name in staged.schema.names}
    return [column for column in contracts.table(staged.table).key if column in own]


def _source(staged: Staged) -> str:
    return f"read_parquet({contracts.literal(str(staged.path))})"
