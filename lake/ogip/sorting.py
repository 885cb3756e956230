"""What the HDUs of a file are: told by their columns and keywords, never by the file's name."""

from lake.formats.fits_hdu import HDU
from lake.formats.fits_structure import TABLES
from lake.ogip.keywords import text

#: Columns without which a table is not what it says it is.
MATRIX_COLUMNS = ("ENERG_LO", "ENERG_HI", "N_GRP", "F_CHAN", "N_CHAN", "MATRIX")
AREA_COLUMNS = ("ENERG_LO", "ENERG_HI", "SPECRESP")
EBOUNDS_COLUMNS = ("E_MIN", "E_MAX")
_MATRIX_NAMES = ("MATRIX", "SPECRESP MATRIX", "RSP_MATRIX")


def content(hdu: HDU) -> str:
    """Tell what an HDU holds.

    HDUCLAS1 and HDUCLAS2 count, then EXTNAME, then the columns alone: files of all missions
    leave one or two of them out (OGIP/92-007, CAL/GEN/92-002).

    Parameters
    ----------
    hdu : HDU

    Returns
    -------
    str
        ``spectrum``, ``matrix``, ``effective_area``, ``ebounds`` or ``other``. A table that says
        it is a spectrum or a matrix is one, even if columns are missing: its reader says which.

    Raises
    ------
    InputError
        The header of a table does not describe one.
    """
    if hdu.kind not in TABLES:
        return "other"
    name = hdu.name.upper()
    classes = [(text(hdu.header, f"HDUCLAS{n}") or "").upper() for n in (1, 2)]
    has_area = all(column in hdu for column in AREA_COLUMNS)
    if _says(classes, ("RESPONSE", "RSP_MATRIX")) or name in _MATRIX_NAMES:
        return "effective_area" if has_area and "MATRIX" not in hdu else "matrix"
    if all(column in hdu for column in MATRIX_COLUMNS):
        return "matrix"
    if has_area:
        return "effective_area"
    if _says(classes, ("", "EBOUNDS")) or name == "EBOUNDS":
        return "ebounds" if all(column in hdu for column in EBOUNDS_COLUMNS) else "other"
    if classes[0] == "SPECTRUM" or (not classes[0] and name == "SPECTRUM"):
        return "spectrum"
    # A table that is called so and has the columns is one, whatever else HDUCLAS1 says.
    columns = "CHANNEL" in hdu and ("COUNTS" in hdu or "RATE" in hdu)
    return "spectrum" if columns and (not classes[0] or name == "SPECTRUM") else "other"


def _says(classes: list[str], wanted: tuple[str, str]) -> bool:
    return classes[1] == wanted[1] and (not wanted[0] or classes[0] == wanted[0])
