import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from lake.csc.features import CLASSES
from lake.csc.validate import EPSILON, cross_validate, score
from lake.errors import LacusError


def value(validation, method, metric, level="overall", name=None):
    (found,) = [
        row["value"]
        for row in validation.summary.to_pylist()
        if (row["method"], row["metric"], row["level"], row["class"])
        == (method, metric, level, name)
    ]
    return found


def rows(*entries: dict[str, float]) -> np.ndarray:
    out = np.zeros((len(entries), len(CLASSES)))
    for i, entry in enumerate(entries):
        for name, p in entry.items():
            out[i, CLASSES.index(name)] = p
    return out


def test_scores_by_hand():
    truth = np.array([CLASSES.index(name) for name in ("QSO", "QSO", "HMXB", "LMXB", "YSO")])
    p = rows(
        {"QSO": 0.9, "AGN": 0.1},
        {"QSO": 0.4, "AGN": 0.6},
        {"HMXB": 0.2, "LMXB": 0.8},
        {"LMXB": 1.0},
        {"QSO": 1.0},
    )
    undefined = p.copy()
    undefined[4] = np.nan
    out = score(truth, {"posterior": p, "softmin": undefined})
    # The fifth row is undefined for one method, so neither is scored on it.
    assert value(out, "softmin", "rows_undefined") == 1
    assert value(out, "posterior", "rows_undefined") == 0
    assert value(out, "posterior", "rows_scored") == 4
    assert value(out, "posterior", "log_loss") == pytest.approx(-np.log([0.9, 0.4, 0.2]).sum() / 4)
    assert value(out, "posterior", "brier") == pytest.approx((0.02 + 0.72 + 1.28 + 0) / 4)
    assert value(out, "posterior", "accuracy") == 0.5
    assert value(out, "posterior", "balanced_accuracy") == pytest.approx((0.5 + 0 + 1) / 3)
    calibration = (0.1 + 0.6 + 0.8 + 0) / 4  # every row alone in its bin of confidence
    assert value(out, "posterior", "expected_calibration_error") == pytest.approx(calibration)
    assert value(out, "posterior", "recall", "class", "QSO") == 0.5
    assert value(out, "posterior", "precision", "class", "LMXB") == 0.5
    assert value(out, "posterior", "recall", "class", "YSO") is None
    assert value(out, "posterior", "accuracy", "aggregate") == 1
    assert value(out, "posterior", "recall", "aggregate", "XB") == 1
    counts = {
        (row["class"], row["predicted_class"]): row["value"]
        for row in out.confusion.to_pylist()
        if row["method"] == "posterior" and row["level"] == "class" and row["value"]
    }
    assert counts == {
        ("QSO", "QSO"): 1,
        ("QSO", "AGN"): 1,
        ("HMXB", "LMXB"): 1,
        ("LMXB", "LMXB"): 1,
    }
    assert out.tidy.num_rows == out.summary.num_rows + out.confusion.num_rows


def test_impossible_truths_are_floored_and_counted():
    out = score(np.array([0, 0]), {"softmin": rows({"AGN": 1.0}, {"QSO": 1.0})})
    assert value(out, "softmin", "log_loss") == pytest.approx(-np.log(EPSILON) / 2)
    assert value(out, "softmin", "rows_floored") == 1


def test_reliability_counts_every_row():
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(10), 500)
    truth = np.array([random.choice(10, p=row) for row in p])
    out = score(truth, {"posterior": p})
    bins = [row for row in out.reliability.to_pylist() if row["level"] == "class"]
    assert sum(row["n"] for row in bins) == 500
    assert all(row["bin_low"] <= row["mean_confidence"] <= row["bin_high"] for row in bins)
    assert value(out, "posterior", "expected_calibration_error") < 0.1  # drawn from p itself


def test_nothing_in_common():
    out = score(np.array([0]), {"softmin": np.full((1, 10), np.nan)})
    assert value(out, "softmin", "rows_undefined") == 1
    assert out.confusion.num_rows == out.reliability.num_rows == 0


def test_cross_validation_of_learnable_kinds(detections):
    out = cross_validate(detections, folds=3, components=3)
    for method in ("softmin", "posterior"):
        assert value(out, method, "accuracy") > 0.85
    assert value(out, "posterior", "log_loss") < value(out, "softmin", "log_loss")
    labelled = detections.num_rows - detections.column("main_type").null_count
    assert value(out, "posterior", "rows_scored") + value(out, "softmin", "rows_undefined") == (
        labelled
    )
    assert out.tidy.equals(cross_validate(detections, folds=3, components=3).tidy)


def test_labels_of_the_held_out_sources_are_not_used(detections):
    # Labels that are pure noise cannot be predicted better than by their shares.
    noise = np.random.default_rng(0).choice(["QSO", "YSO"], 450).repeat(2)
    place = detections.column_names.index("main_type")
    table = detections.set_column(place, "main_type", pa.array(noise.tolist()))
    out = cross_validate(table, folds=3, components=3)
    assert value(out, "posterior", "log_loss") > 0.68
    assert value(out, "posterior", "accuracy") < 0.56


def test_too_little_to_validate(detections):
    with pytest.raises(LacusError, match="as many labelled sources"):
        cross_validate(detections.slice(0, 4), folds=5)


@pytest.mark.real
@pytest.mark.slow
def test_the_posterior_beats_the_published_rule(real_data):
    features = pq.read_table(real_data / "csc" / "detections_features.parquet")
    labels = pyarrow.csv.read_csv(real_data / "csc" / "simbad_labels.csv")
    types = labels.select(["name", "obsid", "main_type"])
    types = types.set_column(0, "name", types.column("name").cast(features.schema.field(0).type))
    table = features.join(types, ["name", "obsid"]).sort_by(
        [("name", "ascending"), ("obsid", "ascending")]
    )
    out = cross_validate(table)
    for metric, factor in (("log_loss", 0.4), ("brier", 0.7), ("expected_calibration_error", 0.25)):
        for level in ("overall", "aggregate"):
            ours = value(out, "posterior", metric, level)
            assert ours < factor * value(out, "softmin", metric, level)
    for level in ("overall", "aggregate"):
        ours = value(out, "posterior", "balanced_accuracy", level)
        assert ours > value(out, "softmin", "balanced_accuracy", level)
