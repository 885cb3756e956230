import datetime
import io
import math
import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import LacusError
from lake.formats import read_votable
from lake.formats.votable_write import write_votable

SERIALIZATIONS = ("binary2", "tabledata")
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8).map(
    lambda text: text.strip().replace("\ufffe", "").replace("\uffff", "")
)
CELLS = {
    pa.bool_(): st.booleans(),
    pa.uint8(): st.integers(0, 255),
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.string(): TEXT,
    # The smallest integer stands for a null element.
    pa.list_(pa.int32()): st.lists(st.none() | st.integers(-(2**31) + 1, 2**31 - 1), max_size=3),
    pa.list_(pa.float64()): st.lists(st.floats(), max_size=3),
    pa.list_(pa.bool_()): st.lists(st.none() | st.booleans(), max_size=3),
    pa.list_(pa.int16(), 2): st.lists(st.integers(-(2**15) + 1, 9), min_size=2, max_size=2),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    kinds = draw(st.lists(st.sampled_from(list(CELLS)), min_size=1, max_size=10))
    rows = draw(st.integers(0, 5))
    columns = [
        pa.array(draw(st.lists(st.none() | CELLS[kind], min_size=rows, max_size=rows)), type=kind)
        for kind in kinds
    ]
    return pa.table(columns, names=[f"c{i}" for i in range(len(kinds))])


def written(data: pa.Table, **settings: object) -> bytes:
    out = io.BytesIO()
    assert write_votable(data, out, **settings) == len(data)
    return out.getvalue()


def parsed(document: bytes):
    """astropy's view of the document, which has to be beyond reproach."""
    from astropy.io import votable

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return votable.parse(io.BytesIO(document), verify="exception")


def same(read: object, wrote: object, empty_is_null: bool) -> bool:
    """Whether a cell came back; the reader takes NaN and empty text for null by its own rule."""
    if wrote is None or wrote == "" or (empty_is_null and wrote == []):
        return read is None
    if isinstance(wrote, float) and math.isnan(wrote):
        return read is None or math.isnan(read)
    if isinstance(wrote, list):
        return len(read) == len(wrote) and all(
            same(a, b, False) for a, b in zip(read, wrote, strict=True)
        )
    return type(read) is type(wrote) and read == wrote


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from(SERIALIZATIONS), st.booleans())
def test_every_cell_comes_back(table, serialization, as_stream):
    data = table.to_reader(max_chunksize=2) if as_stream else table
    out = io.BytesIO()
    assert write_votable(data, out, serialization=serialization) == len(table)
    back = read_votable(out.getvalue())
    assert back.column_names == table.column_names
    for name in table.column_names:
        cells = zip(back[name].to_pylist(), table[name].to_pylist(), strict=True)
        assert all(same(a, b, serialization == "tabledata") for a, b in cells), name


@pytest.mark.parametrize("serialization", SERIALIZATIONS)
def test_astropy_reads_what_was_written_without_a_warning(serialization):
    table = pa.table(
        {
            "flag": pa.array([True, None, False]),
            "byte": pa.array([0, None, 255], pa.uint8()),
            "least": pa.array([-(2**31), None, 2**31 - 1], pa.int32()),
            "long": pa.array([-(2**63), None, 2**63 - 1]),
            "single": pa.array([0.1, None, -math.inf], pa.float32()),
            "text": pa.array(["a<&>\"' b", None, "Ångström 😀"]),
            "vector": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2)),
            "ragged": pa.array([[1.5], None, [2.5, math.nan]]),
        }
    )
    array = parsed(written(table, serialization=serialization)).get_first_table().array
    for name in ("flag", "byte", "least", "long", "single"):
        assert list(np.ma.getmaskarray(array[name])) == [False, True, False]
        assert [array[name][0], array[name][2]] == [table[name][0].as_py(), table[name][2].as_py()]
    assert [str(text) for text in array["text"]] == ["a<&>\"' b", "", "Ångström 😀"]
    assert array["vector"][[0, 2]].tolist() == [[1, 2], [3, 4]]
    assert array["ragged"][0].tolist() == [1.5]
    assert len(array["ragged"][2]) == 2


def test_field_metadata_become_attributes():
    field = pa.field(
        "ra",
        pa.float64(),
        metadata={
            "unit": "deg",
            "ucd": "pos.eq.ra;meta.main",
            "description": 'Right "ascension" & <more>',
            "utype": "a:b.c",
            "xtype": "x",
            "format": "E9.6",
        },
    )
    document = written(
        pa.table([[1.0]], schema=pa.schema([field])),
        name="sources",
        description="A & B",
        params={"count": 3, "text": "é\nü", "share": 0.5, "good": True},
        infos=[("query", "select 1\nfrom x")],
        coosys="ICRS",
    )
    votable = parsed(document)
    table = votable.get_first_table()
    (ra,) = table.fields
    assert (str(ra.unit), ra.ucd, ra.utype, ra.xtype) == (
        "deg",
        "pos.eq.ra;meta.main",
        "a:b.c",
        "x",
    )
    assert (ra.description, ra.width, ra.precision) == ('Right "ascension" & <more>', 9, "E7")
    assert votable.get_coosys_by_id(ra.ref).system == "ICRS"
    assert (table.name, table.description) == ("sources", "A & B")
    assert [(p.name, p.value) for p in table.params] == [
        ("count", 3),
        ("text", "é\nü"),
        ("share", 0.5),
        ("good", True),
    ]
    assert [(i.name, i.value) for i in votable.resources[0].infos] == [
        ("query", "select 1\nfrom x")
    ]
    back = read_votable(document).schema.field("ra").metadata
    assert back[b"unit"] == b"deg"
    assert back[b"description"] == b'Right "ascension" & <more>'


