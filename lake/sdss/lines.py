"""Emission and absorption features of preprocessed spectra, matched to the line list."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import correlate1d
from scipy.signal import find_peaks, peak_prominences, peak_widths

from lake.errors import LacusError
from lake.sdss.continuum import normalise_continuum
from lake.sdss.integral import Integral, own_dip
from lake.sdss.line_list import line_list
from lake.sdss.preprocess import to_arrays
from lake.sdss.recipes import RECIPES
from lake.sdss.steps import GRID, SPEED_OF_LIGHT_KMS, BoolArray, FloatArray

#: Columns of the detected features.
SCHEMA = pa.schema(
    [
        pa.field("release", pa.string()),
        pa.field("spec_id", pa.string()),
        pa.field("recipe", pa.string()),
        pa.field("line_number", pa.int32()),
        pa.field("kind", pa.string()),
        pa.field("lambda_A", pa.float64(), metadata={"unit": "Angstrom"}),
        pa.field("prominence", pa.float64()),
        pa.field("significance", pa.float64()),
        pa.field("equivalent_width_A", pa.float64(), metadata={"unit": "Angstrom"}),
        pa.field("equivalent_width_err_A", pa.float64(), metadata={"unit": "Angstrom"}),
        pa.field("fwhm_A", pa.float64(), metadata={"unit": "Angstrom"}),
        pa.field("elem", pa.string()),
        pa.field("transition", pa.string()),
        pa.field("lambda_rest_A", pa.float64(), metadata={"unit": "Angstrom"}),
        pa.field("velocity_offset_kms", pa.float64(), metadata={"unit": "km/s"}),
        pa.field("file_sha256", pa.string()),
    ]
)

#: Spectra that are searched together.
_BATCH = 64


#: Pixels that give a crest and a trough each where their level is looked for, and how many such
#: blocks make up the surroundings (28,000 km/s): wide enough that a broad line is the lesser part.
_BLOCK, _AROUND = 8, 25
#: Crests are taken for the continuum as long as they do not spread by more than this many times
#: what troughs do: stars absorb. Beyond 1.5 series of broad emission lines go amiss; at 1 the
#: blends of cool stars are taken for such series.
_SPREAD = 1.5


@dataclass(frozen=True)
class Settings:
    """What counts as a feature.

    Parameters
    ----------
    smoothing : float
        Standard deviation in pixels of the Gaussian that the search smooths with; 1.2 pixels of
        `GRID` are a full width of 390 km/s, while the resolution of SDSS (R 1,800) is 167 km/s.
    reach : int
        Pixels within which a feature must stand out: its prominence is measured there.
    threshold : float
        Least prominence, in standard errors of the smoothed flux, and least significance of the
        equivalent width.
    floor : float
        Error of the smoothed flux beside its noise, relative to the continuum: calibration
        leaves features that do not fade with the noise (from lines of the standard stars: Lee
        et al. 2013, AJ 145, 69). The flux of G stars at S/N 80 to 130, smoothed like this,
        scatters about the survey's models by 0.5 to 0.8 % more than its noise beyond 4,500
        Angstrom; a part of that is the models'.
    widest_kms : float
        Greatest full width at half prominence, in km/s: wider ones are the spectrum's shape.
    tolerance_kms : float
        Greatest distance in km/s from a line of the list that it may be taken for.
    """

    smoothing: float = 1.2
    reach: int = 100
    threshold: float = 5.0
    floor: float = 0.005
    widest_kms: float = 5000.0
    tolerance_kms: float = 300.0


@dataclass(frozen=True)
class Features:
    """Features of a batch, by spectrum, then by wavelength.

    Parameters
    ----------
    row : ndarray of int64, shape (m,)
        Index of the spectrum.
    emission : ndarray of bool, shape (m,)
    wavelength : ndarray of float64, shape (m,)
        Centroid above half prominence, in Angstrom.
    prominence : ndarray of float64, shape (m,)
        Height of the smoothed feature over the higher of the two levels on its sides, in units
        of the continuum.
    equivalent_width, equivalent_width_err : ndarray of float64, shape (m,)
        In Angstrom, positive for absorption.
    fwhm : ndarray of float64, shape (m,)
        Full width at half prominence in Angstrom, instrument and smoothing taken in.
    """

    row: npt.NDArray[np.int64]
    emission: BoolArray
    wavelength: FloatArray
    prominence: FloatArray
    equivalent_width: FloatArray
    equivalent_width_err: FloatArray
    fwhm: FloatArray

    @property
    def significance(self) -> FloatArray:
        """Equivalent width over its error, shape (m,)."""
        return np.abs(self.equivalent_width) / self.equivalent_width_err


def find_features(
    flux: npt.NDArray,
    ivar: npt.NDArray,
    valid: BoolArray,
    settings: Settings,
    fitted: Mapping[str, Any] | None = None,
) -> Features:
    """Find features of spectra on `GRID` with their continuum at 1.

    The flux is smoothed, by weight: lines about as wide as the filter, such as strong and blended
    ones, stand out best. Extremes whose topographic prominence exceeds the noise and the
    floor are kept; prominence needs no exact continuum, so that lines in a band or on the wing
    of another are found as well. At least half of it must lie beyond the level of the crests
    around it: what is left between the lines of a cool star is no emission.
    Equivalent widths are integrals of 1 - flux over one and a half widths to either side, no
    farther than the levels that the prominence is counted from: of a line with broad wings that
    is less than the whole (nine tenths of a Voigt profile of equal parts). Emission lines side by
    side part at the valley between them; absorption lines lie on the wings of others. A continuum
    that was fitted to the spectrum dips at the line; what is found is freed of its own dip.

    Parameters
    ----------
    flux, ivar : ndarray, shape (n, GRID.size)
    valid : ndarray of bool, shape (n, GRID.size)
    settings : Settings
    fitted : mapping, optional
        Parameters bandwidth, block and depth of the fit (`lake.sdss.continuum.smooth_continuum`)
        that the continuum comes from, if it comes from one.

    Returns
    -------
    Features
        None for spectra without an inverse variance (NaN), where nothing is known of noise.
    """
    weight = np.where(valid & (ivar > 0), ivar, 0.0).astype(np.float64)
    depth = np.where(weight > 0, 1.0 - flux, 0.0)
    reach = int(np.ceil(4 * settings.smoothing))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / settings.smoothing) ** 2)
    total = correlate1d(weight, kernel, axis=1, mode="constant")
    smooth = correlate1d(weight * depth, kernel, axis=1, mode="constant")
    np.divide(smooth, total, out=smooth, where=total > 0)
    noise = np.sqrt(correlate1d(weight, kernel**2, axis=1, mode="constant"))
    np.divide(noise, total, out=noise, where=total > 0)
    noise = np.hypot(noise, settings.floor)
    noise[total <= 0] = np.inf
    found = [_extremes(sign * smooth, noise, settings, apart=sign < 0) for sign in (1.0, -1.0)]
    row, peak, prominence, left, right, low, high = (
        np.concatenate(parts) for parts in zip(*found, strict=True)
    )
    emission = np.repeat([False, True], [len(part[0]) for part in found])
    half = 0.5 * (right - left)
    first = np.maximum(np.maximum(peak - 3 * half, low), 0)
    last = np.minimum(np.minimum(peak + 3 * half, high), GRID.size - 1)
    width = np.diff(GRID.edges)
    good = weight > 0
    variance = np.divide(width**2, weight, out=np.zeros_like(weight), where=good)
    integral = Integral(row, first, last)
    equivalent_width = integral(depth * width)
    error = np.sqrt(integral(variance))
    covered = Integral(row, left, right)(good * 1.0) > 0.8 * (right - left)
    core = Integral(row, left, right)
    # Above the level of half prominence, in the sense of the feature.
    sign = np.where(emission, -1.0, 1.0)
    level = smooth[row, peak] - sign * 0.5 * prominence
    lever = GRID.wavelength - GRID.wavelength[GRID.size // 2]
    area = core(depth * width) - level * core(good * width)
    moment = core(depth * width * lever) - level * core(good * width * lever)
    wavelength = GRID.wavelength[peak]
    centred = sign * area > 0
    np.divide(moment, area, out=moment, where=centred)
    wavelength = np.where(centred, moment + GRID.wavelength[GRID.size // 2], wavelength)
    crest = _crests(smooth)[row, peak]
    beyond = sign * (smooth[row, peak] + crest) > 0.5 * prominence
    keep = covered & beyond & (sign * equivalent_width > settings.threshold * error) & (error > 0)
    dispersion = np.gradient(GRID.wavelength)
    fwhm = (right - left) * dispersion[peak]
    keep &= fwhm / GRID.wavelength[peak] * SPEED_OF_LIGHT_KMS < settings.widest_kms
    order = np.lexsort((wavelength, row))
    order = order[keep[order]]
    if fitted is not None and len(order):
        ends = first[order], last[order]
        dip = own_dip(row[order], peak[order], *ends, depth, good, **fitted)
        length = integral(good * width)[order]
        equivalent_width[order] = equivalent_width[order] * (1 - dip) + dip * length
    return Features(
        row[order],
        emission[order],
        wavelength[order],
        prominence[order],
        equivalent_width[order],
        error[order],
        fwhm[order],
    )


def _extremes(
    values: FloatArray, noise: FloatArray, settings: Settings, *, apart: bool
) -> tuple[npt.NDArray, ...]:
    """Find peaks of all rows at once; those set apart do not reach beyond the next valley.

    Returns
    -------
    tuple of ndarray, each of shape (m,)
        Row, pixel, prominence, both ends of the width at half prominence, both bases.
    """
    n, size = values.shape
    # A wall between the rows ends every search for a base.
    walled = np.full((n, size + 1), np.inf)
    walled[:, :size] = values
    least = np.full((n, size + 1), np.inf)
    least[:, :size] = settings.threshold * noise
    flat = walled.reshape(-1)
    window = 2 * settings.reach + 1
    peaks, _ = find_peaks(flat)
    peaks = peaks[np.isfinite(flat[peaks])]
    with warnings.catch_warnings():
        # A peak of no prominence within the window is passed over below.
        warnings.filterwarnings("ignore", "some peaks have a prominence of 0")
        prominence, bases_left, bases_right = peak_prominences(flat, peaks, wlen=window)
    strong = prominence > least.reshape(-1)[peaks]
    peaks = peaks[strong]
    data = (prominence[strong], bases_left[strong], bases_right[strong])
    _, _, left, right = peak_widths(flat, peaks, rel_height=0.5, prominence_data=data)
    row = peaks // (size + 1)
    start = row * (size + 1)
    if apart:
        _, low, high = data
        beside, rise = row[1:] == row[:-1], np.diff(flat[peaks])
        # The base of the lower of two neighbours is the valley between them.
        np.minimum(high[:-1], low[1:], out=high[:-1], where=beside & (rise < 0))
        np.maximum(low[1:], high[:-1], out=low[1:], where=beside & (rise > 0))
        left, right = (np.clip(place, low, high) for place in (left, right))
    # Places within a row to a millionth of a pixel, which is what its place in `flat` leaves.
    left, right = (np.round(place - start, 6) for place in (left, right))
    return row, peaks - start, data[0], left, right, data[1] - start, data[2] - start


def _crests(smooth: FloatArray) -> FloatArray:
    """How far the continuum around each pixel lies above 1; at least 0.

    It is where extremes are alike: absorption lines differ in depth and leave crests at one
    level, emission lines troughs. The upper quartile of the one or the other is taken.
    """
    height = -smooth.reshape(len(smooth), -1, _BLOCK)
    crest, trough = (_quartiles(extreme) for extreme in (height.max(axis=2), height.min(axis=2)))
    absorbed = np.diff(crest, axis=2) <= _SPREAD * np.diff(trough, axis=2)
    level = np.where(absorbed[:, :, 0], crest[:, :, 1], trough[:, :, 1])
    return np.repeat(np.maximum(level, 0.0), _BLOCK, axis=1)


def _quartiles(blocks: FloatArray) -> FloatArray:
    """Lower and upper quartile of what surrounds each block, shape (n, blocks, 2)."""
    padded = np.pad(blocks, ((0, 0), (_AROUND // 2, _AROUND // 2)))
    # To sort takes a seventh of the time of a partition at two ranks.
    around = np.sort(sliding_window_view(padded, _AROUND, axis=1), axis=2)
    return around[:, :, [_AROUND // 4, 3 * _AROUND // 4]]


def match_lines(features: Features, settings: Settings) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Give every feature the nearest line of the list.

    Parameters
    ----------
    features : Features
    settings : Settings

    Returns
    -------
    line : ndarray of int64, shape (m,)
        Row of `line_list`, a forbidden line for emission alone; -1 where no line to be used is
        within the tolerance, or where a more significant feature of the same spectrum and kind
        has it.
    velocity : ndarray of float64, shape (m,)
        Of the feature against the line, in km/s; NaN without a line.
    """
    lines = line_list()
    wanted = np.asarray(lines["use_flag"])
    forbidden = np.asarray(pc.starts_with(lines["transition"], "["))
    line = np.full(len(features.row), -1, dtype=np.int64)
    velocity = np.full(len(line), np.nan)
    for emission, usable in ((True, wanted), (False, wanted & ~forbidden)):
        candidates = np.flatnonzero(usable)
        rest = np.asarray(lines["lambda_rest_A"])[candidates]
        chosen = np.flatnonzero(features.emission == emission)
        observed = features.wavelength[chosen]
        right = np.clip(np.searchsorted(rest, observed), 1, len(rest) - 1)
        nearest = np.where(2 * observed < rest[right - 1] + rest[right], right - 1, right)
        velocity[chosen] = (observed / rest[nearest] - 1) * SPEED_OF_LIGHT_KMS
        line[chosen] = candidates[nearest]
    line[np.abs(velocity) > settings.tolerance_kms] = -1
    order = np.lexsort((-features.significance, line, features.emission, features.row))
    key = np.stack([features.row, features.emission, line], axis=1)[order]
    again = np.zeros(len(order), dtype=bool)
    again[1:] = np.all(key[1:] == key[:-1], axis=1)
    line[order[again]] = -1
    velocity[line < 0] = np.nan
    return line, velocity


