"""Probabilities that mean what they say, also of noisy spectra.

A temperature fitted on clean spectra makes the probabilities of noisy ones worse. Here the
temperature depends on the noise that is measured in the spectrum itself, and is fitted over
all levels of noise together.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


def softmax(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Probabilities from logits, shape (n, k), without overflow."""
    shifted = np.exp(np.asarray(logits, np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Temperature:
    """The temperature T of a softmax, ln T = intercept + slope * log10(noise).

    Attributes
    ----------
    intercept, slope : float
        Both 0: the probabilities stay what the network says.
    """

    intercept: float = 0.0
    slope: float = 0.0

    def at(self, log_noise: FloatArray) -> npt.NDArray[np.float64]:
        """Give T for log10 of the relative noise per pixel, shape (n,)."""
        return np.exp(self.intercept + self.slope * np.asarray(log_noise, np.float64))

    def probabilities(self, logits: FloatArray, log_noise: FloatArray) -> npt.NDArray[np.float64]:
        """Give softmax(logits / T), shape (n, k)."""
        return softmax(logits / self.at(log_noise)[:, None])


def fit_temperature(
    logits: FloatArray, truth: npt.NDArray[np.integer], log_noise: FloatArray
) -> Temperature:
    """Fit the temperature by maximum likelihood (Guo et al. 2017, ICML, PMLR 70, 1321).

    Parameters
    ----------
    logits : ndarray, shape (n, k)
        Of spectra that the network was not trained on, at all levels of noise.
    truth : ndarray of int, shape (n,)
    log_noise : ndarray, shape (n,)
        log10 of the relative noise per pixel.

    Returns
    -------
    Temperature
        With a weak normal prior of width 1 on ln T and its slope, so that a few spectra which
        are all right do not send T to 0.
    """
    rows = np.arange(len(truth))
    values = np.asarray(logits, np.float64)
    noise = np.asarray(log_noise, np.float64)
    centre = noise.mean()

    def cost(parameters: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        level, slope = parameters
        scaled = values / np.exp(level + slope * (noise - centre))[:, None]
        probability = softmax(scaled)
        likelihood = np.log(np.maximum(probability[rows, truth], 1e-300)).sum()
        # d ln p(truth) / d ln T is the expected logit less that of the truth.
        pull = (probability * scaled).sum(axis=1) - scaled[rows, truth]
        gradient = np.array([-pull.sum() + level, -(pull * (noise - centre)).sum() + slope])
        return -likelihood + 0.5 * (level**2 + slope**2), gradient

    level, slope = minimize(cost, np.zeros(2), jac=True, method="BFGS").x
    return Temperature(float(level - slope * centre), float(slope))


def confidence_bins(confidence: FloatArray, bins: int) -> npt.NDArray[np.int64]:
    """Bin of each confidence, shape (n,): of equal width between 0 and 1, closed above."""
    return np.clip(np.ceil(np.asarray(confidence) * bins).astype(np.int64) - 1, 0, bins - 1)


def expected_calibration_error(confidence: FloatArray, correct: BoolArray, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy (Guo et al. 2017, equation 3).

    Parameters
    ----------
    confidence : ndarray, shape (n,)
        Probability of the predicted class.
    correct : ndarray of bool, shape (n,)
    bins : int
        Bins of equal width between 0 and 1, closed above.

    Returns
    -------
    float
        NaN without spectra.
    """
    if not len(confidence):
        return float("nan")
    index = confidence_bins(confidence, bins)
    gap = np.bincount(index, np.asarray(correct, np.float64) - confidence, bins)
    return float(np.abs(gap).sum() / len(confidence))


def least_spectra(accuracy: float) -> int:
    """Give the number of spectra that an accuracy can be shown with, if all of them are right.

    The next one then is right with a probability of (n + 1) / (n + 2), by Laplace's rule of
    succession; realisations of the same spectra with other noise add none.

    Parameters
    ----------
    accuracy : float

    Returns
    -------
    int
        At least 1; 1 also for an accuracy of 1, which no number shows.
    """
    return 1 if accuracy >= 1 else max(ceil((2 * accuracy - 1) / (1 - accuracy) - 1e-9), 1)


def abstention_threshold(
    confidence: FloatArray, correct: BoolArray, accuracy: float = 0.9
) -> float:
    """Least confidence at which predictions are still worth stating.

    Parameters
    ----------
    confidence : ndarray, shape (n,)
        Probability of the predicted class, calibrated.
    correct : ndarray of bool, shape (n,)
    accuracy : float
        What the accepted predictions shall reach, with one standard error to spare.

    Returns
    -------
    float
        0 if all may be accepted, 1 if no threshold is enough.
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    sorted_confidence = np.asarray(confidence)[order]
    accepted = np.arange(1, len(order) + 1)
    share = np.cumsum(np.asarray(correct)[order]) / accepted
    error = np.sqrt(accuracy * (1 - accuracy) / accepted)
    # Equal confidences are accepted or refused together.
    last = np.append(sorted_confidence[1:] < sorted_confidence[:-1], True)[: len(order)]
    enough = np.flatnonzero(last & (share - error >= accuracy))
    if not len(enough):
        return 1.0
    if enough[-1] == len(order) - 1:
        return 0.0
    return float(sorted_confidence[enough[-1]])
