"""A simulated X-ray source in front of a simulated CCD: photons in, counts by channel out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

FloatArray = npt.NDArray[np.float64]

#: Lower edge (keV) and coefficients of the cross section by hydrogen atom (1e-24 cm2), times E**3:
#: Morrison & McCammon 1983, ApJ 270, 119, table 2.
_ABSORPTION = np.array(
    [
        (0.030, 17.3, 608.1, -2150.0), (0.100, 34.6, 267.9, -476.1), (0.284, 78.1, 18.8, 4.3),
        (0.400, 71.4, 66.8, -51.4), (0.532, 95.5, 145.8, -61.1), (0.707, 308.9, -380.6, 294.0),
        (0.867, 120.6, 169.3, -47.7), (1.303, 141.3, 146.8, -31.5), (1.840, 202.7, 104.7, -17.0),
        (2.471, 342.7, 18.7, 0.0), (3.210, 352.2, 18.7, 0.0), (4.038, 433.9, -2.4, 0.75),
        (7.111, 629.0, 30.9, 0.0), (8.331, 701.2, 25.2, 0.0),
    ]
)  # fmt: skip
# K edge of silicon and its fluorescence line (keV); one electron of a CCD for so much energy.
_SI_EDGE, _SI_LINE, _PAIR = 1.839, 1.740, 3.65e-3
#: What is less likely than this in a channel is not written down (LO_THRES).
THRESHOLD = 1e-5


def absorbed_power_law(
    edges: npt.ArrayLike, norm: float, gamma: float, column_density: float
) -> FloatArray:
    """Photon flux of a power law behind cold gas.

    Parameters
    ----------
    edges : array_like of float, shape (n + 1,)
        Edges of the energy bins, increasing, 0.03 to 10 keV (beyond it the last cross section
        is carried on).
    norm : float
        Photons keV-1 cm-2 s-1 at 1 keV.
    gamma : float
        Photon index, not 1.
    column_density : float
        Hydrogen atoms in 1e22 cm-2.

    Returns
    -------
    ndarray of float64, shape (n,)
        Photons cm-2 s-1 in each bin; absorbed as at its middle.
    """
    edges = np.asarray(edges, np.float64)
    total = norm * np.diff(edges ** (1 - gamma)) / (1 - gamma)
    energy = (edges[:-1] + edges[1:]) / 2
    place = np.maximum(np.searchsorted(_ABSORPTION[:, 0], energy, "right") - 1, 0)
    c0, c1, c2 = _ABSORPTION[place, 1:].T
    cross_section = (c0 + c1 * energy + c2 * energy**2) / energy**3
    flux: FloatArray = total * np.exp(-0.01 * column_density * cross_section)
    return flux


@dataclass(frozen=True)
class Detector:
    """Energy bins and channels of an instrument, and what it makes of photons.

    Attributes
    ----------
    edges : ndarray of float64, shape (n_energies + 1,)
        keV.
    channel_edges : ndarray of float64, shape (n_channels + 1,)
        keV.
    area : ndarray of float64, shape (n_energies,)
        cm2.
    redistribution : ndarray of float32, shape (n_energies, n_channels)
        Probabilities; 0 where they are below `THRESHOLD`.
    """

    edges: FloatArray
    channel_edges: FloatArray
    area: FloatArray
    redistribution: npt.NDArray[np.float32]

    def counts(self, flux: FloatArray, exposure: float) -> FloatArray:
        """Expected counts by channel.

        Parameters
        ----------
        flux : ndarray of float64, shape (n_energies,)
            Photons cm-2 s-1 in each bin.
        exposure : float
            Seconds.

        Returns
        -------
        ndarray of float64, shape (n_channels,)
        """
        return exposure * ((flux * self.area) @ self.redistribution.astype(np.float64))

    def groups(self) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """Runs of channels with a probability, per energy bin.

        Returns
        -------
        list of (first, length)
            Of each bin: the first channel of each run, counted from 0, and how many there are.
        """
        some = np.pad(self.redistribution > 0, ((0, 0), (1, 1))).astype(np.int8)
        steps = np.diff(some, axis=1)
        return [
            (np.flatnonzero(row == 1), np.flatnonzero(row == -1) - np.flatnonzero(row == 1))
            for row in steps
        ]


def ccd(energies: int, channels: int, *, bottom: float, top: float, area: float) -> Detector:
    """Make a CCD behind a mirror.

    A photon gives a Gaussian as wide as noise and the statistics of electrons make it (Fano
    factor 0.118), and above the K edge of silicon an escape peak and a fluorescence line.

    Parameters
    ----------
    energies, channels : int
        How many energy bins and channels.
    bottom, top : float
        Ends of the channels (keV); the energy bins reach somewhat further.
    area : float
        Effective area near 1 keV (cm2).

    Returns
    -------
    Detector
    """
    edges = np.geomspace(0.4 * bottom, 1.1 * top, energies + 1)
    channel_edges = np.linspace(bottom, top, channels + 1)
    energy = (edges[:-1] + edges[1:]) / 2
    above = energy > _SI_EDGE
    # A filter takes the soft end, the mirror's iridium edge and its smoothness the hard end.
    filtered = np.exp(-0.06 * energy**-2.5)
    mirror = np.where(energy > 2.08, 0.7, 1.0) / (1 + (energy / 5.0) ** 4)
    quantum = np.where(above, 0.98, 0.92)
    parts = [
        (energy, np.where(above, 0.97, 1.0)),
        (energy - _SI_LINE, np.where(above, 0.02, 0.0)),
        (np.full(energies, _SI_LINE), np.where(above, 0.01, 0.0)),
    ]
    matrix = np.zeros((energies, channels))
    for centre, share in parts:
        sigma = _PAIR * np.sqrt(8.0**2 + 0.118 * np.maximum(centre, 0) / _PAIR)
        scaled = (channel_edges - centre[:, None]) / sigma[:, None]
        matrix += share[:, None] * np.diff(ndtr(scaled), axis=1)
    matrix[matrix < THRESHOLD] = 0
    return Detector(
        edges, channel_edges, area * filtered * mirror * quantum, matrix.astype(np.float32)
    )
