"""Spectral classes in MK notation, from the many ways in which catalogues write them.

Source of the notation: Morgan, Keenan & Kellman 1943, An Atlas of Stellar Spectra; Gray &
Corbally 2009, Stellar Spectral Classification, for L, T and Y, subdwarfs and Am stars.
"""

import re
from typing import NamedTuple
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Spectral classes from hot to cool (Gray & Corbally 2009, Stellar Spectral Classification; Y is
#: from Cushing et al. 2011, ApJ 743, 50).
LETTERS = "OBAFGKMLTY"
_ROMAN = r"Ia-?0|I(?:ab|a|b)|(?:III|II|IV|VI|V)(?:ab|a|b)?|I"
_WORDS = {"supergiant": "I", "subgiant": "IV", "giant": "III", "subdwarf": "VI", "dwarf": "V"}
_PREFIXES = {"esd": "VI", "usd": "VI", "sd": "VI", "sg": "IV", "d": "V", "g": "III"}

# A subtype has one digit before the point: M31 and G102-30 are names, not classes.
_NUMBER = r"\d(?:\.\d+)?(?!\d)"
_WITH_SUBTYPE = re.compile(
    rf"(?P<prefix>esd|usd|d/sd|sd|sg|d|g)?:?\s*(?P<letter>[{LETTERS}])\s*(?P<subtype>{_NUMBER})"
    rf"(?:\s*:?\s*[-/]\s*[{LETTERS}]?{_NUMBER})*"  # F3/F5V, K0/1III: the first is taken
    rf"[:?]*\s*(?:[epn]+(?=\(?[IV]))?\s*\(?(?P<luminosity>{_ROMAN})?(?P<rest>.*)"
)
# Without a number much else begins with one of the letters: only what is known may follow.
_LETTER_ONLY = re.compile(
    rf"(?P<prefix>esd|usd|sd|sg|d|g)?:?(?P<letter>[{LETTERS}])(?P<subtype>)"
    rf"\s*(?P<luminosity>{_ROMAN})?(?P<rest>[:?]?|[emnp]+|\s*star|\s*{'|'.join(_WORDS)})",
)
# kA2hA5mF0: types by the Ca II K line, by hydrogen and by metals.
_AM = re.compile(rf"k(?P<k>[{LETTERS}]\d\S*?)(?:h(?P<h>[{LETTERS}]\d\S*?))?(?:m\S*)?")
# Small letters count where nothing else can be meant: a letter and its subtype, no word.
_SMALL = re.compile(rf"(?P<letter>[{LETTERS.lower()}])(?P<rest>\s*{_NUMBER}\s*(?i:{_ROMAN})?[:?]?)")
_REFERENCE = re.compile(rf"\s+\((?!(?:{_ROMAN})\)).*$")
_DIRECTORY = re.compile(rf"[{LETTERS}](?:{_NUMBER})?(?:{_ROMAN})?")
# What stands for no class at all; that something is a star is none.
_NOTHING = {"", "-", "--", "...", "?", "nan", "none", "null", "na", "n/a", "#n/a", "<na>", "masked",
            "unknown", "star"}  # fmt: skip


class SpectralClass(NamedTuple):
    """A class and its parts; `letter` is None for what is no MK class (``CV``, ``WD``)."""

    class_mk: str
    letter: str | None
    subtype: float | None
    luminosity: str | None

    @property
    def learnt(self) -> str:
        """Letter and subtype without luminosity class; the class itself where it has no letter."""
        return self.class_mk if self.letter is None else f"{self.letter}{_plain(self.subtype)}"


def parse(text: str, luminosity: str | None = None) -> SpectralClass | None:
    """Read one spectral class.

    What a catalogue adds goes: the reference of SDSS templates (``F3V (30743)``), peculiarities
    (``A0p``, ``B1Ve``, ``M8V:``) and second components (``G5III+...``). Of a range, the first
    is taken, in type (``F3/F5V`` is F3V) as in luminosity (``B2IV-V`` is B2IV). Words count as
    luminosity classes (``M1 Dwarf`` is M1V), so do the prefixes sd, sg, d, g; a subdwarf keeps
    its prefix instead (``sdF3``). An Am star has the type of its hydrogen lines
    (``kA2hA5mF0`` is A5). In small letters a letter with its subtype is read (``g2 iv``).

    Parameters
    ----------
    text : str
    luminosity : str, optional
        Luminosity class from a column of its own, used if `text` has none.

    Returns
    -------
    SpectralClass or None
        None if the text says nothing. `luminosity` is I to VI; `class_mk` keeps its
        subdivision (``K3Iab``). What is no MK class keeps its text, without reference.
    """
    # Roman numerals of one character, full-width letters and the like become plain ones.
    cleaned = _REFERENCE.sub("", " ".join(normalize("NFKC", text).split()))
    if cleaned.lower() in _NOTHING:
        return None
    if small := _SMALL.fullmatch(cleaned):
        rest = small["rest"].replace("i", "I").replace("v", "V")
        cleaned = small["letter"].upper() + rest
    if am := _AM.fullmatch(cleaned):
        return parse(am["h"] or am["k"], luminosity)
    found = _WITH_SUBTYPE.fullmatch(cleaned) or _LETTER_ONLY.fullmatch(cleaned)
    if found is None:
        return SpectralClass(cleaned, None, None, None)
    subtype = float(found["subtype"]) if found["subtype"] else None
    prefix = "sd" if (found["prefix"] or "").endswith("sd") else ""
    given = (
        ("VI" if prefix else None)
        or found["luminosity"]
        or _PREFIXES.get(found["prefix"] or "")
        or _in_words(found["rest"])
        or _luminosity(luminosity or "")
    )
    shown = "" if prefix else given or ""
    name = f"{prefix}{found['letter']}{_plain(subtype)}{shown}"
    return SpectralClass(name, found["letter"], subtype, given and given.rstrip("ab-0"))


def normalise(
    classes: pa.Array | pa.ChunkedArray, luminosity: pa.Array | pa.ChunkedArray | None = None
) -> pa.Table:
    """Read a column of spectral classes; each distinct one is read once. See `parse`.

    Parameters
    ----------
    classes : pyarrow array of string
    luminosity : pyarrow array of string, optional
        Luminosity classes from a column of their own, for the classes that have none.

    Returns
    -------
    pyarrow.Table
        class_mk, spectral_letter, luminosity_class (string), spectral_subtype (float64) and
        learnt_class (string: letter and subtype, as `learnt_class` gives it); null where a
        class is null or says nothing.
    """
    texts, of_class = _encoded(classes)
    others: list[str | None] = [None]
    of_luminosity = np.zeros(len(of_class), np.int64)
    if luminosity is not None:
        others, of_luminosity = _encoded(luminosity)
    pairs, inverse = np.unique(of_class * len(others) + of_luminosity, return_inverse=True)
    parsed = [
        None if (text := texts[pair // len(others)]) is None
        else parse(text, others[pair % len(others)])
        for pair in pairs.tolist()
    ]  # fmt: skip
    distinct = pa.table(
        {
            "class_mk": pa.array([p and p.class_mk for p in parsed], pa.string()),
            "spectral_letter": pa.array([p and p.letter for p in parsed], pa.string()),
            "spectral_subtype": pa.array([p and p.subtype for p in parsed], pa.float64()),
            "luminosity_class": pa.array([p and p.luminosity for p in parsed], pa.string()),
            "learnt_class": pa.array([p and p.learnt for p in parsed], pa.string()),
        }
    )
    return distinct.take(pa.array(inverse.reshape(-1)))


def learnt_class(classes: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    """Class that a network learns: letter and subtype without luminosity class.

    Parameters
    ----------
    classes : pyarrow array of string
        Such as `class_mk`.

    Returns
    -------
    pyarrow.StringArray
        ``K3`` of K3III, ``F3`` of sdF3, ``A`` of A; ``CV`` and what else is no MK class as it
        is; null stays null.
    """
    return normalise(classes)["learnt_class"].combine_chunks()


def is_plain(text: str) -> bool:
    """Whether a text is an MK class and nothing else (``A0``, ``K``, ``M5V``): a folder's name."""
    return _DIRECTORY.fullmatch(text) is not None


def _plain(subtype: float | None) -> str:
    return "" if subtype is None else f"{subtype:g}"


def _in_words(text: str) -> str | None:
    found = re.search("|".join(_WORDS), text.lower().replace("-", ""))
    return _WORDS[found[0]] if found else None


def _luminosity(text: str) -> str | None:
    """Luminosity class of a column of its own: ``IV-V``, ``Ib``, ``giant``."""
    found = re.match(_ROMAN, text.strip())
    return found[0] if found else _in_words(text)


def _encoded(texts: pa.Array | pa.ChunkedArray) -> tuple[list[str | None], np.ndarray]:
    """Distinct texts, the last of them None, and the place of each row's among them."""
    array = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    encoded = array.cast(pa.string()).dictionary_encode()
    distinct = [*encoded.dictionary.to_pylist(), None]
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), len(distinct) - 1)
    return distinct, codes.to_numpy()
