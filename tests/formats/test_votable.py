"""VOTables: against astropy, at every place where a block may end, and everything malformed."""

import base64
import gzip
import io
import json
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake.errors import InputError
from lake.formats import _votable_stream, _votable_tabledata
from lake.formats.votable import read_votable, scan_votable

SERIALISATIONS = ("tabledata", "binary", "binary2")


# --- documents ---------------------------------------------------------------------------------


def document(fields: str, data: str, *, before: str = "", after: str = "") -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n'
        f'<RESOURCE type="results">{before}<TABLE name="t">{fields}{data}</TABLE>{after}'
        "</RESOURCE></VOTABLE>"
    ).encode()


def field(name: str, datatype: str, arraysize: str = "", inside: str = "", **more: str) -> str:
    size = f' arraysize="{arraysize}"' if arraysize else ""
    rest = "".join(f' {key}="{value}"' for key, value in more.items())
    return f'<FIELD name="{name}" datatype="{datatype}"{size}{rest}>{inside}</FIELD>'


def tabledata(*rows: list[str]) -> str:
    cells = ["".join(f"<TD>{cell}</TD>" for cell in row) for row in rows]
    return (
        "<DATA><TABLEDATA>" + "".join(f"<TR>{row}</TR>\n" for row in cells) + "</TABLEDATA></DATA>"
    )


def binary(data: bytes, kind: str = "BINARY", attributes: str = 'encoding="base64"') -> str:
    text = base64.encodebytes(data).decode()
    return f"<DATA><{kind}><STREAM {attributes}>\n{text}</STREAM></{kind}></DATA>"


def column(datatype: str, *cells: str, arraysize: str = "", inside: str = "") -> list[Any]:
    """Read one column of TABLEDATA cells."""
    data = tabledata(*([cell] for cell in cells))
    return read_votable(document(field("a", datatype, arraysize, inside), data))["a"].to_pylist()


def failure(data: bytes, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        read_votable(data, **options)
    assert "<bytes>" in str(caught.value)
    return caught.value


# --- astropy's reading -------------------------------------------------------------------------


def by_astropy(data: bytes) -> dict[str, list[Any]]:
    """Read with astropy; nulls as this project has them."""
    from astropy.io import votable

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = votable.parse(io.BytesIO(data)).get_first_table()
    return {f.name: [_plain(value, f) for value in table.array[f.ID]] for f in table.fields}


def _plain(value: Any, f: Any) -> Any:
    if value is np.ma.masked:
        return None
    if isinstance(value, str):
        return value.strip(" \t\n\r\0") or None
    if f.arraysize not in (None, "1"):
        if (
            np.size(value)
            and np.all(np.ma.getmaskarray(value))
            and f.datatype not in ("float", "double")
        ):
            return None
        # astropy holds arrays of variable length in double precision, whatever their datatype.
        items = np.ravel(np.ma.getdata(value))
        return [_part(item) for item in (items.astype("f4") if f.datatype == "float" else items)]
    part = _part(np.ma.getdata(value)[()])
    return None if np.any(np.isnan(part)) else part


def _part(item: Any) -> Any:
    item = item.item()
    return [item.real, item.imag] if isinstance(item, complex) else item


def ours(data: bytes) -> dict[str, list[Any]]:
    return read_votable(data).to_pydict()


def assert_same(left: dict[str, list[Any]], right: dict[str, list[Any]]) -> None:
    assert left.keys() == right.keys()
    for name, values in left.items():
        # repr tells NaN from None, -0.0 from 0.0 and 1 from True, and NaN from nothing else.
        assert list(map(repr, values)) == list(map(repr, right[name])), name


# --- round trips -------------------------------------------------------------------------------

# XML has no control characters; a string with blanks around it comes back without.
_TEXT = st.text(
    st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), min_size=0, max_size=12
)
_UNICODE = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF, exclude_categories=["Cc"]))
_SCALARS = ("f8", "f4", "u1", "i2", "i4", "i8", "bool", "str", "unicode", "object", "c16")
_KINDS = (*_SCALARS, "f8x3", "i4x2x3", "boolx3", "c8x2", "f4*", "i2*")
_FLOATS = st.floats(width=64)


def _integers(kind: str) -> st.SearchStrategy[int]:
    limits = np.iinfo(kind)
    return st.integers(int(limits.min) + 1, int(limits.max))


