"""Compaction: many small data files become a few, and rows that were deleted leave their files.

What DuckLake itself would write knows nothing of row groups for pixels and of their encoding, so
the rows pass through the same writer as those of an ingest. It is a commit as any other: former
snapshots go on reading the former files.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

from lake import contracts
from lake.commit import Commit
from lake.errors import LacusError
from lake.staging import FILE_BYTES, Staged
from lake.store import Store

#: Files of a release that are small become one, of FILE_BYTES at most, once there are so many,
_CRUMBS = 4
_SMALL_BYTES = FILE_BYTES // 2
#: or if this part of the rows in one of them is deleted.
_DELETED_SHARE = 0.25
#: Every commit adds a file to a table of `meta`; each costs a query a little.
_META_FILES = 16

_FILES = """
SELECT s.schema_name || '.' || t.table_name AS table_name,
    regexp_extract(f.path, 'release=([^/]+)/', 1) AS release, parse_filename(f.path) AS name,
    f.file_size_bytes, f.record_count, coalesce(d.delete_count, 0)
FROM __ducklake_metadata_lake.ducklake_data_file AS f
JOIN __ducklake_metadata_lake.ducklake_table AS t
    ON t.table_id = f.table_id AND t.end_snapshot IS NULL
JOIN __ducklake_metadata_lake.ducklake_schema AS s
    ON s.schema_id = t.schema_id AND s.end_snapshot IS NULL
LEFT JOIN __ducklake_metadata_lake.ducklake_delete_file AS d
    ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL
WHERE f.end_snapshot IS NULL
ORDER BY table_name, release, f.data_file_id
"""


@dataclass(frozen=True)
class File:
    """A present data file: its name, which no other file has, its bytes, rows and deleted rows."""

    name: str
    size: int
    rows: int
    deleted: int

    @property
    def hollow(self) -> bool:
        """Whether many of its rows are deleted."""
        return self.deleted >= _DELETED_SHARE * self.rows


@dataclass(frozen=True)
class Group:
    """Data files of a table, and of one release unless it is a table of `meta`, that become one."""

    table: str
    release: str
    files: tuple[File, ...]

    @property
    def names(self) -> list[str]:
        """Names of the files."""
        return [file.name for file in self.files]


def groups(store: Store) -> list[Group]:
    """Files that are worth being put together."""
    with store.reader() as connection:
        return [group for parts in _partitions(connection).items() for group in _worthwhile(*parts)]


def compact(store: Store, chosen: Sequence[Group]) -> None:
    """Put the files of each group together, all groups in one commit.

    Files that another process has changed meanwhile are left alone.
    """
    ours = [group for group in chosen if group.release]
    number = sum(len(group.names) for group in chosen)
    with contextlib.ExitStack() as stack:
        staged = [stack.enter_context(_written(store, group)) for group in ours]
        info = {"tables": sorted({group.table for group in chosen})}
        with store.commit(f"compact: {number} files into {len(chosen)}", info) as commit:
            present = _partitions(commit.connection)
            for group, file in zip(ours, staged, strict=True):
                if set(present.get((group.table, group.release), ())).issuperset(group.files):
                    _replace(commit, group, file)
            for group in (g for g in chosen if not g.release):
                rows = commit.connection.execute(f"SELECT * FROM lake.{group.table}")
                kept = rows.to_arrow_table()
                commit.delete(group.table, "TRUE")
                commit.insert(group.table, kept)


def _partitions(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], list[File]]:
    """Present data files by table and release."""
    found: dict[tuple[str, str], list[File]] = {}
    for table, release, *file in connection.execute(_FILES).fetchall():
        found.setdefault((table, release), []).append(File(*file))
    return found


def _worthwhile(partition: tuple[str, str], files: list[File]) -> Iterator[Group]:
    """Groups of small or hollow files of one table and release."""
    table, release = partition
    declared = contracts.tables().get(table)
    if declared is None:
        return
    if not declared.partitioned:
        if len(files) >= _META_FILES:
            yield Group(table, "", tuple(files))
        return
    crumbs: list[File] = []
    for file in (f for f in files if f.deleted < f.rows and (f.hollow or f.size < _SMALL_BYTES)):
        if crumbs and sum(f.size for f in crumbs) + file.size > FILE_BYTES:
            yield from _if_many(table, release, crumbs)
            crumbs = []
        crumbs.append(file)
    yield from _if_many(table, release, crumbs)


def _if_many(table: str, release: str, files: list[File]) -> Iterator[Group]:
    if len(files) >= _CRUMBS or any(f.hollow for f in files):
        yield Group(table, release, tuple(files))


#: The rows of some files; `filename` is DuckLake's.
_OF_FILES = "parse_filename(filename) IN (SELECT unnest(?))"


@contextlib.contextmanager
def _written(store: Store, group: Group) -> Iterator[Staged]:
    """Stage the rows of a group; what is not registered is removed in the end."""
    with store.reader() as connection:
        query = f"SELECT * FROM lake.{group.table} WHERE {_OF_FILES}"
        rows = connection.execute(query, [group.names]).to_arrow_reader(10_000)
        with store.stage(group.table, group.release, rows.schema) as stage:
            for batch in rows:
                stage.write(batch)
    file = stage.staged
    if file is None:
        raise LacusError(f"{group.table}: no row in {', '.join(group.names)}")
    try:
        yield file
    finally:
        file.path.unlink(missing_ok=True)


def _replace(commit: Commit, group: Group, file: Staged) -> None:
    deleted = commit.delete(group.table, _OF_FILES, [group.names])
    if deleted != file.rows:
        raise LacusError(f"{group.table}: {deleted} rows were to become {file.rows}")
    commit.add(file)
