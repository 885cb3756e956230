"""Layouts of the files that hold spectra, told apart by content: file -> spectra.

========== ============================================================================
spec       HDU 1 COADD (flux, loglam, ivar, ...), HDU 2 the catalogue's row; DR8 and later
spSpec     primary image with the rows of one spectrum: flux, continuum-subtracted flux,
           error, mask; DR1 to DR7
bands      image with the rows of one spectrum, which its header names; LAMOST, IRAF
spPlate    primary image [fibre, pixel]; inverse variance, masks, dispersion, plug map and
           sky in HDU 1 to 6
mastar     table with a vector (WAVE, FLUX, IVAR, DISP, MASK) per row
vectors    any other table of vectors
table      any other table of pixels
image      image with one spectrum, or several, and a solution in its header (apStar, IRAF)
========== ============================================================================
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from lake.formats.fits import FitsFile
from lake.formats.fits_hdu import HDU
from lake.formats.fits_layout import Column, Layout
from lake.formats.fits_structure import TABLES
from lake.sdss.grid import Grid
from lake.sdss.images import images, is_image
from lake.sdss.metadata import Place, Row, real, text, whole
from lake.sdss.spectrum import Array, Found, Spectrum, companion, hdu_at, no_solution, placed
from lake.sdss.wavelengths import Unusable, of_loglam, of_values, of_vectors

_FLUX = ("flux", "flux_density", "flux_lambda", "f_lambda", "spec", "spectrum", "flam")
_LOG_WAVELENGTH = ("loglam", "loglambda", "log_lambda", "logwave")
_WAVELENGTH = ("wave", "wavelength", "lambda", "lam", "wl", "waveobs", "spectral_axis")
_IVAR = ("ivar", "inverse_variance", "invvar")
_ERROR = ("err", "error", "sigma", "flux_error", "flux_err", "err_flux", "e_flux", "sigma_flux",
          "uncertainty", "flux_uncertainty", "stdev", "std", "staterror")  # fmt: skip
_VARIANCE = ("var", "variance")
_AND_MASK = ("and_mask", "andmask", "mask")
_OR_MASK = ("or_mask", "ormask")
#: What a spec file has beside flux and wavelengths.
_OF_SPEC = ("ivar", "and_mask", "or_mask", "wdisp", "sky", "model")
#: Columns of APOGEE and of BOSS spectra.
_VELOCITY_OF_ASTRA = ("V_RAD", "XCSAO_V_RAD")
#: Columns of catalogues, whose rows are not pixels.
_CATALOGUE = ("ra", "dec", "plate", "mjd", "fiberid", "objid", "specobjid", "name")


def spectra(file: FitsFile) -> tuple[bool, Found]:
    """Spectra of a file.

    Returns
    -------
    several : bool
        Whether the layout is one of several spectra in a file.
    found : iterator of (int, Spectrum or Unusable)
        Number of the spectrum in the file, from 1, and the spectrum, or why it cannot be taken
        though others of the file may be.

    Raises
    ------
    Unusable
        The file holds no spectrum, or its only one cannot be taken.
    lake.errors.InputError
        The file is damaged.
    """
    primary = file[0]
    if is_image(primary):
        return images(file, primary)
    seen = []
    index = 1
    while (hdu := hdu_at(file, index)) is not None:
        if hdu.kind in TABLES:
            names = _numbers(hdu)
            flux = _first(names, _FLUX)
            vector = _first(_numbers(hdu, vectors=True), _FLUX)
            if vector is not None:
                return _vector_tables(file, index)
            if flux is not None and not hdu.rows:
                raise Unusable("the table of the spectrum has no rows", f"HDU {index}")
            if flux is not None:
                if index == 1 and "loglam" in names:
                    return False, iter([(1, spec(file, hdu, flux))])
                if _first(names, _LOG_WAVELENGTH + _WAVELENGTH) or not any(
                    name in names for name in _CATALOGUE
                ):
                    return False, iter([(1, table(file, hdu, flux))])
            seen.append(f"HDU {index} a table of {_some(hdu.columns)}")
        elif is_image(hdu):
            return images(file, hdu)
        index += 1
    found = "; ".join(["HDU 0 without data", *seen])
    raise Unusable(
        "is not a spectrum: no image, and no table with a column of numbers called flux"
        f" (and wavelengths); {found}"
    )


def spec(file: FitsFile, hdu: HDU, flux: str) -> Spectrum:
    """Spectrum of a spec file, lite or full; nothing after HDU 2 is looked at.

    Raises
    ------
    Unusable
        The wavelengths are no solution, or HDU 2 is the row of another plate or fibre.
    """
    header = file[0].header
    names = _numbers(hdu)
    arrays = hdu.native(flux, "loglam", *(name for name in _OF_SPEC if name in names))
    loglam, fluxes = arrays.pop("loglam"), arrays.pop(flux)
    grid = placed(hdu, of_loglam, loglam, header.get("COEFF0"), header.get("COEFF1"))
    places: list[Place | Row] = [Place("HDU 1", hdu.header), Place("HDU 0", header)]
    notes = []
    row = hdu_at(file, 2)
    if row is None or row.kind not in TABLES or not row.rows:
        notes.append("no row of the catalogue in HDU 2")
    elif "loglam" in row.layout.by_name:
        # Medium-resolution files of LAMOST have their arms and exposures in an HDU each.
        notes.append(f"HDU 2 {row.name} is another spectrum, and is not taken")
    else:
        about = Row(row)
        notes += _agreement(places[1], about)
        places.insert(0, about)
        if row.rows > 1:
            notes.append(f"HDU 2 has {row.rows} rows: the first is taken")
    return Spectrum("spec", 1, grid, fluxes, places, _unit(hdu, flux, header), 1, arrays,
                    notes=notes)  # fmt: skip


def _agreement(header: Place | Row, row: Row) -> list[str]:
    """Compare plate, MJD and fibre of a spec file's header with those of the catalogue's row."""
    notes = []
    for keyword, column in (("PLATEID", "PLATE"), ("MJD", "MJD"), ("FIBERID", "FIBERID")):
        written, catalogued = whole(header.get(keyword)), whole(row.get(column))
        # Coadds of all epochs have no plate and no fibre, and zeros for them.
        if not written or not catalogued or written == catalogued:
            continue
        problem = f"{column} is {catalogued}, but {keyword} of the header is {written}"
        # A spectrum of several nights may go by any of them.
        nights = str(header.get("MJDLIST")).split()
        if column != "MJD" or str(catalogued) not in nights:
            raise Unusable(f"{problem}: the row is that of another spectrum", row.label)
        notes.append(f"{row.label}: {problem}")
    return notes


def table(file: FitsFile, hdu: HDU, flux: str) -> Spectrum:
    """Spectrum of a table with a pixel to a row."""
    names = _numbers(hdu)
    grid = None
    if column := _first(names, _LOG_WAVELENGTH):
        grid = placed(hdu, of_loglam, hdu.column(column), None, None)
    elif column := _first(names, _WAVELENGTH):
        grid = placed(hdu, of_values, hdu.column(column), _column_unit(hdu, column))
    places = [Place(f"HDU {hdu.index}", hdu.header), Place("HDU 0", file[0].header)]
    spectrum = Spectrum(
        "table", hdu.index, grid or no_solution(hdu, file, hdu.rows), hdu.column(flux), places,
        _unit(hdu, flux, file[0].header),
    )  # fmt: skip
    for name, column in _companions(names).items():
        spectrum.arrays |= companion(name, hdu.column(column))
    return spectrum


def _vector_tables(file: FitsFile, index: int) -> tuple[bool, Found]:
    """Spectra of all tables of vectors from one on; Astra has one for each telescope."""
    tables: list[tuple[HDU, str, int]] = []
    count = 0
    while (hdu := hdu_at(file, index)) is not None:
        index += 1
        if hdu.kind in TABLES and (flux := _first(_numbers(hdu, vectors=True), _FLUX)):
            tables.append((hdu, flux, count))
            count += hdu.rows
    if not count:
        raise Unusable("the table of the spectrum has no rows", f"HDU {tables[0][0].index}")
    return count > 1, chain.from_iterable(_vectors(file, *each) for each in tables)


def _vectors(file: FitsFile, hdu: HDU, flux: str, before: int) -> Found:
    """Spectra of a table with a spectrum to a row, behind so many of other tables."""
    if not hdu.rows:
        return
    names = _numbers(hdu, vectors=True)
    mastar = "disp" in names and ("mangaid" in hdu or "mangaid_1" in hdu)
    # Astra has spectra at rest wherever it knows a velocity.
    astra = "SDSS_ID" in file[0].header or "sdss_id" in hdu
    log_wavelength, wavelength = _first(names, _LOG_WAVELENGTH), _first(names, _WAVELENGTH)
    fluxes, unit = hdu.column(flux), _unit(hdu, flux, file[0].header)
    companions = {n: (c, hdu.column(c)) for n, c in _companions(names).items()}
    headers = [Place(f"HDU {hdu.index}", hdu.header), Place("HDU 0", file[0].header)]
    listed = log_wavelength or wavelength
    waves = hdu.column(listed) if listed else None
    wave_unit = _column_unit(hdu, wavelength) if wavelength else None
    for i in range(hdu.rows):
        where = f"HDU {hdu.index}, row {i + 1}"
        cells = np.asarray(fluxes[i])
        try:
            if not len(cells):
                raise Unusable("the spectrum has no pixels", where)
            if waves is None:
                grid = placed(hdu, of_vectors, hdu.header, len(cells))
                grid = grid or no_solution(hdu, file, len(cells))
            elif len(waves[i]) != len(cells):
                problem = f"{len(cells)} fluxes, but {len(waves[i])} wavelengths"
                raise Unusable(problem, where)
            elif log_wavelength:
                grid = of_loglam(waves[i], None, None)
            else:
                grid = of_values(waves[i], wave_unit)
            row = Row(hdu, i)
            spectrum = Spectrum(
                "mastar" if mastar else "vectors", hdu.index, grid, cells,
                [row, *headers], unit, before + i + 1,
            )  # fmt: skip
            for name, (column, values) in companions.items():
                if len(values[i]) != len(cells):
                    problem = f"{len(cells)} fluxes, but {len(values[i])} values of {column}"
                    raise Unusable(problem, where)
                spectrum.arrays |= companion(name, values[i])
            if "vacuum" in (text(hdu.header.get("CUNIT")) or "").lower():
                spectrum.known["wavelength_frame"] = ("vacuum", f"HDU {hdu.index} CUNIT")
            if mastar:
                spectrum.arrays["wdisp"] = _in_pixels(hdu.column("disp")[i], grid)
                spectrum.known["wavelength_frame"] = ("vacuum", "data model of MaStar")
                # Lines lie at rest whatever HELIOV is, as they do in the published library.
                spectrum.known["at_rest"] = (True, "MaStar")
            elif astra and any(real(row.get(name)) is not None for name in _VELOCITY_OF_ASTRA):
                spectrum.known["at_rest"] = (True, "Astra")
            yield before + i + 1, spectrum
        except Unusable as problem:
            yield before + i + 1, Unusable(problem.problem, problem.where or where)


def _in_pixels(sigma: Array, grid: Grid) -> Array:
    """Line-spread dispersion in pixels.

    MaStar gives DISP, the sigma of the line-spread function, in Angstrom (Yan et al. 2019,
    ApJ 883, 175): it grows from 1.1 to 2.3 from 3600 to 10300 Angstrom, as R = 1400 to 1900 do.
    """
    wavelengths = grid.wavelengths(len(sigma))
    if wavelengths is None or len(sigma) < 2:
        return np.full(len(sigma), np.nan, np.float32)
    values = sigma.astype(np.float64) / np.abs(np.gradient(wavelengths))
    return np.where(values > 0, values, np.nan).astype(np.float32)


def _companions(names: dict[str, Any]) -> dict[str, str]:
    """Columns of weights, masks and the like, by what they are."""
    asked = {"ivar": _IVAR, "error": _ERROR, "variance": _VARIANCE, "and_mask": _AND_MASK,
             "or_mask": _OR_MASK, "wdisp": ("wdisp",), "sky": ("sky",),
             "model": ("model",)}  # fmt: skip
    found = {name: column for name, aliases in asked.items() if (column := _first(names, aliases))}
    # Of several that say the same, one is enough.
    for name in [name for name in ("ivar", "error", "variance") if name in found][1:]:
        del found[name]
    return found


def _numbers(hdu: HDU, vectors: bool = False) -> dict[str, Column]:
    """Columns of numbers by their names in small letters: with one in a cell, or with several."""
    return _numbers_of(hdu.layout, vectors)


@lru_cache(maxsize=256)
def _numbers_of(layout: Layout, vectors: bool) -> dict[str, Column]:
    return {
        name: column
        for name, column in layout.by_name.items()
        if column.code in "BIJKEDF" and (bool(column.pointer) or column.count != 1) == vectors
    }


def _first(names: dict[str, Any], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _column_unit(hdu: HDU, column: str) -> str | None:
    metadata = hdu.layout.by_name[column].metadata
    return metadata[b"unit"].decode() if b"unit" in metadata else None


def _unit(hdu: HDU, flux: str, primary: Any) -> str | None:
    """Unit of a column of flux: its own, or the one of a header."""
    return (
        _column_unit(hdu, flux)
        or text(hdu.header.get("BUNIT"))
        or text(primary.get("BUNIT"))
        or text(primary.get("FLUXUNIT"))
    )
