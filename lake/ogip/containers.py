"""Spectra, responses and effective areas as plain arrays; what kernels and readers share.

Nothing is normalised: counts, errors and flags are those of the file, a matrix keeps its groups
and the dtype of its elements. Formats: OGIP/92-007 and 92-007a (Arnaud, George & Tennant), and
CAL/GEN/92-002 and 92-002a (George et al.).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ebounds:
    """Nominal energies of the channels of a detector.

    Attributes
    ----------
    channel : numpy.ndarray
        int64, shape (channels,).
    e_min, e_max : numpy.ndarray
        float64, shape (channels,), keV. Some detectors count channels downwards in energy.
    """

    channel: IntArray
    e_min: FloatArray
    e_max: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Spectrum:
    """A spectrum: one number per channel, as in the file; None for what it does not say.

    Attributes
    ----------
    quantity : str
        ``COUNTS`` or ``RATE`` (counts per second): what `values` are.
    values : numpy.ndarray
        float64, shape (channels,), NaN where the file has none.
    channel : numpy.ndarray or None
        int64, shape (channels,).
    stat_err : numpy.ndarray or None
        float64, shape (channels,), in the unit of `values`.
    sys_err : numpy.ndarray or None
        float64, shape (channels,), a fraction of `values`.
    quality, grouping : numpy.ndarray or None
        int64, shape (channels,).
    exposure : float or None
        Seconds.
    areascal, backscal : float or numpy.ndarray or None
        A number, or float64 of shape (channels,).
    corrscal : float or None
    poisserr : bool or None
    backfile, respfile, ancrfile : str or None
        Files that belong to it, as the file names them.
    ebounds : Ebounds or None
        Energies of the channels, where they are in the same file.
    first_channel : int or None
        Number of the first channel, if the file says it.
    about : mapping
        The columns of `ogip.spectra` that identify it (telescope, instrument, object, ...).
    warnings : tuple of str
        What is unusual about it, and how it was taken.
    """

    quantity: str
    values: FloatArray
    channel: IntArray | None = None
    stat_err: FloatArray | None = None
    sys_err: FloatArray | None = None
    quality: IntArray | None = None
    grouping: IntArray | None = None
    exposure: float | None = None
    areascal: float | FloatArray | None = None
    backscal: float | FloatArray | None = None
    corrscal: float | None = None
    poisserr: bool | None = None
    backfile: str | None = None
    respfile: str | None = None
    ancrfile: str | None = None
    ebounds: Ebounds | None = None
    first_channel: int | None = None
    about: dict[str, Any]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Response:
    """A redistribution matrix in groups of channels, as its file holds it.

    The groups of energy bin ``i`` are ``f_chan[s]``, ``n_chan[s]`` with
    ``s = slice(group_offsets[i], group_offsets[i] + n_grp[i])``; their elements follow each other
    from ``matrix[matrix_offsets[i]]`` on. What lies between them and the next bin's is padding of
    columns of fixed width.

    Attributes
    ----------
    energ_lo, energ_hi : numpy.ndarray
        float64, shape (energies,), keV.
    n_grp : numpy.ndarray
        int64, shape (energies,).
    f_chan, n_chan : numpy.ndarray
        int64, one number per group; `f_chan` counts from `first_channel`.
    group_offsets : numpy.ndarray
        int64, shape (energies + 1,).
    matrix : numpy.ndarray
        float32 or float64, as in the file; probabilities, or cm2 where `includes_area`.
    matrix_offsets : numpy.ndarray
        int64, shape (energies + 1,).
    first_channel : int
        Number of the first channel.
    first_channel_from : str
        ``TLMIN``, ``EBOUNDS`` or ``assumed``.
    n_channels : int
    ebounds : Ebounds or None
        Its `channel`, `e_min`, `e_max` have the shape (n_channels,).
    includes_area : bool
        Whether the effective area is in the matrix.
    about : mapping
        The columns of `ogip.responses` that identify it.
    warnings : tuple of str
        What is unusual about it, and how it was taken.
    """

    energ_lo: FloatArray
    energ_hi: FloatArray
    n_grp: IntArray
    f_chan: IntArray
    n_chan: IntArray
    group_offsets: IntArray
    matrix: npt.NDArray[Any]
    matrix_offsets: IntArray
    first_channel: int
    first_channel_from: str
    n_channels: int
    ebounds: Ebounds | None
    includes_area: bool
    about: dict[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def n_energies(self) -> int:
        """Number of energy bins."""
        return len(self.energ_lo)

    @property
    def channel(self) -> IntArray:
        """Channel numbers, int64, shape (n_channels,)."""
        if self.ebounds is not None:
            return self.ebounds.channel
        return np.arange(self.first_channel, self.first_channel + self.n_channels)

    @cached_property
    def groups(self) -> tuple[IntArray, IntArray, IntArray]:
        """Energy bin, first channel (from 0) and length of each group that counts, int64."""
        taken = ranges(self.group_offsets[:-1], self.n_grp)
        rows = np.repeat(np.arange(self.n_energies), self.n_grp)
        return rows, self.f_chan[taken] - self.first_channel, self.n_chan[taken]

    @cached_property
    def elements_per_bin(self) -> IntArray:
        """Elements of each energy bin without padding, int64, shape (energies,)."""
        rows, _, lengths = self.groups
        return np.bincount(rows, lengths, self.n_energies).astype(np.int64)

    @cached_property
    def elements(self) -> npt.NDArray[Any]:
        """Elements of all groups one after the other, without padding; a view if there is none."""
        sizes = self.elements_per_bin
        if np.array_equal(np.diff(self.matrix_offsets), sizes):
            return self.matrix
        return self.matrix[ranges(self.matrix_offsets[:-1], sizes)]

    def as_sparse(self) -> "csr_array":
        """Matrix in compressed sparse rows, shape (n_energies, n_channels).

        Elements keep their dtype. Elements of a bin whose groups overlap stay apart; products and
        sums add them up.
        """
        from scipy.sparse import csr_array

        _, first, lengths = self.groups
        ends = np.concatenate([[0], np.cumsum(self.elements_per_bin)])
        shape = (self.n_energies, self.n_channels)
        small = max(int(ends[-1]), self.n_channels) <= np.iinfo(np.int32).max
        kind = np.int32 if small else np.int64
        columns = ranges(first, lengths, kind)
        return csr_array((self.elements, columns, ends.astype(kind)), shape=shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class EffectiveArea:
    """An effective area curve.

    Attributes
    ----------
    energ_lo, energ_hi : numpy.ndarray
        float64, shape (energies,), keV.
    specresp : numpy.ndarray
        float64, shape (energies,), cm2.
    about : mapping
        The columns of `ogip.effective_area` that identify it.
    warnings : tuple of str
        What is unusual about it, and how it was taken.
    """

    energ_lo: FloatArray
    energ_hi: FloatArray
    specresp: FloatArray
    about: dict[str, Any]
    warnings: tuple[str, ...] = ()


def ranges(
    starts: IntArray, lengths: IntArray, kind: type[np.signedinteger[Any]] = np.int64
) -> npt.NDArray[Any]:
    """Numbers ``start, start + 1, ...`` of all ranges one after the other."""
    total = int(lengths.sum())
    before = np.cumsum(lengths) - lengths
    steps = np.arange(total, dtype=kind)
    steps += np.repeat((starts - before).astype(kind), lengths)
    return steps
