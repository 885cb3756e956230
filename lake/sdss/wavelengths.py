"""Wavelength solutions of spectra, as their files give them."""

import re
from functools import lru_cache
from math import log, log10
from typing import Any

import numpy as np
import numpy.typing as npt

from lake.formats.fits_header import Header
from lake.sdss.grid import Grid

#: Exact, by the definition of the metre.
SPEED_OF_LIGHT_KMS = 299792.458

#: Wavelengths outside these are not those of an optical or infrared spectrum (Angstrom).
SHORTEST, LONGEST = 100.0, 1e6

#: Angstrom per unit, by the unit's name in lower case without a plural s.
_ANGSTROMS = {
    "a": 1.0, "aa": 1.0, "ang": 1.0, "angstrom": 1.0, "angstroem": 1.0, "0.1nm": 1.0, "å": 1.0,
    "nm": 10.0, "nanometer": 10.0, "nanometre": 10.0, "um": 1e4, "micron": 1e4, "µm": 1e4,
    "micrometer": 1e4, "micrometre": 1e4, "mm": 1e7, "cm": 1e8, "m": 1e10, "meter": 1e10,
    "metre": 1e10,
}  # fmt: skip
#: Of a unit that only begins with a length: `um -1`, `m / s`, `m s-1`.
_COMPOUND = re.compile(r"-\d|[/*^]")
#: CTYPE1 of axes that are something else than wavelength.
_OTHER_AXES = ("FREQ", "ENER", "WAVN", "VRAD", "VOPT", "VELO", "ZOPT", "BETA", "RA--", "DEC-",
               "GLON", "GLAT")  # fmt: skip


class Unusable(ValueError):
    """What keeps a spectrum from being taken; the reader, who knows the file, names it.

    Parameters
    ----------
    problem : str
        What was found and what was expected.
    where : str, optional
        HDU, row, column.
    """

    def __init__(self, problem: str, where: str | None = None) -> None:
        super().__init__(problem)
        self.problem, self.where = problem, where

    @property
    def reason(self) -> str:
        """Place and problem."""
        return f"{self.where}: {self.problem}" if self.where else self.problem


def checked(grid: Grid, pixels: int) -> Grid:
    """Give the same grid if its wavelengths change with the pixel and are those of a spectrum.

    Raises
    ------
    Unusable
        The step is nothing, or a wavelength is not between 100 and 1e6 Angstrom.
    """
    if grid.kind == "pixel-normalised":
        return grid
    of_log = grid.coeff1 is not None
    first, step = (grid.coeff0, grid.coeff1) if of_log else (grid.crval1, grid.cd1_1)
    # A step that is lost in rounding is as good as none.
    if first is not None and step is not None and first + step == first:
        name = "coeff1" if of_log else "the step"
        raise Unusable(f"wavelength solution: {name} is {step}, and wavelengths do not change")
    # A logarithm outside this overflows a float or is no wavelength at all.
    if grid.coeff0 is not None and grid.coeff1 is not None:
        _expect_logarithms(grid.coeff0, grid.coeff0 + grid.coeff1 * (pixels - 1))
        return grid
    ends = grid.at(0), grid.at(pixels - 1)
    if not all(end is not None and SHORTEST <= end <= LONGEST for end in ends):
        raise Unusable(
            "wavelength solution: wavelengths go from {:g} to {:g} Angstrom, ".format(*ends)
            + f"expected {SHORTEST:g} to {LONGEST:g}"
        )
    return grid


def _expect_logarithms(first: float, last: float) -> None:
    shortest, longest = log10(SHORTEST), log10(LONGEST)
    if not (shortest <= first <= longest and shortest <= last <= longest):
        raise Unusable(
            f"wavelength solution: log10 of the wavelength goes from {first:g} to {last:g}, "
            "expected 2 to 6 (Angstrom)"
        )


def angstroms(unit: str | None) -> float:
    """Angstrom per unit of wavelength; one where the file names no unit.

    Raises
    ------
    Unusable
        The unit is not one of length.
    """
    name = (unit or "Angstrom").strip().strip("[]()'\"").lower()
    # `Angstrom (vacuum)`, `Wavelength (Ang`: the bracket at the end is off already.
    words = [name, name.split(" ")[0], name.rpartition("(")[2]]
    if _COMPOUND.search(name.partition("(")[0]):
        words = [name]
    for spelling in (word.removesuffix(end) for word in words for end in ("", "s")):
        if spelling in _ANGSTROMS:
            return _ANGSTROMS[spelling]
    raise Unusable(f"unit of the wavelength is {unit!r}, expected Angstrom, nm, um or m")


