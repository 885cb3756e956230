"""Images of FITS files as NumPy arrays."""

import io
import mmap
from math import prod

import numpy as np

from lake.formats.fits_columns import flip_sign
from lake.formats.fits_header import Header, Malformed
from lake.formats.fits_layout import FLIPPED

PIXEL_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


def pixels(
    data: bytes | mmap.mmap, start: int, shape: tuple[int, ...], header: Header
) -> np.ndarray:
    """Pixels that lie in a file one after the other; see `lake.formats.fits.HDU.image`.

    Parameters
    ----------
    data : bytes or mmap.mmap
        The file.
    start : int
        Offset of the first pixel.
    shape : tuple of int
        Last FITS axis first.
    header : Header
        BITPIX, and BSCALE, BZERO and BLANK where present.

    Returns
    -------
    numpy.ndarray
    """
    bitpix = header["BITPIX"]
    stored = np.frombuffer(data, PIXEL_DTYPES[bitpix], prod(shape), start).reshape(shape)
    scale, zero = header.get("BSCALE", 1), header.get("BZERO", 0)
    blanks = None
    if bitpix > 0 and (blank := header.get("BLANK")) is not None:
        blanks = stored == blank
    if blanks is None or not blanks.any():
        if (scale, zero) == (1, 0):
            return stored
        if scale == 1 and bitpix > 0 and (kind := FLIPPED.get((bitpix // 8, zero))):
            return flip_sign(stored, kind)
    # Single precision holds 8- and 16-bit numbers; more bits need more.
    kind = "f4" if bitpix in (8, 16, -32) else "f8"
    values = (stored.astype(np.float64) * scale + zero).astype(kind)
    if blanks is not None:
        values[blanks] = np.nan
    return values


def decompressed(alone: bytes) -> np.ndarray:
    """Pixels of a tile-compressed image.

    Parameters
    ----------
    alone : bytes
        The binary table that holds the tiles: header, rows and heap, padded.

    Returns
    -------
    numpy.ndarray

    Raises
    ------
    Malformed
        The tiles cannot be decompressed.
    """
    from astropy.io import fits

    # astropy wants a file; an empty primary HDU before this one makes it one.
    primary = io.BytesIO()
    fits.PrimaryHDU().writeto(primary)
    try:
        with fits.open(io.BytesIO(primary.getvalue() + alone), memmap=False) as file:
            return np.asarray(file[1].data)
    except Exception as error:  # corrupt tiles raise errors of every kind
        raise Malformed(f"its compressed image cannot be read: {error}") from error
