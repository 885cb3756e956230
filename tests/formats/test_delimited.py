import csv
import gzip
import io
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import InputError, UsageError
from lake.formats.delimited import read_delimited, scan_delimited

CSC = """\
#Column\tname\t(A22)\tSource name\t(master_source.name)\t[""]\t[meta.id;meta.main]
#Column\tra\t(E9.6)\tRight ascension\t(master_source.ra)\t["deg"]\t[pos.eq.ra;meta.main]
#Column\tobsid\t(I5)\t\t(observation_source.obsid)\t[""]\t[]
#Column\tflux\t(F9.4)\tFlux, "net"\t(observation_source.flux)\t["erg/s/cm^2"]\t[]
#Column\tflag\t(A5)\tA flag\t(observation_source.flag)\t[""]\t[]
name\tra\tobsid\tflux\tflag
 2CXO J180957.1-320250\t2.724883e+02\t11007\t      NaN\tFALSE
 2CXO J180957.5-314400\t2.724900e+02\t 9961\t        0\t TRUE
"""


def read(text: str, **options):
    return read_delimited(text.encode(), **options)


# --- types ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "", "-3"], pa.int64(), [1, None, -3]),
        (["+1", "2", "nan"], pa.int64(), [1, 2, None]),
        (["9223372036854775807", "1"], pa.int64(), [2**63 - 1, 1]),
        (["18446744073709551615", "1"], pa.uint64(), [2**64 - 1, 1]),
        (["18446744073709551615", "-1"], pa.string(), ["18446744073709551615", "-1"]),
        (["18446744073709551616", "1"], pa.string(), ["18446744073709551616", "1"]),
        (["1", "2.5", "inf"], pa.float64(), [1, 2.5, math.inf]),
        (["-1e-300", "+.5", "NaN", "--"], pa.float64(), [-1e-300, 0.5, None, None]),
        (["00123", "7"], pa.string(), ["00123", "7"]),
        (["0x1F", "2"], pa.string(), ["0x1F", "2"]),
        (["0", "-0"], pa.int64(), [0, 0]),
        (["0.5", "00.5"], pa.float64(), [0.5, 0.5]),
        (["TRUE", "", "False"], pa.bool_(), [True, None, False]),
        (["TRUE", "1"], pa.string(), ["TRUE", "1"]),
        (["T", "F"], pa.string(), ["T", "F"]),
        (["x", "NaN", "None", "null", "5"], pa.string(), ["x", None, None, None, "5"]),
        (["NaN", ""], pa.float64(), [None, None]),
        (["", "null"], pa.string(), [None, None]),
        (["1D5", "2"], pa.string(), ["1D5", "2"]),
        (["1_000", "2"], pa.string(), ["1_000", "2"]),
        (["2008-10-23", "x"], pa.string(), ["2008-10-23", "x"]),
    ],
)
def test_type_of_a_column(cells, kind, values):
    table = read("k,x\n" + "".join(f"a, {cell} \n" for cell in cells))
    assert table.schema.field("x").type == kind
    assert table["x"].to_pylist() == values


@given(
    st.lists(
        st.sampled_from(["1", "-2", "007", "1.5", "x", "TRUE", "NaN", "", "18446744073709551615"]),
        max_size=6,
    ),
    st.randoms(),
)
def test_the_order_of_rows_does_not_change_the_type(cells, random):
    shuffled = list(cells)
    random.shuffle(shuffled)
    first, second = (
        read("k,x\n" + "".join(f"a,{c}\n" for c in each)) for each in (cells, shuffled)
    )
    assert first.schema == second.schema


@pytest.fixture(scope="module")
def long_rows() -> list[str]:
    """More than one block of rows, floats and integers."""
    return [f"{number / 7},{number},text {number % 9}" for number in range(300_000)]


@pytest.mark.parametrize(
    ("last", "types", "values"),
    [
        ("1.5,2,x", ["double", "int64", "string"], [1.5, 2, "x"]),
        ("   ,  ,", ["double", "int64", "string"], [None, None, None]),
        ("  NaN, 2.5,null", ["double", "double", "string"], [None, 2.5, None]),
        ("text,007,5", ["string", "string", "string"], ["text", "007", "5"]),
    ],
)
def test_types_are_found_over_the_whole_file(long_rows, last, types, values):
    table = read("a,b,c\n" + "\n".join([*long_rows, last]) + "\n")
    assert [str(kind) for kind in table.schema.types] == types
    assert [table[name][-1].as_py() for name in "abc"] == values
    assert table.num_rows == len(long_rows) + 1
    if types[0] == "double":
        assert table["a"][1].as_py() == 1 / 7