def of_loglam(loglam: npt.NDArray[Any], coeff0: Any, coeff1: Any) -> Grid:
    """Solution of a spec file: exact coefficients where they hold, else what `loglam` says.

    COEFF0 of the header is the plate's. Reductions 26, 103 and 104 cut pixels without data
    from the blue end and leave it as it was: the spectrum then starts a whole number of
    pixels later, and the exact solution is COEFF0 + k COEFF1.

    Parameters
    ----------
    loglam : numpy.ndarray
        Shape (pixels,): log10 of the wavelength in Angstrom.
    coeff0, coeff1 : float or None
        Of the header.

    Raises
    ------
    Unusable
        `loglam` is not finite, goes up and down, or is not that of a spectrum.
    """
    pixels = len(loglam)
    first, middle, last = float(loglam[0]), float(loglam[pixels // 2]), float(loglam[-1])
    rounding = _rounding(loglam.dtype, 4.0)
    if isinstance(coeff0, int | float) and isinstance(coeff1, int | float) and coeff1:
        late = (first - coeff0) / coeff1
        if abs(late) < 1e6:
            late = round(late)
            start = round(coeff0 + late * coeff1, 10) if late else float(coeff0)
            if (
                abs(first - start) <= rounding
                and abs(middle - start - pixels // 2 * coeff1) <= rounding
                and abs(last - start - (pixels - 1) * coeff1) <= rounding
                and _follows(loglam, start, float(coeff1), rounding)
            ):
                grid = Grid(
                    "log10", start, float(coeff1),
                    note=f"pixels begin {late} later than COEFF0 says" if late else None,
                )  # fmt: skip
                return checked(grid, pixels)
    values = np.asarray(loglam, np.float64)
    _expect_one_way(values, "loglam")
    if fit := _regular(values, rounding):
        note = None
        if coeff0 is not None or coeff1 is not None:
            note = f"COEFF0 {coeff0} and COEFF1 {coeff1} of its header disagree with loglam"
        return checked(Grid("log10", *fit, note=note), pixels)
    note = "loglam is not regular: wavelengths are listed"
    # Wavelengths instead of their logarithms would overflow, and are to be told as they are.
    _expect_logarithms(values[0], values[-1])
    return checked(Grid("table", wavelength=10**values, note=note), pixels)


def _follows(loglam: npt.NDArray[Any], first: float, step: float, rounding: float) -> bool:
    """Whether nothing is damaged between pixels that were compared with a solution already.

    The mean tells of it; a product with ones is the sum in a third of the time of `sum`. Where
    it is not as exact as it mostly is, all pixels are compared.
    """
    pixels = len(loglam)
    mean = first + (pixels - 1) / 2 * step
    if abs(float(loglam.dot(_ones(pixels))) / pixels - mean) <= 1e-6 * mean:
        return True
    expected = first + step * np.arange(pixels)
    return bool(np.abs(np.asarray(loglam, np.float64) - expected).max() <= rounding)


@lru_cache(maxsize=64)
def _ones(pixels: int) -> npt.NDArray[np.float32]:
    return np.ones(pixels, np.float32)


def of_values(wavelength: npt.NDArray[Any], unit: str | None = None) -> Grid:
    """Solution of wavelengths that are listed: linear or log10 if they are so to rounding.

    Parameters
    ----------
    wavelength : numpy.ndarray
        Shape (pixels,).
    unit : str or None
        As the file writes it; Angstrom if there is none.

    Raises
    ------
    Unusable
        Wavelengths are not finite, go up and down, or are not those of a spectrum.
    """
    values = np.asarray(wavelength, np.float64) * angstroms(unit)
    _expect_one_way(values, "wavelength")
    shortest, longest = sorted((float(values[0]), float(values[-1])))
    if shortest <= 0:
        raise Unusable(f"wavelength solution: a wavelength is {shortest:g}")
    if fit := _regular(values, _rounding(wavelength.dtype, longest)):
        return checked(Grid("linear", crval1=fit[0], cd1_1=fit[1]), len(values))
    # A rounding of one part in 2**24 is 1 / ln 10 of it in the logarithm.
    relative = _rounding(wavelength.dtype, 1.0) / log(10) + _rounding(np.dtype("f8"), 4.0)
    if fit := _regular(np.log10(values), relative):
        return checked(Grid("log10", *fit), len(values))
    return checked(Grid("table", wavelength=values), len(values))


def of_header(header: Header, pixels: int) -> Grid | None:
    """Solution of an image: COEFF0 and COEFF1, or CRVAL1 with CD1_1 or CDELT1.

    The axis is logarithmic (log10) if DC-FLAG is 1 or CTYPE1 or WFITTYPE says so, as IRAF and
    SDSS write it; ``WAVE-LOG`` is the natural logarithm of Greisen et al. (2006, A&A 446, 747,
    section 3.2). CRPIX1 may be any pixel: the solution is the one of the first.

    Parameters
    ----------
    header : Header
    pixels : int
        NAXIS1.

    Returns
    -------
    Grid or None
        None if the header has no solution.

    Raises
    ------
    Unusable
        The axis is not one of wavelength, or the wavelengths are not those of a spectrum.
    """
    kind = str(header.get("CTYPE1") or "").strip().upper()
    coeff0, coeff1 = _number(header, "COEFF0"), _number(header, "COEFF1")
    if coeff0 is None and kind.startswith(_OTHER_AXES):
        raise Unusable(f"CTYPE1 is {kind!r}: not an axis of wavelength")
    value = _number(header, "CRVAL1")
    step = _number(header, "CD1_1")
    step = _number(header, "CDELT1") if step is None else step
    reference = _number(header, "CRPIX1")
    offset = 0.0 if reference is None else 1 - reference
    if coeff0 is not None and coeff1 is not None:
        written = None if value is None or step is None else (value + offset * step, step)
        return checked(Grid("log10", coeff0, coeff1, written=written), pixels)
    if value is None or step is None or kind.startswith("PIX"):
        return None
    unit = header.get("CUNIT1") or _iraf_unit(header)
    if kind.endswith("-LOG") and kind[:4] in ("WAVE", "AWAV"):
        if not value > 0:
            raise Unusable(f"wavelength solution: CRVAL1 is {value:g}, expected a positive number")
        step = step / value / log(10)
        first = log10(value * angstroms(unit)) + offset * step
        return checked(Grid("log10", first, step), pixels)
    fitted = str(header.get("WFITTYPE") or "").upper()
    first = value + offset * step
    if header.get("DC-FLAG") == 1 or "LOG" in kind or "LOG" in fitted:
        plain = str(unit or "Angstrom").lower().removeprefix("log10").removeprefix("log")
        coeff0 = first + log10(angstroms(plain))
        return checked(Grid("log10", coeff0, step, written=(first, step)), pixels)
    scale = angstroms(unit)
    return checked(Grid("linear", crval1=first * scale, cd1_1=step * scale), pixels)


def of_vectors(header: Header, pixels: int) -> Grid | None:
    """Solution of the cells of a table as Astra writes it: CRVAL and CDELT, without an axis.

    Source: the data models of mwmStar and mwmVisit, https://github.com/sdss/datamodel.

    Parameters
    ----------
    header : Header
        Of the table; its logarithm (log10) is said by DC-FLAG = 1.
    pixels : int
        Length of a cell.

    Returns
    -------
    Grid or None
        None if the header has no such solution.

    Raises
    ------
    Unusable
        The wavelengths are not those of a spectrum.
    """
    first, step = _number(header, "CRVAL"), _number(header, "CDELT")
    if first is None or step is None or header.get("DC-FLAG") != 1:
        return None
    reference = _number(header, "CRPIX")
    offset = 0.0 if reference is None else 1 - reference
    return checked(Grid("log10", first + offset * step, step), pixels)


def _number(header: Header, keyword: str) -> float | None:
    value = header.get(keyword)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable(f"keyword {keyword} is {value!r}, expected a number")
    return float(value)


def _iraf_unit(header: Header) -> str | None:
    """Unit that IRAF gives as ``WAT1_001= 'wtype=linear label=Wavelength units=Angstroms'``."""
    words = str(header.get("WAT1_001") or "").split()
    return next((word[6:] for word in words if word.startswith("units=")), None)


def _rounding(dtype: np.dtype[Any], size: float) -> float:
    """Give what rounding to a dtype, float32 or float64, and a few sums may change in a number."""
    return size * (2**-23 if dtype.kind == "f" and dtype.itemsize == 4 else 2**-49)


def _expect_one_way(values: npt.NDArray[np.float64], name: str) -> None:
    if not np.isfinite(values).all():
        pixel = int(np.flatnonzero(~np.isfinite(values))[0]) + 1
        raise Unusable(f"wavelength solution: {name} of pixel {pixel} is not finite")
    falling = bool(values[0] > values[-1])
    steps = np.diff(values)
    against = np.flatnonzero(steps >= 0 if falling else steps <= 0)
    if len(against):
        wanted = "fall" if falling else "increase"
        pixel = int(against[0]) + 2
        raise Unusable(f"wavelength solution: {name} does not {wanted} at pixel {pixel}")


def _regular(values: npt.NDArray[np.float64], rounding: float) -> tuple[float, float] | None:
    """First value and step, if all values are regular to rounding; round numbers if they do."""
    if len(values) < 3:
        return None
    pixel = np.arange(len(values))
    first, step = float(values[0]), float(values[-1] - values[0]) / (len(values) - 1)
    candidates = [(round(first, digits), round(step, digits + 3)) for digits in (3, 4, 6, 8, 10)]
    for start, each in [*candidates, (first, step)]:
        if each and np.abs(values - (start + each * pixel)).max() <= rounding:
            return start, each
    return None
