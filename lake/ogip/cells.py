"""The data of an HDU taken apart and put together again: typed columns here, other bytes there.

What the lake's typed tables hold of a FITS table is not kept twice; all else is kept as it lies
in the file, so that both together give the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError
from lake.formats.fits_hdu import HDU
from lake.formats.fits_header import BLOCK, CARD, Header
from lake.formats.fits_layout import Cards, Column, Layout, read_layout

Bytes = npt.NDArray[np.uint8]


class Cut(NamedTuple):
    """What is left of an HDU's data without its typed columns; see `split`."""

    data: bytes | None
    heap: bytes | None


def split(hdu: HDU, typed: Sequence[str]) -> Cut:
    """Take the cells of some columns out of the data of an HDU.

    Parameters
    ----------
    hdu : HDU
    typed : sequence of str
        Columns of a binary table that are kept elsewhere; none of an image.

    Returns
    -------
    Cut
        ``data``: the rows without the cells of typed columns, but with the descriptors of
        those of variable length; all of the data if no column is typed. ``heap``: everything
        after the rows if an untyped column is of variable length. Each is None where nothing
        is left.
    """
    area = hdu.data
    if not typed:
        return Cut(area or None, None)
    rows, width = hdu.shape
    kept = _kept(hdu.layout, typed, width)
    table = np.frombuffer(area, np.uint8, rows * width).reshape(rows, width)
    named = {name.casefold() for name in typed}
    others = [c for c in hdu.layout.columns if c.name.casefold() not in named]
    heap = area[rows * width :] if any(column.pointer for column in others) else b""
    return Cut(table[:, kept].tobytes() or None, heap or None)


def join(
    header: str, typed: Mapping[str, npt.NDArray], data: bytes | None, heap: bytes | None
) -> bytes:
    """Put an HDU together: the inverse of `split`.

    Parameters
    ----------
    header : str
        All cards, 80 characters each, without END; beyond ASCII as Latin-1.
    typed : mapping of str to ndarray
        Elements of the typed columns, all rows one after the other, as values (not as stored);
        NaN is TNULL in a column of integers that has one.
    data, heap : bytes or None
        As `split` gives them.

    Returns
    -------
    bytes
        Header and data, each padded to whole blocks.

    Raises
    ------
    LacusError
        The numbers do not fit the header: too many or too few, or beyond their column's type.
    """
    cards = header.encode("latin-1")
    raw = cards + b"END".ljust(CARD)
    head = raw + b" " * (-len(raw) % BLOCK)
    area = _area(cards, typed, data, heap) if typed else (data or b"")
    # Blanks fill up ASCII tables, zeros everything else (standard 4.0, 3.3.2 and 7.2.3).
    filler = b" " if cards.startswith(b"XTENSION= 'TABLE") else b"\0"
    return b"".join([head, area, filler * (-len(area) % BLOCK)])


def _area(
    cards: bytes, typed: Mapping[str, npt.NDArray], data: bytes | None, heap: bytes | None
) -> bytes:
    about = Header(cards)
    width, rows = about.integer("NAXIS1"), about.integer("NAXIS2")
    extra = about.integer("PCOUNT", 0)
    layout = read_layout(Cards(cards[max(cards.find(b"TFIELDS ="), 0) :]), width, False)
    area = np.zeros(rows * width + extra, np.uint8)
    table = area[: rows * width].reshape(rows, width)
    kept = _kept(layout, list(typed), width)
    given = np.frombuffer(data or b"", np.uint8)
    if len(given) != rows * kept.sum():
        raise LacusError(f"{len(given)} bytes of rows, expected {rows} x {kept.sum()}")
    table[:, kept] = given.reshape(rows, -1)
    if heap is not None:
        area[rows * width :] = np.frombuffer(heap, np.uint8)
    start = about.integer("THEAP", rows * width)
    for name, values in typed.items():
        column = layout.by_name[name.casefold()]
        stored = _stored(column, values)
        cells = table[:, column.offset : column.offset + column.width]
        if column.pointer:
            _scatter(column, cells, stored.view(np.uint8), area[start:])
        elif stored.nbytes != cells.size:
            raise LacusError(
                f"column {name!r}: {stored.size} numbers for {rows} rows of {column.count}"
            )
        else:
            cells[:] = stored.view(np.uint8).reshape(rows, column.width)
    return area.tobytes()


def _kept(layout: Layout, typed: Sequence[str], width: int) -> npt.NDArray[np.bool_]:
    """Which bytes of a row are not cells of typed columns."""
    kept = np.ones(width, bool)
    for name in typed:
        column = layout.by_name[name.casefold()]
        if not column.pointer:
            kept[column.offset : column.offset + column.width] = False
    return kept


def _stored(column: Column, values: npt.NDArray) -> npt.NDArray:
    """Values as the file stores them; the inverse of `fits_columns.physical`."""
    kind = np.dtype(column.flipped) if column.flipped else column.element
    values = np.ascontiguousarray(values)
    null = None
    if kind.kind in "iu" and values.dtype.kind == "f" and column.null is not None:
        null = np.isnan(values)
        values = np.where(null, 0, values)
    with np.errstate(invalid="ignore"):
        cast = values.astype(kind)
    if kind.kind in "iu" and not np.array_equal(cast, values):
        raise LacusError(f"column {column.name!r}: a number does not fit its type {column.code}")
    if column.flipped:
        bits = cast.view(f"u{kind.itemsize}")
        flipped = bits ^ bits.dtype.type(1 << (8 * kind.itemsize - 1))
        cast = flipped.view(column.element.newbyteorder("=")).astype(column.element)
    if null is not None:
        cast[null] = column.null
    return cast


def _scatter(column: Column, cells: Bytes, stored: Bytes, heap: Bytes) -> None:
    """Put variable-length arrays into the heap, where the descriptors say."""
    each = np.ascontiguousarray(cells).view(">i4" if column.pointer == "P" else ">i8")
    lengths, starts = each.astype(np.int64).T
    widths = lengths * column.element.itemsize
    if widths.sum() != len(stored):
        raise LacusError(
            f"column {column.name!r}: {len(stored) // column.element.itemsize} numbers,"
            f" expected {lengths.sum()}"
        )
    ends = np.cumsum(widths)
    filled = np.flatnonzero(widths)
    if not len(filled):
        return
    first, last = starts[filled[0]], starts[filled[-1]] + widths[filled[-1]]
    if np.array_equal(starts[filled[1:]], (starts + widths)[filled[:-1]]):
        heap[first:last] = stored
    else:
        heap[np.repeat(starts - ends + widths, widths) + np.arange(len(stored))] = stored
