"""A trained classifier: plain numbers, read and written as canonical JSON."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from lake.canonical import canonical_json, content_id
from lake.csc.features import (
    CLASSES,
    FEATURES,
    FloatArray,
    Normalisation,
    feature_matrix,
    label_codes,
)
from lake.csc.mixture import Mixture, fit_mixture
from lake.csc.posterior import Posterior, fit_posterior
from lake.csc.softmin import MIN_MEMBERS, ClassStatistics, class_statistics
from lake.csc.threads import one_thread
from lake.errors import LacusError

_FORMAT = "lacus-csc-classifier/1"


@dataclass(frozen=True)
class ClassModel:
    """Everything that `lake.csc.classify.classify` needs.

    Attributes
    ----------
    normalisation : Normalisation
    mixture : Mixture
        Over the normalised features: the clusters.
    statistics : ClassStatistics
        Mean and covariance of each class in each cluster: the published rule.
    posterior : Posterior or None
        None where no label was given.
    training : dict
        seed, rows, rows_complete, sources, values_undefined (at or below the offset under a
        logarithm), labelled (detections with all features, by class).
    """

    normalisation: Normalisation
    mixture: Mixture
    statistics: ClassStatistics
    posterior: Posterior | None
    training: dict[str, Any]

    @property
    def components(self) -> int:
        """The number of clusters."""
        return len(self.mixture.weights)

    @cached_property
    def model_id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of `to_json`."""
        return content_id(self.to_json())

    def to_json(self) -> str:
        """Write the model as canonical JSON; every number is kept to the last bit."""
        known = np.argwhere(self.statistics.counts >= MIN_MEMBERS)
        return canonical_json(
            {
                "format": _FORMAT,
                "features": list(FEATURES),
                "classes": list(CLASSES),
                "normalisation": self.normalisation.to_dict(),
                "mixture": self.mixture.to_dict(),
                "softmin": {
                    "counts": self.statistics.counts.tolist(),
                    "classes": [
                        {
                            "cluster": int(k),
                            "class": CLASSES[c],
                            "mean": self.statistics.means[k, c].tolist(),
                            "covariance": self.statistics.covariances[k, c].tolist(),
                        }
                        for k, c in known
                    ],
                },
                "posterior": None if self.posterior is None else self.posterior.to_dict(),
                "training": self.training,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "ClassModel":
        """Read what `to_json` wrote.

        Raises
        ------
        LacusError
            If the text is not such a model.
        """
        try:
            numbers = json.loads(text)
        except json.JSONDecodeError as error:
            raise LacusError(f"the model is not JSON: {error}") from error
        found = numbers.get("format") if isinstance(numbers, dict) else None
        if found != _FORMAT:
            raise LacusError(f"the model has format {found!r}, expected {_FORMAT!r}")
        if tuple(numbers["features"]) != FEATURES or tuple(numbers["classes"]) != CLASSES:
            raise LacusError("the model is for other features or classes than this version's")
        try:
            counts = np.asarray(numbers["softmin"]["counts"], dtype=np.int64)
            f = len(FEATURES)
            means = np.full((*counts.shape, f), np.nan)
            covariances = np.full((*counts.shape, f, f), np.nan)
            for entry in numbers["softmin"]["classes"]:
                place = entry["cluster"], CLASSES.index(entry["class"])
                means[place], covariances[place] = entry["mean"], entry["covariance"]
            posterior = numbers["posterior"]
            return cls(
                Normalisation.from_dict(numbers["normalisation"]),
                Mixture.from_dict(numbers["mixture"]),
                ClassStatistics(counts, means, covariances),
                None if posterior is None else Posterior.from_dict(posterior),
                numbers["training"],
            )
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise LacusError(f"the model is incomplete or damaged: {error!r}") from error


def _lacking(raw: FloatArray) -> str:
    """Which features are missing in how many detections, most first; "" for none."""
    missing = np.isnan(raw).sum(axis=0)
    order = [i for i in np.argsort(-missing, kind="stable").tolist() if missing[i]]
    named = ", ".join(f"{FEATURES[i]} ({missing[i]:,})" for i in order)
    return f"; missing: {named}" if named else ""


@one_thread("sklearn.mixture")
def train(table: pa.Table, *, components: int = 6, seed: int = 42) -> ClassModel:
    """Train both classifiers on a table of detections.

    Parameters
    ----------
    table : pyarrow.Table
        Columns name, the twelve features and main_type (null, or the column absent, where
        unlabelled). Rows with a missing feature set the scale of their other features and are
        otherwise left out, as in the published method.
    components : int
        Clusters.
    seed : int
        Of every random choice.

    Returns
    -------
    ClassModel

    Raises
    ------
    LacusError
        If a column is absent or there are too few complete detections.
    """
    if "name" not in table.column_names:
        raise LacusError("the table lacks the column 'name', which says what is one source")
    raw = feature_matrix(table)
    if (have := (~np.isnan(raw).any(axis=1)).sum()) < max(components, 2):
        raise LacusError(
            f"{components} clusters need at least {max(components, 2)} detections with all twelve "
            f"features; of {table.num_rows} given, {have} have them{_lacking(raw)}"
        )
    normalisation = Normalisation.fit(raw)
    x, undefined = normalisation.transform(raw)
    complete = ~np.isnan(x).any(axis=1)
    if "main_type" in table.column_names:
        label = label_codes(table.column("main_type"))
    else:
        label = label_codes(pa.nulls(table.num_rows))
    source = np.array([str(name).strip() for name in table.column("name").to_pylist()], object)
    mixture = fit_mixture(x, components, seed)
    counted = np.bincount(label[complete & (label >= 0)], minlength=len(CLASSES))
    return ClassModel(
        normalisation,
        mixture,
        class_statistics(
            x[complete], mixture.predict(x[complete]), label[complete], len(mixture.weights)
        ),
        fit_posterior(x, label, source, components, seed),
        {
            "seed": seed,
            "rows": table.num_rows,
            "rows_complete": int(complete.sum()),
            "sources": len(set(source.tolist())),
            "values_undefined": undefined,
            "labelled": {name: int(counted[c]) for c, name in enumerate(CLASSES)},
        },
    )
