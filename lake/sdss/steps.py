"""The steps that bring spectra into one form: masks, frames, one grid, one length.

Every step takes a batch and gives a new one, with warnings by row. A row's result does not
depend on the rows beside it, so that a batch of one gives the same numbers as a batch of many.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lake.sdss.wavelengths import SPEED_OF_LIGHT_KMS

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
#: What to tell of a row, by its index in the batch.
Warnings = dict[int, str]


#: Bits of SPPIXMASK that make a pixel unusable when every exposure has them (and_mask), from
#: https://www.sdss3.org/dr10/algorithms/bitmask_sppixmask.php (sdssMaskbits.par of idlutils).
#: Left out on purpose: NODATA (24) is to be ignored in favour of ivar = 0 since DR9; BADFLAT (2),
#: MANYBADCOLUMNS (4) and MANYREJECTED (5) hold for a whole half of a spectrum whose ivar already
#: carries the loss; the rest is information.
UNUSABLE_BITS = {
    "NOPLUG": 0,
    "BADTRACE": 1,
    "BADARC": 3,
    "FULLREJECT": 18,
    "NOSKY": 22,
    "BRIGHTSKY": 23,
    "BADFLUXFACTOR": 26,
    "BADSKYCHI": 27,
    "REDMONSTER": 28,
}


@dataclass(frozen=True)
class Grid:
    """Pixels of equal width in log10 of the vacuum wavelength.

    Parameters
    ----------
    start : float
        log10 of the first pixel's centre in Angstrom.
    step : float
        Width of a pixel in dex.
    size : int
        Number of pixels.
    """

    start: float
    step: float
    size: int

    @property
    def wavelength(self) -> FloatArray:
        """Centres of the pixels in Angstrom, shape (size,)."""
        return np.asarray(10 ** (self.start + self.step * np.arange(self.size)))

    @property
    def edges(self) -> FloatArray:
        """Edges of the pixels in Angstrom, shape (size + 1,)."""
        return np.asarray(10 ** (self.start + self.step * (np.arange(self.size + 1) - 0.5)))


#: The grid of all resampled spectra: 3,548 to 10,400 Angstrom in pixels of 138 km/s.
GRID = Grid(3.55, 2e-4, 2336)


@dataclass(frozen=True)
class Spectra:
    """A batch of n spectra, padded at the end to the longest one's l pixels.

    Parameters
    ----------
    wavelength : ndarray of float64, shape (n, l)
        Angstrom, increasing; NaN in a row without a wavelength solution.
    flux : ndarray of float64, shape (n, l)
        Flux density per Angstrom, in any unit.
    ivar : ndarray of float64, shape (n, l)
        Inverse variance of `flux`; NaN throughout a row whose file has none.
    valid : ndarray of bool, shape (n, l)
        Pixels to be used.
    has_ivar : ndarray of bool, shape (n,)
        Which rows have an inverse variance at all.
    n_pixels : ndarray of int64, shape (n,)
        Length of each spectrum; what follows is padding.
    """

    wavelength: FloatArray
    flux: FloatArray
    ivar: FloatArray
    valid: BoolArray
    has_ivar: BoolArray
    n_pixels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.flux)


@dataclass(frozen=True)
class Facts:
    """What is known of the spectra of a batch beside their pixels.

    Parameters
    ----------
    velocity_kms : ndarray of float64, shape (n,)
        Velocity or c z in km/s that is to be taken out; NaN where unknown.
    ebv : ndarray of float64, shape (n,)
        E(B-V) of Schlegel, Finkbeiner & Davis (1998) in mag; NaN where unknown.
    air, vacuum : ndarray of bool, shape (n,)
        In which frame the wavelengths are; neither where it is unknown.
    and_mask : ndarray of int32, shape (n, l)
        Bits that every exposure of a pixel has; 0 where the file has none.
    """

    velocity_kms: FloatArray
    ebv: FloatArray
    air: BoolArray
    vacuum: BoolArray
    and_mask: npt.NDArray[np.int32]


def mask_bad_pixels(
    spectra: Spectra, facts: Facts, *, unusable: Sequence[str] = tuple(UNUSABLE_BITS)
) -> tuple[Spectra, Warnings]:
    """Leave out pixels that are flagged, without weight or not finite.

    Parameters
    ----------
    spectra : Spectra
    facts : Facts
    unusable : sequence of str, optional
        Names in `UNUSABLE_BITS`.

    Returns
    -------
    Spectra
        The flux of what is left out is 0, its inverse variance too.
    """
    bits = np.int32(sum(1 << UNUSABLE_BITS[name] for name in unusable))
    known = spectra.has_ivar
    valid = spectra.valid & ((facts.and_mask & bits) == 0) & np.isfinite(spectra.flux)
    valid &= (np.isfinite(spectra.ivar) & (spectra.ivar > 0)) | ~known[:, None]
    flux = np.where(valid, spectra.flux, 0.0)
    ivar = np.where(valid | ~known[:, None], spectra.ivar, 0.0)
    notes = {
        int(i): "no inverse variance in the file: noise unknown" for i in np.flatnonzero(~known)
    }
    return replace(spectra, flux=flux, ivar=ivar, valid=valid), notes


def vacuum_to_air(wavelength: FloatArray) -> FloatArray:
    """Wavelengths in standard air from those in vacuum.

    Parameters
    ----------
    wavelength : ndarray
        Vacuum wavelengths in Angstrom; below 2,000 Angstrom they stay, by convention.

    Returns
    -------
    ndarray
        Ciddor (1996, Applied Optics 35, 1566), equation 1: dry air of 15 deg C, 101,325 Pa and
        450 ppm CO2.
    """
    wave_number_2 = (1e4 / np.asarray(wavelength)) ** 2
    n = 1 + 0.05792105 / (238.0185 - wave_number_2) + 0.00167917 / (57.362 - wave_number_2)
    return np.where(wavelength < 2000, wavelength, wavelength / n)


def air_to_vacuum_wavelength(wavelength: FloatArray) -> FloatArray:
    """Wavelengths in vacuum from those in standard air: the inverse of `vacuum_to_air`.

    Parameters
    ----------
    wavelength : ndarray
        Air wavelengths in Angstrom.

    Returns
    -------
    ndarray
        Exact to 1e-8 Angstrom: three steps of a fixed-point iteration.
    """
    vacuum = np.asarray(wavelength, dtype=np.float64)
    for _ in range(3):
        vacuum = vacuum + (wavelength - vacuum_to_air(vacuum))
    return vacuum


def air_to_vacuum(spectra: Spectra, facts: Facts) -> tuple[Spectra, Warnings]:
    """Put wavelengths that were given in air into vacuum.

    The refraction happened in the observatory's air, so this comes before any shift of frame.
    """
    notes = {
        int(i): "air or vacuum is not said: taken as vacuum"
        for i in np.flatnonzero(~facts.air & ~facts.vacuum)
    }
    if not facts.air.any():
        return spectra, notes
    wavelength = spectra.wavelength.copy()
    wavelength[facts.air] = air_to_vacuum_wavelength(wavelength[facts.air])
    return replace(spectra, wavelength=wavelength), notes


def rest_frame(spectra: Spectra, facts: Facts) -> tuple[Spectra, Warnings]:
    """Divide wavelengths by 1 + z.

    Catalogues give velocities as c z, so z = v / c holds for stars and quasars alike (against
    the longitudinal Doppler formula this is 0.1 km/s at 250 km/s). The flux density stays as it
    was observed: the constant factor 1 + z is no concern of a normalised spectrum.
    """
    z = facts.velocity_kms / SPEED_OF_LIGHT_KMS
    usable = z > -1
    notes = {
        int(i): "no velocity: not shifted to rest"
        if np.isnan(z[i])
        else f"velocity {facts.velocity_kms[i]:g} km/s is no redshift: not shifted to rest"
        for i in np.flatnonzero(~usable)
    }
    factor = 1 + np.where(usable, z, 0.0)
    return replace(spectra, wavelength=spectra.wavelength / factor[:, None]), notes


def pixel_edges(wavelength: FloatArray) -> FloatArray:
    """Edges of pixels that touch: midway between their centres.

    Parameters
    ----------
    wavelength : ndarray, shape (l,)
        Centres, increasing; l >= 2.

    Returns
    -------
    ndarray, shape (l + 1,)
    """
    edges = np.empty(len(wavelength) + 1)
    edges[1:-1] = 0.5 * (wavelength[1:] + wavelength[:-1])
    edges[0] = 2 * wavelength[0] - edges[1]
    edges[-1] = 2 * wavelength[-1] - edges[-2]
    return edges


def resample(
    spectra: Spectra, facts: Facts, *, start: float, step: float, size: int, coverage: float
) -> tuple[Spectra, Warnings]:
    """Rebin to one grid, keeping the flux.

    A new pixel is the mean of the valid old ones that it overlaps, weighted by the overlap in
    Angstrom. Its variance is sum(w_i d_i var_i) / sum(w_i)^2 for overlaps w_i and old widths
    d_i: noise is spread evenly over an old pixel, so that the information of a spectrum is
    neither gained nor lost where edges do not meet (neighbours share the rest as covariance).

    Parameters
    ----------
    spectra : Spectra
    facts : Facts
    start, step, size
        See `Grid`.
    coverage : float
        The least fraction of a new pixel that valid old ones must cover; otherwise it is not
        valid, with flux 0 and inverse variance 0.

    Returns
    -------
    Spectra
        On the grid. A row without a wavelength solution has no valid pixel.
    """
    grid = Grid(start, step, size)
    edges, n = grid.edges, len(spectra)
    enough = coverage * np.diff(edges)
    flux, ivar = np.zeros((n, size)), np.zeros((n, size))
    valid = np.zeros((n, size), dtype=bool)
    notes: Warnings = {}
    known = spectra.has_ivar
    ivar[~known] = np.nan
    for i in range(n):
        length = int(spectra.n_pixels[i])
        wavelength = spectra.wavelength[i, :length]
        if length < 2 or np.isnan(wavelength[0]):
            notes[i] = "no wavelength solution: cannot be resampled"
            continue
        old = pixel_edges(wavelength)
        width = np.diff(old)
        good = spectra.valid[i, :length]
        # Overlaps; overlaps by flux; by variance and old width.
        content = np.zeros((2 + int(known[i]), length))
        content[0] = width * good
        np.multiply(content[0], spectra.flux[i, :length], out=content[1])
        if known[i]:
            np.divide(width**2, spectra.ivar[i, :length], out=content[2], where=good)
        total, weighted, *noise = _between(content, np.interp(edges, old, np.arange(length + 1.0)))
        valid[i] = covered = total > enough
        np.divide(weighted, total, out=flux[i], where=covered)
        if noise:
            np.divide(total**2, noise[0], out=ivar[i], where=covered)
    pixels = np.full(n, size, dtype=np.int64)
    shared = np.broadcast_to(grid.wavelength, (n, size))
    return Spectra(shared, flux, ivar, valid, known, pixels), notes


def _between(content: FloatArray, place: FloatArray) -> FloatArray:
    """Content between places among old pixels, given in whole and broken old pixels.

    Each interval is summed by itself: no pixel's size spoils the sums of others.
    """
    first = np.minimum(place.astype(np.intp), content.shape[1] - 1)
    broken = content.take(first, axis=1) * (place - first)
    whole = np.add.reduceat(content, first, axis=1)[:, :-1]
    # Within one old pixel `reduceat` gives that pixel, not the empty sum.
    whole[:, first[1:] == first[:-1]] = 0.0
    return whole + np.diff(broken, axis=1)


def pad_or_crop(
    spectra: Spectra, facts: Facts, *, length: int, fill: float
) -> tuple[Spectra, Warnings]:
    """Give every spectrum the same number of pixels, by index.

    Parameters
    ----------
    spectra : Spectra
    facts : Facts
    length : int
        Pixels of the result: the rest is cut off, what is missing is added at the end.
    fill : float
        Flux of what is added; it is not valid, its wavelength NaN, its inverse variance 0.

    Returns
    -------
    Spectra
    """
    have = spectra.flux.shape[1]
    real = np.arange(length) < spectra.n_pixels[:, None]
    pixels = np.full(len(spectra), length, dtype=np.int64)
    if have == length and real.all():
        return spectra, {}

    def fitted(values: npt.NDArray, empty: float | bool) -> npt.NDArray:
        out = np.full((len(spectra), length), empty, dtype=values.dtype)
        out[:, :have] = values[:, :length]
        out[~real] = empty
        return out

    ivar = fitted(spectra.ivar, 0.0)
    ivar[~spectra.has_ivar] = np.nan
    return Spectra(
        fitted(spectra.wavelength, np.nan),
        fitted(spectra.flux, fill),
        ivar,
        fitted(spectra.valid, False),
        spectra.has_ivar,
        pixels,
    ), {}


def divide(spectra: Spectra, scale: FloatArray, usable: BoolArray, fill: float) -> Spectra:
    """Divide flux by a scale, and its inverse variance accordingly.

    Parameters
    ----------
    spectra : Spectra
    scale : ndarray, shape (n, l) or (n, 1)
    usable : ndarray of bool, shape (n, l) or (n, 1)
        Where the scale means something; other pixels are not valid in the result, nor are those
        of absurd fluxes, whose weight is beyond single precision.
    fill : float
        Flux of the pixels that are not valid; their inverse variance is 0.

    Returns
    -------
    Spectra
    """
    safe = np.where(usable, scale, 1.0)
    known = spectra.has_ivar[:, None]
    weight = spectra.ivar * safe**2
    valid = spectra.valid & usable & ((weight <= np.finfo(np.float32).max) | ~known)
    flux = np.where(valid, spectra.flux / safe, fill)
    ivar = np.where(valid | ~known, weight, 0.0)
    return replace(spectra, flux=flux, ivar=ivar, valid=valid)
