"""Deconvolved spectra: net counts times what a model makes of a count."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError

FloatArray = npt.NDArray[np.float64]

ERG_PER_KEV = 1.602176634e-9
"""Exact since the SI of 2019."""


@dataclass(frozen=True, eq=False)
class Unfolded:
    """Deconvolved spectra with standard errors, one number per group of channels.

    Attributes
    ----------
    photon, photon_error : ndarray of float64, shape (g,)
        N(E), photons/cm2/s/keV.
    flux, flux_error : ndarray of float64, shape (g,)
        E N(E), erg/cm2/s/keV.
    energy, energy_error : ndarray of float64, shape (g,)
        E^2 N(E), erg/cm2/s.
    """

    photon: FloatArray
    photon_error: FloatArray
    flux: FloatArray
    flux_error: FloatArray
    energy: FloatArray
    energy_error: FloatArray


def unfold(
    net: FloatArray,
    net_error: FloatArray,
    folded: FloatArray,
    model: FloatArray,
    energy: FloatArray,
) -> Unfolded:
    """Turn a count spectrum into photons by the ratio of a model to its folded self.

    Parameters
    ----------
    net, net_error : ndarray, shape (g,)
        Net count spectrum and its error, counts/s/keV (`Rates.per_kev`).
    folded : ndarray, shape (g,)
        The model folded through the response, counts/s/keV (`lake.ogip.fold.fold`, summed over
        groups and divided by their widths).
    model : ndarray, shape (g,)
        The model's photons/cm2/s/keV at `energy`.
    energy : ndarray, shape (g,)
        Middle of each group, keV.

    Returns
    -------
    Unfolded
        NaN where the folded model is 0: no counts are expected there, so none can be unfolded.

    Raises
    ------
    LacusError
        The arguments differ in length.

    Notes
    -----
    N(E) = net model / folded, as `eufspec` of XSPEC has it: the result leans on the model and is
    for pictures, not for fits.
    """
    sizes = {len(values) for values in (net, net_error, folded, model, energy)}
    if len(sizes) > 1:
        raise LacusError(f"the arguments have {sorted(sizes)} groups; expected as many")
    per_count = model / np.where(folded > 0, folded, np.nan)
    photon, error = net * per_count, net_error * per_count
    erg = ERG_PER_KEV * energy
    return Unfolded(
        photon,
        error,
        photon * erg,
        error * erg,
        *(values * erg * energy for values in (photon, error)),
    )
