"""Control points: places whose sky pixels and detector pixels are both known.

They come from an event list (columns X, Y, DETX, DETY), from a table of places with their
detector pixels as of the SAS task esky2det, or from what the SAS task ecoordconv prints.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa

from lake.errors import InputError
from lake.formats import read_table
from lake.formats.fits import FitsFile
from lake.formats.source import Source, label, load
from lake.inputs import InputFile, Records
from lake.xmm.exposure import Keywords, exposure_of
from lake.xmm.geometry import CAMERAS
from lake.xmm.options import is_yes
from lake.xmm.sky import Floats, SkyPixels

#: Events beyond this number do not make a calibration better: an even choice is kept.
MOST_EVENTS = 50_000
#: Columns of a table of places that say which exposure they are of.
_SAYS = ("obsid", "exposure", "instrument")
_PLACES = ("ra", "dec", "x", "y", "detx", "dety")
_ECOORDCONV = re.compile(rb"X: Y:\s*(\S+)\s+(\S+)\s*\n\s*DETX: DETY:\s*(\S+)\s+(\S+)")


@dataclass(frozen=True)
class Control:
    """Control points of one exposure.

    Attributes
    ----------
    source : str
        The file.
    kind : str
        ``events`` or ``points``.
    detx, dety : ndarray, shape (n,)
        Detector pixels.
    x, y : ndarray, shape (n,), or None
        Sky pixels.
    ra, dec : ndarray, shape (n,), or None
        Directions in degrees, where the source gives no sky pixels.
    events : int or None
        Events of the whole list.
    obsid, exposure, instrument : str or None
        What they are of, as far as the source says.
    forced : bool
        Whether they are taken however large their residual is.
    """

    source: str
    kind: str
    detx: Floats
    dety: Floats
    x: Floats | None = None
    y: Floats | None = None
    ra: Floats | None = None
    dec: Floats | None = None
    events: int | None = None
    obsid: str | None = None
    exposure: str | None = None
    instrument: str | None = None
    forced: bool = False

    def sky_pixels(self, sky: SkyPixels) -> tuple[Floats, Floats]:
        """X and Y of the points, shape (n,) each."""
        if self.x is not None and self.y is not None:
            return self.x, self.y
        assert self.ra is not None
        assert self.dec is not None
        return sky.of_sky(self.ra, self.dec)

    def is_of(self, obsid: str, exposure: str, instrument: str) -> bool:
        """Whether nothing that the source says speaks against an exposure."""
        said = (self.obsid, self.exposure, self.instrument)
        return all(
            mine is None or mine == theirs
            for mine, theirs in zip(said, (obsid, exposure, instrument), strict=True)
        )


def read_control(source: Source, says: Mapping[str, str] | None = None) -> list[Control]:
    """Read control points.

    Parameters
    ----------
    source : str, PathLike or bytes
        An event list (FITS); a table in any format with columns detx, dety and x, y or ra, dec,
        and, where it holds those of several, obsid, exposure or instrument; or the text that
        ecoordconv prints.
    says : mapping, optional
        ``obsid``, ``exposure``, ``instrument`` of a source that does not name them.

    Returns
    -------
    list of Control
        One for each exposure that the source tells apart.

    Raises
    ------
    InputError
        It is none of these, or has values that are no numbers.
    """
    return _read(label(source), bytes(load(source)), says or {})


def _read(path: str, data: bytes, says: Mapping[str, str]) -> list[Control]:
    if (instrument := says.get("instrument")) and instrument not in CAMERAS:
        raise InputError(path, f"instrument {instrument!r}, expected {', '.join(CAMERAS)}")
    if data[:9] == b"SIMPLE  =" and "EVENTS" in (file := FitsFile(path, data)):
        found = [_events(file)]
    elif b"ecoordconv" in data[:400]:
        found = [_printed(path, data)]
    else:
        found = _table(path, data)
    return [
        replace(
            c,
            obsid=c.obsid or says.get("obsid"),
            exposure=c.exposure or says.get("exposure"),
            instrument=c.instrument or says.get("instrument"),
        )
        for c in found
    ]


def _events(file: FitsFile) -> Control:
    """Control points of an event list."""
    hdu = file["EVENTS"]
    exposure = exposure_of(file, Keywords(file, hdu))
    names = ("X", "Y", "DETX", "DETY")
    columns = hdu.schema.names
    if missing := [n for n in names if n not in columns]:
        raise InputError(file.path, f"column {missing[0]} is missing", f"HDU {hdu.index}")
    step = max(1, -(-hdu.rows // MOST_EVENTS))
    values = [np.array(hdu.column(n)[::step], np.float64) for n in names]
    # Events that the attitude is not known for have no sky pixels: TNULL, or outside the plane.
    there = np.all([np.isfinite(v) for v in values], axis=0) & (values[0] > 0) & (values[1] > 0)
    x, y, detx, dety = (v[there] for v in values)
    return Control(
        file.path, "events", detx, dety, x, y, events=hdu.rows, obsid=exposure.obsid,
        exposure=exposure.name, instrument=exposure.camera.name,
    )  # fmt: skip


def _printed(path: str, data: bytes) -> Control:
    """Control points of the text that ecoordconv prints: one paragraph a place."""
    found = np.array(_ECOORDCONV.findall(data))
    if not len(found):
        raise InputError(path, "there is no place with X: Y: and DETX: DETY: in it")
    try:
        x, y, detx, dety = found.astype(np.float64).T
    except ValueError as error:
        raise InputError(path, f"a place is not all numbers: {error}") from None
    return Control(path, "points", detx, dety, x, y)


def _table(path: str, data: bytes) -> list[Control]:
    """Control points of a table, one for each exposure it tells apart."""
    try:
        table = read_table(data)
    except InputError as error:
        raise InputError(path, error.problem, error.where) from None
    by_name = {n.strip().lower(): n for n in table.column_names}
    pairs = [p for p in (("x", "y"), ("ra", "dec")) if set(p) <= by_name.keys()]
    if not pairs or not {"detx", "dety"} <= by_name.keys():
        raise InputError(
            path, f"has the columns {', '.join(table.column_names)}, expected detx, dety, and "
            "x, y or ra, dec"
        )  # fmt: skip
    place = pairs[0]
    says = [n for n in _SAYS if n in by_name]
    keys = [tuple(_text(table[by_name[n]])) for n in says] or [("",) * table.num_rows]
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, key in enumerate(zip(*keys, strict=True)):
        groups.setdefault(key, []).append(row)
    columns = {n: _numbers(path, table, by_name[n]) for n in ("detx", "dety", *place)}
    return [
        _made(
            path,
            "points",
            {n: v[rows] for n, v in columns.items()},
            dict(zip(says, key, strict=False)),
        )
        for key, rows in groups.items()
    ]


def _made(
    source: str,
    kind: str,
    places: Mapping[str, Floats | None],
    said: Mapping[str, str | None],
    events: int | None = None,
) -> Control:
    detx, dety = places["detx"], places["dety"]
    assert detx is not None
    assert dety is not None
    x, y, ra, dec = (places.get(n) for n in ("x", "y", "ra", "dec"))
    obsid, exposure, instrument = (said.get(n) or None for n in _SAYS)
    return Control(source, kind, detx, dety, x, y, ra, dec, events, obsid, exposure, instrument)


def _text(column: pa.ChunkedArray) -> list[str]:
    """Values as text; an obsid that was read as a number gets its leading zeros again."""
    whole = pa.types.is_integer(column.type)
    return [
        "" if v is None else (f"{v:010d}" if whole else str(v).strip()) for v in column.to_pylist()
    ]


def numbers(path: str, table: pa.Table, name: str) -> Floats:
    """Column of a file's table as numbers; null is NaN.

    Raises
    ------
    InputError
        It holds something else.
    """
    try:
        return table[name].cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(
            path, f"is {table[name].type}, expected numbers", f"column {name!r}"
        ) from None


def _numbers(path: str, table: pa.Table, name: str) -> Floats:
    values = numbers(path, table, name)
    if (bad := ~np.isfinite(values)).any():
        row = int(np.argmax(bad)) + 1
        raise InputError(path, "is not a number", f"row {row}, column {name!r}")
    return values


def records(file: InputFile, data: bytes) -> Records:
    """Rows of `xmm.control` for one file; the reader of the role ``control``."""
    name = PurePath(file.path).name
    rows = []
    for control in _read(str(file.path), data, file.options):
        said = {n: getattr(control, n) for n in _SAYS}
        if missing := [n for n, v in said.items() if v is None]:
            raise InputError(
                file.path,
                f"does not say which {' and '.join(missing)} it is of: register it with "
                + " ".join(f"-o {n}=..." for n in missing),
            )
        places = {n: getattr(control, n) for n in _PLACES}
        of_file = {"source": name, "kind": control.kind, "events": control.events}
        rows.append(said | places | of_file | {"forced": is_yes(file, "force")})
    return {"xmm.control": rows}


def stored(rows: Sequence[Mapping[str, Any]]) -> list[Control]:
    """Control points of rows of `xmm.control`, as a query gives them."""
    return [
        replace(
            _made(
                row["source"],
                row["kind"],
                {n: None if row[n] is None else np.asarray(row[n], np.float64) for n in _PLACES},
                row,
                row["events"],
            ),
            forced=bool(row["forced"]),
        )
        for row in rows
    ]
