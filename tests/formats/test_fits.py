import gzip
import io
import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from astropy.io import fits as astropy_fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lake.errors import InputError
from lake.formats.fits import read_fits, read_fits_file, scan_fits
from lake.formats.fits_layout import read_layout

# --- what astropy reads, in the terms of the Arrow reader ----------------------------------


def astropy_cells(hdu: astropy_fits.BinTableHDU, index: int) -> list:
    column = hdu.columns[index]
    values = hdu.data.field(index)
    stored = np.asarray(hdu.data)
    code = column.format.lstrip("0123456789")
    variable = code[0] in "PQ"
    kind = code[1] if variable else code[0]
    cells = []
    for row in range(len(values)):
        value = values[row]
        if kind == "A" and (variable or not isinstance(value, np.ndarray)):
            text = "".join(value.tolist()) if isinstance(value, np.ndarray) else str(value)
            cells.append(text.split("\0")[0].rstrip(" ") or None)
        elif kind == "A":
            cells.append([str(part).rstrip(" ") for part in value.ravel()])
        elif np.ndim(value) and kind in "CM":
            cells.append([[float(v.real), float(v.imag)] for v in value.ravel()])
        elif np.ndim(value):
            cells.append(np.asarray(value, bool if kind in "LX" else None).ravel().tolist())
        elif kind in "CM":
            cells.append([float(value.real), float(value.imag)])
        else:
            raw = stored[stored.dtype.names[index]][row]
            item = value.item() if hasattr(value, "item") else value
            null = (kind == "L" and raw == 0) or (isinstance(item, float) and math.isnan(item))
            null |= kind in "BIJK" and column.null is not None and int(raw) == int(column.null)
            cells.append(None if null else item)
    return cells


def same_numbers(ours: pa.ChunkedArray, hdu: astropy_fits.BinTableHDU, index: int) -> bool | None:
    """What `same` says of the cells of a column, at once; None where a cell is no number."""
    column, values = hdu.columns[index], hdu.data.field(index)
    whole = ours.combine_chunks()
    kind = column.format.lstrip("0123456789")[0]
    if kind not in "BIJKED" or values.dtype.kind not in "iuf":
        return None
    if values.ndim > 1:
        flat = whole.flatten()
        return (
            whole.null_count == flat.null_count == 0
            and set(pc.list_value_length(whole).to_pylist()) <= {math.prod(values.shape[1:])}
            and np.array_equal(flat, values.ravel(), equal_nan=values.dtype.kind == "f")
        )
    null = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    if kind in "BIJK" and column.null is not None:
        null |= np.asarray(hdu.data)[hdu.data.dtype.names[index]] == int(column.null)
    missing = whole.is_null().to_numpy(zero_copy_only=False)
    return np.array_equal(missing, null) and np.array_equal(whole.drop_null(), values[~null])


def same(a: object, b: object) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return a == b


def assert_as_astropy(source: Path | bytes) -> tuple[int, int]:
    """Compare a whole file; give the numbers of tables and images that it has."""
    tables = images = 0
    ours = read_fits_file(source)
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    with warnings.catch_warnings(), astropy_fits.open(opened, memmap=False) as theirs:
        warnings.simplefilter("ignore")
        assert len(ours) == len(theirs)
        for hdu, reference in zip(ours, theirs, strict=True):
            assert hdu.name == (reference.name or "") or hdu.header.get("EXTNAME")
            if isinstance(reference, astropy_fits.BinTableHDU):
                table = hdu.table()
                assert table.num_rows == len(reference.data)
                for index, name in enumerate(table.schema.names):
                    equal = same_numbers(table.column(index), reference, index)
                    if equal is None:
                        cells = table.column(index).to_pylist()
                        equal = same(cells, astropy_cells(reference, index))
                    assert equal, f"{source!r} {hdu} {name}"
                tables += 1
            else:
                pixels = hdu.image()
                assert (pixels is None) == (reference.data is None)
                if pixels is not None:
                    assert pixels.dtype == reference.data.dtype
                    np.testing.assert_array_equal(pixels, reference.data)
                images += 1
    return tables, images