def test_forced_types():
    types = {"a": pa.string(), "b": pa.float32(), "ok": pa.bool_(), "t": pa.timestamp("s")}
    text = "a,b,ok,t\n7,1,1,2008-10-23T21:44:43\n8,,0,\n"
    table = read(text, column_types=types)
    assert [table.schema.field(name).type for name in types] == list(types.values())
    assert table["a"].to_pylist() == ["7", "8"]
    assert table["ok"].to_pylist() == [True, False]
    assert table["t"][0].as_py().isoformat() == "2008-10-23T21:44:43"
    assert read("a,b\n007,1\n", column_types={"a": pa.int64()})["a"].to_pylist() == [7]


def test_null_values_can_be_given():
    table = read("a,b\n-999,None\n1,x\n", null_values=["-999"])
    assert table.to_pydict() == {"a": [None, 1], "b": ["None", "x"]}


# --- dialects -------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiters_and_line_ends(delimiter, newline):
    lines = [["name", "x (a, b)", "n"], ["A; 1", "1,5", "2"], ["B|C", "", "3"]]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, lineterminator=newline).writerows(lines)
    table = read("\ufeff" + buffer.getvalue())
    assert table.column_names == lines[0]
    assert table["name"].to_pylist() == ["A; 1", "B|C"]
    assert table["x (a, b)"].to_pylist() == ["1,5", None]
    assert table["n"].to_pylist() == [2, 3]


def test_aligned_columns():
    text = '  name       ra  "a b"\r\n  "NGC 1"   1.5   x\n\n  M2      -20.25  "y  z"  \n'
    assert read(text).to_pydict() == {
        "name": ["NGC 1", "M2"],
        "ra": [1.5, -20.25],
        "a b": ["x", "y  z"],
    }
    assert read("a b\n1 2\n", delimiter=" ").to_pydict() == {"a": [1], "b": [2]}


def test_long_aligned_file_is_cut_at_lines():
    text = "a   b\n" + "".join(f"{number:8d}  {number / 8:.3f}\n" for number in range(300_000))
    table = read(text)
    assert table["a"].to_numpy().tolist() == list(range(300_000))
    assert table["b"][-1].as_py() == 299_999 / 8


def test_header_in_a_comment_and_comments_before_the_header():
    assert read("# made by hand\n# name ra\nx 1.5\ny 2\n")["ra"].to_pylist() == [1.5, 2]
    assert read("#Table1\nobjid,ra\n1,2.5\n").column_names == ["objid", "ra"]


def test_one_column():
    assert read("name\nNGC 1\nM 2\nVega\n").to_pydict() == {"name": ["NGC 1", "M 2", "Vega"]}


def test_quotes_newlines_and_blank_lines():
    table = read('a,b\n"x, ""y""","two\nlines"\n\n   \n1,2\n')
    assert table.to_pydict() == {"a": ['x, "y"', "1"], "b": ["two\nlines", "2"]}


def test_names():
    table = read(" name ,NAME,,name\n1,2,3,4\n")
    assert table.column_names == ["name", "NAME_2", "col3", "name_3"]


def test_csc_export_keeps_what_its_header_says():
    table = read(CSC)
    assert table.to_pydict() == {
        "name": ["2CXO J180957.1-320250", "2CXO J180957.5-314400"],
        "ra": [272.4883, 272.49],
        "obsid": [11007, 9961],
        "flux": [None, 0.0],
        "flag": [False, True],
    }
    about = {field.name: field.metadata for field in table.schema}
    assert about["ra"] == {
        b"unit": b"deg",
        b"ucd": b"pos.eq.ra;meta.main",
        b"description": b"Right ascension",
        b"format": b"E9.6",
        b"origin": b"master_source.ra",
    }
    assert about["flux"][b"description"] == b'Flux, "net"'
    assert about["obsid"] == {b"format": b"I5", b"origin": b"observation_source.obsid"}


