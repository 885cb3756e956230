"""Fitting a network: epochs, early stopping, and the state that an interruption leaves."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lake.sdss import checkpoint as checkpoints
from lake.sdss.configuration import Configuration
from lake.sdss.material import Material

#: Called after every epoch: its number from 1, epochs at most, its line of the history.
Progress = Callable[[int, int, dict[str, float]], None]
Forward = Callable[[list[npt.NDArray]], npt.NDArray[np.float32]]
_T = TypeVar("_T")

#: Spectra that are classified together.
BATCH = 128
#: Realisations at each signal-to-noise ratio that are looked at after every epoch.
_MONITORED = 128


def forward(network: Any) -> Forward:
    """Trace a network once, for batches of one size, and feed it smaller ones padded."""
    import tensorflow as tf

    signature = [tf.TensorSpec((BATCH, *e.shape[1:]), tf.float32) for e in network.inputs]

    @tf.function(input_signature=[signature])
    def traced(inputs: Any) -> Any:
        return network(inputs, training=False)

    def padded(inputs: list[npt.NDArray]) -> npt.NDArray[np.float32]:
        rows = len(inputs[0])
        if rows < BATCH:
            inputs = [np.concatenate([e, np.repeat(e[:1], BATCH - rows, 0)]) for e in inputs]
        return np.asarray(traced([tf.convert_to_tensor(e) for e in inputs]).numpy()[:rows])

    return padded


def values(variables: list[Any]) -> list[npt.NDArray]:
    """Copy Keras variables to NumPy."""
    return [np.array(variable.value.numpy()) for variable in variables]


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
    import tensorflow as tf

    configuration = material.configuration
    optimizer = _optimizer(configuration, material.steps)
    optimizer.build(network.trainable_variables)
    step = _training_step(network, optimizer, configuration.batch_size)
    predict = forward(network)
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
        for rows, inputs in _ahead(material.batches(len(history))):
            truth = material.truth[rows]
            results.append(step([tf.convert_to_tensor(e) for e in inputs], truth, weights[truth]))
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

    spectra = [tf.TensorSpec((size, *e.shape[1:]), tf.float32) for e in network.inputs]
    numbers = [tf.TensorSpec(size, kind) for kind in (tf.int64, tf.float32)]

    @tf.function(input_signature=[spectra, *numbers])
    def step(inputs: Any, truth: Any, weight: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = network(inputs, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)
            loss = tf.reduce_mean(weight * losses)
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss, tf.math.count_nonzero(tf.argmax(logits, axis=1) == truth)

    return step


def _ahead(items: Iterator[_T]) -> Iterator[_T]:
    """Compute each item while the one before it is used."""
    done = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, done)
        while (item := coming.result()) is not done:
            coming = thread.submit(next, items, done)
            yield item  # type: ignore[misc]


def _monitor(
    predict: Forward, monitored: list[tuple[list[npt.NDArray], npt.NDArray[np.int64]]]
) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over the realisations that are looked at."""
    logits = np.concatenate([predict(inputs) for inputs, _ in monitored]).astype(np.float64)
    truth = np.concatenate([truth for _, truth in monitored])
    top = logits.max(axis=1)
    partition = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    loss = partition - logits[np.arange(len(truth)), truth]
    return float(loss.mean()), float(np.mean(logits.argmax(axis=1) == truth))
