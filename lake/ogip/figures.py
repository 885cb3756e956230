"""Figures of spectra: counts with their background, effective area, response."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from lake.errors import LacusError
from lake.figures import INK, PALETTE, QUIET, TWO_COLUMNS, plain_ticks, styled
from lake.ogip.containers import EffectiveArea, Response
from lake.ogip.grouping import group_fixed_width, group_min_significance, single_channels

FloatArray = npt.NDArray[np.float64]

#: Counts over their error that a point of the figure has at least, and its channels at most.
_MINIMUM, _WIDEST = 3, 32
#: Points of a series, at most.
_POINTS = 200
#: Axes of more than this from end to end have powers of ten.
_PLAIN = 200
#: Cells of the image of a response along each axis, at most.
_CELLS = 300
#: Colours of a response span so many decades below its highest element.
_DECADES = 5


@styled
def spectrum(
    channels: pa.Table,
    about: dict[str, Any],
    area: EffectiveArea | None = None,
    response: Response | None = None,
) -> Figure:
    """Draw one spectrum: counts with background and errors, and what they were seen through.

    Parameters
    ----------
    channels : pyarrow.Table
        Rows of ogip.count_spectrum of one spectrum, in the order of its channels.
    about : dict
        Its row of ogip.net_counts.
    area : EffectiveArea, optional
        That within the response is drawn where it has one.
    response : Response, optional

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    LacusError
        There is no channel.
    """
    if not channels.num_rows:
        raise LacusError("a spectrum without channels cannot be drawn")
    if response is not None and response.includes_area:
        area = _area_within(response)
    seen_through = (area is not None) + (response is not None)
    figure = Figure(figsize=(TWO_COLUMNS, 5.2 if seen_through else 3.2), layout="constrained")
    grid = figure.add_gridspec(
        2 if seen_through else 1,
        max(seen_through, 1),
        height_ratios=[1.2, 1][: 1 + bool(seen_through)],
    )
    draw_counts(figure.add_subplot(grid[0, :]), channels)
    if area is not None:
        draw_area(figure.add_subplot(grid[1, 0]), area)
    if response is not None:
        draw_response(figure.add_subplot(grid[1, -1]), response)
    figure.suptitle(_title(about), fontsize=8.5)
    return figure


def draw_counts(axes: Axes, channels: pa.Table) -> None:
    """Draw count rates by energy, in groups that have enough counts to be seen.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    channels : pyarrow.Table
        See `spectrum`. Without energies the channels are numbered along the axis.
    """
    column = {
        name: channels[name].to_numpy().astype(np.float64)
        for name in (
            "channel", "position", "e_min", "e_max", "counts", "counts_error", "background",
            "background_error", "net_counts", "net_counts_error", "rate", "quality",
        )
    }  # fmt: skip
    low, high, unit = _abscissa(column)
    usable = (column["quality"] == 0) & np.isfinite(column["counts"]) & np.isfinite(low)
    nothing, least = np.zeros(len(usable)), max(1, -(-int(usable.sum()) // _POINTS))
    groups = group_min_significance(
        np.where(usable, column["counts"], 0.0), column["counts_error"], nothing, nothing, 0.0,
        _MINIMUM, base=group_fixed_width(single_channels(len(usable), usable), least),
        widest=_WIDEST,
    )  # fmt: skip
    low, high = groups.bounds(low, high)
    # Exposure times AREASCAL, which may differ by channel.
    known = column["rate"] > 0
    seconds = np.median(column["counts"][known] / column["rate"][known]) if known.any() else None
    per = (high - low) * (seconds or 1.0)
    middle, half = (low + high) / 2, (high - low) / 2
    series = [("source and background", "counts", INK)]
    if np.isfinite(column["background"]).any():
        series += [("background", "background", QUIET), ("net", "net_counts", PALETTE[0])]
    for label, name, colour in series:
        value = groups.sum(column[name]) / per
        error = groups.quadrature(column[f"{name}_error"]) / per
        axes.errorbar(
            middle, value, yerr=error, xerr=half, fmt="none", ecolor=colour, elinewidth=0.7,
            label=label,
        )  # fmt: skip
    what = "counts s$^{-1}$" if seconds else "counts"
    axes.set(ylabel=f"{what} {unit[1]}", xlabel=unit[0])
    _limit(axes, groups.sum(column["counts"]) / per, groups.sum(column["background"]) / per)
    if len(groups) and np.isfinite(column["e_min"]).any():
        axes.set_xscale("log")
        if high.max() < _PLAIN * low.min():
            plain_ticks(axes.xaxis)
    if axes.get_legend_handles_labels()[1]:
        axes.legend()


def draw_area(axes: Axes, area: EffectiveArea) -> None:
    """Draw an effective area curve."""
    edges = _edges(area.energ_lo, area.energ_hi)
    axes.stairs(area.specresp, edges, color=PALETTE[2])
    axes.set(xlabel="energy (keV)", ylabel="effective area (cm$^2$)", xscale="log", ylim=(0, None))
    _from_above_zero(axes, edges)


def draw_response(axes: Axes, response: Response) -> None:
    """Draw a response as an image: energies along, channels up, elements as shades."""
    image, energies, channels = coarse_response(response)
    if not (image > 0).any():
        raise LacusError("a response without an element above 0 cannot be drawn")
    top = float(image.max())
    shown = np.ma.masked_less_equal(image.T, top * 10.0**-_DECADES)
    mesh = axes.pcolormesh(
        energies, channels, shown, cmap="viridis", rasterized=True,
        norm=LogNorm(top * 10.0**-_DECADES, top),
    )  # fmt: skip
    unit = "cm$^2$ per channel" if response.includes_area else "probability per channel"
    axes.figure.colorbar(mesh, ax=axes, label=unit, pad=0.02)
    axes.set(xlabel="energy (keV)", xscale="log")
    axes.set_ylabel("channel" if response.ebounds is None else "channel energy (keV)")
    if response.ebounds is not None:
        axes.set_yscale("log")
        _from_above_zero(axes, channels, "y")
    _from_above_zero(axes, energies)


def coarse_response(response: Response) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Average a response over blocks of energy bins and channels, without making it dense.

    Parameters
    ----------
    response : Response

    Returns
    -------
    image : ndarray of float64, shape (blocks of bins, blocks of channels)
        Mean element of each block.
    energies : ndarray of float64, shape (blocks of bins + 1,)
        Edges, keV.
    channels : ndarray of float64, shape (blocks of channels + 1,)
        Edges: keV where the response has them, else channel numbers.
    """
    matrix = response.as_sparse().tocoo()
    bins, first_bin = _blocks(response.n_energies)
    columns, first_column = _blocks(response.n_channels)
    size = len(first_bin), len(first_column)
    place = bins[matrix.coords[0]] * size[1] + columns[matrix.coords[1]]
    total = np.bincount(place, matrix.data.astype(np.float64), size[0] * size[1]).reshape(size)
    cells = np.outer(np.bincount(bins), np.bincount(columns))
    energies = _edges(response.energ_lo, response.energ_hi, first_bin)
    if response.ebounds is None:
        edges = response.first_channel - 0.5 + np.append(first_column, response.n_channels)
    else:
        low = np.minimum(response.ebounds.e_min, response.ebounds.e_max)
        high = np.maximum(response.ebounds.e_min, response.ebounds.e_max)
        edges = _edges(low, high, first_column)
    return total / cells, energies, edges


