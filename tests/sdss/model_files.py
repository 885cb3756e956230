"""Spec files of noise-free model spectra: noise, inverse variances, masks, small wiggles added."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from lake.sample.spec_file import COADD, SPECOBJ, spec_file


def write_spec_files(
    models: pa.Table,
    rows: Sequence[int],
    folder: Path,
    *,
    snr: float | None,
    seed: int,
    wiggle: float = 0.02,
) -> list[Path]:
    """Write rows of `stellar_spectra.parquet` as spec files into a folder.

    Parameters
    ----------
    models : pyarrow.Table
        Columns plate, mjd, fiberid, subclass, coeff0, coeff1, flux.
    rows : sequence of int
    folder : Path
    snr : float or None
        Signal-to-noise ratio per 2e-4 dex (two pixels); None leaves the models as they are.
    seed : int
    wiggle : float
        Standard deviation of smooth errors of the flux calibration, where there is noise.

    Returns
    -------
    list of Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = []
    for star in models.take(list(rows)).to_pylist():
        model = np.asarray(star["flux"], float)
        n = len(model)
        flux, ivar = model.copy(), np.full(n, (100 / np.median(model)) ** 2)
        if snr is not None:
            place = np.linspace(0, 1, n)
            cycles, phase = rng.integers(1, 12, (5, 1)), rng.uniform(0, 2 * np.pi, (5, 1))
            wave = (rng.normal(size=(5, 1)) * np.cos(2 * np.pi * cycles * place + phase)).sum(0)
            sigma = np.maximum(np.abs(model), 0.05 * np.median(model)) * np.sqrt(2) / snr
            flux = model * (1 + wiggle * wave / wave.std()) + sigma * rng.normal(size=n)
            ivar = sigma**-2
            ivar[rng.random(n) < 0.01] = 0
        coadd = np.zeros(n, COADD)
        coadd["flux"], coadd["ivar"], coadd["model"] = flux, ivar, model
        coadd["loglam"] = star["coeff0"] + star["coeff1"] * np.arange(n)
        coadd["wdisp"] = 1.0
        specobj = np.zeros(1, SPECOBJ)
        for name, value in (
            ("PLATE", star["plate"]), ("MJD", star["mjd"]), ("FIBERID", star["fiberid"]),
            ("CLASS", "STAR"), ("SUBCLASS", star["subclass"]),
            ("SN_MEDIAN_ALL", np.median(flux * np.sqrt(ivar))),
        ):  # fmt: skip
            specobj[name] = value
        primary = {
            "PLATEID": (star["plate"], "Plate"), "MJD": (star["mjd"], "Last day"),
            "FIBERID": (star["fiberid"], "Fibre"), "VACUUM": (True, "In vacuum"),
            "COEFF0": (star["coeff0"], "First pixel"), "COEFF1": (star["coeff1"], "Step"),
            "BUNIT": ("1E-17 erg/cm^2/s/Ang", "Flux"), "HELIO_RV": (0.0, "Heliocentric"),
        }  # fmt: skip
        name = f"spec-{star['plate']:04d}-{star['mjd']}-{star['fiberid']:04d}.fits"
        paths.append(folder / name)
        paths[-1].write_bytes(spec_file(primary, coadd, specobj))
    return paths
