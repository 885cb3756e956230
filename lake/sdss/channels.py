"""What the network sees of a spectrum, and the noise measured in it.

This module needs Numba, of the extra ``cnn``.
"""

import math

import numpy as np
import numpy.typing as npt

from lake.compiled import kernel, summing
from lake.sdss.configuration import Configuration

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

#: Depth of lines that matter: pixels noisier than this count less.
_CONTRAST = 0.04
#: Depths are cut off here, so that a cosmic ray does not speak louder than all lines.
_DEEPEST = 1.0
#: Least and greatest relative noise per pixel told apart.
_NOISE_RANGE = (3e-3, 3.0)
#: Second differences that it takes to measure the noise.
_FEWEST = 10
#: Least inverse variance that a pixel is weighed by, relative to the mean.
_FAINTEST = 1e-4
#: Pixels at either side whose mean inverse variance bounds that of a pixel.
_NEIGHBOURS = 15
#: Standard deviation of a second difference of unit white noise, over its median modulus.
_SECOND_DIFFERENCE = 0.6745 * np.sqrt(6.0)
#: Bytes of which an array's place in memory is a multiple if TensorFlow is not to copy it.
ALIGNMENT = 64
#: Spectra that are worked on together: their arrays stay in the cache of a core.
_BLOCK = 16


def flatten(flux: npt.NDArray[np.floating], valid: BoolArray, width: int) -> FloatArray:
    """Divide spectra by their running mean.

    Preprocessing knows the continuum before a spectrum is cut or distorted by augmentation, and
    its fit depends on where a spectrum ends and how noisy it is. A second, plain normalisation
    of what the network is about to see is the same in training and prediction.

    Parameters
    ----------
    flux : ndarray, shape (n, l)
        Continuum-normalised.
    valid : ndarray of bool, shape (n, l)
    width : int
        Two running means of 2 `width` + 1 pixels follow each other: a triangle.

    Returns
    -------
    ndarray of float32, shape (n, l)
        1 where not valid. A mean below 0.2 counts as 0.2.
    """
    flat = np.empty(flux.shape, np.float32)
    _flatten(np.ascontiguousarray(flux, np.float32), valid, width, flat)
    return flat


@kernel
def _flatten(flux, valid, width, flat):  # type: ignore[no-untyped-def]
    size = flux.shape[1]
    seen = np.empty(size, np.float32)
    sums, counts, running, counted = _rooms(size, width)
    for row in range(len(flux)):
        for i in range(size):
            seen[i] = flux[row, i] if valid[row, i] else np.float32(0)
        _around(seen, valid[row], width, running, counted, sums, counts)
        _around(sums, counts, width, running, counted, sums, counts)
        for i in range(size):
            near = np.float32(max(counts[i], np.int32(1)))
            mean = max(np.float32(sums[i]) / near, np.float32(0.2))
            flat[row, i] = seen[i] / mean if valid[row, i] else np.float32(1)


@kernel
def _rooms(size, width):  # type: ignore[no-untyped-def]
    """Arrays that `_around` writes to: sums and counts, and those from the beginning."""
    length = size + 2 * width + 1
    return np.empty(size), np.empty(size, np.int32), np.zeros(length), np.zeros(length, np.int32)


@kernel
def _around(values, number, width, running, counted, sums, counts):  # type: ignore[no-untyped-def]
    """Sum the 2 `width` + 1 pixels around each one, as far as there are any.

    In double precision: what rounding leaves at the end of a spectrum is far below a float32.

    Parameters
    ----------
    values, number : ndarray, shape (l,)
        Two quantities, the second one whole numbers; both are summed.
    width : int
    running, counted : ndarray, shape (l + 2 width + 1,)
        For the sums from the beginning of the spectrum; the first `width` + 1 are 0.
    sums, counts : ndarray, shape (l,)
        The result; may be `values` and `number`.
    """
    size = len(values)
    total, count = 0.0, np.int32(0)
    # Numba knows of the index of a loop that it is not negative, of a sum of two it does not.
    upto, counted_upto = running[width + 1 :], counted[width + 1 :]
    for i in range(size):
        total += values[i]
        count = np.int32(count + number[i])
        upto[i] = total
        counted_upto[i] = count
    upto[size:] = total
    counted_upto[size:] = count
    end, counted_end = running[2 * width + 1 :], counted[2 * width + 1 :]
    for i in range(size):
        sums[i] = end[i] - running[i]
        counts[i] = counted_end[i] - counted[i]


