import gzip
import io
from functools import cache

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

import lake.formats
from lake.errors import InputError
from lake.formats import TableReader, format_of, read_table, scan_table


@cache
def written(form: str) -> bytes:
    table = Table({"n": [1, 2, 3], "x": [0.5, 1.5, 2.5], "name": ["a", "b", "c"]})
    table["x"].unit = "deg"
    if form == "parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.table({name: table[name].tolist() for name in table.colnames}), buffer)
        return buffer.getvalue()
    if form in ("fits", "votable"):
        binary = io.BytesIO()
        table.write(binary, format=form)
        return binary.getvalue()
    text = io.StringIO()
    table.write(text, format=form)
    return text.getvalue().encode()


FORMS = {
    "fits": "fits",
    "votable": "votable",
    "parquet": "parquet",
    "ascii.csv": "delimited",
    "ascii.tab": "delimited",
    "ascii.ecsv": "delimited",
    "ascii.fixed_width_no_header": None,
    "ascii.commented_header": "delimited",
    "ascii.basic": "delimited",
}


@pytest.mark.parametrize(("form", "found"), [(k, v) for k, v in FORMS.items() if v])
@pytest.mark.parametrize("zipped", [False, True])
def test_the_same_table_from_every_format_whatever_its_name(tmp_path, form, found, zipped):
    content = written(form)
    if zipped:
        content = gzip.compress(content)
    path = tmp_path / "table.dat"
    path.write_bytes(content)
    for source in (path, str(path), content):
        assert format_of(source) == found
        table = read_table(source)
        assert table.to_pydict() == {"n": [1, 2, 3], "x": [0.5, 1.5, 2.5], "name": ["a", "b", "c"]}
    if form in ("fits", "votable", "ascii.ecsv"):
        assert table.schema.field("x").metadata[b"unit"] == b"deg"
    reader = scan_table(path, batch_rows=2)
    assert isinstance(reader, TableReader)
    assert [batch.num_rows for batch in reader] == [2, 1]


def test_options_reach_the_reader():
    assert read_table(b"a,b\n1,2\n", column_types={"a": pa.string()})["a"].to_pylist() == ["1"]
    with pytest.raises(InputError, match="no HDU 5"):
        read_table(written("fits"), hdu=5)


def test_a_byte_order_mark_or_blanks_do_not_hide_a_votable():
    content = written("votable")
    assert format_of(b"\xef\xbb\xbf" + content) == "votable"
    assert format_of(b"\n  <VOTABLE>") == "votable"
    assert format_of(content.decode().encode("utf-16")) == "votable"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"  \n", "the file is empty"),
        (b"PK\x03\x04...", "is a zip archive, expected FITS, VOTable, Parquet or delimited text"),
        (b"\x89HDF\r\n", "is HDF5"),
        (b"\x1f\x9d\x90", "is compressed with compress"),
        (b"<!DOCTYPE html><html>404", "is a web page"),
        (b"\x93NUMPY\x01\x00v\x00", "line 1"),
    ],
)
def test_what_is_no_table_is_named(content, message):
    with pytest.raises(InputError, match=message):
        read_table(content)


def test_every_public_name_is_there_and_documented():
    for name in lake.formats.__all__:
        assert getattr(lake.formats, name).__doc__


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_rejected_in_words(data):
    """No parser's own error comes through, whatever bytes were changed, lost or added."""
    content = bytearray(written(data.draw(st.sampled_from(["fits", "ascii.csv", "ascii.basic"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        lost = data.draw(st.sampled_from([0, 1, 80, 2880]))
        content[at : at + lost] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"9", b'"', b"'"])
        )
    try:
        table = read_table(bytes(content))
    except InputError:
        return
    table.validate(full=True)


@pytest.mark.real
def test_formats_of_real_files(real_data):
    found = {"votable": 0, "parquet": 0, "delimited": 0}
    for path in sorted((real_data / "csc").rglob("*.*")):
        if path.suffix in (".vot", ".csv", ".parquet"):
            form = format_of(path)
            assert (
                form == {".vot": "votable", ".csv": "delimited", ".parquet": "parquet"}[path.suffix]
            )
            assert read_table(path).num_rows > 0
            found[form] += 1
    assert min(found.values()) >= 2
