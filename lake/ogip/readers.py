"""Spectra, responses and effective areas from files, by path or address, and from rows."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from lake.errors import InputError
from lake.formats.fits import FitsFile
from lake.formats.fits_hdu import HDU
from lake.formats.source import label, load
from lake.ogip import arf, ebounds, pha, rmf
from lake.ogip.containers import EffectiveArea, Response, Spectrum
from lake.ogip.files import Contents, contents

Source = str | os.PathLike[str] | bytes
"""A path, the bytes of a file, or an address.

``path:3`` is the fourth spectrum, matrix or curve of a file (rows of TYPE II tables are counted
from 0, as bayspec does), ``path{4}`` the same one counted from 1, as XSPEC does, ``path[2]`` or
``path[SPECTRUM]`` the HDU of that position (from 0) or EXTNAME, ``path[SPECTRUM,2]`` that of the
EXTVER 2; ``path[2]:3`` names both. A file whose own name looks like an address is that file.
"""

_ADDRESS = re.compile(r"(.+?)(?:\[([^\]]+)\])?(?::(\d+)|\{(\d+)\})?")


def read_pha(
    source: Source | Mapping[str, Any],
    *,
    row: int | None = None,
    channels: Mapping[str, Any] | None = None,
) -> Spectrum:
    """Read a spectrum.

    Parameters
    ----------
    source : str, PathLike, bytes or mapping
        See `Source`; or a row of `ogip.spectra`.
    row : int, optional
        Which of several, from 0; instead of an address, and for bytes.
    channels : mapping, optional
        The row of `ogip.ebounds` that belongs to a row of `ogip.spectra`.

    Returns
    -------
    Spectrum
        Of a file that holds a source and its background, the source (HDUCLAS2 other than BKG).

    Raises
    ------
    InputError
        The file is damaged or has no spectrum, or several and none is named.
    """
    if isinstance(source, Mapping):
        return pha.container(source, channels)
    path, found, index = _open(source, "spectrum", row)
    rows = found.spectra
    if (rows and rows[0].get("row")) or any(each.row for each in found.rejected):
        chosen = _row(path, found, index)
    else:
        sources = [r for r in rows if r["content"] != "BKG"]
        rows = sources if index is None and sources else rows
        chosen = rows[_one(path, len(rows), index, "spectra")]
    at = chosen.get("ebounds_hdu")
    return pha.container({**chosen, "path": path}, None if at is None else found.ebounds[at])


def _row(path: str, found: Contents, index: int | None) -> dict[str, Any]:
    """Spectrum of a row of a TYPE II table; rows that cannot be taken are counted too."""
    count = len(found.spectra) + len(found.rejected)
    number = _one(path, count, index, "spectra") + 1
    for each in found.rejected:
        if each.row == number:
            raise InputError(path, each.reason)
    return next(r for r in found.spectra if r["row"] == number)


def read_rmf(
    source: Source | Mapping[str, Any],
    *,
    row: int | None = None,
    bins: pa.Table | None = None,
    channels: Mapping[str, Any] | None = None,
) -> Response:
    """Read a redistribution matrix, with or without the effective area in it.

    Parameters
    ----------
    source : str, PathLike, bytes or mapping
        See `Source`; or a row of `ogip.responses`.
    row : int, optional
        Which of several matrices (an rsp2 file has one per interval), from 0.
    bins : pyarrow.Table, optional
        The rows of `ogip.redistribution` that belong to a row of `ogip.responses`; without them,
        the file is read that the row names.
    channels : mapping, optional
        The row of `ogip.ebounds` that belongs to it.

    Returns
    -------
    Response
        Sparse; `includes_area` says whether it is an RSP.

    Raises
    ------
    InputError
        The file is damaged or has no matrix, or several and none is named.
    """
    if isinstance(source, Mapping):
        if bins is not None:
            energies = None if channels is None else ebounds.container(dict(channels))
            return rmf.container(source, bins, energies)
        source = f"{source['path']}[{source['hdu']}]"
    path, found, index = _open(source, "matrix", row)
    return found.responses[_one(path, len(found.responses), index, "matrices")][0]


read_rsp = read_rmf
"""A response that includes the effective area is a matrix like others, and says so itself."""


def read_arf(source: Source | Mapping[str, Any], *, row: int | None = None) -> EffectiveArea:
    """Read an effective area.

    Parameters
    ----------
    source : str, PathLike, bytes or mapping
        See `Source`; or a row of `ogip.effective_area`.
    row : int, optional
        Which of several curves, from 0.

    Raises
    ------
    InputError
        The file is damaged or has no effective area, or several and none is named.
    """
    if isinstance(source, Mapping):
        return arf.container(source)
    path, found, index = _open(source, "effective_area", row)
    chosen = found.areas[_one(path, len(found.areas), index, "effective areas")]
    return arf.container({**chosen, "path": path})


def address(source: str) -> tuple[str, str | None, int | None]:
    """Path, HDU and place (from 0) that an address names; see `Source`."""
    if not Path(source).exists() and (match := _ADDRESS.fullmatch(source)):
        path, extension, index, number = match.groups()
        if number is not None:
            return path, extension, int(number) - 1
        return path, extension, None if index is None else int(index)
    return source, None, None


def _open(source: Source, kind: str, row: int | None) -> tuple[str, Contents, int | None]:
    """Path of a source, what of a kind is in it, and which of it is meant."""
    path, extension, index = label(source), None, None
    if not isinstance(source, bytes):
        path, extension, index = address(os.fspath(source))
        source = path
    file = FitsFile(path, load(source, mapped=True))
    found = contents(file, kind, None if extension is None else _hdu(file, extension))
    return path, found, index if row is None else row


def _hdu(file: FitsFile, extension: str) -> HDU:
    name, _, version = extension.partition(",")
    if name.strip().isdigit():
        return file[int(name)]
    if not version:
        return file[name]
    for hdu in file:
        if (
            hdu.name.casefold() == name.strip().casefold()
            and str(hdu.header.get("EXTVER", 1)) == version.strip()
        ):
            return hdu
    raise InputError(file.path, f"no HDU {extension!r}")


def _one(path: str, count: int, index: int | None, noun: str) -> int:
    """Place of the one that is meant."""
    if index is None and count == 1:
        return 0
    if index is None:
        raise InputError(path, f"has {count} {noun}; name one, as in {Path(path).name}:0")
    if not 0 <= index < count:
        raise InputError(path, f"has {count} {noun}, none of the number {index} (from 0)")
    return index
