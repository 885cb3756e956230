"""Figures of the CSC mission."""

import numpy as np
import polars as pl
import pyarrow as pa
from matplotlib.figure import Figure

from lake.csc.features import CLASSES
from lake.figures import draw_confusion, styled


@styled
def confusion(validation: pa.Table) -> Figure:
    """Draw the confusion matrix of each method, each row as fractions of its true class.

    Parameters
    ----------
    validation : pyarrow.Table
        Rows of csc.validation of one release.

    Returns
    -------
    matplotlib.figure.Figure
    """
    counts = pl.DataFrame(validation).filter(
        (pl.col("metric") == "confusion") & (pl.col("level") == "class")
    )
    methods = counts["method"].unique(maintain_order=True).to_list()
    figure = Figure(figsize=(4.2 * max(len(methods), 1), 4.0), layout="constrained")
    for i, method in enumerate(methods):
        matrix = np.zeros((len(CLASSES), len(CLASSES)))
        for true, predicted, value in (
            counts.filter(pl.col("method") == method)
            .select("class", "predicted_class", "value")
            .iter_rows()
        ):
            matrix[CLASSES.index(true), CLASSES.index(predicted)] = value
        axes = figure.add_subplot(1, len(methods), i + 1)
        draw_confusion(axes, matrix, CLASSES, size=5.5)
        axes.set(title=method, ylabel="labelled class (detections)")
    return figure
