"""Normal scores: each feature mapped monotonically to a standard normal distribution.

Variability probabilities pile up at 0 and 1 and several ratios have long tails, so Gaussians
over the normalised features fit badly; over their normal scores they do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_KNOTS = 201
_TAIL = 0.002  # the outermost scores stand for these quantiles, +-2.88


@dataclass(frozen=True)
class NormalScores:
    """A monotone, piecewise linear map of every feature to normal scores.

    Attributes
    ----------
    values, scores : tuple of ndarray, one of shape (knots,) per feature
        Strictly increasing values, and the normal quantile of the rank each one holds.
    """

    values: tuple[FloatArray, ...]
    scores: tuple[FloatArray, ...]

    @classmethod
    def fit(cls, x: FloatArray) -> "NormalScores":
        """Learn the map from the distribution of each feature.

        Parameters
        ----------
        x : ndarray, shape (n, f)
            Normalised features, NaN where missing; every feature needs one value.
        """
        from scipy.special import ndtri

        levels = np.linspace(0, 1, _KNOTS)
        values, scores = [], []
        for column in x.T:
            quantiles = np.quantile(column[~np.isnan(column)], levels)
            distinct, inverse = np.unique(quantiles, return_inverse=True)
            # A value that many detections share stands for the middle of their ranks.
            middle = np.bincount(inverse, levels) / np.bincount(inverse)
            values.append(distinct)
            scores.append(ndtri(np.clip(middle, _TAIL, 1 - _TAIL)))
        return cls(tuple(values), tuple(scores))

    def transform(self, x: FloatArray) -> FloatArray:
        """Map features to scores.

        Parameters
        ----------
        x : ndarray, shape (n, f)
            NaN where missing.

        Returns
        -------
        ndarray, shape (n, f)
            Beyond the range seen in training the score grows by the whole span of scores per
            range of values, so that an unheard-of value is far from everything.
        """
        out = np.empty_like(x)
        for i, (values, scores) in enumerate(zip(self.values, self.scores, strict=True)):
            column = x[:, i]
            out[:, i] = np.interp(column, values, scores)
            if len(values) > 1:
                slope = (scores[-1] - scores[0]) / (values[-1] - values[0])
                out[:, i] += slope * (column - np.clip(column, values[0], values[-1]))
        return out

    def to_dict(self) -> dict[str, Any]:
        """Give the knots as lists."""
        return {
            "values": [column.tolist() for column in self.values],
            "scores": [column.tolist() for column in self.scores],
        }

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> "NormalScores":
        """Rebuild from `to_dict`."""
        return cls(
            tuple(np.asarray(column, dtype=np.float64) for column in numbers["values"]),
            tuple(np.asarray(column, dtype=np.float64) for column in numbers["scores"]),
        )