# --- inputs ---------------------------------------------------------------------------------


def fits_bytes(*hdus: object) -> bytes:
    buffer = io.BytesIO()
    primary = hdus[0] if isinstance(hdus[0], astropy_fits.PrimaryHDU) else None
    rest = hdus[1:] if primary else hdus
    astropy_fits.HDUList([primary or astropy_fits.PrimaryHDU(), *rest]).writeto(buffer)
    return buffer.getvalue()


def table_bytes(*columns: astropy_fits.Column, **keywords: object) -> bytes:
    return fits_bytes(astropy_fits.BinTableHDU.from_columns(columns, **keywords))


def replaced(data: bytes, old: str, new: str) -> bytes:
    """The file with the first card that begins with `old` overwritten."""
    at = data.index(old.encode())
    return data[:at] + new.ljust(80).encode() + data[at + 80 :]


def raw_table(rows: list[bytes], *cards: str, heap: bytes = b"", kind: str = "BINTABLE") -> bytes:
    """A table put together by hand: what no writer writes, and readers must still read."""
    fixed = [
        f"XTENSION= '{kind:<8}'", "BITPIX  = 8", "NAXIS   = 2", f"NAXIS1  = {len(rows[0])}",
        f"NAXIS2  = {len(rows)}", f"PCOUNT  = {len(heap)}", "GCOUNT  = 1", "TFIELDS = 1",
    ]  # fmt: skip
    header = "".join(card.ljust(80) for card in (*fixed, *cards, "END")).encode()
    header = header.ljust(-(-len(header) // 2880) * 2880)
    data = b"".join(rows) + heap
    return fits_bytes(astropy_fits.PrimaryHDU()) + header + data.ljust(2880, b"\0")


def variable_table(
    code: str, lengths: list[int], starts: list[int], heap: bytes, *cards: str
) -> bytes:
    pointers = [np.array(pair, ">i4").tobytes() for pair in zip(lengths, starts, strict=True)]
    return raw_table(pointers, "TTYPE1  = 'x'", f"TFORM1  = '1P{code}(9)'", *cards, heap=heap)


Column = astropy_fits.Column
FLUX = Column("flux", "E", unit="Jy", array=np.array([1, np.nan, 3], "f4"))


# --- values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "values", "options", "kind", "expected"),
    [
        ("L", [True, False, True], {}, pa.bool_(), [True, False, True]),
        ("B", [0, 7, 255], {"null": 7}, pa.uint8(), [0, None, 255]),
        ("I", [-32768, 0, 32767], {"null": 0}, pa.int16(), [-32768, None, 32767]),
        ("J", [-(2**31), 5, 2**31 - 1], {}, pa.int32(), [-(2**31), 5, 2**31 - 1]),
        ("K", [-(2**63), 5, 2**63 - 1], {"null": 5}, pa.int64(), [-(2**63), None, 2**63 - 1]),
        ("E", [1.5, np.nan, -np.inf], {}, pa.float32(), [1.5, None, -math.inf]),
        ("D", [1e-300, np.nan, np.inf], {}, pa.float64(), [1e-300, None, math.inf]),
        ("C", [1 + 2j, 0, 3j], {}, pa.list_(pa.float32(), 2), [[1, 2], [0, 0], [0, 3]]),
        ("M", [1 + 2j, 0, 3j], {}, pa.list_(pa.float64(), 2), [[1, 2], [0, 0], [0, 3]]),
        ("8A", ["NGC 1  ", "", "  x"], {}, pa.string(), ["NGC 1", None, "  x"]),
    ],
)
def test_each_type_has_its_arrow_type_and_nulls(form, values, options, kind, expected):
    column = Column("x", form, array=np.array(values), **options)
    table = read_fits(table_bytes(column))
    assert table.schema.field("x").type == kind
    assert table["x"].to_pylist() == expected


@pytest.mark.parametrize(
    ("form", "zero", "dtype"),
    [("B", -128, "i1"), ("I", 2**15, "u2"), ("J", 2**31, "u4"), ("K", 2**63, "u8")],
)
def test_unsigned_conventions_are_exact(form, zero, dtype):
    limits = np.iinfo(dtype)
    values = np.array([limits.min, limits.max, 1, limits.max - 1], dtype)
    data = table_bytes(Column("x", form, bzero=zero, array=values))
    table = read_fits(data)
    assert table.schema.field("x").type == pa.from_numpy_dtype(np.dtype(dtype))
    assert table["x"].to_pylist() == values.tolist()
    assert read_fits_file(data)[1].column("x").tolist() == values.tolist()


def test_null_of_an_unsigned_column_is_a_stored_value():
    data = table_bytes(Column("x", "I", bzero=2**15, null=-5, array=np.array([1, 2, 3], "u2")))
    # 32763 is stored as -5.
    at = read_fits_file(data)[1]._data_start
    data = data[:at] + (-5).to_bytes(2, "big", signed=True) + data[at + 2 :]
    assert read_fits(data)["x"].to_pylist() == [None, 2, 3]


def test_other_scalings_are_double_precision():
    rows = [value.to_bytes(2, "big", signed=True) for value in (1, 0, -1)]
    cards = ["TFORM1  = 'I'", "TSCAL1  = 0.5", "TZERO1  = 10.0", "TNULL1  = 0"]
    data = raw_table(rows, *cards)
    assert read_fits(data)["col1"].to_pylist() == [10.5, None, 9.5]
    assert read_fits(data).schema.field("col1").type == pa.float64()
    assert read_fits_file(data)[1].column("col1").tolist() == [10.5, 10.0, 9.5]


def test_logical_without_value_is_null_and_a_strange_byte_is_rejected():
    data = table_bytes(Column("ok", "L", array=[True, True, False]))
    at = read_fits_file(data)[1]._data_start
    assert read_fits(data[:at] + b"\0TF" + data[at + 3 :])["ok"].to_pylist() == [None, True, False]
    with pytest.raises(InputError, match=r"HDU 1, row 2, column 'ok': byte 89 is no logical"):
        read_fits(data[:at] + b"TYF" + data[at + 3 :])


def test_vectors_are_lists_with_their_shape_and_keep_nan():
    cube = np.arange(12, dtype="f4").reshape(2, 2, 3)
    cube[0, 0, 0] = np.nan
    columns = [
        Column("v", "6E", dim="(3,2)", array=cube),
        Column("w", "2J", null=3, array=np.array([[1, 3], [3, 4]])),
        Column("names", "8A", dim="(4,2)", array=np.array([["ab", ""], ["x", "long"]])),
        Column("bits", "11X", array=np.eye(2, 11, dtype=bool)),
    ]
    table = read_fits(table_bytes(*columns))
    first = table["v"][0].as_py()
    assert math.isnan(first[0])
    assert first[1:] == [1, 2, 3, 4, 5]
    assert table.schema.field("v").metadata[b"arraysize"] == b"3x2"
    assert table["w"].to_pylist() == [[1, None], [None, 4]]
    assert table.schema.field("w").metadata[b"arraysize"] == b"2"
    assert table["names"].to_pylist() == [["ab", ""], ["x", "long"]]
    assert table["bits"].to_pylist() == np.eye(2, 11, dtype=bool).tolist()


@pytest.mark.parametrize("pointer", ["P", "Q"])
def test_variable_arrays_of_every_type(pointer):
    def ragged(*rows):
        cells = np.empty(len(rows), object)
        cells[:] = [np.array(row) for row in rows]
        return cells

    columns = [
        Column("i", f"{pointer}I()", array=ragged([1, 2, 3], [], [4])),
        Column("d", f"{pointer}D()", array=ragged([0.5], [np.nan, 2], [])),
        Column("l", f"{pointer}L()", array=ragged([True], [False, True], [])),
        Column("c", f"{pointer}C()", array=ragged([1 + 2j], [], [3j])),
    ]
    data = table_bytes(*columns)
    table = read_fits(data)
    assert table["i"].to_pylist() == [[1, 2, 3], [], [4]]
    assert same(table["d"].to_pylist(), [[0.5], [math.nan, 2.0], []])
    assert table.schema.field("d").metadata[b"arraysize"] == b"*"
    assert table["l"].to_pylist() == [[True], [False, True], []]
    assert table["c"].to_pylist() == [[[1, 2]], [], [[0, 3]]]
    cells = read_fits_file(data)[1].column("i")
    assert [cell.tolist() for cell in cells] == [[1, 2, 3], [], [4]]


def test_heap_is_gathered_in_any_order_and_alignment():
    heap = b"\0" + np.array([1, 2, 3, 4], ">i2").tobytes()
    data = variable_table("I", [2, 0, 1, 2], [5, 99999, 1, 1], heap)
    assert read_fits(data)["x"].to_pylist() == [[3, 4], [], [1], [1, 2]]


def test_variable_arrays_are_scaled_too():
    heap = np.array([-1, 0, 1], ">i2").tobytes()
    data = variable_table("I", [2, 1], [0, 4], heap, "TZERO1  = 32768")
    assert read_fits(data)["x"].to_pylist() == [[32767, 32768], [32769]]
    data = variable_table("I", [2, 1], [0, 4], heap, "TSCAL1  = 0.5", "TNULL1  = 0")
    assert read_fits(data)["x"].to_pylist() == [[-0.5, None], [0.5]]


def test_variable_text_and_bits():
    data = variable_table("A", [3, 0, 5], [0, 0, 3], b"abcde  \0")
    assert read_fits(data)["x"].to_pylist() == ["abc", None, "de"]
    data = variable_table("X", [3, 9, 0], [0, 1, 0], bytes([0b10100000, 0b11111111, 0b10000000]))
    assert read_fits(data)["x"].to_pylist() == [[True, False, True], [True] * 9, []]


def test_pointer_outside_of_the_heap_names_the_row():
    data = variable_table("I", [1, 3], [0, 2], bytes(4))
    with pytest.raises(InputError, match=r"HDU 1, row 2, column 'x': its 3 elements at byte 2"):
        read_fits(data)


def test_text_that_is_no_text_names_the_row():
    data = table_bytes(Column("s", "3A", array=["abc", "xyz"])).replace(b"abcxyz", b"abcx\xffz")
    with pytest.raises(InputError, match=r"HDU 1, row 2, column 's'"):
        read_fits(data)


def test_ascii_table():
    columns = [
        Column("name", "A6", array=["a b", "c", ""], ascii=True),
        Column("n", "I6", array=[1, -20, 300], null="-20", unit="adu", ascii=True),
        Column("x", "F8.3", array=[1.5, -2.25, 1000], ascii=True),
        Column("y", "D12.5", array=[1e10, -2e-5, 0], ascii=True),
    ]
    data = fits_bytes(astropy_fits.TableHDU.from_columns(columns))
    table = read_fits(data)
    assert table.to_pydict() == {
        "name": ["a b", "c", None],
        "n": [1, None, 300],
        "x": [1.5, -2.25, 1000],
        "y": [1e10, -2e-5, 0],
    }
    assert table.schema.field("n").metadata[b"unit"] == b"adu"
    assert read_fits_file(data)[1].column("x").tolist() == [1.5, -2.25, 1000]


def test_numbers_of_an_ascii_table_as_fortran_reads_them():
    rows = [b"|  12345", b"|+1.5D+1", b"|       ", b"|   -2-3"]
    cards = ["TBCOL1  = 2", "TFORM1  = 'F7.2'"]
    table = read_fits(raw_table(rows, *cards, kind="TABLE"))
    assert table["col1"].to_pylist() == [123.45, 15.0, None, -0.002]
    rows[2] = b"|    abc"
    data = raw_table(rows, *cards, kind="TABLE")
    with pytest.raises(InputError, match=r"row 3, column 'col1': 'abc'"):
        read_fits(data)
    with pytest.raises(InputError, match=r"row 3, column 'col1': 'abc'"):
        read_fits_file(data)[1].column("col1")


def test_metadata_travel_with_the_field():
    hdu = astropy_fits.BinTableHDU.from_columns(
        [FLUX, Column("n", "J", disp="I6", array=[1, 2, 3])]
    )
    hdu.header["TUCD1"] = "phot.flux"
    hdu.header.comments["TTYPE1"] = "Flux at 1 keV"
    hdu.header.comments["TTYPE2"] = "label for field   2"
    hdu.name = "SRC"
    schema = read_fits(fits_bytes(hdu)).schema
    about = schema.field("flux").metadata
    assert about == {b"unit": b"Jy", b"ucd": b"phot.flux", b"description": b"Flux at 1 keV"}
    assert schema.field("n").metadata == {b"format": b"I6"}
    assert schema.metadata == {b"name": b"SRC"}


def test_names_missing_or_doubled():
    data = table_bytes(*(Column(name, "J", array=[1]) for name in ("A", "b", "c")))
    data = replaced(replaced(data, "TTYPE2", "TTYPE2  = 'a'"), "TTYPE3", "COMMENT no name")
    assert read_fits(data).column_names == ["A", "a_2", "col3"]


def test_empty_table_and_columns_without_width():
    table = read_fits(table_bytes(Column("flux", "E", unit="Jy", array=[])))
    assert table.num_rows == 0
    assert table.schema.field("flux").metadata[b"unit"] == b"Jy"
    for form, cell in (("0E", []), ("0A", None)):
        table = read_fits(raw_table([b"x", b"y"], f"TFORM1  = '{form}'"))
        assert table["col1"].to_pylist() == [cell, cell]


# --- property: whatever astropy writes ------------------------------------------------------

_FORMS = {
    "L": "?", "B": "u1", "I": "i2", "J": "i4", "K": "i8",
    "E": "f4", "D": "f8", "C": "c8", "M": "c16",
}  # fmt: skip


@st.composite
def written_columns(draw: st.DrawFn) -> list[Column]:
    rows = draw(st.integers(0, 5))
    columns = []
    for number in range(draw(st.integers(1, 5))):
        code = draw(st.sampled_from([*_FORMS, "A", "X", "P", "Q"]))
        count = draw(st.integers(1, 4))
        name = f"c{number}"
        if code == "A":
            text = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=6)
            columns.append(
                Column(name, "6A", array=draw(st.lists(text, min_size=rows, max_size=rows)))
            )
        elif code == "X":
            bits = draw(hnp.arrays(bool, (rows, 9)))
            columns.append(Column(name, "9X", array=bits))
        elif code in "PQ":
            kind = draw(st.sampled_from(["I", "J", "E", "D"]))
            cells = np.empty(rows, object)
            for row in range(rows):
                cells[row] = draw(hnp.arrays(_FORMS[kind], st.integers(0, 4)))
            columns.append(Column(name, f"{code}{kind}()", array=cells))
        else:
            shape = (rows,) if count == 1 else (rows, count)
            values = draw(hnp.arrays(_FORMS[code], shape))
            null = draw(st.sampled_from([None, 0])) if code in "BIJK" else None
            columns.append(
                Column(name, f"{count if count > 1 else ''}{code}", null=null, array=values)
            )
    return columns


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(written_columns())
def test_equal_to_astropy_on_whatever_it_writes(columns: list[Column]):
    data = table_bytes(*columns)
    ours = read_fits(data)
    # astropy leaves TNULL inside vectors as it is; there the null is ours alone.
    with astropy_fits.open(io.BytesIO(data)) as file:
        for index, column in enumerate(file[1].columns):
            expected = astropy_cells(file[1], index)
            if column.null is not None and np.ndim(file[1].data.field(index)) > 1:
                expected = [[None if v == column.null else v for v in cell] for cell in expected]
            assert same(ours.column(index).to_pylist(), expected), column


