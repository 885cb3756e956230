"""Normalisations: what is left of a spectrum's shape when its level is taken out."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import correlate1d

from lake.errors import LacusError
from lake.sdss.steps import BoolArray, Facts, FloatArray, Spectra, Warnings, divide


def smooth_continuum(
    flux: FloatArray,
    variance: FloatArray,
    valid: BoolArray,
    *,
    bandwidth: float,
    block: int,
    depth: float,
    iterations: int,
    lever: float,
) -> tuple[FloatArray, FloatArray]:
    """Fit a smooth continuum by local linear regression in the logarithm of wavelength.

    Blocks of neighbouring pixels are averaged first; straight lines are then fitted to the
    blocks around each block, with a Gaussian kernel (Cleveland 1979, JASA 74, 829). A line has
    little bias where the spectrum ends or has a gap. Valid pixels count alike whatever their
    variance, since photon noise would give the bottoms of lines the most weight. Rounds of
    reweighting lessen blocks far from the fit, above and below alike, so that noise does not
    move the continuum: it is the same at every signal-to-noise ratio.

    Parameters
    ----------
    flux, variance : ndarray of float64, shape (n, l)
        On a grid of equal steps in log wavelength; finite where valid.
    valid : ndarray of bool, shape (n, l)
    bandwidth : float
        Standard deviation of the kernel, in pixels.
    block : int
        Pixels to a block; divides l.
    depth : float
        Relative distance from the fit that halves the weight of a block.
    iterations : int
        Rounds of reweighting.
    lever : float
        A line may leave the weighted mean of its blocks by this factor. A free slope swings
        where a spectrum ends, a mean alone is off there in a steep one; 1.1 changes models
        least when they are cut to 3,800 - 9,200 Angstrom.

    Returns
    -------
    continuum : ndarray of float64, shape (n, l)
        Not positive where there is no flux.
    error : ndarray of float64, shape (n, l)
        Its standard error from `variance`.

    Raises
    ------
    LacusError
        `block` does not divide l.
    """
    n, size = flux.shape
    if size % block:
        raise LacusError(f"{size} pixels are no whole number of blocks of {block}")

    def summed(values: FloatArray) -> FloatArray:
        return np.where(valid, values, 0.0).reshape(n, -1, block).sum(axis=2)

    count = np.count_nonzero(valid.reshape(n, -1, block), axis=2).astype(np.float64)
    filled = np.maximum(count, 1)
    mean = summed(flux) / filled
    weights = count
    fit = _local_lines(mean, weights, bandwidth / block, lever)
    for _ in range(iterations):
        distance = np.divide(mean, fit, out=np.ones_like(fit), where=fit > 0) - 1
        weights = count / (1 + (distance / depth) ** 2)
        fit = _local_lines(mean, weights, bandwidth / block, lever)
    kernel, _ = _kernel(bandwidth / block)
    noise = _moment(weights**2 * summed(variance) / filled**2, kernel**2)
    total = _moment(weights, kernel)
    error = np.divide(np.sqrt(noise), total, out=np.zeros_like(total), where=total > 0)
    left, part = _interpolation(size, block)
    continuum = fit[:, left] + part * np.diff(fit, axis=1)[:, left]
    return continuum, np.repeat(error, block, axis=1)


@lru_cache(maxsize=8)
def _kernel(sigma: float) -> tuple[FloatArray, FloatArray]:
    """Gaussian weights of neighbouring blocks, and their distances in units of sigma."""
    reach = int(np.ceil(4 * sigma))
    distance = np.arange(-reach, reach + 1) / sigma
    return np.exp(-0.5 * distance**2), distance


def _moment(values: FloatArray, kernel: FloatArray) -> FloatArray:
    """Sum of every row's values around each of its places, weighted by a kernel."""
    return np.asarray(correlate1d(values, kernel, axis=1, mode="constant"))


def _local_lines(values: FloatArray, weights: FloatArray, sigma: float, lever: float) -> FloatArray:
    """Fit a straight line around every block by weighted least squares; give its value there."""
    kernel, distance = _kernel(sigma)
    s0, s1, s2 = (_moment(weights, kernel * distance**power) for power in (0, 1, 2))
    t0, t1 = (_moment(weights * values, kernel * distance**power) for power in (0, 1))
    determinant = s0 * s2 - s1**2
    level = np.divide(t0, s0, out=np.zeros_like(s0), where=s0 > 0)
    # A lone block has a level, but no slope.
    sloped = determinant > 1e-3 * s0**2
    line = np.divide(s2 * t0 - s1 * t1, determinant, out=level.copy(), where=sloped)
    low, high = level / lever, level * lever
    return np.clip(line, np.minimum(low, high), np.maximum(low, high))


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
    lever: float,
    floor: float,
    significance: float,
    fill: float,
) -> tuple[Spectra, Warnings]:
    """Divide by a smooth continuum (`smooth_continuum`).

    Parameters
    ----------
    spectra : Spectra
        On a grid of equal steps in log wavelength.
    facts : Facts
    bandwidth, block, depth, iterations, lever
        See `smooth_continuum`.
    floor : float
        A pixel stays valid where the continuum exceeds this fraction of its row's median, ...
    significance : float
        ... and this many of its own standard errors, where these are known.
    fill : float
        Flux of the pixels that are not valid.

    Returns
    -------
    Spectra
        Continuum at 1.
    """
    weighted = spectra.ivar > 0
    variance = np.divide(1.0, spectra.ivar, out=np.zeros_like(spectra.ivar), where=weighted)
    continuum, error = smooth_continuum(
        spectra.flux,
        variance,
        spectra.valid,
        bandwidth=bandwidth,
        block=block,
        depth=depth,
        iterations=iterations,
        lever=lever,
    )
    middle = np.zeros((len(spectra), 1))
    for i in np.flatnonzero(spectra.valid.any(axis=1)):
        middle[i] = np.median(continuum[i, spectra.valid[i]])
    usable = (continuum > floor * np.maximum(middle, 0)) & (continuum > significance * error)
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
    shifted = replace(spectra, flux=spectra.flux - low)
    scale = np.where(usable, high - low, 1.0)
    return divide(shifted, scale, np.ones_like(usable), fill), notes
