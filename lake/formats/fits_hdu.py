"""One HDU of a FITS file: its header, and its data as NumPy arrays and Arrow batches."""

import mmap
from collections.abc import Iterator
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa

from lake.errors import InputError
from lake.formats.fits_columns import physical, to_arrow, variable
from lake.formats.fits_header import BLOCK, Header, Malformed
from lake.formats.fits_image import decompressed, pixels
from lake.formats.fits_layout import Column, Layout
from lake.formats.fits_structure import TABLES, structure_at
from lake.formats.room import room

# A batch holds at most about this much of the file, however many rows that is.
_BATCH_BYTES = 1 << 27
_NO_HEAP = np.empty(0, np.uint8)


class HDU:
    """One header and its data.

    Attributes
    ----------
    path : str
        The file, for messages.
    index : int
        Position in the file, from 0.
    """

    def __init__(self, path: str, data: bytes | mmap.mmap, index: int, start: int) -> None:
        self.path = path
        self.index = index
        self._data = data
        self._start = start
        with self._named():
            self._structure, self._data_start = structure_at(data, start)
            self._present(self._structure.size)
        self.end = self._data_start + -(-self._structure.size // BLOCK) * BLOCK

    def __repr__(self) -> str:
        return f"<HDU {self.index} {self.name!r} {self.kind} of {self.path}>"

    def _named(self, first_row: int = 0) -> "_Naming":
        """Name the file, HDU, row and column of what is found wrong within."""
        return _Naming(self, first_row)

    @property
    def header(self) -> Header:
        """Its keywords."""
        return self._structure.header

    @property
    def shape(self) -> tuple[int, ...]:
        """NAXISn, last axis first; (rows, bytes of a row) of a table.

        A compressed image lies in a table, that of its tiles: see `image_shape`.
        """
        return self._structure.shape

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Pixels of an image, compressed or not, last FITS axis first; empty without pixels.

        Raises
        ------
        InputError
            Keywords of a compressed image are missing.
        """
        if self.kind == "image":
            return self.shape if all(self.shape) else ()
        if self.kind != "compressed_image":
            return ()
        with self._named():
            number = self.header.integer("ZNAXIS")
            shape = tuple(self.header.integer(f"ZNAXIS{n}") for n in range(number, 0, -1))
        return shape if all(shape) else ()

    @property
    def kind(self) -> str:
        """What the HDU holds.

        ``image``, ``bintable``, ``table`` (an ASCII table), ``compressed_image`` (its tiles lie
        in a binary table), ``groups`` (random groups) or ``other``.
        """
        return self._structure.kind

    def _present(self, size: int) -> None:
        """Raise Malformed if the file ends before data of this size."""
        present = len(self._data) - self._data_start
        if present < 0:
            raise Malformed("the file is cut off inside the last block of the header")
        # Only the padding of the last block may be missing: no data are lost with it.
        if size > present:
            raise Malformed(f"the data are cut off: {size} bytes expected, {present} bytes there")

    @cached_property
    def name(self) -> str:
        """EXTNAME of the HDU."""
        return str(self.header.get("EXTNAME", "" if self.index else "PRIMARY")).strip()

    @cached_property
    def layout(self) -> Layout:
        """Columns of the table.

        Raises
        ------
        InputError
            The HDU is not a table, or its header does not describe one.
        """
        if self.kind not in TABLES:
            raise InputError(
                self.path, f"is {_article(self.kind)}, not a table", f"HDU {self.index}"
            )
        with self._named():
            return self._structure.layout

    @property
    def rows(self) -> int:
        """Number of rows of the table (NAXIS2)."""
        return self.shape[0]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the table's columns."""
        return tuple(column.name for column in self.layout.columns)

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema of the table, with its name in the metadata (``name``)."""
        schema = self.layout.schema
        return schema.with_metadata({"name": self.name}) if self.name else schema

    @cached_property
    def records(self) -> np.ndarray:
        """Rows of the table as they lie in the file: a structured, big-endian view."""
        dtype = self.layout.dtype
        if not self.rows or not dtype.itemsize:
            return np.empty(self.rows, dtype)
        return np.frombuffer(self._data, dtype, self.rows, self._data_start)

    @property
    def data(self) -> bytes:
        """Data as they lie in the file, without what fills up the last block."""
        return bytes(self._data[self._data_start : self._data_start + self._structure.size])

    @cached_property
    def heap(self) -> np.ndarray:
        """Bytes after the rows of a binary table, where variable-length arrays lie (uint8)."""
        table = self.shape[0] * self.shape[1]
        with self._named():
            start = self.header.integer("THEAP", table)
            stop = table + self._structure.integer("PCOUNT", 0)
        if stop <= start:
            return _NO_HEAP
        return np.frombuffer(self._data, np.uint8, stop - start, self._data_start + start)

    def __contains__(self, column: object) -> bool:
        return isinstance(column, str) and column.casefold() in self.layout.by_name

    def _column(self, name: str) -> Column:
        try:
            return self.layout.by_name[name.casefold()]
        except KeyError:
            raise InputError(
                self.path,
                f"no column {name!r}; there are {', '.join(self.columns)}",
                f"HDU {self.index}",
            ) from None

    def column(self, name: str) -> np.ndarray:
        """One column as NumPy, where possible a view of the file's bytes (big-endian).

        Parameters
        ----------
        name : str
            In any case, as FITS has it.

        Returns
        -------
        numpy.ndarray
            Shape (rows,) or (rows, elements); TDIM is not applied. Text is bytes (``S``), bit
            arrays and logicals are bool, scaled columns float64, unsigned conventions exact
            integers. Variable-length arrays are an object array of arrays. Nulls are not
            looked at: TNULL stands where it stood, and an L without value is False.

        Raises
        ------
        InputError
            There is no such column.
        """
        column = self._column(name)
        if not column.width:
            return np.empty((self.rows, 0), column.element)
        cells = self.records[column.name]
        if column.pointer:
            values, lengths = self.flat(name)
            cells = np.empty(self.rows, object)
            cells[:] = np.split(values, np.cumsum(lengths)[:-1])
            return cells
        if column.text and column.code != "A":
            with self._named():
                array = to_arrow(column, self.records, _NO_HEAP)
            return array.to_numpy(zero_copy_only=False)
        if column.code == "L":
            return cells == ord("T")
        if column.code == "X":
            return np.unpackbits(cells, axis=1)[:, : column.count].astype(bool)
        return cells if column.code == "A" else physical(column, cells)

    def native(self, *names: str) -> dict[str, np.ndarray]:
        """Columns as `column` gives them, contiguous and in the machine's byte order.

        Where the rows are a matrix it is turned over as a whole: a tenth of the time.

        Parameters
        ----------
        *names : str

        Returns
        -------
        dict of str to numpy.ndarray
            By the names that were asked for.

        Raises
        ------
        InputError
            There is no such column.
        """
        places = self.layout.matrix
        if not places or not self.rows:
            columns = {name: self.column(name) for name in names}
            return {
                name: np.ascontiguousarray(values, values.dtype.newbyteorder("="))
                for name, values in columns.items()
            }
        cells = np.frombuffer(
            self._data, f">u{self.shape[1] // len(places)}", self.rows * len(places),
            self._data_start,
        ).reshape(self.rows, -1)  # fmt: skip
        turned = room(len(places), self.rows, cells.dtype.newbyteorder("="))
        np.copyto(turned, cells.T)
        found = {}
        for name in names:
            at, dtype = places.get(name) or places[self._column(name).name.casefold()]
            found[name] = turned[at].view(dtype)
        return found

    def flat(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Variable-length arrays of a column, one row after the other.

        Returns
        -------
        values : numpy.ndarray
            Elements of all rows as `column` gives them.
        lengths : numpy.ndarray
            int64, shape (rows,).

        Raises
        ------
        InputError
            There is no such column, or a cell points outside the heap.
        """
        column = self._column(name)
        with self._named():
            values, lengths = variable(column, self.records[column.name], self.heap)
        return physical(column, values), lengths

    def value(self, name: str, row: int = 0) -> Any:
        """One cell as a Python value, as `table` would give it: None for null, text trimmed.

        For tables of one row, such as the catalogue entry in an SDSS spectrum, this is a
        hundred times faster than a detour through Arrow.

        Parameters
        ----------
        name : str
            In any case, as FITS has it.
        row : int
            From 0.

        Raises
        ------
        InputError
            There is no such column, or the cell holds what it cannot.
        """
        column = self._column(name)
        if column.scalar and column.width and not (column.pointer or column.text):
            stored = self.records[column.name][row]
            if column.code in "BIJKED":
                if stored == column.null or stored != stored:
                    return None
                return physical(column, np.asarray(stored)).item()
            if column.code == "A" and column.null is None and stored.isascii():
                return stored.partition(b"\0")[0].rstrip(b" ").decode() or None
        with self._named(row):
            heap = self.heap if column.pointer else _NO_HEAP
            return to_arrow(column, self.records[row : row + 1], heap)[0].as_py()

    def batches(self, batch_rows: int = 50_000) -> Iterator[pa.RecordBatch]:
        """Rows of the table as Arrow, at most `batch_rows` at a time."""
        layout, records, schema = self.layout, self.records, self.schema
        heap = self.heap if any(column.pointer for column in layout.columns) else _NO_HEAP
        step = max(1, min(batch_rows, _BATCH_BYTES // max(self.shape[1], 1)))
        for start in range(0, self.rows, step):
            part = records[start : start + step]
            with self._named(start):
                arrays = [to_arrow(column, part, heap) for column in layout.columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def table(self) -> pa.Table:
        """Read the whole table as Arrow; see `read_fits`."""
        return pa.Table.from_batches(list(self.batches()), schema=self.schema)

    def image(self) -> np.ndarray | None:
        """Pixels of an image, last FITS axis first.

        Returns
        -------
        numpy.ndarray or None
            A big-endian view where pixels are stored as they are; exact integers for the
            unsigned conventions; otherwise BZERO + BSCALE x stored in floating point, with
            NaN for BLANK. None if the HDU has no data.

        Raises
        ------
        InputError
            The HDU is not an image.
        """
        if self.kind == "compressed_image":
            with self._named():
                return decompressed(self._data[self._start : self.end])
        if self.kind != "image":
            raise InputError(
                self.path, f"is {_article(self.kind)}, not an image", f"HDU {self.index}"
            )
        if not prod(self.shape) or not self.shape:
            return None
        return pixels(self._data, self._data_start, self.shape, self.header)


class _Naming:
    """Makes an `InputError` of what is found wrong within; cheaper than a generator."""

    __slots__ = ("_first_row", "_hdu")

    def __init__(self, hdu: HDU, first_row: int) -> None:
        self._hdu, self._first_row = hdu, first_row

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Malformed):
            return
        where = f"HDU {self._hdu.index}"
        if error.row is not None:
            where += f", row {self._first_row + error.row + 1}"
        if error.column is not None:
            where += f", column {error.column!r}"
        raise InputError(self._hdu.path, error.problem, where) from error


def _article(kind: str) -> str:
    noun = kind.replace("_", " ")
    return f"an {noun}" if noun[0] in "aio" else f"a {noun}"