# --- files ----------------------------------------------------------------------------------


def test_default_is_the_first_table_and_others_are_by_number_or_name():
    image = astropy_fits.ImageHDU(np.zeros((2, 2)), name="PIC")
    one = astropy_fits.BinTableHDU.from_columns([FLUX], name="ONE")
    two = astropy_fits.BinTableHDU.from_columns([Column("n", "J", array=[7])], name="Two")
    data = fits_bytes(image, one, two)
    assert read_fits(data).column_names == ["flux"]
    assert read_fits(data, hdu=3).column_names == ["n"]
    assert read_fits(data, hdu="two")["n"].to_pylist() == [7]
    assert read_fits(data, hdu=-1).column_names == ["n"]
    file = read_fits_file(data)
    assert [hdu.index for hdu in file] == [0, 1, 2, 3]
    assert "one" in file
    assert "three" not in file
    assert [hdu.name for hdu in file] == ["PRIMARY", "PIC", "ONE", "TWO"]
    assert [hdu.kind for hdu in file] == ["image", "image", "bintable", "bintable"]
    with pytest.raises(InputError, match="no HDU 'three'; there are 0 'PRIMARY', 1 'PIC', 2 'ONE'"):
        read_fits(data, hdu="three")
    with pytest.raises(InputError, match="no HDU 4"):
        read_fits(data, hdu=4)
    with pytest.raises(InputError, match="HDU 1: is an image, not a table"):
        read_fits(data, hdu="PIC")
    with pytest.raises(InputError, match="HDU 2: is a bintable, not an image"):
        file[2].image()
    with pytest.raises(InputError, match="HDU 2: no column 'x'; there are flux"):
        file[2].column("x")


