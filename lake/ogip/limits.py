"""How significant an excess of counts is, and how many net counts may hide in it."""

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError

FloatArray = npt.NDArray[np.float64]


def significance_li_ma(
    counts: npt.ArrayLike, off_counts: npt.ArrayLike, alpha: npt.ArrayLike
) -> FloatArray:
    """Significance of an excess over a background measured by counting.

    Parameters
    ----------
    counts, off_counts : array_like
        Counts in the source and in the background region.
    alpha : array_like
        What scales `off_counts` to the source region, > 0.

    Returns
    -------
    ndarray of float64
        Standard deviations, negative where the counts are fewer than the background; of the
        shape to which the arguments broadcast. NaN where one of them is NaN.

    Notes
    -----
    Equation 17 of Li & Ma 1983, ApJ 272, 317.
    """
    from scipy.special import xlogy

    on, off, scale = _broadcast(counts, off_counts, alpha)
    total = on + off
    with np.errstate(divide="ignore", invalid="ignore"):
        # xlogy is 0 for no counts, whatever the ratio.
        ratio_on = np.where(on > 0, (1 + scale) / scale * on / total, 1.0)
        ratio_off = np.where(off > 0, (1 + scale) * off / total, 1.0)
        half = xlogy(on, ratio_on) + xlogy(off, ratio_off)
    return _signed_root(half, on - scale * off)


def significance_gaussian_background(
    counts: npt.ArrayLike, background: npt.ArrayLike, error: npt.ArrayLike
) -> FloatArray:
    """Significance of an excess over a background known with a Gaussian error.

    Parameters
    ----------
    counts : array_like
        Counts in the source region.
    background, error : array_like
        Expected background counts there and their standard deviation; an error of 0 means
        that the background is known.

    Returns
    -------
    ndarray of float64
        Standard deviations, signed, broadcast; NaN where an argument is NaN.

    Notes
    -----
    The likelihood ratio of Vianello 2018, ApJS 236, 17, with the background that
    maximises the likelihood without a source.
    """
    from scipy.special import xlogy

    n, b, sigma = _broadcast(counts, background, error)
    variance = sigma**2
    lead = b - variance
    root = np.hypot(lead, 2 * np.sqrt(n) * sigma)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Of two equal forms, the one without a difference of near numbers.
        best = np.where(lead >= 0, (lead + root) / 2, 2 * n * variance / (root - lead))
        half = xlogy(n, np.where(n > 0, n / best, 1.0)) + best - n
        half += np.where(variance > 0, (b - best) ** 2 / (2 * variance), 0.0)
    return _signed_root(half, n - b)


def net_counts_upper_limit(
    counts: npt.ArrayLike, background: npt.ArrayLike, confidence: npt.ArrayLike = 0.9
) -> FloatArray:
    """Bayesian upper limit on the net counts over a known background.

    Parameters
    ----------
    counts : array_like
        Counts in the source region, >= 0.
    background : array_like
        Expected background counts there, >= 0.
    confidence : array_like
        Probability that the net counts are below the limit, between 0 and 1.

    Returns
    -------
    ndarray of float64
        Counts, broadcast; NaN where an argument is NaN.

    Raises
    ------
    LacusError
        Counts or background are negative, or the confidence is not between 0 and 1.

    Notes
    -----
    The posterior for a uniform prior on the net counts s >= 0, p(s) ~ (s + B)^N exp(-(s + B))
    (Helene 1983, Nucl. Instr. Meth. 212, 319; Kraft, Burrows & Nousek 1991, ApJ 374, 344). With
    Q the regularised upper incomplete gamma function the limit solves
    Q(N + 1, s + B) = (1 - confidence) Q(N + 1, B). The same in terms of P = 1 - Q loses all
    digits once B exceeds N by several standard deviations.
    """
    from scipy.special import gammaincc, gammainccinv

    n, b, level = _broadcast(counts, background, confidence)
    _require_counts("counts", n)
    _require_counts("background", b)
    _require_level(level)
    tail = gammaincc(n + 1, b)
    limit = np.full(n.shape, np.nan)
    known = np.isfinite(n) & np.isfinite(b)
    plain = known & (tail > 1e-200)
    limit[plain] = gammainccinv((n + 1)[plain], ((1 - level) * tail)[plain]) - b[plain]
    faint = known & ~plain
    if faint.any():
        limit[faint] = _far_tail_limit(n[faint], b[faint], level[faint])
    return limit


