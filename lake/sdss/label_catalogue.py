"""Catalogues of spectral classes and stellar parameters, whatever they call their columns."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from lake.conform import some_names
from lake.errors import InputError
from lake.formats import TableReader, scan_table
from lake.formats.columns import cell_text
from lake.formats.delimited_types import NO_NUMBERS
from lake.formats.sexagesimal import degrees
from lake.inputs import InputFile, TableRole

_SPECOBJID = ("specobjid", "specobj_id")
#: What files call the plate, MJD and fibre of a spectrum, in lower case.
KEY_NAMES = {
    "plate": ("plate", "plateid"),
    "mjd": ("mjd",),
    "fiber": ("fiberid", "fiber", "fibre", "fiber_id"),
}
#: What the catalogues of MaStar, APOGEE, SDSS, SIMBAD and LAMOST call each column, in lower case;
#: of several that a file has, the first counts.
_NAMES = {
    "object_id": (
        "spec_id", "object_id", "obj_id", "apogee_id", "mangaid", "mangaid_1", "targetid",
        "catalogid", "sdss_id", "bestobjid", "objid", "main_id", "object", "name", "obsid",
        *_SPECOBJID,
    ),
    **KEY_NAMES,
    "ra_deg": ("ra_deg", "ra", "plug_ra", "raj2000", "_raj2000", "ra_icrs", "radeg", "ra_1"),
    "dec_deg": (
        "dec_deg", "dec", "plug_dec", "dej2000", "_dej2000", "decj2000", "_decj2000", "de_icrs",
        "dec_icrs", "decdeg", "dec_1",
    ),
    "class_original": (
        "class_mk", "subclass", "sp_type", "sptype", "spectral_type", "spectral_class",
        "spectraltype", "spectype", "spclass", "mk_class", "mktype", "mk", "spt", "class",
    ),
    "luminosity_class": ("luminosity_class", "lum_class", "lumclass", "lc"),
    "teff_k": ("teff_k", "teff", "t_eff", "teff_adop", "teff_med", "fparam_teff"),
    "logg_cgs": ("logg_cgs", "logg", "log_g", "log(g)", "logg_adop", "logg_med"),
    "fe_h_dex": (
        "fe_h_dex", "fe_h", "feh", "[fe/h]", "feh_adop", "feh_cal_med", "feh_med", "m_h", "mh",
        "[m/h]", "metallicity",
    ),
    "label_quality": (
        "label_quality", "quality", "quality_flag", "sp_qual", "qual", "aspcapflag", "flag",
    ),
    "label_source": ("label_source",),
}  # fmt: skip
#: Columns that name the file of the spectrum, and so its plate, MJD and fibre.
_FILE_NAMES = ("url", "filename", "file_name", "file", "file_path", "path", "specfile", "spec_file")
#: Plate, MJD and fibre in a file's name or an identifier.
SPECTRUM = r"(?:^|[^0-9])(?P<plate>[0-9]{3,5})-(?P<mjd>[0-9]{5})-(?P<fiber>[0-9]{1,4})(?:[^0-9]|$)"
#: Field, MJD and catalogue number of SDSS-V, in a file's name.
_CATALOGUED = r"(?:^|[^0-9a-z])(?:[0-9]{4,6}|allepoch\w*)-[0-9]{5}-0*(?P<id>[1-9][0-9]{7,18})\.fits"
_FIELDS = {
    "object_field": "object_id",
    "spectral_field": "class_original",
    "luminosity_field": "luminosity_class",
    "teff_field": "teff_k",
    "logg_field": "logg_cgs",
    "feh_field": "fe_h_dex",
    "quality_field": "label_quality",
}
_TEXTS = ("object_id", "class_original", "luminosity_class", "label_quality", "label_source")
_POSITION, _SPECTRUM_KEY = ("ra_deg", "dec_deg"), ("plate", "mjd", "fiber")
_SAID = ("class_original", "teff_k", "logg_cgs", "fe_h_dex")
# Surveys write -9999, -999 or -99 for no value, and 0 for no temperature and no plate.
_ABOVE = {
    "plate": 0, "mjd": 0, "fiber": 0, "teff_k": 0, "logg_cgs": -90, "fe_h_dex": -90,
}  # fmt: skip
# What stands for no number in a column that is text for it.
_NO_NUMBER = pa.array([*NO_NUMBERS, "na", "#N/A", "<NA>", "-", "?", "...", "masked"])
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"

RADIUS_ARCSEC = 1.0


class _Plan(NamedTuple):
    """Where each column of the table is in the file, by its place there."""

    columns: dict[str, int]
    names_spectra: list[int]  # columns of text from which plate, MJD and fibre can be read
    specobjid: int | None  # column of numbers from which they can
    source: str


def read_labels(file: InputFile) -> TableReader:
    """Rows of a label catalogue: VOTable, FITS, CSV, Parquet.

    The usual names of columns are recognised in any case; options name others. Plate, MJD and
    fibre are read from file names (``spec-0266-51630-0015.fits``) or identifiers (SpecObjID)
    where there are no columns of them, and catalogue numbers from file names of SDSS-V. Positions
    in sexagesimal become degrees; -9999 and its like null.

    Parameters
    ----------
    file : InputFile

    Returns
    -------
    TableReader
        Columns of sdss.label_catalogue.

    Raises
    ------
    InputError
        If the file cannot be read, a named column is not there, or no column identifies a
        spectrum or says anything of it.
    """
    radius_arcsec(file)
    reader = scan_table(file.path)
    plan = _plan(reader.schema, file)
    schema = _schema(reader.schema, plan)
    return TableReader(schema, _batches(reader, schema, plan, file))


def radius_arcsec(file: InputFile) -> float:
    """Radius within which a position of a catalogue is that of a spectrum, in arcsec.

    Raises
    ------
    InputError
        If the option is no positive number.
    """
    given = file.options.get("radius_arcsec", str(RADIUS_ARCSEC))
    try:
        radius = float(given)
    except ValueError:
        radius = math.nan
    if not 0 < radius <= 3600:
        raise InputError(
            file.path, f"option radius_arcsec={given}: expected a number above 0, at most 3600"
        )
    return radius


def _plan(schema: pa.Schema, file: InputFile) -> _Plan:
    exact = {name: i for i, name in reversed(list(enumerate(schema.names)))}
    lower = {name.lower(): i for i, name in reversed(list(enumerate(schema.names)))}
    usable = {name: i for name, i in lower.items() if not pa.types.is_nested(schema.field(i).type)}
    columns = {}
    texts = {name: i for name, i in usable.items() if _is_text(schema.field(i))}
    for target, aliases in _NAMES.items():
        # A number called `class` is somebody's code, not a spectral class.
        among = texts if target == "class_original" else usable
        found = next((among[alias] for alias in aliases if alias in among), None)
        if found is not None:
            columns[target] = found
    for option, target in _FIELDS.items():
        name = file.options.get(option)
        if name is None:
            continue
        place = exact.get(name, lower.get(name.lower()))
        if place is None:
            raise InputError(
                file.path,
                f"option {option}={name}: there is no such column; the file has "
                f"{some_names(schema.names)}",
            )
        columns[target] = place
    for together in (_POSITION, _SPECTRUM_KEY):
        if not all(target in columns for target in together):
            columns = {t: i for t, i in columns.items() if t not in together}
    names_spectra, specobjid = [], None
    if "plate" not in columns:
        specobjid = next((usable[name] for name in _SPECOBJID if name in usable), None)
        names_spectra = [texts[name] for name in _FILE_NAMES if name in texts]
        if "object_id" in columns and _is_text(schema.field(columns["object_id"])):
            names_spectra.insert(0, columns["object_id"])
    _check(columns, names_spectra, schema, file)
    source = file.options.get("source_label") or file.path.name.split(".")[0]
    return _Plan(columns, names_spectra, specobjid, source)


def _is_text(field: pa.Field) -> bool:
    return bool(pa.types.is_string(field.type))


def _check(
    columns: dict[str, int], names_spectra: list[int], schema: pa.Schema, file: InputFile
) -> None:
    has = f"; the file has {some_names(schema.names)}"
    if not ({"object_id", "plate", "ra_deg"} & columns.keys() or names_spectra):
        raise InputError(
            file.path,
            "nothing says which spectrum a row is of: expected an identifier (option "
            f"object_field), plate, mjd and fiberid, a file name, or ra and dec{has}",
        )
    if not columns.keys() & set(_SAID):
        raise InputError(
            file.path,
            "no column gives a spectral class or a parameter: expected one such as subclass, "
            f"sp_type, teff, logg, feh (options spectral_field, teff_field, ...){has}",
        )


def _schema(given: pa.Schema, plan: _Plan) -> pa.Schema:
    fields = []
    for target, place in plan.columns.items():
        field = given.field(place).with_name(target)
        if target in _TEXTS:
            field = pa.field(target, pa.string())
        elif target in _POSITION and pa.types.is_string(field.type):
            field = pa.field(target, pa.float64(), metadata={b"unit": b"deg"})
        fields.append(field)
    if plan.names_spectra and "object_id" not in plan.columns:
        fields.append(pa.field("object_id", pa.string()))
    if plan.names_spectra or plan.specobjid is not None:
        fields += [pa.field(target, pa.int32()) for target in _SPECTRUM_KEY]
    if "label_source" not in plan.columns:
        fields.append(pa.field("label_source", pa.string()))
    return pa.schema(fields)


def _batches(
    reader: TableReader, schema: pa.Schema, plan: _Plan, file: InputFile
) -> Iterator[pa.RecordBatch]:
    start = 1
    with reader:
        for batch in reader:
            given = {
                target: _values(batch.column(place), target, file, start)
                for target, place in plan.columns.items()
            }
            read = [_from_names(batch.column(i)) for i in plan.names_spectra]
            if plan.specobjid is not None:
                read.append(_from_specobjid(batch.column(plan.specobjid)))
            if read:
                given |= {key: pc.coalesce(*(r[key] for r in read)) for key in _SPECTRUM_KEY}
            if plan.names_spectra and "object_id" not in given:
                numbers = [_catalogue_number(batch.column(i)) for i in plan.names_spectra]
                given["object_id"] = pc.coalesce(*numbers)
            elif "object_id" in given:
                given["object_id"] = _stripped(given["object_id"], file.options)
            sources = given.get("label_source", pa.nulls(batch.num_rows, pa.string()))
            given["label_source"] = pc.fill_null(sources, plan.source)
            yield pa.record_batch([given[name] for name in schema.names], schema=schema)
            start += batch.num_rows


def _values(array: pa.Array, target: str, file: InputFile, start: int) -> pa.Array:
    if target in _TEXTS:
        text = pc.utf8_trim_whitespace(cell_text(array))
        return pc.if_else(pc.equal(text, ""), None, text)
    if pa.types.is_string(array.type):
        if target in _POSITION:
            return degrees(array, target, file.path, start, hours=target == "ra_deg")
        return _number_text(array, target)
    if target in _ABOVE and not pa.types.is_null(array.type):
        return pc.if_else(
            pc.greater(array, pa.scalar(_ABOVE[target]).cast(array.type)), array, None
        )
    return array


def _number_text(array: pa.Array, target: str) -> pa.Array:
    """Numbers as text, null where they stand for no value; what is no number stays to be told."""
    text = pc.utf8_trim_whitespace(array)
    text = pc.if_else(pc.is_in(text, value_set=_NO_NUMBER), None, text)
    numbers = pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None).cast(pa.float64())
    none = pc.fill_null(pc.less_equal(numbers, _ABOVE[target]), False)
    return pc.if_else(none, None, text)


def _catalogue_number(texts: pa.Array) -> pa.Array:
    """Catalogue numbers that names of SDSS-V files hold: the spectra's object identifiers."""
    return pc.struct_field(pc.extract_regex(texts, _CATALOGUED), "id")