@st.composite
def written_tables(draw: st.DrawFn) -> bytes:
    """A VOTable written by astropy, in one of the serialisations."""
    from astropy.io.votable import from_table
    from astropy.table import MaskedColumn, Table

    rows = draw(st.integers(1, 6))
    serialisation = draw(st.sampled_from(SERIALISATIONS))

    def values(strategy: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(strategy, min_size=rows, max_size=rows))

    table = Table()
    kinds = draw(
        st.lists(
            st.sampled_from(_KINDS),
            min_size=1,
            max_size=10,
        )
    )
    for number, kind in enumerate(kinds):
        name = f"{kind}_{number}".replace("*", "v")
        mask = values(st.booleans())
        if kind in ("f8", "f4"):
            width = 64 if kind == "f8" else 32
            table[name] = MaskedColumn(np.array(values(st.floats(width=width)), kind), mask=mask)
        elif kind in ("u1", "i2", "i4", "i8"):
            table[name] = MaskedColumn(np.array(values(_integers(kind)), kind), mask=mask)
        elif kind == "bool":
            table[name] = MaskedColumn(np.array(values(st.booleans())), mask=mask)
        elif kind == "str":
            table[name] = np.array([text.encode() for text in values(_TEXT)], "S12")
        elif kind == "unicode":
            table[name] = np.array(values(_UNICODE), "U20")
        elif kind == "object":
            table[name] = np.array(values(_TEXT), object)
        elif kind in ("f4*", "i2*"):
            element = st.floats(width=32) if kind == "f4*" else _integers("i2")
            lists = values(st.lists(element, min_size=1, max_size=4))
            cells = np.empty(rows, object)
            arrays = [np.array(items, kind[:2]) for items in lists]
            cells[:] = [np.ma.array(array, mask=np.zeros(array.shape, bool)) for array in arrays]
            table[name] = cells
        elif kind == "boolx3":
            table[name] = np.array(values(st.lists(st.booleans(), min_size=3, max_size=3)))
        elif kind == "f8x3":
            table[name] = np.array(values(st.lists(_FLOATS, min_size=3, max_size=3)))
        elif kind == "i4x2x3":
            flat = values(st.lists(_integers("i4"), min_size=6, max_size=6))
            table[name] = np.array(flat, "i4").reshape(rows, 2, 3)
        else:
            parts = st.complex_numbers(allow_nan=False, allow_infinity=False, max_magnitude=1e30)
            size = 2 if kind == "c8x2" else 1
            flat = values(st.lists(parts, min_size=size, max_size=size))
            cells = np.array(flat, kind[:3].rstrip("x"))
            table[name] = cells if size == 2 else cells[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = from_table(table)
        for f in tree.get_first_table().fields:
            if f.name[:2] in ("u1", "i2", "i4", "i8") and "v" not in f.name and "x" not in f.name:
                # Never drawn as a value.
                f.values.null = int(np.iinfo(table[f.name].dtype).min)
        file = io.BytesIO()
        # The C writer of astropy 8.0.2 writes one byte past its buffer, and crashes now and then.
        tree.to_xml(file, tabledata_format=serialisation, _debug_python_based_parser=True)
    return file.getvalue()


@settings(deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))
@given(written_tables())
def test_reads_what_astropy_writes_as_astropy_reads_it(data: bytes) -> None:
    assert_same(ours(data), by_astropy(data))


@pytest.mark.real
def test_reads_every_real_votable_as_astropy_does(real_data: Path) -> None:
    found = [path for path in sorted(real_data.rglob("*")) if path.is_file() and _is_votable(path)]
    assert len(found) >= 2
    for path in found:
        assert_same(read_votable(path).to_pydict(), by_astropy(path.read_bytes()))


def _is_votable(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4096)
    return start.lstrip().startswith(b"<") and b"<VOTABLE" in start


@pytest.mark.real
def test_keeps_what_cscview_says_of_its_columns(real_data: Path) -> None:
    schema = scan_votable(real_data / "csc" / "cscview_one_detection.vot").schema
    assert schema.field("obsid").type == pa.int32()
    assert schema.field("bb_kt").metadata == {
        b"unit": b"keV",
        b"format": b"E4",
        b"description": b"Temperature (kT) of the best fitting absorbed black body model spectrum "
        b"to the source region aperture PI spectrum",
    }


# --- where a block may end ---------------------------------------------------------------------

