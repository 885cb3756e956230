"""Rows straight from the files are those that DuckDB gives, whatever became of the files."""

import contextlib
import sqlite3
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import contracts, extensions, scan
from lake.compaction import compact, groups
from lake.store import Store

TABLE = "sdss.preprocessed_spectra"
COLUMNS = ["spec_id", "flux", "ivar", "valid", "snr"]


def spectra(release: str, mark: str, recipe: str, count: int, start: int = 0) -> pa.Table:
    """Spectra of 1 to 5 pixels; every fourth has no ivar, every fifth no signal-to-noise ratio."""
    rng = np.random.default_rng(count + start)
    numbers = range(start, start + count)
    lengths = {i: int(rng.integers(1, 6)) for i in numbers}
    rows = {
        "release": [release] * count,
        "spec_id": [f"{i:05d}" for i in numbers],
        "recipe": [recipe] * count,
        "flux": [rng.normal(size=lengths[i]) for i in numbers],
        "ivar": [None if i % 4 == 0 else rng.random(lengths[i]) for i in numbers],
        "valid": [rng.random(lengths[i]) < 0.5 for i in numbers],
        "n_valid": list(lengths.values()),
        "snr": [None if i % 5 == 0 else float(i) for i in numbers],
        "file_sha256": [mark] * count,
    }
    schema = contracts.table(TABLE).schema()
    return pa.table({f.name: pa.array(rows[f.name], f.type) for f in schema}, schema)


def put(store: Store, table: pa.Table) -> None:
    """Add rows in a commit of their own, so in a file of their own."""
    with store.stage(TABLE, str(table["release"][0]), table.schema) as stage:
        for batch in table.to_batches():
            stage.write(batch)
    with store.commit("put") as commit:
        commit.add(stage.staged)


@pytest.fixture
def store(tmp_path) -> Store:
    """Three files: one of two recipes and of several row groups, one of another release."""
    made = Store(tmp_path / "lake")
    two = [spectra("R1", "a", "default", 2500), spectra("R1", "a", "seed", 30)]
    put(made, pa.concat_tables(two))
    put(made, spectra("R2", "b", "default", 40))
    put(made, spectra("R1", "c", "default", 50, start=9000))
    return made