def relative_ivar(ivar: npt.NDArray[np.floating] | None, valid: BoolArray) -> FloatArray:
    """Shape of the inverse variance along each spectrum.

    Parameters
    ----------
    ivar : ndarray, shape (n, l), or None
        0, NaN or infinite where unknown.
    valid : ndarray of bool, shape (n, l)

    Returns
    -------
    ndarray of float32, shape (n, l)
        Its geometric mean over the pixels where it is known is 1; 1 where it is unknown. The
        scale is left out: pipelines over- and underestimate it. No pixel has more than its
        neighbours' mean: residuals of the sky lose their weight, while lines, where a star's
        own light makes less noise, gain none.
    """
    if ivar is None:
        return np.ones(valid.shape, dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.log(ivar, dtype=np.float32, casting="same_kind")
    _bound(logarithm, valid)
    return np.exp(logarithm, out=logarithm)


@kernel
def _bound(logarithm, valid):  # type: ignore[no-untyped-def]
    """Turn logarithms of inverse variances into those of `relative_ivar`, in place."""
    size = logarithm.shape[1]
    known, values = np.empty(size, np.bool_), np.empty(size, np.float32)
    sums, counts, running, counted = _rooms(size, _NEIGHBOURS)
    for row in range(len(logarithm)):
        count = np.int32(0)
        for i in range(size):
            known[i] = valid[row, i] & (abs(logarithm[row, i]) < np.inf)
            values[i] = logarithm[row, i] if known[i] else np.float32(0)
            count = np.int32(count + known[i])
        mean = np.float32(_total(values) / max(count, 1))
        for i in range(size):
            values[i] = values[i] - mean if known[i] else np.float32(0)
        _around(values, known, _NEIGHBOURS, running, counted, sums, counts)
        for i in range(size):
            local = np.float32(sums[i]) / np.float32(max(counts[i], np.int32(1)))
            logarithm[row, i] = min(values[i], local) if known[i] else np.float32(0)


@summing
def _total(values):  # type: ignore[no-untyped-def]
    """Sum of numbers in double precision, several at a time."""
    total = 0.0
    for i in range(len(values)):
        total += values[i]
    return total


def noise_level(flux: FloatArray, weight: FloatArray, valid: BoolArray) -> FloatArray:
    """Relative noise per pixel, from the second differences of the flux.

    Parameters
    ----------
    flux : ndarray of float32, shape (n, l)
        Continuum-normalised; a constant makes no difference.
    weight : ndarray of float32, shape (n, l)
        From `relative_ivar`.
    valid : ndarray of bool, shape (n, l)

    Returns
    -------
    ndarray of float32, shape (n,)
        The median modulus of the second differences, scaled as for white noise
        (Stoehr et al. 2008, ASP Conf. Ser. 394, 505); narrow lines set its floor. 3 where a
        spectrum has fewer than 10 of them.
    """
    level = np.empty(len(flux), np.float32)
    _noise_level(flux, weight, valid, level)
    return level


@kernel
def _noise_level(flux, weight, valid, level):  # type: ignore[no-untyped-def]
    size = flux.shape[1]
    difference = np.empty(max(size - 2, 0), np.float32)
    for row in range(len(flux)):
        left, here, right = flux[row], flux[row, 1:], flux[row, 2:]
        weights = weight[row, 1:]
        seen, seen_here, seen_right = valid[row], valid[row, 1:], valid[row, 2:]
        count = np.int32(0)
        for i in range(size - 2):
            second = abs((left[i] - here[i]) + (right[i] - here[i])) * np.sqrt(weights[i])
            there = seen[i] & seen_here[i] & seen_right[i]
            # What is masked comes last.
            difference[i] = second if there else np.float32(np.inf)
            count = np.int32(count + there)
        level[row] = _NOISE_RANGE[1]
        if count >= _FEWEST:
            median = _ordered(difference, count // 2) / _SECOND_DIFFERENCE
            level[row] = min(max(median, _NOISE_RANGE[0]), _NOISE_RANGE[1])


@kernel
def _ordered(values, place):  # type: ignore[no-untyped-def]
    """Value that stands at a place, from 0, of non-negative float32 numbers in their order.

    The bits of such numbers stand in the order of the numbers: those of the one looked for are
    found from the highest to the lowest, each by how many numbers lie below.
    """
    bits = values.view(np.int32)
    found = np.int32(0)
    for digit in range(30, -1, -1):
        trial = np.int32(found | (1 << digit))
        below = np.int32(0)
        for i in range(len(bits)):
            below = np.int32(below + (bits[i] < trial))
        if below <= place:
            found = trial
    return np.array([found]).view(np.float32)[0]


def channels(
    flux: npt.NDArray[np.floating],
    ivar: npt.NDArray[np.floating] | None,
    valid: BoolArray,
    noise_weights: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Weigh a spectrum by what its pixels can tell.

    The weight of a pixel is 1 / sqrt(noise^2 + contrast^2), relative to its mean over the
    spectrum; invalid pixels have none. At high signal-to-noise ratio all pixels count alike, at
    low the noise is whitened and the quiet ones count more.

    Parameters
    ----------
    flux : ndarray, shape (n, l)
        Continuum-normalised; anything where not valid.
    ivar : ndarray, shape (n, l), or None
    valid : ndarray of bool, shape (n, l)
    noise_weights : bool
        False: all valid pixels have the weight 1.

    Returns
    -------
    x : ndarray of float32, shape (n, l, 2)
        Weighted depth (flux - 1) in units of 0.2, and the weight.
    log_noise : ndarray of float32, shape (n,)
        log10 of the relative noise per pixel.
    """
    spectra = np.ascontiguousarray(flux, np.float32)
    shape = relative_ivar(ivar, valid)
    noise = noise_level(spectra, shape, valid)
    x = np.empty((*valid.shape, 2), np.float32)
    _weigh(spectra, shape if noise_weights else np.ones_like(shape), noise, valid, x)
    return x, np.log10(noise)


@kernel
def _weigh(flux, shape, noise, valid, x):  # type: ignore[no-untyped-def]
    size = flux.shape[1]
    weight = np.empty(size, np.float32)
    least, contrast = np.float32(_FAINTEST), np.float32(_CONTRAST**2)
    deepest, unit = np.float32(_DEEPEST), np.float32(5)
    for row in range(len(flux)):
        variance = noise[row] * noise[row]
        count = 0
        for i in range(size):
            own = np.float32(1) / np.sqrt(variance / max(shape[row, i], least) + contrast)
            weight[i] = own if valid[row, i] else np.float32(0)
            count += valid[row, i]
        scale = np.float32(count / max(_total(weight), 1e-30))
        spectrum = x[row].reshape(-1)
        for i in range(size):
            own = weight[i] * scale
            depth = min(max(flux[row, i] - np.float32(1), -deepest), deepest)
            spectrum[2 * i] = unit * depth * own if valid[row, i] else np.float32(0)
            spectrum[2 * i + 1] = own


def network_input(
    configuration: Configuration,
    flux: npt.NDArray[np.floating],
    ivar: npt.NDArray[np.floating] | None,
    valid: BoolArray,
) -> tuple[list[FloatArray], FloatArray]:
    """Arrays that the network of a configuration takes.

    Parameters
    ----------
    configuration : Configuration
    flux, ivar, valid : ndarray, shape (n, l)

    Returns
    -------
    inputs : list of ndarray of float32
        Spectra (n, l, 1 or 2), then, if the noise is an input, its log10 (n, 1).
    log_noise : ndarray of float32, shape (n,)
    """
    raw = configuration.network == "seed"
    weighted = configuration.noise_weights and not raw
    x = _aligned((*valid.shape, 1 if raw else 2))
    noise = np.empty(len(valid), np.float32)
    for start in range(0, len(valid), _BLOCK):
        part = slice(start, start + _BLOCK)
        seen = valid[part]
        spectra = np.ascontiguousarray(flux[part], np.float32)
        if configuration.flatten:
            spectra = flatten(spectra, seen, configuration.flatten)
        shape = relative_ivar(None if ivar is None else ivar[part], seen)
        noise[part] = noise_level(spectra, shape, seen)
        if raw:
            x[part] = np.nan_to_num(spectra)[..., None]
        else:
            _weigh(spectra, shape if weighted else np.ones_like(shape), noise[part], seen, x[part])
    if not configuration.validity_channel:
        x = x[..., :1]
    log_noise = np.log10(noise)
    return [x, log_noise[:, None]] if weighted else [x], log_noise


def _aligned(shape: tuple[int, ...]) -> FloatArray:
    """Make an array that TensorFlow takes as it is."""
    size = 4 * math.prod(shape)
    room = np.empty(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size].view(np.float32).reshape(shape)
