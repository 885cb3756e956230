"""The published classifier of Perez-Diaz et al. 2024, ready to use without any lake.

Its normalisation and mixture are as published; its class log-odds were recovered from its
published probabilities, which fix the difference of two squared distances but neither of them.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.canonical import canonical_json, content_id
from lake.csc.classify import mixture_novelty
from lake.csc.features import CLASSES, Normalisation
from lake.csc.gaussian import log_sum_exp
from lake.csc.mixture import Mixture
from lake.csc.outcome import (
    NO_FEATURES,
    Scored,
    classified_table,
    missing_text,
    responsibilities_table,
)
from lake.errors import UsageError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LogOdds:
    """Quadratic log-odds of the classes of one cluster.

    Attributes
    ----------
    center, scale : ndarray, shape (12,)
        Of the features after the logarithm, before any scaling to 0..1.
    classes : ndarray of int, shape (c,)
        Index in `CLASSES`; the others have probability 0.
    coefficients : ndarray, shape (91, c)
        Of 1, the u_i, and the u_i u_j with i <= j row by row; zero for the reference class.
    """

    center: FloatArray
    scale: FloatArray
    classes: npt.NDArray[np.int64]
    coefficients: FloatArray

    def probabilities(self, y: FloatArray) -> FloatArray:
        """Class probabilities, shape (n, 10), of features y, shape (n, 12)."""
        u = (y - self.center) / self.scale
        i, j = np.triu_indices(u.shape[1])
        terms = np.hstack([np.ones((len(u), 1)), u, u[:, i] * u[:, j]])
        log_odds = terms @ self.coefficients
        out = np.zeros((len(u), len(CLASSES)))
        out[:, self.classes] = np.exp(log_odds - log_sum_exp(log_odds))
        return out


@dataclass(frozen=True)
class ReferenceModel:
    """The published classifier.

    Attributes
    ----------
    about : str
        Origin, citation and licence.
    normalisation : Normalisation
    mixture : Mixture
    log_odds : tuple of LogOdds
        One per cluster.
    model_id : str
        The first 16 hexadecimal digits of the SHA-256 of its numbers as canonical JSON.
    """

    about: str
    normalisation: Normalisation
    mixture: Mixture
    log_odds: tuple[LogOdds, ...]
    model_id: str

    def classify(self, table: pa.Table, method: str = "softmin") -> pa.Table:
        """Classify detections as the published classifier does.

        Parameters
        ----------
        table : pyarrow.Table
            As for `lake.csc.classify.classify`.
        method : {"softmin"}

        Returns
        -------
        pyarrow.Table
            The columns of `lake.csc.classify.classify`. Where features are missing, the
            cluster is that of the largest responsibility given the observed ones, and the
            missing ones are filled with their conditional mean in that component; `reason`
            then says ``filled: ...``. novelty_p_value is sum_k P(k | x) P(chi2 > d2_k) over
            the mixture's components: distances to classes cannot be recovered.

        Raises
        ------
        UsageError
            For the method "posterior".
        """
        if method == "posterior":
            raise UsageError(
                "the reference model has no posterior: its published probabilities fix neither "
                "the class densities nor the priors; train a model on labelled detections "
                "(lacus classify --model lake) or use the method softmin"
            )
        if method != "softmin":
            raise UsageError(f"unknown method {method!r}; the reference model has 'softmin'")
        return classified_table(table, method, self.model_id, self._score)

    def responsibilities(self, table: pa.Table) -> pa.Table:
        """Give cluster and responsibilities; see `lake.csc.classify.responsibilities`."""

        def evaluate(raw: FloatArray) -> FloatArray:
            return self.mixture.responsibilities(self.normalisation.transform(raw)[0])

        return responsibilities_table(table, len(self.log_odds), evaluate)

    def _score(self, raw: FloatArray) -> Scored:
        x, _ = self.normalisation.transform(raw)
        log_responsibilities, _, d2 = self.mixture.evaluate(x)
        cluster = log_responsibilities.argmax(axis=1)
        nothing = np.isnan(x).all(axis=1)
        reason = missing_text(x)
        lacking = np.array([text is not None for text in reason], dtype=bool)
        reason[lacking] = "filled: " + reason[lacking]
        reason[nothing] = NO_FEATURES
        y = self.normalisation.inverse_scale(self.mixture.gaussians.fill(x, cluster))
        probabilities = np.full((len(x), len(CLASSES)), np.nan)
        for k, odds in enumerate(self.log_odds):
            rows = np.flatnonzero((cluster == k) & ~nothing)
            probabilities[rows] = odds.probabilities(y[rows])
        return Scored(
            np.where(nothing, -1, cluster).astype(np.int32),
            probabilities,
            mixture_novelty(log_responsibilities, d2, x),
            np.zeros(len(x), dtype=bool),
            reason,
        )


@lru_cache(maxsize=1)
def load_reference() -> ReferenceModel:
    """Load the published classifier that comes with the package.

    Returns
    -------
    ReferenceModel
        Read once per process.
    """
    numbers = json.loads(files("lake.csc").joinpath("reference_model.json").read_text())
    clusters = []
    for entry in numbers["clusters"]:
        # Not every class has odds: the reference class is the denominator, and the rest is 0.
        names = [entry["reference_class"], *entry["log_odds"]]
        zero = [0.0] * len(next(iter(entry["log_odds"].values())))
        clusters.append(
            LogOdds(
                np.asarray(entry["center"]),
                np.asarray(entry["scale"]),
                np.array([CLASSES.index(name) for name in names]),
                np.array([zero, *entry["log_odds"].values()]).T,
            )
        )
    return ReferenceModel(
        numbers["about"],
        Normalisation.from_dict(numbers),
        Mixture.from_dict(numbers["mixture"]),
        tuple(clusters),
        content_id(canonical_json(numbers)),
    )
