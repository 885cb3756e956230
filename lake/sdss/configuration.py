"""How a network is built and trained: plain values, written and read as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lake.errors import LacusError
from lake.sdss.augmentation import Augmentation

NETWORKS = ("default", "seed")


@dataclass(frozen=True)
class Configuration:
    """Everything that a training depends on beside its spectra.

    Attributes
    ----------
    network : str
        ``default`` or ``seed`` (see `lake.sdss.cnn`).
    augmentation : Augmentation or None
        None: the spectra as they are.
    realisations : int
        How often each spectrum is drawn in an epoch.
    flatten : int
        Half width, in pixels, of the running means that spectra are divided by before the
        network sees them; 0 for none.
    validity_channel : bool
        Whether the network sees the weight of every pixel beside the flux.
    noise_weights : bool
        Whether noisy pixels count less, and the noise itself is an input; otherwise all valid
        pixels count alike.
    class_weights : bool
        Whether rare classes count more, by the inverse of their share, at most tenfold between
        two classes.
    epochs, batch_size : int
    learning_rate : float
        Of Adam (Kingma & Ba 2015); it falls to 0 along a cosine if `decay`.
    decay : bool
    weight_decay : float
        Decoupled (AdamW, Loshchilov & Hutter 2019).
    dropout : float
    patience : int or None
        Epochs without a lower validation loss after which training ends; the best epoch counts.
        None: it goes on to the end, and the last epoch counts.
    calibration_snr : tuple of float or None
        Signal-to-noise ratios over which the temperature is fitted, None for spectra as they
        are; empty for no temperature and no abstention. The threshold of abstention belongs to
        the lowest.
    accepted_accuracy : float
        Accuracy that predictions have which are not abstained from, at that lowest ratio.
    seed : int
    """

    network: str = "default"
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    realisations: int = 2
    flatten: int = 50
    validity_channel: bool = True
    noise_weights: bool = True
    class_weights: bool = True
    epochs: int = 80
    batch_size: int = 32
    learning_rate: float = 2e-3
    decay: bool = True
    weight_decay: float = 1e-3
    dropout: float = 0.3
    patience: int | None = 25
    calibration_snr: tuple[float | None, ...] = (5.0, 10.0, 20.0, None)
    accepted_accuracy: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise LacusError(f"{self.network!r} is no network; there are {', '.join(NETWORKS)}")
        for name in ("realisations", "epochs", "batch_size", "patience"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise LacusError(f"{name} is {getattr(self, name)}; it must be at least 1")

    def to_dict(self) -> dict[str, Any]:
        """Give the values as JSON can hold them."""
        return {**asdict(self), "calibration_snr": list(self.calibration_snr)}

    def to_json(self) -> str:
        """Write as JSON, keys in alphabetical order."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Configuration":
        """Rebuild from `to_dict`.

        Raises
        ------
        LacusError
            A name is unknown.
        """
        given = dict(values)
        augmentation = given.get("augmentation")
        _refuse_unknown(cls, given)
        if augmentation is not None:
            _refuse_unknown(Augmentation, augmentation)
            given["augmentation"] = Augmentation(**augmentation)
        if "calibration_snr" in given:
            given["calibration_snr"] = tuple(given["calibration_snr"])
        return cls(**given)

    @classmethod
    def from_json(cls, text: str) -> "Configuration":
        """Rebuild from `to_json`."""
        return cls.from_dict(json.loads(text))


def _refuse_unknown(kind: type, given: Mapping[str, Any]) -> None:
    unknown = sorted(set(given) - {entry.name for entry in fields(kind)})
    if unknown:
        raise LacusError(f"{kind.__name__} has no {', '.join(unknown)}")


#: `seed` is the published toolkit's training as it is written; it goes with the recipe `seed`.
CONFIGURATIONS = {
    "default": Configuration(),
    "small": Configuration(epochs=25, realisations=3),
    "seed": Configuration(
        network="seed",
        augmentation=None,
        realisations=1,
        flatten=0,
        validity_channel=False,
        noise_weights=False,
        class_weights=False,
        epochs=20,
        learning_rate=1e-3,
        decay=False,
        weight_decay=0.0,
        dropout=0.2,
        patience=None,
        calibration_snr=(),
    ),
}
