"""One spectrum drawn into axes: as observed, as a recipe leaves it, and its lines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.axes import Axes
from scipy.ndimage import median_filter

from lake.errors import LacusError
from lake.figures import INK, PALETTE, QUIET
from lake.sdss.batches import batches
from lake.sdss.steps import GRID, mask_bad_pixels, pixel_edges

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

WAVELENGTH = "vacuum wavelength (Å)"
REST_WAVELENGTH = "rest-frame vacuum wavelength (Å)"
FLUX = "flux density\n" r"($10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$)"

#: Lines that are named first where there is no room for all; of the permitted ones, those that
#: galaxies and quasars show too.
NOTABLE = (
    "H alpha", "H beta", "H gamma", "H delta", "Ca II K", "[O III] 5006", "[O II] 3728",
    "Na I D2", "Mg I b2", "Ca II 8542", "Ca II H", "[N II] 6583", "[S II] 6716", "[O I] 6300",
    "[O III] 4958", "[Ne III] 3868", "Ca II 8498", "Ca II 8662", "He I 5875",
)  # fmt: skip
_GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε"}
#: Least distance of two names, as a share of the axis.
_NAME_GAP = 0.0125
#: Night-sky lines stand so far above the sky around them (pixels of 1e-4 dex).
_SKY_CONTRAST, _SKY_WIDTH = 2.0, 151
#: Pixels with so many times the median error do not set the limits, unless they have at least
#: this signal-to-noise ratio.
_NOISY, _SURE = 3.0, 5.0


def one_row(table: pa.Table, name: str) -> dict[str, Any]:
    """Give the only row of a table, by column.

    Raises
    ------
    LacusError
        There is another number of rows; `name` says of what.
    """
    if len(table) != 1:
        raise LacusError(f"{len(table)} rows of {name}; a figure shows one spectrum")
    row: dict[str, Any] = table.to_pylist()[0]
    return row


def draw_observed(axes: Axes, spectra: pa.Table, metadata: pa.Table) -> bool:
    """Draw flux, error, the survey's model, and what is to be distrusted.

    Bad pixels are those that the recipes mask; they are grey and stand in grey stripes. The
    lines of the night sky, whose residuals look like features, are marked along the bottom.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    spectra, metadata : pyarrow.Table
        One row of sdss.spectra and of sdss.spectra_metadata.

    Returns
    -------
    bool
        Whether the abscissa is a wavelength; without a solution it is the number of the pixel.

    Raises
    ------
    LacusError
        There is not exactly one spectrum, or its pixels are not usable (`batches`).
    """
    one_row(spectra, "sdss.spectra")
    row, pixels, facts = next(batches(spectra, metadata, 1))
    masked, _ = mask_bad_pixels(pixels, facts)
    flux, valid = pixels.flux[0], masked.valid[0]
    wavelength, label = pixels.wavelength[0], WAVELENGTH
    if facts.air[0]:
        label = WAVELENGTH.replace("vacuum", "air")
    solved = not np.isnan(wavelength).all()
    if not solved:
        wavelength, label = np.arange(1.0, len(flux) + 1), "pixel (no wavelength solution)"
    edges = pixel_edges(wavelength)
    _shade(axes, edges, ~valid, QUIET, 1.0, "bad pixels")
    sky = _list(row, "sky")
    if sky is not None:
        _shade(axes, edges, _sky_lines(sky), PALETTE[4], 0.03, "night-sky lines")
    axes.stairs(flux, edges, baseline=None, color=QUIET, lw=0.4)
    good = np.where(valid, flux, np.nan)
    error = _draw_error(axes, edges, good, pixels.ivar[0])
    axes.stairs(good, edges, baseline=None, color=INK, lw=0.6, label="flux")
    model = _list(row, "model")
    if model is not None and np.any(model):
        axes.plot(wavelength, model, color=PALETTE[1], lw=0.8, label="survey's model")
    axes.set(
        xlim=(edges[0], edges[-1]),
        ylim=_limits(good, error, model),
        xlabel=label,
        ylabel=FLUX,
    )
    _legend(axes)
    return solved


def _draw_error(axes: Axes, edges: FloatArray, good: FloatArray, ivar: FloatArray) -> FloatArray:
    """Band of one standard deviation; gives the deviations, NaN where they are unknown."""
    known = ivar > 0
    error = np.where(known, 1 / np.sqrt(np.where(known, ivar, 1)), np.nan)
    if known.any():
        axes.stairs(
            good + error,
            edges,
            baseline=good - error,
            fill=True,
            color=PALETTE[5],
            alpha=0.5,
            lw=0,
            label="±1σ",
        )
    return error


def _legend(axes: Axes) -> None:
    """Below the ticks of the lines."""
    axes.legend(loc="upper right", ncols=5, bbox_to_anchor=(1, 0.96), borderaxespad=0.2)


def _list(row: pa.RecordBatch, name: str) -> FloatArray | None:
    values = row[name][0].as_py() if name in row.schema.names else None
    return None if values is None else np.asarray(values, np.float64)


def _sky_lines(sky: FloatArray) -> BoolArray:
    """Pixels where the sky stands out from the sky around it."""
    around = median_filter(sky, _SKY_WIDTH, mode="nearest")
    bright = (sky > _SKY_CONTRAST * around) & (around > 0)
    # A line's wings leave residuals as its core does.
    return np.convolve(bright, np.ones(5), mode="same") > 0


def _shade(
    axes: Axes, edges: FloatArray, where: BoolArray, colour: str, height: float, label: str
) -> None:
    """Shade runs of pixels from below, to a share of the axes' height."""
    steps = np.flatnonzero(np.diff(where.astype(np.int8), prepend=0, append=0))
    first, last = edges[steps[::2]], edges[steps[1::2]]
    if len(first):
        axes.broken_barh(
            list(zip(first, last - first, strict=True)),
            (0, height),
            transform=axes.get_xaxis_transform(),
            color=colour,
            alpha=0.35 if height == 1 else 1,
            lw=0,
            label=label,
        )


