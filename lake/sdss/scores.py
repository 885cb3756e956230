"""How good a classifier is: counts, curves and shares from truth and prediction."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from lake.sdss.calibration import confidence_bins

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
StrArray = npt.NDArray[np.str_]


def confusion_matrix(truth: StrArray, predicted: StrArray, classes: Sequence[str]) -> IntArray:
    """Count which class was taken for which.

    Parameters
    ----------
    truth, predicted : ndarray of str, shape (n,)
    classes : sequence of str, length k
        Every class that occurs, in any order.

    Returns
    -------
    ndarray of int, shape (k, k)
        Rows are true classes, columns predicted ones.

    Raises
    ------
    KeyError
        A class that occurs is not among `classes`.
    """
    place = {name: i for i, name in enumerate(classes)}
    k = len(classes)
    rows = np.array([place[str(name)] for name in truth], np.int64)
    columns = np.array([place[str(name)] for name in predicted], np.int64)
    return np.bincount(rows * k + columns, minlength=k * k).reshape(k, k)


class ClassScores(NamedTuple):
    """Scores of each of k classes; NaN where there is nothing to divide by.

    Attributes
    ----------
    recall : ndarray, shape (k,)
        Share of the members that are recognised.
    precision : ndarray, shape (k,)
        Share of those taken for members that are.
    f1 : ndarray, shape (k,)
        Their harmonic mean; 0 for a class with members of which none is recognised.
    support : ndarray of int, shape (k,)
        Members.
    """

    recall: FloatArray
    precision: FloatArray
    f1: FloatArray
    support: IntArray


def class_scores(confusion: npt.NDArray) -> ClassScores:
    """Recall, precision and F1 of each class (van Rijsbergen 1979, Information Retrieval, ch. 7).

    Parameters
    ----------
    confusion : ndarray, shape (k, k)
        From `confusion_matrix`.
    """
    counts = np.asarray(confusion, np.int64)
    right, support, taken = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    return ClassScores(
        recall=_share(right, support),
        precision=_share(right, taken),
        f1=_share(2 * right, support + taken),
        support=support,
    )


def macro_f1(confusion: npt.NDArray) -> float:
    """Mean F1 of the classes that have members; NaN without any."""
    scores = class_scores(confusion)
    there = scores.support > 0
    return float(scores.f1[there].mean()) if there.any() else float("nan")


def _share(part: npt.NDArray, whole: npt.NDArray) -> FloatArray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


class Curve(NamedTuple):
    """A curve over all thresholds, and the one number that sums it up.

    Attributes
    ----------
    x, y : ndarray, shape (m,)
    area : float
    """

    x: FloatArray
    y: FloatArray
    area: float


def roc(member: BoolArray, score: FloatArray) -> Curve | None:
    """Receiver operating characteristic of one class against the rest.

    Parameters
    ----------
    member : ndarray of bool, shape (n,)
    score : ndarray, shape (n,)
        Probability of the class.

    Returns
    -------
    Curve or None
        False-positive rate, true-positive rate and the area under the curve; None where all
        or none are members.
    """
    if member.all() or not member.any():
        return None
    from sklearn.metrics import auc, roc_curve

    false_positive, true_positive, _ = roc_curve(member, score)
    return Curve(false_positive, true_positive, float(auc(false_positive, true_positive)))


def precision_recall(member: BoolArray, score: FloatArray) -> Curve | None:
    """Precision against recall of one class against the rest.

    Parameters
    ----------
    member : ndarray of bool, shape (n,)
    score : ndarray, shape (n,)
        Probability of the class.

    Returns
    -------
    Curve or None
        Recall (falling), precision and the average precision: the mean of the precision over
        steps of recall, not interpolated. None where there are no members.
    """
    if not member.any():
        return None
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(member, score)
    return Curve(recall, precision, float(average_precision_score(member, score)))


class Bins(NamedTuple):
    """Accuracy in bins of something.

    Attributes
    ----------
    x : ndarray, shape (b,)
        Median or mean of the abscissa in each bin that has members.
    accuracy : ndarray, shape (b,)
    low, high : ndarray, shape (b,)
        Its interval (`wilson`).
    n : ndarray of int, shape (b,)
        Members.
    """

    x: FloatArray
    accuracy: FloatArray
    low: FloatArray
    high: FloatArray
    n: IntArray


def accuracy_by_snr(snr: FloatArray, correct: BoolArray, edges: FloatArray) -> Bins:
    """Accuracy against signal-to-noise ratio.

    Parameters
    ----------
    snr : ndarray, shape (n,)
        NaN where unknown: not counted.
    correct : ndarray of bool, shape (n,)
    edges : ndarray, shape (b + 1,)
        Increasing; bins are closed below, and what lies outside is not counted.

    Returns
    -------
    Bins
        At the median ratio of each bin that has members.
    """
    index = np.digitize(snr, edges) - 1
    index[np.isnan(snr) | (index == len(edges) - 1)] = -1
    return _bins(snr, correct, index, np.median)


def reliability(confidence: FloatArray, correct: BoolArray, bins: int = 15) -> Bins:
    """Accuracy against confidence, in the bins of the expected calibration error.

    Parameters
    ----------
    confidence : ndarray, shape (n,)
        Probability of the predicted class.
    correct : ndarray of bool, shape (n,)
    bins : int
        Bins of equal width between 0 and 1, closed above (Guo et al. 2017, ICML, PMLR 70, 1321).

    Returns
    -------
    Bins
        At the mean confidence of each bin that has members.
    """
    return _bins(confidence, correct, confidence_bins(confidence, bins), np.mean)


def _bins(
    x: FloatArray, correct: BoolArray, index: IntArray, centre: Callable[[FloatArray], Any]
) -> Bins:
    """Gather by bin; -1 belongs to none."""
    used = np.unique(index[index >= 0])
    n = np.array([np.count_nonzero(index == i) for i in used], np.int64)
    right = np.array([np.count_nonzero(correct[index == i]) for i in used], np.int64)
    low, high = wilson(right, n)
    middle = np.array([centre(x[index == i]) for i in used], np.float64)
    return Bins(middle, _share(right, n), low, high, n)


def wilson(
    successes: npt.NDArray, trials: npt.NDArray, confidence: float = 0.68269
) -> tuple[FloatArray, FloatArray]:
    """Interval of a share (Wilson 1927, JASA 22, 209; Brown, Cai & DasGupta 2001, Stat. Sci. 16).

    Parameters
    ----------
    successes, trials : ndarray of int
    confidence : float
        Coverage; one standard deviation if not given.

    Returns
    -------
    low, high : ndarray
        NaN without trials.
    """
    z2 = ndtri(0.5 + confidence / 2) ** 2
    n = np.where(np.asarray(trials) > 0, trials, np.nan).astype(np.float64)
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    # At shares of 0 and 1 the interval ends there but for rounding.
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)


def noise_levels(levels: Iterable[str]) -> list[str]:
    """Distinct levels of noise (`snr_level`): numbers from low to high, then ``as observed``."""
    return sorted(set(levels), key=lambda level: (level_value(level), level))


def level_value(level: str) -> float:
    """Signal-to-noise ratio of a level; infinite where no noise is injected."""
    try:
        return float(level)
    except ValueError:
        return float("inf")
