"""How unlike everything that a network has learnt a spectrum is.

A network gives everything one of its classes: a bright galaxy is a K star to one that knows stars
only. What it knows stirs it more, though: the energy score of its logits, their negative free
energy, tells known from unknown (Liu et al. 2020, NeurIPS 33, 21464). It falls with noise, so it is
compared with that of spectra of known kinds that are as noisy.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

FloatArray = npt.NDArray[np.floating]

#: A spectrum of which fewer known ones in a hundred are as strange is abstained from.
NOVELTY_THRESHOLD = 0.01

#: Realisations that are compared with together, at least.
_TOGETHER = 256
#: Shares of them that quantiles are kept of; below the first a share is as good as none.
_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def energy_score(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Give the logarithm of the summed exponentials of logits, shape (n, k) to (n,)."""
    return np.asarray(logsumexp(np.asarray(logits, np.float64), axis=1))


@dataclass(frozen=True)
class KnownScores:
    """Energy scores of spectra of the kinds that a network knows, by their noise.

    Attributes
    ----------
    log_noise : tuple of float, length b
        log10 of the relative noise per pixel, rising.
    energy_scores : tuple of tuple of float, shape (b, q)
        Quantiles of the energy score at each.
    noisiest : float
        log10 of the greatest noise that any of them had.
    """

    log_noise: tuple[float, ...]
    energy_scores: tuple[tuple[float, ...], ...]
    noisiest: float

    def p_value(self, logits: FloatArray, log_noise: FloatArray) -> npt.NDArray[np.float64]:
        """Share of known spectra as noisy that the network knew less well.

        Parameters
        ----------
        logits : ndarray, shape (n, k)
        log_noise : ndarray, shape (n,)

        Returns
        -------
        ndarray, shape (n,)
            0 if hardly any; NaN for a spectrum noisier than any that it was measured on.
        """
        noise, found = np.asarray(log_noise, np.float64), energy_score(logits)
        quantiles = np.array(self.energy_scores)
        places = np.interp(noise, self.log_noise, np.arange(len(quantiles)))
        below = np.minimum(places.astype(int), max(len(quantiles) - 2, 0))
        above = np.minimum(below + 1, len(quantiles) - 1)
        weight = (places - below)[:, None]
        local = quantiles[below] * (1 - weight) + quantiles[above] * weight
        shares = np.where(noise <= self.noisiest, _between(found, local), np.nan)
        return np.asarray(shares)


def _between(values: FloatArray, quantiles: FloatArray) -> npt.NDArray[np.float64]:
    """Shares below values, shape (n,), of which each row of quantiles, (n, q), tells."""
    rows, most = np.arange(len(values)), quantiles.shape[1] - 1
    place = (quantiles < values[:, None]).sum(axis=1)
    low, high = np.maximum(place - 1, 0), np.minimum(place, most)
    start, width = quantiles[rows, low], quantiles[rows, high] - quantiles[rows, low]
    part = np.divide(values - start, width, out=np.ones(len(values)), where=width > 0)
    shares = np.array(_SHARES)
    return np.where(place == 0, 0.0, shares[low] + part * (shares[high] - shares[low]))


def known_scores(logits: FloatArray, log_noise: FloatArray) -> KnownScores:
    """Take the energy scores of known spectra.

    Parameters
    ----------
    logits : ndarray, shape (n, k)
        Of spectra that the network was not trained on, at all levels of noise; at least one.
    log_noise : ndarray, shape (n,)

    Returns
    -------
    KnownScores
    """
    noise, found = np.asarray(log_noise, np.float64), energy_score(logits)
    order = np.argsort(noise, kind="stable")
    groups = np.array_split(order, max(len(order) // _TOGETHER, 1))
    return KnownScores(
        tuple(float(noise[group].mean()) for group in groups),
        tuple(tuple(np.quantile(found[group], _SHARES).tolist()) for group in groups),
        float(noise.max()),
    )
