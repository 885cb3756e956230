"""Region tables of the ESAS: ASC-FITS-REGION as the SAS writes it, the same bytes each time.

Layout and keywords are those of tables that the SAS task region wrote; the reader takes tables
of other writers too.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from lake.errors import InputError, LacusError
from lake.formats import read_fits_file
from lake.formats.fits import FitsFile
from lake.formats.fits_cards import block, card
from lake.formats.fits_hdu import HDU
from lake.formats.fits_header import BLOCK, CARD
from lake.formats.source import Source
from lake.xmm.shapes import SHAPES, Regions, make
from lake.xmm.sky import Floats, SkyPixels

Frame = Literal["sky", "det"]

CREATOR = "lacus"
#: Keywords of the two axes of each frame.
AXES = {"sky": ("X", "Y"), "det": ("DETX", "DETY")}
#: Other names that shapes go by.
_OTHER = {"ROTELLIPSE": "ELLIPSE", "BOXANNULUS": "", "DIAMOND": "", "RHOMBUS": ""}
_WIDTH = 16
_SLOTS = 4
_NO_ROWS: Floats = np.empty((0, 1))


def table_bytes(
    regions: Regions, frame: Frame, *, name: str, sky: SkyPixels | None = None,
    date: str | None = None,
) -> bytes:  # fmt: skip
    """Make a region table.

    Parameters
    ----------
    regions : Regions
        Of the frame.
    frame : {"sky", "det"}
    name : str
        Of the file, for its history.
    sky : SkyPixels, optional
        What X and Y mean; a table of sky pixels says it.
    date : str, optional
        When the image was created that the table is for, which it says. The clock is not asked,
        so that the same regions make the same bytes.

    Returns
    -------
    bytes
        A FITS file.

    Raises
    ------
    LacusError
        A region has more vertices than a genuine table can hold, or no place.
    """
    rows = _rows(regions, frame)
    slots = int(rows.dtype[1].shape[0])
    header = _primary(name, date) + _extension(len(rows), slots, frame, sky)
    data = rows.tobytes()
    return header + data + b"\0" * (-len(data) % BLOCK)


def _dtype(frame: Frame, slots: int) -> np.dtype:
    first, second = AXES[frame]
    return np.dtype(
        [("SHAPE", f"S{_WIDTH}"), (first, ">f4", slots), (second, ">f4", slots),
         ("R", ">f4", _SLOTS), ("ROTANG", ">f4", _SLOTS), ("COMPONENT", ">i4")]
    )  # fmt: skip


def _rows(regions: Regions, frame: Frame) -> np.ndarray:
    """Rows of the table, as they lie in the file."""
    slots = _SLOTS
    for row, corners in regions.vertices.items():
        slots = max(slots, len(corners))
        if not np.isfinite(corners).all():
            raise LacusError(f"region {row + 1} of the {frame} frame has no place there")
    bad = ~(np.isfinite(regions.x) & np.isfinite(regions.y))
    if bad.any():
        row = int(np.argmax(bad))
        raise LacusError(f"region {row + 1} of the {frame} frame has no place there")
    first, second = AXES[frame]
    rows = np.zeros(len(regions), _dtype(frame, slots))
    names = np.char.add(np.where(regions.include, "", "!"), regions.shape)
    rows["SHAPE"] = np.char.ljust(names, _WIDTH)
    rows[first][:, 0], rows[second][:, 0] = regions.x, regions.y
    for row, corners in regions.vertices.items():
        rows[first][row, : len(corners)], rows[second][row, : len(corners)] = corners.T
        # A polygon that is shorter than its slots is closed at its first corner.
        rows[first][row, len(corners) :] = corners[0, 0] if len(corners) > 2 else 0
        rows[second][row, len(corners) :] = corners[0, 1] if len(corners) > 2 else 0
    rows["R"] = np.nan_to_num(regions.r)
    rows["ROTANG"][:, :2] = np.nan_to_num(regions.rotang)
    rows["COMPONENT"] = regions.component
    return rows


# --- header ------------------------------------------------------------------------------------


def _card(keyword: str, value: str | int | float | bool, comment: str = "") -> bytes:
    """One card, numbers as the SAS writes them."""
    return card(keyword, value, comment, ".14E")


def _long(keyword: str, text: str) -> bytes:
    """Cards of a text of any length: all but the last end with an ampersand."""
    text = text.replace("'", "''")
    cards, first = [], True
    while first or text:
        room = 68 if len(text) <= 68 else 67
        # A doubled quote stays in one piece.
        while room < len(text) and text[:room].count("'") % 2:
            room -= 1
        piece, text = text[:room], text[room:]
        start = f"{keyword:<8}= " if first else "CONTINUE  "
        cards.append(f"{start}'{piece}{'&' if text else ''}'".ljust(CARD))
        first = False
    return "".join(cards).encode("ascii")


def _history(text: str) -> bytes:
    lines = (f"HISTORY {text[i : i + 72]}".ljust(CARD) for i in range(0, len(text), 72))
    return "".join(lines).encode("ascii")


def _primary(name: str, date: str | None) -> bytes:
    cards = [
        _card("SIMPLE", True, "file does conform to FITS standard"),
        _card("BITPIX", 8, "number of bits per data pixel"),
        _card("NAXIS", 0, "number of data axes"),
        _card("EXTEND", True, "FITS dataset may contain extensions"),
        _long("XPROC0", f"{CREATOR} regions bkgregionset={name}"),
        _long("XDAL0", f"{name} Create {CREATOR}"),
        _card("CREATOR", CREATOR, "name of code"),
    ]
    if date:
        cards.append(_card("DATE", date, "creation date of the image"))
    cards.append(_card("LONGSTRN", "OGIP 1.0"))
    image = f" for an image that was created at {date.split('.')[0]}" if date else ""
    cards.append(_history(f"Created by {CREATOR}{image}"))
    return block(cards)


@lru_cache(maxsize=1024)
def _extension(rows: int, slots: int, frame: Frame, sky: SkyPixels | None) -> bytes:
    dtype = _dtype(frame, slots)
    cards = [
        _card("XTENSION", "BINTABLE", "binary table extension"),
        _card("BITPIX", 8, "8-bit bytes"),
        _card("NAXIS", 2, "2-dimensional binary table"),
        _card("NAXIS1", dtype.itemsize, "width of table in bytes"),
        _card("NAXIS2", rows, "number of rows in table"),
        _card("PCOUNT", 0, "size of special data area"),
        _card("GCOUNT", 1, "one data group (required keyword)"),
        _card("TFIELDS", len(dtype.names or ()), "number of fields in each row"),
    ]
    kinds = {"S": "ASCII Character", "f": "4-byte REAL", "i": "4-byte INTEGER"}
    letters = {"S": "A", "f": "E", "i": "J"}
    for n, column in enumerate(dtype.names or (), 1):
        stored = dtype[column]
        kind = str(stored.base.kind)
        count = stored.itemsize if kind == "S" else int(np.prod(stored.shape))
        form = letters[kind] if kind == "i" else f"{count}{letters[kind]}"
        cards.append(_card(f"TTYPE{n}", column, "The name of this column"))
        cards.append(_card(f"TFORM{n}", form, f"data format of field: {kinds[kind]}"))
    cards += [
        _card("EXTNAME", "REGION", "The name of this table"),
        _card("HDUVERS", "1.0.0"),
        _card("HDUCLASS", "ASC"),
        _card("HDUCLAS1", "REGION"),
        _card("HDUCLAS2", "STANDARD"),
        _card("MTYPE1", "pos"),
        _card("MFORM1", ",".join(AXES[frame])),
    ]
    if frame == "sky" and sky is not None:
        for n, kind, ref, value, step in (
            (2, "RA---TAN", sky.x_ref, sky.ra, sky.x_step),
            (3, "DEC--TAN", sky.y_ref, sky.dec, sky.y_step),
        ):
            cards += [
                _card(f"TCTYP{n}", kind),
                _card(f"TCRPX{n}", float(ref)),
                _card(f"TCRVL{n}", float(value)),
                _card(f"TCUNI{n}", "deg"),
                _card(f"TCDLT{n}", float(step)),
            ]
    return block(cards)


# --- reading -----------------------------------------------------------------------------------


def read_region_table(source: Source) -> tuple[Regions, str, SkyPixels | None]:
    """Read a region table, also as others write them.

    Parameters
    ----------
    source : str, PathLike or bytes
        A FITS file whose first region table (HDUCLAS1 or EXTNAME ``REGION``) is read.

    Returns
    -------
    regions : Regions
    frame : str
        ``sky`` (X, Y) or ``det`` (DETX, DETY).
    sky : SkyPixels or None
        What X and Y mean, where the table says it.

    Raises
    ------
    InputError
        There is no region table, or it holds what is no region.
    """
    file = read_fits_file(source)
    return read_hdu(file, find_hdu(file))


def find_hdu(file: FitsFile) -> HDU:
    """Find the region table of a file."""
    for hdu in file:
        named = hdu.name.upper() == "REGION" or hdu.header.get("HDUCLAS1") == "REGION"
        if hdu.kind == "bintable" and (named or "SHAPE" in hdu.schema.names):
            return hdu
    raise InputError(file.path, "has no region table (HDUCLAS1 = 'REGION')")


def read_hdu(file: FitsFile, hdu: HDU) -> tuple[Regions, str, SkyPixels | None]:
    """Read one region table of an open file; see `read_region_table`."""
    where = f"HDU {hdu.index}"
    columns = {n.upper(): n for n in hdu.schema.names}
    frame = "det" if "DETX" in columns else "sky"
    axes = AXES[frame]
    if missing := [n for n in ("SHAPE", *axes) if n not in columns]:
        raise InputError(file.path, f"column {missing[0]} is missing", where)
    names = [str(v or "").strip().upper() for v in hdu.table()[columns["SHAPE"]].to_pylist()]
    x, y = (_matrix(hdu, columns[n]) for n in axes)
    r, rotang = (_matrix(hdu, columns[n]) if n in columns else np.zeros((len(names), 0))
                 for n in ("R", "ROTANG"))  # fmt: skip
    if rotang.shape[1] == 1:
        # The outer ellipse of an annulus is turned as the inner one is.
        rotang = np.repeat(rotang, 2, axis=1)
    include = np.array([not n.startswith(("!", "-")) for n in names], bool)
    component = _components(hdu, columns, include)
    plain = [n.lstrip("!+- ") for n in names]
    plain = [_OTHER.get(n, n) for n in plain]
    vertices: dict[int, Floats] = {}
    for row, shape in enumerate(plain):
        known = SHAPES.get(shape)
        if known is None:
            raise InputError(
                file.path, f"SHAPE is {names[row]!r}, expected {', '.join(SHAPES)}",
                f"{where}, row {row + 1}",
            )  # fmt: skip
        if known.lengths > r.shape[1] or known.angles > rotang.shape[1]:
            raise InputError(
                file.path, f"a {shape} has {known.lengths} lengths and {known.angles} angles",
                f"{where}, row {row + 1}",
            )  # fmt: skip
        if known.vertices != 0:
            corners = np.stack([x[row], y[row]], axis=1)
            vertices[row] = _corners(corners, known.vertices)
            # The mean of the corners is its place.
            x[row, 0] = y[row, 0] = np.nan
    lengths, angles = (
        np.array([SHAPES[s][k] for s in plain], np.int64).reshape(-1, 1) for k in (0, 1)
    )
    regions = make(
        plain, x[:, 0], y[:, 0], _used(r, lengths, 4), _used(rotang, angles, 2), include,
        component, vertices,
    )  # fmt: skip
    whole = np.isfinite(regions.x) & np.isfinite(regions.y)
    whole &= (np.isfinite(regions.r) | (np.arange(4) >= lengths)).all(axis=1)
    if not whole.all():
        row = int(np.argmin(whole))
        raise InputError(
            file.path, f"a place or a length of this {plain[row]} is not a number",
            f"{where}, row {row + 1}",
        )  # fmt: skip
    return regions, frame, _sky(hdu, columns, axes)


def _matrix(hdu: HDU, name: str) -> Floats:
    """Column as rows of numbers, NaN where a row of variable length ends."""
    values = hdu.column(name)
    if values.dtype == object:
        out = np.full((len(values), max(map(len, values), default=0)), np.nan)
        for row, cell in enumerate(values):
            out[row, : len(cell)] = cell
        return out
    return np.array(values, np.float64).reshape(len(values), -1) if len(values) else _NO_ROWS


def _components(
    hdu: HDU, columns: dict[str, str], include: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    if "COMPONENT" in columns:
        return np.asarray(hdu.column(columns["COMPONENT"]), np.int64).reshape(-1)
    # Without components, regions are combined by OR; 0 is what all of them are cut by.
    return np.where(include, np.cumsum(include), 0)


def _used(values: Floats, count: npt.NDArray[np.int64], width: int) -> Floats:
    """The slots that a shape has; NaN in the others."""
    out = np.full((len(values), width), np.nan)
    some = min(width, values.shape[1])
    out[:, :some] = values[:, :some]
    out[np.arange(width) >= count] = np.nan
    return out


def _corners(corners: Floats, count: int | None) -> Floats:
    """Corners of a polygon without the slots that are not used: NaN, repeated or 0 at the end."""
    if count is not None:
        return corners[:count]
    corners = corners[np.isfinite(corners).all(axis=1)]
    used = len(corners)
    while used > 3 and (not corners[used - 1].any() or (corners[used - 1] == corners[0]).all()):
        used -= 1
    return corners[:used]


def _sky(hdu: HDU, columns: dict[str, str], axes: tuple[str, str]) -> SkyPixels | None:
    numbers = [hdu.schema.names.index(columns[a]) + 1 for a in axes]
    values = [hdu.header.get(f"{k}{n}") for k in ("TCRVL", "TCRPX", "TCDLT") for n in numbers]
    kinds = [str(hdu.header.get(f"TCTYP{n}", "")).strip() for n in numbers]
    if any(v is None for v in values) or not all(kinds):
        return None
    ra, dec, x_ref, y_ref, x_step, y_step = (float(v) for v in values)
    if kinds != ["RA---TAN", "DEC--TAN"] or not x_step < 0 < y_step:
        raise InputError(
            hdu.path, f"X and Y are {' and '.join(kinds)} in steps of {x_step} and {y_step} "
            "degrees, expected RA---TAN to the west and DEC--TAN to the north",
            f"HDU {hdu.index}",
        )  # fmt: skip
    return SkyPixels(ra, dec, x_ref, y_ref, x_step, y_step)
