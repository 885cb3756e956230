import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.formats.sorted_runs import RunWriter, SortedRuns

SCHEMA = pa.schema([("key", pa.int64()), ("at", pa.int32()), ("text", pa.string())])


def staged(path, runs) -> list[tuple[int, int]]:
    """Stage runs of keys; all rows, as (key, number of the row), sorted."""
    rows = []
    with RunWriter(path, SCHEMA) as writer:
        for run in runs:
            at = range(len(rows), len(rows) + len(run))
            texts = [f"row {n}" for n in at]
            writer.add(pa.record_batch([run, list(at), texts], schema=SCHEMA))
            rows += zip(run, at, strict=True)
    return sorted(rows)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 20), max_size=12), max_size=6),
    st.tuples(st.integers(-1, 21), st.integers(-1, 21)).map(sorted),
    st.integers(1, 10),
)
def test_rows_come_back_in_order(tmp_path_factory, runs, span, size):
    path = tmp_path_factory.mktemp("runs") / "staged.arrow"
    wanted = [row for row in staged(path, runs) if span[0] <= row[0] < span[1]]
    with SortedRuns(path) as rows:
        assert rows.rows == sum(map(len, runs))
        assert rows.count(*span) == len(wanted)
        batches = list(rows.read(*span, size))
        table = pa.Table.from_batches(batches, SCHEMA)
        assert list(zip(*table.select(["key", "at"]).to_pydict().values(), strict=True)) == wanted
        assert table["text"].to_pylist() == [f"row {at}" for _, at in wanted]
        assert all(batch.num_rows == size for batch in batches[:-1])


def test_bytes_are_those_of_the_rows(tmp_path):
    staged(tmp_path / "staged.arrow", [[3, 1], [2]])
    with SortedRuns(tmp_path / "staged.arrow") as rows:
        whole = pa.concat_batches(rows.read(0, 9, 9))
        assert rows.nbytes == pytest.approx(whole.nbytes, rel=0.5)
        assert np.array_equal(whole["key"], [1, 2, 3])
