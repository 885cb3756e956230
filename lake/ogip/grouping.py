"""Grouping of channels: from the flags of a file, to a minimum, or to a fixed width.

GROUPING is 1 where a group begins and -1 where it goes on; 0 says that nothing is grouped, so
such a channel is one of its own. QUALITY is 0 for a good channel (OGIP/92-007a, section 3).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError
from lake.ogip.limits import significance_gaussian_background, significance_li_ma

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

Measure = Literal["net", "li_ma", "gaussian"]
"""Net counts over their error; Li & Ma 1983; the likelihood ratio with a Gaussian background."""

Tail = Literal["join", "drop"]
"""What becomes of channels too few for a group: part of the one before, or of none."""

DUBIOUS = 2
"""QUALITY of a good channel that is in no group (OGIP/92-007a: dubious, set by software)."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Ranges of channels that are taken together, ascending and disjoint.

    Attributes
    ----------
    start, stop : ndarray of int64, shape (g,)
        Group i holds the channels start[i] to stop[i] - 1, counted from 0 in the spectrum.
    channels : int
        How many the spectrum has.
    """

    start: IntArray
    stop: IntArray
    channels: int

    def __len__(self) -> int:
        return len(self.start)

    def sum(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Add up values in each group.

        Parameters
        ----------
        values : ndarray, shape (..., channels)

        Returns
        -------
        ndarray of int64 or float64, shape (..., g)
            Every group by itself: a NaN stays in the group of its channel.

        Raises
        ------
        LacusError
            The values are not one per channel.
        """
        values = np.asarray(values)
        if values.shape[-1:] != (self.channels,):
            raise LacusError(
                f"the values have the shape {values.shape}; expected {self.channels} channels last"
            )
        if not len(self):
            return np.zeros((*values.shape[:-1], 0))
        # What lies between two groups is summed too and left out; the 0 makes the end an index.
        padded = np.concatenate([values, np.zeros_like(values[..., :1])], axis=-1)
        ends = np.column_stack([self.start, self.stop]).ravel()
        # Small integers and single precision would be summed in their own type.
        wide = np.result_type(values.dtype, np.int64)
        return np.add.reduceat(padded, ends, axis=-1, dtype=wide)[..., ::2]

    def quadrature(self, errors: npt.NDArray[Any]) -> FloatArray:
        """Add up independent errors in each group: the root of the sum of squares."""
        return np.sqrt(self.sum(np.square(np.asarray(errors, dtype=np.float64))))

    def bounds(self, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Give the lowest and the highest energy of each group.

        Parameters
        ----------
        low, high : ndarray, shape (channels,)
            Bounds of the channels, keV.

        Returns
        -------
        low, high : ndarray, shape (g,)
        """
        first, last = self.start, self.stop - 1
        return np.minimum(low[first], low[last]), np.maximum(high[first], high[last])

    def flags(
        self, quality: npt.NDArray[np.integer] | None = None
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
        """Write the groups as OGIP flags.

        Parameters
        ----------
        quality : ndarray of int, shape (channels,), optional
            QUALITY so far; all good by default.

        Returns
        -------
        grouping, quality : ndarray of int16, shape (channels,)
            Outside the groups GROUPING is 0, and QUALITY `DUBIOUS` where it was 0.
        """
        grouping = np.zeros(self.channels, dtype=np.int16)
        grouping[self.members()] = -1
        grouping[self.start] = 1
        flagged = np.zeros(self.channels, np.int16) if quality is None else quality.astype(np.int16)
        flagged[(grouping == 0) & (flagged == 0)] = DUBIOUS
        return grouping, flagged

    def members(self) -> npt.NDArray[np.bool_]:
        """Tell which channels are in a group, shape (channels,)."""
        steps = np.zeros(self.channels + 1, dtype=np.int64)
        steps[self.start] += 1
        steps[self.stop] -= 1
        return np.cumsum(steps)[:-1] > 0


def single_channels(channels: int, usable: npt.NDArray[np.bool_] | None = None) -> Groups:
    """Make every usable channel a group of its own.

    Parameters
    ----------
    channels : int
    usable : ndarray of bool, shape (channels,), optional
        Good and noticed; all by default.

    Returns
    -------
    Groups
    """
    start = np.arange(channels) if usable is None else np.flatnonzero(_mask(usable, channels))
    return Groups(start, start + 1, channels)


def flagged_groups(
    grouping: npt.NDArray[np.integer] | None,
    usable: npt.NDArray[np.bool_],
) -> Groups:
    """Read groups from OGIP flags.

    Parameters
    ----------
    grouping : ndarray of int, shape (channels,), or None
        GROUPING; None where the spectrum has none, and every channel is a group.
    usable : ndarray of bool, shape (channels,)
        QUALITY is 0 and the channel is noticed.

    Returns
    -------
    Groups
        Those of which every channel is usable.

    Raises
    ------
    LacusError
        The flags are not as many as the channels, or the first one continues a group.
    """
    if grouping is None:
        return single_channels(len(usable), usable)
    _mask(usable, len(grouping))
    start = np.flatnonzero(np.asarray(grouping) >= 0)
    if len(grouping) and (not len(start) or start[0] > 0):
        raise LacusError("GROUPING of the first channel is -1; expected the beginning of a group")
    stop = np.append(start[1:], len(grouping)).astype(np.int64)
    every = Groups(start, stop, len(grouping))
    whole = every.sum(usable.astype(np.int64)) == stop - start
    return Groups(start[whole], stop[whole], len(grouping))


def group_min_counts(
    counts: FloatArray,
    minimum: float,
    base: Groups | None = None,
    widest: int | None = None,
    tail: Tail = "join",
) -> Groups:
    """Group until each group has enough counts.

    Parameters
    ----------
    counts : ndarray, shape (channels,)
    minimum : float
        Counts of a group at least.
    base : Groups, optional
        What to group: by default every channel; the groups of a file to rebin them for a plot.
        A gap between two of them ends a group.
    widest : int, optional
        Members of `base` in a group at most; such a group may be short of `minimum`.
    tail : {'join', 'drop'}
        What becomes of the last ones before a gap, too few for `minimum`. With 'join' they stay
        a group where there is none before them.

    Returns
    -------
    Groups
    """
    units = single_channels(len(counts)) if base is None else base
    summed = units.sum(np.asarray(counts, dtype=np.float64))
    return _greedy(units, summed[None], lambda sums: sums[0] >= minimum, widest, tail)


def group_min_significance(
    counts: FloatArray,
    error: FloatArray,
    background: FloatArray,
    background_error: FloatArray,
    alpha: float | FloatArray,
    minimum: float,
    measure: Measure = "net",
    base: Groups | None = None,
    widest: int | None = None,
    tail: Tail = "join",
) -> Groups:
    """Group until each group stands out of the background.

    Parameters
    ----------
    counts, error, background, background_error : ndarray, shape (channels,)
        Counts of the source and of the background spectrum, and their errors.
    alpha : float or ndarray, shape (channels,)
        What scales the background to the source (`lake.ogip.rates.background_ratio`).
    minimum : float
        Standard deviations at least.
    measure : {'net', 'li_ma', 'gaussian'}
        'net': net counts over their error. 'li_ma': `significance_li_ma`, with one `alpha`.
        'gaussian': `significance_gaussian_background`.
    base, widest, tail
        As in `group_min_counts`. A channel without a known background (NaN) belongs outside
        `base`: no group that holds it reaches the minimum.

    Returns
    -------
    Groups

    Raises
    ------
    LacusError
        'li_ma' with a different `alpha` per channel.
    """
    if measure == "li_ma" and np.ndim(alpha):
        raise LacusError("alpha differs from channel to channel; Li & Ma's measure needs one")
    units = single_channels(len(counts)) if base is None else base
    columns = np.stack(
        [
            counts,
            np.square(error),
            background * alpha,
            np.square(background_error * alpha),
            background,
        ]
    )

    def reached(sums: FloatArray) -> npt.NDArray[np.bool_]:
        total, variance, scaled, scaled_variance, off = sums
        if measure == "li_ma":
            return significance_li_ma(total, off, alpha) >= minimum
        if measure == "gaussian":
            # Neither an unmeasured background nor an empty group says anything yet.
            enough = significance_gaussian_background(total, scaled, np.sqrt(scaled_variance))
            return (enough >= minimum) & (scaled_variance > 0) & (total > 0)
        noise = np.sqrt(variance + scaled_variance)
        return (total - scaled >= minimum * noise) & (noise > 0)

    return _greedy(units, units.sum(columns), reached, widest, tail)


def group_fixed_width(base: Groups, width: int, tail: Tail = "join") -> Groups:
    """Take as many channels together, whatever is in them.

    Parameters
    ----------
    base : Groups
        What to group; see `single_channels`.
    width : int
        How many of them make a group.
    tail : {'join', 'drop'}
        As in `group_min_counts`.

    Returns
    -------
    Groups
    """
    nothing = np.zeros((1, len(base)))
    return _greedy(base, nothing, lambda sums: np.zeros(sums.shape[1], bool), width, tail)


def _greedy(
    units: Groups,
    columns: FloatArray,
    reached: Callable[[FloatArray], npt.NDArray[np.bool_]],
    widest: int | None,
    tail: Tail,
) -> Groups:
    """Close a group at the first unit at which its sums reach what is asked.

    Parameters
    ----------
    columns : ndarray, shape (k, u)
        What is summed over units.
    reached : callable
        Takes sums of shape (k, w), the group at its 1st to w-th unit, and gives (w,) answers.
    """
    if widest is not None and widest < 1:
        raise LacusError(f"the widest group has {widest} channels; expected at least 1")
    breaks = np.flatnonzero(units.start[1:] != units.stop[:-1]) + 1
    firsts: list[int] = []
    lasts: list[int] = []
    for begin, end in zip([0, *breaks], [*breaks, len(units)], strict=True):
        first, window, before = begin, 16, len(firsts)
        while first < end:
            limit = end if widest is None else min(first + widest, end)
            stop = min(first + window, limit)
            sums = np.cumsum(columns[:, first:stop], axis=1)
            enough = np.flatnonzero(reached(sums))
            if not enough.size and stop < limit:
                window *= 4
                continue
            complete = enough.size or stop - first == widest
            last = first + int(enough[0]) if enough.size else stop - 1
            if complete or (tail == "join" and len(firsts) == before):
                firsts.append(first)
                lasts.append(last)
            elif tail == "join":
                lasts[-1] = last
            first, window = last + 1, 16
    return Groups(
        units.start[np.array(firsts, dtype=np.int64)],
        units.stop[np.array(lasts, dtype=np.int64)],
        units.channels,
    )


def _mask(usable: npt.NDArray[np.bool_], channels: int) -> npt.NDArray[np.bool_]:
    if usable.shape != (channels,):
        raise LacusError(
            f"the mask has the shape {usable.shape}; expected one value for each of {channels} "
            "channels"
        )
    return usable
