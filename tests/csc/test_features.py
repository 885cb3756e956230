import numpy as np
import pyarrow as pa
import pytest

from lake.csc.features import (
    AGGREGATE,
    CLASSES,
    FEATURES,
    LOG_FEATURES,
    OTHER_TYPE,
    PROBABILITIES,
    UNLABELLED,
    Normalisation,
    feature_matrix,
    label_codes,
)
from lake.errors import LacusError


def matrix(**columns: list[float]) -> np.ndarray:
    """A raw feature matrix; features that are not given are 0.5, 1, 1.5, ..."""
    rows = len(next(iter(columns.values())))
    out = np.repeat(0.5 * np.arange(1, rows + 1)[:, None], len(FEATURES), axis=1)
    for name, values in columns.items():
        out[:, FEATURES.index(name)] = values
    return out


def test_names_belong_together():
    assert len(CLASSES) == len(PROBABILITIES) == 10
    assert set(AGGREGATE) == set(CLASSES)
    assert list(AGGREGATE.values()) == ["AGN"] * 2 + ["Seyfert"] * 2 + ["XB"] * 3 + ["YSO"] * 3


def test_label_codes():
    column = pa.chunked_array([["QSO", None, "Or*"], ["Star", "NaN", "Pulsar", "QSO"]])
    assert label_codes(column).tolist() == [0, UNLABELLED, 9, UNLABELLED, UNLABELLED, OTHER_TYPE, 0]
    assert label_codes(pa.nulls(2)).tolist() == [UNLABELLED] * 2


def test_feature_matrix_keeps_order_and_turns_every_absence_into_nan():
    columns = {name: pa.array([float(i), None]) for i, name in enumerate(FEATURES)}
    columns["hard_hm"] = pa.array([7, 8], pa.int32())
    columns["bb_kt"] = pa.array([float("inf"), float("nan")])
    shuffled = dict(reversed(columns.items()))
    out = feature_matrix(pa.table({**shuffled, "other": ["a", "b"]}))
    assert out[0].tolist()[:4] == [7, 1, 2, 3]
    assert np.isnan(out[0, 4])
    assert out[1, 0] == 8
    assert np.isnan(out[1, 1:]).all()


def test_feature_matrix_says_what_is_wrong():
    columns = {name: pa.array([1.0]) for name in FEATURES}
    with pytest.raises(LacusError, match="lacks bb_kt"):
        feature_matrix(pa.table(columns).drop_columns(["bb_kt"]))
    columns["bb_kt"] = pa.array(["1.0"])
    with pytest.raises(LacusError, match="'bb_kt' must be numeric, it is string"):
        feature_matrix(pa.table(columns))


def test_normalisation_by_hand():
    raw = matrix(bb_kt=[0.0, 1.0, 3.0], powlaw_gamma=[-1.0, 1.0, 3.0], hard_hm=[-0.5, 0.1, 0.7])
    fitted = Normalisation.fit(raw)
    assert fitted.log_offset["bb_kt"] == pytest.approx(0.1)
    x, undefined = fitted.transform(raw)
    low, high = np.log(0.1), np.log(3.1)
    np.testing.assert_allclose(x[:, 4], [0, (np.log(1.1) - low) / (high - low), 1])
    np.testing.assert_allclose(x[:, 3], [0, 0.5, 1])
    np.testing.assert_array_equal(x[:, 0], [-0.5, 0.1, 0.7])
    assert undefined == 0
    assert raw[0, 4] == 0.0  # the input is left as it was


def test_undefined_logarithms_are_missing_and_counted():
    fitted = Normalisation.fit(matrix(bb_kt=[1.0, 2.0, 3.0]))
    x, undefined = fitted.transform(matrix(bb_kt=[-0.1, -5.0, np.nan, -0.05]))
    assert np.isnan(x[:3, 4]).all()
    assert np.isfinite(x[3, 4])
    assert undefined == 2


def test_a_negative_value_does_not_spoil_the_constants():
    fitted = Normalisation.fit(matrix(bb_kt=[-2.0, 1.0, 3.0]))
    assert fitted.log_offset["bb_kt"] == pytest.approx(0.1)
    assert fitted.minmax["bb_kt"] == pytest.approx((np.log(1.1), np.log(3.1)))


def test_a_constant_feature_scales_to_zero_without_warning():
    x, _ = Normalisation.fit(matrix(var_newq_b=[1.0, 1.0])).transform(matrix(var_newq_b=[1.0, 1.0]))
    assert x[:, 11].tolist() == [0, 0]


def test_inverse_scale_undoes_all_but_the_logarithm():
    raw = matrix(bb_kt=[0.2, 1.0, 3.0])
    fitted = Normalisation.fit(raw)
    y = fitted.inverse_scale(fitted.transform(raw)[0])
    np.testing.assert_allclose(y[:, 4], np.log(raw[:, 4] + 0.02))
    np.testing.assert_allclose(y[:, [0, 1, 2, 3, 5, 7, 9]], raw[:, [0, 1, 2, 3, 5, 7, 9]])


@pytest.mark.parametrize("name", ["powlaw_gamma", LOG_FEATURES[0]])
def test_a_feature_without_values_is_an_error(name):
    with pytest.raises(LacusError, match=name):
        Normalisation.fit(matrix(**{name: [np.nan, np.nan]}))


def test_plain_dict_round_trip():
    fitted = Normalisation.fit(matrix(bb_kt=[0.1, 0.2, 0.7]))
    assert Normalisation.from_dict(fitted.to_dict()) == fitted
    with pytest.raises(LacusError, match="bb_kt"):
        Normalisation.from_dict({"log_offset": {}, "minmax": {}})
