"""Values of a query's parameters, written into it.

DuckDB works a query with parameters out before it makes a relation of it, and holds the result row
by row: seventy times slower than the same query with the values in its text, and never streamed.
"""

import math
from collections.abc import Sequence

from sqlglot import TokenType
from sqlglot.dialects import DuckDB
from sqlglot.errors import TokenError

from lake import contracts


def bound(query: str, params: Sequence[object]) -> str | None:
    """Write values into a query in the place of its ``?``.

    Parameters
    ----------
    query : str
    params : sequence

    Returns
    -------
    str or None
        None where DuckDB itself has to bind them: a value is no text, number or truth value, or
        there are not as many values as places.
    """
    literals = [_literal(value) for value in params]
    try:
        tokens = DuckDB().tokenize(query)
    except TokenError:
        return None
    places = [token for token in tokens if token.token_type is TokenType.PLACEHOLDER]
    if len(places) != len(literals):
        return None
    parts, end = [], 0
    for token, literal in zip(places, literals, strict=True):
        if literal is None:
            return None
        parts += [query[end : token.start], literal]
        end = token.end + 1
    return "".join([*parts, query[end:]])


def _literal(value: object) -> str | None:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        return contracts.literal(value)
    if type(value) is int:
        return f"({value})"
    if isinstance(value, float):
        return f"({value!r}::DOUBLE)" if math.isfinite(value) else f"('{value}'::DOUBLE)"
    return None