def test_scan_is_batch_by_batch_from_a_mapped_file(tmp_path):
    path = tmp_path / "t.fits"
    path.write_bytes(table_bytes(Column("n", "J", array=np.arange(10))))
    batches = list(scan_fits(path, batch_rows=4))
    assert [batch.num_rows for batch in batches] == [4, 4, 2]
    assert pa.Table.from_batches(batches)["n"].to_pylist() == list(range(10))


def test_row_numbers_count_over_batches():
    data = table_bytes(Column("ok", "L", array=[True] * 10)).replace(b"T" * 10, b"TTTTTTTT?T")
    reader = scan_fits(data, batch_rows=4)
    with pytest.raises(InputError, match="row 9, column 'ok'"):
        reader.read_all()


def test_columns_are_views_of_the_bytes():
    data = table_bytes(
        FLUX, Column("n", "J", array=[1, 2, 3]), Column("s", "3A", array=["a", "b", "c"])
    )
    table = read_fits_file(data)[1]
    flux = table.column("FLUX")
    assert np.shares_memory(flux, np.frombuffer(data, np.uint8))
    assert flux.dtype == ">f4"
    assert table.column("s").tolist() == [b"a", b"b", b"c"]
    assert "n" in table
    assert "m" not in table


def assert_native(hdu) -> None:
    """Columns in the machine's byte order are those that lie in the file."""
    found = hdu.native(*hdu.columns)
    assert list(found) == list(hdu.columns)
    for name, values in found.items():
        expected = hdu.column(name)
        assert values.dtype == expected.dtype.newbyteorder("=")
        assert values.flags.c_contiguous
        for cells in zip(values, expected, strict=True):
            np.testing.assert_array_equal(*cells)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(written_columns())
