"""Header cards in fixed format, and blocks of them (FITS standard 4.00, sections 4.1 and 4.2)."""

from collections.abc import Iterable

from lake.formats.fits_header import BLOCK, CARD


def card(
    keyword: str, value: str | int | float | bool, comment: str = "", number: str = ".12G"
) -> bytes:
    """Give one card.

    Parameters
    ----------
    keyword : str
    value : str, int, float or bool
    comment : str
        Cut off where the card ends.
    number : str
        Format of a float.

    Returns
    -------
    bytes
        80 characters.
    """
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, int):
        text = f"{value:>20d}"
    elif isinstance(value, float):
        shown = f"{value:{number}}"
        text = f"{shown if '.' in shown or 'E' in shown else shown + '.0':>20}"
    else:
        quoted = "'" + f"{value:<8}".replace("'", "''") + "'"
        text = f"{quoted:<20}"
    line = f"{keyword:<8}= {text}" + (f" / {comment}" if comment else "")
    return f"{line:<{CARD}.{CARD}}".encode("ascii")


def block(cards: Iterable[bytes]) -> bytes:
    """Give a header of cards: closed by END, filled to whole blocks."""
    text = b"".join([*cards, b"END".ljust(CARD)])
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)
