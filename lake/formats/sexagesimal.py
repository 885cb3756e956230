"""Positions written in hours or degrees, minutes and seconds."""

import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import InputError

_SIXTY = r"[0-5]?\d"
_PATTERN = (
    rf"^(?P<sign>[+-]?)(?P<a>\d{{1,3}})[:hd ] ?(?P<b>{_SIXTY})[:m' ] ?"
    rf"(?P<c>{_SIXTY}(?:\.\d*)?|60(?:\.0*)?)[s\"]?$"  # rounding makes 60.00 of 59.996
)


def degrees(texts: pa.StringArray, name: str, path: object, start: int, *, hours: bool) -> pa.Array:
    """Degrees of ``hh mm ss.s`` or ``+dd mm ss``, with blanks, colons or units between.

    Parameters
    ----------
    texts : pyarrow.StringArray
    name : str
        The column, for the message.
    path : str or Path
        The file, for the message.
    start : int
        Row of the first text, from 1, for the message.
    hours : bool
        Whether the first number is of hours: right ascensions are.

    Returns
    -------
    pyarrow.DoubleArray
        Null stays null.

    Raises
    ------
    InputError
        For a text of another form.
    """
    parts = pc.extract_regex(pc.utf8_trim_whitespace(texts), _PATTERN)
    bad = pc.and_(pc.is_valid(texts), pc.is_null(parts))
    if pc.any(bad).as_py():
        row = int(pc.index(bad, True).as_py())
        raise InputError(
            str(path),
            f"{texts[row].as_py()!r} is not {'hh mm ss' if hours else 'dd mm ss'}, expected where "
            "a column is not in degrees",
            f"row {start + row}, column {name!r}",
        )
    whole, minutes, seconds = (pc.struct_field(parts, part).cast(pa.float64()) for part in "abc")
    value = pc.add(whole, pc.add(pc.divide(minutes, 60.0), pc.divide(seconds, 3600.0)))
    negative = pc.equal(pc.struct_field(parts, "sign"), "-")
    return pc.multiply(pc.if_else(negative, pc.negate(value), value), 15.0 if hours else 1.0)