VIZIER = """\
#
#   VizieR Astronomical Server vizier.cds.unistra.fr
#RESOURCE=yCat_9057
#Column\t2CXO\t(a22)\tSource name\t[ucd=meta.id;meta.main]
#Column\tRAICRS\t(F11.7)\tRight ascension (ICRS)\t[ucd=pos.eq.ra;meta.main]
#Column\tObsID\t(I5)\tObservation\t[ucd=meta.id;obs]
#Column\tfe\t(a1)\tExtended?
2CXO\tRAICRS\tObsID\tfe
 \tdeg\t \t
----------------------\t-----------\t-----\t-
J180957.1-320250\t272.4883000\t11007\t0
J180957.5-314400\t272.4900000\t 9961\t
#END#
"""


def test_vizier_names_units_below_the_names_and_rules_them_off():
    table = read(VIZIER)
    assert table.to_pylist()[1] == {
        "2CXO": "J180957.5-314400", "RAICRS": 272.49, "ObsID": 9961, "fe": None,
    }  # fmt: skip
    assert table.num_rows == 2
    assert table["fe"].to_pylist()[0] == "0"
    about = table.schema.field("RAICRS").metadata
    assert (about[b"unit"], about[b"ucd"]) == (b"deg", b"pos.eq.ra;meta.main")
    assert b"unit" not in table.schema.field("ObsID").metadata
    with pytest.raises(InputError, match="line 13, row 3: 1 cells, expected 4"):
        read(VIZIER.replace("#END#", "the end"))


def test_a_rule_under_the_names_is_no_row():
    table = read("name|flux\n-----|----\na|1\n")
    assert table.to_pylist() == [{"name": "a", "flux": 1}]
    assert read("name,flux\n--,--\na,1\n").to_pylist()[0] == {"name": None, "flux": None}


@pytest.mark.parametrize("blank", ["", "-", "--"])
def test_units_below_the_names_need_no_rule(blank):
    table = read(f"name,ra,flux,hue\n{blank},deg,erg/s/cm^2,{blank}\na,1.5,2e-13,\nb,,3e-13,1\n")
    assert table.to_pylist() == [
        {"name": "a", "ra": 1.5, "flux": 2e-13, "hue": None},
        {"name": "b", "ra": None, "flux": 3e-13, "hue": 1},
    ]
    assert table.schema.field("flux").metadata == {b"unit": b"erg/s/cm^2"}
    assert not table.schema.field("hue").metadata


@pytest.mark.parametrize(
    "text",
    [
        "name,band\nm,keV\n1,keV\n",  # text below text
        "name,n\ndeg,1\n2,2\n",  # a number in the line
        "a,b\nmuch,\n1,2\n",  # no unit
        "a,b\ninf,\n1,2\n",
        "a,b\nm,\n",  # nothing follows
        "a,b\nm,\n,\n",
    ],
)
def test_a_row_of_text_is_no_line_of_units(text):
    assert read(text).num_rows == text.count("\n") - 1


def test_na_is_no_number_and_may_be_text():
    rows = "1,NA,TRUE,NA,NA\nN/A,2.5, n/a,b,N/A\n"
    table = read("i,x,flag,text,none\n" + rows)
    assert table.to_pydict() == {
        "i": [1, None], "x": [None, 2.5], "flag": [True, None], "text": ["NA", "b"],
        "none": [None, None],
    }  # fmt: skip
    assert [str(kind) for kind in table.schema.types] == [
        "int64", "double", "bool", "string", "double",
    ]  # fmt: skip


def test_na_far_down_a_large_file_is_no_number():
    text = "x,y\n" + "0.25,a\n" * 700_000 + "NA,NA\n"
    table = read(text)
    assert table["x"].type == "double"
    assert (table["x"].null_count, table["y"][-1].as_py()) == (1, "NA")


def test_declared_formats_keep_types_across_files():
    header, names, *_ = CSC.rpartition("name\tra\t")
    row = "1234\t  1\t  NaN\t 5\t \n"
    table = read(header + names + "obsid\tflux\tflag\n" + row)
    assert [str(kind) for kind in table.schema.types] == [
        "string", "double", "int64", "double", "string",
    ]  # fmt: skip
    # A cell that is no such number is not lost for it.
    table = read(header + names + "obsid\tflux\tflag\n" + row.replace("  NaN", "x"))
    assert table["obsid"].to_pylist() == ["x"]


