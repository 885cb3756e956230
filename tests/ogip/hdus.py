"""OGIP files in memory, as missions write them."""

import io
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from astropy.io import fits

from lake.formats.fits import FitsFile
from lake.inputs import InputFile

Columns = Mapping[str, tuple[str, Any]]


def table(columns: Columns, keywords: Mapping[str, Any], **formats: Any) -> fits.BinTableHDU:
    """A binary table: name -> (TFORM, cells); keywords as they are."""
    made = []
    for name, (form, cells) in columns.items():
        extra = {k: v[name] for k, v in formats.items() if name in v}
        made.append(fits.Column(name, form, array=cells, **extra))
    hdu = fits.BinTableHDU.from_columns(made)
    for keyword, value in keywords.items():
        hdu.header[keyword] = value
    return hdu


def content(*hdus: Any, primary: Any = None) -> bytes:
    """Bytes of a file."""
    out = io.BytesIO()
    fits.HDUList([primary or fits.PrimaryHDU(), *hdus]).writeto(out)
    return out.getvalue()


def opened(*hdus: Any) -> FitsFile:
    """File as the readers see it."""
    return FitsFile("x.fits", content(*hdus))


def registered(path: str = "/in/x.fits", sha256: str = "0123456789abcdef") -> InputFile:
    return InputFile(PurePath(path), "ogip", "R", "spectra", {}, 0, 0, sha256)  # type: ignore[arg-type]


def pha(
    columns: Columns | None = None, *, formats: Mapping[str, Any] | None = None, **keywords: Any
) -> fits.BinTableHDU:
    """A TYPE I spectrum of four channels, or of other columns."""
    given = columns or {"CHANNEL": ("J", [1, 2, 3, 4]), "COUNTS": ("J", [5, 0, 7, 1])}
    known = {
        "EXTNAME": "SPECTRUM", "HDUCLASS": "OGIP", "HDUCLAS1": "SPECTRUM", "HDUCLAS2": "TOTAL",
        "HDUCLAS3": "COUNT", "TELESCOP": "TEST", "INSTRUME": "CAM", "EXPOSURE": 100.0,
        "AREASCAL": 1.0, "BACKSCAL": 0.5, "CORRSCAL": 0.0, "POISSERR": True,
    }  # fmt: skip
    known |= keywords
    return table(given, {k: v for k, v in known.items() if v is not None}, **(formats or {}))


def ragged(rows: Sequence[Sequence[float]]) -> np.ndarray:
    cells = np.empty(len(rows), object)
    cells[:] = [np.array(row) for row in rows]
    return cells


#: Three energy bins, five channels from 1; the second bin has two groups, the third none.
GROUPS: dict[str, tuple[str, Any]] = {
    "ENERG_LO": ("E", [0.5, 1.0, 2.0]),
    "ENERG_HI": ("E", [1.0, 2.0, 3.0]),
    "N_GRP": ("I", [1, 2, 0]),
    "F_CHAN": ("PI()", ragged([[1], [1, 4], []])),
    "N_CHAN": ("PI()", ragged([[2], [1, 2], []])),
    "MATRIX": ("PE()", ragged([[0.25, 0.5], [0.125, 0.5, 0.25], []])),
}
DENSE = [[0.25, 0.5, 0, 0, 0], [0.125, 0, 0, 0.5, 0.25], [0, 0, 0, 0, 0]]


def matrix(columns: Columns | None = None, **keywords: Any) -> fits.BinTableHDU:
    """A matrix of `GROUPS`, or of some other columns among them."""
    known = {
        "EXTNAME": "MATRIX", "HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE", "HDUCLAS2": "RSP_MATRIX",
        "HDUCLAS3": "REDIST", "TELESCOP": "TEST", "INSTRUME": "CAM", "DETCHANS": 5, "TLMIN4": 1,
    }  # fmt: skip
    known |= keywords
    units = {"ENERG_LO": "keV", "ENERG_HI": "keV"}
    return table(
        {**GROUPS, **(columns or {})}, {k: v for k, v in known.items() if v is not None}, unit=units
    )


def ebounds(first: int = 1, size: int = 5, **keywords: Any) -> fits.BinTableHDU:
    edges = np.linspace(0.5, 3, size + 1)
    known = {"EXTNAME": "EBOUNDS", "HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE",
             "HDUCLAS2": "EBOUNDS"} | keywords  # fmt: skip
    return table(
        {"CHANNEL": ("I", np.arange(first, first + size)), "E_MIN": ("E", edges[:-1]),
         "E_MAX": ("E", edges[1:])},
        known, unit={"E_MIN": "keV", "E_MAX": "keV"},
    )  # fmt: skip


def arf(
    columns: Columns | None = None, unit: str = "cm**2", energy: str = "keV", **keywords: Any
) -> fits.BinTableHDU:
    given = {
        "ENERG_LO": ("E", [0.5, 1.0, 2.0]),
        "ENERG_HI": ("E", [1.0, 2.0, 3.0]),
        "SPECRESP": ("E", [100.0, 200.0, 50.0]),
        **(columns or {}),
    }
    known = {"EXTNAME": "SPECRESP", "HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE",
             "HDUCLAS2": "SPECRESP", "TELESCOP": "TEST", "INSTRUME": "CAM"} | keywords  # fmt: skip
    units = {"ENERG_LO": energy, "ENERG_HI": energy, "SPECRESP": unit}
    return table(given, {k: v for k, v in known.items() if v is not None}, unit=units)
