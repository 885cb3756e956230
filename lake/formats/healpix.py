"""HEALPix pixels in the nested scheme, numbered at order 29, and the tiling of a catalogue.

Source of the pixels: Górski et al. 2005, ApJ 622, 759, as astropy-healpix computes them. At order
k the sky has 12 x 4^k pixels; pixel p of order k holds the pixels 4p to 4p+3 of order k+1, so
that a pixel is a range of numbers at order 29.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from astropy import units
from astropy_healpix import lonlat_to_healpix

# The deepest order whose numbers are 64-bit integers: pixels of 0.4 milliarcseconds.
DEEPEST = 29


class Tile(NamedTuple):
    """A pixel of order `order`, and how many rows lie in it."""

    order: int
    pixel: int
    rows: int

    @property
    def span(self) -> tuple[int, int]:
        """First pixel at order 29, and the one after the last."""
        return _span(self.order, self.pixel)


def _span(order: int, pixel: int) -> tuple[int, int]:
    shift = 2 * (DEEPEST - order)
    return pixel << shift, (pixel + 1) << shift


def pixels_at_29(
    ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Pixel of each position.

    Parameters
    ----------
    ra, dec : ndarray of float64, shape (n,)
        Degrees; ra of any turn, dec in -90..90, all finite.

    Returns
    -------
    ndarray of int64, shape (n,)
        In 0..12 x 4^29 - 1.
    """
    if not len(ra):
        return np.zeros(0, np.int64)
    # Turns are taken off first: the sine of several is not quite that of none.
    turned = np.mod(ra, 360) * units.deg
    found = lonlat_to_healpix(turned, dec * units.deg, nside=1 << DEEPEST, order="nested")
    return np.asarray(found, np.int64)


def tiles(count: Callable[[int, int], int], most_rows: int) -> Iterator[Tile]:
    """Cut the sky into the largest pixels that hold at most `most_rows` rows.

    Source: IVOA Note HATS 1.0 (Caplar et al. 2025), section Adaptive Tiling Algorithm.

    Parameters
    ----------
    count : callable
        Number of rows in pixels ``start`` to ``stop - 1`` of order 29.
    most_rows : int
        Rows in a tile. Where more lie in one pixel of order 29, that pixel is a tile.

    Yields
    ------
    Tile
        In the order of the sky (of pixels at order 29); pixels without rows have none.
    """
    waiting = [(0, pixel) for pixel in reversed(range(12))]
    while waiting:
        order, pixel = waiting.pop()
        rows = count(*_span(order, pixel))
        if 0 < rows <= most_rows or (rows and order == DEEPEST):
            yield Tile(order, pixel, rows)
        elif rows:
            waiting += [(order + 1, 4 * pixel + child) for child in (3, 2, 1, 0)]
