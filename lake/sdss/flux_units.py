"""Units of flux density, as files write them, in terms of the one that spectra are kept in."""

import re
from functools import lru_cache

#: The unit of `sdss.spectra`.
UNIT = "1e-17 erg/s/cm^2/Angstrom"

# A unit as powers of (energy, time, length), and its size in erg, s and Angstrom.
_ENERGY, _TIME, _LENGTH, _POWER = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 0)
# What light comes through is no dimension: MaNGA has its spectra per fibre and per spaxel.
_NOTHING = (0, 0, 0)
#: Energy per time, area and wavelength; an area is a length squared.
_FLUX_DENSITY = (1, -1, -3)
_UNITS: dict[str, tuple[tuple[int, int, int], float]] = {
    "erg": (_ENERGY, 1.0), "ergs": (_ENERGY, 1.0), "j": (_ENERGY, 1e7), "w": (_POWER, 1e7),
    "watt": (_POWER, 1e7), "s": (_TIME, 1.0), "sec": (_TIME, 1.0), "second": (_TIME, 1.0),
    "m": (_LENGTH, 1e10), "cm": (_LENGTH, 1e8), "mm": (_LENGTH, 1e7), "um": (_LENGTH, 1e4),
    "µm": (_LENGTH, 1e4), "micron": (_LENGTH, 1e4), "nm": (_LENGTH, 10.0),
    "a": (_LENGTH, 1.0), "aa": (_LENGTH, 1.0), "å": (_LENGTH, 1.0), "ang": (_LENGTH, 1.0),
    "angs": (_LENGTH, 1.0), "angstrom": (_LENGTH, 1.0), "angstroms": (_LENGTH, 1.0),
    "angstroem": (_LENGTH, 1.0), "fiber": (_NOTHING, 1.0), "spaxel": (_NOTHING, 1.0),
    # erg s-1 cm-2 Angstrom-1 in files of the Hubble Space Telescope
    "flam": (_FLUX_DENSITY, 1e-16),
}  # fmt: skip
#: 1e-17 erg s-1 cm-2 Angstrom-1 in erg, s and Angstrom.
_SIZE = 1e-17 / 1e16
#: How SDSS writes the unit in DR1 to DR6, where the square is missing.
_SLIP = re.compile(r"1\.?0*e-17\s*ergs?/cm/s/ang(?:stroms?)?", re.IGNORECASE)

_NUMBER = re.compile(r"^\s*(?:(?P<n>\d+\.?\d*|\.\d+)(?:e(?P<e>[+-]?\d+))?)?", re.IGNORECASE)
_POWER_OF_TEN = re.compile(r"(?:\s*[x*]?\s*)?10(?:\^|\*\*)?\s*[({]?([+-]\s*\d+)[)}]?\s*[*x.]?\s*")
_FACTOR = re.compile(r"\s*(?P<over>/?)[\s.*·]*(?P<name>[a-zµåÅ]+)\s*(?:\^|\*\*)?\s*"
                     r"(?:\((?P<a>[+-]?\d+)\)|(?P<b>[+-]?\d+)|\{(?P<c>[+-]?\d+)\})?",
                     re.IGNORECASE)  # fmt: skip


@lru_cache(maxsize=256)
def factor(unit: str) -> float | None:
    """Number that fluxes in a unit are multiplied with to be in 1e-17 erg/s/cm2/Angstrom.

    Takes what surveys write: ``1E-17 erg/cm^2/s/Ang``, ``10^-17 ergs/s/cm^2/Angs``,
    ``10**-17 erg.s**-1.cm**-2.Angstrom**-1``, ``erg/s/cm2/A``, ``FLAM``,
    ``W m-2 um-1``, ``Flux (10^-17 erg/s/cm^2/Ang)``.

    Returns
    -------
    float or None
        None if the unit is not known to be one of flux per wavelength.
    """
    text = re.sub(r"\s*/\s*", "/", unit.strip().strip("'\""))
    if inside := re.search(r"\((10.*)\)$", text):
        text = inside[1]
    if _SLIP.fullmatch(text):
        return 1.0
    size = 1.0
    if match := _POWER_OF_TEN.match(text):
        size = float(f"1e{match[1].replace(' ', '')}")
        text = text[match.end() :]
    elif (match := _NUMBER.match(text)) and match["n"]:
        size = float(match["n"]) * float(f"1e{match['e'] or 0}")
        text = text[match.end() :]
        if match := _POWER_OF_TEN.match(text):
            size *= float(f"1e{match[1].replace(' ', '')}")
            text = text[match.end() :]
    powers = [0, 0, 0]
    # In `erg/(s cm2 A)` everything in the bracket divides.
    text, _, below = text.partition("/(")
    for part, sign in ((text, 1), (below.rstrip(") "), -1)):
        at = 0
        while at < len(part.rstrip()):
            match = _FACTOR.match(part, at)
            if not match or match["name"].lower() not in _UNITS:
                return None
            dimension, each = _UNITS[match["name"].lower()]
            power = int(match["a"] or match["b"] or match["c"] or 1)
            power *= -sign if match["over"] else sign
            powers = [p + power * d for p, d in zip(powers, dimension, strict=True)]
            size *= each**power
            at = match.end()
    if tuple(powers) != _FLUX_DENSITY:
        return None
    found = float(f"{size / _SIZE:.12g}")
    # Outside this the unit is a misprint, and its square may be no number at all.
    return found if 1e-30 <= found <= 1e30 else None
