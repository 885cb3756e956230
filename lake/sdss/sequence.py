"""The order in which spectral classes are shown."""

from collections.abc import Iterable

from lake.sdss import mk


def spectral_sequence(classes: Iterable[str]) -> list[str]:
    """Distinct classes from hot to cool, then what is no MK class (``CV``, ``WD``) by name.

    Parameters
    ----------
    classes : iterable of str

    Returns
    -------
    list of str
        By letter, subtype (a letter alone comes first) and luminosity class.
    """
    return sorted(set(classes), key=_place)


def _place(name: str) -> tuple[int, float, str]:
    parsed = mk.parse(name)
    if parsed is None or parsed.letter is None:
        return len(mk.LETTERS), 0.0, name
    subtype = -1.0 if parsed.subtype is None else parsed.subtype
    return mk.LETTERS.index(parsed.letter), subtype, name