def test_ecsv():
    source = Table(
        {
            "ra": MaskedColumn([1.5, 2, np.nan], mask=[0, 1, 0], unit="deg", description="RA"),
            "name": ["a b", "", "c"],
            "n": np.array([1, 2, 3], "i2"),
            "v": [[1, 2], [3, 4], [5, 6]],
        }
    )
    source["n"].meta["ucd"] = "meta.number"
    for delimiter in (" ", ","):
        buffer = io.StringIO()
        source.write(buffer, format="ascii.ecsv", delimiter=delimiter)
        table = read(buffer.getvalue())
        assert table.to_pydict() == {
            "ra": [1.5, None, None],
            "name": ["a b", None, "c"],
            "n": [1, 2, 3],
            "v": [[1, 2], [3, 4], [5, 6]],
        }
        assert table.schema.field("ra").metadata == {b"unit": b"deg", b"description": b"RA"}
        assert table.schema.field("n").metadata == {b"ucd": b"meta.number"}
        assert table.schema.field("n").type == pa.int16()
    with pytest.raises(UsageError, match="ECSV declares"):
        read("# %ECSV 1.0\n", column_types={"a": pa.int64()})
    with pytest.raises(InputError, match="is not valid ECSV"):
        read("# %ECSV 1.0\n# ---\n# datatype: [\na b\n")


# --- streams --------------------------------------------------------------------------------


def test_batches_and_gzip(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10))
    reader = scan_delimited(path, batch_rows=4)
    assert [batch.num_rows for batch in reader] == [4, 4, 2]


def test_a_header_without_rows_is_an_empty_table():
    table = read("a,b\n")
    assert table.num_rows == 0
    assert table.column_names == ["a", "b"]
    assert read(CSC[: CSC.index(" 2CXO")]).schema.field("ra").type == pa.float64()


# --- property: what was written is read -----------------------------------------------------

_text = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=8)
_columns = st.sampled_from(
    [
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.uint64(), st.integers(2**63, 2**64 - 1)),
        (pa.float64(), st.floats(allow_nan=False).filter(lambda x: not x.is_integer())),
        (pa.bool_(), st.booleans()),
        (pa.string(), _text.map(lambda text: f"x{text}".strip())),
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_round_trip(data):
    kinds = data.draw(st.lists(_columns, min_size=2, max_size=4))
    rows = data.draw(st.integers(1, 5))
    columns = {
        f"c{number}": pa.array(
            [
                data.draw(values),  # one value at least, or there is nothing to tell the type by
                *data.draw(st.lists(st.none() | values, min_size=rows, max_size=rows)),
            ],
            kind,
        )
        for number, (kind, values) in enumerate(kinds)
    }
    table = pa.table(columns)
    delimiter = data.draw(st.sampled_from([",", "\t", ";", "|"]))
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL)
    writer.writerow(table.column_names)
    writer.writerows(
        [["" if v is None else repr(v) if isinstance(v, float) else v for v in row.values()]
         for row in table.to_pylist()]
    )  # fmt: skip
    assert read(buffer.getvalue(), delimiter=delimiter).equals(table)


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty|no header"),
        (b"\n# only comments\n", "no header line"),
        (b"1.5,2\n3,4\n", "line 1: no header: '1.5' stands where"),
        (b"a,b\n1,2\n\n3,4,5\n", "line 4, row 2: 3 cells, expected 2"),
        (b'a,b\n"x\ny",2\n1\n', "line 4, row 2: 1 cells, expected 2"),
        (b"a  b\n1  2\n1 2 3\n", "line 3, row 2: 3 cells, expected 2"),
        (b"a,b\n1,2\n3,\xe9\n", "line 3: byte 0xe9 is not UTF-8"),
        (b"a,b\n1,2\n\xff\n3,4\n", "line 3: byte 0xff is not UTF-8"),
        (b"a,b\n1,2\n3,4\xe2\x82", "line 3: byte 0xe2 is not UTF-8"),
        (b'a,b\n1,2\n3\r4\n"x,5\n', "line 3, row 2: cannot be split"),
        (b"a,b\xe9\n1,2\n", "line 1: byte 0xe9 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1: the text is UTF-16, expected UTF-8"),
        (b"\x00\x01\x02\x03\n\x00", "line 1: binary data, expected lines of text"),
        (b"a,b\r1,2\r3,4\r", "line 1: lines end in CR alone"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "line 3, row 2: a quote is never closed"),
        (b'a,"b\n1,2\n', "line 1: a quote in the header is never closed"),
        (gzip.compress(b"a,b\n" + b"1,2\n" * 9999, mtime=0)[:-9], "broken gzip stream"),
    ],
)
def test_bad_input_names_the_line(data, message):
    with pytest.raises(InputError, match=message):
        read_delimited(data)


