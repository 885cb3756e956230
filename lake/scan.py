"""Rows of a table straight from its Parquet files.

DuckDB takes a list apart number by number; where whole rows of pixels are wanted, Arrow reads
them in less than half the time, and `lake.pages`, where it can be had, in a twelfth.

Rows and deletions that DuckLake inlines, which is to keep them in the catalogue, would be
overlooked here: that no lake of ours has any rests on DATA_INLINING_ROW_LIMIT 0, which
`Reading.attach_sql` demands and `migrate.sync` writes into the lake itself, for whoever else
attaches it.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.formats.columns import rebatched

#: Uncompressed bytes of a row group that is read as a whole.
_GROUP_BYTES = 1 << 27

#: Present files of a table, and whether DuckDB alone knows how to read them: rows of some were
#: deleted since, or a column was made after them.
_FILES = """
WITH columns AS (
    SELECT c.* FROM __ducklake_metadata_lake.ducklake_column AS c
    JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)
    JOIN __ducklake_metadata_lake.ducklake_schema AS s USING (schema_id)
    WHERE s.schema_name = $namespace AND t.table_name = $name AND c.end_snapshot IS NULL
        AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL AND c.column_name IN $columns
), files AS (
    SELECT min(f.begin_snapshot) AS first FROM __ducklake_metadata_lake.ducklake_data_file AS f
    WHERE f.table_id IN (SELECT table_id FROM columns) AND f.end_snapshot IS NULL
)
SELECT data_file, delete_file IS NOT NULL
    OR (SELECT max(begin_snapshot) FROM columns) > (SELECT first FROM files)
FROM ducklake_list_files('lake', $name, schema => $namespace)
"""


def whole_files(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str]
) -> list[str] | None:
    """Paths of a table's present files; None if what these columns hold is not all in them.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Has the lake attached.
    table : str
        With its namespace.
    columns : sequence of str
    """
    namespace, _, name = table.partition(".")
    given = {"namespace": namespace, "name": name, "columns": list(columns)}
    files = connection.execute(_FILES, given).fetchall()
    return None if any(altered for _, altered in files) else [path for path, _ in files]


def scan(
    paths: Iterable[str], where: Mapping[str, str], columns: Sequence[str], size: int
) -> Iterator[pa.RecordBatch]:
    """Stream rows of Parquet files.

    Parameters
    ----------
    paths : iterable of str
    where : mapping
        What columns of text must be equal to.
    columns : sequence of str
    size : int
        Rows of a batch; of the last, at most.

    Yields
    ------
    pyarrow.RecordBatch
        These columns, in the order of the files.
    """
    yield from rebatched(_chosen_rows(paths, where, columns, size), size)


def _chosen_rows(
    paths: Iterable[str], where: Mapping[str, str], columns: Sequence[str], size: int
) -> Iterator[pa.RecordBatch]:
    """Go through the rows that are asked for, a row group or less at a time."""
    read = list(dict.fromkeys([*columns, *where]))
    for path in paths:
        with pa.memory_map(path) as source:
            content = source.read_buffer()
        with pq.ParquetFile(content) as file:
            for group in range(file.num_row_groups):
                if not _may_hold(file, group, where):
                    continue
                for batch in _batches(file, content, group, read, size):
                    if (rows := _chosen(batch, where)).num_rows:
                        yield rows.select(list(columns))


def _batches(
    file: pq.ParquetFile, content: pa.Buffer, group: int, columns: list[str], size: int
) -> Iterator[pa.RecordBatch]:
    """Read a row group: its lists of pixels from their pages, all else with Arrow."""
    lists = {}
    if file.metadata.row_group(group).total_byte_size <= _GROUP_BYTES:
        with contextlib.suppress(ImportError):  # Arrow reads them, too
            from lake import pages

            found = {name: pages.lists(file, content, group, name) for name in columns}
            lists = {name: array for name, array in found.items() if array is not None}
    if not lists:
        yield from file.iter_batches(size, [group], columns, use_threads=False)
        return
    others = [name for name in columns if name not in lists]
    rest = file.read_row_group(group, others, use_threads=False)
    table = pa.table({name: lists[name] if name in lists else rest[name] for name in columns})
    yield from table.combine_chunks().to_batches(size)


def _may_hold(file: pq.ParquetFile, group: int, where: Mapping[str, str]) -> bool:
    """Tell from its statistics whether a row group may hold rows of these values."""
    chunks = file.metadata.row_group(group)
    for number in range(chunks.num_columns):
        chunk = chunks.column(number)
        value, known = where.get(chunk.path_in_schema), chunk.statistics
        if value is None or known is None or not known.has_min_max:
            continue
        if not known.min <= value <= known.max:
            return False
    return True


def _chosen(batch: pa.RecordBatch, where: Mapping[str, str]) -> pa.RecordBatch:
    """Rows of these values; the batch itself, which costs nothing, if those are all."""
    for name, value in where.items():
        equal = pc.fill_null(pc.equal(batch[name], value), False)
        if not pc.all(equal).as_py():
            batch = batch.filter(equal)
    return batch
