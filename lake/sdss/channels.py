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
#: Spectra that are worked on together: their arrays stay in the cache of a core.
_BLOCK = 32


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
    seen = np.zeros(flux.shape, np.float32)
    np.copyto(seen, flux, where=valid, casting="same_kind")
    mean = _running_sum(_running_sum(seen, width), width)
    size = 2 * width + 1
    near = _running_sum(valid, width, np.min_scalar_type(size))
    near = _running_sum(near, width, np.min_scalar_type(size**2))
    mean /= np.maximum(near, 1)
    np.clip(mean, 0.2, None, out=mean)
    np.divide(seen, mean, out=mean)
    np.copyto(mean, 1, where=~valid)
    return mean


def _running_sum(values: npt.NDArray, width: int, kind: npt.DTypeLike = np.float32) -> npt.NDArray:
    """Sum of the 2 `width` + 1 pixels around each one, as far as there are any.

    Sums of 1, 2, 4, ... neighbours, each made of two of the one before, are put together:
    rounding errors do not pile up along a spectrum. The rows lie in one, with zeros between.
    """
    n, length = values.shape
    size, stride = 2 * width + 1, length + 2 * width
    padded = np.zeros((n, stride), kind)
    padded[:, width : width + length] = values
    sums, other = padded.reshape(-1), np.empty(n * stride, kind)
    total = np.zeros(n * stride, kind)
    whole = total[: n * stride - size + 1]
    reach, place = 1, 0
    while True:
        if size & reach:
            whole += sums[place : place + len(whole)]
            place += reach
        if 2 * reach > size:
            return total.reshape(n, stride)[:, :length]
        further = len(sums) - reach
        np.add(sums[:further], sums[reach:], out=other[:further])
        sums, other = other[:further], sums
        reach *= 2


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
    known = valid & (ivar > 0) & (ivar < np.inf)
    logarithm = np.ones(valid.shape, np.float32)
    np.copyto(logarithm, ivar, where=known, casting="same_kind")
    np.log(logarithm, out=logarithm)
    count = np.maximum(np.count_nonzero(known, axis=1)[:, None], 1)
    logarithm -= logarithm.sum(axis=1, keepdims=True) / count.astype(np.float32)
    logarithm *= known
    local = _running_sum(logarithm, _NEIGHBOURS)
    local /= np.maximum(_running_sum(known, _NEIGHBOURS, np.uint8), 1)
    np.minimum(logarithm, local, out=local)
    local *= known
    return np.exp(local, out=local)


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
    size = triple.shape[1]
    count = np.count_nonzero(triple, axis=1)
    # What is masked counts as low and high in turns, and a few pixels more make it even: so the
    # median of every row is at the same place of its partition.
    low = size // 2 - count // 2 - np.count_nonzero(~triple[:, ::2], axis=1)
    spare = int(np.abs(low).max(initial=0))
    difference = np.empty((len(depth), size + 2 * spare), np.float32)
    difference[:, size:] = np.where(np.arange(2 * spare) < spare + low[:, None], -1, np.inf)
    own = difference[:, :size]
    np.add(depth[:, :-2], depth[:, 2:], out=own)
    own -= 2 * depth[:, 1:-1]
    np.abs(own, out=own)
    own *= np.sqrt(weight[:, 1:-1])
    np.copyto(own, np.where(np.arange(size) % 2, np.inf, -1).astype(np.float32), where=~triple)
    # Floating-point numbers of one sign, and -1, stand in the order of their bits.
    difference.view(np.int32).partition(size // 2 + spare, axis=1)
    median = difference[:, size // 2 + spare]
    level = np.where(count >= 10, median / _SECOND_DIFFERENCE, _NOISE_RANGE[1])
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
    depth, shape, noise = _measured(flux, ivar, valid)
    weight = (
        np.maximum(shape, np.float32(1e-4), out=shape) if noise_weights else np.ones_like(shape)
    )
    np.divide(noise[:, None] ** 2, weight, out=weight)
    weight += np.float32(_CONTRAST**2)
    np.sqrt(weight, out=weight)
    np.divide(valid, weight, out=weight)
    count = np.maximum(np.count_nonzero(valid, axis=1)[:, None], 1).astype(np.float32)
    total = weight.sum(axis=1, keepdims=True)
    weight *= np.divide(count, total, out=np.zeros_like(total), where=total > 0)
    x = np.empty((*depth.shape, 2), dtype=np.float32)
    np.clip(depth, -_DEEPEST, _DEEPEST, out=depth)
    depth *= 5
    np.multiply(depth, weight, out=x[..., 0])
    x[..., 1] = weight
    return x, np.log10(noise)


def _measured(
    flux: npt.NDArray[np.floating], ivar: npt.NDArray[np.floating] | None, valid: BoolArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Depth, 0 where not valid, and relative inverse variance, (n, l); relative noise, (n,)."""
    depth = np.subtract(flux, 1, dtype=np.float32)
    np.copyto(depth, 0, where=~valid)
    shape = relative_ivar(ivar, valid)
    return depth, shape, noise_level(depth, shape, valid)


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
    planes = 2 if configuration.validity_channel and not raw else 1
    x = np.empty((*valid.shape, planes), np.float32)
    log_noise = np.empty(len(valid), np.float32)
    for start in range(0, len(valid), _BLOCK):
        part = slice(start, start + _BLOCK)
        spectra, seen = flux[part], valid[part]
        if configuration.flatten:
            spectra = flatten(spectra, seen, configuration.flatten)
        own = None if ivar is None else ivar[part]
        if raw:
            x[part] = np.nan_to_num(spectra)[..., None]
            log_noise[part] = np.log10(_measured(spectra, own, seen)[2])
            continue
        weighted, log_noise[part] = channels(spectra, own, seen, configuration.noise_weights)
        x[part] = weighted[..., :planes]
    with_noise = configuration.noise_weights and not raw
    return [x, log_noise[:, None]] if with_noise else [x], log_noise