def _limits(
    good: FloatArray, error: FloatArray, model: FloatArray | None = None
) -> tuple[float, float]:
    """Limits that hold the spectrum and its model, but not wild pixels and noisy ends."""
    there = np.isfinite(good)
    if not there.any():
        return 0.0, 1.0
    known = error[there & np.isfinite(error)]
    calm = there
    if len(known):
        # Of a bright object the brightest part has the largest errors, and is to be seen.
        calm = there & ~((error > _NOISY * np.median(known)) & (good < _SURE * error))
    low, high = np.percentile(good[calm], [0.2, 99.8])
    if model is not None and np.any(model):
        # Models run wild at their ends, and rise to peaks in emission lines.
        low = min(low, np.percentile(model[calm], 0.2))
        high = max(high, model[calm].max())
    span = (high - low) or abs(high) or 1.0
    # A spectrum that comes near zero is shown from there.
    low = 0.0 if 0 < low < 0.5 * high else low - 0.1 * span
    return float(low), float(high + 0.2 * span)


def draw_normalised(axes: Axes, row: dict[str, Any]) -> None:
    """Draw what a recipe leaves of a spectrum, on the common grid.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    row : dict
        Of sdss.preprocessed_spectra: recipe, flux, ivar (or None), valid.
    """
    flux, valid = np.asarray(row["flux"], np.float64), np.asarray(row["valid"], bool)
    edges = GRID.edges
    _shade(axes, edges, ~valid, QUIET, 1.0, "not measured")
    good = np.where(valid, flux, np.nan)
    ivar = np.full(len(flux), np.nan) if row["ivar"] is None else np.asarray(row["ivar"])
    error = _draw_error(axes, edges, good, ivar)
    axes.stairs(good, edges, baseline=None, color=INK, lw=0.6, label=f"recipe {row['recipe']}")
    axes.axhline(1, color=PALETTE[1], lw=0.5)
    first, last = np.flatnonzero(valid)[[0, -1]]
    axes.set(
        xlim=(edges[first], edges[last + 1]),
        ylim=_limits(good, error),
        xlabel=REST_WAVELENGTH,
        ylabel="flux / continuum",
    )
    _legend(axes)


def draw_lines(axes: Axes, lines: pa.Table, stretch: float) -> None:
    """Draw ticks at the lines within the axes, and the names of as many as there is room for.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        With its limits set.
    lines : pyarrow.Table
        Columns transition and lambda_rest_A (Angstrom, vacuum).
    stretch : float
        1 + z.
    """
    low, high = axes.get_xlim()
    at = np.asarray(lines["lambda_rest_A"].to_numpy(), np.float64) * stretch
    inside = (at > low) & (at < high)
    names = lines["transition"].to_pylist()
    for x in at[inside]:
        axes.plot([x, x], [0.955, 1], color=INK, lw=0.5, transform=axes.get_xaxis_transform())
    for i in _with_room((at - low) / (high - low), names, inside):
        axes.annotate(
            _symbol(names[i]),
            (at[i], 1),
            (0, 2),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="bottom",
            size=5.5,
        )


def _with_room(place: FloatArray, names: Sequence[str], inside: BoolArray) -> list[int]:
    """Which names can be written: the foremost lines first, none upon another."""
    rank = [NOTABLE.index(name) if name in NOTABLE else len(NOTABLE) for name in names]
    chosen: list[int] = []
    for i in sorted(np.flatnonzero(inside).tolist(), key=lambda i: rank[i]):
        if all(abs(place[i] - place[j]) >= _NAME_GAP for j in chosen):
            chosen.append(i)
    return chosen


def _symbol(name: str) -> str:
    """``H alpha`` as astronomers write it, Hα."""
    first, _, second = name.partition(" ")
    if first == "H":
        return "H" + _GREEK.get(second, second)
    return name.replace(" band head", "")


def draw_detected(axes: Axes, detected: pa.Table) -> None:
    """Draw triangles at features that were matched with a line, below in absorption.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        In the rest frame.
    detected : pyarrow.Table
        Columns kind, lambda_A (Angstrom, vacuum), elem (null if not matched).
    """
    matched = detected.filter(pa.array([e is not None for e in detected["elem"].to_pylist()]))
    at = np.asarray(matched["lambda_A"].to_numpy(), np.float64)
    kinds = np.asarray(matched["kind"].to_pylist(), dtype=str)
    for kind, marker, height in (("absorption", "^", 0.03), ("emission", "v", 0.83)):
        found = at[kinds == kind]
        axes.plot(
            found,
            np.full(len(found), height),
            marker,
            color=PALETTE[0],
            ms=3,
            transform=axes.get_xaxis_transform(),
            label=f"matched, {kind}" if len(found) else None,
        )
    _legend(axes)
