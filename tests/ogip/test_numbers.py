"""Which columns the lake keeps exactly, and what lies between arrays of variable length."""

import numpy as np
import pytest

from lake.errors import InputError
from lake.formats.fits import FitsFile
from lake.ogip import numbers
from tests.ogip import hdus


def column(form, cells, **formats):
    return hdus.opened(hdus.table({"X": (form, cells)}, {}, **formats))[1]


@pytest.mark.parametrize(
    ("form", "cells", "expected"),
    [
        ("I", [1, 2], True), ("B", [1, 2], True), ("E", [1.5, np.nan], True), ("D", [1.5, 2], True),
        ("K", [1, 2**52], True), ("K", [1, 2**60], False), ("2J", [[1, 2], [3, 4]], True),
        ("PJ()", hdus.ragged([[1], [2, 3]]), True), ("PK()", hdus.ragged([[1], [2, 3]]), False),
    ],
)  # fmt: skip
def test_exact(form, cells, expected):
    hdu = column(form, cells)
    assert numbers.exact(hdu, "X", numbers.numbers(hdu, "X")) is expected


def test_a_negative_zero_is_no_whole_number():
    for cells, expected in (([0.0, 1.0], True), ([-0.0, 1.0], False)):
        hdu = column("E", cells)
        assert numbers.exact(hdu, "X", numbers.whole_numbers(hdu, "X")) is expected


def test_nulls_are_masked():
    hdu = column("I", np.array([1, -9], "i2"), null={"X": -9})
    assert numbers.numbers(hdu, "X").tolist() == [1, None]
    hdu = column("PI()", hdus.ragged([[1, -9], [3]]), null={"X": -9})
    found = numbers.numbers(hdu, "X")
    assert [cells.tolist() for cells in found] == [[1, None], [3]]
    assert numbers.exact(hdu, "X", found) is False


def test_whole_numbers_of_variable_length():
    hdu = column("PE()", hdus.ragged([[1.0], [2.0, 2.5]]))
    with pytest.raises(InputError, match=r"HDU 1, row 2, column 'X': 2\.5 is no whole number"):
        numbers.whole_numbers(hdu, "X")
    hdu = column("PE()", hdus.ragged([[1.0], [2.0, 3.0]]))
    assert [v.tolist() for v in numbers.whole_numbers(hdu, "X")] == [[1], [2, 3]]


def test_lists_in_the_order_of_the_rows_wherever_they_lie():
    whole = hdus.content(hdus.table({"X": ("PJ()", hdus.ragged([[1, 2], [3], [4, 5, 6]]))}, {}))
    start = len(whole) - 2880
    cells = np.frombuffer(whole[start : start + 24], ">i4").reshape(3, 2)
    assert cells[:, 0].tolist() == [2, 1, 3]
    values, offsets = numbers.lists(FitsFile("x", whole)[1], "X")
    assert values.tolist() == [1, 2, 3, 4, 5, 6]
    assert offsets.tolist() == [0, 2, 3, 6]
    # The same arrays in another order of the heap: 3, then 4, 5, 6, then 1, 2.
    heap = np.array([3, 4, 5, 6, 1, 2], ">i4").tobytes()
    pointers = np.array([[2, 16], [1, 0], [3, 4]], ">i4").tobytes()
    moved = whole[:start] + pointers + heap + whole[start + 48 :]
    values, offsets = numbers.lists(FitsFile("x", moved)[1], "X")
    assert values.tolist() == [1, 2, 3, 4, 5, 6]
    assert values.dtype.isnative
    # The file's bytes are as they were.
    assert numbers.lists(FitsFile("x", moved)[1], "X")[0].tolist() == [1, 2, 3, 4, 5, 6]


def heaps(heap: bytes, pointers, pcount: int | None = None, theap: int | None = None):
    whole = bytearray(
        hdus.content(hdus.table({"X": ("PJ()", hdus.ragged([[1, 2], [3]]))}, {"FILLER": 0}))
    )
    start = len(whole) - 2880
    whole[start : start + 2880] = b"".join(
        [np.array(pointers, ">i4").tobytes(), heap]
    ).ljust(2880, b"\0")  # fmt: skip
    at = whole.index(b"PCOUNT  =")
    whole[at : at + 30] = b"PCOUNT  = %20d" % (pcount or len(heap))
    if theap:
        at = whole.index(b"FILLER  =")
        whole[at : at + 30] = b"THEAP   = %20d" % theap
    return FitsFile("x", bytes(whole))[1]


NUMBERS = np.array([1, 2, 3], ">i4").tobytes()


@pytest.mark.parametrize(
    ("hdu", "expected"),
    [
        (heaps(NUMBERS, [[2, 0], [1, 8]]), ["X"]),
        (heaps(NUMBERS + bytes(8), [[2, 0], [1, 8]]), ["X"]),  # zeros at the end
        (heaps(NUMBERS, [[2, 0], [2, 0]]), []),  # the last number is in no row
        (heaps(NUMBERS, [[2, 0], [2, 4]]), ["X"]),  # rows share a number
        (heaps(b"junk" + NUMBERS, [[2, 4], [1, 12]]), []),
        (heaps(bytes(4) + NUMBERS, [[2, 4], [1, 12]]), ["X"]),
        (heaps(bytes(4) + NUMBERS, [[2, 0], [1, 8]], theap=20), []),  # a gap before the heap
    ],
)
def test_arrays_are_kept_apart_if_something_lies_between_them(hdu, expected):
    assert numbers.kept(hdu, ["X"]) == expected


def test_a_heap_with_other_columns_is_kept_whole_anyway():
    columns = {"X": ("PJ()", hdus.ragged([[1, 2], [3]])), "Y": ("PJ()", hdus.ragged([[1], []]))}
    hdu = hdus.opened(hdus.table(columns, {}))[1]
    assert numbers.kept(hdu, ["X"]) == ["X"]
    assert numbers.kept(hdu, ["X", "Y"]) == ["X", "Y"]