def test_native_columns_are_the_columns(columns: list[Column]):
    assert_native(read_fits_file(table_bytes(*columns))[1])


NUMBERS = np.arange(5) + 250


@pytest.mark.parametrize(
    ("second", "is_matrix"),
    [
        (Column("b", "E", array=NUMBERS + 0.5), True),
        (Column("b", "J", null=252, array=NUMBERS), True),
        (Column("b", "I", array=NUMBERS), False),
        (Column("b", "J", bzero=2**31, array=NUMBERS.astype("u4")), False),
        (Column("b", "J", bzero=7, array=NUMBERS), False),
        (Column("b", "2I", array=np.arange(10).reshape(5, 2)), False),
        (Column("b", "4A", array=["a"] * 5), False),
        (Column("b", "PJ()", array=np.array([[1]] * 5, object)), False),
    ],
)
def test_rows_that_are_a_matrix_are_turned_over(second, is_matrix):
    hdu = read_fits_file(table_bytes(Column("A", "J", array=NUMBERS), second))[1]
    assert bool(hdu.layout.matrix) == is_matrix
    assert_native(hdu)
    assert hdu.native("a")["a"].tolist() == NUMBERS.tolist()
    with pytest.raises(InputError, match="no column 'x'"):
        hdu.native("x")


def test_single_values_are_those_of_the_table():
    data = table_bytes(
        FLUX,
        Column("n", "J", null=2, array=[1, 2, 3]),
        Column("u", "I", bzero=2**15, array=np.array([40_000, 2, 3], "u2")),
        Column("s", "3A", array=["a", "", "c"]),
        Column("ok", "L", array=[True, False, True]),
        Column("v", "2E", array=np.arange(6).reshape(3, 2)),
    )
    hdu = read_fits_file(data)[1]
    for row, cells in enumerate(hdu.table().to_pylist()):
        assert {name: hdu.value(name, row) for name in hdu.columns} == cells
    with pytest.raises(InputError, match="no column 'x'"):
        hdu.value("x")


