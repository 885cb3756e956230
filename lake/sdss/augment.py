"""What happens to spectra on their way: noise, motion, calibration errors, gaps.

Training sees each spectrum anew in every epoch, at another signal-to-noise ratio, with another
coverage: neither the instrument's edges nor the quality of a spectrum can stand for its class.
All fluxes are normalised to a continuum of 1, all widths are in pixels of the grid.

This module needs Numba, of the extra ``cnn``.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from lake.compiled import kernel
from lake.sdss.augmentation import Augmentation

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

#: Noise of a realisation without noise: far below the contrast of any line.
_NOISELESS = 1e-4
#: Least flux that noise grows with.
_DARKEST = 0.05
#: Spectra among which the least covered one lends its coverage.
_CANDIDATES = 8
#: Points to the shortest half-wave of a smooth error; between them it is a straight line.
_POINTS = 10


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
    depth, known, seen = _shift(flux, ivar, valid, rng, settings.shift)
    if settings.strength:
        depth *= _strength(depth.shape[1], len(depth), rng, settings.strength)
    light = np.add(depth, 1, out=depth)
    if settings.wiggle:
        _distort(light, *_wiggles(light.shape[1], len(light), rng, settings))
    sigma, white, mixed = _noise(light, rng, settings)
    known[rng.uniform(size=len(known)) < settings.ivar_unknown] = np.nan
    covered = _covered(seen, rng, settings)
    _observe(light, known, sigma, white, mixed, covered, flux, valid)
    return light, known, covered


def _shift(
    flux: npt.NDArray[np.floating],
    ivar: npt.NDArray[np.floating],
    valid: BoolArray,
    rng: np.random.Generator,
    sigma: float,
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Displace along the grid by fractions of pixels, with linear interpolation.

    Returns
    -------
    depth : ndarray of float32, shape (n, l)
        Flux less 1; 0 where not valid.
    known : ndarray of float32, shape (n, l)
        Inverse variance; 0 where it is unknown.
    valid : ndarray of bool, shape (n, l)
    """
    depth, known = np.empty(flux.shape, np.float32), np.empty(flux.shape, np.float32)
    seen = np.empty(flux.shape, bool)
    shift = rng.normal(0, sigma, len(flux)) if sigma else np.full(len(flux), np.nan)
    _displace(flux, ivar, valid, shift, depth, known, seen)
    return depth, known, seen


@kernel
def _displace(flux, ivar, valid, shift, depth, known, seen):  # type: ignore[no-untyped-def]
    """Fill the last three arrays with the first ones displaced by pixels; NaN leaves them there."""
    size = flux.shape[1]
    own, between = np.empty(size, np.float32), np.empty(size, np.float32)
    weight, both = np.empty(size, np.float32), np.empty(size, np.bool_)
    for row in range(len(flux)):
        for i in range(size):
            own[i] = flux[row, i] - 1 if valid[row, i] else 0
            weight[i] = ivar[row, i] if abs(ivar[row, i]) < np.inf else 0
        if np.isnan(shift[row]):
            depth[row], known[row], seen[row] = own, weight, valid[row]
            continue
        whole = int(np.floor(shift[row]))
        part = np.float32(shift[row] - whole)
        # Every pixel beside its left neighbour; the first has none.
        between[0], both[0] = own[0], valid[row, 0]
        right, right_valid, here, here_both = own[1:], valid[row, 1:], between[1:], both[1:]
        for i in range(size - 1):
            here[i] = right[i] + part * (own[i] - right[i])
            here_both[i] = right_valid[i] & valid[row, i]
        _move(between, whole, depth[row])
        _move(weight, whole, known[row])
        _move(both, whole, seen[row])


@kernel
def _move(values, whole, moved):  # type: ignore[no-untyped-def]
    """Displace by whole pixels; what comes in repeats the second or the last pixel."""
    size = len(values)
    first, end = min(max(whole + 1, 0), size), min(max(whole + size, 0), size)
    moved[first:end] = values[first - whole : end - whole]
    moved[:first] = values[min(1, size - 1)]
    moved[end:] = values[size - 1]


