"""Clean-up of a home: old snapshots go, and with them every file that nothing names any more.

A pinned snapshot is never taken, nor the present one. Each step leaves a whole lake behind it,
whatever is killed when; what a killed clean-up left undone, the next one does.
"""

import bisect
import contextlib
import glob
import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import duckdb

from lake import compaction, contracts, pins
from lake.commit import now
from lake.compaction import Group
from lake.errors import UsageError
from lake.home import Home
from lake.reading import Snapshot
from lake.store import Store
from lake.whole import is_abandoned, partials, write_whole

_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
#: What this library and DuckLake call their files; a file of any other name is the user's own.
_OURS = re.compile(rf"(ducklake-)?{_UUID}(-delete)?(\.whole)?\.parquet")

_AGE = re.compile(r"(\d+)\s*([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_CATALOGUE = "__ducklake_metadata_lake."
#: In the lake's folder: files that were named once, and are still there.
_MEMORY = "unnamed.json"

#: Snapshots that have a table `meta.products`.
_SNAPSHOTS = f"""
SELECT snapshot_id FROM {_CATALOGUE}ducklake_snapshot WHERE snapshot_id >= (
    SELECT min(t.begin_snapshot) FROM {_CATALOGUE}ducklake_table AS t
    JOIN {_CATALOGUE}ducklake_schema AS s USING (schema_id)
    WHERE s.schema_name = 'meta' AND t.table_name = 'products'
)
"""
#: From when until when each path is named, as far as it is between two snapshots.
_LIVES = """
WITH changes AS (
    SELECT path, {first} AS since, 1 AS more FROM meta.products AT (VERSION => {first})
    UNION ALL
    SELECT path, snapshot_id, 1
    FROM ducklake_table_insertions('lake', 'meta', 'products', {first}, {last})
    WHERE snapshot_id > {first}
    UNION ALL
    SELECT path, snapshot_id, -1
    FROM ducklake_table_deletions('lake', 'meta', 'products', {first}, {last})
    WHERE snapshot_id > {first}
), numbers AS (
    SELECT path, since, sum(sum(more)) OVER past AS number,
        lead(since, 1, {last} + 1) OVER past AS until
    FROM changes GROUP BY path, since WINDOW past AS (PARTITION BY path ORDER BY since)
)
SELECT path, since, until FROM numbers WHERE number > 0
"""


@dataclass(frozen=True)
class Leaving:
    """A file that goes: why (data, orphan, staged, partial, product, copy), and its bytes."""

    kind: str
    path: Path
    size: int


@dataclass(frozen=True)
class Cleanup:
    """What a clean-up does, or would do.

    Attributes
    ----------
    snapshots : list of Snapshot
        That go.
    pinned : list of Snapshot
        That are old enough to go, and are pinned.
    files : list of Leaving
        That nothing needs any more.
    groups : list of Group
        Data files that are put together. What they were made from stays for as long as a
        snapshot needs it.
    """

    snapshots: list[Snapshot] = field(default_factory=list)
    pinned: list[Snapshot] = field(default_factory=list)
    files: list[Leaving] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the files that go."""
        return sum(file.size for file in self.files)


def age(text: str) -> timedelta:
    """Duration in words: 90d, 12h, 2w, 30m.

    Raises
    ------
    UsageError
        If it is none.
    """
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no duration; expected a number with m, h, d or w, as in 90d")
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise UsageError(f"{text!r} is too long a duration") from None


def clean(home: Home, older_than: timedelta, *, dry_run: bool = False) -> Cleanup:
    """Take old snapshots and what only they need, and put small data files together.

    Parameters
    ----------
    home : Home
    older_than : timedelta
        Snapshots of at least this age go, save the present one and those that are pinned. A file
        of `models/` or `products/` goes if one of the snapshots named it, none that stays does,
        and it has not been written to for as long.
    dry_run : bool
        Only tell what would go.

    Returns
    -------
    Cleanup
    """
    store, limit = home.store, now() - older_than
    if not dry_run:
        store.migrate()
    present, groups = store.snapshot(), compaction.groups(store)
    staged = [Leaving("staged", path, _size(path)) for path in store.abandoned()]
    if not dry_run:
        _forget_models(store)
        if groups:
            compaction.compact(store, groups)
    # On a disk that cannot be written, no writer is at work.
    alone = not dry_run or os.access(store.directory, os.W_OK)
    with store.locked() if alone else contextlib.nullcontext():
        # What is present when the clean-up begins stays until the next one.
        old = [s for s in store.snapshots() if s.time <= limit and s.id < present]
        pinned = {s for (s,) in store.sql("SELECT snapshot FROM meta.pins").fetchall()}
        leaving = [s for s in old if s.id not in pinned]
        unnamed = _unnamed(home, leaving)
        if dry_run:
            files = _unneeded(store, leaving)
        else:
            _remember(store, unnamed)  # nothing else will, once their snapshots are gone
            files = _expire(store, leaving)
        files += _orphans(store) + staged + _partials(home)
        files += _products(home, unnamed, limit.timestamp())
        files += [Leaving("copy", path, _size(path)) for path in pins.unneeded(home, pinned)]
        if not dry_run:
            for file in files:
                file.path.unlink(missing_ok=True)
                _prune(home, file.path.parent)
            _remember(store, [path for path in unnamed if (home.root / path).exists()])
    return Cleanup(leaving, [s for s in old if s.id in pinned], files, groups)


def _expire(store: Store, leaving: Sequence[Snapshot]) -> list[Leaving]:
    """Take snapshots, and the data files that only they needed."""
    store.refresh()
    with store.connect(read_only=False) as connection:
        _take(connection, leaving)
        files = _scheduled(connection, store.data)
        # What a reader of an older state has open stays readable to it until it closes it.
        connection.execute("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")
    return files


def _unneeded(store: Store, leaving: Sequence[Snapshot]) -> list[Leaving]:
    """Data files that only some snapshots need, by taking these from a copy of the catalogue."""
    with tempfile.TemporaryDirectory(prefix="lacus-") as directory:
        copy = Store(Path(directory))
        with (
            contextlib.closing(sqlite3.connect(store.catalog)) as source,
            contextlib.closing(sqlite3.connect(copy.catalog)) as target,
        ):
            source.backup(target)
        with copy.connect(read_only=False) as connection:
            _take(connection, leaving)
            return _scheduled(connection, store.data)


def _take(connection: duckdb.DuckDBPyConnection, leaving: Sequence[Snapshot]) -> None:
    if leaving:
        ids = ", ".join(str(snapshot.id) for snapshot in leaving)
        connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{ids}])")


def _scheduled(connection: duckdb.DuckDBPyConnection, data: Path) -> list[Leaving]:
    """Files that no snapshot needs any more, as the catalogue has it."""
    rows = connection.execute(
        f"SELECT path FROM {_CATALOGUE}ducklake_files_scheduled_for_deletion ORDER BY path"
    ).fetchall()
    paths = [data / path for (path,) in rows]  # an absolute one stays what it is
    return [Leaving("data", path, _size(path)) for path in paths if path.exists()]


def _orphans(store: Store) -> list[Leaving]:
    """Data files of killed writers, which the catalogue does not know.

    No writer is at work while the lock is held. Names are told apart, not paths: each is unique,
    and a home that was moved has other paths.
    """
    tables = ("data_file", "delete_file", "files_scheduled_for_deletion")
    paths = " UNION ALL ".join(f"SELECT path FROM {_CATALOGUE}ducklake_{name}" for name in tables)
    known = {
        name for (name,) in store.sql(f"SELECT parse_filename(path) FROM ({paths})").fetchall()
    }
    found = sorted((store.data).rglob("*.parquet"))
    return [
        Leaving("orphan", path, _size(path))
        for path in found
        if path.name not in known and _OURS.fullmatch(path.name)
    ]


def _partials(home: Home) -> list[Leaving]:
    """Products, copies of them, and models of which killed writers left a part."""
    return [
        Leaving("partial", path, _size(path))
        for folder in (home.models, home.products, home.pinned)
        for path in partials(folder)
        if is_abandoned(path)
    ]


def _unnamed(home: Home, leaving: Sequence[Snapshot]) -> list[str]:
    """Paths of products and models that snapshots which go named, and none that stays."""
    store, gone = home.store, {snapshot.id for snapshot in leaving}
    snapshots = {snapshot for (snapshot,) in store.sql(_SNAPSHOTS).fetchall()}
    lives = _lives(store, snapshots)
    before = _named(lives, snapshots & gone) | set(_remembered(store))
    return sorted(before - _named(lives, snapshots - gone))


def _lives(store: Store, snapshots: Iterable[int]) -> list[tuple[str, int, int]]:
    """Paths of `meta.products`, each from a snapshot to the one that names it no more.

    All snapshots are asked at once: one by one, that takes the square of their number.
    """
    if not (ordered := sorted(snapshots)):
        return []
    return store.sql(_LIVES.format(first=ordered[0], last=ordered[-1])).fetchall()


def _named(lives: Iterable[tuple[str, int, int]], snapshots: Iterable[int]) -> set[str]:
    """Paths that `meta.products` names at some snapshots."""
    ordered = sorted(snapshots)
    return {
        path
        for path, since, until in lives
        if bisect.bisect_left(ordered, since) < bisect.bisect_left(ordered, until)
    }


def _products(home: Home, unnamed: Iterable[str], limit: float) -> list[Leaving]:
    """Files among these paths, and what lies beside a model under its name.

    Only below `models/` and `products/`, and only what has not been written to since a time: a
    computation that is under way has its files there before they are named.
    """
    found = []
    for path in (home.root / name for name in unnamed):
        beside = [path]
        if path.is_relative_to(home.models):
            beside = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*"))
        for file in beside:
            inside = file.resolve().is_relative_to(home.models.resolve()) or (
                file.resolve().is_relative_to(home.products.resolve())
            )
            if inside and file.is_file() and file.stat().st_mtime <= limit:
                found.append(Leaving("product", file, file.stat().st_size))
    return found


def _remembered(store: Store) -> list[str]:
    """Paths that a killed clean-up was about to remove."""
    path = store.directory / _MEMORY
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def _remember(store: Store, paths: Sequence[str]) -> None:
    """Note the files that have no name any more and are still there."""
    path = store.directory / _MEMORY
    if paths:
        write_whole(path, json.dumps(list(paths)))
    else:
        path.unlink(missing_ok=True)


def _prune(home: Home, folder: Path) -> None:
    """Remove a folder that has become empty, and those above it, below the lake and products."""
    tops = (home.store.data, home.products, home.models, home.pinned)
    while any(folder != top and folder.is_relative_to(top) for top in tops):
        try:
            folder.rmdir()
        except OSError:  # there is something else in it
            return
        folder = folder.parent


def _size(path: Path) -> int:
    return path.stat().st_size


def _forget_models(store: Store) -> None:
    """Take models out of `meta.products` that later ones have replaced."""
    models = " UNION ALL ".join(
        f"SELECT model_id FROM {name}"
        for name, table in contracts.tables().items()
        if table.key == ("release", "model_id")
    )
    former = f"kind = 'model' AND parse_filename(path, true) NOT IN ({models})"
    if store.sql(f"SELECT 1 FROM meta.products WHERE {former} LIMIT 1").fetchone():
        with store.commit("clean-up: former models are named no more") as commit:
            commit.delete("meta.products", former)
