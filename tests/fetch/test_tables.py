"""Tables that queries gave, as files of a download folder."""

import numpy as np
import pyarrow as pa
import pytest

from lake.fetch.folder import Folder
from lake.fetch.tables import keep_table
from lake.formats import read_parquet

TABLE = pa.table(
    {"name": ["b", "a", "a"], "obsid": [1, 2, None], "x": [0.5, None, float("nan")]},
    schema=pa.schema(
        [
            pa.field("name", pa.string(), metadata={b"ucd": b"meta.id"}),
            pa.field("obsid", pa.int32()),
            pa.field("x", pa.float64(), metadata={b"unit": b"keV", b"description": b"a < b"}),
        ]
    ),
)


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path / "folder")


def keep(folder: Folder, table: pa.Table, stamp: str = "s") -> bytes:
    keep_table(folder, "t.parquet", table, url="u", query="q", stamp=stamp, order=("name", "no"))
    return (folder.path / "t.parquet").read_bytes()


def test_rows_are_sorted_and_keep_what_the_service_says_of_them(folder):
    keep(folder, TABLE)
    table = read_parquet(folder.path / "t.parquet")
    assert table.to_pydict() == {
        "name": ["a", "a", "b"],
        "obsid": [2, None, 1],
        "x": [None, None, 0.5],
    }
    assert table.schema.field("x").metadata[b"unit"] == b"keV"
    assert table.schema.field("x").metadata[b"description"] == b"a < b"
    assert table.schema.field("name").metadata[b"ucd"] == b"meta.id"
    entry = folder.complete("t.parquet")
    assert (entry.url, entry.query, entry.stamp) == ("u", "q", "s")


def test_the_same_rows_in_another_order_are_the_same_bytes(folder, tmp_path):
    content = keep(folder, TABLE)
    for seed in range(4):
        mixed = TABLE.take(pa.array(np.random.default_rng(seed).permutation(3)))
        assert keep(Folder(tmp_path / str(seed)), mixed) == content


def test_a_file_that_has_the_rows_stays_and_is_noted_anew(folder):
    keep(folder, TABLE)
    before = (folder.path / "t.parquet").stat()
    entry = folder.complete("t.parquet")
    keep(folder, TABLE, stamp="later")
    after = (folder.path / "t.parquet").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    noted = Folder(folder.path).complete("t.parquet")
    assert (noted.stamp, noted.sha256) == ("later", entry.sha256)
    assert noted.retrieved_at == entry.retrieved_at
    assert sorted(p.name for p in folder.path.iterdir()) == [".fetched.jsonl", "t.parquet"]


def test_other_rows_replace_the_file(folder):
    before = keep(folder, TABLE)
    assert keep(folder, TABLE.slice(0, 2)) != before
    assert read_parquet(folder.path / "t.parquet").num_rows == 2
