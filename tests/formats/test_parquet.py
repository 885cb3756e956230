import datetime
import decimal
import io
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import InputError
from lake.formats.columns import plain_array
from lake.formats.parquet import read_parquet, scan_parquet


def parquet_bytes(table: pa.Table, **options: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def test_types_come_out_plain():
    when = datetime.datetime(2008, 10, 23, 21, 44, 43)
    table = pa.table(
        {
            "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
            "large": pa.array(["a", None, "c"], pa.large_string()),
            "whole": pa.array(
                [decimal.Decimal(5), None, decimal.Decimal(-7)], pa.decimal128(10, 0)
            ),
            "decimal": pa.array([decimal.Decimal("1.25"), None, None], pa.decimal128(10, 2)),
            "lists": pa.array([[1, 2], [], None], pa.large_list(pa.int32())),
            "when": pa.array([when, None, when], pa.timestamp("us")),
            "half": pa.array([1.5, None, 2], pa.float16()),
        }
    )
    read = read_parquet(parquet_bytes(table))
    assert dict(zip(read.column_names, map(str, read.schema.types), strict=True)) == {
        "dictionary": "string",
        "large": "string",
        "whole": "int64",
        "decimal": "double",
        "lists": "list<item: int32>",
        "when": "timestamp[us]",
        "half": "float",
    }
    assert read["dictionary"].to_pylist() == ["a", "b", "a"]
    assert read["whole"].to_pylist() == [5, None, -7]
    assert read["decimal"].to_pylist() == [1.25, None, None]
    assert read["lists"].to_pylist() == [[1, 2], [], None]
    assert read["when"].to_pylist() == [when, None, when]


def test_nan_is_null_in_columns_and_stays_in_lists():
    table = pa.table({"x": [1.0, math.nan, None], "v": [[math.nan, 1.0], [], None]})
    read = read_parquet(parquet_bytes(table))
    assert read["x"].to_pylist() == [1, None, None]
    assert math.isnan(read["v"][0].as_py()[0])


VOTABLE = """<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>
<TABLE name="sources"><FIELD name="ra" datatype="double" unit="deg" ucd="pos.eq.ra">
<DESCRIPTION>Right ascension</DESCRIPTION></FIELD><FIELD name="n" datatype="int"/></TABLE>
</RESOURCE></VOTABLE>"""


def test_metadata_of_arrow_and_of_the_votable_in_the_footer():
    about = {b"unit": b"deg", b"ucd": b"pos.eq.ra", b"description": b"Right ascension"}
    table = pa.table({"ra": [1.5], "n": pa.array([1], pa.int32())})
    field = table.schema.field("ra").with_metadata(about)
    read = read_parquet(parquet_bytes(table.cast(table.schema.set(0, field))))
    assert read.schema.field("ra").metadata == about
    plain = table.replace_schema_metadata({"IVOA.VOTable-Parquet.content": VOTABLE})
    read = read_parquet(parquet_bytes(plain))
    assert read.schema.field("ra").metadata == about
    assert not read.schema.field("n").metadata
    assert read.schema.metadata == {b"name": b"sources"}


def test_a_broken_votable_in_the_footer_is_told():
    table = pa.table({"a": [1]}).replace_schema_metadata(
        {"IVOA.VOTable-Parquet.content": "<VOTABLE><oops"}
    )
    with pytest.raises(InputError, match="the VOTable in its footer"):
        read_parquet(parquet_bytes(table))


def test_doubled_names_and_batches(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(parquet_bytes(pa.table([pa.array(range(10))] * 2, names=["a", "A"])))
    reader = scan_parquet(path, batch_rows=4)
    assert reader.schema.names == ["a", "A_2"]
    assert [batch.num_rows for batch in reader] == [4, 4, 2]


def test_no_rows():
    table = pa.table({"a": pa.array([], pa.int16())})
    assert read_parquet(parquet_bytes(table)).equals(table)


_types = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32()),
    *(pa.uint64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.date32()),
]


def _values(kind: pa.DataType) -> st.SearchStrategy:
    if pa.types.is_integer(kind):
        bits = kind.bit_width
        signed = pa.types.is_signed_integer(kind)
        return st.integers(-(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed) - 1)
    if pa.types.is_floating(kind):
        return st.floats(width=kind.bit_width, allow_nan=False)
    if pa.types.is_boolean(kind):
        return st.booleans()
    return st.dates() if pa.types.is_date(kind) else st.text(st.characters(codec="utf-8"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_round_trip(data):
    rows = data.draw(st.integers(0, 5))
    columns = {}
    for number, kind in enumerate(
        data.draw(st.lists(st.sampled_from(_types), min_size=1, max_size=4))
    ):
        cell = st.none() | _values(kind)
        if data.draw(st.booleans()):
            cell, kind = st.none() | st.lists(cell, max_size=3), pa.list_(kind)
        columns[f"c{number}"] = pa.array(
            data.draw(st.lists(cell, min_size=rows, max_size=rows)), kind
        )
    table = pa.table(columns)
    assert read_parquet(parquet_bytes(table)).to_pydict() == table.to_pydict()


@pytest.mark.parametrize("keep", [3, 4, 200, -1, -9])
def test_cut_files(keep):
    data = parquet_bytes(pa.table({"a": list(range(1000))}))
    with pytest.raises(InputError, match="Parquet"):
        read_parquet(data[:keep])


def test_damaged_pages_and_integers_out_of_range():
    table = pa.table({"a": [f"text {n}" for n in range(2000)]})
    data = bytearray(parquet_bytes(table, compression="zstd", use_dictionary=False))
    data[200:600] = bytes(400)
    with pytest.raises(InputError, match=r"<bytes>: in the 50000 rows from 1"):
        read_parquet(bytes(data))
    table = pa.table({"a": pa.array([decimal.Decimal(10) ** 30], pa.decimal128(38, 0))})
    with pytest.raises(InputError, match="column 'a'"):
        read_parquet(parquet_bytes(table))


@pytest.mark.real
def test_every_real_file(real_data):
    paths = sorted(real_data.glob("*/*.parquet"))
    assert len(paths) >= 5
    for path in paths:
        expected = pq.read_table(path)
        read = read_parquet(path)
        assert read.column_names == expected.column_names
        for ours, theirs in zip(read.columns, expected.columns, strict=True):
            plain = pa.chunked_array([plain_array(chunk) for chunk in theirs.chunks])
            if pa.types.is_floating(plain.type):
                plain = plain.to_pandas()
                assert ours.to_pandas().equals(plain)
            else:
                assert ours.equals(plain)
