"""Values of a query's parameters, written into it.

DuckDB works a query with parameters out before it makes a relation of it, and holds the result row
by row: seventy times slower than the same query with the values in its text, and never streamed.
"""

from collections.abc import Sequence

import duckdb

from lake import contracts

#: Kinds that DuckDB binds integers as, and bits without the sign.
_INTEGERS = (("INTEGER", 31), ("BIGINT", 63))


def bound(query: str, params: Sequence[object]) -> str | None:
    """Write values into a query in the place of its ``?``.

    Parameters
    ----------
    query : str
    params : sequence

    Returns
    -------
    str or None
        None where DuckDB itself has to bind them: a value is no text, number or truth value,
        places are numbered, or there are not as many values as places.
    """
    literals = [_literal(value) for value in params]
    text = query.encode()  # DuckDB counts bytes
    places = [
        place
        for place, kind in duckdb.tokenize(query)
        if kind == duckdb.token_type.operator and text[place : place + 1] == b"?"
    ]
    if len(places) != len(literals):
        return None
    parts, end = [], 0
    for place, literal in zip(places, literals, strict=True):
        if literal is None or text[place + 1 : place + 2].isdigit():
            return None
        parts += [text[end:place].decode(), literal]
        end = place + 1
    return "".join([*parts, text[end:].decode()])


def _literal(value: object) -> str | None:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        return contracts.literal(value) if "\0" not in value else None
    if type(value) is int:
        kind = next((name for name, bits in _INTEGERS if -(2**bits) <= value < 2**bits), None)
        return f"CAST({value} AS {kind})" if kind else None
    if isinstance(value, float):
        # As text: a number with a point is a DECIMAL first, which is not as fine.
        return f"CAST('{float(value)!r}' AS DOUBLE)"
    return None
