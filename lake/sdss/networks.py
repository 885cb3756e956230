"""The networks: functions from a configuration to an untrained Keras model.

Every weight is drawn with a seed of its own, so that building a network leaves the random
numbers of the process alone.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lake.sdss.configuration import Configuration

#: Filters, width and stride of the default network's convolutions.
_DEFAULT_BLOCKS = ((24, 9, 4), (32, 5, 2), (48, 5, 2))
#: Those of the published toolkit's, which halves by pooling.
_SEED_BLOCKS = ((32, 7, 1), (64, 5, 1), (128, 3, 1))


def build(configuration: Configuration, length: int, classes: int) -> Any:
    """Build an untrained network.

    ``default`` reads the common wavelength grid: three strided convolutions, then, beside
    averages and maxima over all places, a dense layer that knows where on the grid a feature
    lies (a line is known by its wavelength). ``seed`` is the published toolkit's: three
    convolutions with pooling, the average over all places, a dense layer.

    Parameters
    ----------
    configuration : Configuration
    length : int
        Pixels.
    classes : int

    Returns
    -------
    keras.Model
        From spectra (n, length, channels), for ``default`` with noise weights also from log10
        of the noise (n, 1), to logits (n, classes).
    """
    seeds = itertools.count(10_000 * configuration.seed)
    make = _seed_network if configuration.network == "seed" else _default_network
    return make(configuration, length, classes, seeds)


def _default_network(
    configuration: Configuration, length: int, classes: int, seeds: Iterator[int]
) -> Any:
    from keras import Model, layers

    x = layers.Input((length, 1 + configuration.validity_channel), name="spectrum")
    inputs = [x]
    for number, block in enumerate(_DEFAULT_BLOCKS, 1):
        # Keras' own momentum of 0.99 needs more steps than a small survey gives.
        x = _convolved(x, block, number, 0.9, seeds)
    summary = layers.Conv1D(
        12, 1, activation="relu", kernel_initializer=_initial(seeds), name="summary"
    )(x)
    places = layers.Flatten(name="places")(summary)
    places = layers.Dropout(configuration.dropout, seed=next(seeds), name="dropout_1")(places)
    parts = [
        _dense(64, "placed", seeds, "relu")(places),
        layers.GlobalAveragePooling1D(name="average")(x),
        layers.GlobalMaxPooling1D(name="maximum")(x),
    ]
    if configuration.noise_weights:
        inputs.append(layers.Input((1,), name="log_noise"))
        parts.append(inputs[-1])
    features = layers.Concatenate(name="features")(parts)
    features = layers.Dropout(configuration.dropout, seed=next(seeds), name="dropout_2")(features)
    hidden = _dense(64, "hidden", seeds, "relu")(features)
    return Model(inputs, _dense(classes, "logits", seeds)(hidden), name="default")


def _seed_network(
    configuration: Configuration, length: int, classes: int, seeds: Iterator[int]
) -> Any:
    from keras import Model, layers

    x = inputs = layers.Input((length, 1), name="spectrum")
    for number, block in enumerate(_SEED_BLOCKS, 1):
        x = _convolved(x, block, number, 0.99, seeds)
        x = layers.MaxPooling1D(2, name=f"pooling_{number}")(x)
    x = layers.GlobalAveragePooling1D(name="average")(x)
    x = _dense(128, "hidden", seeds, "relu")(x)
    x = layers.Dropout(configuration.dropout, seed=next(seeds), name="dropout")(x)
    return Model([inputs], _dense(classes, "logits", seeds)(x), name="seed")


def in_training(network: Any) -> Any:
    """Give a network that trains the same weights in less time.

    TensorFlow has an operation for the batch normalisation of a training step and one for its
    gradient, where Keras puts it together of many that each go through all of the data.

    Parameters
    ----------
    network : keras.Model

    Returns
    -------
    keras.Model
        Of the layers of `network`, but for those of normalisation, whose variables it uses; to
        be called in training only. To rounding, it does what `network` does.
    """
    import tensorflow as tf
    from keras import layers, models

    class Fused(layers.Layer):
        """A layer of batch normalisation over all but the last axis, in training."""

        def __init__(self, plain: Any) -> None:
            super().__init__()
            self.plain = plain

        def call(self, inputs: Any, mask: Any = None) -> Any:
            plain = self.plain
            outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
                x=inputs[:, None],
                scale=plain.gamma.value,
                offset=plain.beta.value,
                mean=tf.zeros(0),
                variance=tf.zeros(0),
                epsilon=plain.epsilon,
                is_training=True,
            )
            # Keras averages variances over n, the operation gives them over n - 1.
            count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
            new = (mean, variance * (count - 1) / count)
            for average, value in zip((plain.moving_mean, plain.moving_variance), new, strict=True):
                average.assign(average * plain.momentum + value * (1 - plain.momentum))
            return outputs[:, 0]

    def fused(layer: Any) -> Any:
        return Fused(layer) if isinstance(layer, layers.BatchNormalization) else layer

    return models.clone_model(network, clone_function=fused)


def folded(network: Any) -> Callable[[Any], Any]:
    """Leave the batch normalisation that follows convolutions to their weights.

    In prediction it is a linear function of each filter's output, so it can be part of the
    filter (Jacob et al. 2018, CVPR, section 3.2): a fifth of the work is saved.

    Parameters
    ----------
    network : keras.Model
        With `Conv1D` layers that `BatchNormalization` layers follow directly; its weights of
        now count.

    Returns
    -------
    callable
        From a list of tensors to the tensor that the network predicts, to rounding; for
        `tf.function`, to which the weights are constants.
    """
    from keras import layers, models

    def past(layer: Any, tensor: Any, **options: Any) -> Any:
        normalises = isinstance(layer, layers.BatchNormalization)
        return tensor if normalises else layer(tensor, **options)

    twin = models.clone_model(network, call_function=past)
    weights: list[Any] = []
    for layer in network.layers:
        if not isinstance(layer, layers.BatchNormalization):
            weights.extend(values(layer.trainable_variables))
            continue
        # Layers stand in the order of their calls: the convolution's weights are the last.
        *_, kernel, bias = weights
        gamma, beta, mean, variance = values(layer.weights)
        scale = gamma / np.sqrt(variance + np.float32(layer.epsilon))
        weights[-2:] = kernel * scale, beta + (bias - mean) * scale

    def call(inputs: Any) -> Any:
        rest = twin.non_trainable_variables
        return twin.stateless_call(weights, rest, inputs, training=False)[0]

    return call


def values(variables: list[Any]) -> list[npt.NDArray]:
    """Copy Keras variables to NumPy."""
    return [np.array(variable.value.numpy()) for variable in variables]


def _initial(seeds: Iterator[int]) -> Any:
    from keras.initializers import GlorotUniform

    return GlorotUniform(seed=next(seeds))


def _dense(units: int, name: str, seeds: Iterator[int], activation: str | None = None) -> Any:
    from keras.layers import Dense

    return Dense(units, activation=activation, kernel_initializer=_initial(seeds), name=name)


def _convolved(
    x: Any, block: tuple[int, int, int], number: int, momentum: float, seeds: Iterator[int]
) -> Any:
    from keras import layers

    filters, width, stride = block
    x = layers.Conv1D(
        filters,
        width,
        strides=stride,
        padding="same",
        kernel_initializer=_initial(seeds),
        name=f"convolution_{number}",
    )(x)
    x = layers.BatchNormalization(momentum=momentum, name=f"normalisation_{number}")(x)
    return layers.ReLU(name=f"relu_{number}")(x)
