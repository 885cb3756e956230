"""TABLEDATA to Arrow: cells are found by their tags' places, all of a block at once."""

import re
from collections.abc import Iterator
from xml.parsers import expat

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import InputError
from lake.formats._votable_header import Field
from lake.formats._votable_stream import ByteStream
from lake.formats._votable_values import CellError, as_text, convert_cells, null_where, slices

Places = npt.NDArray[np.int64]

_BLANK = ord(" ")
_REFERENCE = re.compile(r"&(?:#([0-9]+)|#x([0-9a-fA-F]+)|(amp|lt|gt|quot|apos));|&")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


class ForeignCells(Exception):
    """Cells with an encoding of their own, which VOTable 1.1 allowed: astropy reads them."""


def _word(tag: bytes) -> np.uint32:
    """Four bytes as the one number by which they are compared."""
    return np.frombuffer(tag, np.uint32)[0]


_ROW, _CELL, _EMPTY, _CELL_END, _ROW_END = (
    _word(tag) for tag in (b"<TR>", b"<TD>", b"<TD/", b"</TD", b"</TR")
)


def read_tabledata(
    stream: ByteStream, fields: list[Field], schema: pa.Schema, prefix: str
) -> Iterator[pa.RecordBatch]:
    """Read the content of a TABLEDATA element.

    Parameters
    ----------
    stream : ByteStream
        At the first byte after the start tag; left at the end tag.
    fields : list of Field
        The columns.
    schema : pyarrow.Schema
        Of the batches.
    prefix : str
        The namespace prefix of the file's tags, with its colon.

    Yields
    ------
    pyarrow.RecordBatch
        The rows of about one block of the file.

    Raises
    ------
    lake.errors.InputError
        A truncated file, malformed markup, a row with too few or too many cells, a cell that is
        not what its field declares.
    ForeignCells
        A TD with an attribute ``encoding``.
    """
    rows = 0
    tag = prefix.encode()
    try:
        for piece in stream.until(b"</%bTABLEDATA" % tag, b"</%bTR>" % tag):
            batch = _read_rows(_canonical(piece, tag), fields, schema, stream.name, rows)
            rows += batch.num_rows
            yield batch
    except EOFError:
        where = f"row {rows + 1}"
        raise InputError(stream.name, "the file ends inside the table; truncated", where) from None


def _canonical(piece: bytes, prefix: bytes) -> bytes:
    """Bring other spellings of the same thing to the one that `_find_cells` knows."""
    if prefix:
        piece = piece.replace(b"<" + prefix, b"<").replace(b"</" + prefix, b"</")
    if b"\r" in piece:
        # XML 1.0, section 2.11: a parser passes on line feeds alone.
        piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return piece


def _read_rows(
    data: bytes, fields: list[Field], schema: pa.Schema, path: str, rows_before: int
) -> pa.RecordBatch:
    found = _find_cells(data, len(fields))
    has_references = b"&" in data
    if found is None:
        texts = _parse_rows(data, fields, path, rows_before)
        has_references = False
        data, starts, ends = _lay_out(texts, len(fields))
    else:
        starts, ends = found
    if not starts.size:
        return pa.RecordBatch.from_pylist([], schema)
    kept = [i for i, field in enumerate(fields) if field.is_text and field.is_list]
    untrimmed = {i: (starts[:, i].copy(), ends[:, i].copy()) for i in kept}
    _trim(np.frombuffer(data, np.uint8), starts, ends)
    columns = []
    for i, field in enumerate(fields):
        begin, end = untrimmed.get(i, (starts[:, i], ends[:, i]))
        try:
            missing = begin == end
            cells = as_text(slices(data, begin, end, missing))
            if has_references:
                cells = _dereference(cells, trim=i not in untrimmed)
            columns.append(convert_cells(cells, field))
        except CellError as error:
            raise error.in_file(path, field, rows_before) from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _find_cells(data: bytes, columns: int) -> tuple[Places, Places] | None:
    """Find where the cells begin and end.

    Parameters
    ----------
    data : bytes
        Whole rows.
    columns : int
        The number of cells in each.

    Returns
    -------
    tuple of numpy.ndarray of int64, shape (rows, columns), or None
        None where the markup is not plain TR and TD throughout, with `columns` cells a row.
    """
    raw = np.frombuffer(data, np.uint8)
    tags: Places = np.flatnonzero(raw == ord("<"))
    if not tags.size:
        return np.empty((0, columns), np.int64), np.empty((0, columns), np.int64)
    if tags[-1] + 5 > raw.size:
        return None
    words = np.ndarray(raw.size - 3, np.uint32, data, strides=(1,))[tags]
    empty = words == _EMPTY
    if empty.any():
        # <TD/> is the start tag and the end tag, so it counts twice.
        times = empty.astype(np.int64) + 1
        tags, words, empty = (np.repeat(each, times) for each in (tags, words, empty))
    if tags.size % (2 * columns + 2):
        return None
    tags, words, empty = (each.reshape(-1, 2 * columns + 2) for each in (tags, words, empty))
    opened, closed = slice(1, -1, 2), slice(2, -1, 2)
    plain = (
        (words[:, 0] == _ROW).all()
        and ((words[:, opened] == _CELL) | empty[:, opened]).all()
        and ((words[:, closed] == _CELL_END) | empty[:, closed]).all()
        and (empty[:, opened] == empty[:, closed]).all()
        and (words[:, -1] == _ROW_END).all()
        and (raw[tags[:, 2::2] + 4] == ord(">")).all()
        and (raw[tags[:, -1] + 4] == ord(">")).all()
    )
    # The text of <TD/> lies, with no length, before its ">".
    ends = tags[:, closed] + 4 * empty[:, closed]
    return (tags[:, opened] + 4, ends) if plain else None


