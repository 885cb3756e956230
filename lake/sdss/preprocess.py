"""Preprocessing: from spectra as read to spectra that can be compared, with a log.

The recipe `default` brings every spectrum onto `GRID` in its rest frame, without dust and
continuum; `seed` is the chain of the published toolkit (`lake.sdss.recipes`).
"""

from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import LacusError
from lake.formats.columns import make_list
from lake.sdss.batches import batches
from lake.sdss.recipes import RECIPES, LogEntry, Recipe, Step, apply, apply_batch
from lake.sdss.steps import GRID, Spectra

__all__ = [
    "GRID",
    "LOG_SCHEMA",
    "RECIPES",
    "SCHEMA",
    "LogEntry",
    "Recipe",
    "Step",
    "apply",
    "apply_batch",
    "preprocess_table",
    "to_arrays",
]

#: Spectra that are worked on together: their arrays fit into a processor's cache.
_BATCH = 32


_KEYS = [
    pa.field("release", pa.string()),
    pa.field("spec_id", pa.string()),
    pa.field("recipe", pa.string()),
]
_FILE = pa.field("file_sha256", pa.string())

#: Columns of preprocessed spectra.
SCHEMA = pa.schema(
    [
        *_KEYS,
        pa.field("flux", pa.list_(pa.float32())),
        pa.field("ivar", pa.list_(pa.float32())),
        pa.field("valid", pa.list_(pa.bool_())),
        pa.field("n_valid", pa.int32()),
        pa.field("snr", pa.float32()),
        _FILE,
    ]
)

#: Columns of the preprocessing log.
LOG_SCHEMA = pa.schema(
    [
        *_KEYS,
        pa.field("step_order", pa.int32()),
        pa.field("step_name", pa.string()),
        pa.field("params_json", pa.string()),
        pa.field("result_hash", pa.string()),
        pa.field("timestamp", pa.timestamp("us", tz="UTC")),
        pa.field("warnings", pa.string()),
        _FILE,
    ]
)


def preprocess_table(
    spectra: pa.Table, metadata: pa.Table, recipe: Recipe, timestamp: datetime
) -> tuple[pa.Table, pa.Table]:
    """Run a recipe on a table of spectra.

    Parameters
    ----------
    spectra : pyarrow.Table
        Columns release, spec_id, wavelength_grid (``log10``, ``linear``, ``table`` or
        ``pixel-normalised``), coeff0, coeff1, crval1, cd1_1, wavelength, flux, ivar, and_mask,
        file_sha256.
    metadata : pyarrow.Table
        Columns release, spec_id, z_or_rv_kms (km/s), ebv_sfd (mag), wavelength_frame (``air``,
        ``vacuum`` or null), and at_rest where it is known; a spectrum without a row here has none
        of these.
    recipe : Recipe
    timestamp : datetime
        What the log gives as the time, with its zone.

    Returns
    -------
    preprocessed : pyarrow.Table
        See `SCHEMA`; ivar and snr (median over the valid pixels of flux times sqrt(ivar), per
        pixel) are null where the file has no inverse variance. Spectra that the recipe leaves
        without a valid pixel are not in it.
    log : pyarrow.Table
        See `LOG_SCHEMA`; every spectrum, also those left out.

    Raises
    ------
    LacusError
        A spectrum has no flux, lists of different lengths, an unknown wavelength grid or a grid
        without its coefficients; the release and spec_id are named.
    """
    parts, logs = [], []
    for rows, batch, facts in batches(spectra, metadata, _BATCH):
        result, entries = apply_batch(recipe, batch, facts)
        parts.append(_result_table(rows, recipe.name, result))
        logs.append(_log_table(rows, recipe.name, entries, timestamp))
    return _concat(parts, SCHEMA), _concat(logs, LOG_SCHEMA)


def _lists(values: npt.NDArray, present: npt.NDArray[np.bool_]) -> pa.ListArray:
    """Rows of an array as lists of one length; null where not present."""
    flat = pa.array(values[present].reshape(-1))
    missing = None if present.all() else pa.array(~present)
    return make_list(flat, present * values.shape[1], missing)


