"""Keywords of OGIP headers as missions write them: blank, quoted, none in three spellings."""

import re
from typing import Any

from lake.formats.fits import Header

_TRUE = ("T", "TRUE", "YES", "1")
_FALSE = ("F", "FALSE", "NO", "0")
#: ``%match%`` leaves it to a program to find the file.
_NO_FILE = ("", "NONE", "NULL", "N/A", "%MATCH%")

#: Factor to keV by the unit in capitals.
_TO_KEV = {"KEV": 1.0, "EV": 1e-3, "MEV": 1e3, "GEV": 1e6, "TEV": 1e9}
#: A square of a length at the head of a unit: cm2, m**2, mm^2, cm+2.
_SQUARE = re.compile(r"\[?([a-z]?)m(?:\*\*|\^|\+)?\(?2(?!\d)", re.IGNORECASE)
#: A time that an area is multiplied with, as in cm2 s.
_TIMES_TIME = re.compile(r"[\s.*][km]?s(?:ec|econds?)?\b", re.IGNORECASE)
#: Factor from metres with a prefix, squared, to cm2.
_TO_CM2 = {"": 1e4, "c": 1.0, "d": 1e2, "m": 1e-2, "k": 1e10}


def text(header: Header, keyword: str) -> str | None:
    """Value of a keyword as text; None where it is absent or blank."""
    return as_text(header.get(keyword))


def as_text(value: Any) -> str | None:
    """Text without blanks around it; None for nothing."""
    return (str(value).strip() or None) if value is not None else None


def number(header: Header, keyword: str) -> float | None:
    """Value of a keyword as a number, quoted or not; None where it is none."""
    return as_number(header.get(keyword))


def as_number(value: Any) -> float | None:
    """Give a number, or the number that a text spells; None for all else."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)


def whole(header: Header, keyword: str) -> int | None:
    """Value of a keyword as a whole number, quoted or not; None where it is none."""
    value = number(header, keyword)
    return int(value) if value is not None and value.is_integer() else None


def flag(header: Header, keyword: str) -> bool | None:
    """Value of a logical keyword, also where it is written as the text ``'False'``."""
    value = header.get(keyword)
    if isinstance(value, bool) or value is None:
        return value
    word = str(value).strip().upper()
    return True if word in _TRUE else False if word in _FALSE else None


def file_name(value: Any) -> str | None:
    """Name of a file that a keyword or cell gives; None for ``none``, ``NONE`` and blank."""
    name = as_text(value)
    return None if name is None or name.upper() in _NO_FILE else name


def instrument(header: Header) -> dict[str, str | None]:
    """Telescope, instrument, detector, filter and grating, as the lake's tables name them."""
    keywords = {
        "telescope": "TELESCOP",
        "instrument": "INSTRUME",
        "detector": "DETNAM",
        "filter": "FILTER",
        "grating": "GRATING",
    }
    return {column: text(header, keyword) for column, keyword in keywords.items()}


def energy_factor(unit: str | None) -> float | None:
    """Factor from a unit of energy to keV, in brackets or not; None if it is no such unit."""
    return _TO_KEV.get((unit or "").strip(" []()").upper())


def area_factor(unit: str | None) -> float | None:
    """Factor from a unit of area to cm2, whatever it is multiplied with; None if it is none."""
    square = _SQUARE.match((unit or "").strip())
    return _TO_CM2.get(square[1].lower()) if square else None


def holds_time(unit: str) -> bool:
    """Whether a unit of area is one of area times time."""
    return _TIMES_TIME.search(unit) is not None
