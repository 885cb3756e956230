"""What is staged, how it is put together, and what is kept of a column without values."""

from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import staging
from lake.staging import Stage, Staged, merge


@pytest.fixture
def stage(tmp_path):
    made = iter(range(1000))

    @contextmanager
    def stage(table, release, schema):
        writer = Stage(table, release, tmp_path / f"{next(made)}.parquet", schema)
        yield writer
        writer.close()

    return stage


def put(stage, rows: pa.Table, batch: int = 1000) -> Staged:
    with stage("csc.detections", "R", rows.schema) as writer:
        for part in rows.to_batches(max_chunksize=batch):
            writer.write(part)
    return writer.staged


def names(*values: str, **columns) -> pa.Table:
    return pa.table({"name": list(values)} | columns)


def test_nothing_is_staged_of_no_rows(stage, tmp_path):
    assert put(stage, names()[:0]) is None
    assert list(tmp_path.iterdir()) == []


def test_small_batches_make_large_row_groups(stage):
    staged = put(stage, names(*map(str, range(5000))), batch=10)
    file = pq.ParquetFile(staged.path)
    assert (staged.rows, file.metadata.num_rows, file.num_row_groups) == (5000, 5000, 1)
    assert file.schema_arrow.metadata is None


def test_rows_of_lists_stay_cheap_to_look_up(stage):
    lists = pa.array([[1.0]] * 2500, pa.list_(pa.float64()))
    staged = put(stage, names(*map(str, range(2500)), flux=lists), batch=100)
    sizes = pq.ParquetFile(staged.path).metadata
    assert max(sizes.row_group(i).num_rows for i in range(sizes.num_row_groups)) == 2048


def test_every_column_is_compressed(stage):
    columns = {
        "flux": pa.array([[1.0]], pa.list_(pa.float32())),
        "counts": pa.array([[1.0]], pa.list_(pa.float64())),
        "mask": pa.array([[1]], pa.large_list(pa.int32())),
        "pair": pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)),
        "words": pa.array([["a"]]),
        "table": pa.array([[[1.0]]], pa.list_(pa.list_(pa.float32()))),
        "hue": [1.5],
    }
    group = pq.ParquetFile(put(stage, names("A", **columns)).path).metadata.row_group(0)
    parts = [group.column(i) for i in range(group.num_columns)]
    codecs = {part.path_in_schema.split(".")[0]: part.compression for part in parts}
    assert {name for name, codec in codecs.items() if codec == "LZ4"} == {"flux", "pair", "table"}
    assert set(codecs.values()) == {"LZ4", "ZSTD"}


def test_what_waits_is_bounded_in_bytes(stage, monkeypatch):
    monkeypatch.setattr(staging, "_GROUP_BYTES", 10_000)
    staged = put(stage, names(*(str(i) * 100 for i in range(1000))), batch=10)
    assert pq.ParquetFile(staged.path).num_row_groups > 5


def test_a_column_of_text_without_values_is_left_out_unless_it_is_declared(stage):
    empty = pa.array([None, None], pa.string())
    declared = pa.field("seen", pa.string(), metadata={"format": "A8"})
    table = names("A", "B", hue=empty, instrument=empty, tint=["x", None], seen=empty)
    table = table.cast(table.schema.set(4, declared))
    assert put(stage, table, batch=1).schema.names == ["name", "instrument", "tint", "seen"]


def test_small_files_are_put_together(stage, tmp_path):
    unit = pa.schema([("name", pa.string()), pa.field("hue", pa.float64(), metadata={"unit": "s"})])
    parts = [
        put(stage, names("A", "B")),
        put(stage, names("C", hue=[1.5]).cast(unit)),
        put(stage, names("D", tint=pa.array([None], pa.string()))),
    ]
    (whole,) = merge(parts, stage)
    assert pq.read_table(whole.path, columns=["name", "hue"]).to_pylist() == [
        {"name": "A", "hue": None}, {"name": "B", "hue": None}, {"name": "C", "hue": 1.5},
        {"name": "D", "hue": None},
    ]  # fmt: skip
    assert (whole.rows, whole.schema.field("hue").metadata) == (4, {b"unit": b"s"})
    assert list(tmp_path.iterdir()) == [whole.path]


def test_tables_and_large_files_stay_apart(stage, monkeypatch):
    small = put(stage, names("A")).path.stat().st_size
    monkeypatch.setattr(staging, "FILE_BYTES", int(2.5 * small))
    parts = [put(stage, names(name)) for name in "ABCDE"]
    with stage("csc.labels", "R", names("F").schema) as writer:
        writer.write(names("F").to_batches()[0])
    parts.insert(1, writer.staged)
    done = merge(parts, stage)
    found = [(s.table, pq.read_table(s.path)["name"].to_pylist()) for s in done]
    assert found == [
        ("csc.detections", ["A", "B"]), ("csc.detections", ["C", "D"]), ("csc.detections", ["E"]),
        ("csc.labels", ["F"]),
    ]  # fmt: skip
