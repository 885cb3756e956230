"""RMF and RSP files: redistribution matrices in groups of channels, never made dense.

Format: CAL/GEN/92-002 and 92-002a (George, Arnaud, Pence & Ruamsuwan 1998). Columns are taken
whole: groups and elements of all energy bins lie one after the other, with offsets.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake import contracts
from lake.errors import InputError
from lake.formats.fits_hdu import HDU
from lake.ogip.arf import check_energies
from lake.ogip.containers import Ebounds, Response
from lake.ogip.groups import Groups
from lake.ogip.keywords import area_factor, instrument, number, text, whole
from lake.ogip.numbers import about, energies, exact, lists, numbers, unit_of
from lake.ogip.sorting import MATRIX_COLUMNS

#: Probabilities of a bin add up to at most one; above this, something else is in the matrix.
ROW_SUM = 1.5
#: Elements that are added up or hashed at a time.
_PART = 1 << 16


def read(hdu: HDU, channels: Ebounds | None) -> Response:
    """Read a matrix.

    Parameters
    ----------
    hdu : HDU
    channels : Ebounds or None
        Energies of its channels, of the same file.

    Returns
    -------
    Response
        `about` has the columns of `ogip.responses` that the header gives, and ``max_row_sum``.

    Raises
    ------
    InputError
        A column is missing, energies go up and down, N_GRP counts groups that are not there, or a
        group lies outside the channels or needs more elements than MATRIX has; HDU and row, and
        the channel, are named.
    """
    for name in MATRIX_COLUMNS:
        about(hdu, name)
    if not hdu.rows:
        raise InputError(hdu.path, "a matrix without rows", f"HDU {hdu.index}")
    warnings: list[str] = []
    low, _ = energies(hdu, "ENERG_LO", warnings)
    high, _ = energies(hdu, "ENERG_HI", warnings)
    warnings += check_energies(hdu, low, high)
    groups = Groups(hdu)
    matrix, offsets = lists(hdu, "MATRIX")
    unit = unit_of(about(hdu, "MATRIX")) or None
    if (factor := _to_cm2(unit)) != 1:
        matrix = matrix.astype(np.float64) * factor
    groups.need(offsets)
    detchans = whole(hdu.header, "DETCHANS")
    n_channels = len(channels.channel) if channels is not None else detchans or 0
    first, origin, note = groups.first_channel(channels, n_channels)
    n_channels = n_channels or groups.last - first + 1
    groups.check(first, n_channels)
    if channels is None:
        warnings.append("there is no EBOUNDS table")
    if note:
        warnings.append(note)
    if detchans not in (None, n_channels):
        warnings.append(f"DETCHANS is {detchans}, but there are {n_channels} channels")
    sums = _row_sums(matrix, offsets[:-1], groups.sizes)
    if not np.isfinite(sums).all():
        warnings.append(f"MATRIX is not finite in {int((~np.isfinite(sums)).sum())} energy bins")
    hduclas3 = text(hdu.header, "HDUCLAS3")
    max_row_sum = float(np.max(sums, where=np.isfinite(sums), initial=0.0))
    known = {
        "hdu": hdu.index,
        "extname": hdu.name or None,
        **instrument(hdu.header),
        "hduclas3": hduclas3,
        "matrix_unit": unit,
        "t_start": number(hdu.header, "TSTART"),
        "t_stop": number(hdu.header, "TSTOP"),
        "lo_thres": number(hdu.header, "LO_THRES"),
        "max_row_sum": max_row_sum,
    }
    return Response(
        energ_lo=low,
        energ_hi=high,
        n_grp=groups.n_grp,
        f_chan=groups.f_chan,
        n_chan=groups.n_chan,
        group_offsets=groups.offsets,
        matrix=matrix,
        matrix_offsets=offsets,
        first_channel=first,
        first_channel_from=origin,
        n_channels=n_channels,
        ebounds=channels,
        includes_area=_includes_area(hduclas3, unit, max_row_sum),
        about={k: v for k, v in known.items() if v is not None},
        warnings=tuple(warnings),
    )


def _row_sums(
    matrix: npt.NDArray[Any], starts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Sum of the elements of each bin, without padding, float64."""
    sums = np.zeros(len(starts))
    filled = np.flatnonzero(sizes)
    # Some at a time: to add up single precision in double makes a copy of it.
    parts = np.searchsorted(starts[filled], np.arange(0, len(matrix), _PART))
    for part in np.split(filled, np.unique(parts[1:])):
        if len(part):
            edges = np.stack([starts[part], starts[part] + sizes[part]], axis=1).reshape(-1)
            values = matrix[edges[0] : edges[-1]]
            # The end of the last bin is no place to begin a sum.
            sums[part] = np.add.reduceat(values, edges[:-1] - edges[0], dtype=np.float64)[::2]
    return sums


def _includes_area(hduclas3: str | None, unit: str | None, max_row_sum: float) -> bool:
    known = {"FULL": True, "REDIST": False, "DETECTOR": False}.get((hduclas3 or "").upper())
    if known is None and area_factor(unit) is not None:
        known = True
    return max_row_sum > ROW_SUM if known is None else known


def _to_cm2(unit: str | None) -> float:
    """Factor of elements to cm2; 1 where they are no areas."""
    return area_factor(unit) or 1.0


