"""Counts, rates and their errors, of a source, its background, and the difference.

A background is scaled to the source by
alpha = (exposure backscal areascal of the source) / (the same of the background), and counts are
turned into rates with exposure times areascal (OGIP/92-007a; XSPEC manual, chapter 2).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError
from lake.ogip.containers import Spectrum
from lake.ogip.grouping import Groups

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PoissonError = Literal["sqrt", "gehrels"]
"""The root of the counts, or the upper error of Gehrels 1986."""


def poisson_error(counts: npt.ArrayLike, method: PoissonError = "sqrt") -> FloatArray:
    """Standard error of a count.

    Parameters
    ----------
    counts : array_like
    method : {'sqrt', 'gehrels'}
        'sqrt': sqrt(N). 'gehrels': 1 + sqrt(N + 3/4), equation 7 of Gehrels 1986, ApJ 303, 336,
        for one standard deviation; it is 1.87 for no counts, where the root is 0.

    Returns
    -------
    ndarray of float64
        NaN where the counts are negative (a difference, which has no such error) or NaN.
    """
    n = np.asarray(counts, dtype=np.float64)
    root = np.sqrt(np.where(n >= 0, n if method == "sqrt" else n + 0.75, np.nan))
    return root if method == "sqrt" else 1 + root


def total_error(
    values: npt.ArrayLike, stat_err: npt.ArrayLike, sys_err: npt.ArrayLike | None
) -> FloatArray:
    """Add the systematic error, a fraction of the values, to the statistical one.

    Parameters
    ----------
    values, stat_err : array_like, shape (n,)
        In one unit.
    sys_err : array_like or None
        Fractional systematic error (SYS_ERR).

    Returns
    -------
    ndarray of float64, shape (n,)
        sqrt(stat_err^2 + (values sys_err)^2).
    """
    if sys_err is None:
        return np.abs(np.asarray(stat_err, dtype=np.float64))
    return np.hypot(stat_err, np.asarray(values) * np.asarray(sys_err))


def spectrum_counts(
    spectrum: Spectrum, poisson: PoissonError = "sqrt"
) -> tuple[FloatArray, FloatArray]:
    """Give the counts of a spectrum and their errors.

    Parameters
    ----------
    spectrum : Spectrum
        Rates are multiplied by the exposure.
    poisson : {'sqrt', 'gehrels'}
        Error of the counts where the file gives none, or 0 for all unless POISSERR is F.

    Returns
    -------
    counts, error : ndarray of float64, shape (channels,)
        Statistical and systematic error together.

    Raises
    ------
    LacusError
        Rates without a usable exposure.
    """
    seconds = _exposure(spectrum, "spectrum") if spectrum.quantity == "RATE" else 1.0
    counts = spectrum.values * seconds
    given = spectrum.stat_err
    if given is not None and spectrum.poisserr is not False and not given.any():
        given = None  # as the keyword STAT_ERR = 0: dmgroup writes a column of zeros
    error = poisson_error(counts, poisson) if given is None else given * seconds
    return counts, total_error(counts, error, spectrum.sys_err)


def effective_exposure(spectrum: Spectrum) -> float | FloatArray:
    """Give EXPOSURE times AREASCAL, what turns counts into rates.

    Parameters
    ----------
    spectrum : Spectrum

    Returns
    -------
    float or ndarray of float64, shape (channels,)
        Seconds; an array where AREASCAL is a column.

    Raises
    ------
    LacusError
        Either is absent (the exposure) or not positive.
    """
    return _exposure(spectrum, "spectrum") * _scale("AREASCAL of the spectrum", spectrum.areascal)


def background_counts(
    background: Spectrum, poisson: PoissonError = "sqrt"
) -> tuple[FloatArray, FloatArray]:
    """Give the counts of a background spectrum, not scaled, and their errors.

    Parameters
    ----------
    background : Spectrum
    poisson : {'sqrt', 'gehrels'}
        Error of the counts where the file gives none.

    Returns
    -------
    counts, error : ndarray of float64, shape (channels,)
        NaN also where QUALITY is not 0.

    Raises
    ------
    LacusError
        Rates without a usable exposure.
    """
    counts, error = spectrum_counts(background, poisson)
    if background.quality is None:
        return counts, error
    good = background.quality == 0
    return np.where(good, counts, np.nan), np.where(good, error, np.nan)


def background_ratio(source: Spectrum, background: Spectrum) -> float | FloatArray:
    """Give alpha, what scales the counts of a background to its source.

    Parameters
    ----------
    source, background : Spectrum
        AREASCAL and BACKSCAL count as 1 where they are absent.

    Returns
    -------
    float or ndarray of float64, shape (channels,)
        An array where one of the four scales is a column, with NaN in channels that have no
        background area.

    Raises
    ------
    LacusError
        The spectra differ in length, or an exposure or a scale is absent or not positive.
    """
    if len(source.values) != len(background.values):
        raise LacusError(
            f"the source has {len(source.values)} channels and the background "
            f"{len(background.values)}; expected as many"
        )
    seconds = _exposure(source, "source") / _exposure(background, "background")
    scales = {
        f"{name} of the {of}": getattr(spectrum, name.lower())
        for of, spectrum in (("source", source), ("background", background))
        for name in ("BACKSCAL", "AREASCAL")
    }
    numbers = [_scale(name, value) for name, value in scales.items()]
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha = seconds * (numbers[0] * numbers[1]) / np.asarray(numbers[2] * numbers[3])
    return np.where(np.isfinite(alpha), alpha, np.nan) if alpha.ndim else float(alpha)


@dataclass(frozen=True, eq=False)
class Rates:
    """Count rates of groups of channels, with standard errors.

    Attributes
    ----------
    source, source_error : ndarray of float64, shape (g,)
        Everything in the source region, counts/s.
    background, background_error : ndarray of float64, shape (g,)
        Scaled to the source region; NaN in a group of which a channel has no background.
    net, net_error : ndarray of float64, shape (g,)
        Source less background; NaN likewise.
    without_background : ndarray of int64, shape (g,)
        Channels of the group whose background is not known.
    """

    source: FloatArray
    source_error: FloatArray
    background: FloatArray
    background_error: FloatArray
    net: FloatArray
    net_error: FloatArray
    without_background: IntArray

    def per_kev(self, low: FloatArray, high: FloatArray) -> "Rates":
        """Divide by the widths of the groups.

        Parameters
        ----------
        low, high : ndarray, shape (g,)
            Bounds of the groups, keV (`Groups.bounds`).

        Returns
        -------
        Rates
            In counts/s/keV; NaN for a group of no width.
        """
        width = np.where(high > low, high - low, np.nan)
        return Rates(
            self.source / width,
            self.source_error / width,
            self.background / width,
            self.background_error / width,
            self.net / width,
            self.net_error / width,
            self.without_background,
        )


@dataclass(frozen=True, eq=False)
class NetCounts:
    """Counts of a source over its background, summed over channels.

    Attributes
    ----------
    counts, counts_error : float
        In the source region.
    background, background_error : float
        Scaled to the source region.
    off_counts : float
        Of the background spectrum, not scaled.
    net, net_error : float
    channels : int
        Channels that are summed: those in the groups whose background is known.
    without_background : int
        Channels in the groups that are left out, for their background is not known.
    """

    counts: float
    counts_error: float
    background: float
    background_error: float
    off_counts: float
    net: float
    net_error: float
    channels: int
    without_background: int


def count_rates(
    source: Spectrum, background: Spectrum, groups: Groups, poisson: PoissonError = "sqrt"
) -> Rates:
    """Give the count rates of a source, its background and the difference.

    Parameters
    ----------
    source, background : Spectrum
    groups : Groups
        Of the channels of the source; `single_channels` for no grouping.
    poisson : {'sqrt', 'gehrels'}
        Error of the counts where a file gives none.

    Returns
    -------
    Rates
        Background channels with a QUALITY other than 0 count as not known.

    Raises
    ------
    LacusError
        As `background_ratio`.
    """
    counts, error, scaled, scaled_error, _ = _scaled(source, background, poisson)
    seconds = effective_exposure(source)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = [groups.sum(values / seconds) for values in (counts, scaled)]
        errors = [groups.quadrature(values / seconds) for values in (error, scaled_error)]
    return Rates(
        source=rates[0],
        source_error=errors[0],
        background=rates[1],
        background_error=errors[1],
        net=rates[0] - rates[1],
        net_error=np.hypot(*errors),
        without_background=groups.sum(np.isnan(scaled)).astype(np.int64),
    )


def net_counts(
    source: Spectrum, background: Spectrum, groups: Groups, poisson: PoissonError = "sqrt"
) -> NetCounts:
    """Sum counts, background and net counts over all groups.

    Parameters
    ----------
    source, background : Spectrum
    groups : Groups
        Of the channels of the source; those outside are not summed.
    poisson : {'sqrt', 'gehrels'}
        Error of the counts where a file gives none.

    Returns
    -------
    NetCounts
        Source and background of the same channels: one without a background is in neither.

    Raises
    ------
    LacusError
        As `background_ratio`.
    """
    counts, error, scaled, scaled_error, off = _scaled(source, background, poisson)
    noticed = groups.members()
    known = noticed & np.isfinite(scaled) & np.isfinite(counts)
    total, expected = float(counts[known].sum()), float(scaled[known].sum())
    noise = float(np.linalg.norm(error[known])), float(np.linalg.norm(scaled_error[known]))
    return NetCounts(
        counts=total,
        counts_error=noise[0],
        background=expected,
        background_error=noise[1],
        off_counts=float(off[known].sum()),
        net=total - expected,
        net_error=float(np.hypot(*noise)),
        channels=int(known.sum()),
        without_background=int((noticed & np.isnan(scaled)).sum()),
    )


def _scaled(
    source: Spectrum, background: Spectrum, poisson: PoissonError
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Counts and errors of the source, of the scaled background, and the background's counts."""
    alpha = background_ratio(source, background)
    counts, error = spectrum_counts(source, poisson)
    off, off_error = background_counts(background, poisson)
    return counts, error, alpha * off, alpha * off_error, off


def _exposure(spectrum: Spectrum, of: str) -> float:
    seconds = spectrum.exposure
    if seconds is None or not 0 < seconds < np.inf:
        raise LacusError(f"EXPOSURE of the {of} is {seconds}; expected seconds, more than 0")
    return float(seconds)


def _scale(name: str, value: float | FloatArray | None) -> float | FloatArray:
    """A scale of a spectrum, 1 where the file has none."""
    if value is None:
        return 1.0
    if np.ndim(value) == 0 and not 0 < float(value) < np.inf:
        raise LacusError(f"{name} is {value}; expected a number above 0")
    return value
