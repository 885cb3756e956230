"""Keywords of a spectrum's file, merged: what each HDU calls a thing, and which one counts.

The places of a file are asked in their order: the row of the catalogue that goes with the
spectrum (it is about the object), the header of the spectrum's HDU, the primary header. In
each, the first alias that has a value counts; where it was found is recorded.
"""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from lake.formats.fits_hdu import HDU
from lake.formats.fits_header import Header
from lake.formats.fits_layout import Layout
from lake.sdss.wavelengths import SPEED_OF_LIGHT_KMS

#: A_r / E(B-V) of Schlegel, Finkbeiner & Davis (1998, ApJ 500, 525, table 6), which EXTINCTION
#: of older catalogues is made with, and of Schlafly & Finkbeiner (2011, ApJ 737, 103, table 6,
#: R_V = 3.1), of newer ones; they differ in A_g / A_r, too.
_A_R = {"SFD98": 2.751, "SF11": 2.285}
_A_G_TO_A_R = {"SFD98": 3.793 / 2.751, "SF11": 3.303 / 2.285}
#: What SDSS writes where there is no value.
_NO_VALUE = (-999, -9999, -99999)
_NO_NAME = frozenset(("0", "-1", *map(str, _NO_VALUE)))

Convert = Callable[[Any], Any]


class Place:
    """A header to be asked for keywords.

    Parameters
    ----------
    label : str
        How sources name it: ``HDU 0``.
    header : Header
    """

    def __init__(self, label: str, header: Header) -> None:
        self.label = label
        self.layout: bytes = header.names
        self.get: Callable[[str], Any] = header.get


class Row:
    """A row of a table, to be asked for cells by the names of their columns.

    Parameters
    ----------
    hdu : HDU
        A table.
    row : int
        From 0.
    """

    def __init__(self, hdu: HDU, row: int = 0) -> None:
        self.label = f"HDU {hdu.index}"
        self.layout: Layout = hdu.layout
        plain, others = _fields(self.layout)
        stored = hdu.records[row : row + 1].view(plain).item()
        cells = dict(zip(plain.names or (), stored, strict=True))
        for name in others:
            cells[name] = hdu.value(name, row)
        #: Value of a cell: number, bytes or text, an array for a vector; None for null.
        self.get: Callable[[str], Any] = cells.get


