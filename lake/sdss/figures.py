"""Figures of spectra: one object, an example of what a recipe does, the classes of a sample."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lake.errors import LacusError
from lake.figures import PALETTE, QUIET, TWO_COLUMNS, plain_ticks, styled
from lake.sdss.sequence import spectral_sequence
from lake.sdss.spectrum_axes import (
    NOTABLE,
    draw_detected,
    draw_lines,
    draw_normalised,
    draw_observed,
    one_row,
)
from lake.sdss.splits import SPLITS
from lake.sdss.steps import GRID, SPEED_OF_LIGHT_KMS


@styled
def spectrum(
    spectra: pa.Table, metadata: pa.Table, lines: pa.Table, prediction: pa.Table | None = None
) -> Figure:
    """Draw one object: flux with its error, the survey's model, bad pixels, lines, night sky.

    Parameters
    ----------
    spectra : pyarrow.Table
        One row of sdss.spectra.
    metadata : pyarrow.Table
        The row of sdss.spectra_metadata that belongs to it.
    lines : pyarrow.Table
        Rows of sdss.line_list; those with `use_flag` are marked, at the object's redshift, and
        forbidden lines only where the object is no star.
    prediction : pyarrow.Table, optional
        A row of sdss.cnn_predictions.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    LacusError
        There is not exactly one spectrum, or its pixels are not usable (`batches`).
    """
    about = one_row(metadata, "sdss.spectra_metadata")
    figure = Figure(figsize=(TWO_COLUMNS, 3.2), layout="constrained")
    axes = figure.add_subplot()
    if draw_observed(axes, spectra, metadata):
        draw_lines(axes, _shown(lines, about), 1 + (_redshift(about) or 0.0))
    found = one_row(prediction, "sdss.cnn_predictions") if prediction is not None else {}
    figure.suptitle(_title(about, found), fontsize=8.5)
    return figure


@styled
def example_spectrum(
    spectra: pa.Table,
    metadata: pa.Table,
    preprocessed: pa.Table,
    lines: pa.Table,
    detected: pa.Table | None = None,
) -> Figure:
    """Draw a spectrum as it was observed and as a recipe leaves it.

    Parameters
    ----------
    spectra, metadata : pyarrow.Table
        See `spectrum`.
    preprocessed : pyarrow.Table
        One row of sdss.preprocessed_spectra, by a recipe that ends on the common grid.
    lines : pyarrow.Table
        See `spectrum`.
    detected : pyarrow.Table, optional
        Rows of sdss.spectral_lines of this spectrum and recipe; features that were matched
        with a line are marked with triangles.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    LacusError
        See `spectrum`; the recipe does not end on the common grid.
    """
    about = one_row(metadata, "sdss.spectra_metadata")
    row = one_row(preprocessed, "sdss.preprocessed_spectra")
    if len(row["flux"]) != GRID.size:
        raise LacusError(
            f"recipe {row['recipe']} gives {len(row['flux'])} pixels, not the {GRID.size} of the"
            " common grid: they have no wavelengths"
        )
    shown = _shown(lines, about)
    figure = Figure(figsize=(TWO_COLUMNS, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1)
    draw_observed(above, spectra, metadata)
    draw_lines(above, shown, 1 + (_redshift(about) or 0.0))
    draw_normalised(below, row)
    draw_lines(below, shown, 1.0)
    if detected is not None and len(detected):
        draw_detected(below, detected)
    figure.suptitle(_title(about, {}), fontsize=8.5)
    return figure


@styled
def class_balance(sample: pa.Table) -> Figure:
    """Draw how many spectra each class has, and how good they are.

    Parameters
    ----------
    sample : pyarrow.Table
        One row per spectrum: class_mk, sn_median (null where unknown), and perhaps split, by
        which the bars are divided; as in sdss.splits.

    Returns
    -------
    matplotlib.figure.Figure
    """
    truth = np.asarray(sample["class_mk"].to_pylist(), dtype=str)
    snr = np.asarray(sample["sn_median"].cast(pa.float64()).to_numpy(), np.float64)
    has_splits = "split" in sample.column_names
    side = np.asarray(sample["split"].to_pylist() if has_splits else ["spectra"] * len(truth))
    classes = spectral_sequence(truth.tolist())
    figure = Figure(figsize=(TWO_COLUMNS, 4.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    base = np.zeros(len(classes), np.int64)
    for name, colour in zip(SPLITS if has_splits else ("spectra",), PALETTE, strict=False):
        counts = np.array(
            [np.count_nonzero((truth == c) & (side == name)) for c in classes], np.int64
        )
        above.bar(range(len(classes)), counts, bottom=base, width=0.7, color=colour, label=name)
        base += counts
    for i, total in enumerate(base):
        above.annotate(
            f"{total}", (i, total), (0, 2), textcoords="offset points", ha="center", size=6.5
        )
    above.set(ylabel="spectra", ylim=(0, 1.15 * max(base, default=1)))
    if has_splits:
        # Outside, where no bar can reach it.
        above.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderpad=0)
    known = [snr[(truth == c) & (snr > 0)] for c in classes]
    if any(len(values) for values in known):
        _draw_boxes(below, known)
    else:
        below.text(0.5, 0.5, "not known", transform=below.transAxes, ha="center", color=QUIET)
        below.set_yticks([])
    below.set(ylabel="median S/N per pixel", xlabel="class")
    below.set_xticks(range(len(classes)), classes)
    return figure


def _draw_boxes(axes: Axes, samples: list[npt.NDArray[np.float64]]) -> None:
    """Median, quartiles, and what lies beyond 1.5 times their distance, on a logarithmic axis."""
    axes.boxplot(
        samples,
        positions=range(len(samples)),
        widths=0.5,
        patch_artist=True,
        boxprops={"facecolor": "#D9E6F2", "linewidth": 0.6},
        medianprops={"color": PALETTE[1], "linewidth": 1.2},
        flierprops={"marker": ".", "markersize": 2, "markeredgecolor": QUIET},
        whiskerprops={"linewidth": 0.6},
        capprops={"linewidth": 0.6},
    )
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)


def _redshift(about: dict[str, Any]) -> float | None:
    """Redshift that the recipes use too: velocity over the speed of light."""
    velocity = 0.0 if about.get("at_rest") else about.get("z_or_rv_kms")
    return None if velocity is None else velocity / SPEED_OF_LIGHT_KMS


def _title(about: dict[str, Any], found: dict[str, Any]) -> str:
    parts = [str(about["spec_id"])]
    kind = " ".join(t for key in ("object_class", "object_subclass") if (t := about.get(key)))
    if kind:
        parts.append(kind)
    z = about.get("z")
    if z is not None:
        error = about.get("z_err")
        good = error is not None and 0 < error < 1
        text = f"z = {z:.5f} ± {error:.5f}" if good else f"z = {z:.5f}"
        parts.append(f"{text} (warning)" if about.get("z_warning") else text)
    if about.get("sn_median") is not None:
        parts.append(f"S/N {about['sn_median']:.1f}")
    if found:
        unsure = ", abstained" if found.get("abstained") else ""
        probability = f"p = {found['probability']:.2f}{unsure}"
        parts.append(f"network: {found['predicted_class']} ({probability})")
    return "   ".join(parts)


def _shown(lines: pa.Table, about: dict[str, Any]) -> pa.Table:
    """Lines of the line list that this kind of object can have, by wavelength."""
    names, used = lines["transition"].to_pylist(), lines["use_flag"].to_pylist()
    if (about.get("object_class") or "STAR") == "STAR":
        kept = [flag and not name.startswith("[") for name, flag in zip(names, used, strict=True)]
    else:
        kept = [
            flag and (name.startswith("[") or name in NOTABLE)
            for name, flag in zip(names, used, strict=True)
        ]
    return lines.filter(pa.array(kept, pa.bool_())).sort_by("lambda_rest_A")
