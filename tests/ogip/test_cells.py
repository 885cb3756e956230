import numpy as np
import pytest
from astropy.io import fits

from lake.errors import InputError, LacusError
from lake.formats import read_fits_file
from lake.formats.fits import FitsFile
from lake.formats.fits_header import BLOCK
from lake.formats.source import load
from lake.ogip.cells import join, split


def file_of(*columns: fits.Column, **cards: object) -> bytes:
    hdu = fits.BinTableHDU.from_columns(columns, name="TABLE")
    hdu.header.update(cards)
    return bytes_of(hdu)


def bytes_of(hdu) -> bytes:
    import io

    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    return stream.getvalue()


def ragged(*rows):
    cells = np.empty(len(rows), object)
    cells[:] = [np.array(row) for row in rows]
    return cells


TABLE = file_of(
    fits.Column("NAME", "5A", array=np.array(["a", "bc", "d"])),
    fits.Column("CHANNEL", "I", bzero=32768, array=np.array([1, 40000, 65535], np.uint16)),
    fits.Column("COUNTS", "4J", array=np.arange(12).reshape(3, 4) - 5),
    fits.Column("RATE", "E", array=np.array([0.1, np.nan, -np.inf], np.float32)),
    fits.Column("FLAG", "L", array=np.array([True, False, True])),
    fits.Column("F_CHAN", "PI()", array=ragged([1, 2], [], [7])),
    fits.Column("MATRIX", "QD()", array=ragged([0.5], [0.25, 0.125, 1e-300], [])),
    fits.Column("BYTE", "B", bzero=-128, array=np.array([-128, 0, 127], np.int8)),
)


def values(hdu, name):
    """Elements of a column, all rows one after the other, in the machine's byte order."""
    found = hdu.column(name)
    flat = np.concatenate(list(found)) if found.dtype == object else found.ravel()
    return flat.astype(flat.dtype.newbyteorder("="))


def again(raw: bytes, index: int, typed: list[str]) -> tuple[bytes, bytes]:
    """An HDU as it lies in the file, and taken apart and put together."""
    hdu = FitsFile("x", raw)[index]
    cut = split(hdu, typed)
    header = hdu.header.raw.decode("latin-1")
    made = join(header, {name: values(hdu, name) for name in typed}, *cut)
    start = 0 if index == 0 else FitsFile("x", raw)[index - 1].end
    return raw[start : hdu.end], made


NUMBERS = ["CHANNEL", "COUNTS", "RATE", "F_CHAN", "MATRIX", "BYTE"]


@pytest.mark.parametrize(
    "typed",
    [[], ["CHANNEL"], ["COUNTS", "RATE"], ["F_CHAN"], ["MATRIX", "F_CHAN"], NUMBERS, ["counts"]],
)
def test_an_hdu_comes_back_bit_for_bit(typed):
    was, is_again = again(TABLE, 1, typed)
    assert is_again == was


def test_what_is_typed_is_not_kept_twice():
    hdu = FitsFile("x", TABLE)[1]
    assert split(hdu, NUMBERS).heap is None
    kept = split(hdu, NUMBERS).data
    # Name, flag and two descriptors: of 32 bits and of 64.
    assert len(kept) == 3 * (5 + 1 + 8 + 16)
    assert len(split(hdu, ["F_CHAN"]).heap) == hdu.header["PCOUNT"]
    plain = FitsFile("x", file_of(fits.Column("RATE", "E", array=np.zeros(3))))[1]
    assert split(plain, ["RATE"]) == (None, None)


def test_an_image_is_kept_whole():
    raw = bytes_of(fits.ImageHDU(np.arange(12, dtype=np.int16).reshape(3, 4)))
    for index in (0, 1):
        was, is_again = again(raw, index, [])
        assert is_again == was
    assert split(FitsFile("x", raw)[0], []) == (None, None)


def test_an_ascii_table_is_filled_up_with_blanks():
    raw = bytes_of(
        fits.TableHDU.from_columns([fits.Column("A", "I6", ascii=True, array=np.arange(3))])
    )
    was, is_again = again(raw, 1, [])
    assert is_again == was
    assert is_again.endswith(b" ")