def test_a_cell_that_does_not_fit_its_forced_type():
    text = 'a,b\n1,"two\nlines"\n\n2,x\noops,y\n'
    with pytest.raises(InputError, match=r"line 6, row 3, column 'a': 'oops' is not int64"):
        read(text, column_types={"a": pa.int64()})
    with pytest.raises(InputError, match="no column 'c'; there are a, b"):
        read(text, column_types={"c": pa.int64()})
    with pytest.raises(InputError, match="row 2, column 'a': 'x' is not bool"):
        read("a,b\nTRUE,1\nx,2\n", column_types={"a": pa.bool_()})


def test_a_misfit_far_down_is_found(long_rows):
    text = "a,b,c\n" + "\n".join([*long_rows, "7,8.5,x"]) + "\n"
    with pytest.raises(
        InputError, match=r"line 300002, row 300001, column 'b': '8.5' is not int64"
    ):
        read(text, column_types={"b": pa.int64()})


# --- real files -----------------------------------------------------------------------------


@pytest.mark.real
def test_every_csc_export(real_data):
    paths = sorted((real_data / "csc" / "cli_tsv").glob("*.csv"))
    assert len(paths) == 6
    schemas = set()
    for path in paths:
        lines = path.read_text().splitlines()
        declared = [line.split("\t") for line in lines if line.startswith("#Column")]
        rows = [line.split("\t") for line in lines if not line.startswith("#")][1:]
        table = read_delimited(path)
        assert table.shape == (len(rows), 281)
        for field, (_, name, form, description, origin, unit, ucd) in zip(
            table.schema, declared, strict=True
        ):
            about = field.metadata
            assert field.name == name
            assert about.get(b"unit", b"") == unit[2:-2].encode()
            assert about.get(b"ucd", b"") == ucd[1:-1].encode()
            assert about.get(b"description", b"") == description.strip().encode()
            assert (about[b"format"], about[b"origin"]) == (
                form[1:-1].encode(),
                origin[1:-1].encode(),
            )
            assert field.type != pa.string() or form[1] == "A"
        for number, column in enumerate(table.columns):
            cells = [row[number].strip() for row in rows]
            convert = {"double": float, "int64": int, "bool": lambda cell: cell == "TRUE"}.get(
                str(column.type), str
            )
            expected = [None if cell in ("", "NaN") else convert(cell) for cell in cells]
            assert column.to_pylist() == expected, table.column_names[number]
        schemas.add(table.schema.to_string())
    assert len(schemas) == 1


@pytest.mark.real
def test_every_csv_as_pandas_reads_it(real_data):
    paths = [p for p in sorted(real_data.glob("*/**/*.csv")) if "cli_tsv" not in p.parts]
    assert len(paths) >= 7
    for path in paths:
        table = read_delimited(path)
        frame = pd.read_csv(path, low_memory=False, skipinitialspace=True)
        assert table.shape == frame.shape
        for name, column in zip(frame.columns, table.columns, strict=True):
            theirs = frame[name]
            if pa.types.is_boolean(column.type) or pd.api.types.is_numeric_dtype(theirs):
                ours = column.to_pandas()
                same = (ours == theirs) | (ours.isna() & theirs.isna())
                close = np.isclose(ours.astype(float), theirs.astype(float), rtol=1e-15)
                assert (same | close).all(), name
            else:
                expected = [None if pd.isna(v) or not v.strip() else v.strip() for v in theirs]
                ours = column.to_pylist()
                # Padded numbers are text to pandas.
                if pa.types.is_string(column.type):
                    assert ours == expected, name
                else:
                    assert ours == [None if v is None else float(v) for v in expected], name
