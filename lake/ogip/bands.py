"""Rates in the energy bands of the Chandra Source Catalog, and the hardness ratios of them.

Bands and ratios are those of the catalogue (Evans et al. 2010, ApJS 189, 37; 2024, ApJS 274, 22),
so that a spectrum can be compared with its detections.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError
from lake.ogip.channels import notice_energies

FloatArray = npt.NDArray[np.float64]

BANDS: dict[str, tuple[float, float]] = {
    "soft": (0.5, 1.2),
    "medium": (1.2, 2.0),
    "hard": (2.0, 7.0),
}
"""Bounds of the bands, keV."""

RATIOS: dict[str, tuple[str, str]] = {
    "hard_hm": ("hard", "medium"),
    "hard_hs": ("hard", "soft"),
    "hard_ms": ("medium", "soft"),
}
"""Which bands each hardness ratio compares, the harder first."""


@dataclass(frozen=True, eq=False)
class BandRate:
    """A rate in a band.

    Attributes
    ----------
    rate, error : float
        In the unit of the channels' rates. NaN where no channel of the band has a rate.
    channels : int
        Channels that are summed.
    missing : int
        Channels of the band whose rate is not known; they are not in the sum.
    """

    rate: float
    error: float
    channels: int
    missing: int


def band_rates(
    rate: FloatArray,
    error: FloatArray,
    low: FloatArray,
    high: FloatArray,
    usable: npt.NDArray[np.bool_] | None = None,
    area: FloatArray | None = None,
) -> dict[str, BandRate]:
    """Add up the rates of channels in each band.

    Parameters
    ----------
    rate, error : ndarray, shape (n,)
        Net rate of each channel and its standard error, counts/s; NaN where not known.
    low, high : ndarray, shape (n,)
        Bounds of the channels, keV. A channel belongs to the band that its middle lies in.
    usable : ndarray of bool, shape (n,), optional
        Good channels; all by default. A channel that is not usable counts as missing.
    area : ndarray, shape (n,), optional
        Effective area at the middle of each channel, cm2 (`area_of_channels`): the sums are then
        photon fluxes, photons/cm2/s, which the catalogue's ratios are made of.

    Returns
    -------
    dict of str to BandRate
        By the names of `BANDS`.
    """
    scale = np.ones(len(rate)) if area is None else np.where(area > 0, area, np.nan)
    flux, noise = rate / scale, error / scale
    known = np.isfinite(flux) if usable is None else np.isfinite(flux) & usable
    sums = {}
    for name, band in BANDS.items():
        inside = notice_energies(low, high, band, "middle")
        taken = inside & known
        total, channels = float(flux[taken].sum()), int(taken.sum())
        sums[name] = BandRate(
            rate=total if channels else np.nan,
            error=float(np.linalg.norm(noise[taken])) if channels else np.nan,
            channels=channels,
            missing=int(inside.sum()) - channels,
        )
    return sums


def hardness_ratios(bands: dict[str, BandRate]) -> dict[str, tuple[float, float]]:
    """Give the three hardness ratios.

    Parameters
    ----------
    bands : dict of str to BandRate
        From `band_rates`.

    Returns
    -------
    dict of str to (float, float)
        By the names of `RATIOS`: (harder - softer) / (harder + softer), between -1 and 1, and
        its standard error. As in the catalogue no flux is below 0, so that a band with less than
        its background counts as empty. NaN where a band is not known or both are empty.
    """
    ratios = {}
    for name, (harder, softer) in RATIOS.items():
        ratios[name] = hardness(bands[harder], bands[softer])
    return ratios


def hardness(harder: BandRate, softer: BandRate) -> tuple[float, float]:
    """Give one hardness ratio and its standard error; see `hardness_ratios`."""
    h, s = (max(band.rate, 0.0) if band.rate == band.rate else np.nan for band in (harder, softer))
    total = h + s
    if not total > 0:
        return np.nan, np.nan
    # d(ratio) = 2 (s dh - h ds) / (h + s)^2
    error = 2 * float(np.hypot(s * harder.error, h * softer.error)) / total**2
    return (h - s) / total, error


def area_of_channels(
    energ_lo: FloatArray, energ_hi: FloatArray, specresp: FloatArray, energy: FloatArray
) -> FloatArray:
    """Read an effective area at the energies of channels.

    Parameters
    ----------
    energ_lo, energ_hi : ndarray, shape (e,)
        Bins of the effective area, keV, ascending or descending.
    specresp : ndarray, shape (e,)
        cm2.
    energy : ndarray, shape (n,)
        Middle of each channel, keV.

    Returns
    -------
    ndarray of float64, shape (n,)
        Of the bin that holds the energy, lower bound included; NaN where none does.

    Raises
    ------
    LacusError
        The bins are neither ascending nor descending.
    """
    if energ_lo[0] > energ_lo[-1]:
        energ_lo, energ_hi, specresp = energ_lo[::-1], energ_hi[::-1], specresp[::-1]
    if (np.diff(energ_lo) <= 0).any():
        raise LacusError("the energies of the effective area go up and down")
    bins = np.searchsorted(energ_lo, energy, side="right") - 1
    inside = (bins >= 0) & (energy < np.asarray(energ_hi)[bins])
    return np.where(inside, np.asarray(specresp, dtype=np.float64)[bins], np.nan)
