"""ARF files: the effective area by energy, one curve per table or per row (CAL/GEN/92-002)."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lake.errors import InputError
from lake.formats.fits_hdu import HDU
from lake.ogip.containers import EffectiveArea
from lake.ogip.keywords import area_factor, file_name, holds_time, instrument, number, text
from lake.ogip.numbers import about, energies, exact, numbers, scalars, unit_of


class Areas(NamedTuple):
    """Effective areas of an HDU: rows of `ogip.effective_area` without identifiers.

    Attributes
    ----------
    rows : list of dict
    typed : list of str
        Columns of the HDU that they hold exactly.
    """

    rows: list[dict[str, Any]]
    typed: list[str]


def read(hdu: HDU) -> Areas:
    """Read the effective areas of an HDU.

    Raises
    ------
    InputError
        A column is missing, energies go up and down, or a unit is not one of energy.
    """
    warnings: list[str] = []
    area = about(hdu, "SPECRESP")
    several = not area.scalar
    columns, typed = {}, []
    for name, field in (("ENERG_LO", "energ_lo"), ("ENERG_HI", "energ_hi")):
        columns[field], same = energies(hdu, name, warnings)
        typed += [about(hdu, name).name] if same else []
    unit = unit_of(area)
    factor = area_factor(unit)
    if factor is None:
        warnings.append(f"SPECRESP has the unit {unit!r}: taken as cm2")
    elif holds_time(unit):
        warnings.append(f"SPECRESP has the unit {unit!r}: an exposure is in the area")
    values = numbers(hdu, "SPECRESP")
    columns["specresp"] = values if factor in (None, 1.0) else values.astype(np.float64) * factor
    if factor in (None, 1.0) and exact(hdu, "SPECRESP", values):
        typed.append(area.name)
    header = hdu.header
    common = {
        "extname": hdu.name or None,
        **instrument(header),
        "object": text(header, "OBJECT"),
        "obs_id": text(header, "OBS_ID"),
        "respfile": file_name(header.get("RESPFILE")),
        "exposure": number(header, "EXPOSURE"),
    }
    if not several:
        return Areas([_area(hdu, common, columns, warnings, None)], typed)
    cells = scalars(hdu)
    rows = [
        _area(hdu, _own(common, {k: v[i] for k, v in cells.items()}),
              {k: v[i] for k, v in columns.items()}, warnings, i)
        for i in range(hdu.rows)
    ]  # fmt: skip
    return Areas(rows, typed)


def _own(common: Mapping[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What the header says of all curves, and a row of a TYPE II table of its own."""
    row = dict(common)
    if "EXPOSURE" in own:
        row["exposure"] = own.pop("EXPOSURE")
    if "RESPFILE" in own:
        row["respfile"] = file_name(own.pop("RESPFILE"))
    return {**row, "row_json": json.dumps(own, default=str) if own else None}


def _area(
    hdu: HDU,
    common: dict[str, Any],
    columns: dict[str, npt.NDArray[Any]],
    warnings: list[str],
    index: int | None,
) -> dict[str, Any]:
    size = len(columns["specresp"])
    if not size or any(len(v) != size for v in columns.values()):
        raise InputError(
            hdu.path, f"{size} areas, expected one for each of the energy bins", f"HDU {hdu.index}"
        )
    noted = warnings + check_energies(hdu, columns["energ_lo"], columns["energ_hi"])
    if columns["specresp"].dtype.kind == "f" and np.isnan(columns["specresp"]).any():
        noted.append(f"SPECRESP is NaN in {int(np.isnan(columns['specresp']).sum())} bins")
    digest = hashlib.sha256()
    for field in ("energ_lo", "energ_hi", "specresp"):
        digest.update(np.ascontiguousarray(columns[field], "<f8").data)
    return {
        **common,
        **columns,
        "row": None if index is None else index + 1,
        "n_energies": size,
        "content_hash": digest.hexdigest(),
        "warnings": noted or None,
    }


def check_energies(
    hdu: HDU, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> list[str]:
    """What is unusual about the energy bins of a response or effective area.

    Parameters
    ----------
    hdu : HDU
    low, high : numpy.ndarray
        float64, shape (energies,), keV.

    Raises
    ------
    InputError
        A bin has no number or ends below its beginning, or the bins neither increase nor decrease
        all along; the row is named.
    """
    falling = bool(low[0] > low[-1])
    bad = ~(high >= low)
    bad[1:] |= np.diff(low) * (-1 if falling else 1) < 0
    if bad.any():
        row = int(bad.argmax())
        before = f" after {low[row - 1]:g}" if row else ""
        wanted = "decrease" if falling else "increase"
        problem = f"energies do not {wanted}: a bin from {low[row]:g} to {high[row]:g} keV{before}"
        raise InputError(hdu.path, problem, f"HDU {hdu.index}, row {row + 1}")
    noted = []
    if falling:
        noted.append("energies decrease from bin to bin")
    if low.min() <= 0:
        noted.append(f"ENERG_LO begins at {low.min():g} keV")
    if np.any(high == low):
        noted.append(f"{int(np.sum(high == low))} energy bins have no width")
    return noted


def container(row: Mapping[str, Any]) -> EffectiveArea:
    """Effective area of a row of `ogip.effective_area`, as a reader or the lake gives it."""
    return EffectiveArea(
        energ_lo=np.asarray(row["energ_lo"], np.float64),
        energ_hi=np.asarray(row["energ_hi"], np.float64),
        specresp=np.asarray(row["specresp"], np.float64),
        about={k: v for k, v in row.items() if k in _ABOUT and v is not None},
        warnings=tuple(row.get("warnings") or ()),
    )


_ABOUT = (
    "area_id", "path", "hdu", "row", "extname", "telescope", "instrument", "detector", "filter",
    "grating", "object", "obs_id", "respfile", "exposure", "row_json", "content_hash",
)  # fmt: skip