_AWKWARD = document(
    field("name", "char", "*")
    + field("n", "int", inside='<VALUES null="-1"/>')
    + field("x", "double")
    + field("xs", "float", "*"),
    """<DATA><!-- rows <TR> --><TABLEDATA>
    <TR><TD>a &lt; b &amp; c &#233;</TD><TD>1</TD><TD> 1.5 </TD><TD>1 2 3</TD></TR>
    <TR><TD><![CDATA[</TR><TD> & <!-- no comment -->]]></TD><TD>-1</TD><TD/><TD></TD></TR>\r
    <!-- <TR><TD>hidden</TD></TR> --><?pi </TR> ?>
    <TR ID="r3"><TD class="x>y">grün\r\nblau</TD ><TD />\t<TD>NaN</TD><TD>nan 1e3</TD></TR>
    </TABLEDATA></DATA>""",
    after='<INFO name="QUERY_STATUS" value="OVERFLOW"/>',
)
_AWKWARD_ROWS = {
    "name": ["a < b & c é", "</TR><TD> & <!-- no comment -->", "grün\nblau"],
    "n": [1, None, None],
    "x": [1.5, None, None],
    "xs": [[1.0, 2.0, 3.0], None, [float("nan"), 1000.0]],
}


@pytest.mark.parametrize("size", [*range(1, 40), 64, 100, 333, 1000, 10_000])
def test_blocks_of_any_size_give_the_same_rows(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_votable_stream, "BLOCK", size)
    assert_same(ours(_AWKWARD), _AWKWARD_ROWS)


def test_a_block_may_end_at_every_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in range(1, len(_AWKWARD) + 1):
        blocks = iter([_AWKWARD[:size], _AWKWARD[size:], b""])
        stream_more = _votable_stream.ByteStream.more

        def more(self: Any, blocks: Any = blocks) -> bool:
            block = next(blocks)
            self.buffer += block
            return bool(block)

        monkeypatch.setattr(_votable_stream.ByteStream, "more", more)
        assert_same(ours(_AWKWARD), _AWKWARD_ROWS)
        monkeypatch.setattr(_votable_stream.ByteStream, "more", stream_more)


@pytest.mark.parametrize("kind", ["BINARY", "BINARY2"])
@pytest.mark.parametrize("size", [1, 3, 7, 50, 1000])
def test_binary_rows_across_blocks(kind: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_votable_stream, "BLOCK", size)
    flags = [b"\0", b"\x20", b"\0"] if kind == "BINARY2" else [b""] * 3
    rows = [
        flag + struct.pack(">hI", n, len(text)) + text + struct.pack(">dI2f", x, 2, x, 1)
        for flag, n, text, x in zip(
            flags, (1, 2, 3), (b"ab", b"", b" c\0d"), (1.5, float("nan"), -2), strict=True
        )
    ]
    fields = field("n", "short") + field("s", "char", "*") + field("x", "double")
    table = ours(document(fields + field("xs", "float", "*"), binary(b"".join(rows), kind)))
    assert table["n"] == [1, 2, 3]
    assert table["s"] == ["ab", None, "c"]
    assert table["x"] == [1.5, None, -2.0]
    assert list(map(repr, table["xs"])) == ["[1.5, 1.0]", "[nan, 1.0]", "[-2.0, 1.0]"]


def test_plain_markup_never_needs_the_xml_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_votable_tabledata, "_parse_rows")
    assert column("int", " 1", "", "3\n") == [1, None, 3]
    data = document(field("a", "int"), "<DATA><TABLEDATA><TR> <TD/> </TR></TABLEDATA></DATA>")
    assert ours(data) == {"a": [None]}


# --- streaming ---------------------------------------------------------------------------------


def _numbers(rows: int) -> bytes:
    return document(field("a", "int"), tabledata(*([str(i)] for i in range(rows))))


def test_batches_have_the_asked_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_votable_stream, "BLOCK", 200)
    reader = scan_votable(_numbers(95), batch_rows=30)
    batches = list(reader)
    assert [batch.num_rows for batch in batches] == [30, 30, 30, 5]
    assert pa.Table.from_batches(batches)["a"].to_pylist() == list(range(95))


def test_batch_rows_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        scan_votable(_numbers(1), batch_rows=0)


def test_the_schema_comes_before_the_rows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_votable_stream, "BLOCK", 100)
    broken = _numbers(500).replace(b"<TD>499</TD>", b"<TD>x</TD>")
    reader = scan_votable(broken, batch_rows=100)
    assert reader.schema.names == ["a"]
    assert reader.read_next_batch().num_rows == 100
    with pytest.raises(InputError, match="row 500, column 'a': 'x' is not a int"):
        list(reader)


