"""The standard picture of one observation: its images with the regions, in both frames."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.home import Home
from lake.xmm.contains import Flags
from lake.xmm.files import frame_of, sky_of
from lake.xmm.region_rows import of_rows
from lake.xmm.shapes import Regions, turnable
from lake.xmm.sky import Floats

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

To = Callable[[Floats, Floats], tuple[Floats, Floats]]

#: Exposures to a picture.
_MOST = 6
#: Pixels to a side of what is drawn of an image.
_FINEST = 300
_CORNERS = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 48, endpoint=False)) for f in (np.cos, np.sin)], 1)
#: Unit outline of shapes, and which of their lengths it is stretched by, for each edge: the
#: outer one first.
_EDGES: dict[str, tuple[Floats, tuple[tuple[int, int], ...]]] = {
    "ROTBOX": (_CORNERS, ((0, 1),)),
    "CIRCLE": (_CIRCLE, ((0, 0),)),
    "ELLIPSE": (_CIRCLE, ((0, 1),)),
    "ANNULUS": (_CIRCLE, ((1, 1), (0, 0))),
    "ELLIPTANNULUS": (_CIRCLE, ((2, 3), (0, 1))),
}

_OBSERVED = """
SELECT o.*, i.image_x, i.image_y, i.image_x_step, i.image_y_step, i.image_width, i.image_height,
  coalesce(i.counts, i.exposure_map) AS pixels
