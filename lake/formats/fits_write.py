"""Arrow to a FITS binary table; memory is of the order of the table.

Source of the format: FITS Standard 4.0 (2018), section 7.3. The keywords TUCDn, TUTYPn and TCOMMn
are the common convention of STIL (TOPCAT) and others.
"""

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import LacusError
from lake.formats.columns import (
    STORED,
    cell_text,
    display,
    is_numeric_list,
    list_parts,
    metadata,
    plain_batch,
    plain_schema,
    slices,
    stored,
    text_bytes,
)

if TYPE_CHECKING:
    from astropy.io.fits import Header

Cards = Sequence[tuple[str, str | int, str]]

BLOCK = 2880
_FORMS = {"u1": "B", ">i2": "I", ">i4": "J", ">i8": "K", ">f4": "E", ">f8": "D", "S1": "L"}
_WIDER = {"u1": ">i2", ">i2": ">i4", ">i4": ">i8"}


class _Column(NamedTuple):
    form: str
    cells: np.ndarray  # one row of the table per element of the first axis
    null: int | None = None
    heap: np.ndarray | None = None


def write_fits(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: str | Path,
    *,
    cards: Cards = (),
    history: Sequence[str] = (),
    compress: bool = False,
) -> int:
    r"""Write one FITS binary table.

    Units, UCDs, utypes, display formats and descriptions become TUNIT, TUCD, TUTYP, TDISP and
    TCOMM. A null is TNULL in integers (a value that the column does not hold; where it holds
    all of its type, the type is widened), NaN in floats, a zero byte in booleans, a cell of
    zero bytes in text. Lists of numbers are vectors of fixed length where all rows have the
    same (above one), else variable-length arrays, in which null and empty are one. Dates and
    times are ISO text, nested types and lists of strings JSON text.

    Parameters
    ----------
    batches : iterable of pa.RecordBatch
    schema : pa.Schema
    path : str or Path
    cards : sequence of (keyword, value, comment)
        More keywords of the table; what is not ASCII is written as ``\xNN``.
    history : sequence of str
        Lines of HISTORY.
    compress : bool
        Through gzip.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    LacusError
        For what FITS cannot hold: text that is not printable ASCII (column and row are named),
        an unsigned integer above int64, more than 999 columns.
    """
    schema = plain_schema(schema)
    if not 0 < len(schema) <= 999:
        raise LacusError(f"a FITS table has 1 to 999 columns, not {len(schema)}")
    pieces = [plain_batch(piece, schema) for batch in batches for piece in slices(batch)]
    table = pa.Table.from_batches(pieces, schema)
    columns = [
        _column(field, column.combine_chunks())
        for field, column in zip(schema, table.columns, strict=True)
    ]
    rows, heap = _assemble(columns, table.num_rows)
    header = _header(schema, columns, table.num_rows, heap)
    _place_cards(header, cards, history)
    with open(path, "wb") as file:
        if compress:
            # Neither the name nor the time of writing: the same table gives the same bytes.
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as out:
                _write_hdus(cast(IO[bytes], out), header, rows, heap)
        else:
            _write_hdus(file, header, rows, heap)
    return table.num_rows


def _write_hdus(out: IO[bytes], header: "Header", rows: np.ndarray, heap: list[np.ndarray]) -> None:
    from astropy.io.fits import Header

    primary = Header()
    primary["SIMPLE"] = (True, "conforms to the FITS standard")
    primary["BITPIX"] = 8
    primary["NAXIS"] = 0
    primary["EXTEND"] = True
    out.write(primary.tostring().encode("ascii"))
    out.write(header.tostring().encode("ascii"))
    size = 0
    for part in [rows, *heap]:
        size += part.nbytes
        out.write(np.ascontiguousarray(part).view(np.uint8).data)
    out.write(b"\0" * (-size % BLOCK))


# --- columns -----------------------------------------------------------------------------------


def _column(field: pa.Field, array: pa.Array) -> _Column:
    if is_numeric_list(field.type):
        return _list_column(field, array)
    if field.type in STORED:
        cells, null = _numbers(array, field.name)
        return _Column(_FORMS[_code(cells)], cells, null)
    cells = _text_cells(cell_text(array), field.name)
    return _Column(f"{cells.dtype.itemsize}A", cells)


def _code(array: np.ndarray) -> str:
    return array.dtype.str.lstrip("|")


def _list_column(field: pa.Field, array: pa.Array) -> _Column:
    elements, lengths = list_parts(array)
    cells, null = _numbers(elements, field.name)
    letter = _FORMS[_code(cells)]
    size = int(lengths[0]) if len(lengths) else 0
    # A vector of one would read back as a number.
    if size > 1 and array.null_count == 0 and (lengths == size).all():
        return _Column(f"{size}{letter}", cells.reshape(-1, size), null)
    # P has 32-bit descriptors, Q 64-bit ones; offsets are made absolute when the heap is known.
    wide = cells.nbytes > np.iinfo(np.int32).max // 2
    descriptors = np.zeros((len(lengths), 2), ">i8" if wide else ">i4")
    descriptors[:, 0] = lengths
    descriptors[1:, 1] = np.cumsum(lengths[:-1]) * cells.dtype.itemsize
    longest = int(lengths.max(initial=0))
    return _Column(f"1{'Q' if wide else 'P'}{letter}({longest})", descriptors, null, cells)


