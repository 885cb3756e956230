"""The head of a delimited file: its delimiter, column names and what comments say of them."""

import csv
import re
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import BinaryIO

from lake.errors import InputError
from lake.formats.delimited_types import NO_NUMBERS, NULLS
from lake.formats.source import GZIP_FAULTS, Source, label, open_stream, unique_names

ALIGNED = " "
_DELIMITERS = ("\t", ",", ";", "|")
_SAMPLE_LINES = 30
_MAX_LINE = 1 << 24
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# The command-line tool of the CSC: name, format, description, origin, unit and UCD.
_CSC_COLUMN = re.compile(
    r"#Column\t(?P<name>[^\t]*)\t\((?P<format>[^\t]*)\)\t(?P<description>[^\t]*)"
    r'\t\((?P<origin>[^\t]*)\)\t\["?(?P<unit>[^\t]*?)"?\]\t\[(?P<ucd>[^\t]*)\]'
)
# VizieR: name, format, description and UCD; units stand in a line below the names.
_VIZIER_COLUMN = re.compile(
    r"#Column\t(?P<name>[^\t]*)\t\((?P<format>[^\t)]*)\)\t(?P<description>[^\t]*?)"
    r"(?:\t?\[ucd=(?P<ucd>[^\]\t]*)\])?\s*"
)
_RULE = re.compile(r"-+")
# Units begin with a letter, a bracket or a power of ten: `log(cm**-2)`, `[0.1nm]`, `10-3W/m2`.
_UNIT = re.compile(r"[A-Za-zµ%\[(\"°]|10[*^+-]")
_NO_UNIT = frozenset((*NULLS, *NO_NUMBERS, "-"))


@dataclass
class Dialect:
    """How a delimited file is to be read.

    Attributes
    ----------
    delimiter : str
        One character; `ALIGNED` for columns aligned with blanks.
    names : list of str
        Unique column names.
    data_start : int
        Offset of the first byte after the header.
    lines : int
        Lines before that byte.
    metadata : dict of str to dict of bytes to bytes
        Field metadata by column name.
    declared : dict of str to str
        Letter of the display format by column name.
    """

    delimiter: str
    names: list[str]
    data_start: int
    lines: int
    metadata: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)


def split_aligned(lines: bytes) -> bytes:
    """Lines aligned with blanks as lines separated by tabs; quoted blanks stay."""
    lines = re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", lines)
    if b'"' in lines:
        return re.sub(rb'("[^"]*")|[ \t]+', lambda found: found[1] or b"\t", lines)
    return re.sub(rb"[ \t]+", b"\t", lines)


def read_dialect(source: Source, delimiter: str | None) -> Dialect:
    """Read the head of a file.

    Parameters
    ----------
    source : str, PathLike or bytes
        The file, gzipped or not.
    delimiter : str or None
        Found if None.

    Returns
    -------
    Dialect

    Raises
    ------
    InputError
        Not text in UTF-8, empty, or without a header.
    """
    path = label(source)
    try:
        with open_stream(source) as stream:
            return _read(path, stream, delimiter)
    except GZIP_FAULTS as error:
        raise InputError(path, f"broken gzip stream: {error}") from error


def _read(path: str, stream: BinaryIO, delimiter: str | None) -> Dialect:
    comments: list[str] = []
    start = lines = 0
    while True:
        raw = stream.readline(_MAX_LINE)
        if not raw:
            raise InputError(path, "there is no header line, the file is empty or all comments")
        text = _decoded(path, raw, lines + 1)
        if text.strip() and not text.startswith("#"):
            break
        comments.append(text.rstrip("\r\n"))
        start += len(raw)
        lines += 1
    # A quoted name may go on over the end of its line.
    first, first_lines = text, 1
    while first.count('"') % 2 and (more := stream.readline(_MAX_LINE)):
        raw += more
        first += _decoded(path, more, lines + first_lines + 1)
        first_lines += 1
    if first.count('"') % 2:
        raise InputError(path, "a quote in the header is never closed", f"line {lines + 1}")
    below = stream.readlines(1 << 16)[:_SAMPLE_LINES]
    sample = [line.decode("utf-8", "replace") for line in below]
    sample = [line for line in sample if line.strip()]
    if delimiter is None:
        delimiter = _sniff(first, sample)
    names = _split(first, delimiter)
    comments = [line for line in comments if line.strip()]
    units: list[str] = []
    if any(_NUMBER.fullmatch(name) for name in names):
        # `# name ra dec` over the data, as numpy, TOPCAT and people write it.
        above = _split(comments[-1].lstrip("# "), delimiter) if comments else []
        if len(above) != len(names) or any(_NUMBER.fullmatch(name) for name in above):
            number = next(name for name in names if _NUMBER.fullmatch(name))
            raise InputError(
                path,
                f"no header: {number!r} stands where a column name should",
                f"line {lines + 1}",
            )
        names = above
    else:
        ruled = _ruled(below, delimiter, len(names))
        if not ruled and _units_only(below, delimiter, len(names)):
            ruled = 1
            units = _split(_decoded(path, below[0], lines + first_lines + 1), delimiter)
        if ruled == 2:
            units = _split(_decoded(path, below[0], lines + first_lines + 1), delimiter)
        start += len(raw) + sum(len(line) for line in below[:ruled])
        lines += first_lines + ruled
    names = unique_names(name or f"col{number}" for number, name in enumerate(names, 1))
    dialect = Dialect(delimiter, names, start, lines)
    for comment in comments:
        if match := _CSC_COLUMN.fullmatch(comment) or _VIZIER_COLUMN.fullmatch(comment):
            _describe(dialect, match)
    for name, unit in zip(names, units, strict=False):
        if unit not in _NO_UNIT:
            dialect.metadata.setdefault(name, {})[b"unit"] = unit.encode()
    return dialect