def test_layout_is_read_once_for_files_of_one_kind():
    def of_length(rows: int) -> bytes:
        return table_bytes(Column("only_here", "E", array=np.zeros(rows)))

    read_layout.cache_clear()
    layouts = {id(read_fits_file(of_length(rows))[1].layout) for rows in (1, 5, 9)}
    assert len(layouts) == 1


def test_layout_does_not_depend_on_what_was_observed():
    def of(object_: str, unit: str) -> bytes:
        hdu = astropy_fits.BinTableHDU.from_columns([Column("v", "E", unit, array=[1.0])])
        hdu.header["OBJECT"] = object_  # a long one goes on in CONTINUE
        hdu.header["TSTART"] = float(len(object_))
        return fits_bytes(astropy_fits.PrimaryHDU(), hdu)

    layouts = [read_fits_file(of(o, "keV"))[1].layout for o in ("3C 273", "a" * 100, "b" * 200)]
    assert layouts[0] is layouts[1] is layouts[2]
    unit = "erg / (" + " ".join(f"x{n}" for n in range(30)) + ")"
    (column,) = read_fits_file(of("3C 273", unit))[1].layout.columns
    assert column.metadata[b"unit"].decode() == unit


def test_gzip_is_seen_through_whatever_the_name(tmp_path):
    path = tmp_path / "plain.fits"
    path.write_bytes(gzip.compress(table_bytes(FLUX)))
    assert read_fits(path)["flux"].to_pylist() == [1, None, 3]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="broken gzip stream"):
        read_fits(path)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_images_of_every_type(dtype):
    pixels = np.arange(6).reshape(2, 3).astype(dtype)
    data = fits_bytes(astropy_fits.PrimaryHDU(pixels))
    read = read_fits_file(data)[0].image()
    assert read.dtype.newbyteorder("=") == np.dtype(dtype)
    np.testing.assert_array_equal(read, pixels)
    assert_as_astropy(data)


