"""Positions that a user gives, cones, and the bands of the sky that requests are cut into."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.errors import InputError, UsageError
from lake.formats.sexagesimal import degrees

FloatArray = npt.NDArray[np.float64]

_UNITS = {"deg": 1.0, "°": 1.0, "arcmin": 1 / 60, "'": 1 / 60, "arcsec": 1 / 3600, '"': 1 / 3600}
_ANGLE = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(\D*)")

#: Degrees below which a band is not halved any more.
_NARROWEST = 1e-4
#: Degrees by which the box about a circle is wider on each side.
_SLACK = 1e-9


def angle(text: str, unit: str) -> float:
    """Degrees of a positive angle with its unit, as ``10arcmin``.

    Parameters
    ----------
    text : str
        Units are deg, arcmin and arcsec.
    unit : str
        What a number without a unit has.

    Raises
    ------
    UsageError
        If it is none.
    """
    found = _ANGLE.fullmatch(text.strip())
    try:
        value = float(found[1]) * _UNITS[found[2].strip() or unit] if found else 0.0
    except (ValueError, KeyError):
        value = 0.0
    if not value > 0:
        raise UsageError(f"{text!r} is not an angle such as 1arcsec, 10arcmin or 0.5deg")
    return value


@dataclass(frozen=True)
class Band:
    """Right ascensions from one value up to another, without it, in degrees."""

    low: float
    high: float

    @property
    def name(self) -> str:
        """For names of files; sorts as the bands lie."""
        return f"ra{self.low:010.6f}-{self.high:010.6f}"

    def halves(self) -> "tuple[Band, Band] | None":
        """Both halves; None if the band is too narrow."""
        if self.high - self.low < _NARROWEST:
            return None
        middle = (self.low + self.high) / 2
        return Band(self.low, middle), Band(middle, self.high)


def bands(
    ra: FloatArray, most: int, band: Band = Band(0.0, 360.0)
) -> Iterator[tuple[Band, npt.NDArray[np.intp]]]:
    """Cut positions into bands of at most so many, by halving those that hold more.

    The edges do not depend on where the others lie: a new position changes the band that it is
    in, and no other.

    Parameters
    ----------
    ra : ndarray, shape (n,)
        Degrees, 0 <= ra < 360.
    most : int
    band : Band
        What is cut; positions elsewhere are passed over.

    Yields
    ------
    band : Band
    inside : ndarray of int
        Places of its positions; there are some.
    """
    inside = np.flatnonzero((ra >= band.low) & (ra < band.high))
    halves = band.halves()
    if len(inside) <= most or halves is None:
        if len(inside):
            yield band, inside
        return
    for half in halves:
        yield from bands(ra, most, half)


@dataclass(frozen=True)
class Cone:
    """A circle on the sky: centre and radius in degrees."""

    ra: float
    dec: float
    radius: float

    @classmethod
    def of(cls, text: str) -> "Cone":
        """Make one of ``RA DEC RADIUS``, separated by blanks.

        Positions are in degrees, or sexagesimal with colons or units between the numbers, the
        right ascension then in hours; a radius without a unit is in degrees.

        Raises
        ------
        UsageError
            If it is none.
        """
        parts = text.split()
        if len(parts) != 3:
            raise UsageError(f"{text!r}: a cone is RA DEC RADIUS, as 83.82 -5.39 10arcmin")
        ra = _position(parts[0], "RA", hours=True)
        dec = _position(parts[1], "DEC", hours=False)
        if not (0 <= ra <= 360 and -90 <= dec <= 90):
            raise UsageError(f"{text!r}: RA is from 0 to 360 degrees, DEC from -90 to 90")
        return cls(ra % 360, dec, angle(parts[2], "deg"))

    def box(self) -> tuple[float, float, list[Band]]:
        """Smallest declination, greatest, and bands of right ascension that hold the circle.

        They are a little wider, lest rounding loses what lies on the edge.
        """
        low = max(self.dec - self.radius - _SLACK, -90.0)
        high = min(self.dec + self.radius + _SLACK, 90.0)
        if abs(self.dec) + self.radius >= 90:  # a pole lies in it
            return low, high, [Band(0.0, 360.0)]
        half = float(
            np.degrees(np.arcsin(np.sin(np.radians(self.radius)) / np.cos(np.radians(self.dec))))
        )
        left, right = self.ra - half - _SLACK, self.ra + half + _SLACK
        if left < 0:
            return low, high, [Band(0.0, right), Band(left + 360, 360.0)]
        if right > 360:
            return low, high, [Band(0.0, right - 360), Band(left, 360.0)]
        return low, high, [Band(left, right)]

    def holds(self, ra: FloatArray, dec: FloatArray) -> npt.NDArray[np.bool_]:
        """Whether positions in degrees lie in it."""
        here = np.full(len(ra), self.ra), np.full(len(ra), self.dec)
        return separation(*here, ra, dec) <= self.radius


def separation(ra1: FloatArray, dec1: FloatArray, ra2: FloatArray, dec2: FloatArray) -> FloatArray:
    """Angles between positions, by the haversine formula, which keeps small ones exact.

    Parameters
    ----------
    ra1, dec1, ra2, dec2 : ndarray, shape (n,)
        Degrees.

    Returns
    -------
    ndarray, shape (n,)
        Degrees.
    """
    ra1, dec1, ra2, dec2 = (np.radians(a) for a in (ra1, dec1, ra2, dec2))
    square = (
        np.sin((dec2 - dec1) / 2) ** 2 + np.cos(dec1) * np.cos(dec2) * np.sin((ra2 - ra1) / 2) ** 2
    )
    return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.minimum(square, 1.0)))))


def _position(text: str, name: str, *, hours: bool) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        value = degrees(pa.array([text]), name, text, 1, hours=hours)[0].as_py()
    except InputError:
        what = "hh:mm:ss" if hours else "dd:mm:ss"
        raise UsageError(f"{name} {text!r}: expected degrees or {what}") from None
    return float(value)
