"""Layouts of images that hold spectra: one, or one to a row."""

import re
from collections.abc import Iterator, Mapping

from lake.formats.fits import FitsFile
from lake.formats.fits_hdu import HDU
from lake.formats.fits_structure import TABLES
from lake.sdss.grid import Grid
from lake.sdss.metadata import Place, Row, text
from lake.sdss.spectrum import Array, Found, Spectrum, companion, hdu_at, no_solution, placed
from lake.sdss.wavelengths import Unusable, of_header, of_values

#: What the images of an apStar file, and of others with a spectrum in several HDUs or rows, hold.
_ROLES = {
    "ivar": re.compile(r"ivar|inv\w*[ _]?var|inverse$", re.IGNORECASE),
    "error": re.compile(r"err|sigma|unc(ert|$)|std|normali[sz]ed err", re.IGNORECASE),
    "variance": re.compile(r"var(iance)?$", re.IGNORECASE),
    "and_mask": re.compile(r"(and[ _]?)?mask|flag|(pixel )?quality|dq", re.IGNORECASE),
    "or_mask": re.compile(r"or[ _]?mask", re.IGNORECASE),
}
#: HDU of the wavelengths, where they are not in a header: apVisit, MaNGA, XSpectrum1D.
_WAVELENGTHS = re.compile(r"(wave(lengths?)?|lambda)\s*(\(.*\))?", re.IGNORECASE)
#: Keywords that name the bands of an image, with their number, of LAMOST and IRAF.
_BAND_TITLES = ("ROW", "ARRAY", "BANDID")
#: What rows hold, by their place, where the header does not say.
_LAMOST_ROWS = {1: "ivar", 3: "and_mask", 4: "or_mask"}
_SP_SPEC_ROWS = {2: "error", 3: "and_mask"}
_PLATE_HDUS = {"ivar": 1, "and_mask": 2, "or_mask": 3, "wdisp": 4, "sky": 6}
_PLATE_NAMES = {"ivar": "IVAR", "and_mask": "ANDMASK", "or_mask": "ORMASK", "wdisp": "WAVEDISP",
                "sky": "SKY"}  # fmt: skip


def is_image(hdu: HDU) -> bool:
    """Whether an HDU holds pixels; STIL keeps a VOTable in the bytes of a primary image."""
    if not hdu.shape or hdu.kind not in ("image", "compressed_image"):
        return False
    return hdu.image_shape[-1:] > (1,) and "VOTMETA" not in hdu.header


def images(file: FitsFile, hdu: HDU) -> tuple[bool, Found]:
    """Spectra of an image: one, or one to a row."""
    header, primary = hdu.header, file[0].header
    if "wave" in hdu.name.lower():
        # As in files of DESI, which have an image of wavelengths before that of the fluxes.
        raise Unusable(f"{hdu.name} holds wavelengths, not fluxes", f"HDU {hdu.index}")
    image = _pixels_of(hdu)
    shape, pixels = image.shape, image.shape[-1]
    fluxes = image.reshape(-1, pixels)
    unit = text(header.get("BUNIT")) or text(header.get("FLUXUNIT")) or text(primary.get("BUNIT"))
    places: list[Place | Row] = [Place(f"HDU {hdu.index}", header)]
    if hdu.index:
        places.append(Place("HDU 0", primary))
    grid = placed(hdu, of_header, header, pixels) or _listed(file, hdu, pixels)
    grid = grid or no_solution(hdu, file, pixels)
    if grid.kind == "pixel-normalised" and len(fluxes) > 1:
        problem = f"is an image of {shape} pixels without a wavelength solution, not a spectrum"
        if "multispec" in (text(header.get("WAT0_001")) or ""):
            problem = f"the wavelengths of {shape} pixels are in WAT2 (multispec of IRAF): not read"
        raise Unusable(problem, f"HDU {hdu.index}")
    one = Spectrum("image", hdu.index, grid, fluxes[0], places, unit)
    if len(fluxes) > 1 and (roles := _roles_of_bands(hdu, shape)) is not None:
        one.layout = "spSpec" if roles is _SP_SPEC_ROWS else "bands"
        bands = fluxes.reshape(shape[0], -1, pixels)
        of_all: dict[str, Array] = {}
        for band, role in roles.items():
            if band < len(bands):
                of_all |= companion(role, bands[band])
        return bands.shape[1] > 1, _rows(one, bands[0], of_all, None)
    if len(fluxes) > 1 and hdu.index == 0 and ("PLATEID" in header or _plug_map(file) is not None):
        return True, _sp_plate(file, one, fluxes)
    others = _other_images(file, hdu, shape)
    if len(fluxes) == 1 or "NVISITS" in primary:
        # The first row of an apStar file is the sum of the visits that follow.
        for name, values in others.items():
            one.arrays[name] = values.reshape(-1, pixels)[0]
        if len(fluxes) > 1:
            one.notes.append(f"the first of {len(fluxes)} rows, the combined one, is taken")
        return False, iter([(1, one)])
    return True, _rows(one, fluxes, {n: v.reshape(-1, pixels) for n, v in others.items()}, None)