def test_types_without_a_counterpart_go_out_in_a_wider_or_a_textual_one():
    moment = datetime.datetime(2024, 2, 29, 12, 30, 1, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "uint16": pa.array([65535, None], pa.uint16()),
            "decimal": pa.array([12, None]).cast(pa.decimal128(38, 0)),
            "category": pa.array(["QSO", None]).dictionary_encode(),
            "moment": pa.array([moment, None], pa.timestamp("s", "Europe/Berlin")),
            "day": pa.array([moment.date(), None]),
            "names": pa.array([["a", 'b"'], None]),
            "pair": pa.array([{"x": 1.5, "y": None}, None]),
            "nothing": pa.nulls(2),
        }
    )
    assert read_votable(written(table)).to_pylist()[0] == {
        "uint16": 65535,
        "decimal": 12,
        "category": "QSO",
        "moment": "2024-02-29T12:30:01Z",
        "day": "2024-02-29",
        "names": '["a","b\\""]',
        "pair": '{"x":1.5,"y":null}',
        "nothing": None,
    }
    xtypes = {f.name: f.xtype for f in parsed(written(table)).get_first_table().fields}
    assert xtypes["moment"] == xtypes["day"] == "timestamp"


def test_ascii_text_of_a_table_is_char_and_of_a_stream_unicode():
    table = pa.table({"plain": ["a"], "accented": ["é"]})
    fields = parsed(written(table)).get_first_table().fields
    assert [field.datatype for field in fields] == ["char", "unicodeChar"]
    out = io.BytesIO()
    write_votable(table.to_reader(), out)
    assert {f.datatype for f in parsed(out.getvalue()).get_first_table().fields} == {"unicodeChar"}


@pytest.mark.parametrize("rows", [1, 2, 3, 5000])
def test_the_pieces_of_a_stream_do_not_show(rows):
    # Rows of 10 bytes: no batch ends where base64 does.
    table = pa.table({"n": np.arange(rows), "b": pa.array([True] * rows)})
    whole, pieces = io.BytesIO(), io.BytesIO()
    write_votable(table.to_reader(), whole)
    write_votable(table.to_reader(max_chunksize=7), pieces)
    assert pieces.getvalue() == whole.getvalue()
    assert read_votable(whole.getvalue()).equals(table)


def test_a_stream_is_written_as_it_comes():
    seen = []

    class Sink(io.BytesIO):
        def write(self, data):
            seen.append(("wrote", len(data)))
            return super().write(data)

    def batches():
        for _ in range(3):
            seen.append(("gave", 0))
            yield pa.record_batch({"x": np.zeros(50_000)})

    write_votable(batches(), Sink(), schema=pa.schema([("x", pa.float64())]))
    third = [i for i, (what, _) in enumerate(seen) if what == "gave"][2]
    assert sum(size for _, size in seen[:third]) > 2 * 50_000 * 8


def test_tabledata_refuses_control_characters_and_names_the_row():
    table = pa.table({"s": ["fine", "bell \a"]})
    with pytest.raises(LacusError, match="column 's', row 2: a control character"):
        written(table, serialization="tabledata")
    assert read_votable(written(table)).to_pylist()[1] == {"s": "bell \a"}


def test_what_would_come_back_as_another_value_is_refused():
    with pytest.raises(LacusError, match=r"'n'.*would read back as null"):
        written(pa.table({"n": pa.array([[-(2**31)]], pa.list_(pa.int32()))}))
    with pytest.raises(LacusError, match=r"'u'.*18446744073709551615"):
        written(pa.table({"u": pa.array([2**64 - 1], pa.uint64())}))
    with pytest.raises(LacusError, match="two columns are called 'a'"):
        written(pa.table([[1], [2]], names=["a", "a"]))


def test_tabledata_spells_special_numbers_as_the_standard_does():
    table = pa.table({"x": [math.nan, math.inf, -math.inf, 0.1, None]})
    document = written(table, serialization="tabledata")
    cells = document[document.index(b"<TR>") : document.index(b"</TABLEDATA>")].split()
    inside = [cell.removeprefix(b"<TR><TD>").removesuffix(b"</TD></TR>") for cell in cells]
    assert inside == [b"NaN", b"Inf", b"-Inf", b"0.1", b""]


@pytest.mark.real
@pytest.mark.parametrize("serialization", SERIALIZATIONS)
def test_an_archive_table_comes_back(real_data, serialization):
    table = read_votable(real_data / "csc" / "cscview_master_sources.vot")
    document = written(table, serialization=serialization)
    assert parsed_rows(document) == table.num_rows
    back = read_votable(document)
    assert back.equals(table)
    for field in table.schema:
        for key in (b"unit", b"ucd", b"description", b"format"):
            known = (field.metadata or {}).get(key)
            assert (back.schema.field(field.name).metadata or {}).get(key) == known


def parsed_rows(document: bytes) -> int:
    from astropy.io import votable

    # The archive's units are not all VOUnits, and are kept as they are.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return len(votable.parse(io.BytesIO(document)).get_first_table().array)
