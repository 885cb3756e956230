"""Memory for the columns of many small tables that are read one after another.

Fresh memory is slow: the system hands it out in pages and clears each of them first. Here tables
share large blocks, in which a column of one lies behind that of the table before, and a block that
nobody refers to any more is used again.
"""

import sys
import threading

import numpy as np

#: Bytes of a block.
_BLOCK = 1 << 23
#: Blocks that are remembered, to be used again.
_MOST = 8


class _Blocks(threading.local):
    """Blocks of a thread."""

    def __init__(self) -> None:
        self.known: list[np.ndarray] = []
        self.now: np.ndarray | None = None
        self.used = 0


_blocks = _Blocks()


def room(columns: int, rows: int, dtype: np.dtype) -> np.ndarray:
    """Give memory for the columns of a table.

    Parameters
    ----------
    columns, rows : int
    dtype : numpy.dtype
        Of all columns.

    Returns
    -------
    numpy.ndarray
        Shape (columns, rows), with anything in it; each column is contiguous, and mostly lies
        behind that of the table before it.
    """
    most = _BLOCK // (columns * dtype.itemsize)
    if rows > most // 8:
        return np.empty((columns, rows), dtype)
    here = _blocks
    block, start = here.now, here.used
    if block is None or start + rows > most or block.shape[0] != columns or block.dtype != dtype:
        here.now = block = None
        here.now = block = _free((columns, most), dtype)
        start = 0
    here.used = start + rows
    return block[:, start : start + rows]


def turn_over() -> None:
    """Begin a new block: what has been read so far is used together."""
    _blocks.now = None


def _free(shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Give a block that no array is part of any more, or a new one."""
    known = _blocks.known
    for block, references in zip(known, _references(known), strict=True):
        if block.shape == shape and block.dtype == dtype and references <= _OWN:
            return block
    block = np.empty(shape, dtype)
    known.append(block)
    del known[:-_MOST]
    return block


def _references(blocks: list[np.ndarray]) -> list[int]:
    return [sys.getrefcount(block) for block in blocks]


#: What Python counts for a block that nothing but its list refers to.
_OWN = _references([np.empty(1)])[0]


def joined(parts: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """Put arrays together.

    Parameters
    ----------
    parts : list of numpy.ndarray
        One-dimensional, at least one.
    dtype : numpy.dtype
        Of the result, to which all can be cast within their kind.

    Returns
    -------
    numpy.ndarray
        A view where they lie one behind the other in memory already, as those of `room` do.
    """
    block = parts[0].base
    if not isinstance(block, np.ndarray) or not block.flags.c_contiguous:
        return np.concatenate(parts, dtype=dtype, casting="same_kind")
    start = end = _address(parts[0])
    for part in parts:
        alike = part.base is block and part.dtype == dtype and part.flags.c_contiguous
        if not alike or _address(part) != end:
            return np.concatenate(parts, dtype=dtype, casting="same_kind")
        end += part.nbytes
    return np.frombuffer(block, dtype, (end - start) // dtype.itemsize, start - _address(block))


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])
