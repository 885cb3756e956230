"""Preprocessing: recipes of steps, run on batches of spectra, each step on record.

The recipe `default` brings every spectrum onto `GRID` in its rest frame, without dust and
continuum; `seed` is the chain of the published toolkit. What is left of a spectrum after a step
is known by its hash, so that a result can be traced and repeated.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import LacusError
from lake.sdss.batches import batches
from lake.sdss.continuum import normalise_continuum, normalise_median, normalise_minmax
from lake.sdss.extinction import deredden
from lake.sdss.steps import (
    GRID,
    Facts,
    Spectra,
    Warnings,
    air_to_vacuum,
    mask_bad_pixels,
    pad_or_crop,
    resample,
    rest_frame,
)

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

Kernel = Callable[..., tuple[Spectra, Warnings]]

#: Spectra that are worked on together: their arrays fit into a processor's cache.
_BATCH = 32


@dataclass(frozen=True)
class Step:
    """One step of a recipe.

    Parameters
    ----------
    name : str
        As it is logged.
    kernel : callable
        Takes spectra, facts and the parameters; gives spectra and warnings by row.
    parameters : mapping
        What JSON can hold.
    """

    name: str
    kernel: Kernel
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def params_json(self) -> str:
        """The kernel's name and the parameters, in a fixed order."""
        return json.dumps(
            {"kernel": self.kernel.__name__, **self.parameters},
            sort_keys=True,
            separators=(",", ":"),
        )


@dataclass(frozen=True)
class Recipe:
    """A named chain of steps that ends with `length` pixels.

    Parameters
    ----------
    name : str
    steps : tuple of Step
        The last one says the length.
    """

    name: str
    steps: tuple[Step, ...]

    @property
    def length(self) -> int:
        """Pixels of every spectrum it gives."""
        return int(self.steps[-1].parameters["length"])

    @property
    def digest(self) -> str:
        """SHA-256 over the steps and their parameters: changes whenever they do."""
        text = "\n".join(f"{step.name} {step.params_json}" for step in self.steps)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class LogEntry:
    """What a step did to one spectrum.

    Parameters
    ----------
    step_order : int
        From 2; step 1 is the reading of the file.
    step_name, params_json : str
    result_hash : str
        SHA-256 of the flux after the step, its own pixels only (no padding of the batch), as
        little-endian 32-bit floats. A step that leaves the flux alone leaves the hash.
    warnings : str or None
    """

    step_order: int
    step_name: str
    params_json: str
    result_hash: str
    warnings: str | None


_REST_FRAME = Step("rest_frame", rest_frame)
#: What precedes resampling. The order follows the light back: the observatory's air, then the
#: dust of the Galaxy, both at rest here, then the star's motion.
_TO_REST = (
    Step("mask_bad_pixels", mask_bad_pixels),
    Step("air_to_vacuum", air_to_vacuum),
    Step("deredden", deredden, {"r_v": 3.1, "sfd_scale": 0.86}),
    _REST_FRAME,
)
_RESAMPLE = Step(
    "resample",
    resample,
    {"start": GRID.start, "step": GRID.step, "size": GRID.size, "coverage": 0.5},
)
_CONTINUUM = Step(
    "continuum_normalise",
    normalise_continuum,
    {
        "bandwidth": 150,
        "block": 16,
        "depth": 0.1,
        "iterations": 2,
        "significance": 3,
        "fill": 1.0,
    },
)
_TO_GRID = Step("pad_or_crop", pad_or_crop, {"length": GRID.size, "fill": 1.0})

