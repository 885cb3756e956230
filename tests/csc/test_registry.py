"""Models on the disk and as rows of the lake."""

import json

import numpy as np
import pytest

from lake import contracts
from lake.csc import registry
from lake.csc.classify import classify
from lake.csc.features import FEATURES
from lake.csc.model import ClassModel, train
from lake.errors import LacusError
from lake.store import Store


@pytest.fixture(scope="module")
def model(detections) -> ClassModel:
    return train(detections, components=3)


def test_a_model_comes_back_as_it_was(model, detections, tmp_path):
    path = registry.save(model, tmp_path)
    assert path == registry.model_path(tmp_path, model.model_id)
    again = registry.load(tmp_path, model.model_id)
    assert again.model_id == model.model_id
    for method in ("softmin", "posterior"):
        assert classify(again, detections, method).equals(classify(model, detections, method))
    assert json.loads(path.read_text())  # plain numbers, never a pickle
    assert [p.name for p in path.parent.iterdir()] == [f"{model.model_id}.json"]
    assert registry.save(model, tmp_path) == path


def test_what_is_not_the_model_is_refused(model, detections, tmp_path):
    with pytest.raises(LacusError, match=r"nothing\.json: no such model"):
        registry.load(tmp_path, "nothing")
    path = registry.save(model, tmp_path)
    whole = path.read_text()
    for damaged in (whole[: len(whole) // 2], "{}", "\x00"):
        path.write_text(damaged)
        with pytest.raises(LacusError, match=r"\.json: the model"):
            registry.load(tmp_path, model.model_id)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LacusError, match=r"\.json: is not text"):
        registry.load(tmp_path, model.model_id)
    other = train(detections, components=2)
    path.write_text(other.to_json())
    with pytest.raises(LacusError, match=f"holds the model {other.model_id}"):
        registry.load(tmp_path, model.model_id)


def test_a_row_of_the_lake_holds_the_whole_mixture(model, tmp_path):
    table = registry.as_row(model, "R")
    assert table.schema.equals(contracts.table("csc.mixture_models").schema())
    store = Store(tmp_path / "lake")
    parts = [("csc.mixture_models", table)]
    store.replace(
        "R", ["csc.mixture_models"], parts, fingerprint="f", code_version="1", message="train"
    )
    (row,) = store.arrow("SELECT * FROM csc.mixture_models").to_pylist()
    assert (row["model_id"], row["components"], row["seed"]) == (model.model_id, 3, 42)
    assert row["features"] == list(FEATURES)
    mixture = model.mixture
    np.testing.assert_array_equal(row["weights"], mixture.weights)
    np.testing.assert_array_equal(np.reshape(row["means"], (3, 12)), mixture.means)
    np.testing.assert_array_equal(np.reshape(row["covariances"], (3, 12, 12)), mixture.covariances)
    for name, offset, low, high in zip(
        FEATURES, row["log_offset"], row["feature_min"], row["feature_max"], strict=True
    ):
        assert offset == model.normalisation.log_offset.get(name)
        assert (low, high) == tuple(model.normalisation.minmax.get(name, (None, None)))
    assert row["labelled_rows"] <= row["training_rows"] <= 900
