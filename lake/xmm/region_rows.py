"""Regions as rows of the lake, and rows as regions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.formats.columns import make_list
from lake.xmm.shapes import Floats, Regions, make


def columns_of(regions: Regions) -> dict[str, pa.Array]:
    """Give the columns that `xmm.regions` has for regions.

    Parameters
    ----------
    regions : Regions
        n of them.

    Returns
    -------
    dict of str to pyarrow.Array, length n
        ``include``, ``shape``, ``x``, ``y``, ``r`` (a list), ``rotang``, ``rotang_2``,
        ``vertices_x``, ``vertices_y`` (lists) and ``component``; null where a shape has none.
    """
    corners = [regions.vertices.get(i) for i in range(len(regions))] if regions.vertices else None
    return {
        "include": pa.array(regions.include),
        "shape": pa.array(regions.shape),
        "x": pa.array(regions.x, from_pandas=True),
        "y": pa.array(regions.y, from_pandas=True),
        "r": _lists(regions.r),
        "rotang": pa.array(regions.rotang[:, 0], from_pandas=True),
        "rotang_2": pa.array(regions.rotang[:, 1], from_pandas=True),
        **{
            f"vertices_{axis}": pa.array(
                [None if c is None else c[:, i] for c in corners], pa.list_(pa.float64())
            )
            if corners
            else pa.nulls(len(regions), pa.list_(pa.float64()))
            for i, axis in enumerate("xy")
        },
        "component": pa.array(regions.component, pa.int32()),
    }


def of_rows(rows: pa.Table) -> Regions:
    """Give the regions of rows of `xmm.regions` or `xmm.mask_regions`, in their order."""
    if pa.types.is_list(rows.schema.field("rotang").type):
        rotang = _padded(rows["rotang"], 2)
    else:
        rotang = np.stack([_numbers(rows[name]) for name in ("rotang", "rotang_2")], axis=1)
    vertices = {}
    for row in np.flatnonzero(pc.is_valid(rows["vertices_x"]).to_numpy()).tolist():
        pair = (rows[f"vertices_{axis}"][row].values.to_numpy() for axis in "xy")
        vertices[row] = np.stack(list(pair), axis=1)
    return make(
        rows["shape"].to_numpy().astype(np.str_), _numbers(rows["x"]), _numbers(rows["y"]),
        _padded(rows["r"], 4), rotang, _plain(rows["include"]), _plain(rows["component"]), vertices,
    )  # fmt: skip


def groups(
    rows: pa.Table, names: Sequence[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First row and number of rows of each run of rows that are alike in some columns."""
    new = np.zeros(rows.num_rows, bool)
    new[:1] = True
    for name in names:
        values = rows[name].to_numpy()
        new[1:] |= np.asarray(values[1:] != values[:-1], bool)
    first = np.flatnonzero(new)
    return first, np.diff([*first, rows.num_rows])


def _numbers(column: pa.ChunkedArray) -> Floats:
    """Numbers; NaN for null."""
    return pc.fill_null(column, np.nan).to_numpy()


def _plain(column: pa.ChunkedArray) -> npt.NDArray:
    return column.combine_chunks().to_numpy(zero_copy_only=False)


def _lists(values: Floats) -> pa.ListArray:
    """Rows without their NaN; null where nothing is left."""
    there = ~np.isnan(values)
    count = there.sum(axis=1)
    return make_list(pa.array(values[there]), count, pa.array(count == 0))


def _padded(lists: pa.ChunkedArray, width: int) -> Floats:
    """Lists as rows of an array, filled up with NaN."""
    out = np.full((len(lists), width), np.nan)
    count = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    row = np.repeat(np.arange(len(lists)), count)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    out[row, place] = pc.list_flatten(lists).to_numpy()
    return out
