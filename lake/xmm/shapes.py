"""Regions of the plane, column by column, and how they go from one frame to another.

Shapes are named as ASC-FITS-REGION-1.0 names them; lengths stand in its order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lake.xmm.geometry import DetectorFrame
from lake.xmm.sky import PIXEL_ARCSEC, Floats, SkyPixels, directions

#: Arcsec over which directions and lengths are followed from the sky to its pixels.
_STEP = 15.0


class Shape(NamedTuple):
    """How many lengths, angles and vertices a shape has; None: any number of vertices."""

    lengths: int
    angles: int
    vertices: int | None = 0


SHAPES = {
    "POINT": Shape(0, 0),
    "CIRCLE": Shape(1, 0),  # radius
    "ANNULUS": Shape(2, 0),  # radii
    "ELLIPSE": Shape(2, 1),  # semi-axes
    "ELLIPTANNULUS": Shape(4, 2),  # inner and outer semi-axes
    "BOX": Shape(2, 0),  # full widths
    "ROTBOX": Shape(2, 1),
    "RECTANGLE": Shape(0, 0, 2),  # two corners
    "ROTRECTANGLE": Shape(0, 1, 2),
    "PIE": Shape(2, 2),  # radii; from one angle to the other
    "SECTOR": Shape(0, 2),
    "POLYGON": Shape(0, 0, None),
}
_NONE: Mapping[int, Floats] = {}


@dataclass(frozen=True)
class Regions:
    """Regions of one frame.

    Attributes
    ----------
    shape : ndarray of str, shape (n,)
    include : ndarray of bool, shape (n,)
        False: cut out.
    x, y : ndarray, shape (n,)
        Centres; of what has vertices, their mean. Degrees on the sky, else units of 0.05 arcsec
        or pixels.
    r : ndarray, shape (n, 4)
        Lengths, NaN where a shape has none: arcsec on the sky, else as x.
    rotang : ndarray, shape (n, 2)
        Degrees counter-clockwise from +X (from west on the sky), NaN where a shape has none.
    component : ndarray of int, shape (n,)
        Regions of one component are combined by AND, components by OR; see `common`.
    vertices : mapping of int to ndarray, shape (k, 2)
        By row.
    """

    shape: npt.NDArray[np.str_]
    include: npt.NDArray[np.bool_]
    x: Floats
    y: Floats
    r: Floats
    rotang: Floats
    component: npt.NDArray[np.int64]
    vertices: Mapping[int, Floats] = field(default_factory=lambda: _NONE)

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "Regions":
        """Some of the regions, in the order of `rows`."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        vertices = _NONE
        if self.vertices:
            places = enumerate(rows.tolist())
            vertices = {n: self.vertices[i] for n, i in places if i in self.vertices}
        return Regions(
            self.shape[rows], self.include[rows], self.x[rows], self.y[rows], self.r[rows],
            self.rotang[rows], self.component[rows], vertices,
        )  # fmt: skip

    @property
    def common(self) -> npt.NDArray[np.bool_]:
        """Which regions are cut out of all components: those of component 0.

        None are where 0 includes regions, too, or is the only one: then it is one like any other.
        """
        zero = self.component == 0
        return zero & (not zero.all() and not self.include[zero].any())

    def as_excluded(self) -> "Regions":
        """All of them cut out, of one component: what none of them holds is left."""
        return self._as(False, np.ones(len(self), np.int64))

    def as_included(self) -> "Regions":
        """All of them taken in, one component each: what any of them holds is left."""
        return self._as(True, np.arange(1, len(self) + 1))

    def _as(self, include: bool, component: npt.NDArray[np.int64]) -> "Regions":
        return replace(self, include=np.full(len(self), include), component=component)

    def moved(
        self,
        place: Callable[[Floats, Floats], tuple[Floats, Floats]],
        rotang: Floats,
        r: Floats,
    ) -> "Regions":
        """Regions with centres and vertices put elsewhere, and new angles and lengths."""
        x, y = place(self.x, self.y)
        vertices = _NONE
        if self.vertices:
            rows = list(self.vertices)
            corners = np.stack(place(*np.concatenate([self.vertices[i] for i in rows]).T), axis=1)
            parts = np.split(corners, np.cumsum([len(self.vertices[i]) for i in rows])[:-1])
            vertices = dict(zip(rows, parts, strict=True))
        return replace(self, x=x, y=y, r=r, rotang=rotang, vertices=vertices)