def _from_names(texts: pa.Array) -> dict[str, pa.Array]:
    """Plate, MJD and fibre that file names or identifiers hold."""
    found = pc.extract_regex(texts, SPECTRUM)
    return {key: pc.struct_field(found, key).cast(pa.int32()) for key in _SPECTRUM_KEY}


def _from_specobjid(array: pa.Array) -> dict[str, pa.Array]:
    """Plate, MJD and fibre that a SpecObjID holds; null where it is none.

    Source of the bits: https://www.sdss4.org/dr17/help/glossary/#specobj (DR8 and later).
    """
    texts = pc.utf8_trim_whitespace(cell_text(array))
    is_one = pc.match_substring_regex(texts, "^([0-9]{15,19}|1[0-7][0-9]{18})$")
    bits = pc.if_else(is_one, texts, None).cast(pa.uint64())
    places = {"plate": (50, 0x3FFF, 0), "fiber": (38, 0xFFF, 0), "mjd": (24, 0x3FFF, 50_000)}
    found = {}
    for key, (shift, mask, offset) in places.items():
        shifted = pc.shift_right(bits, pa.scalar(shift, pa.uint64()))
        value = pc.bit_wise_and(shifted, pa.scalar(mask, pa.uint64())).cast(pa.int32())
        found[key] = pc.add(value, pa.scalar(offset, pa.int32()))
    return found