def _roles_of_bands(hdu: HDU, shape: tuple[int, ...]) -> Mapping[int, str] | None:
    """What the bands of an image hold, of which the first is flux: of one spectrum, or of several.

    None for an image with a spectrum to a row.
    """
    header = hdu.header
    for keyword in _BAND_TITLES:
        titles = [text(header.get(f"{keyword}{band + 1}")) for band in range(shape[0])]
        if any(titles):
            return {band: role for band, title in enumerate(titles) if (role := _role(title))}
    if hdu.index or len(shape) > 2 or "FIBERID" not in header:
        return None
    return _LAMOST_ROWS if text(header.get("TELESCOP")) == "LAMOST" else _SP_SPEC_ROWS


def _role(title: str | None) -> str | None:
    return next((name for name, pattern in _ROLES.items() if pattern.match(title or "")), None)


def _sp_plate(file: FitsFile, one: Spectrum, fluxes: Array) -> Found:
    one.layout = "spPlate"
    images: dict[str, Array] = {}
    for name, index in _PLATE_HDUS.items():
        hdu = _named(file, _PLATE_NAMES[name]) or hdu_at(file, index)
        if hdu is None or not is_image(hdu):
            continue
        values = _pixels_of(hdu)
        if values.shape != fluxes.shape:
            raise Unusable(
                f"{name} has the shape {values.shape}, the flux {fluxes.shape}",
                f"HDU {hdu.index}",
            )
        images |= companion(name, values)
    plug_map = _plug_map(file)
    if plug_map is not None and plug_map.rows != len(fluxes):
        raise Unusable(
            f"the plug map has {plug_map.rows} rows, the flux {len(fluxes)}",
            f"HDU {plug_map.index}",
        )
    return _rows(one, fluxes, images, plug_map)


def _rows(one: Spectrum, fluxes: Array, images: dict[str, Array], plug_map: HDU | None) -> Found:
    """Spectra of an image that share all but their row."""
    for i, flux in enumerate(fluxes):
        places = one.places if plug_map is None else [Row(plug_map, i), *one.places]
        arrays = {name: values[i] for name, values in images.items()}
        # The rows of a whole plate are its fibres in their order.
        known = {"fiber": (i + 1, "row of the image")} if one.layout == "spPlate" else {}
        yield i + 1, Spectrum(one.layout, one.hdu, one.grid, flux, places, one.flux_unit, i + 1,
                              arrays, known, list(one.notes))  # fmt: skip


def _other_images(file: FitsFile, hdu: HDU, shape: tuple[int, ...]) -> dict[str, Array]:
    """Inverse variance and mask of the image HDUs that follow, by EXTNAME or BUNIT."""
    found: dict[str, Array] = {}
    for title, other in _following(file, hdu):
        role = _role(title)
        if role is None:
            continue
        values = _pixels_of(other)
        if values.shape != shape:
            raise Unusable(
                f"{title} has the shape {values.shape}, the flux {shape}", f"HDU {other.index}"
            )
        found = companion(role, values) | found
    return found


def _listed(file: FitsFile, hdu: HDU, pixels: int) -> Grid | None:
    """Solution of the image of wavelengths that follows; None if there is none."""
    for title, other in _following(file, hdu):
        if not _WAVELENGTHS.fullmatch(title):
            continue
        values, where = _pixels_of(other), f"HDU {other.index}"
        if values.shape[-1] != pixels:
            raise Unusable(f"{title} has {values.shape[-1]} pixels, the flux {pixels}", where)
        rows = values.reshape(-1, pixels)
        if (rows != rows[0]).any():
            raise Unusable(f"{title} has other wavelengths in each of {len(rows)} rows", where)
        unit = text(other.header.get("BUNIT"))
        grid: Grid = placed(other, of_values, rows[0], unit)
        return grid
    return None


def _following(file: FitsFile, hdu: HDU) -> Iterator[tuple[str, HDU]]:
    """Image HDUs behind one, and what they are called."""
    index = hdu.index + 1
    while (other := hdu_at(file, index)) is not None:
        index += 1
        if is_image(other):
            yield other.name or text(other.header.get("BUNIT")) or "", other


def _named(file: FitsFile, name: str) -> HDU | None:
    return next((hdu for hdu in file if hdu.name.upper() == name), None)


def _pixels_of(hdu: HDU) -> Array:
    values = hdu.image()
    if values is None:
        raise Unusable("the image has no pixels", f"HDU {hdu.index}")
    return values


def _plug_map(file: FitsFile) -> HDU | None:
    hdu = _named(file, "PLUGMAP") or hdu_at(file, 5)
    return hdu if hdu is not None and hdu.kind in TABLES else None