def _numbers(array: pa.Array, name: str) -> tuple[np.ndarray, int | None]:
    """Big-endian values, and the value that stands for null if there is any null."""
    if pa.types.is_boolean(array.type):
        code = pc.fill_null(pc.if_else(array, ord("T"), ord("F")), 0)
        return code.to_numpy().astype(np.uint8).view("S1"), None
    dtype = STORED[array.type]
    if array.null_count == 0 or pa.types.is_floating(array.type):
        return stored(array, dtype, 0, name), None
    used = np.unique(array.drop_null().to_numpy())
    while (null := _unused(used, dtype)) is None:
        dtype = _WIDER[dtype]
    return stored(array, dtype, null, name), null


def _unused(used: np.ndarray, dtype: str) -> int | None:
    """An integer of the type that the sorted values `used` do not hold, None if they hold all."""
    info = np.iinfo(np.dtype(dtype))
    if not len(used) or int(used[0]) > info.min:
        return int(info.min)
    gaps = np.flatnonzero(used[:-1] + 1 != used[1:])
    last = int(used[gaps[0]] if len(gaps) else used[-1])
    return last + 1 if last < info.max else None


def _text_cells(strings: pa.StringArray, name: str) -> np.ndarray:
    """Text as bytes of one width, filled with NULs, as FITS has it."""
    wrong = pc.match_substring_regex(strings, r"[^\x20-\x7e]")
    if pc.any(wrong).as_py():
        row = pc.index(wrong, True).as_py()
        raise LacusError(
            f"column {name!r}, row {row + 1}: {strings[row].as_py()!r} is not printable ASCII, "
            "which is all that FITS text can be; export to Parquet or VOTable"
        )
    # A cell that starts with NUL is null, so that an empty text needs a blank.
    strings = pc.fill_null(pc.if_else(pc.equal(strings, ""), " ", strings), "")
    lengths = pc.binary_length(strings).to_numpy()
    width = max(1, int(lengths.max(initial=0)))
    cells = np.zeros((len(strings), width), np.uint8)
    some_rows = 1 << 16
    for start in range(0, len(strings), some_rows):
        part = lengths[start : start + some_rows].astype(np.int64)
        text = np.frombuffer(text_bytes(strings.slice(start, some_rows)), np.uint8)
        first = np.repeat(np.cumsum(part) - part, part)
        row = np.repeat(np.arange(start, start + len(part)), part)
        cells[row, np.arange(len(text)) - first] = text
    return cells.view(f"S{width}")[:, 0] if len(cells) else np.zeros(0, f"S{width}")


def _assemble(columns: list[_Column], count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The rows as one structured array, and the parts of the heap after them."""
    layout = [(f"f{i}", c.cells.dtype, c.cells.shape[1:]) for i, c in enumerate(columns)]
    rows = np.empty(count, layout)
    heap: list[np.ndarray] = []
    used = 0
    for i, column in enumerate(columns):
        rows[f"f{i}"] = column.cells
        if column.heap is not None:
            if "P" in column.form and used + column.heap.nbytes > np.iinfo(np.int32).max:
                raise LacusError("the arrays exceed 2 GiB in one FITS heap; export to Parquet")
            rows[f"f{i}"][:, 1] += used
            used += column.heap.nbytes
            heap.append(column.heap)
    return rows, heap


# --- header ------------------------------------------------------------------------------------


def _ascii(text: str) -> str:
    """Text fit for a card: one line, ASCII."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode("ascii")


def _header(
    schema: pa.Schema, columns: list[_Column], rows: int, heap: list[np.ndarray]
) -> "Header":
    from astropy.io.fits import Header

    header = Header()
    widths = (c.cells.dtype.itemsize * int(np.prod(c.cells.shape[1:])) for c in columns)
    for keyword, value in {
        "XTENSION": "BINTABLE",
        "BITPIX": 8,
        "NAXIS": 2,
        "NAXIS1": sum(widths),
        "NAXIS2": rows,
        "PCOUNT": sum(part.nbytes for part in heap),
        "GCOUNT": 1,
        "TFIELDS": len(columns),
    }.items():
        header[keyword] = cast(Any, value)
    for n, (field, column) in enumerate(zip(schema, columns, strict=True), start=1):
        header[f"TTYPE{n}"] = _ascii(field.name)
        header[f"TFORM{n}"] = column.form
        if column.null is not None:
            header[f"TNULL{n}"] = column.null
        for keyword, key in (("TUNIT", b"unit"), ("TUCD", b"ucd"), ("TUTYP", b"utype")):
            if text := metadata(field, key):
                header[f"{keyword}{n}"] = _ascii(text)
        if (form := display(field)) and _shows(form.letter, column.form):
            decimals = "" if form.decimals is None else f".{form.decimals}"
            header[f"TDISP{n}"] = f"{form.letter}{form.width or (form.decimals or 0) + 8}{decimals}"
        if text := metadata(field, b"description"):
            header[f"TCOMM{n}"] = _ascii(text)
    return header


def _shows(letter: str, form: str) -> bool:
    """Whether a display letter suits a column of this TFORM; others would make a broken file."""
    stored = form[-1]
    return letter in {"A": "A", "E": "FEDG", "D": "FEDG"}.get(
        stored, "I" if stored in "BIJK" else ""
    )


def _place_cards(header: "Header", cards: Cards, history: Sequence[str]) -> None:
    for keyword, value, comment in cards:
        header[keyword] = (_ascii(value) if isinstance(value, str) else value, comment)
    for line in history:
        header.add_history(_ascii(line))
