import numpy as np
import pytest

from lake.sdss import scores

CLASSES = ["A", "F", "G"]
TRUTH = np.array(["A", "A", "A", "F", "F"])
PREDICTED = np.array(["A", "A", "F", "F", "G"])


def test_confusion_rows_are_the_truth():
    counts = scores.confusion_matrix(TRUTH, PREDICTED, CLASSES)
    assert counts.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_a_class_that_is_not_listed_is_refused():
    with pytest.raises(KeyError, match="G"):
        scores.confusion_matrix(TRUTH, PREDICTED, ["A", "F"])


def test_class_scores():
    made = scores.class_scores(scores.confusion_matrix(TRUTH, PREDICTED, CLASSES))
    np.testing.assert_allclose(made.recall, [2 / 3, 1 / 2, np.nan])
    np.testing.assert_allclose(made.precision, [1, 1 / 2, 0])
    np.testing.assert_allclose(made.f1, [0.8, 0.5, 0])
    assert made.support.tolist() == [3, 2, 0]


def test_macro_f1_is_over_classes_with_members():
    counts = scores.confusion_matrix(TRUTH, PREDICTED, CLASSES)
    assert scores.macro_f1(counts) == pytest.approx(0.65)
    assert np.isnan(scores.macro_f1(np.zeros((2, 2))))


def test_roc_area_is_the_chance_of_the_right_order():
    member = np.array([True, True, False, False])
    made = scores.roc(member, np.array([0.9, 0.4, 0.6, 0.1]))
    assert made is not None
    assert made.area == pytest.approx(0.75)  # three of four pairs are in order
    assert (made.x[0], made.y[0], made.x[-1], made.y[-1]) == (0, 0, 1, 1)


def test_average_precision_by_hand():
    member = np.array([True, True, False, False])
    made = scores.precision_recall(member, np.array([0.9, 0.4, 0.6, 0.1]))
    assert made is not None
    assert made.area == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_no_curve_without_members_or_without_others():
    score = np.array([0.2, 0.8])
    assert scores.roc(np.array([True, True]), score) is None
    assert scores.roc(np.array([False, False]), score) is None
    assert scores.precision_recall(np.array([False, False]), score) is None


def test_accuracy_by_snr():
    snr = np.array([1.0, 5, 9, 10, 400, np.nan])
    correct = np.array([False, True, True, False, True, True])
    made = scores.accuracy_by_snr(snr, correct, np.array([0.0, 5, 10, 100]))
    assert made.n.tolist() == [1, 2, 1]
    assert made.x.tolist() == [1, 7, 10]
    assert made.accuracy.tolist() == [0, 1, 0]


def test_the_last_bin_may_be_open():
    made = scores.accuracy_by_snr(np.array([400.0]), np.array([True]), np.array([0.0, 100, np.inf]))
    assert made.n.tolist() == [1]


def test_reliability_bins_are_closed_above():
    made = scores.reliability(np.array([0.5, 0.6, 1.0, 0.9]), np.array([1, 0, 1, 1]) == 1, bins=2)
    assert made.n.tolist() == [1, 3]
    np.testing.assert_allclose(made.x, [0.5, 2.5 / 3])
    np.testing.assert_allclose(made.accuracy, [1, 2 / 3])


def test_reliability_sums_to_the_expected_calibration_error():
    from lake.sdss.calibration import expected_calibration_error

    random = np.random.default_rng(0)
    confidence = random.uniform(0.1, 1, 500)
    correct = random.random(500) < confidence**2
    made = scores.reliability(confidence, correct)
    error = (made.n * np.abs(made.accuracy - made.x)).sum() / 500
    assert error == pytest.approx(expected_calibration_error(confidence, correct))


def test_wilson_interval():
    # Brown, Cai & DasGupta 2001: 0 of 10 at 95 % ends at z^2 / (n + z^2).
    low, high = scores.wilson(np.array([0, 5, 0]), np.array([10, 10, 0]), 0.95)
    assert low[0] == 0
    assert high[0] == pytest.approx(1.959964**2 / (10 + 1.959964**2), rel=1e-6)
    assert low[1] + high[1] == pytest.approx(1)
    assert np.isnan(low[2])
    assert np.isnan(high[2])


def test_wilson_holds_the_share_to_the_last_digit():
    n = np.arange(1, 1000)
    assert (scores.wilson(n, n)[1] == 1).all()
    assert (scores.wilson(0 * n, n)[0] == 0).all()


def test_levels_of_noise_by_number():
    assert scores.noise_levels(["as observed", "20", "5", "10", "5"]) == [
        "5", "10", "20", "as observed",
    ]  # fmt: skip
