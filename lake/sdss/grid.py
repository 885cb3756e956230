"""Wavelengths of the pixels of one spectrum."""

from decimal import Decimal
from math import log
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Grid(NamedTuple):
    """Wavelengths of the pixels of a spectrum; they increase or fall from each to the next.

    Attributes
    ----------
    kind : str
        ``log10``, ``linear``, ``table`` or ``pixel-normalised``, as `sdss.spectra` has it.
    coeff0, coeff1 : float or None
        log10 of the first pixel's wavelength in Angstrom, and its step.
    crval1, cd1_1 : float or None
        The first pixel's wavelength and the step, in Angstrom.
    wavelength : numpy.ndarray or None
        float64, shape (pixels,), Angstrom; of a table.
    written : tuple of float, or None
        CRVAL1 and CD1_1 as the header of a logarithmic image gives them, for its first pixel.
    note : str or None
        What is unusual about it.
    """

    kind: str
    coeff0: float | None = None
    coeff1: float | None = None
    crval1: float | None = None
    cd1_1: float | None = None
    wavelength: npt.NDArray[np.float64] | None = None
    written: tuple[float, float] | None = None
    note: str | None = None

    @property
    def falls(self) -> bool:
        """Whether wavelengths fall from pixel to pixel."""
        step = self.cd1_1 if self.coeff1 is None else self.coeff1
        if step is not None:
            return step < 0
        return self.wavelength is not None and bool(self.wavelength[0] > self.wavelength[-1])

    def reversed(self, pixels: int) -> "Grid":
        """Give the solution of so many pixels in the opposite order, from the last to the first."""
        coeff0, coeff1 = _from_the_last(self.coeff0, self.coeff1, pixels)
        crval1, cd1_1 = _from_the_last(self.crval1, self.cd1_1, pixels)
        return self._replace(
            coeff0=coeff0, coeff1=coeff1, crval1=crval1, cd1_1=cd1_1,
            wavelength=None if self.wavelength is None else self.wavelength[::-1].copy(),
            written=self.written and _from_the_last(*self.written, pixels),
        )  # fmt: skip

    def at(self, pixel: int) -> float | None:
        """Wavelength of a pixel (Angstrom; pixels count from 0); None without a solution."""
        if self.coeff0 is not None and self.coeff1 is not None:
            return float(10 ** (self.coeff0 + self.coeff1 * pixel))
        if self.crval1 is not None and self.cd1_1 is not None:
            return self.crval1 + self.cd1_1 * pixel
        return None if self.wavelength is None else float(self.wavelength[pixel])

    def sampling(self, pixels: int) -> float | npt.NDArray[np.float64] | None:
        """Wavelength over the width of a pixel, of each pixel or of all; None if unknown."""
        if self.coeff1 is not None:
            return 1 / (log(10) * self.coeff1)
        values = self.wavelengths(pixels)
        if values is None or pixels < 2:
            return None
        return np.asarray(values / np.gradient(values), np.float64)

    def wavelengths(self, pixels: int) -> npt.NDArray[np.float64] | None:
        """Wavelengths of all pixels (Angstrom), float64; None without a solution."""
        if self.coeff0 is not None and self.coeff1 is not None:
            return np.power(10.0, self.coeff0 + self.coeff1 * np.arange(pixels))
        if self.crval1 is not None and self.cd1_1 is not None:
            return self.crval1 + self.cd1_1 * np.arange(pixels, dtype=np.float64)
        return self.wavelength


def _from_the_last(first: Any, step: Any, pixels: int) -> Any:
    """Last value and the opposite step: in decimals, as files write them, none is rounded off."""
    if first is None or step is None:
        return first, step
    return float(Decimal(str(first)) + (pixels - 1) * Decimal(str(step))), -step
