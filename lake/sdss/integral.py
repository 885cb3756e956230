"""Integrals over features of spectra on the common grid, and what a fitted continuum takes off."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d

from lake.sdss.steps import BoolArray, FloatArray


class Integral:
    """Sums of rows between places among their pixels; whole numbers are the pixels' centres.

    Parameters
    ----------
    row : ndarray of int
        Row of each interval.
    first, last : ndarray of float64
        First and last pixel of each, of a shape that goes with `row`.
    """

    def __init__(self, row: npt.NDArray[np.integer], first: FloatArray, last: FloatArray) -> None:
        self.row, self.ends = row, (first + 0.5, last + 0.5)

    def __call__(self, content: npt.NDArray) -> FloatArray:
        """Sums of a content, shape (n, l), over the intervals."""
        total = np.zeros((content.shape[0], content.shape[1] + 1))
        np.cumsum(content, axis=1, out=total[:, 1:])
        low, high = (self._at(total, end) for end in self.ends)
        return high - low

    def _at(self, total: FloatArray, place: FloatArray) -> FloatArray:
        pixel = np.clip(np.floor(place).astype(np.intp), 0, total.shape[1] - 2)
        part = place - pixel
        return total[self.row, pixel] * (1 - part) + total[self.row, pixel + 1] * part


def own_dip(
    row: npt.NDArray[np.int64],
    peak: npt.NDArray[np.int64],
    first: FloatArray,
    last: FloatArray,
    drop: FloatArray,
    valid: BoolArray,
    *,
    bandwidth: float,
    block: int,
    depth: float,
) -> FloatArray:
    """How far each feature pulls down the continuum that was fitted to its spectrum.

    A local linear fit (`lake.sdss.continuum.smooth_continuum`) that passes over a line follows
    it: by the mean of what the line takes off the blocks around it, weighted by the kernel and
    by the lesser weight of blocks far from the fit. The lever of the fit is left out.

    Parameters
    ----------
    row, peak : ndarray of int64, shape (m,)
        Spectrum and pixel of each feature.
    first, last : ndarray of float64, shape (m,)
        Its first and last pixel; m >= 1.
    drop : ndarray of float64, shape (n, l)
        1 less the flux over the fitted continuum; 0 where not valid.
    valid : ndarray of bool, shape (n, l)
    bandwidth, block, depth
        As for `lake.sdss.continuum.smooth_continuum`.

    Returns
    -------
    ndarray of float64, shape (m,)
        Dip of the continuum there, relative to it; below 0 for emission.
    """
    count = np.count_nonzero(valid.reshape(len(valid), -1, block), axis=2).astype(np.float64)
    start = np.floor((first + 0.5) / block).astype(np.intp)
    block_of = start[:, None] + np.arange(int((last - first).max()) // block + 2)
    low, high = (
        np.clip(end[:, None] + 0.5, block_of * block, (block_of + 1) * block) - 0.5
        for end in (first, last)
    )
    # Behind the last pixel there is nothing left of a feature.
    block_of = np.minimum(block_of, count.shape[1] - 1)
    inside = Integral(row[:, None], low, high)
    dropped, pixels = inside(drop), inside(valid * 1.0)
    distance = (block_of + 0.5) * block - 0.5 - peak[:, None]
    nearness = np.exp(-0.5 * (distance / bandwidth) ** 2)
    filled = np.maximum(count[row[:, None], block_of], 1)
    total = _total_weight(count, bandwidth / block)[row, peak // block]
    dip = np.zeros(len(row))
    # What a block drops is to be counted from the continuum without the dip.
    for _ in range(3):
        whole = dropped * (1 - dip[:, None]) + dip[:, None] * pixels
        weight = 1 / (1 + (whole / filled / depth) ** 2)
        pull = (nearness * weight * whole).sum(axis=1)
        left = total - (nearness * (1 - weight) * pixels).sum(axis=1)
        dip = np.divide(pull, left, out=np.zeros_like(pull), where=left > 0)
    return dip


def _total_weight(count: FloatArray, sigma: float) -> FloatArray:
    """What the weight 1 of a pixel is divided by in the fit at its own block, shape (n, blocks)."""
    reach = int(np.ceil(4 * sigma))
    distance = np.arange(-reach, reach + 1) / sigma
    kernel = np.exp(-0.5 * distance**2)
    s0, s1, s2 = (
        correlate1d(count, kernel * distance**power, axis=1, mode="constant") for power in (0, 1, 2)
    )
    determinant = s0 * s2 - s1**2
    return np.divide(determinant, s2, out=s0.copy(), where=determinant > 1e-3 * s0**2)
