"""Trained models on the disk, under the digest of their content, and as rows of the lake."""

from pathlib import Path

import pyarrow as pa

from lake import contracts
from lake.commit import now
from lake.csc.features import FEATURES
from lake.csc.model import ClassModel
from lake.errors import LacusError
from lake.whole import write_whole


def model_path(models: Path, model_id: str) -> Path:
    """Return where a model lies below the models folder of a home."""
    return models / "csc" / f"{model_id}.json"


def save(model: ClassModel, models: Path) -> Path:
    """Write a model; a reader finds the whole file or none."""
    path = model_path(models, model.model_id)
    write_whole(path, model.to_json())
    return path


def load(models: Path, model_id: str) -> ClassModel:
    """Read a model.

    Raises
    ------
    LacusError
        If it is not there, is damaged, or its content is not that of its name.
    """
    path = model_path(models, model_id)
    try:
        model = ClassModel.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LacusError(f"{path}: no such model: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LacusError(f"{path}: is not text") from None
    except LacusError as error:
        raise LacusError(f"{path}: {error}") from None
    if model.model_id != model_id:
        raise LacusError(f"{path}: holds the model {model.model_id}")
    return model


def as_row(model: ClassModel, release: str, snapshot: int | None = None) -> pa.Table:
    """Row of csc.mixture_models for a model that was trained just now, on a snapshot."""
    mixture, scale, nothing = model.mixture, model.normalisation, (None, None)
    row = {
        "release": release,
        "model_id": model.model_id,
        "components": model.components,
        "seed": model.training["seed"],
        "training_rows": model.training["rows_complete"],
        "detections": model.training["rows"],
        "labelled_rows": sum(model.training["labelled"].values()),
        "trained_release": release,
        "trained_at": now(),
        "trained_snapshot": snapshot,
        "changed_detections": 0,
        "changed_labelled": 0,
        "features": list(FEATURES),
        "log_offset": [scale.log_offset.get(name) for name in FEATURES],
        "feature_min": [scale.minmax.get(name, nothing)[0] for name in FEATURES],
        "feature_max": [scale.minmax.get(name, nothing)[1] for name in FEATURES],
        "weights": mixture.weights.tolist(),
        "means": mixture.means.ravel().tolist(),
        "covariances": mixture.covariances.ravel().tolist(),
        "bic": mixture.bic,
        "log_likelihood": mixture.log_likelihood,
        "iterations": mixture.n_iter,
        "converged": mixture.converged,
    }
    return contracts.table("csc.mixture_models").arrow([row])