def test_memory_is_bounded_by_a_batch(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "big.vot.gz"
    text = "z" * 1000
    with gzip.open(path, "wb", compresslevel=1) as file:
        start, end = document(field("a", "char", "*"), tabledata(["@"])).split(
            b"<TR><TD>@</TD></TR>"
        )
        file.write(start)
        for _ in range(30):
            file.write(f"<TR><TD>{text}</TD></TR>\n".encode() * 1000)
        file.write(end)
    scan_votable(path, batch_rows=500).read_next_batch()
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    rows = highest = 0
    for batch in scan_votable(path, batch_rows=500):
        rows += batch.num_rows
        highest = max(highest, pa.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 30_000  # 30 MB of text
    assert peak < 6 * _votable_stream.BLOCK
    assert highest < 6 * _votable_stream.BLOCK


@pytest.mark.parametrize("compressed", [False, True])
def test_reads_a_path_or_bytes_compressed_or_not(tmp_path: Path, compressed: bool) -> None:
    data = gzip.compress(_numbers(3)) if compressed else _numbers(3)
    path = tmp_path / "a table.vot"
    path.write_bytes(data)
    for source in (path, str(path), data):
        assert read_votable(source)["a"].to_pylist() == [0, 1, 2]


# --- the header --------------------------------------------------------------------------------


def test_metadata_of_columns_and_table() -> None:
    before = (
        '<INFO name="QUERY" value="SELECT 1">as sent</INFO><COOSYS ID="s" system="ICRS"/>'
        '<TIMESYS ID="t" timescale="TT"/>'
        '<RESOURCE type="meta"><PARAM name="other" datatype="int" value="1"/></RESOURCE>'
    )
    fields = (
        "<DESCRIPTION>all\n  of it</DESCRIPTION>"
        + field(
            "t",
            "char",
            "19*",
            "<DESCRIPTION>when &amp; how</DESCRIPTION>",
            xtype="timestamp",
            ucd="time.epoch",
            utype="a:b.c",
            unit="s",
            width="19",
            ID="c1",
        )
        + field("m", "double", "3x2", precision="4")
        + (
            '<GROUP><PARAM name="epoch" datatype="double" value="2000" unit="yr" ucd="time">'
            "<DESCRIPTION>of all</DESCRIPTION></PARAM></GROUP>"
        )
    )
    schema = read_votable(document(fields, tabledata(), before=before)).schema
    assert schema.field("t").metadata == {
        b"unit": b"s",
        b"ucd": b"time.epoch",
        b"utype": b"a:b.c",
        b"xtype": b"timestamp",
        b"width": b"19",
        b"description": b"when & how",
        b"arraysize": b"19*",
    }
    assert schema.field("m").metadata == {b"format": b"F4", b"arraysize": b"3x2"}
    assert schema.metadata[b"name"] == b"t"
    assert schema.metadata[b"description"] == b"all of it"
    assert json.loads(schema.metadata[b"params"]) == [
        {"name": "QUERY", "value": "SELECT 1", "description": "as sent"},
        {"name": "epoch", "value": "2000", "unit": "yr", "ucd": "time", "description": "of all"},
    ]
    assert json.loads(schema.metadata[b"coosys"]) == [{"ID": "s", "system": "ICRS"}]
    assert json.loads(schema.metadata[b"timesys"]) == [{"ID": "t", "timescale": "TT"}]


def test_names_are_unique_whatever_the_case() -> None:
    fields = "".join(field(name, "int") for name in ("ra", "RA", "ra_2", "ra", "dec"))
    fields += '<FIELD ID="only_id" datatype="int"/>'
    names = read_votable(document(fields, tabledata())).schema.names
    assert names == ["ra", "RA_3", "ra_2", "ra_4", "dec", "only_id"]


def test_overflow_is_among_the_params(tmp_path: Path) -> None:
    told = {"name": "QUERY_STATUS", "value": "OVERFLOW"}
    for schema in (read_votable(_AWKWARD).schema, scan_votable(_AWKWARD).schema):
        assert json.loads(schema.metadata[b"params"]) == [told]
    compressed = gzip.compress(_AWKWARD)
    assert json.loads(read_votable(compressed).schema.metadata[b"params"]) == [told]
    with pytest.warns(UserWarning, match="cut the table"):
        scan_votable(compressed).read_all()


@pytest.mark.parametrize("version", ["1.1", "1.2", "1.3", "1.4", "1.5"])
@pytest.mark.parametrize("prefix", ["", "vot:"])
def test_versions_and_prefixes(version: str, prefix: str) -> None:
    name = "xmlns" if not prefix else "xmlns:vot"
    body = (
        f'<VOTABLE version="{version}" {name}="http://www.ivoa.net/xml/VOTable/v{version}">'
        f'<RESOURCE><TABLE><FIELD name="a" datatype="int"/>{tabledata(["1"], ["2"])}'
        f"</TABLE></RESOURCE></VOTABLE>"
    )
    if prefix:
        body = body.replace("</", "</vot:").replace("<", "<vot:").replace("<vot:/vot:", "</vot:")
    assert ours(body.encode()) == {"a": [1, 2]}


def test_tables_by_number_name_and_id_and_fields_by_reference() -> None:
    data = (
        '<VOTABLE version="1.3"><RESOURCE>'
        f'<TABLE ID="T1" name="first">{field("a", "int")}{tabledata(["1"])}</TABLE>'
        f'<TABLE name="bin">{field("b", "short")}{binary(bytes([0, 7]))}</TABLE>'
        f'<RESOURCE><TABLE name="inner" ref="T1">{tabledata(["3"])}</TABLE></RESOURCE>'
        f'<TABLE name="empty">{field("c", "int")}</TABLE></RESOURCE></VOTABLE>'
    ).encode()
    for key, expected in {
        0: {"a": [1]},
        "T1": {"a": [1]},
        "first": {"a": [1]},
        1: {"b": [7]},
        "bin": {"b": [7]},
        2: {"a": [3]},
        "inner": {"a": [3]},
        3: {"c": []},
        "empty": {"c": []},
    }.items():
        assert read_votable(data, table=key).to_pydict() == expected
    assert "the file has 4 tables" in str(failure(data, table=4))
    assert "no table 'other'" in str(failure(data, table="other"))


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-16", "windows-1252"])
def test_other_character_sets(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = document(field("grün", "char", "*"), tabledata(["é"])).decode()
    data = data.replace("UTF-8", encoding.upper())
    assert ours(data.encode(encoding)) == {"grün": ["é"]}
    # A character may be cut in two.
    monkeypatch.setattr(_votable_stream, "BLOCK", 101)
    assert ours(data.encode(encoding)) == {"grün": ["é"]}


def test_a_doctype_without_entities_is_accepted() -> None:
    doctype = b'?>\n<!DOCTYPE VOTABLE SYSTEM "http://us-vo.org/xml/VOTable.dtd">'
    assert ours(_numbers(2).replace(b"?>", doctype, 1)) == {"a": [0, 1]}


@pytest.mark.parametrize(
    "data",
    [
        "",
        "<DATA><TABLEDATA/></DATA>",
        "<DATA><TABLEDATA></TABLEDATA></DATA>",
        binary(b""),
        binary(b"", "BINARY2"),
        "<DATA><BINARY><STREAM/></BINARY></DATA>",
    ],
)
def test_no_rows(data: str) -> None:
    table = read_votable(document(field("a", "int") + field("b", "char", "*"), data))
    assert table.num_rows == 0
    assert table.schema.types == [pa.int32(), pa.string()]


# --- cells -------------------------------------------------------------------------------------


def test_types() -> None:
    expected = {
        "boolean": pa.bool_(),
        "bit": pa.bool_(),
        "unsignedByte": pa.uint8(),
        "short": pa.int16(),
        "int": pa.int32(),
        "long": pa.int64(),
        "char": pa.string(),
        "unicodeChar": pa.string(),
        "float": pa.float32(),
        "double": pa.float64(),
        "floatComplex": pa.list_(pa.float32(), 2),
        "doubleComplex": pa.list_(pa.float64(), 2),
    }
    for datatype, kind in expected.items():
        sizes = {"": kind, "1": kind, "2x3": pa.list_(kind), "2x*": pa.list_(kind)}
        if kind != pa.string():
            sizes |= {"3": pa.list_(kind), "*": pa.list_(kind), "4*": pa.list_(kind)}
        for size, listed in sizes.items():
            schema = scan_votable(document(field("a", datatype, size), tabledata())).schema
            assert schema.types == [listed]


@pytest.mark.parametrize(
    ("datatype", "cells", "expected"),
    [
        ("boolean", ["T", "f", "1", "0", "True", "FALSE", "?", " ", ""],
         [True, False, True, False, True, False, None, None, None]),
        ("bit", ["1", "0", ""], [True, False, None]),
        ("unsignedByte", ["0", "255", "0xfF", "+7", "NaN", ""], [0, 255, 255, 7, None, None]),
        ("short", ["-32768", "+32767", " 5\n"], [-32768, 32767, 5]),
        ("long", ["-9223372036854775808", "9223372036854775807", "&#52;2"],
         [-(2**63), 2**63 - 1, 42]),
        ("double", ["1e-3", "+.5", "-Inf", "+Inf", "NaN", "", "null", "5."],
         [1e-3, 0.5, -np.inf, np.inf, None, None, None, 5.0]),
        ("float", ["0.1", "nan"], [float(np.float32(0.1)), None]),
        ("char", ["x", " ", ""], ["x", None, None]),
        ("doubleComplex", ["1 -2", "NaN", "", "1 NaN"], [[1.0, -2.0], None, None, None]),
    ],
)  # fmt: skip
def test_scalars(datatype: str, cells: list[str], expected: list[Any]) -> None:
    assert column(datatype, *cells) == expected
    assert [column(datatype, cell)[0] for cell in cells] == expected


@pytest.mark.parametrize(
    ("datatype", "size", "cells", "expected"),
    [
        ("int", "2", ["1 2", " 3\n 4 ", "5,6", ""], [[1, 2], [3, 4], [5, 6], None]),
        ("short", "*", ["1", "", "2 3 4"], [[1], None, [2, 3, 4]]),
        ("double", "2x*", ["1 2 3 4", "", "5 6"], [[1, 2, 3, 4], None, [5, 6]]),
        ("boolean", "*", ["T ? F", ""], [[True, None, False], None]),
        ("bit", "3", ["1 0 1", "011", ""], [[True, False, True], [False, True, True], None]),
        ("floatComplex", "*", ["1 2 3 4", ""], [[[1, 2], [3, 4]], None]),
        ("char", "2x3", ["ab cde", ""], [["ab", "c", "de"], None]),
        ("char", "3x*", ["abc   def", " x "], [["abc", None, "def"], ["x"]]),
    ],
)  # fmt: skip
def test_arrays(datatype: str, size: str, cells: list[str], expected: list[Any]) -> None:
    assert column(datatype, *cells, arraysize=size) == expected


def test_nan_within_an_array_stays() -> None:
    (values,) = column("double", "NaN 1", arraysize="2")
    assert np.isnan(values[0])
    assert values[1] == 1.0


@pytest.mark.parametrize(
    ("datatype", "null", "cells", "expected"),
    [
        ("int", "-99", ["-99", "-099", "99"], [None, None, 99]),
        ("int", "N/A", ["N/A", "1"], [None, 1]),
        ("unsignedByte", "-1", ["-1", "1"], [None, 1]),
        ("double", "-99", ["-99.0", "1"], [None, 1.0]),
        ("char", "--", ["--", "-"], [None, "-"]),
    ],
)
def test_declared_nulls(datatype: str, null: str, cells: list[str], expected: list[Any]) -> None:
    size = "*" if datatype == "char" else ""
    declared = f'<VALUES null="{null}"/>'
    assert column(datatype, *cells, arraysize=size, inside=declared) == expected
    if datatype == "int" and null == "-99":
        assert column("int", "1 -99", arraysize="*", inside=declared) == [[1, None]]
        rows = binary(struct.pack(">2i", -99, 5))
        assert ours(document(field("a", "int", "", declared), rows)) == {"a": [None, 5]}


def test_binary2_flags_count_for_every_kind_of_column() -> None:
    fields = [("short", ""), ("double", ""), ("char", "*"), ("int", "2"), ("int", "*"),
              ("char", "3"), ("boolean", ""), ("floatComplex", ""), ("bit", "3")]  # fmt: skip
    values = (
        struct.pack(">hdI", 1, 2.0, 1) + b"a" + struct.pack(">2iIi", 1, 2, 1, 9) + b"abcT"
        + struct.pack(">2f", 1, 2) + bytes([0b10100000])
    )  # fmt: skip
    names = "".join(field(f"c{i}", kind, size) for i, (kind, size) in enumerate(fields))
    rows = b"\0\0" + values + b"\xff\x80" + values
    table = ours(document(names, binary(rows, "BINARY2")))
    first = [1, 2.0, "a", [1, 2], [9], "abc", True, [1.0, 2.0], [True, False, True]]
    assert [column[0] for column in table.values()] == first
    assert [column[1] for column in table.values()] == [None] * 9


def test_binary_layouts() -> None:
    fields = [("bit", ""), ("bit", "10"), ("bit", "*"), ("unicodeChar", "3"), ("unicodeChar", "*"),
              ("char", "2x2"), ("char", "2x*"), ("boolean", "2"), ("long", "1x2")]  # fmt: skip
    row = (
        b"\x80" + bytes([0b10000000, 0b01000000]) + struct.pack(">IB", 3, 0b01100000)
        + "a\0b".encode("utf-16-be") + struct.pack(">I", 2) + "h\u00e9".encode("utf-16-be")
        + b"ab\0c" + struct.pack(">I", 4) + b"x y\0" + b"?F" + struct.pack(">2q", 1, -1)
    )  # fmt: skip
    names = "".join(field(f"c{i}", kind, size) for i, (kind, size) in enumerate(fields))
    table = read_votable(document(names, binary(row * 2))).to_pylist()
    assert table[0] == table[1]
    assert list(table[0].values()) == [
        True, [True] + [False] * 8 + [True], [False, True, True], "a", "h\u00e9",
        ["ab", None], ["x", "y"], [None, False], [1, -1],
    ]  # fmt: skip


def test_base64_with_carriage_returns_as_references() -> None:
    text = base64.encodebytes(struct.pack(">200i", *range(200))).decode()
    text = text.replace("\n", "&#13;\n").replace("AA", "A\tA")
    data = f'<DATA><BINARY><STREAM encoding="base64">{text}</STREAM></BINARY></DATA>'
    assert ours(document(field("a", "int"), data)) == {"a": list(range(200))}


def test_cells_with_an_encoding_are_left_to_astropy() -> None:
    coded = base64.b64encode(struct.pack(">d", 2.5)).decode()
    rows = tabledata(["x", "1.5"], ["y", "@"]).replace("<TD>@", f'<TD encoding="base64">{coded}')
    data = document(field("s", "char", "*") + field("x", "double"), rows)
    assert ours(data) == {"s": ["x", "y"], "x": [1.5, 2.5]}


def test_fits_streams_are_read_with_astropy() -> None:
    from astropy.io import fits

    columns = fits.ColDefs([
        fits.Column("a", "J", array=[1, -9]), fits.Column("x", "2D", array=[[1, np.nan], [3, 4]]),
        fits.Column("s", "4A", array=["ab", ""]), fits.Column("f", "E", array=[np.nan, 1]),
        fits.Column("b", "L", array=[True, False]), fits.Column("v", "PI()", array=[[1], [2, 3]]),
    ])  # fmt: skip
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(file)
    fields = (
        field("a", "int", "", '<VALUES null="-9"/>') + field("x", "double", "2")
        + field("s", "char", "4") + field("f", "float") + field("b", "boolean")
        + field("v", "short", "*")
    )  # fmt: skip
    data = document(
        fields, binary(file.getvalue(), 'FITS extnum="1"').replace('</FITS extnum="1"', "</FITS")
    )
    table = ours(data)
    assert (table["a"], table["s"], table["f"]) == ([1, None], ["ab", None], [None, 1.0])
    assert (table["b"], table["v"]) == ([True, False], [[1], [2, 3]])
    assert np.isnan(table["x"][0][1])
    assert "expected 5" in str(failure(data.replace(field("f", "float").encode(), b"")))
    assert "no FITS table in HDU 7" in str(failure(data.replace(b'"1">', b'"7">')))


# --- bad input ---------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.vot: cannot be read: No such file"):
        read_votable(tmp_path / "none.vot")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not XML"),
        (b"name,ra\na,1\n", "not XML"),
        (b"<html><body>Not found</body></html>", "the root element is <html>"),
        (b"<VOTABLE/>", "no table 0: the file has 0 tables"),
        (b"<VOTABLE><RESOURCE>", "truncated"),
        (document("", tabledata(["1"])), "no FIELD"),
        (document(field("a", "quad"), ""), "FIELD 1, column 'a': datatype 'quad' is none of"),
        (document(field("a", "int", "2,3"), ""), "arraysize '2,3' is not understood"),
        (document(field("a", "char", "0x3"), ""), "arraysize '0x3' is not understood"),
        (document('<FIELD datatype="int"/>', ""), "FIELD 1: neither name nor ID"),
        (b'<?xml version="1.0" encoding="rot13"?><VOTABLE/>', "unknown character set 'rot13'"),
        (b'<?xml version="1.0"?><!DOCTYPE v [<!ENTITY e "x">]><VOTABLE>&e;</VOTABLE>',
         "declares the entity 'e'"),
        (document("", "", before='<INFO name="QUERY_STATUS" value="ERROR">no such column</INFO>'),
         "the service answered with an error: no such column"),
        (document(field("a", "int"), tabledata(["1"]),
                  after='<INFO name="QUERY_STATUS" value="ERROR">timed out</INFO>'), "timed out"),
        (document(field("a", "int"), '<DATA><BINARY><STREAM href="http://x.org/a"/></BINARY></DATA>'),
         "at http://x.org/a"),
        (document(field("a", "int"), "<DATA><MAGIC><STREAM></STREAM></MAGIC></DATA>"), "'MAGIC'"),
        (document(field("a", "int"), "<DATA></TABLE>"), "mismatched tag"),
        (document(field("a", "int"), tabledata(["1"]) + "<b>"), "mismatched tag"),
        (gzip.compress(_numbers(1000), mtime=0)[:-20], "broken gzip stream"),
        (gzip.compress(_numbers(9), mtime=0).replace(b"\x1f\x8b\x08", b"\x1f\x8b\x09"), "broken"),
    ],
)  # fmt: skip
def test_documents_that_cannot_be_taken(data: bytes, problem: str) -> None:
    assert problem in str(failure(data))


@pytest.mark.parametrize(
    ("datatype", "size", "cell", "problem"),
    [
        ("double", "", "abc", "'abc' is not a double"),
        ("double", "", "1_0", "'1_0' is not a double"),
        ("int", "", "1.5", "'1.5' is not a int"),
        ("unsignedByte", "", "256", "'256' is not a unsignedByte"),
        ("boolean", "", "maybe", "'maybe' is not a boolean"),
        ("int", "*", "1 x", "'x' is not a int"),
        ("int", "3", "1 2", "2 values, expected 3"),
        ("int", "2x*", "1 2 3", "3 values, expected a multiple of 2"),
        ("doubleComplex", "", "1 2 3", "3 values, expected 2"),
        ("char", "*", "AT&T", "malformed entity in 'AT&T'"),
        ("char", "*", "&nbsp;", "malformed entity in '&nbsp;'"),
    ],
)
def test_cells_that_cannot_be_taken(datatype: str, size: str, cell: str, problem: str) -> None:
    rows = [["x", ""] for _ in range(30)]
    rows[16][1] = cell
    data = document(field("s", "char", "*") + field("ra", datatype, size), tabledata(*rows))
    error = failure(data)
    assert error.where == "row 17, column 'ra'"
    assert problem in error.problem


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("<TR><TD>1</TD></TR>", "row 2: 1 cells, expected one for each of 2 fields"),
        ("<TR><TD>1</TD><TD>2</TD><TD/></TR>", "row 2: 3 cells, expected"),
        ("<TR/>", "row 2: 0 cells, expected"),
        ("<TR><TD>1</TD><TD>2</TR>", "row 2: mismatched tag"),
        ("<TR><TD>1</TD><TD><b>2</b></TD></TR>", "row 2: <b> inside <TD>"),
        ("<TD>1</TD><TD>2</TD>", "<TD> inside <TABLEDATA>"),
        ("<TR><TD>1</TD><TD>2 < 3</TD></TR>", "row 2: not well-formed"),
    ],
)
def test_rows_that_cannot_be_taken(row: str, problem: str) -> None:
    good = "<TR><TD>1</TD><TD>2</TD></TR>"
    rows = f"<DATA><TABLEDATA>{good}{row}{good}</TABLEDATA></DATA>"
    assert problem in str(failure(document(field("a", "int") + field("b", "int"), rows)))


