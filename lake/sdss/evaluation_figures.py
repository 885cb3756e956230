"""Figures of networks: how they were trained, how good they are, and what each part is worth."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lake.errors import LacusError
from lake.figures import INK, PALETTE, QUIET, TWO_COLUMNS, draw_confusion, plain_ticks, styled
from lake.sdss import scores
from lake.sdss.calibration import expected_calibration_error
from lake.sdss.sequence import spectral_sequence

FloatArray = npt.NDArray[np.float64]

#: Edges of the bins of observed signal-to-noise ratio.
_SNR_EDGES = np.array([0.0, 2, 5, 10, 15, 20, 30, 50, 100, np.inf])
_Corner = Literal["lower right", "lower left"]
#: So many classes are named in a legend, those with the smallest areas.
_NAMED = 14


@styled
def training_history(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draw loss and accuracy by epoch.

    Parameters
    ----------
    history : mapping of str to sequence of float
        loss, accuracy, and where there was a validation side val_loss and val_accuracy, by
        epoch: what history_json of sdss.cnn_models holds.

    Returns
    -------
    matplotlib.figure.Figure
        The epoch with the lowest validation loss (without it, the lowest loss) is marked; of
        equals the last, as in the training.
    """
    watched = np.asarray(history.get("val_loss") or history["loss"], np.float64)
    epochs = np.arange(1, len(watched) + 1)
    best = int(len(watched) - np.argmin(watched[::-1]))
    figure = Figure(figsize=(TWO_COLUMNS, 2.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, history[name], color=PALETTE[0], label="training")
        if history.get(f"val_{name}"):
            axes.plot(epochs, history[f"val_{name}"], "--", color=PALETTE[1], label="validation")
        axes.axvline(best, color=QUIET, lw=0.8, zorder=0, label=f"best epoch, {best}")
        axes.set(xlabel="epoch", ylabel="loss (nats)" if name == "loss" else name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    return figure


@styled
def evaluation(predictions: pa.Table, levels: pa.Table | None = None, title: str = "") -> Figure:
    """Draw how good a network is on spectra whose class is known.

    Parameters
    ----------
    predictions : pyarrow.Table
        One row per spectrum: class_mk (the truth), sn_median (null where unknown), and
        predicted_class, probability, classes and probabilities as in sdss.cnn_predictions, all
        of one model.
    levels : pyarrow.Table, optional
        Rows of sdss.cnn_evaluation of this model.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        Confusion matrix, ROC and precision-recall of each class against the rest, accuracy
        against signal-to-noise ratio, reliability.

    Raises
    ------
    LacusError
        There is no row, or rows differ in their classes.
    """
    truth, predicted = (
        np.asarray(predictions[name].to_pylist(), dtype=str)
        for name in ("class_mk", "predicted_class")
    )
    classes, probabilities = _probabilities(predictions)
    confidence = np.asarray(predictions["probability"].to_numpy(), np.float64)
    snr = np.asarray(predictions["sn_median"].cast(pa.float64()).to_numpy(), np.float64)
    correct = truth == predicted
    figure = Figure(figsize=(TWO_COLUMNS, 7.6), layout="constrained")
    grid = figure.add_gridspec(3, 2, width_ratios=(1.25, 1), height_ratios=(1, 1, 1))
    shown = spectral_sequence([*truth.tolist(), *predicted.tolist()])
    size = float(np.clip(100 / len(shown), 4, 7))
    matrix = scores.confusion_matrix(truth, predicted, shown)
    axes = figure.add_subplot(grid[:2, 0])
    draw_confusion(axes, matrix, shown, size=size)
    axes.set_title(f"accuracy {correct.mean():.3f}, macro F1 {scores.macro_f1(matrix):.3f}")
    _draw_curves(figure, grid[0, 1], grid[1, 1], truth, classes, probabilities)
    _draw_snr(figure.add_subplot(grid[2, 0]), snr, correct, levels)
    _draw_reliability(figure.add_subplot(grid[2, 1]), confidence, correct)
    if title:
        figure.suptitle(title, fontsize=9)
    return figure


def _probabilities(predictions: pa.Table) -> tuple[list[str], FloatArray]:
    """The classes that all rows share, and their probabilities, shape (n, k)."""
    n = len(predictions)
    if not n:
        raise LacusError("no predictions to draw")
    classes: list[str] = predictions["classes"][0].as_py()
    names = pc.list_flatten(predictions["classes"]).to_pylist()
    values = np.asarray(pc.list_flatten(predictions["probabilities"]).to_numpy(), np.float64)
    if names != classes * n or len(values) != len(names):
        raise LacusError("predictions differ in their classes: choose those of one model")
    return classes, values.reshape(n, len(classes))


def _draw_curves(
    figure: Figure,
    above: mpl.gridspec.SubplotSpec,
    below: mpl.gridspec.SubplotSpec,
    truth: npt.NDArray[np.str_],
    classes: list[str],
    probabilities: FloatArray,
) -> None:
    """ROC above, precision and recall below, of each class against the rest."""
    ordered = spectral_sequence(classes)
    # More classes than colours can be told apart: a sequence of classes is one of colours.
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.95, len(ordered)))
    for place, curve, name, x, y in (
        (above, scores.roc, "AUC", "false-positive rate", "true-positive rate"),
        (below, scores.precision_recall, "AP", "recall", "precision"),
    ):
        axes = figure.add_subplot(place)
        found = {
            c: made
            for c in ordered
            if (made := curve(truth == c, probabilities[:, classes.index(c)])) is not None
        }
        named = sorted(found, key=lambda c: found[c].area)[:_NAMED]
        for c, colour in zip(ordered, colours, strict=True):
            if c in found:
                label = f"{c} {found[c].area:.3f}" if c in named else None
                axes.plot(found[c].x, found[c].y, color=colour, lw=0.9, label=label)
        mean = float(np.mean([made.area for made in found.values()])) if found else float("nan")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y)
        axes.set_title(f"one class against the rest: mean {name} {mean:.3f}")
        if found:
            side: _Corner = "lower right" if name == "AUC" else "lower left"
            axes.legend(loc=side, ncols=2, fontsize=5.5, title=name, title_fontsize=6)


