"""Checks of a staged file in SQL: no key twice, in the file or beside it; rows that belong."""

import uuid
from dataclasses import replace
from pathlib import Path

import duckdb

from lake import contracts
from lake.commit import Staged
from lake.errors import InputError


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
    text = f"repeats the key ({', '.join(key[1:])}) of row {first}"
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
    note = f"{count} rows left out: row {row} {text}" + (", and so on" if count > 1 else "")
    return replace(staged, path=target, rows=staged.rows - count), note


def apart(connection: duckdb.DuckDBPyConnection, staged: Staged, others: str, path: Path) -> None:
    """Check that no key of a file is among the rows that will stand beside it.

    Parameters
    ----------
    others : str
        Query for those rows; empty if there are none.

    Raises
    ------
    InputError
        If a key is there already.
    """
    if not others:
        return
    present = {name.lower() for name in connection.sql(f"SELECT * FROM ({others}) LIMIT 0").columns}
    key, own = contracts.table(staged.table).key, set(_key(staged))
    match = " AND ".join(
        f"{_side('a', k, k in own)} IS NOT DISTINCT FROM {_side('b', k, k in present)}" for k in key
    )
    taken = connection.execute(
        f"SELECT a.file_row, b.file_row, b.file_sha256 FROM {_source(staged)} AS a"
        f" JOIN ({others}) AS b ON {match} ORDER BY 1 LIMIT 1"
    ).fetchone()
    if taken:
        row, other_row, sha256 = taken
        raise InputError(
            path,
            f"has the key ({', '.join(key[1:])}) of row {other_row} of another file of this release"
            f" (sha256 {sha256[:12]}...)",
            f"row {row}",
        )


def matches(
    connection: duckdb.DuckDBPyConnection,
    staged: Staged,
    table: str,
    column: str,
    others: str,
    path: Path,
) -> None:
    """Check that a file has to do with what is in the release.

    Raises
    ------
    InputError
        If no row's value of the column occurs in the table.
    """
    found = (
        others
        and connection.execute(
            f"SELECT 1 FROM {_source(staged)} SEMI JOIN ({others}) AS o"
            f" USING ({contracts.quote(column)}) LIMIT 1"
        ).fetchone()
    )
    if not found:
        raise InputError(
            path,
            f"none of its values occurs in {table} of release {staged.release}",
            f"column {column!r}",
        )


def _key(staged: Staged) -> list[str]:
    own = {name.lower() for name in staged.schema.names}
    return [column for column in contracts.table(staged.table).key if column in own]


def _source(staged: Staged) -> str:
    return f"read_parquet({contracts.literal(str(staged.path))})"


def _side(alias: str, column: str, there: bool) -> str:
    return f"{alias}.{contracts.quote(column)}" if there else "NULL"
