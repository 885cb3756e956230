"""OGIP files written again from rows of the lake: the same columns, types, values and keywords."""

import gzip
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import LacusError
from lake.ogip.cells import join
from lake.originals import Read, place

#: Bytes of input files that are written from one set of queries.
_AT_ONCE = 1 << 26

# Rows of the typed tables, in the order of the rows of their HDUs.
_TYPED = {
    "spectrum": "SELECT * FROM ogip.spectra WHERE {chosen} ORDER BY path, hdu, row",
    "ebounds": "SELECT * FROM ogip.ebounds WHERE {chosen} ORDER BY path, hdu",
    "effective_area": "SELECT * FROM ogip.effective_area WHERE {chosen} ORDER BY path, hdu, row",
    "matrix": "SELECT r.path, r.hdu, m.* FROM (FROM ogip.redistribution WHERE {chosen}) AS m JOIN"
    " (SELECT response_id, path, hdu FROM ogip.responses WHERE {chosen}) AS r"
    " ON r.response_id = m.response_id ORDER BY r.path, r.hdu, m.bin",
}
_COMPRESSED = (".gz", ".ftz")


class _File(NamedTuple):
    release: str
    sha256: str
    path: str
    size: int


def write_files(read: Read, rows: pa.Table, directory: Path) -> list[Path]:
    """Write the files that rows of a table come from, whole, as they were.

    All HDUs of a file are written, with their headers. Names are those of the input files;
    where they came from several folders, the folders below their common one are kept, and where
    they are of several releases, each has a folder. A compressed file is compressed again.

    Parameters
    ----------
    read : Read
    rows : pyarrow.Table
        Rows of ogip.spectra, ogip.responses, ogip.effective_area or ogip.ebounds.
    directory : Path

    Returns
    -------
    list of Path

    Raises
    ------
    LacusError
        The lake does not hold what a header speaks of, or another file is in the way.
    """
    files = _files(read, rows)
    names = _names(files)
    paths = []
    for some in _batches(files):
        for file, content in _contents(read, some):
            path = directory / names[file]
            place(path, _compressed(content, path))
            paths.append(path)
    return paths


def _files(read: Read, rows: pa.Table) -> list[_File]:
    keys = rows.select(["release", "file_sha256", "path"]).group_by(
        ["release", "file_sha256", "path"]
    )
    sizes = read(
        "SELECT release, sha256, max(size) AS size FROM meta.files WHERE mission = 'ogip'"
        " AND status = 'committed' GROUP BY ALL"
    ).to_pylist()
    size = {(row["release"], row["sha256"]): row["size"] for row in sizes}
    found = []
    for row in keys.aggregate([]).to_pylist():
        key = row["release"], row["file_sha256"]
        found.append(_File(*key, row["path"], size.get(key, 0)))
    return sorted(found)


def _names(files: Sequence[_File]) -> dict[_File, str]:
    """Place of each file below the folder that is written to."""
    common = os.path.commonpath([os.path.dirname(file.path) for file in files])
    several = len({file.release for file in files}) > 1
    return {
        file: os.path.join(file.release if several else "", os.path.relpath(file.path, common))
        for file in files
    }


def _batches(files: Sequence[_File]) -> Iterator[list[_File]]:
    """Files of one release that are together not too large."""
    batch: list[_File] = []
    for file in files:
        full = sum(f.size for f in batch) + file.size > _AT_ONCE
        if batch and (full or batch[0].release != file.release):
            yield batch
            batch = []
        batch.append(file)
    yield batch


def _contents(read: Read, files: Sequence[_File]) -> Iterator[tuple[_File, bytes]]:
    """Bytes of files of one release."""
    chosen = f"release = ? AND file_sha256 IN ({', '.join('?' * len(files))})"
    params = [files[0].release, *(file.sha256 for file in files)]
    hdus = read(f"SELECT * FROM ogip.hdus WHERE {chosen} ORDER BY file_sha256, hdu", params)
    typed: dict[tuple[str, int], pa.Table] = {}
    for content in pc.unique(hdus["content"]).to_pylist():
        if content in _TYPED:
            query = _TYPED[content]
            times = query.count("{chosen}")
            typed |= _by_hdu(read(query.format(chosen=chosen), params * times))
    parts: dict[str, list[dict[str, Any]]] = {}
    for hdu in hdus.to_pylist():
        parts.setdefault(hdu["file_sha256"], []).append(hdu)
    for file in files:
        if file.sha256 not in parts:
            raise LacusError(f"{file.path}: the lake has no HDU of it")
        yield file, b"".join(_hdu(file, hdu, typed) for hdu in parts[file.sha256])


def _hdu(file: _File, hdu: Mapping[str, Any], typed: Mapping[tuple[str, int], pa.Table]) -> bytes:
    """Bytes of an HDU of a file."""
    names, place = hdu["typed_columns"] or [], (file.path, hdu["hdu"])
    try:
        if names and place not in typed:
            raise LacusError(f"the lake has no rows of the {hdu['content']}")
        cells = {name: _values(typed[place], name) for name in names}
        return join(hdu["header"], cells, hdu["data"], hdu["heap"])
    except LacusError as error:
        raise LacusError(f"{file.path}: HDU {hdu['hdu']} cannot be written: {error}") from None


def _by_hdu(rows: pa.Table) -> dict[tuple[str, int], pa.Table]:
    """Rows of each HDU by path and number; they are sorted by these."""
    if not rows.num_rows:
        return {}
    files = rows["path"].combine_chunks().dictionary_encode().indices.to_numpy()
    hdus = rows["hdu"].to_numpy()
    starts = np.flatnonzero(np.r_[True, (np.diff(files) != 0) | (np.diff(hdus) != 0)])
    ends = np.r_[starts[1:], rows.num_rows]
    return {
        (rows["path"][s].as_py(), int(hdus[s])): rows.slice(s, e - s)
        for s, e in zip(starts.tolist(), ends.tolist(), strict=True)
    }


def _values(rows: pa.Table, name: str) -> npt.NDArray[Any]:
    """Numbers of a column of an HDU, all rows of it one after the other."""
    column = rows[_column(rows, name)]
    if pa.types.is_list(column.type):
        column = pc.list_flatten(column)
    if not len(column):
        return np.empty(0, column.type.to_pandas_dtype())
    return column.combine_chunks().to_numpy(zero_copy_only=False)


def _column(rows: pa.Table, name: str) -> str:
    """Column of the lake that holds a column of the file."""
    plain = name.lower()
    by_channel = f"{plain}_channel"
    if by_channel in rows.column_names and rows[by_channel].null_count < rows.num_rows:
        return by_channel
    if plain not in rows.column_names:
        raise LacusError(f"the lake has no column for {name}")
    return plain


def _compressed(content: bytes, path: Path) -> bytes:
    """Content as the name of the file promises it, without the time of writing."""
    if path.name.lower().endswith(_COMPRESSED):
        return gzip.compress(content, mtime=0)
    return content