def typed_columns(hdu: HDU) -> list[str]:
    """Columns of a matrix that rows of `ogip.redistribution` hold exactly."""
    typed = []
    for name in MATRIX_COLUMNS:
        if name.startswith("ENERG"):
            same = energies(hdu, name, [])[1]
        else:
            column = about(hdu, name)
            same = not column.scaled and column.code != "K"
            # Areas in another unit are held in cm2.
            same &= name != "MATRIX" or _to_cm2(unit_of(column)) == 1
            # Nulls cannot be told from numbers in these lists; no known file has them.
            same &= column.null is None or (
                not column.pointer and exact(hdu, name, numbers(hdu, name))
            )
        typed += [about(hdu, name).name] if same else []
    return typed


def row(response: Response) -> dict[str, Any]:
    """Row of `ogip.responses`, without identifiers."""
    return {
        **response.about,
        "includes_area": response.includes_area,
        "n_energies": response.n_energies,
        "n_channels": response.n_channels,
        "n_groups": int(response.n_grp.sum()),
        "n_elements": int(response.elements_per_bin.sum()),
        "first_channel": response.first_channel,
        "first_channel_from": response.first_channel_from,
        "energy_min": float(response.energ_lo.min()),
        "energy_max": float(response.energ_hi.max()),
        "content_hash": content_hash(response),
        "warnings": list(response.warnings) or None,
    }


def content_hash(response: Response) -> str:
    """SHA-256 of what a response does: the same in whatever groups of padding it is written.

    Energies, groups (channels counted from 0), elements and channel energies are hashed as
    numbers, so that a copy in another precision that holds the same numbers is the same.
    """
    digest = hashlib.sha256()
    rows, first, lengths = response.groups
    for counted in (rows, first, lengths):
        digest.update(np.ascontiguousarray(counted, "<i8").data)
    bounds = [response.energ_lo, response.energ_hi]
    if response.ebounds is not None:
        bounds += [response.ebounds.e_min, response.ebounds.e_max]
    for edges in bounds:
        digest.update(np.ascontiguousarray(edges, "<f8").data)
    elements = response.elements
    for start in range(0, len(elements), _PART):
        digest.update(elements[start : start + _PART].astype("<f8").data)
    return digest.hexdigest()


def table(response: Response, response_id: str) -> pa.Table:
    """Rows of `ogip.redistribution` as Arrow.

    Raises
    ------
    InputError
        There are more elements than an Arrow list of 32 bits can hold.
    """
    of = contracts.table("ogip.redistribution").by_name
    size = response.n_energies
    if len(response.matrix) > np.iinfo(np.int32).max:
        raise InputError(
            str(response.about.get("path", response_id)),
            f"a matrix of {len(response.matrix)} elements, expected less than 2**31",
        )

    def listed(values: npt.NDArray[Any], offsets: npt.NDArray[np.int64], name: str) -> pa.Array:
        kind = of[name].arrow
        numbers = values.astype(kind.value_type.to_pandas_dtype(), copy=False)
        return pa.ListArray.from_arrays(offsets.astype(np.int32), pa.array(numbers), kind)

    columns = {
        "response_id": pa.repeat(response_id, size),
        "bin": pa.array(np.arange(1, size + 1, dtype=np.int32)),
        "energ_lo": pa.array(response.energ_lo),
        "energ_hi": pa.array(response.energ_hi),
        "n_grp": pa.array(response.n_grp.astype(np.int32)),
        "f_chan": listed(response.f_chan, response.group_offsets, "f_chan"),
        "n_chan": listed(response.n_chan, response.group_offsets, "n_chan"),
        "matrix": listed(response.matrix, response.matrix_offsets, "matrix"),
    }
    return pa.table(columns)


def container(
    row: Mapping[str, Any], redistribution: pa.Table, channels: Ebounds | None
) -> Response:
    """Response of rows of the lake.

    Parameters
    ----------
    row : mapping
        Of `ogip.responses`.
    redistribution : pyarrow.Table
        Rows of `ogip.redistribution` of this matrix, in any order.
    channels : Ebounds or None
        Energies of its channels.
    """
    bins = redistribution.combine_chunks()
    # Rows of the lake come as they were written; to sort lists moves all their elements.
    if np.any(np.diff(bins["bin"].to_numpy()) < 0):
        bins = bins.sort_by("bin").combine_chunks()

    def flat(name: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        column = bins[name].combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        offsets = column.offsets.to_numpy().astype(np.int64)
        values = column.values.to_numpy(zero_copy_only=False)[offsets[0] : offsets[-1]]
        return values, offsets - offsets[0]

    f_chan, group_offsets = flat("f_chan")
    matrix, matrix_offsets = flat("matrix")
    return Response(
        energ_lo=bins["energ_lo"].to_numpy(),
        energ_hi=bins["energ_hi"].to_numpy(),
        n_grp=bins["n_grp"].to_numpy().astype(np.int64),
        f_chan=f_chan.astype(np.int64),
        n_chan=flat("n_chan")[0].astype(np.int64),
        group_offsets=group_offsets,
        matrix=matrix,
        matrix_offsets=matrix_offsets,
        first_channel=row["first_channel"],
        first_channel_from=row["first_channel_from"],
        n_channels=row["n_channels"],
        ebounds=channels,
        includes_area=row["includes_area"],
        about={k: v for k, v in row.items() if k in _ABOUT and v is not None},
        warnings=tuple(row.get("warnings") or ()),
    )


_ABOUT = (
    "response_id", "path", "hdu", "extname", "telescope", "instrument", "detector", "filter",
    "grating", "hduclas3", "matrix_unit", "t_start", "t_stop", "lo_thres", "max_row_sum",
    "content_hash",
)  # fmt: skip
