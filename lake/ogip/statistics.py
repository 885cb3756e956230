"""Fit statistics by name: how far counts are from what a model expects.

Each is twice the negative logarithm of a likelihood, less that of the model that fits best, so
that it is 0 for a perfect fit and like chi-square for many counts. Formulas: XSPEC manual,
appendix B (Arnaud, Dorman & Gordon), where a background region has t_b / t_s = 1 / alpha of the
source's exposure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError
from lake.ogip.containers import Spectrum
from lake.ogip.grouping import Groups
from lake.ogip.rates import (
    PoissonError,
    background_counts,
    background_ratio,
    poisson_error,
    spectrum_counts,
)

FloatArray = npt.NDArray[np.float64]

StatisticName = Literal[
    "cstat", "pstat", "wstat", "pgstat", "chi2", "chi2_neyman", "chi2_pearson", "chi2_gehrels"
]


@dataclass(frozen=True, eq=False)
class Observed:
    """What was counted in each channel or group; what a statistic does not need may be None.

    Attributes
    ----------
    counts : ndarray of float64, shape (n,)
        In the source region.
    error : ndarray of float64, shape (n,), optional
        Standard error of `counts`.
    off : ndarray of float64, shape (n,), optional
        Counts of the background spectrum, not scaled.
    off_error : ndarray of float64, shape (n,), optional
        Standard error of `off`.
    alpha : float or ndarray, shape (n,), optional
        What scales `off` to the source region (`lake.ogip.rates.background_ratio`).
    """

    counts: FloatArray
    error: FloatArray | None = None
    off: FloatArray | None = None
    off_error: FloatArray | None = None
    alpha: float | FloatArray | None = None

    def need(self, *names: str) -> tuple[FloatArray, ...]:
        """Give attributes as arrays; LacusError for one that is None."""
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise LacusError(f"the statistic needs {', '.join(missing)}, which the data lack")
        return tuple(np.asarray(getattr(self, name), dtype=np.float64) for name in names)


def observe(
    source: Spectrum,
    background: Spectrum | None,
    groups: Groups,
    poisson: PoissonError = "sqrt",
) -> Observed:
    """Sum a spectrum and its background in groups.

    Parameters
    ----------
    source : Spectrum
    background : Spectrum or None
    groups : Groups
        Of the channels of the source.
    poisson : {'sqrt', 'gehrels'}
        Error of the counts where a file gives none.

    Returns
    -------
    Observed
        Where alpha differs by channel, that of a group gives its scaled background: the mean
        over the background's counts, or over channels where there are none.

    Raises
    ------
    LacusError
        As `lake.ogip.rates.background_ratio`.
    """
    counts, error = spectrum_counts(source, poisson)
    summed, noise = groups.sum(counts), groups.quadrature(error)
    if background is None:
        return Observed(summed, noise)
    alpha = background_ratio(source, background)
    off, off_error = background_counts(background, poisson)
    off_summed = groups.sum(off)
    if isinstance(alpha, np.ndarray):
        with np.errstate(divide="ignore", invalid="ignore"):
            by_counts = groups.sum(alpha * off) / off_summed
        mean = groups.sum(alpha) / (groups.stop - groups.start)
        alpha = np.where(off_summed > 0, by_counts, mean)
    return Observed(summed, noise, off_summed, groups.quadrature(off_error), alpha)


def fit_statistic(name: StatisticName, observed: Observed, model: npt.ArrayLike) -> FloatArray:
    """Compare counts with one or many models.

    Parameters
    ----------
    name : str
        'cstat': Poisson counts, no background. 'pstat': Poisson counts and a background without
        error. 'wstat': Poisson counts and a Poisson background, profiled. 'pgstat': Poisson
        counts and a background with Gaussian errors, profiled. 'chi2': net counts with the
        errors given. 'chi2_neyman', 'chi2_gehrels', 'chi2_pearson': net counts with a variance
        from the counts, from Gehrels 1986, from the model.
    observed : Observed
    model : array_like, shape (n,) or (m, n)
        Counts expected of the source alone, >= 0.

    Returns
    -------
    ndarray of float64, shape of `model`
        Contribution of each channel, >= 0; their sum is the statistic. Infinite where counts
        were seen that the model excludes, and where a chi-square has no variance ('chi2_neyman'
        without a count). NaN where the data or the model are, and where Poisson counts are
        negative.

    Raises
    ------
    LacusError
        There is no statistic of this name, `observed` lacks what it needs, or the model is
        negative or not one number per channel.
    """
    if name not in _STATISTICS:
        raise LacusError(f"there is no statistic {name!r}; expected {', '.join(_STATISTICS)}")
    expected = np.asarray(model, dtype=np.float64)
    if expected.shape[-1:] != np.shape(observed.counts):
        raise LacusError(
            f"the model has the shape {expected.shape}; expected {len(observed.counts)} channels "
            "last"
        )
    if (expected < 0).any():
        raise LacusError("the model expects negative counts")
    with np.errstate(divide="ignore", invalid="ignore"):
        return _STATISTICS[name](observed, expected)


def _poisson(counts: FloatArray, mean: FloatArray) -> FloatArray:
    """Deviance of counts from a mean: 2 (mean - N + N ln(N / mean)) (Cash 1979, ApJ 228, 939)."""
    # With d = (mean - N) / N it is 2 N (d - ln(1 + d)), which keeps its digits near 0.
    apart = (mean - counts) / counts
    deviance = 2 * counts * np.maximum(apart - np.log1p(apart), 0)
    return np.where(counts == 0, 2 * mean, np.where(counts < 0, np.nan, deviance))


def _cstat(observed: Observed, model: FloatArray) -> FloatArray:
    (counts,) = observed.need("counts")
    return _poisson(counts, model)


def _pstat(observed: Observed, model: FloatArray) -> FloatArray:
    counts, off, alpha = observed.need("counts", "off", "alpha")
    return _poisson(counts, model + alpha * off)


def _wstat(observed: Observed, model: FloatArray) -> FloatArray:
    """W: the background's mean f in its own region maximises the likelihood, f >= 0.

    It is the larger root of alpha (1 + alpha) f^2 - c f - M m = 0, with N counts, M of the
    background, m of the model and c = alpha (N + M) - (1 + alpha) m.
    """
    counts, off, alpha = observed.need("counts", "off", "alpha")
    square = alpha * (1 + alpha)
    linear = alpha * (counts + off) - (1 + alpha) * model
    mean = _larger_root(square, linear, off * model)
    return _poisson(counts, model + alpha * mean) + _poisson(off, mean)


def _pgstat(observed: Observed, model: FloatArray) -> FloatArray:
    """PG: as W, with a Gaussian background B +- s in the source region.

    XSPEC also takes a mean background f below 0, where B is less than its error allows for.
    The mean u = m + f of all counts is the larger root of u^2 - (m + B - s^2) u - N s^2 = 0, or
    m where that is lower, for f >= 0: the likelihood has one maximum.
    """
    counts, off, off_error, alpha = observed.need("counts", "off", "off_error", "alpha")
    expected, variance = model + alpha * off, np.square(alpha * off_error)
    mean = np.maximum(_larger_root(1.0, expected - variance, counts * variance), model)
    apart = np.where(variance > 0, np.square(expected - mean) / variance, 0.0)
    return _poisson(counts, mean) + apart


def _larger_root(
    square: FloatArray | float, linear: FloatArray, constant: FloatArray
) -> FloatArray:
    """Larger root of square x^2 - linear x - constant = 0, constant >= 0, without cancellation."""
    root = np.hypot(linear, 2 * np.sqrt(square * constant))
    return np.where(
        linear > 0,
        (linear + root) / (2 * square),
        np.where(constant == 0, 0.0, 2 * constant / (root - linear)),
    )


def _net(observed: Observed, model: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Squared distance of the net counts from the model, counts and alpha^2 off."""
    (counts,) = observed.need("counts")
    if observed.off is None:
        return np.square(counts - model), counts, np.zeros_like(counts)
    off, alpha = observed.need("off", "alpha")
    return np.square(counts - alpha * off - model), counts, alpha**2 * off


