"""ECSV as Arrow tables, read by astropy, whose format it is (APE 6)."""

from typing import Any

import numpy as np
import pyarrow as pa

from lake.errors import InputError
from lake.formats.source import Source, label, load, unique_names


def read_ecsv(source: Source) -> pa.Table:
    """Read an ECSV file with its units and descriptions.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file, gzipped or not.

    Returns
    -------
    pyarrow.Table
        Masked values, NaN in columns of numbers and empty text are null. Objects that ECSV
        stores in several columns (SkyCoord, Time) are these columns.

    Raises
    ------
    InputError
        It is not valid ECSV.
    """
    from astropy.table import Table
    from astropy.table.serialize import represent_mixins_as_columns

    try:
        text = bytes(load(source)).decode("utf-8-sig")
        table = represent_mixins_as_columns(Table.read(text.splitlines(), format="ascii.ecsv"))
    except InputError:
        raise
    except Exception as error:  # astropy and yaml raise errors of every kind on bad headers
        raise InputError(label(source), f"is not valid ECSV: {error}") from error
    names = unique_names(table.colnames)
    arrays, fields = [], []
    for name, column in zip(names, table.itercols(), strict=True):
        array = _array(column)
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata=_metadata(column) or None))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _metadata(column: Any) -> dict[bytes, bytes]:
    meta = column.meta or {}
    found = {
        b"unit": column.unit,
        b"ucd": meta.get("ucd"),
        b"utype": meta.get("utype"),
        b"description": column.description,
        b"format": column.format,
    }
    return {key: str(value).encode() for key, value in found.items() if value}


def _array(column: Any) -> pa.Array:
    mask = np.ma.getmaskarray(column) if hasattr(column, "mask") else None
    values = np.asarray(column)
    if values.ndim > 1 or values.dtype.kind in "OcM":
        # Arrays of JSON, fixed or variable, and what Arrow has no type of its own for.
        cells = column.tolist()
        if values.dtype.kind == "c":
            cells = [None if cell is None else [cell.real, cell.imag] for cell in cells]
        return pa.array(cells)
    null = np.zeros(len(values), bool) if mask is None else mask
    if values.dtype.kind == "f":
        null = null | np.isnan(values)
    elif values.dtype.kind == "U":
        null = null | (values == "")
    return pa.array(values, mask=null)