def _trim(raw: npt.NDArray[np.uint8], starts: Places, ends: Places) -> None:
    """Leave out the white space around the text of cells, in place.

    Around an empty cell are characters of tags, so nothing is ever trimmed beyond a cell.
    """
    flat = starts.ravel()
    places = np.flatnonzero(raw[flat] <= _BLANK)
    while places.size:
        flat[places] += 1
        places = places[raw[flat[places]] <= _BLANK]
    flat = ends.ravel()
    places = np.flatnonzero(raw[flat - 1] <= _BLANK)
    begins = starts.ravel()
    places = places[flat[places] > begins[places]]
    while places.size:
        flat[places] -= 1
        places = places[(raw[flat[places] - 1] <= _BLANK) & (flat[places] > begins[places])]


def _dereference(cells: pa.StringArray, *, trim: bool) -> pa.StringArray:
    """Replace entity and character references where there are any."""
    with_references = pc.fill_null(pc.match_substring(cells, "&"), False)
    places = np.flatnonzero(with_references.to_numpy(zero_copy_only=False))
    if not places.size:
        return cells
    replaced = []
    for index in places.tolist():
        text = cells[index].as_py()
        try:
            meant = _REFERENCE.sub(_referenced, text)
        except (KeyError, ValueError, OverflowError):
            raise CellError(index, f"malformed entity in {text!r}; write &amp; for &") from None
        replaced.append(meant.strip(" \t\n\r\0") if trim else meant)
    cells = pc.replace_with_mask(cells, with_references, pa.array(replaced, pa.string()))
    return null_where(cells, pc.equal(cells, ""))


def _referenced(match: re.Match[str]) -> str:
    decimal, hexadecimal, name = match.groups()
    if decimal or hexadecimal:
        return chr(int(decimal) if decimal else int(hexadecimal, 16))
    return _ENTITIES[name]


def _parse_rows(data: bytes, fields: list[Field], path: str, rows_before: int) -> list[list[str]]:
    """Read rows whose markup is not plain, with an XML parser; slower by far.

    Parameters
    ----------
    data : bytes
        Whole rows.
    fields : list of Field
        The columns.
    path : str
        For messages.
    rows_before : int
        The number of rows read before these.

    Returns
    -------
    list of list of str
        The text of the cells, row by row.
    """
    rows: list[list[str]] = []
    parts: list[str] = []
    open_tags: list[str] = []

    def here(problem: str) -> InputError:
        return InputError(path, problem, f"row {rows_before + max(len(rows), 1)}")

    def start(tag: str, attributes: dict[str, str]) -> None:
        expected = {0: "TABLEDATA", 1: "TR", 2: "TD"}.get(len(open_tags))
        if tag == "TR" and len(open_tags) == 1:
            rows.append([])
        if tag != expected:
            raise here(f"<{tag}> inside <{open_tags[-1]}>, expected {expected or 'text'}")
        if "encoding" in attributes:
            raise ForeignCells
        open_tags.append(tag)
        parts.clear()

    def end(tag: str) -> None:
        open_tags.pop()
        if tag == "TD":
            rows[-1].append("".join(parts))
        elif tag == "TR" and len(rows[-1]) != len(fields):
            raise here(f"{len(rows[-1])} cells, expected one for each of {len(fields)} fields")

    parser = expat.ParserCreate("UTF-8")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = parts.append
    try:
        parser.Parse(b"<TABLEDATA>" + data + b"</TABLEDATA>", True)
    except expat.ExpatError as error:
        raise here(expat.errors.messages.get(error.code, str(error))) from None
    return rows


def _lay_out(rows: list[list[str]], columns: int) -> tuple[bytes, Places, Places]:
    """Put parsed cells into a buffer as `_find_cells` would have found them."""
    cells = [cell.encode() for row in rows for cell in row]
    lengths = np.array([len(cell) for cell in cells], np.int64).reshape(-1, columns)
    # One byte between cells, as `_trim` expects; it never matters which.
    ends = np.cumsum(lengths.ravel() + 1).reshape(-1, columns)
    return b">" + b"<".join(cells) + b"<", ends - lengths, ends.copy()
