"""Recipes: chains of steps with their parameters, run on a batch, each step on record.

What is left of a spectrum after a step is known by its hash, so that a result can be traced and
repeated.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lake.sdss.continuum import normalise_continuum, normalise_median, normalise_minmax
from lake.sdss.extinction import deredden
from lake.sdss.steps import (
    GRID,
    UNUSABLE_BITS,
    Facts,
    Spectra,
    Warnings,
    air_to_vacuum,
    mask_bad_pixels,
    pad_or_crop,
    resample,
    rest_frame,
)

Kernel = Callable[..., tuple[Spectra, Warnings]]


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
    Step("mask_bad_pixels", mask_bad_pixels, {"unusable": list(UNUSABLE_BITS)}),
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
        "bandwidth": 120,
        "block": 32,
        "depth": 0.3,
        "iterations": 1,
        "lever": 1.1,
        "floor": 0.02,
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
