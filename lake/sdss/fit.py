"""Fitting a network: epochs, early stopping, the state of an interruption, calibration."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from lake.sdss import checkpoint as checkpoints
from lake.sdss.calibration import (
    Temperature,
    abstention_threshold,
    fit_temperature,
    least_spectra,
)
from lake.sdss.channels import ALIGNMENT
from lake.sdss.configuration import Configuration
from lake.sdss.material import Material
from lake.sdss.networks import folded, in_training, values
from lake.sdss.novelty import KnownScores, energy_score, known_scores

#: Called after every epoch: its number from 1, epochs at most, its line of the history.
Progress = Callable[[int, int, dict[str, float]], None]
Forward = Callable[[list[npt.NDArray]], npt.NDArray[np.float32]]
_S = TypeVar("_S")
_T = TypeVar("_T")

#: Spectra that are classified together.
BATCH = 128
#: Realisations at each signal-to-noise ratio that are looked at after every epoch.
_MONITORED = 128
#: Realisations at each ratio that the temperature is fitted to.
_CALIBRATED = 2048


def forward(network: Any) -> Forward:
    """Trace the prediction of a network that is trained no more."""
    return _in_batches(network, folded(network))


def _in_batches(network: Any, call: Callable[[Any], Any]) -> Forward:
    """Trace what a network does once, for batches of one size, and feed it smaller ones padded."""
    import tensorflow as tf

    signature = [tf.TensorSpec((BATCH, *e.shape[1:]), tf.float32) for e in network.inputs]
    traced = tf.function(call, input_signature=[signature])

    def padded(inputs: list[npt.NDArray]) -> npt.NDArray[np.float32]:
        rows = len(inputs[0])
        if rows < BATCH:
            inputs = [np.concatenate([e, np.repeat(e[:1], BATCH - rows, 0)]) for e in inputs]
        return np.asarray(traced([_tensor(e) for e in inputs]).numpy()[:rows])

    return padded


def _tensor(array: npt.NDArray) -> Any:
    """Hand an array to TensorFlow; where it lies as tensors do, it is not copied.

    It must not be written to any more.
    """
    import tensorflow as tf

    if array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0:
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.convert_to_tensor(array)


def fit(
    network: Any, material: Material, state: Path | None, progress: Progress | None
) -> tuple[list[dict[str, float]], int]:
    """Train a network and leave the weights of the epoch that counts in it.

    Parameters
    ----------
    network : keras.Model
        Untrained.
    material : Material
    state : Path or None
        The file that the state is kept in, and taken from if it is there.
    progress : callable or None

    Returns
    -------
    history : list of dict
        By epoch.
    best_epoch : int
        From 1.
    """
    configuration = material.configuration
    optimizer = _optimizer(configuration, material.steps)
    optimizer.build(network.trainable_variables)
    step = _training_step(network, optimizer, configuration.batch_size)
    predict = _in_batches(network, lambda inputs: network(inputs, training=False))
    weights = material.class_weights()
    monitored = [
        (inputs, material.truth[rows])
        for _, rows, inputs, _ in material.held_back(_MONITORED, BATCH)
    ]
    history: list[dict[str, float]] = []
    best_epoch, best = 0, values(network.weights)
    found = checkpoints.read(state) if state is not None else None
    if found is not None:
        arrays, facts = found
        history, best_epoch, best = facts["history"], facts["best_epoch"], arrays["best"]
        for variables, kind in ((network.variables, "network"), (optimizer.variables, "optimizer")):
            for variable, value in zip(variables, arrays[kind], strict=True):
                variable.assign(value)
    patience = configuration.patience
    while len(history) < configuration.epochs and (
        patience is None or len(history) - best_epoch < patience
    ):
        rate = float(optimizer.learning_rate.numpy())
        results, count = [], 0
        batches = material.batches(len(history))
        for rows, inputs in ahead(next, itertools.repeat(batches, material.steps)):
            truth = material.truth[rows]
            results.append(step([_tensor(e) for e in inputs], truth, weights[truth]))
            count += len(rows)
        val_loss, val_accuracy = _monitor(predict, monitored)
        line = {
            "loss": sum(float(loss) for loss, _ in results) / material.steps,
            "accuracy": sum(int(right) for _, right in results) / count,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "learning_rate": rate,
        }
        history.append(line)
        if patience is None or val_loss <= min(entry["val_loss"] for entry in history):
            best_epoch, best = len(history), values(network.weights)
        if state is not None:
            arrays = {
                "network": values(network.variables),
                "optimizer": values(optimizer.variables),
                "best": best,
            }
            checkpoints.write(state, arrays, {"history": history, "best_epoch": best_epoch})
        if progress is not None:
            progress(len(history), configuration.epochs, line)
    network.set_weights(best)
    return history, best_epoch


class Calibration(NamedTuple):
    """What the spectra that were held back tell of a network.

    Attributes
    ----------
    temperature : Temperature
        Fitted over all levels of noise.
    threshold : float
        Least probability of an accepted prediction, at the lowest signal-to-noise ratio.
    known_scores : KnownScores or None
    """

    temperature: Temperature
    threshold: float
    known_scores: KnownScores | None


def calibrated(network: Any, material: Material) -> Calibration:
    """Calibrate a network.

    Nothing follows from spectra that the network was trained on, and no accuracy from a few:
    the threshold then is 1.
    """
    ratios = material.configuration.calibration_snr
    if not ratios:
        return Calibration(Temperature(), 0.0, None)
    if material.check is material.train:
        return Calibration(Temperature(), 1.0, None)
    predict = forward(network)
    drawn = [
        (np.full(len(rows), level), material.truth[rows], predict(inputs), log_noise)
        for level, rows, inputs, log_noise in material.held_back(_CALIBRATED, BATCH)
    ]
    level, truth, logits, log_noise = (np.concatenate(e) for e in zip(*drawn, strict=True))
    temperature = fit_temperature(logits, truth, log_noise)
    probabilities = temperature.probabilities(logits, log_noise)
    noisiest = level == np.argmin([np.inf if snr is None else snr for snr in ratios])
    confidence = probabilities.max(axis=1)[noisiest]
    correct = (probabilities.argmax(axis=1) == truth)[noisiest]
    accuracy = material.configuration.accepted_accuracy
    threshold = 1.0
    if len(material.check) >= least_spectra(accuracy):
        threshold = abstention_threshold(confidence, correct, accuracy)
    return Calibration(temperature, threshold, known_scores(logits, log_noise))


def _optimizer(configuration: Configuration, steps: int) -> Any:
    import keras

    rate: Any = configuration.learning_rate
    if configuration.decay:
        rate = keras.optimizers.schedules.CosineDecay(rate, configuration.epochs * steps)
    if configuration.weight_decay:
        return keras.optimizers.AdamW(rate, weight_decay=configuration.weight_decay, clipnorm=1.0)
    return keras.optimizers.Adam(rate)


def _training_step(network: Any, optimizer: Any, size: int) -> Any:
    import tensorflow as tf

    trained = in_training(network)
    spectra = [tf.TensorSpec((size, *e.shape[1:]), tf.float32) for e in network.inputs]
    numbers = [tf.TensorSpec(size, kind) for kind in (tf.int64, tf.float32)]

    @tf.function(input_signature=[spectra, *numbers])
    def step(inputs: Any, truth: Any, weight: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = trained(inputs, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)
            loss = tf.reduce_mean(weight * losses)
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss, tf.math.count_nonzero(tf.argmax(logits, axis=1) == truth)

    return step


def ahead(work: Callable[[_S], _T], items: Iterable[_S], threads: int = 1) -> Iterator[_T]:
    """Yield what some work makes of items, in their order; it goes on while that is used."""
    coming: deque[Future[_T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            coming.append(pool.submit(work, item))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _monitor(
    predict: Forward, monitored: list[tuple[list[npt.NDArray], npt.NDArray[np.int64]]]
) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over the realisations that are looked at."""
    logits = np.concatenate([predict(inputs) for inputs, _ in monitored]).astype(np.float64)
    truth = np.concatenate([truth for _, truth in monitored])
    loss = energy_score(logits) - logits[np.arange(len(truth)), truth]
    return float(loss.mean()), float(np.mean(logits.argmax(axis=1) == truth))