def both(store: Store, where: dict[str, str], size: int = 700) -> tuple[pa.Table, pa.Table]:
    """Rows as they are scanned and as DuckDB gives them, in one order."""
    batches = list(store.scan(TABLE, where, COLUMNS, size))
    assert all(0 < batch.num_rows <= size for batch in batches)
    tests = " AND ".join(f"{name} = ?" for name in where)
    query = f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE {tests}"
    asked = store.arrow(query, list(where.values()))
    schema = pa.schema([contracts.table(TABLE).by_name[name].field() for name in COLUMNS])
    scanned = pa.Table.from_batches(batches, batches[0].schema) if batches else asked.slice(0, 0)
    return tuple(t.cast(schema).sort_by("spec_id") for t in (scanned, asked))


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Paths that Arrow opens; all else is read by DuckDB."""
    opened = []

    class Noted(pq.ParquetFile):
        def __init__(self, path, **options):
            opened.append(path)
            super().__init__(path, **options)

    monkeypatch.setattr("lake.scan.pq.ParquetFile", Noted)
    return opened


@pytest.fixture(params=["pages", "arrow", "arrow, group too large"])
def reading(request, monkeypatch) -> None:
    """Where lists come from."""
    if request.param == "pages":
        pytest.importorskip("lake.pages", exc_type=ImportError)
    elif request.param == "arrow":
        monkeypatch.setitem(sys.modules, "lake.pages", None)
    else:
        monkeypatch.setattr(scan, "_GROUP_BYTES", 1000)


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({"release": "R1", "recipe": "default"}, 2550),
        ({"release": "R1", "recipe": "seed"}, 30),
        ({"release": "R2", "recipe": "default"}, 40),
        ({"release": "R1"}, 2580),
        ({"release": "R3", "recipe": "default"}, 0),
    ],
)
def test_rows_are_those_that_duckdb_gives(store, where, rows):
    scanned, asked = both(store, where)
    assert scanned.num_rows == rows
    assert scanned.equals(asked)


def test_all_declared_columns_are_given_by_default(store):
    batch = next(store.scan(TABLE, {"release": "R2"}))
    assert batch.schema.names == [column.name for column in contracts.table(TABLE).columns]


def test_only_row_groups_that_may_hold_such_rows_are_read(store, monkeypatch):
    read = []
    batches = scan._batches

    def noted(file, content, group, *rest):
        read.append(group)
        return batches(file, content, group, *rest)

    monkeypatch.setattr(scan, "_batches", noted)
    assert sum(b.num_rows for b in store.scan(TABLE, {"release": "R2"})) == 40
    assert read == [0]


def test_small_row_groups_come_together(store, monkeypatch):
    monkeypatch.setattr("lake.staging._GROUP_BYTES", 1)
    table = spectra("R4", "e", "default", 250)
    with store.stage(TABLE, "R4", table.schema) as stage:
        for batch in table.to_batches(40):
            stage.write(batch)
    with store.commit("put") as commit:
        commit.add(stage.staged)
    sizes = [batch.num_rows for batch in store.scan(TABLE, {"release": "R4"}, size=100)]
    assert sizes == [100, 100, 50]
    scanned, asked = both(store, {"release": "R4"})
    assert scanned.equals(asked)


def test_deleted_rows_do_not_come_back(store, opened):
    with store.commit("delete") as commit:
        commit.delete(TABLE, "spec_id < '00100'")
    scanned, asked = both(store, {"release": "R1", "recipe": "default"})
    assert scanned.num_rows == 2450
    assert scanned.equals(asked)
    assert not opened


@pytest.mark.parametrize("whose", ["ours", "any"])
def test_nothing_is_kept_in_the_catalogue(store, whose):
    """Whoever writes a few rows, or deletes some, does so in files, where a scan finds them."""
    few = spectra("R1", "d", "default", 3, start=9500)
    with extensions.connect() as connection:
        attach = store.attach_sql(read_only=False)
        if whose == "any":
            attach = attach.replace(", DATA_INLINING_ROW_LIMIT 0", "")
        connection.execute(attach)
        connection.register("few", few)
        connection.execute(f"INSERT INTO lake.{TABLE} BY NAME SELECT * FROM few")
        inserted = both(store, {"release": "R1", "recipe": "default"})
        connection.execute(f"DELETE FROM lake.{TABLE} WHERE spec_id = '09500'")
    deleted = both(store, {"release": "R1", "recipe": "default"})
    assert [rows.num_rows for rows in (*inserted, *deleted)] == [2553, 2553, 2552, 2552]
    with contextlib.closing(sqlite3.connect(store.catalog)) as catalog:
        tables = "SELECT name FROM sqlite_master WHERE name LIKE 'ducklake_inlined%'"
        names = [name for (name,) in catalog.execute(tables)]
        assert not any(catalog.execute(f"SELECT * FROM {name}").fetchall() for name in names)


def test_compaction_makes_the_files_whole_again(store, opened):
    with store.commit("delete") as commit:
        commit.delete(TABLE, "spec_id BETWEEN '00000' AND '01999'")
    compact(store, groups(store))
    scanned, asked = both(store, {"release": "R1", "recipe": "default"})
    assert scanned.num_rows == 550
    assert scanned.equals(asked)
    assert opened


def test_a_column_that_was_made_after_the_files_is_left_to_duckdb(store, opened):
    with store.commit("alter") as commit:
        commit.connection.execute(f"ALTER TABLE lake.{TABLE} DROP COLUMN snr")
        commit.connection.execute(f"ALTER TABLE lake.{TABLE} ADD COLUMN snr DOUBLE")
    scanned, asked = both(store, {"release": "R1", "recipe": "default"})
    assert scanned["snr"].null_count == 2550
    assert scanned.equals(asked)
    assert not opened