def _ruled(below: list[bytes], delimiter: str, columns: int) -> int:
    """Lines from the names to a rule of dashes under each column, as VizieR draws it; 0 for none.

    Two lines are units and the rule.
    """
    for number, line in enumerate(below[:2], 1):
        cells = _split(line.decode("utf-8", "replace"), delimiter)
        rule = len(cells) == columns and all(_RULE.fullmatch(cell) for cell in cells)
        # Two dashes are how some write that there is no value.
        if rule and any(len(cell) > 2 for cell in cells):
            return number
    return 0


def _units_only(below: list[bytes], delimiter: str, columns: int) -> bool:
    """True where the line under the names holds units, and no rule sets it off.

    Then it is text where every line that follows has a number or nothing, blank elsewhere, and
    one of its cells at least is a unit that astropy knows.
    """
    lines = (line.decode("utf-8", "replace") for line in below[:_SAMPLE_LINES])
    rows = [_split(line, delimiter) for line in lines if line.strip()]
    if len(rows) < 2 or any(len(row) != columns for row in rows[:2]):
        return False
    for unit, *cells in zip(*(row for row in rows if len(row) == columns), strict=True):
        below_it = [cell for cell in cells if cell not in _NO_UNIT]
        if unit not in _NO_UNIT and not (
            below_it and _UNIT.match(unit) and all(map(_NUMBER.fullmatch, below_it))
        ):
            return False
    return any(_is_unit(cell) for cell in rows[0] if cell not in _NO_UNIT)


def _is_unit(text: str) -> bool:
    from astropy import units

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", units.UnitsWarning)
            units.Unit(text.replace("^", "**"))
    except ValueError:
        return False
    return True


def _describe(dialect: Dialect, column: re.Match[str]) -> None:
    about = {key: (text or "").strip() for key, text in column.groupdict().items()}
    name = about.pop("name")
    dialect.metadata[name] = {key.encode(): text.encode() for key, text in about.items() if text}
    dialect.declared[name] = about["format"][:1].upper()


def _decoded(path: str, raw: bytes, line: int) -> str:
    if line == 1:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise InputError(path, "the text is UTF-16, expected UTF-8", "line 1")
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in raw or len(raw) == _MAX_LINE:
        raise InputError(path, "binary data, expected lines of text", f"line {line}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            path, f"byte {raw[error.start]:#04x} is not UTF-8", f"line {line}"
        ) from error
    if "\r" in text.rstrip("\r\n"):
        raise InputError(path, "lines end in CR alone, expected LF or CR LF", f"line {line}")
    return text


def _split(line: str, delimiter: str) -> list[str]:
    if delimiter == ALIGNED:
        line, delimiter = split_aligned(line.encode()).decode(), "\t"
    cells = next(csv.reader(line.splitlines(keepends=True), delimiter=delimiter), [])
    return [cell.strip() for cell in cells]


def _sniff(header: str, sample: list[str]) -> str:
    """Delimiter that divides most lines into as many cells as the header, and those into most."""
    best, score = ",", (0, 0)
    for delimiter in (*_DELIMITERS, ALIGNED):
        cells = len(_split(header, delimiter))
        if cells < 2:
            continue
        counts = Counter(len(_split(line, delimiter)) for line in sample)
        # Names of one column may hold blanks: blanks divide only where nothing else does.
        agreeing = counts[cells] if sample else 1
        candidate = (agreeing, 0 if delimiter == ALIGNED else cells)
        if candidate > score:
            best, score = delimiter, candidate
    return best
