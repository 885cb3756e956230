"""What the counts of every spectrum say: how significant they are, and what may hide in them."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.ogip.limits import (
    net_counts_upper_limit,
    net_counts_upper_limit_estimated,
    significance_gaussian_background,
    significance_li_ma,
)

FloatArray = npt.NDArray[np.float64]

CONFIDENCE = 0.9
# Errors count as Poissonian, and counts as whole, within this.
_CLOSE = 1e-6
# Relative rounding of counts that were written as rates in single precision.
_ROUNDING = 1e-7


def net_count_limits(sums: pa.Table) -> pa.Table:
    """Significance and upper limits of the net counts of spectra.

    Parameters
    ----------
    sums : pyarrow.Table
        Columns spec_id, content (of ogip.spectra), file_sha256, and of ogip.good_counts: counts,
        counts_error, off_counts, alpha, background, background_error, background_poisson_error.

    Returns
    -------
    pyarrow.Table
        The columns of ogip.net_count_limits without release; a row for each of `sums`.

    Notes
    -----
    A background whose error is that of its counts was counted; another has an error of its own
    (a fit, a rate), which stands for (background / error)^2 counts where it is integrated out.
    So is it with the counts: if they have an error of their own and are not whole (a flux that was
    fitted to the shadow of a mask), nothing was counted.
    """
    counts, counts_error, off, alpha, background, error, poisson = (
        sums[name].to_numpy().astype(np.float64, copy=False)
        for name in (
            "counts", "counts_error", "off_counts", "alpha", "background", "background_error",
            "background_poisson_error",
        )
    )  # fmt: skip
    is_count = np.isfinite(counts) & (counts >= 0)
    is_count &= sums["content"].to_numpy(zero_copy_only=False) != "NET"
    root = np.sqrt(np.where(is_count, counts, np.nan))
    is_count &= _whole(counts) | (np.abs(counts_error - root) <= _CLOSE * (1 + root))
    measured = is_count & (background >= 0) & (alpha > 0) & (error >= 0)
    counted = measured & (np.abs(error - poisson) <= _CLOSE * (1 + poisson)) & (off >= 0)
    fitted = measured & ~counted

    known = np.full(len(counts), np.nan)
    expected = np.where(np.isnan(background), 0.0, background)
    limited = is_count & (expected >= 0)
    known[limited] = net_counts_upper_limit(counts[limited], expected[limited], CONFIDENCE)

    significance = np.full(len(counts), np.nan)
    significance[counted] = significance_li_ma(counts[counted], off[counted], alpha[counted])
    significance[fitted] = significance_gaussian_background(
        counts[fitted], background[fitted], error[fitted]
    )
    name = np.full(len(counts), None, object)
    name[counted], name[fitted] = "li_ma", "gaussian_background"
    name[np.isnan(significance)] = None
    # An error of its own is that of so many counts, scaled by so much.
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.where(fitted, (background / error) ** 2, off)
        alpha = np.where(fitted, error**2 / background, alpha)
    estimated = _estimated(counts, off, alpha, measured)
    return pa.table(
        {
            "spec_id": sums["spec_id"],
            "upper_limit_90": pa.array(known, from_pandas=True),
            "upper_limit_90_estimated": pa.array(estimated, from_pandas=True),
            "significance": pa.array(significance, from_pandas=True),
            "significance_from": pa.array(name.tolist(), pa.string()),
            "file_sha256": sums["file_sha256"],
        }
    )


def _estimated(
    counts: FloatArray, off: FloatArray, alpha: FloatArray, measured: npt.NDArray[np.bool_]
) -> FloatArray:
    """Upper limits with the background integrated out, NaN where they cannot be had."""
    found = np.full(len(counts), np.nan)
    for i in np.flatnonzero(measured & _whole(counts) & np.isfinite(off) & (alpha > 0)).tolist():
        found[i] = net_counts_upper_limit_estimated(
            round(counts[i]), float(off[i]), float(alpha[i]), CONFIDENCE
        )
    return found


def _whole(counts: FloatArray) -> npt.NDArray[np.bool_]:
    return np.abs(counts - np.round(counts)) <= _CLOSE + _ROUNDING * counts
