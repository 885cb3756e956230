"""Pixels of a spectrum in the units of the lake, and what follows from them."""

from dataclasses import dataclass
from hashlib import sha256
from math import log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from lake.sdss.flux_units import UNIT, factor
from lake.sdss.spectrum import Spectrum
from lake.sdss.wavelengths import Unusable

#: FWHM of a Gaussian per sigma.
_FWHM = 2 * sqrt(2 * log(2))
#: Numbers from which on a sample helps to find their median.
_SAMPLED = 1000


@dataclass(slots=True)
class Pixels:
    """Pixels of a spectrum.

    Attributes
    ----------
    arrays : dict
        flux and what goes with it, by column of `sdss.spectra`, each of shape (pixels,); flux
        and ivar are float32, the others as the file has them.
    good : numpy.ndarray
        bool, shape (pixels,): a finite flux and, where there is ivar, a weight.
    factor : float
        What the fluxes of the file were multiplied with.
    calibrated : bool or None
        Whether the flux has a physical unit; None where the file names none.
    """

    arrays: dict[str, Any]
    good: npt.NDArray[np.bool_]
    factor: float
    calibrated: bool | None

    @property
    def size(self) -> int:
        """Number of pixels."""
        return len(self.good)

    def digest(self) -> str:
        """SHA-256 of the flux as little-endian float32, hexadecimal."""
        return sha256(self.arrays["flux"].astype("<f4", copy=False)).hexdigest()

    def extent(self) -> tuple[int, int]:
        """First and last good pixel, from 0."""
        good = self.good
        return int(good.argmax()), len(good) - 1 - int(good[::-1].argmax())

    def signal_to_noise(self) -> float | None:
        """Median of flux times the root of ivar over good pixels; None without ivar."""
        if "ivar" not in self.arrays:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            ratio = _median((self.arrays["flux"] * np.sqrt(self.arrays["ivar"]))[self.good])
        return ratio if ratio is not None and np.isfinite(ratio) else None

    def bad_share(self) -> float | None:
        """Share of pixels that are masked in all exposures or have no weight, or no flux."""
        mask = self.arrays.get("and_mask")
        if mask is None and "ivar" not in self.arrays:
            return None
        fit = self.good if mask is None else self.good & (mask == 0)
        return 1 - int(np.count_nonzero(fit)) / len(fit)

    def resolution(self, sampling: float | npt.NDArray[np.float64]) -> float | None:
        """Resolving power lambda / FWHM, the median over pixels with a known dispersion.

        Parameters
        ----------
        sampling : float or numpy.ndarray
            Wavelength over the width of a pixel.
        """
        sigma = np.asarray(self.arrays["wdisp"], np.float32)
        known = sigma > 0
        if isinstance(sampling, float):
            median = _median(sigma if known.all() else sigma[known])
            return None if median is None else sampling / (median * _FWHM)
        return _median(sampling[known] / sigma[known] / _FWHM)


# What is too large for float32, or its square for the sum of `is_finite`, becomes infinite there,
# and is counted.
@np.errstate(over="ignore", invalid="ignore")
def take_pixels(spectrum: Spectrum, notes: list[str], warnings: list[str]) -> Pixels:
    """Pixels of a spectrum in the units of the lake.

    Parameters
    ----------
    spectrum : Spectrum
    notes, warnings : list of str
        What is unusual is added to them.

    Raises
    ------
    Unusable
        There is no pixel with a value and a weight, or lists have different lengths.
    """
    where = f"HDU {spectrum.hdu}"
    size = len(spectrum.flux)
    if not size:
        raise Unusable("the spectrum has no pixels", where)
    arrays: dict[str, Any] = {"flux": spectrum.flux, **spectrum.arrays}
    for name, values in spectrum.arrays.items():
        if values.shape != spectrum.flux.shape:
            raise Unusable(f"{size} values of flux, but {len(values)} of {name}", where)
    unit = spectrum.flux_unit
    scale = factor(unit) if unit else None
    if scale is not None and scale != 1:
        for name, power in (("flux", 1), ("sky", 1), ("model", 1), ("ivar", -2)):
            if name in arrays:
                arrays[name] = arrays[name].astype(np.float64) * scale**power
        notes.append(f"flux converted from {unit!r} to {UNIT}")
    elif unit and scale is None:
        warnings.append(f"the unit of the flux, {unit!r}, cannot be converted to {UNIT}")
    for name in ("flux", "ivar"):
        if name in arrays and arrays[name].dtype != np.float32:
            arrays[name] = np.asarray(arrays[name], np.float32)
    flux, ivar, mask = arrays["flux"], arrays.get("ivar"), arrays.get("and_mask")
    good = np.ones(size, np.bool_) if is_finite(flux) else np.isfinite(flux)
    if finite := int(np.count_nonzero(good)):
        if finite < size:
            warnings.append(f"flux is not finite in {size - finite} of {size} pixels")
    else:
        raise Unusable(f"flux is not finite in any of {size} pixels", where)
    if ivar is not None:
        weighted = ivar > 0
        if not is_finite(ivar):
            weighted &= ivar < np.inf
        if np.count_nonzero(weighted) < size and (
            strange := int(np.count_nonzero(ivar) - np.count_nonzero(weighted))
        ):
            arrays["ivar"] = np.where(weighted, ivar, np.float32(0))
            warnings.append(f"ivar is negative or not finite in {strange} pixels, now 0")
        good &= weighted
        if not good.any():
            raise Unusable(f"none of {size} pixels has a finite flux and ivar > 0", where)
    elif mask is not None and not (good & (mask == 0)).any():
        raise Unusable(f"none of {size} pixels has a finite flux and is not masked", where)
    if mask is not None and mask[0] and mask.all():
        warnings.append("and_mask has bits set in all pixels")
    calibrated = None if unit is None else scale is not None
    return Pixels(arrays, good, 1.0 if scale is None else scale, calibrated)


def is_finite(values: npt.NDArray[np.float32]) -> bool:
    """Whether all numbers are finite, so far as the sum of their squares can tell: never wrongly.

    A fraction of the time that a look at every number takes; squares of more than 1e38 are too
    large for it, which no flux is.
    """
    total = float(values.dot(values))
    return total - total == 0


def _median(values: npt.NDArray[Any]) -> float | None:
    """Median by selection, of numbers none of which is NaN.

    A sample tells between which values the middle lies (Floyd & Rivest 1975, CACM 18, 165), and
    few are left to be put into their places: several times faster than `numpy.median`.
    """
    size = len(values)
    if not size:
        return None
    half = size // 2
    if size >= _SAMPLED:
        sample = np.sort(values[:: size // 100])
        low, high = sample[38], sample[-38]
        below = int(np.count_nonzero(values < low))
        near = values[(values >= low) & (values <= high)]
        if below < half < below + len(near):
            values, half = near, half - below
    if size % 2:
        return float(np.partition(values, half)[half])
    parted = np.partition(values, (half - 1, half))
    return (float(parted[half - 1]) + float(parted[half])) / 2
