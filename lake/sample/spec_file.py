"""SDSS spectrum files (``spec-PLATE-MJD-FIBER.fits``, lite), byte by byte.

Source of the layout: the SDSS data model of spec (https://data.sdss.org/datamodel/files/
BOSS_SPECTRO_REDUX/RUN2D/spectra/PLATE4/spec.html) and files of run2d 26.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lake.formats.fits_cards import block, card
from lake.formats.fits_header import BLOCK

_FORMS = {">f4": "E", ">f8": "D", ">i2": "I", ">i4": "J", ">i8": "K", "|u1": "B"}

COADD = np.dtype(
    [
        ("flux", ">f4"), ("loglam", ">f4"), ("ivar", ">f4"), ("and_mask", ">i4"),
        ("or_mask", ">i4"), ("wdisp", ">f4"), ("sky", ">f4"), ("model", ">f4"),
    ]
)  # fmt: skip
SPECOBJ = np.dtype(
    [
        ("SURVEY", "S6"), ("INSTRUMENT", "S4"), ("PROGRAMNAME", "S23"), ("PLATERUN", "S16"),
        ("PLATEQUALITY", "S8"), ("PLATESN2", ">f4"), ("LAMBDA_EFF", ">f4"), ("SPECPRIMARY", "u1"),
        ("SPECLEGACY", "u1"), ("SPECOBJID", "S22"), ("BESTOBJID", "S19"), ("TARGETOBJID", "S22"),
        ("PLATEID", "S19"), ("NSPECOBS", ">i2"), ("FIRSTRELEASE", "S3"), ("RUN2D", "S3"),
        ("RUN1D", "S1"), ("CX", ">f8"), ("CY", ">f8"), ("CZ", ">f8"), ("SOURCETYPE", "S19"),
        ("TARGETTYPE", "S8"), ("PRIMTARGET", ">i4"), ("LEGACY_TARGET1", ">i4"),
        ("SPECTROGRAPHID", ">i2"), ("PLATE", ">i4"), ("TILE", ">i4"), ("MJD", ">i4"),
        ("FIBERID", ">i4"), ("OBJID", ">i4", (5,)), ("PLUG_RA", ">f8"), ("PLUG_DEC", ">f8"),
        ("CLASS", "S6"), ("SUBCLASS", "S21"), ("Z", ">f4"), ("Z_ERR", ">f4"), ("RCHI2", ">f4"),
        ("DOF", ">i4"), ("RCHI2DIFF", ">f4"), ("TFILE", "S24"), ("TCOLUMN", ">i4", (10,)),
        ("NPOLY", ">i4"), ("VDISP", ">f4"), ("WAVEMIN", ">f4"), ("WAVEMAX", ">f4"),
        ("WCOVERAGE", ">f4"), ("ZWARNING", ">i4"), ("SN_MEDIAN_ALL", ">f4"),
        ("SN_MEDIAN", ">f4", (5,)), ("ANYANDMASK", ">i4"), ("ANYORMASK", ">i4"),
    ]
)  # fmt: skip
_SPZLINE = np.dtype(
    [
        ("PLATE", ">i4"), ("MJD", ">i4"), ("FIBERID", ">i4"), ("LINENAME", "S13"),
        ("LINEWAVE", ">f8"), ("LINEZ", ">f4"), ("LINEZ_ERR", ">f4"), ("LINESIGMA", ">f4"),
        ("LINESIGMA_ERR", ">f4"), ("LINEAREA", ">f4"), ("LINEAREA_ERR", ">f4"), ("LINEEW", ">f4"),
        ("LINEEW_ERR", ">f4"), ("LINECONTLEVEL", ">f4"), ("LINECONTLEVEL_ERR", ">f4"),
        ("LINENPIXLEFT", ">i4"), ("LINENPIXRIGHT", ">i4"), ("LINEDOF", ">f4"), ("LINECHI2", ">f4"),
    ]
)  # fmt: skip
_EMISSION = {
    "[O_II] 3727": 3729.875, "H_epsilon": 3890.151, "H_delta": 4102.892, "H_gamma": 4341.684,
    "H_beta": 4862.683, "[O_III] 4959": 4960.295, "[O_III] 5007": 5008.240, "[N_II] 6548": 6549.859,
    "H_alpha": 6564.614, "[N_II] 6583": 6585.268, "[S_II] 6716": 6718.294, "[S_II] 6730": 6732.678,
}  # fmt: skip

Value = bool | int | float | str


def spec_file(
    primary: Mapping[str, tuple[Value, str]],
    coadd: npt.NDArray[np.void],
    specobj: npt.NDArray[np.void],
) -> bytes:
    """Give the bytes of a file.

    Parameters
    ----------
    primary : mapping
        Keywords of HDU 0 after SIMPLE, BITPIX, NAXIS and EXTEND: value and comment.
    coadd : ndarray of `COADD`, shape (pixels,)
    specobj : ndarray of `SPECOBJ`, shape (1,)
        Also gives plate, MJD and fibre of the line fits (HDU 3), of which a star has none.

    Returns
    -------
    bytes
    """
    start = [card("SIMPLE", True, "conforms to FITS standard"), card("BITPIX", 8),
             card("NAXIS", 0), card("EXTEND", True)]  # fmt: skip
    cards = [card(keyword, value, comment) for keyword, (value, comment) in primary.items()]
    fits = _line_fits()
    for name in ("PLATE", "MJD", "FIBERID"):
        fits[name] = specobj[name]
    return b"".join(
        [
            block([*start, *cards]),
            *_table(coadd, "COADD", "Coadded spectrum"),
            *_table(specobj, "SPECOBJ", "Metadata from specObj row"),
            *_table(fits, "SPZLINE", "Line fits from spZline"),
        ]
    )


def _line_fits() -> npt.NDArray[np.void]:
    """Fits of emission lines that all failed: errors of -1, as the pipeline notes them."""
    fits = np.zeros(len(_EMISSION), _SPZLINE)
    fits["LINENAME"], fits["LINEWAVE"] = list(_EMISSION), list(_EMISSION.values())
    for name in ("Z", "SIGMA", "AREA", "EW", "CONTLEVEL"):
        fits[f"LINE{name}_ERR"] = -1
    fits["LINECHI2"] = -1
    return fits


def _table(rows: npt.NDArray[np.void], name: str, about: str) -> tuple[bytes, bytes, bytes]:
    data = rows.tobytes()
    return _table_header(rows.dtype, len(rows), name, about), data, b"\0" * (-len(data) % BLOCK)


@lru_cache(maxsize=64)
def _table_header(dtype: np.dtype[np.void], rows: int, name: str, about: str) -> bytes:
    names = dtype.names or ()
    cards = [
        card("XTENSION", "BINTABLE", "binary table extension"),
        card("BITPIX", 8, "array data type"),
        card("NAXIS", 2, "number of array dimensions"),
        card("NAXIS1", dtype.itemsize, "length of dimension 1"),
        card("NAXIS2", rows, "length of dimension 2"),
        card("PCOUNT", 0, "number of group parameters"),
        card("GCOUNT", 1, "number of groups"),
        card("TFIELDS", len(names), "number of table fields"),
    ]
    for i, column in enumerate(names, start=1):
        cards += [card(f"TTYPE{i}", column, ""), card(f"TFORM{i}", _form(dtype[column]), "")]
    cards += [card("EXTNAME", name), f"{'COMMENT ' + about:<80}".encode("ascii")]
    return block(cards)


def _form(kind: np.dtype) -> str:
    if kind.kind == "S":
        return f"{kind.itemsize}A"
    size = int(np.prod(kind.shape)) if kind.shape else 1
    return f"{size if size > 1 else ''}{_FORMS[kind.base.str]}"
