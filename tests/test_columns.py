"""Rows of a table become Arrow: one by one, or whole tables."""

import numpy as np
import pyarrow as pa
import pytest

from lake.columns import Columns, Misfit
from lake.contracts import Column, Table
from lake.errors import LacusError

TABLE = Table(
    "x.t",
    "A table.",
    (
        Column("release", "", pa.string(), "VARCHAR"),
        Column("n", "", pa.int32(), "INTEGER", nullable=False),
        Column("values", "", pa.list_(pa.float64()), "DOUBLE[]"),
        Column("raw", "", pa.binary(), "BLOB"),
        Column("file_sha256", "", pa.string(), "VARCHAR"),
        Column("file_row", "", pa.int64(), "BIGINT"),
    ),
    ("release", "n"),
)


def numbers(*n: int) -> pa.Table:
    return pa.table({"n": pa.array(n, pa.int32())})


def test_masked_elements_of_a_list_are_null():
    columns = Columns(TABLE, "R")
    values = np.ma.MaskedArray(np.array([1, -1, 3], ">i2"), [False, True, False])
    columns.extend([{"n": 1, "values": np.array([0.5])}, {"n": 2, "values": values}], "a")
    (batch,) = columns.batches()
    assert batch["values"].to_pylist() == [[0.5], [1.0, None, 3.0]]


def test_a_table_is_taken_without_a_copy_and_completed():
    columns = Columns(TABLE, "R")
    columns.extend([{"n": 7, "raw": b"abc"}], "a")
    columns.extend(pa.concat_tables([numbers(1, 2), numbers(3)]), "b")
    assert columns.rows == 4
    rows, *whole = columns.batches()
    assert rows.to_pylist() == [
        {"release": "R", "n": 7, "values": None, "raw": b"abc", "file_sha256": "a", "file_row": 1}
    ]
    assert [b.schema for b in whole] == [TABLE.schema()] * 2
    assert pa.Table.from_batches(whole).select(["n", "file_sha256", "file_row"]).to_pylist() == [
        {"n": 1, "file_sha256": "b", "file_row": 1},
        {"n": 2, "file_sha256": "b", "file_row": 2},
        {"n": 3, "file_sha256": "b", "file_row": 3},
    ]
    given = numbers(4, 5)
    columns.clear()
    columns.extend(given, "c")
    address = given["n"].chunk(0).buffers()[1].address
    assert columns.batches()[0]["n"].buffers()[1].address == address


def test_bytes_and_tables_count_as_memory():
    columns = Columns(TABLE, "R")
    columns.extend([{"n": 1, "raw": bytes(100), "values": np.zeros(10)}], "a")
    assert columns.list_bytes == 180
    columns.extend(numbers(1, 2), "b")
    assert columns.list_bytes >= 188


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"n": pa.array([1], pa.int64())}),
        pa.table({"n": pa.array([None], pa.int32())}),
    ],
)
def test_a_table_that_does_not_fit_is_named_with_its_file(table):
    columns = Columns(TABLE, "R")
    columns.extend(table, "bad")
    columns.extend(numbers(1), "good")
    with pytest.raises(Misfit) as caught:
        columns.batches()
    assert list(caught.value.reasons) == ["bad"]
    assert "x.t, column 'n'" in caught.value.reasons["bad"]
    columns.drop(caught.value.reasons)
    assert [b["n"].to_pylist() for b in columns.batches()] == [[1]]


def test_a_column_that_nobody_declares_is_a_mistake_of_the_reader():
    with pytest.raises(LacusError, match=r"x\.t declares no column other"):
        Columns(TABLE, "R").extend(pa.table({"other": [1]}), "a")


def test_rows_and_columns_are_gathered_together():
    columns = Columns(TABLE, "R")
    columns.extend([{"n": 1}, {"n": 2, "raw": b"two"}], "a")
    columns.extend_columns({"n": (3, 4), "file_row": [7, 8]}, ["b", "c"])
    columns.extend([{"n": 5, "file_row": 3}], "d")
    assert columns.rows == 5
    columns.drop({"b": "for some reason"})
    (batch,) = columns.batches()
    assert batch.select(["n", "raw", "file_sha256", "file_row"]).to_pylist() == [
        {"n": 1, "raw": None, "file_sha256": "a", "file_row": 1},
        {"n": 2, "raw": b"two", "file_sha256": "a", "file_row": 2},
        {"n": 4, "raw": None, "file_sha256": "c", "file_row": 8},
        {"n": 5, "raw": None, "file_sha256": "d", "file_row": 3},
    ]
    columns.clear()
    assert (columns.rows, columns.list_bytes, columns.batches()) == (0, 0, [])


@pytest.mark.parametrize(("place", "said"), [("first", "'first' is"), (10**20, "is")])
def test_a_place_that_is_no_number_is_a_misfit_of_its_file(place, said):
    columns = Columns(TABLE, "R")
    columns.extend([{"n": 1, "file_row": place}], "bad")
    columns.extend([{"n": 2}], "good")
    with pytest.raises(Misfit, match=said) as caught:
        columns.batches()
    assert list(caught.value.reasons) == ["bad"]


def test_lists_that_are_too_much_together_are_refused(monkeypatch):
    monkeypatch.setattr("lake.columns._MOST_NUMBERS", 5)
    columns = Columns(TABLE, "R")
    columns.extend([{"n": 1, "values": np.zeros(3)}, {"n": 2, "values": np.zeros(3)}], "a")
    with pytest.raises(Misfit, match="6 numbers are too many for one batch") as caught:
        columns.batches()
    columns.drop(caught.value.reasons)
    assert columns.batches() == []
