"""Grouped cross-validation of the two classifiers, on the same rows, with proper scores."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.csc.classify import Method, classify
from lake.csc.features import AGGREGATE, CLASSES, PROBABILITIES, feature_matrix, label_codes
from lake.csc.folds import grouped_folds, some_sources
from lake.csc.model import train
from lake.csc.threads import one_thread
from lake.errors import LacusError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

METHODS: tuple[Method, ...] = ("softmin", "posterior")

EPSILON = 1e-6
"""A probability below this counts as this much in the log loss."""

BINS = 15
"""Equal bins of confidence in the reliability table and the calibration error."""

_GROUPS = tuple(dict.fromkeys(AGGREGATE.values()))
_GROUP_OF = np.array([_GROUPS.index(AGGREGATE[name]) for name in CLASSES])

_TIDY = pa.schema(
    [
        pa.field("method", pa.string(), metadata={"description": "softmin or posterior"}),
        pa.field(
            "level",
            pa.string(),
            metadata={"description": "overall, class (one of ten) or aggregate (one of four)"},
        ),
        pa.field("metric", pa.string(), metadata={"description": "What was measured"}),
        pa.field("class", pa.string(), metadata={"description": "True class; null for overall"}),
        pa.field(
            "predicted_class",
            pa.string(),
            metadata={"description": "Predicted class, for confusion counts"},
        ),
        pa.field("value", pa.float64(), metadata={"description": "The measure; null if undefined"}),
        pa.field(
            "n", pa.int64(), metadata={"description": "Detections that the measure is taken over"}
        ),
    ]
)
_RELIABILITY = pa.schema(
    [
        pa.field("method", pa.string()),
        pa.field("level", pa.string()),
        pa.field("bin_low", pa.float64()),
        pa.field("bin_high", pa.float64()),
        pa.field("n", pa.int64()),
        pa.field("mean_confidence", pa.float64()),
        pa.field("accuracy", pa.float64()),
    ]
)


MAX_ROWS = 100_000
"""Detections that a cross-validation looks at, at the most."""


class Validation(NamedTuple):
    """What `cross_validate` found; summary and confusion share one schema.

    Attributes
    ----------
    summary : pyarrow.Table
        method, level, metric, class, predicted_class (null), value, n. Metrics: log_loss,
        brier, expected_calibration_error, accuracy, balanced_accuracy, rows_scored,
        rows_undefined, rows_floored; recall and precision per class and aggregate.
    confusion : pyarrow.Table
        The same columns, metric ``confusion``: value is the count of class taken for
        predicted_class, n that of all detections of the class.
    reliability : pyarrow.Table
        method, level, bin_low, bin_high, n, mean_confidence, accuracy.
    """

    summary: pa.Table
    confusion: pa.Table
    reliability: pa.Table

    @property
    def tidy(self) -> pa.Table:
        """Summary and confusion as one table, the form of `csc.validation`."""
        return pa.concat_tables([self.summary, self.confusion])


@one_thread("sklearn.mixture")
def cross_validate(
    table: pa.Table, folds: int = 5, seed: int = 42, components: int = 6, rows: int = MAX_ROWS
) -> Validation:
    """Test both classifiers on sources that their training has not seen.

    Parameters
    ----------
    table : pyarrow.Table
        As for `lake.csc.model.train`, with labels.
    folds : int
        The sources with a label are dealt out to this many folds.
    seed, components : int
        Of `lake.csc.model.train`.
    rows : int
        Of a larger table, whole sources are drawn at random up to this many detections: the
        figures are as good, and the time does not grow with the catalogue.

    Returns
    -------
    Validation

    Raises
    ------
    LacusError
        If fewer labelled sources than folds, or only one class, have all features.

    Notes
    -----
    Scored are labelled detections with all twelve features. Every fold trains anew
    (normalisation, mixture, classes, shrinkage) on all detections except those of the
    held-out sources, labelled or not. Both methods are scored on the same rows: those where
    both give probabilities. ``rows_undefined`` counts, per method, the labelled rows where it
    gives none. Probabilities below `EPSILON` are raised to it under the logarithm, and
    ``rows_floored`` counts them. The Brier score is the sum over classes of squared errors
    (Brier 1950, 0 to 2); the calibration error is the mean absolute difference of confidence
    and accuracy over `BINS` bins weighted by count (Naeini et al. 2015). The level
    ``aggregate`` sums the probabilities of a group first. A recall or precision over nothing
    is null; balanced accuracy is the mean recall of the classes that occur.
    """
    sources = np.array([str(name).strip() for name in table.column("name").to_pylist()], object)
    drawn = some_sources(sources, rows, seed)
    table, sources = table.filter(pa.array(drawn)), sources[drawn]
    truth = label_codes(table.column("main_type")).astype(np.int64)
    scored = (truth >= 0) & ~np.isnan(feature_matrix(table)).any(axis=1)
    distinct = len(set(sources[scored].tolist()))
    if folds < 2 or distinct < folds or len(np.unique(truth[scored])) < 2:
        raise LacusError(
            f"cross-validation in {folds} folds needs at least 2 folds, as many labelled sources "
            f"with all features, and 2 classes; there are {distinct} sources of "
            f"{len(np.unique(truth[scored]))} classes"
        )
    labelled = np.flatnonzero(scored)
    fold = grouped_folds(sources[labelled], truth[labelled], folds, seed)
    probabilities = {method: np.empty((len(labelled), len(CLASSES))) for method in METHODS}
    for held in range(folds):
        out = labelled[fold == held]
        rest = ~np.isin(sources.astype(str), sources[out].astype(str))
        model = train(table.filter(pa.array(rest)), components=components, seed=seed)
        unseen = table.take(pa.array(out)).drop_columns(["main_type"])
        for method in METHODS:
            result = classify(model, unseen, method)
            probabilities[method][fold == held] = np.column_stack(
                [pc.fill_null(result.column(column), np.nan).to_numpy() for column in PROBABILITIES]
            )
    return score(truth[labelled], probabilities)


def score(truth: IntArray, probabilities: dict[Method, FloatArray]) -> Validation:
    """Measure out-of-fold probabilities.

    Parameters
    ----------
    truth : ndarray of int, shape (n,)
        Index in `CLASSES`.
    probabilities : dict of method to ndarray, shape (n, 10)
        NaN in the rows where a method gives none.

    Returns
    -------
    Validation
    """
    undefined = {method: np.isnan(p).any(axis=1) for method, p in probabilities.items()}
    common = ~np.logical_or.reduce(list(undefined.values()))
    y = truth[common]
    summary: list[dict[str, Any]] = []
    confusion: list[dict[str, Any]] = []
    reliability: list[dict[str, Any]] = []
    for method, every in probabilities.items():
        p = every[common]
        grouped = np.column_stack([p[:, g == _GROUP_OF].sum(axis=1) for g in range(len(_GROUPS))])
        summary.append(
            _row(method, "overall", "rows_undefined", undefined[method].sum(), len(truth))
        )
        summary.append(_row(method, "overall", "rows_scored", len(y), len(truth)))
        if not len(y):
            continue
        for level, values, true, names in (
            ("class", p, y, CLASSES),
            ("aggregate", grouped, _GROUP_OF[y], _GROUPS),
        ):
            # The ten classes are what the method is about; their scores are the overall ones.
            at = "overall" if level == "class" else level
            bins = _reliability(values, true)
            summary += [_row(method, at, *item, len(y)) for item in _scores(values, true, bins)]
            reliability += [{"method": method, "level": level, **entry} for entry in bins]
            counts = np.zeros((len(names), len(names)), dtype=np.int64)
            np.add.at(counts, (true, values.argmax(axis=1)), 1)
            for i, name in enumerate(names):
                of_class, taken = int(counts[i].sum()), int(counts[:, i].sum())
                for metric, n in (("recall", of_class), ("precision", taken)):
                    value = counts[i, i] / n if n else None
                    summary.append(_row(method, level, metric, value, n, name))
                confusion += [
                    _row(method, level, "confusion", counts[i, j], of_class, name, names[j])
                    for j in range(len(names))
                ]
    return Validation(
        pa.Table.from_pylist(summary, schema=_TIDY),
        pa.Table.from_pylist(confusion, schema=_TIDY),
        pa.Table.from_pylist(reliability, schema=_RELIABILITY),
    )


def _row(
    method: str,
    level: str,
    metric: str,
    value: Any,
    n: int,
    name: str | None = None,
    predicted: str | None = None,
) -> dict[str, Any]:
    return {
        "method": method,
        "level": level,
        "metric": metric,
        "class": name,
        "predicted_class": predicted,
        "value": None if value is None else float(value),
        "n": int(n),
    }


def _reliability(p: FloatArray, y: IntArray) -> list[dict[str, Any]]:
    """Confidence against accuracy in equal bins of confidence; empty bins are left out."""
    confidence = p.max(axis=1)
    right = p.argmax(axis=1) == y
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return [
        {
            "bin_low": i / BINS,
            "bin_high": (i + 1) / BINS,
            "n": int((place == i).sum()),
            "mean_confidence": float(confidence[place == i].mean()),
            "accuracy": float(right[place == i].mean()),
        }
        for i in np.unique(place).tolist()
    ]


def _scores(
    p: FloatArray, y: IntArray, bins: list[dict[str, Any]]
) -> list[tuple[str, float | np.floating[Any]]]:
    """Metric names and values of one method and level."""
    given = p[np.arange(len(y)), y]
    right = p.argmax(axis=1) == y
    recalls = [right[y == c].mean() for c in np.unique(y)]
    calibration = sum(e["n"] * abs(e["mean_confidence"] - e["accuracy"]) for e in bins) / len(y)
    return [
        ("log_loss", -np.log(np.maximum(given, EPSILON)).mean()),
        ("rows_floored", float((given < EPSILON).sum())),
        ("brier", np.square(p - np.eye(p.shape[1])[y]).sum(axis=1).mean()),
        ("expected_calibration_error", calibration),
        ("accuracy", right.mean()),
        ("balanced_accuracy", float(np.mean(recalls))),
    ]