def test_scaled_and_blank_pixels():
    hdu = astropy_fits.PrimaryHDU(np.array([[1, 2, -5]], "i2"))
    hdu.header["BLANK"] = -5
    data = fits_bytes(hdu)
    np.testing.assert_array_equal(read_fits_file(data)[0].image(), [[1, 2, np.nan]])
    data = replaced(data, "BLANK", "BSCALE  = 0.5")
    np.testing.assert_array_equal(read_fits_file(data)[0].image(), [[0.5, 1, -2.5]])


def test_compressed_image_is_an_image_not_the_first_table():
    pixels = np.arange(10_000, dtype="i4").reshape(100, 100)
    table = astropy_fits.BinTableHDU.from_columns([FLUX])
    data = fits_bytes(astropy_fits.CompImageHDU(pixels, name="SCI"), table)
    file = read_fits_file(data)
    assert file["SCI"].kind == "compressed_image"
    np.testing.assert_array_equal(file["SCI"].image(), pixels)
    assert read_fits(data).column_names == ["flux"]


def test_the_shape_of_an_image_is_that_of_its_pixels_however_they_are_stored():
    pixels = np.zeros((2, 30, 20), "i2")
    plain, compressed = astropy_fits.ImageHDU(pixels), astropy_fits.CompImageHDU(pixels)
    table = astropy_fits.BinTableHDU.from_columns([FLUX])
    file = read_fits_file(fits_bytes(plain, compressed, table))
    assert [hdu.image_shape for hdu in file] == [(), (2, 30, 20), (2, 30, 20), ()]
    broken = replaced(fits_bytes(compressed), "ZNAXIS2", "ZNAXIS2 = 'x'")
    with pytest.raises(InputError, match="ZNAXIS2"):
        read_fits_file(broken)[1].image_shape  # noqa: B018


