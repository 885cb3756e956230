import json
from importlib.resources import files

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.csc.features import CLASSES, FEATURES, LOG_FEATURES, PROBABILITIES
from lake.csc.reference import LogOdds, load_reference
from lake.errors import UsageError

# 2CXO J004307.5-092302, obsid 4884; photon index and temperature as in the published example.
EXAMPLE = {
    "name": "2CXO J004307.5-092302",
    "hard_hm": 0.23110555902561,
    "hard_hs": 0.10243597751405,
    "hard_ms": -0.13616489693941,
    "powlaw_gamma": 2.07377,
    "bb_kt": 0.563729,
    "var_prob_b": 0.50165526192568,
    "var_ratio_b": 7.008065460605226e-4 / 0.0038287120278008738,
    "var_prob_h": 0.50814899377374,
    "var_ratio_h": 2.164292244738912e-4 / 0.001575845804562533,
    "var_prob_s": 0.562971133281,
    "var_ratio_s": 1.1692215714259091e-4 / 9.007070382772946e-4,
    "var_newq_b": (0.007166455525771607 + 0.003322752613583475) / 2 / 0.0038287120278008738,
}


def classified(*rows: dict) -> list[dict]:
    names = ["name", *FEATURES]
    table = pa.table({n: pa.array([row[n] for row in rows]) for n in names})
    return load_reference().classify(table).to_pylist()


def test_the_published_example():
    (row,) = classified(EXAMPLE)
    assert row["cluster"] == 5
    assert row["p_hmxb"] == pytest.approx(0.684, abs=5e-4)
    assert row["p_hmxb"] + row["p_lmxb"] + row["p_xb"] == pytest.approx(0.985, abs=5e-4)
    assert row["detection_class"] == "HMXB"
    assert row["novelty_p_value"] > 0.5
    assert row["reason"] is None
    assert not row["abstained"]


def test_missing_features_are_filled_and_said_so():
    gappy = EXAMPLE | {"powlaw_gamma": None, "bb_kt": None}
    nothing = dict.fromkeys(FEATURES) | {"name": "x"}
    row, empty, complete = classified(gappy, nothing, EXAMPLE)
    assert row["reason"] == "filled: powlaw_gamma, bb_kt"
    assert row["cluster"] == 5
    assert sum(row[name] for name in PROBABILITIES) == pytest.approx(1)
    assert not row["abstained"]
    assert empty["detection_class"] is empty["cluster"] is None
    assert empty["abstained"]
    assert complete == pytest.approx(classified(EXAMPLE)[0], abs=1e-12)


def test_far_points_are_novel_and_have_probabilities():
    (row,) = classified(EXAMPLE | {"powlaw_gamma": 1e5})
    assert row["novelty_p_value"] < 1e-10
    assert sum(row[name] for name in PROBABILITIES) == pytest.approx(1)


def test_log_odds_by_hand():
    coefficients = np.zeros((91, 2))
    coefficients[0, 1] = 0.5  # constant
    coefficients[1, 1] = 2.0  # u_0
    coefficients[14, 1] = -3.0  # u_0 u_1, the second product
    odds = LogOdds(np.ones(12), np.full(12, 2.0), np.array([0, 4]), coefficients)
    y = np.ones((1, 12))
    y[0, :2] = [3.0, 2.0]  # u = 1, 0.5
    p = odds.probabilities(y)
    assert np.log(p[0, 4] / p[0, 0]) == pytest.approx(0.5 + 2.0 - 1.5)
    assert p.sum() == pytest.approx(1)
    assert np.flatnonzero(p[0]).tolist() == [0, 4]


def test_the_numbers_are_for_this_version_of_the_features():
    numbers = json.loads(files("lake.csc").joinpath("reference_model.json").read_text())
    assert tuple(numbers["features"]) == FEATURES
    assert tuple(numbers["classes"]) == CLASSES
    assert tuple(numbers["log_features"]) == LOG_FEATURES
    assert "MIT" in load_reference().about
    for entry, odds in zip(numbers["clusters"], load_reference().log_odds, strict=True):
        absent = {CLASSES[c] for c in set(range(10)) - set(odds.classes.tolist())}
        assert absent == set(entry["classes_with_zero_probability"])


def test_responsibilities_and_cache():
    assert load_reference() is load_reference()
    table = pa.Table.from_pylist([EXAMPLE])
    out = load_reference().responsibilities(table).to_pylist()[0]
    assert out["cluster"] == 5
    assert sum(out[f"responsibility_{k}"] for k in range(6)) == pytest.approx(1)


def test_posterior_is_refused_with_advice():
    table = pa.Table.from_pylist([EXAMPLE])
    with pytest.raises(UsageError, match="train a model"):
        load_reference().classify(table, method="posterior")
    with pytest.raises(UsageError, match="'other'"):
        load_reference().classify(table, method="other")


@pytest.mark.real
def test_agrees_with_the_published_probabilities(real_data):
    given = pq.read_table(real_data / "csc" / "detections_features.parquet")
    published = pq.read_table(real_data / "csc" / "published_probabilities.parquet")
    ours = load_reference().classify(given)
    both = published.join(ours, ["name", "obsid"], join_type="inner")
    assert both.num_rows == 8185
    same_cluster = both.column("cluster").to_numpy() == both.column("published_cluster").to_numpy()
    assert same_cluster.mean() >= 0.998
    same_class = np.array(both.column("detection_class").to_pylist()) == np.array(
        both.column("published_class").to_pylist()
    )
    assert same_class.mean() >= 0.998
    assert same_class[same_cluster].mean() >= 0.999
    p = np.column_stack([both.column(name).to_numpy() for name in PROBABILITIES])
    theirs = np.column_stack([both.column(name).to_numpy() for name in CLASSES])
    assert np.median(np.abs(p - theirs).max(axis=1)) < 1e-9
