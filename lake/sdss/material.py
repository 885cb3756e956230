"""The spectra of a training, drawn batch by batch as the network sees them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.errors import LacusError
from lake.sdss.augment import augment
from lake.sdss.augmentation import Augmentation, at_snr
from lake.sdss.channels import network_input
from lake.sdss.configuration import Configuration

FloatArray = npt.NDArray[np.floating]
Rows = npt.NDArray[np.intp]

#: Streams of random numbers of one seed.
_TRAINING, _HELD_BACK = 0, 1


@dataclass(frozen=True)
class Material:
    """Spectra, their classes as numbers, and which of them serve what.

    Attributes
    ----------
    flux, ivar, valid : ndarray, shape (n, l)
    names : tuple of str
        The classes in training, in alphabetical order.
    truth : ndarray of int64, shape (n,)
        Place of each spectrum's class in `names`.
    train, check : ndarray of int
        Rows to train on, and rows held back: those of the validation, or the training rows
        where there is none.
    configuration : Configuration
    """

    flux: FloatArray
    ivar: FloatArray
    valid: npt.NDArray[np.bool_]
    names: tuple[str, ...]
    truth: npt.NDArray[np.int64]
    train: Rows
    check: Rows
    configuration: Configuration

    @classmethod
    def gather(
        cls,
        flux: FloatArray,
        ivar: FloatArray | None,
        valid: npt.NDArray[np.bool_],
        classes: npt.NDArray[np.str_],
        split: npt.NDArray[np.str_],
        configuration: Configuration,
    ) -> "Material":
        """Check the arrays of a training.

        Raises
        ------
        LacusError
            Shapes do not match, there is nothing to train on, or a class is not in training.
        """
        if (
            flux.ndim != 2
            or valid.shape != flux.shape
            or (ivar is not None and ivar.shape != flux.shape)
        ):
            raise LacusError(f"flux of shape {flux.shape} needs ivar and valid of the same shape")
        if not len(flux) == len(classes) == len(split):
            raise LacusError(
                f"{len(flux)} spectra do not go with {len(classes)} classes, {len(split)} splits"
            )
        train = np.flatnonzero(split == "train")
        if not len(train):
            raise LacusError("no spectrum is in the training split")
        names = np.unique(classes[train])
        missing = sorted(set(classes.tolist()) - set(names.tolist()))
        if missing:
            raise LacusError(f"not in the training split: class {', '.join(missing)}")
        check = np.flatnonzero(split == "validation")
        return cls(
            flux,
            np.zeros(flux.shape, np.float32) if ivar is None else ivar,
            valid,
            tuple(names.tolist()),
            np.searchsorted(names, classes),
            train,
            check if len(check) else train,
            configuration,
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the configuration and everything that is trained and validated on."""
        digest = hashlib.sha256(self.configuration.to_json().encode())
        digest.update("\n".join(self.names).encode())
        rows = np.concatenate([self.train, self.check])
        for array in (self.train, self.check, self.truth[rows]):
            digest.update(array.astype("<i8").tobytes())
        for array in (self.flux, self.ivar, self.valid):
            for start in range(0, len(rows), 1024):
                digest.update(array[rows[start : start + 1024]].tobytes())
        return digest.hexdigest()

    def class_weights(self) -> npt.NDArray[np.float32]:
        """Give every class its weight in the loss, shape (k,); the mean over spectra is 1."""
        count = np.bincount(self.truth[self.train], minlength=len(self.names))
        if not self.configuration.class_weights:
            return np.ones(len(count), np.float32)
        # Within a factor of ten, so that two spectra of a class do not outweigh all others.
        weight = np.clip(count.mean() / count, np.sqrt(0.1), np.sqrt(10))
        return np.asarray(weight * count.sum() / (weight * count).sum(), np.float32)

    def _draw(
        self, rows: Rows, rng: np.random.Generator, settings: Augmentation | None
    ) -> tuple[list[npt.NDArray], npt.NDArray[np.float32]]:
        flux, ivar, valid = self.flux[rows], self.ivar[rows], self.valid[rows]
        if settings is not None:
            flux, ivar, valid = augment(flux, ivar, valid, rng, settings)
        return network_input(self.configuration, flux, ivar, valid)

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        rows = len(self.train) * self.configuration.realisations
        return -(-rows // self.configuration.batch_size)

    def batches(self, epoch: int) -> Iterator[tuple[Rows, list[npt.NDArray]]]:
        """Yield rows and inputs of the batches of an epoch.

        All are of one size: the last is filled up from the beginning. What is drawn depends on
        the seed and the epoch alone.
        """
        configuration = self.configuration
        rng = np.random.default_rng([configuration.seed, _TRAINING, epoch])
        order = np.concatenate(
            [rng.permutation(self.train) for _ in range(configuration.realisations)]
        )
        size = configuration.batch_size
        for rows in np.resize(order, self.steps * size).reshape(-1, size):
            yield rows, self._draw(rows, rng, configuration.augmentation)[0]

    def held_back(
        self, per_level: int, size: int
    ) -> Iterator[tuple[int, Rows, list[npt.NDArray], npt.NDArray[np.float32]]]:
        """Yield spectra held back, at each signal-to-noise ratio of the calibration.

        Parameters
        ----------
        per_level : int
            Realisations at each ratio: spectra are repeated or left out to come near it.
        size : int
            Of a batch.

        Yields
        ------
        level : int
            Place of the ratio in `Configuration.calibration_snr`; 0 where that is empty.
        rows, inputs, log_noise
        """
        configuration = self.configuration
        rng = np.random.default_rng([configuration.seed, _HELD_BACK])
        rows = rng.permutation(self.check)[:per_level]
        rows = np.tile(rows, min(max(per_level // len(rows), 1), 16))
        for level, snr in enumerate(configuration.calibration_snr or (None,)):
            settings = None
            if configuration.calibration_snr:
                settings = at_snr(configuration.augmentation or Augmentation(), snr)
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                yield level, part, *self._draw(part, rng, settings)