#: Recipes by name. Beside `default` and the published toolkit's `seed` there are the ablations:
#: the level alone taken out, the toolkit's scaling on the common grid, wavelengths as observed.
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("default", (*_TO_REST, _RESAMPLE, _CONTINUUM, _TO_GRID)),
        Recipe(
            "seed",
            (
                Step("continuum_normalise", normalise_minmax, {"fill": 0.0}),
                Step("pad_or_crop", pad_or_crop, {"length": 2048, "fill": 0.0}),
            ),
        ),
        Recipe(
            "no_continuum",
            (
                *_TO_REST,
                _RESAMPLE,
                Step("continuum_normalise", normalise_median, {"fill": 1.0}),
                _TO_GRID,
            ),
        ),
        Recipe(
            "minmax",
            (
                *_TO_REST,
                _RESAMPLE,
                Step("continuum_normalise", normalise_minmax, {"fill": 0.0}),
                Step("pad_or_crop", pad_or_crop, {"length": GRID.size, "fill": 0.0}),
            ),
        ),
        Recipe(
            "no_rest_frame",
            (
                *(step for step in _TO_REST if step is not _REST_FRAME),
                _RESAMPLE,
                _CONTINUUM,
                _TO_GRID,
            ),
        ),
    )
}


def apply_batch(
    recipe: Recipe, spectra: Spectra, facts: Facts
) -> tuple[Spectra, list[list[LogEntry]]]:
    """Run a recipe on a batch.

    Parameters
    ----------
    recipe : Recipe
    spectra : Spectra
        As read.
    facts : Facts

    Returns
    -------
    spectra : Spectra
        `recipe.length` pixels each.
    log : list of list of LogEntry
        By spectrum, then by step. The log of a spectrum ends with the step that left it without
        a valid pixel, and says so.
    """
    log: list[list[LogEntry]] = [[] for _ in range(len(spectra))]
    alive = np.arange(len(spectra))
    hashes: list[str] = [""] * len(spectra)
    hashed = None
    for order, step in enumerate(recipe.steps, start=2):
        spectra, notes = step.kernel(spectra, facts, **step.parameters)
        if spectra.flux is not hashed:
            hashed = spectra.flux
            stored = hashed.astype("<f4")
            for i in alive:
                own = stored[i, : spectra.n_pixels[i]]
                hashes[i] = hashlib.sha256(own.tobytes()).hexdigest()
        left = np.any(spectra.valid, axis=1)
        text = step.params_json
        for i in alive:
            note = notes.get(int(i))
            if not left[i]:
                note = f"{note}; left out" if note else "no valid pixel: left out"
            log[i].append(LogEntry(order, step.name, text, hashes[i], note))
        alive = alive[left[alive]]
    return spectra, log


def apply(recipe: Recipe, spectrum: Spectra, facts: Facts) -> tuple[Spectra, list[LogEntry]]:
    """Run a recipe on one spectrum: `apply_batch` for a batch of one."""
    result, log = apply_batch(recipe, spectrum, facts)
    return result, log[0]


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
        ``pixel``), coeff0, coeff1, crval1, cd1_1, wavelength, flux, ivar, and_mask, file_sha256.
    metadata : pyarrow.Table
        Columns release, spec_id, z_or_rv_kms (km/s), ebv_sfd (mag), wavelength_frame (``air``,
        ``vacuum`` or null); a spectrum without a row here has none of these.
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
    length = values.shape[1]
    flat = pa.array(values[present].reshape(-1))
    offsets = np.concatenate([[0], np.cumsum(present * length)]).astype(np.int32)
    missing = None if present.all() else pa.array(~present)
    return pa.ListArray.from_arrays(pa.array(offsets), flat, mask=missing)


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
    return pa.concat_tables(parts) if parts else schema.empty_table()


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

    def flat(name: str) -> npt.NDArray:
        return np.asarray(pc.list_flatten(preprocessed[name])).reshape(-1, length)

    flux, valid = (flat("flux"), flat("valid")) if n else (np.zeros((0, 0)), np.zeros((0, 0)))
    ivar = np.full((n, length), np.nan, dtype=np.float32)
    known = np.asarray(preprocessed["ivar"].is_valid())
    if known.any():
        ivar[known] = flat("ivar")
    return flux.astype(np.float32, copy=False), ivar, valid.astype(bool, copy=False)
