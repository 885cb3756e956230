"""Lists of boxes and circles on the sky, as tables of any format."""

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.errors import InputError
from lake.formats import format_of, read_table
from lake.formats.fits import FitsFile
from lake.formats.source import Source, label
from lake.xmm.control import numbers
from lake.xmm.shapes import Regions, make
from lake.xmm.sky import Floats

#: Columns of a list, and what their numbers are in where they say no unit.
_UNITS = {
    "ra": "deg", "dec": "deg", "radius": "arcsec", "width": "arcsec", "height": "arcsec",
    "angle": "deg",
}  # fmt: skip


def is_list(data: bytes) -> bool:
    """Whether a file is a table with places: by its columns, or as its format has only tables."""
    kind = format_of(data)
    if kind == "fits":
        tables = [h.schema.names for h in FitsFile("", data) if h.kind in ("bintable", "table")]
        return any({"ra", "dec"} <= {n.lower() for n in names} for names in tables)
    if kind != "delimited":
        return True
    # The first line that is no comment names the columns.
    lines = [t for t in data[:4096].decode("latin-1").splitlines() if t and not t.startswith("#")]
    words = set(re.split(r"[,\s|\"']+", lines[0].lower())) if lines else set()
    return {"ra", "dec"} <= words


def read_list(source: Source) -> list[tuple[int, Regions]]:
    """Read a list of boxes and circles.

    Parameters
    ----------
    source : str, PathLike or bytes
        A table in any format. Columns, in any case: ra, dec (degrees) and radius, or width,
        height and angle (arcsec; degrees counter-clockwise from west, 0 if absent), and label
        where it holds several masks. Units that the table gives go before these.

    Returns
    -------
    list of (int, Regions)
        Of each label (0 without labels), included regions in FK5: degrees and arcsec.

    Raises
    ------
    InputError
        A column is missing or has a unit that is no angle, or a row is no box and no circle.
    """
    path, table = label(source), read_table(source)
    names = {n.strip().lower(): n for n in table.column_names}
    if "radius" not in names and not {"width", "height"} <= names.keys():
        raise InputError(path, "has no column radius, nor width and height")
    if not table.num_rows:
        raise InputError(path, "is empty: it has no row")
    nothing = np.full(table.num_rows, np.nan)
    ra, dec, radius, width, height, angle = (
        _angles(path, table, names[k], unit) if k in names else nothing
        for k, unit in _UNITS.items()
    )
    circle, box = np.isfinite(radius), np.isfinite(width) & np.isfinite(height)
    _refuse(
        path,
        ~np.isfinite(ra) | ~(np.abs(dec) <= 90) | (circle == box),
        "expected ra, dec, and radius or width and height",
    )
    sizes = np.stack([np.where(circle, radius, width), np.where(circle, np.nan, height)], axis=1)
    _refuse(path, ~(np.nan_to_num(sizes, nan=1.0).min(axis=1) > 0), "a length is not above 0")
    turn = np.where(circle, np.nan, np.nan_to_num(angle))
    shape: npt.NDArray[np.str_] = np.where(circle, "CIRCLE", "ROTBOX")
    regions = make(shape, ra, dec, sizes, turn)
    if "label" not in names:
        return [(0, regions)]
    labels = numbers(path, table, names["label"])
    _refuse(path, ~(labels == np.round(labels)), "the label is no whole number")
    return [(int(k), regions.take(labels == k)) for k in np.unique(labels)]


def _refuse(path: str, bad: npt.NDArray[np.bool_], problem: str) -> None:
    if bad.any():
        raise InputError(path, problem, f"row {int(np.argmax(bad)) + 1}")


def _angles(path: str, table: pa.Table, name: str, unit: str) -> Floats:
    """Column in a unit, from the one that it has."""
    from astropy import units

    values = numbers(path, table, name)
    given = ((table.schema.field(name).metadata or {}).get(b"unit") or b"").decode()
    if not given or given == unit:
        return values
    try:
        return values * float(units.Unit(given).to(units.Unit(unit)))
    except (ValueError, units.UnitsError):
        raise InputError(
            path, f"is in {given!r}, expected {unit} or another angle", f"column {name!r}"
        ) from None
