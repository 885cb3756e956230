"""The convolutional classifier of spectra: training, prediction, storage.

This module needs TensorFlow, the extra ``cnn``; importing it takes seconds.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError
from lake.sdss import registry
from lake.sdss._quiet import quiet_stderr, tame_logging
from lake.sdss.augment import augment
from lake.sdss.augmentation import Augmentation, at_snr
from lake.sdss.calibration import Temperature, expected_calibration_error
from lake.sdss.channels import network_input
from lake.sdss.configuration import Configuration
from lake.sdss.fit import BATCH, Progress, ahead, calibrated, fit, forward
from lake.sdss.material import Material
from lake.sdss.networks import build, values
from lake.sdss.novelty import KnownScores
from lake.sdss.predictions import Predictions, predictions

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with quiet_stderr():
    import keras
    import tensorflow as tf
tame_logging()

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
#: A batch of a stream: flux, valid, ivar.
Batch = tuple[FloatArray, BoolArray, FloatArray | None]


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained classifier.

    Attributes
    ----------
    network : keras.Model
    classes : tuple of str
        In alphabetical order: the columns of the probabilities.
    configuration : Configuration
    recipe : str
        Preprocessing of the spectra it was trained on, and takes.
    temperature : Temperature
    threshold : float
        Predictions below this probability are abstained from; all are where it is 1.
    known_scores : KnownScores or None
        What tells spectra of unknown kinds; None where none were held back, and of models that
        were made before there was this.
    history : list of dict
        By epoch: loss, accuracy (of the realisations trained on), val_loss, val_accuracy (over
        all signal-to-noise ratios of the calibration), learning_rate.
    metrics : dict
        By split and signal-to-noise ratio: see `evaluate`; also the best epoch and the split
        that the temperature comes from (``nothing`` where none was held back).
    fingerprints : dict
        What the caller says of the training spectra.
    wall_time_s : float
    """

    network: keras.Model
    classes: tuple[str, ...]
    configuration: Configuration
    recipe: str
    temperature: Temperature
    threshold: float
    known_scores: KnownScores | None
    history: list[dict[str, float]]
    metrics: dict[str, Any]
    fingerprints: Mapping[str, Any]
    wall_time_s: float

    @property
    def length(self) -> int:
        """Pixels of the spectra that it takes."""
        return int(self.network.inputs[0].shape[1])

    @cached_property
    def _forward(self) -> Any:
        return forward(self.network)

    def logits(
        self, flux: FloatArray, valid: BoolArray, ivar: FloatArray | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Give what the network says before calibration, (n, k), and log10 of the noise, (n,).

        Raises
        ------
        LacusError
            The spectra do not have the length that the network takes.
        """
        if flux.ndim != 2 or (len(flux) and flux.shape[1] != self.length):
            raise LacusError(
                f"spectra of shape {flux.shape} were given; this model takes {self.length} pixels"
            )
        logits = np.empty((len(flux), len(self.classes)), np.float32)
        noise = np.empty(len(flux), np.float32)

        def prepare(start: int) -> tuple[slice, list[npt.NDArray]]:
            part = slice(start, start + BATCH)
            one = None if ivar is None else ivar[part]
            inputs, noise[part] = network_input(self.configuration, flux[part], one, valid[part])
            return part, inputs

        for part, inputs in ahead(prepare, range(0, len(flux), BATCH)):
            logits[part] = self._forward(inputs)
        return logits, noise

    def predict(
        self, flux: FloatArray, valid: BoolArray, ivar: FloatArray | None = None
    ) -> Predictions:
        """Classify spectra.

        Parameters
        ----------
        flux : ndarray, shape (n, l)
            Preprocessed by `recipe`.
        valid : ndarray of bool, shape (n, l)
        ivar : ndarray, shape (n, l), optional
            Only its shape along a spectrum counts; NaN or 0 where unknown.

        Returns
        -------
        Predictions

        Raises
        ------
        LacusError
            The spectra do not have the length that the network takes.
        """
        logits, noise = self.logits(flux, valid, ivar)
        probabilities = self.temperature.probabilities(logits, noise)
        level = 10.0 ** noise.astype(np.float64)
        novelty = None if self.known_scores is None else self.known_scores.p_value(logits, noise)
        return predictions(self.classes, probabilities, level, self.threshold, novelty)

    def predict_batches(self, batches: Iterable[Batch]) -> Iterator[Predictions]:
        """Classify a stream of spectra in constant memory: that of three batches.

        Parameters
        ----------
        batches : iterable of (flux, valid, ivar or None)
            Arrays as for `predict`; multiples of 128 spectra are the fastest.

        Yields
        ------
        Predictions
            One per batch.
        """
        # One batch beside the next: at its beginning and its end a batch leaves processors idle.
        yield from ahead(lambda batch: self.predict(*batch), batches, threads=2)

    def evaluate(
        self,
        flux: FloatArray,
        ivar: FloatArray,
        valid: BoolArray,
        classes: Sequence[str] | npt.NDArray,
        snr: float | None = None,
    ) -> dict[str, float | None]:
        """Measure how well spectra of known class are recognised.

        Parameters
        ----------
        flux, ivar, valid : ndarray, shape (n, l)
        classes : sequence of str, length n
        snr : float, optional
            Noise is added down to this signal-to-noise ratio per pixel.

        Returns
        -------
        dict
            spectra, accuracy, ece (expected calibration error, 15 bins), accepted (share that
            is not abstained from), accepted_accuracy (None where all are).
        """
        if snr is not None:
            settings = at_snr(self.configuration.augmentation or Augmentation(), snr)
            rng = np.random.default_rng([self.configuration.seed, 2, round(1000 * snr)])
            flux, ivar, valid = augment(flux, ivar, valid, rng, settings)
        found = self.predict(flux, valid, ivar)
        correct = found.predicted == np.asarray(classes, dtype=str)
        kept = ~found.abstained
        return {
            "spectra": len(correct),
            "accuracy": float(correct.mean()),
            "ece": expected_calibration_error(found.probability, correct),
            "accepted": float(kept.mean()),
            "accepted_accuracy": float(correct[kept].mean()) if kept.any() else None,
        }

    def save(self, directory: Path) -> str:
        """Write the model as `<model_id>.keras` and `<model_id>.json`.

        Returns
        -------
        str
            The model's id: a digest of everything but the time that training took and the
            versions of the libraries.
        """
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / f".partial-{os.getpid()}.keras"
        self.network.save(partial)
        document = {
            "classes": list(self.classes),
            "configuration": self.configuration.to_dict(),
            "recipe": self.recipe,
            "temperature": asdict(self.temperature),
            "threshold": self.threshold,
            "known_scores": None if self.known_scores is None else asdict(self.known_scores),
            "history": self.history,
            "metrics": self.metrics,
            "fingerprints": dict(self.fingerprints),
            "network_sha256": registry.network_digest(partial, values(self.network.weights)),
        }
        versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
        circumstances = {
            "wall_time_s": self.wall_time_s,
            "versions": {**versions, "numpy": np.__version__},
        }
        return registry.write(directory, document, circumstances, partial)

    def reestimated(self, flux: FloatArray, ivar: FloatArray, valid: BoolArray) -> "Trained":
        """Estimate the statistics of batch normalisation anew.

        With Keras' default momentum they lag hundreds of steps behind the weights: a short
        training leaves a network that is right in training and wrong afterwards.

        Parameters
        ----------
        flux, ivar, valid : ndarray, shape (n, l)
            The training spectra.

        Returns
        -------
        Trained
            With means over all batches in the place of moving averages; nothing else changes.
        """
        network = keras.models.clone_model(self.network)
        network.set_weights(values(self.network.weights))
        layers = [e for e in network.layers if isinstance(e, keras.layers.BatchNormalization)]
        order = np.random.default_rng(self.configuration.seed).permutation(len(flux))
        for number, rows in enumerate(np.array_split(order, -(-len(order) // BATCH))):
            for layer in layers:
                layer.momentum = number / (number + 1)
            inputs, _ = network_input(self.configuration, flux[rows], ivar[rows], valid[rows])
            network(inputs, training=True)
        return replace(self, network=network)


def load(directory: Path, model_id: str) -> Trained:
    """Read a model that `Trained.save` wrote.

    Raises
    ------
    LacusError
        A file is not there, is damaged, or its content is not that of its name.
    """
    document, circumstances = registry.read(directory, model_id)
    path = registry.network_path(directory, model_id)
    try:
        network = keras.models.load_model(path, compile=False)
        digest = registry.network_digest(path, values(network.weights))
    except (OSError, ValueError, KeyError) as error:
        raise LacusError(f"{path}: the network cannot be read: {error}") from None
    if digest != document["network_sha256"]:
        raise LacusError(f"{path}: holds another network than {model_id}")
    return Trained(
        network=network,
        classes=tuple(document["classes"]),
        configuration=Configuration.from_dict(document["configuration"]),
        recipe=document["recipe"],
        temperature=Temperature(**document["temperature"]),
        threshold=document["threshold"],
        known_scores=None
        if (known := document.get("known_scores")) is None
        else KnownScores(**known),
        history=document["history"],
        metrics=document["metrics"],
        fingerprints=document["fingerprints"],
        wall_time_s=circumstances["wall_time_s"],
    )


def train(
    flux: FloatArray,
    ivar: FloatArray | None,
    valid: BoolArray,
    classes: Sequence[str] | npt.NDArray,
    split: Sequence[str] | npt.NDArray,
    configuration: Configuration,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    recipe: str = "default",
    fingerprints: Mapping[str, Any] | None = None,
) -> Trained:
    """Train a classifier.

    The same spectra, configuration and versions give the same classifier, to the last bit,
    interrupted or not.

    Parameters
    ----------
    flux : ndarray, shape (n, l)
        Preprocessed by `recipe`.
    ivar : ndarray, shape (n, l), or None
        0 or NaN where it is unknown or there is no noise.
    valid : ndarray of bool, shape (n, l)
    classes : sequence of str, length n
    split : sequence of str, length n
        ``train``, ``validation`` (ends the training, calibrates) or ``test`` (only measured);
        rows with another value are left alone. Without validation spectra, or with fewer than
        `lake.sdss.calibration.least_spectra`, the classifier abstains from all.
    configuration : Configuration
    checkpoint : Path, optional
        Directory for the state after each epoch. A training of the same spectra and
        configuration goes on from there; its state is removed at the end.
    progress : callable, optional
    recipe : str
    fingerprints : mapping, optional
        What identifies the training spectra; kept with the model.

    Returns
    -------
    Trained

    Raises
    ------
    LacusError
        Shapes do not match, there is nothing to train on, or a class is not in training.
    """
    started = time.perf_counter()
    sides = np.asarray(split, dtype=str)
    labels = np.asarray(classes, dtype=str)
    material = Material.gather(flux, ivar, valid, labels, sides, configuration)
    tf.config.experimental.enable_op_determinism()
    network = build(configuration, flux.shape[1], len(material.names))
    state = None
    if checkpoint is not None:
        state = checkpoint / f"{material.fingerprint[:16]}.npz"
    history, best_epoch = fit(network, material, state, progress)

    calibration = calibrated(network, material)
    result = Trained(
        network=network,
        classes=material.names,
        configuration=configuration,
        recipe=recipe,
        **calibration._asdict(),
        history=history,
        metrics={
            "best_epoch": best_epoch,
            "calibrated_on": "nothing" if material.check is material.train else "validation",
        },
        fingerprints=dict(fingerprints or {}),
        wall_time_s=0.0,
    )
    for side in ("validation", "test"):
        rows = np.flatnonzero(sides == side)
        if len(rows):
            chosen = (flux[rows], material.ivar[rows], valid[rows], labels[rows])
            result.metrics[side] = {
                "clean" if snr is None else f"snr_{snr:g}": result.evaluate(*chosen, snr)
                for snr in configuration.calibration_snr or (None,)
            }
    if state is not None:
        state.unlink(missing_ok=True)
    return replace(result, wall_time_s=time.perf_counter() - started)