def test_cells_that_share_their_heap_and_lie_in_any_order_come_back():
    raw = bytearray(TABLE)
    hdu = FitsFile("x", TABLE)[1]
    at = len(raw) - BLOCK  # rows and heap lie in the last block
    place = hdu.layout.by_name["f_chan"].offset
    width, heap = hdu.shape[1], hdu.heap
    for row, (length, start) in enumerate([(1, 4), (2, 0), (1, 0)]):
        cell = np.array([length, start], ">i4").tobytes()
        raw[at + row * width + place : at + row * width + place + 8] = cell
    assert heap.nbytes
    was, is_again = again(bytes(raw), 1, ["F_CHAN", "MATRIX"])
    # What no cell points to is not there any more; what one points to is.
    first, second = (FitsFile("x", TABLE[:BLOCK] + part)[1] for part in (was, is_again))
    np.testing.assert_array_equal(values(first, "F_CHAN"), values(second, "F_CHAN"))
    np.testing.assert_array_equal(values(first, "MATRIX"), values(second, "MATRIX"))


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        ("COUNTS", np.arange(8), "8 numbers for 3 rows of 4"),
        ("COUNTS", np.full(12, 2**40), "a number does not fit its type J"),
        ("COUNTS", np.full(12, 0.5), "a number does not fit its type J"),
        ("CHANNEL", np.array([1, 2, 70000]), "a number does not fit its type I"),
        ("F_CHAN", np.arange(5), "5 numbers, expected 3"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(name, wrong, told):
    hdu = FitsFile("x", TABLE)[1]
    cut = split(hdu, [name])
    with pytest.raises(LacusError, match=told) as error:
        join(hdu.header.raw.decode("latin-1"), {name: wrong}, *cut)
    assert name in str(error.value)


@pytest.mark.parametrize("bzero", [None, 32768])
def test_nulls_are_tnull_again(bzero):
    first = 0 if bzero is None else 32768
    numbers = np.array([1, 0, 7], np.int64) + first
    raw = file_of(
        fits.Column("QUALITY", "I", null=-99, bzero=bzero, array=numbers.astype(np.uint16)), X=1
    )
    stored = np.array([1, 0, 7], ">i2").tobytes()
    assert raw.count(stored) == 1
    raw = raw.replace(stored, np.array([1, -99, 7], ">i2").tobytes())
    hdu = FitsFile("x", raw)[1]
    given = np.array([1 + first, np.nan, 7 + first])
    made = join(hdu.header.raw.decode("latin-1"), {"QUALITY": given}, *split(hdu, ["QUALITY"]))
    assert made == raw[BLOCK:]


def test_a_null_needs_a_tnull():
    hdu = FitsFile("x", TABLE)[1]
    values_in = np.array([1.0, np.nan, 2.0])
    with pytest.raises(LacusError, match="a number does not fit its type I"):
        join(hdu.header.raw.decode("latin-1"), {"CHANNEL": values_in}, *split(hdu, ["CHANNEL"]))


def test_rows_that_are_missing_are_refused():
    hdu = FitsFile("x", TABLE)[1]
    cut = split(hdu, ["RATE"])
    with pytest.raises(LacusError, match="bytes of rows, expected 3 x"):
        join(hdu.header.raw.decode("latin-1"), {"RATE": values(hdu, "RATE")}, cut.data[:-1], None)


@pytest.mark.real
def test_every_table_of_real_files_comes_back(real_data):
    seen = 0
    for path in sorted((real_data / "ogip").rglob("*")):
        if not path.is_file():
            continue
        try:
            hdus = list(read_fits_file(path))
        except InputError:
            continue
        raw = bytes(load(path))
        start = 0
        for hdu in hdus:
            if hdu.kind == "bintable" and hdu.rows:
                columns = hdu.layout.columns
                typed = [c.name for c in columns if c.code in "BIJKED" and not c.scaled and c.width]
                cut = split(hdu, typed)
                header = hdu.header.raw.decode("latin-1")
                made = join(header, {name: values(hdu, name) for name in typed}, *cut)
                size = len(made) - (-len(hdu.data) % BLOCK)
                assert made[:size] == raw[start : start + size], f"{path} {hdu}"
                seen += 1
            start = hdu.end
    assert seen > 300