@lru_cache(maxsize=256)
def _fields(layout: Layout) -> tuple[np.dtype[Any], tuple[str, ...]]:
    """Wanted columns of a table: a dtype of those stored as they are, and names of the others."""
    wanted = _wanted()
    names, formats, offsets, others = [], [], [], []
    for column in layout.columns:
        if (name := column.name.upper()) not in wanted or name in names or not column.width:
            continue
        plain = not (column.pointer or column.text or column.scaled or column.flipped)
        if plain and column.null is None and column.code in "BIJKEDA":
            names.append(name)
            formats.append(column.stored)
            offsets.append(column.offset)
        else:
            others.append(name)
    itemsize = layout.dtype.itemsize
    return np.dtype(
        {"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize}
    ), tuple(others)


def text(value: Any) -> str | None:
    """Text without blanks around it; None if there is none."""
    if isinstance(value, bytes):
        value = value.partition(b"\0")[0].decode("latin-1")
    elif isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def real(value: Any) -> float | None:
    """Give a finite number; None for anything else, and for -999 and its like."""
    if type(value) is not float:
        if isinstance(value, bool) or not isinstance(value, int | str | bytes):
            return None
        try:
            value = float(value)
        except ValueError:
            return None
    # The difference of infinities and NaN is NaN.
    return None if value - value != 0 or value in _NO_VALUE else value


def whole(value: Any) -> int | None:
    """Give a whole number; None for anything else."""
    if type(value) is int:
        return None if value in _NO_VALUE else value
    number = real(value)
    return int(number) if number is not None and number == int(number) else None


def _count(value: Any) -> int | None:
    """Whole number from 0 that fits an INTEGER: PLATEID of some catalogues is a 64-bit code."""
    number = whole(value)
    return number if number is not None and 0 <= number < 2**31 else None


def _positive(value: Any) -> float | None:
    number = real(value)
    return number if number is not None and number > 0 else None


def _number(value: Any) -> int | None:
    """Number of a plate, a field, a fibre or a night: coadds of all epochs have zeros there."""
    return _count(value) or None


def _name(value: Any) -> str | None:
    """Text that names something: 0, -999 and its like stand for no name."""
    found = text(value)
    return None if found in _NO_NAME else found


def _object(value: Any) -> str | None:
    """Identifier of an object; five numbers are run, rerun, camcol, field and id of DR7."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return "-".join(map(str, value.tolist())) if value.any() else None
    return _name(value)


def _redshift(value: Any) -> float | None:
    z = real(value)
    return None if z is None else z * SPEED_OF_LIGHT_KMS


def _reddening_of_a_v(value: Any) -> float | None:
    a_v = real(value)
    return None if a_v is None else a_v / 3.1


def _reddening(law: str) -> Convert:
    def convert(value: Any) -> float | None:
        if not isinstance(value, np.ndarray) or value.shape != (5,) or not value[2] > 0:
            return None
        nearest = min(_A_G_TO_A_R, key=lambda k: abs(value[1] / value[2] - _A_G_TO_A_R[k]))
        return float(value[2]) / _A_R[law] if nearest == law else None

    return convert


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value != 0
    return {"T": True, "TRUE": True, "YES": True, "Y": True, "1": True, "F": False,
            "FALSE": False, "NO": False, "N": False, "0": False}.get(
        (text(value) or "").upper()
    )  # fmt: skip


def _applied(value: Any) -> bool | None:
    """Whether a correction is applied: a flag, or the correction itself in km/s."""
    flag = _flag(value)
    return True if type(value) is float else flag


def _vacuum(value: Any) -> str | None:
    flag = _flag(value)
    return None if flag is None else "vacuum" if flag else "air"


def _frame(value: Any) -> str | None:
    word = (text(value) or "").lower()
    if word == "wave" or word.startswith(("vac", "wave-")):
        return "vacuum"
    return "air" if word.startswith(("air", "awav")) else None


#: SPEC_CLN of DR1 to DR7.
_SPEC_CLN = {1: "STAR", 2: "GALAXY", 3: "QSO", 4: "QSO", 6: "STAR"}


def _spec_cln(value: Any) -> str | None:
    return _SPEC_CLN.get(whole(value) or 0)


class Alias(NamedTuple):
    """A name that a value goes by."""

    name: str
    convert: Convert
    scope: str = "any"  # row or header where the name means something else in the other
    remark: str = ""


def _aliases(convert: Convert, names: str, scope: str = "any") -> list[Alias]:
    return [Alias(name, convert, scope) for name in names.split()]


_ALIASES: dict[str, list[Alias]] = {
    "obj_id": [*_aliases(_name, "OBJID APOGEE_ID MANGAID MANGAID_1 TARGETID BESTOBJID OBJECT"),
               *_aliases(_name, "TARGETOBJID CATALOGID SDSS_ID"), Alias("OBJID", _object)],
    "plate": _aliases(_number, "PLATE", "row") + _aliases(_number, "PLATEID PLATE", "header"),
    "mjd": _aliases(_number, "MJD"),
    "fiber": _aliases(_number, "FIBERID FIBER"),
    "instrument": _aliases(_name, "INSTRUME INSTRUMENT TELESCOP"),
    # SPEC_RES: the Science Data Products Standard of ESO.
    "resolution_r": _aliases(_positive, "SPECRES RESOLUTN R SPEC_R SPEC_RES", "header"),
    "exptime_s": _aliases(_positive, "EXPTIME TEXPTIME EXPOSURE"),
    # RA of a plate's header is that of the plate: see `resolve`.
    "ra_deg": _aliases(real, "PLUG_RA RA RAOBJ RACAT", "row")
    + _aliases(real, "PLUG_RA RAOBJ RA", "header"),
    "dec_deg": _aliases(real, "PLUG_DEC DEC DECOBJ DECCAT", "row")
    + _aliases(real, "PLUG_DEC DECOBJ DEC", "header"),
    "z_or_rv_kms": [*_aliases(real, "VHELIO VRAD RVEL VELOCITY HELIOVEL HELIOV"),
                    *_aliases(real, "V_RAD XCSAO_V_RAD"),
                    Alias("Z", _redshift, remark=" * 299792.458")],
    "heliocentric_corr_applied": _aliases(_applied, "HELIO HELIOCOR HC LHELIO HELIO_AP HELIO_RV",
                                          "header"),
    "sn_median": _aliases(real, "SN_MEDIAN SN_MEDIAN_ALL SNR_MEDIAN S2N SNR"),
    "sn_per_pixel": _aliases(real, "SN_MEDIAN_ALL SNR_PER_PIXEL SN_PERPIX"),
    "ebv_sfd": [*_aliases(real, "EBV SFD_EBV EBMV E_BV"),
                Alias("A_V", _reddening_of_a_v, remark=" / 3.1"),
                Alias("EXTINCTION", _reddening("SFD98"), "row", "[r] / 2.751 (SFD98)"),
                Alias("EXTINCTION", _reddening("SF11"), "row", "[r] / 2.285 (SF11)")],
    "mask_frac_bad": _aliases(real, "MASKFRAC FRAC_BAD FRACMASK FRAC_BADPIX"),
    "wavelength_frame": [Alias("VACUUM", _vacuum, "header"), Alias("AIRORVAC", _frame),
                         Alias("WAVEFORM", _frame), Alias("CTYPE1", _frame, "header")],
    "data_release": _aliases(text, "RUN2D DR"),
    "survey": _aliases(_name, "SURVEY PROGRAMNAME TELESCOP"),
    "object_class": [*_aliases(text, "CLASS"), Alias("SPEC_CLN", _spec_cln)],
    "object_subclass": _aliases(text, "SUBCLASS SP_TYPE"),
    "z": _aliases(real, "Z"),
    "z_err": _aliases(_positive, "Z_ERR"),
    "z_warning": _aliases(whole, "ZWARNING Z_WARNIN"),
    "n_exposures": _aliases(_count, "NEXP NEXP_USED"),
    "teff_k": _aliases(_positive, "TEFF TEFF_MED"),
    "logg_cgs": _aliases(real, "LOGG LOGG_MED"),
    "fe_h_dex": _aliases(real, "FEH FE_H FEH_MED"),
    "mangaid": _aliases(text, "MANGAID MANGAID_1", "row"),
    "ifu": _aliases(text, "IFUDESIGN", "row"),
    "field": _aliases(_number, "FIELD", "row") + _aliases(_number, "FIELDID", "header"),
    "catalogid": _aliases(_name, "CATALOGID"),
}  # fmt: skip
#: Values that no table has, but an identifier may be made of.
INTERNAL = ("mangaid", "ifu", "field", "catalogid")
#: Names of flags, gathered as they are into `quality_flags`.
_ROW_FLAGS = ("ZWARNING", "ANYANDMASK", "ANYORMASK", "PLATEQUALITY", "MJDQUAL", "V_ERRCODE")
_HEADER_FLAGS = ("ANDMASK", "ORMASK", "BADMASK", "QUALFLAG", "QUALITY", "DQ", "FLAGS", "STARFLAG")
#: Keywords of the primary header of a plate, whose RA and DEC then are the plate's.
_OF_A_PLATE = frozenset(("PLATEID", "PLATE", "TILEID", "CARTID", "FIELDID"))


@lru_cache(maxsize=1)
def _wanted() -> frozenset[str]:
    names = {alias.name for aliases in _ALIASES.values() for alias in aliases}
    return frozenset(names.union(_ROW_FLAGS))


class Metadata(NamedTuple):
    """What the places of a file say about a spectrum.

    Attributes
    ----------
    values : dict
        By column of `sdss.spectra_metadata`, and ``survey`` of the manifest, and `INTERNAL`;
        those without value are not there.
    sources : list of str
        ``"ra_deg": "HDU 2 PLUG_RA"``, as JSON has it.
    flags : dict
        Quality flags by keyword.
    """

    values: dict[str, Any]
    sources: list[str]
    flags: dict[str, int | str]

    def fill(self, column: str, value: Any, source: str) -> None:
        """Give a column a value, and its source, unless it has one or there is none to give."""
        if value is not None and column not in self.values:
            self.values[column] = value
            self.sources.append(f'"{column}": "{source}"')

    @property
    def flags_json(self) -> str | None:
        """Flags as a JSON object; None if there are none."""
        pairs = ", ".join(
            f'"{name}": {value if type(value) is int else _json(value)}'
            for name, value in self.flags.items()
        )
        return f"{{{pairs}}}" if pairs else None


@lru_cache(maxsize=256)
def _json(value: int | str) -> str:
    return json.dumps(value)


_Candidate = tuple[int, str, Convert, str]


def _names(layout: bytes | Layout) -> frozenset[str]:
    """Keywords of a header or columns of a row, in capitals."""
    if isinstance(layout, Layout):
        plain, others = _fields(layout)
        return frozenset((*(plain.names or ()), *others))
    return frozenset(
        layout[at : at + 8].decode("latin-1").strip() for at in range(0, len(layout), 8)
    )


@lru_cache(maxsize=512)
def _plan(
    places: tuple[tuple[str, bytes | Layout], ...],
) -> tuple[list[tuple[str, list[_Candidate]]], list[tuple[int, str]]]:
    """Candidates of each column, and the flags, in places of these layouts."""
    asked = [(isinstance(layout, Layout), _names(layout)) for _, layout in places]
    columns = []
    for column, aliases in _ALIASES.items():
        candidates = []
        for at, ((label, _), (is_row, names)) in enumerate(zip(places, asked, strict=True)):
            for alias in aliases:
                if alias.name not in names or alias.scope == ("header" if is_row else "row"):
                    continue
                if alias.name in ("RA", "DEC") and not is_row and names & _OF_A_PLATE:
                    continue
                source = f'"{column}": "{label} {alias.name}{alias.remark}"'
                source = "" if column in INTERNAL else source
                candidates.append((at, alias.name, alias.convert, source))
        if candidates:
            columns.append((column, candidates))
    flags = [
        (at, name)
        for at, (is_row, names) in enumerate(asked)
        for name in (_ROW_FLAGS if is_row else _HEADER_FLAGS)
        if name in names
    ]
    return columns, flags


def resolve(places: Sequence[Place | Row]) -> Metadata:
    """Merge what the places of a file say.

    RA and DEC of a header that also has a plate are the plate's centre: positions of the
    object come from PLUG_RA, RAOBJ or the row of the catalogue only.

    Parameters
    ----------
    places : sequence of Place or Row
        In the order in which they count.

    Returns
    -------
    Metadata
    """
    columns, flagged = _plan(tuple((place.label, place.layout) for place in places))
    getters = [place.get for place in places]
    values: dict[str, Any] = {}
    sources: list[str] = []
    for column, candidates in columns:
        for at, name, convert, source in candidates:
            value = convert(getters[at](name))
            if value is not None:
                values[column] = value
                if source:
                    sources.append(source)
                break
    flags: dict[str, int | str] = {}
    for at, name in flagged:
        found = getters[at](name)
        value = found if isinstance(found, int) else text(found)
        if value is not None:
            flags.setdefault(name, value)
    return Metadata(values, sources, flags)
