"""Tables for a paper on networks: how they were trained and how good they are."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from lake.sdss import scores
from lake.sdss.sequence import spectral_sequence
from lake.sdss.table_columns import CLASS, column, declared, of_one, table_of

#: Characters of a model's id that are enough to tell models of a paper apart.
_SHORT_ID = 8
_SHARES = dict.fromkeys(
    ("accuracy", "letter_accuracy", "macro_f1", "expected_calibration_error", "log_loss"), "F6.3"
)

_MODEL = column("model", pa.string(), f"First {_SHORT_ID} characters of the model's id")
_FROM_JSON = {
    "network": (pa.string(), "Network", None),
    "learning_rate": (pa.float64(), "Learning rate at the start", "G8.3"),
    "batch_size": (pa.int64(), "Spectra to a batch", None),
    "epochs": (pa.int64(), "Epochs at most", None),
    "patience": (pa.int64(), "Epochs without progress after which training ends", None),
    "dropout": (pa.float64(), "Dropout", "F5.2"),
    "weight_decay": (pa.float64(), "Weight decay", "G8.3"),
    "class_weights": (pa.bool_(), "Whether rare classes count more", None),
}
_CONFIGURATION = pa.schema(
    [
        _MODEL,
        *declared("sdss.cnn_models", ("configuration_name", "recipe", "n_parameters"), {}),
        *(column(k, kind, text, form=form) for k, (kind, text, form) in _FROM_JSON.items()),
        column("augmentation", pa.bool_(), "Whether spectra are seen with noise, gaps and shifts"),
        column("seed", pa.int64(), "Seed"),
    ]
)
_SCORES = pa.schema(
    [
        _MODEL,
        *declared(
            "sdss.cnn_models",
            (
                "configuration_name", "recipe", "n_train", "n_validation", "n_test", "n_epochs",
                "temperature", "abstention_threshold", "accuracy", "letter_accuracy",
                "expected_calibration_error", "log_loss", "train_seconds",
            ),
            {**_SHARES, "temperature": "F6.3", "abstention_threshold": "F6.3",
             "train_seconds": "F8.0"},
        ),
    ]
)  # fmt: skip


def network_configurations(models: pa.Table) -> pa.Table:
    """Table C, first part: how each network is built and trained.

    Parameters
    ----------
    models : pyarrow.Table
        Rows of sdss.cnn_models.

    Returns
    -------
    pyarrow.Table
        A row per model, by the names of configuration and recipe; null where a configuration
        does not say.
    """
    rows = []
    for row in _models(models):
        configuration = json.loads(row["configuration_json"])
        given = {key: configuration.get(key) for key in _FROM_JSON}
        rows.append({**row, **given, "augmentation": configuration.get("augmentation") is not None})
    return table_of(rows, _CONFIGURATION)


def network_scores(models: pa.Table) -> pa.Table:
    """Table C, second part: what each network was trained on and reached on the test side.

    Parameters
    ----------
    models : pyarrow.Table
        Rows of sdss.cnn_models.

    Returns
    -------
    pyarrow.Table
        A row per model, in the order of `network_configurations`.
    """
    return table_of(_models(models), _SCORES)


def _models(models: pa.Table) -> list[dict[str, Any]]:
    rows = sorted(
        models.to_pylist(), key=lambda r: (r["configuration_name"], r["recipe"], r["model_id"])
    )
    return [{**row, "model": row["model_id"][:_SHORT_ID]} for row in rows]


_CLASS_SCORES = pa.schema(
    [
        CLASS,
        column("recall", pa.float64(), "Share of the class that is recognised", form="F6.3"),
        column("precision", pa.float64(), "Share of those taken for it that are", form="F6.3"),
        column("f1", pa.float64(), "Harmonic mean of recall and precision", form="F6.3"),
        column("support", pa.int64(), "Spectra of the class on the test side", ucd="meta.number"),
    ]
)


def class_scores(confusion: pa.Table) -> pa.Table:
    """Table D: how well a network recognises each class.

    Parameters
    ----------
    confusion : pyarrow.Table
        Rows of the view sdss.confusion of one model: release, model_id, class_mk,
        predicted_class, n.

    Returns
    -------
    pyarrow.Table
        A row per class from hot to cool; null where there is nothing to divide by.

    Raises
    ------
    LacusError
        The rows are of several models.
    """
    of_one(confusion, ["release", "model_id"])
    rows = confusion.to_pylist()
    classes = spectral_sequence(row[key] for row in rows for key in ("class_mk", "predicted_class"))
    place = {name: i for i, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for row in rows:
        counts[place[row["class_mk"]], place[row["predicted_class"]]] += row["n"]
    if not rows:
        return _CLASS_SCORES.empty_table()
    made = scores.class_scores(counts)
    columns = [pa.array(classes), *(pa.array(values, from_pandas=True) for values in made)]
    return pa.Table.from_arrays(columns, schema=_CLASS_SCORES)


def ablation(studies: pa.Table) -> pa.Table:
    """Supplement: what each part of the recipe and of the network is worth.

    Parameters
    ----------
    studies : pyarrow.Table
        Rows of sdss.ablation_studies of one release.

    Returns
    -------
    pyarrow.Table
        By study, the variant ``default`` before the others, and level of noise.

    Raises
    ------
    LacusError
        The rows are of several releases.
    """
    of_one(studies, ["release"])
    names = (
        "study", "variant", "snr_level", "n_test", "n_parameters", "n_epochs", "accuracy",
        "letter_accuracy", "macro_f1", "expected_calibration_error",
    )  # fmt: skip
    rows = sorted(
        studies.to_pylist(),
        key=lambda row: (
            row["study"],
            row["variant"] != "default",
            row["variant"],
            scores.level_value(row["snr_level"]),
        ),
    )
    return table_of(rows, declared("sdss.ablation_studies", names, _SHARES))
