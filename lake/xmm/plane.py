"""The celestial coordinates of an image: where its pixels, and boxes of them, lie on the sky."""

import warnings

import numpy as np

from lake.errors import InputError
from lake.formats.fits_hdu import HDU
from lake.xmm.boxes import Boxes
from lake.xmm.shapes import Regions, make
from lake.xmm.sky import Floats, standard_coordinates

_ARCSEC = 3600.0
#: Pixels whose axes are further than this from a right angle are no boxes (degrees).
_MOST_SKEW = 1.0


class Plane:
    """The celestial coordinates of an image.

    Parameters
    ----------
    hdu : HDU
        With the keywords of any projection and system that astropy knows.

    Raises
    ------
    InputError
        There are none, or they contradict each other.
    """

    def __init__(self, hdu: HDU) -> None:
        from astropy.io.fits import Header
        from astropy.wcs import WCS
        from astropy.wcs.utils import wcs_to_celestial_frame

        header = Header.fromstring(hdu.header.raw)
        with warnings.catch_warnings():
            # Of keywords that other software wrote in its own way; what matters is checked below.
            warnings.simplefilter("ignore")
            try:
                self._wcs = WCS(header).celestial
                self._frame = wcs_to_celestial_frame(self._wcs)
            except Exception as error:  # wcslib and astropy raise errors of every kind
                self._refuse(hdu, str(error))
        if self._wcs.naxis != 2:
            self._refuse(hdu, "CTYPE1 and CTYPE2 name no projection of the sky")
        self._hdu = hdu

    @staticmethod
    def _refuse(hdu: HDU, why: str) -> None:
        raise InputError(
            hdu.path, f"has no coordinates of the sky: {why.strip().splitlines()[0]}",
            f"HDU {hdu.index}",
        )  # fmt: skip

    def _sky(self, column: Floats, row: Floats) -> tuple[Floats, Floats]:
        """Right ascension and declination of places in pixels from 0, degrees."""
        from astropy.coordinates import FK5, ICRS, SkyCoord

        a, b = self._wcs.wcs_pix2world(column, row, 0)
        if self._wcs.wcs.lng == 1:
            a, b = b, a
        # Said in full: by default a place keeps the equinox that it was given for.
        fk5 = FK5(equinox="J2000")
        if isinstance(self._frame, ICRS) or self._frame == fk5:
            return a, b
        there = SkyCoord(a, b, unit="deg", frame=self._frame).transform_to(fk5)
        return there.ra.deg, there.dec.deg

    def regions(self, boxes: Boxes) -> Regions:
        """Give boxes of pixels as rotated boxes on the sky.

        Parameters
        ----------
        boxes : ndarray of int64, shape (n, 4)
            Column and row of the first pixel (from 0), columns, rows.

        Returns
        -------
        Regions
            Degrees (FK5, J2000) and arcsec; angles are those at the centre of each box.

        Raises
        ------
        InputError
            Pixels lie outside of the projection, or are no rectangles on the sky.
        """
        column, row = boxes[:, 0] + (boxes[:, 2] - 1) / 2, boxes[:, 1] + (boxes[:, 3] - 1) / 2
        ra, dec = self._sky(column, row)
        if not np.isfinite(ra).all():
            raise InputError(
                self._hdu.path, "has pixels outside of its projection", f"HDU {self._hdu.index}"
            )
        sides = []
        for dx, dy in ((0.5, 0.0), (0.0, 0.5)):
            ends = [self._sky(column + s * dx, row + s * dy) for s in (1, -1)]
            (xi1, eta1), (xi0, eta0) = (standard_coordinates(*e, ra, dec) for e in ends)
            # To the west and to the north, arcsec per pixel.
            sides.append((_ARCSEC * (xi0 - xi1), _ARCSEC * (eta1 - eta0)))
        (west, north), (west2, north2) = sides
        along, across = np.hypot(west, north), np.hypot(west2, north2)
        skew = np.degrees(np.arcsin(np.abs(west * west2 + north * north2) / (along * across)))
        if (skew > _MOST_SKEW).any():
            raise InputError(
                self._hdu.path, f"its pixels are no rectangles: {skew.max():.1f} degrees askew",
                f"HDU {self._hdu.index}",
            )  # fmt: skip
        r = np.stack([along * boxes[:, 2], across * boxes[:, 3]], axis=1)
        angle = np.mod(np.degrees(np.arctan2(north, west)), 360.0)
        return make(["ROTBOX"] * len(boxes), ra, dec, r, angle)

    def scale(self, shape: tuple[int, ...]) -> float:
        """Root of the area of the pixel in the middle of an image, arcsec."""
        middle = self.regions(np.array([[shape[1] // 2, shape[0] // 2, 1, 1]]))
        return float(np.sqrt(middle.r[0, 0] * middle.r[0, 1]))
