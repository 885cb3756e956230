"""What the header of an HDU says by itself: shape, kind, the layout of a table.

Files of one survey repeat their headers byte for byte, but for the primary one: what such a
header says is worked out once, and known again by comparing its bytes.
"""

import mmap
from functools import cached_property, lru_cache
from math import prod

from lake.formats.fits_header import BLOCK, CARD, Header, Malformed, read_header
from lake.formats.fits_image import PIXEL_DTYPES
from lake.formats.fits_layout import Cards, Layout, holds_image, read_layout

TABLES = ("bintable", "table")
_KINDS = {"BINTABLE": "bintable", "A3DTABLE": "bintable", "TABLE": "table", "IMAGE": "image"}
_KINDS_AS_WRITTEN = {f"XTENSION= '{name:<8}'".encode(): kind for name, kind in _KINDS.items()}
#: Cards at the beginning of an extension that structures are looked up by: to TFIELDS of a table.
_FRONT = 8 * CARD
#: Structures that are remembered.
_MOST = 512


class Structure:
    """Structure of an HDU, as its header gives it.

    Parameters
    ----------
    header : Header
    primary : bool
        It is the first header of a file.

    Attributes
    ----------
    axes : tuple of int
        NAXISn in their order.
    shape : tuple of int
        NAXISn, last axis first.
    size : int
        Bytes of data, padding aside (standard 4.0, equations 1, 2 and 4).

    Raises
    ------
    Malformed
        A keyword that the structure rests on is missing, or none of its values.
    """

    def __init__(self, header: Header, primary: bool) -> None:
        self.header, self._primary = header, primary
        plain = _plain(_mandatory(header.raw, primary), primary)
        self.axes, self.size = plain or self._counted()
        self.shape = self.axes[::-1]

    def _counted(self) -> tuple[tuple[int, ...], int]:
        bitpix = self._front.get("BITPIX")
        if type(bitpix) is not int or bitpix not in PIXEL_DTYPES:
            raise Malformed(f"keyword BITPIX is {bitpix!r}, expected 8, 16, 32, 64, -32 or -64")
        self.axes = tuple(self.integer(f"NAXIS{n}") for n in range(1, self.integer("NAXIS") + 1))
        groups = self.axes[:1] == (0,) and self.kind == "groups"
        counted = self.axes[1:] if groups else self.axes
        elements = prod(counted) if counted else 0
        if groups or not self._primary:
            elements = self.integer("GCOUNT", 1) * (self.integer("PCOUNT", 0) + elements)
        return self.axes, abs(bitpix) // 8 * elements

    @cached_property
    def _front(self) -> Header:
        """What the structure rests on: the standard puts it first."""
        return Header(self.header.raw[:BLOCK])

    def integer(self, keyword: str, default: int | None = None) -> int:
        """Value of a keyword that the structure rests on; see `Header.integer`."""
        try:
            return self._front.integer(keyword)
        except Malformed:
            return self.header.integer(keyword, default)

    @cached_property
    def kind(self) -> str:
        """What the HDU holds; see `lake.formats.fits_hdu.HDU.kind`."""
        if self._primary:
            empty = self.axes[:1] == (0,)
            return "groups" if empty and self._front.get("GROUPS") is True else "image"
        kind = _KINDS_AS_WRITTEN.get(self.header.raw[:20])
        if kind is None:
            kind = _KINDS.get(str(self._front.get("XTENSION")).strip(), "other")
        tiles = kind == "bintable" and holds_image(self._cards)
        return "compressed_image" if tiles else kind

    @cached_property
    def _cards(self) -> Cards:
        """Cards of a table without those that differ from file to file, to cache by."""
        raw = self.header.raw
        return Cards(raw[max(raw.find(b"TFIELDS ="), 0) :])

    @cached_property
    def layout(self) -> Layout:
        """Columns of the table.

        Raises
        ------
        Malformed
            The header does not describe a table.
        """
        if len(self.shape) != 2:
            raise Malformed(f"keyword NAXIS is {len(self.shape)}, expected 2 for a table")
        return read_layout(self._cards, self.shape[1], self.kind == "table")


#: Structures by the front of their header, each with the whole of it, END and padding included.
_known: dict[bytes, tuple[bytes, Structure]] = {}


def structure_at(data: bytes | mmap.mmap, start: int) -> tuple[Structure, int]:
    """Give the structure of an HDU, and where its data begin.

    Parameters
    ----------
    data, start
        As for `lake.formats.fits_header.read_header`.

    Returns
    -------
    Structure
    int
        Offset of the data.

    Raises
    ------
    Malformed
        See `read_header` and `Structure`.
    """
    # Primary headers tell what was observed: no two are alike.
    if not start or not isinstance(data, bytes):
        header, end = read_header(data, start)
        return Structure(header, start == 0), end
    front = data[start : start + _FRONT]
    if (known := _known.get(front)) and data.startswith(known[0], start):
        return known[1], start + len(known[0])
    header, end = read_header(data, start)
    structure = Structure(header, False)
    if end <= len(data):
        if len(_known) >= _MOST:
            _known.clear()
        _known[front] = data[start:end], structure
    return structure, end


def _mandatory(raw: bytes, primary: bool) -> bytes:
    """Cards that the size of the data follows from, where the standard wants them (4.4.1)."""
    axes = raw[170:190].strip()
    if raw[160:170] != b"NAXIS   = " or not axes.isdigit():
        return b""
    return raw[: CARD * (3 + int(axes) + (0 if primary else 2))]


@lru_cache(maxsize=4096)
def _plain(cards: bytes, primary: bool) -> tuple[tuple[int, ...], int] | None:
    """Axes and bytes of data of these cards; None if they are not all there, or unusual."""
    header = Header(cards)
    try:
        axes = tuple(header.integer(f"NAXIS{n}") for n in range(1, header.integer("NAXIS") + 1))
        bitpix = header.get("BITPIX")
        # -32.0 would be found among the keys, too.
        if type(bitpix) is not int or bitpix not in PIXEL_DTYPES or (primary and axes[:1] == (0,)):
            return None
        elements = prod(axes) if axes else 0
        if not primary:
            elements = header.integer("GCOUNT") * (header.integer("PCOUNT") + elements)
    except Malformed:
        return None
    return axes, abs(bitpix) // 8 * elements