def _strength(size: int, n: int, rng: np.random.Generator, sigma: float) -> FloatArray:
    """Factor on the depth of lines that varies linearly along the spectrum."""
    level, tilt = rng.normal(0, sigma, (2, n, 1)).astype(np.float32)
    return np.exp(level + tilt * _place(size))


@lru_cache(maxsize=4)
def _place(size: int) -> FloatArray:
    """Place along the spectrum, from -1 to 1."""
    return np.linspace(-1, 1, size, dtype=np.float32)


@lru_cache(maxsize=4)
def _half_waves(size: int, most: int) -> tuple[int, FloatArray]:
    """Cosines, then sines, of 1 to `most` half-waves over a spectrum, at every so many pixels."""
    step = max(size // (_POINTS * most), 1)
    phase = (
        np.pi / (size - 1) * step * np.arange(size // step + 2) * np.arange(1, most + 1)[:, None]
    )
    return step, np.concatenate([np.cos(phase), np.sin(phase)]).astype(np.float32)


def _wiggles(
    size: int, n: int, rng: np.random.Generator, settings: Augmentation
) -> tuple[FloatArray, FloatArray, int]:
    """Draw cosines of few cycles with a standard deviation of its own for every spectrum.

    Returns
    -------
    amplitude : ndarray of float32, shape (n, 2 cycles)
    waves : ndarray of float32, shape (2 cycles, points)
    step : int
        Pixels from a point to the next.
    """
    cycles = np.arange(1, settings.wiggle_cycles + 1)
    smoothest = rng.integers(min(2, len(cycles)), len(cycles) + 1, (n, 1))
    amplitude = rng.standard_normal((n, 2, len(cycles)), dtype=np.float32)
    amplitude *= (cycles <= smoothest)[:, None]
    power = np.sqrt((amplitude**2).sum(axis=(1, 2), keepdims=True) / 2)
    amplitude *= settings.wiggle * rng.uniform(size=(n, 1, 1)).astype(np.float32) / power
    step, waves = _half_waves(size, len(cycles))
    return amplitude.reshape(n, -1), waves, step


@kernel
def _distort(light, amplitude, waves, step):  # type: ignore[no-untyped-def]
    """Multiply spectra by 1 + sums of waves, straight lines between points."""
    size = light.shape[1]
    points = np.empty(waves.shape[1], np.float32)
    for row in range(len(light)):
        points[:] = 1
        for wave in range(len(waves)):
            height, along = amplitude[row, wave], waves[wave]
            if height != 0:
                for i in range(len(points)):
                    points[i] += height * along[i]
        for start in range(0, size, step):
            point = start // step
            slope = (points[point + 1] - points[point]) / np.float32(step)
            stretch = light[row, start : start + step]
            for i in range(len(stretch)):
                stretch[i] *= points[point] + np.float32(i) * slope


def _noise(
    light: FloatArray, rng: np.random.Generator, settings: Augmentation
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw noise that changes along the spectrum, smoothly and with the flux.

    Returns
    -------
    sigma : ndarray of float32, shape (n, l)
        Its standard deviation.
    white : ndarray of float32, shape (n, l)
        Normal deviates.
    mixed : ndarray of float32, shape (n,)
        Weight of the left neighbour's deviate in that of a pixel.
    """
    n, size = light.shape
    level = -rng.uniform(np.log(settings.snr_low), np.log(settings.snr_high), (n,))
    level[rng.uniform(size=n) < settings.clean] = np.log(_NOISELESS)
    tilt = rng.normal(0, settings.noise_tilt, (n,))
    bend = rng.normal(0, settings.noise_tilt / 2, (n,))
    power = np.zeros(n)
    profile = np.maximum(light, np.float32(_DARKEST))
    if settings.noise_of_light:
        power = rng.uniform(0, settings.noise_of_light, (n,))
    np.log(profile, out=profile)
    shape = np.stack([level, tilt, bend, power]).astype(np.float32)
    _profile(profile, shape, _place(size))
    sigma = np.exp(profile, out=profile)
    white = _normal(rng, n, size)
    return sigma, white, rng.uniform(0, settings.noise_correlation, (n,)).astype(np.float32)


@kernel
def _profile(profile, shape, place):  # type: ignore[no-untyped-def]
    """Turn the logarithm of the flux into that of the noise, in place."""
    for row in range(len(profile)):
        level, tilt, bend, power = shape[0, row], shape[1, row], shape[2, row], shape[3, row]
        for i in range(len(place)):
            curve = place[i] * place[i] - np.float32(1 / 3)
            smooth = level + tilt * place[i] + bend * curve
            profile[row, i] = smooth + power * profile[row, i]


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


def _covered(valid: BoolArray, rng: np.random.Generator, settings: Augmentation) -> BoolArray:
    """Mask what a poorly covered spectrum lacks, gaps, and ends cut off at random."""
    n, size = valid.shape
    donor = np.arange(n)
    if settings.borrow:
        drawn = rng.integers(0, n, (n, _CANDIDATES))
        poorest = np.count_nonzero(valid, axis=1)[drawn].argmin(axis=1)
        lends = rng.uniform(size=n) < settings.borrow
        donor = np.where(lends, drawn[np.arange(n), poorest], donor)
    start, length = np.empty((2, settings.gaps, n), np.int64)
    for gap in range(settings.gaps):
        start[gap] = rng.integers(0, size, n, np.min_scalar_type(size))
        # Most gaps are short, and half of them are none.
        drawn_length = settings.gap_length * rng.uniform(size=n) ** 3
        length[gap] = np.ceil(drawn_length * (rng.uniform(size=n) < 0.5))
    ends = np.zeros((2, n))
    if settings.crop:
        ends = rng.uniform(size=(2, n)) * (rng.uniform(size=(2, n)) < settings.crop)
    first = np.ceil(settings.crop_blue * ends[0] * size).astype(np.int64)
    end = np.ceil((1 - settings.crop_red * ends[1]) * size).astype(np.int64)
    covered = np.empty_like(valid)
    _cover(valid, donor, start, length, first, end, covered)
    return covered


@kernel
def _cover(valid, donor, start, length, first, end, covered):  # type: ignore[no-untyped-def]
    """Mark the pixels that each spectrum and its donor have, outside gaps, from first to end."""
    for row in range(len(valid)):
        left, own, lent = covered[row], valid[row], valid[donor[row]]
        for i in range(len(own)):
            left[i] = own[i] & lent[i]
        for gap in range(len(start)):
            left[start[gap, row] : start[gap, row] + length[gap, row]] = False
        left[: first[row]] = False
        left[end[row] :] = False


@kernel
def _observe(light, known, sigma, white, mixed, covered, flux, valid):  # type: ignore[no-untyped-def]
    """Add noise to `light`, and its variance to `known`, which becomes the weight, in place.

    A weight that is NaN is withheld: 0. What was masked before (`valid`) keeps its flux: recipes
    fill it as they like.
    """
    size = light.shape[1]
    noise = np.empty(size, np.float32)
    one, zero = np.float32(1), np.float32(0)
    for row in range(len(light)):
        scale = one / np.sqrt(one + mixed[row] * mixed[row])
        here, left = white[row, 1:], white[row]
        noise[0] = white[row, 0]
        later = noise[1:]
        for i in range(size - 1):
            later[i] = (here[i] + mixed[row] * left[i]) * scale
        for i in range(size):
            noisy = light[row, i] + noise[i] * sigma[row, i]
            masked = flux[row, i] if abs(flux[row, i]) < np.inf else one
            fill = one if valid[row, i] else masked
            light[row, i] = noisy if covered[row, i] else fill
            own = known[row, i]
            variance = sigma[row, i] * sigma[row, i] + (one / own if own > 0 else zero)
            there = covered[row, i] & (own >= 0)
            known[row, i] = one / variance if there else zero
