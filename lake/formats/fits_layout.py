"""Columns of FITS tables as their headers describe them.

The layout of a table (names, offsets, types, nulls, scales) depends on its header's bytes
alone and is cached by them: a survey has a handful of layouts in its millions of files.
Rules follow the FITS standard 4.0, sections 7.2 (ASCII tables) and 7.3 (binary tables).
"""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa

from lake.formats.fits_header import Header, Malformed
from lake.formats.source import unique_names

# Bytes in the file, per element; X is counted in bits, A in characters.
_DTYPES = {
    "L": "u1", "X": "u1", "B": "u1", "A": "u1", "I": ">i2", "J": ">i4", "K": ">i8",
    "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16",
}  # fmt: skip
# Integers of the other signedness are stored with their highest bit flipped (table 19).
FLIPPED: dict[tuple[int, float], str] = {
    (1, -128): "i1", (2, 2**15): "u2", (4, 2**31): "u4", (8, 2**63): "u8",
}  # fmt: skip
_TFORM = re.compile(r"(\d*)([LXBIJKAEDCMPQ])(.*)", re.DOTALL)
_ASCII_TFORM = re.compile(r"([AIFED])([1-9]\d*)(?:\.(\d+))?")
_FILLER_COMMENT = re.compile(r"(label|name|title) (for|of) (field|column)\b.*", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Column:
    """One column as its header describes it.

    Attributes
    ----------
    name : str
        TTYPE, made unique without regard to case; ``col3`` where there is none.
    code : str
        Letter of the element type; for variable-length arrays that of their elements.
    count : int
        Elements in a cell (bits for X, characters for A).
    offset, width : int
        Place of the cell in the row, in bytes.
    pointer : str
        ``P`` or ``Q`` for variable-length arrays, else empty.
    characters : int
        Length of one string where a cell of A holds several (TDIM or ``rAw``), else 0.
    scale, zero : float or int
        TSCAL and TZERO.
    null : int or str or None
        TNULL, in terms of the stored values.
    decimals : int
        Implied decimals of a number in an ASCII table.
    text : bool
        The cell is text: the table is an ASCII table.
    metadata : dict of bytes to bytes
        unit, ucd, utype, description, format and arraysize, where known.
    """

    name: str
    code: str
    count: int
    offset: int
    width: int
    pointer: str
    characters: int
    scale: float
    zero: float
    null: int | str | None
    decimals: int
    text: bool
    metadata: dict[bytes, bytes]

    @property
    def stored(self) -> np.dtype:
        """Dtype of a cell in the file."""
        if self.text or (self.code == "A" and not self.pointer and not self.characters):
            return np.dtype(f"S{self.width}")
        if self.pointer:
            return np.dtype((">i4" if self.pointer == "P" else ">i8", (2,)))
        element = self.element
        count = self.width // element.itemsize
        return element if self.code != "X" and self.count == 1 else np.dtype((element, (count,)))

    @property
    def element(self) -> np.dtype:
        """Dtype of an element in the file."""
        return np.dtype(_DTYPES[self.code])

    @cached_property
    def flipped(self) -> str | None:
        """Dtype of integers of the other signedness, None for all others."""
        if self.text or self.code not in "BIJK" or self.scale != 1:
            return None
        return FLIPPED.get((self.element.itemsize, self.zero))

    @cached_property
    def scaled(self) -> bool:
        """Whether values are TZERO + TSCAL x stored, in double precision."""
        return (
            self.code in "BIJKEDCM" and self.flipped is None and (self.scale, self.zero) != (1, 0)
        )

    @cached_property
    def arrow_element(self) -> pa.DataType:
        """Arrow type of one element."""
        if self.code in "LX":
            return pa.bool_()
        if self.code == "A":
            return pa.string()
        if self.text:
            return pa.int64() if self.code == "I" and not self.scaled else pa.float64()
        if self.code in "CM":
            part = pa.float32() if self.code == "C" and not self.scaled else pa.float64()
            return pa.list_(part, 2)
        if self.scaled:
            return pa.float64()
        return pa.from_numpy_dtype(self.flipped or self.element.newbyteorder("="))

    @property
    def scalar(self) -> bool:
        """Whether a cell is one value and not an array."""
        if self.code == "A":
            return not self.characters
        return not self.pointer and self.code != "X" and self.count == 1

    @cached_property
    def field(self) -> pa.Field:
        """Arrow field of the column."""
        kind = self.arrow_element if self.scalar else pa.list_(self.arrow_element)
        return pa.field(self.name, kind, metadata=self.metadata or None)


class Layout:
    """Columns of a table, and a NumPy dtype of its rows.

    Parameters
    ----------
    columns : list of Column
        In the file's order.
    row_bytes : int
        NAXIS1.
    """

    def __init__(self, columns: list[Column], row_bytes: int) -> None:
        self.columns = columns
        self.by_name = {column.name.casefold(): column for column in columns}
        stored = [column for column in columns if column.width]
        self.dtype = np.dtype(
            {
                "names": [column.name for column in stored],
                "formats": [column.stored for column in stored],
                "offsets": [column.offset for column in stored],
                "itemsize": row_bytes,
            }
        )
        self.schema = pa.schema([column.field for column in columns])

    @cached_property
    def matrix(self) -> dict[str, tuple[int, np.dtype]]:
        """Place in the row and native dtype of columns that are numbers of one width.

        Empty unless all columns are so, and stored as they are: rows are then a matrix.
        """
        widths = {column.width for column in self.columns}
        plain = all(
            column.scalar and column.code in "BIJKED"
            and not (column.text or column.scaled or column.flipped)
            for column in self.columns
        )  # fmt: skip
        if (
            not plain
            or len(widths) != 1
            or sum(c.width for c in self.columns) < self.dtype.itemsize
        ):
            return {}
        return {
            name: (column.offset // column.width, column.element.newbyteorder("="))
            for name, column in self.by_name.items()
        }


class Cards:
    """Cards of a header as the key of a cache: compared whole, but hashed by a few.

    Parameters
    ----------
    raw : bytes
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cards) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash((len(self.raw), self.raw[:400], self.raw[-400:]))


#: TFIELDS, TTYPE1 and its like, and what says that a table is compressed.
_OF_COLUMNS = re.compile(rb"(?:TFIELDS|ZTABLE|T[A-Z]{2,4}\d{1,3}) *=")


@lru_cache(maxsize=256)
def holds_image(cards: Cards) -> bool:
    """Whether a binary table with these cards is a tile-compressed image."""
    return Header(cards.raw).get("ZIMAGE") is True


@lru_cache(maxsize=256)
def read_layout(cards: Cards, row_bytes: int, text: bool) -> Layout:
    """Layout of a table from the raw cards of its header, from TFIELDS on.

    Parameters
    ----------
    cards : Cards
    row_bytes : int
        NAXIS1.
    text : bool
        The table is an ASCII table.

    Returns
    -------
    Layout

    Raises
    ------
    Malformed
        A column without TFORM, with one that FITS does not have, or past the row's end.
    """
    # Within a survey all cards from TFIELDS on are mostly the same: then no card is looked at.
    return _read_layout(_of_columns(cards), row_bytes, text)


def _of_columns(cards: Cards) -> Cards:
    """Cards of the columns alone: what was observed, and when, differs from file to file."""
    raw, kept, parts = cards.raw, False, []
    for start in range(0, len(raw), 80):
        card = raw[start : start + 80]
        kept = bool(_OF_COLUMNS.match(card)) or (kept and card.startswith(b"CONTINUE"))
        if kept:
            parts.append(card)
    return Cards(b"".join(parts))


@lru_cache(maxsize=256)
def _read_layout(cards: Cards, row_bytes: int, text: bool) -> Layout:
    header = Header(cards.raw)
    if header.get("ZTABLE") is True:
        raise Malformed("is a tile-compressed table; decompress it (funpack) first")
    total = header.integer("TFIELDS")
    about_columns = {c.keyword: c for c in header.cards if c.keyword.startswith("T")}
    numbers = range(1, total + 1)
    titles = [about_columns.get(f"TTYPE{n}") for n in numbers]
    names = unique_names(
        str(title.value).strip() if title and title.value else f"col{n}"
        for n, title in zip(numbers, titles, strict=True)
    )
    columns, offset = [], 0
    for n, name, title in zip(numbers, names, titles, strict=True):
        about = {
            key: card.value
            for key in ("FORM", "SCAL", "ZERO", "NULL", "UNIT", "DISP", "DIM", "UCD", "UTYP",
                        "COMM", "BCOL")
            if (card := about_columns.get(f"T{key}{n}")) and card.value not in (None, "")
        }  # fmt: skip
        if "COMM" not in about and title and not _FILLER_COMMENT.fullmatch(title.comment):
            about["COMM"] = title.comment
        column = _ascii_column(name, n, about) if text else _column(name, n, about, offset)
        offset = column.offset + column.width
        if offset > row_bytes:
            raise Malformed(
                f"it ends at byte {offset} of a row of {row_bytes} bytes (NAXIS1)", column=name
            )
        columns.append(column)
    return Layout(columns, row_bytes)


def _metadata(about: dict[str, Any], arraysize: str) -> dict[bytes, bytes]:
    keys = {"UNIT": b"unit", "UCD": b"ucd", "UTYP": b"utype", "COMM": b"description",
            "DISP": b"format"}  # fmt: skip
    found = {keys[k]: str(about[k]).strip().encode() for k in keys if about.get(k)}
    if arraysize:
        found[b"arraysize"] = arraysize.encode()
    return {key: value for key, value in found.items() if value}


def _number(about: dict[str, Any], key: str, default: int, name: str, n: int) -> float:
    value = about.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Malformed(f"T{key}{n} is {value!r}, expected a number", column=name)
    return value


def _column(name: str, n: int, about: dict[str, Any], offset: int) -> Column:
    form = str(about.get("FORM", "")).strip()
    match = _TFORM.match(form)
    if not match:
        raise Malformed(f"TFORM{n} is {form!r}, which no FITS table has", column=name)
    count, code, rest = int(match[1] or 1), match[2], match[3]
    pointer = ""
    if code in "PQ":
        pointer, width = code, count * (8 if code == "P" else 16)
        if count > 1 or not rest or rest[0] not in _DTYPES:
            raise Malformed(f"TFORM{n} is {form!r}, which no FITS table has", column=name)
        code = rest[0]
    else:
        width = -(-count // 8) if code == "X" else count * np.dtype(_DTYPES[code]).itemsize
    shape = [int(size) for size in re.findall(r"\d+", str(about.get("DIM", "")))]
    characters = 0
    if not pointer and code == "A":
        # `60A12` is an older way to say TDIM (12,5).
        each = shape[0] if len(shape) > 1 else int(rest) if rest.isdigit() else 0
        characters = each if 0 < each < count and count % each == 0 else 0
    if prod(shape) != (count if code != "A" or characters else 0):
        shape = []
    if pointer:
        arraysize = "" if code == "A" else "*"
    elif code == "A":
        arraysize = (
            "x".join(map(str, shape or [characters, count // characters])) if characters else ""
        )
    else:
        arraysize = "x".join(map(str, shape)) if shape else str(count) if count != 1 else ""
    null = about.get("NULL")
    if (
        code in "BIJK"
        and null is not None
        and (isinstance(null, bool) or not isinstance(null, int))
    ):
        # Some writers quote the number.
        try:
            null = int(str(null))
        except ValueError:
            raise Malformed(f"TNULL{n} is {null!r}, expected an integer", column=name) from None
    return Column(
        name=name, code=code, count=count, offset=offset, width=width, pointer=pointer,
        characters=characters, scale=_number(about, "SCAL", 1, name, n),
        zero=_number(about, "ZERO", 0, name, n),
        null=null if code in "BIJK" else str(null) if code == "A" and null is not None else None,
        decimals=0, text=False, metadata=_metadata(about, arraysize),
    )  # fmt: skip


def _ascii_column(name: str, n: int, about: dict[str, Any]) -> Column:
    form = str(about.get("FORM", "")).strip()
    match = _ASCII_TFORM.fullmatch(form)
    start = about.get("BCOL")
    if not match or not isinstance(start, int) or start < 1:
        raise Malformed(
            f"TFORM{n} is {form!r} and TBCOL{n} {start!r} in an ASCII table", column=name
        )
    null = about.get("NULL")
    return Column(
        name=name, code=match[1], count=1, offset=start - 1, width=int(match[2]), pointer="",
        characters=0, scale=_number(about, "SCAL", 1, name, n),
        zero=_number(about, "ZERO", 0, name, n), null=None if null is None else str(null).strip(),
        decimals=int(match[3] or 0), text=True, metadata=_metadata(about, ""),
    )  # fmt: skip
