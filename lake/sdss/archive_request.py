"""What the archive of the SDSS can be asked for: plates, and lists of spectra."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from lake.errors import InputError, UsageError
from lake.formats import format_of, read_table
from lake.formats.source import load
from lake.sdss.label_catalogue import KEY_NAMES, SPECTRUM

_SPECTRUM = re.compile(SPECTRUM)

#: A number of five digits from here on is an MJD: the survey began later, and has no such plate.
_FIRST_MJD = 40_000


class Spectrum(NamedTuple):
    """A spectrum of the survey."""

    plate: int
    mjd: int
    fiber: int

    @property
    def file(self) -> str:
        """Name of its file, as the archive has it."""
        return f"spec-{self.plate:04d}-{self.mjd}-{self.fiber:04d}.fits"


class Plates(NamedTuple):
    """Plates of successive numbers; or one, of one MJD or all.

    Attributes
    ----------
    first, last : int
    mjd : int or None
        None for all.
    """

    first: int
    last: int
    mjd: int | None = None

    @property
    def text(self) -> str:
        """As a request has it."""
        if self.mjd is not None:
            return f"{self.first}-{self.mjd}"
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


def plates(text: str) -> list[Plates]:
    """Read ``266,1000-1010,267-51608``: plates, ranges of plates, plates with their MJD.

    Raises
    ------
    UsageError
        If it is not like that.
    """
    found = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", item)
        if match is None:
            raise UsageError(f"plates {item!r}: expected a plate, PLATE-PLATE or PLATE-MJD")
        first, second = int(match[1]), int(match[2] or match[1])
        if match[2] and second >= _FIRST_MJD > first:
            found.append(Plates(first, first, second))
        elif second < first:
            raise UsageError(f"plates {item!r}: the last comes before the first")
        else:
            found.append(Plates(first, second))
    return found


def spectra(path: Path) -> list[Spectrum]:
    """Spectra that a list names.

    Parameters
    ----------
    path : Path
        A table in any format that `lake.formats.read_table` knows, with columns plate, mjd and
        fiberid; or lines of text, each with these three numbers, or with the name of a spec file.

    Raises
    ------
    InputError
        If it is neither, with the line or row.
    """
    if not path.is_file():
        raise InputError(path, "no such list")
    found = list(_of_lines(path) if _is_lines(path) else _of_table(path, read_table(path)))
    if not found:
        raise InputError(path, "the list names no spectrum")
    return list(dict.fromkeys(found))


def _is_lines(path: Path) -> bool:
    """Whether a list is lines of text without a header that names the plate."""
    if format_of(path) != "delimited":
        return False
    first = next((line for _, line in _lines(path)), "")
    return not re.search(r"plate", first, re.IGNORECASE) or _SPECTRUM.search(first) is not None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that say something, by their number."""
    for number, line in enumerate(bytes(load(path)).decode("utf-8-sig", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if text:
            yield number, text


def _of_lines(path: Path) -> Iterator[Spectrum]:
    for number, text in _lines(path):
        name = _SPECTRUM.search(text.rpartition("/")[2])
        if name is not None:
            yield Spectrum(int(name["plate"]), int(name["mjd"]), int(name["fiber"]))
            continue
        numbers = re.split(r"[\s,;|]+", text)
        if len(numbers) != 3 or not all(part.isdecimal() for part in numbers):
            raise InputError(
                path, f"{text!r}: expected plate, MJD and fibre, or a spec file", f"line {number}"
            )
        yield Spectrum(*map(int, numbers))


def _of_table(path: Path, table: pa.Table) -> Iterator[Spectrum]:
    places = {name.lower(): at for at, name in reversed(list(enumerate(table.column_names)))}
    columns = []
    for key, names in KEY_NAMES.items():
        there = [places[name] for name in names if name in places]
        if not there:
            raise InputError(path, f"no column {' or '.join(names)}")
        columns.append(_whole(path, table.column(there[0]), key))
    for row, (plate, mjd, fiber) in enumerate(zip(*columns, strict=True), 1):
        if plate is None or mjd is None or fiber is None:
            raise InputError(path, "expected plate, MJD and fibre, none of them null", f"row {row}")
        yield Spectrum(plate, mjd, fiber)


def _whole(path: Path, column: pa.ChunkedArray, key: str) -> list[int | None]:
    try:
        whole: list[int | None] = column.cast(pa.int64()).to_pylist()
    except pa.ArrowInvalid as error:
        raise InputError(path, f"expected whole numbers: {error}", f"column {key!r}") from None
    return whole


def united(former: str, new: str, separator: str) -> str:
    """Join two lists of things asked for, each thing once."""
    parts: Iterable[str] = (
        part.strip() for text in (former, new) for part in text.split(separator)
    )
    return separator.join(dict.fromkeys(filter(None, parts)))