def make(
    shape: Sequence[str] | npt.NDArray[np.str_],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    r: npt.ArrayLike,
    rotang: npt.ArrayLike,
    include: npt.ArrayLike = True,
    component: npt.ArrayLike = 1,
    vertices: Mapping[int, Floats] = _NONE,
) -> Regions:
    """Make regions of columns, filling up lengths and angles with NaN.

    Parameters
    ----------
    shape : sequence of str, length n
    x, y : array_like, shape (n,)
        NaN for the mean of the vertices.
    r : array_like, shape (n, up to 4)
    rotang : array_like, shape (n, up to 2)
    include, component : array_like, scalar or shape (n,)
    vertices : mapping of int to ndarray, shape (k, 2)
    """
    names = np.asarray(shape, dtype=np.str_)
    n = len(names)
    x, y = (np.array(v, np.float64).reshape(n) for v in (x, y))
    for row, corners in vertices.items():
        if np.isnan(x[row]):
            x[row], y[row] = corners.mean(axis=0)
    return Regions(
        names, np.broadcast_to(np.asarray(include, bool), n).copy(), x, y, _filled(r, n, 4),
        _filled(rotang, n, 2), np.broadcast_to(np.asarray(component, np.int64), n).copy(), vertices,
    )  # fmt: skip


def _filled(values: npt.ArrayLike, n: int, width: int) -> Floats:
    given = np.asarray(values, np.float64).reshape(n, -1) if n else np.empty((0, 0))
    out = np.full((n, width), np.nan)
    out[:, : given.shape[1]] = given
    return out


def concatenate(parts: Sequence[Regions]) -> Regions:
    """Regions of several sets, one after the other."""
    vertices: dict[int, Floats] = {}
    first = 0
    for part in parts:
        vertices |= {first + i: v for i, v in part.vertices.items()}
        first += len(part)

    def column(name: str) -> npt.NDArray:
        return np.concatenate([getattr(part, name) for part in parts])

    return Regions(
        column("shape"), column("include"), column("x"), column("y"), column("r"),
        column("rotang"), column("component"), vertices,
    )  # fmt: skip


def to_sky_pixels(regions: Regions, sky: SkyPixels) -> Regions:
    """Regions on the sky as regions of sky pixels.

    Angles and lengths are those of the projection at the centre of each region.

    Parameters
    ----------
    regions : Regions
        Right ascension and declination in degrees, lengths in arcsec.
    sky : SkyPixels

    Returns
    -------
    Regions
        Those on the other side of the sphere have NaN for a centre.
    """
    regions = turnable(regions)
    turn, along, across = _local(regions, sky)
    rotang = np.mod(regions.rotang + turn[:, None], 360.0)
    return regions.moved(
        sky.of_sky, rotang, _scaled(regions, along / PIXEL_ARCSEC, across / PIXEL_ARCSEC)
    )


def of_sky_pixels(regions: Regions, sky: SkyPixels) -> Regions:
    """Regions of sky pixels as regions on the sky; inverse of `to_sky_pixels`."""
    regions = turnable(regions)
    ra, dec = sky.to_sky(regions.x, regions.y)
    # Turn and scale hardly depend on the angle: a first guess of it is exact enough to follow.
    there = replace(regions, x=ra, y=dec)
    turn, along, across = _local(there, sky)
    there = replace(there, rotang=regions.rotang - turn[:, None])
    turn, along, across = _local(there, sky)
    rotang = np.mod(regions.rotang - turn[:, None], 360.0)
    r = _scaled(regions, PIXEL_ARCSEC / along, PIXEL_ARCSEC / across)
    return regions.moved(sky.to_sky, rotang, r)


