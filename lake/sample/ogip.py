"""Simulated OGIP files: spectra with background, responses, a TYPE II file and its rsp2.

Every source is an absorbed power law; its spectrum says in its header what was expected of it
(``SIMNET``: net counts in its good channels), so that what is computed from the counts can be
compared with it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from lake.sample.sizes import Size, number_of
from lake.sample.xray import THRESHOLD, Detector, absorbed_power_law, ccd

RELEASE = "SIM1"
SIZES = {"small": 6, "medium": 60, "large": 600}

_INTERVALS = 5
_CARDS = {"TELESCOP": "SIMSAT", "FILTER": "NONE", "HDUCLASS": "OGIP"}
# Region of the background over that of the source; counts per second that it has in the latter.
_WIDER, _SKY_RATE = 12.0, 0.004


def write_sample(directory: Path, *, size: Size | int = "small", seed: int = 42) -> dict[str, Path]:
    """Write spectra and responses of two simulated instruments.

    Of the CCD there is one source to an observation: ``simNNNNN.pi`` with background
    ``simNNNNN_bkg.pi``, all with the same ``sim.arf`` and ``sim.rmf``. Of the monitor there is
    one outburst: ``burst.pha2`` (TYPE II, a row for each interval), its background
    ``burst.bak`` and ``burst.rsp2`` with a matrix for each interval. The same size and seed
    give the same bytes.

    Parameters
    ----------
    directory : Path
        Made if absent.
    size : {"small", "medium", "large"} or int
        6, 60 or 600 sources, or any number of them.
    seed : int

    Returns
    -------
    dict
        ``spectra``: the folder of all of them.

    Raises
    ------
    UsageError
        For an unknown size.
    """
    count = number_of(size, SIZES)
    folder = directory / "spectra"
    folder.mkdir(parents=True, exist_ok=True)
    camera = ccd(320, 256, bottom=0.3, top=10.54, area=600)
    about = {"INSTRUME": "SIMCCD"}
    _write(folder / "sim.arf", _effective_area(camera, about))
    _write(folder / "sim.rmf", _ebounds(camera, about), _matrix(camera, about, "MATRIX"))
    for number in range(1, count + 1):
        rng = np.random.default_rng([seed, number])
        _write_source(folder, f"sim{number:05d}", camera, rng)
    _write_outburst(folder, np.random.default_rng([seed, 0]))
    return {"spectra": folder}


def _write_source(folder: Path, name: str, camera: Detector, rng: np.random.Generator) -> None:
    """Write a source and its background, each with Poisson counts."""
    gamma, column = float(rng.uniform(1.2, 2.6)), float(10 ** rng.uniform(-1.5, 0.5))
    norm = float(10 ** rng.uniform(-5.5, -3.5))
    exposure = float(np.round(rng.uniform(8e3, 5e4), 2))
    flux = absorbed_power_law(camera.edges, norm, gamma, column)
    expected = camera.counts(flux, exposure)
    # Particles: as many at all energies, and a line that they strike out of the nickel around.
    energy = (camera.channel_edges[:-1] + camera.channel_edges[1:]) / 2
    particles = 1 + 8 * np.exp(-0.5 * ((energy - 7.47) / 0.07) ** 2)
    sky = exposure * _SKY_RATE * particles / particles.sum()
    bad = ((energy < 0.5) | (energy > 10)).astype(np.int16) * 5
    number = int(name.removeprefix("sim"))
    same: dict[str, Any] = {
        "INSTRUME": "SIMCCD", "OBJECT": f"Simulated source {number}", "OBS_ID": f"{number:05d}",
        "DATE-OBS": "2024-03-20T00:00:00", "RA_OBJ": round(float(rng.uniform(0, 360)), 5),
        "DEC_OBJ": round(float(np.degrees(np.arcsin(rng.uniform(-1, 1)))), 5),
        "EXPOSURE": exposure, "HDUCLAS3": "COUNT", "HDUCLAS4": "TYPE:I",
        "CHANTYPE": "PI", "DETCHANS": len(energy), "POISSERR": True, "GROUPING": 0, "SYS_ERR": 0,
        "AREASCAL": 1.0, "CORRSCAL": 1.0, "CORRFILE": "none", "RESPFILE": "sim.rmf",
        "ANCRFILE": "sim.arf",
    }  # fmt: skip
    about = {
        "HDUCLAS2": "TOTAL", "BACKFILE": f"{name}_bkg.pi", "BACKSCAL": 1e-4,
        "SIMNET": round(float(expected[bad == 0].sum()), 3), "SIMGAMMA": round(gamma, 4),
        "SIMNH": round(column, 4), "SIMNORM": round(norm, 9),
    }  # fmt: skip
    _write(folder / f"{name}.pi", _spectrum(rng.poisson(expected + sky), bad, same | about))
    about = {"HDUCLAS2": "BKG", "BACKFILE": "none", "BACKSCAL": 1e-4 * _WIDER}
    _write(folder / f"{name}_bkg.pi", _spectrum(rng.poisson(_WIDER * sky), bad, same | about))


def _write_outburst(folder: Path, rng: np.random.Generator) -> None:
    """Write a TYPE II file whose response changes from interval to interval, and its background.

    The background is a rate with errors, as a fit to the time before and after would give it.
    """
    start = np.arange(_INTERVALS) * 40.0
    norm = 0.08 * np.exp(-0.5 * ((start - 60) / 45) ** 2) + 0.004
    instrument = {"INSTRUME": "SIMMON"}
    detectors = [
        ccd(160, 96, bottom=0.5, top=10.1, area=90 * shade)
        for shade in np.cos(np.radians(np.linspace(5, 50, _INTERVALS)))
    ]
    for detector in detectors:
        detector.redistribution[:] *= detector.area[:, None].astype(np.float32)
    matrices = [
        _matrix(d, instrument | {"EXTVER": n, "TSTART": t, "TSTOP": t + 40}, "SPECRESP MATRIX")
        for n, (d, t) in enumerate(zip(detectors, start, strict=True), 1)
    ]
    _write(folder / "burst.rsp2", _ebounds(detectors[0], instrument), *matrices)
    exposure = np.round(40 - rng.uniform(0.1, 1.5, _INTERVALS), 3)
    channels = detectors[0].redistribution.shape[1]
    expected = np.array(
        [
            t * (absorbed_power_law(d.edges, n, 1.9, 0.3) @ d.redistribution)
            for d, n, t in zip(detectors, norm, exposure, strict=True)
        ]
    )
    sky = np.broadcast_to(4.0 / channels, expected.shape)
    about: dict[str, Any] = {
        **instrument, "OBJECT": "Simulated outburst", "OBS_ID": "burst", "HDUCLAS4": "TYPE:II",
        "CHANTYPE": "PHA", "DETCHANS": channels, "AREASCAL": 1.0, "BACKSCAL": 1.0,
        "CORRSCAL": 1.0, "CORRFILE": "none", "ANCRFILE": "none", "MJDREFI": 51910, "MJDREFF": 0.0,
        "DATE-OBS": "2024-03-21T00:00:00",
    }  # fmt: skip
    rows = np.arange(1, _INTERVALS + 1)
    channel = np.broadcast_to(np.arange(1, channels + 1), expected.shape)
    intervals = [
        ("SPEC_NUM", "I", None, rows),
        ("TSTART", "D", "s", start),
        ("TSTOP", "D", "s", start + 40),
        ("EXPOSURE", "E", "s", exposure),
        ("CHANNEL", f"{channels}I", None, channel),
    ]
    responses = ("RESPFILE", "16A", None, np.array([f"burst.rsp2{{{n}}}" for n in rows]))
    backgrounds = ("BACKFILE", "16A", None, np.array([f"burst.bak{{{n}}}" for n in rows]))
    counts = rng.poisson(expected + sky * exposure[:, None])
    _write(
        folder / "burst.pha2",
        _table(
            "SPECTRUM",
            [
                *intervals,
                ("COUNTS", f"{channels}J", "count", counts),
                ("QUALITY", "I", None, np.zeros(_INTERVALS, np.int16)),
                ("SIMNET", "E", "count", expected.sum(axis=1)),
                responses,
                backgrounds,
            ],
            about | {"HDUCLAS1": "SPECTRUM", "HDUCLAS2": "TOTAL", "HDUCLAS3": "COUNT",
                     "POISSERR": True},
        ),
    )  # fmt: skip
    error = 0.02 * sky
    _write(
        folder / "burst.bak",
        _table(
            "SPECTRUM",
            [
                *intervals,
                ("RATE", f"{channels}E", "count/s", rng.normal(sky, error)),
                ("STAT_ERR", f"{channels}E", "count/s", error),
                responses,
            ],
            about | {"HDUCLAS1": "SPECTRUM", "HDUCLAS2": "BKG", "HDUCLAS3": "RATE",
                     "POISSERR": False, "BACKFILE": "none"},
        ),
    )  # fmt: skip


# --- HDUs --------------------------------------------------------------------------------------

Columns = Sequence[tuple[str, str, str | None, npt.NDArray[Any]]]


def _spectrum(
    counts: npt.NDArray[np.int64], quality: npt.NDArray[np.int16], about: Mapping[str, Any]
) -> fits.BinTableHDU:
    columns: Columns = [
        ("CHANNEL", "I", None, np.arange(1, len(counts) + 1)),
        ("COUNTS", "J", "count", counts),
        ("QUALITY", "I", None, quality),
    ]
    limits = {"TLMIN1": 1, "TLMAX1": len(counts)}
    return _table("SPECTRUM", columns, {"HDUCLAS1": "SPECTRUM", **about, **limits})


def _effective_area(detector: Detector, about: Mapping[str, Any]) -> fits.BinTableHDU:
    columns: Columns = [*_energies(detector), ("SPECRESP", "E", "cm**2", detector.area)]
    classes = {"HDUCLAS1": "RESPONSE", "HDUCLAS2": "SPECRESP", "HDUVERS": "1.1.0"}
    return _table("SPECRESP", columns, {**about, **classes})


def _ebounds(detector: Detector, about: Mapping[str, Any]) -> fits.BinTableHDU:
    edges = detector.channel_edges
    columns: Columns = [
        ("CHANNEL", "I", None, np.arange(1, len(edges))),
        ("E_MIN", "E", "keV", edges[:-1]),
        ("E_MAX", "E", "keV", edges[1:]),
    ]
    classes = {
        "HDUCLAS1": "RESPONSE", "HDUCLAS2": "EBOUNDS", "HDUVERS": "1.2.0", "CHANTYPE": "PI",
        "DETCHANS": len(edges) - 1,
    }  # fmt: skip
    return _table("EBOUNDS", columns, {**about, **classes})


def _matrix(detector: Detector, about: Mapping[str, Any], name: str) -> fits.BinTableHDU:
    """Response as sparse groups of variable length, channels counted from 1."""
    groups = detector.groups()
    columns: Columns = [
        *_energies(detector),
        ("N_GRP", "I", None, np.array([len(first) for first, _ in groups])),
        ("F_CHAN", "PI()", None, _ragged([first + 1 for first, _ in groups])),
        ("N_CHAN", "PI()", None, _ragged([length for _, length in groups])),
        ("MATRIX", "PE()", None, _ragged([row[row > 0] for row in detector.redistribution])),
    ]
    channels = detector.redistribution.shape[1]
    classes = {
        "HDUCLAS1": "RESPONSE", "HDUCLAS2": "RSP_MATRIX", "HDUVERS": "1.3.0", "CHANTYPE": "PI",
        "HDUCLAS3": "REDIST" if name == "MATRIX" else "FULL", "DETCHANS": channels,
        "LO_THRES": THRESHOLD, "TLMIN4": 1, "TLMAX4": channels,
    }  # fmt: skip
    return _table(name, columns, {**about, **classes})


def _energies(detector: Detector) -> Columns:
    return [
        ("ENERG_LO", "E", "keV", detector.edges[:-1]),
        ("ENERG_HI", "E", "keV", detector.edges[1:]),
    ]


def _ragged(rows: list[npt.NDArray[Any]]) -> npt.NDArray[np.object_]:
    found = np.empty(len(rows), object)
    found[:] = rows
    return found


def _table(name: str, columns: Columns, cards: Mapping[str, Any]) -> fits.BinTableHDU:
    made = [fits.Column(name=n, format=form, unit=unit, array=a) for n, form, unit, a in columns]
    hdu = fits.BinTableHDU.from_columns(made, name=name)
    hdu.header.update({"HDUVERS": "1.2.1", **_CARDS, **cards})
    return hdu


def _write(path: Path, *hdus: fits.BinTableHDU) -> None:
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)
