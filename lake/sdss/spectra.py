"""Spectra of SDSS files: a file -> what is known of its spectra.

The bytes of a file are parsed in place (`lake.formats.fits`), pixels stay views of them as far
as possible, and what headers of one make have in common is worked out once. Rows of tables are
made of the spectra of many files at once: see `lake.sdss.spectra_columns`.
"""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from lake import contracts
from lake.columns import Columns
from lake.errors import InputError
from lake.formats.fits import FitsFile
from lake.formats.fits_header import BLOCK
from lake.formats.source import Source, label, load
from lake.inputs import InputFile
from lake.sdss.grid import Grid
from lake.sdss.layouts import spectra
from lake.sdss.metadata import Metadata, resolve
from lake.sdss.pixels import Pixels, take_pixels
from lake.sdss.spectra_columns import Taken, columns
from lake.sdss.spectrum import Spectrum, rising
from lake.sdss.wavelengths import Unusable

TABLE = "sdss.spectra"

_FILE_NAME = re.compile(r"spe?c-(\d{3,6})-(\d{5})-(\d{3,4})$|spSpec-(\d{5})-(\d{4})-(\d{3})$", re.I)


def records(file: InputFile, data: bytes) -> Mapping[str, list[Any]]:
    """Spectra of a file.

    Parameters
    ----------
    file : InputFile
        Its path, release, sha256 and options are used; the options are those of the role.
    data : bytes
        Its content, decompressed.

    Returns
    -------
    mapping of str to list
        Under ``sdss.spectra`` a `Taken` per spectrum, each with an identifier of its own.
        ``rejected`` lists the spectra of a file with several that cannot be taken: file_row
        and reason.

    Raises
    ------
    InputError
        The file is damaged, is not a spectrum, or none of its spectra can be taken; HDU, row
        or column are named.
    """
    now = datetime.now(UTC)
    taken: list[Taken] = []
    rejected: list[dict[str, Any]] = []
    try:
        common = _common(tuple(file.options.items()))
        fits = FitsFile(str(file.path), data)
        len(fits)  # asks for all HDUs: a file that is cut off behind its spectrum is damaged, too
        several, found = spectra(fits)
        for number, spectrum in found:
            try:
                if isinstance(spectrum, Unusable):
                    raise spectrum
                if len(data) % BLOCK:
                    size = f"the file has {len(data)} bytes, no multiple of {BLOCK}"
                    spectrum.notes.append(f"{size}: HDUs at its end may be cut off")
                taken.append(_taken(file, spectrum, several, common, now))
            except Unusable as problem:
                if not several:
                    raise
                rejected.append({"file_row": number, "reason": problem.reason})
    except Unusable as problem:
        raise InputError(file.path, problem.problem, problem.where) from problem
    if rejected and not taken:
        reason = rejected[0]["reason"]
        raise InputError(file.path, f"none of {len(rejected)} spectra can be taken; {reason}")
    if several:
        _tell_apart(taken)
    return {TABLE: taken, "rejected": rejected} if rejected else {TABLE: taken}


def read_spectrum(source: Source) -> pa.Table:
    """Read the spectra of a file, whatever its layout.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file, gzipped or not.

    Returns
    -------
    pyarrow.Table
        A row per spectrum with the columns of `sdss.spectra` that a file gives (without release
        and file_sha256), units and UCDs in the field metadata. ``wavelength`` (Angstrom) is
        computed where the file has a solution; null where it has none.

    Raises
    ------
    InputError
        See `records`; spectra of a file with several that cannot be taken are left out.
    """
    path = PurePath(label(source))
    data = load(source)
    file = InputFile(path, "sdss", "", "spectra", {}, len(data), 0, "")  # type: ignore[arg-type]
    found = records(file, bytes(data))[TABLE]
    values = columns(found)[TABLE]
    values["wavelength"] = [each.spectrum.grid.wavelengths(each.pixels.size) for each in found]
    gathered = Columns(contracts.table(TABLE), "")
    gathered.extend_columns(values, [""] * len(found))
    table = pa.Table.from_batches(gathered.batches(), gathered.schema)
    return table.drop_columns(["release", "file_sha256"])


