"""What happens to spectra on their way: noise, motion, calibration errors, gaps.

Training sees each spectrum anew in every epoch, at another signal-to-noise ratio, with another
coverage: neither the instrument's edges nor the quality of a spectrum can stand for its class.
All fluxes are normalised to a continuum of 1, all widths are in pixels of the grid.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

#: Noise of a realisation without noise: far below the contrast of any line.
_NOISELESS = 1e-4
#: Spectra among which the least covered one lends its coverage.
_CANDIDATES = 8
#: Points to the shortest half-wave of a smooth error; between them it is a straight line.
_POINTS = 10


@dataclass(frozen=True)
class Augmentation:
    """How far realisations depart from the spectrum they are made of.

    Attributes
    ----------
    snr_low, snr_high : float
        Signal-to-noise ratios per pixel are drawn evenly in their logarithm between these.
    clean : float
        Share of realisations without added noise.
    noise_tilt : float
        Standard deviation of the noise's logarithm between middle and end of the spectrum: a
        star that is faint in the blue is noisy there.
    noise_of_light : float
        Greatest power of the flux that the noise grows with: 0 for the sky's and the detector's
        noise, 1/2 for the star's own photons, 1 for a constant signal-to-noise ratio.
    noise_correlation : float
        Greatest weight of a neighbour's noise, as resampling mixes it in.
    ivar_unknown : float
        Share of realisations whose inverse variance is withheld.
    shift : float
        Standard deviation of the displacement along the grid, in pixels.
    wiggle : float
        Greatest standard deviation of smooth errors of the flux calibration.
    wiggle_cycles : int
        Greatest number of half-waves of these errors over the spectrum.
    strength : float
        Standard deviation of the logarithm of a smooth factor on the depth of all lines.
    gaps : int
        Greatest number of masked stretches.
    gap_length : int
        Greatest length of one, in pixels.
    borrow : float
        Probability that a spectrum loses what another of the batch does not cover, one of the
        least covered among some drawn at random: where classes come from different instruments,
        coverage must not tell them apart.
    crop : float
        Probability, at either end, that the spectrum starts later or ends earlier.
    crop_blue, crop_red : float
        Greatest share of the spectrum that is lost there.
    """

    snr_low: float = 3.0
    snr_high: float = 150.0
    clean: float = 0.12
    noise_tilt: float = 1.0
    noise_of_light: float = 1.0
    noise_correlation: float = 0.25
    ivar_unknown: float = 0.3
    shift: float = 1.0
    wiggle: float = 0.05
    wiggle_cycles: int = 30
    strength: float = 0.0
    gaps: int = 4
    gap_length: int = 120
    borrow: float = 0.6
    crop: float = 0.5
    crop_blue: float = 0.12
    crop_red: float = 0.18


def at_snr(settings: Augmentation, snr: float | None) -> Augmentation:
    """Fix the signal-to-noise ratio: what remains is the noise, the rest of a spectrum stays.

    Parameters
    ----------
    settings : Augmentation
        What shapes the noise is kept, as are the wiggles.
    snr : float or None
        Per pixel; None for no added noise.

    Returns
    -------
    Augmentation
    """
    return replace(
        settings,
        snr_low=snr or 1.0,
        snr_high=snr or 1.0,
        clean=0.0 if snr else 1.0,
        strength=0.0,
        shift=0.0,
        gaps=0,
        borrow=0.0,
        crop=0.0,
    )


def augment(
    flux: npt.NDArray[np.floating],
    ivar: npt.NDArray[np.floating],
    valid: BoolArray,
    rng: np.random.Generator,
    settings: Augmentation,
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Draw one realisation of every spectrum of a batch.

    Parameters
    ----------
    flux : ndarray, shape (n, l)
        Continuum-normalised.
    ivar : ndarray, shape (n, l)
        Inverse variance; 0 or NaN where it is unknown or there is no noise.
    valid : ndarray of bool, shape (n, l)
    rng : numpy.random.Generator
    settings : Augmentation

    Returns
    -------
    flux, ivar : ndarray of float32, shape (n, l)
        `ivar` includes the noise added; 0 where it is unknown.
    valid : ndarray of bool, shape (n, l)
    """
    # What was masked before keeps its flux: recipes fill it as they like.
    fill = np.array(flux, np.float32)
    np.copyto(fill, 1, where=valid | ~np.isfinite(fill))
    depth = np.subtract(flux, 1, dtype=np.float32)
    np.copyto(depth, 0, where=~valid)
    known = np.where(np.isfinite(ivar), ivar, 0).astype(np.float32, copy=False)
    if settings.shift:
        depth, known, valid = _shift(depth, known, valid, rng, settings.shift)
    place = np.linspace(-1, 1, depth.shape[1], dtype=np.float32)
    if settings.strength:
        depth *= _strength(place, len(depth), rng, settings.strength)
    light = np.add(depth, 1, out=depth)
    if settings.wiggle:
        light *= 1 + _wiggles(len(place), len(light), rng, settings)
    noise, variance = _noise(place, light, rng, settings)
    light += noise
    if known.any():
        variance += np.divide(1, known, out=np.zeros_like(known), where=known > 0)
    weight = np.divide(1, variance, out=variance)
    weight[rng.uniform(size=len(weight)) < settings.ivar_unknown] = 0
    if settings.borrow:
        valid = _borrowed(valid, rng, settings.borrow)
    valid = valid & _coverage(len(light), len(place), rng, settings)
    np.copyto(light, fill, where=~valid)
    weight *= valid
    return light, weight, valid


