"""Pixels as boxes: masks decomposed into rectangles that cover them exactly.

A box is four integers: column and row of its first pixel (from 0), columns, rows. Runs, merged
runs and the greedy boxes do not overlap; those of the cover may, which is harmless for what is
cut out and, one component each, for what is kept.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError, UsageError
from lake.xmm.cover import cover

Mask = npt.NDArray[np.bool_]
Boxes = npt.NDArray[np.int64]

_NONE: Boxes = np.empty((0, 4), np.int64)
#: Seconds that the search for the smallest cover of one mask takes at most.
SECONDS = 5.0
#: Boxes times pixels of a piece up to which the greedy algorithm takes seconds at most.
_GREEDY = 20_000_000


@dataclass(frozen=True)
class Decomposition:
    """Boxes that cover pixels exactly.

    Attributes
    ----------
    boxes : ndarray of int64, shape (n, 4)
        Column, row, columns, rows; in the order of rows, then columns.
    label : ndarray of int64, shape (n,)
        Label that each box belongs to; 1 for a mask without labels.
    algorithm : str
        As it was asked for.
    fewest : bool
        Whether it is proven that no smaller number of boxes covers the pixels of each label.
    """

    boxes: Boxes
    label: npt.NDArray[np.int64]
    algorithm: str
    fewest: bool


def row_runs(mask: Mask) -> Boxes:
    """Give the maximal runs of pixels in each row, as boxes, shape (n, 4)."""
    return _runs(mask.astype(np.int64))[0]


def column_runs(mask: Mask) -> Boxes:
    """Give the maximal runs of pixels in each column, as boxes, shape (n, 4)."""
    return _ordered(row_runs(mask.T)[:, [1, 0, 3, 2]])


def merged_runs(mask: Mask) -> Boxes:
    """Give row runs, where equal ones in neighbouring rows are one box, shape (n, 4)."""
    return _merged(row_runs(mask))


def greedy(mask: Mask) -> Boxes:
    """Take the largest box that fits, then the largest in what is left, and so on.

    Returns
    -------
    ndarray, shape (n, 4)
        Boxes that do not overlap.
    """
    from scipy import ndimage

    found = []
    # What a box leaves falls apart: each piece is searched by itself, smaller and smaller.
    waiting = [(corner, piece) for _, corner, piece in _pieces(mask.astype(np.int64))]
    while waiting:
        (y, x), piece = waiting.pop()
        column, row, width, height = _largest(piece)
        found.append((x + column, y + row, width, height))
        piece[row : row + height, column : column + width] = False
        parts, _ = ndimage.label(piece)
        for number, where in enumerate(ndimage.find_objects(parts), 1):
            waiting.append(((y + where[0].start, x + where[1].start), parts[where] == number))
    return _ordered(np.array(found, np.int64).reshape(-1, 4))


ALGORITHMS: dict[str, Callable[[Mask], Boxes]] = {
    "rows": row_runs,
    "columns": column_runs,
    "merged": merged_runs,
    "greedy": greedy,
}
CHOICES = (*ALGORITHMS, "cover", "fewest")


def decompose(
    labels: npt.NDArray, algorithm: str = "fewest", seconds: float = SECONDS
) -> Decomposition:
    """Decompose a mask, or every label of a labelled image.

    Parameters
    ----------
    labels : ndarray of bool or int, shape (rows, columns)
        0 or False: no pixel of any label.
    algorithm : str
        ``rows``, ``columns``, ``merged``, ``greedy``, ``cover`` (the smallest exact cover, by
        integer programming), or ``fewest``: the cover, or, of what the search cannot finish,
        the best that it or any other algorithm gives.
    seconds : float
        Time that the search for covers takes at most. What is found in time does not depend
        on it.

    Returns
    -------
    Decomposition

    Raises
    ------
    UsageError
        If there is no such algorithm.
    LacusError
        If only the cover is asked for and none is found in time.
    """
    if algorithm not in CHOICES:
        raise UsageError(f"no algorithm {algorithm!r}; there are {', '.join(CHOICES)}")
    labels = np.asarray(labels).astype(np.int64)
    if algorithm in ("rows", "merged"):
        boxes, of = _runs(labels)
        return _decomposition(_by_label(boxes, of, algorithm == "merged"), algorithm)
    if algorithm == "columns":
        boxes, of = _runs(labels.T)
        return _decomposition([(boxes[:, [1, 0, 3, 2]], of)], algorithm)
    until = time.monotonic() + seconds
    parts = []
    proven = algorithm != "greedy"
    for label, (rows, columns), piece in _pieces(labels):
        if piece.all():
            boxes = np.array([[0, 0, piece.shape[1], piece.shape[0]]])
        elif algorithm == "greedy":
            boxes = greedy(piece)
        else:
            boxes, best = cover(piece, until)
            if not best and algorithm == "fewest":
                boxes = _best(piece, boxes, until)
            if not len(boxes):
                raise LacusError(f"no cover was found within {seconds} s; ask for fewest")
            proven &= best
        boxes = boxes + np.array([columns, rows, 0, 0])
        parts.append((boxes, np.full(len(boxes), label)))
    return _decomposition(parts, algorithm, proven)


def _best(piece: Mask, found: Boxes, until: float) -> Boxes:
    """Fewest boxes of those that the simple algorithms give and, if any, those found.

    When time is up, as it may be with thousands of pieces to go, merged runs have to do.
    """
    candidates = [merged_runs(piece)]
    if len(found):
        candidates.append(found)
    if time.monotonic() < until:
        candidates += [row_runs(piece), column_runs(piece)]
        if len(candidates[0]) * piece.size <= _GREEDY:
            candidates.append(greedy(piece))
    return min(candidates, key=len)


def _runs(labels: npt.NDArray[np.int64]) -> tuple[Boxes, npt.NDArray[np.int64]]:
    """Maximal runs of one label in each row, and their labels; 0 is no label."""
    padded = np.zeros((labels.shape[0], labels.shape[1] + 2), np.int64)
    padded[:, 1:-1] = labels
    change = padded[:, 1:] != padded[:, :-1]
    rows, starts = np.nonzero(change & (padded[:, 1:] != 0))
    _, ends = np.nonzero(change & (padded[:, :-1] != 0))
    boxes = np.stack([starts, rows, ends - starts, np.ones_like(rows)], axis=1)
    return boxes, padded[rows, starts + 1]


def _by_label(
    boxes: Boxes, of: npt.NDArray[np.int64], merge: bool
) -> list[tuple[Boxes, npt.NDArray[np.int64]]]:
    if not merge or not len(boxes):
        return [(boxes, of)]
    # Runs of one label that are of one column and width lie one after the other in this order.
    order = np.lexsort((boxes[:, 1], boxes[:, 2], boxes[:, 0], of))
    boxes, of = boxes[order], of[order]
    same = (np.diff(boxes[:, [0, 2]], axis=0) == 0).all(axis=1) & (np.diff(of) == 0)
    first = np.flatnonzero(np.r_[True, ~(same & (np.diff(boxes[:, 1]) == 1))])
    merged = boxes[first]
    merged[:, 3] = np.diff(np.r_[first, len(boxes)])
    return [(merged, of[first])]


def _merged(runs: Boxes) -> Boxes:
    return _ordered(_by_label(runs, np.ones(len(runs), np.int64), True)[0][0])


def _pieces(labels: npt.NDArray[np.int64]) -> Iterator[tuple[int, tuple[int, int], Mask]]:
    """Connected pieces of each label: its label, first row and column, and pixels."""
    # Imported here: the package is loaded by every command, and these take half a second.
    from scipy import ndimage
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    place = np.arange(labels.size).reshape(labels.shape)
    down = (labels[1:] == labels[:-1]) & (labels[1:] != 0)
    right = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != 0)
    ends = (
        np.concatenate([place[1:][down], place[:, 1:][right]]),
        np.concatenate([place[:-1][down], place[:, :-1][right]]),
    )
    joined = coo_array((np.ones(len(ends[0]), bool), ends), shape=(labels.size, labels.size))
    piece = connected_components(joined, directed=False)[1].reshape(labels.shape)
    # Pieces are numbered from 1; pixels without a label were each a piece of their own.
    _, dense = np.unique(np.where(labels != 0, piece + 1, 0), return_inverse=True)
    dense = dense.reshape(labels.shape) + int(labels.all())
    for number, where in enumerate(ndimage.find_objects(dense.astype(np.int32)), 1):
        pixels = dense[where] == number
        first = np.unravel_index(int(np.argmax(pixels)), pixels.shape)
        corner = (where[0].start, where[1].start)
        yield int(labels[where][first]), corner, pixels


def _largest(mask: Mask) -> tuple[int, int, int, int]:
    """Largest box in a mask: column, row, columns, rows; of equal ones the first."""
    heights = np.zeros(mask.shape[1], np.int64)
    best, found = 0, (0, 0, 0, 0)
    for row, line in enumerate(mask):
        heights = np.where(line, heights + 1, 0)
        # A stack of columns of rising height: each ends where a lower one comes.
        stack: list[tuple[int, int]] = []
        for column, height in enumerate([*heights.tolist(), 0]):
            start = column
            while stack and stack[-1][1] >= height:
                start, top = stack.pop()
                area = top * (column - start)
                if area > best:
                    best, found = area, (start, row - top + 1, column - start, top)
            stack.append((start, height))
    return found


def _ordered(boxes: Boxes) -> Boxes:
    return boxes[np.lexsort((boxes[:, 0], boxes[:, 1]))]


def _decomposition(
    parts: list[tuple[Boxes, npt.NDArray[np.int64]]], algorithm: str, fewest: bool = False
) -> Decomposition:
    if not parts:
        return Decomposition(_NONE, np.empty(0, np.int64), algorithm, fewest)
    boxes, of = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
    order = np.lexsort((boxes[:, 0], boxes[:, 1], of))
    return Decomposition(boxes[order], of[order], algorithm, fewest)
