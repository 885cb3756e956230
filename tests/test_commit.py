"""What a transaction makes of the files that it registers."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lake
from lake.commit import only
from lake.errors import LacusError


def test_a_row_that_must_be_there():
    assert only((3, 4)) == 3
    with pytest.raises(LacusError):
        only(None)


def test_a_file_that_lacks_a_column_brings_nulls_that_are_found(tmp_path):
    """Statistics of files that have values must not answer for a file that has none."""
    store = lake.open(tmp_path).store
    kept = pa.field("tint", pa.float64(), metadata={"description": "Kept", "unit": "mag"})

    def add(release: str, **columns: pa.Array) -> None:
        rows = {"release": [release], "name": ["A"], "file_sha256": ["f"], "file_row": [1]}
        table = pa.table(rows | columns)
        if "tint" in columns:
            table = table.cast(pa.schema([*list(table.schema)[:-1], kept]))
        with store.stage("csc.detections", release, table.schema) as stage:
            stage.write(table.to_batches()[0])
        with store.commit("put") as commit:
            commit.add(stage.staged)

    query = "SELECT release FROM csc.detections WHERE {} IS NULL ORDER BY 1"
    add("R1", ra=pa.array([1.0]), tint=pa.array([1.0]))
    assert store.sql(query.format("ra")).fetchall() == []
    assert store.sql(query.format("tint")).fetchall() == []
    add("R2")
    assert store.sql(query.format("ra")).fetchall() == [("R2",)]
    assert store.sql(query.format("tint")).fetchall() == [("R2",)]
    assert store.sql("SELECT tint FROM csc.detections ORDER BY release").fetchall() == [
        (1.0,),
        (None,),
    ]
    files = sorted((tmp_path / "lake" / "data").rglob("*.parquet"))
    mine = [f for f in files if "detections" in f.parts]
    assert len({tuple(sorted(pq.read_schema(f).names)) for f in mine}) == 1
