import json

import numpy as np
import pyarrow as pa
import pytest

from lake.csc.classify import classify
from lake.csc.features import FEATURES
from lake.csc.model import ClassModel, train
from lake.errors import LacusError


@pytest.fixture(scope="module")
def model(detections) -> ClassModel:
    return train(detections, components=3)


def test_json_round_trip_gives_identical_numbers(model, detections):
    text = model.to_json()
    again = ClassModel.from_json(text)
    assert again.to_json() == text
    assert again.model_id == model.model_id
    for method in ("softmin", "posterior"):
        assert classify(again, detections, method).equals(classify(model, detections, method))


def test_training_is_deterministic_and_the_id_follows_the_content(model, detections):
    assert train(detections, components=3).model_id == model.model_id
    assert train(detections.slice(2), components=3).model_id != model.model_id
    assert len(model.model_id) == 16
    int(model.model_id, 16)


def test_training_summary(model, detections):
    kinds = [k for k in detections.column("main_type").to_pylist() if k]
    assert model.training["rows"] == model.training["rows_complete"] == 900
    assert model.training["sources"] == 450
    assert model.training["labelled"]["HMXB"] == kinds.count("HMXB")
    assert model.training["labelled"]["Seyfert_1"] == 0


def test_incomplete_rows_are_left_out(detections):
    bb_kt = detections.column("bb_kt").to_pylist()
    gappy = detections.set_column(
        detections.column_names.index("bb_kt"), "bb_kt", pa.array([None, -9.0, *bb_kt[2:]])
    )
    fitted = train(gappy, components=3)
    assert fitted.training["rows_complete"] == 898
    assert fitted.training["values_undefined"] == 1


def test_too_few_rows(detections):
    with pytest.raises(LacusError, match=r"6 clusters need at least 6 detections.*of 4 given, 4"):
        train(detections.slice(0, 4))
    with pytest.raises(LacusError, match="of 0 given"):
        train(detections.slice(0, 0))
    few = detections.slice(0, 4)
    for name, values in {"bb_kt": [1.0, None, None, 1.0], "hard_hs": [None] * 4}.items():
        column = pa.array(values, pa.float64())
        few = few.set_column(few.column_names.index(name), name, column)
    with pytest.raises(LacusError, match=r"0 have them; missing: hard_hs \(4\), bb_kt \(2\)$"):
        train(few)
    with pytest.raises(LacusError, match="'name'"):
        train(detections.drop_columns(["name"]))


def test_tiny_but_enough(detections):
    fitted = train(detections.slice(0, 8), components=6)
    p = classify(fitted, detections, "posterior").column("p_qso").to_pylist()
    assert all(value is not None and 0 <= value <= 1 for value in p)


def test_constant_and_repeated_features(detections):
    same = detections.set_column(
        detections.column_names.index("var_newq_b"), "var_newq_b", pa.array([1.0] * 900)
    )
    out = classify(train(same, components=3), same, "posterior")
    assert not np.isnan(out.column("p_qso").to_numpy()).any()


def test_damaged_models_are_refused(model):
    numbers = json.loads(model.to_json())
    with pytest.raises(LacusError, match="not JSON"):
        ClassModel.from_json("{")
    with pytest.raises(LacusError, match="format None"):
        ClassModel.from_json("{}")
    with pytest.raises(LacusError, match="format None"):
        ClassModel.from_json("[]")
    with pytest.raises(LacusError, match="other features"):
        ClassModel.from_json(json.dumps(numbers | {"features": list(FEATURES[::-1])}))
    with pytest.raises(LacusError, match="'mixture'"):
        ClassModel.from_json(json.dumps({k: v for k, v in numbers.items() if k != "mixture"}))
