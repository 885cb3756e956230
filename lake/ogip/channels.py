"""Energies of channels, and which of them an energy range or a channel range takes in."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Range = tuple[float, float]

Within = Literal["whole", "middle", "part"]
"""When a channel counts as inside a range: all of it, its middle, or any part of it."""


def channel_energies(
    e_min: npt.ArrayLike, e_max: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Give the bounds, the middle and the width of channels.

    Parameters
    ----------
    e_min, e_max : array_like, shape (n,)
        E_MIN and E_MAX of EBOUNDS, keV. Grating responses have channels of falling energy,
        and some write the higher energy in E_MIN.

    Returns
    -------
    low, high, mean, width : ndarray of float64, shape (n,)
        keV, low <= high; mean = (low + high) / 2.

    Raises
    ------
    LacusError
        The two differ in length.
    """
    first, second = np.asarray(e_min, dtype=np.float64), np.asarray(e_max, dtype=np.float64)
    if first.shape != second.shape:
        raise LacusError(
            f"E_MIN has {first.size} channels and E_MAX {second.size}; expected as many"
        )
    low, high = np.minimum(first, second), np.maximum(first, second)
    return low, high, (low + high) / 2, high - low


def merge_ranges(ranges: Range | Sequence[Range]) -> list[Range]:
    """Sort ranges and join those that overlap or touch.

    Parameters
    ----------
    ranges : pair or sequence of pairs
        (low, high), in any unit.

    Returns
    -------
    list of (low, high)
        Disjoint and ascending.

    Raises
    ------
    LacusError
        A range is not two ascending numbers.
    """
    pairs = np.array(ranges, dtype=np.float64)
    if pairs.ndim == 1 and pairs.size:
        pairs = pairs[None, :]
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not (pairs[:, 0] <= pairs[:, 1]).all():
        raise LacusError(f"the ranges are {ranges!r}; expected pairs (low, high) with low <= high")
    merged: list[Range] = []
    for low, high in sorted(map(tuple, pairs.tolist())):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def notice_energies(
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    ranges: Range | Sequence[Range],
    within: Within = "whole",
) -> BoolArray:
    """Tell which channels lie in ranges of energy.

    Parameters
    ----------
    low, high : array_like, shape (n,)
        Bounds of the channels, keV, low <= high.
    ranges : pair or sequence of pairs
        (low, high) in keV.
    within : {'whole', 'middle', 'part'}
        'whole': both bounds lie in the range. 'middle': the middle of the channel lies in
        low <= E < high, so that adjacent ranges share no channel. 'part': the channel and
        the range have more than a bound in common.

    Returns
    -------
    ndarray of bool, shape (n,)
        Overlapping ranges are joined before the test. A channel whose energies are NaN is
        in no range.
    """
    lower, upper = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    inside = np.zeros(lower.shape, dtype=bool)
    middle = (lower + upper) / 2
    for start, stop in merge_ranges(ranges):
        if within == "whole":
            inside |= (lower >= start) & (upper <= stop)
        elif within == "middle":
            inside |= (middle >= start) & (middle < stop)
        else:
            inside |= (lower < stop) & (upper > start)
    return inside


def notice_channels(channel: npt.ArrayLike, ranges: Range | Sequence[Range]) -> BoolArray:
    """Tell which channels lie in ranges of channel number.

    Parameters
    ----------
    channel : array_like of int, shape (n,)
        CHANNEL of the spectrum.
    ranges : pair or sequence of pairs
        (first, last), both included.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    number = np.asarray(channel)
    inside = np.zeros(number.shape, dtype=bool)
    for first, last in merge_ranges(ranges):
        inside |= (number >= first) & (number <= last)
    return inside