def _result_table(rows: pa.RecordBatch, recipe: str, result: Spectra) -> pa.Table:
    """Give what a batch became, without the spectra that have no valid pixel."""
    kept = result.valid.any(axis=1)
    flux, ivar, valid = result.flux[kept], result.ivar[kept], result.valid[kept]
    known = result.has_ivar[kept]
    snr = np.zeros(len(flux), dtype=np.float32)
    for i in np.flatnonzero(known):
        good = valid[i]
        snr[i] = np.median(flux[i, good] * np.sqrt(ivar[i, good]))
    all_there = np.ones(len(flux), dtype=bool)
    chosen = rows.filter(pa.array(kept))
    return pa.table(
        [
            chosen["release"].cast(pa.string()),
            chosen["spec_id"].cast(pa.string()),
            pa.array([recipe] * len(flux), pa.string()),
            _lists(flux.astype(np.float32), all_there),
            _lists(ivar.astype(np.float32), known),
            _lists(valid, all_there),
            pa.array(np.count_nonzero(valid, axis=1).astype(np.int32)),
            pa.array(snr, mask=~known),
            chosen["file_sha256"].cast(pa.string()),
        ],
        schema=SCHEMA,
    )


def _log_table(
    rows: pa.RecordBatch, recipe: str, log: list[list[LogEntry]], timestamp: datetime
) -> pa.Table:
    """Give the log of a batch, spectrum by spectrum."""
    entries = [entry for steps in log for entry in steps]
    owner = pa.array(np.repeat(np.arange(len(log)), [len(steps) for steps in log]))
    n = len(entries)
    return pa.table(
        [
            rows["release"].take(owner).cast(pa.string()),
            rows["spec_id"].take(owner).cast(pa.string()),
            pa.array([recipe] * n, pa.string()),
            pa.array([entry.step_order for entry in entries], pa.int32()),
            pa.array([entry.step_name for entry in entries], pa.string()),
            pa.array([entry.params_json for entry in entries], pa.string()),
            pa.array([entry.result_hash for entry in entries], pa.string()),
            pa.array([timestamp] * n, pa.timestamp("us", tz="UTC")),
            pa.array([entry.warnings for entry in entries], pa.string()),
            rows["file_sha256"].take(owner).cast(pa.string()),
        ],
        schema=LOG_SCHEMA,
    )


def _concat(parts: list[pa.Table], schema: pa.Schema) -> pa.Table:
    # In one piece: what is written together makes one row group, and is read sooner.
    return pa.concat_tables(parts).combine_chunks() if parts else schema.empty_table()


def to_arrays(
    preprocessed: pa.Table,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Preprocessed spectra as arrays.

    Parameters
    ----------
    preprocessed : pyarrow.Table
        Columns flux, ivar, valid of one recipe.

    Returns
    -------
    flux : ndarray of float32, shape (n, length)
    ivar : ndarray of float32, shape (n, length)
        NaN in rows that have none.
    valid : ndarray of bool, shape (n, length)

    Raises
    ------
    LacusError
        The spectra differ in length: the table holds more than one recipe.
    """
    n = len(preprocessed)
    lengths = pc.unique(pc.list_value_length(preprocessed["flux"])).to_pylist()
    if n and (len(lengths) != 1 or not lengths[0]):
        raise LacusError(f"spectra of different lengths ({lengths}): choose one recipe")
    length = lengths[0] if n else 0

    def flat(name: str) -> pa.ChunkedArray:
        return pc.list_flatten(preprocessed[name])

    known = np.asarray(preprocessed["ivar"].is_valid())
    ivar = np.asarray(flat("ivar"), np.float32)
    if not known.all():
        rows = np.full((n, length), np.nan, dtype=np.float32)
        rows[known] = ivar.reshape(-1, length)
        ivar = rows
    flux, valid = np.asarray(flat("flux"), np.float32), _bits(flat("valid"))
    return flux.reshape(n, length), ivar.reshape(n, length), valid.reshape(n, length)


def _bits(values: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Booleans as NumPy has them; null counts as false.

    From Arrow's bits, an eighth of a byte each, some twenty times faster than element by element.
    """
    parts = [np.empty(0, bool)]
    for chunk in pc.fill_null(values, False).chunks:
        packed = np.frombuffer(chunk.buffers()[1], np.uint8)
        end = chunk.offset + len(chunk)
        parts.append(np.unpackbits(packed, count=end, bitorder="little")[chunk.offset :].view(bool))
    return parts[1] if len(parts) == 2 else np.concatenate(parts)