def _shift(
    depth: FloatArray, known: FloatArray, valid: BoolArray, rng: np.random.Generator, sigma: float
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Displace along the grid by fractions of pixels, with linear interpolation."""
    shift = rng.normal(0, sigma, (len(depth), 1))
    whole = np.floor(shift).astype(np.intp)
    part = (shift - whole).astype(np.float32)
    # Every pixel beside its left neighbour; the first has none.
    between = depth.copy()
    between[:, 1:] += part * (depth[:, :-1] - depth[:, 1:])
    both = valid.copy()
    both[:, 1:] &= valid[:, :-1]
    row = whole[:, 0]
    return _moved(between, row), _moved(known, row), _moved(both, row)


def _moved(values: npt.NDArray, whole: npt.NDArray[np.intp]) -> npt.NDArray:
    """Displace rows by whole pixels; what comes in repeats the second or the last pixel."""
    size = values.shape[1]
    moved = np.empty_like(values)
    for step in np.unique(whole).tolist():
        rows = np.flatnonzero(whole == step)
        first, end = np.clip([step + 1, step + size], 0, size)
        moved[rows, first:end] = values[rows, first - step : end - step]
        moved[rows, :first] = values[rows, 1:2]
        moved[rows, end:] = values[rows, -1:]
    return moved


def _strength(place: FloatArray, n: int, rng: np.random.Generator, sigma: float) -> FloatArray:
    """Factor on the depth of lines that varies linearly along the spectrum."""
    level, tilt = rng.normal(0, sigma, (2, n, 1)).astype(np.float32)
    return np.exp(level + tilt * place)


@lru_cache(maxsize=4)
def _half_waves(size: int, most: int) -> tuple[int, FloatArray]:
    """Cosines, then sines, of 1 to `most` half-waves over a spectrum, at every so many pixels."""
    step = max(size // (_POINTS * most), 1)
    phase = (
        np.pi / (size - 1) * step * np.arange(size // step + 2) * np.arange(1, most + 1)[:, None]
    )
    return step, np.concatenate([np.cos(phase), np.sin(phase)]).astype(np.float32)


def _wiggles(size: int, n: int, rng: np.random.Generator, settings: Augmentation) -> FloatArray:
    """Sum of cosines of few cycles with a standard deviation of its own for every spectrum."""
    cycles = np.arange(1, settings.wiggle_cycles + 1)
    smoothest = rng.integers(min(2, len(cycles)), len(cycles) + 1, (n, 1))
    amplitude = rng.standard_normal((n, 2, len(cycles)), dtype=np.float32)
    amplitude *= (cycles <= smoothest)[:, None]
    power = np.sqrt((amplitude**2).sum(axis=(1, 2), keepdims=True) / 2)
    amplitude *= settings.wiggle * rng.uniform(size=(n, 1, 1)).astype(np.float32) / power
    step, waves = _half_waves(size, len(cycles))
    # Not a matrix product: its threads would take the processor from the training beside it.
    points = np.einsum("nk,kl->nl", amplitude.reshape(n, -1), waves)
    slope = np.diff(points, axis=1) / np.float32(step)
    between = np.empty((*slope.shape, step), np.float32)
    for pixel in range(step):
        np.add(points[:, :-1], np.float32(pixel) * slope, out=between[..., pixel])
    return between.reshape(n, -1)[:, :size]


def _noise(
    place: FloatArray, light: FloatArray, rng: np.random.Generator, settings: Augmentation
) -> tuple[FloatArray, FloatArray]:
    """Noise that changes along the spectrum, smoothly and with the flux, and its variance."""
    n = len(light)
    log_sigma = -rng.uniform(np.log(settings.snr_low), np.log(settings.snr_high), (n, 1))
    log_sigma[rng.uniform(size=n) < settings.clean] = np.log(_NOISELESS)
    tilt = rng.normal(0, settings.noise_tilt, (n, 1)).astype(np.float32)
    bend = rng.normal(0, settings.noise_tilt / 2, (n, 1)).astype(np.float32)
    profile = tilt * place
    profile += bend * (place**2 - np.float32(1 / 3))
    profile += log_sigma.astype(np.float32)
    if settings.noise_of_light:
        power = rng.uniform(0, settings.noise_of_light, (n, 1)).astype(np.float32)
        brightness = np.clip(light, 0.05, None)
        profile += power * np.log(brightness, out=brightness)
    np.exp(profile, out=profile)
    white = _normal(rng, n, len(place))
    mixed = rng.uniform(0, settings.noise_correlation, (n, 1)).astype(np.float32)
    noise = white.copy()
    noise[:, 1:] += mixed * white[:, :-1]
    noise[:, 1:] /= np.sqrt(1 + mixed**2)
    noise *= profile
    return noise, np.square(profile, out=profile)


def _normal(rng: np.random.Generator, n: int, size: int) -> FloatArray:
    """Normal deviates, shape (n, size): several times faster than the generator's own.

    The inverse of the distribution function at one of 65,536 even steps; none is beyond 4.3.
    """
    words = rng.integers(0, 2**64 - 1, -(-n * size // 4), np.uint64, endpoint=True)
    return _quantiles().take(words.view(np.uint16)[: n * size].reshape(n, size))


@lru_cache(maxsize=1)
def _quantiles() -> FloatArray:
    """Middle of each of 65,536 equally probable parts of the unit normal distribution."""
    values = ndtri((np.arange(65536) + 0.5) / 65536)
    return (values / values.std()).astype(np.float32)


def _borrowed(valid: BoolArray, rng: np.random.Generator, share: float) -> BoolArray:
    """Mask what a poorly covered spectrum of the batch lacks, in a share of all spectra."""
    n = len(valid)
    drawn = rng.integers(0, n, (n, _CANDIDATES))
    poorest = valid.sum(axis=1)[drawn].argmin(axis=1)
    donor = drawn[np.arange(n), poorest]
    return valid & (valid[donor] | (rng.uniform(size=(n, 1)) >= share))


def _coverage(n: int, size: int, rng: np.random.Generator, settings: Augmentation) -> BoolArray:
    """Pixels that are left by gaps and by ends cut off at random."""
    # Differences of unsigned numbers: a pixel before a gap is far behind it.
    number = np.min_scalar_type(size + settings.gap_length)
    pixel = np.arange(size, dtype=number)
    left = np.ones((n, size), dtype=bool)
    for _ in range(settings.gaps):
        start = rng.integers(0, size, (n, 1), dtype=number)
        # Most gaps are short, and half of them are none.
        length = settings.gap_length * rng.uniform(size=(n, 1)) ** 3
        length *= rng.uniform(size=(n, 1)) < 0.5
        left &= pixel - start >= np.ceil(length).astype(number)
    if settings.crop:
        lost = rng.uniform(size=(2, n, 1)) * (rng.uniform(size=(2, n, 1)) < settings.crop)
        left &= pixel >= np.ceil(settings.crop_blue * lost[0] * size).astype(number)
        left &= pixel < np.ceil((1 - settings.crop_red * lost[1]) * size).astype(number)
    return left