def _edges(
    low: FloatArray, high: FloatArray, first: npt.NDArray[np.int64] | slice = slice(None)
) -> FloatArray:
    """Edges of blocks of bins that begin at some bins, upwards or downwards in energy."""
    if low[0] > low[-1]:
        low, high = high, low
    return np.append(low[first], high[-1])


def _area_within(response: Response) -> EffectiveArea:
    """Effective area that a response holds: all that a photon of each bin can give."""
    sums = np.asarray(response.as_sparse().sum(axis=1), np.float64)
    return EffectiveArea(
        energ_lo=response.energ_lo, energ_hi=response.energ_hi, specresp=sums, about={}
    )


def _blocks(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Block of each of some elements, and the first element of each block."""
    width = -(-count // _CELLS)
    return np.arange(count) // width, np.arange(0, count, width)


def _abscissa(column: dict[str, FloatArray]) -> tuple[FloatArray, FloatArray, tuple[str, str]]:
    """Bounds of the channels, and how the axis and a density along it are called."""
    if np.isfinite(column["e_min"]).any():
        return column["e_min"], column["e_max"], ("energy (keV)", "keV$^{-1}$")
    number = column["channel"] if np.isfinite(column["channel"]).any() else column["position"]
    return number - 0.5, number + 0.5, ("channel", "channel$^{-1}$")


def _limit(axes: Axes, *densities: FloatArray) -> None:
    """Show what was counted, but not every net point that is hardly above 0."""
    shown = np.concatenate(densities)
    shown = shown[np.isfinite(shown) & (shown > 0)]
    if len(shown):
        axes.set_yscale("log")
        axes.set_ylim(shown.min() / 3, shown.max() * 2)
        if shown.max() < 30 * shown.min():
            plain_ticks(axes.yaxis)


def _from_above_zero(axes: Axes, edges: FloatArray, which: str = "x") -> None:
    """Begin a logarithmic axis at the first edge above 0."""
    positive = edges[edges > 0]
    if len(positive):
        low, high = positive.min(), positive.max()
        getattr(axes, f"set_{which}lim")(low, high)
        if high < _PLAIN * low:
            plain_ticks(getattr(axes, f"{which}axis"))


def _title(about: dict[str, Any]) -> str:
    known = [about.get(name) for name in ("object", "telescope", "instrument", "obs_id")]
    text = ", ".join([str(about["spec_id"]), *(str(value) for value in known if value)])
    if about.get("net_counts") is not None:
        net, error = _number(about["net_counts"]), _number(about["net_counts_error"], 2)
        text += f"\n{net} \N{PLUS-MINUS SIGN} {error} net counts"
        text += f" in {_number(about['exposure'])} s" if about.get("exposure") else ""
    return text


def _number(value: float, digits: int = 4) -> str:
    """A number for people: with its thousands apart, or so many digits."""
    return f"{value:,.0f}" if 10**digits <= abs(value) < 1e9 else f"{value:.{digits}g}"