# --- bad input ------------------------------------------------------------------------------


def test_what_is_not_fits(tmp_path):
    with pytest.raises(InputError, match="not a FITS file"):
        read_fits(b"name,ra\n")
    with pytest.raises(InputError, match="the file is empty"):
        read_fits(b"")
    with pytest.raises(InputError, match="cannot be read"):
        read_fits(tmp_path / "absent.fits")
    with pytest.raises(InputError, match="no table in this file; its HDUs are 0 image"):
        read_fits(fits_bytes(astropy_fits.PrimaryHDU()))


def test_every_way_to_cut_a_file_is_told():
    data = table_bytes(FLUX, Column("n", "2J", array=np.zeros((3, 2))))
    start = read_fits_file(data)[1]._data_start
    with pytest.raises(InputError, match=r"HDU 0: .* cut off inside the header"):
        read_fits(data[:200])
    with pytest.raises(InputError, match=r"HDU 0: .* cut off inside the last block of the header"):
        read_fits(data[:1000])
    with pytest.raises(InputError, match="HDU 1: the header has no END card"):
        read_fits(data[: start - 2880 + 800])
    for size in range(0, 36, 5):
        with pytest.raises(
            InputError, match=rf"HDU 1: the data are cut off: 36 bytes.* {size} bytes"
        ):
            read_fits(data[: start + size])
    # The padding holds nothing.
    assert read_fits(data[: start + 36]).num_rows == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("TFORM1", "TFORM1  = 'Z'", r"HDU 1, column 'flux': TFORM1 is 'Z'"),
        ("TFORM1", "COMMENT", r"column 'flux': TFORM1 is ''"),
        ("TFORM1", "TFORM1  = '3E'", r"column 'flux': it ends at byte 12 of a row of 4 bytes"),
        ("TFIELDS", "TFIELDS = 'one'", r"HDU 1: keyword TFIELDS is 'one', expected a whole number"),
        ("TUNIT1", "TSCAL1  = 'big'", r"column 'flux': TSCAL1 is 'big', expected a number"),
        ("NAXIS2", "NAXIS2  = -3", r"HDU 1: keyword NAXIS2 is -3, expected a whole number"),
        ("NAXIS2", "COMMENT", r"HDU 1: keyword NAXIS2 is missing"),
        ("BITPIX", "BITPIX  = 9", r"HDU 0: keyword BITPIX is 9"),
    ],
)
def test_malformed_headers(old, new, message):
    with pytest.raises(InputError, match=message):
        read_fits(replaced(table_bytes(FLUX), old, new))


# --- real files -----------------------------------------------------------------------------


def fits_files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with path.open("rb") as file:
                start = file.read(9)
            if start == b"SIMPLE  =" or start[:2] == b"\x1f\x8b":
                yield path


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("mission", ["sdss", "ogip", "xmm"])
def test_equal_to_astropy_on_every_real_file(real_data, mission):
    seen = [assert_as_astropy(path) for path in fits_files(real_data / mission)]
    assert len(seen) > 90
    assert sum(tables for tables, _ in seen) > 100


@pytest.mark.real
def test_a_survey_has_a_handful_of_layouts(real_data):
    read_layout.cache_clear()
    proved = set()
    for path in sorted((real_data / "sdss" / "spec").glob("*.fits")):
        file = read_fits_file(path)
        if "PLATEID" in file[0].header and len(file) > 2:
            assert len(file[1].column("flux")) == file[1].rows
            assert file[1].layout.matrix
            if id(file[1].layout) not in proved:  # it is kept, so its identity is
                assert_native(file[1])
                proved.add(id(file[1].layout))
            assert file[2].rows == 1
    assert read_layout.cache_info().misses < 20