def _draw_snr(
    axes: Axes, snr: FloatArray, correct: npt.NDArray[np.bool_], levels: pa.Table | None
) -> None:
    """Accuracy of the spectra as they are, in bins, and of those with noise injected."""
    bins = scores.accuracy_by_snr(snr, correct, _SNR_EDGES)
    used = bins.x > 0
    error = _whiskers(bins)[:, used]
    axes.errorbar(
        bins.x[used],
        bins.accuracy[used],
        yerr=error,
        fmt="o",
        color=INK,
        lw=0.8,
        label="as observed (number)",
    )
    for x, y, n in zip(bins.x[used], bins.low[used], bins.n[used], strict=True):
        axes.annotate(
            str(n), (x, y), (0, -3), textcoords="offset points", ha="center", va="top", size=5.5
        )
    if levels is not None and len(levels):
        ratio = np.array([scores.level_value(v) for v in levels["snr_level"].to_pylist()])
        order = np.argsort(ratio)[: np.count_nonzero(np.isfinite(ratio))]
        for name, colour, marker, label in (
            ("letter_accuracy", PALETTE[0], "^", "noise injected, letter"),
            ("accuracy", PALETTE[1], "s", "noise injected, class"),
        ):
            values = np.asarray(levels[name].to_numpy(), np.float64)
            axes.plot(ratio[order], values[order], color=colour, marker=marker, label=label)
    axes.set_xscale("log")
    plain_ticks(axes.xaxis)
    axes.set(xlabel="signal-to-noise ratio per pixel", ylabel="accuracy", ylim=(-0.02, 1.05))
    axes.legend(loc="lower right")


def _whiskers(bins: scores.Bins) -> FloatArray:
    """How far the intervals reach below and above the accuracy, shape (2, b)."""
    return np.stack([bins.accuracy - bins.low, bins.high - bins.accuracy])


def _draw_reliability(axes: Axes, confidence: FloatArray, correct: npt.NDArray[np.bool_]) -> None:
    """Accuracy against confidence, over the number of spectra with that confidence."""
    bins = scores.reliability(confidence, correct)
    error = expected_calibration_error(confidence, correct)
    axes.bar(
        bins.x,
        0.25 * bins.n / bins.n.max(),
        width=0.03,
        color=PALETTE[5],
        alpha=0.5,
        label=f"number (up to {bins.n.max()})",
    )
    axes.plot([0, 1], [0, 1], color=QUIET, lw=0.8, zorder=0)
    axes.errorbar(
        bins.x,
        bins.accuracy,
        yerr=_whiskers(bins),
        fmt="o",
        color=INK,
        lw=0.8,
        label=f"accuracy; ECE {error:.3f}",
    )
    axes.set(
        xlim=(-0.02, 1.02), ylim=(-0.02, 1.05), xlabel="probability of the class", ylabel="accuracy"
    )
    axes.legend(loc="upper left")


