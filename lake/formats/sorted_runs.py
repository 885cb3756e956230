"""Rows staged on disk and read again in the order of an integer column, in bounded memory.

Each run is sorted as it is written; what is read takes from every run the slice that its turn
has come for. Runs are uncompressed and mapped into memory, so that no row but those asked for is
read from the disk.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class RunWriter:
    """Write runs into one Arrow file.

    Parameters
    ----------
    path : Path
        Of the file, which the caller removes.
    schema : pa.Schema
        Of the rows; the first column is the key, int64 without nulls.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pa.ipc.new_file(path, schema)

    def add(self, rows: pa.RecordBatch) -> None:
        """Sort rows by the key, equal keys in the order they came in, and write them."""
        order = np.argsort(rows.column(0).to_numpy(), kind="stable")
        self._writer.write_batch(rows.take(pa.array(order)))

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._writer.close()


class SortedRuns:
    """All rows of a file that `RunWriter` closed, in the order of the key.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._file = pa.memory_map(str(path))
        reader = pa.ipc.open_file(self._file)
        self._runs = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        self._keys: list[npt.NDArray[np.int64]] = [run.column(0).to_numpy() for run in self._runs]

    @property
    def rows(self) -> int:
        """Rows of all runs."""
        return sum(run.num_rows for run in self._runs)

    @property
    def nbytes(self) -> int:
        """Bytes that the rows of all runs take in memory."""
        return sum(run.nbytes for run in self._runs)

    def count(self, start: int, stop: int) -> int:
        """Count the rows with start <= key < stop."""
        first, last = self._bounds(start, stop)
        return int((last - first).sum())

    def read(self, start: int, stop: int, rows: int) -> Iterator[pa.RecordBatch]:
        """Read the rows with start <= key < stop, sorted.

        Parameters
        ----------
        start, stop : int
        rows : int
            In a batch; the last has what is left.

        Yields
        ------
        pa.RecordBatch
            Rows of equal keys are in the order in which they were added. Apart from one batch,
            16 bytes for each row of the range are held.
        """
        first, last = self._bounds(start, stop)
        keys = [key[a:b] for key, a, b in zip(self._keys, first, last, strict=True)]
        order = np.argsort(np.concatenate(keys), kind="stable") if keys else np.zeros(0, np.int64)
        # Rows of a run keep their order when all are sorted: a stretch of the whole is, of each
        # run, a slice that begins where that of the stretch before ended.
        ends = np.cumsum(last - first)
        for at in range(0, len(order), rows):
            run = np.searchsorted(ends, order[at : at + rows], side="right")
            taken = np.bincount(run, minlength=len(self._runs))
            slices = [
                self._runs[i].slice(int(first[i]), int(taken[i])) for i in np.flatnonzero(taken)
            ]
            first = first + taken
            yield _merged(slices)

    def _bounds(self, start: int, stop: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        found = [np.searchsorted(keys, [start, stop]) for keys in self._keys]
        bounds = np.array(found, np.int64).reshape(-1, 2)
        return bounds[:, 0], bounds[:, 1]

    def __enter__(self) -> "SortedRuns":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._runs, self._keys = [], []
        self._file.close()


def _merged(slices: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(slices) == 1:
        return slices[0]
    rows = pa.concat_batches(slices)
    order = np.argsort(rows.column(0).to_numpy(), kind="stable")
    return rows.take(pa.array(order))