def _stripped(names: pa.Array, options: Mapping[str, str]) -> pa.Array:
    """Identifiers without the prefix and suffix of the options."""
    if prefix := options.get("strip_prefix"):
        names = pc.replace_substring_regex(names, rf"^\Q{prefix}\E", "")
    if suffix := options.get("strip_suffix"):
        names = pc.replace_substring_regex(names, rf"\Q{suffix}\E$", "")
    return names


LABELS_ROLE = TableRole(
    name="labels",
    table="sdss.label_catalogue",
    read=read_labels,
    suffixes=(
        ".vot", ".votable", ".xml", ".fits", ".fit", ".csv", ".tsv", ".txt", ".ecsv", ".parquet",
    ),
    options={
        "object_field": "column of the identifier of the spectrum or object",
        "spectral_field": "column of the spectral class",
        "luminosity_field": "column of the luminosity class, where it is not in the spectral class",
        "teff_field": "column of the effective temperature",
        "logg_field": "column of the logarithm of the surface gravity",
        "feh_field": "column of the iron abundance [Fe/H]",
        "quality_field": "column of the quality of the label",
        "source_label": "name of the catalogue in label_source (default: the name of the file)",
        "strip_prefix": "text to take off the front of identifiers",
        "strip_suffix": "text to take off the end of identifiers",
        "radius_arcsec": "radius of a match by position in arcsec (default 1)",
    },
    version=2,
)  # fmt: skip