def to_detector(
    regions: Regions, sky: SkyPixels, frame: DetectorFrame, *, sas_compatible: bool = False
) -> Regions:
    """Regions of sky pixels as regions of detector pixels.

    Parameters
    ----------
    regions : Regions
    sky : SkyPixels
    frame : DetectorFrame
    sas_compatible : bool
        See `DetectorFrame.of_sky_pixels`; centres only, not lengths and angles.
    """
    regions = turnable(regions)

    def place(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return frame.of_sky_pixels(sky, x, y, sas_compatible=sas_compatible)

    rotang = _mirrored(
        regions, frame.angle(sky, regions.x[:, None], regions.y[:, None], regions.rotang)
    )
    return regions.moved(place, rotang, regions.r * frame.scale)


def of_detector(regions: Regions, sky: SkyPixels, frame: DetectorFrame) -> Regions:
    """Regions of detector pixels as regions of sky pixels; inverse of `to_detector`."""
    regions = turnable(regions)

    def place(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return frame.to_sky_pixels(sky, x, y)

    x, y = place(regions.x, regions.y)
    # A mirrored turn is its own inverse.
    rotang = _mirrored(regions, frame.angle(sky, x[:, None], y[:, None], regions.rotang))
    return regions.moved(place, rotang, regions.r / frame.scale)


def _local(regions: Regions, sky: SkyPixels) -> tuple[Floats, Floats, Floats]:
    """Turn (degrees) and scale of sky pixels at each region, along its first axis and across."""
    angle = np.radians(np.nan_to_num(regions.rotang[:, 0]))
    c, s = np.cos(angle) * _STEP / 3600, np.sin(angle) * _STEP / 3600
    vectors = []
    for west, north in ((c, s), (-s, c)):
        ends = [
            np.stack(sky.of_sky(*directions(-sign * west, sign * north, regions.x, regions.y)))
            for sign in (1, -1)
        ]
        vectors.append((ends[0] - ends[1]) * PIXEL_ARCSEC / (2 * _STEP))
    first, second = vectors
    turn = np.degrees(np.arctan2(first[1], first[0]) - angle)
    return turn, np.hypot(*first), np.hypot(*second)


def _scaled(regions: Regions, along: Floats, across: Floats) -> Floats:
    """Lengths times the scale of their direction; what has no direction gets the mean scale."""
    mean = np.sqrt(along * across)
    turned = np.isin(regions.shape, ("BOX", "ROTBOX", "ELLIPSE", "ELLIPTANNULUS"))
    first, second = np.where(turned, along, mean), np.where(turned, across, mean)
    return regions.r * np.stack([first, second, first, second], axis=1)


def turnable(regions: Regions) -> Regions:
    """Boxes and rectangles without an angle as those with one: other frames give them one."""
    shape, x, y, r, rotang = (
        getattr(regions, n).copy() for n in ("shape", "x", "y", "r", "rotang")
    )
    rotang[shape == "BOX", 0] = 0.0
    vertices = dict(regions.vertices)
    for row in np.flatnonzero(np.isin(shape, ("RECTANGLE", "ROTRECTANGLE"))).tolist():
        diagonal = np.diff(vertices.pop(row), axis=0)[0]
        angle = np.radians(np.nan_to_num(rotang[row, 0]))
        c, s = np.cos(angle), np.sin(angle)
        r[row, :2] = abs(c * diagonal[0] + s * diagonal[1]), abs(c * diagonal[1] - s * diagonal[0])
        rotang[row, 0] = np.degrees(angle)
    shape = np.where(np.isin(shape, ("BOX", "RECTANGLE", "ROTRECTANGLE")), "ROTBOX", shape)
    return replace(regions, shape=shape, x=x, y=y, r=r, rotang=rotang, vertices=vertices)


def _mirrored(regions: Regions, angles: Floats) -> Floats:
    """Angles in a mirrored frame: what runs from one to the other runs the other way."""
    return np.where(np.isin(regions.shape, ("PIE", "SECTOR"))[:, None], angles[:, ::-1], angles)