@given(st.integers(1, len(_AWKWARD) - 1))
@settings(deadline=None, max_examples=60)
def test_a_truncated_file_is_never_taken(length: int) -> None:
    failure(_AWKWARD[:length])


def test_truncation_names_the_row() -> None:
    error = failure(_numbers(9)[: _numbers(9).index(b"<TD>5<")])
    assert error.where == "row 6"
    assert "truncated" in error.problem


@pytest.mark.parametrize(
    ("datatype", "size", "data", "problem"),
    [
        ("int", "", b"\0\0\0\1\0\0", "row 2: the data end 2 bytes into the row"),
        ("char", "*", b"\0\0\0\1a\0\0\0\7ab", "row 2: the data end 6 bytes into the row"),
        ("boolean", "", b"T?Fx", "row 4, column 'a': the byte 0x78 is not a boolean"),
        ("boolean", "2", b"TFFx", "row 2, column 'a': the byte 0x78 is not a boolean"),
        ("char", "2", b"ab\xff\xfe", "row 2, column 'a': not in the declared character set"),
        ("unicodeChar", "1", b"\0a\xd8\0", "row 2, column 'a': not UTF-16"),
        ("char", "2x*", b"\0\0\0\2ab\0\0\0\3abc", "row 2, column 'a': 3 characters, expected"),
        ("int", "2x*", b"\0\0\0\1\0\0\0\1", "row 1, column 'a': 1 values, expected a multiple"),
    ],
)
def test_binary_data_that_cannot_be_taken(
    datatype: str, size: str, data: bytes, problem: str
) -> None:
    assert problem in str(failure(document(field("a", datatype, size), binary(data))))


def test_a_stream_that_is_not_base64() -> None:
    data = '<DATA><BINARY><STREAM encoding="base64">{}</STREAM></BINARY></DATA>'
    for text in ("AAAA*AAA", "AAAAA", "AA==AAAA"):
        assert "base64" in str(failure(document(field("a", "int"), data.format(text))))
    whole = document(field("a", "int"), binary(bytes(400)))
    assert "truncated" in str(failure(whole[: whole.index(b"</STREAM")]))
