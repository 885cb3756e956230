"""OGIP files: what is in one, as rows of the tables of the lake."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lake.errors import InputError
from lake.formats.fits import FitsFile
from lake.formats.fits_hdu import HDU
from lake.formats.fits_structure import TABLES
from lake.inputs import InputFile, Records
from lake.ogip import arf, ebounds, pha, rmf
from lake.ogip.cells import split
from lake.ogip.containers import Response
from lake.ogip.numbers import kept
from lake.ogip.sorting import content


class Refused(NamedTuple):
    """What cannot be taken of a file.

    Attributes
    ----------
    hdu : int
    row : int or None
        Of a TYPE II table, from 1; None for the whole HDU.
    reason : str
    """

    hdu: int
    row: int | None
    reason: str


@dataclass
class Contents:
    """What was found in a file; rows of its tables, without identifiers.

    Attributes
    ----------
    kinds : list of (HDU, str)
        All HDUs and what each holds; see `lake.ogip.sorting.content`.
    ebounds : dict of int to dict
        Rows of `ogip.ebounds` by HDU.
    spectra, areas : list of dict
    responses : list of (Response, int or None)
        Matrices, and the HDUs of their EBOUNDS.
    typed : dict of int to list of str
        By HDU, the columns that rows of spectra, areas and channel energies hold exactly.
    rejected : list of Refused
    """

    kinds: list[tuple[HDU, str]]
    ebounds: dict[int, dict[str, Any]] = field(default_factory=dict)
    spectra: list[dict[str, Any]] = field(default_factory=list)
    areas: list[dict[str, Any]] = field(default_factory=list)
    responses: list[tuple[Response, int | None]] = field(default_factory=list)
    typed: dict[int, list[str]] = field(default_factory=dict)
    rejected: list[Refused] = field(default_factory=list)


# Damaged numbers are the reader's to name, not NumPy's.
@np.errstate(invalid="ignore", over="ignore")
def contents(file: FitsFile, kind: str | None = None, hdu: HDU | None = None) -> Contents:
    """Read the spectra, matrices, effective areas and channel energies of a file.

    Parameters
    ----------
    file : FitsFile
    kind : str, optional
        Only what is this, besides channel energies; see `lake.ogip.sorting.content`.
    hdu : HDU, optional
        Only this one, besides channel energies.

    Raises
    ------
    InputError
        The file is damaged, has none of these but channel energies, or none can be taken.
    """
    found = Contents([(each, content(each)) for each in file])
    # Energies first: matrices and spectra refer to them, wherever they stand in the file.
    for each, what in sorted(found.kinds, key=lambda pair: pair[1] != "ebounds"):
        wanted = kind in (None, what) and hdu in (None, each)
        if what == "other" or not (wanted or what == "ebounds"):
            continue
        try:
            _take(each, what, found)
        except InputError as error:
            found.rejected.append(Refused(each.index, None, error.reason))
    if not (found.spectra or found.areas or found.responses):
        raise InputError(file.path, _nothing(found, kind))
    return found


def _nothing(found: Contents, kind: str | None) -> str:
    """Why nothing of a file is taken."""
    if found.rejected:
        more = len(found.rejected) - 1
        return found.rejected[0].reason + (f" (and {more} more)" if more else "")
    there = ", ".join(f"{hdu.index} {hdu.name!r} ({what})" for hdu, what in found.kinds)
    wanted = "spectrum, matrix or effective area" if kind is None else kind.replace("_", " ")
    return f"has no OGIP {wanted}; its HDUs are {there}"


def _take(hdu: HDU, kind: str, found: Contents) -> None:
    if hdu.header.get("GCOUNT", 1) != 1:
        problem = f"GCOUNT is {hdu.header.get('GCOUNT')!r}, expected 1 for a table"
        raise InputError(hdu.path, problem, f"HDU {hdu.index}")
    if kind == "ebounds":
        row, found.typed[hdu.index] = ebounds.read(hdu)
        found.ebounds[hdu.index] = {**row, "hdu": hdu.index}
    elif kind == "matrix":
        at = _energies_of(hdu, found)
        channels = None if at is None else ebounds.container(found.ebounds[at])
        found.responses.append((rmf.read(hdu, channels), at))
    elif kind == "effective_area":
        areas, found.typed[hdu.index] = arf.read(hdu)
        found.areas += [{**area, "hdu": hdu.index} for area in areas]
    else:
        spectra, typed, rejected = pha.read(hdu)
        for spectrum in spectra:
            _channels_of(spectrum, found)
            found.spectra.append({**spectrum, "hdu": hdu.index})
        found.rejected += [Refused(hdu.index, at, reason) for at, reason in rejected]
        # Rows that are left out are in no table: the whole HDU is kept as bytes.
        found.typed[hdu.index] = [] if rejected else typed


def _energies_of(matrix: HDU, found: Contents) -> int | None:
    """HDU of the EBOUNDS of a matrix: the one of its EXTVER where there are several."""
    tables = {hdu.index: hdu for hdu, _ in found.kinds}
    same = [
        at for at in found.ebounds
        if tables[at].header.get("EXTVER") == matrix.header.get("EXTVER")
    ]  # fmt: skip
    return min(same or found.ebounds, default=None)


def _channels_of(spectrum: dict[str, Any], found: Contents) -> None:
    """Note which EBOUNDS of the file has the energies of a spectrum's channels."""
    size = spectrum["n_channels"]
    for at, row in found.ebounds.items():
        if row["n_channels"] == size:
            spectrum["ebounds_hdu"] = at
            if spectrum["first_channel"] is None:
                spectrum["first_channel"] = int(row["channel"][0])
            return
    if found.ebounds:
        counts = ", ".join(str(row["n_channels"]) for row in found.ebounds.values())
        note = f"EBOUNDS has {counts} channels, the spectrum {size}"
        spectrum["warnings"] = [*(spectrum["warnings"] or []), note]


