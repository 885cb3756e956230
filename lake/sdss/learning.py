"""From labelled spectra to a network and what it is worth: choices, training, scores.

What touches TensorFlow is imported when it is called.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake import contracts
from lake.errors import LacusError
from lake.formats.columns import list_parts, make_list
from lake.sdss import mk, scores, splits
from lake.sdss.calibration import expected_calibration_error
from lake.sdss.configuration import CONFIGURATIONS, Configuration
from lake.sdss.preprocess import to_arrays
from lake.sdss.steps import GRID

if TYPE_CHECKING:
    from lake.sdss.cnn import Batch, Trained
    from lake.sdss.predictions import Predictions

#: Spectra per subclass, on average, below which the network learns letters.
_FEW = 8
#: Signal-to-noise ratios per pixel that spectra are brought to in an evaluation.
LEVELS: Mapping[str, float | None] = {"as observed": None, "20": 20.0, "10": 10.0, "5": 5.0}


@dataclass(frozen=True)
class Examples:
    """Labelled spectra, preprocessed.

    Attributes
    ----------
    flux, ivar : ndarray of float32, shape (n, l)
    valid : ndarray of bool, shape (n, l)
    classes, split : ndarray of str, shape (n,)
    """

    flux: npt.NDArray[np.float32]
    ivar: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    classes: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]

    @classmethod
    def of(cls, table: pa.Table) -> "Examples":
        """Make them of columns flux, ivar, valid, class_mk, split."""
        flux, ivar, valid = to_arrays(table)
        texts = (np.array(table[name].to_pylist(), dtype=str) for name in ("class_mk", "split"))
        return cls(flux, ivar, valid, *texts)

    def __len__(self) -> int:
        return len(self.classes)

    def on(self, side: str) -> "Examples":
        """Those on one side of the split."""
        chosen = self.split == side
        return Examples(
            self.flux[chosen], self.ivar[chosen], self.valid[chosen], self.classes[chosen],
            self.split[chosen],
        )  # fmt: skip


def split_table(spectra: pa.Table, seed: int) -> pa.Table:
    """Choose what is learnt, and deal the spectra out to train, validation and test.

    Subclasses (K3, A0) are learnt where there are enough spectra of them, else letters. A class
    of a single spectrum is not learnt. Spectra of one plate stay together; where there are no
    plates, those of one object.

    Parameters
    ----------
    spectra : pyarrow.Table
        Columns release, spec_id, class_mk, plate, obj_id, sn_median, wavelength_min_A,
        wavelength_max_A, data_release, file_sha256; those without a class are passed over.
    seed : int

    Returns
    -------
    pyarrow.Table
        Rows of sdss.splits.
    """
    labelled = pl.DataFrame(spectra).filter(pl.col("class_mk").is_not_null())
    learnt = pl.Series(mk.learnt_class(labelled["class_mk"].to_arrow()))
    if learnt.n_unique() * _FEW > len(learnt):
        learnt = learnt.replace({c: c[0] for c in learnt.unique() if mk.is_plain(c)})
    rows = labelled.with_columns(
        class_mk=learnt,
        leakage_group=pl.coalesce(
            "plate " + pl.col("plate").cast(pl.String), pl.col("obj_id"), pl.col("spec_id")
        ),
    ).filter(pl.len().over("class_mk") > 1)
    sides = splits.assign(rows["leakage_group"].to_numpy(), rows["class_mk"].to_numpy(), seed)
    rows = rows.with_columns(seed=pl.lit(seed, pl.Int64), split=pl.Series(sides, dtype=pl.String))
    return _as_declared("sdss.splits", rows)


def train(
    examples: Examples,
    configuration: Configuration,
    *,
    recipe: str = "default",
    checkpoint: Path | None = None,
    fingerprint: str = "",
    progress: Any = None,
) -> "Trained":
    """Train a network; see `lake.sdss.cnn.train`.

    Raises
    ------
    LacusError
        If there are fewer than two classes, or TensorFlow is not installed.
    """
    if len(set(examples.classes[examples.split == "train"])) < 2:
        raise LacusError("there is nothing to tell apart: fewer than two classes to train on")
    return _cnn().train(
        examples.flux, examples.ivar, examples.valid, examples.classes, examples.split,
        configuration, checkpoint=checkpoint, progress=progress, recipe=recipe,
        fingerprints={"data": fingerprint},
    )  # fmt: skip


def with_noise(spectra: pa.Table, snr: float, seed: int) -> pa.Table:
    """Add noise to spectra as they were observed.

    Parameters
    ----------
    spectra : pyarrow.Table
        Columns of sdss.spectra; flux and ivar are replaced.
    snr : float
        Signal-to-noise ratio of the added noise, per pixel of the common grid. It is the same
        all along a spectrum, but for pixels fainter than a twentieth of the median.
    seed : int

    Returns
    -------
    pyarrow.Table
    """
    flux, lengths = list_parts(spectra["flux"].combine_chunks())
    values = flux.to_numpy().astype(float)
    owner = np.repeat(np.arange(len(spectra)), lengths)
    ends = np.cumsum(lengths)
    medians = np.array(
        [np.nanmedian(values[e - n : e]) for n, e in zip(lengths, ends, strict=True)]
    )
    step = pc.coalesce(spectra["coeff1"], pa.scalar(GRID.step / 2)).to_numpy()
    relative = np.sqrt(GRID.step / step)[owner] / snr
    sigma = np.maximum(np.abs(values), 0.05 * np.abs(medians)[owner]) * relative
    noisy = values + sigma * np.random.default_rng(seed).standard_normal(len(values))
    spectra = _with(spectra, "flux", noisy, lengths)
    ivar = spectra["ivar"].combine_chunks()
    if ivar.null_count:
        return spectra
    weight = list_parts(ivar)[0].to_numpy().astype(float)
    added = weight / (1 + weight * np.nan_to_num(sigma) ** 2)
    return _with(spectra, "ivar", added, lengths)


def _with(table: pa.Table, name: str, values: npt.NDArray, lengths: npt.NDArray) -> pa.Table:
    """Give a table with other numbers in a column of lists."""
    column = make_list(pa.array(values.astype(np.float32)), lengths)
    return table.set_column(table.column_names.index(name), name, column)


def load(directory: Path, model_id: str) -> "Trained":
    """Read a network; see `lake.sdss.cnn.load`.

    Raises
    ------
    LacusError
        If it is not there or damaged, or TensorFlow is not installed.
    """
    return _cnn().load(directory, model_id)


def _cnn() -> Any:
    try:
        from lake.sdss import cnn
    except ModuleNotFoundError as error:
        raise LacusError(f"{error.name} is not installed: pip install 'lacus[cnn]'") from error
    return cnn


def score(trained: "Trained", examples: Examples) -> dict[str, float | None]:
    """Measure how well spectra of known class are recognised.

    Returns
    -------
    dict
        n, accuracy, letter_accuracy, macro_f1, expected_calibration_error, log_loss (nats),
        accepted_share, accepted_accuracy (None where the network abstains from all).
    """
    found = trained.predict(examples.flux, examples.valid, examples.ivar)
    truth = examples.classes
    correct = found.predicted == truth
    names = sorted({*found.classes, *truth.tolist()})
    accepted = ~found.abstained
    own = np.array([found.classes.index(c) if c in found.classes else -1 for c in truth])
    of_truth = np.where(own < 0, 0.0, found.probabilities[np.arange(len(own)), own])
    return {
        "n": len(truth),
        "accuracy": float(correct.mean()),
        "letter_accuracy": float((_letters(found.predicted) == _letters(truth)).mean()),
        "macro_f1": scores.macro_f1(scores.confusion_matrix(truth, found.predicted, names)),
        "expected_calibration_error": expected_calibration_error(found.probability, correct),
        "log_loss": float(-np.log(np.clip(of_truth, 1e-15, None)).mean()),
        "accepted_share": float(accepted.mean()),
        "accepted_accuracy": float(correct[accepted].mean()) if accepted.any() else None,
    }


def _letters(classes: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Letter of each class; what is no MK class stays as it is."""
    names, places = np.unique(classes, return_inverse=True)
    return np.array([n[0] if mk.is_plain(n) else n for n in names])[places]


