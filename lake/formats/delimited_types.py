"""Text cells of a delimited file as typed Arrow columns, decided over the whole file."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

NULLS = ("", "NaN", "nan", "null", "NULL", "None", "--")
#: Cells that mean no value among numbers and booleans; among text they may be text.
NO_NUMBERS = ("NA", "N/A", "n/a")
_TRUE = ("TRUE", "True", "true")
_FALSE = ("FALSE", "False", "false")
# `00123` and `0x1F` name things; Arrow would read them as numbers.
_CODE = r"^[+-]?0[0-9xX]"
_WHOLE = r"^[+-]?[0-9]+$"


def clean(cells: pa.Array, nulls: pa.Array) -> pa.Array:
    """Cells without the blanks around them, null where they stand for no value."""
    cells = pc.utf8_trim_whitespace(cells)
    is_null = pc.is_in(cells, value_set=nulls)
    return pc.if_else(is_null, None, cells) if pc.any(is_null).as_py() else cells


def _without_na(cells: pa.Array) -> pa.Array:
    no_number = pc.is_in(cells, value_set=pa.array(NO_NUMBERS))
    return pc.if_else(no_number, None, cells) if pc.any(no_number).as_py() else cells


def _cast(cells: pa.Array, kind: pa.DataType) -> pa.Array | None:
    try:
        # A cast that fails words an error for every cell: let a few cells fail first.
        cells.slice(0, 32).cast(kind)
        return cells.cast(kind)
    except pa.ArrowInvalid:
        return None


@dataclass
class ColumnType:
    """What the cells of a column seen so far can all be; it only ever narrows.

    Parameters
    ----------
    declared : str
        Letter of a display format (A, I, F, E, D, G) that the file gives for the column;
        empty if it gives none. It keeps columns that happen to hold only 0, or nothing at
        all, of one type across the files of a survey.
    """

    declared: str = ""

    def __post_init__(self) -> None:
        number = self.declared in ("I", "F", "E", "D", "G")
        self.boolean = not number
        self.int64 = self.uint64 = self.whole = self.declared in ("", "I")
        self.float64 = self.declared != "A"
        self.empty = True
        self.code = self.nan = False

    def see(self, cells: pa.Array, raw: pa.Array) -> None:
        """Narrow by the cells of one more batch.

        Parameters
        ----------
        cells, raw : pyarrow.Array
            The cells, cleaned and as they stand in the file.
        """
        cells = _without_na(cells)
        if cells.null_count == len(cells):
            # Only where there is no value does it matter how its absence is written.
            if self.empty and not self.nan:
                trimmed = pc.utf8_lower(pc.utf8_trim_whitespace(raw))
                numbers = pa.array(["nan", *map(str.lower, NO_NUMBERS)])
                self.nan = bool(pc.any(pc.is_in(trimmed, value_set=numbers)).as_py())
            return
        self.empty = False
        if self.boolean:
            known = pc.is_in(cells, value_set=pa.array([*_TRUE, *_FALSE]), skip_nulls=True)
            self.boolean = bool(pc.all(pc.or_(known, pc.is_null(cells))).as_py())
            if self.boolean:
                self.int64 = self.uint64 = self.whole = self.float64 = False
        if not self.boolean and (self.whole or self.float64):
            self._see_numbers(cells)

    def _see_numbers(self, cells: pa.Array) -> None:
        if self.whole and self._whole(cells):
            self.code |= bool(pc.any(pc.match_substring_regex(cells, _CODE)).as_py())
            return
        self.int64 = self.uint64 = self.whole = False
        if self.float64:
            self.float64 = _cast(cells, pa.float64()) is not None

    def _whole(self, cells: pa.Array) -> bool:
        if self.int64:
            numbers = _cast(_unsigned_text(cells), pa.int64())
            if numbers is not None:
                if self.uint64:
                    self.uint64 = pc.min(numbers).as_py() >= 0
                return True
            self.int64 = False
        if self.uint64:
            if _cast(_unsigned_text(cells), pa.uint64()) is not None:
                return True
            self.uint64 = False
        return bool(pc.all(pc.match_substring_regex(cells, _WHOLE)).as_py())

    @property
    def type(self) -> pa.DataType:
        """Arrow type of the column."""
        if self.empty:
            if self.declared:
                return {"A": pa.string(), "I": pa.int64()}.get(self.declared, pa.float64())
            return pa.float64() if self.nan else pa.string()
        if self.boolean:
            return pa.bool_()
        # Codes among numbers with decimals are numbers; integers past 64 bits stay exact.
        if self.whole and (self.code or not (self.int64 or self.uint64)):
            return pa.string()
        if self.int64:
            return pa.int64()
        if self.uint64:
            return pa.uint64()
        return pa.float64() if self.float64 else pa.string()


def _unsigned_text(cells: pa.Array) -> pa.Array:
    # Arrow takes `+1.5` as a float but not `+1` as an integer.
    if pc.any(pc.starts_with(cells, "+")).as_py():
        return pc.replace_substring_regex(cells, r"^\+", "")
    return cells


def without_nan(values: pa.Array) -> pa.Array:
    """Values with NaN, where they are floats, as null."""
    if not pa.types.is_floating(values.type):
        return values
    nan = pc.is_nan(values)
    return pc.if_else(nan, None, values) if pc.any(nan).as_py() else values


def convert(cells: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cleaned cells as values of a type.

    Raises
    ------
    pyarrow.ArrowInvalid
        A cell does not fit; `misfit` says which.
    """
    if not pa.types.is_string(kind):
        cells = _without_na(cells)
    if pa.types.is_boolean(kind):
        true = pc.is_in(cells, value_set=pa.array([*_TRUE, "1"]))
        known = pc.or_(true, pc.is_in(cells, value_set=pa.array([*_FALSE, "0"])))
        if not pc.all(pc.or_(known, pc.is_null(cells))).as_py():
            raise pa.ArrowInvalid("not a boolean")
        return pc.if_else(pc.is_null(cells), None, true)
    if pa.types.is_integer(kind):
        return _unsigned_text(cells).cast(kind)
    # `-nan` and `NAN` are read as numbers by Arrow, and mean none.
    return without_nan(cells.cast(kind))


def misfit(cells: pa.Array, kind: pa.DataType) -> int | None:
    """Index of the first cell that does not convert to a type, by halving; None if all do."""
    try:
        convert(cells, kind)
    except pa.ArrowInvalid:
        first, count = 0, len(cells)
        while count > 1:
            half = count // 2
            try:
                convert(cells.slice(first, half), kind)
            except pa.ArrowInvalid:
                count = half
            else:
                first, count = first + half, count - half
        return first
    return None