@np.errstate(invalid="ignore", over="ignore")
def records(file: InputFile, data: bytes) -> Records:
    """Rows that a file gives to the tables of the mission.

    Parameters
    ----------
    file : InputFile
        Its path and sha256 are used.
    data : bytes
        Its content, decompressed.

    Returns
    -------
    mapping of str to list of dict or pyarrow.Table
        By table, of those that the file has rows for; ``rejected`` lists what cannot be taken of
        a file of which something can.

    Raises
    ------
    InputError
        See `contents`.
    """
    found = contents(FitsFile(str(file.path), data))
    base = f"{file.path.name}-{file.sha256[:8]}"
    path = {"path": str(file.path)}
    spectra = _identified(found.spectra, "spec_id", base, path)
    for spectrum in spectra:
        at = spectrum.pop("ebounds_hdu", None)
        spectrum["ebounds_id"] = None if at is None else f"{base}-{at}"
    responses, matrices = [], []
    for number, (response, at) in enumerate(found.responses, 1):
        name = f"{base}-{response.about['hdu']}"
        matrices.append(rmf.table(response, name))
        responses.append(
            {**rmf.row(response), **path, "response_id": name, "file_row": number,
             "ebounds_id": None if at is None else f"{base}-{at}"}
        )  # fmt: skip
    rows: dict[str, list[dict[str, Any]] | pa.Table] = {
        "ogip.hdus": [_hdu(hdu, kind, found) for hdu, kind in found.kinds],
        "ogip.spectra": spectra,
        "ogip.ebounds": [
            {**row, **path, "ebounds_id": f"{base}-{at}"} for at, row in found.ebounds.items()
        ],
        "ogip.responses": responses,
        "ogip.effective_area": _identified(found.areas, "area_id", base, path),
    }
    if matrices:
        rows["ogip.redistribution"] = pa.concat_tables(matrices)
    if found.rejected:
        rows["rejected"] = [
            {"file_row": each.hdu + 1, "reason": each.reason} for each in found.rejected
        ]
    return rows


def _identified(
    rows: Sequence[dict[str, Any]], key: str, base: str, path: dict[str, str]
) -> list[dict[str, Any]]:
    """Rows with their identifiers: HDU and row are named where a file has more than one."""
    several = len(rows) > 1
    return [
        {**row, **path, key: base + _place(row["hdu"], row.get("row")) if several else base}
        for row in rows
    ]


def _place(hdu: int, row: int | None) -> str:
    return f"-{hdu}" if row is None else f"-{hdu}.{row}"


def _hdu(hdu: HDU, kind: str, found: Contents) -> dict[str, Any]:
    typed = found.typed.get(hdu.index, [])
    if any(response.about["hdu"] == hdu.index for response, _ in found.responses):
        typed = rmf.typed_columns(hdu)
    # Cells of ASCII tables are text.
    typed = kept(hdu, typed) if hdu.kind == "bintable" else []
    data, heap = split(hdu, typed)
    raw = hdu.header.raw
    return {
        "hdu": hdu.index,
        "extname": hdu.name or None,
        "content": kind,
        "n_rows": hdu.rows if hdu.kind in TABLES else None,
        # The lake's text is UTF-8.
        "header": raw if raw.isascii() else raw.decode("latin-1").encode(),
        "typed_columns": typed or None,
        "data": data,
        "heap": heap,
    }
