"""Folding models through responses: what a detector would count, as sparse products.

The counts in channel c are C(c) = sum over energy bins i of R(i, c) A(i) M(i), with R the
redistribution matrix, A the effective area and M the model's photons in the bin (CAL/GEN/92-002,
George et al. 1998). A matrix is never densified.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError
from lake.ogip.containers import EffectiveArea, Response, Spectrum
from lake.ogip.rates import effective_exposure

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ENERGY_TOLERANCE = 0.05
"""By how much of a bin's width the bounds of matrix and effective area may differ."""

MODELS_AT_ONCE = 64
"""Models folded in one product: as many as leave a bin of all of them in the cache."""


def compose(response: Response, area: EffectiveArea) -> Response:
    """Multiply a redistribution matrix by an effective area.

    Parameters
    ----------
    response : Response
        Without the area.
    area : EffectiveArea
        Over the same energy bins.

    Returns
    -------
    Response
        Its elements are float64, in cm2, without padding.

    Raises
    ------
    LacusError
        The matrix has the area already, the numbers of bins differ, or a bound differs by more
        than `ENERGY_TOLERANCE` of the bin's width.
    """
    if response.includes_area:
        raise LacusError("the matrix includes the effective area; a second one does not belong")
    if len(area.specresp) != response.n_energies:
        raise LacusError(
            f"the effective area has {len(area.specresp)} energy bins and the matrix "
            f"{response.n_energies}; expected as many"
        )
    width = np.abs(response.energ_hi - response.energ_lo)
    apart = np.maximum(
        np.abs(area.energ_lo - response.energ_lo), np.abs(area.energ_hi - response.energ_hi)
    )
    # Single precision leaves narrow bins at high energy uncertain by more than their width.
    allowed = ENERGY_TOLERANCE * width + 4 * np.finfo(np.float32).eps * np.abs(response.energ_hi)
    if not (apart <= allowed).all():
        row = int(np.flatnonzero(~(apart <= allowed))[0])
        raise LacusError(
            f"energy bin {row + 1} is {area.energ_lo[row]:g}-{area.energ_hi[row]:g} keV in the "
            f"effective area and {response.energ_lo[row]:g}-{response.energ_hi[row]:g} keV in "
            "the matrix; expected the same bins"
        )
    sizes = response.elements_per_bin
    return replace(
        response,
        matrix=response.elements * np.repeat(area.specresp, sizes),
        matrix_offsets=np.concatenate([[0], np.cumsum(sizes)]),
        includes_area=True,
        warnings=(*response.warnings, *area.warnings),
    )


def fold(response: "Response | csr_array", model: npt.ArrayLike) -> FloatArray:
    """Fold one or many models through a response.

    Parameters
    ----------
    response : Response or csr_array, shape (energies, channels)
        Give `Response.as_sparse` to fold often: it is then built once.
    model : array_like, shape (energies,) or (models, energies)
        Photons in each energy bin, e.g. per cm2 and second where the response has the area.

    Returns
    -------
    ndarray of float64, shape (channels,) or (models, channels)
        Counts in each channel, in the unit of `model` times that of the response: counts per
        second for photons per cm2 and second.

    Raises
    ------
    LacusError
        The model does not have one number per energy bin.
    """
    matrix = response.as_sparse() if isinstance(response, Response) else response
    matrix = matrix.astype(np.float64, copy=False)
    flux = np.asarray(model, dtype=np.float64)
    if flux.ndim not in (1, 2) or flux.shape[-1] != matrix.shape[0]:
        raise LacusError(
            f"the model has the shape {flux.shape}; expected one number for each of the "
            f"{matrix.shape[0]} energy bins of the response"
        )
    if matrix.nnz == matrix.shape[0] * matrix.shape[1] and matrix.has_canonical_format:
        # Nothing is left out, so the elements as they are stored are the rows.
        return flux @ matrix.data.reshape(matrix.shape)
    transposed = matrix.T
    if flux.ndim == 1:
        return transposed @ flux
    counts = np.empty((len(flux), matrix.shape[1]))
    for start in range(0, len(flux), MODELS_AT_ONCE):
        part = slice(start, start + MODELS_AT_ONCE)
        counts[part] = (transposed @ np.ascontiguousarray(flux[part].T)).T
    return counts


