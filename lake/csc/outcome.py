"""The table that every classifier of this package gives back, and who is in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.csc.features import (
    CLASSES,
    FEATURES,
    PROBABILITIES,
    UNLABELLED,
    feature_matrix,
    label_codes,
)
from lake.csc.gaussian import batches, patterns

FloatArray = npt.NDArray[np.float64]
TextArray = npt.NDArray[np.object_]

IDENTIFICATION: tuple[str, ...] = (
    "release",
    "name",
    "obsid",
    "obi",
    "region_id",
    "file_sha256",
    "file_row",
)
"""Columns that say which detection a row is; those that the input has are passed through."""

NO_FEATURES = "missing: all twelve features"

_ROWS = 65536  # of one batch; what bounds the memory beside input and output


@dataclass(frozen=True)
class Scored:
    """What a classifier says about n detections.

    Attributes
    ----------
    cluster : ndarray of int32, shape (n,)
        -1 for none.
    probabilities : ndarray, shape (n, 10)
        NaN in the rows without any.
    novelty : ndarray, shape (n,)
        p-value; NaN for none.
    abstained : ndarray of bool, shape (n,)
        Besides the rows without probabilities, which always abstain.
    reason : ndarray of str or None, shape (n,)
    """

    cluster: npt.NDArray[np.int32]
    probabilities: FloatArray
    novelty: FloatArray
    abstained: npt.NDArray[np.bool_]
    reason: TextArray


def _field(name: str, kind: pa.DataType, ucd: str, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"ucd": ucd, "description": description})


_CLUSTER = _field(
    "cluster",
    pa.int32(),
    "meta.code",
    "Component of the mixture with the largest responsibility; null without any feature",
)
_OUTCOME: tuple[pa.Field, ...] = (
    _field("method", pa.string(), "meta.code", "softmin (as published) or posterior"),
    _CLUSTER,
    *(
        _field(column, pa.float64(), "stat.probability", f"Probability of the class {name}")
        for column, name in zip(PROBABILITIES, CLASSES, strict=True)
    ),
    _field("detection_class", pa.string(), "src.class;meta.main", "Most probable class"),
    _field("runner_up", pa.string(), "src.class", "Second most probable class"),
    _field(
        "margin",
        pa.float64(),
        "stat.probability",
        "Probability of the class less that of the runner-up",
    ),
    _field(
        "novelty_p_value",
        pa.float64(),
        "stat.probability",
        "Chance that a detection of a known kind lies as far out",
    ),
    _field("abstained", pa.bool_(), "meta.code", "The class is absent or must not be relied on"),
    _field("reason", pa.string(), "meta.note", "Why there is no class, or what limits it"),
    _field("model_id", pa.string(), "meta.id", "Model that gave the probabilities"),
)


def missing_text(x: FloatArray) -> TextArray:
    """Name the features that each row lacks.

    Parameters
    ----------
    x : ndarray, shape (n, 12)
        NaN where missing.

    Returns
    -------
    ndarray of str or None, shape (n,)
        ``"powlaw_gamma, bb_kt"``; None where all are there.
    """
    out = np.full(len(x), None, dtype=object)
    for observed, rows in patterns(x):
        if rows is not None and not observed.all():
            out[rows] = ", ".join(
                name for name, there in zip(FEATURES, observed, strict=True) if not there
            )
    return out


def classified_table(
    table: pa.Table, method: str, model_id: str, score: Callable[[FloatArray], Scored]
) -> pa.Table:
    """Classify the unlabelled detections of a table, batch by batch.

    Parameters
    ----------
    table : pyarrow.Table
        The twelve features, identification columns, and `main_type` where labels exist: rows
        with a type of their own are left out then.
    method : str
    model_id : str
    score : callable
        From raw features, shape (n, 12), to `Scored`.

    Returns
    -------
    pyarrow.Table
        In the order of the input.
    """
    known = [table.schema.field(name) for name in IDENTIFICATION if name in table.column_names]
    schema = pa.schema([*known, *_OUTCOME])
    out = []
    for part in batches(table.num_rows, _ROWS):
        rows = _unlabelled(table.slice(part.start, part.stop - part.start))
        columns = _outcome_columns(score(feature_matrix(rows)), method, model_id)
        named = [rows.column(field.name).combine_chunks() for field in known]
        out.append(pa.Table.from_arrays([*named, *columns], schema=schema))
    return pa.concat_tables(out) if out else schema.empty_table()


def responsibilities_table(
    table: pa.Table, components: int, evaluate: Callable[[FloatArray], FloatArray]
) -> pa.Table:
    """Give every detection's responsibilities, labelled or not.

    Parameters
    ----------
    table : pyarrow.Table
    components : int
    evaluate : callable
        From raw features, shape (n, 12), to responsibilities, shape (n, components), NaN in
        rows without any feature.

    Returns
    -------
    pyarrow.Table
        Identification columns, `cluster`, `responsibility_0` to `responsibility_{components - 1}`.
    """
    known = [table.schema.field(name) for name in IDENTIFICATION if name in table.column_names]
    parts = [
        _field(
            f"responsibility_{k}",
            pa.float64(),
            "stat.probability",
            f"Responsibility of component {k}",
        )
        for k in range(components)
    ]
    schema = pa.schema([*known, _CLUSTER, *parts])
    out = []
    for part in batches(table.num_rows, _ROWS):
        rows = table.slice(part.start, part.stop - part.start)
        values = evaluate(feature_matrix(rows))
        arrays = [rows.column(field.name).combine_chunks() for field in known]
        none = np.isnan(values[:, 0])
        cluster = np.where(none, -1, np.nan_to_num(values).argmax(axis=1)).astype(np.int32)
        arrays.append(_masked(cluster, none))
        arrays += [_masked(values[:, k], none) for k in range(components)]
        out.append(pa.Table.from_arrays(arrays, schema=schema))
    return pa.concat_tables(out) if out else schema.empty_table()


def _unlabelled(table: pa.Table) -> pa.Table:
    if "main_type" not in table.column_names:
        return table
    return table.filter(pa.array(label_codes(table.column("main_type")) == UNLABELLED))


def _masked(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, mask=mask)


def _named(indices: npt.NDArray[np.intp], mask: npt.NDArray[np.bool_]) -> pa.Array:
    """Class names of the indices, null under the mask."""
    names = pa.array(CLASSES, pa.string())
    return pc.take(names, pa.array(indices.astype(np.int32), mask=mask))


def _outcome_columns(scored: Scored, method: str, model_id: str) -> Sequence[pa.Array]:
    p = scored.probabilities
    n = len(p)
    none = np.isnan(p[:, 0])
    ranked = np.where(none[:, None], 0.0, p)
    # argmax takes the first of equals, which is the published order of the classes.
    best = ranked.argmax(axis=1)
    every = np.arange(n)
    top = ranked[every, best].copy()
    ranked[every, best] = -1.0
    second = ranked.argmax(axis=1)
    next_best = ranked[every, second]
    alone = none | (next_best <= 0)
    return [
        pa.repeat(pa.scalar(method), n),
        _masked(scored.cluster, scored.cluster < 0),
        *(_masked(p[:, c], none) for c in range(len(CLASSES))),
        _named(best, none),
        _named(second, alone),
        _masked(top - np.maximum(next_best, 0.0), none),
        _masked(scored.novelty, np.isnan(scored.novelty)),
        pa.array(scored.abstained | none),
        pa.array(scored.reason, pa.string()),
        pa.repeat(pa.scalar(model_id), n),
    ]