def _over(squared: FloatArray, variance: FloatArray) -> FloatArray:
    """Chi-square; what is met exactly is 0 even without a variance."""
    return np.where(squared == 0, 0.0, squared / variance)


def _chi2(observed: Observed, model: FloatArray) -> FloatArray:
    squared, _, _ = _net(observed, model)
    (error,) = observed.need("error")
    variance = np.square(error)
    if observed.off is not None:
        off_error, alpha = observed.need("off_error", "alpha")
        variance = variance + np.square(alpha * off_error)
    return _over(squared, variance)


def _chi2_neyman(observed: Observed, model: FloatArray) -> FloatArray:
    squared, counts, off_variance = _net(observed, model)
    return _over(squared, counts + off_variance)


def _chi2_pearson(observed: Observed, model: FloatArray) -> FloatArray:
    squared, _, off_variance = _net(observed, model)
    variance = model + off_variance
    if observed.off is not None:
        off, alpha = observed.need("off", "alpha")
        variance = variance + alpha * off
    return _over(squared, variance)


def _chi2_gehrels(observed: Observed, model: FloatArray) -> FloatArray:
    squared, counts, _ = _net(observed, model)
    variance = np.square(poisson_error(counts, "gehrels"))
    if observed.off is not None:
        off, alpha = observed.need("off", "alpha")
        variance = variance + np.square(alpha * poisson_error(off, "gehrels"))
    return _over(squared, variance)


_STATISTICS: dict[str, Callable[[Observed, FloatArray], FloatArray]] = {
    "cstat": _cstat,
    "pstat": _pstat,
    "wstat": _wstat,
    "pgstat": _pgstat,
    "chi2": _chi2,
    "chi2_neyman": _chi2_neyman,
    "chi2_pearson": _chi2_pearson,
    "chi2_gehrels": _chi2_gehrels,
}