def evaluation(trained: "Trained", tests: Mapping[str, Examples]) -> list[dict[str, Any]]:
    """Score a network on the same spectra at several levels of noise: one of `LEVELS` each."""
    return [{"snr_level": name, **score(trained, tested)} for name, tested in tests.items()]


def model_row(
    release: str,
    model_id: str,
    name: str,
    trained: "Trained",
    examples: Examples,
    reached: Mapping[str, Any],
    snapshot: int,
    path: str,
) -> pa.Table:
    """Row of sdss.cnn_models.

    Parameters
    ----------
    release, model_id : str
    name : str
        Of the configuration.
    trained : Trained
    examples : Examples
        What it was trained and tested on.
    reached : mapping
        Of the spectra as observed; see `score`.
    snapshot : int
        Of the lake they were read from.
    path : str
        File of the network below the home.
    """
    history = {
        key: [epoch.get(key) for epoch in trained.history] for key in (trained.history or [{}])[0]
    }
    row = {
        "release": release,
        "model_id": model_id,
        "configuration_name": name,
        "recipe": trained.recipe,
        "classes": list(trained.classes),
        "n_parameters": int(trained.network.count_params()),
        **{f"n_{s}": int((examples.split == s).sum()) for s in ("train", "validation", "test")},
        "n_epochs": len(trained.history),
        "temperature": float(trained.temperature.at(np.array([-4.0]))[0]),
        "abstention_threshold": trained.threshold,
        **{
            key: reached[key]
            for key in ("accuracy", "letter_accuracy", "expected_calibration_error", "log_loss")
        },
        "configuration_json": trained.configuration.to_json(),
        "history_json": json.dumps(history),
        "data_fingerprint": str(trained.fingerprints.get("data", "")),
        "data_snapshot": snapshot,
        "seed": trained.configuration.seed,
        "train_seconds": trained.wall_time_s,
        "library_versions": json.dumps(_library_versions(), sort_keys=True),
        "path": path,
    }
    return pa.Table.from_pylist([row], contracts.table("sdss.cnn_models").schema())


def _library_versions() -> dict[str, str]:
    return {name: version(name) for name in ("tensorflow", "keras", "numpy")}


def prediction_rows(
    spectra: pa.Table, found: "Predictions", model_id: str, model_release: str
) -> pa.Table:
    """Rows of sdss.cnn_predictions.

    Parameters
    ----------
    spectra : pyarrow.Table
        Columns release, spec_id, file_sha256, in the order of the predictions.
    found : Predictions
    model_id, model_release : str
    """
    number, classes = len(found), list(found.classes)
    lengths = np.full(number, len(classes))
    names = pa.DictionaryArray.from_arrays(
        np.tile(np.arange(len(classes), dtype=np.int32), number), pa.array(classes)
    ).cast(pa.string())
    columns = {
        "release": spectra["release"],
        "spec_id": spectra["spec_id"],
        "model_id": pa.repeat(model_id, number),
        "model_release": pa.repeat(model_release, number),
        "predicted_class": pa.array(found.predicted.astype(object), pa.string()),
        "probability": found.probability,
        "runner_up": pa.array([r or None for r in found.runner_up.tolist()], pa.string()),
        "runner_up_probability": found.runner_up_probability,
        "entropy": found.entropy,
        "novelty_p_value": pa.array(found.novelty, from_pandas=True),
        "abstained": found.abstained,
        "classes": make_list(names, lengths),
        "probabilities": make_list(
            pa.array(found.probabilities.reshape(-1), pa.float64()), lengths
        ),
        "file_sha256": spectra["file_sha256"],
    }
    return pa.table(columns)


def predict(
    trained: "Trained", batches: Iterable[pa.Table], model_id: str, model_release: str
) -> Iterator[pa.Table]:
    """Classify preprocessed spectra as they come: rows of sdss.cnn_predictions."""
    waiting: deque[pa.Table] = deque()

    def arrays() -> Iterator["Batch"]:
        for spectra in batches:
            waiting.append(spectra)
            flux, ivar, valid = to_arrays(spectra)
            yield flux, valid, ivar

    for found in trained.predict_batches(arrays()):
        yield prediction_rows(waiting.popleft(), found, model_id, model_release)


#: Variants of the network that an ablation study trains beside the whole one.
_WITHOUT: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "without augmentation": {"augmentation": None},
    "without validity": {"validity_channel": False, "noise_weights": False},
    "without class weights": {"class_weights": False},
}


def variants(base: Configuration) -> Iterator[tuple[str, str, str, Configuration]]:
    """What an ablation study trains: (study, variant, recipe, configuration).

    The recipes are compared with the default network, the networks on the default recipe; the
    published toolkit's network comes on its own recipe too.
    """
    # The network flattens its input by itself, which would hide that a recipe does not.
    plain = replace(base, flatten=0)
    for recipe, used in (("no_continuum", plain), ("no_rest_frame", base), ("minmax", plain)):
        yield "recipe", recipe, recipe, used
    for name, changes in _WITHOUT.items():
        yield "network", name, "default", replace(base, **changes)
    yield "network", "seed network", "default", CONFIGURATIONS["seed"]
    yield "recipe", "seed", "seed", CONFIGURATIONS["seed"]


def ablation_rows(
    release: str, study: str, variant: str, trained: "Trained", tests: Mapping[str, Examples]
) -> list[dict[str, Any]]:
    """Rows of sdss.ablation_studies for one variant."""
    return [
        {
            "release": release,
            "study": study,
            "variant": variant,
            "snr_level": reached["snr_level"],
            "n_test": reached["n"],
            "n_parameters": int(trained.network.count_params()),
            "n_epochs": len(trained.history),
            "seed": trained.configuration.seed,
            "train_seconds": trained.wall_time_s,
            **{
                key: reached[key]
                for key in ("accuracy", "letter_accuracy", "macro_f1", "expected_calibration_error")
            },
        }
        for reached in evaluation(trained, tests)
    ]


def _as_declared(name: str, rows: pl.DataFrame) -> pa.Table:
    schema = contracts.table(name).schema()
    return rows.select(schema.names).to_arrow().cast(schema)
