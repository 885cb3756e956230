"""What the network sees of a spectrum, and the noise measured in it."""

import numpy as np
import numpy.typing as npt

from lake.sdss.configuration import Configuration

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

#: Depth of lines that matter: pixels noisier than this count less.
_CONTRAST = 0.04
#: Depths are cut off here, so that a cosmic ray does not speak louder than all lines.
_DEEPEST = 1.0
#: Least and greatest relative noise per pixel told apart.
_NOISE_RANGE = (3e-3, 3.0)
#: Pixels at either side whose mean inverse variance bounds that of a pixel.
_NEIGHBOURS = 15
#: Standard deviation of a second difference of unit white noise, over its median modulus.
_SECOND_DIFFERENCE = 0.6745 * np.sqrt(6.0)


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
    weight = _running_sum(_running_sum(valid, width), width)
    mean = _running_sum(_running_sum(np.where(valid, flux, 0), width), width)
    mean = np.maximum(np.divide(mean, weight, out=np.ones_like(mean), where=weight > 0), 0.2)
    return np.where(valid, flux / mean, 1).astype(np.float32)


def _running_sum(values: npt.NDArray, width: int) -> npt.NDArray[np.float64]:
    """Sum of the 2 `width` + 1 pixels around each one, as far as there are any."""
    size = values.shape[1]
    reach = min(width, size - 1)
    total = np.cumsum(values, axis=1, dtype=np.float64)
    window = np.empty_like(total)
    window[:, : size - reach] = total[:, reach:]
    window[:, size - reach :] = total[:, -1:]
    window[:, reach + 1 :] -= total[:, : size - reach - 1]
    return window


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
    known = valid & np.isfinite(ivar) & (ivar > 0)
    logarithm = np.log(np.where(known, ivar, 1).astype(np.float32))
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    logarithm -= logarithm.sum(axis=1, keepdims=True) / count.astype(np.float32)
    logarithm[~known] = 0
    near = np.maximum(_running_sum(known, _NEIGHBOURS), 1)
    local = (_running_sum(logarithm, _NEIGHBOURS) / near).astype(np.float32)
    return np.exp(np.where(known, np.minimum(logarithm, local), 0))


def noise_level(depth: FloatArray, weight: FloatArray, valid: BoolArray) -> FloatArray:
    """Relative noise per pixel, from the second differences of the flux.

    Parameters
    ----------
    depth : ndarray of float32, shape (n, l)
        Continuum-normalised flux less 1.
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
    triple = valid[:, :-2] & valid[:, 1:-1] & valid[:, 2:]
    difference = np.abs(depth[:, :-2] - 2 * depth[:, 1:-1] + depth[:, 2:])
    difference *= np.sqrt(weight[:, 1:-1])
    difference[~triple] = np.inf
    difference.sort(axis=1)
    count = triple.sum(axis=1)
    median = np.take_along_axis(difference, (count // 2)[:, None] * (count > 0)[:, None], axis=1)
    level = np.where(count >= 10, median[:, 0] / _SECOND_DIFFERENCE, _NOISE_RANGE[1])
    return np.clip(level, *_NOISE_RANGE).astype(np.float32)


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
    depth = np.where(valid, flux - 1, 0).astype(np.float32)
    shape = relative_ivar(ivar, valid)
    noise = noise_level(depth, shape, valid)
    if not noise_weights:
        shape = np.ones_like(shape)
    variance = noise[:, None] ** 2 / np.maximum(shape, 1e-4)
    weight = np.where(valid, 1 / np.sqrt(variance + np.float32(_CONTRAST**2)), 0)
    count = np.maximum(valid.sum(axis=1, keepdims=True), 1).astype(np.float32)
    total = weight.sum(axis=1, keepdims=True)
    weight *= np.divide(count, total, out=np.zeros_like(total), where=total > 0)
    x = np.empty((*depth.shape, 2), dtype=np.float32)
    np.multiply(np.clip(depth, -_DEEPEST, _DEEPEST) * 5, weight, out=x[..., 0])
    x[..., 1] = weight
    return x, np.log10(noise)


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
    if configuration.flatten:
        flux = flatten(flux, valid, configuration.flatten)
    x, log_noise = channels(flux, ivar, valid, configuration.noise_weights)
    if configuration.network == "seed":
        return [np.nan_to_num(flux)[..., None].astype(np.float32)], log_noise
    if not configuration.validity_channel:
        x = x[..., :1]
    return [x, log_noise[:, None]] if configuration.noise_weights else [x], log_noise
