"""From labelled spectra to a network and what it is worth: choices, training, scores.

What touches TensorFlow is imported when it is called.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lake import contracts
from lake.errors import LacusError
from lake.sdss import mk, scores, splits
from lake.sdss.augment import Augmentation, at_snr, augment
from lake.sdss.calibration import expected_calibration_error
from lake.sdss.configuration import CONFIGURATIONS, Configuration
from lake.sdss.preprocess import to_arrays

if TYPE_CHECKING:
    from lake.sdss.cnn import Trained
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
        return self.rows(np.flatnonzero(self.split == side))

    def rows(self, chosen: npt.NDArray[np.intp]) -> "Examples":
        """Some of them."""
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
    try:
        from lake.sdss import cnn
    except ModuleNotFoundError as error:
        raise LacusError(f"{error.name} is not installed: pip install 'lacus[cnn]'") from error
    return cnn.train(
        examples.flux, examples.ivar, examples.valid, examples.classes, examples.split,
        configuration, checkpoint=checkpoint, progress=progress, recipe=recipe,
        fingerprints={"data": fingerprint},
    )  # fmt: skip


def score(trained: "Trained", examples: Examples, snr: float | None) -> dict[str, float | None]:
    """Measure how well spectra of known class are recognised.

    Parameters
    ----------
    trained : Trained
    examples : Examples
    snr : float, optional
        Noise is added down to this signal-to-noise ratio per pixel.

    Returns
    -------
    dict
        n, accuracy, letter_accuracy, macro_f1, expected_calibration_error, log_loss (nats),
        accepted_share, accepted_accuracy (None where the network abstains from all).
    """
    flux, ivar, valid = examples.flux, examples.ivar, examples.valid
    if snr is not None:
        settings = at_snr(trained.configuration.augmentation or Augmentation(), snr)
        rng = np.random.default_rng([trained.configuration.seed, round(1000 * snr)])
        flux, ivar, valid = augment(flux, ivar, valid, rng, settings)
    found = trained.predict(flux, valid, ivar)
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


def evaluation(trained: "Trained", examples: Examples) -> list[dict[str, Any]]:
    """Score a network on the test side at each of `LEVELS`; all spectra if there is none."""
    tested = examples.on("test") if (examples.split == "test").any() else examples
    return [{"snr_level": name, **score(trained, tested, snr)} for name, snr in LEVELS.items()]


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
    ends = np.arange(number + 1, dtype=np.int32) * len(classes)
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
        "abstained": found.abstained,
        "classes": pa.ListArray.from_arrays(pa.array(ends), names),
        "probabilities": pa.ListArray.from_arrays(
            pa.array(ends), pa.array(found.probabilities.reshape(-1), pa.float64())
        ),
        "file_sha256": spectra["file_sha256"],
    }
    return pa.table(columns)


def predict(
    trained: "Trained", batches: Iterable[pa.Table], model_id: str, model_release: str
) -> Iterator[pa.Table]:
    """Classify preprocessed spectra as they come: rows of sdss.cnn_predictions."""
    for spectra in batches:
        flux, ivar, valid = to_arrays(spectra)
        yield prediction_rows(spectra, trained.predict(flux, valid, ivar), model_id, model_release)


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
    for recipe in ("no_continuum", "no_rest_frame", "minmax"):
        yield "recipe", recipe, recipe, base
    for name, changes in _WITHOUT.items():
        yield "network", name, "default", replace(base, **changes)
    yield "network", "seed network", "default", CONFIGURATIONS["seed"]
    yield "recipe", "seed", "seed", CONFIGURATIONS["seed"]


def ablation_rows(
    release: str, study: str, variant: str, trained: "Trained", examples: Examples
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
        for reached in evaluation(trained, examples)
    ]


def _as_declared(name: str, rows: pl.DataFrame) -> pa.Table:
    schema = contracts.table(name).schema()
    return rows.select(schema.names).to_arrow().cast(schema)
