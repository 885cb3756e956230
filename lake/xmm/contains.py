"""Which events a region table selects: what evselect does with ``region(table)``.

Regions of one component are combined by AND, components by OR, and an excluded region holds
what lies outside it (ASC-FITS-REGION-1.0).
"""

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError
from lake.formats.source import Source
from lake.xmm.esas import read_region_table
from lake.xmm.shapes import Regions
from lake.xmm.sky import Floats

Flags = npt.NDArray[np.bool_]


def contains(regions: Regions | Source, x: npt.ArrayLike, y: npt.ArrayLike) -> Flags:
    """Tell which points a region table selects.

    Parameters
    ----------
    regions : Regions, str, PathLike or bytes
        Regions of one frame of pixels, or a region table.
    x, y : array_like, shape (m,)
        Points of the same frame: X and Y, or DETX and DETY.

    Returns
    -------
    ndarray of bool, shape (m,)
        All of them where there is no region.
    """
    if not isinstance(regions, Regions):
        regions = read_region_table(regions)[0]
    x, y = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    if not len(regions):
        return np.ones(len(x), bool)
    # Points in the order of x, so that a region looks only at those within its reach.
    order = np.argsort(x, kind="stable")
    xs, ys = x[order], y[order]
    common = regions.common
    selected = np.zeros(len(x), bool)
    for component in np.unique(regions.component[~common]).tolist():
        rows = np.flatnonzero(regions.component == component)
        selected |= _all_of(regions, rows, xs, ys)
    selected &= _all_of(regions, np.flatnonzero(common), xs, ys)
    out = np.empty(len(x), bool)
    out[order] = selected
    return out


def _all_of(regions: Regions, rows: npt.NDArray[np.intp], x: Floats, y: Floats) -> Flags:
    """Points, sorted by x, that all regions of a component hold."""
    include = rows[regions.include[rows]]
    held = np.ones(len(x), bool)
    for row in include.tolist():
        first, last, within = _within(regions, row, x, y)
        held[:first] = held[last:] = False
        held[first:last] &= within
    for row in rows[~regions.include[rows]].tolist():
        first, last, within = _within(regions, row, x, y)
        held[first:last] &= ~within
    return held


def _within(regions: Regions, row: int, x: Floats, y: Floats) -> tuple[int, int, Flags]:
    """Range of the points that may lie in a region, and which of them do."""
    corners = regions.vertices.get(row)
    if corners is not None:
        low, high = corners[:, 0].min(), corners[:, 0].max()
        if regions.shape[row] == "ROTRECTANGLE":
            reach = float(np.hypot(*np.ptp(corners, axis=0)))
            low, high = low - reach, high + reach
    else:
        reach = _reach(str(regions.shape[row]), regions.r[row])
        low, high = regions.x[row] - reach, regions.x[row] + reach
    first, last = int(np.searchsorted(x, low, "left")), int(np.searchsorted(x, high, "right"))
    return first, last, _inside(regions, row, x[first:last], y[first:last])


def _reach(shape: str, r: Floats) -> float:
    if shape == "SECTOR":
        return np.inf
    if shape in ("BOX", "ROTBOX"):
        return float(np.hypot(r[0], r[1]) / 2)
    return float(np.nanmax(r, initial=0.0))


def _inside(regions: Regions, row: int, x: Floats, y: Floats) -> Flags:
    shape = str(regions.shape[row])
    r, angle = regions.r[row], np.nan_to_num(regions.rotang[row])
    dx, dy = x - regions.x[row], y - regions.y[row]
    if shape == "POINT":
        return (dx == 0) & (dy == 0)
    if shape == "CIRCLE":
        return np.hypot(dx, dy) <= r[0]
    if shape == "ANNULUS":
        return (np.hypot(dx, dy) <= r[1]) & (np.hypot(dx, dy) > r[0])
    if shape in ("BOX", "ROTBOX"):
        u, v = _turned(dx, dy, angle[0])
        return (np.abs(u) <= r[0] / 2) & (np.abs(v) <= r[1] / 2)
    if shape == "ELLIPSE":
        return _in_ellipse(dx, dy, r[:2], angle[0])
    if shape == "ELLIPTANNULUS":
        outer = _in_ellipse(dx, dy, r[2:], angle[1])
        return outer & ~_in_ellipse(dx, dy, r[:2], angle[0])
    if shape in ("PIE", "SECTOR"):
        there = np.mod(np.degrees(np.arctan2(dy, dx)) - angle[0], 360)
        wide = there <= np.mod(angle[1] - angle[0], 360)
        if shape == "SECTOR":
            return wide
        return wide & (np.hypot(dx, dy) <= r[1]) & (np.hypot(dx, dy) >= r[0])
    corners = regions.vertices[row]
    if shape == "POLYGON":
        return _in_polygon(x, y, corners)
    if shape in ("RECTANGLE", "ROTRECTANGLE"):
        turn = angle[0] if shape == "ROTRECTANGLE" else 0.0
        across, along = np.diff(corners, axis=0).T
        size = np.abs(np.concatenate(_turned(across, along, turn)))
        u, v = _turned(dx, dy, turn)
        return (np.abs(u) <= size[0] / 2) & (np.abs(v) <= size[1] / 2)
    raise LacusError(f"what lies in a {shape} is not known")


def _turned(dx: Floats, dy: Floats, angle: float) -> tuple[Floats, Floats]:
    """Offsets along the axes of a region that is turned by an angle in degrees."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return c * dx + s * dy, c * dy - s * dx


def _in_ellipse(dx: Floats, dy: Floats, axes: Floats, angle: float) -> Flags:
    u, v = _turned(dx, dy, angle)
    if not axes.all():
        return np.zeros(len(dx), bool)
    return (u / axes[0]) ** 2 + (v / axes[1]) ** 2 <= 1


def _in_polygon(x: Floats, y: Floats, corners: Floats) -> Flags:
    """Points with an odd number of edges to their right."""
    inside = np.zeros(len(x), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside
