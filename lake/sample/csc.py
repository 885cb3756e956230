"""Synthetic Chandra Source Catalog inputs, drawn from the published classifier.

A source gets a component of the published mixture, a point in it, and a class by the published
log-odds at that point; its detections scatter around the point. The features are then turned
back into the columns of the catalogue from which the method derives them.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from lake import contracts
from lake.csc.features import CLASSES, FEATURES, LOG_FEATURES
from lake.csc.reference import ReferenceModel, load_reference
from lake.formats.votable_write import write_votable
from lake.sample import csc_labels
from lake.sample.sizes import Size, number_of
from lake.sample.sky import (
    OBSERVATIONS_PER_STACK,
    SOURCES_PER_STACK,
    FloatArray,
    IntArray,
    Sky,
    draw_sky,
    source_names,
)

RELEASE = "CSC-sample"
SIZES = {"small": 2_000, "medium": 50_000, "large": 1_000_000}

# Share of the published sources that have 1, 2, ... 9, 10 or more detections.
_DETECTIONS = np.array([5639, 612, 209, 165, 55, 25, 22, 8, 8, 30]) / 6773
_STACKS_PER_CHUNK = 1024
# Correlation between two detections of one source, in the space of the mixture.
_LIKENESS = 0.85
_LIMITS = ("", "_lolim", "_hilim")
_COLUMNS = (
    *("name", "obsid", "obi", "region_id", "detect_stack_id", "instrument", "theta", "ra", "dec"),
    *("significance", "likelihood", "src_area_b"),
    *("flux_aper_b", "flux_aper_lolim_b", "flux_aper_hilim_b"),
    *(f"hard_{pair}{limit}" for pair in ("hm", "hs", "ms") for limit in _LIMITS),
    *(f"{name}{limit}" for name in ("powlaw_gamma", "bb_kt") for limit in _LIMITS),
    *(f"var_{x}_{band}" for band in "bhms" for x in ("prob", "sigma", "mean", "min", "max")),
    *(f"{test}_prob_{band}" for test in ("ks", "kp") for band in "bhms"),
    *("gti_start", "gti_stop", "gti_elapse"),
)
# What the catalogue gives for ACIS bands only.
_OF_ACIS = frozenset(_COLUMNS[_COLUMNS.index("src_area_b") : _COLUMNS.index("gti_start")])


def write_sample(directory: Path, *, size: Size | int = "small", seed: int = 42) -> dict[str, Path]:
    """Write detections and labels in the formats in which the archives give them.

    The same size and seed give the same bytes. Memory does not grow with the size.

    Parameters
    ----------
    directory : Path
        Made if absent.
    size : {"small", "medium", "large"} or int
        2,000, 50,000 or 1,000,000 detections, or any number of them.
    seed : int

    Returns
    -------
    dict
        ``detections``: a VOTable (TABLEDATA up to 10,000 detections, else BINARY2), ordered by
        name within every chunk; ``labels``: a CSV table.

    Raises
    ------
    UsageError
        For an unknown size.
    """
    count = number_of(size, SIZES)
    directory.mkdir(parents=True, exist_ok=True)
    paths = {
        "detections": directory / "csc_detections.vot",
        "labels": directory / "csc_labels.csv",
    }
    declared = contracts.table("csc.detections").by_name
    schema = pa.schema([declared[name].field() for name in _COLUMNS])
    with pa.csv.CSVWriter(paths["labels"], csc_labels.SCHEMA) as labels:
        batches = _batches(count, seed, schema, labels)
        few = count <= 10_000
        write_votable(
            # As a table, text is seen to be ASCII and becomes `char`, as in the archive's files.
            pa.Table.from_batches(batches, schema) if few else batches,
            paths["detections"],
            schema=schema,
            serialization="tabledata" if few else "binary2",
            name="csc_sample",
            description="Synthetic detections drawn from the classifier of Perez-Diaz et al. "
            "2024 (arXiv 2401.12203); they are no observations",
            params={"detections": count, "seed": seed},
            coosys="ICRS",
        )
    return paths


def _batches(
    count: int, seed: int, schema: pa.Schema, labels: pa.csv.CSVWriter
) -> Iterator[pa.RecordBatch]:
    """Batches of detections; the labels of each are written on the way."""
    model = load_reference()
    lattice = math.ceil(count / SOURCES_PER_STACK)
    done = stack = 0
    while done < count:
        # Every source has a detection, so this many stacks never fall short by more than a chunk.
        stacks = min(_STACKS_PER_CHUNK, math.ceil((count - done) / SOURCES_PER_STACK))
        rng = np.random.default_rng([seed, stack])
        sky = draw_sky(rng, np.arange(stack, stack + stacks), lattice)
        sources = _sources(rng, len(sky.ra), model)
        detections = _Detections.draw(rng, sky, sources, model, count - done)
        columns = detections.columns(rng)
        yield pa.RecordBatch.from_arrays(
            [_arrow(columns[field.name], field) for field in schema], schema=schema
        )
        labels.write_batch(
            csc_labels.draw_labels(
                rng, sources.class_, sources.detections, detections.source, columns
            )
        )
        done += len(detections.source)
        stack += stacks


def _arrow(values: npt.NDArray, field: pa.Field) -> pa.Array:
    """NaN, in the numbers drawn here, is what the catalogue leaves out."""
    if values.dtype.kind == "S":
        return pa.array(values.astype(str), pa.string())
    return pa.array(values, field.type, from_pandas=True)


# --- sources and their detections --------------------------------------------------------------


class _Sources(NamedTuple):
    point: FloatArray  # standard normal coordinates within the component, shape (n, 12)
    cluster: IntArray
    class_: IntArray
    detections: IntArray
    flux: FloatArray  # erg s-1 cm-2


def _features(model: ReferenceModel, cluster: IntArray, z: FloatArray) -> FloatArray:
    """Raw features, shape (n, 12), at coordinates z within the components of the mixture."""
    x = np.empty_like(z)
    for k, (mean, covariance) in enumerate(
        zip(model.mixture.means, model.mixture.covariances, strict=True)
    ):
        rows = cluster == k
        x[rows] = mean + z[rows] @ np.linalg.cholesky(covariance).T
    # Hardness lies in -1..1; probabilities, and whatever is scaled by its range, in 0..1.
    hardness = np.array([name.startswith("hard") for name in FEATURES])
    x = np.clip(x, np.where(hardness, -0.999, 0), np.where(hardness, 0.999, 1))
    raw = model.normalisation.inverse_scale(x)
    feature = dict(zip(FEATURES, raw.T, strict=True))
    for name in LOG_FEATURES:
        feature[name][:] = np.maximum(
            np.exp(feature[name]) - model.normalisation.log_offset[name], 0
        )
    # Two features follow from others, which a Gaussian does not know: the hardness ratios are of
    # three numbers (in the published table consistent to 0.001), and the middle of a light
    # curve's range lies well within sigma of its mean.
    hm, ms, newq = feature["hard_hm"], feature["hard_ms"], feature["var_newq_b"]
    hard_to_soft = (1 + hm) / (1 - hm) * (1 + ms) / (1 - ms)
    feature["hard_hs"][:] = (hard_to_soft - 1) / (hard_to_soft + 1)
    within = 0.2 * feature["var_ratio_b"]
    newq[:] = 1 + np.clip(newq - 1, -within, within).clip(-0.4)
    return raw


def _logarithmic(model: ReferenceModel, raw: FloatArray) -> FloatArray:
    """Features as the log-odds want them: ln(x + m) where the method takes the logarithm."""
    y = raw.copy()
    for name in LOG_FEATURES:
        column = y[:, FEATURES.index(name)]
        column[:] = np.log(column + model.normalisation.log_offset[name])
    return y


def _sources(rng: np.random.Generator, n: int, model: ReferenceModel) -> _Sources:
    weights = model.mixture.weights
    cluster = rng.choice(len(weights), n, p=weights / weights.sum())
    z = rng.standard_normal((n, len(FEATURES)))
    y = _logarithmic(model, _features(model, cluster, z))
    probabilities = np.empty((n, len(CLASSES)))
    for k, odds in enumerate(model.log_odds):
        probabilities[cluster == k] = odds.probabilities(y[cluster == k])
    drawn = rng.uniform(size=(n, 1)) * probabilities.sum(axis=1, keepdims=True)
    return _Sources(
        point=z,
        cluster=cluster,
        class_=(probabilities.cumsum(axis=1) < drawn).sum(axis=1),
        detections=rng.choice(len(_DETECTIONS), n, p=_DETECTIONS) + 1,
        flux=10 ** np.clip(rng.normal(-13.2, 0.5, n), -14.3, -11),
    )


class _Detections(NamedTuple):
    sky: Sky
    source: IntArray  # of each detection, ordered by name and observation
    observation: IntArray  # within the stack
    features: FloatArray  # raw, shape (n, 12)
    flux: FloatArray
    master: tuple[FloatArray, FloatArray]  # significance and likelihood of each source

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        sky: Sky,
        sources: _Sources,
        model: ReferenceModel,
        room: int,
    ) -> "_Detections":
        """Draw the detections of all sources, but at most `room`."""
        source = np.repeat(np.arange(len(sky.ra)), sources.detections)[:room]
        first = np.flatnonzero(np.diff(source, prepend=-1))
        nth = np.arange(len(source)) - np.repeat(first, np.diff([*first, len(source)]))
        begin = rng.integers(OBSERVATIONS_PER_STACK, size=len(sky.ra))
        observation = (begin[source] + nth) % OBSERVATIONS_PER_STACK
        by_name = np.lexsort((observation, source_names(sky.ra, sky.dec)[source]))
        source, observation = source[by_name], observation[by_name]

        own = rng.standard_normal((len(source), len(FEATURES)))
        z = math.sqrt(_LIKENESS) * sources.point[source] + math.sqrt(1 - _LIKENESS) * own
        raw = _features(model, sources.cluster[source], z)
        significance = 5 + 0.8 * np.sqrt(_count_rate(sources.flux) * 4e4)
        likelihood = significance**2 * rng.lognormal(0.3, 0.3, len(significance))
        flux = sources.flux[source] * rng.lognormal(0, 0.15, len(source))
        return cls(sky, source, observation, raw, flux, (significance, likelihood))

    def columns(self, rng: np.random.Generator) -> dict[str, npt.NDArray]:
        """All columns of the catalogue; NaN where it would have none."""
        sky, source, n = self.sky, self.source, len(self.source)
        stack = sky.stack[source]
        local = stack - sky.stack[0]
        significance, likelihood = (values[source] for values in self.master)
        elapse = sky.elapse[local, self.observation]
        start = sky.start[local, self.observation]
        relative = 1 / significance
        columns: dict[str, npt.NDArray] = {
            "name": source_names(sky.ra, sky.dec)[source],
            "obsid": 100 + stack * OBSERVATIONS_PER_STACK + self.observation,
            "obi": (rng.uniform(size=n) < 0.01).astype(np.int64),
            "region_id": sky.region_id[source],
            "detect_stack_id": sky.stack_name[local],
            "instrument": np.where(sky.is_hrc[local], b"HRC", b"ACIS"),
            "theta": np.abs(sky.offset[source] + rng.normal(0, 0.3, n)),
            "ra": sky.ra[source],
            "dec": sky.dec[source],
            "significance": significance,
            "likelihood": likelihood,
            "src_area_b": rng.lognormal(2, 1.5, n),
            "flux_aper_b": self.flux,
            "flux_aper_lolim_b": self.flux * (1 - relative),
            "flux_aper_hilim_b": self.flux * (1 + relative),
            "gti_start": start,
            "gti_stop": start + elapse,
            "gti_elapse": elapse,
        }
        feature = dict(zip(FEATURES, self.features.T, strict=True))
        for pair in ("hm", "hs", "ms"):
            value = feature[f"hard_{pair}"]
            columns |= _with_limits(f"hard_{pair}", value, 1.5 * relative, -1.0, 1.0)
        gamma, kt = feature["powlaw_gamma"], feature["bb_kt"]
        columns |= _with_limits("powlaw_gamma", gamma, 2 * relative, -4.0, 11.0)
        columns |= _with_limits("bb_kt", kt, kt * relative, 0.0, np.inf)
        columns |= _variability(rng, feature, _count_rate(self.flux))
        self._leave_out(rng, columns, local)
        return columns

    def _leave_out(
        self, rng: np.random.Generator, columns: dict[str, npt.NDArray], local: IntArray
    ) -> None:
        """Set to NaN what HRC cannot have, and now and then a fit or a light curve that failed."""
        n = len(self.source)
        for name in _OF_ACIS:
            columns[name][self.sky.is_hrc[local]] = np.nan
        for name in ("powlaw_gamma", "bb_kt"):
            failed = rng.uniform(size=n) < 0.02
            for limit in _LIMITS:
                columns[name + limit][failed] = np.nan
        for band in "hs":
            failed = rng.uniform(size=n) < 0.01
            for name in _OF_ACIS:
                if name.startswith(("var_", "ks_", "kp_")) and name.endswith(band):
                    columns[name][failed] = np.nan


def _count_rate(flux: FloatArray) -> FloatArray:
    """Counts per second of ACIS for a flux in erg s-1 cm-2, typical of the catalogue."""
    return flux * 1e11


def _with_limits(
    name: str, value: FloatArray, error: FloatArray, lowest: float, highest: float
) -> dict[str, FloatArray]:
    return {
        name: value.copy(),
        f"{name}_lolim": np.minimum(np.clip(value - error, lowest, highest), value),
        f"{name}_hilim": np.maximum(np.clip(value + error, lowest, highest), value),
    }


def _variability(
    rng: np.random.Generator, feature: dict[str, FloatArray], rate: FloatArray
) -> dict[str, FloatArray]:
    """Light-curve columns of the four bands from which the features come out again.

    The features are var_ratio = sigma / mean and, in the broad band, newq = (max + min) / 2 /
    mean; given them, mean is the count rate of the band and the half-range is as large as
    sigma wants it within 0 <= min <= mean <= max.
    """
    # Shares of the bands from the hardness ratios (a - b) / (a + b).
    hard = (1 + feature["hard_hm"]) / (1 - feature["hard_hm"])
    soft = (1 - feature["hard_ms"]) / (1 + feature["hard_ms"])
    whole = 1 + hard + soft
    share = {"b": np.ones_like(rate), "h": hard / whole, "m": 1 / whole, "s": soft / whole}
    ratio = {band: feature[f"var_ratio_{band}"] for band in "bhs"}
    prob = {band: feature[f"var_prob_{band}"] for band in "bhs"}
    ratio["m"] = np.sqrt(ratio["h"] * ratio["s"])
    prob["m"] = (prob["h"] + prob["s"]) / 2
    columns: dict[str, FloatArray] = {}
    for band in "bhms":
        mean = rate * share[band]
        centre = mean * (feature["var_newq_b"] if band == "b" else 1.0)
        half = np.clip(1.4 * ratio[band] * mean, np.abs(centre - mean), centre)
        u = rng.uniform(1e-3, 1, len(rate))
        # A variable source leaves little of the uniform spread of a constant one.
        ks = u ** (1 - 0.95 * prob[band])
        columns |= {
            f"var_prob_{band}": prob[band].copy(),
            f"var_sigma_{band}": ratio[band] * mean,
            f"var_mean_{band}": mean,
            f"var_min_{band}": centre - half,
            f"var_max_{band}": centre + half,
            f"ks_prob_{band}": ks,
            f"kp_prob_{band}": np.clip(ks + rng.normal(0, 0.03, len(rate)), 0, 1),
        }
    return columns
