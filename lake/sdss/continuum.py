"""Normalisations: what is left of a spectrum's shape when its level is taken out."""

from functools import lru_cache

import numpy as np
from scipy.ndimage import correlate1d

from lake.errors import LacusError
from lake.sdss.steps import BoolArray, Facts, FloatArray, Spectra, Warnings, divide

#: The continuum is kept above this fraction of its row's greatest value.
_FLOOR = 1e-3


def smooth_continuum(
    flux: FloatArray,
    ivar: FloatArray,
    valid: BoolArray,
    *,
    bandwidth: float,
    block: int,
    depth: float,
    iterations: int,
) -> tuple[FloatArray, FloatArray]:
    """Fit a smooth continuum by local linear regression in the logarithm of wavelength.

    Blocks of neighbouring pixels are averaged first, by weight; straight lines are then fitted
    to the blocks around each block, with a Gaussian kernel (Cleveland 1979, JASA 74, 829). A
    line has no bias where the spectrum ends or has a gap, and noise hardly any, because nothing
    but the block's weight in later rounds depends on the flux: a block that lies below the fit
    by the fraction `depth` counts half, one above it likewise.

    Parameters
    ----------
    flux, ivar : ndarray of float64, shape (n, l)
        On a grid of equal steps in log wavelength; `ivar` gives the weights within a row.
    valid : ndarray of bool, shape (n, l)
    bandwidth : float
        Standard deviation of the kernel, in pixels.
    block : int
        Pixels to a block; divides l.
    depth : float
        Relative depth of a block that halves its weight.
    iterations : int
        Rounds of reweighting.

    Returns
    -------
    continuum : ndarray of float64, shape (n, l)
        Not positive where there is no flux.
    significance : ndarray of float64, shape (n, l)
        Continuum over its standard error.

    Raises
    ------
    LacusError
        `block` does not divide l.
    """
    n, size = flux.shape
    if size % block:
        raise LacusError(f"{size} pixels are no whole number of blocks of {block}")
    weights = np.where(valid, ivar, 0.0).reshape(n, -1, block)
    total = weights.sum(axis=2)
    mean = (weights * flux.reshape(n, -1, block)).sum(axis=2)
    np.divide(mean, total, out=mean, where=total > 0)
    sigma = bandwidth / block
    fit, error = _local_lines(mean, total, total, sigma)
    for _ in range(iterations):
        ratio = np.divide(mean, fit, out=np.ones_like(fit), where=fit > 0) - 1
        robust = 1 / (1 + (ratio / depth) ** 2)
        fit, error = _local_lines(mean, total * robust, total, sigma)
    significance = np.divide(fit, error, out=np.zeros_like(fit), where=error > 0)
    left, part = _interpolation(size, block)
    steps = np.diff(fit, axis=1)
    continuum = fit[:, left] + part * steps[:, left]
    return continuum, np.repeat(significance, block, axis=1)


def _local_lines(
    values: FloatArray, weights: FloatArray, information: FloatArray, sigma: float
) -> tuple[FloatArray, FloatArray]:
    """Fit a line around every block; give its value there and a standard error."""
    reach = int(np.ceil(4 * sigma))
    u = np.arange(-reach, reach + 1) / sigma
    kernel = np.exp(-0.5 * u**2)

    def moment(data: FloatArray, power: int) -> FloatArray:
        return np.asarray(correlate1d(data, kernel * u**power, axis=1, mode="constant"))

    s0, s1, s2 = (moment(weights, power) for power in (0, 1, 2))
    t0, t1 = moment(weights * values, 0), moment(weights * values, 1)
    # Ridge on the slope alone: one lone block still has a level.
    s2 = s2 + 1e-3 * s0
    determinant = s0 * s2 - s1**2
    fit = np.divide(s2 * t0 - s1 * t1, determinant, out=np.zeros_like(s0), where=determinant > 0)
    inside = moment(information, 0)
    error = np.divide(1.0, np.sqrt(inside), out=np.zeros_like(inside), where=inside > 0)
    return fit, error


@lru_cache(maxsize=8)
def _interpolation(size: int, block: int) -> tuple[np.ndarray, FloatArray]:
    """Left neighbour of every pixel among the blocks' centres, and the part beyond it."""
    place = (np.arange(size) - 0.5 * (block - 1)) / block
    left = np.clip(np.floor(place).astype(np.intp), 0, size // block - 2)
    return left, place - left


def normalise_continuum(
    spectra: Spectra,
    facts: Facts,
    *,
    bandwidth: float,
    block: int,
    depth: float,
    iterations: int,
    significance: float,
    fill: float,
) -> tuple[Spectra, Warnings]:
    """Divide by a smooth continuum (`smooth_continuum`).

    Parameters
    ----------
    spectra : Spectra
        On a grid of equal steps in log wavelength.
    facts : Facts
    bandwidth, block, depth, iterations
        See `smooth_continuum`.
    significance : float
        A pixel stays valid where the continuum exceeds this many of its standard errors.
    fill : float
        Flux of the pixels that are not valid.

    Returns
    -------
    Spectra
        Continuum at 1.
    """
    known = spectra.has_ivar[:, None]
    continuum, reached = smooth_continuum(
        spectra.flux,
        np.where(known, spectra.ivar, 1.0),
        spectra.valid,
        bandwidth=bandwidth,
        block=block,
        depth=depth,
        iterations=iterations,
    )
    usable = continuum > _FLOOR * np.where(spectra.valid, continuum, 0.0).max(axis=1, keepdims=True)
    usable &= (reached > significance) | ~known
    lost = np.count_nonzero(spectra.valid & ~usable, axis=1)
    notes = {int(i): f"{lost[i]} pixels have no continuum" for i in np.flatnonzero(lost)}
    return divide(spectra, continuum, usable, fill), notes


def normalise_median(spectra: Spectra, facts: Facts, *, fill: float) -> tuple[Spectra, Warnings]:
    """Divide by the median flux of the valid pixels: the level goes, the shape stays."""
    level = np.full((len(spectra), 1), np.nan)
    for i in np.flatnonzero(spectra.valid.any(axis=1)):
        level[i] = np.median(spectra.flux[i, spectra.valid[i]])
    usable = level > 0
    notes = {int(i): "median flux is not positive" for i in np.flatnonzero(~usable)}
    return divide(spectra, level, usable, fill), notes


def normalise_minmax(spectra: Spectra, facts: Facts, *, fill: float) -> tuple[Spectra, Warnings]:
    """Map the valid pixels of each spectrum linearly to 0 ... 1.

    A constant spectrum has no such map: it becomes 0 everywhere, with a warning.
    """
    low = np.where(spectra.valid, spectra.flux, np.inf).min(axis=1, keepdims=True)
    high = np.where(spectra.valid, spectra.flux, -np.inf).max(axis=1, keepdims=True)
    usable = high > low
    low = np.where(usable, low, spectra.flux[:, :1])
    notes = {int(i): "constant flux: mapped to 0" for i in np.flatnonzero(~usable)}
    shifted = Spectra(
        spectra.wavelength,
        spectra.flux - low,
        spectra.ivar,
        spectra.valid,
        spectra.has_ivar,
        spectra.n_pixels,
    )
    scale = np.where(usable, high - low, 1.0)
    return divide(shifted, scale, np.ones_like(usable), fill), notes