@lru_cache(maxsize=64)
def _common(options: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Values that the registration gives, by option: the same for all of its files."""
    given: dict[str, Any] = {key: value for key, value in options if value}
    for key in ("survey_wavelength_calibrated", "survey_flux_calibrated"):
        if key in given:
            word = given[key].strip().lower()
            if word not in ("true", "false", "yes", "no", "1", "0", "t", "f"):
                raise Unusable(f"option {key} is {given[key]!r}, expected true or false")
            given[key] = word in ("true", "yes", "1", "t")
    if "created_at" in given:
        try:
            at = datetime.fromisoformat(given["created_at"])
        except ValueError as error:
            problem = f"option created_at is {given['created_at']!r}, expected ISO 8601"
            raise Unusable(problem) from error
        given["created_at"] = at if at.tzinfo else at.replace(tzinfo=UTC)
    return given


def _taken(
    file: InputFile, spectrum: Spectrum, several: bool, common: dict[str, Any], now: datetime
) -> Taken:
    """Find out what there is to know of a spectrum."""
    spectrum = rising(spectrum)
    grid, notes = spectrum.grid, list(spectrum.notes)
    warnings: list[str] = []
    pixels = take_pixels(spectrum, notes, warnings)
    about = resolve(spectrum.places)
    # Before what is only taken to be so: a cut-out of a plate may begin with any fibre, and must
    # not go by the name of another spectrum.
    spec_id = _spec_id(about.values, spectrum, file.path, several)
    for column, (value, source) in spectrum.known.items():
        about.fill(column, value, source)
    resolution_source = _fill(about, pixels, grid)
    about.fill("data_release", file.release or None, "registration")
    if grid.note:
        notes.append(grid.note)
    if problem := _name_disagrees(file.path, about.values):
        notes.append(problem)
    if "notes" in common:
        notes.append(common["notes"])
    return Taken(
        file, spectrum, pixels, about, spec_id, resolution_source, common, now,
        "; ".join(notes) or None, "; ".join(warnings) or None,
    )  # fmt: skip


def _fill(about: Metadata, pixels: Pixels, grid: Grid) -> str | None:
    """Compute of the pixels what no keyword says, and tell where the resolution is from."""
    values = about.values
    source = "keyword"
    if "resolution_r" not in values:
        sampling = grid.sampling(pixels.size) if "wdisp" in pixels.arrays else None
        if sampling is not None:
            about.fill("resolution_r", pixels.resolution(sampling), "computed from wdisp")
            source = "median of the line-spread dispersion (wdisp)"
    if "sn_median" not in values or "sn_per_pixel" not in values:
        ratio = pixels.signal_to_noise()
        about.fill("sn_median", ratio, "computed from flux and ivar")
        about.fill("sn_per_pixel", ratio, "computed from flux and ivar")
    if "mask_frac_bad" not in values:
        about.fill("mask_frac_bad", pixels.bad_share(), "computed from and_mask and ivar")
    return source if "resolution_r" in values else None


def _spec_id(values: dict[str, Any], spectrum: Spectrum, path: PurePath, several: bool) -> str:
    """Plate-MJD-fibre, field-MJD-catalogue number of SDSS-V, or what a MaStar row goes by."""
    get = values.get
    plate, mjd, fiber = get("plate"), get("mjd"), get("fiber")
    if plate is not None and mjd is not None and fiber is not None:
        return f"{plate:04d}-{mjd:05d}-{fiber:04d}"
    if mjd is not None and get("field") is not None and get("catalogid"):
        return f"{values['field']:06d}-{mjd:05d}-{values['catalogid']}"
    if get("mangaid"):
        parts = (values["mangaid"], plate, get("ifu"), mjd)
        return "-".join(str(part) for part in parts if part is not None)
    stem = _stem(path)
    return f"{stem}-{spectrum.row}" if several else stem


def _stem(path: PurePath) -> str:
    name = path.name.removesuffix(".gz")
    return name.rpartition(".")[0] or name


def _name_disagrees(path: PurePath, values: dict[str, Any]) -> str | None:
    """What the name of an SDSS file says otherwise than its header."""
    match = _FILE_NAME.search(_stem(path))
    if not match:
        return None
    plate, mjd, fiber, mjd_, plate_, fiber_ = match.groups()
    named = int(plate or plate_), int(mjd or mjd_), int(fiber or fiber_)
    written = values.get("plate"), values.get("mjd"), values.get("fiber")
    if None in written or written == named:
        return None
    return "the file is named {}-{}-{}, but is ".format(*named) + "{}-{}-{}".format(*written)


def _tell_apart(spectra: list[Taken]) -> None:
    """Give spectra of a file that go by the same identifier their row as well."""
    times = Counter(each.spec_id for each in spectra)
    for each in spectra:
        if times[each.spec_id] > 1:
            each.spec_id += f"-{each.spectrum.row}"
    if len({each.spec_id for each in spectra}) < len(spectra):
        _tell_apart(spectra)
