"""Spectra, responses and effective areas of the lake as the arrays that kernels take."""

from typing import Any

import pyarrow as pa

from lake.errors import UsageError
from lake.ogip import arf, ebounds, pha, rmf
from lake.ogip.containers import Ebounds, EffectiveArea, Response, Spectrum
from lake.originals import Read


def spectrum(read: Read, release: str, spec_id: str) -> Spectrum:
    """Spectrum of the lake, with the energies of its channels where its file has them.

    Parameters
    ----------
    read : Read
    release : str
    spec_id : str

    Raises
    ------
    UsageError
        There is none of that name.
    """
    row = _one(read, "spectra", "spec_id", release, spec_id)
    return pha.container(row, _row(read, release, row["ebounds_id"]))


def response(read: Read, release: str, response_id: str) -> Response:
    """Response of the lake; elements are float64. See `spectrum`."""
    row = _one(read, "responses", "response_id", release, response_id)
    bins = read(
        "SELECT * FROM ogip.redistribution WHERE release = ? AND response_id = ?",
        [release, response_id],
    )
    return rmf.container(row, bins, channels(read, release, row["ebounds_id"]))


def effective_area(read: Read, release: str, area_id: str) -> EffectiveArea:
    """Effective area of the lake. See `spectrum`."""
    return arf.container(_one(read, "effective_area", "area_id", release, area_id))


def channels(read: Read, release: str, ebounds_id: str | None) -> Ebounds | None:
    """Channel energies of the lake; None for none."""
    row = _row(read, release, ebounds_id)
    return None if row is None else ebounds.container(row)


def _row(read: Read, release: str, ebounds_id: str | None) -> dict[str, Any] | None:
    return None if ebounds_id is None else _one(read, "ebounds", "ebounds_id", release, ebounds_id)


def _one(read: Read, table: str, key: str, release: str, value: str) -> dict[str, Any]:
    rows: pa.Table = read(
        f"SELECT * FROM ogip.{table} WHERE release = ? AND {key} = ?", [release, value]
    )
    if rows.num_rows != 1:
        raise UsageError(f"ogip.{table} of release {release} has no {key} {value!r}")
    return dict(rows.to_pylist()[0])
