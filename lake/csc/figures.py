"""Figures of the CSC mission."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from lake.csc.features import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion(validation: pa.Table) -> "Figure":
    """Draw the confusion matrix of each method, each row as fractions of its true class.

    Parameters
    ----------
    validation : pyarrow.Table
        Rows of csc.validation of one release.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    counts = pl.DataFrame(validation).filter(
        (pl.col("metric") == "confusion") & (pl.col("level") == "class")
    )
    methods = counts["method"].unique(maintain_order=True).to_list()
    figure = Figure(figsize=(6.2 * max(len(methods), 1), 5.6), layout="constrained")
    for i, method in enumerate(methods):
        matrix = np.zeros((len(CLASSES), len(CLASSES)))
        for true, predicted, value in (
            counts.filter(pl.col("method") == method)
            .select("class", "predicted_class", "value")
            .iter_rows()
        ):
            matrix[CLASSES.index(true), CLASSES.index(predicted)] = value
        total = matrix.sum(axis=1, keepdims=True)
        share = np.divide(matrix, total, out=np.zeros_like(matrix), where=total > 0)
        axes = figure.add_subplot(1, len(methods), i + 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(share):
            if value >= 0.005:
                shade = "white" if value > 0.6 else "black"
                axes.text(
                    column, row, f"{value:.2f}", ha="center", va="center", size=7, color=shade
                )
        axes.set_xticks(range(len(CLASSES)), CLASSES, rotation=60, ha="right")
        axes.set_yticks(
            range(len(CLASSES)),
            [f"{c} ({int(n)})" for c, n in zip(CLASSES, total[:, 0], strict=True)],
        )
        axes.set(title=method, xlabel="predicted class", ylabel="labelled class (detections)")
    return figure


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure, the same bytes for the same figure; its folder is made if need be."""
    import matplotlib as mpl

    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "lacus"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path
