"""Directions on the sphere, the tangent plane, and the sky pixels X, Y that lie in it.

Formulas of the gnomonic projection: Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Side of a sky pixel and of a detector pixel, arcsec.
PIXEL_ARCSEC = 0.05
#: These pixels in a degree.
PER_DEGREE = 3600 / PIXEL_ARCSEC


def standard_coordinates(
    ra: npt.ArrayLike, dec: npt.ArrayLike, ra0: npt.ArrayLike, dec0: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """Project directions on the plane that touches the sphere at another.

    Parameters
    ----------
    ra, dec : array_like
        Directions, degrees.
    ra0, dec0 : array_like
        Where the plane touches, degrees; one point, or one for each direction.

    Returns
    -------
    xi, eta : ndarray
        East and north, degrees (radians of the plane times 180/pi); NaN for directions that
        are 90 degrees away or more.
    """
    a = np.radians(np.asarray(ra, np.float64) - np.asarray(ra0, np.float64))
    d, d0 = np.radians(np.asarray(dec, np.float64)), np.radians(dec0)
    cosine = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(a)
    cosine = np.where(cosine > 0, cosine, np.nan)
    xi = np.cos(d) * np.sin(a) / cosine
    # The half-angle keeps the digits that a difference of products would lose near the centre.
    eta = (np.sin(d - d0) + 2 * np.sin(d0) * np.cos(d) * np.sin(a / 2) ** 2) / cosine
    return np.degrees(xi), np.degrees(eta)


def directions(
    xi: npt.ArrayLike, eta: npt.ArrayLike, ra0: npt.ArrayLike, dec0: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """Give the directions of points of the tangent plane; inverse of `standard_coordinates`.

    Returns
    -------
    ra, dec : ndarray
        Degrees; ra from 0 to 360.
    """
    x, y = np.radians(np.asarray(xi, np.float64)), np.radians(np.asarray(eta, np.float64))
    d0 = np.radians(dec0)
    across = np.cos(d0) - y * np.sin(d0)
    ra = np.asarray(ra0) + np.degrees(np.arctan2(x, across))
    dec = np.degrees(np.arctan2(np.sin(d0) + y * np.cos(d0), np.hypot(x, across)))
    return np.mod(ra, 360.0), dec


@dataclass(frozen=True)
class SkyPixels:
    """The pixel system X, Y of an event list: a tangent plane with X to the west, Y to the north.

    Attributes
    ----------
    ra, dec : float
        Where the plane touches the sphere (REFXCRVL, REFYCRVL), degrees.
    x_ref, y_ref : float
        X and Y of that point (REFXCRPX, REFYCRPX).
    x_step, y_step : float
        Degrees per pixel (REFXCDLT, REFYCDLT); x_step is negative.
    """

    ra: float
    dec: float
    x_ref: float = 25921.0
    y_ref: float = 25921.0
    x_step: float = -1 / PER_DEGREE
    y_step: float = 1 / PER_DEGREE

    def of_sky(self, ra: npt.ArrayLike, dec: npt.ArrayLike) -> tuple[Floats, Floats]:
        """X and Y of directions in degrees; NaN for those on the other side of the sphere."""
        xi, eta = standard_coordinates(ra, dec, self.ra, self.dec)
        return self.x_ref + xi / self.x_step, self.y_ref + eta / self.y_step

    def to_sky(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Right ascension and declination of sky pixels, degrees."""
        xi = (np.asarray(x, np.float64) - self.x_ref) * self.x_step
        eta = (np.asarray(y, np.float64) - self.y_ref) * self.y_step
        return directions(xi, eta, self.ra, self.dec)

    def offsets(self, x: npt.ArrayLike, y: npt.ArrayLike, ra: float, dec: float) -> Floats:
        """Offsets of sky pixels from another direction, in its own tangent plane.

        Parameters
        ----------
        x, y : array_like
            Sky pixels.
        ra, dec : float
            The direction, degrees.

        Returns
        -------
        ndarray, shape (2, ...)
            To the west and to the north, units of 0.05 arcsec.
        """
        if (ra, dec) == (self.ra, self.dec):
            # The plane is the same one: no trip over the sphere, no rounding.
            west = (np.asarray(x, np.float64) - self.x_ref) * -self.x_step * PER_DEGREE
            north = (np.asarray(y, np.float64) - self.y_ref) * self.y_step * PER_DEGREE
            return np.stack([west, north])
        xi, eta = standard_coordinates(*self.to_sky(x, y), ra, dec)
        return np.stack([-xi * PER_DEGREE, eta * PER_DEGREE])

    def of_offsets(
        self, west: npt.ArrayLike, north: npt.ArrayLike, ra: float, dec: float
    ) -> tuple[Floats, Floats]:
        """X and Y of offsets from a direction; inverse of `offsets`."""
        xi = -np.asarray(west, np.float64) / PER_DEGREE
        eta = np.asarray(north, np.float64) / PER_DEGREE
        if (ra, dec) == (self.ra, self.dec):
            return self.x_ref + xi / self.x_step, self.y_ref + eta / self.y_step
        return self.of_sky(*directions(xi, eta, ra, dec))


def rounded_to_float32(ra: npt.ArrayLike, dec: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Round directions as the SAS does before it computes detector pixels.

    A right ascension near 267 degrees is then kept to 0.11 arcsec only.
    """
    return (
        np.asarray(ra, np.float32).astype(np.float64),
        np.asarray(dec, np.float32).astype(np.float64),
    )