def fold_parts(parts: Sequence[Response], model: npt.ArrayLike) -> FloatArray:
    """Fold models through a response that is split into several matrices, which add up.

    Parameters
    ----------
    parts : sequence of Response
        Of the same channels, the one of the finest energy bins first; bins of the others are made
        of whole bins of it (CAL/GEN/92-002a, section 2.1).
    model : array_like, shape (energies,) or (models, energies)
        In the bins of the first part. Where the area is not in the matrices, multiply by it before.

    Returns
    -------
    ndarray of float64, shape (channels,) or (models, channels)

    Raises
    ------
    LacusError
        The model or the parts do not fit.
    """
    finest, flux = parts[0], np.asarray(model, dtype=np.float64)
    counts = fold(finest, flux)
    for part in parts[1:]:
        if part.n_channels != finest.n_channels:
            raise LacusError(
                f"a part has {part.n_channels} channels and the first {finest.n_channels}; "
                "expected as many"
            )
        counts += fold(part, _in_wider_bins(finest, part, flux))
    return counts


def _in_wider_bins(finest: Response, wider: Response, flux: FloatArray) -> FloatArray:
    """Add up photons of narrow bins in the wide ones that they lie in; none in those in no bin."""
    order = np.argsort(wider.energ_lo, kind="stable")
    middle = (finest.energ_lo + finest.energ_hi) / 2
    place = np.searchsorted(wider.energ_lo[order], middle, side="right") - 1
    inside = (place >= 0) & (middle < wider.energ_hi[order][place])
    of = order[place[inside]]
    low, high = finest.energ_lo[inside], finest.energ_hi[inside]
    over = np.maximum(wider.energ_lo[of] - low, high - wider.energ_hi[of])
    # As for areas: single precision leaves narrow bins at high energy uncertain.
    apart = over > ENERGY_TOLERANCE * (high - low) + 4 * np.finfo(np.float32).eps * high
    if apart.any():
        at = int(apart.argmax())
        raise LacusError(
            f"the bin {low[at]:g}-{high[at]:g} keV of the first part lies in two bins of another; "
            "expected bins made of whole bins"
        )
    sums = np.zeros((*flux.shape[:-1], wider.n_energies))
    np.add.at(sums.T, of, flux[..., inside].T)
    return sums


def expected_counts(spectrum: Spectrum, response: Response, model: npt.ArrayLike) -> FloatArray:
    """Give the counts that a model of the source expects in the channels of a spectrum.

    Parameters
    ----------
    spectrum : Spectrum
        Its channels, exposure and AREASCAL count.
    response : Response
        With the effective area.
    model : array_like, shape (energies,) or (models, energies)
        Photons/cm2/s in each energy bin.

    Returns
    -------
    ndarray of float64, shape (channels,) or (models, channels)

    Raises
    ------
    LacusError
        Spectrum, response and model do not fit each other, the response has no area, or the
        spectrum has no usable exposure.
    """
    if not response.includes_area:
        raise LacusError("the response has no effective area; compose it with one first")
    channels, detector = len(spectrum.values), spectrum.about.get("detchans")
    if channels < response.n_channels and detector not in (None, response.n_channels):
        raise LacusError(
            f"the spectrum is of a detector of {detector} channels and the response of one of "
            f"{response.n_channels}; expected the same"
        )
    positions = channel_positions(response, spectrum.channel, channels)
    return fold(response, model)[..., positions] * effective_exposure(spectrum)


def channel_positions(
    response: Response, channel: npt.NDArray[np.integer] | None, channels: int
) -> IntArray:
    """Find the channels of a spectrum among those of a response.

    Parameters
    ----------
    response : Response
    channel : ndarray of int, shape (channels,), or None
        CHANNEL of the spectrum.
    channels : int
        Length of the spectrum.

    Returns
    -------
    ndarray of int64, shape (channels,)
        Columns of the matrix. A spectrum as long as the response goes with it channel by
        channel, even if one counts from 0 and the other from 1, as long as its own numbers
        follow each other; another, as a shorter one, which leaves channels out as OGIP/92-007
        allows, goes by number.

    Raises
    ------
    LacusError
        The spectrum has more channels, channels the response does not have, or fewer channels
        without numbers.
    """
    in_step = channel is None or bool(np.all(np.diff(channel) == 1))
    if channels == response.n_channels and in_step:
        return np.arange(channels)
    if channel is None or channels > response.n_channels:
        raise LacusError(
            f"the spectrum has {channels} channels and the response {response.n_channels}; "
            "expected as many"
        )
    positions = np.asarray(channel, dtype=np.int64) - response.first_channel
    outside = (positions < 0) | (positions >= response.n_channels)
    if outside.any():
        raise LacusError(
            f"channel {channel[outside][0]} of the spectrum is not in the response, which has "
            f"{response.first_channel} to {response.first_channel + response.n_channels - 1}"
        )
    return positions
