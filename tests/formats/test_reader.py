"""TableReader: one pass, the producer's errors, other libraries."""

from collections.abc import Iterator

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from lake.errors import InputError
from lake.formats.reader import TableReader

SCHEMA = pa.schema([pa.field("flux", pa.float64(), metadata={b"unit": b"erg/s/cm^2"})])


def _batches(*, fail: bool = False, closed: list[bool] | None = None) -> Iterator[pa.RecordBatch]:
    try:
        for value in (1.0, 2.0):
            yield pa.record_batch([pa.array([value])], schema=SCHEMA)
        if fail:
            raise InputError("a.vot", "'abc' is not a double", "row 3, column 'flux'")
    finally:
        if closed is not None:
            closed.append(True)


def test_reads_all_with_the_metadata_and_only_once() -> None:
    reader = TableReader(SCHEMA, _batches())
    table = reader.read_all()
    assert table["flux"].to_pylist() == [1.0, 2.0]
    assert table.schema.equals(SCHEMA, check_metadata=True)
    assert reader.read_all().num_rows == 0


def test_iterating_gives_the_batches() -> None:
    assert [batch.num_rows for batch in TableReader(SCHEMA, _batches())] == [1, 1]


@pytest.mark.parametrize("read", [list, TableReader.read_all])
def test_an_input_error_arrives_as_it_was_raised(read) -> None:
    with pytest.raises(InputError) as caught:
        read(TableReader(SCHEMA, _batches(fail=True)))
    assert caught.value.where == "row 3, column 'flux'"


def test_leaving_early_closes_the_producer() -> None:
    closed: list[bool] = []
    with TableReader(SCHEMA, _batches(closed=closed)) as reader:
        next(iter(reader))
        assert not closed
    assert closed == [True]


def test_other_libraries_take_it_as_it_is() -> None:
    with duckdb.connect() as database:
        database.register("relation", TableReader(SCHEMA, _batches()))
        assert database.sql("SELECT sum(flux) FROM relation").fetchall() == [(3.0,)]
    assert pl.DataFrame(TableReader(SCHEMA, _batches()))["flux"].to_list() == [1.0, 2.0]
    assert pa.table(TableReader(SCHEMA, _batches())).schema.equals(SCHEMA, check_metadata=True)
