"""Galactic dust: flux as it would be without it."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from astropy import units as u

from lake.sdss.steps import Facts, FloatArray, Spectra, Warnings

#: Angstrom where the extinction law is tabulated: its whole range, 1,000 A to 3.3 um. Straight
#: lines between these points are good to 3e-5 of A(V).
_WAVELENGTH = 10 ** np.linspace(3.0005, 4.5185, 3037)


@lru_cache(maxsize=4)
def _law(r_v: float) -> FloatArray:
    """Give A(lambda) / E(B-V) of Fitzpatrick (1999, PASP 111, 63) at `_WAVELENGTH`."""
    from dust_extinction.parameter_averages import F99

    return np.asarray(F99(Rv=r_v)(_WAVELENGTH * u.AA)) * r_v


def extinction(wavelength: FloatArray, r_v: float) -> FloatArray:
    """Extinction per E(B-V).

    Parameters
    ----------
    wavelength : ndarray
        Angstrom, as observed.
    r_v : float
        Ratio of total to selective extinction, A(V) / E(B-V).

    Returns
    -------
    ndarray
        A(lambda) / E(B-V) in mag, Fitzpatrick (1999, PASP 111, 63); NaN outside 1,002 Angstrom
        to 3.3 micron.
    """
    return np.interp(wavelength, _WAVELENGTH, _law(r_v), left=np.nan, right=np.nan)


def deredden(
    spectra: Spectra, facts: Facts, *, r_v: float, sfd_scale: float
) -> tuple[Spectra, Warnings]:
    """Undo Galactic extinction.

    The dust is in the Galaxy, at rest here: this comes after air has been turned into vacuum and
    before the shift to the object's rest frame.

    Parameters
    ----------
    spectra : Spectra
    facts : Facts
    r_v : float
        A(V) / E(B-V).
    sfd_scale : float
        What E(B-V) of Schlegel, Finkbeiner & Davis (1998) is multiplied with; 0.86 with this law
        and R_V 3.1 by Schlafly & Finkbeiner (2011, ApJ 737, 103).

    Returns
    -------
    Spectra
        Flux times 10**(0.4 A(lambda)); as it was where E(B-V) is unknown or negative.
    """
    usable = facts.ebv >= 0
    notes = {
        int(i): "no E(B-V): not de-reddened"
        if np.isnan(facts.ebv[i])
        else f"E(B-V) {facts.ebv[i]:g} is negative: not de-reddened"
        for i in np.flatnonzero(~usable)
    }
    rows = np.flatnonzero(facts.ebv > 0)
    if not len(rows):
        return spectra, notes
    magnitudes = extinction(spectra.wavelength[rows], r_v) * (sfd_scale * facts.ebv[rows, None])
    factor = np.exp(0.4 * np.log(10) * np.nan_to_num(magnitudes))
    flux, ivar = spectra.flux.copy(), spectra.ivar.copy()
    flux[rows] *= factor
    ivar[rows] /= factor**2
    valid = spectra.valid.copy()
    valid[rows] &= ~np.isnan(magnitudes) | np.isnan(spectra.wavelength[rows])
    return replace(spectra, flux=flux, ivar=ivar, valid=valid), notes
