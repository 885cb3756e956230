"""What is left to astropy: FITS streams, and TABLEDATA cells with an encoding of their own."""

import base64
import io
import warnings
from typing import Any

import numpy as np
import pyarrow as pa

from lake.errors import InputError
from lake.formats._votable_header import Field
from lake.formats._votable_stream import ByteStream
from lake.formats._votable_values import finish_numbers, finish_strings
from lake.formats.source import Source, label


def read_fits_stream(
    stream: ByteStream, fields: list[Field], schema: pa.Schema, prefix: str, extension: str
) -> pa.RecordBatch:
    """Read the FITS file in the STREAM of a FITS element.

    Parameters
    ----------
    stream : ByteStream
        At the first byte after the start tag of STREAM; left at its end tag.
    fields : list of Field
        The columns; they, and not the FITS header, say what these mean.
    schema : pyarrow.Schema
        Of the batch.
    prefix : str
        The namespace prefix of the file's tags, with its colon.
    extension : str
        The number of the HDU, from 0 for the primary one.

    Returns
    -------
    pyarrow.RecordBatch

    Raises
    ------
    lake.errors.InputError
        A truncated file, text that is not base64, a FITS file that does not fit the fields.
    """
    from astropy.io import fits

    try:
        text = b"".join(stream.until(f"</{prefix}STREAM".encode(), b""))
        with fits.open(io.BytesIO(base64.b64decode(text))) as hdus:
            records = hdus[int(extension)].data
            columns = [np.array(records.field(i)) for i in range(len(records.dtype))]
    except EOFError:
        raise InputError(stream.name, "the file ends inside the data; truncated", "FITS") from None
    except (ValueError, OSError, IndexError, AttributeError, TypeError) as error:
        problem = f"no FITS table in HDU {extension} ({error})"
        raise InputError(stream.name, problem, "FITS") from None
    if len(columns) != len(fields):
        problem = f"the FITS table has {len(columns)} columns, expected {len(fields)}"
        raise InputError(stream.name, problem, "FITS")
    return _batch(columns, fields, schema, stream.name)


def read_with_astropy(
    source: Source, table: int, fields: list[Field], schema: pa.Schema
) -> pa.RecordBatch:
    """Read a whole table with `astropy.io.votable`.

    Parameters
    ----------
    source : str, PathLike or bytes
        The document.
    table : int
        The number of the table in document order, from 0.
    fields : list of Field
        Its columns.
    schema : pyarrow.Schema
        Of the batch.

    Returns
    -------
    pyarrow.RecordBatch

    Raises
    ------
    lake.errors.InputError
        What astropy cannot read either.
    """
    from astropy.io import votable

    name = label(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = io.BytesIO(source) if isinstance(source, bytes) else name
            array = list(votable.parse(file, verify="ignore").iter_tables())[table].array
    except (ValueError, TypeError, IndexError, EOFError, votable.exceptions.VOWarning) as error:
        raise InputError(name, f"astropy cannot read the table: {error}") from None
    return _batch([array[column] for column in array.dtype.names], fields, schema, name)


def _batch(columns: list[Any], fields: list[Field], schema: pa.Schema, path: str) -> pa.RecordBatch:
    arrays = []
    for column, field in zip(columns, fields, strict=True):
        try:
            values = [_plain(value, field) for value in column]
            arrays.append(_finish(pa.array(values, field.type), field))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError) as error:
            problem = f"not of datatype {field.datatype}: {error}"
            raise InputError(path, problem, f"column {field.name!r}") from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _plain(value: Any, field: Field) -> Any:
    """Turn a numpy scalar or array, masked or not, into Python values."""
    if value is np.ma.masked or value is None:
        return None
    if field.is_list:
        items = np.ma.ravel(value).tolist()
        return [_plain(item, Field(field.name, field.datatype)) for item in items]
    if isinstance(value, bytes):
        return value.decode()
    if field.is_complex:
        return None if np.isnan(value) else [value.real, value.imag]
    if field.element_type == pa.bool_():
        return bool(value)
    return value.item() if isinstance(value, np.generic) else value


def _finish(values: pa.Array, field: Field) -> pa.Array:
    if field.is_text and not field.is_list:
        return finish_strings(values, field)
    return values if field.is_list else finish_numbers(values, field)
