"""Spectra of the lake as padded arrays, a batch at a time."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import LacusError
from lake.sdss.steps import Facts, FloatArray, Spectra

#: Wavelength solutions, by what they need.
_GRIDS = {
    "log10": ("coeff0", "coeff1"),
    "linear": ("crval1", "cd1_1"),
    "table": ("wavelength",),
    "pixel-normalised": (),
}


def batches(
    spectra: pa.Table, metadata: pa.Table, size: int
) -> Iterator[tuple[pa.RecordBatch, Spectra, Facts]]:
    """Cut a table of spectra into batches of arrays.

    Parameters
    ----------
    spectra, metadata : pyarrow.Table
        See `lake.sdss.preprocess.preprocess_table`.
    size : int
        The most spectra to a batch.

    Yields
    ------
    rows : pyarrow.RecordBatch
        The rows of `spectra`.
    spectra : Spectra
        Every pixel that there is counts as valid.
    facts : Facts

    Raises
    ------
    LacusError
        A spectrum has no flux, lists of different lengths, an unknown wavelength grid or a grid
        without its coefficients; the release and spec_id are named.
    """
    where = pc.index_in(_keys(spectra), value_set=_keys(metadata).combine_chunks())
    if "at_rest" not in metadata.column_names:
        metadata = metadata.append_column("at_rest", pa.nulls(len(metadata), pa.bool_()))
    names = ["z_or_rv_kms", "at_rest", "ebv_sfd", "wavelength_frame"]
    known = metadata.select(names).take(where)
    start = 0
    for rows in spectra.to_batches(max_chunksize=size):
        about = known.slice(start, len(rows))
        start += len(rows)
        batch = _spectra(rows)
        frame = about["wavelength_frame"]
        at_rest = np.asarray(pc.fill_null(about["at_rest"], False))
        yield (
            rows,
            batch,
            Facts(
                velocity_kms=np.where(at_rest, 0.0, _floats(about["z_or_rv_kms"])),
                ebv=_floats(about["ebv_sfd"]),
                air=_equals(frame, "air"),
                vacuum=_equals(frame, "vacuum"),
                and_mask=_padded(rows, "and_mask", batch.n_pixels, np.dtype(np.int32))[0],
            ),
        )


def _keys(table: pa.Table) -> pa.ChunkedArray:
    """One text per row for its release and spec_id."""
    release, spec_id = (pc.cast(table[name], pa.string()) for name in ("release", "spec_id"))
    return pc.binary_join_element_wise(release, spec_id, "\x1f")


def _floats(column: pa.ChunkedArray | pa.Array) -> FloatArray:
    """Numbers as float64, null as NaN."""
    values = pc.fill_null(pc.cast(column, pa.float64()), np.nan)
    return np.array(
        values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy()
    )


def _equals(column: pa.ChunkedArray | pa.Array, value: str) -> npt.NDArray[np.bool_]:
    """Where a text has this value; a null has none."""
    return np.array(pc.fill_null(pc.equal(column, value), False))


def _problem(rows: pa.RecordBatch, bad: npt.NDArray[np.bool_], text: str) -> None:
    """Raise for the first bad row."""
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise LacusError(f"spectrum {rows['spec_id'][i]} of {rows['release'][i]}: {text}")


def _lengths(rows: pa.RecordBatch, name: str) -> npt.NDArray[np.int64]:
    """Length of each row's list; -1 where it is null."""
    counts = pc.fill_null(pc.list_value_length(rows[name]), -1)
    return np.asarray(counts, dtype=np.int64)


def _padded(
    rows: pa.RecordBatch, name: str, n_pixels: npt.NDArray[np.int64], dtype: np.dtype
) -> tuple[npt.NDArray, npt.NDArray[np.bool_]]:
    """Lists of one column as rows of an array, and which rows have one."""
    lengths = _lengths(rows, name)
    there = lengths >= 0
    _problem(rows, there & (lengths != n_pixels), f"{name} and flux differ in length")
    flat = rows[name].flatten()
    if dtype.kind == "i":
        values = np.asarray(pc.fill_null(flat, 0))
    else:
        values = flat.to_numpy(zero_copy_only=False)
    width = int(n_pixels.max(initial=0))
    out = np.zeros((len(rows), width), dtype=dtype)
    if np.all(lengths == width):
        out[:] = values.reshape(len(rows), width)
    else:
        out[np.arange(width) < np.maximum(lengths, 0)[:, None]] = values
    return out, there


def _spectra(rows: pa.RecordBatch) -> Spectra:
    """Pixels of some rows, with their wavelengths."""
    n_pixels = _lengths(rows, "flux")
    _problem(rows, n_pixels < 1, "has no flux")
    double = np.dtype(np.float64)
    flux, _ = _padded(rows, "flux", n_pixels, double)
    ivar, has_ivar = _padded(rows, "ivar", n_pixels, double)
    ivar[~has_ivar] = np.nan
    valid = np.arange(flux.shape[1]) < n_pixels[:, None]
    return Spectra(_wavelengths(rows, n_pixels), flux, ivar, valid, has_ivar, n_pixels)


def _wavelengths(rows: pa.RecordBatch, n_pixels: npt.NDArray[np.int64]) -> FloatArray:
    """Wavelengths in Angstrom by each row's solution; NaN where there is none."""
    names = np.asarray(rows["wavelength_grid"].to_pylist(), dtype=object)
    _problem(rows, ~np.isin(names, list(_GRIDS)), f"wavelength_grid is none of {', '.join(_GRIDS)}")
    pixel = np.arange(int(n_pixels.max(initial=0)), dtype=np.float64)
    out = np.full((len(rows), len(pixel)), np.nan)
    for grid in ("log10", "linear"):
        chosen = names == grid
        if not chosen.any():
            continue
        origin, step = (_floats(rows[name]) for name in _GRIDS[grid])
        needed = " and ".join(_GRIDS[grid])
        bad = chosen & ~(np.isfinite(origin) & (step > 0))
        _problem(rows, bad, f"a {grid} grid needs {needed}, finite and increasing")
        if grid == "linear":
            out[chosen] = origin[chosen, None] + step[chosen, None] * pixel
            continue
        # Surveys share a step: the power of ten of a pixel is computed once for all rows.
        for width in np.unique(step[chosen]):
            same = chosen & (step == width)
            out[same] = 10 ** origin[same, None] * 10 ** (width * pixel)
    chosen = names == "table"
    if chosen.any():
        values, there = _padded(rows, "wavelength", n_pixels, np.dtype(np.float64))
        _problem(rows, chosen & ~there, "a tabulated grid needs its wavelengths")
        inside = np.arange(1, len(pixel)) < n_pixels[:, None]
        rising = (np.diff(values, axis=1) > 0) | ~inside
        bad = chosen & ~(rising.all(axis=1) & (values[:, 0] > 0))
        _problem(rows, bad, "wavelengths are not positive and increasing")
        out[chosen] = values[chosen]
    return out