@styled
def release_shift(shift: pa.Table) -> Figure:
    """Draw what becomes of networks on releases that they were not trained on.

    Parameters
    ----------
    shift : pyarrow.Table
        Rows of the view sdss.release_shift, one per model and release: release, model_id,
        model_release, n_labelled, accuracy, mean_probability, abstained_share.

    Returns
    -------
    matplotlib.figure.Figure
        Filled markers are the release that the model was trained on. Accuracy has intervals of
        one standard deviation: a mean probability beyond them is a confidence that the release
        does not bear.
    """
    rows = shift.to_pylist()
    releases = sorted({row["release"] for row in rows}, key=_natural)
    models = sorted(
        {(row["model_release"], row["model_id"]) for row in rows},
        key=lambda pair: (_natural(pair[0]), pair[1]),
    )
    figure = Figure(figsize=(TWO_COLUMNS, 2.8), layout="constrained")
    panels = dict(
        zip(
            ("accuracy", "mean_probability", "abstained_share"),
            figure.subplots(1, 3, sharey=True),
            strict=True,
        )
    )
    for k, model in enumerate(models):
        colour = PALETTE[k % len(PALETTE)]
        aside = 0.5 * ((k + 0.5) / len(models) - 0.5)
        for row in rows:
            if (row["model_release"], row["model_id"]) != model:
                continue
            n = np.array([row["n_labelled"]])
            low, high = scores.wilson(n * row["accuracy"], n)
            errors = {"accuracy": [row["accuracy"] - low, high - row["accuracy"]]}
            face = colour if row["release"] == row["model_release"] else "white"
            for name, axes in panels.items():
                axes.errorbar(
                    releases.index(row["release"]) + aside,
                    row[name],
                    yerr=errors.get(name),
                    fmt="o",
                    color=colour,
                    markerfacecolor=face,
                    lw=0.8,
                )
        label = f"{model[1][:8]}, trained on {model[0]}"
        panels["accuracy"].plot([], [], "o", color=colour, label=label)
    ticks = []
    for release in releases:
        # A model is tested on part of its own release, and on the whole of others.
        counts = [row["n_labelled"] for row in rows if row["release"] == release]
        span = " to ".join(map(str, sorted({min(counts), max(counts)})))
        ticks.append(f"{release}\n({span})")
    for name, axes in panels.items():
        axes.set_xticks(range(len(releases)), ticks)
        axes.set(
            title=name.replace("_", " "),
            xlabel="release (labelled spectra)",
            xlim=(-0.5, max(len(releases), 1) - 0.5),
            ylim=(-0.02, 1.05),
        )
        axes.grid(axis="y", color="#EEEEEE", lw=0.5)
    if models:
        panels["accuracy"].legend(loc="lower left")
    return figure


def _natural(release: str) -> list[tuple[int, str]]:
    """DR8 before DR17."""
    return [(int(part), "") if part.isdecimal() else (-1, part)
            for part in re.split(r"(\d+)", release)]  # fmt: skip


@styled
def ablation(studies: pa.Table) -> Figure:
    """Draw what each part of the recipe and of the network is worth.

    Parameters
    ----------
    studies : pyarrow.Table
        Rows of sdss.ablation_studies of one release.

    Returns
    -------
    matplotlib.figure.Figure
        A row per variant, `default` on top of each study; a point per level of noise.
    """
    rows = studies.to_pylist()
    variants = sorted(
        {(row["study"], row["variant"]) for row in rows},
        key=lambda pair: (pair[0], pair[1] != "default", pair[1]),
    )
    levels = scores.noise_levels(row["snr_level"] for row in rows)
    colours = mpl.colormaps["viridis"](np.linspace(0.9, 0, len(levels)))
    height = 1.3 + 0.28 * len(variants)
    figure = Figure(figsize=(TWO_COLUMNS, height), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, name, label in zip(
        panels,
        ("accuracy", "macro_f1", "expected_calibration_error"),
        ("accuracy", "macro F1", "expected calibration error"),
        strict=True,
    ):
        for level, colour, marker in zip(levels, colours, "ovs^Dp*hX" * len(levels), strict=False):
            own = [row for row in rows if row["snr_level"] == level]
            at = [variants.index((row["study"], row["variant"])) for row in own]
            text = f"S/N {level}" if np.isfinite(scores.level_value(level)) else level
            axes.plot([row[name] for row in own], at, marker, color=colour, label=text)
        axes.set(xlabel=label, xlim=(-0.02, 1.02 if name != "expected_calibration_error" else None))
        axes.grid(axis="y", color="#EEEEEE", lw=0.5)
        for i, (before, after) in enumerate(pairwise(variants)):
            if before[0] != after[0]:
                axes.axhline(i + 0.5, color=QUIET, lw=0.6)
    panels[0].set_yticks(range(len(variants)), [f"{s}: {v}" for s, v in variants])
    panels[0].set_ylim(len(variants) - 0.5, -0.5)
    handles, texts = panels[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside upper center", ncols=max(len(levels), 1))
    return figure
