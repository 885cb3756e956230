"""One spectrum of a file, and what readers of all layouts need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lake.formats.fits import FitsFile
from lake.formats.fits_hdu import HDU
from lake.formats.fits_structure import TABLES
from lake.sdss.grid import Grid
from lake.sdss.metadata import Place, Row
from lake.sdss.wavelengths import Unusable, of_header

Array = npt.NDArray[Any]


@dataclass(slots=True)
class Spectrum:
    """One spectrum of a file.

    Attributes
    ----------
    layout : str
        One of `lake.sdss.layouts`.
    hdu : int
        HDU of the flux.
    grid : Grid
    flux : numpy.ndarray
        Shape (pixels,), as it lies in the file; see `rising`.
    places : sequence of Place or Row
        Where its metadata are, in the order in which they count.
    flux_unit : str or None
        As the file writes it.
    row : int
        Number of the spectrum in its file, from 1.
    arrays : dict
        ivar, and_mask, or_mask, wdisp (sigma, pixels), sky, model; each of the flux's shape.
    known : dict
        What the layout itself says: column -> (value, where that is written).
    notes : list of str
    """

    layout: str
    hdu: int
    grid: Grid
    flux: Array
    places: Sequence[Place | Row]
    flux_unit: str | None
    row: int = 1
    arrays: dict[str, Array] = field(default_factory=dict)
    known: dict[str, tuple[Any, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def rising(spectrum: Spectrum) -> Spectrum:
    """Turn a spectrum round, as a whole, if its wavelengths fall from pixel to pixel.

    Images of IRAF, orders of an echelle and spectra in the order of frequency may begin with the
    longest; in the lake wavelengths increase.
    """
    if not spectrum.grid.falls:
        return spectrum
    # Copies: a digest and Arrow want pixels one behind the other.
    return replace(
        spectrum,
        grid=spectrum.grid.reversed(len(spectrum.flux)),
        flux=spectrum.flux[::-1].copy(),
        arrays={name: values[::-1].copy() for name, values in spectrum.arrays.items()},
        notes=[*spectrum.notes, "wavelengths fall in the file: its pixels are turned round"],
    )


#: Number of each spectrum in the file, from 1, and the spectrum, or why it cannot be taken though
#: others of the file may be.
Found = Iterator[tuple[int, Spectrum | Unusable]]


def hdu_at(file: FitsFile, index: int) -> HDU | None:
    """HDU of a file by its position; None where the file ends before it."""
    for at, hdu in enumerate(file):
        if at == index:
            return hdu
    return None


def placed(hdu: HDU, solve: Any, *arguments: Any) -> Any:
    """Call a function that finds a solution, and say which HDU it did not find one in."""
    try:
        return solve(*arguments)
    except Unusable as problem:
        raise Unusable(problem.problem, problem.where or f"HDU {hdu.index}") from problem


def no_solution(hdu: HDU, file: FitsFile, pixels: int) -> Grid:
    """Grid of a spectrum without wavelengths of its own: a header's, or none at all."""
    for header in (hdu.header, file[0].header):
        # Axis 1 of a table's header is not that of its pixels.
        of_pixels = header is file[0].header or hdu.kind not in TABLES
        if of_pixels and (grid := placed(hdu, of_header, header, pixels)):
            return grid
    return Grid("pixel-normalised", note="no wavelength solution: not to be used with wavelengths")


def companion(name: str, values: Array) -> dict[str, Array]:
    """Give a companion of the flux under the name it is kept by: errors become weights."""
    if name == "error":
        return {"ivar": inverse_square(values)}
    if name == "variance":
        return {"ivar": inverse_square(np.sqrt(np.maximum(values.astype(np.float64), 0)))}
    if name.endswith("mask") and values.dtype.kind == "f":
        # Masks of old images are floating-point numbers.
        bits = np.clip(np.nan_to_num(values), -(2.0**31), 2.0**31 - 1)
        return {name: bits.astype(np.int64).astype(np.int32)}
    return {name: values}


def inverse_square(error: Array) -> Array:
    """Weights of errors; no weight where the error is not positive."""
    sigma = error.astype(np.float64)
    good = np.isfinite(sigma) & (sigma > 0)
    with np.errstate(divide="ignore"):
        return np.where(good, 1 / np.where(good, sigma, 1.0) ** 2, 0.0)
