"""The published classification rule: the softmin of squared Mahalanobis distances.

Within a cluster, p(class) is proportional to exp(-d2), d2 = (x - mean)' pinv(cov) (x - mean):
no factor 1/2, no determinant, no prior (Perez-Diaz et al. 2024). It is kept to the digit; see
`lake.csc.posterior` for a probability in the usual sense.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lake.csc.features import CLASSES
from lake.csc.gaussian import batches, log_sum_exp

FloatArray = npt.NDArray[np.float64]

MIN_MEMBERS = 12
"""A class takes part in a cluster from this many labelled members on."""


@dataclass(frozen=True)
class ClassStatistics:
    """Mean and covariance of each class in each cluster.

    Attributes
    ----------
    counts : ndarray of int64, shape (k, c)
        Labelled members.
    means : ndarray, shape (k, c, f)
        NaN for a class below `MIN_MEMBERS`.
    covariances : ndarray, shape (k, c, f, f)
        With the divisor count - 1; NaN likewise.
    """

    counts: npt.NDArray[np.int64]
    means: FloatArray
    covariances: FloatArray

    @cached_property
    def precisions(self) -> FloatArray:
        """Pseudo-inverses of the covariances, scipy's default cut-off, shape (k, c, f, f)."""
        from scipy.linalg import pinv

        out = np.full_like(self.covariances, np.nan)
        for k, c in np.argwhere(self.counts >= MIN_MEMBERS):
            out[k, c] = pinv(self.covariances[k, c])
        return out


def class_statistics(
    x: FloatArray, cluster: npt.NDArray[np.integer], label: npt.NDArray[np.integer], clusters: int
) -> ClassStatistics:
    """Learn the classes of each cluster.

    Parameters
    ----------
    x : ndarray, shape (n, f)
        Normalised features, complete.
    cluster : ndarray of int, shape (n,)
    label : ndarray of int, shape (n,)
        Index in `CLASSES`; negative for rows without a usable label.
    clusters : int
        How many clusters there are.

    Returns
    -------
    ClassStatistics
    """
    f = x.shape[1]
    counts = np.zeros((clusters, len(CLASSES)), dtype=np.int64)
    means = np.full((clusters, len(CLASSES), f), np.nan)
    covariances = np.full((clusters, len(CLASSES), f, f), np.nan)
    known = label >= 0
    x, cluster, label = x[known], cluster[known], label[known]
    for k in range(clusters):
        for c in range(len(CLASSES)):
            members = x[(cluster == k) & (label == c)]
            counts[k, c] = len(members)
            if len(members) >= MIN_MEMBERS:
                means[k, c] = members.mean(axis=0)
                covariances[k, c] = np.cov(members, rowvar=False, ddof=1)
    return ClassStatistics(counts, means, covariances)


def softmin(
    x: FloatArray, cluster: npt.NDArray[np.integer], statistics: ClassStatistics
) -> FloatArray:
    """Class probabilities by the published rule, in time linear in the rows.

    Parameters
    ----------
    x : ndarray, shape (n, f)
        Normalised features.
    cluster : ndarray of int, shape (n,)
        The cluster of each row.
    statistics : ClassStatistics

    Returns
    -------
    ndarray, shape (n, c)
        Each row sums to one. NaN where a feature is missing, or where no class of the row's
        cluster has `MIN_MEMBERS` members.

    Notes
    -----
    The smallest distance is subtracted before the exponential, so a row far from every class
    still has probabilities, where exp(-d2) alone underflows and gives 0/0.
    """
    out = np.full((len(x), len(CLASSES)), np.nan)
    for part in batches(len(x), 8192):
        rows_of, here, result = cluster[part], x[part], out[part]
        usable = ~np.isnan(here).any(axis=1)
        for k in range(len(statistics.counts)):
            classes = np.flatnonzero(statistics.counts[k] >= MIN_MEMBERS)
            rows = np.flatnonzero((rows_of == k) & usable)
            if not classes.size or not rows.size:
                continue
            members = here[rows]
            distances = np.empty((len(rows), len(classes)))
            for j, c in enumerate(classes):
                centred = members - statistics.means[k, c]
                distances[:, j] = np.einsum(
                    "ij,ij->i", centred @ statistics.precisions[k, c], centred
                )
            # pinv of a singular matrix may have a rounding-size negative eigenvalue.
            np.abs(distances, out=distances)
            probabilities = np.zeros((len(rows), len(CLASSES)))
            probabilities[:, classes] = np.exp(-distances - log_sum_exp(-distances))
            result[rows] = probabilities
    return out
