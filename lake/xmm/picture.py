"""The standard picture of one observation: its images with the regions, in both frames."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.home import Home
from lake.xmm.files import frame_of, sky_of
from lake.xmm.sky import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

To = Callable[[Floats, Floats], tuple[Floats, Floats]]

#: Exposures to a picture.
_MOST = 6
#: Pixels to a side of what is drawn of an image.
_FINEST = 300
_CORNERS = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 48, endpoint=False)) for f in (np.cos, np.sin)], 1)
#: Unit outline of shapes, and which of their lengths it is stretched by, for each edge.
_EDGES: dict[str, tuple[Floats, tuple[tuple[int, int], ...]]] = {
    "BOX": (_CORNERS, ((0, 1),)),
    "ROTBOX": (_CORNERS, ((0, 1),)),
    "CIRCLE": (_CIRCLE, ((0, 0),)),
    "ELLIPSE": (_CIRCLE, ((0, 1),)),
    "ANNULUS": (_CIRCLE, ((0, 0), (1, 1))),
    "ELLIPTANNULUS": (_CIRCLE, ((0, 1), (2, 3))),
    "BOXANNULUS": (_CORNERS, ((0, 1), (2, 3))),
}

_OBSERVED = """
SELECT o.*, i.image_x, i.image_y, i.image_x_step, i.image_y_step, i.image_width, i.image_height,
  i.counts
FROM xmm.observations AS o JOIN xmm.images AS i USING (release, obsid, exposure)
WHERE o.release = ? AND o.obsid = ? ORDER BY o.exposure LIMIT ?
"""
_REGIONS = """
SELECT mask, exposure, role, frame, shape, x, y, r, rotang, vertices_x, vertices_y
FROM xmm.regions WHERE release = ? AND obsid = ? AND role <> 'mask' ORDER BY mask, label, number
"""


def plot(home: Home, identifier: str, release: str | None = None) -> "Figure":
    """Draw the image of every exposure with the regions that are cut out, in both frames.

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
        columns = exposures.drop_columns(["counts"]).to_pylist()
        for row, (exposure, (left, right)) in enumerate(zip(columns, panels, strict=True)):
            sky, detector = sky_of(exposure), frame_of(exposure)
            mine = regions.filter(pc.equal(regions["exposure"], exposure["exposure"]))
            counts = exposures["counts"][row].values
            _draw_image(left, exposure, counts, lambda x, y: (x, y))
            _draw_image(right, exposure, counts, partial(detector.of_sky_pixels, sky))
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
        if masks:
            panels[0, 0].legend(loc="upper right")
        return figure

    return styled(drawn)()


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


def _draw_regions(axes: "Axes", regions: pa.Table, colour: str, name: str) -> None:
    """Draw what is cut out as filled outlines, and what encloses all as a dashed one."""
    from matplotlib.collections import PolyCollection

    box = regions.filter(pc.equal(regions["role"], "box"))
    cut = regions.filter(pc.equal(regions["role"], "bkg"))
    styles: tuple[tuple[pa.Table, dict[str, Any]], ...] = (
        (cut, {"facecolor": (colour, 0.25), "linewidth": 0.4, "label": f"{name}: cut out"}),
        (box, {"facecolor": "none", "linewidth": 1.0, "linestyle": "--"}),
    )
    for rows, style in styles:
        axes.add_collection(PolyCollection(outlines(rows), edgecolor=colour, **style), False)


def outlines(regions: pa.Table) -> list[Floats]:
    """Give the outlines of regions as polygons, in the pixels that they are given in.

    Parameters
    ----------
    regions : pyarrow.Table
        With shape, x, y, r, rotang (degrees), vertices_x and vertices_y as in `xmm.regions`.
        Shapes other than boxes, circles, ellipses, annuli and polygons are left out.

    Returns
    -------
    list of ndarray, shape (corners, 2)
        Of an annulus one for each edge.
    """
    found: list[Floats] = []
    for shape, rows in _by_shape(regions):
        if shape == "POLYGON":
            pairs = zip(rows["vertices_x"], rows["vertices_y"], strict=True)
            found += [np.column_stack([x.values, y.values]) for x, y in pairs]
        elif shape in _EDGES:
            unit, radii = _EDGES[shape]
            centre = np.stack([rows["x"].to_numpy(), rows["y"].to_numpy()], axis=1)
            angle = np.radians(pc.fill_null(rows["rotang"], 0.0).to_numpy())
            turn = np.moveaxis(
                np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]), 2, 0
            )
            for pair in radii:
                sides = np.stack([pc.list_element(rows["r"], i).to_numpy() for i in pair], axis=1)
                corners = unit * sides[:, None, :]
                found += list(corners @ turn.transpose(0, 2, 1) + centre[:, None, :])
    return found


def _by_shape(regions: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    for shape in pc.unique(regions["shape"]).to_pylist():
        yield shape, regions.filter(pc.equal(regions["shape"], shape))
