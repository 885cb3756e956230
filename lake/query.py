"""Queries whose result keeps the meaning of its columns: what exports are made from."""

import re
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from lake import contracts, models
from lake.errors import UsageError
from lake.formats.reader import TableReader
from lake.store import Store

#: What a valid query raises that fails on a later value: Arrow hands DuckDB's errors on as OSError.
_STREAM_ERRORS = (duckdb.Error, pa.ArrowException, OSError)

#: Rows of a batch, and where lists of pixels may be in them: a spectrum can take 100 kB.
_ROWS, _ROWS_OF_LISTS = 65_536, 1024

#: What `as_query` makes of a table's name.
_WHOLE = re.compile(r"FROM (\w+\.\w+)")

#: For each column, the columns that it is computed from, and whether it is passed through.
Traced = dict[str, tuple[tuple[tuple[str, str], ...], bool]]


def annotated(store: Store, query: str, *, at: int | str | None = None) -> TableReader:
    """Result of a query, batch by batch, with units, UCDs and descriptions in its schema.

    A column that the query passes through unchanged keeps its meaning; one that it computes has
    none.

    Parameters
    ----------
    store : Store
    query : str
        SQL, or the name of a table or view; see `in_order`.
    at : int or str, optional
        A snapshot or a pin.

    Raises
    ------
    UsageError
        If the query is not valid.
    """
    text = as_query(query)
    known = meanings(store, at=at)
    rows = streamed(store, in_order(text, query), at=at)
    traced = _trace(text, {table: list(columns) for table, columns in known.items()})
    # SQL does not tell cases apart, and a query may read what is in no lake.
    meant = {(t, c.lower()): m for t, columns in known.items() for c, m in columns.items()}
    traced = {name.lower(): source for name, source in traced.items()}
    fields = []
    for field in rows.schema:
        sources, unchanged = traced.get(field.name.lower(), ((), False))
        found = {meant.get((table, column.lower())) for table, column in sources}
        meaning = found.pop() if unchanged and len(found) == 1 else None
        unit, ucd, text_ = meaning or (None, None, None)
        fields.append(field.with_metadata(contracts.field_metadata(unit, ucd, text_)))
    schema = pa.schema(fields)

    batches = (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in rows)
    return TableReader(schema, batches)


def streamed(store: Store, query: str, *, at: int | str | None = None) -> TableReader:
    """Result of a query, batch by batch; see `annotated`, whose columns have their meaning too.

    Raises
    ------
    UsageError
        If the query is not valid; for a value on which it fails, when the batch is asked for.
    """
    # A connection streams one result at a time: this one is the result's own.
    relation = store.sql(as_query(query), at=at, apart=True)
    lists = any(kind.id == "list" for kind in relation.types)
    try:
        reader = relation.to_arrow_reader(_ROWS_OF_LISTS if lists else _ROWS)
    except duckdb.Error as error:
        raise UsageError(str(error)) from error

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except _STREAM_ERRORS as error:
            raise UsageError(str(error)) from error

    return TableReader(reader.schema, batches())


def _trace(text: str, known: dict[str, list[str]]) -> Traced:
    """Find where a query's columns come from, as far as they can be told; see `models.trace`."""
    whole = _WHOLE.fullmatch(text)
    if whole:  # a table as it is: sqlglot would take a second for a hundred columns
        return {column: (((whole[1], column),), True) for column in known.get(whole[1], [])}
    # Only what is read: the columns of the whole lake take sqlglot seconds.
    read = {name.lower() for name in reads(text)}
    try:
        return models.trace(text, {t: list(c) for t, c in known.items() if t.lower() in read})
    except ValueError:  # valid for DuckDB, beyond sqlglot: the result is right, its units unknown
        return {}


def as_query(text: str) -> str:
    """Query for a table's name; any other text is a query already."""
    name = _bare(text)
    return f"FROM {name}" if re.fullmatch(r"\w+\.\w+", name) else text


def _bare(text: str) -> str:
    return text.strip().rstrip(";")


def in_order(text: str, name: str) -> str:
    """Query whose rows come sorted, by column after column, if a view is what is named.

    The order of a view's joins and groups is another each time; two products of one snapshot are
    to be the same. Tables are read as they were written.
    """
    return f"{text} ORDER BY ALL" if _bare(name) in models.views() else text


def reads(query: str) -> set[str]:
    """Tables and views that a query reads, as far as they can be told."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        parsed = sqlglot.parse_one(as_query(query), dialect="duckdb")
    except SqlglotError:
        return set()
    return {f"{table.db}.{table.name}" for table in parsed.find_all(exp.Table) if table.db}


def meanings(
    store: Store, *, at: int | str | None = None
) -> dict[str, dict[str, tuple[str | None, str | None, str]]]:
    """Unit, UCD and description of every column, by table and column."""
    rows = store.sql(
        "SELECT table_name, column_name, unit, ucd, description FROM meta.columns"
        " ORDER BY table_name, position",
        at=at,
    ).fetchall()
    found: dict[str, dict[str, tuple[str | None, str | None, str]]] = {}
    for table, column, unit, ucd, description in rows:
        found.setdefault(table, {})[column] = (unit, ucd, description)
    return found
