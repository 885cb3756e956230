"""PHA files: counts or rates by channel, one spectrum per table or per row.

Formats: OGIP/92-007 and 92-007a (Arnaud, George & Tennant 2009), and the TYPE II files of
Chandra, Fermi and INTEGRAL. Keywords and columns stand for each other: a column counts before
the keyword of its name.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lake.errors import InputError
from lake.formats.fits_hdu import HDU
from lake.ogip import ebounds
from lake.ogip.containers import Spectrum
from lake.ogip.keywords import as_number, file_name, flag, instrument, number, text, whole
from lake.ogip.numbers import about, exact, numbers, scalars, unit_of, whole_numbers

#: Columns with one number per channel, and those of the lake: whole numbers are said to be so.
_LISTS = {
    "CHANNEL": ("channel", True),
    "COUNTS": ("counts", False),
    "RATE": ("rate", False),
    "STAT_ERR": ("stat_err", False),
    "SYS_ERR": ("sys_err", False),
    "QUALITY": ("quality", True),
    "GROUPING": ("grouping", True),
    "AREASCAL": ("areascal_channel", False),
    "BACKSCAL": ("backscal_channel", False),
    "BIN_LO": ("bin_lo", False),
    "BIN_HI": ("bin_hi", False),
    "BACKGROUND_UP": ("background_up", False),
    "BACKGROUND_DOWN": ("background_down", False),
}
#: Background columns of grating spectra and the keywords that scale them, as BACKSCAL the counts.
_SCALES = {"BACKGROUND_UP": "BACKSCUP", "BACKGROUND_DOWN": "BACKSCDN"}
_FLAGS = ("QUALITY", "GROUPING")
_NUMBERS = ("EXPOSURE", "AREASCAL", "BACKSCAL", "CORRSCAL")
_FILES = ("BACKFILE", "RESPFILE", "ANCRFILE", "CORRFILE")
#: What one number may say of all channels, and whether 0 says nothing.
_FOR_ALL = {"STAT_ERR": True, "SYS_ERR": False, "QUALITY": False, "GROUPING": False}
_TIMES = ("TIME", "TSTART", "ENDTIME", "TSTOP", "TELAPSE")
_TYPE_II = re.compile(r"(TYPE|PHA)\W*II", re.IGNORECASE)
_ANGSTROM = ("", "angstrom", "angstroms", "a")


class Spectra(NamedTuple):
    """Spectra of an HDU: rows of `ogip.spectra` without identifiers.

    Attributes
    ----------
    rows : list of dict
    typed : list of str
        Columns of the HDU that they hold exactly.
    rejected : list of (int, str)
        Row, from 1, and reason of those that cannot be taken.
    """

    rows: list[dict[str, Any]]
    typed: list[str]
    rejected: list[tuple[int, str]]


def read(hdu: HDU) -> Spectra:
    """Read the spectra of an HDU.

    Raises
    ------
    InputError
        It has neither COUNTS nor RATE, no rows, or a column that holds something else than
        it must.
    """
    present = [name for name in ("COUNTS", "RATE") if name in hdu]
    if not present:
        there = ", ".join(hdu.columns)
        problem = f"a spectrum without COUNTS and RATE; its columns are {there}"
        raise InputError(hdu.path, problem, f"HDU {hdu.index}")
    if not hdu.rows:
        raise InputError(hdu.path, "a spectrum without rows", f"HDU {hdu.index}")
    several = not about(hdu, present[0]).scalar
    lists, typed = _lists(hdu, several)
    common, warnings = _common(hdu, present[0], several)
    for column, keyword in _SCALES.items():
        if _LISTS[column][0] in lists:
            common[keyword.lower()] = scale = number(hdu.header, keyword)
            if scale is None or not scale > 0:
                common[keyword.lower()] = None
                warnings.append(f"{column} is not taken as a background: {keyword} is {scale}")
    if not several:
        row, reason = _spectrum(common, lists, {}, warnings)
        if reason:
            raise InputError(hdu.path, reason, f"HDU {hdu.index}")
        return Spectra([row], typed, [])
    cells = scalars(hdu)
    rows, rejected = [], []
    for i in range(hdu.rows):
        own = {name: values[i] for name, values in cells.items()}
        row, reason = _spectrum(common, {k: v[i] for k, v in lists.items()}, own, warnings)
        if reason:
            rejected.append((i + 1, f"HDU {hdu.index}, row {i + 1}: {reason}"))
        else:
            rows.append({**row, "row": i + 1})
    return Spectra(rows, typed, rejected)


def _lists(hdu: HDU, several: bool) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
    """Columns with one number per channel, by those of the lake, and which are kept exactly."""
    lists, typed = {}, []
    for name, (field, is_whole) in _LISTS.items():
        if name not in hdu:
            continue
        column = hdu.layout.by_name[name.casefold()]
        if column.scalar == several:
            continue
        unit = unit_of(column).strip().lower()
        if name.startswith("BIN_") and unit not in _ANGSTROM:
            continue
        if name in _FLAGS and column.code == "L" and not column.pointer:
            # Early releases of gammapy write them as logicals.
            lists[field] = hdu.column(name).astype(np.int32)
            continue
        values = whole_numbers(hdu, name) if is_whole else numbers(hdu, name)
        lists[field] = values
        if exact(hdu, name, values):
            typed.append(column.name)
    return lists, typed


def _common(hdu: HDU, data: str, several: bool) -> tuple[dict[str, Any], list[str]]:
    """What the header says of all spectra of an HDU, and what is unusual about it."""
    header, warnings = hdu.header, []
    label = " ".join(text(header, f"HDUCLAS{n}") or "" for n in (3, 4))
    if not several and _TYPE_II.search(label):
        warnings.append("HDUCLAS says TYPE:II, but the table holds one spectrum")
    poisserr = header.get("POISSERR")
    if poisserr is not None and not isinstance(poisserr, bool):
        warnings.append(f"POISSERR is {poisserr!r}, not a logical value")
    content = text(header, "HDUCLAS2")
    row: dict[str, Any] = {
        "extname": hdu.name or None,
        **instrument(header),
        "object": text(header, "OBJECT"),
        "obs_id": text(header, "OBS_ID"),
        "date_obs": text(header, "DATE-OBS"),
        "ra_obj": number(header, "RA_OBJ"),
        "dec_obj": number(header, "DEC_OBJ"),
        "t_start": number(header, "TSTART"),
        "t_stop": number(header, "TSTOP"),
        "spectrum_type": "II" if several else "I",
        "content": content.upper() if content and content.upper() in _CONTENTS else content,
        "hduclas3": text(header, "HDUCLAS3"),
        "hduclas4": text(header, "HDUCLAS4"),
        "poisserr": flag(header, "POISSERR"),
        "chantype": text(header, "CHANTYPE"),
        "detchans": whole(header, "DETCHANS"),
        "first_channel": _tlmin(hdu),
        "quantity": data,
    }
    for name in _NUMBERS:
        row[name.lower()] = number(header, name)
        if row[name.lower()] is None and (written := text(header, name)):
            warnings.append(f"{name} is {written!r}, not a number")
    for name in _FILES:
        row[name.lower()] = file_name(header.get(name))
    row["for_all"] = {name: number(header, name) for name in _FOR_ALL}
    return row, warnings


_CONTENTS = ("TOTAL", "NET", "BKG")


def _tlmin(hdu: HDU) -> int | None:
    """TLMIN of the column CHANNEL."""
    names = [name.upper() for name in hdu.columns]
    return whole(hdu.header, f"TLMIN{names.index('CHANNEL') + 1}") if "CHANNEL" in names else None


def _spectrum(
    common: Mapping[str, Any],
    lists: dict[str, npt.NDArray[Any]],
    own: dict[str, Any],
    warnings: list[str],
) -> tuple[dict[str, Any], str | None]:
    """Row of one spectrum, and why it cannot be taken."""
    row: dict[str, Any] = {**common, **lists}
    warnings = list(warnings)
    values = lists[common["quantity"].lower()]
    row["n_channels"] = size = len(values)
    for_all = row.pop("for_all")
    if own:
        for name in _NUMBERS:
            if name in own:
                row[name.lower()] = as_number(own.pop(name))
        for name in _FILES:
            if name in own:
                row[name.lower()] = file_name(own.pop(name))
        for_all = {name: own.pop(name, value) for name, value in for_all.items()}
        _times(row, {name: as_number(own.pop(name, None)) for name in _TIMES})
        row["row_json"] = json.dumps(own, default=str) if own else None
    if not size:
        return row, "a spectrum without channels"
    for name, field in (("AREASCAL", "areascal"), ("BACKSCAL", "backscal")):
        if f"{field}_channel" in lists:
            row[field] = None
            if len(lists[f"{field}_channel"]) != size:
                return row, f"{name} does not have {size} numbers, one per channel"
    for name, nothing in _FOR_ALL.items():
        value, (field, is_whole) = as_number(for_all[name]), _LISTS[name]
        if field not in lists and value is not None and (value or not nothing):
            kind = np.int32 if is_whole else np.float64
            row[field] = np.full(size, value, kind)
    uneven = [k for k, v in lists.items() if len(v) != size]
    if uneven:
        return row, f"{uneven[0].upper()} does not have {size} numbers, one per channel"
    exposure = row["exposure"]
    if exposure is None:
        if not any(note.startswith("EXPOSURE") for note in warnings):
            warnings.append("EXPOSURE is missing")
    elif exposure < 0:
        return row, f"EXPOSURE is {exposure:g} s, expected a positive time"
    if (channel := row.get("channel")) is not None:
        row["first_channel"] = int(channel[0])
        if np.any(np.diff(channel.astype(np.int64)) != 1):
            warnings.append("channel numbers are not consecutive")
    else:
        warnings.append("there is no column CHANNEL")
    if (backscal := row["backscal"]) is None and "backscal_channel" not in lists:
        if not any(note.startswith("BACKSCAL") for note in warnings):
            warnings.append("BACKSCAL is missing, taken as 1")
    elif backscal is not None and not backscal > 0:
        warnings.append(f"BACKSCAL is {backscal:g}: no background can be scaled by it")
    if row["detchans"] not in (None, size):
        warnings.append(f"DETCHANS is {row['detchans']}, but there are {size} channels")
    lost = np.ma.getmaskarray(values) | np.isnan(np.ma.getdata(values))
    if lost.any():
        warnings.append(f"{common['quantity']} has no number in {int(lost.sum())} channels")
    row["warnings"] = warnings or None
    return row, None


def _times(row: dict[str, Any], given: dict[str, float | None]) -> None:
    """Interval of a row of a TYPE II table."""
    start = given["TIME"] if given["TIME"] is not None else given["TSTART"]
    stop = given["ENDTIME"] if given["ENDTIME"] is not None else given["TSTOP"]
    if start is not None and stop is None and given["TELAPSE"] is not None:
        stop = start + given["TELAPSE"]
    if start is not None:
        row["t_start"], row["t_stop"] = start, stop


def container(row: Mapping[str, Any], channels: Mapping[str, Any] | None = None) -> Spectrum:
    """Spectrum of a row of `ogip.spectra`, as a reader or the lake gives it.

    Parameters
    ----------
    row : mapping
        Column -> value; lists are arrays or Python lists.
    channels : mapping, optional
        Row of `ogip.ebounds` with the energies of its channels.
    """

    def real(name: str) -> npt.NDArray[np.float64] | None:
        value = row.get(name)
        if value is None:
            return None
        if isinstance(value, np.ma.MaskedArray):
            return np.ma.filled(value.astype(np.float64), np.nan)
        return np.asarray(value, np.float64)

    def integer(name: str) -> npt.NDArray[np.int64] | None:
        value = row.get(name)
        return None if value is None else np.asarray(value, np.int64)

    values = real(row["quantity"].lower())
    assert values is not None
    by_channel = {f: real(f"{f}_channel") for f in ("areascal", "backscal")}
    return Spectrum(
        quantity=row["quantity"],
        values=values,
        channel=integer("channel"),
        stat_err=real("stat_err"),
        sys_err=real("sys_err"),
        quality=integer("quality"),
        grouping=integer("grouping"),
        exposure=row.get("exposure"),
        areascal=row.get("areascal") if by_channel["areascal"] is None else by_channel["areascal"],
        backscal=row.get("backscal") if by_channel["backscal"] is None else by_channel["backscal"],
        corrscal=row.get("corrscal"),
        poisserr=row.get("poisserr"),
        backfile=row.get("backfile"),
        respfile=row.get("respfile"),
        ancrfile=row.get("ancrfile"),
        ebounds=None if channels is None else ebounds.container(dict(channels)),
        first_channel=row.get("first_channel"),
        about={k: v for k, v in row.items() if k in _ABOUT and v is not None},
        warnings=tuple(row.get("warnings") or ()),
    )


_ABOUT = (
    "spec_id", "path", "hdu", "row", "extname", "telescope", "instrument", "detector", "filter",
    "grating", "object", "obs_id", "date_obs", "ra_obj", "dec_obj", "t_start", "t_stop",
    "spectrum_type", "content", "hduclas3", "hduclas4", "chantype", "detchans", "corrfile",
    "row_json",
)  # fmt: skip