FROM xmm.observations AS o JOIN xmm.images AS i USING (release, obsid, exposure)
WHERE o.release = ? AND o.obsid = ? ORDER BY o.exposure LIMIT ?
"""
# Where nothing is cut out, what is kept is drawn. A hole in several regions is one row of each.
_REGIONS = """
SELECT DISTINCT ON (mask, label, exposure, role, frame, include, shape, x, y, r, rotang) *
FROM xmm.regions AS k WHERE release = $1 AND obsid = $2 AND (role <> 'mask' OR NOT EXISTS (
  SELECT 1 FROM xmm.regions AS b WHERE b.release = k.release AND b.obsid = k.obsid
  AND b.mask = k.mask AND b.label = k.label AND b.role = 'bkg'
)) ORDER BY mask, label, number
"""


def plot(home: Home, identifier: str, release: str | None = None) -> "Figure":
    """Draw the image of every exposure with the regions that are cut out or kept, in both frames.

    Parameters
    ----------
    home : Home
    identifier : str
        Observation identifier (OBS_ID).
    release : str, optional
        The newest that has the observation by default.

    Raises
    ------
    UsageError
        If the lake has no such observation.
    """
    release = home.release_of("xmm.observations", "obsid", identifier, release)
    return draw(home, release, identifier)


def draw(home: Home, release: str, obsid: str) -> "Figure":
    """Draw an observation of a release; see `plot`."""
    from matplotlib.figure import Figure

    from lake.figures import PALETTE, TWO_COLUMNS, styled

    exposures = home.store.arrow(_OBSERVED, [release, obsid, _MOST])
    regions = home.store.arrow(_REGIONS, [release, obsid])
    masks = pc.unique(regions["mask"]).to_pylist()

    def drawn() -> Figure:
        height = 0.5 * TWO_COLUMNS * exposures.num_rows + 0.3
        figure = Figure(figsize=(TWO_COLUMNS, height), layout="constrained")
        panels = figure.subplots(exposures.num_rows, 2, squeeze=False)
        columns = exposures.drop_columns(["pixels"]).to_pylist()
        for row, (exposure, (left, right)) in enumerate(zip(columns, panels, strict=True)):
            sky, detector = sky_of(exposure), frame_of(exposure)
            mine = regions.filter(pc.equal(regions["exposure"], exposure["exposure"]))
            pixels = exposures["pixels"][row].values
            _draw_image(left, exposure, pixels, lambda x, y: (x, y))
            _draw_image(right, exposure, pixels, partial(detector.of_sky_pixels, sky))
            for axes, frame in ((left, "sky"), (right, "det")):
                chosen = mine.filter(pc.equal(mine["frame"], frame))
                for number, mask in enumerate(masks):
                    of_mask = chosen.filter(pc.equal(chosen["mask"], mask))
                    _draw_regions(axes, of_mask, PALETTE[number % len(PALETTE)], mask)
                axes.set_aspect("equal")
                axes.locator_params(nbins=5)
            name = f"{obsid} {exposure['exposure']}"
            left.set(xlabel="X (0.05 arcsec)", ylabel="Y (0.05 arcsec)", title=name)
            right.set(
                xlabel="DETX (0.05 arcsec)", ylabel="DETY (0.05 arcsec)", title=_quality(exposure)
            )
        _say_what_is_drawn(panels[0, 0], panels[:, 0].tolist())
        return figure

    return styled(drawn)()


def _say_what_is_drawn(axes: "Axes", panels: Sequence["Axes"]) -> None:
    """Put a legend of what is drawn in any of some panels into one."""
    from matplotlib.collections import PathCollection
    from matplotlib.legend_handler import HandlerPolyCollection

    known: dict[str, Artist] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        known |= dict(zip(labels, handles, strict=True))
    if known:
        axes.legend(
            list(known.values()), list(known), loc="upper right",
            handler_map={PathCollection: HandlerPolyCollection()},
        )  # fmt: skip


def _quality(exposure: Mapping[str, Any]) -> str:
    """Where the detector frame comes from, and how good it is."""
    median = exposure["residual_median"]
    if median is None:
        return "detector frame by the header alone"
    points = f"{exposure['calibration_points']:,} {exposure['calibration']}"
    return f"detector frame by {points}, to {median:.2g} arcsec"


def _draw_image(axes: "Axes", exposure: Mapping[str, Any], pixels: pa.Array | None, to: To) -> None:
    """Draw an image of sky pixels in a frame that sky pixels are brought to by `to`."""
    from matplotlib.transforms import Affine2D

    known = [exposure[f"image_{k}"] for k in ("x", "y", "x_step", "y_step", "width", "height")]
    if pixels is None or None in known:
        return
    x, y, dx, dy, width, height = known
    block = max(1, -(-max(width, height) // _FINEST))
    counts = np.asarray(pixels, np.float64).reshape(height, width)
    counts = np.pad(counts, ((0, -height % block), (0, -width % block)))
    counts = counts.reshape(counts.shape[0] // block, block, -1, block).sum(axis=(1, 3))
    # Edges of the blocks; the centre of the first pixel is at (x, y).
    across = x + dx * (block * np.arange(counts.shape[1] + 1) - 0.5)
    up = y + dy * (block * np.arange(counts.shape[0] + 1) - 0.5)
    place = np.array([(across[0], up[0]), (across[-1], up[0]), (across[0], up[-1])])
    there = np.stack(to(*place.T), axis=1)
    matrix = np.eye(3)
    matrix[:2, 0] = (there[1] - there[0]) / (across[-1] - across[0])
    matrix[:2, 1] = (there[2] - there[0]) / (up[-1] - up[0])
    matrix[:2, 2] = there[0] - matrix[:2, :2] @ place[0]
    lit = counts[counts > 0]
    axes.imshow(
        np.sqrt(counts), extent=(across[0], across[-1], up[0], up[-1]), origin="lower",
        cmap="Greys", vmin=0, vmax=float(np.sqrt(np.percentile(lit, 99.5))) if len(lit) else 1,
        transform=Affine2D(matrix) + axes.transData,
    )  # fmt: skip
    if not len(lit):
        return
    # As far as the camera has counts.
    rows, columns = (np.flatnonzero(counts.any(axis=i)) for i in (1, 0))
    corners = np.array(
        [(across[i], up[j]) for i in (columns[0], columns[-1] + 1) for j in (rows[0], rows[-1] + 1)]
    )
    low, high = (f(np.stack(to(*corners.T)), axis=1) for f in (np.min, np.max))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))


def _draw_regions(axes: "Axes", rows: pa.Table, colour: str, name: str) -> None:
    """Draw what is cut out as filled outlines, what is kept as lines, the box around all dashed."""
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path

    regions, box = of_rows(rows), rows["role"].to_numpy() == "box"
    styles: tuple[tuple[Flags, dict[str, Any]], ...] = (
        (
            ~box & ~regions.include,
            {"facecolor": (colour, 0.25), "linewidth": 0.4, "label": f"{name}: cut out"},
        ),
        (
            ~box & regions.include,
            {"facecolor": "none", "linewidth": 0.8, "label": f"{name}: kept"},
        ),
        (box, {"facecolor": "none", "linewidth": 1.0, "linestyle": "--"}),
    )
    for chosen, style in styles:
        paths = [
            Path.make_compound_path(*(Path([*edge, edge[0]], closed=True) for edge in edges))
            for edges in outlines(regions.take(chosen))
        ]
        if paths:
            axes.add_collection(PathCollection(paths, edgecolor=colour, **style), False)


def outlines(regions: Regions) -> list[tuple[Floats, ...]]:
    """Give the outlines of regions as polygons, in the pixels that they are given in.

    Parameters
    ----------
    regions : Regions
        Points and sectors, which have no outline, are left out.

    Returns
    -------
    list of tuple of ndarray, shape (corners, 2)
        Of each region the edges: of an annulus the outer one and, the other way round, the inner.
    """
    regions = turnable(regions)
    found: list[tuple[Floats, ...]] = []
    for shape in np.unique(regions.shape).tolist():
        some = regions.take(regions.shape == shape)
        centre = np.stack([some.x, some.y], axis=1)[:, None, :]
        if shape == "POLYGON":
            found += [(some.vertices[i],) for i in range(len(some))]
        elif shape == "PIE":
            start, stop = some.rotang.T
            turn = start[:, None] + np.linspace(0, 1, 24) * np.mod(stop - start, 360)[:, None]
            arc = np.stack([np.cos(np.radians(turn)), np.sin(np.radians(turn))], axis=2)
            inner, outer = (arc * some.r[:, i, None, None] for i in (0, 1))
            found += [(edge,) for edge in np.concatenate([outer, inner[:, ::-1]], axis=1) + centre]
        elif shape in _EDGES:
            unit, radii = _EDGES[shape]
            edges = []
            for number, pair in enumerate(radii):
                # The outer edge of an annulus has its second angle.
                angle = np.radians(np.nan_to_num(some.rotang[:, len(radii) - 1 - number]))
                turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
                corners = (unit * some.r[:, None, pair]) @ turned.transpose(2, 0, 1) + centre
                edges.append(corners if number == 0 else corners[:, ::-1])
            found += zip(*edges, strict=True)
    return found
