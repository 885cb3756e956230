"""Arrow to an AASTeX deluxetable; a table for a paper, so its rows may cost Python something."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from lake.formats.columns import (
    Display,
    display,
    metadata,
    plain_batch,
    plain_schema,
    simple_text,
)

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\n": " ",
    "\r": " ",
    **{character: "\\" + character for character in "&%$#_{}"},
}
_TABLE = str.maketrans(_ESCAPES)


def escape(text: str) -> str:
    """`text` with the characters that LaTeX takes for itself escaped."""
    return text.translate(_TABLE)


def write_latex(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: str | Path,
    *,
    caption: str = "",
    remarks: Sequence[str] = (),
    comments: str = "",
) -> int:
    r"""Write a ``deluxetable*`` with a row of units.

    Nulls and NaN are ``\nodata``. Floats are shown by their display format, probabilities
    (UCD ``stat.probability``, or names that start with ``p_``) to 3 decimals, degrees to 6,
    points in time to 5 (days) or 3 (seconds), others to 6 significant figures.

    Parameters
    ----------
    batches : iterable of pa.RecordBatch
    schema : pa.Schema
    path : str or Path
    caption : str
        Plain text.
    remarks : sequence of str
        Lines at the head of the file, behind ``%``.
    comments : str
        Plain text below the table.

    Returns
    -------
    int
        Rows written.
    """
    schema = plain_schema(schema)
    forms = [_form(field) for field in schema]
    alignment = "".join("r" if _is_number(t) else "l" for t in schema.types)
    names = " & ".join(rf"\colhead{{{escape(name)}}}" for name in schema.names)
    units = " & ".join(rf"\colhead{{{_unit(field)}}}" for field in schema)
    rows = 0
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        out.writelines(f"% {line}\n" for remark in remarks for line in remark.splitlines())
        out.write(f"\\begin{{deluxetable*}}{{{alignment}}}\n\\tabletypesize{{\\scriptsize}}\n")
        out.write(f"\\tablecaption{{{escape(caption)}}}\n")
        out.write(f"\\tablehead{{{names} \\\\\n{units}}}\n\\startdata\n")
        for batch in batches:
            columns = [
                _cells(column, form)
                for column, form in zip(plain_batch(batch, schema).columns, forms, strict=True)
            ]
            for row in zip(*columns, strict=True):
                out.write((" \\\\\n" if rows else "") + " & ".join(row))
                rows += 1
        out.write("\n\\enddata\n")
        if comments:
            out.write(f"\\tablecomments{{{escape(comments)}}}\n")
        out.write("\\end{deluxetable*}\n")
    return rows


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _form(field: pa.Field) -> Display:
    form = display(field)
    if form and form.decimals is not None:
        return form
    probability = "stat.probability" in (metadata(field, b"ucd") or "")
    if probability or field.name.startswith("p_"):
        return Display("F", None, 3)
    unit = metadata(field, b"unit")
    if unit == "deg":
        return Display("F", None, 6)
    # Points in time have many digits before those that tell them apart.
    if (metadata(field, b"ucd") or "").startswith(("time.start", "time.end", "time.epoch")):
        return Display("F", None, 5 if unit == "d" else 3)
    return Display("G", None, 6)


def _cells(column: pa.Array, form: Display) -> list[str]:
    if _is_number(column.type):
        return [_number(value, form) for value in column.to_pylist()]
    if pa.types.is_nested(column.type):
        return [_nested(value, form) for value in column.to_pylist()]
    texts = simple_text(column).to_pylist()
    return [r"\nodata" if text is None else escape(text) for text in texts]


def _number(value: float | None, form: Display) -> str:
    if value is None or math.isnan(value):
        return r"\nodata"
    if isinstance(value, int):
        text = str(value)
    elif math.isinf(value):
        return r"$\infty$" if value > 0 else r"$-\infty$"
    else:
        letter = {"F": "f", "E": "e", "D": "e", "G": "g"}[form.letter]
        text = format(value, f".{form.decimals}{letter}")
    mantissa, _, exponent = text.partition("e")
    if exponent:
        return rf"${mantissa}\times10^{{{int(exponent)}}}$"
    return f"${text}$" if text.startswith("-") else text


def _nested(value: object, form: Display) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{escape(key)}: {_nested(item, form)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_nested(item, form) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return _number(value, form)
    return r"\nodata" if value is None else escape(str(value))


def _unit(field: pa.Field) -> str:
    unit = metadata(field, b"unit")
    if not unit:
        return ""
    # Units come as VOUnits: a point for the product, ** for the power.
    parts = re.sub(r"^(10\*\*-?\d+)(?=[A-Za-z])", r"\1.", unit)
    parts = re.sub(r"\*\*(-?\d+)", r"^{\1}", parts)
    if parts != unit and re.fullmatch(r"[A-Za-z0-9.^{}\-]+", parts):
        return rf"($\mathrm{{{parts.replace('.', chr(92) + ',')}}}$)"
    return f"({escape(unit)})"
