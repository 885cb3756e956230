"""Densities of multivariate Gaussians where some features of a row may be missing.

A missing feature is integrated out: the marginal of a Gaussian keeps the rows and columns of
the features that were observed. Rows are grouped by which features they have, so that one
factorisation serves every row with the same pattern.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError

FloatArray = npt.NDArray[np.float64]


def batches(rows: int, size: int = 16384) -> Iterator[slice]:
    """Yield consecutive slices that cover `rows`, each of at most `size` rows."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def patterns(x: FloatArray) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp] | None]]:
    """Group rows by the features they have.

    Parameters
    ----------
    x : ndarray, shape (n, f)
        NaN where missing.

    Yields
    ------
    observed : ndarray of bool, shape (f,)
    rows : ndarray of int, or None
        The rows with exactly these features; None means all rows, complete.
    """
    present = ~np.isnan(x)
    if present.all():
        yield np.ones(x.shape[1], dtype=bool), None
        return
    codes = present @ (1 << np.arange(x.shape[1], dtype=np.int64))
    distinct, inverse = np.unique(codes, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(len(distinct) + 1))
    for i, code in enumerate(distinct):
        observed = (code >> np.arange(x.shape[1]) & 1).astype(bool)
        yield observed, order[bounds[i] : bounds[i + 1]]


class Gaussians:
    """K Gaussians over the same features.

    Parameters
    ----------
    means : ndarray, shape (k, f)
    covariances : ndarray, shape (k, f, f)
        Symmetric, positive definite.
    """

    def __init__(self, means: FloatArray, covariances: FloatArray) -> None:
        self.means = np.asarray(means, dtype=np.float64)
        self.covariances = np.asarray(covariances, dtype=np.float64)
        self._factors: dict[bytes, tuple[FloatArray, FloatArray]] = {}

    def _factor(self, observed: npt.NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
        """Give whitening matrices (k, p, p) and log-determinants (k,) of the marginals."""
        key = observed.tobytes()
        if key not in self._factors:
            marginal = self.covariances[:, observed][:, :, observed]
            try:
                lower = np.linalg.cholesky(marginal)
            except np.linalg.LinAlgError as error:
                raise LacusError(
                    "a covariance of the model is not positive definite; was the model edited?"
                ) from error
            eye = np.broadcast_to(np.eye(marginal.shape[1]), marginal.shape)
            whiten = np.linalg.solve(lower, eye).transpose(0, 2, 1)
            logdet = 2 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
            self._factors[key] = (np.ascontiguousarray(whiten), logdet)
        return self._factors[key]

    def evaluate(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Squared Mahalanobis distances and log-determinants.

        Parameters
        ----------
        x : ndarray, shape (n, f)
            NaN where missing.

        Returns
        -------
        d2 : ndarray, shape (n, k)
            Over the observed features; 0 where a row has none.
        logdet : ndarray, shape (n, k)
            ln of the determinant of the marginal covariance; 0 where a row has no feature.
        """
        k = len(self.means)
        d2 = np.zeros((len(x), k))
        logdet = np.zeros((len(x), k))
        for observed, rows in patterns(x):
            if not observed.any():
                continue
            whiten, determinant = self._factor(observed)
            part = x if rows is None else x[np.ix_(rows, np.flatnonzero(observed))]
            target = slice(None) if rows is None else rows
            logdet[target] = determinant
            for j in range(k):
                z = (part - self.means[j, observed]) @ whiten[j]
                d2[target, j] = np.einsum("ij,ij->i", z, z)
        return d2, logdet

    def log_density(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log densities of the marginals over the observed features, and the distances.

        Parameters
        ----------
        x : ndarray, shape (n, f)
            NaN where missing.

        Returns
        -------
        log_density : ndarray, shape (n, k)
            0 where a row has no feature at all.
        d2 : ndarray, shape (n, k)
            Squared Mahalanobis distances.
        """
        d2, logdet = self.evaluate(x)
        observed = np.count_nonzero(~np.isnan(x), axis=1)[:, None]
        return -0.5 * (d2 + logdet + observed * np.log(2 * np.pi)), d2

    def fill(self, x: FloatArray, component: npt.NDArray[np.intp]) -> FloatArray:
        """Fill missing features with their conditional mean given the observed ones.

        Parameters
        ----------
        x : ndarray, shape (n, f)
            NaN where missing.
        component : ndarray of int, shape (n,)
            Which Gaussian each row belongs to.

        Returns
        -------
        ndarray, shape (n, f)
            mu_m + S_mo S_oo^-1 (x_o - mu_o) in the missing places, `x` elsewhere.
        """
        filled = x.copy()
        for observed, rows in patterns(x):
            if rows is None or observed.all():
                continue
            missing = ~observed
            for j in np.unique(component[rows]):
                chosen = rows[component[rows] == j]
                mean, covariance = self.means[j], self.covariances[j]
                weights = np.linalg.solve(
                    covariance[np.ix_(observed, observed)], covariance[np.ix_(observed, missing)]
                )
                offset = x[np.ix_(chosen, np.flatnonzero(observed))] - mean[observed]
                filled[np.ix_(chosen, np.flatnonzero(missing))] = mean[missing] + offset @ weights
        return filled


def log_sum_exp(values: FloatArray) -> FloatArray:
    """Logarithm of the sum of exponentials along the last axis, without overflow.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        At least one entry of each row must be finite.

    Returns
    -------
    ndarray, shape (n, 1)
    """
    top = values.max(axis=1, keepdims=True)
    return top + np.log(np.exp(values - top).sum(axis=1, keepdims=True))
