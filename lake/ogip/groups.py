"""Groups of channels of a redistribution matrix, and the channel that they count from."""

import numpy as np
import numpy.typing as npt

from lake.formats.fits_hdu import HDU
from lake.ogip.containers import Ebounds, ranges
from lake.ogip.keywords import whole
from lake.ogip.numbers import lists, numbers, wrong

IntArray = npt.NDArray[np.int64]


class Groups:
    """Groups of all energy bins of a matrix.

    Parameters
    ----------
    hdu : HDU
        Of the matrix.

    Attributes
    ----------
    n_grp : numpy.ndarray
        int64, shape (energies,): groups that count.
    f_chan, n_chan : numpy.ndarray
        int64, as in the file, padding included.
    offsets : numpy.ndarray
        int64, shape (energies + 1,): where the groups of each bin begin in them.

    Raises
    ------
    InputError
        N_GRP counts groups that F_CHAN and N_CHAN do not have, or a number is negative.
    """

    def __init__(self, hdu: HDU) -> None:
        self._hdu = hdu
        self.n_grp = numbers(hdu, "N_GRP").astype(np.int64)
        f_chan, self.offsets = lists(hdu, "F_CHAN")
        n_chan, others = lists(hdu, "N_CHAN")
        self.f_chan, self.n_chan = f_chan.astype(np.int64), n_chan.astype(np.int64)
        there = np.diff(self.offsets)
        if not np.array_equal(there, np.diff(others)):
            # Cells of different lengths: no real file has them, and nothing says what they mean.
            row = int((there != np.diff(others)).argmax())
            problem = f"has {np.diff(others)[row]} numbers, F_CHAN has {there[row]}"
            raise wrong(hdu, "N_CHAN", problem, row)
        bad = (self.n_grp < 0) | (self.n_grp > there)
        if bad.any():
            row = int(bad.argmax())
            problem = f"counts {self.n_grp[row]} groups, F_CHAN and N_CHAN have {there[row]}"
            raise wrong(hdu, "N_GRP", problem, row)
        self.rows = np.repeat(np.arange(hdu.rows), self.n_grp)
        counted = ranges(self.offsets[:-1], self.n_grp)
        self.first, self.lengths = self.f_chan[counted], self.n_chan[counted]
        if (self.lengths < 0).any():
            at = int((self.lengths < 0).argmax())
            raise wrong(hdu, "N_CHAN", f"{self.lengths[at]} channels", int(self.rows[at]))

    @property
    def sizes(self) -> IntArray:
        """Elements that the groups of each bin need, int64, shape (energies,)."""
        return np.bincount(self.rows, self.lengths, self._hdu.rows).astype(np.int64)

    @property
    def _reach(self) -> tuple[int, int]:
        """Lowest channel of the groups that are not empty, and the one after the highest."""
        filled = self.lengths > 0
        if not filled.any():
            return 0, 0
        ends = (self.first + self.lengths)[filled]
        return int(self.first[filled].min()), int(ends.max())

    @property
    def last(self) -> int:
        """Highest channel of all groups."""
        return self._reach[1] - 1

    def fit(self, first_channel: int, n_channels: int) -> bool:
        """Whether all groups lie within the channels."""
        low, end = self._reach
        return low == end or (low >= first_channel and end <= first_channel + n_channels)

    def first_channel(
        self, channels: Ebounds | None, n_channels: int
    ) -> tuple[int, str, str | None]:
        """Number of the first channel: that of TLMIN, else the first of EBOUNDS, else 1.

        A TLMIN that is written as text and an EBOUNDS that starts elsewhere than F_CHAN are
        believed only if the groups fit.

        Parameters
        ----------
        channels : Ebounds or None
        n_channels : int
            0 if nothing says how many there are.

        Returns
        -------
        channel : int
        origin : str
            ``TLMIN``, ``EBOUNDS`` or ``assumed``.
        note : str or None
            What is unusual about it.
        """
        names = [name.upper() for name in self._hdu.columns]
        keyword = f"TLMIN{names.index('F_CHAN') + 1}"
        written, given = self._hdu.header.get(keyword), whole(self._hdu.header, keyword)
        begins = None if channels is None else int(channels.channel[0])
        if given is not None and not isinstance(written, str):
            note = f"{keyword} is {given}, EBOUNDS begins with channel {begins}"
            return given, "TLMIN", None if begins in (None, given) else note
        candidates = []
        if given is not None:
            candidates.append((given, "TLMIN", f"{keyword} is the text {written!r}"))
        if begins is not None:
            candidates.append((begins, "EBOUNDS", f"{keyword} is missing"))
        candidates += [
            (n, "assumed", f"{keyword} is missing: channels are taken to start at {n}")
            for n in (1, 0)
        ]
        fitting = [c for c in candidates if not n_channels or self.fit(c[0], n_channels)]
        return (fitting or candidates)[0]

    def check(self, first_channel: int, n_channels: int) -> None:
        """Raise InputError for the first group outside the channels."""
        if self.fit(first_channel, n_channels):
            return
        low, ends = self.first, self.first + self.lengths
        outside = (low < first_channel) | (ends > first_channel + n_channels)
        at = int((outside & (self.lengths > 0)).argmax())
        last = first_channel + n_channels - 1
        channel = int(low[at] if low[at] < first_channel else ends[at] - 1)
        raise wrong(
            self._hdu, "F_CHAN",
            f"a group reaches channel {channel}, expected {first_channel} to {last}",
            int(self.rows[at]),
        )  # fmt: skip

    def need(self, offsets: IntArray) -> None:
        """Raise InputError if MATRIX has less elements than the groups of a bin need."""
        there, sizes = np.diff(offsets), self.sizes
        if (there < sizes).any():
            row = int((there < sizes).argmax())
            problem = f"has {there[row]} elements, the groups of the bin need {sizes[row]}"
            raise wrong(self._hdu, "MATRIX", problem, row)
