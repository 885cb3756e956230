"""Numbers of OGIP tables: what a column holds, in which unit, and whether the lake can keep it.

A column is kept exactly if the file's bytes can be made of the lake's numbers again; what is
not (scaled columns, nulls, other units) stays beside them as it lies in the file.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from lake.errors import InputError
from lake.formats.fits_columns import to_arrow
from lake.formats.fits_hdu import HDU
from lake.formats.fits_header import Malformed
from lake.formats.fits_layout import Column
from lake.ogip.keywords import energy_factor

Array = npt.NDArray[Any]

_INT32 = np.iinfo(np.int32)
#: Up to here float64 holds all whole numbers.
_WHOLE = 2**53


def about(hdu: HDU, name: str) -> Column:
    """Description of a column of numbers.

    Raises
    ------
    InputError
        There is no such column, or it holds no numbers.
    """
    if name not in hdu:
        there = ", ".join(hdu.columns)
        raise InputError(hdu.path, f"no column {name!r}; there are {there}", f"HDU {hdu.index}")
    column = hdu.layout.by_name[name.casefold()]
    if column.text or column.code not in "BIJKED":
        found = "ASCII text" if column.text else f"of type {column.code}"
        raise wrong(hdu, name, f"is {found}, expected numbers")
    return column


def unit_of(column: Column) -> str:
    """Unit of a column as the file writes it; empty for none."""
    return column.metadata.get(b"unit", b"").decode()


def wrong(hdu: HDU, name: str, problem: str, row: int | None = None) -> InputError:
    """Error that names HDU, row (given from 0) and column."""
    place = f"HDU {hdu.index}" + (f", row {row + 1}" if row is not None else "")
    return InputError(hdu.path, problem, f"{place}, column {name!r}")


def numbers(hdu: HDU, name: str) -> Array:
    """Values of a column as they are; see `lake.formats.fits_hdu.HDU.column`.

    Returns
    -------
    numpy.ndarray
        Shape (rows,), (rows, elements) or, for arrays of variable length, (rows,) of arrays; a
        masked array where the file has nulls (TNULL).
    """
    column = about(hdu, name)
    values = hdu.column(name)
    if column.null is None:
        return values
    if column.pointer:
        masked = [np.ma.masked_equal(v, column.null, copy=False) for v in values]
        if any(np.ma.is_masked(v) for v in masked):
            values[:] = masked
        return values
    nulls = hdu.records[column.name] == column.null
    return np.ma.MaskedArray(values, nulls) if nulls.any() else values


def whole_numbers(hdu: HDU, name: str) -> Array:
    """Values of a column as `numbers` gives them, whole and within 32 bits.

    Raises
    ------
    InputError
        A value is neither; row and column are named.
    """
    values = numbers(hdu, name)
    if about(hdu, name).pointer:
        values[:] = [_whole(hdu, name, v, row) for row, v in enumerate(values)]
        return values
    return _whole(hdu, name, values)


def _whole(hdu: HDU, name: str, values: Array, row: int | None = None) -> Array:
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 4 and values.dtype != np.uint32:
        return values
    with np.errstate(invalid="ignore"):
        good = (values >= _INT32.min) & (values <= _INT32.max) & (values == np.floor(values))
    if not np.all(good):
        bad = np.argwhere(~np.asarray(good))[0]
        at = row if row is not None else int(bad[0])
        raise wrong(hdu, name, f"{values[tuple(bad)]} is no whole number of 32 bits", at)
    return values.astype(np.int32)


def exact(hdu: HDU, name: str, values: Array) -> bool:
    """Whether the file's bytes can be made of a column's values again.

    Parameters
    ----------
    hdu : HDU
    name : str
    values : numpy.ndarray
        As `numbers` or `whole_numbers` gives them.
    """
    column = about(hdu, name)
    if column.scaled or np.ma.is_masked(values):
        return False
    if column.pointer:
        masked = any(np.ma.is_masked(v) for v in values)
        return not masked and column.code != "K"
    if column.code == "K":
        return bool(np.all(np.abs(values.astype(np.float64)) < _WHOLE))
    if column.code in "ED" and values.dtype.kind == "i":
        # The sign of a zero is not kept by a whole number.
        return not np.any(np.signbit(hdu.column(name)) & (values == 0))
    return True


def scalars(hdu: HDU) -> dict[str, list[Any]]:
    """Columns with one value in each row, as Python values, by their names in capitals.

    Raises
    ------
    InputError
        A cell holds what its column cannot.
    """
    found = {}
    for column in hdu.layout.columns:
        if not column.scalar or column.code in "CM":
            continue
        try:
            cells = to_arrow(column, hdu.records, hdu.heap)
        except Malformed as error:
            raise wrong(hdu, column.name, error.problem, error.row) from error
        found[column.name.upper()] = cells.to_pylist()
    return found


def energies(hdu: HDU, name: str, warnings: list[str]) -> tuple[Array, bool]:
    """Energies of a column in keV, and whether they are exactly those of the file.

    Parameters
    ----------
    hdu : HDU
    name : str
    warnings : list of str
        A missing unit is noted here.

    Returns
    -------
    values : numpy.ndarray
        float64, shape (rows,) or (rows, elements); an object array of float64 arrays if they
        are of variable length.
    exact : bool

    Raises
    ------
    InputError
        The unit is none of energy.
    """
    column = about(hdu, name)
    unit = unit_of(column)
    factor = energy_factor(unit)
    if factor is None:
        if unit:
            raise wrong(hdu, name, f"has the unit {unit!r}, expected one of energy")
        factor = 1.0
        warnings.append(f"{name} has no unit: taken as keV")
    stored = hdu.column(name)
    if column.pointer:
        values = np.empty(len(stored), object)
        values[:] = [v.astype(np.float64) * factor for v in stored]
    else:
        values = stored.astype(np.float64) * factor
    return values, factor == 1.0 and exact(hdu, name, stored)


def lists(hdu: HDU, name: str) -> tuple[Array, npt.NDArray[np.int64]]:
    """Cells of a column one after the other, and where each row's begin.

    Returns
    -------
    values : numpy.ndarray
        Elements of all rows, in the machine's byte order.
    offsets : numpy.ndarray
        int64, shape (rows + 1,).

    Raises
    ------
    InputError
        A cell points outside the heap; HDU, row and column are named.
    """
    column = about(hdu, name)
    if column.pointer:
        values, lengths = hdu.flat(name)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
    else:
        values = hdu.column(name).reshape(-1)
        offsets = np.arange(hdu.rows + 1, dtype=np.int64) * column.count
    native = values.dtype.newbyteorder("=")
    if values.flags.writeable and values.dtype != native:
        # Gathered from all over the heap: nobody else's memory.
        return values.byteswap(inplace=True).view(native), offsets
    return values.astype(native, copy=False), offsets


def kept(hdu: HDU, typed: list[str]) -> list[str]:
    """Columns of `typed` whose cells need not be kept as bytes.

    Arrays of variable length do if something other than zeros lies between them.
    """
    columns = [c for c in hdu.layout.columns if c.pointer]
    chosen = {name.casefold() for name in typed}
    if not columns or any(c.name.casefold() not in chosen for c in columns):
        return typed
    if _fill(hdu, columns):
        return typed
    pointers = {c.name for c in columns}
    return [name for name in typed if name not in pointers]


def _fill(hdu: HDU, columns: list[Column]) -> bool:
    """Whether nothing but zeros lies in the heap beside the arrays of some columns."""
    rows = hdu.shape[0] * hdu.shape[1]
    cells = [hdu.records[c.name].astype(np.int64) for c in columns]
    sizes = np.concatenate(
        [c[:, 0] * k.element.itemsize for c, k in zip(cells, columns, strict=True)]
    )
    starts = np.concatenate([c[:, 1] for c in cells])[sizes > 0]
    sizes = sizes[sizes > 0]
    order = np.argsort(starts, kind="stable")
    reached = np.concatenate([[0], np.maximum.accumulate((starts + sizes)[order])])
    next_start = np.append(starts[order], len(hdu.heap))
    gaps = np.flatnonzero(next_start > reached)
    return hdu.header.integer("THEAP", rows) == rows and not any(
        hdu.heap[a:b].any()
        for a, b in zip(reached[gaps].tolist(), next_start[gaps].tolist(), strict=True)
    )
