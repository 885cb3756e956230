"""Folds that keep all detections of a source together."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def grouped_folds(
    groups: Sequence[str] | npt.NDArray[np.object_],
    labels: npt.NDArray[np.integer],
    folds: int,
    seed: int,
) -> npt.NDArray[np.int64]:
    """Deal sources out to folds, class by class.

    Detections of one source resemble each other far more than two sources of a class do; a
    split that separated them would report how well a source is recognised again.

    Parameters
    ----------
    groups : sequence of str, length n
        Source name of each detection.
    labels : ndarray of int, shape (n,)
        Class of each detection; a source with several counts for its first.
    folds : int
    seed : int
        Of the order in which the sources of a class are dealt.

    Returns
    -------
    ndarray of int64, shape (n,)
        The fold of each detection, 0 to folds - 1. It depends on the set of sources and the
        seed, not on the order of the rows of different sources.
    """
    _, first, inverse = np.unique(np.asarray(groups, dtype=str), True, True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    dealt = shuffled[np.argsort(labels[first][shuffled], kind="stable")]
    fold_of_source = np.empty(len(first), dtype=np.int64)
    fold_of_source[dealt] = np.arange(len(first)) % folds
    return fold_of_source[inverse]


def some_sources(sources: npt.NDArray[np.object_], rows: int, seed: int) -> npt.NDArray[np.bool_]:
    """Draw whole sources at random until they have a number of rows.

    Parameters
    ----------
    sources : ndarray of str, shape (n,)
        The source of each row.
    rows : int
        Rows wanted at the most; all are kept if there are no more.
    seed : int

    Returns
    -------
    ndarray of bool, shape (n,)
        True for the rows of the drawn sources.
    """
    if len(sources) <= rows:
        return np.ones(len(sources), bool)
    _, index, counts = np.unique(sources.astype(str), return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(counts))
    drawn = np.zeros(len(counts), bool)
    drawn[order[np.cumsum(counts[order]) <= rows]] = True
    return drawn[index]