def find_lines(preprocessed: pa.Table, settings: Settings | None = None) -> pa.Table:
    """Features of preprocessed spectra.

    Parameters
    ----------
    preprocessed : pyarrow.Table
        Of `lake.sdss.preprocess.preprocess_table`, by a recipe that gives spectra on `GRID`,
        at rest, with their continuum at 1.
    settings : Settings, optional

    Returns
    -------
    pyarrow.Table
        See `SCHEMA`: features by spectrum and wavelength; elem, transition, lambda_rest_A and
        velocity_offset_kms are null where none matches.

    Raises
    ------
    LacusError
        The spectra are not on `GRID`.
    """
    settings = settings or Settings()
    parts = [SCHEMA.empty_table()]
    for start in range(0, len(preprocessed), _BATCH):
        part = preprocessed.slice(start, _BATCH)
        flux, ivar, valid = to_arrays(part)
        if flux.shape[1] != GRID.size:
            raise LacusError(f"spectra of {flux.shape[1]} pixels are not on the common grid")
        found = find_features(flux, ivar, valid, settings, _fitted(part["recipe"][0].as_py()))
        parts.append(_table(part, found, settings))
    return pa.concat_tables(parts)


def _fitted(recipe: str) -> Mapping[str, Any] | None:
    """Parameters of the continuum that a recipe fits, if it fits one."""
    for step in RECIPES[recipe].steps:
        if step.kernel is normalise_continuum:
            return {name: step.parameters[name] for name in ("bandwidth", "block", "depth")}
    return None


def _table(part: pa.Table, features: Features, settings: Settings) -> pa.Table:
    """Give the features of some spectra, with their lines."""
    line, velocity = match_lines(features, settings)
    owner = pa.array(features.row)
    known = pa.array(line, mask=line < 0)
    names = line_list().take(known)
    first = np.searchsorted(features.row, features.row)
    kind = np.where(features.emission, "emission", "absorption")
    return pa.table(
        {
            "release": part["release"].take(owner),
            "spec_id": part["spec_id"].take(owner),
            "recipe": part["recipe"].take(owner),
            "line_number": (np.arange(len(line)) - first + 1).astype(np.int32),
            "kind": kind.tolist(),
            "lambda_A": features.wavelength,
            "prominence": features.prominence,
            "significance": features.significance,
            "equivalent_width_A": features.equivalent_width,
            "equivalent_width_err_A": features.equivalent_width_err,
            "fwhm_A": features.fwhm,
            "elem": names["elem"],
            "transition": names["transition"],
            "lambda_rest_A": names["lambda_rest_A"],
            "velocity_offset_kms": pa.array(velocity, mask=line < 0),
            "file_sha256": part["file_sha256"].take(owner),
        },
        schema=SCHEMA,
    )
