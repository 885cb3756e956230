"""The Gaussian mixture that divides the detections into clusters, as plain numbers."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.csc.gaussian import Gaussians, batches, log_sum_exp
from lake.csc.threads import one_thread
from lake.errors import LacusError

FloatArray = npt.NDArray[np.float64]

_SILHOUETTE_ROWS = 5000  # the silhouette is quadratic in rows
_SELECTION_ROWS = 100_000  # enough to tell k from k + 1; the fits of a whole catalogue take hours


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture with full covariances.

    Attributes
    ----------
    weights : ndarray, shape (k,)
    means : ndarray, shape (k, f)
    covariances : ndarray, shape (k, f, f)
    bic : float or None
        Bayesian information criterion on the rows of the fit; None where unknown.
    log_likelihood : float or None
        Sum over the rows of the fit, natural logarithm.
    n_iter : int or None
        Iterations of expectation-maximisation.
    converged : bool or None
    """

    weights: FloatArray
    means: FloatArray
    covariances: FloatArray
    bic: float | None = None
    log_likelihood: float | None = None
    n_iter: int | None = None
    converged: bool | None = None

    @cached_property
    def gaussians(self) -> Gaussians:
        """The components."""
        return Gaussians(self.means, self.covariances)

    def evaluate(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Responsibilities, log-likelihoods and distances, missing features integrated out.

        Parameters
        ----------
        x : ndarray, shape (n, f)
            Normalised features, NaN where missing.

        Returns
        -------
        log_responsibilities : ndarray, shape (n, k)
            ln p(component | observed features); ln of the weights where nothing is observed.
        log_likelihood : ndarray, shape (n,)
            ln of the mixture's density over the observed features.
        d2 : ndarray, shape (n, k)
            Squared Mahalanobis distances to the components.
        """
        k = len(self.weights)
        responsibilities = np.empty((len(x), k))
        likelihood = np.empty(len(x))
        distances = np.empty((len(x), k))
        log_weights = np.log(self.weights)
        for part in batches(len(x)):
            density, distances[part] = self.gaussians.log_density(x[part])
            density += log_weights
            total = log_sum_exp(density)
            likelihood[part] = total[:, 0]
            responsibilities[part] = density - total
        return responsibilities, likelihood, distances

    def log_responsibilities(self, x: FloatArray) -> FloatArray:
        """Logarithms of p(component | observed features), shape (n, k); see `evaluate`."""
        return self.evaluate(x)[0]

    def responsibilities(self, x: FloatArray) -> FloatArray:
        """p(component | observed features), shape (n, k); NaN where a row has no feature."""
        values = np.exp(self.log_responsibilities(x))
        values[np.isnan(x).all(axis=1)] = np.nan
        return values

    def predict(self, x: FloatArray) -> npt.NDArray[np.int32]:
        """Give the most probable component of each row, shape (n,), int32."""
        return self.evaluate(x)[0].argmax(axis=1).astype(np.int32)

    def to_dict(self) -> dict[str, Any]:
        """Give the mixture as plain numbers and lists."""
        return {
            "weights": self.weights.tolist(),
            "means": self.means.tolist(),
            "covariances": self.covariances.tolist(),
            "bic": self.bic,
            "log_likelihood": self.log_likelihood,
            "n_iter": self.n_iter,
            "converged": self.converged,
        }

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> "Mixture":
        """Rebuild from `to_dict`; the four figures of the fit may be absent."""
        return cls(
            np.asarray(numbers["weights"], dtype=np.float64),
            np.asarray(numbers["means"], dtype=np.float64),
            np.asarray(numbers["covariances"], dtype=np.float64),
            numbers.get("bic"),
            numbers.get("log_likelihood"),
            numbers.get("n_iter"),
            numbers.get("converged"),
        )


def fit_mixture(x: FloatArray, components: int = 6, seed: int = 42) -> Mixture:
    """Fit a Gaussian mixture with full covariances.

    Parameters
    ----------
    x : ndarray, shape (n, f)
        Normalised features; rows with a NaN are left out.
    components : int
        Number of Gaussians.
    seed : int
        Of the k-means start.

    Returns
    -------
    Mixture

    Raises
    ------
    LacusError
        If fewer complete rows than components are given (or fewer than two).

    Notes
    -----
    The fit is scikit-learn's `GaussianMixture`, as in the published method, so that the same
    data and seed give the same clusters.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    complete = x[~np.isnan(x).any(axis=1)]
    if len(complete) < max(components, 2):
        raise LacusError(
            f"a mixture of {components} components needs at least {max(components, 2)} "
            f"detections with all features, there are {len(complete)}"
        )
    model = GaussianMixture(components, covariance_type="full", random_state=seed)
    with warnings.catch_warnings():
        # Reported as `converged`, and by duplicated points as components without members.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(complete)
    return Mixture(
        model.weights_,
        model.means_,
        model.covariances_,
        float(model.bic(complete)),
        float(model.score(complete) * len(complete)),
        int(model.n_iter_),
        bool(model.converged_),
    )


@one_thread("sklearn.mixture")
def select_components(
    x: FloatArray, components: Iterable[int] = range(2, 9), seed: int = 42
) -> pa.Table:
    """Compare mixtures of different size.

    Parameters
    ----------
    x : ndarray, shape (n, f)
        Normalised features; rows with a NaN are left out.
    components : iterable of int
        The numbers of components to try.
    seed : int
        Of the k-means starts and of the silhouette's subsample.

    Returns
    -------
    pyarrow.Table
        One row per number: k, bic (lower is better), silhouette (Rousseeuw 1987, -1..1, higher
        is better, on at most 5000 rows; null where one component holds all of them),
        log_likelihood, converged, rows (those fitted: at most 100,000, drawn at random).

    Raises
    ------
    LacusError
        If there are fewer complete rows than components.
    """
    from sklearn.metrics import silhouette_score

    complete = _some_rows(x[~np.isnan(x).any(axis=1)], _SELECTION_ROWS, seed)
    sample = _some_rows(complete, _SILHOUETTE_ROWS, seed)
    rows = []
    for k in components:
        mixture = fit_mixture(complete, k, seed)
        labels = mixture.predict(sample)
        distinct = len(np.unique(labels))
        rows.append(
            {
                "k": k,
                "bic": mixture.bic,
                "silhouette": float(silhouette_score(sample, labels))
                if 1 < distinct < len(sample)
                else None,
                "log_likelihood": mixture.log_likelihood,
                "converged": mixture.converged,
                "rows": len(complete),
            }
        )
    schema = pa.schema(
        [
            pa.field("k", pa.int32()),
            pa.field("bic", pa.float64()),
            pa.field("silhouette", pa.float64()),
            pa.field("log_likelihood", pa.float64()),
            pa.field("converged", pa.bool_()),
            pa.field("rows", pa.int64()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _some_rows(x: FloatArray, rows: int, seed: int) -> FloatArray:
    """Draw rows at random, in their order, where there are more."""
    if len(x) <= rows:
        return x
    chosen = np.random.default_rng(seed).choice(len(x), rows, replace=False, shuffle=False)
    return x[np.sort(chosen)]
