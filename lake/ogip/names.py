"""What the names of OGIP files say: what belongs together, and what a keyword points to."""

import os
import re
from functools import lru_cache
from typing import NamedTuple

#: Words that tell the parts of one observation apart, with the digit or version after them.
_BACKGROUND = r"bkg|bgd|bg|bak|back|background"
_PARTS = rf"src|source|{_BACKGROUND}|spectra|spectrum|spec|pha|pi|rmf|arf|rsp|resp|weighted|w"
_PART = re.compile(rf"(?:(?:{_PARTS}|total|tot|net|grp|stat|opt)\d?)+|v\d+", re.IGNORECASE)
_GLUED = re.compile(rf"(?<=[a-z0-9])(?:source|src|{_BACKGROUND})\d?$", re.IGNORECASE)
_IS_BACKGROUND = re.compile(
    rf"(?:^|[._-])(?:spec|pha)?(?:{_BACKGROUND})(?:spectr\w+)?\d?(?:[._-]|$)", re.IGNORECASE
)
_COMPRESSED = (".gz", ".ftz")
_REFERENCE = re.compile(r"(.+?)(?:\[([^\]]*)\])?(?::(\d+)|\{(\d+)\})?")


class Reference(NamedTuple):
    """What BACKFILE, RESPFILE or ANCRFILE points to.

    Attributes
    ----------
    name : str
        File, as the keyword writes it.
    extension : str or None
        HDU in brackets.
    number : int or None
        Which of several, from 1 (``{n}``).
    """

    name: str
    extension: str | None
    number: int | None


@lru_cache(maxsize=4096)
def reference(text: str) -> Reference:
    """Take the value of a keyword apart: ``bkg.pha``, ``burst.rsp2{3}``, ``pha3.fits[4]``."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return Reference(text, None, None)
    name, extension, index, number = match.groups()
    place = int(number) if number else int(index) + 1 if index else None
    return Reference(name, extension, place)


@lru_cache(maxsize=65536)
def stem(path: str) -> str:
    """Name of a file without ending and the words for its part; equal for one observation.

    ``P0111_HE_TOTAL.fits``, ``P0111_HE_BKG.fits`` and ``P0111_HE.rsp`` are all ``p0111_he``;
    empty where nothing is left, as of ``source.pi``.
    """
    name = plain(os.path.basename(path)).lower()
    name = name.rpartition(".")[0] or name
    words = [w for w in re.split(r"[._]", name) if w and not _PART.fullmatch(w)]
    words = [_GLUED.sub("", w) for w in words]
    return "_".join(words)


@lru_cache(maxsize=65536)
def is_background(path: str) -> bool:
    """Whether the name of a file says that it is a background."""
    name = plain(os.path.basename(path))
    words = name.rpartition(".")[0]
    return bool(_IS_BACKGROUND.search(name) or re.search(r"(?<=[a-z0-9])back$", words))


def plain(name: str) -> str:
    """Name of a file without the ending of its compression."""
    root, ending = os.path.splitext(name)
    return root if ending.lower() in _COMPRESSED else name
