"""Inputs of the XMM mission that tests write themselves, and real ones that they look up."""

import re
from pathlib import Path

import numpy as np
from astropy.io import fits

RA, DEC, PA = 266.9655, -28.4658333333333, 271.916564941406
STEP = 1.38888888888889e-05
CAMERAS = {"EPN": "S003", "EMOS1": "S001", "EMOS2": "S002"}
NAMES = {"EPN": "pnS003", "EMOS1": "mos1S001", "EMOS2": "mos2S002"}


def header(instrument="EPN", **changed):
    """Keywords of an EPIC image; a value of None takes a keyword out."""
    cards = {
        "TELESCOP": "XMM", "INSTRUME": instrument, "OBS_ID": "0862471101",
        "EXP_ID": "0862471101003", "EXPIDSTR": CAMERAS.get(instrument, "S003"),
        "OBJECT": "Sgr B2", "REVOLUT": 3812, "FILTER": "Medium", "SUBMODE": "PrimeFullWindow",
        "DATE": "2023-07-06T18:13:38.000", "DATE-OBS": "2020-09-28T02:40:42",
        "DATE-END": "2020-09-28T14:00:05",
        "RA_PNT": RA, "DEC_PNT": DEC, "PA_PNT": PA,
        "REFXCTYP": "RA---TAN", "REFXCRPX": 25921, "REFXCRVL": RA, "REFXCDLT": -STEP,
        "REFYCTYP": "DEC--TAN", "REFYCRPX": 25921, "REFYCRVL": DEC, "REFYCDLT": STEP,
        "CTYPE1": "RA---TAN", "CRPIX1": 450.91, "CRVAL1": RA, "CDELT1": -50 * STEP,
        "CTYPE2": "DEC--TAN", "CRPIX2": 450.91, "CRVAL2": DEC, "CDELT2": 50 * STEP,
        "CTYPE1L": "X", "CRPIX1L": 1, "CRVAL1L": 3425.5, "CDELT1L": 50.0,
        "CTYPE2L": "Y", "CRPIX2L": 1, "CRVAL2L": 3425.5, "CDELT2L": 50.0,
    }  # fmt: skip
    found = fits.Header()
    for keyword, value in (cards | changed).items():
        if value is not None:
            found[keyword] = value
    return found


def image(path, instrument="EPN", shape=(900, 900), **changed):
    """Write an image of a camera."""
    pixels = np.zeros(shape, np.int32)
    fits.PrimaryHDU(pixels, header(instrument, **changed)).writeto(path, overwrite=True)
    return path


def paint(boxes, shape):
    """Count how many boxes cover each pixel."""
    # Marks at the four corners; their running sums fill the boxes.
    corners = np.zeros((shape[0] + 1, shape[1] + 1), np.int64)
    x, y, width, height = boxes.T
    for row, column, sign in ((y, x, 1), (y + height, x, -1), (y, x + width, -1),
                              (y + height, x + width, 1)):  # fmt: skip
        np.add.at(corners, (row, column), sign)
    return corners.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]


def mask(path, pixels, *, scale=30.0, angle=-58.72, ra=266.86174642, dec=-28.42722147, **changed):
    """Write a mask: pixels of `scale` arcsec, turned by `angle` degrees."""
    h = fits.Header()
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    cards = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec,
        "CRPIX1": (pixels.shape[1] + 1) / 2, "CRPIX2": (pixels.shape[0] + 1) / 2,
        "CDELT1": -scale / 3600, "CDELT2": scale / 3600,
        "PC1_1": c, "PC1_2": -s, "PC2_1": s, "PC2_2": c, "RADESYS": "FK5", "EQUINOX": 2000.0,
    }  # fmt: skip
    for keyword, value in (cards | changed).items():
        if value is not None:
            h[keyword] = value
    fits.PrimaryHDU(pixels, h).writeto(path, overwrite=True)
    return path


def events(path, x, y, detx, dety, instrument="EPN", **changed):
    """Write an event list."""
    kinds = {"X": ("J", x), "Y": ("J", y), "DETX": ("I", detx), "DETY": ("I", dety)}
    columns = [
        fits.Column(n, form, array=np.round(v), null=-99999999 if n in "XY" else None)
        for n, (form, v) in kinds.items()
    ]
    table = fits.BinTableHDU.from_columns(columns, header(instrument, **changed), name="EVENTS")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)
    return path


#: Pointing and position angle of the observations of the real data. They are those of the
#: images where there is one; that of 0694640601 follows from its sky pixels and the mask's grid.
POINTINGS = {
    "0203930101": (266.934583333333, -28.4361944444444, 269.926574707031),
    "0694640601": (266.967041666667, -28.465138888889, 270.0467),
    "0802410101": (266.81858333333, -28.360805555556, 92.643730163574),
    "0862471101": (RA, DEC, PA),
}
_SHORT = {"EPN": ("pn", "pn"), "EMOS1": ("m1", "mos1"), "EMOS2": ("m2", "mos2")}


def boxes(path: Path) -> np.ndarray:
    """Numbers of the boxes of a DS9 file, shape (n, 5)."""
    found = re.findall(r"^box\(([^)]*)\)", path.read_text(), re.MULTILINE)
    return np.array([[float(v) for v in numbers.split(",")] for numbers in found])


def esky2det(data: Path, obsid: str, instrument: str):
    """Sky pixels and what esky2det gave for them: x, y, detx, dety."""
    sky, det = _SHORT[instrument]
    folder = data / "xmm" / "steady" / obsid
    x, y = boxes(folder / "reg_files" / f"reg_sky_{sky}.reg")[:, :2].T
    detx, dety = np.loadtxt(folder / "reg_files_det" / f"reg_{det}.dat").T
    # Of one file the last row was not written.
    return x[: len(detx)], y[: len(detx)], detx, dety
