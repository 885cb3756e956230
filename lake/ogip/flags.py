"""Grouping and quality written into the file of a spectrum; everything else stays as it is."""

import numpy as np
import numpy.typing as npt

from lake.errors import InputError
from lake.formats.fits_cards import block, card
from lake.formats.fits_hdu import HDU
from lake.formats.fits_header import BLOCK, CARD
from lake.formats.source import Source, label, load
from lake.ogip.sorting import content

Flags = npt.NDArray[np.integer]

#: Cards that do not hold any more once the data have changed, or a column stands for them.
_STALE = (b"CHECKSUM", b"DATASUM ", b"GROUPING", b"QUALITY ")


def with_flags(source: Source, grouping: Flags, quality: Flags, *, hdu: int | None = None) -> bytes:
    """Give the content of a TYPE I file with other GROUPING and QUALITY columns.

    Columns that are there are overwritten, those that are not are added at the end of the rows
    as 16-bit integers (OGIP/92-007); keywords of these names and checksums go.

    Parameters
    ----------
    source : str, PathLike or bytes
    grouping, quality : ndarray of int, shape (channels,)
        As `Groups.flags` gives them.
    hdu : int, optional
        HDU of the spectrum, from 0; by default the only one that is a spectrum.

    Returns
    -------
    bytes
        The file, decompressed.

    Raises
    ------
    InputError
        There is no such spectrum, or several and none is named, or it is of TYPE II, has other
        channels than there are flags, or has flags of another type than integers.
    """
    from lake.formats.fits import FitsFile

    raw = bytes(load(source))
    hdus = list(FitsFile(label(source), raw))
    spectra = [h for h in hdus if (content(h) == "spectrum" if hdu is None else h.index == hdu)]
    if len(spectra) != 1:
        wanted = "one spectrum" if hdu is None else f"an HDU {hdu}"
        raise InputError(label(source), f"has {len(spectra)} of these, expected {wanted}")
    spectrum = spectra[0]
    start = hdus[spectrum.index - 1].end if spectrum.index else 0
    made = _flagged(spectrum, {"GROUPING": grouping, "QUALITY": quality})
    return raw[:start] + made + raw[spectrum.end :]


def _flagged(hdu: HDU, flags: dict[str, Flags]) -> bytes:
    rows, width = hdu.shape
    old = np.frombuffer(hdu.data, np.uint8)
    table = old[: rows * width].reshape(rows, width).copy()
    cards = [hdu.header.raw[i : i + CARD] for i in range(0, len(hdu.header.raw), CARD)]
    cards = [line for line in cards if line[:8] not in _STALE]
    added: list[Flags] = []
    last = len(hdu.columns)
    after = max(i for i, line in enumerate(cards) if line[:8].rstrip() in _column_cards(last)) + 1
    for name, values in flags.items():
        _check(hdu, name, values)
        if name in hdu:
            column = hdu.layout.by_name[name.casefold()]
            cells = np.ascontiguousarray(values.astype(column.element)).view(np.uint8)
            table[:, column.offset : column.offset + column.width] = cells.reshape(rows, -1)
            continue
        added.append(np.ascontiguousarray(values.astype(">i2")).view(np.uint8).reshape(rows, 2))
        last += 1
        cards[after:after] = [
            card(f"TTYPE{last}", name),
            card(f"TFORM{last}", "I"),
        ]
        after += 2
    more = 2 * len(added)
    for i, line in enumerate(cards):
        for keyword, change in (("NAXIS1", more), ("TFIELDS", len(added)), ("THEAP", more * rows)):
            if line[:8] == f"{keyword:<8}".encode():
                cards[i] = card(keyword, hdu.header.integer(keyword) + change)
    data = np.hstack([table, *added]).tobytes() + old[rows * width :].tobytes()
    return b"".join([block(cards), data, b"\0" * (-len(data) % BLOCK)])


def _check(hdu: HDU, name: str, values: Flags) -> None:
    where = f"HDU {hdu.index}"
    data = "COUNTS" if "COUNTS" in hdu else "RATE"
    if data in hdu and not hdu.layout.by_name[data.casefold()].scalar:
        raise InputError(hdu.path, "is of TYPE II: flags go into a file of one spectrum", where)
    if values.shape != (hdu.rows,):
        problem = f"has {hdu.rows} channels, there are {len(values)} numbers of {name}"
        raise InputError(hdu.path, problem, where)
    if name in hdu:
        column = hdu.layout.by_name[name.casefold()]
        if column.code not in "IJK" or not column.scalar or column.scaled or column.flipped:
            raise InputError(hdu.path, "is no column of plain integers", f"{where}, {name}")


def _column_cards(number: int) -> set[bytes]:
    """Keywords that describe a column, of which the last of its cards is one."""
    names = ("TTYPE", "TFORM", "TUNIT", "TNULL", "TSCAL", "TZERO", "TDISP", "TDIM")
    return {f"{name}{number}".encode() for name in names}