def net_counts_upper_limit_estimated(
    counts: int, off_counts: float, alpha: float, confidence: float = 0.9
) -> float:
    """Bayesian upper limit on the net counts over a background that is itself a count.

    Parameters
    ----------
    counts : int
        Counts in the source region.
    off_counts : float
        Counts in the background region. A background of b +- e counts from elsewhere is that
        of (b / e)^2 counts with alpha = e^2 / b.
    alpha : float
        What scales `off_counts` to the source region, > 0.
    confidence : float
        Probability that the net counts are below the limit, between 0 and 1.

    Returns
    -------
    float
        Counts.

    Raises
    ------
    LacusError
        The counts are not a whole number, a number is negative, or `confidence` is not between
        0 and 1.

    Notes
    -----
    The background is integrated out with uniform priors on it and on the source (Loredo 1992, in
    Statistical Challenges in Modern Astronomy, section 5): the posterior of the
    net counts s is the mixture sum_i C_i s^i exp(-s) / i!, i = 0 .. N, with
    C_i ~ (1 + 1 / alpha)^i (N + M - i)! / (N - i)!, N counts on and M off the source.
    """
    from scipy.optimize import brentq
    from scipy.special import betaln, gammaincc

    values = np.array([counts, off_counts, alpha], dtype=np.float64)
    _require_level(np.array(confidence))
    if not np.isfinite(values).all() or counts != int(counts) or (values < 0).any() or alpha == 0:
        raise LacusError(
            f"{counts} counts, {off_counts} background counts, scaled by {alpha}; expected a "
            "whole number, a number >= 0 and a number > 0"
        )
    # j = N - i of the counts are background: negative binomial, cut at N. Beyond these bounds
    # the weights are below 1e-18; where N is less than expected, all of them may count.
    expected = alpha * (off_counts + 1)
    reach = 12 * np.sqrt(expected * (1 + alpha))
    least = max(0, int(expected - reach)) if counts > expected else 0
    most = min(int(counts), int(expected + reach + 45 / np.log1p(1 / alpha)) + 1)
    j = np.arange(least, most + 1)
    # The binomial (j + M)! / (j! M!); as factorials it has no digits for a very large M.
    log_weight = -betaln(j + 1, off_counts + 1) - np.log(j + off_counts + 1)
    log_weight -= j * np.log1p(1 / alpha)
    weight = np.exp(log_weight - log_weight.max())
    taken = weight > 1e-18
    i, weight = counts - j[taken], weight[taken] / weight.sum()

    def beyond(s: float) -> float:
        return float(weight @ gammaincc(i + 1, s)) - (1 - confidence)

    high = float(counts) + 10.0
    while beyond(high) > 0:
        high *= 2
    return float(brentq(beyond, 0.0, high, xtol=1e-12, rtol=1e-14))


def _far_tail_limit(n: FloatArray, b: FloatArray, level: FloatArray) -> FloatArray:
    """Upper limits where Q(n + 1, b) is too small for a double: by bisection of its logarithm."""
    target = np.log1p(-level) + _log_upper_gamma(n + 1, b)
    low, high = np.zeros_like(b), np.full_like(b, 1.0)
    while (short := _log_upper_gamma(n + 1, b + high) > target).any():
        high[short] *= 2
    for _ in range(80):
        middle = (low + high) / 2
        above = _log_upper_gamma(n + 1, b + middle) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2


def _log_upper_gamma(a: FloatArray, x: FloatArray) -> FloatArray:
    """Logarithm of the upper incomplete gamma function for x well above a.

    The continued fraction 8.9.2 of the NIST Digital Library of Mathematical Functions, by
    Lentz's method.
    """
    b = x + 1 - a
    c = np.full_like(b, np.inf)
    d = 1 / b
    value = d
    for i in range(1, 1000):
        step = -i * (i - a)
        b = b + 2
        d = 1 / (step * d + b)
        c = b + step / c
        value = value * (c * d)
        if np.all(np.abs(c * d - 1) < 1e-15):
            break
    return a * np.log(x) - x + np.log(value)


def _broadcast(*arguments: npt.ArrayLike) -> list[FloatArray]:
    return [
        np.array(a) for a in np.broadcast_arrays(*(np.asarray(x, np.float64) for x in arguments))
    ]


def _signed_root(half: FloatArray, excess: FloatArray) -> FloatArray:
    """Square root of twice a likelihood ratio, which rounding may have made negative."""
    return np.sign(excess) * np.sqrt(2 * np.maximum(half, 0))


def _require_counts(name: str, values: FloatArray) -> None:
    if (values < 0).any():
        raise LacusError(f"the {name} are {values[values < 0].flat[0]:g}; expected a number >= 0")


def _require_level(level: FloatArray) -> None:
    if not ((level > 0) & (level < 1)).all():
        raise LacusError(f"the confidence is {level}; expected a number between 0 and 1")
