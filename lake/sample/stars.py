"""Synthetic spectra of stars of spectral types O to M.

A black body, and on it the lines and bands that the types are told apart by, each strongest at
the temperature where Gray & Corbally 2009 (Stellar Spectral Classification) have it. It looks
like a stellar spectrum and orders types as real ones do; it is no model atmosphere.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LIGHT_KMS = 299_792.458
#: Effective temperature (K) of the types in the sample: Pecaut & Mamajek 2013, ApJS 208, 9.
TYPES = {
    "O9": 33300.0, "B3": 17000.0, "A0": 9700.0, "A7": 7800.0, "F5": 6550.0,
    "G2": 5770.0, "K1": 5170.0, "K5": 4440.0, "M1": 3680.0, "M4": 3210.0,
}  # fmt: skip


class Stars(NamedTuple):
    """Parameters of stars, each of shape (n,)."""

    type_: npt.NDArray[np.intp]  # place in `TYPES`
    giant: npt.NDArray[np.bool_]
    teff: FloatArray  # K
    logg: FloatArray  # cm s-2
    feh: FloatArray  # dex
    velocity: FloatArray  # km/s
    ebv: FloatArray  # mag

    def take(self, rows: npt.NDArray[np.intp]) -> "Stars":
        """Give some of the stars."""
        return Stars(
            self.type_[rows], self.giant[rows], self.teff[rows], self.logg[rows],
            self.feh[rows], self.velocity[rows], self.ebv[rows],
        )  # fmt: skip


class _Line(NamedTuple):
    """Wavelength in vacuum (Angstrom), depth and sigma (Angstrom) at the strongest, and where.

    The strength falls off with ln(T / peak): a Gaussian of width `cool` below, `hot` above it.
    """

    wavelength: float
    depth: float
    sigma: float
    peak: float
    cool: float
    hot: float
    metal: bool = True


def _lines() -> list[_Line]:
    lines = []
    for wavelength, depth in (
        (6564.6, 0.55), (4862.7, 0.65), (4341.7, 0.65), (4102.9, 0.63), (3971.2, 0.6),
        (3890.2, 0.55), (3836.5, 0.45),
    ):  # fmt: skip
        # Core and wings of the Balmer lines.
        lines.append(_Line(wavelength, depth, 6.0, 9500, 0.28, 0.62, metal=False))
        lines.append(_Line(wavelength, 0.35 * depth, 22.0, 9300, 0.18, 0.42, metal=False))
    for wavelength in (8505, 8547.7, 8600.8, 8667.4, 8752.9, 8865.2, 9017.4):
        lines.append(_Line(wavelength, 0.25, 9.0, 9500, 0.2, 0.5, metal=False))
    for wavelength in (4027.3, 4389.2, 4472.7, 4923.3, 5017.1, 5877.2, 6680.0):
        lines.append(_Line(wavelength, 0.3, 3.5, 19000, 0.3, 0.5, metal=False))
    for wavelength in (4201.0, 4542.9, 4687.0, 5413.0):
        lines.append(_Line(wavelength, 0.25, 4.0, 45000, 0.3, 1.0, metal=False))
    lines += [
        _Line(4482.4, 0.22, 3.0, 9500, 0.3, 0.35),
        _Line(3934.8, 0.85, 7.0, 4700, 1.0, 0.33),
        _Line(3969.6, 0.8, 7.0, 4700, 1.0, 0.33),
        _Line(4227.9, 0.6, 5.0, 3900, 0.4, 0.25),
        _Line(4305.0, 0.4, 11.0, 5300, 0.22, 0.16),
        _Line(5168.8, 0.35, 4.0, 4500, 0.25, 0.25),
        _Line(5174.1, 0.45, 4.0, 4500, 0.25, 0.25),
        _Line(5185.0, 0.5, 4.0, 4500, 0.25, 0.25),
        _Line(5140.0, 0.25, 30.0, 4200, 0.2, 0.15),
        _Line(5891.6, 0.65, 4.0, 3700, 0.4, 0.3),
        _Line(5897.6, 0.55, 4.0, 3700, 0.4, 0.3),
        _Line(8500.4, 0.4, 4.0, 4500, 0.5, 0.35),
        _Line(8544.4, 0.55, 4.5, 4500, 0.5, 0.35),
        _Line(8664.5, 0.5, 4.5, 4500, 0.5, 0.35),
        _Line(6878.0, 0.35, 25.0, 3200, 0.3, 0.12),
    ]
    for wavelength in (
        4046.9, 4064.7, 4144.9, 4272.7, 4326.9, 4384.8, 4405.9, 4532.0, 4669.0, 4892.0, 4921.9,
        4958.7, 5041.0, 5227.0, 5270.8, 5329.5, 5371.9, 5406.0, 5447.0, 5616.0, 6138.0, 6496.0,
    ):  # fmt: skip
        lines.append(_Line(wavelength, 0.28, 4.0, 4500, 0.35, 0.26))
    return lines


_LINES = _lines()
# Heads of the TiO bands (vacuum Angstrom), which degrade to the red, and their depth in M4.
_TIO = (
    (4763, 0.3), (4956, 0.4), (5169, 0.45), (5450, 0.4), (5761, 0.35), (5848, 0.4), (6160, 0.45),
    (6652, 0.4), (7056, 0.5), (7126, 0.35), (7591, 0.35), (7668, 0.4), (8207, 0.2), (8434, 0.35),
)  # fmt: skip


def draw_stars(rng: np.random.Generator, types: npt.NDArray[np.intp]) -> Stars:
    """Parameters of stars of given types; a third of those later than F are giants.

    Parameters
    ----------
    rng : numpy.random.Generator
    types : ndarray of int, shape (n,)
        Places in `TYPES`.

    Returns
    -------
    Stars
    """
    n = len(types)
    teff = np.array(list(TYPES.values()))[types]
    giant = (teff < 6000) & (rng.uniform(size=n) < 1 / 3)
    teff = teff * rng.normal(1, 0.012, n) * np.where(giant, 0.97, 1)
    dwarf_logg = np.interp(teff, [3200, 4500, 6000, 10000, 33000], [4.95, 4.6, 4.35, 4.1, 4.0])
    giant_logg = np.interp(teff, [3200, 4500, 5800], [0.8, 2.2, 3.0])
    return Stars(
        type_=types,
        giant=giant,
        teff=teff,
        logg=np.where(giant, giant_logg, dwarf_logg) + rng.normal(0, 0.08, n),
        feh=np.clip(rng.normal(-0.25, 0.3, n), -1.5, 0.4),
        velocity=rng.normal(0, 70, n),
        ebv=np.clip(rng.exponential(0.03, n) - 0.01, 0, 0.15),
    )


def flux_density(stars: Stars, wavelength: FloatArray, dispersion: FloatArray) -> FloatArray:
    """Spectra without noise, with a median of 1.

    Parameters
    ----------
    stars : Stars
    wavelength : ndarray, shape (pixels,)
        In vacuum and as observed (heliocentric), Angstrom, ascending.
    dispersion : ndarray, shape (pixels,)
        Sigma of the line spread, Angstrom.

    Returns
    -------
    ndarray, shape (n, pixels)
        Flux density per Angstrom.
    """
    stretch = 1 + stars.velocity / LIGHT_KMS
    # h c / k in Angstrom K.
    flux = wavelength**-5 / np.expm1(1.438777e8 / (wavelength * (stars.teff / stretch)[:, None]))
    flux /= np.median(flux, axis=1, keepdims=True)
    for line in _LINES:
        _absorb(flux, line, stars, stretch, wavelength, dispersion)
    depth = np.clip((4050 - stars.teff) / 850, 0, 1)
    for head, deepest in _TIO:
        reddest = np.searchsorted(wavelength, head * 1.06)
        start = np.searchsorted(wavelength, head * 0.99)
        beyond = wavelength[start:reddest] / stretch[:, None] - head
        edge = 1 / (1 + np.exp(-np.clip(beyond / dispersion[start:reddest], -50, 50)))
        band = edge * np.exp(-np.maximum(beyond, 0) / 70)
        flux[:, start:reddest] *= 1 - (deepest * depth)[:, None] * band
    # Of the extinction, the part that a power law can be: A(lambda) / E(B-V).
    flux *= 10 ** (-0.4 * stars.ebv[:, None] * 3.1 * (wavelength / 5500) ** -1.3)
    return np.asarray(flux / np.median(flux, axis=1, keepdims=True), np.float64)


def _absorb(
    flux: FloatArray,
    line: _Line,
    stars: Stars,
    stretch: FloatArray,
    wavelength: FloatArray,
    dispersion: FloatArray,
) -> None:
    """Take a line out of the spectra that are warm or cool enough to have it."""
    far = np.log(stars.teff / line.peak)
    strength = np.exp(-0.5 * (far / np.where(far < 0, line.cool, line.hot)) ** 2)
    if line.metal:
        strength *= 10 ** (0.3 * np.clip(stars.feh, -1.5, 0.4))
    sigma = line.sigma * np.where(stars.giant, 0.8, 1)
    have = np.flatnonzero(strength > 0.01)
    reach = 5 * (line.sigma + 2) + line.wavelength * 400 / LIGHT_KMS
    low, high = np.searchsorted(wavelength, [line.wavelength - reach, line.wavelength + reach])
    if low == high or not len(have):
        return
    spread = dispersion[(low + high) // 2]
    seen = np.hypot(sigma[have], spread)
    # The resolution widens a line and leaves its equivalent width.
    depth = np.minimum(line.depth * strength[have], 0.9) * sigma[have] / seen
    offset = (wavelength[low:high] - line.wavelength * stretch[have, None]) / seen[:, None]
    flux[have, low:high] *= 1 - depth[:, None] * np.exp(-0.5 * offset**2)
