"""What a classifier says of spectra."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.sdss.novelty import NOVELTY_THRESHOLD

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """Classes of n spectra.

    Attributes
    ----------
    classes : tuple of str
        The k classes that the probabilities belong to.
    probabilities : ndarray, shape (n, k)
        Calibrated; they sum to 1.
    predicted, runner_up : ndarray of str, shape (n,)
        The most and the second most probable class; the latter is empty if there is only one.
    probability, runner_up_probability : ndarray, shape (n,)
    entropy : ndarray, shape (n,)
        Of the probabilities, in nats.
    noise : ndarray, shape (n,)
        Relative noise per pixel measured in the spectrum; the probabilities depend on it.
    novelty : ndarray, shape (n,)
        Share of known spectra as noisy that the network knew less well; NaN where that is unknown.
    abstained : ndarray of bool, shape (n,)
        The probability is below the threshold of the model, or that is 1; or the network knows
        nothing like it.
    """

    classes: tuple[str, ...]
    probabilities: FloatArray
    predicted: npt.NDArray[np.str_]
    probability: FloatArray
    runner_up: npt.NDArray[np.str_]
    runner_up_probability: FloatArray
    entropy: FloatArray
    noise: FloatArray
    novelty: FloatArray
    abstained: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.predicted)


def predictions(
    classes: tuple[str, ...],
    probabilities: FloatArray,
    noise: FloatArray,
    threshold: float,
    novelty: FloatArray | None = None,
) -> Predictions:
    """Read classes off probabilities.

    Parameters
    ----------
    classes : tuple of str, length k
    probabilities : ndarray, shape (n, k)
    noise : ndarray, shape (n,)
    threshold : float
        Predictions below this probability are abstained from; all are where it is 1.
    novelty : ndarray, shape (n,), optional
        Predictions with less than `lake.sdss.novelty.NOVELTY_THRESHOLD` are abstained from.

    Returns
    -------
    Predictions
    """
    names = np.asarray(classes)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    rows = np.arange(len(probabilities))
    probability = probabilities[rows, order[:, 0]]
    if len(classes) > 1:
        second, less = names[order[:, 1]], probabilities[rows, order[:, 1]]
    else:
        second, less = np.full(len(rows), ""), np.zeros(len(rows))
    strange = np.full(len(rows), np.nan) if novelty is None else novelty
    logarithm = np.log(np.where(probabilities > 0, probabilities, 1))
    return Predictions(
        classes=classes,
        probabilities=probabilities,
        predicted=names[order[:, 0]],
        probability=probability,
        runner_up=second,
        runner_up_probability=less,
        entropy=-(probabilities * logarithm).sum(axis=1),
        noise=noise,
        novelty=strange,
        # A probability may be 1 to rounding.
        abstained=(probability < threshold) | (threshold >= 1) | (strange < NOVELTY_THRESHOLD),
    )
